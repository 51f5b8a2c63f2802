"""Typed columns, from Parquet and vector files, as the dtypes of a source.

Decides which dtype a typed file's column gets and turns its values into it. Text becomes other dtypes only where that
is declared. Never opens a file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from builder.errors import BuilderError
from builder.execute.spec import IntakeSpec
from builder.formats.assemble import assemble
from builder.formats.columns import Wanted
from builder.formats.convert import Misfit, typed
from builder.formats.geometry import checked
from builder.formats.opened import RowPlaces
from builder.sources import SourceFile
from builder.tables.arrow import conform
from builder.tables.schema import Column, Schema

_STRICT = {"Int64": "int64", "boolean": "bool"}


def fixed_columns(
    spec: IntakeSpec,
    wanted: Sequence[Wanted],
    own: Schema,
    has_null: Collection[str],
    crs: Mapping[str, str | None],
) -> list[Column]:
    """The columns of a typed source: declared and pinned dtypes, else its own, refusing nulls where it has none."""
    columns = []
    for want in wanted:
        dtype = want.dtype or own.column(want.name).dtype
        if want.dtype is None and want.name not in has_null:
            dtype = _STRICT.get(dtype, dtype)
        columns.append(Column(want.name, dtype, crs.get(want.name, spec.crs) if dtype == "geometry" else None))
    return columns


def fit(
    spec: IntakeSpec,
    file: SourceFile,
    table: pa.Table,
    wanted: Sequence[Wanted],
    columns: Sequence[Column],
    places: RowPlaces,
) -> pa.Table:
    """A batch of a file as a table of these columns, the file's name first where it is asked for.

    Raises
    ------
    BuilderError
        ``bad-value``, ``schema-drift`` or ``bad-geometry`` with file and row.
    """

    def convert(want: Wanted, column: Column) -> pa.ChunkedArray | pa.Array:
        return _column(table.column(column.name), column, want.is_lenient)

    return assemble(spec, file, table.num_rows, wanted, columns, convert, places.place_of)


def _column(values: pa.ChunkedArray, column: Column, lenient: bool) -> pa.ChunkedArray | pa.Array:
    if isinstance(values.type, pa.BaseExtensionType):
        values = pa.chunked_array([c.storage for c in values.chunks], values.type.storage_type)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if column.dtype == "geometry" and not pa.types.is_string(values.type):
        return checked(values.combine_chunks() if values.num_chunks != 1 else values.chunk(0))
    is_text = pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
    if lenient and is_text != (column.dtype == "string"):
        texts = values.cast(pa.string())
        return typed(texts.combine_chunks() if texts.num_chunks != 1 else texts.chunk(0), column.dtype, lenient=True)
    try:
        return conform(pa.table({column.name: values}), Schema((column,))).column(0)
    except BuilderError as cause:
        raise _misfit(cause, values) from cause


def _misfit(cause: BuilderError, values: pa.ChunkedArray) -> Misfit:
    """The first value that stands in the way, as `conform` names it."""
    facts = dict(cause.facts)
    if "row" in facts:
        row = int(facts["row"])
        value = values[row]
        return Misfit(row, str(value) if value.is_valid else None, cause.message)
    row = pc.index(values.is_valid(), True).as_py()
    return Misfit(max(row, 0), str(values[row]) if row >= 0 else None, cause.message)
