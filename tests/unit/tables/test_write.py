"""Writing: the same table whatever way its rows came; keys refused with their places; bounded parts."""

from __future__ import annotations

import datetime as dt
import errno
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import BuilderError
from builder.store import disk, parts
from builder.store.manifest import Manifest
from builder.store.parts import PartFolder
from builder.tables.batches import HIGH, LOW, read_batch
from builder.tables.cells import hash_rows
from builder.tables.read import read_table
from builder.tables.schema import Column, Schema
from builder.tables.write import put_together, write_table

TWO = Schema((Column("v", "float64"), Column("k", "string"), Column("n", "int64")), ("k", "n"))
ONE = Schema((Column("k", "string"), Column("v", "Int64")), ("k",))
BARE = Schema(ONE.columns)

ROWS = st.dictionaries(
    st.tuples(st.text(max_size=3), st.integers(-3, 3)), st.none() | st.floats(-1, 1), max_size=30
).map(lambda d: [{"k": k, "n": n, "v": v} for (k, n), v in d.items()])


def files(shelf: Any) -> list[Path]:
    return [p for p in shelf.path.rglob("*") if p.is_file()]


def keys_of(shelf: Any, manifest: Manifest) -> list[list[tuple[Any, ...]]]:
    assert manifest.schema is not None
    tables = [read_batch(shelf.path, p, manifest.schema.key) for p in manifest.parts]
    return [[tuple(r[k] for k in manifest.schema.key) for r in t.to_pylist()] for t in tables]


@settings(max_examples=40, deadline=None)
@given(
    ROWS, st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 100, 1 << 20]), st.randoms(use_true_random=False)
)
def test_order_batches_runs_and_parts_do_not_count(
    shelf: Any, rows: list[dict[str, Any]], batch: int, part_rows: int, run_bytes: int, shuffle: random.Random
) -> None:
    plain = shelf.write(rows, TWO)
    mixed = list(rows)
    shuffle.shuffle(mixed)
    other = shelf.write(mixed, TWO, batch=batch, part_rows=part_rows, run_bytes=run_bytes)
    assert (other.digest, other.columns, other.rows) == (plain.digest, plain.columns, len(rows))
    expected = sorted(rows, key=lambda r: (r["k"].encode(), r["n"]))
    names = ("v", "k", "n")
    assert read_table(shelf.path, other).to_pylist() == [{n: r[n] for n in names} for r in expected]


@settings(max_examples=20, deadline=None)
@given(ROWS, st.integers(1, 5))
def test_parts_of_a_keyed_table_have_disjoint_ranges(shelf: Any, rows: list[dict[str, Any]], part_rows: int) -> None:
    ranges = keys_of(shelf, shelf.write(rows, TWO, batch=7, part_rows=part_rows, run_bytes=200))
    assert all(keys for keys in ranges)
    flat = [key for keys in ranges for key in keys]
    assert flat == sorted(set(flat))


def test_row_hashes_lie_in_each_part(shelf: Any) -> None:
    rows = [{"k": f"{i:03}", "v": i} for i in range(100)]
    manifest = shelf.write(rows, ONE, part_rows=30)
    assert len(manifest.parts) == 4
    total = 0
    for part in manifest.parts:
        table = read_batch(shelf.path, part, None)
        assert table.column_names == ["k", "v", LOW, HIGH]
        words = np.stack([table.column(LOW).to_numpy(), table.column(HIGH).to_numpy()], axis=1)
        assert (words == hash_rows(table, ONE)[0]).all()
        assert part.rows == table.num_rows and part.bytes == (shelf.path / part.path).stat().st_size
        total += sum(int(low) | int(high) << 64 for low, high in words)
    assert total % (1 << 128) == sum(int(c, 16) for c in manifest.columns.values()) % (1 << 128)


def test_nulls_are_counted_column_by_column(shelf: Any) -> None:
    rows = [{"k": f"{i * 7 % 50:03}", "v": None if i % 3 else i} for i in range(50)]
    assert shelf.write(rows, ONE).nulls == {"k": 0, "v": 33}
    assert shelf.write(rows, ONE, batch=7, part_rows=5, run_bytes=100).nulls == {"k": 0, "v": 33}
    assert shelf.write([], ONE).nulls == {"k": 0, "v": 0}


def test_an_unkeyed_table_keeps_its_order_and_its_order_counts(shelf: Any) -> None:
    rows = [{"k": k, "v": v} for k, v in (("b", 1), ("a", 2), ("b", 1), (None, None))]
    manifest = shelf.write(rows, BARE, batch=1, part_rows=3)
    assert read_table(shelf.path, manifest).to_pylist() == rows
    assert manifest.digest == shelf.write(rows, BARE).digest
    assert manifest.digest != shelf.write(rows[::-1], BARE).digest


