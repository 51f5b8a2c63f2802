"""Records that stand for one thing: which belong together, and which of them stays.

Decides groups of duplicates as connected sets, and the record kept of each by a stated order. Never merges values of
records.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from builder.errors import error
from builder.transforms.columns import check_columns
from builder.transforms.comparing import Comparison, comparison, names_of
from builder.transforms.compiling import njit
from builder.transforms.scoring import Scorer, alike_pairs, as_texts, scorer
from builder.transforms.values import Positions, row_order

_HOW = ("exact", "normalised", "fuzzy")
_ADDED = ("group", "is_kept")


def deduplicate(
    frame: pd.DataFrame,
    *,
    by: Any,
    order_by: Any = (),
    how: str = "exact",
    block: Any = None,
    near: Any = None,
    within_m: float | None = None,
    fuzzy: str = "token_sort_ratio",
    threshold: float = 0.9,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The records without their duplicates, and the groups of duplicates, each with the record that was kept.

    Two records are duplicates where the columns `by` are equal (``exact``), equal after `normalise` (``normalised``)
    or score at least `threshold` (``fuzzy``), the columns `block` agree, and they lie at most `within_m` apart where
    `near` is given. Groups are connected sets: A and C are in one where both are duplicates of B.

    Parameters
    ----------
    frame
        The records; any index, no key needed.
    by
        The columns compared; texts but for ``exact``.
    order_by
        Columns by which the first of a group is kept; a leading ``-`` for descending. Ties are broken by the other
        columns from left to right, ascending, nulls last.
    how
        ``exact``, ``normalised`` or ``fuzzy``; each finds what the one before it finds.
    block, near, within_m, fuzzy, threshold
        As in `reconcile`. Of `block`, texts agree after `normalise`, but for ``exact``.

    Returns
    -------
    kept : pandas.DataFrame
        The columns and dtypes of `frame`, one record of each group and all others, in the order of `order_by` and the
        other columns, with a fresh RangeIndex.
    duplicates : pandas.DataFrame
        The records of all groups of two or more: ``group`` (int64, from 0 in the order of the records kept),
        ``is_kept`` (bool), then the columns of `frame`; by group, the kept one first.

    Raises
    ------
    BuilderError
        ``recipe-declaration`` for wrong arguments; ``bad-value`` for columns that are missing, named ``group`` or
        ``is_kept``, not text where text is compared, of values without an order, or with impossible coordinates.

    Notes
    -----
    The same rows in another order give the same frames. A null in `by` or `block` equals nothing, not even another
    null, nor does a text of nothing but spaces or, but for ``exact``, one without letter or digit; nor is a record
    without coordinates near anything. Such records are kept. Parts whose blocks are whole give the groups of the
    whole, numbered apart.

    Examples
    --------
    >>> import pandas as pd
    >>> towns = pd.DataFrame({"name": ["Saint-Louis", "SAINT LOUIS", None, None], "people": [7, 9, 1, 1]})
    >>> kept, duplicates = deduplicate(towns, by="name", how="normalised", order_by="-people")
    >>> kept["people"].tolist(), duplicates.values.tolist()
    ([9, 1, 1], [[0, True, 'SAINT LOUIS', 9], [0, False, 'Saint-Louis', 7]])
    """
    names, order = names_of(by, "by"), names_of(order_by, "order_by")
    if not names or how not in _HOW:
        raise error(
            "recipe-declaration",
            f"'by' is {by!r} and 'how' is {how!r}",
            hint=f"name columns to compare, and one of: {', '.join(_HOW)}",
        )
    score = scorer(fuzzy, threshold) if how == "fuzzy" else None
    check_columns(frame, [n if n in frame.columns else n.removeprefix("-") for n in order], "frame")
    check_columns(frame, [str(n) for n in frame.columns], "frame")
    for name in set(_ADDED).intersection(frame.columns):
        raise error("bad-value", f"'frame' has a column '{name}'", hint="rename it: that name is for the result")
    rows = row_order(frame, order)
    pair = comparison([frame], [rows], on=names, block=block, near=near, within_m=within_m, sides=("frame", "frame"))
    return _split(frame, rows, _groups(pair, how, score))


def _groups(pair: Comparison, how: str, score: Scorer | None) -> Positions:
    """For each row the first row of its group."""
    if how == "exact":
        codes, _ = pair.exact_codes((*pair.on, *pair.block))
        return _of_codes(codes) if pair.near is None else _linked(len(codes), pair.near.pieces(codes, codes))
    texts = pair.texts()
    codes, _ = pair.normal_codes(texts)
    if score is None:
        return _of_codes(codes) if pair.near is None else _linked(len(codes), pair.near.pieces(codes, codes))
    blocks, _ = pair.block_codes(texts)
    sides = as_texts([a for a, _ in texts])
    if pair.near is not None:
        one, other, _ = alike_pairs(score, sides, sides, blocks, blocks, pair.near)
        return _linked(len(codes), [(one, other)])
    # Rows of equal texts are one group already: only the first of each is scored.
    first = _of_codes(codes)
    blocks = np.where(first == np.arange(len(first)), blocks, -1)
    one, other, _ = alike_pairs(score, sides, sides, blocks, blocks, None)
    return _linked(len(codes), [(one, other)])[first]


def _of_codes(codes: Positions) -> Positions:
    """The first row of each row's code; the row itself where it has none."""
    rows = np.arange(len(codes), dtype=np.int64)
    first = np.empty(int(codes.max(initial=-1)) + 1, np.int64)
    coded = rows[codes >= 0]
    first[codes[coded][::-1]] = coded[::-1]  # the last that is written stays: the first row
    of_row = rows.copy()
    of_row[coded] = first[codes[coded]]
    return of_row


def _linked(rows: int, pieces: Iterable[tuple[Positions, Positions]]) -> Positions:
    parent = np.arange(rows, dtype=np.int64)
    for one, other in pieces:
        _link(parent, one, other)
    roots: Positions = _roots(parent)
    return roots


@njit(cache=True, nogil=True)
def _link(parent: Any, one: Any, other: Any) -> None:
    """Join the sets of each pair of rows; a set's root is its first row (Tarjan 1975, with path halving)."""
    for n in range(len(one)):
        a, b = one[n], other[n]
        if a >= b:  # each pair comes from both sides
            continue
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        if a < b:
            parent[b] = a
        else:
            parent[a] = b


@njit(cache=True, nogil=True)
def _roots(parent: Any) -> Any:
    for row in range(len(parent)):  # a parent is never a later row: it has its root already
        parent[row] = parent[parent[row]]
    return parent


def _split(frame: pd.DataFrame, rows: Positions, first: Positions) -> tuple[pd.DataFrame, pd.DataFrame]:
    is_kept = first == np.arange(len(first))
    grouped = np.flatnonzero(np.bincount(first, minlength=len(first))[first] > 1)
    members = grouped[np.argsort(first[grouped], kind="stable")]
    duplicates = frame.iloc[rows[members]].reset_index(drop=True)
    duplicates.insert(0, "group", np.cumsum(is_kept[members]) - 1)  # the kept one stands first in its group
    duplicates.insert(1, "is_kept", is_kept[members])
    return frame.iloc[rows[is_kept]].reset_index(drop=True), duplicates
