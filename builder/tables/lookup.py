"""Rows of a version by key, or by the values of some columns, without reading the rest of it.

Decides which row is meant where layers hold several of one key: the newest, none where the newest mention deletes it.
Finds by searching the mapped key columns of each part; what it finds is a position, read only by `take`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from builder.errors import error
from builder.store.manifest import Layer, Manifest, Part
from builder.tables.arrow import arrow_schema
from builder.tables.batches import HIGH, Mapped, damaged, open_mapped, read_batch, words_of
from builder.tables.cells import differ, hash_rows, hash_values
from builder.tables.keys import Keys, Positions
from builder.tables.layers import fields_of, table_schema, with_hashes
from builder.tables.schema import Schema

_TOUCHED_BYTES = 6 << 10
"""To touch a page of a mapped column costs as much as a look at so many bytes of columns that are read whole; to touch
all of them as much as a look at half."""

_HASHED_CELL_BYTES, _HASHED = 128, 5
"""To hash a cell costs as much as a look at so many bytes, and at so many times its own."""

Marks = npt.NDArray[np.bool_]
Hit = tuple[Mapped, Positions, Positions]  # a part, which keys, which of the part's rows


@dataclass(frozen=True, slots=True)
class Located:
    """Where rows lie, in a version's row order: for each a part and a row in it; -1 for a key that no row holds."""

    schema: Schema
    opened: tuple[Mapped, ...]
    part: Positions
    row: Positions

    @property
    def is_found(self) -> Marks:
        """For each key that was located, whether a row holds it."""
        found: Marks = self.part >= 0
        return found

    def only(self, marks: Marks | Positions) -> Located:
        """Some of these, by marks or by positions among them."""
        return Located(self.schema, self.opened, self.part[marks], self.row[marks])


def locate(store: Path, manifest: Manifest, keys: pa.Table) -> Located:
    """Where the row of each key lies; the keys are all different and in key order, without nulls.

    Raises
    ------
    StoreError
        ``store-damaged``: a part is missing, or another than was written.
    """
    schema = table_schema(manifest)
    keys = _conformed(keys, schema, schema.key)
    found = _Found(schema, keys.num_rows)
    left = np.arange(keys.num_rows)
    for layer in reversed(manifest.layers):
        sought = keys if len(left) == keys.num_rows else keys.take(pa.array(left))
        is_open = np.ones(len(left), bool)
        for opened, which, rows in _hits(store, layer.upserts, sought, schema):
            found.put(opened, left[which], rows)
            is_open[which] = False
        for _, which, _ in _hits(store, layer.deletes, sought, schema):
            is_open[which] = False
        left = left[is_open]
        if len(left) == 0:
            break
    return found.located()


def locate_prefix(store: Path, manifest: Manifest, keys: pa.Table) -> Located:
    """Where the rows lie whose first key columns hold one of these keys, which are all different and in key order.

    Raises
    ------
    StoreError
        ``store-damaged``, as `locate`.
    """
    schema = table_schema(manifest)
    names = tuple(keys.column_names)
    if names != schema.key[: len(names)]:
        raise error("internal", f"{names} are not the first columns of the key")
    sought = _conformed(keys, schema, names)
    return _newest(store, manifest, [list(_hits(store, layer.upserts, sought, schema)) for layer in manifest.layers])


def scan(store: Path, manifest: Manifest, values: pa.Table) -> Located:
    """Where the rows lie that hold one of these rows of values in their columns; null is equal to null.

    Raises
    ------
    StoreError
        ``store-damaged``.
    """
    schema = table_schema(manifest)
    names = tuple(values.column_names)
    wanted = _conformed(values, schema, names)
    hits = [[hit for part in layer.upserts for hit in _matching(store, part, wanted)] for layer in manifest.layers]
    return _newest(store, manifest, hits)


def at_positions(store: Path, manifest: Manifest, positions: Positions) -> Located:
    """Where the rows at these ascending positions lie, of a version of one layer."""
    found = _Found(table_schema(manifest), len(positions))
    start = 0
    for part in manifest.layers[0].upserts if manifest.layers else ():
        first, last = np.searchsorted(positions, (start, start + part.rows))
        if last > first:
            found.put(open_mapped(store, part), np.arange(first, last), positions[first:last] - start)
        start += part.rows
    return found.located()


def take(located: Located, columns: Sequence[str], *, hashed: bool = False) -> pa.Table:
    """These columns of the rows that were found, in their order; with `hashed` also `LOW` and `HIGH`.

    They are as they were written, and so are the keys that they were found by: of few rows of a part all cells are
    read, and must hash to what stands beside them; of many the columns as a whole must hold their checksums.

    Raises
    ------
    StoreError
        ``store-damaged``: they are not.
    """
    names = with_hashes(tuple(columns), hashed)
    fields = fields_of(located.schema, names)
    pieces, order = [], []
    for number, at in _by_part(located.part):
        opened = located.opened[number]
        pieces.append(
            pa.Table.from_arrays(_checked_rows(opened, located.row[at], names, located.schema), schema=fields)
        )
        opened.release()
        order.append(at)
    if not pieces:
        return fields.empty_table()
    table, ranks = pa.concat_tables(pieces), np.concatenate(order)
    if len(pieces) > 1 and (np.diff(ranks) < 0).any():
        return table.combine_chunks().take(pa.array(np.argsort(ranks)))
    return table


