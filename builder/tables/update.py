"""A new version of a keyed table from an old one and what changes: one layer, and every digest as of a full write.

Decides what an update is: rows put in by key, keys taken out; of a key that is both, the row holds. Rows that are as
they were and keys that are not there drop out. Costs what changes: the old hashes of changed rows are subtracted from
the sums, the new ones added. Never reads more of the base than those rows, or their hashes, except where layers are
merged (`tables.compaction`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from builder.errors import error
from builder.nouns import replace
from builder.store.manifest import Layer, Manifest, Part, sum_text, table_digest
from builder.store.parts import PartFolder
from builder.tables.arrow import arrow_schema
from builder.tables.batches import hashed_table, words_of
from builder.tables.cells import differ, hash_rows
from builder.tables.compaction import compacted
from builder.tables.keys import Keys, overlaid
from builder.tables.layers import merged_parts, table_schema
from builder.tables.lookup import Located, locate, take
from builder.tables.order import distinct_keys, refuse_duplicates, refuse_null_keys, sort_by_key
from builder.tables.part_writer import LAYER_PART_BYTES, PartWriter
from builder.tables.schema import GEOMETRY, Schema
from builder.tables.sorting import ROW

Words = npt.NDArray[np.uint64]
Marks = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Updated:
    """A new version, and how many rows differ from the one it was made from."""

    manifest: Manifest
    added: int
    removed: int
    changed: int


@dataclass(frozen=True, slots=True)
class Known:
    """Keys that were located in a version before, each once, in key order and of its dtypes."""

    keys: pa.Table
    located: Located


@dataclass(frozen=True, slots=True)
class _Side:
    """Some rows: their hashes, the sums of their cells' hashes by column as far as wanted, and how many nulls."""

    hashes: Words
    sums: Mapping[str, int]
    nulls: Mapping[str, int]

    @staticmethod
    def of(rows: pa.Table, schema: Schema) -> _Side:
        hashes, sums = hash_rows(rows, schema)
        return _Side(hashes, sums, {name: rows.column(name).null_count for name in schema.names})

    @property
    def total(self) -> int:
        """The sum of the row hashes; not yet mod 2^128."""
        quarters = np.ascontiguousarray(self.hashes, "<u8").view("<u4")  # none of their sums overflows
        return sum(int(quarters[:, n].sum(dtype=np.uint64)) << (32 * n) for n in range(4))


