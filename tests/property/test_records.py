"""The laws of records: reconciliation and de-duplication equal a plain model, in any order of the rows and in parts."""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz import fuzz

from builder.transforms import deduplicate, normalise, reconcile

Record = dict[str, Any]

TEXTS = st.sampled_from(
    [
        None,
        "",
        " ",
        "?",
        "Ely",
        "ELY",
        "Élÿ",
        "ely  ",
        "Ely Field",
        "Field Ely",
        "Ely Feild",
        "Elyfield",
        "Lund",
        "Lünd.",
    ]
)
RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "name": TEXTS,
            "st": st.sampled_from([None, "", "NV", "nv", "UT"]),
            "lon": st.sampled_from([None, 0.0, 0.1, 179.95, -179.95]),
            "lat": st.sampled_from([None, 0.0, 0.1]),
        }
    ),
    max_size=8,
)
THRESHOLDS = st.sampled_from([0.5, 0.8, 0.9, 1.0])


def frame_of(records: list[Record]) -> pd.DataFrame:
    types = {"id": "int64", "name": "string", "st": "string", "lon": "float64", "lat": "float64"}
    rows = [{"id": n, **record} for n, record in enumerate(records)]
    return pd.DataFrame({name: pd.Series([r[name] for r in rows], dtype=dtype) for name, dtype in types.items()})


@lru_cache
def normal(text: str | None) -> str | None:
    made = normalise(pd.Series([text], dtype="string")).iloc[0]
    return None if pd.isna(made) or made == "" else made


def said(text: str | None) -> str | None:
    return None if text is None or not text.strip() else text


def are_near(one: Record, other: Record, within_m: float | None) -> bool:
    if within_m is None:
        return True
    if None in (one["lon"], one["lat"], other["lon"], other["lat"]):
        return False
    (x, y), (u, v) = ((math.radians(r["lon"]), math.radians(r["lat"])) for r in (one, other))
    half = math.sin((v - y) / 2) ** 2 + math.cos(y) * math.cos(v) * math.sin((u - x) / 2) ** 2
    return 2 * 6_371_008.8 * math.asin(math.sqrt(half)) <= within_m


def score_of(
    how: str, one: Record, other: Record, has_block: bool, within_m: float | None, threshold: float
) -> float | None:
    """The score of a pair in a stage; None where it is no pair."""
    read = said if how == "exact" else normal
    names, blocks = (read(one["name"]), read(other["name"])), (read(one["st"]), read(other["st"]))
    if (
        None in names
        or (has_block and (None in blocks or blocks[0] != blocks[1]))
        or not are_near(one, other, within_m)
    ):
        return None
    if how != "fuzzy":
        return 1.0 if names[0] == names[1] else None
    score = fuzz.token_sort_ratio(*names) / 100
    return score if score >= threshold else None


def model(
    left: list[Record], right: list[Record], has_block: bool, within_m: float | None, threshold: float
) -> list[tuple]:
    """Matches of one to one: left, right, stage, score, rivals."""
    matches: list[tuple] = []
    free: tuple[set[int], set[int]] = set(range(len(left))), set(range(len(right)))
    for how in ("exact", "normalised", "fuzzy"):
        pairs = {
            (i, j): score
            for i, j in itertools.product(*free)
            if (score := score_of(how, left[i], right[j], has_block, within_m, threshold)) is not None
        }
        taken: list[tuple[int, int]] = []
        for level in sorted(set(pairs.values()), reverse=True):
            open_pairs = [p for p in sorted(pairs) if pairs[p] == level and p[0] in free[0] and p[1] in free[1]]
            now = []
            for i, j in open_pairs:
                if i in free[0] and j in free[1]:
                    free[0].remove(i)
                    free[1].remove(j)
                    now.append((i, j))
            for i, j in now:
                rivals = sum((p[0] == i) != (p[1] == j) and p not in now for p in open_pairs)
                matches.append((i, j, how, level, rivals))
            taken += now
    return sorted(matches)


@settings(max_examples=120, deadline=None)
@given(RECORDS, RECORDS, st.booleans(), st.sampled_from([None, 12_000.0]), THRESHOLDS)
def test_matches_are_those_of_the_model(left, right, has_block, within_m, threshold) -> None:
    found = run(frame_of(left), frame_of(right), has_block, within_m, threshold)
    assert list(found.matched.itertuples(index=False, name=None)) == model(left, right, has_block, within_m, threshold)
    assert sorted([*found.left_only["id"], *found.matched["left_id"]]) == list(range(len(left)))
    assert sorted([*found.right_only["id"], *found.matched["right_id"]]) == list(range(len(right)))


