"""Small outputs that lie in the ledger: published, collected, checked and mended like those in files."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builder.digests import digest_of
from builder.errors import BuilderError
from builder.execute.attempt import disk_crash
from builder.store import disk
from builder.store.commits import Commit
from builder.store.fsck import damaged_parts, forget
from builder.store.gc import collect
from builder.store.manifest import Kind, Layer, Manifest, files_digest
from builder.store.parts import PartFolder, inlined
from builder.store.publish import copy_part
from builder.tables.arrow import arrow_schema
from builder.tables.batches import map_batch
from builder.tables.diff import count_changes
from builder.tables.merge import write_plain
from builder.tables.read import read_parts, read_table
from builder.tables.schema import Column, Schema
from builder.tables.write import TableWriter, write_table

SCHEMA = Schema((Column("id", "int64"), Column("name", "string")), ("id",))


def small(content: str, kind: Kind = "bytes") -> Manifest:
    part = inlined(content.encode())
    return Manifest(kind, files_digest(kind, [("", part.digest)]), (Layer((part,)),), bytes=part.bytes)


def built(shop: Any, name: str, content: str) -> Manifest:
    """A new version of a target, in a run of its own."""
    manifest = small(content)
    shop.committer.built(shop.begin(), 0.0, Commit(name, digest_of("k", name, content), [], {name: manifest}))
    return manifest


def spoil(shop: Any, path: str) -> None:
    """Change a part's first byte in the ledger."""
    for number, body in shop.ledger.rows("SELECT id, body FROM manifests"):
        manifest = json.loads(body)
        for layer in manifest["layers"]:
            for part in layer["upserts"]:
                if part[0] == path:
                    content = base64.b64decode(part[5])
                    part[5] = base64.b64encode(bytes([content[0] ^ 1]) + content[1:]).decode()
        shop.ledger.rows("UPDATE manifests SET body = ? WHERE id = ?", json.dumps(manifest), number)
    shop.ledger._manifests.clear()


def rows(count: int) -> pa.Table:
    return pa.table({"id": range(count), "name": [f"n{i}" for i in range(count)]}).cast(arrow_schema(SCHEMA))


def table(store: Path, count: int, inline_bytes: int | None) -> Manifest:
    return write_table(rows(count), SCHEMA, PartFolder(store, inline_bytes), scratch=store / "scratch")


# -- commit, collect, check --------------------------------------------------------------------------------------------


def test_a_small_output_comes_back_with_its_bytes_from_another_process_view(shop: Any) -> None:
    made = built(shop, "a", "hello")
    current = shop.ledger.current("a")
    shop.ledger._manifests.clear()
    assert shop.ledger.manifest(current.manifest_id) == made
    assert shop.parts() == set() and (current.bytes, current.digest) == (5, made.digest)


def test_gc_forgets_small_outputs_of_old_versions_and_names_them(shop: Any) -> None:
    made = [built(shop, "a", content) for content in ("one", "three", "fifteen")]
    gone = sorted(m.parts[0].path for m in made[:2])
    assert collect(shop.ledger, shop.committer, shop.store, 1, is_dry=True) == (gone, 8)
    assert len(list(shop.ledger.part_paths())) == 3
    assert collect(shop.ledger, shop.committer, shop.store, 1, is_dry=False) == (gone, 8)
    assert list(shop.ledger.part_paths()) == [made[2].parts[0].path]
    assert b"three" not in b"".join(r[0].encode() for r in shop.ledger.rows("SELECT body FROM manifests"))
    assert collect(shop.ledger, shop.committer, shop.store, 1, is_dry=False) == ([], 0)


def test_gc_removes_no_file_for_a_part_that_has_none(shop: Any) -> None:
    built(shop, "a", "one")
    built(shop, "a", "two")
    seen = []
    disk.on_write = lambda operation, path: seen.append(operation)
    collect(shop.ledger, shop.committer, shop.store, 1, is_dry=False)
    assert "remove" not in seen


def test_a_killed_collection_keeps_what_is_present(shop: Any) -> None:
    built(shop, "a", "one")
    kept = built(shop, "a", "two")

    def kill(operation: str, path: Path) -> None:
        raise disk_crash

    disk.on_write = kill
    with pytest.raises(disk_crash):
        collect(shop.ledger, shop.committer, shop.store, 1, is_dry=False)
    disk.on_write = None
    assert len(list(shop.ledger.part_paths())) == 2
    collect(shop.ledger, shop.committer, shop.store, 1, is_dry=False)
    assert list(shop.ledger.part_paths()) == [kept.parts[0].path]


