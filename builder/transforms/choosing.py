"""Which pairs of two sides become matches, one to one: the best score first, then the lowest rows.

Decides by greedy choice, and says of each match how many others it beat by the order of rows alone. Rows stand in the
order of their keys, so that the choice knows no other order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from builder.transforms.compiling import njit
from builder.transforms.scoring import Pairs
from builder.transforms.values import Positions


@dataclass(frozen=True, slots=True)
class Matches:
    """Matched rows, their scores, and their rivals.

    A rival of a match is a pair with one of its rows and its score, of whose rows no better score had taken one: the
    order of rows alone decided. `other_left` and `other_right` are the lowest rows that could have stood in the match;
    -1 for none.
    """

    left: Positions
    right: Positions
    score: npt.NDArray[np.float64]
    rivals: Positions
    other_left: Positions
    other_right: Positions


def all_of(pairs: Pairs) -> Matches:
    """Every pair as a match, without rivals."""
    left, right, score = pairs
    none = np.full(len(left), -1, np.int64)
    return Matches(left, right, score, np.zeros(len(left), np.int64), none, none)


def greedy(pairs: Pairs, left_rows: int, right_rows: int) -> Matches:
    """The pairs by descending score, then left row, then right row, each taken while both its rows are free."""
    left, right, score = pairs
    order = np.lexsort((right, left, -score))
    left, right, score = left[order], right[order], score[order]
    taken = _taken(left, right, left_rows, right_rows)
    left_best, right_best = np.full(left_rows, -np.inf), np.full(right_rows, -np.inf)
    left_best[left[taken]] = right_best[right[taken]] = score[taken]
    is_free = ~taken & (score >= left_best[left]) & (score >= right_best[right])
    # It lost to the match of its left row, to that of its right row, or to both; one of lower score is not its rival.
    at_left, at_right = is_free & (score == left_best[left]), is_free & (score == right_best[right])
    other_right = _lowest(left[at_left], right[at_left], left_rows)[left[taken]]
    other_left = _lowest(right[at_right], left[at_right], right_rows)[right[taken]]
    rivals = np.bincount(left[at_left], minlength=left_rows)[left[taken]]
    rivals += np.bincount(right[at_right], minlength=right_rows)[right[taken]]
    return Matches(left[taken], right[taken], score[taken], rivals, other_left, other_right)


@njit(cache=True, nogil=True)
def _taken(left: Any, right: Any, left_rows: int, right_rows: int) -> Any:
    is_left_free, is_right_free = np.ones(left_rows, np.bool_), np.ones(right_rows, np.bool_)
    taken = np.zeros(len(left), np.bool_)
    for n in range(len(left)):
        if is_left_free[left[n]] and is_right_free[right[n]]:
            is_left_free[left[n]] = is_right_free[right[n]] = False
            taken[n] = True
    return taken


def _lowest(rows: Positions, others: Positions, size: int) -> Positions:
    least = np.full(size, np.iinfo(np.int64).max)
    np.minimum.at(least, rows, others)
    return np.where(least == np.iinfo(np.int64).max, -1, least)


def by_rank(left_codes: Positions, right_codes: Positions) -> Matches:
    """What `greedy` takes of all pairs of one code, each of score 1, without making the pairs.

    The rows of a code are paired in their order, the first with the first. So thousands of records of one name cost no
    more than others do.
    """
    left, left_rank, left_sorted = _ranked(left_codes)
    right, _, right_sorted = _ranked(right_codes)
    start = np.searchsorted(right_sorted, left_sorted, "left")
    right_count = np.searchsorted(right_sorted, left_sorted, "right") - start
    left_start = np.searchsorted(left_sorted, left_sorted, "left")
    left_count = np.searchsorted(left_sorted, left_sorted, "right") - left_start
    taken = left_rank < right_count
    start, left_start, rank = start[taken], left_start[taken], left_rank[taken]
    left_count, right_count = left_count[taken], right_count[taken]
    second = (rank == 0).astype(np.int64)  # the lowest other row of a code is its first, or else its second
    return Matches(
        left[taken],
        right[start + rank],
        np.ones(len(start)),
        left_count + right_count - 2,
        _or_none(left, left_start + second, left_count > 1),
        _or_none(right, start + second, right_count > 1),
    )


def _ranked(codes: Positions) -> tuple[Positions, Positions, Positions]:
    """Rows sorted by code, the rank of each within its code, and the codes."""
    rows = np.flatnonzero(codes >= 0)
    rows = rows[np.argsort(codes[rows], kind="stable")]
    sorted_codes = codes[rows]
    rank = np.arange(len(rows), dtype=np.int64) - np.searchsorted(sorted_codes, sorted_codes, "left")
    return rows, rank, sorted_codes


def _or_none(rows: Positions, at: Positions, is_there: npt.NDArray[np.bool_]) -> Positions:
    return np.where(is_there, rows[np.where(is_there, at, 0)] if len(rows) else -1, -1)
