"""The compiled loops under `count_cells`: codes to keys, keys to totals.

Decides nothing: every loop is exact, and order and limits are its callers' concern. Compiled on first use and cached.
Importing this module imports numba.
"""

from __future__ import annotations

import numpy as np

from builder.transforms.code_kernels import compiled, mixed
from builder.transforms.compiling import njit

_U1 = np.uint64(1)


@njit(**compiled)
def append_codes(keys, codes, ranks, size):  # type: ignore[no-untyped-def]
    """Make every key ``key * size + rank`` of its code; -1 where the code is null or the key was."""
    for row in range(keys.shape[0]):
        if codes[row] < 0 or keys[row] < 0:
            keys[row] = -1
        else:
            keys[row] = keys[row] * size + ranks[codes[row]]


@njit(**compiled)
def add_ones(keys, totals):  # type: ignore[no-untyped-def]
    """Add 1 to the total at every key that is not -1."""
    for row in range(keys.shape[0]):
        if keys[row] >= 0:
            totals[keys[row]] += 1


@njit(**compiled)
def add_weights(keys, weights, totals):  # type: ignore[no-untyped-def]
    """Add each row's weight to the total at its key, where that is not -1."""
    for row in range(keys.shape[0]):
        if keys[row] >= 0:
            totals[keys[row]] += weights[row]


@njit(**compiled)
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


@njit(**compiled)
def count_partitions(keys, shift, sizes):  # type: ignore[no-untyped-def]
    """Add to `sizes` how many keys fall into each partition, by the first bits of their hash; -1 falls in none."""
    for row in range(keys.shape[0]):
        if keys[row] >= 0:
            sizes[mixed(np.uint64(keys[row])) >> shift] += 1


@njit(**compiled)
def scatter(keys, shift, ends, out, places):  # type: ignore[no-untyped-def]
    """Put every key at the end of its partition in `out`; where that was into `places`, unless that is empty."""
    has_places = places.shape[0] > 0
    for row in range(keys.shape[0]):
        at = -1
        if keys[row] >= 0:
            partition = mixed(np.uint64(keys[row])) >> shift
            at = ends[partition]
            out[at] = keys[row]
            ends[partition] = at + 1
        if has_places:
            places[row] = at


@njit(**compiled)
def put(weights, places, out):  # type: ignore[no-untyped-def]
    """Put every weight where its key was put."""
    for row in range(weights.shape[0]):
        if places[row] >= 0:
            out[places[row]] = weights[row]


@njit(**compiled)
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
            slot = mixed(np.uint64(key)) & mask
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


@njit(**compiled)
def _doubled(slots, sums):  # type: ignore[no-untyped-def]
    larger = np.full(2 * slots.shape[0], -1, np.int64)
    moved = np.empty((larger.shape[0], sums.shape[1]), np.int64)
    mask = np.uint64(larger.shape[0] - 1)
    for old in range(slots.shape[0]):
        if slots[old] >= 0:
            slot = mixed(np.uint64(slots[old])) & mask
            while larger[slot] >= 0:
                slot = (slot + _U1) & mask
            larger[slot] = slots[old]
            for i in range(sums.shape[1]):
                moved[slot, i] = sums[old, i]
    return larger, moved
