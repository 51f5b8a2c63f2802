"""Schemas and Arrow: which Arrow type stands for a dtype, and how a table is made to conform to a schema.

Decides what is canonical in storage: column order and types by the schema, no -0.0, null for every NaN, WKB in ISO
flavour and little-endian order. A cast never loses a value silently. Knows nothing of pandas.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from builder.errors import BuilderError, error
from builder.tables.crs import LON_LAT, canonical_crs, crs_json
from builder.tables.schema import Column, Schema, decimal_parts
from builder.tables.wkb import canonical_wkb

_CHUNK_BYTES = 256 << 20

_PLAIN: dict[str, pa.DataType] = {
    "int64": pa.int64(),
    "Int64": pa.int64(),
    "bool": pa.bool_(),
    "boolean": pa.bool_(),
    "float64": pa.float64(),
    "string": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
    "binary": pa.binary(),
    "geometry": pa.binary(),
}
_CASTS: dict[str, frozenset[str]] = {  # dtype kind -> dtype kinds it may be cast to where no value is lost
    "integer": frozenset({"integer", "float64", "decimal"}),
    "float64": frozenset({"float64", "integer"}),
    "decimal": frozenset({"decimal", "integer"}),
    "bool": frozenset({"bool"}),
    "string": frozenset({"string"}),
    "date": frozenset({"date", "timestamp"}),
    "timestamp": frozenset({"timestamp", "date"}),
    "binary": frozenset({"binary", "geometry"}),
    "geometry": frozenset({"geometry", "binary"}),
}


def arrow_type(dtype: str) -> pa.DataType:
    """The Arrow type that stores a dtype; a geometry is stored as WKB."""
    parts = decimal_parts(dtype)
    return _PLAIN[dtype] if parts is None else pa.decimal128(*parts)


def arrow_schema(schema: Schema) -> pa.Schema:
    """The Arrow schema of a stored table; a geometry adds GeoParquet 1.1 metadata, so that readers find its CRS."""
    fields = [pa.field(c.name, arrow_type(c.dtype), nullable=c.is_nullable) for c in schema.columns]
    geometries: dict[str, Any] = {
        c.name: {"encoding": "WKB", "geometry_types": [], "crs": c.crs and crs_json(c.crs)}
        for c in schema.columns
        if c.dtype == "geometry"
    }
    if not geometries:
        return pa.schema(fields)
    geo = {"version": "1.1.0", "primary_column": schema.geometry, "columns": geometries}
    return pa.schema(fields, metadata={"geo": json.dumps(geo)})


def geometry_columns(schema: pa.Schema, place: str | None = None) -> dict[str, str | None]:
    """The geometry columns that an Arrow schema tells of in its metadata, with their canonical CRS."""
    found: dict[str, str | None] = {}
    for name, column in json.loads((schema.metadata or {}).get(b"geo", b"{}")).get("columns", {}).items():
        if column.get("encoding") == "WKB" and name in schema.names:
            found[name] = canonical_crs(column["crs"], place) if "crs" in column else LON_LAT
    for field in schema:
        extension = (
            getattr(field.type, "extension_name", None)
            or (field.metadata or {}).get(b"ARROW:extension:name", b"").decode()
        )
        if extension in ("geoarrow.wkb", "ogc.wkb"):
            found.setdefault(field.name, None)
    return found


def schema_of(
    table: pa.Table | pa.Schema,
    key: tuple[str, ...],
    *,
    crs: Mapping[str, str | None] | str | None = None,
    place: str | None = None,
) -> Schema:
    """The schema that an Arrow table has by its types alone; values are never looked at.

    Parameters
    ----------
    table
        A table, or its Arrow schema.
    key
        The key columns.
    crs
        A mapping names the columns that are geometries, with their CRS; a text is the CRS of the geometries that the
        table tells of and that have none.
    place
        Where the table comes from, for errors.

    Raises
    ------
    RecipeError
        ``result-type``: a column of a type that cannot be stored (nested, duration, …), or a key column that is
        missing.
    """
    arrow = table if isinstance(table, pa.Schema) else table.schema
    geometries = geometry_columns(arrow, place)
    if isinstance(crs, Mapping):
        geometries |= {name: canonical_crs(value, place) for name, value in crs.items()}
    elif crs is not None:
        geometries = {name: known or canonical_crs(crs, place) for name, known in geometries.items()}
    check_names(arrow.names, key, place)
    return Schema(tuple(_column(field, geometries, place) for field in arrow), tuple(key))


def check_names(names: list[str], key: tuple[str, ...], place: str | None = None) -> None:
    """Refuse column names that are no strings, not UTF-8, empty or there twice, and a key that is not among them."""
    for name in names:
        if not isinstance(name, str) or not name or not _is_utf8(name):
            raise error("result-type", f"column name {name!r} is no text", place=place, hint="name columns by strings")
    if len(set(names)) < len(names):
        twice = next(n for i, n in enumerate(names) if n in names[:i])
        raise error("result-type", f"column '{twice}' is there twice", place=place, hint="rename or drop one of them")
    for name in key:
        if name not in names:
            raise error(
                "result-type",
                f"key column '{name}' is missing",
                place=place,
                facts=[("columns", ", ".join(names[:40]) or "none")],
                hint="give the column, or declare another key",
            )


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _column(field: pa.Field, geometries: Mapping[str, str | None], place: str | None) -> Column:
    if field.name in geometries:
        return Column(field.name, "geometry", geometries[field.name])
    dtype = _dtype(field.type, field.nullable)
    if dtype is None:
        raise error(
            "result-type",
            f"column '{field.name}' has the type {field.type}, which cannot be stored",
            place=place,
            hint="convert it to numbers, text, dates, timestamps, decimals, bytes or a geometry",
        )
    return Column(field.name, dtype)


def _dtype(kind: pa.DataType, nullable: bool) -> str | None:
    types = pa.types
    if types.is_dictionary(kind):
        return _dtype(kind.value_type, nullable)
    if types.is_integer(kind):
        return "Int64" if nullable else "int64"
    if types.is_boolean(kind):
        return "boolean" if nullable else "bool"
    if types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})" if 0 <= kind.scale <= kind.precision <= 38 else None
    tests = {
        "float64": types.is_floating,
        "date": types.is_date,
        "timestamp": types.is_timestamp,
        "string": lambda k: (
            types.is_string(k) or types.is_large_string(k) or types.is_string_view(k) or types.is_null(k)
        ),
        "binary": lambda k: (
            types.is_binary(k) or types.is_large_binary(k) or types.is_binary_view(k) or types.is_fixed_size_binary(k)
        ),
    }
    return next((dtype for dtype, holds in tests.items() if holds(kind)), None)


def conform(table: pa.Table, schema: Schema, *, place: str | None = None) -> pa.Table:
    """The table with exactly the columns, order and types of the schema and canonical values; rows keep their order.

    Nulls stay; NaN becomes null and -0.0 becomes 0.0. A cast that would lose something (1.5 to an integer, 10 ns to a
    timestamp) is refused, as are nulls in ``int64`` and ``bool``.

    Raises
    ------
    RecipeError
        ``result-type``: a column is missing, too many, or of a kind that its dtype does not take.
    DataError
        ``bad-value``: a value that its dtype cannot hold, with column, row and value.
    """
    names = table.column_names
    check_names(names, schema.names, place)
    extra = [n for n in names if n not in schema.names]
    if extra:
        raise error("result-type", f"column '{extra[0]}' is not declared", place=place, hint="drop it, or declare it")
    columns = [_conform_column(table.column(c.name), c, place) for c in schema.columns]
    # A table without columns has no rows to keep.
    return pa.Table.from_arrays(columns, schema=arrow_schema(schema))


def _conform_column(values: pa.ChunkedArray, column: Column, place: str | None) -> pa.ChunkedArray:
    if isinstance(values.type, pa.BaseExtensionType):
        values = pa.chunked_array([c.storage for c in values.chunks], values.type.storage_type)
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_large_string(values.type) or pa.types.is_large_binary(values.type):
        values = _in_chunks(values)
    if pa.types.is_floating(values.type):
        values = _canonical_floats(values)
    values = _cast(values, column, place)
    if column.dtype == "geometry":
        values = canonical_wkb(values, column.name, place)
    if values.null_count and not column.is_nullable:
        nullable = {"int64": "Int64", "bool": "boolean"}[column.dtype]
        row = pc.index(pc.is_null(values), True).as_py()
        raise bad_value(column, row, None, place, f"declare it {nullable} where nulls may stand in it")
    return values


def _in_chunks(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same values in chunks that 32-bit offsets can address."""
    pieces = values.nbytes // _CHUNK_BYTES + 1
    rows = max(1, -(-len(values) // pieces))
    chunks = [values.slice(start, rows).chunks for start in range(0, len(values), rows)]
    return pa.chunked_array([chunk for piece in chunks for chunk in piece], values.type)


def bad_value(column: Column, row: int, value: Any, place: str | None, hint: str) -> BuilderError:
    """The error of a value that its column cannot hold; rows count from 0."""
    shown = "null" if value is None else repr(value) if len(repr(value)) < 100 else repr(value)[:100] + "…"
    return error(
        "bad-value",
        f"column '{column.name}' of dtype {column.dtype} cannot hold {shown}",
        place=place,
        facts=[("column", column.name), ("row", str(row)), ("value", shown)],
        hint=hint,
    )


def _canonical_floats(values: pa.ChunkedArray) -> pa.ChunkedArray:
    values = pc.add(values.cast(pa.float64()), 0.0)  # -0.0 + 0.0 is 0.0; all else stays
    isnan = pc.is_nan(values)
    return pc.if_else(isnan, None, values) if pc.any(isnan).as_py() else values


def _cast(values: pa.ChunkedArray, column: Column, place: str | None) -> pa.ChunkedArray:
    goal = arrow_type(column.dtype)
    if values.type == goal:
        return values
    held = _dtype(values.type, nullable=True)
    if not pa.types.is_null(values.type) and (held is None or _kind(column.dtype) not in _CASTS[_kind(held)]):
        raise error(
            "result-type",
            f"column '{column.name}' is declared {column.dtype} and holds {values.type}",
            place=place,
            hint="convert it, or declare another dtype",
        )
    try:
        return _exact_cast(values, goal)
    except pa.ArrowInvalid as cause:
        row = _first_failing(values, goal)
        hint = "give values that fit, or declare a wider dtype"
        raise bad_value(column, row, _shown(values[row]), place, hint) from cause


def _kind(dtype: str) -> str:
    if dtype.startswith("decimal"):
        return "decimal"
    return {"int64": "integer", "Int64": "integer", "boolean": "bool"}.get(dtype, dtype)


def _exact_cast(values: pa.ChunkedArray, goal: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_integer(values.type) and pa.types.is_decimal(goal):
        values = values.cast(pa.decimal256(76, goal.scale))  # Arrow refuses int64 to less than 19 digits unseen
    result = values.cast(goal)
    if pa.types.is_timestamp(values.type) and pa.types.is_date32(goal):  # Arrow drops the time of day silently
        again = result.cast(pa.timestamp("us")).cast(pa.int64())
        whole = values.cast(pa.timestamp("us", values.type.tz)).cast(pa.int64())
        if not pc.all(pc.equal(again, whole), min_count=0).as_py():
            raise pa.ArrowInvalid("a timestamp that is no whole day")
    return result


def _first_failing(values: pa.ChunkedArray, goal: pa.DataType) -> int:
    """The first row whose cast fails, by halving: about two casts of the column in all."""
    low, high = 0, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            _exact_cast(values.slice(low, middle - low), goal)
            low = middle
        except pa.ArrowInvalid:
            high = middle
    return low


def _shown(value: pa.Scalar) -> Any:
    try:
        return value.as_py()
    except ValueError:  # nanoseconds that Python's datetime cannot hold
        return str(value)
