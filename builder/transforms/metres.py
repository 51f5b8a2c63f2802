"""Metres in the units of a CRS, by a local approximation.

In a geographic CRS a degree of latitude is taken as 1/360 of a great circle of the sphere with the ellipsoid's mean
radius (111,195 m on WGS 84), a degree of longitude as that times the cosine of the latitude at the place measured.
Against the ellipsoid, lengths are off by up to 0.6 %. In any other CRS its axes' unit counts; distortions of a
projection do not. Never reprojects.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from builder.errors import error
from builder.transforms.crs import check_crs
from builder.transforms.rings import Bools, Floats

_POLE_DEG = 90.0


@dataclass(frozen=True, slots=True)
class Metres:
    """How long a unit of the coordinates is.

    Parameters
    ----------
    per_unit
        Metres in a unit; of longitude, at the equator.
    unit_rad
        Radians in a unit of latitude; 0 where the coordinates are no angles.
    """

    per_unit: float
    unit_rad: float

    def shrink(self, y: Floats) -> Floats:
        """What a unit of x is at each y, as a share of a unit of y: the cosine of the latitude, or 1."""
        return np.cos(np.asarray(y) * self.unit_rad)


def metres_of(frame: Any, what: str) -> Metres:
    """How long a unit of a GeoDataFrame's coordinates is.

    Raises
    ------
    BuilderError
        ``crs-missing``; ``bad-value`` for a CRS whose axes have no length; ``bad-geometry`` for coordinates beyond a
        pole.
    """
    crs = check_crs(frame, what)
    x, y = _factors(crs)
    if not (x > 0 and x == y):
        facts = [("crs", crs.to_string())]
        raise error("bad-value", f"'{what}' has a CRS whose units are no lengths", facts=facts, hint="project it first")
    if not crs.is_geographic:
        return Metres(x, 0.0)
    _check_latitudes(frame, _POLE_DEG * math.pi / 180 / x, what)
    ellipsoid = crs.ellipsoid
    radius_m = (2 * ellipsoid.semi_major_metre + ellipsoid.semi_minor_metre) / 3
    return Metres(radius_m * x, x)


def _factors(crs: Any) -> tuple[float, float]:
    factors = [axis.unit_conversion_factor for axis in crs.axis_info[:2]]
    return (factors[0], factors[1]) if len(factors) == 2 and not crs.is_geocentric else (0.0, 0.0)


def _check_latitudes(frame: Any, pole: float, what: str) -> None:
    bounds = frame.geometry.bounds
    beyond = (bounds["miny"] < -pole) | (bounds["maxy"] > pole)
    if beyond.any():
        facts = [("rows", str(int(beyond.sum()))), ("first", str(frame.index[beyond.to_numpy()][0]))]
        hint = "are longitude and latitude swapped?"
        raise error("bad-geometry", f"'{what}' has latitudes beyond a pole", facts=facts, hint=hint)


def is_at_edge_of_world(crs: Any, xy: Floats) -> Bools:
    """True for places on the antimeridian or a pole, or beyond, of a geographic CRS; without a CRS False."""
    if crs is None or not crs.is_geographic:
        return np.zeros(len(xy), bool)
    half_turn, pole = (turn / _factors(crs)[1] for turn in (math.pi, math.pi / 2))
    return np.asarray((np.abs(xy[:, 0]) >= half_turn) | (np.abs(xy[:, 1]) >= pole))
