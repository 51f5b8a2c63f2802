"""Visvalingam and Whyatt's rule on the nodes of a coverage.

Decides which nodes go: the one whose triangle with its neighbours is the smallest first, ties by place, unless another
node stands in the triangle, or a ring would be left with fewer than three corners. As borders do not cross, whatever
comes into the triangle has a node in it; so the borders that are left do not cross either. Never makes a new place.

M. Visvalingam, J. D. Whyatt, Line generalisation by repeated elimination of points, The Cartographic Journal 30 (1993).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from builder.transforms.clearance import NEAR, is_near
from builder.transforms.compiling import njit
from builder.transforms.rings import Bools, Floats, Ints

_FEWEST = 3
_FAN_OUT = 4
_CURVE_BITS = 24
_SPREAD = (
    (16, 0x0000FFFF0000FFFF),
    (8, 0x00FF00FF00FF00FF),
    (4, 0x0F0F0F0F0F0F0F0F),
    (2, 0x3333333333333333),
    (1, 0x5555555555555555),
)


class Boxes(NamedTuple):
    """Boxes over some places each, then over as many boxes each, up to one; level by level, the lowest first."""

    bounds: Floats
    living: Ints
    starts: Ints


def thin_nodes(
    xy: Floats, shrink: Floats, one: Ints, other: Ints, rings: Any, corners: Ints, is_free: Bools, least: float
) -> Bools:
    """The nodes that stay.

    Parameters
    ----------
    xy, shrink
        The places, and what a unit of x is at each in units of y.
    one, other
        Both neighbours of each free node.
    rings
        Both rings that pass each free node, twice the same where there is but one.
    corners
        How many corners each ring has.
    is_free
        The nodes that may go.
    least
        The area, in square units of y, from which on a triangle stays.
    """
    near = NEAR * float(np.abs(xy).max(initial=0.0))
    order = _along_curve(xy)  # so that what is near in the plane is near in memory
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    links = place[np.column_stack((one, other))[order]]
    x, y = np.ascontiguousarray(xy[order, 0]), np.ascontiguousarray(xy[order, 1])
    passing = (rings[0][order], rings[1][order], corners.copy())
    stays = np.empty(len(order), bool)
    stays[order] = _thin(x, y, shrink[order], links, *passing, is_free[order], least, near, _boxes_over(x, y))
    return stays


def _along_curve(xy: Floats) -> Ints:
    """The places in Morton order of a grid over all of them."""
    low = xy.min(axis=0, initial=np.inf)
    size = float((xy.max(axis=0, initial=-np.inf) - low).max(initial=0.0)) or 1.0
    codes = np.zeros(len(xy), np.uint64)
    for axis in (0, 1):
        cells = ((xy[:, axis] - low[axis]) * ((2**_CURVE_BITS - 1) / size)).astype(np.uint64)
        for shift, mask in _SPREAD:
            cells = (cells | (cells << np.uint64(shift))) & np.uint64(mask)
        codes |= cells << np.uint64(axis)
    return np.argsort(codes, kind="stable")


def _boxes_over(x: Floats, y: Floats) -> Boxes:
    bounds = [x, y, x, y]
    levels: list[Floats] = []
    living: list[Ints] = []
    alive = np.ones(len(x), np.int64)
    while len(alive) > 1 or not levels:
        at = np.arange(0, len(alive), _FAN_OUT)
        if len(at):
            bounds = [f.reduceat(b, at) for f, b in zip((np.minimum, np.minimum, np.maximum, np.maximum), bounds)]
            alive = np.add.reduceat(alive, at)
        levels.append(np.column_stack(bounds))
        living.append(alive)
    starts = np.cumsum([0, *(len(level) for level in levels)])
    return Boxes(np.concatenate(levels), np.concatenate(living), starts)


@njit(cache=True, nogil=True, error_model="numpy")
def _area(x, y, shrink, links, v):  # type: ignore[no-untyped-def]
    a, b = links[v, 0], links[v, 1]
    return abs((x[a] - x[v]) * (y[b] - y[v]) - (x[b] - x[v]) * (y[a] - y[v])) * shrink[v] / 2


@njit(cache=True, nogil=True, error_model="numpy")
def _comes_first(one, v, other, w, x, y):  # type: ignore[no-untyped-def]
    if one != other:
        return one < other
    return x[v] < x[w] or (x[v] == x[w] and y[v] < y[w])


@njit(cache=True, nogil=True, error_model="numpy")
def _settle(heap, keys, at_of, at, count, x, y):  # type: ignore[no-untyped-def]
    """Move the entry at a place of the heap up or down to where it belongs."""
    v, key = heap[at], keys[at]
    while at > 0:
        up = (at - 1) // _FAN_OUT
        if not _comes_first(key, v, keys[up], heap[up], x, y):
            break
        heap[at], keys[at] = heap[up], keys[up]
        at_of[heap[at]] = at
        at = up
    while _FAN_OUT * at + 1 < count:
        down = _FAN_OUT * at + 1
        for other in range(down + 1, min(down + _FAN_OUT, count)):
            if _comes_first(keys[other], heap[other], keys[down], heap[down], x, y):
                down = other
        if not _comes_first(keys[down], heap[down], key, v, x, y):
            break
        heap[at], keys[at] = heap[down], keys[down]
        at_of[heap[at]] = at
        at = down
    heap[at], keys[at] = v, key
    at_of[v] = at


@njit(cache=True, nogil=True, error_model="numpy")
def _put(heap, keys, at_of, count, v, key, x, y):  # type: ignore[no-untyped-def]
    """Bring a node with its new key into the heap, or to its place in it; the heap's new size."""
    at = at_of[v]
    if at < 0:
        at = count
        count += 1
    heap[at], keys[at] = v, key
    _settle(heap, keys, at_of, at, count, x, y)
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _take(heap, keys, at_of, count, v, x, y):  # type: ignore[no-untyped-def]
    """Take a node out of the heap; the heap's new size."""
    at = at_of[v]
    at_of[v] = -1
    count -= 1
    if at < count:
        heap[at], keys[at] = heap[count], keys[count]
        _settle(heap, keys, at_of, at, count, x, y)
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _is_in_triangle(ux, uy, ax, ay, bx, by, near):  # type: ignore[no-untyped-def]
    """True where the point is in the triangle of the origin, a and b, or near to its edges."""
    cross = ax * by - ay * bx
    s = ux * by - uy * bx
    t = ax * uy - ay * ux
    if cross < 0:
        cross, s, t = -cross, -s, -t
    if s > 0 and t > 0 and s + t < cross:
        return True
    return (
        is_near(ux, uy, ax, ay, near)
        or is_near(ux, uy, bx, by, near)
        or is_near(ux - ax, uy - ay, bx - ax, by - ay, near)
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _is_blocked(x, y, links, stays, v, near, boxes):  # type: ignore[no-untyped-def]
    """True where another node that stays is in the triangle of a node and its neighbours, or that is a spike."""
    a, b = links[v, 0], links[v, 1]
    ax, ay, bx, by = x[a] - x[v], y[a] - y[v], x[b] - x[v], y[b] - y[v]
    if a == b or is_near(ax, ay, bx, by, near) or is_near(bx, by, ax, ay, near):
        return True
    low_x, high_x = x[v] + min(0.0, min(ax, bx)) - near, x[v] + max(0.0, max(ax, bx)) + near
    low_y, high_y = y[v] + min(0.0, min(ay, by)) - near, y[v] + max(0.0, max(ay, by)) + near
    # Down from the top box, depth first: after a box its first child, or the next box that is no child of it.
    level, box = len(boxes.starts) - 2, 0
    while True:
        at = boxes.starts[level] + box
        is_hit = boxes.living[at] > 0 and not (
            boxes.bounds[at, 0] > high_x
            or boxes.bounds[at, 2] < low_x
            or boxes.bounds[at, 1] > high_y
            or boxes.bounds[at, 3] < low_y
        )
        if is_hit and level > 0:
            level, box = level - 1, box * _FAN_OUT
            continue
        if is_hit:
            for u in range(box * _FAN_OUT, min((box + 1) * _FAN_OUT, len(x))):
                if not stays[u] or x[u] < low_x or x[u] > high_x or y[u] < low_y or y[u] > high_y:
                    continue
                if u in (v, a, b):
                    continue
                if _is_in_triangle(x[u] - x[v], y[u] - y[v], ax, ay, bx, by, near):
                    return True
        box += 1
        while level < len(boxes.starts) - 1 and (
            box % _FAN_OUT == 0 or box >= boxes.starts[level + 1] - boxes.starts[level]
        ):
            box = (box - 1) // _FAN_OUT + 1
            level += 1
        if level >= len(boxes.starts) - 1:
            return False


@njit(cache=True, nogil=True, error_model="numpy")
def _thin(x, y, shrink, links, ring_one, ring_other, corners, is_free, least, near, boxes):  # type: ignore[no-untyped-def]
    n = len(x)
    stays = np.ones(n, np.bool_)
    heap = np.empty(n, np.int64)
    keys = np.empty(n)
    at_of = np.full(n, -1, np.int64)
    count = 0
    for v in range(n):
        if is_free[v]:
            area = _area(x, y, shrink, links, v)
            if area < least:
                count = _put(heap, keys, at_of, count, v, area, x, y)
    while count > 0:
        v = heap[0]
        count = _take(heap, keys, at_of, count, v, x, y)
        r, s = ring_one[v], ring_other[v]
        if corners[r] <= _FEWEST or corners[s] <= _FEWEST or _is_blocked(x, y, links, stays, v, near, boxes):
            continue  # until a neighbour goes, which makes another triangle of it
        stays[v] = False
        box = v
        for level in range(len(boxes.starts) - 1):
            box //= _FAN_OUT
            boxes.living[boxes.starts[level] + box] -= 1
        corners[r] -= 1
        if s != r:
            corners[s] -= 1
        for side in range(2):
            a, b = links[v, side], links[v, 1 - side]
            if not is_free[a]:
                continue
            links[a, 0 if links[a, 0] == v else 1] = b
            area = _area(x, y, shrink, links, a)
            if area < least:
                count = _put(heap, keys, at_of, count, a, area, x, y)
            elif at_of[a] >= 0:
                count = _take(heap, keys, at_of, count, a, x, y)
    return stays
