"""Whether a stored part still holds the rows it was written with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from builder.errors import StoreError
from builder.store.manifest import Part
from builder.tables.batches import read_batch, words_of
from builder.tables.cells import hash_rows
from builder.tables.layers import with_hashes
from builder.tables.schema import Schema


def is_intact(store: Path, part: Part) -> bool:
    """Whether every column of a part is as it was written."""
    try:
        read_batch(store, part, None)
    except StoreError:
        return False
    return True


def is_sound(store: Path, part: Part, schema: Schema, first_row: int = 0) -> bool:
    """Whether the rows of a part are as they were written and hash to the hashes beside them.

    The rows of an unkeyed table's part begin at position `first_row`.
    """
    try:
        rows = read_batch(store, part, with_hashes(schema.names, True))
        found, _ = hash_rows(rows, schema, first_row)
    except (StoreError, pa.ArrowException, ValueError):  # what cannot be read, or is read as something else
        return False
    known = words_of(rows)
    return bool(np.array_equal(found, known))
