"""Parts of stores of format 2: Parquet files, with the row hashes in a file beside each.

Decides nothing: they are read until their versions are gone, and never written. A part without a file holds the Parquet
file's bytes and then those of the row hashes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from builder.store.manifest import Part
from builder.store.parts import content_of, files_of

_MAGIC = b"PAR1"


def is_parquet(part: Part) -> bool:
    """Whether a table's part was written in that format."""
    return part.path.endswith(".parquet") if part.content is None else part.content.startswith(_MAGIC)


def read(store: Path, part: Part, columns: list[str] | None, hashes: tuple[str, str]) -> pa.Table:
    """These columns of a part (None: all), its row hashes in those that `hashes` names.

    Raises
    ------
    OSError, ValueError, ArrowException
        It is missing or damaged.
    """
    stored = None if columns is None else [c for c in columns if c not in hashes]
    source = store / part.path if part.content is None else pa.BufferReader(content_of(part)[: -16 * part.rows])
    with pq.ParquetFile(source, page_checksum_verification=True) as file:
        if file.metadata.num_rows != part.rows:
            raise ValueError(f"{file.metadata.num_rows} rows instead of {part.rows}")
        # A name with a dot reads its prefix's column too, hence the selection.
        table = file.read(stored)
        found = {name: table.column(name) for name in stored or table.column_names}
    if columns is None or set(hashes) & set(columns):
        words = _row_hashes(store, part)
        found |= {name: pa.chunked_array([np.ascontiguousarray(words[:, n])]) for n, name in enumerate(hashes)}
    names = list(found) if columns is None else columns
    fields = [pa.field(n, pa.uint64(), nullable=False) if n in hashes else table.field(n) for n in names]
    return pa.Table.from_arrays([found[n] for n in names], schema=pa.schema(fields))


def _row_hashes(store: Path, part: Part) -> npt.NDArray[np.uint64]:
    if part.content is not None:
        raw = content_of(part)[-16 * part.rows :]
    else:
        raw = files_of(store, part)[1].read_bytes()
    return np.frombuffer(raw, "<u8").astype(np.uint64, copy=False).reshape(part.rows, 2)
