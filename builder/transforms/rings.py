"""Polygons as flat arrays of corners, and flat arrays as polygons.

Decides which geometries are regions: valid polygons and multipolygons in two dimensions, beside null and empty ones,
which stand aside and come back as they are. Never moves a corner.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from builder.errors import error
from builder.transforms.compiling import njit
from builder.transforms.polygons import polygon_array
from builder.transforms.simple import simple_rings

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_POLYGON, _MULTIPOLYGON = shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON
_DRAWN_CORNERS = 1 << 14  # their new courses stay in the cache until GEOS has copied them
_MANY_CORNERS = 1 << 17  # GEOS looks at fewer of them in less time than it takes to load a loop
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Rings:
    """Regions as corners: each ring open and without repeated points, one after the other.

    Parameters
    ----------
    xy
        The corners, in rows of two.
    rings, parts, rows
        Where each ring begins among the corners, each polygon among the rings, each region among the polygons; one
        longer than their number.
    held
        The positions, in `geometries`, of the regions.
    geometries
        All geometries as they came, null and empty ones too.
    """

    xy: Floats
    rings: Ints
    parts: Ints
    rows: Ints
    held: Ints
    geometries: NDArray[np.object_]

    @property
    def starts(self) -> Ints:
        """Where each region begins among the corners."""
        return self.rings[self.parts[self.rows]]

    def per_region(self, flags: Bools) -> Ints:
        """How many corners of each region are flagged."""
        sums = np.concatenate(([0], np.cumsum(flags)))
        return np.diff(sums[self.starts])

    def of(self, chosen: Bools) -> Rings:
        """The chosen regions alone."""
        which = np.flatnonzero(chosen)
        parts, rows = _slices(self.rows, which)
        rings, part_starts = _slices(self.parts, parts)
        corners, ring_starts = _slices(self.rings, rings)
        return replace(
            self, xy=self.xy[corners], rings=ring_starts, parts=part_starts, rows=rows, held=self.held[which]
        )


def _slices(offsets: Ints, which: Ints) -> tuple[Ints, Ints]:
    """The positions in the chosen slices, and the offsets of these slices when laid end to end."""
    lengths = np.diff(offsets)[which]
    ends = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    return np.arange(ends[-1]) + np.repeat(offsets[which] - ends[:-1], lengths), ends


def read_rings(gdf: Any, what: str) -> Rings:
    """The regions of a GeoDataFrame as rings.

    Raises
    ------
    BuilderError
        ``bad-geometry``: no geometry at all, or one that is no polygon, has z or is invalid; NaN and infinite
        coordinates make it so.
    """
    geometries = polygon_array(gdf, what)
    held = np.flatnonzero(~(shapely.is_missing(geometries) | shapely.is_empty(geometries)))
    regions = geometries[held]
    _refuse(
        shapely.has_z(regions),
        lambda bad: ["has z"] * len(bad),
        gdf.index[held],
        f"'{what}' has geometries with z",
        "drop it first, with shapely.force_2d",
    )
    if len(held) == 0:
        none = np.zeros(1, np.int64)
        return Rings(np.empty((0, 2)), none, none, none, held, geometries)
    kind, closed, offsets = shapely.to_ragged_array(regions, include_z=False)
    ring_ends, parts = (np.asarray(o, np.int64) for o in offsets[:2])
    rows = np.asarray(offsets[2], np.int64) if kind == _MULTIPOLYGON else np.arange(len(held) + 1)
    xy, rings = np.empty((len(closed), 2)), np.empty_like(ring_ends)
    _open_rings(np.ascontiguousarray(closed), ring_ends, xy, rings)
    shape = Rings(xy[: rings[-1]], rings, parts, rows, held, geometries)
    _check_valid(regions, shape, gdf.index[held], what)
    return shape


def _check_valid(regions: NDArray[np.object_], shape: Rings, labels: Any, what: str) -> None:
    is_valid = np.zeros(len(regions), bool)
    if len(shape.xy) >= _MANY_CORNERS:
        is_single = np.diff(shape.parts[shape.rows]) == 1
        is_valid[is_single] = simple_rings(shape.xy, shape.rings)[shape.parts[shape.rows[:-1]][is_single]]
    is_valid[~is_valid] = shapely.is_valid(regions[~is_valid])
    _refuse(
        ~is_valid,
        lambda bad: shapely.is_valid_reason(regions[bad]),
        labels,
        f"'{what}' has invalid geometries",
        "mend them first: t.repair(regions)",
    )


def _refuse(is_bad: Bools, reasons: Any, labels: Any, message: str, hint: str) -> None:
    """Raise ``bad-geometry`` with the first rows that are bad; nothing where none is."""
    bad = np.flatnonzero(is_bad)
    if len(bad) == 0:
        return
    shown = bad[:_SHOWN]
    facts = [("rows", str(len(bad)))]
    facts += [(f"row {label}", str(reason)) for label, reason in zip(labels[shown], reasons(shown))]
    raise error("bad-geometry", message, facts=facts, hint=hint)


def build_regions(shape: Rings, closed: Floats, ring_ends: Ints) -> NDArray[np.object_]:
    """The regions of `shape` with new courses for their rings; `closed` repeats each ring's first corner at its end.

    A polygon stays a polygon, a multipolygon a multipolygon.
    """
    if len(shape.held) == 0:
        return np.empty(0, object)
    return _united(shape, shapely.from_ragged_array(_POLYGON, closed, (ring_ends, shape.parts)))


def draw_regions(
    shape: Rings, points: Callable[[Ints], int], draw: Callable[[Ints, Floats, Ints], None]
) -> NDArray[np.object_]:
    """What `build_regions` gives, with no more than some rings' courses in memory at a time.

    Parameters
    ----------
    shape
        The regions.
    points
        How many points the courses of some rings have, given where these begin, and the last one ends, in `shape.xy`.
    draw
        Puts these courses into an array of at least so many points, and where each begins, and the last one ends, into
        another.
    """
    if len(shape.held) == 0:
        return np.empty(0, object)
    begins = shape.rings[shape.parts]
    cuts = np.searchsorted(begins, np.arange(0, begins[-1], _DRAWN_CORNERS))
    cuts = np.unique(np.append(cuts, len(begins) - 1))
    rings = [shape.rings[shape.parts[a] : shape.parts[b] + 1] for a, b in pairwise(cuts)]
    counts = [points(some) for some in rings]
    closed = np.empty((max(counts), 2))
    polygons = np.empty(len(begins) - 1, object)
    for some, count, (a, b) in zip(rings, counts, pairwise(cuts)):
        ends = np.empty_like(some)
        draw(some, closed, ends)
        offsets = ends, shape.parts[a : b + 1] - shape.parts[a]
        polygons[a:b] = shapely.from_ragged_array(_POLYGON, closed[:count], offsets)
    return _united(shape, polygons)


def _united(shape: Rings, polygons: NDArray[np.object_]) -> NDArray[np.object_]:
    """The regions whose polygons these are."""
    is_multi = shapely.get_type_id(shape.geometries[shape.held]) == _MULTIPOLYGON
    if not is_multi.any():
        return np.asarray(polygons, object)
    built = np.empty(len(is_multi), object)
    built[~is_multi] = polygons[shape.rows[:-1][~is_multi]]
    parts, starts = _slices(shape.rows, np.flatnonzero(is_multi))
    owners = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    built[is_multi] = shapely.multipolygons(polygons[parts], indices=owners)
    return built


@njit(cache=True, nogil=True, error_model="numpy")
def _open_rings(closed, ring_ends, xy, rings):  # type: ignore[no-untyped-def]
    """Put the corners without the points that repeat the one before them into `xy`, and where each ring begins."""
    at = 0
    for r in range(len(ring_ends) - 1):
        rings[r] = at
        last = ring_ends[r + 1] - 1  # the closing point, which equals the first
        for i in range(ring_ends[r], last):
            if closed[i, 0] != closed[i + 1, 0] or closed[i, 1] != closed[i + 1, 1]:
                xy[at, 0] = closed[i, 0]
                xy[at, 1] = closed[i, 1]
                at += 1
    rings[len(ring_ends) - 1] = at


@njit(cache=True, nogil=True, error_model="numpy")
def close_rings(xy, rings, is_kept):  # type: ignore[no-untyped-def]
    """The kept corners with each ring's first one repeated at its end, and where each ring begins."""
    count = len(rings) - 1
    for kept in is_kept:
        count += kept
    closed = np.empty((count, 2))
    ends = np.empty_like(rings)
    at = 0
    for r in range(len(rings) - 1):
        ends[r] = first = at
        for i in range(rings[r], rings[r + 1]):
            if is_kept[i]:
                closed[at, 0] = xy[i, 0]
                closed[at, 1] = xy[i, 1]
                at += 1
        closed[at, 0] = closed[first, 0]
        closed[at, 1] = closed[first, 1]
        at += 1
    ends[len(rings) - 1] = at
    return closed, ends