@pytest.mark.parametrize("schema", [ONE, BARE])
def test_an_empty_table_has_no_parts_and_the_right_schema(shelf: Any, schema: Schema) -> None:
    manifest = shelf.write([], schema)
    assert (manifest.rows, manifest.parts) == (0, ())
    table = read_table(shelf.path, manifest)
    assert table.num_rows == 0 and table.schema.names == ["k", "v"]
    assert table.schema.field("k").type == pa.string()


def test_the_digest_tells_values_keys_and_dtypes_apart(shelf: Any) -> None:
    rows = [{"k": "a", "v": 1}, {"k": "b", "v": None}]
    variants = [
        (rows, ONE),
        (rows, BARE),
        ([{"k": "a", "v": None}, {"k": "b", "v": 1}], ONE),
        (rows[:1], ONE),
        (rows, Schema((Column("k", "string"), Column("v", "float64")), ("k",))),
        ([{"k": "a", "w": 1}, {"k": "b", "w": None}], Schema((Column("k", "string"), Column("w", "Int64")), ("k",))),
    ]
    assert len({shelf.write(r, s).digest for r, s in variants}) == len(variants)


@pytest.mark.parametrize("bounds", [{}, {"run_bytes": 64, "part_rows": 3}])
def test_duplicate_keys_are_told_with_their_places(shelf: Any, bounds: dict[str, int]) -> None:
    rows = [{"k": k, "v": i} for i, k in enumerate(["b", "a", "c", "a", "z", "c", "a"])]
    with pytest.raises(BuilderError) as caught:
        shelf.write(rows, ONE, batch=2, describe_row=lambda row: f"a.csv:{row + 2}", **bounds)
    facts = dict(caught.value.facts)
    assert caught.value.code == "key-duplicate" and "'k'" in caught.value.message and caught.value.hint
    assert facts["k 'a'"] == "a.csv:3, a.csv:5, a.csv:8" and caught.value.place == "a.csv:3"
    if not bounds:
        assert facts["k 'c'"] == "a.csv:4, a.csv:7"


def test_examples_of_duplicates_end_at_five(shelf: Any) -> None:
    rows = [{"k": str(i % 8), "v": i} for i in range(80)]
    with pytest.raises(BuilderError) as caught:
        shelf.write(rows, ONE)
    assert "8 values" in caught.value.message and len(caught.value.facts) == 5
    assert dict(caught.value.facts)["k '0'"].split(", ") == ["row 0", "row 8", "row 16", "row 24", "row 32"]


def test_a_key_of_two_columns_is_shown_whole(shelf: Any) -> None:
    rows = [{"k": "a", "n": 1, "v": 0.0}, {"k": "a", "n": 2, "v": 0.0}, {"k": "a", "n": 1, "v": 1.0}]
    with pytest.raises(BuilderError) as caught:
        shelf.write(rows, TWO)
    assert caught.value.facts == (("k, n ('a', 1)", "row 0, row 2"),)


def test_a_null_in_a_key_is_told_with_its_row(shelf: Any) -> None:
    rows = [{"k": None if i in (4, 7) else str(i), "v": i} for i in range(9)]
    with pytest.raises(BuilderError) as caught:
        shelf.write(rows, ONE, batch=3)
    assert (caught.value.code, dict(caught.value.facts)["rows"]) == ("key-null", "row 4")


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("bool", [True, False]),
        ("float64", [1.5, -1.0, float("inf")]),
        ("date", [dt.date(2024, 1, 2), dt.date(1, 1, 1)]),
        ("timestamp", [dt.datetime(2024, 1, 1, tzinfo=dt.UTC), dt.datetime(1969, 1, 1, tzinfo=dt.UTC)]),
        ("decimal(5,2)", [10, 9, -1]),
        ("binary", [b"\xff", b"", b"\x01"]),
        ("string", ["\ue000", "\U00010000", "z", "é", "Z", ""]),
    ],
)
@pytest.mark.parametrize("run_bytes", [1, 1 << 20])
def test_every_dtype_can_be_a_key(shelf: Any, dtype: str, values: list[Any], run_bytes: int) -> None:
    schema = Schema((Column("k", dtype),), ("k",))
    manifest = shelf.write([{"k": v} for v in values], schema, batch=1, run_bytes=run_bytes)
    expected = sorted(values, key=lambda v: v.encode() if isinstance(v, str) else v)
    assert read_table(shelf.path, manifest).column("k").to_pylist() == expected


