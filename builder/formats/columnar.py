"""Parquet and GeoParquet as tables, row group by row group.

Decides the dtypes of a Parquet file: its own, where a column without a null in any file does not allow nulls. Never
reads a file whole.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from builder.errors import BuilderError
from builder.execute.spec import IntakeSpec
from builder.formats import streams
from builder.formats.columns import check_same, full_schema, wanted_columns
from builder.formats.fit import fit, fixed_columns
from builder.formats.geometry import one_crs, source_crs
from builder.formats.opened import Opened, RowPlaces, unreadable
from builder.sources import SourceFile
from builder.tables.arrow import geometry_columns, schema_of
from builder.tables.schema import Column, Schema

BATCH_ROWS = 64 << 10
_UNNAMED_INDEX = re.compile(r"__index_level_\d+__")


def open_parquet(spec: IntakeSpec, scratch: Path, *, is_certain: bool) -> Opened:
    """The source's rows as its pinned, declared or own dtypes; an unnamed pandas index is left out.

    Raises
    ------
    BuilderError
        ``source-empty``, ``source-unreadable``, ``schema-drift``, ``bad-value``, ``bad-geometry``, ``crs-mismatch``.
    """
    paths = {file.path: _plain_path(spec, file, scratch) for file in spec.files}
    schemas = [_file_schema(spec, file, paths[file.path]) for file in spec.files]
    first, first_file = schemas[0], spec.files[0]
    wanted = wanted_columns(spec, first.names, first_file.shown)
    for schema, file in zip(schemas[1:], spec.files[1:], strict=True):
        wanted_columns(spec, schema.names, file.shown)
        check_same(spec, first.names, first_file.shown, schema.names, file.shown)
    crs = {
        name: one_crs(spec, name, [(s.column(name).crs, f.shown) for s, f in zip(schemas, spec.files, strict=True)])
        for name in first.names
        if first.column(name).dtype == "geometry"
    }
    open_names = [w.name for w in wanted if w.dtype is None and first.column(w.name).dtype in ("Int64", "boolean")]
    has_null = {name for file in spec.files for name in _nullable_names(spec, file, paths[file.path], open_names)}
    columns = fixed_columns(spec, wanted, _widest(schemas), has_null, crs)
    places = RowPlaces(lambda file, row: f"{file.shown}, row {row + 1}")

    def tables() -> Iterator[pa.Table]:
        for file in spec.files:
            places.begin(file)
            for batch in _batches(spec, file, paths[file.path], [c.name for c in columns]):
                yield fit(spec, file, pa.table(batch), wanted, columns, places)
                places.add(batch.num_rows)

    return Opened(full_schema(spec, columns), tables(), places)


def _plain_path(spec: IntakeSpec, file: SourceFile, scratch: Path) -> str:
    """A path where the file lies unpacked: Parquet is read from its end."""
    streams.check_not_empty(spec, file)
    if not streams.packing(file):
        return file.path
    scratch.mkdir(parents=True, exist_ok=True)
    return str(streams.unpack(spec, file, scratch / f"unpacked-{file.digest[:16]}.parquet"))


@contextmanager
def _parquet(spec: IntakeSpec, file: SourceFile, path: str) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as parquet:
            yield parquet
    except BuilderError:
        raise
    except (pa.ArrowException, OSError) as cause:
        raise unreadable(spec, file, cause) from cause


def _file_schema(spec: IntakeSpec, file: SourceFile, path: str) -> Schema:
    with _parquet(spec, file, path) as parquet:
        arrow = parquet.schema_arrow
        names = [n for n in arrow.names if not _UNNAMED_INDEX.fullmatch(n)]
        if len(set(arrow.names)) < len(arrow.names):
            raise unreadable(spec, file, "two columns have the same name")
        kept = pa.schema([arrow.field(n) for n in names], metadata=_without_pandas(arrow))
        foreign = _other_encoding(arrow)
        if foreign:
            raise unreadable(
                spec, file, f"geometry column '{foreign}' is not encoded as WKB", "write it as GeoParquet with WKB"
            )
        found = geometry_columns(kept, file.shown)
        try:
            schema = schema_of(kept, (), place=file.shown)
        except BuilderError as cause:
            raise unreadable(spec, file, cause.message, cause.hint) from cause
        columns = [
            Column(c.name, c.dtype, source_crs(spec, c.name, found[c.name], file.shown) if c.name in found else None)
            for c in schema.columns
        ]
        return Schema(tuple(columns))


def _without_pandas(schema: pa.Schema) -> dict[bytes, bytes]:
    return {k: v for k, v in (schema.metadata or {}).items() if k != b"pandas"}


def _other_encoding(schema: pa.Schema) -> str | None:
    """The first geometry column that is not WKB."""
    geo = json.loads((schema.metadata or {}).get(b"geo", b"{}"))
    return next((n for n, c in geo.get("columns", {}).items() if c.get("encoding") != "WKB"), None)


def _nullable_names(spec: IntakeSpec, file: SourceFile, path: str, names: Sequence[str]) -> Iterator[str]:
    """Those columns of a file that hold a null: by its statistics, or by reading the column where it has none."""
    if not names:
        return
    with _parquet(spec, file, path) as parquet:
        meta = parquet.metadata
        index = {meta.schema.column(i).path: i for i in range(meta.num_columns)}
        for name in names:
            chunks = [meta.row_group(g).column(index[name]) for g in range(meta.num_row_groups)]
            counts = [c.statistics.null_count if c.statistics and c.statistics.has_null_count else None for c in chunks]
            if None in counts:
                batches = parquet.iter_batches(BATCH_ROWS, columns=[name], use_threads=False)
                counts = [batch.column(0).null_count for batch in batches]
            if any(counts):
                yield name


def _widest(schemas: Sequence[Schema]) -> Schema:
    """The first file's columns, nullable where one of the files allows nulls in them."""

    def widest(column: Column) -> Column:
        dtypes = {s.column(column.name).dtype for s in schemas}
        wide = next((d for d in ("Int64", "boolean") if d in dtypes), column.dtype)
        return Column(column.name, wide, column.crs)

    return Schema(tuple(widest(c) for c in schemas[0].columns))


def _batches(spec: IntakeSpec, file: SourceFile, path: str, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with _parquet(spec, file, path) as parquet:
        batches = parquet.iter_batches(BATCH_ROWS, columns=list(names), use_threads=False)
        while True:
            try:
                batch = next(batches, None)
            except (pa.ArrowException, OSError) as cause:
                raise unreadable(spec, file, cause) from cause
            if batch is None:
                return
            yield batch.select(list(names))
