"""The compiled loops that find the regions of points in a region grid.

Decides which regions hold a point: those that hold its leaf's corner, changed by every edge that the path from the
corner, north and then east to the point, crosses. Double precision decides where it is certain; else the leaf is done
again with exact signs, and edges that the point lies on are noticed. Never changes the grid. `region_build` says what
its arrays mean.

Much of a look-up's time is waiting for memory, so that points go through five steps in blocks: while one block is in
its leaves, the next ones ask for the rest of long records, for records, cells and top cells. Each step asks for the
memory that the next reads. Steps are given addresses: see `memory`.
"""

from __future__ import annotations

import numpy as np

from builder.transforms.compiling import njit
from builder.transforms.memory import float64_at, int32_at, int64_at, lowest_bit, prefetch, put_float64, put_int64
from builder.transforms.orientation import compiled, crosses_south, crosses_west, is_on
from builder.transforms.region_build import NARROW, NO_PLACE, record_words
from builder.transforms.region_edges import CORNER_IS_LEFT, LANES, cross_four

BLOCK = 32  # points in a step: as long as memory takes to answer
_RING = 8 * BLOCK - 1  # a point's place among the blocks on their way
_REGION_BITS = CORNER_IS_LEFT - 1
_WORK = 26 * BLOCK  # three numbers a point on its way, and two lists of points in leaves
_STEPS = 4  # blocks between the first step and the last
_inlined = {**compiled, "forceinline": True}


@njit(**compiled)
def _enter(lon, lat, start, stop, frame, top, state):  # type: ignore[no-untyped-def]
    """Step 1 of a block: each point's top cell, the one past all others outside of the grid; and where in it."""
    x0, y0, _, _, per_x, per_y, n, m = frame
    cells, east, north = state
    columns, outside = np.int32(n), np.int32(n * m)
    for k in range(start, stop):
        fx, fy = (float64_at(lon, k) - x0) * per_x, (float64_at(lat, k) - y0) * per_y
        is_inside = (fx >= 0.0) & (fy >= 0.0) & (fx < n) & (fy < m)
        i, j = np.int32(fx), np.int32(fy)
        put_int64(cells, k & _RING, np.int64(np.int32(j * columns + i) if is_inside else outside))
        put_float64(east, k & _RING, fx - i if is_inside else 0.0)
        put_float64(north, k & _RING, fy - j if is_inside else 0.0)
    for k in range(start, stop):
        prefetch(top, int64_at(cells, k & _RING))


@njit(**compiled)
def _divide(start, stop, top, cells, state):  # type: ignore[no-untyped-def]
    """Step 2: the place of the point's cell in its top cell."""
    found, east, north = state
    for k in range(start, stop):
        r = k & _RING
        held = int64_at(top, int64_at(found, r))
        divisions, place = np.int32(held & 255), held >> 8
        column = min(np.int32(float64_at(east, r) * divisions), divisions - np.int32(1))
        row = min(np.int32(float64_at(north, r) * divisions), divisions - np.int32(1))
        place += np.int32(row * divisions + column)
        prefetch(cells, place >> 1)
        put_int64(found, r, place)


@njit(**compiled)
def _look(start, stop, cells, words, state, leaves):  # type: ignore[no-untyped-def]
    """Step 3: the region that the cell holds, -1, or -2 - word of a record; the number of the latter, listed."""
    found = state[0]
    count = 0
    for k in range(start, stop):
        value = np.int64(int32_at(cells, int64_at(found, k & _RING)))
        put_int64(found, k & _RING, value)
        put_int64(leaves, count, k)
        count += int(value < -1)
    for t in range(count):
        at = -2 - int64_at(found, int64_at(leaves, t) & _RING)
        prefetch(words, at)
        prefetch(words, at + 8)
        prefetch(words, at + 16)
    return count


@njit(**compiled)
def _measure(count, words, state, leaves):  # type: ignore[no-untyped-def]
    """Step 4: ask for what is left of longer records."""
    for t in range(count):
        at = -2 - int64_at(state[0], int64_at(leaves, t) & _RING)
        last = at + record_words(int32_at(words, 2 * at), int32_at(words, 2 * at + 1)) - 1
        prefetch(words, min(at + 24, last))
        prefetch(words, min(at + 32, last))


@njit(**_inlined)
def _corner(px, py, frame, top):  # type: ignore[no-untyped-def]
    """The lower left corner of the point's cell, as `region_build` rounds it."""
    x0, y0, width, height, per_x, per_y, n, _ = frame
    fx, fy = (px - x0) * per_x, (py - y0) * per_y
    i, j = np.int64(fx), np.int64(fy)
    divisions = int64_at(top, j * n + i) & 255
    column, row = min(np.int64((fx - i) * divisions), divisions - 1), min(np.int64((fy - j) * divisions), divisions - 1)
    return x0 + i * width + column * (width / divisions), y0 + j * height + row * (height / divisions)


