"""Whether a stored part still holds the rows it was written with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from builder.tables.cells import hash_rows
from builder.tables.schema import Schema


def is_sound(path: Path, rows_path: Path, schema: Schema) -> bool:
    """Whether the rows of a keyed part hash to the hashes beside it; of an unkeyed part, whether it can be read."""
    try:
        table = pq.read_table(path, columns=list(schema.names))
        known = np.fromfile(rows_path, dtype="<u8").reshape(-1, 2)
    except (OSError, pa.ArrowInvalid, ValueError):
        return False
    if len(known) != table.num_rows:
        return False
    if not schema.key:
        return True
    found, _ = hash_rows(table, schema)
    return bool(np.array_equal(found, known))
