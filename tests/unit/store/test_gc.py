"""Collection keeps what a kept version needs and takes all else; a kill in it loses nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from builder.errors import BuilderError
from builder.execute.attempt import disk_crash
from builder.store import disk
from builder.store.fsck import damaged_parts
from builder.store.gc import collect


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
    from builder.store.commits import Commit

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
