"""Commits: the only writes to the ledger, each one transaction, each guarded by the builder's epoch.

Decides what becomes true at once. A step's outputs, their trace and their pointers are written together or not at
all; several steps that are ready at once share a transaction, since its cost is mostly its own. A builder whose epoch
has passed commits nothing.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from builder.digests import Digest
from builder.errors import BuilderError
from builder.store import disk
from builder.store.epochs import begun_epoch
from builder.store.ledger import FILE, Ledger, ledger_error
from builder.store.lock import check_held, taken_over
from builder.store.manifest import Manifest
from builder.store.records import Field

_ADD_ATTEMPT = "INSERT INTO attempts VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Commit:
    """What one finished step brings: its key with the fields behind it, its outputs and its cost.

    An output's manifest is given by number where the store has it already, else as a new one. ``attempt`` is the one
    that brought it; None where nothing ran.
    """

    step: str
    key: Digest
    fields: Sequence[Field]
    outputs: Mapping[str, Manifest | int]
    via: str = "full"
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_rss_bytes: int = 0
    fingerprint: tuple[str, Sequence[tuple[str, str]]] | None = None
    differences: Mapping[tuple[str, str], tuple[int, int, int]] = field(default_factory=dict)
    attempt: Attempt | None = None
    inputs: Mapping[str, int] = field(default_factory=dict)
    """The manifest of each table that was read, by number, where a later version may be made from this one."""
    grain: str = ""
    """The grain that the step was built by: a later version is made from this one only by the same."""
    made_by: str | None = None
    """What it was made by, one of `RecipeNode.made_by`; empty where what is noted counts no more."""


@dataclass(frozen=True, slots=True)
class Restore:
    """A step whose targets are pointed at outputs that the store has already, by number."""

    step: str
    key: Digest
    outputs: Mapping[str, int]


class Rows:
    """What one transaction adds to the ledger, table by table: one statement for each, however many steps there are.

    Made inside of the transaction: the numbers of new manifests follow on those that are there.
    """

    def __init__(self, ledger: Ledger, run: int, at: float) -> None:
        self.ledger = ledger
        self.run = run
        self.at = at
        self.new: dict[int, Manifest] = {}
        self.prints: dict[str, Sequence[tuple[str, str]]] = {}
        self._next = (ledger.rows("SELECT max(id) FROM manifests")[0][0] or 0) + 1
        self._keys: list[tuple[Any, ...]] = []
        self._traces: list[tuple[Any, ...]] = []
        self._inputs: list[tuple[Any, ...]] = []
        self._made_by: dict[str, str] = {}
        self._currents: list[tuple[Any, ...]] = []
        self._versions: list[tuple[Any, ...]] = []
        self._differences: list[tuple[Any, ...]] = []
        self._attempts: list[tuple[Any, ...]] = []
        self._steps: list[tuple[str]] = []

    def add(self, work: Commit | Restore) -> dict[str, int]:
        """The number of each output's manifest, by name, after adding one piece of work."""
        numbers = {}
        for name, output in work.outputs.items():
            number, manifest = self._manifest(output)
            numbers[name] = number
            about = (manifest.digest, manifest.rows, manifest.bytes)
            self._currents.append((name, work.step, work.key, number, *about, self.run))
            self._versions.append((name, self.run, work.key, number))
        self._steps.append((work.step,))
        if isinstance(work, Commit):
            self._add_key(work, numbers)
        return numbers

    def _manifest(self, output: Manifest | int) -> tuple[int, Manifest]:
        """A manifest with its number: the next one, where it is new."""
        if isinstance(output, int):
            return output, self.ledger.manifest(output)
        number = self._next + len(self.new)
        self.new[number] = output
        return number, output

    def _add_key(self, work: Commit, numbers: Mapping[str, int]) -> None:
        """Add what a commit has and a restore has not: the key with its traces, its cost, its attempt."""
        costs = (work.wall_s, work.cpu_s, work.peak_rss_bytes)
        self._keys.append((work.key, work.step, json.dumps(work.fields), work.via, self.run, self.at, *costs))
        self._traces += [(work.key, name, number) for name, number in numbers.items()]
        if work.made_by is not None:
            self._made_by[work.key] = work.made_by
        self._inputs += [(work.key, name, number, work.grain) for name, number in work.inputs.items()]
        self._differences += [(old, new, *counts) for (old, new), counts in work.differences.items()]
        if work.fingerprint is not None:
            self.prints[work.fingerprint[0]] = work.fingerprint[1]
        if work.attempt is not None:
            self._attempts.append(work.attempt.row(self.run))

    def write(self, db: sqlite3.Connection) -> None:
        """Write all rows."""
        manifests = [(number, m.digest, json.dumps(m.to_json())) for number, m in self.new.items()]
        prints = [(digest, json.dumps(dict(items))) for digest, items in self.prints.items()]
        for statement, rows in (
            ("INSERT INTO manifests VALUES (?, ?, ?)", manifests),
            ("INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", self._keys),
            ("INSERT OR REPLACE INTO traces VALUES (?, ?, ?)", self._traces),
            ("INSERT OR REPLACE INTO inputs VALUES (?, ?, ?, ?)", self._inputs),
            ("DELETE FROM rules WHERE key = ?", [(key,) for key in self._made_by]),
            ("INSERT INTO rules VALUES (?, ?)", [(k, made_by) for k, made_by in self._made_by.items() if made_by]),
            ("INSERT OR IGNORE INTO fingerprints VALUES (?, ?)", prints),
            ("INSERT OR IGNORE INTO differences VALUES (?, ?, ?, ?, ?)", self._differences),
            ("INSERT OR REPLACE INTO current VALUES (?, ?, ?, ?, ?, ?, ?, ?)", self._currents),
            ("INSERT OR REPLACE INTO versions VALUES (?, ?, ?, ?)", self._versions),
            ("DELETE FROM failures WHERE step = ?", self._steps),
            (_ADD_ATTEMPT, self._attempts),
        ):
            if rows:
                db.executemany(statement, rows)


