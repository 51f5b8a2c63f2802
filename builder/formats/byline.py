"""A version of a text source taken in by lines: records that the last version had are known by their hashes.

Decides which files are split, which records are parsed, which keys are gone. Whatever it cannot follow to the end
(another reading of the text, a record that does not fit, a key that is there twice) it leaves to a reading of the whole
source, which gives the same rows or tells what is wrong, and where.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import pyarrow as pa

from builder.execute.spec import IntakeSpec
from builder.formats.columns import Wanted, full_schema, wanted_columns
from builder.formats.linefiles import FileLines, can_be_indexed, index_rows, reading_of
from builder.formats.lineindex import LineIndex, open_index
from builder.formats.lines import OddText, read_records
from builder.formats.text import (
    BLOCK_BYTES,
    Dialect,
    Head,
    arrow_batches,
    converted,
    dialect_of,
    read_head,
    splitter_of,
    typed_columns,
)
from builder.sources import SourceFile
from builder.store.manifest import Manifest
from builder.store.parts import PartFolder
from builder.tables.arrow import arrow_schema, conform
from builder.tables.matching import Matcher, Slots, Words
from builder.tables.schema import Column, Schema

MOST_UPSERTS_BYTES: Final = 384 << 20
"""More new rows than this are better written in sorted runs than held in memory."""

_LOOK_FROM = 0.12  # of the bytes to be split, from where on the share of new records is taken for that of the rest
_MOST_NEW = 0.5
_TEXT_BYTES = BLOCK_BYTES // 2


@dataclass(slots=True)
class Changed:
    """What differs from the last version: new rows, keys of records that are gone, and the index of this version."""

    upserts: pa.Table
    gone: pa.Table
    records: int
    index: LineIndex


def changed_lines(spec: IntakeSpec, base: Manifest, folder: PartFolder) -> Changed | None:
    """What a version of a source changes in its last one, `base`; None: it cannot be told by lines, or is too much.

    Raises
    ------
    BuilderError, OddText, OSError, pyarrow.ArrowException, UnicodeError
        The text, or the index, is not as it should be.
    """
    if base.schema is None or not base.index or spec.pinned is None or not can_be_indexed(spec):
        return None
    reader = _Reader.of(spec, spec.pinned)
    index = open_index(folder, base.index)
    if reader.schema != base.schema or index.reading != reading_of(spec, base.schema):
        return None
    return _Comparison(spec, reader, index).run()


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads records by the pinned schema."""

    spec: IntakeSpec
    dialect: Dialect
    wanted: tuple[Wanted, ...]
    columns: list[Column]
    schema: Schema

    @staticmethod
    def of(spec: IntakeSpec, pinned: Schema) -> _Reader:
        names = [c.name for c in pinned.columns if c.name != spec.file_column]
        wanted = wanted_columns(spec, names, "")
        columns = typed_columns(spec, wanted, [w.dtype or "" for w in wanted])
        return _Reader(spec, dialect_of(spec), wanted, columns, full_schema(spec, columns))

    def head(self, file: SourceFile) -> Head:
        """A file's header, which has the pinned columns."""
        head = read_head(self.spec, file, self.dialect)
        wanted_columns(self.spec, head.names, file.shown)
        return head

    def rows(self, head: Head, text: bytes) -> Iterator[pa.Table]:
        """The rows of some records of a file."""
        names = self.dialect.delimiter.join('"' + name.replace('"', '""') + '"' for name in head.names)
        first = Head(head.file, head.names, 1, True)
        source = pa.BufferReader(names.encode() + b"\n" + text)
        for batch in arrow_batches(source, first, self.dialect, BLOCK_BYTES):
            table = converted(self.spec, head.file, batch, self.wanted, self.columns, True, lambda row: f"row {row}")
            yield conform(table, self.schema, place=self.spec.source)


@dataclass(slots=True)
class _Fresh:
    """The new records of one file: hashes and rows, in its order."""

    low: list[Words] = field(default_factory=list)
    high: list[Words] = field(default_factory=list)
    tables: list[pa.Table] = field(default_factory=list)
    records: int = 0
    rows: int = 0


