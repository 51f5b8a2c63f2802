"""The ledger: what was built, from what, when and at which cost; one SQLite file per store.

Decides how finished work is remembered and found again. This module reads; `store.commits` writes. Manifests are kept
as JSON, never as pickles. Reports open it without any lock: SQLite's write-ahead log gives them a consistent state
while a build goes on.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from builder.digests import Digest
from builder.errors import BuilderError, error, from_json
from builder.store import disk
from builder.store.disk import make_folder, store_error
from builder.store.manifest import Manifest

VERSION = 1
FILE = "ledger.sqlite"

SCHEMA = """
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE manifests(id INTEGER PRIMARY KEY, digest TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE keys(key TEXT PRIMARY KEY, step TEXT NOT NULL, fields TEXT NOT NULL, via TEXT NOT NULL,
    run INTEGER NOT NULL, built_at REAL NOT NULL,
    wall_s REAL NOT NULL, cpu_s REAL NOT NULL, peak_rss_bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE traces(key TEXT NOT NULL, name TEXT NOT NULL, manifest INTEGER NOT NULL,
    PRIMARY KEY(key, name)) WITHOUT ROWID;
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
    report TEXT NOT NULL, is_complete INTEGER NOT NULL);
CREATE TABLE attempts(id INTEGER PRIMARY KEY, run INTEGER NOT NULL, step TEXT NOT NULL, number INTEGER NOT NULL,
    outcome TEXT NOT NULL, log TEXT NOT NULL, finished_at REAL NOT NULL, wall_s REAL NOT NULL, cpu_s REAL NOT NULL,
    peak_rss_bytes INTEGER NOT NULL);
CREATE INDEX attempts_by_step ON attempts(step, id);
"""

Field = tuple[str, str, str]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Current:
    """The present version of a target, or of a source that was taken in."""

    name: str
    step: str
    key: Digest
    manifest_id: int
    digest: Digest
    rows: int
    bytes: int
    run: int


@dataclass(frozen=True, slots=True)
class Failure:
    """The last failure of a step that has not been built since; `key` is None where it was not known."""

    step: str
    key: Digest | None
    run: int
    error: BuilderError


@dataclass(frozen=True, slots=True)
class Cost:
    """What the work behind a build key took."""

    via: str
    run: int
    built_at: float
    wall_s: float
    cpu_s: float
    peak_rss_bytes: int


@dataclass(frozen=True, slots=True)
class RunRow:
    """One rebuild as the ledger remembers it."""

    id: int
    started_at: float
    finished_at: float | None
    outcome: str
    report: Mapping[str, Any]
    is_complete: bool


def run_name(number: int) -> str:
    """A run's name: ``r12``."""
    return f"r{number}"


def run_number(name: str) -> int:
    """The number in a run's name.

    Raises
    ------
    ConfigError
        ``unknown-target`` for a text that names no run.
    """
    digits = name.removeprefix("r")
    if digits.isdecimal():
        return int(digits)
    raise error(
        "unknown-target", f"'{name}' is not the name of a run", place=name, hint="builder history lists the runs"
    )


class Ledger:
    """Reads a store's ledger."""

    def __init__(self, connection: sqlite3.Connection, store: Path) -> None:
        self.db = connection
        self.store = store
        self._manifests: dict[int, Manifest] = {}

    # -- opening ---------------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, store: Path, *, create: bool = False) -> Ledger:
        """The ledger of a store; an empty one in memory where there is no store yet and `create` is not given.

        Raises
        ------
        StoreError
            ``store-version`` for a newer one, ``store-damaged``, ``store-read-only``, ``store-full``.
        """
        path = store / FILE
        if not path.exists() and not create:
            return cls(_fill(sqlite3.connect(":memory:", isolation_level=None)), store)
        try:
            if create:
                make_folder(store)
            db = sqlite3.connect(path, isolation_level=None, timeout=30)
            try:
                return cls(cls._ready(db, path), store)
            except BaseException:
                db.close()
                raise
        except sqlite3.DatabaseError as cause:
            refused = ledger_error(path, cause)
            if refused.code == "store-read-only" and not create and not _has_log(path):
                return cls(cls._ready(_read_only(path), path), store)
            raise refused from cause
        except OSError as cause:
            raise store_error(cause, path) from cause

    @staticmethod
    def _ready(db: sqlite3.Connection, path: Path) -> sqlite3.Connection:
        """The connection with its pragmas set and its version checked; a new file gets its tables."""
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("BEGIN IMMEDIATE")
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
                _fill(db)
            db.execute("COMMIT")
        # A commit survives any kill of the process. A power failure may take back the last ones, whole and in order:
        # their work runs again. Flushing each one would cost more than most steps do.
        db.execute(f"PRAGMA synchronous = {'NORMAL' if disk.durable else 'OFF'}")
        row = db.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
        found = int(row[0]) if row else -1
        if found > VERSION:
            raise error(
                "store-version",
                f"the store was written by a newer builder (version {found} of its format, this one reads {VERSION})",
                place=str(path.parent),
                hint="install the newer builder, or name another store in builder.toml",
            )
        if found < 0:
            raise damaged(path, "it has no version")
        return db

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of a query.

        Raises
        ------
        StoreError
            ``store-damaged`` where the file cannot be read.
        """
        try:
            return self.db.execute(query, values).fetchall()
        except sqlite3.DatabaseError as cause:
            raise ledger_error(self.store / FILE, cause) from cause

    def decoded(self, text: str, make: Callable[[Any], T] = lambda value: value) -> T:
        """What `make` gives for a JSON text of the ledger.

        Raises
        ------
        StoreError
            ``store-damaged`` where the text is not what was written.
        """
        try:
            return make(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError) as cause:
            raise damaged(self.store / FILE, f"{type(cause).__name__}: {cause}") from cause

    # -- what is built ---------------------------------------------------------------------------------------------

    def currents(self) -> dict[str, Current]:
        """The present version of everything, by name."""
        query = "SELECT name, step, key, manifest, digest, rows, bytes, run FROM current"
        return {r[0]: Current(r[0], r[1], Digest(r[2]), r[3], Digest(r[4]), *r[5:]) for r in self.rows(query)}

    def current(self, name: str) -> Current | None:
        """The present version of one target or source."""
        query = "SELECT name, step, key, manifest, digest, rows, bytes, run FROM current WHERE name = ?"
        for r in self.rows(query, name):
            return Current(r[0], r[1], Digest(r[2]), r[3], Digest(r[4]), *r[5:])
        return None

    def failures(self) -> dict[str, Failure]:
        """The failures that were not made good since, by step."""
        return {
            r[0]: Failure(r[0], Digest(r[1]) if r[1] else None, r[2], self.decoded(r[3], from_json))
            for r in self.rows("SELECT step, key, run, error FROM failures")
        }

    def trace(self, key: Digest) -> dict[str, tuple[int, Digest]]:
        """Manifest and digest of each output that was built under a key; empty where none was."""
        query = "SELECT name, manifest, digest FROM traces JOIN manifests ON id = manifest WHERE key = ?"
        return {r[0]: (r[1], Digest(r[2])) for r in self.rows(query, key)}

    def fields(self, key: Digest) -> list[Field]:
        """The fields that a key was made of, in order; empty for an unknown key."""
        for (text,) in self.rows("SELECT fields FROM keys WHERE key = ?", key):
            return self.decoded(text, lambda fields: [(k, s, v) for k, s, v in fields])
        return []

    def cost(self, key: Digest) -> Cost | None:
        """What the work behind a key took."""
        query = "SELECT via, run, built_at, wall_s, cpu_s, peak_rss_bytes FROM keys WHERE key = ?"
        for row in self.rows(query, key):
            return Cost(*row)
        return None

    def fingerprint_items(self, digest: str) -> dict[str, str]:
        """The pieces of a recipe's fingerprint by subject; empty for an unknown one."""
        for (text,) in self.rows("SELECT items FROM fingerprints WHERE digest = ?", digest):
            return self.decoded(text, dict)
        return {}

    def manifest(self, number: int) -> Manifest:
        """A manifest by its number.

        Raises
        ------
        StoreError
            ``store-damaged`` where there is none.
        """
        if number not in self._manifests:
            for (body,) in self.rows("SELECT body FROM manifests WHERE id = ?", number):
                self._manifests[number] = self.decoded(body, Manifest.from_json)
        if number not in self._manifests:
            raise damaged(self.store / FILE, f"manifest {number} is missing")
        return self._manifests[number]

    def version_at(self, name: str, run: int) -> tuple[int, Digest] | None:
        """Manifest and key of a target as it stood after a run; None where it did not exist then.

        Raises
        ------
        ConfigError
            ``unknown-target`` where it did, but the store has that version no more.
        """
        query = "SELECT manifest, key FROM versions WHERE name = ? AND run <= ? ORDER BY run DESC LIMIT 1"
        for manifest, key in self.rows(query, name, run):
            if manifest is None and key is not None:
                raise error(
                    "unknown-target",
                    f"the version of '{name}' after {run_name(run)} is no longer in the store",
                    place=name,
                    hint="builder gc keeps the last versions and those of the last complete build; --keep N keeps more",
                )
            return None if manifest is None else (manifest, Digest(key))
        return None

    def names_at(self, run: int) -> list[str]:
        """Names of all that existed after a run."""
        query = """SELECT v.name FROM versions v
            JOIN (SELECT name, max(run) AS run FROM versions WHERE run <= ? GROUP BY name) l
            ON v.name = l.name AND v.run = l.run WHERE v.key IS NOT NULL ORDER BY v.name"""
        return [r[0] for r in self.rows(query, run)]

    def manifests_at(self, run: int) -> set[int]:
        """Numbers of the manifests that stood after a run, as far as the store has them."""
        query = "SELECT manifest, max(run) FROM versions WHERE run <= ? GROUP BY name"
        return {r[0] for r in self.rows(query, run) if r[0] is not None}

    def versions(self, name: str) -> list[tuple[int, int | None]]:
        """(run, manifest) of each version of a target that the store has, oldest first; None where it was retired."""
        query = "SELECT run, manifest FROM versions WHERE name = ? AND (manifest OR key IS NULL) ORDER BY run"
        return [(r[0], r[1]) for r in self.rows(query, name)]

    def difference(self, old: Digest, new: Digest) -> tuple[int, int, int] | None:
        """(added, removed, changed) rows between two digests where it was counted before, in either direction."""
        if old == new:
            return (0, 0, 0)
        query = "SELECT added, removed, changed FROM differences WHERE old = ? AND new = ?"
        for added, removed, changed in self.rows(query, old, new):
            return (added, removed, changed)
        for added, removed, changed in self.rows(query, new, old):
            return (removed, added, changed)
        return None

    # -- runs ------------------------------------------------------------------------------------------------------

    def runs(self) -> list[RunRow]:
        """All runs, oldest first."""
        query = "SELECT id, started_at, finished_at, outcome, report, is_complete FROM runs ORDER BY id"
        return [RunRow(r[0], r[1], r[2], r[3], self.decoded(r[4]), bool(r[5])) for r in self.rows(query)]

    def is_complete(self) -> bool:
        """Whether after the last run all was fresh at once."""
        rows = self.rows("SELECT is_complete FROM runs ORDER BY id DESC LIMIT 1")
        return bool(rows and rows[0][0])

    def complete_run(self) -> int | None:
        """The last run after which all was fresh at once."""
        return self.rows("SELECT max(id) FROM runs WHERE is_complete = 1")[0][0]  # type: ignore[no-any-return]

    def published(self) -> dict[str, tuple[str, str, str]]:
        """(digest, path, token) of each published target."""
        return {r[0]: (r[1], r[2], r[3]) for r in self.rows("SELECT name, digest, path, token FROM published")}

    def logs(self, step: str) -> list[tuple[int, int, str, str]]:
        """(run, number, outcome, log file) of each attempt at a step, oldest first."""
        query = "SELECT run, number, outcome, log FROM attempts WHERE step = ? ORDER BY id"
        return [(r[0], r[1], r[2], r[3]) for r in self.rows(query, step)]

    def history_s(self) -> dict[str, float]:
        """The wall seconds behind the present version of each step and source, where it was built and not restored."""
        query = "SELECT DISTINCT keys.step, wall_s FROM current JOIN keys ON current.key = keys.key WHERE wall_s > 0"
        return dict(self.rows(query))

    def epoch(self) -> int:
        """How many builders have held the store so far."""
        return int(self.rows("SELECT value FROM meta WHERE name = 'epoch'")[0][0])

    def part_paths(self) -> Iterable[str]:
        """Paths of all parts that any manifest names."""
        for _, manifest in self.manifests():
            for part in manifest.parts:
                yield part.path

    def manifests(self) -> Iterable[tuple[int, Manifest]]:
        """Every manifest with its number."""
        for number, body in self.rows("SELECT id, body FROM manifests"):
            yield number, self.decoded(body, Manifest.from_json)


def ledger_error(path: Path, cause: sqlite3.DatabaseError) -> BuilderError:
    """The store's error behind one of SQLite's."""
    text, place = str(cause).lower(), str(path)
    if "full" in text:
        return error(
            "store-full", "the disk is full", place=place, hint="free space, or run builder gc; then rebuild again"
        )
    if "readonly" in text or ("unable to open" in text and not path.is_dir()):
        return error("store-read-only", "the store cannot be written", place=place, hint="give write access to it")
    if "locked" in text or "busy" in text:
        return error("locked", "the store's ledger is in use", place=place, hint="let the other builder finish")
    return damaged(path, cause)


def damaged(path: Path, cause: object) -> BuilderError:
    """The error of a ledger that cannot be read."""
    return error(
        "store-damaged",
        "the store's ledger cannot be read",
        place=str(path),
        facts=[("reason", str(cause))],
        hint="builder fsck --repair sets it aside and builds anew; out/ can be read meanwhile",
    )


def _has_log(path: Path) -> bool:
    """Whether a write-ahead log holds commits that are not in the ledger's file yet."""
    log = path.with_name(path.name + "-wal")
    return log.exists() and log.stat().st_size > 0


def _read_only(path: Path) -> sqlite3.Connection:
    """A ledger on a disk that cannot be written, where SQLite can keep no log; nobody else changes it either."""
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True, isolation_level=None)


def _fill(db: sqlite3.Connection) -> sqlite3.Connection:
    """The connection after giving an empty ledger its tables."""
    for statement in SCHEMA.split(";"):
        db.execute(statement)
    db.executemany("INSERT INTO meta VALUES (?, ?)", [("version", str(VERSION)), ("epoch", "0")])
    return db
