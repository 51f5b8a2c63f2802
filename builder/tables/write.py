"""Writing a table into the store: parts of bounded size, digests, a manifest; in bounded memory.

Decides the layout: keyed tables sorted by key in parts of disjoint ranges, unkeyed ones in the order they came. Refuses
null and duplicate keys. Never changes a value: `tables.arrow.conform` comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import pyarrow as pa

from builder.nouns import replace
from builder.store.manifest import Layer, Manifest, sum_text, table_digest
from builder.store.parts import PartFolder, drop_parts
from builder.tables.arrow import arrow_schema
from builder.tables.batches import HIGH, LOW, hashed_table, map_batch, read_batch
from builder.tables.cells import hash_rows
from builder.tables.layers import table_schema
from builder.tables.order import Key, KeyValue, is_ascending, key_at, refuse_duplicates, refuse_null_keys
from builder.tables.part_writer import PART_BYTES, PART_ROWS, PartWriter
from builder.tables.schema import Schema
from builder.tables.sorting import ROW, Sorter

RUN_BYTES = 192 << 20
WORTH_BYTES = 4 << 20
"""Parts that are smaller on the average are put together into larger ones: it costs little, and each read less."""


def write_table(
    table: pa.Table,
    schema: Schema,
    folder: PartFolder,
    *,
    scratch: Path,
    describe_row: Callable[[int], str] | None = None,
) -> Manifest:
    """The manifest of a conformed table, written into the store.

    Raises
    ------
    DataError
        ``key-null``, ``key-duplicate``.
    """
    writer = TableWriter(folder, schema, scratch=scratch, describe_row=describe_row)
    try:
        writer.append(table)
        return writer.finish()
    except BaseException:
        writer.abort()
        raise


def put_together(pieces: Sequence[Manifest], folder: PartFolder, *, scratch: Path) -> Manifest:
    """One table of the rows of several, at least one, all of one schema and with a key.

    Their parts stay where they are if each one's keys are all before the next one's and they are worth a file each;
    else the rows are written anew, in order, and the pieces' parts are removed.

    Raises
    ------
    DataError
        ``key-duplicate``.
    """
    held = [piece for piece in pieces if piece.rows]
    if not held:
        return pieces[0]
    schema = table_schema(held[0])
    ends = [_ends(folder.store, piece, schema.key) for piece in held]
    is_large = sum(piece.bytes for piece in held) >= WORTH_BYTES * sum(len(piece.parts) for piece in held)
    if is_large and all(last < first for (_, last), (first, _) in pairwise(ends)):
        sums = {n: sum(int(piece.columns[n], 16) for piece in held) for n in schema.names}
        columns = {name: sum_text(value) for name, value in sums.items()}
        total = sum_text(sum(int(piece.total, 16) for piece in held))
        rows, parts = sum(piece.rows for piece in held), tuple(p for piece in held for p in piece.parts)
        return replace(
            held[0],
            digest=table_digest(schema, rows, total),
            total=total,
            layers=(Layer(parts),),
            rows=rows,
            bytes=sum(part.bytes for part in parts),
            columns=columns,
            nulls={n: sum(piece.nulls[n] for piece in held) for n in schema.names},
        )
    writer = TableWriter(folder, schema, scratch=scratch)
    try:
        for piece in held:
            for part in piece.parts:
                writer.append(read_batch(folder.store, part, schema.names).cast(arrow_schema(schema)))
        whole = writer.finish()
    except BaseException:
        writer.abort()
        raise
    for piece in held:
        drop_parts(folder.store, piece, whole)
    return whole


def _ends(store: Path, piece: Manifest, key: Key) -> tuple[KeyValue, KeyValue]:
    """The first and the last key of a table of one layer."""
    parts = piece.layers[0].upserts
    return key_at(map_batch(store, parts[0]), key, 0), key_at(map_batch(store, parts[-1]), key, parts[-1].rows - 1)


class TableWriter:
    """Writes one table from batches of any size and order.

    Rows that come in key order go straight into parts. The first row out of order moves what there is into a `Sorter`.

    Parameters
    ----------
    folder
        Where parts go.
    schema
        What every batch conforms to.
    scratch
        A folder for sorted runs; created when it is needed.
    part_bytes, part_rows
        A part is closed at either; None: at `PART_BYTES`, `PART_ROWS`.
    run_bytes
        How much is sorted in memory at once; None: `RUN_BYTES`.
    describe_row
        Where a row, counted from 0 over all batches, stands in the input: ``data/a.csv:17``.
    """

    def __init__(
        self,
        folder: PartFolder,
        schema: Schema,
        *,
        scratch: Path,
        part_bytes: int | None = None,
        part_rows: int | None = None,
        run_bytes: int | None = None,
        describe_row: Callable[[int], str] | None = None,
    ) -> None:
        self._folder = folder
        self._schema = schema
        self._describe_row = describe_row or (lambda row: f"row {row}")
        bounds = {"part_bytes": part_bytes or PART_BYTES, "part_rows": part_rows or PART_ROWS}
        self._parts = PartWriter(folder, **bounds)
        self._new_sorter = partial(Sorter, schema.key, scratch=scratch, run_bytes=run_bytes or RUN_BYTES, **bounds)
        self._sorter: Sorter | None = None
        self._last: KeyValue | None = None
        self._appended = 0
        self._written = 0
        self._sums = dict.fromkeys(schema.names, 0)
        self._nulls = dict.fromkeys(schema.names, 0)

    def append(self, table: pa.Table) -> None:
        """Take the next rows in.

        Raises
        ------
        DataError
            ``key-null``.
        """
        refuse_null_keys(table, self._schema.key, self._appended, self._describe_row)
        for piece in self._parts.pieces(table):
            if self._sorter is None and not self._continues(piece):
                self._begin_sorting()
            self._appended += piece.num_rows
            if self._sorter is None:
                self._write(piece)
            else:
                self._sorter.add(piece)

    def finish(self) -> Manifest:
        """The manifest of all rows, whose parts are safe on disk.

        Raises
        ------
        DataError
            ``key-duplicate``.
        """
        if self._sorter is not None:
            for table in self._sorter.sorted():
                refuse_duplicates(table, self._schema.key, table.column(ROW), self._describe_row)
                self._write(table.drop_columns([ROW]))
            self._sorter.close()
        parts = self._parts.finish()
        total = sum_text(sum(self._sums.values()))  # of all cells, and so of all rows
        return Manifest(
            kind="table",
            digest=table_digest(self._schema, self._written, total),
            layers=(Layer(parts),),
            rows=self._written,
            bytes=sum(part.bytes for part in parts),
            schema=self._schema,
            columns={name: sum_text(value) for name, value in self._sums.items()},
            nulls=self._nulls,
            total=total,
        )

    def abort(self) -> None:
        """Remove all that was written."""
        if self._sorter is not None:
            self._sorter.close()
        self._parts.drop()

    def _continues(self, piece: pa.Table) -> bool:
        """Whether the rows go on in key order; an unkeyed table always does."""
        key = self._schema.key
        if not key:
            return True
        if self._last is not None and key_at(piece, key, 0) <= self._last:
            return False
        if not is_ascending(piece, key):
            return False
        self._last = key_at(piece, key, piece.num_rows - 1)
        return True

    def _begin_sorting(self) -> None:
        self._sorter = self._new_sorter()
        plain = arrow_schema(self._schema)
        for part in self._parts.parts:
            self._sorter.add(read_batch(self._folder.store, part, self._schema.names).cast(plain))
        for table in self._parts.take_pending():
            self._sorter.add(table.drop_columns([LOW, HIGH]).cast(plain))
        self._parts.drop()
        self._written = 0
        self._sums = dict.fromkeys(self._schema.names, 0)
        self._nulls = dict.fromkeys(self._schema.names, 0)

    def _write(self, table: pa.Table) -> None:
        """Write rows that come in their place."""
        hashes, sums = hash_rows(table, self._schema, self._written)
        self._parts.add(hashed_table(table, hashes))
        self._written += table.num_rows
        for name, value in sums.items():
            self._sums[name] = (self._sums[name] + value) % (1 << 128)
            self._nulls[name] += table.column(name).null_count