def run(left: pd.DataFrame, right: pd.DataFrame, has_block: bool, within_m: float | None, threshold: float) -> Any:
    near = None if within_m is None else ["lon", "lat"]
    block = "st" if has_block else None
    keys = {"left_key": "id", "right_key": "id"}
    return reconcile(left, right, **keys, on="name", block=block, near=near, within_m=within_m, threshold=threshold)


@settings(max_examples=60, deadline=None)
@given(RECORDS, RECORDS, st.booleans(), st.sampled_from([None, 12_000.0]), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(left, right, has_block, within_m, random) -> None:
    frames = frame_of(left), frame_of(right)
    shuffled = [frame.iloc[random.sample(range(len(frame)), len(frame))] for frame in frames]
    one, other = run(*frames, has_block, within_m, 0.8), run(*shuffled, has_block, within_m, 0.8)
    for name in ("matched", "ambiguous", "left_only", "right_only"):
        pd.testing.assert_frame_equal(getattr(one, name), getattr(other, name))


@settings(max_examples=60, deadline=None)
@given(RECORDS, RECORDS)
def test_parts_of_whole_blocks_give_the_matches_of_the_whole(left, right) -> None:
    frames = frame_of(left), frame_of(right)
    whole = run(*frames, True, None, 0.8).matched
    in_west = [frame["st"].str.lower().eq("nv").fillna(False).astype(bool) for frame in frames]
    parts = [run(*(f[side == w] for f, w in zip(frames, in_west)), True, None, 0.8).matched for side in (True, False)]
    together = pd.concat(parts).sort_values(["left_id", "right_id"], ignore_index=True)
    pd.testing.assert_frame_equal(together, whole)


def groups(
    records: list[Record], how: str, has_block: bool, within_m: float | None, threshold: float
) -> list[list[int]]:
    """The groups of two and more, by their first record."""
    found = [{n} for n in range(len(records))]
    for i, j in itertools.combinations(range(len(records)), 2):
        one, other = records[i], records[j]
        stages = ("normalised", "fuzzy") if how == "fuzzy" else (how,)
        if any(score_of(stage, one, other, has_block, within_m, threshold) is not None for stage in stages):
            a, b = (next(group for group in found if n in group) for n in (i, j))
            if a is not b:
                found.remove(b)
                a |= b
    return sorted(sorted(group) for group in found if len(group) > 1)


@settings(max_examples=150, deadline=None)
@given(
    RECORDS,
    st.sampled_from(["exact", "normalised", "fuzzy"]),
    st.booleans(),
    st.sampled_from([None, 12_000.0]),
    THRESHOLDS,
    st.randoms(use_true_random=False),
)
def test_duplicates_are_those_of_the_model(records, how, has_block, within_m, threshold, random) -> None:
    near = None if within_m is None else ["lon", "lat"]
    rest = {"by": "name", "order_by": "id", "how": how, "block": "st" if has_block else None, "threshold": threshold}
    frame = frame_of(records)
    kept, duplicates = deduplicate(frame, near=near, within_m=within_m, **rest)
    expected = groups(records, how, has_block, within_m, threshold)
    assert [group["id"].tolist() for _, group in duplicates.groupby("group")] == expected
    assert duplicates.loc[duplicates["is_kept"], "id"].tolist() == [group[0] for group in expected]
    dropped = {n for group in expected for n in group[1:]}
    assert kept["id"].tolist() == [n for n in range(len(records)) if n not in dropped]
    shuffled = frame.iloc[random.sample(range(len(frame)), len(frame))]
    for one, other in zip((kept, duplicates), deduplicate(shuffled, near=near, within_m=within_m, **rest)):
        pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize("within_m", [1_000.0, 60_000.0, 2_500_000.0])
def test_near_pairs_are_those_within_the_distance(within_m: float) -> None:
    import numpy as np

    rng = np.random.default_rng(17)
    spots = [
        {"name": "x", "lon": float(x), "lat": float(y)}
        for x, y in zip(
            rng.choice([-180, -179.9, 0, 0.01, 179.8, 180], 60), rng.choice([-90, -89.99, 0, 0.4, 89.9, 90], 60)
        )
    ]
    frame = frame_of([{"st": None, **spot} for spot in spots])
    keys = {"left_key": "id", "right_key": "id"}
    found = reconcile(frame, frame, **keys, on="name", near=["lon", "lat"], within_m=within_m, one_to_one=False)
    expected = {(i, j) for i, j in itertools.product(range(60), repeat=2) if are_near(spots[i], spots[j], within_m)}
    assert set(zip(found.matched["left_id"], found.matched["right_id"])) == expected
