"""Parts and layers: reading a version's files and merging its layers.

Decides that a later layer wins, key by key. Never trusts a part: one that is missing or damaged is an error. Readers of
tables go through `tables.read`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from builder.errors import BuilderError, error
from builder.store.manifest import Manifest, Part
from builder.store.parts import content_of, row_hashes_of
from builder.tables.arrow import arrow_schema
from builder.tables.order import Key, repeats
from builder.tables.schema import Schema

LOW, HIGH = "\0low", "\0high"
"""Columns of a row's hash in tables read with hashes; no stored column has such a name."""

BATCH_ROWS = 128 << 10
_RANK = "\0rank"


def table_schema(manifest: Manifest) -> Schema:
    """The schema of a table's manifest."""
    if manifest.schema is None:
        raise error("internal", f"an output of kind '{manifest.kind}' was read as a table")
    return manifest.schema


def read_merged(store: Path, manifest: Manifest, columns: tuple[str, ...], *, hashed: bool = False) -> pa.Table:
    """These columns of a version in row order; with `hashed` each row's hash too, in the columns `LOW` and `HIGH`.

    Raises
    ------
    StoreError
        ``store-damaged``: a part is missing or cannot be read.
    """
    schema = table_schema(manifest)
    if len(manifest.layers) <= 1:
        upserts = manifest.layers[0].upserts if manifest.layers else ()
        return _read_all(store, upserts, schema, columns, hashed=hashed)
    if not schema.key:
        raise error("internal", "an unkeyed table has several layers")
    needed = (*columns, *(k for k in schema.key if k not in columns))
    return _last_wins(list(_ranked(store, manifest, needed, hashed=hashed)), schema.key).select(
        [*columns, *((LOW, HIGH) if hashed else ())]
    )


def _ranked(store: Path, manifest: Manifest, columns: tuple[str, ...], *, hashed: bool) -> Iterator[pa.Table]:
    """Each layer's deleted keys, then its upserts; of one key the highest rank holds, and an even one deletes."""
    schema = table_schema(manifest)
    for number, layer in enumerate(manifest.layers):
        deletes = _read_all(store, layer.deletes, schema.select(schema.key), schema.key, hashed=False)
        upserts = _read_all(store, layer.upserts, schema, columns, hashed=hashed)
        for rank, table in ((2 * number, deletes), (2 * number + 1, upserts)):
            yield table.append_column(_RANK, pa.repeat(pa.scalar(rank, pa.int32()), table.num_rows))


def _last_wins(ranked: list[pa.Table], key: Key) -> pa.Table:
    table = pa.concat_tables(ranked, promote_options="default").combine_chunks()
    order = pc.sort_indices(table, [(name, "ascending") for name in (*key, _RANK)])
    table = table.take(order)
    is_last = np.ones(table.num_rows, bool)
    again = repeats(table, key)
    if again is not None and table.num_rows:
        is_last[:-1] = ~again.to_numpy()
    is_upsert = table.column(_RANK).to_numpy() % 2 == 1
    return table.filter(pa.array(is_last & is_upsert))


def _read_all(
    store: Path, parts: tuple[Part, ...], schema: Schema, columns: tuple[str, ...], *, hashed: bool
) -> pa.Table:
    tables = [_read_part(store, part, columns, hashed=hashed) for part in parts]
    if tables:
        return pa.concat_tables(tables)
    fields = [*arrow_schema(schema.select(columns))]
    fields += [pa.field(name, pa.uint64()) for name in ((LOW, HIGH) if hashed else ())]
    return pa.schema(fields).empty_table()


def _read_part(store: Path, part: Part, columns: tuple[str, ...], *, hashed: bool) -> pa.Table:
    with (
        _reading(store / part.path),
        pq.ParquetFile(part_source(store, part), page_checksum_verification=True) as file,
    ):
        if file.metadata.num_rows != part.rows:
            raise ValueError(f"{file.metadata.num_rows} rows instead of {part.rows}")
        # A name with a dot reads its prefix's column too, hence the selection.
        table = file.read(list(columns)).select(columns).replace_schema_metadata(None)
    if hashed:
        hashes = read_row_hashes(store, part)
        table = table.append_column(LOW, pa.array(hashes[:, 0])).append_column(HIGH, pa.array(hashes[:, 1]))
    return table


def read_row_hashes(store: Path, part: Part) -> npt.NDArray[np.uint64]:
    """The row hashes beside a part, an (n, 2) array of (low, high) words."""
    if part.content is not None:
        return np.frombuffer(row_hashes_of(part), "<u8").astype(np.uint64, copy=False).reshape(part.rows, 2)
    path = store / (part.path + ".rows")
    with _reading(path):
        return np.fromfile(path, "<u8").astype(np.uint64, copy=False).reshape(part.rows, 2)


def part_batches(store: Path, part: Part, columns: tuple[str, ...]) -> Iterator[pa.Table]:
    """These columns of one part, in pieces of at most `BATCH_ROWS` rows."""
    with (
        _reading(store / part.path),
        pq.ParquetFile(part_source(store, part), page_checksum_verification=True) as file,
    ):
        for batch in file.iter_batches(BATCH_ROWS, columns=list(columns)):
            yield pa.Table.from_batches([batch]).select(columns)


def part_source(store: Path, part: Part) -> Path | pa.BufferReader:
    """Where Parquet reads a part: its file, or the bytes it has with it.

    Raises
    ------
    StoreError
        ``store-damaged``: those bytes are not the ones that were written.
    """
    return store / part.path if part.content is None else pa.BufferReader(content_of(part))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, pa.ArrowException) as cause:
        if isinstance(cause, MemoryError):
            raise
        raise damaged(path, cause) from cause


def damaged(path: Path, cause: BaseException) -> BuilderError:
    """The error of a part that cannot be read."""
    is_missing = isinstance(cause, FileNotFoundError)
    reason = "is missing" if is_missing else f"cannot be read: {cause}"
    return error(
        "store-damaged", f"part '{path.name}' of the store {reason}", place=str(path), hint="builder fsck --repair"
    )
