"""The compiled loops that find the regions of points in a region grid.

Decides which regions hold a point: those that hold its leaf's corner, changed by every edge that the path from the
corner, north and then east to the point, crosses. Double precision decides where it is certain; else the leaf is done
again with exact signs, and edges that the point lies on are noticed. Never changes the grid. `region_build` says what
its arrays mean.
"""

from __future__ import annotations

import numpy as np

from builder.transforms.compiling import njit
from builder.transforms.orientation import UNCERTAIN, compiled, crosses_south, crosses_west, is_on
from builder.transforms.prefetch import prefetch
from builder.transforms.region_build import NARROW, NO_PLACE

BLOCK = 512  # points that go through a step together, so that their cells are fetched at the same time
_IN_CELLS = np.int64(1) << np.int64(40)  # marks a place among the cells, above any region
_CORNER_IS_LEFT = np.int64(1) << np.int64(62)
_REGION_BITS = _CORNER_IS_LEFT - 1


@njit(inline="always", **compiled)
def _cells_of(lon, lat, start, stop, frame, top, cells, words, found, corner_x, corner_y):  # type: ignore[no-untyped-def]
    """What the grid holds at each point of a block: a region, -1, or -2 - word of a record; and the leaves' corners.

    Three steps for all points, each of which asks for the memory that the next one reads.
    """
    x0, y0, width, height, per_x, per_y, n, m = frame
    for k in range(stop - start):
        fx, fy = (lon[start + k] - x0) * per_x, (lat[start + k] - y0) * per_y
        cell = np.int64(-1)
        if (fx >= 0.0) & (fy >= 0.0) & (fx < n) & (fy < m):
            cell = np.int64(fy) * n + np.int64(fx)
            prefetch(top, cell)
        found[k] = cell
    for k in range(stop - start):
        value = np.int64(-1)
        if found[k] >= 0:
            value = top[found[k]]
        if value < -1:
            fx, fy = (lon[start + k] - x0) * per_x, (lat[start + k] - y0) * per_y
            i, j = np.int64(fx), np.int64(fy)
            divisions, place = (-2 - value) & 255, (-2 - value) >> 8
            corner_x[k], corner_y[k] = x0 + i * width, y0 + j * height
            value = -2 - place
            if divisions > 0:
                column = min(np.int64((fx - i) * divisions), divisions - 1)
                row = min(np.int64((fy - j) * divisions), divisions - 1)
                corner_x[k] += column * (width / divisions)
                corner_y[k] += row * (height / divisions)
                value = place + row * divisions + column + _IN_CELLS
                prefetch(cells, value - _IN_CELLS)
        found[k] = value
    for k in range(stop - start):
        value = found[k]
        if value >= _IN_CELLS:
            value = np.int64(cells[value - _IN_CELLS])
            found[k] = value
        if value < -1:
            prefetch(words, -2 - value)
            prefetch(words, 6 - value)


@njit(**compiled)
def _descend(value, px, py, x, y, cells, records):  # type: ignore[no-untyped-def]
    """The same as `_cells_of` for a point in a cell that is divided again."""
    ints, floats, words = records
    while value < -1:
        at = -2 - value
        if ints[2 * at] >= 0:
            break
        divisions = int(ints[2 * at + 1])
        column = max(min(int((px - floats[at + 2]) * floats[at + 4]), divisions - 1), 0)
        row = max(min(int((py - floats[at + 3]) * floats[at + 5]), divisions - 1), 0)
        x = floats[at + 2] + column * floats[at + 6]
        y = floats[at + 3] + row * floats[at + 7]
        value = np.int64(cells[words[at + 1] + row * divisions + column])
    return value, x, y


@njit(**compiled)
def _exact_bits(at, xs, ys, px, py, records, with_borders):  # type: ignore[no-untyped-def]
    """The regions of a leaf that hold the point, as bits of its list, by exact signs."""
    ints, floats, words = records
    inside = (np.int64(1) << np.int64(ints[2 * at + 2])) - 1
    border = np.int64(0)
    w = at + (4 + ints[2 * at + 1]) // 2
    for _ in range(ints[2 * at]):
        x1, y1, x2, y2, word = floats[w], floats[w + 1], floats[w + 2], floats[w + 3], words[w + 4]
        w += 5
        if _is_crossed(x1, y1, x2, y2, word, xs, px, py, ys):
            inside ^= word & _REGION_BITS
        if is_on(x1, y1, x2, y2, px, py):
            border |= word & _REGION_BITS
    return inside | border if with_borders else inside & ~border


