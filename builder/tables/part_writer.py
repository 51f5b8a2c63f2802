"""Parts of bounded size from rows in order.

Decides where one part ends and the next begins, and which get no file. Never sorts, never hashes; never opens a part.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import pyarrow as pa

from builder.store.disk import remove
from builder.store.manifest import Part
from builder.store.parts import PartFolder, inlined
from builder.tables.batches import encoded, write_batch

PART_BYTES = 128 << 20
PART_ROWS = 1 << 20
LAYER_PART_BYTES = 16 << 20
"""Parts of layers over a table are smaller than its own: a reader holds one of each layer."""
_MOST_SQUEEZED = 8  # rows of more bytes than this many times the allowance are not tried as a small part
_SLACK = 0.25  # a range a little over one part stays one part


class PartWriter:
    """Writes rows that come in order into parts, which stay as long as `drop` is not called.

    Parameters
    ----------
    folder
        Where parts go.
    part_bytes, part_rows
        A part is closed at either.
    """

    def __init__(self, folder: PartFolder, *, part_bytes: int = PART_BYTES, part_rows: int = PART_ROWS) -> None:
        self._folder = folder
        self._part_bytes = part_bytes
        self._part_rows = part_rows
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self._pending_bytes = 0
        self._parts: list[Part] = []

    @property
    def parts(self) -> tuple[Part, ...]:
        """Those that are written."""
        return tuple(self._parts)

    def add(self, table: pa.Table) -> None:
        """Take the next rows in."""
        for piece in self.pieces(table):
            rows, size = self._pending_rows + piece.num_rows, self._pending_bytes + piece.nbytes
            if self._pending and (rows > self._part_rows or size > self._part_bytes):
                self._write()
                rows, size = piece.num_rows, piece.nbytes
            self._pending.append(piece)
            self._pending_rows, self._pending_bytes = rows, size

    def finish(self) -> tuple[Part, ...]:
        """All parts, safe on the disk."""
        if self._pending:
            self._write()
        return self.parts

    def pieces(self, table: pa.Table) -> Iterator[pa.Table]:
        """The table in equal slices of about one part."""
        if table.num_rows == 0:
            return
        parts = max(table.num_rows / self._part_rows, table.nbytes / self._part_bytes)
        rows = math.ceil(table.num_rows / max(1, math.ceil(parts - _SLACK)))
        for start in range(0, table.num_rows, rows):
            yield table.slice(start, rows)

    def take_pending(self) -> list[pa.Table]:
        """The rows that are in no part yet, which are forgotten here."""
        pending, self._pending = self._pending, []
        self._pending_rows = self._pending_bytes = 0
        return pending

    def drop(self) -> None:
        """Remove all that was written."""
        self.take_pending()
        for part in self._parts:
            if part.content is None:
                remove(self._folder.path(part.path))
        self._parts.clear()

    def _write(self) -> None:
        table = pa.concat_tables(self.take_pending())
        self._parts.append(self._small(table) or write_batch(table, self._folder))

    def _small(self, table: pa.Table) -> Part | None:
        """A part without a file, as long as all that have none are small together; None: it is too large."""
        used = sum(p.bytes for p in self._parts if p.content is not None)
        if not self._folder.is_small(used + table.nbytes // _MOST_SQUEEZED):
            return None
        content = encoded(table)
        return inlined(content, rows=table.num_rows) if self._folder.is_small(used + len(content)) else None
