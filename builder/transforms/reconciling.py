"""Two sets of records brought together: which record of one is which of the other, how that was found, how sure it is.

Decides the order of the stages (exact, normalised, fuzzy) and which matches they leave. Never changes a record; the
order of the rows never counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from builder.errors import error
from builder.transforms.candidates import Nearness, equal_pairs
from builder.transforms.choosing import Matches, all_of, by_rank, greedy
from builder.transforms.columns import check_columns
from builder.transforms.comparing import Comparison, column_pairs, comparison, names_of
from builder.transforms.scoring import Pairs, Scorer, alike_pairs, as_texts, scorer
from builder.transforms.values import Positions, key_order

HOW = ("exact", "normalised", "fuzzy")


@dataclass(frozen=True, slots=True, repr=False)
class Reconciliation:
    """What `reconcile` found.

    Attributes
    ----------
    matched
        One row per match, by left key and then right key: the columns of the left key with ``left_`` before their
        names, those of the right key with ``right_``, ``how`` (string: exact, normalised or fuzzy), ``score``
        (float64, 0 to 1; 1 but for fuzzy matches) and ``rivals`` (int64: pairs with one of the two records that
        scored the same and lost by their keys alone).
    ambiguous
        The rows of `matched` with rivals, and the lowest keys that could have stood in their places: ``other_left_``
        and ``other_right_`` before the names; null where there is none. For a person to look at.
    left_only, right_only
        The records without a match, whole, by their keys, with a fresh RangeIndex.
    """

    matched: pd.DataFrame
    ambiguous: pd.DataFrame
    left_only: pd.DataFrame
    right_only: pd.DataFrame

    def __repr__(self) -> str:
        counts = self.matched["how"].value_counts()
        found = ", ".join(f"{int(counts.get(how, 0))} {how}" for how in HOW)
        return (
            f"Reconciliation({len(self.matched)} matched: {found}; {len(self.ambiguous)} of them ambiguous; "
            f"{len(self.left_only)} left only, {len(self.right_only)} right only)"
        )


def reconcile(
    left: pd.DataFrame,
    right: pd.DataFrame,
    *,
    left_key: Any,
    right_key: Any,
    on: Any = None,
    exact: Any = None,
    block: Any = None,
    near: Any = None,
    within_m: float | None = None,
    fuzzy: str | None = "token_sort_ratio",
    threshold: float = 0.9,
    one_to_one: bool = True,
) -> Reconciliation:
    """The matches of two sets of records, how each was found and how sure it is, and the records without one.

    Three stages, each among the records that the ones before it left: **exact** (the columns `exact` are equal; by
    default `on` and `block`, as they are), **normalised** (the texts of `on` are equal after `normalise`), **fuzzy**
    (their score reaches `threshold`). In the last two the columns `block` must agree as well, texts after
    `normalise`. Where `near` is given, a pair lies at most `within_m` apart in every stage, but for an exact stage
    with columns of its own.

    Parameters
    ----------
    left, right
        The records; any index.
    left_key, right_key
        The name of the column (or names) that tells records apart.
    on
        The columns of text that are compared: names, or ``{left name: right name}``.
    exact
        Columns whose equality alone makes a match (a shared code), in the same form; an empty list for no exact stage.
    block
        Columns that must agree, in the same form.
    near
        The columns of longitude and latitude, in degrees, in this order and the same form.
    within_m
        The most metres between two records, along a great circle of a sphere with the Earth's mean radius.
    fuzzy
        The scorer, one of rapidfuzz's: ``ratio``, ``partial_ratio``, ``token_sort_ratio``, ``token_set_ratio``,
        ``WRatio``, ``jaro_winkler``; None for no fuzzy stage. With several columns in `on`, the score is the mean of
        theirs.
    threshold
        The least score of a fuzzy match, above 0 and at most 1.
    one_to_one
        Whether a record is matched once. Then a stage takes its pairs by descending score, then left key, then right
        key, each while both its records are free (greedy: the best pairs first, not the greatest sum). Otherwise
        every pair of a stage is a match, and there are no rivals.

    Returns
    -------
    Reconciliation
        The frames ``matched``, ``ambiguous``, ``left_only``, ``right_only``; the same for any order of the rows.

    Raises
    ------
    BuilderError
        ``recipe-declaration`` for wrong arguments; ``bad-value`` for columns that are missing, not text, of two
        kinds, or hold impossible coordinates; ``key-null``, ``key-duplicate``.

    Notes
    -----
    A null in a column equals nothing, nor does a text of nothing but spaces or, after the exact stage, one without
    letter or digit; nor is a record without coordinates near anything: such records are in ``left_only`` and
    ``right_only``. Parts whose blocks are whole give the matches of the whole, where `exact` is not given. A fuzzy
    stage without `block` and `near` scores every pair.

    Scores are those of rapidfuzz on normal texts (Indel similarity; Winkler 1990 for ``jaro_winkler``), divided by 100.

    Examples
    --------
    >>> import pandas as pd
    >>> ours = pd.DataFrame({"id": [1, 2, 3], "name": ["Łódź Airport", "Bar Harbor Arpt", None]})
    >>> theirs = pd.DataFrame({"ref": ["x", "y"], "title": ["LODZ AIRPORT", "Bar Harbor Airport"]})
    >>> found = reconcile(ours, theirs, left_key="id", right_key="ref", on={"name": "title"})
    >>> found.matched[["left_id", "right_ref", "how"]].values.tolist(), found.matched["score"].round(3).tolist()
    ([[1, 'x', 'normalised'], [2, 'y', 'fuzzy']], [1.0, 0.909])
    >>> found.left_only["id"].tolist()
    [3]
    """
    keys = names_of(left_key, "left_key"), names_of(right_key, "right_key")
    exact_on = None if exact is None else column_pairs(exact, "exact")
    if not (keys[0] and keys[1] and (column_pairs(on, "on") or exact_on)):
        raise error("recipe-declaration", "'reconcile' needs keys and 'on' or 'exact'", hint="name columns to compare")
    score = None if fuzzy is None else scorer(fuzzy, threshold)
    check_columns(left, keys[0], "left")
    check_columns(right, keys[1], "right")
    # What is compared stands in the order of the keys: a row's position is its key's rank.
    rows = key_order(left, keys[0], "left"), key_order(right, keys[1], "right")
    pair = comparison((left, right), rows, on=on, block=block, near=near, within_m=within_m, exact=exact_on or ())
    return _result((left, right), rows, keys, _stages(pair, (len(left), len(right)), exact_on, score, one_to_one))


def _stages(
    pair: Comparison, sizes: tuple[int, int], exact: Any, score: Scorer | None, one_to_one: bool
) -> list[Matches]:
    """The matches of each stage."""
    free = np.ones(sizes[0], bool), np.ones(sizes[1], bool)
    stages: list[Matches] = []

    def take(matches: Matches) -> None:
        free[0][matches.left] = free[1][matches.right] = False
        stages.append(matches)

    if exact is None:
        take(_equal(pair.exact_codes((*pair.on, *pair.block)), free, pair.near, one_to_one))
    else:
        take(_equal(pair.exact_codes(exact), free, None, one_to_one) if exact else _equal_none())
    if not pair.on:
        return stages
    texts = pair.texts()
    take(_equal(pair.normal_codes(texts), free, pair.near, one_to_one))
    if score is not None:
        codes = _of_free(pair.block_codes(texts), free)
        sides = as_texts([a for a, _ in texts]), as_texts([b for _, b in texts])
        take(_chosen(alike_pairs(score, *sides, *codes, pair.near), free, one_to_one))
    return stages


def _equal_none() -> Matches:
    return all_of((np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)))


def _of_free(codes: tuple[Positions, Positions], free: tuple[Any, Any]) -> tuple[Positions, Positions]:
    return np.where(free[0], codes[0], -1), np.where(free[1], codes[1], -1)


def _equal(
    codes: tuple[Positions, Positions], free: tuple[Any, Any], near: Nearness | None, one_to_one: bool
) -> Matches:
    """The matches among free rows of one code."""
    codes = _of_free(codes, free)
    if near is None and one_to_one:
        return by_rank(*codes)
    if near is None:
        left, right = equal_pairs(*codes)
    else:
        pieces = [(np.empty(0, np.int64), np.empty(0, np.int64)), *near.pieces(*codes)]
        left, right = (np.concatenate(parts) for parts in zip(*pieces))
    return _chosen((left, right, np.ones(len(left))), free, one_to_one)


def _chosen(pairs: Pairs, free: tuple[Any, Any], one_to_one: bool) -> Matches:
    return greedy(pairs, len(free[0]), len(free[1])) if one_to_one else all_of(pairs)


def _result(
    frames: tuple[pd.DataFrame, pd.DataFrame],
    rows: tuple[Positions, Positions],
    keys: tuple[tuple[str, ...], tuple[str, ...]],
    stages: list[Matches],
) -> Reconciliation:
    left, right, score, rivals, other_left, other_right = (
        np.concatenate([getattr(matches, name) for matches in stages])
        for name in ("left", "right", "score", "rivals", "other_left", "other_right")
    )
    how = np.repeat(np.arange(len(stages)), [len(matches.left) for matches in stages])
    order = np.lexsort((right, left))
    columns: dict[str, Any] = {}
    for side, frame, at, matched_rows, names in zip(("left", "right"), frames, rows, (left, right), keys):
        columns |= {f"{side}_{name}": frame[name].array.take(at[matched_rows[order]]) for name in names}
    columns["how"] = pd.array(np.array(HOW, object)[how[order]], dtype="string")
    columns |= {"score": score[order], "rivals": rivals[order]}
    matched = pd.DataFrame(columns)
    is_ambiguous = matched["rivals"].to_numpy() > 0
    ambiguous = matched[is_ambiguous].reset_index(drop=True)
    for side, frame, at, others, names in zip(("left", "right"), frames, rows, (other_left, other_right), keys):
        others = others[order][is_ambiguous]
        for name in names:
            ambiguous[f"other_{side}_{name}"] = _taken_or_null(frame[name], np.where(others < 0, -1, at[others]))
    return Reconciliation(matched, ambiguous, _without(left, frames[0], rows[0]), _without(right, frames[1], rows[1]))


def _without(matched: Positions, frame: pd.DataFrame, rows: Positions) -> pd.DataFrame:
    is_left = np.ones(len(frame), bool)
    is_left[matched] = False
    return frame.iloc[rows[is_left]].reset_index(drop=True)


def _taken_or_null(values: pd.Series[Any], rows: Positions) -> Any:
    """Values by position, null at -1; integers and booleans of numpy become pandas' nullable ones."""
    nullable: dict[str, Any] = {"i": "Int64", "u": "UInt64", "b": "boolean"}
    if isinstance(values.dtype, np.dtype) and values.dtype.kind in nullable:
        values = values.astype(nullable[values.dtype.kind])
    return pd.api.extensions.take(values.array, rows, allow_fill=True)