def write_update(
    store: Path,
    base: Manifest,
    upserts: pa.Table,
    gone: pa.Table,
    folder: PartFolder,
    *,
    read_apart: Collection[str] | None = None,
    known: Known | None = None,
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
    read_apart
        Columns that somebody reads without all others, and so depends on alone: the new version knows their sums. Of
        others it may not, which costs less. None: of all.
    known
        Keys that were located in the base already: where they are those of the upserts these are not looked up again.
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
    if not schema.key or not base.total:
        raise error("internal", "a table without a key, or of an older format, was updated")
    upserts = _in_order(upserts, schema, describe_row or (lambda row: f"row {row}"))
    keys, is_put = _touched(upserts, gone, schema)
    is_known = known is not None and keys.equals(known.keys)
    at = known.located if known is not None and is_known else locate(store, base, keys)
    apart = schema.names if read_apart is None else [schema.geometry if n == GEOMETRY else n for n in read_apart]
    wanted = tuple(name for name in schema.names if name in apart)
    old = _before(base, at.only(at.is_found), [n for n in wanted if n in base.columns])
    new = _Side.of(upserts, schema)
    is_new, is_gone = ~at.is_found[is_put], at.is_found & ~is_put
    is_changed = is_new.copy()
    is_changed[~is_new] = differ(_some(new.hashes, ~is_new), _some(old.hashes, is_put[at.is_found]))
    counts = (int(is_new.sum()), int(is_gone.sum()), int((is_changed & ~is_new).sum()))
    if not any(counts):
        return Updated(base, 0, 0, 0)
    rows = hashed_table(upserts, new.hashes)
    if not is_changed.all():
        rows = rows.filter(pa.array(is_changed))
    layer = Layer(_written(rows, folder), _written(keys.filter(pa.array(is_gone)), folder))
    made = _versioned(base, schema, layer, counts, new, old)
    made = with_sums(store, made, [n for n in wanted if n not in made.columns])
    return Updated(compacted(store, made, folder), *counts)


def _in_order(upserts: pa.Table, schema: Schema, describe_row: Callable[[int], str]) -> pa.Table:
    """The rows in key order, with no key twice."""
    refuse_null_keys(upserts, schema.key, 0, describe_row)
    numbered = upserts.append_column(ROW, pa.array(np.arange(upserts.num_rows)))
    ordered = sort_by_key(numbered, schema.key)
    refuse_duplicates(ordered, schema.key, ordered.column(ROW), describe_row)
    return ordered.drop_columns([ROW])


def _touched(upserts: pa.Table, gone: pa.Table, schema: Schema) -> tuple[pa.Table, Marks]:
    """All keys that are put in or taken out, each once and in key order; and of each whether a row puts it in."""
    key = schema.key
    plain = arrow_schema(schema.select(key))
    put, out = (rows.select(key).cast(plain) for rows in (upserts, gone))
    if out.num_rows == 0 or out.equals(put):
        return put, np.ones(put.num_rows, bool)
    keys = distinct_keys([out], key)
    low, high = Keys.of(put, key).ranges(Keys.of(keys, key))
    is_alone = low == high
    touched = overlaid(put, keys.filter(pa.array(is_alone)), key)
    return touched, np.insert(np.ones(put.num_rows, bool), low[is_alone], False)


def _before(base: Manifest, found: Located, columns: Sequence[str]) -> _Side:
    """What rows add to the version that they were found in, with the sums of some columns."""
    schema = table_schema(base)
    with_nulls = [c.name for c in schema.columns if c.is_nullable and base.nulls.get(c.name)]
    kept = (
        Schema(tuple(schema.column(n) for n in dict.fromkeys((*schema.key, *columns))), schema.key) if columns else None
    )
    rows = take(found, tuple(dict.fromkeys((*(kept.names if kept else ()), *with_nulls))), hashed=True)
    sums = hash_rows(rows.select(kept.names), kept)[1] if kept else {}
    nulls = {name: rows.column(name).null_count for name in with_nulls}
    return _Side(words_of(rows), sums, dict.fromkeys(schema.names, 0) | nulls)


def _some(hashes: Words, marks: Marks) -> Words:
    """The hashes that are marked; mostly these are all, which need no copy."""
    return hashes if marks.all() else hashes[np.flatnonzero(marks)]


def _written(rows: pa.Table, folder: PartFolder) -> tuple[Part, ...]:
    writer = PartWriter(folder, part_bytes=LAYER_PART_BYTES)
    writer.add(rows)
    return writer.finish()


def _versioned(
    base: Manifest, schema: Schema, layer: Layer, counts: tuple[int, int, int], new: _Side, old: _Side
) -> Manifest:
    """The base's manifest with one layer more; what came and went as it was cancels in the sums."""
    added, removed, _ = counts
    rows = base.rows + added - removed
    total = sum_text(int(base.total, 16) + new.total - old.total)
    columns = {}
    for name in schema.names:
        if name in base.columns and (name in old.sums or not len(old.hashes)):
            columns[name] = sum_text(int(base.columns[name], 16) + new.sums[name] - old.sums.get(name, 0))
    nulls = {n: base.nulls.get(n, 0) + new.nulls[n] - old.nulls[n] for n in schema.names}
    layers = (*base.layers, layer)
    return replace(
        base,
        digest=table_digest(schema, rows, total),
        layers=layers,
        rows=rows,
        bytes=sum(part.bytes for one in layers for part in one.parts),
        columns=columns,
        base=base.digest,
        nulls=nulls,
        delta=None,
        index=(),
        total=total,
    )


def with_sums(store: Path, made: Manifest, names: Sequence[str]) -> Manifest:
    """The manifest with the sums of further columns, which costs to read them."""
    if not names:
        return made
    schema = table_schema(made)
    part = Schema(tuple(schema.column(n) for n in dict.fromkeys((*schema.key, *names))), schema.key)
    sums = dict.fromkeys(names, 0)
    for rows in merged_parts(store, made, part.names):
        found = hash_rows(rows.cast(arrow_schema(part)), part)[1]
        sums = {name: value + found[name] for name, value in sums.items()}
    return replace(made, columns={**made.columns, **{name: sum_text(value) for name, value in sums.items()}})
