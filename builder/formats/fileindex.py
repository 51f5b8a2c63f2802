"""Which rows each file of a source gave: their keys, so that of many files only those are read again that changed.

For formats whose records are not known by their lines. Keys have places, counted over the parts of the index; those of
a file stand together. A new version adds the keys of the files that it read, and names those of the others where they
are. Decides what has to stay the same for that. Never reads a source.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Final

import numpy as np
import pyarrow as pa

from builder.digests import digest_of
from builder.execute.spec import IntakeSpec
from builder.formats import linefiles
from builder.formats.linefiles import can_be_indexed, write_small
from builder.formats.opened import Opened
from builder.nouns import dataclass
from builder.sources import INTAKE_VERSION, LOG_ENDING, SourceFile
from builder.store.manifest import Part
from builder.store.parts import PartFolder
from builder.tables.batches import read_batch
from builder.tables.schema import Schema

_HEAD: Final = "\0head"
_VERSION: Final = "files-1"
_REWRITTEN_FROM: Final = 0.5
"""Of keys that no file has any more, as a share of the others: then the index is written anew."""
_MOST_SMALL: Final = 8
"""Each version adds a part; so many small ones become one."""


def is_by_files(spec: IntakeSpec) -> bool:
    """Whether a version of a source may be read only in the files that changed."""
    return (
        bool(spec.key)
        and len(spec.files) > 1
        and spec.format != "shp"  # a shape's companions are files of their own, and so is a GeoPackage's log
        and not any(file.path.endswith(LOG_ENDING) for file in spec.files)
        and not spec.is_inference
        and sum(file.bytes for file in spec.files) >= linefiles.MIN_BYTES
        and not can_be_indexed(spec)
    )


def reading_of(spec: IntakeSpec, schema: Schema) -> str:
    """What a file's rows depend on besides its bytes and its name."""
    null = ("none",) if spec.null is None else ("null", *spec.null)
    declared = [text for pair in sorted(spec.columns) for text in pair]
    options = (spec.format, spec.delimiter, spec.encoding, spec.crs, spec.layer, spec.file_column)
    said = (o or "" for o in options)
    return digest_of(_VERSION, INTAKE_VERSION, schema.digest(), *said, str(len(null)), *null, *declared)


@dataclass(frozen=True, slots=True)
class FileRows:
    """One file of a source: its digest, the place of its first key, and how many rows it gave."""

    name: str
    digest: str
    first: int
    rows: int


class FileIndex:
    """The index of one version.

    Parameters
    ----------
    folder
        The store it lies in.
    reading
        `reading_of` the source then.
    files
        The source's files by name.
    parts
        The keys, in the order of their places.
    """

    def __init__(self, folder: PartFolder, reading: str, files: Mapping[str, FileRows], parts: Sequence[Part]) -> None:
        self.reading = reading
        self.files = files
        self._folder = folder
        self._parts = tuple(parts)
        self._ends = np.cumsum([0, *(part.rows for part in parts)])
        self._cached: tuple[Part, pa.Table] | None = None

    @staticmethod
    def open(folder: PartFolder, parts: Sequence[Part]) -> FileIndex | None:
        """The index that lies in these parts; None where they are an index of another kind.

        Raises
        ------
        StoreError
            ``store-damaged``: a part is missing, or not as it was written.
        """
        table = read_batch(folder.store, parts[0], None)
        head = json.loads(table.column(_HEAD)[0].as_py()) if table.column_names == [_HEAD] else {}
        if head.get("version") != _VERSION:
            return None
        files = {name: FileRows(name, digest, first, rows) for name, digest, first, rows in head["files"]}
        return FileIndex(folder, head["reading"], files, parts[1:])

    def keys(self, file: FileRows) -> Iterator[pa.Table]:
        """The keys of a file's rows; of files in the order of their places each part is read once."""
        end = file.first + file.rows
        for number, part in enumerate(self._parts):
            start = int(self._ends[number])
            a, b = max(file.first, start), min(end, start + part.rows)
            if a < b:  # taken, for a slice would keep the whole part
                yield self._read(part).take(pa.array(np.arange(a - start, b - start)))

    def _read(self, part: Part) -> pa.Table:
        """The keys of a part; the last one is kept, for the next of many small files."""
        if self._cached is None or self._cached[0] != part:
            self._cached = part, read_batch(self._folder.store, part, None)
        return self._cached[1]

    def next(
        self, files: Sequence[SourceFile], kept: Mapping[str, FileRows], read: Mapping[str, pa.Table]
    ) -> tuple[Part, ...]:
        """The index of the next version as parts: of these files some are as they were, and others have these keys."""
        left = sum(old.rows for old in kept.values())
        rows = left + sum(keys.num_rows for keys in read.values())
        is_rewritten = self._ends[-1] - left > _REWRITTEN_FROM * rows
        writer = FileIndexWriter(self._folder, () if is_rewritten else self._parts)
        if not is_rewritten:
            writer.join()
        placed = []
        for file in files:
            old = kept.get(file.name)
            if old is not None and not is_rewritten:
                placed.append(FileRows(file.name, file.digest, old.first, old.rows))
                continue
            first = writer.end
            for keys in (read[file.name],) if old is None else self.keys(old):
                writer.add(keys)
            placed.append(FileRows(file.name, file.digest, first, writer.end - first))
        return writer.finish(self.reading, placed)


