"""A store of an older format is read as it is, and brought up to date by its next writer, whole or not at all."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from builder.digests import Digest
from builder.store.commits import Attempt, Committer
from builder.store.layout import SCHEMA, VERSION, upgrade
from builder.store.ledger import FILE, Ledger
from builder.store.records import Sample


def tables(ledger: Ledger) -> dict[str, list[Any]]:
    """Columns of each table, and the indexes."""
    names = [r[0] for r in ledger.rows("SELECT name FROM sqlite_master ORDER BY name")]
    return {name: [r[1:3] for r in ledger.rows(f"SELECT * FROM pragma_table_info('{name}')")] for name in names}


@pytest.fixture
def old(shop: Any) -> Path:
    """A store of the first format with two targets, a finished run and three attempts."""
    shop.build("a", "d1")
    shop.build("m[k=1]", "d1", **{"m[k=1]": "x"})
    for step, number in (("a", 1), ("m[k=1]", 1), ("m[k=1]", 2)):
        shop.committer.tried(1, Attempt(step, number, "done", "log", 1.0, float(number)))
    shop.committer.end_run(1, 9.0, "built", {"wall_s": 2.5, "totals": {"built": 2}}, True)
    shop.begin()
    db = shop.ledger.db
    db.execute("CREATE TABLE old_runs(id INTEGER PRIMARY KEY, started_at REAL NOT NULL, finished_at REAL, "
               "outcome TEXT NOT NULL, report TEXT NOT NULL, is_complete INTEGER NOT NULL)")  # fmt: skip
    db.execute("INSERT INTO old_runs SELECT id, started_at, finished_at, outcome, report, is_complete FROM runs")
    db.execute("DROP TABLE runs")
    db.execute("ALTER TABLE old_runs RENAME TO runs")
    db.execute("DROP INDEX attempts_by_recipe")
    for table in ("inputs", "distrusted", "rules"):
        db.execute(f"DROP TABLE {table}")
    for column in ("recipe", "bytes_in", "rows_in", "bytes_out", "rows_out", "via", "rows_tested"):
        db.execute(f"ALTER TABLE attempts DROP COLUMN {column}")
    db.execute("UPDATE meta SET value = '1' WHERE name = 'version'")
    shop.ledger.close()
    return shop.store


def test_what_updates_went_by_is_known_of_a_store_that_did_not_note_it(shop: Any) -> None:
    db = shop.ledger.db
    rows = [
        ("k1", "rows", "rows s"),
        ("k2", "groups", "groups s g"),
        ("k3", "full", "rows s"),
        ("k4", "rows", "whole "),
    ]
    for key, via, grain in rows:
        db.execute("INSERT INTO keys VALUES (?, 's', '[]', ?, 1, 0, 0, 0, 0)", (key, via))
        db.executemany("INSERT INTO inputs VALUES (?, ?, 1, ?)", [(key, "a", grain), (key, "b", grain)])
    db.execute("INSERT INTO rules VALUES ('k5', 'own')")
    db.execute("UPDATE meta SET value = '4' WHERE name = 'version'")
    looking = Ledger.open(shop.store)
    assert [looking.made_by(Digest(key)) for key in ("k1", "k2", "k3", "k4", "k5")] == [
        "rows s",
        "groups s g",
        "",
        "",
        "own",
    ]
    assert looking.all_made_by()["k1"] == "rows s"
    looking.close()
    upgrade(db)
    noted = dict(db.execute("SELECT key, print FROM rules").fetchall())
    assert noted == {"k1": "rows s", "k2": "groups s g", "k5": "own"}


def the_runs(ledger: Ledger) -> list[tuple[Any, ...]]:
    """What is known of each run."""
    assert not ledger.is_complete() and ledger.complete_run() == 1
    return [(r.id, r.finished_at, r.outcome, r.wall_s, dict(r.totals), r.is_complete) for r in ledger.runs()]


RUNS = [(1, 9.0, "built", 2.5, {"built": 2}, True), (2, None, "running", None, {}, False)]


def version(store: Path) -> str:
    db = sqlite3.connect(store / FILE)
    (found,) = db.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
    db.close()
    return str(found)


def test_a_reader_leaves_an_older_store_as_it_is(old: Path) -> None:
    ledger = Ledger.open(old)
    assert set(ledger.currents()) == {"a", "m[k=1]"} and [m.kind for _, m in ledger.manifests()] == ["bytes"] * 2
    assert ledger.samples(["a", "m"]) == {"a": [], "m": []}
    assert ledger.last(["m[k=1]"], most=1) == {"m[k=1]": [Sample("m[k=1]", 2.0, 0, 0)]}
    assert the_runs(ledger) == RUNS
    ledger.close()
    assert version(old) == "1"


def test_a_writer_brings_an_older_store_up_to_date(old: Path, tmp_path: Path) -> None:
    ledger = Ledger.open(old, create=True)
    assert version(old) == str(VERSION)
    assert set(ledger.currents()) == {"a", "m[k=1]"}
    assert ledger.samples(["a", "m"]) == {
        "a": [Sample("a", 1.0, 0, 0)],
        "m": [Sample("m[k=1]", 2.0, 0, 0), Sample("m[k=1]", 1.0, 0, 0)],
    }
    assert the_runs(ledger) == RUNS
    fresh = Ledger.open(tmp_path / "fresh", create=True)
    assert tables(ledger) == tables(fresh)
    committer = Committer.take(ledger)
    committer.tried(committer.begin_run(0.0), Attempt("a", 2, "done", "log", 1.0, 5.0, recipe="a", bytes_in=7))
    assert ledger.samples(["a"], most=1) == {"a": [Sample("a", 5.0, 7, 0)]}
    fresh.close()
    ledger.close()


def test_bringing_a_store_up_to_date_twice_changes_nothing(old: Path) -> None:
    ledger = Ledger.open(old, create=True)
    before = tables(ledger)
    upgrade(ledger.db)
    assert tables(ledger) == before
    ledger.close()


def test_an_upgrade_that_fails_leaves_the_older_store(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from builder.store import layout

    statements = layout.UPGRADES[1].split(";")
    for count in range(1, len(statements)):
        broken = ";".join([*statements[:count], "not SQL at all"])
        monkeypatch.setitem(layout.UPGRADES, 1, broken)
        db = sqlite3.connect(old / FILE, isolation_level=None)
        with pytest.raises(sqlite3.Error):
            upgrade(db)
        assert not db.in_transaction
        db.close()
        assert version(old) == "1"
    monkeypatch.undo()
    Ledger.open(old, create=True).close()
    assert version(old) == str(VERSION)


def test_every_format_but_the_last_has_a_way_on() -> None:
    from builder.store.layout import UPGRADES

    assert sorted(UPGRADES) == list(range(1, VERSION)) and "CREATE TABLE attempts" in SCHEMA
