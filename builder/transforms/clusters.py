"""Dense clusters of points.

Decides which points of a label belong together, by DBSCAN or HDBSCAN of scikit-learn over distances in metres. Never
looks at columns: labels are numbers here.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from builder.errors import error
from builder.transforms.coordinates import Floats

Codes = npt.NDArray[np.int64]

EARTH_RADIUS_M = 6_371_008.8
"""The mean radius of the Earth (IUGG)."""


def cluster_points(
    x: Floats,
    y: Floats,
    codes: Codes,
    *,
    algorithm: Literal["dbscan", "hdbscan"],
    min_points: int,
    radius_m: float | None,
    in_degrees: bool,
) -> Codes:
    """Each point's cluster within its label, from 0 by the westernmost and then southernmost point; -1 for noise.

    Distances of points in degrees are those on a sphere of `EARTH_RADIUS_M`, else they are planar, in the CRS's unit.
    Points that are within the radius of several clusters belong to the first of them.

    Parameters
    ----------
    x, y, codes
        The points and the number of each one's label. Repeated points count each time.
    algorithm, min_points, radius_m
        As in `infer_regions`.
    in_degrees
        Whether `x` and `y` are longitudes and latitudes.
    """
    order = np.lexsort((y, x, codes))
    space = _in_space(x[order], y[order]) if in_degrees else np.column_stack([x[order], y[order]])
    ends = np.append(np.flatnonzero(np.diff(codes[order])) + 1, len(codes))
    found = np.full(len(codes), -1, np.int64)
    start = 0
    for end in ends if len(codes) else ():
        if algorithm == "dbscan":
            found[start:end] = _dbscan(space[start:end], min_points, _chord_m(radius_m, in_degrees=in_degrees))
        else:
            found[start:end] = _hdbscan(space[start:end], min_points)
        start = end
    result = np.empty_like(found)
    result[order] = found
    return result


def _in_space(lon: Floats, lat: Floats) -> Floats:
    """Points on the sphere in metres: straight distances order as great circles do, and trees are quick in them."""
    east, north = np.radians(lon), np.radians(lat)
    unit = np.column_stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)])
    return EARTH_RADIUS_M * unit


def _chord_m(arc_m: float | None, *, in_degrees: bool) -> float:
    """The straight distance of two points an arc apart; half round the globe is as far as there is."""
    arc = float(arc_m or 0.0)
    return 2 * EARTH_RADIUS_M * np.sin(min(arc / (2 * EARTH_RADIUS_M), np.pi / 2)) if in_degrees else arc


def _dbscan(points: Floats, min_points: int, radius: float) -> Codes:
    """Ester, Kriegel, Sander, Xu, 1996; repeated points are one with a weight."""
    distinct, inverse, weight = _distinct(points)
    found = _cluster_module().DBSCAN(eps=radius, min_samples=min_points, algorithm="kd_tree").fit(
        distinct, sample_weight=weight
    )  # fmt: skip
    return _by_first(found.labels_.astype(np.int64)[inverse])


def _hdbscan(points: Floats, min_points: int) -> Codes:
    """Campello, Moulavi, Sander, 2013."""
    if len(points) < max(min_points, 2):
        return np.full(len(points), -1, np.int64)
    found = _cluster_module().HDBSCAN(min_cluster_size=min_points, algorithm="kd_tree", copy=True).fit(points)
    return _by_first(found.labels_.astype(np.int64))


def _distinct(points: Floats) -> tuple[Floats, Codes, Codes]:
    """The distinct of sorted points in their order, which of them each point is, and how often it is there."""
    is_new = np.append(True, np.any(points[1:] != points[:-1], axis=1))
    inverse = np.cumsum(is_new) - 1
    return points[is_new], inverse, np.bincount(inverse)


def _by_first(labels: Codes) -> Codes:
    """The same clusters, numbered in the order of their first points."""
    names, first = np.unique(labels[labels >= 0], return_index=True)
    number = np.empty(len(names), np.int64)
    number[np.argsort(first)] = np.arange(len(names))
    result = labels.copy()
    result[labels >= 0] = number[np.searchsorted(names, labels[labels >= 0])]
    return result


def _cluster_module() -> Any:
    try:
        import sklearn.cluster
    except ImportError as cause:
        raise error(
            "recipe-declaration", "clusters need scikit-learn", hint="pip install 'builder[clusters]'"
        ) from cause
    return sklearn.cluster
