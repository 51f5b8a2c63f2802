"""What the ledger remembers, row by row: versions, failures, costs and runs. Decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from builder.digests import Digest
from builder.errors import BuilderError, error
from builder.nouns import dataclass

Field = tuple[str, str, str]
AUDIT = "audit"
"""How an attempt went that went both ways, an update with a full run behind it."""


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

    @classmethod
    def of(cls, row: tuple[Any, ...]) -> Current:
        """The version that a row of the ledger says."""
        return cls(row[0], row[1], Digest(row[2]), row[3], Digest(row[4]), *row[5:])


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
    """One rebuild as the ledger remembers it, but for its report; ``wall_s`` is None for one that never closed."""

    id: int
    started_at: float
    finished_at: float | None
    outcome: str
    wall_s: float | None
    totals: Mapping[str, int]
    is_complete: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """What one finished attempt at a step, or at taking a source in, read and took; zeros where that was not noted.

    ``rows_tested`` counts the rows that an update looked at; ``via`` says by which rule it was made.
    """

    step: str
    wall_s: float
    bytes_in: int
    rows_in: int
    via: str = "full"
    rows_tested: int = 0


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
