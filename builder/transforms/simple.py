"""Which rings are simple, where double precision can tell: no two of their edges meet but neighbours, in their corner.

Decides only what is certain; GEOS decides the rest. A polygon of one simple ring is valid. Edges meet only where their
boxes do, and boxes of some edges in a row sift out most pairs. Never says that a ring is not simple.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from builder.transforms.compiling import njit
from builder.transforms.orientation import UNCERTAIN, compiled

_ROW = 8  # edges that share a box
_MOST_CORNERS = 4096  # rows are compared with all others
_LEAST = 1e-250  # products below it may have lost digits


def simple_rings(xy: NDArray[np.float64], rings: NDArray[np.int64]) -> NDArray[np.bool_]:
    """True for the rings, open and without repeated points, that are certainly simple."""
    simple = np.zeros(len(rings) - 1, bool)
    _find_simple(xy, rings, np.empty((_MOST_CORNERS, 4)), np.empty((_MOST_CORNERS // _ROW + 1, 4)), simple)
    return simple


@njit(**compiled)
def _find_simple(xy, rings, edges, rows, simple):  # type: ignore[no-untyped-def]
    for r in range(len(rings) - 1):
        begin, n = rings[r], rings[r + 1] - rings[r]
        if 3 <= n <= _MOST_CORNERS and _corners_are_sharp(xy, begin, n):
            _fill_boxes(xy, begin, n, edges, rows)
            simple[r] = _edges_are_apart(xy, begin, n, edges, rows)
    return simple


@njit(**compiled)
def _corners_are_sharp(xy, begin, n):  # type: ignore[no-untyped-def]
    """Whether certainly no edge runs back along the one before it, and all corners are finite."""
    px, py = xy[begin + n - 1, 0], xy[begin + n - 1, 1]
    for i in range(n):
        x, y = xy[begin + i, 0], xy[begin + i, 1]
        if not (x - x == 0.0 and y - y == 0.0):
            return False
        k = begin + i + 1 if i + 1 < n else begin
        qx, qy = xy[k, 0], xy[k, 1]
        goes_on_x = (px < x and x < qx) or (px > x and x > qx)
        goes_on_y = (py < y and y < qy) or (py > y and y > qy)
        turns_x = (px < x and qx < x) or (px > x and qx > x)
        turns_y = (py < y and qy < y) or (py > y and qy > y)
        is_ahead = (goes_on_x and not turns_y) or (goes_on_y and not turns_x)
        if not is_ahead and _side(x, y, px, py, qx, qy) == 0:
            return False
        px, py = x, y
    return True


@njit(**compiled)
def _side(ax, ay, bx, by, px, py):  # type: ignore[no-untyped-def]
    """1 or -1 where the point is certainly left or right of the line from a to b, else 0."""
    left, right = (bx - ax) * (py - ay), (by - ay) * (px - ax)
    size = abs(left) + abs(right)
    if not size > _LEAST:
        return 0
    if left - right > UNCERTAIN * size:
        return 1
    if right - left > UNCERTAIN * size:
        return -1
    return 0


@njit(**compiled)
def _fill_boxes(xy, begin, n, edges, rows):  # type: ignore[no-untyped-def]
    """Put the box of each edge, and of each row of edges, into `edges` and `rows`: low x, low y, high x, high y."""
    for i in range(n):
        k = begin + i + 1 if i + 1 < n else begin
        ax, ay, bx, by = xy[begin + i, 0], xy[begin + i, 1], xy[k, 0], xy[k, 1]
        low_x, low_y, high_x, high_y = min(ax, bx), min(ay, by), max(ax, bx), max(ay, by)
        edges[i, 0], edges[i, 1], edges[i, 2], edges[i, 3] = low_x, low_y, high_x, high_y
        row = i // _ROW
        if i % _ROW == 0:
            rows[row, 0], rows[row, 1], rows[row, 2], rows[row, 3] = low_x, low_y, high_x, high_y
        else:
            rows[row, 0], rows[row, 1] = min(rows[row, 0], low_x), min(rows[row, 1], low_y)
            rows[row, 2], rows[row, 3] = max(rows[row, 2], high_x), max(rows[row, 3], high_y)


@njit(**compiled)
def _boxes_meet(one, i, other, k):  # type: ignore[no-untyped-def]
    return (
        (one[i, 0] <= other[k, 2])
        & (other[k, 0] <= one[i, 2])
        & (one[i, 1] <= other[k, 3])
        & (other[k, 1] <= one[i, 3])
    )


@njit(**compiled)
def _edges_are_apart(xy, begin, n, edges, rows):  # type: ignore[no-untyped-def]
    """Whether certainly no two edges meet that are not neighbours."""
    last = (n - 1) // _ROW
    for row in range(last + 1):
        for other in range(row, last + 1):
            if not _boxes_meet(rows, row, rows, other):
                continue
            for i in range(row * _ROW, min((row + 1) * _ROW, n)):
                if other > row and not _boxes_meet(edges, i, rows, other):
                    continue
                for k in range(max(other * _ROW, i + 2), min((other + 1) * _ROW, n)):
                    if _boxes_meet(edges, i, edges, k) and not (i == 0 and k == n - 1):
                        a, b = begin + i, begin + i + 1
                        c, d = begin + k, begin + k + 1 if k + 1 < n else begin
                        if not (_is_aside(xy, a, b, c, d) or _is_aside(xy, c, d, a, b)):
                            return False
    return True


@njit(**compiled)
def _is_aside(xy, a, b, c, d):  # type: ignore[no-untyped-def]
    """Whether c and d are certainly on one side of the line through a and b."""
    side = _side(xy[a, 0], xy[a, 1], xy[b, 0], xy[b, 1], xy[c, 0], xy[c, 1])
    return side != 0 and side == _side(xy[a, 0], xy[a, 1], xy[b, 0], xy[b, 1], xy[d, 0], xy[d, 1])