@njit(**compiled)
def _descend(value, px, py, x, y, cells, words):  # type: ignore[no-untyped-def]
    """The same as step 3 for a point in a cell that is divided again, and the corner of its leaf."""
    while value < -1:
        at = -2 - value
        if int32_at(words, 2 * at) >= 0:
            break
        divisions = int(int32_at(words, 2 * at + 1))
        column = max(min(int((px - float64_at(words, at + 2)) * float64_at(words, at + 4)), divisions - 1), 0)
        row = max(min(int((py - float64_at(words, at + 3)) * float64_at(words, at + 5)), divisions - 1), 0)
        x = float64_at(words, at + 2) + column * float64_at(words, at + 6)
        y = float64_at(words, at + 3) + row * float64_at(words, at + 7)
        value = np.int64(int32_at(cells, int64_at(words, at + 1) + row * divisions + column))
    return value, x, y


@njit(**_inlined)
def _edge(words, w, edges):  # type: ignore[no-untyped-def]
    return (
        float64_at(words, w),
        float64_at(words, w + edges),
        float64_at(words, w + 2 * edges),
        float64_at(words, w + 3 * edges),
        int64_at(words, w + 4 * edges),
    )


@njit(**compiled)
def _exact_bits(at, xs, ys, px, py, words, with_borders):  # type: ignore[no-untyped-def]
    """The regions of a leaf that hold the point, as bits of its list, by exact signs."""
    edges, regions = np.int64(int32_at(words, 2 * at)), np.int64(int32_at(words, 2 * at + 1))
    inside, border = int64_at(words, at + 1), np.int64(0)
    first = at + record_words(0, regions)
    for w in range(first, first + edges):
        x1, y1, x2, y2, word = _edge(words, w, edges)
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


@njit(**_inlined)
def _bits(at, xs, ys, px, py, words, with_borders):  # type: ignore[no-untyped-def]
    """The regions of a leaf that hold the point, as bits of its list."""
    edges, regions = np.int64(int32_at(words, 2 * at)), np.int64(int32_at(words, 2 * at + 1))
    first = at + record_words(0, regions)
    inside, uncertain = int64_at(words, at + 1), np.int64(0)
    for e in range(0, edges, LANES):
        change = cross_four(words, first, edges, e, xs, px, py)
        inside ^= change
        uncertain |= change
    if uncertain < 0:
        return _exact_bits(at, xs, ys, px, py, words, with_borders)
    return inside


@njit(**compiled)
def _flag_crowd(at, xs, ys, px, py, words, flags):  # type: ignore[no-untyped-def]
    """Set a flag for each region of a crowded leaf: bit 0 inside, bit 1 on the border."""
    edges, regions = np.int64(int32_at(words, 2 * at)), np.int64(int32_at(words, 2 * at + 1))
    held = int64_at(words, at + 1)
    flags[:held] = 1
    flags[held:regions] = 0
    first = at + record_words(0, regions)
    for w in range(first, first + edges):
        x1, y1, x2, y2, word = _edge(words, w, edges)
        one, other = word & NO_PLACE, (word >> np.int64(31)) & NO_PLACE
        if _is_crossed(x1, y1, x2, y2, word, xs, px, py, ys):
            flags[one] ^= 1
            if other != NO_PLACE:
                flags[other] ^= 1
        if is_on(x1, y1, x2, y2, px, py):
            flags[one] |= 2
            if other != NO_PLACE:
                flags[other] |= 2


@njit(**_inlined)
def _only(value, px, py, xs, ys, words, with_borders, is_lowest_enough):  # type: ignore[no-untyped-def]
    """Step 5: the region of a record that holds the point, -1 where none does.

    `value` itself where the record is crowded or no leaf, or where several do and the lowest is not enough.
    """
    at = -2 - value
    edges, regions = int32_at(words, 2 * at), int32_at(words, 2 * at + 1)
    if (edges < 0) | (regions > NARROW):
        return value
    bits = _bits(at, xs, ys, px, py, words, with_borders)
    region = np.int64(int32_at(words, 2 * at + 4 + lowest_bit(bits)))
    if (bits & (bits - 1)) != 0 and not is_lowest_enough:
        return value
    return region if bits else np.int64(-1)


@njit(**compiled)
def _settle(count, leaves, xs, ys, frame, top, words, state, with_borders, is_lowest_enough):  # type: ignore[no-untyped-def]
    """Step 5 of the points in leaves."""
    for t in range(count):
        k = int64_at(leaves, t)
        px, py, value = float64_at(xs, k), float64_at(ys, k), int64_at(state[0], k & _RING)
        x, y = _corner(px, py, frame, top)
        put_int64(state[0], k & _RING, _only(value, px, py, x, y, words, with_borders, is_lowest_enough))