def _by_part(part: Positions) -> Iterator[tuple[int, Positions]]:
    """Each part that holds rows which were found, and which they are; the parts mostly stand in order already."""
    order = np.arange(len(part))
    if (part[1:] < part[:-1]).any():
        order = np.argsort(part, kind="stable")
        part = part[order]
    starts = np.flatnonzero(np.diff(part, prepend=-1))
    for start, stop in zip(starts, np.append(starts, len(part))[1:], strict=True):
        yield int(part[start]), order[start:stop]


class _Found:
    """Positions as they are found."""

    def __init__(self, schema: Schema, count: int) -> None:
        self._schema = schema
        self._opened: list[Mapped] = []
        self._part = np.full(count, -1)
        self._row = np.full(count, -1)

    def put(self, opened: Mapped, which: Positions, rows: Positions) -> None:
        self._part[which] = len(self._opened)
        self._row[which] = rows
        self._opened.append(opened)

    def located(self) -> Located:
        return Located(self._schema, tuple(self._opened), self._part, self._row)


def _conformed(keys: pa.Table, schema: Schema, names: tuple[str, ...]) -> pa.Table:
    return keys.select(names).cast(arrow_schema(schema.select(names))).combine_chunks()


def _hits(store: Path, parts: Sequence[Part], sought: pa.Table, schema: Schema) -> Iterator[Hit]:
    """For each part that holds some of what is sought: which, in which rows. A key may be sought by its beginning.

    The rows between which a key that is not there would stand have to be as they were written: so it is missing.
    """
    names = tuple(sought.column_names)
    if sought.num_rows == 0:
        return
    keys, is_beginning = Keys.of(sought, names), names != schema.key
    before: Mapped | None = None
    done = 0
    for part in parts:
        opened = open_mapped(store, part)
        ends = opened.batch.select(list(names)).take(pa.array([0, part.rows - 1]))
        first, last = (Keys.of(ends.slice(i, 1), names) for i in (0, 1))
        start, stop = int(keys.ranges(first)[0][0]), int(keys.ranges(last)[1][0])
        if start > done or is_beginning:  # something would stand before this part
            _prove_ends(before, opened, schema)
        before, done = opened, max(stop, done)
        if stop > start:
            within = Keys.of(sought.slice(start, stop - start), names)
            opened.expect(names, stop - start)
            low, high = Keys.of(opened.batch, names).ranges(within)
            counts = high - low
            is_open = counts != 1 if not is_beginning else np.ones(len(counts), bool)
            _prove(opened, np.concatenate([low[is_open] - 1, high[is_open]]), schema)
            opened.release()
            if counts.max(initial=0) == 1:
                which = np.flatnonzero(counts)
                yield opened, start + which, low[which]
            elif counts.any():
                which = np.repeat(np.arange(len(counts)), counts)
                ahead = np.cumsum(counts) - counts
                yield opened, start + which, np.arange(len(which)) - ahead[which] + low[which]
    if done < sought.num_rows or is_beginning:
        _prove_ends(before, None, schema)


def _prove_ends(one: Mapped | None, other: Mapped | None, schema: Schema) -> None:
    """Look at the last row of a part and the first of the next."""
    if one is not None:
        _prove(one, np.array([one.batch.num_rows - 1]), schema)
    if other is not None:
        _prove(other, np.array([0]), schema)


def _prove(opened: Mapped, rows: Positions, schema: Schema) -> None:
    """Look at rows of a part, as far as it has them: they have to be as they were written."""
    rows = np.unique(rows[(rows >= 0) & (rows < opened.batch.num_rows)])
    if not len(rows):
        return
    if HIGH in opened.batch.schema.names:
        _checked_rows(opened, rows, (), schema)
    else:  # keys alone, which were deleted
        opened.check(opened.batch.schema.names)


def _matching(store: Path, part: Part, wanted: pa.Table) -> Iterator[Hit]:
    """The rows of a part that hold one of the wanted rows in its columns."""
    table = read_batch(store, part, wanted.column_names)
    marks = np.ones(part.rows, bool)
    for name in wanted.column_names:
        marks &= pc.is_in(table.column(name), wanted.column(name).unique()).to_numpy()
    rows = np.flatnonzero(marks)
    if len(wanted.column_names) > 1 and len(rows):
        own, other = (hash_values(t) for t in (table.take(pa.array(rows)), wanted))
        kind = [("low", np.uint64), ("high", np.uint64)]
        rows = rows[np.isin(own.view(kind).ravel(), other.view(kind).ravel())]
    if len(rows):
        yield open_mapped(store, part), rows, rows


