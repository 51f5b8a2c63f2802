"""The ledger: what was built, from what, when and at which cost; one SQLite file per store.

Decides how finished work is remembered and found again. This module reads; `store.commits` writes. Manifests are kept
as JSON, never as pickles. Reports open it without any lock: SQLite's write-ahead log gives them a consistent state
while a build goes on.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from builder.digests import Digest
from builder.errors import BuilderError, error, from_json
from builder.store import disk, layout
from builder.store.disk import make_folder, store_error
from builder.store.manifest import Manifest
from builder.store.records import AUDIT, Cost, Current, Failure, Field, RunRow, Sample, run_name

FILE = "ledger.sqlite"

_MOST_KEPT = 4096
_CHECKPOINT_PAGES = 4000
"""Pages of 4 KB in the write-ahead log before SQLite moves them into the ledger's file and flushes both."""

T = TypeVar("T")


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
            return cls(layout.fill(sqlite3.connect(":memory:", isolation_level=None)), store)
        try:
            if create:
                make_folder(store)
            db = sqlite3.connect(path, isolation_level=None, timeout=30)
            try:
                return cls(cls._ready(db, path, is_to_be_written=create), store)
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
    def _ready(db: sqlite3.Connection, path: Path, *, is_to_be_written: bool = False) -> sqlite3.Connection:
        """The connection with its pragmas set and its version checked; a new file gets its tables.

        An older format is brought up to date by its writer alone: an older builder might be at work otherwise.
        """
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("BEGIN IMMEDIATE")
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
                layout.fill(db)
            db.execute("COMMIT")
        # A commit survives any kill of the process. A power failure may take back the last ones, whole and in order:
        # their work runs again. Flushing each one would cost more than most steps do.
        db.execute(f"PRAGMA synchronous = {'NORMAL' if disk.durable else 'OFF'}")
        db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        row = db.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
        found = int(row[0]) if row else -1
        if found > layout.VERSION:
            raise error(
                "store-version",
                f"the store was written by a newer builder (version {found} of its format, here {layout.VERSION})",
                place=str(path.parent),
                hint="install the newer builder, or name another store in builder.toml",
            )
        if found < 0:
            raise damaged(path, "it has no version")
        if found < layout.VERSION and is_to_be_written:
            layout.upgrade(db)
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
        return {row[0]: Current.of(row) for row in self.current_rows()}

    def current_rows(self) -> list[tuple[Any, ...]]:
        """The rows that `Current.of` reads: one for the present version of everything, in the order of names."""
        return self.rows("SELECT name, step, key, manifest, digest, rows, bytes, run FROM current ORDER BY name")

    def current(self, name: str) -> Current | None:
        """The present version of one target or source."""
        query = "SELECT name, step, key, manifest, digest, rows, bytes, run FROM current WHERE name = ?"
        for row in self.rows(query, name):
            return Current.of(row)
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

    def inputs(self, key: Digest, grain: str) -> dict[str, int]:
        """The manifest of each table that was read for a key by a grain, as far as the store still has it.

        None in a store of an older format that no builder of this one has written to.
        """
        if not self._has_amounts:
            return {}
        query = "SELECT name, manifest FROM inputs JOIN manifests ON id = manifest WHERE key = ? AND grain = ?"
        return dict(self.rows(query, key, grain))

    def all_made_by(self) -> dict[str, str]:
        """What present outputs were made by, by key."""
        query = "SELECT key, print FROM current CROSS JOIN rules USING (key)"  # in this order: few are current
        return {**self._unnoted, **dict(self.rows(query))} if self._has_rules else {}

    @cached_property
    def _unnoted(self) -> dict[str, str]:
        """What outputs were made by, in a store that does not note it."""
        ((version,),) = self.rows("SELECT value FROM meta WHERE name = 'version'")
        return dict(self.rows(layout.UPDATED_BY)) if version == "4" else {}

    def made_by(self, key: Digest) -> str:
        """What outputs were made by under a key; empty for a full run in one."""
        found = self.rows("SELECT print FROM rules WHERE key = ?", key) if self._has_rules else []
        return found[0][0] if found else self._unnoted.get(key, "")

    @cached_property
    def _has_rules(self) -> bool:
        """Whether the store is of this format; an older one has no updates."""
        return bool(self.rows("SELECT 1 FROM sqlite_master WHERE name = 'rules'"))

    def is_distrusted(self, recipe: str, fingerprint: str) -> bool:
        """Whether an update by this code was refuted by a full run."""
        query = "SELECT 1 FROM distrusted WHERE recipe = ? AND fingerprint = ?"
        return self._has_rules and bool(self.rows(query, recipe, fingerprint))

    def fields(self, key: Digest) -> list[Field]:
        """The fields that a key was made of, in order; empty for an unknown key."""
        return self.fields_from(self.field_texts([key]).get(key))

    def fields_from(self, text: str | None) -> list[Field]:
        """The fields in a text of `field_texts`; empty for None."""
        return [] if text is None else self.decoded(text, lambda fields: [(k, s, v) for k, s, v in fields])

    def field_texts(self, keys: Sequence[str]) -> dict[str, str]:
        """The text of the fields of each of these keys that is known, in one query."""
        query = f"SELECT key, fields FROM keys WHERE key IN ({', '.join('?' * len(keys))})"
        return dict(self.rows(query, *keys))

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
        known = self._manifests.get(number)
        if known is not None:
            return known
        for (body,) in self.rows("SELECT body FROM manifests WHERE id = ?", number):
            return self.remember(number, self.decoded(body, Manifest.from_json))
        raise damaged(self.store / FILE, f"manifest {number} is missing")

    def remember(self, number: int, manifest: Manifest) -> Manifest:
        """The manifest itself, kept for those who ask soon; the oldest are let go, so that a long run stays small."""
        self._manifests[number] = manifest
        if len(self._manifests) > _MOST_KEPT:
            del self._manifests[next(iter(self._manifests))]
        return manifest

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
        costs = "wall_s, totals"
        if not self._has_amounts:
            costs = "json_extract(report, '$.wall_s'), coalesce(json_extract(report, '$.totals'), '{}')"
        query = f"SELECT id, started_at, finished_at, outcome, {costs}, is_complete FROM runs ORDER BY id"
        return [RunRow(r[0], r[1], r[2], r[3], r[4], self.decoded(r[5]), bool(r[6])) for r in self.rows(query)]

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

    def samples(self, recipes: Iterable[str], most: int = 32) -> dict[str, list[Sample]]:
        """The latest attempts of each recipe, or of each source by its base, that came to an output, latest first.

        At most `most` of each; none in a store of an older format that no builder of this one has written to.
        """
        return self._sampled("recipe", recipes, most) if self._has_amounts else {recipe: [] for recipe in recipes}

    def last(self, steps: Iterable[str], most: int = 3) -> dict[str, list[Sample]]:
        """The latest attempts of each step, or of each source, that came to an output, latest first."""
        return self._sampled("step", steps, most)

    def ways(self, steps: Iterable[str], most: int = 3) -> dict[str, tuple[list[Sample], list[Sample]]]:
        """The latest attempts of each step that ran whole, and the latest that were updates, latest first; those that
        went both ways tell of neither.
        """
        names = list(steps)
        if not self._has_amounts:
            return {name: ([], []) for name in names}
        whole = self._sampled("step", names, most, "AND via = 'full'")
        updates = self._sampled("step", names, most, f"AND via NOT IN ('full', '{AUDIT}')")
        return {name: (whole[name], updates[name]) for name in names}

    def _sampled(self, by: str, names: Iterable[str], most: int, only: str = "") -> dict[str, list[Sample]]:
        amounts = "bytes_in, rows_in, via, rows_tested" if self._has_amounts else "0, 0"
        # One statement for all names, and of each no more rows than are wanted, however long its history is.
        query = f"""SELECT wanted.value, step, wall_s, {amounts} FROM json_each(?) AS wanted
            JOIN attempts ON attempts.id IN (
                SELECT id FROM attempts WHERE {by} = wanted.value AND outcome = 'done' {only} ORDER BY id DESC LIMIT ?
            ) ORDER BY attempts.id DESC"""
        found: dict[str, list[Sample]] = {name: [] for name in names}
        for name, *sample in self.rows(query, json.dumps(list(found)), most):
            found[name].append(Sample(*sample))
        return found

    @property
    def _has_amounts(self) -> bool:
        """Whether attempts tell what they read; in a store of an older format they do not."""
        return bool(self.rows("SELECT 1 FROM pragma_table_info('attempts') WHERE name = 'rows_tested'"))

    def pace(self) -> tuple[float, float]:
        """Seconds until the first step of a run could start, and around each step, as last measured; zeros: never."""
        found = dict(self.rows("SELECT name, value FROM meta WHERE name IN ('startup_s', 'overhead_s')"))
        return float(found.get("startup_s", 0.0)), float(found.get("overhead_s", 0.0))

    def epoch(self) -> int:
        """How many builders have held the store so far."""
        return int(self.rows("SELECT value FROM meta WHERE name = 'epoch'")[0][0])

    def part_paths(self) -> Iterable[str]:
        """Paths of all parts that any manifest names."""
        for _, manifest in self.manifests():
            for part in manifest.parts:
                yield part.path

    def manifests(self) -> Iterable[tuple[int, Manifest]]:
        """Every manifest with its number, one at a time: together they may be large."""
        try:
            for number, body in self.db.execute("SELECT id, body FROM manifests"):
                yield number, self.decoded(body, Manifest.from_json)
        except sqlite3.DatabaseError as cause:
            raise ledger_error(self.store / FILE, cause) from cause


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
