"""Collection keeps what a kept version needs and takes all else; a kill in it loses nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.digests import digest_of
from builder.errors import BuilderError
from builder.execute.attempt import disk_crash
from builder.store import disk
from builder.store.commits import Commit, Committer
from builder.store.fsck import damaged_parts, forget
from builder.store.gc import collect
from builder.store.ledger import Ledger
from builder.store.lock import locked
from builder.store.manifest import Layer, Manifest
from builder.store.parts import inlined


def inline_output(content: str) -> Manifest:
    part = inlined(content.encode())
    return Manifest("bytes", digest_of(content), (Layer((part,)),), bytes=part.bytes)


def part_of(shop: Any, run: int, name: str = "a") -> str:
    number = shop.ledger.version_at(name, run)[0]
    return shop.ledger.manifest(number).parts[0].path


@pytest.fixture
def versions(shop: Any) -> Any:
    """Four versions of ``a``, one a run; the second run was complete."""
    for inputs in ("d1", "d2", "d3", "d4"):
        shop.begin()
        shop.build("a", inputs)
        shop.committer.end_run(shop.run, 0.0, "built", {}, inputs == "d2")
    shop.paths = {run: part_of(shop, run) for run in (1, 2, 3, 4)}
    return shop


def collected(shop: Any, keep: int, *, is_dry: bool = False) -> set[str]:
    paths, size = collect(shop.ledger, shop.committer, shop.store, keep, is_dry=is_dry)
    assert size > 0 or not paths
    return set(paths)


@pytest.mark.parametrize(("keep", "gone"), [(1, {1, 3}), (2, {1}), (3, {1}), (4, set()), (9, set())])
def test_the_last_versions_and_those_of_the_complete_build_stay(versions: Any, keep: int, gone: set[int]) -> None:
    assert collected(versions, keep) == {versions.paths[r] for r in gone}
    assert versions.parts() == {versions.paths[r] for r in {1, 2, 3, 4} - gone}
    assert damaged_parts(versions.ledger, versions.store) == []


def test_a_dry_run_tells_the_same_and_takes_nothing(versions: Any) -> None:
    before = versions.parts()
    told = collected(versions, 1, is_dry=True)
    assert versions.parts() == before
    assert len(list(versions.ledger.manifests())) == 4
    assert collected(versions, 1) == told


def test_a_version_that_was_collected_is_not_restored_nor_mistaken_for_an_older_one(versions: Any, key_of: Any) -> None:
    collected(versions, 1)
    assert versions.ledger.trace(key_of("ad3")) == {} and versions.ledger.fields(key_of("ad3")) == []
    assert set(versions.ledger.trace(key_of("ad2"))) == {"a"}
    with pytest.raises(BuilderError) as caught:
        versions.ledger.version_at("a", 3)
    assert caught.value.code == "unknown-target" and "no longer in the store" in caught.value.message
    assert [run for run, _ in versions.ledger.versions("a")] == [2, 4]
    assert versions.ledger.names_at(3) == ["a"]
    assert versions.ledger.version_at("a", 4)[1] == key_of("ad4")


def test_collecting_twice_takes_nothing_more(versions: Any) -> None:
    collected(versions, 2)
    assert collected(versions, 2) == set()


def test_a_retired_target_keeps_its_last_version(shop: Any) -> None:
    shop.build("a", "d1")
    shop.committer.retired(shop.begin(), ["a"], ["a"])
    assert collected(shop, 1) == set()


def test_an_output_shared_by_two_versions_stays_while_one_needs_it(shop: Any, key_of: Any) -> None:
    shop.build("a", "d1")
    number = shop.ledger.current("a").manifest_id
    shop.committer.built(shop.begin(), 0.0, Commit("a", key_of("other"), [], {"a": number}))
    assert collected(shop, 1) == set()
    assert len(shop.parts()) == 1


def test_orphans_of_attempts_that_died_are_taken(shop: Any) -> None:
    shop.build("a", "d1")
    shop.manifest("never committed")
    orphan = shop.parts() - {shop.ledger.manifest(1).parts[0].path}
    (shop.store / "scratch" / "x").mkdir(parents=True)
    (shop.store / "scratch" / "x" / "f").write_text("left over")
    assert collected(shop, 1) == orphan | {"scratch/x/f"}


def test_logs_of_present_versions_and_of_the_last_runs_stay(shop: Any) -> None:
    shop.build("old", "d1")
    for _ in range(30):
        shop.begin()
    for run in (1, 2, 31):
        folder = shop.store / "logs" / f"r{run}"
        folder.mkdir(parents=True)
        (folder / "x.1.log").write_text("said")
    assert collected(shop, 1) == {"logs/r2/x.1.log"}


def test_a_kill_between_any_two_operations_leaves_only_orphans(versions: Any) -> None:
    stops = 0
    while True:
        left = stops

        def kill(operation: str, path: Path) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise disk_crash

        disk.on_write = kill
        try:
            collect(versions.ledger, versions.committer, versions.store, 1, is_dry=False)
            break
        except disk_crash:
            stops += 1
        finally:
            disk.on_write = None
        assert damaged_parts(versions.ledger, versions.store) == []
        assert versions.paths[2] in versions.parts() and versions.paths[4] in versions.parts()
    assert stops >= 3
    assert versions.parts() == {versions.paths[2], versions.paths[4]}


def test_what_attempts_left_behind_goes_but_not_the_epoch_they_must_belong_to(shop: Any) -> None:
    for name in ("epoch", "abc/workspace/x", "abc.alive"):
        path = shop.store / "scratch" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")
    removed, _ = collect(shop.ledger, shop.committer, shop.store, 1, is_dry=False)
    assert removed == ["scratch/abc.alive", "scratch/abc/workspace/x"]
    assert [p.name for p in (shop.store / "scratch").rglob("*") if p.is_file()] == ["epoch"]


def test_who_may_still_be_at_work_stays_known_with_what_it_works_in(shop: Any) -> None:
    left = ("epoch", "abc.pid", "abc/workspace/x", "abc/y.pid", "dead/y.pid", "dead/workspace/x")
    for name in left:
        path = shop.store / "scratch" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")
    removed, _ = collect(shop.ledger, shop.committer, shop.store, 1, is_dry=False)
    assert removed == ["scratch/dead/workspace/x", "scratch/dead/y.pid"]


def worked(ledger: Ledger, what: Callable[[], Any]) -> int:
    """How many instructions SQLite needed, in tens."""
    count = 0

    def tick() -> int:
        nonlocal count
        count += 1
        return 0

    ledger.db.set_progress_handler(tick, 10)
    what()
    ledger.db.set_progress_handler(None, 10)
    return count


def work_of_forgetting(store: Path, way: str, count: int) -> int:
    """What it takes to forget the first of two versions of this many outputs."""
    ledger = Ledger.open(store, create=True)
    committer = Committer.take(ledger)
    for _ in range(2):
        run, names = committer.begin_run(0.0), [f"t{n}" for n in range(count)]
        works = [Commit(n, digest_of(n, str(run)), [], {n: inline_output(f"{n} {run}")}) for n in names]
        committer.commit_all(run, 0.0, works)
    paths = [p.path for number, m in ledger.manifests() if number <= count for p in m.parts]
    if way == "gc":
        cost = worked(ledger, lambda: collect(ledger, committer, store, 1, is_dry=False))
    else:
        cost = worked(ledger, lambda: forget(ledger, committer, paths))
    assert len(list(ledger.manifests())) == count and [run for run, _ in ledger.versions("t1")] == [2]
    ledger.close()
    return cost


@pytest.mark.parametrize("way", ["gc", "fsck"])
def test_what_forgetting_costs_grows_with_the_number_of_outputs_and_no_faster(tmp_path: Path, way: str) -> None:
    few, many = (work_of_forgetting(tmp_path / str(count), way, count) for count in (100, 400))
    assert many < 8 * few


def test_collection_holds_no_more_than_one_manifest_at_a_time(shop: Any) -> None:
    for content in ("a", "b", "c"):
        shop.begin()
        shop.build("t", content)
    walked = iter(shop.ledger.manifests())
    assert next(walked)[0] == 1
    shop.ledger.db.execute("DELETE FROM manifests WHERE id = 3")  # what is not yet walked is not yet read
    assert [number for number, _ in walked] == [2]


def test_what_a_verification_that_died_left_goes_and_one_that_goes_on_stays(shop: Any) -> None:
    old_s = time.time() - 7200
    for name in ("verify-dead", "verify-alive", "verify-young"):
        (shop.store / name / "store" / "parts").mkdir(parents=True)
        (shop.store / name / "store" / "parts" / "x.bin").write_text("large")
    with locked(shop.store / "verify-alive"):
        with locked(shop.store / "verify-dead"):
            pass
        for name in ("verify-dead", "verify-alive"):
            os.utime(shop.store / name, (old_s, old_s))
        told, _ = collect(shop.ledger, shop.committer, shop.store, 1, is_dry=True)
        removed, _ = collect(shop.ledger, shop.committer, shop.store, 1, is_dry=False)
    assert told == removed
    assert removed == [f"verify-dead/{name}" for name in ("lock", "lock.turn", "store/parts/x.bin")]
    assert {p.name for p in shop.store.glob("verify-*")} == {"verify-alive", "verify-young"}
