"""The compiled loops under `count_codes` and `count_cells`: values to codes, codes to keys, keys to totals.

Decides nothing: every loop is exact, and order and limits are its callers' concern. Compiled on first use and cached.
Importing this module imports numba.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_AHEAD = 64  # rows
_MIX = np.uint64(0x9E3779B97F4A7C15)
_U0, _U1, _U8, _U16 = np.uint64(0), np.uint64(1), np.uint64(8), np.uint64(16)
_R29, _R32 = np.uint64(29), np.uint64(32)
_BYTES = tuple(np.uint64(i) for i in range(8))
_SHIFTS = tuple(np.uint64(8 * i) for i in range(8))
_options: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
_inlined: dict[str, Any] = {"nogil": True, "error_model": "numpy", "inline": "always"}


@njit(**_inlined)
def _mixed(x):  # type: ignore[no-untyped-def]
    x = (x ^ (x >> _R32)) * _MIX
    x = (x ^ (x >> _R29)) * _MIX
    return x ^ (x >> _R32)


@njit(**_inlined)
def _word(data, at):  # type: ignore[no-untyped-def]
    # Unsigned positions: LLVM joins these loads into one only where no index can wrap around.
    return (
        np.uint64(data[at])
        | np.uint64(data[at + _BYTES[1]]) << _SHIFTS[1]
        | np.uint64(data[at + _BYTES[2]]) << _SHIFTS[2]
        | np.uint64(data[at + _BYTES[3]]) << _SHIFTS[3]
        | np.uint64(data[at + _BYTES[4]]) << _SHIFTS[4]
        | np.uint64(data[at + _BYTES[5]]) << _SHIFTS[5]
        | np.uint64(data[at + _BYTES[6]]) << _SHIFTS[6]
        | np.uint64(data[at + _BYTES[7]]) << _SHIFTS[7]
    )


@njit(**_inlined)
def _first(data, at, count):  # type: ignore[no-untyped-def]
    """The next `count` bytes, at most 8, as one word; bytes past the end are never read."""
    if at + _U8 <= np.uint64(data.shape[0]):
        found = _word(data, at)
        if count < _U8:
            found &= (_U1 << (_U8 * count)) - _U1
        return found
    found = _U0
    for i in range(np.int64(min(count, _U8))):
        found |= np.uint64(data[at + np.uint64(i)]) << np.uint64(8 * i)
    return found


@njit(**_inlined)
def _hashed(one, two, length):  # type: ignore[no-untyped-def]
    hashed = _mixed(length ^ one)
    return _mixed(hashed ^ two) if length > _U8 else hashed


@njit(**_inlined)
def _is_same(arena, start, data, begin, length):  # type: ignore[no-untyped-def]
    done = _U0
    while done < length and _first(arena, start + done, length - done) == _first(data, begin + done, length - done):
        done += _U8
    return done >= length


@njit(**_options)
def mark_present(values, valid, base, codes, present):  # type: ignore[no-untyped-def]
    """Put ``value - base`` into `codes`, -1 for null, and mark in `present` which of them occur."""
    has_nulls = valid.shape[0] > 0
    for row in range(values.shape[0]):
        if has_nulls and not valid[row]:
            codes[row] = -1
        else:
            code = np.int64(values[row]) - base
            codes[row] = code
            present[code] = True


@njit(**_options)
def encode_integers(values, valid, at, codes, slots, marks, found, used):  # type: ignore[no-untyped-def]
    """Put into `codes` the position of each value in `found`, -1 for null, from row `at` on.

    `slots` and `marks` are an open hash table of values and their positions, at most half full. Returns the row where
    `found` was full, or the number of rows, and how many values `found` holds.
    """
    has_nulls = valid.shape[0] > 0
    mask = np.uint64(marks.shape[0] - 1)
    for row in range(at, values.shape[0]):
        if has_nulls and not valid[row]:
            codes[row] = -1
            continue
        value = np.int64(values[row])
        slot = _mixed(np.uint64(value)) & mask
        while marks[slot] >= 0 and slots[slot] != value:
            slot = (slot + _U1) & mask
        if marks[slot] < 0:
            if used == found.shape[0]:
                return row, used
            found[used] = value
            slots[slot] = value
            marks[slot] = used
            used += 1
        codes[row] = marks[slot]
    return values.shape[0], used


@njit(**_options)
def rehash_integers(found, used, slots, marks):  # type: ignore[no-untyped-def]
    """Fill an empty table with the values found so far."""
    mask = np.uint64(marks.shape[0] - 1)
    for code in range(used):
        slot = _mixed(np.uint64(found[code])) & mask
        while marks[slot] >= 0:
            slot = (slot + _U1) & mask
        slots[slot] = found[code]
        marks[slot] = code


@njit(**_options)
def encode_texts(data, offsets, valid, at, codes, slots, arena, starts, used):  # type: ignore[no-untyped-def]
    """Put into `codes` the position of each text among those found, -1 for null, from row `at` on.

    Texts lie in `data` between `offsets`. Those found are put end to end into `arena`, between `starts`. `slots` is an
    open hash table, at most half full, of four words a text, so that a look costs one cache line: the text itself where
    two words hold it, else its hash and its start; its length; its position and 1, so that 0 is free. Returns the row
    where something was full, or the number of rows, and how many texts are found.
    """
    has_nulls = valid.shape[0] > 0
    mask = np.uint64(slots.shape[0] - 1)
    ahead = np.empty((_AHEAD, 4), np.uint64)
    for block in range(at, codes.shape[0], _AHEAD):
        rows = min(_AHEAD, codes.shape[0] - block)
        # Hashes of some rows first, and a look at where each leads: these looks wait for memory together.
        for i in range(rows):
            begin = np.uint64(offsets[block + i])
            length = np.uint64(offsets[block + i + 1]) - begin
            one = _first(data, begin, length)
            two = _first(data, begin + _U8, length - _U8) if length > _U8 else _U0
            hashed = _hashed(one, two, length)
            if length > _U16:
                done = _U16
                while done < length:
                    hashed = _mixed(hashed ^ _first(data, begin + done, length - done))
                    done += _U8
                one = hashed
            ahead[i, 0], ahead[i, 1], ahead[i, 2], ahead[i, 3] = one, two, hashed, slots[hashed & mask, 3]
        for i in range(rows):
            row = block + i
            if has_nulls and not valid[row]:
                codes[row] = -1
                continue
            begin = np.uint64(offsets[row])
            length = np.uint64(offsets[row + 1]) - begin
            one, two, slot = ahead[i, 0], ahead[i, 1], ahead[i, 2] & mask
            while slots[slot, 3] > _U0:
                if slots[slot, 0] == one and slots[slot, 2] == length:
                    if length <= _U16:
                        if slots[slot, 1] == two:
                            break
                    elif _is_same(arena, slots[slot, 1], data, begin, length):
                        break
                slot = (slot + _U1) & mask
            if slots[slot, 3] == _U0:
                start = np.uint64(starts[used])
                if used + 1 == starts.shape[0] or start + length > np.uint64(arena.shape[0]):
                    return row, used
                for byte in range(np.int64(length)):
                    arena[start + np.uint64(byte)] = data[begin + np.uint64(byte)]
                slots[slot, 0] = one
                slots[slot, 1] = two if length <= _U16 else start
                slots[slot, 2] = length
                used += 1
                slots[slot, 3] = used
                starts[used] = start + length
            codes[row] = np.int64(slots[slot, 3]) - 1
    return codes.shape[0], used


@njit(**_options)
def rehash_texts(slots, larger):  # type: ignore[no-untyped-def]
    """Move a table of texts to a larger, empty one."""
    mask = np.uint64(larger.shape[0] - 1)
    for old in range(slots.shape[0]):
        if slots[old, 3] > _U0:
            one, length = slots[old, 0], slots[old, 2]
            slot = (one if length > _U16 else _hashed(one, slots[old, 1], length)) & mask
            while larger[slot, 3] > _U0:
                slot = (slot + _U1) & mask
            for i in range(4):
                larger[slot, i] = slots[old, i]


@njit(**_options)
def append_codes(keys, codes, ranks, size):  # type: ignore[no-untyped-def]
    """Make every key ``key * size + rank`` of its code; -1 where the code is null or the key was."""
    for row in range(keys.shape[0]):
        if codes[row] < 0 or keys[row] < 0:
            keys[row] = -1
        else:
            keys[row] = keys[row] * size + ranks[codes[row]]


@njit(**_options)
def add_ones(keys, totals):  # type: ignore[no-untyped-def]
    """Add 1 to the total at every key that is not -1."""
    for row in range(keys.shape[0]):
        if keys[row] >= 0:
            totals[keys[row]] += 1


@njit(**_options)
def add_weights(keys, weights, totals):  # type: ignore[no-untyped-def]
    """Add each row's weight to the total at its key, where that is not -1."""
    for row in range(keys.shape[0]):
        if keys[row] >= 0:
            totals[keys[row]] += weights[row]


