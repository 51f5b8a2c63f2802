"""A store of parts in a temporary folder, and tables written from rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from builder.store.manifest import Layer, Manifest, Part
from builder.store.parts import PartFolder
from builder.tables.arrow import arrow_schema, arrow_type
from builder.tables.batches import write_batch
from builder.tables.order import sort_by_key
from builder.tables.schema import Schema
from builder.tables.write import TableWriter

Row = dict[str, Any]


@dataclass
class Shelf:
    """Writes versions of tables below one folder."""

    path: Path

    def table(self, rows: list[Row], schema: Schema) -> pa.Table:
        columns = [pa.array([r[c.name] for r in rows], arrow_type(c.dtype)) for c in schema.columns]
        return pa.Table.from_arrays(columns, schema=arrow_schema(schema))

    def writer(self, schema: Schema, **bounds: Any) -> TableWriter:
        return TableWriter(PartFolder(self.path), schema, scratch=self.path / "scratch", **bounds)

    def write(self, rows: list[Row], schema: Schema, *, batch: int = 1000, **bounds: Any) -> Manifest:
        """A full version, appended in batches of rows."""
        writer = self.writer(schema, **bounds)
        for start in range(0, len(rows), batch):
            writer.append(self.table(rows[start : start + batch], schema))
        return writer.finish()

    def layered(self, versions: list[list[Row]], schema: Schema, **bounds: Any) -> Manifest:
        """The last version as a layer for each step from one version to the next; digests are those of the full one."""
        layers: list[Layer] = []
        before: dict[tuple[Any, ...], Row] = {}
        for version in versions:
            after = {tuple(r[k] for k in schema.key): r for r in version}
            upserts = [r for k, r in after.items() if before.get(k) != r]
            deletes = [dict(zip(schema.key, k, strict=True)) for k in before if k not in after]
            written = self.write(upserts, schema, **bounds).layers[0].upserts
            layers.append(Layer(written, self._deletes(deletes, schema)))
            before = after
        full = self.write(versions[-1], schema)
        return replace(full, layers=tuple(layers))

    def _deletes(self, keys: list[Row], schema: Schema) -> tuple[Part, ...]:
        if not keys:
            return ()
        ordered = sort_by_key(self.table(keys, schema.select(schema.key)), schema.key)
        return (write_batch(ordered, PartFolder(self.path)),)


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """A shelf for a whole run: names of parts are fresh, so tests do not meet."""
    return Shelf(tmp_path_factory.mktemp("store"))


@pytest.fixture
def own_shelf(tmp_path: Path) -> Shelf:
    """A shelf of the test's own, for what looks at the folder."""
    return Shelf(tmp_path)
