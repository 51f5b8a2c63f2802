"""Regions with smoother borders: Chaikin, Taubin, buffer, and Chaikin on a whole coverage.

Decides which corners may move and what happens to a region that a method would make invalid; the rules themselves stand
in `curves`, `clearance` and `coverage`. Never reprojects, never repairs what comes in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from builder.errors import error
from builder.transforms.clearance import safe_corners
from builder.transforms.coverage import check_coverage, inner_corners
from builder.transforms.curves import chaikin_weights, corner_heights, cut_corners, move_corners
from builder.transforms.metres import Metres, is_at_edge_of_world, metres_of
from builder.transforms.polygons import with_geometry
from builder.transforms.rings import Bools, Floats, Ints, Rings, build_regions, close_rings, draw_regions, read_rings

_DEFAULTS = {"chaikin": 2, "coverage": 2, "taubin": 10}
_QUARTER_SEGMENTS = 16  # of a quarter circle
_METHODS = ("chaikin", "taubin", "buffer", "coverage")
_MOST = {"chaikin": 6, "coverage": 6, "taubin": 1000}


class Smoothed(NamedTuple):
    """What `smooth_regions` returns with ``report=True``."""

    regions: Any
    report: Any


@dataclass(frozen=True, slots=True)
class _Done:
    """New geometries of the regions, what was done to each, and how many of its corners stayed for validity's sake."""

    regions: NDArray[np.object_]
    iterations: Ints
    kept: Ints


def smooth_regions(
    gdf: Any,
    *,
    method: str = "chaikin",
    iterations: int | None = None,
    tolerance_m: float | None = None,
    distance_m: float | None = None,
    report: bool = False,
) -> Any:
    """The same GeoDataFrame with smoother regions: its rows, index, columns and CRS as they were, all geometries valid.

    ``chaikin``, ``taubin`` and ``buffer`` look at each row alone: parts smoothed apart equal parts of the whole, in any
    order. They do not keep the borders of neighbours together; ``coverage`` does, and needs all rows at once, in any
    order.

    Parameters
    ----------
    gdf
        Valid polygons and multipolygons without z. Null and empty geometries come back as they are. Repeated points are
        dropped.
    method
        ``chaikin`` cuts corners off: 2 ** `iterations` vertices for one, no vertex outside of the old border's hull.
        A corner whose cut would run into another part of its region stays.

        ``taubin`` moves vertices towards their neighbours' middle and back; their number stays. Bends of 13 vertices
        and more keep their size, a ring of fewer shrinks. A region that becomes invalid is done again with half the
        iterations, and so on; at 0 it is as it came.

        ``buffer`` goes out by `distance_m`, in by twice that and out again: bays and spits narrower than twice the
        distance go, parts may merge, part or vanish, and a polygon may become a multipolygon. A region that would
        vanish or become invalid is as it came.

        ``coverage`` cuts corners as ``chaikin`` does, of shared borders alone and on both sides alike. Junctions of
        three or more borders and the outer boundary, that of gaps too, stay; so the result is a valid coverage of the
        same area. Regions may touch where vertices match; where they overlap or vertices of shared borders differ, it
        raises.
    iterations
        2 for ``chaikin`` and ``coverage`` (at most 6), 10 for ``taubin`` (at most 1,000).
    tolerance_m
        ``chaikin`` and ``coverage`` leave corners that would move by no more than this. By default they cut all.
    distance_m
        What ``buffer`` goes out and in.
    report
        Give a pair of ``regions`` and ``report``, a DataFrame with the same index: int64 columns vertices_before and
        vertices_after (closing points count), iterations (those that were done; 1 or 0 for ``buffer``) and
        corners_kept (for validity's sake); and float64 area_change, the new area over the old less 1, in the CRS's
        plane, NaN where there is no area.

    Returns
    -------
    GeoDataFrame, or with `report` a pair.

    Raises
    ------
    BuilderError
        ``bad-geometry``: invalid geometries (NaN coordinates are), other types, z, no valid coverage, latitudes beyond
        a pole where metres count. ``crs-missing`` where metres count. ``bad-value``, ``recipe-declaration``: wrong
        arguments.

    Notes
    -----
    Edges are straight in the CRS's plane. In a geographic CRS vertices on the antimeridian and the poles stay (not with
    ``buffer``), so that regions cut there still meet. Metres are those of `builder.transforms.metres`: at each corner's
    latitude for `tolerance_m`, at the middle latitude of each region for `distance_m`. Sources: Chaikin 1974, Taubin
    1995.

    Examples
    --------
    >>> import geopandas, shapely
    >>> square = geopandas.GeoDataFrame(geometry=[shapely.box(0, 0, 4, 4), None], crs="EPSG:32633")
    >>> smooth, report = smooth_regions(square, iterations=1, report=True)
    >>> smooth.geometry[0].wkt
    'POLYGON ((3 0, 4 1, 4 3, 3 4, 1 4, 0 3, 0 1, 1 0, 3 0))'
    >>> report["area_change"].tolist()
    [-0.125, nan]
    """
    count = _check_arguments(method, iterations, tolerance_m, distance_m)
    shape = read_rings(gdf, "gdf")
    if method == "buffer":
        assert distance_m is not None
        done = _buffer(shape, metres_of(gdf, "gdf"), distance_m)
    elif method == "taubin":
        done = _taubin(shape, _free_corners(gdf, shape), count)
    else:
        is_cut = _free_corners(gdf, shape)
        if tolerance_m:
            is_cut &= _is_high(shape, metres_of(gdf, "gdf"), tolerance_m)
        done = _chaikin(shape, is_cut, count) if method == "chaikin" else _chaikin_coverage(gdf, shape, is_cut, count)
    result = with_regions(gdf, shape, done.regions)
    return Smoothed(result, _report(gdf.index, shape, done)) if report else result