def test_disorder_after_whole_parts_sorts_them_in(own_shelf: Any) -> None:
    rows = [{"k": f"{i:03}", "v": i} for i in range(50)]
    late = [{"k": "025x", "v": 99}, {"k": "zzz", "v": None}]
    manifest = own_shelf.write([*rows, *late], ONE, batch=5, part_rows=10)
    table = read_table(own_shelf.path, manifest)
    assert table.column("k").to_pylist() == sorted(r["k"] for r in rows + late)
    assert manifest.digest == own_shelf.write(sorted(rows + late, key=lambda r: r["k"]), ONE).digest
    assert own_shelf.write([*rows, *late], ONE, batch=5, part_rows=10).digest == manifest.digest
    with pytest.raises(BuilderError) as caught:
        own_shelf.write([*rows, {"k": "003", "v": 0}], ONE, batch=5, part_rows=10)
    assert dict(caught.value.facts)["k '003'"] == "row 3, row 50"


def test_runs_and_parts_are_gone_after_abort_and_runs_after_finish(own_shelf: Any) -> None:
    rows = [{"k": f"{i * 37 % 101:03}", "v": i} for i in range(101)]
    manifest = own_shelf.write(rows, ONE, batch=9, run_bytes=100, part_rows=20)
    expected = {own_shelf.path / p.path for p in manifest.parts}
    assert set(files(own_shelf)) == expected
    writer = own_shelf.writer(ONE, run_bytes=100, part_rows=5)
    for start in range(0, 101, 10):
        writer.append(own_shelf.table(rows[start : start + 10], ONE))
    writer.abort()
    assert set(files(own_shelf)) == expected


def test_write_table_leaves_nothing_where_it_fails(tmp_path: Path, shelf: Any) -> None:
    table = shelf.table([{"k": "a", "v": 1}, {"k": "a", "v": 2}], ONE)
    with pytest.raises(BuilderError):
        write_table(table, ONE, PartFolder(tmp_path), scratch=tmp_path / "scratch")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_failed_write_leaves_no_file_and_says_what_to_do(own_shelf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(parts, "sync_file", full)
    with pytest.raises(BuilderError) as caught:
        own_shelf.write([{"k": "a", "v": 1}], ONE)
    assert caught.value.code == "store-full" and files(own_shelf) == []


def test_parts_are_read_only_and_any_arrow_reader_opens_them(shelf: Any) -> None:
    manifest = shelf.write([{"k": "a", "v": 1}], ONE)
    path = shelf.path / manifest.parts[0].path
    assert path.stat().st_mode & 0o222 == 0
    with pa.OSFile(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
    assert table.select(["k", "v"]).to_pylist() == [{"k": "a", "v": 1}]


def test_no_part_is_known_before_it_is_on_disk(own_shelf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(disk, "on_write", lambda operation, path: seen.append(f"{operation} {path.name}"))
    manifest = own_shelf.write([{"k": "a", "v": 1}], ONE)
    name = Path(manifest.parts[0].path).name
    assert seen.index(f"write {name}") < seen.index(f"sync {name}")


def test_large_slices_are_cut_into_equal_parts(shelf: Any) -> None:
    rows = [{"k": f"{i:04}", "v": i} for i in range(1000)]
    assert [p.rows for p in shelf.write(rows, ONE, part_rows=300).parts] == [250] * 4
    assert [p.rows for p in shelf.write(rows, ONE, part_rows=900).parts] == [1000]
    many = shelf.write(rows, ONE, part_bytes=2000).parts
    assert len(many) > 5 and max(p.rows for p in many) - min(p.rows for p in many) <= len(many)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.lists(st.integers(0, 30), max_size=4), st.randoms(use_true_random=False), st.booleans())
def test_tables_are_put_together_as_one(
    shelf: Any, tmp_path_factory: Any, rows: list[dict[str, Any]], cuts: list[int], chance: Any, is_sorted: bool
) -> None:
    rows = sorted(rows, key=lambda r: (r["k"], r["n"]))
    if not is_sorted:
        chance.shuffle(rows)
    cuts = sorted({0, *(cut for cut in cuts if cut < len(rows)), len(rows)})
    groups = [rows[a:b] for a, b in pairwise(cuts)] or [[]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("builder.tables.write.WORTH_BYTES", 0)
        pieces = [shelf.write(group, TWO) for group in groups]
        made = put_together(pieces, PartFolder(shelf.path), scratch=tmp_path_factory.mktemp("scratch"))
    whole = shelf.write(rows, TWO)
    assert (made.digest, made.rows, made.columns, made.nulls) == (
        whole.digest, whole.rows, whole.columns, whole.nulls
    )  # fmt: skip
    assert read_table(shelf.path, made).equals(read_table(shelf.path, whole))


def test_tables_with_a_key_twice_are_not_put_together(shelf: Any, tmp_path: Path) -> None:
    pieces = [shelf.write([{"k": "a", "n": 1, "v": float(v)}], TWO) for v in range(2)]
    with pytest.raises(BuilderError) as caught:
        put_together(pieces, PartFolder(shelf.path), scratch=tmp_path)
    assert caught.value.code == "key-duplicate"
