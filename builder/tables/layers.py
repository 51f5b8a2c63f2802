"""Layers: reading a version as its parts and the layers over them make it.

Decides that a later layer wins, key by key. Goes through the oldest layer part by part, and through the later ones
beside it, so that memory is bounded by a part of each. Readers of tables go through `tables.read`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa

from builder.errors import error
from builder.store.manifest import Layer, Manifest, Part
from builder.tables.arrow import arrow_schema
from builder.tables.batches import HIGH, LOW, map_batch, open_mapped, read_batch
from builder.tables.keys import Keys, overlaid, woven
from builder.tables.order import Key
from builder.tables.parquet_parts import is_parquet
from builder.tables.schema import Schema

BATCH_ROWS = 128 << 10
_AT = "\0at"

Names = tuple[str, ...]


def table_schema(manifest: Manifest) -> Schema:
    """The schema of a table's manifest."""
    if manifest.schema is None:
        raise error("internal", f"an output of kind '{manifest.kind}' was read as a table")
    return manifest.schema


def with_hashes(columns: Names, hashed: bool) -> Names:
    """Names of columns to read, with those of the row hashes where they are wanted."""
    return (*columns, LOW, HIGH) if hashed else columns


def fields_of(schema: Schema, names: Names) -> pa.Schema:
    """The Arrow schema of these columns, `LOW` and `HIGH` among them."""
    plain = arrow_schema(schema.select(n for n in names if n not in (LOW, HIGH)))
    hashes = [pa.field(n, pa.uint64(), nullable=False) for n in (LOW, HIGH) if n in names]
    return pa.schema([*plain, *hashes], metadata=plain.metadata)


def read_merged(store: Path, manifest: Manifest, columns: Names, *, hashed: bool = False) -> pa.Table:
    """These columns of a version in row order; with `hashed` each row's hash too, in the columns `LOW` and `HIGH`.

    Raises
    ------
    StoreError
        ``store-damaged``: a part is missing or cannot be read.
    """
    names = with_hashes(columns, hashed)
    pieces = list(merged_parts(store, manifest, names))
    fields = fields_of(table_schema(manifest), names)
    return pa.concat_tables([p.cast(fields) for p in pieces]) if pieces else fields.empty_table()


def merged_parts(store: Path, manifest: Manifest, names: Names, span: range | None = None) -> Iterator[pa.Table]:
    """These columns of a version in row order: part by part where there is one layer, else in smaller pieces.

    `span` chooses, by number, parts of the oldest layer that follow one another: only the rows that stand in these, or
    that later layers put between them. The spans of all parts together give the whole.

    Raises
    ------
    StoreError
        ``store-damaged``.
    """
    schema = table_schema(manifest)
    oldest, *later = manifest.layers or (Layer(()),)
    span = range(len(oldest.upserts)) if span is None else span
    chosen = oldest.upserts[span.start : span.stop]
    if not later:
        yield from (read_batch(store, part, names) for part in chosen)
        return
    if not schema.key:
        raise error("internal", "an unkeyed table has several layers")
    needed = (*names, *(k for k in schema.key if k not in names))
    runs = [(_Run(store, la.upserts, schema, needed), _Run(store, la.deletes, schema, schema.key)) for la in later]
    if span.start:
        first = Keys.of(map_batch(store, chosen[0]).slice(0, 1), schema.key)
        for run in chain.from_iterable(runs):
            run.skip(first)
    after = oldest.upserts[span.stop] if span.stop < len(oldest.upserts) else None
    for rows, bound in _bounded(store, chosen, after, schema, needed):
        changes = [(upserts.below(bound), deletes.below(bound)) for upserts, deletes in runs]
        yield _changed(rows, changes, schema.key).select(names)


def look_over(store: Path, manifest: Manifest, names: Names) -> Iterator[pa.Table]:
    """These columns of a version, for who looks at each piece once and keeps nothing of it: as `merged_parts`.

    Where there is one layer the pieces are mapped files, whose checksums hold: nothing is copied.

    Raises
    ------
    StoreError
        ``store-damaged``.
    """
    if len(manifest.layers) != 1:
        yield from merged_parts(store, manifest, names)
        return
    for part in manifest.layers[0].upserts:
        if is_parquet(part):
            yield read_batch(store, part, names)
            continue
        opened = open_mapped(store, part)
        opened.expect(names, part.rows)
        opened.check(names)
        yield pa.Table.from_batches([opened.batch.select(list(names))])
        opened.release()


