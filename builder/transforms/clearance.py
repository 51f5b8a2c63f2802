"""Which corners of regions may be cut so that nothing meets that did not meet before.

Decides it by one rule. To cut a corner moves the border across the area between the corner and the new course. Borders
of a valid region do not cross, so whatever comes into that area has a corner in it; where none has, the cut is safe,
and any number of safe cuts together are safe. A corner whose cut another corner stands in keeps its place. So do
corners and edges that are nearer to each other than rounding can tell apart. Never moves anything.
"""

from __future__ import annotations

import math

import numpy as np

from builder.transforms.compiling import njit
from builder.transforms.rings import Bools, Rings

NEAR = 2.0**-44  # 256 units in the last place of the largest coordinate: far above rounding, far below any survey
_PARABOLA_SLACK = 1e-6
_CELLS_PER_CORNER = 4  # more cells are quicker to search and slower to make; large regions feel their memory


def safe_corners(shape: Rings, is_cut: Bools, iterations: int) -> Bools:
    """Those of the corners to be cut that may be.

    Parameters
    ----------
    shape
        Valid regions; each is looked at alone.
    is_cut
        The corners to be cut.
    iterations
        How often Chaikin's rule is applied; each new course lies between the corner and the parabola that touches both
        edges at their midpoints.
    """
    reach = (1 - 2.0**-iterations) / 2
    safe = is_cut.copy()
    most = int(np.diff(shape.starts).max(initial=1))
    room = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(_CELLS_PER_CORNER * most + 2, np.int64)
    _check_regions(shape.xy, shape.rings, shape.starts, is_cut, safe, reach, *room)
    return safe


@njit(cache=True, nogil=True, error_model="numpy")
def _check_regions(xy, rings, starts, is_cut, safe, reach, cell_of, order, ends):  # type: ignore[no-untyped-def]
    ring = 0
    for g in range(len(starts) - 1):
        first, last = starts[g], starts[g + 1]
        first_ring = ring
        while rings[ring] < last:
            ring += 1
        _check_region(xy, rings, first_ring, ring, first, last, is_cut, safe, reach, cell_of, order, ends)


