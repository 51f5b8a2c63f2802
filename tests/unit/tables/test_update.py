"""Updates: what is refused, what drops out, where layers end. That they hold what a full write does: tests/property."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from builder.errors import BuilderError
from builder.store.manifest import Manifest, empty_table
from builder.store.parts import PartFolder
from builder.tables import compaction, part_writer, update
from builder.tables.among import rows_among
from builder.tables.batches import Mapped, read_batch
from builder.tables.compaction import MOST_LAYERS, compacted
from builder.tables.delta import delta_between, predicted_rows
from builder.tables.lookup import Located, at_positions, locate, take
from builder.tables.read import read_table
from builder.tables.schema import Column, Schema
from builder.tables.update import Known, Updated, write_update

SCHEMA = Schema((Column("k", "string"), Column("n", "int64"), Column("v", "Int64")), ("k", "n"))
ROWS = [{"k": f"k{i:03}", "n": i % 3, "v": i if i % 4 else None} for i in range(100)]


def changed(shelf: Any, base: Manifest, rows: list[Any], gone: list[Any] = [], **options: Any) -> Updated:  # noqa: B006
    keys = shelf.table(gone, SCHEMA.select(SCHEMA.key))
    return write_update(shelf.path, base, shelf.table(rows, SCHEMA), keys, PartFolder(shelf.path), **options)


def files(shelf: Any) -> set[Path]:
    return {p for p in shelf.path.rglob("*") if p.is_file()}


@pytest.fixture
def base(shelf: Any) -> Manifest:
    made: Manifest = shelf.write(ROWS, SCHEMA, part_rows=30)
    return made


def test_an_update_writes_one_layer_of_what_differs(shelf: Any, base: Manifest) -> None:
    new = [ROWS[5] | {"v": -1}, ROWS[7], {"k": "zzz", "n": 0, "v": None}]
    made = changed(shelf, base, new, [ROWS[9], ROWS[5], {"k": "nowhere", "n": 0}])
    assert (made.added, made.removed, made.changed) == (1, 1, 1)
    manifest = made.manifest
    assert manifest.layers[0] == base.layers[0] and manifest.base == base.digest and manifest.delta is None
    assert [p.rows for p in manifest.layers[1].upserts] == [2] and [p.rows for p in manifest.layers[1].deletes] == [1]
    (deletes,) = manifest.layers[1].deletes
    assert read_batch(shelf.path, deletes, None).to_pylist() == [{"k": "k009", "n": 0}]
    assert manifest.nulls == {"k": 0, "n": 0, "v": 26}
    assert manifest.digest == shelf.write(read_table(shelf.path, manifest).to_pylist(), SCHEMA).digest


def test_an_update_that_changes_nothing_is_the_base_itself(own_shelf: Any) -> None:
    base = own_shelf.write(ROWS, SCHEMA)
    before = files(own_shelf)
    made = changed(own_shelf, base, ROWS[10:20][::-1], [{"k": "nowhere", "n": 1}] * 2)
    assert made == Updated(base, 0, 0, 0) and made.manifest is base and files(own_shelf) == before


def test_null_and_repeated_keys_are_refused_with_their_places(shelf: Any, base: Manifest) -> None:
    with pytest.raises(BuilderError) as caught:
        changed(shelf, base, [ROWS[3], ROWS[4] | {"k": None}], describe_row=lambda row: f"a.csv:{row + 2}")
    assert (caught.value.code, caught.value.place) == ("key-null", "a.csv:3")
    with pytest.raises(BuilderError) as caught:
        changed(shelf, base, [ROWS[3], ROWS[4], ROWS[3] | {"v": 0}], describe_row=lambda row: f"a.csv:{row + 2}")
    assert (caught.value.code, dict(caught.value.facts)) == ("key-duplicate", {"k, n ('k003', 0)": "a.csv:2, a.csv:4"})


def test_a_base_without_a_key_or_of_an_older_format_is_not_updated(shelf: Any, base: Manifest) -> None:
    for odd in (shelf.write(ROWS, Schema(SCHEMA.columns)), replace(base, total="")):
        with pytest.raises(BuilderError) as caught:
            write_update(shelf.path, odd, shelf.table([], SCHEMA), shelf.table([], SCHEMA), PartFolder(shelf.path))
        assert caught.value.code == "internal"


def test_a_base_whose_rows_were_changed_on_the_disk_is_not_updated(own_shelf: Any) -> None:
    rows = [{"k": f"k{i:03}", "n": i, "v": 1000 + i} for i in range(900)]
    base = own_shelf.write(rows, SCHEMA)
    path = own_shelf.path / base.parts[0].path
    content = path.read_bytes()
    word = (1007).to_bytes(8, "little")
    path.chmod(0o600)
    path.write_bytes(content.replace(word, (1008).to_bytes(8, "little"), 1))
    with pytest.raises(BuilderError) as caught:
        changed(own_shelf, base, [rows[7] | {"v": 5}])
    assert (caught.value.code, caught.value.place) == ("store-damaged", str(path))
    assert changed(own_shelf, base, [rows[9] | {"v": 5}]).changed == 1, "rows that are not looked at are not checked"
    many = [r | {"v": 5} for r in rows[20:300]]
    for columns in ((), ("n",)):  # nor are columns that nobody depends on alone
        assert changed(own_shelf, base, many, read_apart=columns).changed == 280
    with pytest.raises(BuilderError) as caught:
        changed(own_shelf, base, many)
    assert (caught.value.code, caught.value.place) == ("store-damaged", str(path))


@pytest.mark.parametrize("count", [0, 1, 280])
def test_a_row_that_is_found_by_a_key_that_was_changed_on_the_disk_is_not_replaced(own_shelf: Any, count: int) -> None:
    rows = [{"k": f"k{2 * i:04}", "n": i, "v": 1000 + i} for i in range(900)]
    base = own_shelf.write(rows, SCHEMA)
    path = own_shelf.path / base.parts[0].path
    content = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(content.replace(b"k0014", b"k0015", 1))
    upserts = [{"k": "k0015", "n": 7, "v": 5}, *(r | {"v": 5} for r in rows[20 : 20 + count])]
    with pytest.raises(BuilderError) as caught:
        changed(own_shelf, base, upserts, read_apart=())
    assert (caught.value.code, caught.value.place) == ("store-damaged", str(path))


@pytest.mark.parametrize("at", [0, 7, 899])
def test_a_row_that_is_hidden_by_a_key_that_was_changed_on_the_disk_is_missed(own_shelf: Any, at: int) -> None:
    rows = [{"k": f"k{2 * i:04}", "n": i, "v": 1000 + i} for i in range(900)]
    base = own_shelf.write(rows, SCHEMA)
    path = own_shelf.path / base.parts[0].path
    other = f"k{2 * at + (-1 if at == 899 else 1):04}".encode()
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(rows[at]["k"].encode(), other, 1))
    hidden = own_shelf.table([rows[at]], SCHEMA)
    for change in (
        lambda: changed(own_shelf, base, [rows[at] | {"v": 5}]),
        lambda: write_update(own_shelf.path, base, hidden.slice(1), hidden, PartFolder(own_shelf.path)),
        lambda: rows_among(own_shelf.path, base, hidden.select(["k", "n"]), ["v"]),
        lambda: rows_among(own_shelf.path, base, hidden.select(["k"]), ["v"]),
    ):
        with pytest.raises(BuilderError) as caught:
            change()
        assert (caught.value.code, caught.value.place) == ("store-damaged", str(path))


def test_a_newer_row_that_was_damaged_on_the_disk_does_not_bring_the_older_one_back(own_shelf: Any) -> None:
    rows = [{"k": f"k{2 * i:04}", "n": i, "v": 1000 + i} for i in range(900)]
    base = own_shelf.write(rows, SCHEMA)
    newer = changed(own_shelf, base, [r | {"v": 5} for r in rows[:300]]).manifest
    path = own_shelf.path / newer.layers[1].upserts[0].path
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b"k0014", b"k0015", 1))
    for names in (["k", "n"], ["k"]):
        with pytest.raises(BuilderError) as caught:
            rows_among(own_shelf.path, newer, own_shelf.table(rows[7:8], SCHEMA).select(names), ["v"])
        assert (caught.value.code, caught.value.place) == ("store-damaged", str(path))


@pytest.mark.parametrize("count", [1, 300])
def test_rows_are_taken_as_they_were_written_or_not_at_all(own_shelf: Any, count: int) -> None:
    rows = [{"k": f"k{i:03}", "n": i, "v": 1000 + i} for i in range(900)]
    base = own_shelf.write(rows, SCHEMA)
    path = own_shelf.path / base.parts[0].path
    word = (1007).to_bytes(8, "little")
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(word, (1008).to_bytes(8, "little"), 1))
    values = own_shelf.table(rows[7 : 7 + count], SCHEMA).select(["k"])
    with pytest.raises(BuilderError) as caught:
        rows_among(own_shelf.path, base, values, ["k", "v"])
    assert (caught.value.code, caught.value.place) == ("store-damaged", str(path))


def test_an_empty_base_becomes_one_layer(shelf: Any) -> None:
    for base in (empty_table(SCHEMA), shelf.write([], SCHEMA)):
        made = changed(shelf, base, ROWS[:3], ROWS[4:6])
        assert (made.added, made.removed) == (3, 0) and read_table(shelf.path, made.manifest).num_rows == 3
        assert len(made.manifest.layers) == 1 and predicted_rows(base, made.manifest) == 3


def test_a_large_change_is_written_as_one_layer_that_keeps_its_delta(shelf: Any, base: Manifest) -> None:
    first = changed(shelf, base, [r | {"v": 1} for r in ROWS[:30]]).manifest
    second = changed(shelf, first, [r | {"v": 2} for r in ROWS[:10]], ROWS[50:52]).manifest
    assert len(first.layers) == 2 and len(second.layers) == 1 and second.base == first.digest
    assert second.delta is not None and second.delta.rows == 12 == predicted_rows(first, second)
    assert set(second.delta.parts) <= set(second.files), "gc must keep them"
    delta = delta_between(shelf.path, first, second)
    assert delta is not None and (delta.added, delta.removed, delta.changed) == (0, 2, 10)
    assert predicted_rows(base, second) is None


def test_a_table_without_files_is_written_anew(own_shelf: Any) -> None:
    folder = PartFolder(own_shelf.path, 4096)
    keys = SCHEMA.select(SCHEMA.key)
    base = write_update(
        own_shelf.path, empty_table(SCHEMA), own_shelf.table(ROWS[:9], SCHEMA), own_shelf.table([], keys), folder
    ).manifest
    new = own_shelf.table([ROWS[3] | {"v": 77}], SCHEMA)
    made = write_update(own_shelf.path, base, new, own_shelf.table([], keys), folder).manifest
    assert len(made.layers) == 1 and made.delta is not None and made.files == () and files(own_shelf) == set()


def test_layers_of_growing_size_stay_and_the_last_ones_are_merged(shelf: Any) -> None:
    rows = [{"k": f"k{i:04}", "n": 0, "v": i} for i in range(2000)]
    manifest = shelf.write(rows, SCHEMA)
    for n, size in enumerate((200, 100, 50, 20, 4, 3, 2, 2)):
        manifest = changed(shelf, manifest, [r | {"v": -n} for r in rows[size : 2 * size]]).manifest
    assert [la.rows for la in manifest.layers[1:]] == [200, 100, 50, 20, 4, 3, 2, 2]
    made = changed(shelf, manifest, [rows[1500] | {"v": 0}], [rows[1501]]).manifest
    assert len(made.layers) - 1 <= MOST_LAYERS
    assert made.layers[:5] == manifest.layers[:5] and made.delta is not None and made.delta.rows == 2
    assert compacted(shelf.path, made, PartFolder(shelf.path)) is made
    assert made.digest == shelf.write(read_table(shelf.path, made).to_pylist(), SCHEMA).digest


def test_a_key_deleted_and_put_in_again_by_merged_layers_holds(shelf: Any) -> None:
    rows = [{"k": f"k{i:04}", "n": 0, "v": i} for i in range(400)]
    manifest = shelf.write(rows, SCHEMA)
    for n in range(9):
        put, gone = ([], rows[7:8]) if n % 2 == 0 else ([rows[7] | {"v": -n}], [])
        manifest = changed(shelf, manifest, [*put, rows[100 + n] | {"v": -1}], gone).manifest
    assert len(manifest.layers) == 2 and len(manifest.layers[1].deletes) == 1
    again = changed(shelf, manifest, [rows[7] | {"v": 3}]).manifest
    keys = shelf.table(rows[7:9], SCHEMA.select(SCHEMA.key))
    assert locate(shelf.path, manifest, keys).is_found.tolist() == [False, True]
    assert take(locate(shelf.path, again, keys), ("v",)).to_pylist() == [{"v": 3}, {"v": 8}]


def test_what_a_layer_holds_in_parts_is_read_as_one(shelf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update, "LAYER_PART_BYTES", 300)
    monkeypatch.setattr(part_writer, "PART_ROWS", 4)
    base = shelf.write(ROWS, SCHEMA, part_rows=9)
    made = changed(shelf, base, [r | {"v": 0} for r in ROWS[10:40]], ROWS[60:66])
    assert len(made.manifest.layers[1].upserts) > 2
    expected = [*ROWS[:10], *(r | {"v": 0} for r in ROWS[10:40]), *ROWS[40:60], *ROWS[66:]]
    assert read_table(shelf.path, made.manifest).to_pylist() == expected


def test_deltas_need_one_schema_and_a_key(shelf: Any, base: Manifest) -> None:
    bare = shelf.write(ROWS, Schema(SCHEMA.columns))
    other = shelf.write(ROWS, Schema((*SCHEMA.columns[:2], Column("v", "float64")), SCHEMA.key))
    for old, new in ((bare, bare), (base, bare), (other, base)):
        assert delta_between(shelf.path, old, new) is None and predicted_rows(old, new) is None


def test_equal_versions_have_an_empty_delta_that_can_be_read(shelf: Any, base: Manifest) -> None:
    delta = delta_between(shelf.path, base, shelf.write(ROWS, SCHEMA))
    assert delta is not None and (delta.added, delta.removed, delta.changed) == (0, 0, 0)
    assert delta.upserts(("v",)).num_rows == delta.before(("v",), hashed=True).num_rows == 0
    assert delta.upserted.column_names == ["k", "n"]


def test_rows_that_were_changed_and_changed_back_are_in_no_delta(shelf: Any, base: Manifest) -> None:
    away = changed(shelf, base, [r | {"v": 0} for r in ROWS[20:30]]).manifest
    back = changed(shelf, away, ROWS[20:25]).manifest
    assert predicted_rows(base, back) == 15
    delta = delta_between(shelf.path, base, back)
    assert delta is not None and (delta.added, delta.removed, delta.changed) == (0, 0, 5)
    reverse = delta_between(shelf.path, back, base)
    assert (
        reverse is not None
        and reverse.changed == 5
        and reverse.upserts(("v",)).to_pylist() == [{"v": r["v"]} for r in ROWS[25:30]]
    )


def test_a_merged_layer_is_not_taken_for_the_last_change(
    shelf: Any, base: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last change led from the rows of `base`, but over layers in which one changed and changed back."""
    monkeypatch.setattr(compaction, "MOST_LAYERS", 1)
    monkeypatch.setattr(compaction, "WHOLE_SHARE", 4)
    away = changed(shelf, base, [ROWS[5] | {"v": -1}, {"k": "new", "n": 0, "v": 1}]).manifest
    back = changed(shelf, away, [ROWS[5]], [{"k": "new", "n": 0}]).manifest
    last = changed(shelf, back, [ROWS[6] | {"v": -1}]).manifest
    assert (back.digest, last.base, len(last.layers)) == (base.digest, base.digest, 2)
    delta = delta_between(shelf.path, base, last)
    assert delta is not None and delta.deleted.num_rows == 0
    assert delta.upserted.to_pylist() == [{"k": "k006", "n": 0}]


