"""The compiled loops under `tables.matching`: two sequences of hashes walked side by side, and looked up.

Decides nothing: what is matched and why stands there. Compiled at their first call. Importing this imports numba.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

from builder.transforms.compiling import njit

WINDOW = 16
"""How far apart two sequences may be after a difference, for them to be brought together again by looking ahead."""

UNMATCHED, MATCHED, EMPTY = 0, 1, 2
"""The states of a slot: its record was not found (yet), was found, or it has none."""

_Loop = TypeVar("_Loop", bound=Callable[..., Any])


def _compiled(loop: _Loop) -> _Loop:
    """`loop`, compiled at its first call and kept on disk."""
    return cast("_Loop", njit(nogil=True, cache=True, error_model="numpy")(loop))


@_compiled
def _is_same(old_low: Any, old_high: Any, states: Any, slot: Any, low: Any, high: Any, record: Any) -> Any:
    return old_low[slot] == low[record] and old_high[slot] == high[record] and states[slot] == UNMATCHED


@_compiled
def _ahead(old_low: Any, old_high: Any, states: Any, slot: Any, low: Any, high: Any, record: Any) -> Any:
    """(slots, records) to leave out so that the next ones are the same, as few as may be; (-1, -1): not found near."""
    slots, records = len(old_low) - slot, len(low) - record
    for far in range(1, WINDOW + 1):
        for near in range(far, -1, -1):
            if (
                far < slots
                and near < records
                and _is_same(old_low, old_high, states, slot + far, low, high, record + near)
            ):
                return far, near
            if (
                near < slots
                and far < records
                and _is_same(old_low, old_high, states, slot + near, low, high, record + far)
            ):
                return near, far
    return -1, -1


@_compiled
def match_records(
    old_low: Any, old_high: Any, states: Any, table: Any, slot: Any, low: Any, high: Any, begin: Any, is_new: Any
) -> Any:
    """(the next record, the next slot) after matching records from `begin` on with slots, in sequence from `slot` on.

    Marks slots in `states` and records in `is_new`. Without a `table` (see `fill_table`) it stops at a record that may
    stand anywhere among the slots.
    """
    record = begin
    count = len(low)
    while record < count:
        while len(table) == 0 and slot < len(old_low) and states[slot] != UNMATCHED:
            slot += 1
        if slot < len(old_low) and _is_same(old_low, old_high, states, slot, low, high, record):
            states[slot] = MATCHED
            is_new[record] = 0
            slot += 1
            record += 1
            continue
        if len(table):
            found = _look_up(old_low, old_high, states, table, low, high, record)
            if found >= 0:
                states[found] = MATCHED
                slot = found + 1
            is_new[record] = 0 if found >= 0 else 1
            record += 1
            continue
        skipped, fresh = (
            (0, count - record) if slot == len(old_low) else _ahead(old_low, old_high, states, slot, low, high, record)
        )
        if skipped < 0:
            if count - record > WINDOW:
                return record, slot
            skipped, fresh = 0, count - record
        for _ in range(fresh):
            is_new[record] = 1
            record += 1
        slot += skipped
    return record, slot


@_compiled
def fill_table(old_low: Any, old_high: Any, states: Any, table: Any) -> None:
    """Puts the slots that are not matched into a hash table: open addressing, -1 is free, a power of two in length."""
    mask = len(table) - 1
    for slot in range(len(old_low)):
        if states[slot] == UNMATCHED:
            spot = np.int64(old_low[slot] & np.uint64(mask))
            while table[spot] >= 0:
                spot = (spot + 1) & mask
            table[spot] = slot


@_compiled
def _look_up(old_low: Any, old_high: Any, states: Any, table: Any, low: Any, high: Any, record: Any) -> Any:
    """The slot of a record that is not matched yet, -1 where there is none."""
    mask = len(table) - 1
    spot = np.int64(low[record] & np.uint64(mask))
    while table[spot] >= 0:
        found = np.int64(table[spot])
        if _is_same(old_low, old_high, states, found, low, high, record):
            return found
        spot = (spot + 1) & mask
    return -1
