"""The parts of tables: each one Arrow IPC file of a single record batch, not compressed, or the same bytes inlined.

Decides how rows lie on the disk: columns in the schema's order, then the row hashes as two columns of words. Any row
can be read by its position from a mapped file; a whole column is read with its checksum. The checksums stand in the
file, their digest in the part, so a part is never taken for another. Never interprets a value.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from builder.digests import digest_of
from builder.errors import BuilderError, error
from builder.store.disk import before, writing
from builder.store.manifest import Part
from builder.store.parts import PartFolder, content_of
from builder.tables import parquet_parts
from builder.tables.checksum import checksum, normal

LOW, HIGH = "\0low", "\0high"
"""Columns of a row's hash in tables read with hashes; no stored column has such a name."""

_SUMS = b"sums"
_POPULATE_READ = 22  # MADV_POPULATE_READ, of Linux 5.14 and later; the module does not name it
_CELL_BYTES = 8
_SPARSE_BYTES = 1 << 16  # rows that stand further apart than this, in a column of numbers, are few


def hashed_table(table: pa.Table, hashes: npt.NDArray[np.uint64]) -> pa.Table:
    """The table with its row hashes, an (n, 2) array of (low, high) words, as the columns `LOW` and `HIGH`."""
    for number, name in enumerate((LOW, HIGH)):
        words = pa.array(np.ascontiguousarray(hashes[:, number]))
        table = table.append_column(pa.field(name, pa.uint64(), nullable=False), words)
    return table


def words_of(rows: pa.Table) -> npt.NDArray[np.uint64]:
    """The row hashes of rows that were read with them, as an (n, 2) array of (low, high) words."""
    return np.stack([rows.column(LOW).to_numpy(), rows.column(HIGH).to_numpy()], axis=1)


def write_batch(table: pa.Table, folder: PartFolder) -> Part:
    """A part in a file of its own, safe on the disk.

    Raises
    ------
    StoreError
        ``store-full`` or another where it cannot be written.
    """
    batch, digest = _checked(table)
    with writing(folder.store):
        relative, path = folder.fresh(".arrow")
    try:
        before("write", path)
        with writing(path):
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
                writer.write_batch(batch)
            size = folder.seal(path)
    except BuilderError:
        path.unlink(missing_ok=True)
        raise
    return Part(relative, batch.num_rows, size, "", digest)


def encoded(table: pa.Table) -> bytes:
    """The bytes of a part that gets no file: those of the file, squeezed, after their length in 4 bytes."""
    sink = pa.BufferOutputStream()
    batch = _single(table)
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    raw = sink.getvalue()
    squeezed: bytes = pa.compress(raw, "zstd", asbytes=True)
    return len(raw).to_bytes(4, "little") + squeezed


def read_batch(store: Path, part: Part, columns: Iterable[str] | None) -> pa.Table:
    """These whole columns of a part (None: all), which hold their checksums; `LOW` and `HIGH` are columns like others.

    They are read, not mapped: the pages of a mapping would count as this process's memory.

    Raises
    ------
    StoreError
        ``store-damaged``: the part is missing, or not as it was written.
    """
    with _reading(store, part):
        if parquet_parts.is_parquet(part):
            return parquet_parts.read(store, part, None if columns is None else list(columns), (LOW, HIGH))
        if part.content is not None:
            batch = _decoded(part)
            return pa.Table.from_batches([batch.select(batch.schema.names if columns is None else list(columns))])
        try:
            return pa.Table.from_batches([_verified(store / part.path, part, columns)])
        except MemoryError:
            open_mapped(store, part)  # a length that was damaged asks for more than there is, and is refused here
            raise


@dataclass(frozen=True, slots=True)
class Mapped:
    """A part's rows, of which only what is looked at is read; with what its columns' checksums should be.

    There are none of a part whose bytes were checked as a whole.
    """

    path: Path
    batch: pa.RecordBatch
    pages: mmap.mmap | None
    sums: Mapping[str, str]

    def check(self, columns: Iterable[str]) -> None:
        """Look at all of these columns.

        Raises
        ------
        StoreError
            ``store-damaged``: one has other values than were written.
        """
        for name in columns:
            if name in self.sums and _is_other(self.batch.column(name), self.sums[name]):
                raise damaged(self.path, ValueError(f"column '{name}' has other values than were written"))

    def expect(self, columns: Iterable[str], rows: int) -> None:
        """Get the pages of these columns at once where so many rows will be looked at that most would come anyway.

        Page by page, as they are touched, costs several times as much.
        """
        if self.pages is None or rows * _SPARSE_BYTES < self.batch.num_rows * _CELL_BYTES:
            return
        base = pa.py_buffer(self.pages).address
        for name in columns:
            for buffer in self.batch.column(name).buffers():
                if buffer is not None and buffer.size:
                    start = (buffer.address - base) // mmap.PAGESIZE * mmap.PAGESIZE
                    with suppress(OSError):  # of a kernel that does not know it: they come as they are touched
                        self.pages.madvise(_POPULATE_READ, start, buffer.address + buffer.size - base - start)

    def release(self) -> None:
        """Let go of the pages that were looked at, so that they do not count as this process's memory."""
        if self.pages is not None:
            self.pages.madvise(mmap.MADV_DONTNEED)