def test_keys_that_were_located_before_are_not_looked_up_again(
    shelf: Any, base: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, gone = [ROWS[5] | {"v": -1}, {"k": "zzz", "n": 0, "v": 3}], [ROWS[5], ROWS[9], {"k": "nowhere", "n": 0}]
    expected = changed(shelf, base, rows, gone)
    keys = SCHEMA.select(SCHEMA.key)
    touched = shelf.table([ROWS[5], ROWS[9], {"k": "nowhere", "n": 0}, {"k": "zzz", "n": 0}], keys)
    others = shelf.table([ROWS[5], ROWS[8], {"k": "nowhere", "n": 0}, {"k": "zzz", "n": 0}], keys)
    looked_up: list[int] = []

    def counted(store: Path, manifest: Manifest, sought: Any) -> Any:
        looked_up.append(sought.num_rows)
        return locate(store, manifest, sought)

    monkeypatch.setattr(update, "locate", counted)
    for known, times in ((touched, []), (others, [4])):
        looked_up.clear()
        made = changed(shelf, base, rows, gone, known=Known(known, locate(shelf.path, base, known)))
        assert (made.manifest.digest, made.added, made.removed, made.changed) == (expected.manifest.digest, 1, 1, 1)
        assert looked_up == times


def test_a_run_of_rows_outlives_what_they_were_copied_from(own_shelf: Any) -> None:
    rows = [{"k": f"k{i:03}", "n": i, "v": i if i % 3 else None} for i in range(200)]
    base = own_shelf.write(rows, SCHEMA)
    taken = take(at_positions(own_shelf.path, base, np.arange(50, 120)), SCHEMA.names)
    (part,) = base.layers[0].upserts
    with open(own_shelf.path / part.path, "r+b") as file:
        file.write(bytes(part.bytes))
    assert taken.to_pylist() == rows[50:120]


@pytest.mark.parametrize("rows", [[3], [3, 4], [1, 4], [5]])
def test_texts_whose_ends_were_cut_off_are_not_read(tmp_path: Path, rows: list[int]) -> None:
    batch = pa.record_batch({"k": pa.array(["a", "b", "c", "d", "e", "f"])})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    raw = bytearray(sink.getvalue().to_pybytes())
    at = raw.find((28).to_bytes(8, "little"))  # the bytes of seven offsets, in the batch's own description
    raw[at : at + 8] = (16).to_bytes(8, "little")
    cut = pa.ipc.open_file(pa.py_buffer(bytes(raw))).get_batch(0)
    schema = Schema((Column("k", "string"),))
    located = Located(schema, (Mapped(tmp_path, cut, None, {}),), np.zeros(len(rows), np.int64), np.array(rows))
    with pytest.raises(BuilderError) as caught:
        take(located, ("k",))
    assert caught.value.code == "store-damaged"
