"""Parts of stores of format 2 are read, updated from, compared and checked like those of this one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builder.errors import BuilderError
from builder.store.fsck import damaged_parts
from builder.store.manifest import Layer, Manifest, Part
from builder.store.parts import PartFolder, files_of, inlined
from builder.tables.arrow import arrow_schema
from builder.tables.batches import HIGH, LOW, read_batch
from builder.tables.cells import hash_rows
from builder.tables.check import is_sound
from builder.tables.delta import delta_between
from builder.tables.lookup import locate, take
from builder.tables.read import read_parts, read_table
from builder.tables.schema import Column, Schema
from builder.tables.update import write_update
from builder.tables.write import write_table

SCHEMA = Schema((Column("id", "int64"), Column("a.b", "string"), Column("a", "Int64")), ("id",))
ROWS = pa.table({"id": range(50), "a.b": [f"n{i}" for i in range(50)], "a": range(50)}).cast(arrow_schema(SCHEMA))


def of_format_2(store: Path, new: Manifest, *, is_inline: bool) -> Manifest:
    """The version as builders of format 2 wrote it."""
    hashes = np.ascontiguousarray(hash_rows(ROWS, SCHEMA)[0]).tobytes()
    sink = pa.BufferOutputStream()
    pq.write_table(ROWS, sink, compression="zstd", write_page_checksum=True)
    content = sink.getvalue().to_pybytes()
    if is_inline:
        part = inlined(content + hashes, rows=50)
    else:
        relative, path = PartFolder(store).fresh(".parquet")
        path.write_bytes(content)
        path.with_name(path.name + ".rows").write_bytes(hashes)
        part = Part(relative, 50, len(content) + len(hashes))
    return replace(new, layers=(Layer((part,)),), nulls={})


@pytest.fixture(params=[True, False])
def versions(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Manifest, Manifest]:
    new = write_table(ROWS, SCHEMA, PartFolder(tmp_path), scratch=tmp_path / "scratch")
    return of_format_2(tmp_path, new, is_inline=request.param), new


def test_an_older_version_is_read_by_every_way(versions: tuple[Manifest, Manifest], tmp_path: Path) -> None:
    old, new = versions
    assert read_table(tmp_path, old).equals(read_table(tmp_path, new))
    assert pa.concat_tables(read_parts(tmp_path, old, ("a", "id"))).equals(read_table(tmp_path, new, ("a", "id")))
    hashes = [read_batch(tmp_path, m.parts[0], (HIGH, "a.b", LOW)) for m in versions]
    assert hashes[0].equals(hashes[1])
    keys = pa.table({"id": [3, 44, 99]})
    found = [take(locate(tmp_path, m, keys), ("a.b",), hashed=True) for m in versions]
    assert found[0].equals(found[1]) and found[0].num_rows == 2


def test_an_older_version_is_compared_with_a_new_one(versions: tuple[Manifest, Manifest], tmp_path: Path) -> None:
    old, new = versions
    changed = ROWS.slice(4, 2).set_column(2, "a", pa.array([None, 7])).cast(arrow_schema(SCHEMA))
    newer = write_update(tmp_path, new, changed, ROWS.slice(9, 1), PartFolder(tmp_path)).manifest
    delta = delta_between(tmp_path, replace(old, digest=new.digest), newer)
    assert delta is not None and (delta.added, delta.removed, delta.changed) == (0, 1, 2)
    other = write_table(read_table(tmp_path, newer), SCHEMA, PartFolder(tmp_path), scratch=tmp_path / "scratch")
    by_hash = delta_between(tmp_path, old, other)
    assert by_hash is not None and by_hash.before(("a",)).to_pylist() == [{"a": 4}, {"a": 5}, {"a": 9}]


def test_an_older_version_is_checked_with_its_row_hashes(versions: tuple[Manifest, Manifest], tmp_path: Path) -> None:
    (part,) = versions[0].parts
    assert is_sound(tmp_path, part, SCHEMA)
    if part.content is None:
        beside = files_of(tmp_path, part)[1]
        beside.write_bytes(beside.read_bytes()[:-8] + b"12345678")
        assert not is_sound(tmp_path, part, SCHEMA)
        beside.unlink()
        with pytest.raises(BuilderError) as caught:
            read_batch(tmp_path, part, (LOW,))
        assert caught.value.code == "store-damaged"


def test_fsck_and_repair_know_both_files(tmp_path: Path) -> None:
    from builder.digests import digest_of
    from builder.store.commits import Commit, Committer
    from builder.store.fsck import forget
    from builder.store.ledger import Ledger

    new = write_table(ROWS, SCHEMA, PartFolder(tmp_path), scratch=tmp_path / "scratch")
    old = of_format_2(tmp_path, new, is_inline=False)
    ledger = Ledger.open(tmp_path, create=True)
    committer = Committer.take(ledger)
    committer.built(committer.begin_run(0.0), 0.0, Commit("t", digest_of("k"), [], {"t": old}))
    assert damaged_parts(ledger, tmp_path) == []
    path, beside = files_of(tmp_path, old.parts[0])
    beside.unlink()
    assert damaged_parts(ledger, tmp_path) == [("part missing", old.parts[0].path)]
    forget(ledger, committer, [old.parts[0].path])
    assert not path.exists() and ledger.currents() == {}
    ledger.close()
