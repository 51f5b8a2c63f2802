"""Counters against plain dicts: of whole tables, of parts, and after changes, on every path through the code."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Context, Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.transforms import count_cells, count_codes
from builder.transforms.count import Counters, count_by, fold_counts, merge_counts

SETTINGS = settings(max_examples=20, deadline=None)
EXACT = Context(prec=60)
MONEY = pd.ArrowDtype(pa.decimal128(38, 2))
SUMS = {"seats": "s", "money": "m"}

# A forest: 30 codes, the parent of each before it or none; texts of 0 to 40 bytes.
CODES = [
    ("", "é", "long text that fills several words")[i % 3] * (i > 0) + "abcdefgh"[: i % 9] + str(i) for i in range(30)
]
FORESTS = st.tuples(*(st.integers(-1, max(i - 1, -1)) for i in range(30)))

ROWS = st.lists(
    st.tuples(
        st.none() | st.sampled_from(CODES),
        st.none() | st.integers(-3, 3) | st.sampled_from([2**62, -(2**62), 2**40]),
        st.none() | st.integers(-9, 9) | st.sampled_from([2**57, -(2**57)]),
        st.none() | st.sampled_from([Decimal("0.05"), Decimal("-7.30"), Decimal(10**33), Decimal(-(10**33))]),
    ),
    max_size=40,
)

PATHS = {
    "direct": {},
    "hashed": {"_FEW_KEYS": 0, "_MANY_KEYS": 0},
    "compressed": {"_FEW_KEYS": 0, "_MANY_KEYS": 0, "_MAX_KEYS": 1},
    "blocks": {"_BLOCK_ROWS": 3, "_PARTITION_ROWS": 4},
    "hashed blocks": {"_BLOCK_ROWS": 3, "_PARTITION_ROWS": 4, "_FEW_KEYS": 0, "_MANY_KEYS": 0},
}


@contextmanager
def forced(path: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in PATHS[path].items():
            patch.setattr(count_cells, name, value)
        if "hashed" in path:
            patch.setattr(count_codes, "_DIRECT", 0)
        yield


def table_of(rows: list[Any]) -> pd.DataFrame:
    kind, region, seats, money = zip(*rows) if rows else ((), (), (), ())
    return pd.DataFrame(
        {
            "kind": pd.Series(kind, dtype="string"),
            "region": pd.Series(region, dtype="Int64"),
            "s": pd.Series(seats, dtype="Int64"),
            "m": pd.Series(pd.arrays.ArrowExtensionArray(pa.array(money, pa.decimal128(38, 2)))),
        }
    )


def taxonomy_of(forest: tuple[int, ...]) -> pd.DataFrame:
    parents = [CODES[up] if up >= 0 else None for up in forest]
    return pd.DataFrame({"code": pd.Series(CODES, dtype="string"), "parent": pd.Series(parents, dtype="string")})


def expected(rows: list[Any], forest: tuple[int, ...] | None) -> list[tuple[Any, ...]]:
    """(kind, region, n, seats, money), in order: every row adds to its kind and to each ancestor."""
    found: dict[tuple[str, int], list[Any]] = defaultdict(lambda: [0, 0, Decimal(0)])
    for kind, region, seats, money in rows:
        if kind is None or region is None:
            continue
        node = CODES.index(kind)
        while node >= 0:
            cell = found[CODES[node], region]
            cell[0] += 1
            cell[1] += seats or 0
            cell[2] = EXACT.add(cell[2], money or 0)
            node = forest[node] if forest else -1
    return [(*key, *cell) for key, cell in sorted(found.items())]


def rows_of(result: pd.DataFrame) -> list[tuple[Any, ...]]:
    return list(result.itertuples(index=False, name=None))


def same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    return one.equals(other) and (one.dtypes == other.dtypes).all() and one.attrs == other.attrs


@pytest.mark.parametrize("path", PATHS)
@SETTINGS
@given(ROWS, st.none() | FORESTS)
def test_counters_are_those_of_dicts(path: str, rows: list[Any], forest: tuple[int, ...] | None) -> None:
    with forced(path):
        taxonomy = {"taxonomy": taxonomy_of(forest), "taxonomy_on": "kind"} if forest else {}
        found = count_by(table_of(rows), ["kind", "region"], sums=SUMS, **taxonomy)
    assert rows_of(found) == expected(rows, forest)
    assert found.attrs["left_out"] == sum(r[0] is None or r[1] is None for r in rows)
    assert [str(d) for d in found.dtypes] == ["string", "Int64", "int64", "int64", str(MONEY)]


@pytest.mark.parametrize("path", PATHS)
@SETTINGS
@given(ROWS, FORESTS, st.randoms(use_true_random=False))
def test_neither_order_of_rows_nor_of_columns_matters(path: str, rows: list[Any], forest: Any, random: Any) -> None:
    with forced(path):
        taxonomy = taxonomy_of(forest)
        whole = count_by(table_of(rows), ["region", "kind"], sums=SUMS, taxonomy=taxonomy, taxonomy_on="kind")
        random.shuffle(rows)
        shuffled = table_of(rows).iloc[:, ::-1]
        shuffled.index = [7] * len(shuffled)
        turned = taxonomy.sample(frac=1, random_state=1)
        assert same(count_by(shuffled, ["region", "kind"], sums=SUMS, taxonomy=turned, taxonomy_on="kind"), whole)


@pytest.mark.parametrize("path", PATHS)
@SETTINGS
@given(st.lists(ROWS, min_size=1, max_size=4), st.none() | FORESTS)
def test_parts_add_up_to_the_whole(path: str, parts: list[list[Any]], forest: tuple[int, ...] | None) -> None:
    with forced(path):
        taxonomy = {"taxonomy": taxonomy_of(forest), "taxonomy_on": "kind"} if forest else {}
        by = ["kind", "region"]
        whole = count_by(table_of([r for part in parts for r in part]), by, sums=SUMS, **taxonomy)
        counted = [count_by(table_of(part), by, sums=SUMS, **taxonomy) for part in parts]
        assert same(merge_counts(counted, by), whole)
        assert same(merge_counts(counted[::-1], by), whole)
        counters = Counters(by, sums=SUMS, **taxonomy)
        for part in parts:
            counters.add(table_of(part))
        assert same(counters.result(), whole)


@pytest.mark.parametrize("path", PATHS)
@SETTINGS
@given(ROWS, ROWS, st.none() | FORESTS, st.data())
def test_a_fold_equals_a_full_count(path: str, before: list[Any], added: list[Any], forest: Any, data: Any) -> None:
    is_removed = data.draw(st.lists(st.booleans(), min_size=len(before), max_size=len(before)))
    removed = [row for row, gone in zip(before, is_removed) if gone]
    after = [row for row, gone in zip(before, is_removed) if not gone] + added
    with forced(path):
        taxonomy = {"taxonomy": taxonomy_of(forest), "taxonomy_on": "kind"} if forest else {}
        by = ["kind", "region"]
        full, *counted = (count_by(table_of(r), by, sums=SUMS, **taxonomy) for r in (after, before, added, removed))
        assert same(fold_counts(*counted, by=by), full)
        change = Counters(by, sums=SUMS, **taxonomy)
        change.add(table_of(added))
        change.subtract(table_of(removed))
        held = rows_of(change.touched())
        previous = counted[0][np.array([key in held for key in rows_of(counted[0][by])], bool)]
        untouched = [row for row in rows_of(counted[0]) if row[:2] not in held]
        assert sorted([*rows_of(change.applied(previous)), *untouched]) == rows_of(full)
        assert same(change.applied(counted[0]), full)
        assert not set(held) & {row[:2] for row in set(rows_of(counted[0])) & set(rows_of(full))}
        counters = Counters(by, sums=SUMS, **taxonomy)
        counters.subtract(table_of(removed))  # what is taken off may be told first
        counters.add(table_of(added))
        counters.add(table_of(before))
        assert same(counters.result(), full)


@SETTINGS
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=60))
def test_texts_are_told_apart_and_ordered_by_code_point(texts: list[str]) -> None:
    found = count_by(pd.DataFrame({"t": pd.Series(texts, dtype="str")}), ["t"])
    assert rows_of(found) == sorted(Counter(texts).items())


@SETTINGS
@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-(2**63), 2**63 - 1, 0, -1]), max_size=60))
def test_integers_of_any_size_are_told_apart_and_ordered(numbers: list[int]) -> None:
    found = count_by(pd.DataFrame({"i": np.array(numbers, np.int64)}), ["i"])
    assert rows_of(found) == sorted(Counter(numbers).items())


@pytest.mark.parametrize("distinct", [1, 2_047, 2_049, 40_000])
@pytest.mark.parametrize("kind", ["int", "text"])
def test_tables_that_grow_while_they_fill_lose_nothing(distinct: int, kind: str) -> None:
    rng = np.random.default_rng(distinct)
    values = rng.integers(-(2**62), 2**62, distinct)[rng.integers(0, distinct, 3 * distinct)]
    column = pd.Series(values) if kind == "int" else pd.Series(values.astype(str)).str.repeat(3).astype("str")
    other = pd.Series(rng.integers(0, 50, len(column)))
    found = count_by(pd.DataFrame({"v": column, "o": other}), ["v", "o"])
    oracle = pd.DataFrame({"v": column, "o": other}).groupby(["v", "o"]).size().rename("n").reset_index()
    pd.testing.assert_frame_equal(found, oracle, check_index_type=False)
