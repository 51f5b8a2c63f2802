"""The rows of a version that hold certain values, found the cheapest way that its key allows.

Decides between a search by the whole key, by the beginning of the key, and a scan of the columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from builder.store.manifest import Manifest
from builder.tables.layers import table_schema
from builder.tables.lookup import locate, locate_prefix, scan, take
from builder.tables.order import sort_by_key


def rows_among(store: Path, manifest: Manifest, values: pa.Table, columns: Sequence[str]) -> pa.Table:
    """These columns of the rows whose values in some columns are one of the given rows, in row order.

    Parameters
    ----------
    values
        Columns of the version, each row once, in any order; null is equal to null.
    columns
        What to read of the rows.

    Raises
    ------
    StoreError
        ``store-damaged``.
    """
    key = table_schema(manifest).key
    names = values.column_names
    beginning = key[: len(names)]
    if not names or set(beginning) != set(names):
        return take(scan(store, manifest, values), columns)
    sought = sort_by_key(values.select(beginning).drop_null(), beginning)
    if beginning == key:
        located = locate(store, manifest, sought)
        return take(located.only(located.is_found), columns)
    return take(locate_prefix(store, manifest, sought), columns)
