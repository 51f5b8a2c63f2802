"""Reading: layers merged, rows filtered, damage told, families gathered."""

from __future__ import annotations

import datetime as dt
from itertools import accumulate, pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import BuilderError
from builder.store.manifest import Manifest
from builder.tables import read
from builder.tables.read import gather, read_parts, read_table
from builder.tables.schema import Column, Schema

SCHEMA = Schema((Column("k", "string"), Column("n", "Int64"), Column("a.b", "string"), Column("a", "date")), ("k", "n"))
DAY = dt.date(2024, 2, 29)


def row(k: str, n: int, ab: str | None = None, a: dt.date | None = DAY) -> dict[str, Any]:
    return {"k": k, "n": n, "a.b": ab, "a": a}


VERSION = st.dictionaries(
    st.tuples(st.sampled_from(["", "a", "ä", "b"]), st.integers(0, 2)), st.none() | st.sampled_from("xy"), max_size=8
).map(lambda d: [row(k, n, v) for (k, n), v in d.items()])


@settings(max_examples=40, deadline=None)
@given(st.lists(VERSION, min_size=1, max_size=4), st.integers(1, 4))
def test_layers_read_as_the_full_version(shelf: Any, versions: list[list[dict[str, Any]]], part_rows: int) -> None:
    layered = shelf.layered(versions, SCHEMA, part_rows=part_rows)
    full = shelf.write(versions[-1], SCHEMA)
    expected = read_table(shelf.path, full)
    assert expected.to_pylist() == sorted(versions[-1], key=lambda r: (r["k"], r["n"]))
    assert read_table(shelf.path, layered).equals(expected)
    assert read_table(shelf.path, layered, ("a", "k")).equals(expected.select(["a", "k"]))
    where = (("a.b", "x"),)
    assert read_table(shelf.path, layered, ("n",), where).equals(read_table(shelf.path, full, ("n",), where))
    assert pa.concat_tables([expected.slice(0, 0), *read_parts(shelf.path, layered)]).equals(expected)


@settings(max_examples=60, deadline=None)
@given(st.lists(VERSION, min_size=1, max_size=4), st.integers(1, 4), st.lists(st.integers(1, 3), max_size=9))
def test_spans_of_parts_give_the_whole(
    shelf: Any, versions: list[list[dict[str, Any]]], part_rows: int, lengths: list[int]
) -> None:
    layered = shelf.layered(versions, SCHEMA, part_rows=part_rows)
    count = len(layered.layers[0].upserts) if layered.layers else 0
    ends = [*(end for end in accumulate(lengths) if end < count), count]
    spans = [range(start, end) for start, end in pairwise([0, *ends])] if count else [range(0)]
    pieces = [p for span in spans for p in read_parts(shelf.path, layered, span=span)]
    whole = read_table(shelf.path, layered)
    assert pa.concat_tables([whole.slice(0, 0), *pieces]).equals(whole)


def test_columns_come_in_the_order_asked_for(shelf: Any) -> None:
    manifest = shelf.write([row("a", 1, "x"), row("b", 2)], SCHEMA, part_rows=1)
    assert read_table(shelf.path, manifest, ("a", "k")).to_pylist() == [{"a": DAY, "k": "a"}, {"a": DAY, "k": "b"}]
    assert read_table(shelf.path, manifest, ()).num_columns == 0
    pieces = list(read_parts(shelf.path, manifest, ("a",)))
    assert [p.column_names for p in pieces] == [["a"], ["a"]]