class FileIndexWriter:
    """Writes an index: keys behind those that lie in `parts` already."""

    def __init__(self, folder: PartFolder, parts: Sequence[Part] = ()) -> None:
        self._folder = folder
        self._parts = list(parts)
        self._keys: list[pa.Table] = []
        self._held = 0
        self.end = sum(part.rows for part in parts)

    def join(self) -> None:
        """Write the last parts anew as one, where they are many and small; keys keep their places."""
        small = list(takewhile(lambda part: part.rows < linefiles.PART_ROWS, reversed(self._parts)))[::-1]
        if len(small) >= _MOST_SMALL:
            del self._parts[-len(small) :]
            self.end -= sum(part.rows for part in small)
            for part in small:
                self.add(read_batch(self._folder.store, part, None))

    def add(self, keys: pa.Table) -> None:
        """Put the next keys in; whole parts are written."""
        self._keys.append(keys)
        self._held += keys.num_rows
        self.end += keys.num_rows
        while self._held >= linefiles.PART_ROWS:
            self._write(linefiles.PART_ROWS)

    def finish(self, reading: str, files: Sequence[FileRows]) -> tuple[Part, ...]:
        """The parts of the index of these files."""
        if self._held:
            self._write(self._held)
        listed = [[file.name, file.digest, file.first, file.rows] for file in files]
        text = json.dumps({"version": _VERSION, "reading": reading, "files": listed})
        return (write_small(self._folder, pa.table({_HEAD: [text]})), *self._parts)

    def _write(self, count: int) -> None:
        keys = pa.concat_tables(self._keys)
        self._parts.append(write_small(self._folder, keys.slice(0, count).combine_chunks()))
        self._keys = [keys.slice(count)]
        self._held -= count


class FileIndexOnTheWay:
    """Writes the index of a source's version while it is read whole."""

    def __init__(self, spec: IntakeSpec, opened: Opened, folder: PartFolder) -> None:
        self._spec = spec
        self._opened = opened
        self._writer = FileIndexWriter(folder)

    def add(self, rows: pa.Table) -> None:
        """Take the next rows in."""
        self._writer.add(rows.select(self._opened.schema.key))

    def finish(self) -> tuple[Part, ...]:
        """The parts of the index."""
        first, files = 0, []
        for file, rows in zip(self._spec.files, self._opened.places.counts, strict=True):
            files.append(FileRows(file.name, file.digest, first, rows))
            first += rows
        return self._writer.finish(reading_of(self._spec, self._opened.schema), files)
