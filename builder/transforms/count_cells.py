"""Totals per combination of codes: the sums over rows, over parts, and up a taxonomy.

Decides by the number of possible combinations whether totals are addressed directly or found by hashing; both give the
same. Keys are 64-bit numbers whose order is that of the combinations. Knows nothing of frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from builder.transforms.count_codes import Coded, Codes
from builder.transforms.count_totals import Limbs, Totals, joined, negated, total_limbs

Keys = npt.NDArray[np.int64]
Matrix = npt.NDArray[np.int64]
Blocks = Callable[[], Iterable[tuple[slice, Keys]]]

_BLOCK_ROWS = 1 << 16  # keys of a block stay in the second cache
_PARTITION_ROWS = 1 << 13
_FEW_KEYS, _MANY_KEYS, _MAX_KEYS = 1 << 16, 1 << 24, 1 << 62
_NO_PLACES = np.zeros(0, np.int32)


@dataclass(frozen=True, slots=True)
class Tree:
    """The taxonomy of one column: of every node its parent (-1: none) and depth, and the nodes with children first."""

    parents: Codes
    depths: Codes
    deepest_first: Codes


@dataclass(frozen=True, slots=True)
class Cells:
    """Totals per combination that occurs, in ascending order of the combinations.

    Parameters
    ----------
    values
        Of each column its values, ascending.
    codes
        Of each column one position in its values a cell.
    totals
        The count first, then the sums.
    """

    values: tuple[pa.Array, ...]
    codes: tuple[Codes, ...]
    totals: tuple[Totals, ...]

    def __len__(self) -> int:
        return len(self.totals[0])

    def signed(self, sign: int) -> Cells:
        """These cells, or with sign -1 their opposite."""
        return self if sign > 0 else Cells(self.values, self.codes, tuple(map(negated, self.totals)))

    def without_zeros(self) -> Cells:
        """These cells but those whose totals are all 0: limbs that are not can still stand for 0."""
        held = np.flatnonzero(np.logical_or.reduce([t != 0 for t in self.totals]))
        if len(held) == len(self):
            return self
        return Cells(self.values, tuple(c[held] for c in self.codes), tuple(t[held] for t in self.totals))

    def rolled_up(self, position: int, tree: Tree) -> Cells:
        """The cells with every total added to all ancestors; the values of that column are the tree's nodes."""
        columns = [Coded(v, c, np.arange(len(v), dtype=np.int32)) for v, c in zip(self.values, self.codes)]
        return totalled(columns, [total_limbs(t) for t in self.totals], tree=(position, tree))


def merged(parts: Sequence[Cells]) -> Cells:
    """The sum of parts, without the combinations whose totals are all 0."""
    if len(parts) == 1:
        return parts[0]
    columns = [_united([p.values[i] for p in parts], [p.codes[i] for p in parts]) for i in range(len(parts[0].values))]
    totals = [np.concatenate([p.totals[i] for p in parts]) for i in range(len(parts[0].totals))]
    return totalled(columns, [total_limbs(t) for t in totals])


def _united(values: list[pa.Array], codes: list[Codes]) -> Coded:
    kinds = [v.type for v in values if not pa.types.is_null(v.type)]
    every = pa.concat_arrays([v.cast(kinds[0]) if kinds else v for v in values])
    different = pc.unique(every)
    different = different.take(pc.sort_indices(different))
    ranks = pc.index_in(every, different).to_numpy(zero_copy_only=False).astype(np.int32)
    starts = np.cumsum([0, *(len(v) for v in values)])
    moved = [c + np.int32(start) for c, start in zip(codes, starts)]
    return Coded(different, np.concatenate(moved).astype(np.int32, copy=False), ranks)


