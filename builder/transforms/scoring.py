"""How alike texts are: scores of rapidfuzz between 0 and 1, of pairs and of all pairs within blocks.

Decides the score of a pair of rows as the mean over their texts. Never chooses among pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from builder.errors import error
from builder.transforms.candidates import MOST_PAIRS, Nearness, equal_pair_pieces
from builder.transforms.values import Positions

Pairs = tuple[Positions, Positions, npt.NDArray[np.float64]]
Texts = list[npt.NDArray[np.object_]]  # one array a column

SCORERS = ("ratio", "partial_ratio", "token_sort_ratio", "token_set_ratio", "WRatio", "jaro_winkler")
_SMALL = 4096  # pairs of a block below which one call for many blocks costs less than a call of its own


@dataclass(frozen=True, slots=True)
class Scorer:
    """One of rapidfuzz's scorers, and the least score that counts."""

    function: Callable[..., Any]
    most: float
    threshold: float

    def of_pairs(self, left: Texts, right: Texts, one: Positions, other: Positions) -> Pairs:
        """Those of the given pairs that reach the threshold."""
        from rapidfuzz import process

        total = np.zeros(len(one))
        for a, b in zip(left, right):
            total += process.cpdist(
                a[one], b[other], scorer=self.function, score_cutoff=self._cutoff(left), dtype=np.float64
            )
        score = total / (self.most * len(left))
        kept = score >= self.threshold
        return one[kept], other[kept], score[kept]

    def of_all(self, left: Texts, right: Texts, one: Positions, other: Positions) -> Iterator[Pairs]:
        """Those of all pairs of rows `one` with rows `other` that reach the threshold, in pieces."""
        from rapidfuzz import process

        step = max(1, MOST_PAIRS // len(other))
        for begin in range(0, len(one), step):
            some = one[begin : begin + step]
            total = np.zeros((len(some), len(other)))
            for a, b in zip(left, right):
                total += process.cdist(
                    a[some], b[other], scorer=self.function, score_cutoff=self._cutoff(left), dtype=np.float64
                )
            score = total / (self.most * len(left))
            i, j = np.nonzero(score >= self.threshold)
            yield some[i], other[j], score[i, j]

    def _cutoff(self, columns: Texts) -> float:
        """What each column must reach for the mean to reach the threshold; a little less, for rapidfuzz rounds it."""
        least = len(columns) * self.threshold - (len(columns) - 1)
        return max(0.0, least - 1e-5) * self.most


def scorer(name: Any, threshold: Any) -> Scorer:
    """The scorer of a name.

    Raises
    ------
    BuilderError
        ``recipe-declaration`` where there is none, or the threshold is not above 0 and at most 1.
    """
    if name not in SCORERS:
        raise error("recipe-declaration", f"there is no scorer {name!r}", facts=[("scorers", ", ".join(SCORERS))])
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold <= 1:
        raise error("recipe-declaration", f"'threshold' is {threshold!r}", hint="give a number above 0, at most 1")
    from rapidfuzz import fuzz
    from rapidfuzz.distance import JaroWinkler

    if name == "jaro_winkler":
        return Scorer(JaroWinkler.normalized_similarity, 1.0, float(threshold))
    return Scorer(getattr(fuzz, name), 100.0, float(threshold))


def as_texts(columns: list[pa.Array]) -> Texts:
    """Text columns as rapidfuzz takes them."""
    return [column.to_numpy(zero_copy_only=False) for column in columns]


def alike_pairs(
    scorer: Scorer, left: Texts, right: Texts, left_codes: Positions, right_codes: Positions, near: Nearness | None
) -> Pairs:
    """All pairs of rows of one code, and near each other where `near` is given, that reach the threshold.

    A row whose code is below 0 is in no pair.
    """
    pieces = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    if near is not None:
        pieces += [scorer.of_pairs(left, right, *piece) for piece in near.pieces(left_codes, right_codes)]
    else:
        pieces += _blocks(scorer, left, right, left_codes, right_codes)
    one, other, score = (np.concatenate(parts) for parts in zip(*pieces))
    return one, other, score


def _blocks(
    scorer: Scorer, left: Texts, right: Texts, left_codes: Positions, right_codes: Positions
) -> Iterator[Pairs]:
    size = max(int(left_codes.max(initial=-1)), int(right_codes.max(initial=-1))) + 1
    pairs = np.bincount(left_codes[left_codes >= 0], minlength=size) * np.bincount(
        right_codes[right_codes >= 0], minlength=size
    )
    is_small = np.append(pairs <= _SMALL, False)  # -1 is none
    for piece in equal_pair_pieces(np.where(is_small[left_codes], left_codes, -1), right_codes):
        yield scorer.of_pairs(left, right, *piece)
    left_rows, right_rows = (np.argsort(codes, kind="stable") for codes in (left_codes, right_codes))
    left_sorted, right_sorted = left_codes[left_rows], right_codes[right_rows]
    for code in np.flatnonzero(pairs > _SMALL).tolist():
        yield from scorer.of_all(
            left, right, left_rows[_range(left_sorted, code)], right_rows[_range(right_sorted, code)]
        )


def _range(codes: Positions, code: int) -> slice:
    return slice(int(np.searchsorted(codes, code, "left")), int(np.searchsorted(codes, code, "right")))
