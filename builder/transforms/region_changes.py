"""Where changed regions can have changed the answer for a point.

Decides which boxes hold every point that a change of regions can concern. A region's changed edges (those of its old
or of its new form, not of both) make closed runs, so that each point whose answer differs is inside one of the runs,
or on it: the runs' boxes are enough, and far smaller than the changed regions'. Never says what the answer is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from builder.errors import error
from builder.transforms.compiling import njit
from builder.transforms.orientation import compiled
from builder.transforms.region_index import coordinates
from builder.transforms.region_rings import check_kinds, check_valid, ids_and_geometries, rings_of

Boxes = npt.NDArray[np.float64]

_FINENESS = 6
"""Divisions of the grid's sides by the square root of the boxes: most cells are to have none of small boxes."""

_MOST_DIVISIONS = 512

_ODD = np.uint64(0x9E3779B97F4A7C15)

_NONE, _SOME, _ALL = 0, 1, 2
"""How much of a cell is in boxes."""


def changed_boxes(old: Any, new: Any) -> Boxes:
    """The boxes of connected runs of changed edges: west, south, east, north; float64, sorted, none twice.

    Parameters
    ----------
    old, new
        Geometries of the same regions before and after, position by position, in one CRS; None where a region is not
        there. Valid polygons and multipolygons.

    Raises
    ------
    BuilderError
        ``bad-value`` where the lengths differ; ``bad-geometry`` for an invalid polygon or what is none;
        ``result-type`` for what holds no geometries.

    Notes
    -----
    For every point in none of the boxes (borders count as in), each region holds it now as it did before, whatever the
    predicate. A vertex that is moved gives the box of its two old and two new edges.

    Examples
    --------
    >>> changed_boxes([shapely.box(0, 0, 9, 9), None], [shapely.box(0, 0, 9, 8), None])
    array([[0., 0., 9., 9.]])
    >>> changed_boxes([shapely.box(0, 0, 9, 9)], [shapely.box(0, 0, 9, 9)])
    array([], shape=(0, 4), dtype=float64)
    """
    sides = [ids_and_geometries(side, "id")[1] for side in (old, new)]
    if len(sides[0]) != len(sides[1]):
        raise error(
            "bad-value",
            f"'old' and 'new' have {len(sides[0]):,} and {len(sides[1]):,} regions",
            hint="align them by id, with None where a region is not there",
        )
    edges = _odd_edges([_edges(side) for side in _changed(*sides)])
    if not len(edges):
        return np.empty((0, 4))
    west, south = edges[:, 1], np.minimum(edges[:, 2], edges[:, 4])
    east, north = edges[:, 3], np.maximum(edges[:, 2], edges[:, 4])
    run = _runs(edges)
    boxes = np.tile([np.inf, np.inf, -np.inf, -np.inf], (int(run.max()) + 1, 1))
    for column, (ufunc, values) in enumerate(
        [(np.minimum, west), (np.minimum, south), (np.maximum, east), (np.maximum, north)]
    ):
        ufunc.at(boxes[:, column], run, values)
    return np.unique(boxes, axis=0)


