"""Reading tables out of the store: one version, or all members of a family as one table.

Decides what readers get: rows in key order, columns by the schema; of a family the parameters as leading columns. Every
reader of a table goes through here. Never writes.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from itertools import takewhile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from builder.digests import Scalar
from builder.errors import BuilderError, error
from builder.names import Params, member_name
from builder.store.manifest import Manifest
from builder.tables.arrow import arrow_schema, arrow_type
from builder.tables.layers import BATCH_ROWS, merged_parts, read_merged, table_schema
from builder.tables.schema import Column, Schema

Where = tuple[tuple[str, Any], ...]

SOUGHT_FROM = 1 << 16
"""Tables of fewer rows are read whole as fast as a key is found in them."""

_WIDER = {frozenset({"int64", "Int64"}): "Int64", frozenset({"bool", "boolean"}): "boolean"}


def read_table(store: Path, manifest: Manifest, columns: tuple[str, ...] | None = None, where: Where = ()) -> pa.Table:
    """The rows of a version, sorted by key (unkeyed: in their order), with these columns in this order.

    Parameters
    ----------
    store, manifest
        The version.
    columns
        None: all of them.
    where
        Only rows in which each of these columns has the value; None matches nulls.

    Raises
    ------
    GraphError
        ``unknown-input``: a column that the table does not have.
    StoreError
        ``store-damaged``: a part is missing or cannot be read.
    """
    schema = table_schema(manifest)
    wanted = schema.names if columns is None else columns
    needed = [*wanted, *(name for name, _ in where if name not in wanted)]
    check_columns(schema, needed)
    table = filter_rows(_rows_that_may(store, manifest, tuple(needed), dict(where)), where)
    return _with_schema(table.select(wanted), schema.select(wanted))


def read_parts(
    store: Path,
    manifest: Manifest,
    columns: tuple[str, ...] | None = None,
    *,
    span: range | None = None,
    most_rows: int | None = None,
) -> Iterator[pa.Table]:
    """The rows as `read_table` gives them, in pieces of at most `most_rows` (`BATCH_ROWS`); in bounded memory.

    `span`: only the rows that belong to these parts, as `tables.layers.merged_parts` has it.
    """
    count = most_rows or BATCH_ROWS
    schema = table_schema(manifest)
    wanted = schema.names if columns is None else columns
    check_columns(schema, wanted)
    for table in merged_parts(store, manifest, tuple(wanted), span):
        for start in range(0, table.num_rows, count):
            yield _with_schema(table.slice(start, count), schema.select(wanted))


def gather(
    store: Path,
    members: Sequence[tuple[Params, Manifest]],
    columns: tuple[str, ...] | None = None,
    where: Where = (),
) -> tuple[pa.Table, Schema]:
    """One table of all members in the order of their parameters' values, and its schema.

    The parameters are leading columns (str is ``string``, int ``int64``, bool ``bool``, date ``date``); a column of the
    same name in the members must hold the same value and is dropped. The key is the parameters and the members' key,
    where all have the same one that is read; else there is none. No members give a table with no columns.

    Parameters
    ----------
    store, members
        The versions, each with its member's parameters.
    columns
        Columns of the members to read; parameters come in any case. None: all.
    where
        Only rows in which each column, or parameter, has the value.

    Raises
    ------
    RecipeError
        ``result-type``: members differ in columns or dtypes, or hold another value than their parameter.
    GraphError
        ``unknown-input``: a column that the members do not have.
    """
    members = sorted(members, key=lambda m: tuple((type(v).__name__, v) for _, v in m[0]))
    if not members:
        return pa.table({}), Schema(())
    names = tuple(name for name, _ in members[0][0])
    by_params, by_columns = _split(where, names)
    schema = _common_schema(members)
    wanted = tuple(n for n in (schema.names if columns is None else columns) if n in schema.names or n not in names)
    check_columns(schema, wanted)
    chosen = [m for m in members if all(dict(m[0]).get(n) == v for n, v in by_params)]
    result = _result_schema(members[0][0], schema, wanted)
    tables = [_member_table(store, params, manifest, result, wanted, by_columns) for params, manifest in chosen]
    return pa.concat_tables(tables) if tables else arrow_schema(result).empty_table(), result


def _split(where: Where, names: tuple[str, ...]) -> tuple[Where, Where]:
    return tuple(w for w in where if w[0] in names), tuple(w for w in where if w[0] not in names)


def _result_schema(params: Params, schema: Schema, wanted: tuple[str, ...]) -> Schema:
    names = tuple(name for name, _ in params)
    leading = tuple(Column(name, _param_dtype(value)) for name, value in params)
    rest = tuple(schema.column(n) for n in wanted if n not in names)
    is_whole = bool(schema.key) and set(schema.key) <= {*wanted, *names}
    key = (*names, *(k for k in schema.key if k not in names)) if is_whole else ()
    return Schema((*leading, *rest), key)


def _param_dtype(value: Scalar) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int64"
    return "date" if isinstance(value, date) else "string"


def _member_table(
    store: Path, params: Params, manifest: Manifest, result: Schema, wanted: tuple[str, ...], where: Where
) -> pa.Table:
    own = table_schema(manifest).names
    shared = tuple(name for name, _ in params if name in own)
    needed = (*(n for n in wanted if n not in shared), *shared)
    table = read_table(store, manifest, needed or own[:1], where)  # one column at least: it tells the number of rows
    columns = []
    for name, value in params:
        constant = pa.scalar(value, arrow_type(result.column(name).dtype))
        if name in shared:
            _check_shared(table.column(name), constant, name, params)
        columns.append(pa.chunked_array([pa.repeat(constant, table.num_rows)]))
    columns += [table.column(c.name) for c in result.columns[len(params) :]]
    return pa.Table.from_arrays(columns, schema=arrow_schema(result))


def _check_shared(values: pa.ChunkedArray, constant: pa.Scalar, name: str, params: Params) -> None:
    is_same = values.type == constant.type and pc.all(pc.equal(values, constant), min_count=0).as_py()
    if not is_same or values.null_count:
        raise error(
            "result-type",
            f"column '{name}' of '{member_name('', params)}' holds other values than the parameter",
            hint="rename the column, or the parameter",
        )


def _common_schema(members: Sequence[tuple[Params, Manifest]]) -> Schema:
    first_params, first = members[0][0], table_schema(members[0][1])
    dtypes = {c.name: c for c in first.columns}
    key = first.key
    for params, manifest in members[1:]:
        schema = table_schema(manifest)
        if schema.key != key:
            key = ()
        odd = set(schema.names) ^ dtypes.keys()
        if odd:
            raise _differ(min(odd), first_params, params, "is in one of them only")
        for column in schema.columns:
            known = dtypes[column.name]
            dtype = known.dtype if known.dtype == column.dtype else _WIDER.get(frozenset({known.dtype, column.dtype}))
            if dtype is None or known.crs != column.crs:
                was, now = (f"{c.dtype} {c.crs or ''}".strip() for c in (known, column))
                raise _differ(column.name, first_params, params, f"is {was} and {now}")
            dtypes[column.name] = Column(column.name, dtype, known.crs)
    return Schema(tuple(dtypes[n] for n in first.names), key)


def _differ(column: str, left: Params, right: Params, what: str) -> BuilderError:
    names = " and ".join(f"'{member_name('', params)}'" for params in (left, right))
    return error(
        "result-type",
        f"members {names} do not fit together: column '{column}' {what}",
        facts=[("column", column)],
        hint="declare columns= for the recipe or source of the family",
    )


def check_columns(schema: Schema, names: tuple[str, ...] | list[str]) -> None:
    """Refuse names that are no columns of the table, with the nearest ones."""
    for name in names:
        if name not in schema.names:
            near = difflib.get_close_matches(name, schema.names, n=3) or schema.names[:10]
            raise error(
                "unknown-input",
                f"column '{name}' is not in the table",
                facts=[("column", name)],
                hint="there is " + ", ".join(f"'{n}'" for n in near) if near else "the table has no columns",
            )


def _rows_that_may(store: Path, manifest: Manifest, columns: tuple[str, ...], where: Mapping[str, Any]) -> pa.Table:
    """Rows among which are all that have these values: of a large table those with the beginning of the key that the
    values say.
    """
    schema = table_schema(manifest)
    said = list(takewhile(lambda name: where.get(name) is not None, schema.key))
    if not said or manifest.rows < SOUGHT_FROM:
        return read_merged(store, manifest, columns)
    from builder.tables.among import rows_among  # few reads want its compiled loops

    fields = arrow_schema(schema.select(said))
    # The search compares bits, and -0.0 is stored as 0.0.
    values = [_scalar(where[f.name], f.type, f.name).as_py() for f in fields]
    sought = [pa.array([v + 0.0 if isinstance(v, float) else v], f.type) for v, f in zip(values, fields, strict=True)]
    return rows_among(store, manifest, pa.Table.from_arrays(sought, schema=fields), columns)


def filter_rows(table: pa.Table, where: Where) -> pa.Table:
    """The rows in which each of these columns has the value; None matches nulls.

    Raises
    ------
    ConfigError
        ``recipe-declaration``: a value that the column's dtype cannot hold.
    """
    for name, value in where:
        column = table.column(name)
        table = table.filter(
            pc.is_null(column) if value is None else pc.equal(column, _scalar(value, column.type, name))
        )
    return table


def _scalar(value: Any, kind: pa.DataType, name: str) -> pa.Scalar:
    is_fitting = isinstance(value, bool) == pa.types.is_boolean(kind)
    is_fitting &= not isinstance(value, float) or pa.types.is_floating(kind)
    try:
        if is_fitting:
            return pa.scalar(value, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError):
        pass
    raise error(
        "recipe-declaration",
        f"column '{name}' of type {kind} is compared with {value!r}",
        hint="give `where` a value of the column's dtype",
    )


def _with_schema(table: pa.Table, schema: Schema) -> pa.Table:
    return pa.Table.from_arrays(table.columns, schema=arrow_schema(schema))