def _bounded(
    store: Path, parts: Sequence[Part], after: Part | None, schema: Schema, names: Names
) -> Iterator[tuple[pa.Table, Keys | None]]:
    """Pieces of these parts, each with the first key that is not before the next piece; at least one piece."""
    if not parts:
        yield fields_of(schema, names).empty_table(), None
        return
    for part, following in zip(parts, [*parts[1:], after], strict=True):
        rows = read_batch(store, part, names)
        for start in range(0, part.rows, BATCH_ROWS):
            bound: pa.Table | pa.RecordBatch = rows.slice(start + BATCH_ROWS, 1)
            if not bound.num_rows and following is not None:
                bound = map_batch(store, following).slice(0, 1)
            yield rows.slice(start, BATCH_ROWS), Keys.of(bound, schema.key) if bound.num_rows else None
        del rows  # before the next part is read


class _Run:
    """The sorted rows of some parts, read once from front to back."""

    def __init__(self, store: Path, parts: Sequence[Part], schema: Schema, names: Names) -> None:
        self._store = store
        self._left = list(reversed(parts))
        self._names = names
        self._key = schema.key
        self._rest = fields_of(schema, names).empty_table()

    def skip(self, bound: Keys) -> None:
        """Leave out the rows whose key is below the bound, a single one; parts that hold only such are not read."""
        while self._left:
            batch = map_batch(self._store, self._left[-1])
            last = Keys.of(batch.slice(batch.num_rows - 1), self._key)
            if last.ranges(bound)[0][0] == 0:  # where the bound would stand: not after the last row
                break
            self._left.pop()
        self.below(bound)

    def below(self, bound: Keys | None) -> pa.Table:
        """The rows not yet given whose key is below the bound, a single one; None: all of them."""
        given = [self._rest.slice(0, 0)]
        while self._rest.num_rows or self._left:
            if not self._rest.num_rows:
                self._rest = read_batch(self._store, self._left.pop(), self._names)
            count = self._rest.num_rows
            if bound is not None:
                count = int(Keys.of(self._rest, self._key).ranges(bound)[0][0])
            given.append(self._rest.slice(0, count))
            self._rest = self._rest.slice(count)
            if self._rest.num_rows:
                break
        filled = [g for g in given if g.num_rows] or given[:1]
        return filled[0] if len(filled) == 1 else pa.concat_tables(filled).combine_chunks()


def _changed(rows: pa.Table, changes: Sequence[tuple[pa.Table, pa.Table]], key: Key) -> pa.Table:
    """The rows after these layers' upserts and deletes, the oldest layer first.

    Keys that the rows hold are found by one search for each layer; only those that they do not hold are compared among
    the layers.
    """
    own = Keys.of(rows, key)
    tables, chosen, total = [rows], np.arange(rows.num_rows), rows.num_rows
    fresh = pa.schema([*(rows.schema.field(k) for k in key), pa.field(_AT, pa.int64())]).empty_table()
    for upserts, deletes in changes:
        for table, is_upsert in ((deletes, False), (upserts, True)):
            if table.num_rows == 0:
                continue
            at = np.arange(total, total + table.num_rows) if is_upsert else np.full(table.num_rows, -1)
            low, high = own.ranges(Keys.of(table, key))
            is_held = high > low
            if is_held.all():
                chosen[low] = at
            else:
                chosen[low[is_held]] = at[is_held]
                new = table.select(key).append_column(_AT, pa.array(at)).filter(pa.array(~is_held))
                fresh = overlaid(fresh, new.cast(fresh.schema), key)
            if is_upsert:
                tables.append(table.select(rows.column_names))
                total += table.num_rows
    if fresh.num_rows:
        low, _ = own.ranges(Keys.of(fresh, key))
        chosen = woven(chosen, low, low, fresh.column(_AT).to_numpy())
    is_left = chosen >= 0
    if not is_left.all():
        chosen = chosen[is_left]
    elif len(tables) == 1 and len(chosen) == rows.num_rows:
        return rows
    return pa.concat_tables(tables).combine_chunks().take(pa.array(chosen))
