"""What differs between two versions of a table: how many rows, and which.

Decides by row hashes: rows of one key and different hashes have changed, the rest was added or removed; an unkeyed
table is compared by position. A change of schema or key replaces every row. Never reads what equal digests answer.
"""

from __future__ import annotations

import base64
import datetime as dt
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from builder.store.manifest import Manifest
from builder.tables.layers import HIGH, LOW, read_merged, read_row_hashes, table_schema
from builder.tables.read import read_table
from builder.tables.schema import Column, Schema

Positions = npt.NDArray[np.int64]

_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Difference:
    """How many rows were added, removed and changed."""

    added: int
    removed: int
    changed: int

    @property
    def rows(self) -> int:
        """Upserted and deleted rows together."""
        return self.added + self.removed + self.changed


@dataclass(frozen=True, slots=True)
class _Differing:
    """Row positions in the old and the new version; the changed ones pair up."""

    added: Positions
    removed: Positions
    changed_old: Positions
    changed_new: Positions


def count_changes(store: Path, old: Manifest | None, new: Manifest) -> Difference:
    """How many rows of `new` differ from `old`; None, another schema or another key: all rows of each."""
    if old is None:
        return Difference(new.rows, 0, 0)
    if old.digest == new.digest:
        return Difference(0, 0, 0)
    if not _are_comparable(old, new):
        return Difference(new.rows, old.rows, 0)
    found = _compare(store, old, new)
    return Difference(len(found.added), len(found.removed), len(found.changed_new))


def example_changes(store: Path, old: Manifest | None, new: Manifest, limit: int = 5) -> dict[str, Any]:
    """The first rows that differ, by kind, as JSON values.

    ``added`` and ``removed`` hold whole rows; ``changed`` holds ``key`` (in an unkeyed table ``{"row": position}``) and
    ``before`` and ``after`` with the columns that differ. Bytes are base64, geometries WKT, long texts are cut.
    """
    empty = np.empty(0, np.int64)
    if old is not None and old.digest == new.digest:
        return {"added": [], "removed": [], "changed": []}
    if old is None or not _are_comparable(old, new):
        found = _Differing(np.arange(new.rows), np.arange(old.rows if old else 0), empty, empty)
    else:
        found = _compare(store, old, new)
    after = _Rows(store, new)
    before = _Rows(store, old) if old is not None else after
    pairs = zip(before.at(found.changed_old[:limit]), after.at(found.changed_new[:limit]), strict=True)
    key = table_schema(new).key
    positions = found.changed_new[:limit].tolist()
    return {
        "added": after.at(found.added[:limit]),
        "removed": before.at(found.removed[:limit]),
        "changed": [_changed(a, b, key, position) for (a, b), position in zip(pairs, positions, strict=True)],
    }


def _changed(before: dict[str, Any], after: dict[str, Any], key: tuple[str, ...], position: int) -> dict[str, Any]:
    names = [n for n in after if before[n] != after[n]]
    return {
        "key": {k: after[k] for k in key} or {"row": position},
        "before": {n: before[n] for n in names},
        "after": {n: after[n] for n in names},
    }


class _Rows:
    """Reads single rows of a version as JSON values; the table is read once, and only if a row is asked for."""

    def __init__(self, store: Path, manifest: Manifest) -> None:
        self._store = store
        self._manifest = manifest
        self._table: pa.Table | None = None

    def at(self, positions: Positions) -> list[dict[str, Any]]:
        if len(positions) == 0:
            return []
        if self._table is None:
            self._table = read_table(self._store, self._manifest)
        rows = self._table.take(pa.array(positions))
        schema = table_schema(self._manifest)
        columns = {c.name: [_json(v, c) for v in rows.column(c.name).to_pylist()] for c in schema.columns}
        return [{name: values[i] for name, values in columns.items()} for i in range(len(positions))]


