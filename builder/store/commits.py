"""Commits: the only writes to the ledger, each one transaction, each guarded by the builder's epoch.

Decides what becomes true at once. A step's outputs, their trace and their pointers are written together or not at
all; a builder whose epoch has passed commits nothing.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from builder.digests import Digest
from builder.errors import BuilderError, error
from builder.store import disk
from builder.store.ledger import FILE, Field, Ledger, ledger_error
from builder.store.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Commit:
    """What one finished step brings: its key with the fields behind it, its outputs and its cost.

    An output's manifest is given by number where the store has it already, else as a new one.
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


class Committer:
    """Writes to the ledger on behalf of one builder, which holds the store's lock under `epoch`."""

    def __init__(self, ledger: Ledger, epoch: int) -> None:
        self.ledger = ledger
        self.epoch = epoch

    @classmethod
    def take(cls, ledger: Ledger) -> Committer:
        """A committer under the next epoch; every earlier one can commit no more."""
        made = cls(ledger, ledger.epoch() + 1)
        with made.transaction(check=False) as db:
            db.execute("UPDATE meta SET value = ? WHERE name = 'epoch'", (str(made.epoch),))
        return made

    @contextmanager
    def transaction(self, *, check: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction; rolled back on any error inside, refused when the epoch has passed."""
        path = self.ledger.store / FILE
        disk.before("commit", path)
        db = self.ledger.db
        try:
            db.execute("BEGIN IMMEDIATE")
            try:
                if check and self.ledger.epoch() != self.epoch:
                    raise error(
                        "locked",
                        "another builder has taken the store over",
                        place=str(self.ledger.store),
                        hint="let that one finish",
                    )
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
            cursor = db.execute("INSERT INTO runs VALUES (NULL, ?, NULL, 'running', '{}', 0)", (started_at,))
            assert cursor.lastrowid is not None
            return cursor.lastrowid

    def end_run(self, run: int, finished_at: float, outcome: str, report: Mapping[str, Any], is_complete: bool) -> None:
        """Close a run with its report."""
        with self.transaction() as db:
            db.execute(
                "UPDATE runs SET finished_at = ?, outcome = ?, report = ?, is_complete = ? WHERE id = ?",
                (finished_at, outcome, json.dumps(report), int(is_complete), run),
            )

    def built(self, run: int, at: float, commit: Commit, attempt: Attempt | None = None) -> dict[str, int]:
        """The number of each output's manifest, after a step that ran was committed: key, traces, pointers, cost."""
        with self.transaction() as db:
            numbers = {name: _manifest(db, m) for name, m in commit.outputs.items()}
            db.execute(
                "INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    commit.key,
                    commit.step,
                    json.dumps(commit.fields),
                    commit.via,
                    run,
                    at,
                    commit.wall_s,
                    commit.cpu_s,
                    commit.peak_rss_bytes,
                ),
            )
            for name, number in numbers.items():
                db.execute("INSERT OR REPLACE INTO traces VALUES (?, ?, ?)", (commit.key, name, number))
            if commit.fingerprint is not None:
                digest, items = commit.fingerprint
                db.execute("INSERT OR IGNORE INTO fingerprints VALUES (?, ?)", (digest, json.dumps(dict(items))))
            db.executemany(
                "INSERT OR IGNORE INTO differences VALUES (?, ?, ?, ?, ?)",
                [(old, new, *counts) for (old, new), counts in commit.differences.items()],
            )
            _point(db, run, commit.step, commit.key, numbers)
            if attempt is not None:
                attempt.insert(db, run)
            return numbers

    def restored(self, run: int, step: str, key: Digest, outputs: Mapping[str, int]) -> None:
        """Point a step's targets at outputs that the store had already."""
        with self.transaction() as db:
            _point(db, run, step, key, outputs)

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

    def published(self, name: str, digest: str, path: str, token: str) -> None:
        """Note what stands in ``out/`` for a target."""
        with self.transaction() as db:
            db.execute("INSERT OR REPLACE INTO published VALUES (?, ?, ?, ?)", (name, digest, path, token))

    def unpublished(self, name: str) -> None:
        """Note that a target has left ``out/``."""
        with self.transaction() as db:
            db.execute("DELETE FROM published WHERE name = ?", (name,))


@dataclass(frozen=True, slots=True)
class Attempt:
    """One execution as the ledger remembers it."""

    step: str
    number: int
    outcome: str
    log: str
    finished_at: float
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_rss_bytes: int = 0

    def insert(self, db: sqlite3.Connection, run: int) -> None:
        """Add this attempt to its run."""
        db.execute(
            "INSERT INTO attempts VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                run,
                self.step,
                self.number,
                self.outcome,
                self.log,
                self.finished_at,
                self.wall_s,
                self.cpu_s,
                self.peak_rss_bytes,
            ),
        )


def _manifest(db: sqlite3.Connection, manifest: Manifest | int) -> int:
    """The number of a manifest, after adding it where it is new."""
    if isinstance(manifest, int):
        return manifest
    row = (manifest.digest, json.dumps(manifest.to_json()))
    number = db.execute("INSERT INTO manifests VALUES (NULL, ?, ?)", row).lastrowid
    assert number is not None
    return number


def _point(db: sqlite3.Connection, run: int, step: str, key: Digest, outputs: Mapping[str, int]) -> None:
    """Let each output's name mean this manifest from now on."""
    for name, number in outputs.items():
        digest, body = db.execute("SELECT digest, body FROM manifests WHERE id = ?", (number,)).fetchone()
        manifest = Manifest.from_json(json.loads(body))
        row = (name, step, key, number, digest, manifest.rows, manifest.bytes, run)
        db.execute("INSERT OR REPLACE INTO current VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        db.execute("INSERT OR REPLACE INTO versions VALUES (?, ?, ?, ?)", (name, run, key, number))
    db.execute("DELETE FROM failures WHERE step = ?", (step,))
