"""A new version of a keyed table from an old one and what changes: one layer, and every digest as of a full write.

Decides what an update is: rows put in by key, keys taken out; of a key that is both, the row holds. Rows that are as
they were and keys that are not there drop out. Costs what changes: the old cells of changed rows are subtracted from
the sums, the new ones added. Never reads more of the base than those rows, except where layers are merged
(`tables.compaction`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from builder.errors import error
from builder.nouns import replace
from builder.store.manifest import Layer, Manifest, Part, table_digest
from builder.store.parts import PartFolder
from builder.tables.arrow import arrow_schema
from builder.tables.batches import damaged, hashed_table, words_of
from builder.tables.cells import differ, hash_rows
from builder.tables.compaction import compacted
from builder.tables.keys import Keys
from builder.tables.layers import table_schema
from builder.tables.lookup import Located, locate, take
from builder.tables.order import distinct_keys, refuse_duplicates, refuse_null_keys, sort_by_key
from builder.tables.part_writer import LAYER_PART_BYTES, PartWriter
from builder.tables.schema import Schema
from builder.tables.sorting import ROW

Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Updated:
    """A new version, and how many rows differ from the one it was made from."""

    manifest: Manifest
    added: int
    removed: int
    changed: int


@dataclass(frozen=True, slots=True)
class _Side:
    """Some rows with their hashes, their columns' sums, and how many nulls are in each."""

    hashes: Words
    sums: Mapping[str, int]
    nulls: Mapping[str, int]

    @staticmethod
    def of(rows: pa.Table, schema: Schema) -> _Side:
        hashes, sums = hash_rows(rows, schema)
        return _Side(hashes, sums, {name: rows.column(name).null_count for name in schema.names})


def write_update(
    store: Path,
    base: Manifest,
    upserts: pa.Table,
    gone: pa.Table,
    folder: PartFolder,
    *,
    describe_row: Callable[[int], str] | None = None,
) -> Updated:
    """The version of a keyed table after putting in rows and taking out keys; `base` itself where nothing differs.

    Parameters
    ----------
    store, base
        The version it is made from.
    upserts
        Rows that conform to its schema, in any order.
    gone
        Keys, in any order: they may be there twice, or not be there, or be upserted.
    folder
        Where parts go.
    describe_row
        Where a row of `upserts`, counted from 0, stands in the input.

    Raises
    ------
    DataError
        ``key-null``, ``key-duplicate`` among the upserts.
    StoreError
        ``store-damaged``: rows of the base are not as they were written.
    """
    schema = table_schema(base)
    if not schema.key or (base.rows and not base.nulls):
        raise error("internal", "a table without a key, or of an older format, was updated")
    upserts = _in_order(upserts, schema, describe_row or (lambda row: f"row {row}"))
    keys = _gone_alone(gone, upserts, schema)
    at, out = locate(store, base, upserts), locate(store, base, keys)
    old, left, new = _old_side(store, at, schema), _old_side(store, out, schema), _Side.of(upserts, schema)
    is_changed = ~at.is_found
    is_changed[at.is_found] = differ(new.hashes[at.is_found], old.hashes)
    counts = (int((~at.is_found).sum()), int(out.is_found.sum()), int((is_changed & at.is_found).sum()))
    if not any(counts):
        return Updated(base, 0, 0, 0)
    rows = hashed_table(upserts, new.hashes)
    if not is_changed.all():
        rows = rows.filter(pa.array(is_changed))
    layer = Layer(_written(rows, folder), _written(keys.filter(pa.array(out.is_found)), folder))
    made = _versioned(base, schema, layer, counts, new, (old, left))
    return Updated(compacted(store, made, folder), *counts)


def _in_order(upserts: pa.Table, schema: Schema, describe_row: Callable[[int], str]) -> pa.Table:
    """The rows in key order, with no key twice."""
    refuse_null_keys(upserts, schema.key, 0, describe_row)
    numbered = upserts.append_column(ROW, pa.array(np.arange(upserts.num_rows)))
    ordered = sort_by_key(numbered, schema.key)
    refuse_duplicates(ordered, schema.key, ordered.column(ROW), describe_row)
    return ordered.drop_columns([ROW])


def _gone_alone(gone: pa.Table, upserts: pa.Table, schema: Schema) -> pa.Table:
    """The keys to take out that no row puts in, each once and in key order."""
    key = schema.key
    plain = arrow_schema(schema.select(key))
    keys = distinct_keys([gone.select(key).cast(plain)], key)
    low, high = Keys.of(upserts.select(key).cast(plain), key).ranges(Keys.of(keys, key))
    return keys.filter(pa.array(low == high))


def _old_side(store: Path, located: Located, schema: Schema) -> _Side:
    """What the rows of the base that were found add to it; they must hash to what stands beside them."""
    found = located.only(located.is_found)
    rows = take(found, schema.names, hashed=True)
    side = _Side.of(rows.select(schema.names), schema)
    wrong = np.flatnonzero(differ(words_of(rows), side.hashes))
    if len(wrong):
        path = found.opened[found.part[wrong[0]]].path
        raise damaged(path, ValueError("rows are not as they were written"))
    return side


def _written(rows: pa.Table, folder: PartFolder) -> tuple[Part, ...]:
    writer = PartWriter(folder, part_bytes=LAYER_PART_BYTES)
    writer.add(rows)
    return writer.finish()


def _versioned(
    base: Manifest, schema: Schema, layer: Layer, counts: tuple[int, int, int], new: _Side, old: tuple[_Side, ...]
) -> Manifest:
    """The base's manifest with one layer more; what came and went as it was cancels in the sums."""
    added, removed, _ = counts
    rows = base.rows + added - removed
    columns, nulls = {}, {}
    for name in schema.names:
        total = int(base.columns[name], 16) + new.sums[name] - sum(side.sums[name] for side in old)
        columns[name] = f"{total % (1 << 128):032x}"
        nulls[name] = base.nulls.get(name, 0) + new.nulls[name] - sum(side.nulls[name] for side in old)
    changes: dict[str, Any] = {"columns": columns, "nulls": nulls, "rows": rows, "index": (), "delta": None}
    layers = (*base.layers, layer)
    size = sum(p.bytes for la in layers for p in la.parts)
    digest = table_digest(schema, rows, columns)
    return replace(base, digest=digest, layers=layers, bytes=size, base=base.digest, **changes)