@njit(**_options)
def roll_up(totals, parents, deepest_first, inner):  # type: ignore[no-untyped-def]
    """Add the totals of every node to its parent's, children before parents; `inner` keys lie between two nodes."""
    block = parents.shape[0] * inner
    for base in range(0, totals.shape[0], block):
        for node in deepest_first:
            if parents[node] >= 0:
                below = base + node * inner
                above = base + parents[node] * inner
                for i in range(inner):
                    totals[above + i] += totals[below + i]


@njit(**_options)
def count_partitions(keys, shift, sizes):  # type: ignore[no-untyped-def]
    """Add to `sizes` how many keys fall into each partition, by the first bits of their hash; -1 falls in none."""
    for row in range(keys.shape[0]):
        if keys[row] >= 0:
            sizes[_mixed(np.uint64(keys[row])) >> shift] += 1


@njit(**_options)
def scatter(keys, shift, ends, out, places):  # type: ignore[no-untyped-def]
    """Put every key at the end of its partition in `out`; where that was into `places`, unless that is empty."""
    has_places = places.shape[0] > 0
    for row in range(keys.shape[0]):
        at = -1
        if keys[row] >= 0:
            partition = _mixed(np.uint64(keys[row])) >> shift
            at = ends[partition]
            out[at] = keys[row]
            ends[partition] = at + 1
        if has_places:
            places[row] = at