@njit(cache=True, nogil=True, error_model="numpy")
def _check_region(  # type: ignore[no-untyped-def]
    xy, rings, first_ring, end_ring, first, last, is_cut, safe, reach, cell_of, order, ends
):
    """Clear `safe` where a corner of the region stands in the way; corners are found by a grid over the region."""
    n = last - first
    x0 = x1 = xy[first, 0]
    y0 = y1 = xy[first, 1]
    for i in range(first, last):
        x0 = min(x0, xy[i, 0])
        x1 = max(x1, xy[i, 0])
        y0 = min(y0, xy[i, 1])
        y1 = max(y1, xy[i, 1])
    near = NEAR * max(max(abs(x0), abs(x1)), max(abs(y0), abs(y1)))
    width, height = x1 - x0 + near, y1 - y0 + near
    cells = _CELLS_PER_CORNER * n
    nx = max(1, min(cells, int(math.sqrt(cells * width / height))))
    ny = max(1, cells // nx)
    per_x, per_y = nx / width, ny / height
    for c in range(nx * ny + 1):
        ends[c] = 0
    for i in range(first, last):
        c = min(int((xy[i, 1] - y0) * per_y), ny - 1) * nx + min(int((xy[i, 0] - x0) * per_x), nx - 1)
        cell_of[i - first] = c
        ends[c + 1] += 1
    for c in range(nx * ny):
        ends[c + 1] += ends[c]
    for i in range(last - 1, first - 1, -1):  # ends[c + 1] becomes where cell c begins
        c = cell_of[i - first] + 1
        ends[c] -= 1
        order[ends[c]] = i
    for ring in range(first_ring, end_ring):
        begin, end = rings[ring], rings[ring + 1]
        for i in range(begin, end):
            if not is_cut[i]:
                continue
            a = i - 1 if i > begin else end - 1
            b = i + 1 if i + 1 < end else begin
            vx, vy = xy[i, 0], xy[i, 1]
            # An edge between two corners to be cut is looked at by halves, else as a whole.
            share_a = 0.5 if is_cut[a] else 1.0
            share_b = 0.5 if is_cut[b] else 1.0
            ax, ay = (xy[a, 0] - vx) * share_a, (xy[a, 1] - vy) * share_a
            bx, by = (xy[b, 0] - vx) * share_b, (xy[b, 1] - vy) * share_b
            low_x, high_x = min(0.0, min(ax, bx)) - near, max(0.0, max(ax, bx)) + near
            low_y, high_y = min(0.0, min(ay, by)) - near, max(0.0, max(ay, by)) + near
            cx0 = max(0, int((vx + low_x - x0) * per_x))
            cx1 = min(nx - 1, int((vx + high_x - x0) * per_x))
            cy0 = max(0, int((vy + low_y - y0) * per_y))
            cy1 = min(ny - 1, int((vy + high_y - y0) * per_y))
            for cy in range(cy0, cy1 + 1):
                row = cy * nx
                for at in range(ends[row + cx0 + 1], _end_of(ends, row + cx1, nx * ny, n)):
                    u = order[at]
                    ux, uy = xy[u, 0] - vx, xy[u, 1] - vy
                    if u == i or ux < low_x or ux > high_x or uy < low_y or uy > high_y:
                        continue
                    if u != a and is_near(ux, uy, ax, ay, near):
                        safe[i] = safe[a] = safe[u] = False
                    if u != b and is_near(ux, uy, bx, by, near):
                        safe[i] = safe[b] = safe[u] = False
                    if u != a and u != b and safe[i]:
                        whole_ax, whole_ay, whole_bx, whole_by = ax / share_a, ay / share_a, bx / share_b, by / share_b
                        if _is_swept(ux, uy, whole_ax, whole_ay, whole_bx, whole_by, reach, near):
                            safe[i] = False


@njit(cache=True, nogil=True, error_model="numpy")
def _end_of(ends, cell, cells, n):  # type: ignore[no-untyped-def]
    """Where the corners of a cell end, once `ends[c + 1]` says where those of cell c begin."""
    return ends[cell + 2] if cell + 1 < cells else n


@njit(cache=True, nogil=True, error_model="numpy")
def is_near(ux, uy, ax, ay, near):  # type: ignore[no-untyped-def]
    """True where the point is no further than `near` from the segment between the origin and (ax, ay)."""
    if abs(ux * ay - uy * ax) > 2 * near * (abs(ax) + abs(ay)):
        return False  # by far, of the line: most are, and need no division
    along = (ux * ax + uy * ay) / (ax * ax + ay * ay)
    along = min(max(along, 0.0), 1.0)
    dx, dy = ux - along * ax, uy - along * ay
    return dx * dx + dy * dy <= near * near


@njit(cache=True, nogil=True, error_model="numpy")
def _is_swept(ux, uy, ax, ay, bx, by, reach, near):  # type: ignore[no-untyped-def]
    """True where the point lies in the corner that is cut off, whose edges lead from the origin to a and b.

    With u = s a + t b, the triangle cut off is s, t >= 0 and s + t <= reach. Between edges' midpoints, with s and t
    doubled the barycentric coordinates, the parabola is beta^2 = 4 alpha gamma.
    """
    cross = ax * by - ay * bx
    if abs(cross) <= near * (abs(ax) + abs(ay) + abs(bx) + abs(by)):
        return False  # as flat as an edge, and that has been looked at
    s = (ux * by - uy * bx) / cross
    t = (ax * uy - ay * ux) / cross
    if s < -_PARABOLA_SLACK or t < -_PARABOLA_SLACK or s + t > reach + _PARABOLA_SLACK:
        return False
    beta = 1 - 2 * s - 2 * t
    return beta * beta >= 16 * s * t - _PARABOLA_SLACK
