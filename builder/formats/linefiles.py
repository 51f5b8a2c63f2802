"""What a line index is made of: the source's files, the hash of each record, the key of its row; as parts of the store.

Decides what has to stay the same for old hashes to say anything of a new version. Never reads a source.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa

from builder.digests import digest_of
from builder.errors import error
from builder.execute.spec import IntakeSpec
from builder.formats import streams
from builder.sources import INTAKE_VERSION
from builder.store.manifest import Part
from builder.store.parts import PartFolder, inlined
from builder.tables.batches import HIGH, LOW, encoded, read_batch, write_batch
from builder.tables.matching import Slots, Words
from builder.tables.schema import Schema

MIN_BYTES: Final = 1 << 20
"""A source of fewer bytes is parsed as fast as it is hashed, and gets no index."""

PART_ROWS: Final = 1 << 20

SLOT: Final = "\0slot"
_HEAD = "\0head"
_VERSION = "lines-1"
_MOST_SQUEEZED = 8  # a table of more bytes than this many times the allowance is not tried as a small part


def can_be_indexed(spec: IntakeSpec) -> bool:
    """Whether the records of a source can be known again by their hashes."""
    return (
        bool(spec.key)
        and spec.format in ("csv", "tsv")
        and not spec.is_inference
        and streams.encoding_of(spec) == "utf-8"
        and not any(streams.packing(file) for file in spec.files)
        and sum(file.bytes for file in spec.files) >= MIN_BYTES
    )


def reading_of(spec: IntakeSpec, schema: Schema) -> str:
    """What a record's row depends on besides its bytes, its file and that file's header."""
    null = ("none",) if spec.null is None else ("null", *spec.null)
    declared = [text for pair in sorted(spec.columns) for text in pair]
    options = (spec.format, spec.delimiter or "", spec.crs or "", spec.file_column or "")
    return digest_of(_VERSION, INTAKE_VERSION, schema.digest(), *options, str(len(null)), *null, *declared)


@dataclass(frozen=True, slots=True)
class FileLines:
    """One file of a source: its digest, its column names, how many records it has, and its slots as (first, count)."""

    name: str
    digest: str
    names: tuple[str, ...]
    records: int
    segments: tuple[tuple[int, int], ...]

    def slots_at(self, positions: Slots) -> Slots:
        """Its slots at these positions among all of its own."""
        if not len(positions):
            return positions
        firsts, counts = np.array(self.segments, np.int64).T
        starts = np.cumsum(counts) - counts
        segment = np.searchsorted(starts, positions, "right") - 1
        found: Slots = firsts[segment] + positions - starts[segment]
        return found

    def to_json(self) -> list[Any]:
        """A plain list that `from_json` reads."""
        return [self.name, self.digest, self.names, self.records, self.segments]

    @staticmethod
    def from_json(value: list[Any]) -> FileLines:
        """What `to_json` wrote."""
        name, digest, names, records, segments = value
        return FileLines(name, digest, tuple(names), records, tuple((a, n) for a, n in segments))


class LineIndexWriter:
    """Writes the index of a version from its records in the order of the files; hashes and keys each at their pace."""

    def __init__(self, folder: PartFolder) -> None:
        self._folder = folder
        self._hashes: list[tuple[Words, Words]] = []
        self._keys: list[pa.Table] = []
        self._hashed = 0
        self._keyed = 0
        self._parts: list[Part] = []

    def add_hashes(self, low: Words, high: Words) -> None:
        """Take the hashes of the next records in."""
        self._hashes.append((low, high))
        self._hashed += len(low)

    def add_keys(self, keys: pa.Table) -> None:
        """Take the keys of the next rows in; whole parts are written."""
        self._keys.append(keys)
        self._keyed += keys.num_rows
        while min(self._keyed, self._hashed) >= PART_ROWS:
            self._write(PART_ROWS)

    def finish(self, reading: str, files: Sequence[FileLines], counts: Sequence[int]) -> tuple[Part, ...]:
        """The index of these files, whose numbers of records are `counts`."""
        while self._hashed:
            self._write(min(self._hashed, PART_ROWS))
        starts = np.cumsum([0, *counts]).tolist()
        placed = [
            replace(file, records=n, segments=((start, n),))
            for file, start, n in zip(files, starts, counts, strict=False)
        ]
        return with_head(self._folder, reading, placed, self._parts, [])

    def _write(self, count: int) -> None:
        low = np.concatenate([low for low, _ in self._hashes])
        high = np.concatenate([high for _, high in self._hashes])
        keys = pa.concat_tables(self._keys)
        self._hashes, self._keys = [(low[count:], high[count:])], [keys.slice(count)]
        self._hashed -= count
        self._keyed -= count
        self._parts.append(write_small(self._folder, index_rows(low[:count], high[:count], keys.slice(0, count))))


def index_rows(low: Words, high: Words, keys: pa.Table) -> pa.Table:
    """Hashes and keys of records as a table of the index."""
    table = pa.table({LOW: low, HIGH: high})
    for name in keys.column_names:
        table = table.append_column(pa.field(name, keys.schema.field(name).type), keys.column(name))
    return table


def write_small(folder: PartFolder, table: pa.Table) -> Part:
    """A part of the store with this table: a file, unless it is small.

    Raises
    ------
    StoreError
        ``store-full`` or another where it cannot be written.
    """
    if folder.is_small(table.nbytes // _MOST_SQUEEZED):
        content = encoded(table)
        if folder.is_small(len(content)):
            return inlined(content, rows=table.num_rows)
    return write_batch(table, folder)


def with_head(
    folder: PartFolder, reading: str, files: Iterable[FileLines], base: Sequence[Part], layers: Sequence[Part]
) -> tuple[Part, ...]:
    """The parts of an index behind one that says what they are."""
    text = json.dumps({"reading": reading, "base": len(base), "files": [file.to_json() for file in files]})
    return (write_small(folder, pa.table({_HEAD: [text]})), *base, *layers)


def read_head(folder: PartFolder, part: Part) -> tuple[str, int, list[FileLines]]:
    """(`reading_of` the source then, how many parts the base has, the files).

    Raises
    ------
    StoreError
        ``store-damaged``: the part is missing, or not as it was written.
    """
    head = json.loads(read_batch(folder.store, part, (_HEAD,)).column(_HEAD)[0].as_py())
    if "base" not in head:
        raise error("store-damaged", "a line index is an index of another kind", hint="builder fsck --repair")
    return head["reading"], head["base"], [FileLines.from_json(file) for file in head["files"]]