def _newest(store: Path, manifest: Manifest, hits: Sequence[Sequence[Hit]]) -> Located:
    """Of the rows found in each layer those that no later layer replaces or deletes, in row order."""
    schema = table_schema(manifest)
    kept: list[tuple[Mapped, Positions]] = []
    tables = [arrow_schema(schema.select(schema.key)).empty_table()]
    for number, found in enumerate(hits):
        for opened, _, rows in found:
            rows = np.sort(rows)
            if manifest.layers[number + 1 :]:
                keys = pa.table(_rows(opened, rows, schema.key), schema=tables[0].schema)
                rows_alive = _is_alive(store, manifest.layers[number + 1 :], keys, schema)
                rows = rows[rows_alive]
            if len(manifest.layers) > 1:
                tables.append(pa.table(_rows(opened, rows, schema.key), schema=tables[0].schema))
            kept.append((opened, rows))
    part = np.repeat(np.arange(len(kept)), [len(rows) for _, rows in kept])
    row = np.concatenate([np.empty(0, np.int64), *(rows for _, rows in kept)])
    if len(manifest.layers) > 1:
        order = pc.sort_indices(pa.concat_tables(tables), [(name, "ascending") for name in schema.key]).to_numpy()
        part, row = part[order], row[order]
    return Located(schema, tuple(opened for opened, _ in kept), part, row)


def _is_alive(store: Path, later: Sequence[Layer], keys: pa.Table, schema: Schema) -> Marks:
    """Whether no later layer mentions each key."""
    marks = np.ones(keys.num_rows, bool)
    for layer in later:
        for parts in (layer.upserts, layer.deletes):
            for _, which, _ in _hits(store, parts, keys, schema):
                marks[which] = False
    return marks


def _checked_rows(opened: Mapped, rows: Positions, names: Sequence[str], schema: Schema) -> list[pa.Array]:
    """These columns of some rows of a part, copied, after the check that costs less."""
    if not opened.sums:  # all its bytes were checked
        return _rows(opened, rows, names)
    needed = tuple(dict.fromkeys((*names, *schema.key)))
    if schema.key and _are_few(opened.batch, len(rows), needed):  # without a key a hash has the row's position in it
        every = with_hashes(schema.names, True)
        opened.expect(every, len(rows))
        whole = pa.Table.from_arrays(_rows(opened, rows, every), schema=fields_of(schema, every))
        if differ(words_of(whole), hash_rows(whole.select(schema.names), schema)[0]).any():
            raise damaged(opened.path, ValueError("rows are not as they were written"))
        return [whole.column(name).combine_chunks() for name in names]
    opened.expect(needed, opened.batch.num_rows)
    opened.check(needed)
    return _rows(opened, rows, names)


def _are_few(batch: pa.RecordBatch, count: int, needed: Sequence[str]) -> bool:
    """Whether to read so many rows whole, and to hash them, costs less than a look at the whole of some columns."""
    sizes = [column.nbytes for column in batch.columns]
    touched = sum(min(count * _TOUCHED_BYTES, size // 2) for size in sizes)
    hashed = count * (len(sizes) * _HASHED_CELL_BYTES + _HASHED * sum(sizes) // batch.num_rows)
    return bool(touched + hashed < sum(batch.column(name).nbytes for name in needed))


def _rows(opened: Mapped, rows: Positions, names: Sequence[str]) -> list[pa.Array]:
    """These columns of some rows of a part, copied."""
    is_run = len(rows) > 0 and rows[-1] - rows[0] == len(rows) - 1 and bool((np.diff(rows) == 1).all())
    at = slice(rows[0], rows[-1] + 1) if is_run else rows
    indices = pa.array(rows)
    arrays = []
    for name in names:
        column = opened.batch.column(name)
        if pa.types.is_string(column.type) or pa.types.is_binary(column.type):
            _check_texts(opened, column, at)
        if is_run:
            run = column.slice(rows[0], len(rows))
            arrays.append(pa.concat_arrays([run, run.slice(0, 0)]))
        else:
            arrays.append(pc.take(column, indices, boundscheck=False))
    return arrays


def _check_texts(opened: Mapped, column: pa.Array, at: Positions | slice) -> None:
    """Refuse texts that would be read from outside of their buffer: no checksum was looked at."""
    _, offsets, data = column.buffers()
    ends = np.frombuffer(offsets, np.int32)[column.offset :]
    if len(ends) <= len(column):
        raise damaged(opened.path, ValueError("not all of its texts have an end"))
    start, stop = ends[at], ends[1:][at]
    if start.min(initial=0) < 0 or stop.max(initial=0) > (data.size if data else 0) or (stop < start).any():
        raise damaged(opened.path, ValueError("texts lie outside of it"))