@njit(**compiled)
def _is_crossed(x1, y1, x2, y2, word, xs, px, py, ys):  # type: ignore[no-untyped-def]
    """Whether the path corner, (xs, py), point crosses the edge an odd number of times, exactly."""
    odd = False
    if (y1 <= py) != (y2 <= py):
        odd = crosses_west(x1, y1, x2, y2, px, py) != crosses_west(x1, y1, x2, y2, xs, py)
    if x1 <= xs < x2:
        odd ^= crosses_south(x1, y1, x2, y2, xs, py) != crosses_south(x1, y1, x2, y2, xs, ys)
    return odd


@njit(inline="always", **compiled)
def _bits(at, xs, ys, px, py, records, with_borders):  # type: ignore[no-untyped-def]
    """The regions of a leaf that hold the point, as bits of its list."""
    ints, floats, words = records
    inside = (np.int64(1) << np.int64(ints[2 * at + 2])) - 1
    w = at + (4 + ints[2 * at + 1]) // 2
    is_uncertain = False
    for _ in range(ints[2 * at]):
        x1, y1, x2, y2, word = floats[w], floats[w + 1], floats[w + 2], floats[w + 3], words[w + 4]
        w += 5
        dy = y2 - y1
        left = (x2 - x1) * (py - y1)
        right, right_corner = dy * (px - x1), dy * (xs - x1)
        at_point, at_turn = left - right, left - right_corner
        level = (y1 <= py) != (y2 <= py)
        upright = (x1 <= xs) & (xs < x2)
        near_point = abs(at_point) <= UNCERTAIN * (abs(left) + abs(right))
        near_turn = abs(at_turn) <= UNCERTAIN * (abs(left) + abs(right_corner))
        beside = (min(y1, y2) <= py) & (py <= max(y1, y2))
        is_uncertain |= (near_point & beside) | (near_turn & (level | upright))
        odd = (level & ((at_point > 0.0) != (at_turn > 0.0))) != (
            upright & ((at_turn > 0.0) != ((word & _CORNER_IS_LEFT) != 0))
        )
        inside ^= (word & _REGION_BITS) * np.int64(odd)
    if is_uncertain:
        return _exact_bits(at, xs, ys, px, py, records, with_borders)
    return inside


@njit(**compiled)
def _flags(at, xs, ys, px, py, records, flags):  # type: ignore[no-untyped-def]
    """Set a flag for each region of a crowded leaf: bit 0 inside, bit 1 on the border."""
    ints, floats, words = records
    regions, held = ints[2 * at + 1], ints[2 * at + 2]
    flags[:held] = 1
    flags[held:regions] = 0
    w = at + (4 + regions) // 2
    for _ in range(ints[2 * at]):
        x1, y1, x2, y2, word = floats[w], floats[w + 1], floats[w + 2], floats[w + 3], words[w + 4]
        w += 5
        one, other = word & NO_PLACE, (word >> np.int64(31)) & NO_PLACE
        if _is_crossed(x1, y1, x2, y2, word, xs, px, py, ys):
            flags[one] ^= 1
            if other != NO_PLACE:
                flags[other] ^= 1
        if is_on(x1, y1, x2, y2, px, py):
            flags[one] |= 2
            if other != NO_PLACE:
                flags[other] |= 2


@njit(**compiled)
def _lowest_of_crowd(at, xs, ys, px, py, records, with_borders, flags):  # type: ignore[no-untyped-def]
    """The lowest region that holds the point of a leaf with many regions; -1 where none does."""
    ints = records[0]
    _flags(at, xs, ys, px, py, records, flags)
    lowest = np.int32(NO_PLACE)
    for t in range(ints[2 * at + 1]):
        if flags[t] == 1 or (with_borders and flags[t] != 0):
            lowest = min(lowest, ints[2 * at + 3 + t])
    return lowest if lowest != NO_PLACE else np.int32(-1)


