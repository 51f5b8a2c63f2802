"""The ledger's tables, the version of the store's format, and the way from an older one to this.

Decides what a store of another version is worth: a newer one is refused by `store.ledger`, an older one is read as it
is and brought up to date by its next writer. Never looks at what the tables hold.
"""

from __future__ import annotations

import sqlite3

VERSION = 5
"""The format of a store that this builder writes.

1: each part is a file. 2: a part may have its bytes in its manifest; attempts tell what they read and wrote; a run's
totals stand before its report, which may be large. 3: a version may share parts with an earlier one, and parts of
tables are Arrow files; what a step read is remembered by version. 4: the digest of a table is of the sum of its row
hashes, so that all is built anew once. 5: by which grain an output was made is remembered. A store of an older
format is read as it is, and brought to this one by the first builder that takes the lock; parts stay as they were
written.
"""

SCHEMA = """
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE manifests(id INTEGER PRIMARY KEY, digest TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE keys(key TEXT PRIMARY KEY, step TEXT NOT NULL, fields TEXT NOT NULL, via TEXT NOT NULL,
    run INTEGER NOT NULL, built_at REAL NOT NULL,
    wall_s REAL NOT NULL, cpu_s REAL NOT NULL, peak_rss_bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE traces(key TEXT NOT NULL, name TEXT NOT NULL, manifest INTEGER NOT NULL,
    PRIMARY KEY(key, name)) WITHOUT ROWID;
CREATE TABLE inputs(key TEXT NOT NULL, name TEXT NOT NULL, manifest INTEGER NOT NULL, grain TEXT NOT NULL,
    PRIMARY KEY(key, name)) WITHOUT ROWID;
CREATE TABLE distrusted(recipe TEXT NOT NULL, fingerprint TEXT NOT NULL,
    PRIMARY KEY(recipe, fingerprint)) WITHOUT ROWID;
CREATE TABLE rules(key TEXT PRIMARY KEY, print TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE current(name TEXT PRIMARY KEY, step TEXT NOT NULL, key TEXT NOT NULL, manifest INTEGER NOT NULL,
    digest TEXT NOT NULL, rows INTEGER NOT NULL, bytes INTEGER NOT NULL, run INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE failures(step TEXT PRIMARY KEY, key TEXT, run INTEGER NOT NULL, error TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE versions(name TEXT NOT NULL, run INTEGER NOT NULL, key TEXT, manifest INTEGER,
    PRIMARY KEY(name, run)) WITHOUT ROWID;
CREATE TABLE published(name TEXT PRIMARY KEY, digest TEXT NOT NULL, path TEXT NOT NULL,
    token TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE fingerprints(digest TEXT PRIMARY KEY, items TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE differences(old TEXT NOT NULL, new TEXT NOT NULL, added INTEGER NOT NULL, removed INTEGER NOT NULL,
    changed INTEGER NOT NULL, PRIMARY KEY(old, new)) WITHOUT ROWID;
CREATE TABLE runs(id INTEGER PRIMARY KEY, started_at REAL NOT NULL, finished_at REAL, outcome TEXT NOT NULL,
    is_complete INTEGER NOT NULL, wall_s REAL, totals TEXT NOT NULL, report TEXT NOT NULL);
CREATE TABLE attempts(id INTEGER PRIMARY KEY, run INTEGER NOT NULL, step TEXT NOT NULL, number INTEGER NOT NULL,
    outcome TEXT NOT NULL, log TEXT NOT NULL, finished_at REAL NOT NULL, wall_s REAL NOT NULL, cpu_s REAL NOT NULL,
    peak_rss_bytes INTEGER NOT NULL, recipe TEXT NOT NULL DEFAULT '', bytes_in INTEGER NOT NULL DEFAULT 0,
    rows_in INTEGER NOT NULL DEFAULT 0, bytes_out INTEGER NOT NULL DEFAULT 0, rows_out INTEGER NOT NULL DEFAULT 0,
    via TEXT NOT NULL DEFAULT 'full', rows_tested INTEGER NOT NULL DEFAULT 0);
CREATE INDEX attempts_by_step ON attempts(step, id);
CREATE INDEX attempts_by_recipe ON attempts(recipe, id);
"""

UPDATED_BY = """SELECT DISTINCT key, grain FROM keys JOIN inputs USING (key)
    WHERE via IN ('rows', 'groups') AND grain NOT LIKE 'whole%'"""
"""By which grain outputs were updated under a key, in a store of format 4, which does not note it."""

UPGRADES = {
    1: """
ALTER TABLE attempts ADD COLUMN recipe TEXT NOT NULL DEFAULT '';
ALTER TABLE attempts ADD COLUMN bytes_in INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN rows_in INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN bytes_out INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN rows_out INTEGER NOT NULL DEFAULT 0;
UPDATE attempts SET recipe = iif(instr(step, '['), substr(step, 1, instr(step, '[') - 1), step);
CREATE INDEX attempts_by_recipe ON attempts(recipe, id);
CREATE TABLE new_runs(id INTEGER PRIMARY KEY, started_at REAL NOT NULL, finished_at REAL, outcome TEXT NOT NULL,
    is_complete INTEGER NOT NULL, wall_s REAL, totals TEXT NOT NULL, report TEXT NOT NULL);
INSERT INTO new_runs SELECT id, started_at, finished_at, outcome, is_complete, json_extract(report, '$.wall_s'),
    coalesce(json_extract(report, '$.totals'), '{}'), report FROM runs;
DROP TABLE runs;
ALTER TABLE new_runs RENAME TO runs;
""",
    2: """
CREATE TABLE inputs(key TEXT NOT NULL, name TEXT NOT NULL, manifest INTEGER NOT NULL, grain TEXT NOT NULL,
    PRIMARY KEY(key, name)) WITHOUT ROWID;
CREATE TABLE distrusted(recipe TEXT NOT NULL, fingerprint TEXT NOT NULL,
    PRIMARY KEY(recipe, fingerprint)) WITHOUT ROWID;
CREATE TABLE rules(key TEXT PRIMARY KEY, print TEXT NOT NULL) WITHOUT ROWID;
ALTER TABLE attempts ADD COLUMN via TEXT NOT NULL DEFAULT 'full';
ALTER TABLE attempts ADD COLUMN rows_tested INTEGER NOT NULL DEFAULT 0;
""",
    3: "",
    4: f"INSERT OR IGNORE INTO rules {UPDATED_BY}",
}
"""From each older format, what makes it the next one."""


def fill(db: sqlite3.Connection) -> sqlite3.Connection:
    """The connection after giving an empty ledger its tables."""
    for statement in SCHEMA.split(";"):
        db.execute(statement)
    db.executemany("INSERT INTO meta VALUES (?, ?)", [("version", str(VERSION)), ("epoch", "0")])
    return db


def upgrade(db: sqlite3.Connection) -> None:
    """Bring an older format up to date, in one transaction; nothing where another writer did."""
    db.execute("BEGIN IMMEDIATE")
    try:
        (found,) = db.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
        for version in range(int(found), VERSION):
            for statement in UPGRADES.get(version, "").split(";"):
                db.execute(statement)
        db.execute("UPDATE meta SET value = ? WHERE name = 'version'", (str(VERSION),))
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