def totalled(
    columns: Sequence[Coded], weights: Sequence[Limbs], *, has_ones: bool = False, tree: tuple[int, Tree] | None = None
) -> Cells:
    """The totals of rows: with `has_ones` their number first, then the sums of `weights`.

    Rows with a null are left out. Combinations whose totals are all 0 do not appear. With `tree`, the position of a
    column and its taxonomy, every row counts for its node and all ancestors.
    """
    flat = [_read_only(limb) for limb in chain.from_iterable(weights)]
    sizes = [len(c.values) for c in columns]
    rows = len(columns[0].codes)
    if prod(sizes) >= _MAX_KEYS:
        packed, unpack = _compressed(columns, tree[0] if tree else None)
        tree = (len(packed) - 1, tree[1]) if tree else None
    else:
        packed, unpack = [_Digit(c.codes, c.ranks, len(c.values)) for c in columns], lambda keys: _digits(keys, sizes)
    keys, totals = _totals(packed, flat, rows, has_ones, tree)
    codes = unpack(keys)
    if prod(sizes) >= _MAX_KEYS:
        order = np.lexsort(codes[::-1])
        codes, totals = [c[order] for c in codes], totals[:, order]
    words = iter(totals)
    counts = [next(words)] if has_ones else []
    sums = [joined(tuple(next(words) for _ in limbs)) for limbs in weights]
    cells = Cells(tuple(c.values for c in columns), tuple(codes), (*counts, *sums))
    return cells if len(flat) == len(weights) else cells.without_zeros()


def _read_only(array: Any) -> Any:
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, slots=True)
class _Digit:
    """One digit of a key, the more significant the earlier: codes of rows, their ranks, the number of ranks."""

    codes: Codes
    ranks: Codes
    size: int


def _digits(keys: Keys, sizes: Sequence[int]) -> list[Codes]:
    found = []
    for size in reversed(sizes):
        found.append((keys % max(size, 1)).astype(np.int32))
        keys = keys // max(size, 1)
    return found[::-1]


def _compressed(columns: Sequence[Coded], apart: int | None) -> tuple[list[_Digit], Callable[[Keys], list[Codes]]]:
    """Two digits, where one a column would overflow: the combination of all columns but `apart`, then `apart`."""
    others = [i for i in range(len(columns)) if i != apart]
    whole = np.flatnonzero(np.logical_and.reduce([c.codes >= 0 for c in columns]))
    combined = np.zeros(len(whole), np.int64)
    first = combined[:0]
    for i in others:
        keys = combined * len(columns[i].values) + columns[i].ranks[columns[i].codes[whole]]
        _, first, combined = np.unique(keys, return_index=True, return_inverse=True)
    codes = np.full(len(columns[0].codes), -1, np.int32)
    codes[whole] = combined
    digits = [_Digit(codes, np.arange(len(first), dtype=np.int32), len(first))]
    if apart is not None:
        digits.append(_Digit(columns[apart].codes, columns[apart].ranks, len(columns[apart].values)))
    known = {i: columns[i].ranks[columns[i].codes[whole[first]]] for i in others}

    def unpack(keys: Keys) -> list[Codes]:
        found = _digits(keys, [d.size for d in digits])
        return [found[1] if i == apart else known[i][found[0]] for i in range(len(columns))]

    return digits, unpack


