"""A commit is there whole or not at all, once, and only under the epoch that holds the store."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.digests import digest_of
from builder.errors import BuilderError, error
from builder.execute.attempt import disk_crash
from builder.store import disk
from builder.store.commits import Attempt, Commit, Committer, Restore
from builder.store.ledger import Ledger
from builder.store.manifest import Manifest
from builder.store.records import Sample


def dump(ledger: Ledger) -> dict[str, Any]:
    """All rows of all tables."""
    tables = [r[0] for r in ledger.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {t: sorted(map(str, ledger.rows(f"SELECT * FROM {t}"))) for t in tables}


def test_several_outputs_arrive_together(shop: Any) -> None:
    made = shop.build("split", "d1", **{"split.good": "g", "split.bad": "b"})
    currents = shop.ledger.currents()
    assert {n: (c.step, c.key) for n, c in currents.items()} == {
        "split.good": ("split", made),
        "split.bad": ("split", made),
    }


def test_a_kill_before_the_commit_leaves_no_trace_of_it(shop: Any) -> None:
    shop.build("a", "d1")
    before = dump(shop.ledger)

    def kill(operation: str, path: Path) -> None:
        if operation == "commit":
            raise disk_crash

    disk.on_write = kill
    with pytest.raises(disk_crash):
        shop.build("a", "d2", a="x", b="y")
    assert dump(shop.ledger) == before and not shop.ledger.db.in_transaction


def test_a_kill_after_the_commit_leaves_all_of_it(shop: Any) -> None:
    def kill(operation: str, path: Path) -> None:
        if operation == "committed":
            raise disk_crash

    shop.begin()
    disk.on_write = kill
    with pytest.raises(disk_crash):
        shop.build("a", "d1", a="x", b="y")
    assert set(shop.ledger.currents()) == {"a", "b"}


def test_an_error_in_the_middle_rolls_all_back(shop: Any) -> None:
    shop.begin()
    before = dump(shop.ledger)
    commit = Commit("a", digest_of("k"), [], {"a": shop.manifest("x"), "b": 77})
    with pytest.raises(BuilderError):
        shop.committer.built(1, 0.0, commit)
    assert dump(shop.ledger) == before
    assert shop.build("a", "d1")


WRITES: dict[str, Callable[[Committer, Any], Any]] = {
    "begin_run": lambda c, s: c.begin_run(0.0),
    "end_run": lambda c, s: c.end_run(1, 0.0, "built", {}, True),
    "built": lambda c, s: c.built(1, 0.0, Commit("z", digest_of("z"), [], {"z": s.manifest("z")})),
    "restored": lambda c, s: c.restored(1, "a", digest_of("k"), {"a": 1}),
    "failed": lambda c, s: c.failed(1, "a", None, error("recipe-error", "'a' failed"), None),
    "tried": lambda c, s: c.tried(1, Attempt("a", 1, "done", "x", 0.0)),
    "cleared": lambda c, s: c.cleared(["a"]),
    "retired": lambda c, s: c.retired(1, ["a"], ["a"]),
    "published": lambda c, s: c.published([("a", "d", "a.bin", "t")]),
    "unpublished": lambda c, s: c.unpublished("a"),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_builder_whose_epoch_has_passed_writes_nothing(shop: Any, write: str) -> None:
    shop.build("a", "d1")
    later = Committer.take(shop.ledger)
    before = dump(shop.ledger)
    with pytest.raises(BuilderError) as caught:
        WRITES[write](shop.committer, shop)
    assert caught.value.code == "locked"
    assert dump(shop.ledger) == before
    WRITES[write](later, shop)


def test_each_builder_has_an_epoch_of_its_own(shop: Any) -> None:
    assert [shop.committer.epoch, Committer.take(shop.ledger).epoch, shop.ledger.epoch()] == [1, 2, 2]


@pytest.mark.parametrize(("durable", "level"), [(True, 2), (False, 0)])
def test_an_epoch_is_flushed_as_it_begins_and_no_other_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool, level: int
) -> None:
    monkeypatch.setattr("builder.store.disk.durable", durable)
    ledger = Ledger.open(tmp_path, create=True)
    (usual,) = ledger.db.execute("PRAGMA synchronous").fetchone()
    levels = []
    with Committer.taking(ledger) as made:
        levels += ledger.db.execute("PRAGMA synchronous").fetchone()
    with made.transaction() as db:
        levels += db.execute("PRAGMA synchronous").fetchone()
    assert levels == [level, usual]
    ledger.close()


def test_an_output_that_the_store_has_is_committed_by_its_number(shop: Any) -> None:
    shop.build("a", "d1")
    number = shop.ledger.current("a").manifest_id
    shop.begin()
    numbers = shop.committer.built(2, 0.0, Commit("a", digest_of("k2"), [], {"a": number}))
    assert numbers == {"a": number}
    assert [n for n, _ in shop.ledger.manifests()] == [number]
    assert (shop.ledger.current("a").key, shop.ledger.current("a").run) == (digest_of("k2"), 2)


def test_restoring_moves_the_pointer_and_forgets_the_failure(shop: Any, key_of: Any) -> None:
    first = shop.build("a", "d1")
    shop.begin()
    shop.build("a", "d2")
    shop.committer.failed(shop.run, "a", None, error("recipe-error", "'a' failed"), None)
    ((name, (number, digest)),) = shop.ledger.trace(first).items()
    shop.committer.restored(shop.begin(), "a", first, {name: number})
    current = shop.ledger.current("a")
    assert (current.key, current.digest, current.run) == (first, digest, 3)
    assert shop.ledger.failures() == {}
    assert shop.ledger.cost(first).run == 1


def test_a_rebuild_under_the_same_key_takes_the_new_output(shop: Any) -> None:
    made = shop.build("a", "d1", a="one")
    shop.begin()
    assert shop.build("a", "d1", a="two") == made
    assert shop.ledger.trace(made)["a"][1] == digest_of("output", "two")


def test_a_run_that_was_killed_is_interrupted_when_the_next_begins(shop: Any) -> None:
    shop.begin()
    shop.begin()
    assert [r.outcome for r in shop.ledger.runs()] == ["interrupted", "running"]


def test_a_failure_is_cleared_alone(shop: Any) -> None:
    for step in ("a", "b"):
        shop.committer.failed(shop.begin(), step, digest_of(step), error("recipe-error", f"'{step}' failed"), None)
    shop.committer.cleared(["a"])
    assert set(shop.ledger.failures()) == {"b"}
    assert shop.ledger.failures()["b"].key == digest_of("b")


def test_what_is_published_is_noted_and_taken_back(shop: Any) -> None:
    shop.committer.published([("a", "d1", "a.bin", "1:2"), ("b", "d1", "b.bin", "1:2")])
    shop.committer.published([("a", "d2", "a.bin", "1:3")])
    assert shop.ledger.published() == {"a": ("d2", "a.bin", "1:3"), "b": ("d1", "b.bin", "1:2")}
    shop.committer.unpublished("a")
    assert set(shop.ledger.published()) == {"b"}


def test_fingerprints_keep_their_pieces(shop: Any) -> None:
    shop.begin()
    commit = Commit("a", digest_of("k"), [], {"a": shop.manifest("x")}, fingerprint=("f1", [("helper", "d")]))
    shop.committer.built(1, 0.0, commit)
    assert shop.ledger.fingerprint_items("f1") == {"helper": "d"}


def test_fields_of_any_text_come_back(shop: Any) -> None:
    shop.begin()
    fields = [("source", "ä\0b\udc80", "x"), ("parameter", "", "\n")]
    shop.committer.built(1, 0.0, Commit("a", digest_of("k"), fields, {"a": shop.manifest("x")}))
    assert shop.ledger.fields(digest_of("k")) == fields
    assert json.loads(shop.ledger.rows("SELECT fields FROM keys")[0][0])


# -- several at once ---------------------------------------------------------------------------------------------------


def group(shop: Any, *names: str) -> list[Commit]:
    """A finished step for each name."""
    attempts = [Attempt(n, 1, "done", f"{n}.log", 5.0, 1.0, 0.5, 7, "m", 100, 10, 20, 2) for n in names]
    return [
        Commit(n, digest_of("k", n), [("source", n, "x")], {n: shop.manifest(n)}, attempt=attempt)
        for n, attempt in zip(names, attempts, strict=True)
    ]


def test_several_steps_are_committed_in_one_transaction(shop: Any) -> None:
    shop.begin()
    seen = []
    disk.on_write = lambda operation, path: seen.append(operation)
    works = group(shop, "a", "b", "c")
    seen.clear()
    numbers = shop.committer.commit_all(1, 3.0, works)
    assert seen == ["commit", "committed"]
    currents = shop.ledger.currents()
    assert {n: c.key for n, c in currents.items()} == {n: digest_of("k", n) for n in "abc"}
    assert [numbers[i][n] for i, n in enumerate("abc")] == [currents[n].manifest_id for n in "abc"]
    for n in "abc":
        assert shop.ledger.trace(digest_of("k", n))[n][0] == currents[n].manifest_id
        assert shop.ledger.fields(digest_of("k", n)) == [("source", n, "x")]
        assert [row[:3] for row in shop.ledger.logs(n)] == [(1, 1, "done")]


def plain(name: str) -> Commit:
    """A finished step whose output has no parts."""
    return Commit(name, digest_of("k", name), [], {name: Manifest("bytes", digest_of("o", name), ())})


def test_together_they_write_what_they_would_one_by_one(tmp_path: Path) -> None:
    dumps = []
    for size in (1, 2, 6):
        ledger = Ledger.open(tmp_path / f"{size}", create=True)
        committer = Committer.take(ledger)
        committer.built(committer.begin_run(0.0), 1.0, plain("a"))
        run = committer.begin_run(2.0)
        works = [plain("b"), Restore("a", digest_of("k2"), {"a": 1}), Commit("c", digest_of("k", "c"), [], {"c": 1}),
                 plain("d"), plain("e"), plain("a")]  # fmt: skip
        for start in range(0, len(works), size):
            committer.commit_all(run, 3.0, works[start : start + size])
        dumps.append(dump(ledger))
        ledger.close()
    assert dumps[0] == dumps[1] == dumps[2]


def test_a_kill_before_a_group_is_committed_leaves_none_of_it(shop: Any) -> None:
    shop.build("old", "d1")
    before = dump(shop.ledger)
    works = group(shop, "a", "b")

    def kill(operation: str, path: Path) -> None:
        raise disk_crash

    disk.on_write = kill
    with pytest.raises(disk_crash):
        shop.committer.commit_all(1, 0.0, works)
    assert dump(shop.ledger) == before and not shop.ledger.db.in_transaction


def test_one_bad_piece_takes_its_whole_group_back(shop: Any) -> None:
    shop.begin()
    before = dump(shop.ledger)
    with pytest.raises(BuilderError):
        shop.committer.commit_all(1, 0.0, [*group(shop, "a"), Restore("b", digest_of("k"), {"b": 77})])
    assert dump(shop.ledger) == before
    assert shop.ledger.current("a") is None
    shop.committer.commit_all(1, 0.0, group(shop, "a", "b"))
    assert set(shop.ledger.currents()) == {"a", "b"}


def test_a_disk_that_fills_up_in_a_group_takes_all_of_it_back(shop: Any) -> None:
    shop.build("old", "d1")
    before = dump(shop.ledger)
    fields = [("source", "s", "x" * 100_000)]
    works = [replace(w, fields=fields) for w in group(shop, *(f"n{i}" for i in range(30)))]
    pages = shop.ledger.rows("PRAGMA page_count")[0][0]
    shop.ledger.rows(f"PRAGMA max_page_count = {pages + 100}")
    with pytest.raises(BuilderError) as caught:
        shop.committer.commit_all(1, 0.0, works)
    assert caught.value.code == "store-full"
    assert dump(shop.ledger) == before and not shop.ledger.db.in_transaction
    shop.ledger.rows("PRAGMA max_page_count = 100000")
    assert len(shop.committer.commit_all(1, 0.0, works)) == 30


def test_nothing_to_commit_opens_no_transaction(shop: Any) -> None:
    seen = []
    disk.on_write = lambda operation, path: seen.append(operation)
    assert shop.committer.commit_all(1, 0.0, []) == [] and seen == []


def test_attempts_are_remembered_with_all_they_cost(shop: Any) -> None:
    shop.begin()
    shop.committer.commit_all(1, 0.0, group(shop, "m[k=1]", "m[k=2]"))
    shop.committer.tried(1, Attempt("m[k=1]", 2, "timed-out", "x", 6.0, 60.0, recipe="m", bytes_in=5))
    columns = "step, number, outcome, finished_at, wall_s, cpu_s, peak_rss_bytes"
    amounts = "recipe, bytes_in, rows_in, bytes_out, rows_out"
    assert shop.ledger.rows(f"SELECT {columns}, {amounts} FROM attempts ORDER BY id") == [
        ("m[k=1]", 1, "done", 5.0, 1.0, 0.5, 7, "m", 100, 10, 20, 2),
        ("m[k=2]", 1, "done", 5.0, 1.0, 0.5, 7, "m", 100, 10, 20, 2),
        ("m[k=1]", 2, "timed-out", 6.0, 60.0, 0.0, 0, "m", 5, 0, 0, 0),
    ]


def test_samples_are_the_latest_of_a_recipe_or_step_that_came_to_an_output(shop: Any) -> None:
    shop.begin()
    for number in range(5):
        attempt = Attempt("m[k=1]" if number % 2 else "m[k=2]", 1, "done", "x", 0.0, number, 0, 0, "m", number * 10, 3)
        shop.committer.tried(1, attempt)
        shop.committer.tried(1, replace(attempt, outcome="recipe-error", wall_s=99.0))
    found = shop.ledger.samples(["m", "other"], most=3)
    assert found == {
        "m": [Sample("m[k=2]", 4, 40, 3), Sample("m[k=1]", 3, 30, 3), Sample("m[k=2]", 2, 20, 3)], "other": [],
    }  # fmt: skip
    assert shop.ledger.last(["m[k=1]", "never"], most=1) == {"m[k=1]": [Sample("m[k=1]", 3, 30, 3)], "never": []}
