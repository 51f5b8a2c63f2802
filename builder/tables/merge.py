"""A stored table as one plain Parquet file, for readers that know nothing of parts and layers.

Decides only the file's layout: rows in key order, read and written part by part, in bounded memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from builder.names import Params, value_text
from builder.store.manifest import Manifest
from builder.tables.arrow import arrow_schema
from builder.tables.read import read_parts

_PARQUET: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 1,
    "dictionary_pagesize_limit": 128 << 10,  # Arrow's 1 MB costs a third more time and a sixth more bytes
    "write_page_checksum": True,
}


def write_plain(store: Path, manifest: Manifest, path: Path, *, without: Params = ()) -> None:
    """Write a table as one Parquet (or GeoParquet) file.

    Columns that `without` names are left out where every row has that very value: a Hive-partitioned folder gives
    them back.
    """
    assert manifest.schema is not None
    given = {k: value_text(v) for k, v in without if k in manifest.schema.names}
    redundant = {k for k, v in given.items() if _is_constant(store, manifest, k, v)}
    schema = manifest.schema.select(n for n in manifest.schema.names if n not in redundant)
    with pq.ParquetWriter(path, arrow_schema(schema), **_PARQUET) as writer:
        for table in read_parts(store, manifest, columns=schema.names):
            writer.write_table(table)


def _is_constant(store: Path, manifest: Manifest, column: str, value: str) -> bool:
    """Whether a column has one value, given as text, in every row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for table in read_parts(store, manifest, columns=(column,)):
        if not pc.all(pc.equal(pc.cast(table[column], pa.string()), value), skip_nulls=False).as_py():
            return False
    return True
