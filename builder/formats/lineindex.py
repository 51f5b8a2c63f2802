"""The line index of one version of a text source: looked up, brought up to date.

A record has a slot; slots are about in the order of the files, each file's own, and a record that comes takes the slot
of one that goes. So a new version writes its changed slots only, as a layer over the base, until the layers are merged.
Never decides what a damaged index means: its error costs a reading of the whole source, never a wrong row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from builder.errors import error
from builder.execute.spec import IntakeSpec
from builder.formats.linefiles import (
    PART_ROWS,
    SLOT,
    FileLines,
    LineIndexWriter,
    read_head,
    reading_of,
    with_head,
    write_small,
)
from builder.formats.opened import Opened
from builder.store.manifest import Part
from builder.store.parts import PartFolder
from builder.tables.batches import HIGH, LOW, map_batch, read_batch
from builder.tables.matching import Slots, Words

MOST_LAYERS: Final = 8
_REWRITTEN_FROM = 0.5
"""Of slots that are empty or lie in layers, as a share of the records: then the index is written anew."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """Slots, ascending, and their rows in place of those below: hashes and keys; ``part`` where they are stored."""

    rows: pa.Table
    slots: Slots
    part: Part | None


class LineIndex:
    """The line index of one version.

    Parameters
    ----------
    folder
        The store it lies in.
    reading
        `reading_of` the source then.
    files
        The source's files by name.
    base, layers
        Parts of all slots in order, and what was written over them since, oldest first.
    """

    def __init__(
        self,
        folder: PartFolder,
        reading: str,
        files: Mapping[str, FileLines],
        base: Sequence[Part],
        layers: Sequence[_Layer],
    ) -> None:
        self.reading = reading
        self.files = files
        self._folder = folder
        self._base = tuple(base)
        self._ends = np.cumsum([0, *(part.rows for part in base)])
        self._layers = tuple(layers)
        self._cached: tuple[Part, pa.Table] | None = None

    @property
    def end(self) -> int:
        """The first slot that there is not."""
        return max((a + n for file in self.files.values() for a, n in file.segments), default=0)

    def hashes(self, file: FileLines) -> tuple[Words, Words]:
        """The (low, high) words of the slots of a file; an empty slot has (0, 0)."""
        low, high = np.zeros((2, sum(n for _, n in file.segments)), np.uint64)
        to = 0
        for first, count in file.segments:
            for at, part in self._overlapping(first, count):
                table = self._read(part)
                a, b = max(at, first), min(at + part.rows, first + count)
                for out, name in ((low, LOW), (high, HIGH)):
                    out[to + a - first : to + b - first] = table.column(name).to_numpy()[a - at : b - at]
            for layer in self._layers:
                a, b = np.searchsorted(layer.slots, [first, first + count])
                at_slots = layer.slots[a:b] + (to - first)
                low[at_slots] = layer.rows.column(LOW).to_numpy()[a:b]
                high[at_slots] = layer.rows.column(HIGH).to_numpy()[a:b]
            to += count
        return low, high

    def keys(self, slots: Slots) -> pa.Table:
        """The keys of the rows of these slots, in their order.

        Raises
        ------
        StoreError
            ``store-damaged``: a part is missing, or lacks slots.
        """
        left = np.arange(len(slots))
        pieces, places = [], []
        for layer in reversed(self._layers):
            at = np.searchsorted(layer.slots, slots[left])
            is_here = at < len(layer.slots)
            is_here[is_here] = layer.slots[at[is_here]] == slots[left[is_here]]
            pieces.append(_keys(layer.rows).take(pa.array(at[is_here])))
            places.append(left[is_here])
            left = left[~is_here]
        for place, keys in self._base_keys(left[np.argsort(slots[left], kind="stable")], slots):
            places.append(place)
            pieces.append(keys)
        if sum(map(len, places)) != len(slots):
            raise error("store-damaged", "a line index lacks slots that it names", hint="builder fsck --repair")
        return pa.concat_tables(pieces).take(pa.array(np.argsort(np.concatenate(places))))

    def _base_keys(self, order: Slots, slots: Slots) -> Iterator[tuple[Slots, pa.Table]]:
        """Of each part of the base (which of the slots it holds, their keys); `order` has the slots ascending."""
        bounds = np.searchsorted(slots[order], self._ends)
        for number, part in enumerate(self._base):
            some = order[bounds[number] : bounds[number + 1]]
            if len(some):
                rows = _keys(pa.Table.from_batches([map_batch(self._folder.store, part)]))
                yield some, rows.take(pa.array(slots[some] - self._ends[number]))

    def updated(self, files: Mapping[str, FileLines], slots: Slots, rows: pa.Table | None) -> LineIndex:
        """The index of the next version: these files, and other `rows` (`index_rows`) in these slots; None: in none."""
        layers = self._layers
        if rows is not None:
            order = np.argsort(slots)
            layers = (*layers, _Layer(rows.take(pa.array(order)).combine_chunks(), slots[order], None))
        return LineIndex(self._folder, self.reading, files, self._base, layers)

    def write(self) -> tuple[Part, ...]:
        """The index as parts: what is new of it, or all, where too much of it is layers and empty slots."""
        records = sum(file.records for file in self.files.values())
        written = sum(len(layer.slots) for layer in self._layers)
        if written + max(self.end, int(self._ends[-1])) - records > _REWRITTEN_FROM * records:
            return self._rewritten()
        layers = self._merged() if len(self._layers) > MOST_LAYERS else self._layers
        parts = [layer.part or self._write_layer(layer) for layer in layers]
        return with_head(self._folder, self.reading, self.files.values(), self._base, parts)

    def _overlapping(self, first: int, count: int) -> Iterator[tuple[int, Part]]:
        """The parts of the base that hold some of these slots, with their first slots."""
        for number, part in enumerate(self._base):
            if self._ends[number] < first + count and self._ends[number + 1] > first:
                yield int(self._ends[number]), part

    def _read(self, part: Part) -> pa.Table:
        """The hashes of a part of the base; the last one is kept, for the next of many small files."""
        if self._cached is None or self._cached[0] != part:
            self._cached = part, read_batch(self._folder.store, part, (LOW, HIGH))
        return self._cached[1]

    def _merged(self) -> tuple[_Layer, ...]:
        rows = pa.concat_tables(layer.rows for layer in reversed(self._layers)).combine_chunks()
        every = np.concatenate([layer.slots for layer in reversed(self._layers)])
        slots, newest = np.unique(every, return_index=True)
        return (_Layer(rows.take(pa.array(newest)), slots, None),)

    def _write_layer(self, layer: _Layer) -> Part:
        table = layer.rows.append_column(SLOT, pa.array(layer.slots))
        return write_small(self._folder, table)

    def _rewritten(self) -> tuple[Part, ...]:
        writer = LineIndexWriter(self._folder)
        counts = []
        for file in self.files.values():
            low, high = self.hashes(file)
            there = np.flatnonzero(low | high)
            slots, low, high = file.slots_at(there), low[there], high[there]
            for at in range(0, len(slots), PART_ROWS):
                writer.add_hashes(low[at : at + PART_ROWS], high[at : at + PART_ROWS])
                writer.add_keys(self.keys(slots[at : at + PART_ROWS]))
            counts.append(len(slots))
        return writer.finish(self.reading, list(self.files.values()), counts)


def open_index(folder: PartFolder, parts: Sequence[Part]) -> LineIndex:
    """The index that lies in these parts.

    Raises
    ------
    StoreError
        ``store-damaged``: a part is missing, or not as it was written.
    """
    reading, base, files = read_head(folder, parts[0])
    layers = []
    for part in parts[1 + base :]:
        table = read_batch(folder.store, part, None)
        layers.append(_Layer(table.drop_columns([SLOT]), table.column(SLOT).to_numpy(), part))
    return LineIndex(folder, reading, {file.name: file for file in files}, parts[1 : 1 + base], layers)


def _keys(rows: pa.Table) -> pa.Table:
    return rows.select([name for name in rows.column_names if name not in (SLOT, LOW, HIGH)])


class LineIndexOnTheWay:
    """Writes the index of a source's version while it is read whole; nothing where its records were not hashed."""

    def __init__(self, spec: IntakeSpec, opened: Opened, folder: PartFolder) -> None:
        self._spec = spec
        self._opened = opened
        self._writer = LineIndexWriter(folder)

    def add(self, rows: pa.Table) -> None:
        """Take the next rows in; the hashes of their records were gathered before."""
        hashes = self._opened.hashes
        if hashes is not None and hashes.is_whole:
            self._writer.add_hashes(*hashes.take())
            self._writer.add_keys(rows.select(self._opened.schema.key))

    def finish(self) -> tuple[Part, ...]:
        """The parts of the index, or none."""
        hashes = self._opened.hashes
        if hashes is None or not hashes.is_whole:
            return ()
        self._writer.add_hashes(*hashes.take())
        files = [
            FileLines(file.name, file.digest, names, 0, ())
            for file, names in zip(self._spec.files, self._opened.headers, strict=True)
        ]
        return self._writer.finish(reading_of(self._spec, self._opened.schema), files, hashes.counts)
