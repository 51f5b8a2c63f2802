"""Versions that share parts: collected, checked, mended and published without taking from each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from builder.digests import digest_of
from builder.store.commits import Commit
from builder.store.fsck import damaged_parts, forget
from builder.store.gc import collect
from builder.store.manifest import Manifest
from builder.store.parts import PartFolder
from builder.tables.arrow import arrow_schema
from builder.tables.batches import write_batch
from builder.tables.read import read_table
from builder.tables.schema import Column, Schema
from builder.tables.update import write_update
from builder.tables.write import write_table

SCHEMA = Schema((Column("id", "int64"), Column("v", "string")), ("id",))


def rows(ids: range, text: str) -> pa.Table:
    return pa.table({"id": ids, "v": [f"{text}{i}" for i in ids]}).cast(arrow_schema(SCHEMA))


class Line:
    """Versions of one target, each made from the one before, each in a run of its own."""

    def __init__(self, shop: Any) -> None:
        self.shop = shop
        folder = PartFolder(shop.store)
        self.versions = [write_table(rows(range(100), "a"), SCHEMA, folder, scratch=shop.store / "scratch")]
        self.commit(self.versions[0])

    def update(self, ids: range, text: str, gone: range = range(0)) -> Manifest:
        keys = pa.table({"id": pa.array(gone, pa.int64())})
        folder = PartFolder(self.shop.store)
        made = write_update(self.shop.store, self.versions[-1], rows(ids, text), keys, folder).manifest
        self.versions.append(made)
        self.commit(made)
        return made

    def commit(self, manifest: Manifest) -> None:
        key = digest_of("k", manifest.digest)
        self.shop.committer.built(self.shop.begin(), 0.0, Commit("t", key, [], {"t": manifest}))

    def collect(self, keep: int) -> set[str]:
        return set(collect(self.shop.ledger, self.shop.committer, self.shop.store, keep, is_dry=False)[0])


@pytest.fixture
def line(shop: Any) -> Line:
    made = Line(shop)
    made.update(range(5), "b", range(90, 92))
    made.update(range(10, 15), "c")
    return made


def paths(*manifests: Manifest) -> set[str]:
    return {p.path for m in manifests for p in m.files}


def overwritten(path: Path, content: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(content)


def test_collection_keeps_what_a_kept_version_shares(line: Line) -> None:
    kept = line.versions[-1]
    assert line.collect(1) == set() and line.shop.parts() == paths(kept), "all layers are those of the last version"
    assert read_table(line.shop.store, kept).num_rows == 98


def test_collection_takes_the_layers_that_a_compaction_left_and_keeps_the_delta(line: Line) -> None:
    before = paths(*line.versions)
    merged = line.update(range(20, 60), "d")
    assert len(merged.layers) == 1 and merged.delta is not None
    delta = {p.path for p in merged.delta.parts}
    assert delta and line.collect(1) == before
    assert line.shop.parts() == paths(merged) > delta
    assert damaged_parts(line.shop.ledger, line.shop.store) == []


def test_fsck_reads_every_layer_the_delta_and_the_index(line: Line) -> None:
    merged = line.update(range(20, 60), "d")
    index = write_batch(pa.table({"hash": range(1000)}), PartFolder(line.shop.store))
    line.commit(replace(merged, digest=digest_of("another"), index=(index,)))
    store = line.shop.store
    assert damaged_parts(line.shop.ledger, store) == []
    (deletes,) = line.versions[1].layers[1].deletes
    assert merged.delta is not None
    touched = [deletes, line.versions[2].layers[2].upserts[0], merged.delta.upserts[0], index]
    for part in touched:
        content = bytearray((store / part.path).read_bytes())
        at = content.rindex((12).to_bytes(8, "little")) if part.rows == 1000 else None
        at = at if at is not None else content.index({2: b"\x5a", 5: b"c10", 40: b"d20"}[part.rows])
        content[at] ^= 1
        overwritten(store / part.path, bytes(content))
    assert {path for _, path in damaged_parts(line.shop.ledger, store)} == {p.path for p in touched}


def test_repair_forgets_every_version_that_needs_the_part_and_no_other(line: Line) -> None:
    first, second, third = line.versions
    lost = second.layers[1].upserts[0].path
    forget(line.shop.ledger, line.shop.committer, [lost])
    left = [m.digest for _, m in line.shop.ledger.manifests()]
    assert left == [first.digest] and not (line.shop.store / lost).exists()
    assert read_table(line.shop.store, first).num_rows == 100
    assert line.collect(9) == paths(third) - paths(first) - {lost}


def test_a_layered_version_comes_back_from_the_ledger(line: Line) -> None:
    line.update(range(20, 60), "d")
    line.shop.ledger._manifests.clear()
    found = [m for _, m in line.shop.ledger.manifests()]
    assert found == line.versions