def _json(value: Any, column: Column) -> Any:
    if column.dtype == "geometry" and value is not None:
        import shapely

        value = shapely.to_wkt(shapely.from_wkb(value), rounding_precision=-1)
    elif isinstance(value, bytes):
        value = base64.b64encode(value).decode()
    elif isinstance(value, (dt.date, dt.datetime)):
        value = value.isoformat()
    elif isinstance(value, Decimal) or (isinstance(value, float) and not np.isfinite(value)):
        value = str(value)
    if isinstance(value, str) and len(value) > _SHOWN_CHARACTERS:
        return value[:_SHOWN_CHARACTERS] + "…"
    return value


def _are_comparable(old: Manifest, new: Manifest) -> bool:
    return table_schema(old).digest() == table_schema(new).digest()


def _compare(store: Path, old: Manifest, new: Manifest) -> _Differing:
    schema = table_schema(new)
    was, now = _hashes(store, old), _hashes(store, new)
    if not schema.key:
        return _by_position(was, now)
    left, right = _unmatched(was, now)
    return _by_key(_keys(store, old, schema, left), _keys(store, new, schema, right), schema, left, right)


def _hashes(store: Path, manifest: Manifest) -> npt.NDArray[np.uint64]:
    """Row hashes in row order; without opening a table where there is one layer."""
    if len(manifest.layers) == 1:
        hashes = [read_row_hashes(store, part) for part in manifest.layers[0].upserts]
        return np.concatenate([np.empty((0, 2), np.uint64), *hashes])
    table = read_merged(store, manifest, (), hashed=True)
    return np.stack([table.column(LOW).to_numpy(), table.column(HIGH).to_numpy()], axis=1)


def _by_position(was: npt.NDArray[np.uint64], now: npt.NDArray[np.uint64]) -> _Differing:
    common = min(len(was), len(now))
    changed = np.flatnonzero((was[:common] != now[:common]).any(axis=1))
    return _Differing(np.arange(common, len(now)), np.arange(common, len(was)), changed, changed)


def _unmatched(was: npt.NDArray[np.uint64], now: npt.NDArray[np.uint64]) -> tuple[Positions, Positions]:
    """The rows of each side whose hash the other side does not have."""
    order = np.argsort(was[:, 0])
    sorted_low = was[order, 0]
    spot = np.minimum(np.searchsorted(sorted_low, now[:, 0]), max(0, len(was) - 1))
    if len(was) == 0:
        return np.empty(0, np.int64), np.arange(len(now))
    # Of old rows with equal low words one alone is found here; the others are then told apart by their keys.
    candidate = order[spot]
    is_equal = (was[candidate] == now).all(axis=1)
    is_left = np.ones(len(was), bool)
    is_left[candidate[is_equal]] = False
    return np.flatnonzero(is_left), np.flatnonzero(~is_equal)


def _keys(store: Path, manifest: Manifest, schema: Schema, positions: Positions) -> pa.Table:
    if len(positions) == 0:
        return read_merged(store, _no_rows(manifest), schema.key)
    return read_merged(store, manifest, schema.key).take(pa.array(positions))


def _no_rows(manifest: Manifest) -> Manifest:
    return Manifest(manifest.kind, manifest.digest, (), schema=manifest.schema)


def _by_key(old: pa.Table, new: pa.Table, schema: Schema, left: Positions, right: Positions) -> _Differing:
    """Pair rows of equal keys: both sides are in key order, so the pairs of the sorted whole are neighbours."""
    sides = pa.concat_tables([old, new]).combine_chunks()
    groups = _group_numbers(sides, schema.key)
    old_groups, new_groups = groups[: len(left)], groups[len(left) :]
    _, at_old, at_new = np.intersect1d(old_groups, new_groups, assume_unique=True, return_indices=True)
    order = np.argsort(at_new)
    at_old, at_new = at_old[order], at_new[order]
    return _Differing(np.delete(right, at_new), np.delete(left, at_old), left[at_old], right[at_new])


def _group_numbers(table: pa.Table, key: tuple[str, ...]) -> Positions:
    """A number for each row, equal where the keys are equal."""
    numbers = np.zeros(table.num_rows, np.int64)
    for name in key:
        codes = table.column(name).combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)
        # Both are below the number of rows, so their product stays below 2^63.
        _, numbers = np.unique(numbers * (codes.max(initial=0) + 1) + codes, return_inverse=True)
    return numbers