def with_regions(gdf: Any, shape: Rings, regions: NDArray[np.object_]) -> Any:
    """The GeoDataFrame with new geometries for its regions; null and empty ones as they were."""
    geometries = shape.geometries.copy()
    geometries[shape.held] = regions
    return with_geometry(gdf, geometries)


def check_length(value: Any, name: str) -> None:
    """Refuse what is no finite number above 0 as a length in metres."""
    is_number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not (is_number and math.isfinite(value) and value > 0):
        raise error("bad-value", f"'{name}' is {value!r}", hint="give a number of metres above 0")


def _check_arguments(method: str, iterations: int | None, tolerance_m: Any, distance_m: Any) -> int:
    if method not in _METHODS:
        raise error("recipe-declaration", f"{method!r} is no method of smoothing", hint=f"one of {', '.join(_METHODS)}")
    if (distance_m is None) == (method == "buffer"):
        raise error("recipe-declaration", "'distance_m' goes with method='buffer', which needs it")
    if tolerance_m is not None and method not in ("chaikin", "coverage"):
        raise error("recipe-declaration", f"'tolerance_m' does not go with method={method!r}")
    if iterations is not None and method == "buffer":
        raise error("recipe-declaration", "'iterations' does not go with method='buffer'")
    for name, value in (("distance_m", distance_m), ("tolerance_m", tolerance_m or None)):
        if value is not None:
            check_length(value, name)
    if method == "buffer":
        return 1
    count = _DEFAULTS[method] if iterations is None else iterations
    if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or not 0 <= count <= _MOST[method]:
        raise error("bad-value", f"'iterations' is {count!r}", hint=f"give a whole number from 0 to {_MOST[method]}")
    return int(count)


def _free_corners(gdf: Any, shape: Rings) -> Bools:
    """The corners that may move: in a geographic CRS, those that are not on the antimeridian or a pole."""
    return ~is_at_edge_of_world(gdf.crs, shape.xy)


def _is_high(shape: Rings, metres: Metres, tolerance_m: float) -> Bools:
    heights = corner_heights(shape.xy, shape.rings, metres.shrink(shape.xy[:, 1]))
    return np.asarray(heights > tolerance_m / metres.per_unit)


def _chaikin(shape: Rings, is_cut: Bools, iterations: int) -> _Done:
    done = _cut(shape, is_cut, safe_corners(shape, is_cut, iterations), iterations)
    # A region that kept corners is one with parts close to each other: GEOS has the last word on those.
    _take_back(shape, done, np.flatnonzero(done.kept))
    return done


