"""What every format gives for a source: its schema, its rows as a stream of tables, and where each row stands.

Decides the seam between parsers and `intake`. Never parses.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from builder.errors import BuilderError, error
from builder.execute.spec import IntakeSpec
from builder.sources import SourceFile
from builder.tables.schema import Schema

if TYPE_CHECKING:
    import pyarrow as pa

    from builder.formats.lines import SourceHashes


class GuessFailed(Exception):
    """The dtypes seen at the head of a source do not hold for all of it: open it again and look at the whole first."""


@dataclass(frozen=True, slots=True)
class Opened:
    """One version of a source, ready to be read once.

    ``tables`` have the columns of ``schema`` in its order and Arrow's types for them; ``places`` tells where each of
    their rows stands. Of text, ``hashes`` gathers the hashes of the records while the tables are read (None: they are
    of no use), and ``headers`` has the column names of each file.
    """

    schema: Schema
    tables: Iterator[pa.Table]
    places: RowPlaces
    hashes: SourceHashes | None = None
    headers: tuple[tuple[str, ...], ...] = ()

    def describe_row(self, row: int) -> str:
        """The place of a row, counted from 0 over all files, for messages."""
        return self.places.describe(row)


class OpenSource(Protocol):
    """What opens a source."""

    def __call__(self, spec: IntakeSpec, scratch: Path, *, is_certain: bool) -> Opened:
        """The source as its format's parser gives it."""


@dataclass(slots=True)
class RowPlaces:
    """Remembers how many rows each file gave, to name the file and the place of a row of the whole source."""

    place_in_file: Callable[[SourceFile, int], str]
    _files: list[SourceFile] = field(default_factory=list)
    _starts: list[int] = field(default_factory=list)
    _rows: int = 0

    def begin(self, file: SourceFile) -> None:
        """The rows from here on are this file's."""
        self._files.append(file)
        self._starts.append(self._rows)

    def add(self, rows: int) -> None:
        """So many more rows were read."""
        self._rows += rows

    @property
    def counts(self) -> list[int]:
        """How many rows each file gave, in the order of the files."""
        return [b - a for a, b in pairwise((*self._starts, self._rows))]

    @property
    def rows_of_file(self) -> int:
        """How many rows the current file has given."""
        return self._rows - self._starts[-1]

    def place_of(self, row: int) -> str:
        """The place of a row, counted from the first that was not added yet."""
        return self.place_in_file(self._files[-1], self.rows_of_file + row)

    def describe(self, row: int) -> str:
        """The place of a row: ``data/a.csv:17``; ``row n`` where it was not read."""
        at = bisect_right(self._starts, row) - 1
        if at < 0:
            return f"row {row}"
        return self.place_in_file(self._files[at], row - self._starts[at])


def unreadable(spec: IntakeSpec, file: SourceFile, reason: object, hint: str | None = None) -> BuilderError:
    """The error of a file that is not what its name or `format=` says."""
    return error(
        "source-unreadable",
        f"'{spec.source}' cannot be read as {spec.format}: {file.shown}",
        place=file.shown,
        facts=[("reason", " ".join(str(reason).split())[:500])],
        hint=hint or "replace the file by a whole one, or give format= where its name misleads",
        target=spec.source,
    )


def empty(spec: IntakeSpec, file: SourceFile) -> BuilderError:
    """The error of a file without a single byte."""
    return error(
        "source-empty",
        f"'{spec.source}' has a file of 0 bytes: {file.shown}",
        place=file.shown,
        hint="an empty table still has a header; deliver the file again",
        target=spec.source,
    )