class _Comparison:
    """One version of a source compared with the index of the last one."""

    def __init__(self, spec: IntakeSpec, reader: _Reader, index: LineIndex) -> None:
        self._spec = spec
        self._reader = reader
        self._index = index
        self._end = index.end
        self._files: dict[str, FileLines] = {}
        self._upserts: list[pa.Table] = []
        self._slots: list[Slots] = []
        self._rows: list[pa.Table] = []
        self._gone: list[Slots] = []
        self._to_see_bytes = 0
        self._held_bytes = 0
        self._seen_bytes = 0
        self._seen = 0
        self._new = 0

    def run(self) -> Changed | None:
        """All files; None: so much is new that the whole is read sooner."""
        known = self._index.files
        pairs = _pairs(self._spec, known)
        self._to_see_bytes = sum(file.bytes for file, old in pairs if old is None or old.digest != file.digest)
        for file, old in pairs:
            if old is not None and old.digest == file.digest:
                self._files[file.name] = FileLines(file.name, file.digest, old.names, old.records, old.segments)
            elif not self._compare(file, old):
                return None
        kept = {old.name for _, old in pairs if old is not None}
        for name in known.keys() - kept:
            self._drop(known[name])
        keys = [self._index.keys(slots) for slots in self._gone if len(slots)]
        schema = self._reader.schema
        empty = arrow_schema(schema).empty_table()
        return Changed(
            pa.concat_tables([empty, *self._upserts]),
            pa.concat_tables([empty.select(schema.key), *(k.cast(empty.select(schema.key).schema) for k in keys)]),
            sum(file.records for file in self._files.values()),
            self._next_index(),
        )

    def _compare(self, file: SourceFile, old: FileLines | None) -> bool:
        """Whether a file was compared to its end, and not too much of it is new."""
        head = self._reader.head(file)
        if old is not None and old.names != head.names:
            self._drop(old)
            old = None
        low, high = np.zeros((2, 0), np.uint64) if old is None else self._index.hashes(old)
        matcher = Matcher(low, high)
        fresh = _Fresh()
        text: list[bytes] = []
        for records in read_records(file, splitter_of(head, self._reader.dialect)) if head.has_rows else ():
            is_new = matcher.match(records.low, records.high)
            fresh.records += len(is_new)
            self._seen += len(is_new)
            self._seen_bytes += int(records.ends[-1] - records.starts[0])
            if is_new.any():
                fresh.low.append(records.low[is_new])
                fresh.high.append(records.high[is_new])
                self._new += len(fresh.low[-1])
                text.append(records.text(is_new))
                if sum(map(len, text)) >= _TEXT_BYTES:
                    self._parse(fresh, head, text)
                if self._is_too_much():
                    return False
        self._parse(fresh, head, text)
        self._place(file, head, old, matcher, fresh)
        return True

    def _is_too_much(self) -> bool:
        """Whether so much is new that the rest need not be looked at."""
        if self._held_bytes > MOST_UPSERTS_BYTES:
            return True
        whole = sum(file.bytes for file in self._spec.files)
        share = self._new / self._seen * self._to_see_bytes / whole
        return self._seen_bytes > _LOOK_FROM * self._to_see_bytes and share > _MOST_NEW

    def _parse(self, fresh: _Fresh, head: Head, text: list[bytes]) -> None:
        for table in self._reader.rows(head, b"".join(text)) if text else ():
            fresh.tables.append(table)
            fresh.rows += table.num_rows
            self._held_bytes += table.nbytes
        text.clear()

    def _place(self, file: SourceFile, head: Head, old: FileLines | None, matcher: Matcher, fresh: _Fresh) -> None:
        """Give the new records of a file the slots of those that are gone, and more at the end if they are too few."""
        low, high = _joined(fresh.low), _joined(fresh.high)
        if fresh.rows != len(low):
            raise OddText("text was split into other records than the reader found")
        old = old or FileLines(file.name, "", head.names, 0, ())
        segments = old.segments
        self._gone.append(old.slots_at(matcher.gone))
        taken = old.slots_at(matcher.free[: len(low)])
        more = len(low) - len(taken)
        if more:
            taken = np.concatenate([taken, np.arange(self._end, self._end + more)])
            segments = _extended(segments, self._end, more)
            self._end += more
        self._files[file.name] = FileLines(file.name, file.digest, head.names, fresh.records, segments)
        self._upserts += fresh.tables
        keys = [table.select(self._reader.schema.key) for table in fresh.tables]
        if len(low):
            self._put(taken, low, high, pa.concat_tables(keys))
        self._empty(np.setdiff1d(self._gone[-1], taken, assume_unique=True))

    def _empty(self, slots: Slots) -> None:
        """These slots have no record any more."""
        if len(slots):
            zeros = np.zeros(len(slots), np.uint64)
            fields = arrow_schema(self._reader.schema.select(self._reader.schema.key))
            self._put(slots, zeros, zeros, pa.table({f.name: pa.nulls(len(slots), f.type) for f in fields}))

    def _drop(self, file: FileLines) -> None:
        """The records of a file are gone, and its slots with it."""
        low, high = self._index.hashes(file)
        self._gone.append(file.slots_at(np.flatnonzero(low | high)))

    def _put(self, slots: Slots, low: Words, high: Words, keys: pa.Table) -> None:
        self._slots.append(slots)
        self._rows.append(index_rows(low, high, keys))

    def _next_index(self) -> LineIndex:
        files = {file.name: self._files[file.name] for file in self._spec.files}
        rows = pa.concat_tables(self._rows) if self._rows else None
        return self._index.updated(files, np.concatenate([np.empty(0, np.int64), *self._slots]), rows)


def _pairs(spec: IntakeSpec, known: Mapping[str, FileLines]) -> list[tuple[SourceFile, FileLines | None]]:
    """Each file with what it was in the last version: by name, or else by its bytes, or else any that is gone.

    Where the file's name is a column, a file under another name has other rows.
    """
    names = {file.name for file in spec.files}
    gone = [] if spec.file_column is not None else [known[name] for name in sorted(known.keys() - names)]
    pairs: list[tuple[SourceFile, FileLines | None]] = []
    for file in spec.files:
        old = known.get(file.name)
        if old is None and gone:
            old = next((g for g in gone if g.digest == file.digest), gone[0])
            gone.remove(old)
        pairs.append((file, old))
    return pairs


def _extended(segments: tuple[tuple[int, int], ...], end: int, more: int) -> tuple[tuple[int, int], ...]:
    """The segments with so many slots more from `end` on."""
    if segments and sum(segments[-1]) == end:
        return (*segments[:-1], (segments[-1][0], segments[-1][1] + more))
    return (*segments, (end, more))


def _joined(words: list[Words]) -> Words:
    return np.concatenate([np.empty(0, np.uint64), *words])
