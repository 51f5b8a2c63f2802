"""The compiled loops under `count_codes`: values to codes.

Decides nothing: every loop is exact, and order and limits are its callers' concern. Compiled on first use and cached.
Importing this module imports numba.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from builder.transforms.compiling import njit

_AHEAD = 64  # rows
_MIX = np.uint64(0x9E3779B97F4A7C15)
_U0, _U1, _U8, _U16 = np.uint64(0), np.uint64(1), np.uint64(8), np.uint64(16)
_R29, _R32 = np.uint64(29), np.uint64(32)
_BYTES = tuple(np.uint64(i) for i in range(8))
_SHIFTS = tuple(np.uint64(8 * i) for i in range(8))
compiled: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
inlined: dict[str, Any] = {"nogil": True, "error_model": "numpy", "forceinline": True}


@njit(**inlined)
def mixed(x):  # type: ignore[no-untyped-def]
    """The bits of a word, each dependent on all."""
    x = (x ^ (x >> _R32)) * _MIX
    x = (x ^ (x >> _R29)) * _MIX
    return x ^ (x >> _R32)


@njit(**inlined)
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


@njit(**inlined)
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


@njit(**inlined)
def _hashed(one, two, length):  # type: ignore[no-untyped-def]
    hashed = mixed(length ^ one)
    return mixed(hashed ^ two) if length > _U8 else hashed


@njit(**inlined)
def _is_same(arena, start, data, begin, length):  # type: ignore[no-untyped-def]
    done = _U0
    while done < length and _first(arena, start + done, length - done) == _first(data, begin + done, length - done):
        done += _U8
    return done >= length


@njit(**compiled)
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


@njit(**compiled)
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
        slot = mixed(np.uint64(value)) & mask
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


@njit(**compiled)
def rehash_integers(found, used, slots, marks):  # type: ignore[no-untyped-def]
    """Fill an empty table with the values found so far."""
    mask = np.uint64(marks.shape[0] - 1)
    for code in range(used):
        slot = mixed(np.uint64(found[code])) & mask
        while marks[slot] >= 0:
            slot = (slot + _U1) & mask
        slots[slot] = found[code]
        marks[slot] = code


@njit(**compiled)
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
                    hashed = mixed(hashed ^ _first(data, begin + done, length - done))
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


@njit(**compiled)
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
