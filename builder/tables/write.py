"""Writing a table into the store: parts of bounded size, digests, a manifest; in bounded memory.

Decides the layout: keyed tables sorted by key in parts of disjoint ranges, unkeyed ones in the order they came. Refuses
null and duplicate keys. Never changes a value: `tables.arrow.conform` comes first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from builder.errors import BuilderError
from builder.store.disk import before, remove, writing
from builder.store.manifest import Layer, Manifest, Part, table_digest
from builder.store.parts import PartFolder, inlined
from builder.tables.arrow import arrow_schema
from builder.tables.cells import hash_rows
from builder.tables.layers import part_source
from builder.tables.order import KeyValue, is_ascending, key_at, refuse_duplicates, refuse_null_keys
from builder.tables.schema import Schema
from builder.tables.sorting import ROW, Sorter

PART_BYTES = 128 << 20
PART_ROWS = 1 << 20
RUN_BYTES = 192 << 20
_GROUP_ROWS = 128 << 10
_PARQUET: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 1,
    "row_group_size": _GROUP_ROWS,
    "dictionary_pagesize_limit": 128 << 10,  # Arrow's 1 MB costs a third more time and a sixth more bytes
    "write_page_checksum": True,
}
_MOST_SQUEEZED = 8  # a table of more bytes than this many times the allowance is not tried as a small part
_SLACK = 0.25  # a sorted range a little over one part stays one part


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
        self._arrow_schema = arrow_schema(schema)
        self._part_bytes = part_bytes or PART_BYTES
        self._part_rows = part_rows or PART_ROWS
        self._describe_row = describe_row or (lambda row: f"row {row}")
        self._new_sorter = partial(
            Sorter,
            schema.key,
            scratch=scratch,
            run_bytes=run_bytes or RUN_BYTES,
            part_bytes=self._part_bytes,
            part_rows=self._part_rows,
        )
        self._sorter: Sorter | None = None
        self._last: KeyValue | None = None
        self._appended = 0
        self._pending: list[pa.Table] = []
        self._pending_bytes = 0
        self._parts: list[Part] = []
        self._written = 0
        self._sums = dict.fromkeys(schema.names, 0)

    def append(self, table: pa.Table) -> None:
        """Take the next rows in.

        Raises
        ------
        DataError
            ``key-null``.
        """
        refuse_null_keys(table, self._schema.key, self._appended, self._describe_row)
        for piece in self._pieces(table):
            if self._sorter is None and not self._continues(piece):
                self._begin_sorting()
            self._appended += piece.num_rows
            if self._sorter is None:
                self._pend(piece)
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
                for piece in self._pieces(table.drop_columns([ROW])):
                    self._write_part(piece)
            self._sorter.close()
        elif self._pending:
            self._write_pending()
        columns = {name: f"{value:032x}" for name, value in self._sums.items()}
        return Manifest(
            kind="table",
            digest=table_digest(self._schema, self._written, columns),
            layers=(Layer(tuple(self._parts)),),
            rows=self._written,
            bytes=sum(part.bytes for part in self._parts),
            schema=self._schema,
            columns=columns,
        )

    def abort(self) -> None:
        """Remove all that was written."""
        if self._sorter is not None:
            self._sorter.close()
        self._pending.clear()
        self._drop_parts()

    def _pieces(self, table: pa.Table) -> Iterator[pa.Table]:
        """The table in equal slices of about one part."""
        if table.num_rows == 0:
            return
        parts = max(table.num_rows / self._part_rows, table.nbytes / self._part_bytes)
        rows = math.ceil(table.num_rows / max(1, math.ceil(parts - _SLACK)))
        for start in range(0, table.num_rows, rows):
            yield table.slice(start, rows)

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
        for part in self._parts:
            with pq.ParquetFile(part_source(self._folder.store, part)) as file:
                for batch in file.iter_batches(_GROUP_ROWS):
                    self._sorter.add(pa.Table.from_batches([batch]).cast(self._arrow_schema))
        self._drop_parts()
        for table in self._pending:
            self._sorter.add(table)
        self._pending.clear()

    def _pend(self, piece: pa.Table) -> None:
        rows = sum(t.num_rows for t in self._pending) + piece.num_rows
        size = self._pending_bytes + piece.nbytes
        if self._pending and (rows > self._part_rows or size > self._part_bytes):
            self._write_pending()
            size = piece.nbytes
        self._pending.append(piece)
        self._pending_bytes = size

    def _write_pending(self) -> None:
        table = pa.concat_tables(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        self._write_part(table)

    def _write_part(self, table: pa.Table) -> None:
        hashes, sums = hash_rows(table, self._schema, self._written)
        row_hashes = hashes.astype(np.dtype("<u8"), copy=False).tobytes()
        self._parts.append(self._small_part(table, row_hashes) or self._file_part(table, row_hashes))
        self._written += table.num_rows
        for name, value in sums.items():
            self._sums[name] = (self._sums[name] + value) % (1 << 128)

    def _small_part(self, table: pa.Table, row_hashes: bytes) -> Part | None:
        """A part without a file, as long as all that have none are small together; None: it is too large."""
        used = sum(p.bytes for p in self._parts if p.content is not None)
        if not self._folder.is_small(used + table.nbytes // _MOST_SQUEEZED):
            return None
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer, **_PARQUET)
        content = buffer.getvalue().to_pybytes() + row_hashes
        return inlined(content, rows=table.num_rows) if self._folder.is_small(used + len(content)) else None

    def _file_part(self, table: pa.Table, row_hashes: bytes) -> Part:
        """A part in a file of its own, with the row hashes beside it."""
        with writing(self._folder.store):
            relative, path = self._folder.fresh(".parquet")
        rows_path = path.with_name(path.name + ".rows")
        try:
            before("write", path)
            with writing(path):
                pq.write_table(table, path, **_PARQUET)
                rows_path.write_bytes(row_hashes)
                size = self._folder.seal(path, rows_path)
        except BuilderError:
            path.unlink(missing_ok=True)
            rows_path.unlink(missing_ok=True)
            raise
        return Part(relative, table.num_rows, size)

    def _drop_parts(self) -> None:
        for part in self._parts:
            if part.content is not None:
                continue
            path = self._folder.path(part.path)
            remove(path)
            remove(path.with_name(path.name + ".rows"))
        self._parts.clear()
        self._written = 0
        self._sums = dict.fromkeys(self._schema.names, 0)
