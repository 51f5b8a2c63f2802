"""Two sequences of hashes matched with each other: what is new, what is gone.

Decides in one pass over sequences that are mostly alike, each record to at most one slot; where they part for long, it
looks the rest up in a hash table. Never decides that different hashes are of one record.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from builder.tables.matchkernels import EMPTY, MATCHED, UNMATCHED, fill_table, match_records

Words = npt.NDArray[np.uint64]
Slots = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Matcher:
    """Finds each hash that it is given among those of `low` and `high`, its slots; (0, 0) is an empty slot.

    A slot is found once: of two equal hashes that are given, one is new where there is one slot of it.
    """

    def __init__(self, low: Words, high: Words) -> None:
        self._low, self._high = _read_only(low), _read_only(high)
        self._states = np.where((low | high) == 0, np.uint8(EMPTY), np.uint8(UNMATCHED))
        self._table = np.empty(0, np.int32 if len(low) < 1 << 31 else np.int64)
        self._next = 0

    def match(self, low: Words, high: Words) -> Mask:
        """Which of the next hashes are new."""
        is_new = np.zeros(len(low), np.bool_)
        low, high = _read_only(low), _read_only(high)
        done = 0
        while True:
            done, self._next = match_records(
                self._low, self._high, self._states, self._table, self._next, low, high, done, is_new
            )
            if done == len(low):
                return is_new
            self._fill()

    @property
    def gone(self) -> Slots:
        """The slots whose hash was not given, ascending."""
        return np.flatnonzero(self._states == UNMATCHED)

    @property
    def free(self) -> Slots:
        """The slots whose hash was not given, and the empty ones, ascending."""
        return np.flatnonzero(self._states != MATCHED)

    def _fill(self) -> None:
        left = int(np.count_nonzero(self._states == UNMATCHED))
        self._table = np.full(max(8, 1 << (2 * left).bit_length()), -1, self._table.dtype)
        fill_table(self._low, self._high, self._states, self._table)


def _read_only(words: Words) -> Words:
    """A view that cannot be written, so that the loops are compiled for one type alone."""
    view = words.view()
    view.flags.writeable = False
    return view
