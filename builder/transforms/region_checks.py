"""Checksums of a saved index's arrays by blocks, compared before an answer reads a block.

Decides which blocks an answer reads, and whether one is damaged. A changed word of a block is always noticed, any other
damage but for a chance of 2⁻⁶⁴. Opening an index and asking little of it so reads little. Never answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from builder.transforms.compiling import njit
from builder.transforms.orientation import compiled
from builder.transforms.region_build import record_words

ALIGNED = 64
"""Arrays are padded with zeros to a multiple of it."""
_SHIFT = 14
_BLOCK_WORDS = (1 << _SHIFT) // 8
_LANES = 8  # sums that are made side by side: a multiplication takes three cycles, and one can be begun in each
_POINTS_OF_A_BLOCK = 3  # from so many on for each block, to look for the blocks that they read costs as much as all
_ODD, _HALF = np.uint64(0x9E3779B97F4A7C15), np.uint64(32)


@njit(**compiled)
def _sum_of(words, first, stop, number):  # type: ignore[no-untyped-def]
    """The checksum of a block of words; each step is a bijection of the sum, and of the word."""
    a = np.uint64(number) + np.uint64(1)
    b, c, d, e, f, g, h = ~a, a << np.uint64(8), a << np.uint64(16), a << np.uint64(24), a << np.uint64(32), _ODD, ~_ODD
    for k in range(first, stop, _LANES):
        a, b = (a ^ words[k]) * _ODD, (b ^ words[k + 1]) * _ODD
        c, d = (c ^ words[k + 2]) * _ODD, (d ^ words[k + 3]) * _ODD
        e, f = (e ^ words[k + 4]) * _ODD, (f ^ words[k + 5]) * _ODD
        g, h = (g ^ words[k + 6]) * _ODD, (h ^ words[k + 7]) * _ODD
        a, b, c, d = a ^ a >> _HALF, b ^ b >> _HALF, c ^ c >> _HALF, d ^ d >> _HALF
        e, f, g, h = e ^ e >> _HALF, f ^ f >> _HALF, g ^ g >> _HALF, h ^ h >> _HALF
    total = np.uint64(stop - first)
    for lane in (a, b, c, d, e, f, g, h):
        total = (total ^ lane) * _ODD
        total ^= total >> np.uint64(29)
    return total


@njit(**compiled)
def _is_block_whole(block, words, sums, checked):  # type: ignore[no-untyped-def]
    """Whether a block is what its sum says, which is looked at once."""
    if not checked[block]:
        first = block * _BLOCK_WORDS
        if _sum_of(words, first, min(first + _BLOCK_WORDS, len(words)), block) != sums[block]:
            return False
        checked[block] = True
    return True


@njit(**compiled)
def _is_whole(start, stop, table):  # type: ignore[no-untyped-def]
    """Whether the blocks that hold some bytes are what their sums say."""
    words, sums, checked = table
    for block in range(start >> _SHIFT, ((stop - 1) >> _SHIFT) + 1):
        if not _is_block_whole(block, words, sums, checked):
            return False
    return True


@njit(**compiled)
def _asked_are_whole(lon, lat, grid, of_top, of_cells, of_words):  # type: ignore[no-untyped-def]
    """Whether all blocks that answers for these points read are what their sums say: the way of `region_query`."""
    (x0, y0, _, _, per_x, per_y, n, m), top, cells, words = grid
    ints, floats = words.view(np.int32), words.view(np.float64)
    for k in range(len(lon)):
        fx, fy = (lon[k] - x0) * per_x, (lat[k] - y0) * per_y
        cell = np.int64(n * m)
        if (fx >= 0.0) & (fy >= 0.0) & (fx < n) & (fy < m):
            cell = np.int64(fy) * n + np.int64(fx)
        else:
            fx = fy = 0.0
        if not _is_whole(8 * cell, 8 * cell + 8, of_top):
            return False
        divisions, place = top[cell] & 255, top[cell] >> 8
        column = min(np.int64((fx - np.int64(fx)) * divisions), divisions - 1)
        row = min(np.int64((fy - np.int64(fy)) * divisions), divisions - 1)
        cell = place + row * divisions + column
        if not _is_whole(4 * cell, 4 * cell + 4, of_cells):
            return False
        value = np.int64(cells[cell])
        while value < -1:
            at = -2 - value
            if not _is_whole(8 * at, 8 * at + 8, of_words):
                return False
            is_node = ints[2 * at] < 0
            length = 8 if is_node else record_words(ints[2 * at], ints[2 * at + 1])
            if not _is_whole(8 * at, 8 * (at + length), of_words):
                return False
            if not is_node:
                break
            divisions = int(ints[2 * at + 1])
            column = max(min(int((lon[k] - floats[at + 2]) * floats[at + 4]), divisions - 1), 0)
            row = max(min(int((lat[k] - floats[at + 3]) * floats[at + 5]), divisions - 1), 0)
            cell = words[at + 1] + row * divisions + column
            if not _is_whole(4 * cell, 4 * cell + 4, of_cells):
                return False
            value = np.int64(cells[cell])
    return True


@njit(**compiled)
def _put_sums(words, first_number, sums):  # type: ignore[no-untyped-def]
    for block in range(len(sums)):
        first = block * _BLOCK_WORDS
        sums[block] = _sum_of(words, first, min(first + _BLOCK_WORDS, len(words)), first_number + block)


def padded_bytes(size_bytes: int) -> int:
    """What an array of this size takes in a file."""
    return -(-size_bytes // ALIGNED) * ALIGNED


def sum_count(size_bytes: int) -> int:
    """How many checksums an array of this size has."""
    return -(-size_bytes // (8 * _BLOCK_WORDS))


def sums_of(array: np.ndarray) -> np.ndarray:
    """The checksum of each block of an array, padded with zeros; uint64."""
    content = array.view(np.uint8)
    sums = np.empty(sum_count(len(content)), np.uint64)
    blocks = len(content) // (8 * _BLOCK_WORDS)
    whole, rest = np.split(content, [blocks * 8 * _BLOCK_WORDS])
    padded = np.zeros(padded_bytes(len(rest)), np.uint8)
    padded[: len(rest)] = rest
    _put_sums(fixed(whole.view(np.uint64)), 0, sums[:blocks])
    _put_sums(fixed(padded.view(np.uint64)), blocks, sums[blocks:])
    return sums


def fixed(array: np.ndarray) -> np.ndarray:
    """A view that cannot be written to: so what is compiled for mapped files serves all."""
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, slots=True)
class Checks:
    """What is left to compare of an opened index: of each array its words with padding, its sums, and what is done."""

    tables: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]

    def are_whole(self) -> bool:
        """Whether all blocks are what their sums say."""
        return all(_is_whole(0, words.nbytes, (words, sums, done)) for words, sums, done in self.tables)

    def are_whole_for(self, lon: np.ndarray, lat: np.ndarray, grid: tuple[Any, ...]) -> bool:
        """Whether all blocks that answers for these points read are what their sums say."""
        return bool(_asked_are_whole(lon, lat, grid, *self.tables))

    def may_be_all(self, points: int) -> bool:
        """Whether answers for so many points may read so much of the index that all of it is no more work."""
        return points >= _POINTS_OF_A_BLOCK * sum(len(sums) for _, sums, _ in self.tables)