def map_batch(store: Path, part: Part) -> pa.RecordBatch:
    """A part's rows, to be read here and there, without a look at checksums.

    Raises
    ------
    StoreError
        ``store-damaged``, as `open_mapped`.
    """
    return open_mapped(store, part).batch


def open_mapped(store: Path, part: Part) -> Mapped:
    """A part's rows, to be read here and there, with what lets go of them.

    Raises
    ------
    StoreError
        ``store-damaged``: the part is missing, cut short, or another than was written.
    """
    path = store / part.path
    with _reading(store, part):
        if parquet_parts.is_parquet(part):
            table = parquet_parts.read(store, part, None, (LOW, HIGH))
            return Mapped(path, table.combine_chunks().to_batches()[0], None, {})
        if part.content is not None:
            return Mapped(path, _decoded(part), None, {})
        with open(path, "rb") as file:
            pages = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        reader = pa.ipc.open_file(pa.py_buffer(pages))
        return Mapped(path, _only_batch(reader, part), pages, _sums_of(reader.schema, part))


def _verified(path: Path, part: Part, columns: Iterable[str] | None) -> pa.RecordBatch:
    with pa.OSFile(str(path)) as file:
        schema = pa.ipc.open_file(file).schema
        sums = _sums_of(schema, part)
        names = list(sums if columns is None else columns)
        numbers = sorted({schema.names.index(name) for name in names} or {0})  # of no column at all one would read all
        batch = _only_batch(pa.ipc.open_file(file, options=pa.ipc.IpcReadOptions(included_fields=numbers)), part)
    for name in names:
        if checksum(batch.column(name)) != sums[name]:
            raise ValueError(f"column '{name}' has other values than were written")
    return batch.select(names).replace_schema_metadata(None)


def _is_other(column: pa.Array, expected: str) -> bool:
    """Whether a column has another checksum, or cannot have one."""
    try:
        return checksum(column) != expected
    except ValueError:
        return True


def _checked(table: pa.Table) -> tuple[pa.RecordBatch, str]:
    """The table as one batch with its checksums, and their digest."""
    batch = _single(table)
    text = "\n".join(f"{checksum(array)} {name}" for name, array in zip(batch.schema.names, batch.columns, strict=True))
    return batch.replace_schema_metadata({_SUMS: text}), _digest(text)


def _single(table: pa.Table) -> pa.RecordBatch:
    arrays = [_one(column) for column in table.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=table.schema.remove_metadata())


def _one(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return normal(column.chunk(0))
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _digest(text: str) -> str:
    return digest_of("sums", text)[:32]


def _sums_of(schema: pa.Schema, part: Part) -> dict[str, str]:
    """The checksum of each column, after a look whether they are those that the part was written with."""
    text = (schema.metadata or {}).get(_SUMS, b"").decode()
    if _digest(text) != part.digest:
        raise ValueError("it is another file than was written")
    return {name: found for found, _, name in (line.partition(" ") for line in text.split("\n"))}


def _only_batch(reader: pa.RecordBatchFileReader, part: Part) -> pa.RecordBatch:
    batch = reader.get_batch(0)
    if reader.num_record_batches != 1 or batch.num_rows != part.rows:
        raise ValueError(f"{batch.num_rows} rows instead of {part.rows}")
    return batch


def _decoded(part: Part) -> pa.RecordBatch:
    content = content_of(part)
    raw = pa.decompress(content[4:], decompressed_size=int.from_bytes(content[:4], "little"), codec="zstd")
    return _only_batch(pa.ipc.open_file(raw), part)


@contextmanager
def _reading(store: Path, part: Part) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, LookupError, pa.ArrowException) as cause:
        if isinstance(cause, MemoryError):
            raise
        raise damaged(store / part.path, cause) from cause


def damaged(path: Path, cause: BaseException) -> BuilderError:
    """The error of a part that cannot be read."""
    is_missing = isinstance(cause, FileNotFoundError)
    reason = "is missing" if is_missing else f"cannot be read: {cause}"
    return error(
        "store-damaged", f"part '{path.name}' of the store {reason}", place=str(path), hint="builder fsck --repair"
    )
