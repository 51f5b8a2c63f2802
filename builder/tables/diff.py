"""What differs between two versions of a table: how many rows, and which.

Decides what counts as a change: of a keyed table `tables.delta` says it, an unkeyed one is compared by position, and a
change of schema or key replaces every row. Never reads what equal digests answer.
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
from builder.tables.batches import words_of
from builder.tables.cells import differ
from builder.tables.delta import delta_between
from builder.tables.keys import Positions
from builder.tables.layers import read_merged, table_schema
from builder.tables.lookup import at_positions, locate, take
from builder.tables.read import read_parts, read_table
from builder.tables.schema import Column, Schema

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


def count_changes(store: Path, old: Manifest | None, new: Manifest) -> Difference:
    """How many rows of `new` differ from `old`; None, another schema or another key: all rows of each."""
    if old is None:
        return Difference(new.rows, 0, 0)
    if old.digest == new.digest:
        return Difference(0, 0, 0)
    if not _are_comparable(old, new):
        return Difference(new.rows, old.rows, 0)
    delta = delta_between(store, old, new)
    if delta is not None:
        return Difference(delta.added, delta.removed, delta.changed)
    return Difference(
        max(0, new.rows - old.rows), max(0, old.rows - new.rows), len(_changed_positions(store, old, new))
    )


def example_changes(store: Path, old: Manifest | None, new: Manifest, limit: int = 5) -> dict[str, Any]:
    """The first rows that differ, by kind, as JSON values.

    ``added`` and ``removed`` hold whole rows; ``changed`` holds ``key`` (in an unkeyed table ``{"row": position}``) and
    ``before`` and ``after`` with the columns that differ. Bytes are base64, geometries WKT, long texts are cut.
    """
    if old is not None and old.digest == new.digest:
        return {"added": [], "removed": [], "changed": []}
    schema = table_schema(new)
    if old is None or not _are_comparable(old, new):
        removed = _json_rows(_first_rows(store, old, limit), table_schema(old)) if old else []
        return {"added": _json_rows(_first_rows(store, new, limit), schema), "removed": removed, "changed": []}
    return _keyed(store, old, new, limit) if schema.key else _by_position(store, old, new, limit)


def _keyed(store: Path, old: Manifest, new: Manifest, limit: int) -> dict[str, Any]:
    delta = delta_between(store, old, new)
    assert delta is not None
    schema = table_schema(new)
    new_rows, changed = (np.flatnonzero(marks)[:limit] for marks in (delta.is_new, ~delta.is_new))
    was = locate(store, old, delta.upserted.take(pa.array(changed)))
    gone = locate(store, old, delta.deleted.slice(0, limit))
    before, after, removed, added = (
        _json_rows(take(rows, schema.names), schema)
        for rows in (was, delta.after.only(changed), gone, delta.after.only(new_rows))
    )
    pairs = zip(before, after, strict=True)
    return {
        "added": added,
        "removed": removed,
        "changed": [_changed(a, b, {k: b[k] for k in schema.key}) for a, b in pairs],
    }


def _by_position(store: Path, old: Manifest, new: Manifest, limit: int) -> dict[str, Any]:
    changed = _changed_positions(store, old, new)[:limit]
    common = min(old.rows, new.rows)
    added, removed = (np.arange(common, min(m.rows, common + limit)) for m in (new, old))
    before, after, gone, come = (
        _json_rows(take(at_positions(store, m, at), table_schema(m).names), table_schema(m))
        for m, at in ((old, changed), (new, changed), (old, removed), (new, added))
    )
    rows = zip(before, after, changed.tolist(), strict=True)
    return {"added": come, "removed": gone, "changed": [_changed(a, b, {"row": position}) for a, b, position in rows]}


def _first_rows(store: Path, manifest: Manifest, limit: int) -> pa.Table:
    first = next(read_parts(store, manifest), None)
    return read_table(store, manifest.without_rows()) if first is None else first.slice(0, limit)


def _changed(before: dict[str, Any], after: dict[str, Any], key: dict[str, Any]) -> dict[str, Any]:
    names = [n for n in after if before[n] != after[n]]
    return {"key": key, "before": {n: before[n] for n in names}, "after": {n: after[n] for n in names}}


def _json_rows(rows: pa.Table, schema: Schema) -> list[dict[str, Any]]:
    columns = {c.name: [_json(v, c) for v in rows.column(c.name).to_pylist()] for c in schema.columns}
    return [{name: values[i] for name, values in columns.items()} for i in range(rows.num_rows)]


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


def _changed_positions(store: Path, old: Manifest, new: Manifest) -> Positions:
    """Positions that both unkeyed tables have, whose rows differ."""
    was, now = _hashes(store, old), _hashes(store, new)
    common = min(len(was), len(now))
    return np.flatnonzero(differ(was[:common], now[:common]))


def _hashes(store: Path, manifest: Manifest) -> npt.NDArray[np.uint64]:
    return words_of(read_merged(store, manifest, (), hashed=True))