class Committer:
    """Writes to the ledger on behalf of one builder, which holds the store's lock under `epoch`."""

    def __init__(self, ledger: Ledger, epoch: int) -> None:
        self.ledger = ledger
        self.epoch = epoch
        self._prints: set[str] = set()

    @classmethod
    def take(cls, ledger: Ledger) -> Committer:
        """A committer under the next epoch; every earlier one can commit no more.

        Raises
        ------
        StoreError
            ``locked``: another builder has this process's lock.
        """
        with cls.taking(ledger) as made:
            check_held(ledger.store)
        return made

    @classmethod
    @contextmanager
    def taking(cls, ledger: Ledger) -> Iterator[Committer]:
        """A committer under the next epoch, which begins as the block ends; nobody commits meanwhile."""
        made = cls(ledger, -1)
        with made._flushed(), made.transaction(check=False) as db:
            made.epoch = max(ledger.epoch(), begun_epoch(ledger.store)) + 1  # an older or a new ledger knows less
            yield made
            db.execute("UPDATE meta SET value = ? WHERE name = 'epoch'", (str(made.epoch),))

    @contextmanager
    def _flushed(self) -> Iterator[None]:
        """Let the commits inside be on the disk when they return: no power failure takes an epoch back."""
        db = self.ledger.db
        (usual,) = db.execute("PRAGMA synchronous").fetchone()
        if disk.durable:
            db.execute("PRAGMA synchronous = FULL")
        try:
            yield
        finally:
            db.execute(f"PRAGMA synchronous = {usual}")

    def advance(self) -> None:
        """Go on under the next epoch: what was begun under this one has ended, or may never commit."""
        with self._flushed(), self.transaction() as db:
            db.execute("UPDATE meta SET value = ? WHERE name = 'epoch'", (str(self.epoch + 1),))
        self.epoch += 1

    @contextmanager
    def transaction(self, *, check: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction; rolled back on any error inside, refused when the epoch has passed."""
        path = self.ledger.store / FILE
        disk.before("commit", path)
        db = self.ledger.db
        try:
            db.execute("BEGIN IMMEDIATE")
            try:
                if check:
                    check_held(self.ledger.store)  # who took the lock may have died before its epoch began
                    if self.ledger.epoch() != self.epoch:
                        raise taken_over(self.ledger.store)
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
        except sqlite3.DatabaseError as cause:
            raise ledger_error(path, cause) from cause
        disk.before("committed", path)

    def begin_run(self, started_at: float) -> int:
        """The number of a new run."""
        with self.transaction() as db:
            db.execute("UPDATE runs SET outcome = 'interrupted' WHERE outcome = 'running'")
            row = "(NULL, ?, NULL, 'running', 0, NULL, '{}', '{}')"
            cursor = db.execute(f"INSERT INTO runs VALUES {row}", (started_at,))
            assert cursor.lastrowid is not None
            return cursor.lastrowid

    def end_run(self, run: int, finished_at: float, outcome: str, report: Mapping[str, Any], is_complete: bool) -> None:
        """Close a run with its report."""
        with self.transaction() as db:
            db.execute(
                """UPDATE runs SET finished_at = ?, outcome = ?, is_complete = ?, wall_s = ?, totals = ?, report = ?
                WHERE id = ?""",
                (
                    finished_at,
                    outcome,
                    int(is_complete),
                    report.get("wall_s"),
                    json.dumps(report.get("totals", {})),
                    json.dumps(report),
                    run,
                ),
            )

    def note_pace(self, startup_s: float, overhead_s: float) -> None:
        """Note what a run cost beside its steps."""
        rows = [("startup_s", f"{startup_s:.4f}"), ("overhead_s", f"{overhead_s:.4f}")]
        with self.transaction() as db:
            db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)

    def commit_all(self, run: int, at: float, works: Sequence[Commit | Restore]) -> list[dict[str, int]]:
        """The number of each output's manifest, by name, for each piece of work: all committed, or none of them.

        The caller vouches that each comes from its step's present attempt; the epoch is looked at here.
        """
        if not works:
            return []
        with self.transaction() as db:
            rows = Rows(self.ledger, run, at)
            numbers = [rows.add(work) for work in works]
            rows.prints = {d: i for d, i in rows.prints.items() if d not in self._prints}
            rows.write(db)
        self._prints |= rows.prints.keys()  # only now that it is true
        for number, manifest in rows.new.items():
            self.ledger.remember(number, manifest)
        return numbers

    def built(self, run: int, at: float, commit: Commit) -> dict[str, int]:
        """The number of each output's manifest, after one step that ran was committed."""
        return self.commit_all(run, at, [commit])[0]

    def restored(self, run: int, step: str, key: Digest, outputs: Mapping[str, int]) -> None:
        """Point one step's targets at outputs that the store had already."""
        self.commit_all(run, 0.0, [Restore(step, key, outputs)])

    def failed(self, run: int, step: str, key: Digest | None, cause: BuilderError, attempt: Attempt | None) -> None:
        """Note a failure; what was built before stays as it is."""
        with self.transaction() as db:
            row = (step, key, run, json.dumps(cause.to_json()))
            db.execute("INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?)", row)
            if attempt is not None:
                attempt.insert(db, run)

    def tried(self, run: int, attempt: Attempt) -> None:
        """Note an attempt that will be repeated."""
        with self.transaction() as db:
            attempt.insert(db, run)

    def distrusted(self, recipe: str, code: str, update: str = "") -> None:
        """Let no update by this code count any more: what was built through one is forgotten, and so what it led to.

        What other code of the recipe gave, or another own update, stands: nothing was found against it.

        Parameters
        ----------
        code, update
            The fingerprints of the recipe and of its own update, empty where it has none.
        """
        steps = "SELECT step FROM attempts WHERE recipe = :recipe"
        keys = f"""SELECT key FROM keys WHERE step IN ({steps}) AND via NOT IN ('full', 'store')
            AND json_extract(fields, '$[0][2]') = :code
            AND (via != 'update' OR key IN (SELECT key FROM rules WHERE print = :update OR print LIKE :beside))"""
        given = {"recipe": recipe, "code": code, "update": update, "beside": f"%\n{update}"}
        with self.transaction() as db:
            for table in ("traces", "current"):
                db.execute(f"DELETE FROM {table} WHERE key IN ({keys})", given)
            db.execute("INSERT OR IGNORE INTO distrusted VALUES (?, ?)", (recipe, code + update))

    def summed(self, number: int, manifest: Manifest) -> None:
        """Let a manifest know the sums of more columns; nothing else of it may differ."""
        with self.transaction() as db:
            db.execute("UPDATE manifests SET body = ? WHERE id = ?", (json.dumps(manifest.to_json()), number))
        self.ledger.remember(number, manifest)

    def cleared(self, steps: Iterable[str]) -> None:
        """Forget failures of steps that are fresh again without work."""
        with self.transaction() as db:
            db.executemany("DELETE FROM failures WHERE step = ?", [(s,) for s in steps])

    def retired(self, run: int, names: Iterable[str], steps: Iterable[str]) -> None:
        """Note that targets are no longer part of the project; their outputs stay in the store."""
        with self.transaction() as db:
            for name in names:
                db.execute("DELETE FROM current WHERE name = ?", (name,))
                db.execute("INSERT OR REPLACE INTO versions VALUES (?, ?, NULL, NULL)", (name, run))
            db.executemany("DELETE FROM failures WHERE step = ?", [(s,) for s in steps])

    def forgotten(self, numbers: Iterable[int], *, with_keys: bool = False) -> None:
        """Forget manifests with all that names them; with `with_keys` also the keys under which nothing is left.

        A version keeps its row without a manifest: an older one must not be taken for it.
        """
        gone = (json.dumps(list(numbers)),)  # one statement for all: no table has an index by manifest
        with self.transaction() as db:
            for table in ("traces", "inputs", "current"):
                db.execute(f"DELETE FROM {table} WHERE manifest IN (SELECT value FROM json_each(?))", gone)
            db.execute("UPDATE versions SET manifest = NULL WHERE manifest IN (SELECT value FROM json_each(?))", gone)
            db.execute("DELETE FROM manifests WHERE id IN (SELECT value FROM json_each(?))", gone)
            if with_keys:
                left = "SELECT key FROM traces UNION SELECT key FROM current"
                for table in ("keys", "inputs", "rules"):
                    db.execute(f"DELETE FROM {table} WHERE key NOT IN ({left})")

    def published(self, rows: Sequence[tuple[str, str, str, str]]) -> None:
        """Note what stands in ``out/`` for targets: (name, digest, path, token) of each."""
        with self.transaction() as db:
            db.executemany("INSERT OR REPLACE INTO published VALUES (?, ?, ?, ?)", rows)

    def unpublished(self, name: str) -> None:
        """Note that a target has left ``out/``."""
        with self.transaction() as db:
            db.execute("DELETE FROM published WHERE name = ?", (name,))


@dataclass(frozen=True, slots=True)
class Attempt:
    """One execution as the ledger remembers it; ``recipe`` is what it belongs to: a recipe's name, or a source's."""

    step: str
    number: int
    outcome: str
    log: str
    finished_at: float
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_rss_bytes: int = 0
    recipe: str = ""
    bytes_in: int = 0
    rows_in: int = 0
    bytes_out: int = 0
    rows_out: int = 0
    via: str = "full"
    rows_tested: int = 0

    def insert(self, db: sqlite3.Connection, run: int) -> None:
        """Add this attempt to its run."""
        db.execute(_ADD_ATTEMPT, self.row(run))

    def row(self, run: int) -> tuple[Any, ...]:
        """Its row in the ledger's table."""
        what = (run, self.step, self.number, self.outcome, self.log, self.finished_at)
        cost = (self.wall_s, self.cpu_s, self.peak_rss_bytes)
        amounts = (self.bytes_in, self.rows_in, self.bytes_out, self.rows_out)
        return (*what, *cost, self.recipe, *amounts, self.via, self.rows_tested)
