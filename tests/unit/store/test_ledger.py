"""The ledger gives back what was written, and a file that it cannot read is a clear error."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from builder.digests import digest_of
from builder.errors import BuilderError, error
from builder.store.commits import Attempt, Commit
from builder.store.layout import VERSION
from builder.store.ledger import FILE, Ledger, ledger_error
from builder.store.records import RunRow, run_name, run_number


def refusal(store: Path) -> BuilderError:
    with pytest.raises(BuilderError) as caught:
        Ledger.open(store)
    assert caught.value.hint and caught.value.place
    return caught.value


def test_a_store_that_is_not_there_reads_as_empty_and_is_not_made(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "none")
    assert (ledger.currents(), ledger.failures(), ledger.runs()) == ({}, {}, [])
    assert (ledger.epoch(), ledger.complete_run(), ledger.published()) == (0, None, {})
    ledger.close()
    assert not (tmp_path / "none").exists()


def test_what_was_built_is_current_with_its_trace_fields_and_cost(shop: Any) -> None:
    made = shop.build("a", "d1")
    current = shop.ledger.current("a")
    assert shop.ledger.currents() == {"a": current}
    assert (current.step, current.key, current.run) == ("a", made, 1)
    assert current.digest == digest_of("output", "a of d1") and current.bytes == len("a of d1")
    assert shop.ledger.trace(made) == {"a": (current.manifest_id, current.digest)}
    assert shop.ledger.fields(made) == [("source", "s", "d1"), ("recipe", "a", "code")]
    cost = shop.ledger.cost(made)
    assert (cost.via, cost.run, cost.built_at, cost.wall_s) == ("full", 1, 100.0, 1.5)
    assert shop.ledger.history_s() == {"a": 1.5}
    assert shop.ledger.manifest(current.manifest_id).parts[0].path in shop.parts()


def test_another_process_reads_the_same(shop: Any) -> None:
    shop.build("a", "d1")
    other = Ledger.open(shop.store)
    assert other.currents() == shop.ledger.currents()
    assert other.manifest(1) == shop.ledger.manifest(1)
    other.close()


def test_unknown_names_and_keys_are_nothing(shop: Any) -> None:
    unknown = digest_of("unknown")
    assert shop.ledger.current("z") is None and shop.ledger.version_at("z", 9) is None
    assert (shop.ledger.trace(unknown), shop.ledger.fields(unknown)) == ({}, [])
    assert shop.ledger.cost(unknown) is None and shop.ledger.fingerprint_items("z") == {}


def test_versions_are_those_after_each_run(shop: Any) -> None:
    shop.build("a", "d1")
    shop.begin()
    shop.build("b", "d1")
    shop.begin()
    shop.build("a", "d2")
    first, second = (n for _, n in shop.ledger.versions("a"))
    assert [r for r, _ in shop.ledger.versions("a")] == [1, 3]
    assert [shop.ledger.version_at("a", r)[0] for r in (1, 2, 3, 9)] == [first, first, second, second]
    assert shop.ledger.version_at("b", 1) is None
    assert (shop.ledger.names_at(0), shop.ledger.names_at(1), shop.ledger.names_at(3)) == ([], ["a"], ["a", "b"])


def test_a_retired_target_is_gone_from_now_on_and_was_there_before(shop: Any) -> None:
    made = shop.build("a", "d1")
    shop.committer.retired(shop.begin(), ["a"], ["a"])
    assert shop.ledger.current("a") is None
    assert (shop.ledger.names_at(1), shop.ledger.names_at(2)) == (["a"], [])
    assert shop.ledger.version_at("a", 2) is None and shop.ledger.version_at("a", 1) is not None
    assert shop.ledger.versions("a")[-1] == (2, None)
    assert set(shop.ledger.trace(made)) == {"a"}


def test_differences_are_known_in_both_directions(shop: Any) -> None:
    shop.begin()
    old, new = digest_of("old"), digest_of("new")
    commit = Commit("a", digest_of("k"), [], {"a": shop.manifest("x")}, differences={(old, new): (5, 3, 2)})
    shop.committer.built(1, 0.0, commit)
    assert shop.ledger.difference(old, new) == (5, 3, 2)
    assert shop.ledger.difference(new, old) == (3, 5, 2)
    assert shop.ledger.difference(old, old) == (0, 0, 0)
    assert shop.ledger.difference(old, digest_of("z")) is None


def test_runs_are_kept_with_their_totals(shop: Any) -> None:
    run = shop.begin()
    report = {"wall_s": 8.5, "totals": {"built": 3}, "targets": [{"name": "a"}]}
    shop.committer.end_run(run, 9.0, "built", report, True)
    assert shop.ledger.runs() == [RunRow(1, 0.0, 9.0, "built", 8.5, {"built": 3}, True)]
    assert shop.ledger.complete_run() == 1
    shop.committer.end_run(shop.begin(), 10.0, "failed", {}, False)
    assert shop.ledger.complete_run() == 1


def test_attempts_are_listed_oldest_first(shop: Any) -> None:
    run = shop.begin()
    for number, outcome in ((1, "worker-died"), (2, "done")):
        shop.committer.tried(run, Attempt("a", number, outcome, f"logs/a.{number}.log", 1.0))
    assert shop.ledger.logs("a") == [(1, 1, "worker-died", "logs/a.1.log"), (1, 2, "done", "logs/a.2.log")]
    assert shop.ledger.logs("b") == []


def test_a_failure_comes_back_as_the_error_it_was(shop: Any) -> None:
    cause = error("key-null", "'a' has nulls", place="a.csv", facts=[("row", "3")], hint="mend", target="a")
    shop.committer.failed(shop.begin(), "a", None, cause, None)
    found = shop.ledger.failures()["a"]
    assert (found.step, found.key, found.run) == ("a", None, 1)
    assert found.error.to_json() == cause.to_json()


def test_a_missing_manifest_is_damage(shop: Any) -> None:
    with pytest.raises(BuilderError) as caught:
        shop.ledger.manifest(99)
    assert caught.value.code == "store-damaged"


@pytest.mark.parametrize("content", [b"not a database at all, but text of some length" * 50, b"\0" * 4096])
def test_a_file_that_is_no_ledger_is_damage(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    found = refusal(tmp_path)
    assert (found.code, found.exit_code) == ("store-damaged", 1)
    assert "fsck --repair" in (found.hint or "")


def test_a_ledger_of_a_newer_version_is_left_alone(shop: Any) -> None:
    shop.ledger.db.execute("UPDATE meta SET value = ? WHERE name = 'version'", (str(VERSION + 1),))
    found = refusal(shop.store)
    assert (found.code, found.exit_code) == ("store-version", 2)


def test_a_ledger_without_a_version_is_damage(shop: Any) -> None:
    shop.ledger.db.execute("DELETE FROM meta WHERE name = 'version'")
    assert refusal(shop.store).code == "store-damaged"


@pytest.mark.parametrize("text", ["{", '{"kind": "table"}', "[]", "null"])
def test_a_manifest_that_is_no_json_of_ours_is_damage(shop: Any, text: str) -> None:
    shop.build("a", "d1")
    shop.ledger.db.execute("UPDATE manifests SET body = ?", (text,))
    with pytest.raises(BuilderError) as caught:
        Ledger(shop.ledger.db, shop.store).manifest(1)
    assert caught.value.code == "store-damaged"


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_store_that_cannot_be_made_is_read_only(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(BuilderError) as caught:
            Ledger.open(tmp_path / "store", create=True)
        assert caught.value.code == "store-read-only"
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("database or disk is full", "store-full"),
        ("attempt to write a readonly database", "store-read-only"),
        ("unable to open database file", "store-read-only"),
        ("database is locked", "locked"),
        ("database disk image is malformed", "store-damaged"),
    ],
)
def test_what_sqlite_says_becomes_an_error_with_a_remedy(text: str, code: str) -> None:
    found = ledger_error(Path("store/ledger.sqlite"), sqlite3.OperationalError(text))
    assert found.code == code and found.hint


def test_runs_have_names() -> None:
    assert run_name(12) == "r12" and run_number("r12") == run_number("12") == 12


@pytest.mark.parametrize("text", ["", "r", "rr1", "-1", "r1.5", "r²", "x", " 1"])
def test_other_texts_name_no_run(text: str) -> None:
    with pytest.raises(BuilderError) as caught:
        run_number(text)
    assert caught.value.code == "unknown-target"