@njit(**compiled)
def find_lowest(lon, lat, grid, with_borders, most_regions, out):  # type: ignore[no-untyped-def]
    """Put the lowest region of each point into `out`, -1 where there is none."""
    found, corner_x, corner_y = np.empty(BLOCK, np.int64), np.empty(BLOCK), np.empty(BLOCK)
    flags = np.empty(most_regions, np.uint8)
    waiting = np.empty(BLOCK, np.int64)
    frame, top, cells, words = grid
    ints, floats = words.view(np.int32), words.view(np.float64)
    records = ints, floats, words
    for start in range(0, len(lon), BLOCK):
        stop = min(start + BLOCK, len(lon))
        _cells_of(lon, lat, start, stop, frame, top, cells, words, found, corner_x, corner_y)
        count = 0
        for k in range(stop - start):
            value = found[k]
            out[start + k] = value
            waiting[count] = k
            count += value < -1
        for t in range(count):
            k = waiting[t]
            px, py = lon[start + k], lat[start + k]
            value, x, y = found[k], corner_x[k], corner_y[k]
            if ints[-4 - 2 * value] < 0:
                value, x, y = _descend(value, px, py, x, y, cells, records)
                if value >= -1:
                    out[start + k] = value
                    continue
            at = -2 - value
            if ints[2 * at + 1] > NARROW:
                out[start + k] = _lowest_of_crowd(at, x, y, px, py, records, with_borders, flags)
                continue
            bits = _bits(at, x, y, px, py, records, with_borders)
            lowest = np.int32(NO_PLACE if bits else -1)
            place = 2 * at + 3
            while bits:
                if bits & 1:
                    lowest = min(lowest, ints[place])
                bits >>= np.int64(1)
                place += 1
            out[start + k] = lowest


@njit(**compiled)
def find_all(lon, lat, grid, with_borders, most_regions, order, out_points, out_regions):  # type: ignore[no-untyped-def]
    """The number of pairs of a point and a region that holds it, by the point and then `order[region]`.

    As many as the arrays hold are put there, each with `order[region]`; an empty `order` leaves regions as they are.
    """
    found, corner_x, corner_y = np.empty(BLOCK, np.int64), np.empty(BLOCK), np.empty(BLOCK)
    flags, here = np.empty(most_regions, np.uint8), np.empty(most_regions + 1, np.int32)
    frame, top, cells, words = grid
    records = words.view(np.int32), words.view(np.float64), words
    ints = records[0]
    pairs = 0
    for start in range(0, len(lon), BLOCK):
        stop = min(start + BLOCK, len(lon))
        _cells_of(lon, lat, start, stop, frame, top, cells, words, found, corner_x, corner_y)
        for k in range(start, stop):
            px, py = lon[k], lat[k]
            value, x, y = found[k - start], corner_x[k - start], corner_y[k - start]
            if value < -1 and ints[-4 - 2 * value] < 0:
                value, x, y = _descend(value, px, py, x, y, cells, records)
            count = 0
            if value >= 0:
                here[0] = value
                count = 1
            elif value < -1:
                at = -2 - value
                place = 2 * at + 3
                if ints[2 * at + 1] > NARROW:
                    _flags(at, x, y, px, py, records, flags)
                    for t in range(ints[2 * at + 1]):
                        if flags[t] == 1 or (with_borders and flags[t] != 0):
                            here[count] = ints[place + t]
                            count += 1
                else:
                    bits = _bits(at, x, y, px, py, records, with_borders)
                    while bits:
                        here[count] = ints[place]
                        count += bits & 1
                        bits >>= np.int64(1)
                        place += 1
            if len(order):
                for t in range(count):
                    here[t] = order[here[t]]
            if count > 1:
                here[:count].sort()
            if pairs + count <= len(out_points):
                for t in range(count):
                    out_points[pairs + t] = k
                    out_regions[pairs + t] = here[t]
            pairs += count
    return pairs