@njit(**compiled)
def _advance(start, points, xs, ys, grid, state, counts, rule):  # type: ignore[no-untyped-def]
    """Take five blocks a step on, the first of which starts at a point; the numbers of points that are in leaves.

    The block that started `_STEPS` blocks before is done: `state` has what holds its points.
    """
    frame, top, cells, words = grid
    looked, measured = counts
    lists = state[0] + 192 * BLOCK
    mine, other = lists + start % (2 * BLOCK) * 8, lists + (start + BLOCK) % (2 * BLOCK) * 8
    _enter(xs, ys, start, min(start + BLOCK, points), frame, top, state)
    a = start - BLOCK
    _divide(max(a, 0), min(a + BLOCK, points), top, cells, state)
    _settle(measured, mine, xs, ys, frame, top, words, state, *rule)
    _measure(looked, words, state, other)
    a -= BLOCK
    return _look(max(a, 0), min(a + BLOCK, points), cells, words, state, mine), looked


@njit(**compiled)
def _list_regions(value, px, py, xs, ys, cells, words, with_borders, flags, here):  # type: ignore[no-untyped-def]
    """The number of regions that hold the point, listed in `here`, in any order."""
    value, xs, ys = _descend(value, px, py, xs, ys, cells, words)
    here[0] = value
    if value >= -1:
        return int(value >= 0)
    at = -2 - value
    regions = int32_at(words, 2 * at + 1)
    count = 0
    if regions > NARROW:
        _flag_crowd(at, xs, ys, px, py, words, flags)
        for t in range(regions):
            if flags[t] == 1 or (with_borders and flags[t] != 0):
                here[count] = int32_at(words, 2 * at + 4 + t)
                count += 1
    else:
        bits = _bits(at, xs, ys, px, py, words, with_borders)
        while bits:
            here[count] = int32_at(words, 2 * at + 4 + lowest_bit(bits))
            count += 1
            bits &= bits - 1
    return count


@njit(**compiled)
def find_lowest(lon, lat, grid, with_borders, most_regions, out):  # type: ignore[no-untyped-def]
    """Put the lowest region of each point into `out`, -1 where there is none."""
    frame, (top, cells, words) = grid[0], (grid[1].ctypes.data, grid[2].ctypes.data, grid[3].ctypes.data)
    xs, ys, points = lon.ctypes.data, lat.ctypes.data, len(lon)
    flags, here = np.empty(most_regions, np.uint8), np.empty(most_regions + 1, np.int32)
    work = np.empty(_WORK, np.int64)
    found = work.ctypes.data
    state, counts = (found, found + 64 * BLOCK, found + 128 * BLOCK), (0, 0)
    for start in range(0, points + _STEPS * BLOCK, BLOCK):
        counts = _advance(start, points, xs, ys, (frame, top, cells, words), state, counts, (with_borders, True))
        a = start - _STEPS * BLOCK
        for k in range(max(a, 0), min(a + BLOCK, points)):
            value = int64_at(found, k & _RING)
            if value < -1:
                x, y = _corner(lon[k], lat[k], frame, top)
                held = _list_regions(value, lon[k], lat[k], x, y, cells, words, with_borders, flags, here)
                value = np.int64(here[:held].min()) if held else np.int64(-1)
            out[k] = value
    work[0] = 0  # it is held until here


@njit(**compiled)
def find_all(lon, lat, grid, with_borders, most_regions, order, first, out_points, out_regions):  # type: ignore[no-untyped-def]
    """The number of pairs of a point and a region that holds it, by the point and then `order[region]`.

    As many as the arrays hold are put there, each with `first` and the point, and `order[region]`; an empty `order`
    leaves regions as they are.
    """
    frame, (top, cells, words) = grid[0], (grid[1].ctypes.data, grid[2].ctypes.data, grid[3].ctypes.data)
    xs, ys, points = lon.ctypes.data, lat.ctypes.data, len(lon)
    flags, here = np.empty(most_regions, np.uint8), np.empty(most_regions + 1, np.int32)
    work = np.empty(_WORK, np.int64)
    found = work.ctypes.data
    state, counts = (found, found + 64 * BLOCK, found + 128 * BLOCK), (0, 0)
    pairs, room, is_ordered = 0, len(out_points), len(order) == 0
    for start in range(0, points + _STEPS * BLOCK, BLOCK):
        counts = _advance(start, points, xs, ys, (frame, top, cells, words), state, counts, (with_borders, False))
        a = start - _STEPS * BLOCK
        for k in range(max(a, 0), min(a + BLOCK, points)):
            value = int64_at(found, k & _RING)
            if value >= -1:
                if pairs < room:
                    out_points[pairs] = first + k
                    out_regions[pairs] = value if is_ordered or value < 0 else order[value]
                pairs += value >= 0
                continue
            x, y = _corner(lon[k], lat[k], frame, top)
            held = _list_regions(value, lon[k], lat[k], x, y, cells, words, with_borders, flags, here)
            if not is_ordered:
                for t in range(held):
                    here[t] = order[here[t]]
            here[:held].sort()
            if pairs + held <= room:
                for t in range(held):
                    out_points[pairs + t] = first + k
                    out_regions[pairs + t] = here[t]
            pairs += held
    work[0] = 0  # it is held until here
    return pairs