def near(boxes: Any, lon: Any, lat: Any) -> npt.NDArray[np.bool_]:
    """True for each point in one of the boxes, borders included; NaN is in none.

    Parameters
    ----------
    boxes
        West, south, east, north, as `changed_boxes` gives them.
    lon, lat
        Coordinates, float64, in the CRS of the boxes.

    Raises
    ------
    BuilderError
        ``bad-value`` where lon and lat are no equal rows of numbers, or boxes have no four columns.

    Examples
    --------
    >>> near([[0, 0, 1, 1]], [0.5, 1.0, 1.5, float("nan")], [0.5, 1.0, 0.5, 0.5])
    array([ True,  True, False, False])
    """
    boxes = np.ascontiguousarray(boxes, np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise error("bad-value", f"'boxes' is of shape {boxes.shape} and not (n, 4)")
    lon, lat = coordinates(lon, lat)
    if not len(boxes):
        return np.zeros(len(lon), bool)
    divisions = int(np.clip(_FINENESS * np.sqrt(len(boxes)), 1, _MOST_DIVISIONS))
    west, south = boxes[:, :2].min(axis=0)
    size = np.maximum(boxes[:, 2:].max(axis=0) - (west, south), np.finfo(float).tiny / np.finfo(float).eps)
    frame = (west, south, divisions / size[0] * (1 - 1e-12), divisions / size[1] * (1 - 1e-12), divisions)
    cells, starts, listed = _grid_of_boxes(boxes, frame)
    return np.asarray(_in_boxes(lon, lat, boxes, frame, cells, starts, listed))


def _changed(old: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sides with None where nothing changed, checked where something did."""
    ids = pd.Series(np.arange(len(old)), name="id")
    for side in (old, new):
        check_kinds(ids, side)
    same = shapely.equals_identical(old, new) | (pd.isna(old) & pd.isna(new))
    sides = []
    for side in (old, new):
        changed = side.copy()
        changed[same] = None
        check_valid(ids, changed, lambda check, parts: [check(part) for part in parts])
        sides.append(changed)
    return sides[0], sides[1]


def _edges(geometries: np.ndarray) -> np.ndarray:
    """Rows of a region, x1, y1, x2, y2, lexicographically lower end first."""
    rings = rings_of(geometries)
    first = np.flatnonzero(rings.region >= 0)
    a, b = rings.xy[first], rings.xy[first + 1]
    swapped = (a[:, 0] > b[:, 0]) | ((a[:, 0] == b[:, 0]) & (a[:, 1] > b[:, 1]))
    a[swapped], b[swapped] = b[swapped], a[swapped]
    return np.column_stack([rings.region[first].astype(np.float64), a, b])


def _odd_edges(sides: list[np.ndarray]) -> np.ndarray:
    """The edges that stand an odd number of times on both sides together."""
    rows = np.ascontiguousarray(np.concatenate(sides))
    codes, first = _codes(rows.view(np.uint64))
    return np.asarray(rows[first[np.bincount(codes, minlength=len(first)) % 2 == 1]])


def _runs(edges: np.ndarray) -> np.ndarray:
    """A number for each edge, equal where edges of one region are connected by their ends."""
    ends = np.ascontiguousarray(np.concatenate([edges[:, [0, 1, 2]], edges[:, [0, 3, 4]]]))
    vertex, first = _codes(ends.view(np.uint64))
    root = _connected(vertex[: len(edges)], vertex[len(edges) :], len(first))
    return np.asarray(np.unique(root[vertex[: len(edges)]], return_inverse=True)[1])


@njit(**compiled)
def _codes(rows):  # type: ignore[no-untyped-def]
    """A number for each row of words, from 0 on, equal where all words are; and where each number comes first."""
    count, width = rows.shape
    size = 4
    while size < 2 * count:
        size *= 2
    slots, codes, first = np.full(size, -1), np.empty(count, np.int64), np.empty(count, np.int64)
    found = 0
    for k in range(count):
        spread = np.uint64(0)
        for c in range(width):
            spread = (spread ^ rows[k, c]) * _ODD
            spread ^= spread >> np.uint64(32)
        at = np.int64(spread & np.uint64(size - 1))
        while slots[at] >= 0:
            other = first[slots[at]]
            c = 0
            while c < width and rows[other, c] == rows[k, c]:
                c += 1
            if c == width:
                break
            at = (at + 1) & (size - 1)
        if slots[at] < 0:
            slots[at], first[found] = found, k
            found += 1
        codes[k] = slots[at]
    return codes, first[:found]


@njit(**compiled)
def _connected(one, other, count):  # type: ignore[no-untyped-def]
    """The lowest vertex that each vertex is connected to."""
    root = np.arange(count)
    for e in range(len(one)):
        a, b = one[e], other[e]
        while root[a] != a:
            root[a] = root[root[a]]
            a = root[a]
        while root[b] != b:
            root[b] = root[root[b]]
            b = root[b]
        root[max(a, b)] = min(a, b)
    for v in range(count):
        root[v] = root[root[v]]
    return root


@njit(**compiled)
def _span(low, high, start, per_unit, divisions):  # type: ignore[no-untyped-def]
    return int((low - start) * per_unit), min(int((high - start) * per_unit), divisions - 1)


@njit(**compiled)
def _grid_of_boxes(boxes, frame):  # type: ignore[no-untyped-def]
    """How much of each cell is in boxes; and for each cell, the boxes that cover a part of it."""
    west, south, per_x, per_y, divisions = frame
    change = np.zeros((divisions + 1, divisions + 1), np.int64)
    starts = np.zeros(divisions * divisions + 1, np.int64)
    listed = np.empty(0, np.int32)
    for turn in range(2):
        for k in range(len(boxes)):
            i0, i1 = _span(boxes[k, 0], boxes[k, 2], west, per_x, divisions)
            j0, j1 = _span(boxes[k, 1], boxes[k, 3], south, per_y, divisions)
            if turn == 0 and i1 - i0 > 1 and j1 - j0 > 1:
                change[j0 + 1, i0 + 1] += 1
                change[j0 + 1, i1] -= 1
                change[j1, i0 + 1] -= 1
                change[j1, i1] += 1
            for j in range(j0, j1 + 1):
                step = 1 if j in (j0, j1) else max(i1 - i0, 1)
                for i in range(i0, i1 + 1, step):
                    cell = j * divisions + i
                    if turn == 1:
                        listed[starts[cell]] = k
                    starts[cell] += 1
        if turn == 0:
            total = 0
            for cell in range(len(starts)):
                total, starts[cell] = total + starts[cell], total
            listed = np.empty(total, np.int32)
    for cell in range(len(starts) - 1, 0, -1):
        starts[cell] = starts[cell - 1]
    starts[0] = 0
    cells = np.empty(divisions * divisions, np.uint8)
    for j in range(divisions):
        covered = 0
        for i in range(divisions):
            if j > 0:
                change[j, i] += change[j - 1, i]
            covered += change[j, i]
            cell = j * divisions + i
            cells[cell] = _ALL if covered > 0 else _SOME if starts[cell + 1] > starts[cell] else _NONE
    return cells, starts, listed


@njit(**compiled)
def _in_boxes(lon, lat, boxes, frame, cells, starts, listed):  # type: ignore[no-untyped-def]
    west, south, per_x, per_y, divisions = frame
    out = np.empty(len(lon), np.bool_)
    for k in range(len(lon)):  # a loop without branches, which runs on several points at a time
        fx, fy = (lon[k] - west) * per_x, (lat[k] - south) * per_y
        out[k] = (fx >= 0.0) & (fy >= 0.0) & (fx <= divisions) & (fy <= divisions)
    for k in range(len(lon)):
        if not out[k]:
            continue
        i, j = int((lon[k] - west) * per_x), int((lat[k] - south) * per_y)
        cell = min(j, divisions - 1) * divisions + min(i, divisions - 1)
        out[k] = cells[cell] == _ALL
        if cells[cell] != _SOME:
            continue
        for p in range(starts[cell], starts[cell + 1]):
            b = listed[p]
            if boxes[b, 0] <= lon[k] <= boxes[b, 2] and boxes[b, 1] <= lat[k] <= boxes[b, 3]:
                out[k] = True
                break
    return out
