"""The compiled loops under `tables.cells` and `tables.checksum`: hashing bytes, mixing cells, adding words.

Decides nothing: the definitions stand there. Compiled once per machine and cached; explicit signatures keep it to one
compilation each. Importing this module imports numba.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from builder.transforms.compiling import njit

_C1 = np.uint64(0x87C37B91114253D5)
_C2 = np.uint64(0x4CF5AD432745937F)
_F1 = np.uint64(0xFF51AFD7ED558CCD)
_F2 = np.uint64(0xC4CEB9FE1A85EC53)
_N1 = np.uint64(0x52DCE729)
_N2 = np.uint64(0x38495AB5)
_U0, _U1, _U5, _U8 = np.uint64(0), np.uint64(1), np.uint64(5), np.uint64(8)
_R27, _R31, _R33 = np.uint64(27), np.uint64(31), np.uint64(33)
_U64 = np.uint64(64)
_NULL_HIGH = np.uint64(0x8000000000000000)
_INFINITY = np.uint64(0x7FF0000000000000)
_MAGNITUDE = np.uint64(0x7FFFFFFFFFFFFFFF)

_words = types.Array(types.uint64, 2, "C", readonly=True)
_out = types.uint64[:, ::1]
_bytes = types.Array(types.uint8, 1, "C", readonly=True)
_offsets = types.Array(types.int32, 1, "C", readonly=True)
_options: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "inline": "never"}
_inlined: dict[str, Any] = {"nogil": True, "error_model": "numpy", "inline": "always"}


@njit(**_inlined)
def _rotate(x, r):  # type: ignore[no-untyped-def]
    return (x << r) | (x >> (_U64 - r))


@njit(**_inlined)
def _fmix(x):  # type: ignore[no-untyped-def]
    x = (x ^ (x >> _R33)) * _F1
    x = (x ^ (x >> _R33)) * _F2
    return x ^ (x >> _R33)


@njit(**_inlined)
def _load(data, at, count):  # type: ignore[no-untyped-def]
    word = _U0
    for i in range(count):
        word |= np.uint64(data[at + i]) << np.uint64(8 * i)
    return word


@njit(**_inlined)
def _load8(data, at):  # type: ignore[no-untyped-def]
    return (
        np.uint64(data[at])
        | np.uint64(data[at + 1]) << np.uint64(8)
        | np.uint64(data[at + 2]) << np.uint64(16)
        | np.uint64(data[at + 3]) << np.uint64(24)
        | np.uint64(data[at + 4]) << np.uint64(32)
        | np.uint64(data[at + 5]) << np.uint64(40)
        | np.uint64(data[at + 6]) << np.uint64(48)
        | np.uint64(data[at + 7]) << np.uint64(56)
    )


@njit(types.void(_bytes, _offsets, _out), **_options)
def hash_bytes(data, offsets, out):  # type: ignore[no-untyped-def]
    """MurmurHash3_x64_128 with seed 0 of every slice of `data` between two offsets, into the rows of `out`."""
    for row in range(out.shape[0]):
        at = np.int64(offsets[row])
        end = np.int64(offsets[row + 1])
        length = np.uint64(end - at)
        h1 = _U0
        h2 = _U0
        while at + 16 <= end:
            k1 = _load8(data, at)
            k2 = _load8(data, at + 8)
            h1 ^= _rotate(k1 * _C1, _R31) * _C2
            h1 = (_rotate(h1, _R27) + h2) * _U5 + _N1
            h2 ^= _rotate(k2 * _C2, _R33) * _C1
            h2 = (_rotate(h2, _R31) + h1) * _U5 + _N2
            at += 16
        rest = end - at
        if rest > 8:
            # The last 8 bytes, shifted so that only those after the first word stay.
            k2 = _load8(data, end - 8) >> np.uint64(8 * (16 - rest))
            h2 ^= _rotate(k2 * _C2, _R33) * _C1
        if rest >= 8:
            h1 ^= _rotate(_load8(data, at) * _C1, _R31) * _C2
        elif rest > 0:
            h1 ^= _rotate(_load(data, at, rest) * _C1, _R31) * _C2
        h1 ^= length
        h2 ^= length
        h1 += h2
        h2 += h1
        h1 = _fmix(h1)
        h2 = _fmix(h2)
        h1 += h2
        h2 += h1
        out[row, 0] = h1
        out[row, 1] = h2


@njit(
    types.void(_words, types.boolean, _bytes, types.int64, types.uint64, types.uint64, _out, _out, types.boolean),
    **_options,
)
def mix_cells(words, is_float, valid, valid_at, seed0, seed1, keys, out, is_sum):  # type: ignore[no-untyped-def]
    """Mix one column's cells with the rows' keys and the column's seed.

    With `is_sum` each mix is added to its row of `out`, and all of them to the last row of `out`, mod 2^128; else it is
    put there, and `out` may be `keys`. `words` holds one or two words a cell; `valid` is Arrow's bitmap, empty where
    all cells are valid.
    """
    two = words.shape[1] == 2
    has_nulls = valid.shape[0] > 0
    sum0 = _U0
    sum1 = _U0
    for row in range(words.shape[0]):
        a = words[row, 0]
        b = words[row, 1] if two else _U0
        if is_float:
            magnitude = a & _MAGNITUDE
            if magnitude == _U0:
                a = _U0
            elif magnitude > _INFINITY:
                a = _U0
                b = _NULL_HIGH
        if has_nulls:
            bit = valid_at + row
            if (valid[bit >> 3] >> np.uint8(bit & 7)) & np.uint8(1) == 0:
                a = _U0
                b = _NULL_HIGH
        x = a ^ keys[row, 0] ^ seed0
        y = b ^ keys[row, 1] ^ seed1
        x = _fmix(x + y)
        y = _fmix(y + x)
        x = _fmix(x + y)
        if is_sum:
            low = out[row, 0] + x
            out[row, 1] += y + (_U1 if low < x else _U0)
            out[row, 0] = low
            sum0 += x
            sum1 += y + (_U1 if sum0 < x else _U0)
        else:
            out[row, 0] = x
            out[row, 1] = y
    if is_sum:
        last = words.shape[0]
        out[last, 0] = sum0
        out[last, 1] = sum1


@njit(types.void(_words, types.uint64[::1], types.uint64[::1]), **_options)
def add_words(grid, across, down):  # type: ignore[no-untyped-def]
    """The sums of a grid's rows, and, on top of what is there, of its columns; four rows at a time share a pass."""
    done = grid.shape[0] // 4 * 4
    for i in range(0, done, 4):
        a = b = c = d = _U0
        for j in range(grid.shape[1]):
            w, x, y, z = grid[i, j], grid[i + 1, j], grid[i + 2, j], grid[i + 3, j]
            a += w
            b += x
            c += y
            d += z
            down[j] += w + x + y + z
        across[i], across[i + 1], across[i + 2], across[i + 3] = a, b, c, d
    for i in range(done, grid.shape[0]):
        a = _U0
        for j in range(grid.shape[1]):
            a += grid[i, j]
            down[j] += grid[i, j]
        across[i] = a