def _chaikin_coverage(gdf: Any, shape: Rings, is_cut: Bools, iterations: int) -> _Done:
    check_coverage(gdf, shape, "gdf")
    inner = inner_corners(shape)
    is_cut = inner.on_both_sides(is_cut & inner.is_shared)
    # What a corner's cut could run into on either side is first of all the border of the region on that side.
    is_safe = inner.on_both_sides(safe_corners(shape, is_cut, iterations))
    return _cut(shape, is_cut, is_safe, iterations)


def _cut(shape: Rings, is_cut: Bools, is_safe: Bools, iterations: int) -> _Done:
    weights = chaikin_weights(iterations)
    sums = np.concatenate(([0], np.cumsum(is_safe)))

    def points(rings: Ints) -> int:
        first, last = rings[0], rings[-1]
        return int(last - first + len(rings) - 1 + (len(weights) - 1) * (sums[last] - sums[first]))

    def draw(rings: Ints, closed: Floats, ends: Ints) -> None:
        cut_corners(shape.xy, rings, is_safe, weights, closed, ends)

    kept = shape.per_region(is_cut & ~is_safe)
    return _Done(draw_regions(shape, points, draw), np.full(len(kept), iterations), kept)


def _taubin(shape: Rings, is_free: Bools, iterations: int) -> _Done:
    every = np.ones(len(shape.xy), bool)
    regions = build_regions(shape, *close_rings(shape.xy, shape.rings, every))
    done = _Done(regions, np.zeros(len(shape.held), np.int64), np.zeros(len(shape.held), np.int64))
    todo = np.ones(len(shape.held), bool)
    while iterations and todo.any():
        some = shape.of(todo)
        free = is_free if todo.all() else is_free[np.repeat(todo, np.diff(shape.starts))]
        xy = move_corners(some.xy, some.rings, free, iterations)
        moved = build_regions(some, *close_rings(xy, some.rings, np.ones(len(xy), bool)))
        is_valid = shapely.is_valid(moved)
        at = np.flatnonzero(todo)[is_valid]
        regions[at], done.iterations[at] = moved[is_valid], iterations
        todo[at] = False
        iterations //= 2
    return done


def _buffer(shape: Rings, metres: Metres, distance_m: float) -> _Done:
    regions = shape.geometries[shape.held]
    bounds = shapely.bounds(regions)
    shrink = metres.shrink((bounds[:, 1] + bounds[:, 3]) / 2)
    distance = distance_m / metres.per_unit
    smooth = _stretched(regions, shrink)
    for step in (distance, -2 * distance, distance):
        smooth = shapely.buffer(smooth, step, quad_segs=_QUARTER_SEGMENTS)
    smooth = _stretched(smooth, 1 / shrink)
    count = len(regions)
    done = _Done(smooth, np.ones(count, np.int64), np.zeros(count, np.int64))
    _take_back(shape, done, np.arange(count))
    return done


def _stretched(regions: NDArray[np.object_], shares: Any) -> NDArray[np.object_]:
    xy, owners = shapely.get_coordinates(regions, return_index=True)
    xy[:, 0] *= shares[owners]
    return np.asarray(shapely.set_coordinates(regions.copy(), xy), object)


def _take_back(shape: Rings, done: _Done, doubtful: Ints) -> None:
    """Give those of the doubtful regions that are invalid or gone their former geometry."""
    regions = done.regions[doubtful]
    lost = doubtful[~shapely.is_valid(regions) | shapely.is_empty(regions)]
    done.regions[lost] = shape.geometries[shape.held[lost]]
    done.iterations[lost] = 0


def _report(index: Any, shape: Rings, done: _Done) -> Any:
    import pandas as pd

    frame = pd.DataFrame(index=index)
    after = shape.geometries.copy()
    after[shape.held] = done.regions
    frame["vertices_before"] = shapely.get_num_coordinates(shape.geometries).astype(np.int64)
    frame["vertices_after"] = shapely.get_num_coordinates(after).astype(np.int64)
    for name, values in (("iterations", done.iterations), ("corners_kept", done.kept)):
        column = np.zeros(len(frame), np.int64)
        column[shape.held] = values
        frame[name] = column
    change = np.full(len(frame), np.nan)
    change[shape.held] = shapely.area(done.regions) / shapely.area(shape.geometries[shape.held]) - 1
    frame["area_change"] = change
    return frame
