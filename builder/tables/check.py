"""Whether a stored part still holds the rows it was written with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from builder.tables.cells import hash_rows
from builder.tables.schema import Schema


def is_sound(path: Path, rows_path: Path, schema: Schema, first_row: int = 0) -> bool:
    """Whether the rows of a part hash to the hashes beside it; an unkeyed part's rows begin at position `first_row`."""
    try:
        table = pq.read_table(path, columns=list(schema.names), page_checksum_verification=True)
        known = np.fromfile(rows_path, dtype="<u8").reshape(-1, 2)
        found, _ = hash_rows(table, schema, first_row)
    except (OSError, pa.ArrowException, ValueError):  # what cannot be read, or is read as something else
        return False
    return bool(np.array_equal(found, known))