def test_a_spoiled_small_output_is_found_and_forgotten_with_its_traces(shop: Any) -> None:
    good, bad = built(shop, "good", "same"), built(shop, "bad", "same")
    assert damaged_parts(shop.ledger, shop.store) == []
    spoil(shop, bad.parts[0].path)
    assert damaged_parts(shop.ledger, shop.store) == [("part has other bytes", bad.parts[0].path)]
    forget(shop.ledger, shop.committer, [bad.parts[0].path])
    assert set(shop.ledger.currents()) == {"good"}
    assert shop.ledger.trace(digest_of("k", "bad", "same")) == {}
    assert damaged_parts(shop.ledger, shop.store) == [] and list(shop.ledger.part_paths()) == [good.parts[0].path]


def test_a_spoiled_small_table_is_found(shop: Any) -> None:
    made = table(shop.store, 3, 4096)
    shop.committer.built(shop.begin(), 0.0, Commit("t", digest_of("k"), [], {"t": made}))
    assert damaged_parts(shop.ledger, shop.store) == []
    spoil(shop, made.parts[0].path)
    assert damaged_parts(shop.ledger, shop.store) == [("part has other bytes", made.parts[0].path)]


def test_a_spoiled_small_output_is_not_published(tmp_path: Path) -> None:
    part = replace(inlined(b"good"), content=b"evil")
    with pytest.raises(BuilderError) as caught:
        copy_part(tmp_path, part, tmp_path / "x")
    assert caught.value.code == "store-damaged" and not (tmp_path / "x").exists()


def test_a_published_small_output_is_a_plain_file_that_may_be_written(tmp_path: Path) -> None:
    copy_part(tmp_path, inlined(b"good"), tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"good" and os.stat(tmp_path / "x").st_mode & 0o200


# -- tables ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 40])
def test_a_small_table_is_the_same_table_wherever_it_lies(tmp_path: Path, count: int) -> None:
    here, there = table(tmp_path, count, 4096), table(tmp_path, count, None)
    assert (here.digest, here.columns, here.rows) == (there.digest, there.columns, there.rows)
    assert here.files == () and there.files == there.parts
    assert (
        read_table(tmp_path, here).equals(read_table(tmp_path, there)) and read_table(tmp_path, here).num_rows == count
    )
    assert pa.concat_tables([rows(0), *read_parts(tmp_path, here)]).num_rows == count
    write_plain(tmp_path, here, tmp_path / "plain.parquet")
    assert pq.read_table(tmp_path / "plain.parquet").num_rows == count
    for lies in (here, there):
        assert [map_batch(tmp_path, p).num_rows for p in lies.parts] == ([count] if count else [])


def test_differences_are_counted_between_tables_wherever_they_lie(tmp_path: Path) -> None:
    for old in (4096, None):
        for new in (4096, None):
            found = count_changes(tmp_path, table(tmp_path, 3, old), table(tmp_path, 5, new))
            assert (found.added, found.removed, found.changed) == (2, 0, 0)


def test_a_table_over_the_bound_gets_a_file(tmp_path: Path) -> None:
    size = table(tmp_path, 40, 4096).bytes
    assert table(tmp_path, 40, size).files == ()
    over = table(tmp_path, 40, size - 1)
    assert over.files == over.parts and (tmp_path / over.parts[0].path).is_file()
    assert over.bytes == (tmp_path / over.parts[0].path).stat().st_size > size, "only what is inlined is squeezed"


def test_parts_of_one_table_share_the_bound(tmp_path: Path) -> None:
    size = table(tmp_path, 10, 4096).bytes
    writer = TableWriter(PartFolder(tmp_path, int(size * 2.5)), SCHEMA, scratch=tmp_path / "scratch", part_rows=10)
    writer.append(rows(40))
    made = writer.finish()
    assert [p.content is not None for p in made.parts] == [True, True, False, False]
    assert read_table(tmp_path, made).equals(rows(40))


def test_a_small_part_written_before_the_rows_lost_their_order_is_sorted_with_them(tmp_path: Path) -> None:
    writer = TableWriter(PartFolder(tmp_path, 100_000), SCHEMA, scratch=tmp_path / "scratch", part_rows=10)
    writer.append(rows(40).slice(20))
    writer.append(rows(40).slice(0, 20))
    assert read_table(tmp_path, writer.finish()).equals(rows(40))


def test_an_aborted_small_table_leaves_nothing(tmp_path: Path) -> None:
    writer = TableWriter(PartFolder(tmp_path, 100_000), SCHEMA, scratch=tmp_path / "scratch", part_rows=10)
    writer.append(rows(40))
    writer.abort()
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_spoiled_small_table_is_never_read(tmp_path: Path) -> None:
    made = table(tmp_path, 5, 4096)
    (part,) = made.parts
    assert part.content is not None
    for at in range(0, len(part.content), 37):
        spoiled = replace(part, content=part.content[:at] + bytes([part.content[at] ^ 4]) + part.content[at + 1 :])
        with pytest.raises(BuilderError) as caught:
            read_table(tmp_path, replace(made, layers=(Layer((spoiled,)),)))
        assert caught.value.code == "store-damaged"
