"""Differences between versions against plain dicts."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.tables.delta import delta_between
from builder.tables.diff import Difference, count_changes, example_changes
from builder.tables.schema import Column, Schema

COLUMNS = (Column("k", "string"), Column("n", "int64"), Column("v", "float64"))
KEYED = Schema(COLUMNS, ("k", "n"))
BARE = Schema(COLUMNS)

VERSION = st.dictionaries(
    st.tuples(st.sampled_from(["", "a", "ab", "b"]), st.integers(0, 3)),
    st.none() | st.sampled_from([0.0, 1.0]),
    max_size=12,
).map(lambda d: [{"k": k, "n": n, "v": v} for (k, n), v in d.items()])


def by_key(rows: list[dict[str, Any]]) -> dict[tuple[str, int], dict[str, Any]]:
    return {(r["k"], r["n"]): r for r in rows}


@settings(max_examples=60, deadline=None)
@given(VERSION, st.lists(VERSION, min_size=1, max_size=3), st.integers(1, 5))
def test_differences_of_keyed_tables_are_those_of_dicts(
    shelf: Any, before: list[dict[str, Any]], versions: list[list[dict[str, Any]]], part_rows: int
) -> None:
    old, new = by_key(before), by_key(versions[-1])
    added, removed = sorted(new.keys() - old.keys()), sorted(old.keys() - new.keys())
    changed = sorted(k for k in old.keys() & new.keys() if old[k] != new[k])
    first = shelf.write(before, KEYED, part_rows=part_rows)
    for second in (shelf.write(versions[-1], KEYED), shelf.layered(versions, KEYED, part_rows=part_rows)):
        assert count_changes(shelf.path, first, second) == Difference(len(added), len(removed), len(changed))
        assert example_changes(shelf.path, first, second, 3) == {
            "added": [new[k] for k in added[:3]],
            "removed": [old[k] for k in removed[:3]],
            "changed": [
                {"key": {"k": k, "n": n}, "before": {"v": old[k, n]["v"]}, "after": {"v": new[k, n]["v"]}}
                for k, n in changed[:3]
            ],
        }


@settings(max_examples=60, deadline=None)
@given(VERSION, st.data(), st.integers(1, 5), st.integers(1, 5))
def test_rows_that_changed_in_place_are_found(
    shelf: Any, before: list[dict[str, Any]], data: Any, old_part_rows: int, new_part_rows: int
) -> None:
    values = data.draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=len(before), max_size=len(before)))
    after = [row | {"v": value} for row, value in zip(before, values, strict=True)]
    first, second = (
        shelf.write(before, KEYED, part_rows=old_part_rows),
        shelf.write(after, KEYED, part_rows=new_part_rows),
    )
    old, new = by_key(before), by_key(after)
    changed = sorted(k for k in old if old[k] != new[k])
    assert count_changes(shelf.path, first, second) == Difference(0, 0, len(changed))
    delta = delta_between(shelf.path, first, second)
    assert delta is not None
    assert delta.upserts(("k", "n", "v")).to_pylist() == [new[k] for k in changed]
    assert delta.before(("k", "n", "v")).to_pylist() == [old[k] for k in changed]
    assert delta.deleted.num_rows == 0


def test_a_row_of_a_long_table_without_a_key_is_shown(shelf: Any) -> None:
    before = [{"k": "a", "n": n, "v": 1.0} for n in range(20_000)]
    after = [row | {"v": 2.0} if row["n"] == 15_000 else row for row in before]
    first, second = shelf.write(before, BARE), shelf.write(after, BARE)
    assert count_changes(shelf.path, first, second) == Difference(0, 0, 1)
    assert "15000" in json.dumps(example_changes(shelf.path, first, second))


@settings(max_examples=30, deadline=None)
@given(VERSION, VERSION)
def test_unkeyed_tables_differ_by_position(
    shelf: Any, before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    common = min(len(before), len(after))
    changed = [i for i in range(common) if before[i] != after[i]]
    old, new = shelf.write(before, BARE, part_rows=2), shelf.write(after, BARE)
    assert count_changes(shelf.path, old, new) == Difference(len(after) - common, len(before) - common, len(changed))
    examples = example_changes(shelf.path, old, new, 2)
    assert [c["key"] for c in examples["changed"]] == [{"row": i} for i in changed[:2]]
    assert examples["added"] == after[common:][:2]


def test_no_old_version_or_another_schema_replaces_every_row(shelf: Any) -> None:
    rows = [{"k": "a", "n": n, "v": 0.0} for n in range(3)]
    old, new = shelf.write(rows[:2], BARE), shelf.write(rows, KEYED)
    assert count_changes(shelf.path, None, new) == Difference(3, 0, 0)
    assert count_changes(shelf.path, old, new) == Difference(3, 2, 0)
    examples = example_changes(shelf.path, old, new)
    assert (examples["added"], examples["removed"], examples["changed"]) == (rows, rows[:2], [])
    assert count_changes(shelf.path, old, new).rows == 5


def test_equal_digests_are_answered_without_reading(shelf: Any) -> None:
    manifest = shelf.write([{"k": "a", "n": 1, "v": 0.0}], KEYED)
    nowhere = Path("nowhere")
    assert count_changes(nowhere, manifest, manifest) == Difference(0, 0, 0)
    assert example_changes(nowhere, manifest, manifest) == {"added": [], "removed": [], "changed": []}


@pytest.mark.parametrize(
    ("dtype", "value", "shown"),
    [
        ("date", dt.date(2024, 2, 29), "2024-02-29"),
        ("timestamp", dt.datetime(2024, 2, 29, tzinfo=dt.UTC), "2024-02-29T00:00:00+00:00"),
        ("decimal(4,2)", Decimal("1.5"), "1.50"),
        ("binary", b"\0\1", "AAE="),
        ("geometry", shapely.to_wkb(shapely.Point(1, 2.5)), "POINT (1 2.5)"),
        ("float64", float("inf"), "inf"),
        ("string", "x" * 300, "x" * 200 + "…"),
        ("Int64", None, None),
    ],
)
def test_examples_are_json_values(shelf: Any, dtype: str, value: Any, shown: Any) -> None:
    manifest = shelf.write([{"x": value}], Schema((Column("x", dtype),)))
    examples = example_changes(shelf.path, None, manifest)
    assert json.loads(json.dumps(examples))["added"] == [{"x": shown}]