@pytest.fixture(params=[0, read.SOUGHT_FROM])
def sought_from(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of any size are searched by key, and none."""
    monkeypatch.setattr(read, "SOUGHT_FROM", request.param)


@pytest.mark.usefixtures("sought_from")
@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ((("k", "a"),), [1, 2]),
        ((("n", 2), ("k", "a")), [2]),
        ((("k", "a"), ("a.b", "x")), [1]),
        ((("n", 2),), [2]),
        ((("k", "a"), ("n", None)), []),
        ((("a.b", None),), [2]),
        ((("a", DAY), ("n", 3)), [3]),
        ((("k", "nowhere"),), []),
    ],
)
def test_where_keeps_the_rows_that_match(shelf: Any, where: Any, expected: list[int]) -> None:
    manifest = shelf.write([row("a", 1, "x"), row("a", 2), row("b", 3, "y")], SCHEMA)
    assert read_table(shelf.path, manifest, ("n",), where).column("n").to_pylist() == expected


@pytest.mark.usefixtures("sought_from")
@pytest.mark.parametrize("value", ["1", True, 1.5])
def test_where_with_a_value_of_another_dtype_is_refused(shelf: Any, value: Any) -> None:
    manifest = shelf.write([row("a", 1)], SCHEMA)
    with pytest.raises(BuilderError) as caught:
        read_table(shelf.path, manifest, where=(("n", value),))
    assert caught.value.code == "recipe-declaration"
    with pytest.raises(BuilderError) as caught:
        read_table(shelf.path, manifest, where=(("k", "a"), ("n", value)))
    assert caught.value.code == "recipe-declaration"


def test_where_on_the_key_of_a_large_table_reads_what_has_it(shelf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "SOUGHT_FROM", 3)
    monkeypatch.setattr(read, "read_merged", None)
    manifest = shelf.write([row("a", 1, "x"), row("a", 2), row("b", 3, "y")], SCHEMA)
    assert read_table(shelf.path, manifest, ("n",), (("k", "a"),)).column("n").to_pylist() == [1, 2]


@pytest.mark.usefixtures("sought_from")
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_where_on_a_key_of_floats_knows_one_zero(shelf: Any, zero: float) -> None:
    schema = Schema((Column("k", "float64"), Column("n", "int64")), ("k",))
    manifest = shelf.write([{"k": k, "n": n} for n, k in enumerate((-1.0, 0.0, 1.0))], schema)
    assert read_table(shelf.path, manifest, ("n",), (("k", zero),)).column("n").to_pylist() == [1]


def test_an_unknown_column_is_told_with_the_nearest(shelf: Any) -> None:
    schema = Schema((Column("elevation", "float64"), Column("lat", "float64")))
    manifest = shelf.write([], schema)
    with pytest.raises(BuilderError) as caught:
        read_table(shelf.path, manifest, ("elevatoin",))
    assert caught.value.code == "unknown-input" and "'elevation'" in str(caught.value.hint)


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "empty"])
def test_a_damaged_part_is_told_with_its_path(own_shelf: Any, damage: str) -> None:
    manifest = own_shelf.write([row(str(i), i, "x" * 50) for i in range(100)], SCHEMA)
    path = own_shelf.path / manifest.parts[0].path
    raw = bytearray(path.read_bytes())
    path.unlink()
    if damage == "cut":
        path.write_bytes(raw[: len(raw) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "flipped":
        raw[raw.index(b"x" * 50) + 60] ^= 0xFF
        path.write_bytes(raw)
    for reading in (lambda: read_table(own_shelf.path, manifest), lambda: list(read_parts(own_shelf.path, manifest))):
        with pytest.raises(BuilderError) as caught:
            reading()
        assert (caught.value.code, caught.value.place) == ("store-damaged", str(path))
        assert caught.value.hint == "builder fsck --repair"


MEMBER = Schema((Column("id", "int64"), Column("v", "int64")), ("id",))


def member(shelf: Any, ids: list[int], schema: Schema = MEMBER) -> Manifest:
    result: Manifest = shelf.write(
        [{c.name: 10 * i if c.name == "v" else i for c in schema.columns} for i in ids], schema
    )
    return result


def test_gathered_members_come_in_the_order_of_their_parameters(shelf: Any) -> None:
    one, two = member(shelf, [2, 1]), member(shelf, [1])
    members = [((("year", 10), ("s", "b")), one), ((("year", 9), ("s", "z")), two)]
    table, schema = gather(shelf.path, members)
    assert table.to_pylist() == [
        {"year": 9, "s": "z", "id": 1, "v": 10},
        {"year": 10, "s": "b", "id": 1, "v": 10},
        {"year": 10, "s": "b", "id": 2, "v": 20},
    ]
    assert schema == Schema((Column("year", "int64"), Column("s", "string"), *MEMBER.columns), ("year", "s", "id"))


def test_parameters_become_columns_of_their_type(shelf: Any) -> None:
    params = (("s", "x"), ("i", 1), ("b", True), ("d", DAY))
    table, schema = gather(shelf.path, [(params, member(shelf, [1]))], columns=("v",))
    assert [c.dtype for c in schema.columns] == ["string", "int64", "bool", "date", "int64"]
    assert table.to_pylist() == [{"s": "x", "i": 1, "b": True, "d": DAY, "v": 10}]
    assert schema.key == ()
    assert gather(shelf.path, [(params, member(shelf, [1, 2]))], columns=())[0].num_rows == 2


def test_where_reaches_parameters_and_columns(shelf: Any) -> None:
    members = [((("s", "a"),), member(shelf, [1, 2])), ((("s", "b"),), member(shelf, [2, 3]))]
    table, _ = gather(shelf.path, members, where=(("s", "b"), ("id", 2)))
    assert table.to_pylist() == [{"s": "b", "id": 2, "v": 20}]
    table, schema = gather(shelf.path, members, ("id",), where=(("s", "nowhere"),))
    assert table.num_rows == 0 and table.column_names == ["s", "id"] and schema.key == ("s", "id")


def test_no_members_give_no_columns(shelf: Any) -> None:
    table, schema = gather(shelf.path, [])
    assert table.num_columns == 0 and schema == Schema(())


def test_plain_and_nullable_integers_meet_in_the_nullable_one(shelf: Any) -> None:
    nullable = Schema((Column("v", "Int64"), Column("id", "int64")), ("id",))
    table, schema = gather(shelf.path, [((("p", 1),), member(shelf, [1])), ((("p", 2),), member(shelf, [2], nullable))])
    assert schema.column("v").dtype == "Int64" and schema.names == ("p", "id", "v")
    assert table.column("v").to_pylist() == [10, 20] and schema.key == ("p", "id")


@pytest.mark.parametrize(
    "other",
    [
        Schema((Column("id", "int64"), Column("v", "float64")), ("id",)),
        Schema((Column("id", "int64"),), ("id",)),
        Schema((Column("id", "int64"), Column("v", "int64"), Column("w", "int64")), ("id",)),
    ],
)
def test_members_that_differ_are_told_by_name_and_column(shelf: Any, other: Schema) -> None:
    with pytest.raises(BuilderError) as caught:
        gather(shelf.path, [((("p", 1),), member(shelf, [1])), ((("p", 2),), member(shelf, [2], other))])
    assert caught.value.code == "result-type"
    assert "[p=1]" in caught.value.message and "[p=2]" in caught.value.message
    assert dict(caught.value.facts)["column"] in ("v", "w")


def test_members_of_different_keys_have_none_together(shelf: Any) -> None:
    unkeyed = Schema(MEMBER.columns)
    _, schema = gather(shelf.path, [((("p", 1),), member(shelf, [1])), ((("p", 2),), member(shelf, [2], unkeyed))])
    assert schema.key == ()


def test_a_column_that_repeats_the_parameter_is_dropped_and_another_value_refused(shelf: Any) -> None:
    good = [((("id", 7),), member(shelf, [7])), ((("id", 8),), member(shelf, []))]
    table, schema = gather(shelf.path, good)
    assert table.to_pylist() == [{"id": 7, "v": 70}] and schema.key == ("id",)
    assert gather(shelf.path, good, columns=("v",))[0].column_names == ["id", "v"]
    for params in ((("id", 6),), (("id", "7"),)):
        with pytest.raises(BuilderError) as caught:
            gather(shelf.path, [(params, member(shelf, [7]))])
        assert caught.value.code == "result-type"
