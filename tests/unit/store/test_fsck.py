"""Damage is found where it is, and what needs a damaged part is forgotten, nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from builder.digests import digest_of
from builder.errors import BuilderError
from builder.store.commits import Commit
from builder.store.fsck import damaged_parts, forget, set_ledger_aside
from builder.store.ledger import FILE, Ledger
from builder.store.manifest import Manifest
from builder.store.parts import PartFolder
from builder.tables.batches import LOW, map_batch
from builder.tables.schema import Column, Schema
from builder.tables.write import write_table


def overwritten(path: Path, content: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(content)


def part(shop: Any, name: str = "a") -> str:
    return shop.ledger.manifest(shop.ledger.current(name).manifest_id).parts[0].path


def test_a_sound_store_has_no_problem(shop: Any) -> None:
    shop.build("a", "d1")
    shop.build("b", "d1", **{"b.x": "1", "b.y": "2"})
    assert damaged_parts(shop.ledger, shop.store) == []


def test_each_kind_of_damage_is_told_with_its_part(shop: Any) -> None:
    for name in ("gone", "short", "other", "fine"):
        shop.build(name, "d1")
    (shop.store / part(shop, "gone")).unlink()
    overwritten(shop.store / part(shop, "short"), b"x")
    size = os.path.getsize(shop.store / part(shop, "other"))
    overwritten(shop.store / part(shop, "other"), b"z" * size)
    assert set(damaged_parts(shop.ledger, shop.store)) == {
        ("part missing", part(shop, "gone")),
        ("part has another size", part(shop, "short")),
        ("part has other bytes", part(shop, "other")),
    }


def test_forgetting_takes_what_needs_the_part_and_nothing_else(shop: Any, key_of: Any) -> None:
    shop.build("a", "d1")
    shop.build("b", "d1")
    lost, kept = part(shop, "a"), part(shop, "b")
    forget(shop.ledger, shop.committer, [lost])
    assert set(shop.ledger.currents()) == {"b"}
    assert shop.ledger.trace(key_of("ad1")) == {} and set(shop.ledger.trace(key_of("bd1"))) == {"b"}
    assert shop.parts() == {kept}
    assert damaged_parts(shop.ledger, shop.store) == []
    assert shop.recall.built_key("a") is None


def test_a_forgotten_version_is_not_mistaken_for_the_one_before(shop: Any) -> None:
    shop.build("a", "d1")
    shop.begin()
    shop.build("a", "d2")
    forget(shop.ledger, shop.committer, [part(shop)])
    assert shop.ledger.version_at("a", 1) is not None
    with pytest.raises(BuilderError):
        shop.ledger.version_at("a", 2)


SCHEMA = Schema((Column("id", "int64"), Column("v", "string")), ("id",))


def table(shop: Any, rows: int = 20, seed: str = "v") -> Manifest:
    """A table in the store, committed as ``t``."""
    frame = pa.table({"id": pa.array(range(rows), pa.int64()), "v": pa.array([f"{seed}{i}" for i in range(rows)])})
    manifest = write_table(frame, SCHEMA, PartFolder(shop.store), scratch=shop.store / "scratch")
    shop.committer.built(shop.begin(), 0.0, Commit("t", digest_of("k", seed), [], {"t": manifest}))
    return manifest


def test_a_table_is_checked_by_its_rows(shop: Any) -> None:
    one, other = table(shop), table(shop, seed="w")
    assert damaged_parts(shop.ledger, shop.store) == []
    path, swapped = (shop.store / m.parts[0].path for m in (one, other))
    assert path.stat().st_size == swapped.stat().st_size
    overwritten(path, swapped.read_bytes())
    assert damaged_parts(shop.ledger, shop.store) == [("part has other rows", one.parts[0].path)]


def test_a_table_whose_row_hashes_were_changed_is_damaged(shop: Any) -> None:
    made = table(shop)
    path = shop.store / made.parts[0].path
    word = map_batch(shop.store, made.parts[0]).column(LOW)[7].as_py().to_bytes(8, "little")
    content = path.read_bytes()
    assert content.count(word) == 1
    overwritten(path, content.replace(word, bytes([word[0] ^ 1]) + word[1:]))
    assert damaged_parts(shop.ledger, shop.store) == [("part has other rows", made.parts[0].path)]
    forget(shop.ledger, shop.committer, [made.parts[0].path])
    assert shop.parts() == set()


def test_a_broken_ledger_set_aside_makes_room_for_an_empty_one(tmp_path: Path) -> None:
    for name in (FILE, f"{FILE}-wal"):
        (tmp_path / name).write_bytes(b"broken" * 100)
    set_ledger_aside(tmp_path)
    aside = sorted(p.name for p in tmp_path.iterdir())
    assert len(aside) == 2 and all(".damaged-" in n for n in aside)
    ledger = Ledger.open(tmp_path, create=True)
    assert ledger.currents() == {}
    ledger.close()