@njit(**_options)
def put(weights, places, out):  # type: ignore[no-untyped-def]
    """Put every weight where its key was put."""
    for row in range(weights.shape[0]):
        if places[row] >= 0:
            out[places[row]] = weights[row]


@njit(**_options)
def add_partitions(keys, bounds, weights, has_ones, totals):  # type: ignore[no-untyped-def]
    """Put the different keys of every partition, and their totals, to the front of `keys` and `totals`; how many.

    `weights` has a row per weight; with `has_ones` a first one of 1 stands before them. What is written never overtakes
    what is read. The hash table grows with the different keys of a partition, not with its rows.
    """
    ones = 1 if has_ones else 0
    width = totals.shape[0]
    slots = np.full(1 << 12, -1, np.int64)
    sums = np.empty((1 << 12, width), np.int64)
    used = 0
    for partition in range(bounds.shape[0] - 1):
        slots[:] = -1
        mask = np.uint64(slots.shape[0] - 1)
        held = 0
        for row in range(bounds[partition], bounds[partition + 1]):
            key = keys[row]
            slot = _mixed(np.uint64(key)) & mask
            while slots[slot] >= 0 and slots[slot] != key:
                slot = (slot + _U1) & mask
            if slots[slot] < 0:
                slots[slot] = key
                for i in range(width):
                    sums[slot, i] = 0
                held += 1
            if has_ones:
                sums[slot, 0] += 1
            for i in range(weights.shape[0]):
                sums[slot, ones + i] += weights[i, row]
            if 2 * held > slots.shape[0]:
                slots, sums = _doubled(slots, sums)
                mask = np.uint64(slots.shape[0] - 1)
        for slot in range(slots.shape[0]):
            if slots[slot] >= 0:
                keys[used] = slots[slot]
                for i in range(width):
                    totals[i, used] = sums[slot, i]
                used += 1
    return used


@njit(**_options)
def _doubled(slots, sums):  # type: ignore[no-untyped-def]
    larger = np.full(2 * slots.shape[0], -1, np.int64)
    moved = np.empty((larger.shape[0], sums.shape[1]), np.int64)
    mask = np.uint64(larger.shape[0] - 1)
    for old in range(slots.shape[0]):
        if slots[old] >= 0:
            slot = _mixed(np.uint64(slots[old])) & mask
            while larger[slot] >= 0:
                slot = (slot + _U1) & mask
            larger[slot] = slots[old]
            for i in range(sums.shape[1]):
                moved[slot, i] = sums[old, i]
    return larger, moved