def _totals(
    digits: Sequence[_Digit], flat: Sequence[Any], rows: int, has_ones: bool, tree: tuple[int, Tree] | None
) -> tuple[Keys, Matrix]:
    size = prod(d.size for d in digits)
    inner = prod(d.size for d in digits[tree[0] + 1 :]) if tree else 1
    if size <= max(_FEW_KEYS, min(8 * rows, _MANY_KEYS), rows // 2):
        return _direct(digits, size, flat, rows, has_ones, tree[1] if tree else None, inner)

    def blocks() -> Iterator[tuple[slice, Keys]]:
        return _key_blocks(digits, rows)

    keys, totals = _hashed(blocks, rows, flat, has_ones)
    if tree and len(keys):
        keys, totals = _up(keys, totals, tree[1], inner)
    order = np.argsort(keys)
    order = order[totals[:, order].any(axis=0)]
    return keys[order], totals[:, order]


def _key_blocks(digits: Sequence[_Digit], rows: int) -> Iterator[tuple[slice, Keys]]:
    from builder.transforms.count_kernels import append_codes

    keys = np.empty(min(rows, _BLOCK_ROWS), np.int64)
    for start in range(0, rows, _BLOCK_ROWS):
        block = slice(start, min(start + _BLOCK_ROWS, rows))
        held = keys[: block.stop - start]
        held[:] = 0
        for digit in digits:
            append_codes(held, digit.codes[block], digit.ranks, digit.size)
        yield block, held


def _direct(
    digits: Sequence[_Digit], size: int, flat: Sequence[Any], rows: int, has_ones: bool, tree: Tree | None, inner: int
) -> tuple[Keys, Matrix]:
    """One place a possible key."""
    from builder.transforms.count_kernels import add_ones, add_weights, roll_up

    totals = np.zeros((has_ones + len(flat), size), np.int64)
    for block, keys in _key_blocks(digits, rows):
        if has_ones:
            add_ones(keys, totals[0])
        for i, weights in enumerate(flat):
            add_weights(keys, weights[block], totals[has_ones + i])
    if tree and size:
        for row in totals:
            roll_up(row, tree.parents, tree.deepest_first, inner)
    occupied = np.flatnonzero(totals[0] if len(totals) == 1 else totals.any(axis=0))
    return occupied, totals[:, occupied]


def _hashed(blocks: Blocks, rows: int, flat: Sequence[Any], has_ones: bool) -> tuple[Keys, Matrix]:
    """The different keys in no order: rows are parted by the hash of their key, so that each part's table is small."""
    from builder.transforms.count_kernels import add_partitions, count_partitions, put, scatter

    bits = min(11, max(1, (rows // _PARTITION_ROWS).bit_length()))
    shift = np.uint64(64 - bits)
    bounds = np.zeros((1 << bits) + 1, np.int64)
    for _, keys in blocks():
        count_partitions(keys, shift, bounds[1:])
    np.cumsum(bounds, out=bounds)
    ends, kept = bounds[:-1].copy(), np.empty(bounds[-1], np.int64)
    weights = np.empty((len(flat), len(kept)), np.int64)
    places = np.empty(min(rows, _BLOCK_ROWS) if flat else 0, np.int32)
    for block, keys in blocks():
        scatter(keys, shift, ends, kept, places[: len(keys)])
        for i, column in enumerate(flat):
            put(column[block], places, weights[i])
    totals = np.empty((has_ones + len(flat), len(kept)), np.int64)
    used = add_partitions(kept, bounds, weights, has_ones, totals)
    return kept[:used].copy(), totals[:, :used].copy()


def _up(keys: Keys, totals: Matrix, tree: Tree, inner: int) -> tuple[Keys, Matrix]:
    """The totals of all ancestors too, one level after the other, deepest first."""
    nodes = keys // inner % len(tree.parents)
    depths = tree.depths[nodes]
    order = np.argsort(depths, kind="stable")
    ends = np.cumsum(np.bincount(depths))
    found = []
    carried, sums = keys[:0], totals[:, :0]
    for depth in range(len(ends) - 1, -1, -1):
        own = order[ends[depth - 1] if depth else 0 : ends[depth]]
        level, level_sums = np.concatenate([carried, keys[own]]), np.concatenate([sums, totals[:, own]], axis=1)
        if len(carried):
            level, level_sums = _hashed(_in_blocks(level), len(level), [_read_only(t) for t in level_sums], False)
        found.append((level, level_sums))
        nodes = level // inner % len(tree.parents)
        carried, sums = level + (tree.parents[nodes].astype(np.int64) - nodes) * inner, level_sums
    return np.concatenate([k for k, _ in found]), np.concatenate([t for _, t in found], axis=1)


def _in_blocks(keys: Keys) -> Blocks:
    starts = range(0, len(keys), _BLOCK_ROWS)
    return lambda: ((slice(s, s + _BLOCK_ROWS), keys[s : s + _BLOCK_ROWS]) for s in starts)
