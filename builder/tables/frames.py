"""Tables and frames: what a recipe sees of a table, and the table that its result is.

Decides the dtype of a pandas column by the schema alone, and the schema of a result by its dtypes; by its values only
where a column's dtype is object. pandas metadata is never read or written.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from builder.errors import BuilderError, error
from builder.tables.arrow import arrow_type, check_names, conform, schema_of
from builder.tables.crs import canonical_crs
from builder.tables.schema import Column, Schema
from builder.tables.wkb import wkb_of

if TYPE_CHECKING:
    import pandas as pd

Columns = tuple[tuple[str, str], ...]

_EXTENSION = {"Int64": "Int64", "boolean": "boolean", "string": "string"}


def to_frame(table: pa.Table, schema: Schema) -> Any:
    """A DataFrame with a fresh RangeIndex, a GeoDataFrame where the schema has a geometry; dtypes by the schema alone.

    ``int64``, ``bool`` and ``float64`` are numpy's (null is NaN), ``Int64`` and ``boolean`` pandas' masked ones,
    ``string`` is `pandas.StringDtype` with `pandas.NA`, ``timestamp`` is ``datetime64[us, UTC]``; ``date``, ``decimal``
    and ``binary`` are Arrow's; geometries have their CRS, and null is None.
    """
    import pandas as pd

    series = {c.name: _series(table.column(c.name), c) for c in schema.columns}
    frame = pd.DataFrame(series, index=pd.RangeIndex(table.num_rows), columns=list(schema.names))
    if schema.geometry is None:
        return frame
    import geopandas

    return geopandas.GeoDataFrame(frame, geometry=schema.geometry)


def _series(values: pa.ChunkedArray, column: Column) -> Any:
    import pandas as pd

    if column.dtype == "geometry":
        import geopandas
        import shapely

        shapes = shapely.from_wkb(values.to_numpy(zero_copy_only=False))
        return geopandas.GeoSeries(geopandas.array.GeometryArray(shapes, crs=column.crs))
    if column.dtype in ("int64", "bool", "float64"):
        # A copy: recipes may write into what they get.
        return pd.Series(np.array(values.to_numpy(zero_copy_only=False), dtype=column.dtype))
    if column.dtype in _EXTENSION:
        dtype: Any = pd.api.types.pandas_dtype(_EXTENSION[column.dtype])
        return pd.Series(dtype.__from_arrow__(values))
    if column.dtype == "timestamp":
        instants = np.array(values.cast(pa.timestamp("us")).to_numpy(zero_copy_only=False), dtype="datetime64[us]")
        return pd.Series(instants).dt.tz_localize("UTC")
    return pd.Series(pd.arrays.ArrowExtensionArray(values))


def from_result(
    value: Any, key: tuple[str, ...], columns: Columns, *, recipe: str, place: str | None
) -> tuple[pa.Table, Schema]:
    """The conformed table and the schema of what a recipe returned: a DataFrame, a GeoDataFrame or an Arrow table.

    Named index levels become leading columns, an unnamed index is dropped. Categories are decoded. Columns of dtype
    object are taken by their values: all of one kind, null apart; all null is ``string``; integers and booleans are the
    nullable ones. The rows keep their order.

    Parameters
    ----------
    value
        What the recipe returned.
    key
        The declared key; these columns must be there.
    columns
        The declared dtypes; where not empty exactly these columns must be there, and come out in this order.
    recipe, place
        The recipe's name and where it is declared, for errors.

    Raises
    ------
    RecipeError
        ``result-type``: not a table, a column of a type that cannot be stored or of two kinds, a missing or an extra
        column.
    DataError
        ``bad-value``: a value that its declared dtype cannot hold.
    """
    try:
        table, crs = _arrow_table(value)
        if columns:
            _check_declared(table.column_names, [name for name, _ in columns])
        schema = schema_of(table, key, crs=crs)
        if columns:
            known = {c.name: c.crs for c in schema.columns}
            declared = (Column(n, d, known[n] if d == "geometry" else None) for n, d in columns)
            schema = Schema(tuple(declared), schema.key)
        return conform(table, schema), schema
    except BuilderError as problem:
        problem.place = problem.place or place
        problem.facts = (("recipe", recipe), *problem.facts)
        raise


def _check_declared(names: Iterable[Any], declared: list[str]) -> None:
    names = list(names)
    missing = [n for n in declared if n not in names]
    extra = [n for n in names if n not in declared]
    for found, what in ((missing, "is declared and missing"), (extra, "is not declared")):
        if found:
            raise error(
                "result-type",
                f"column '{found[0]}' of the result {what}",
                facts=[("declared", ", ".join(declared)), ("returned", ", ".join(map(str, names)))],
                hint="return exactly the declared columns, or change columns=",
            )


def _arrow_table(value: Any) -> tuple[pa.Table, dict[str, str | None] | None]:
    if isinstance(value, pa.Table):
        return value, None
    import pandas as pd

    if not isinstance(value, pd.DataFrame):
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        raise error("result-type", f"a table was expected and the result is '{kind}'", hint="return a DataFrame")
    frame = _without_index(value)
    check_names(list(frame.columns), ())
    arrays: list[pa.Array] = []
    fields: list[pa.Field] = []
    crs: dict[str, str | None] = {}
    for position, name in enumerate(frame.columns):
        series = frame.iloc[:, position]
        array, is_nullable, is_geometry = _array(series, name)
        if is_geometry:
            crs[name] = canonical_crs(getattr(series.array, "crs", None))
        arrays.append(array)
        fields.append(pa.field(name, array.type, nullable=is_nullable))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields)), crs


def _without_index(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with named levels of its index as leading columns; what index is left says nothing."""
    import pandas as pd

    levels = [i for i, name in enumerate(frame.index.names) if name is not None]
    if not levels:
        return frame
    plain = pd.DataFrame({i: frame.iloc[:, i].array for i in range(frame.shape[1])}, index=range(len(frame)))
    plain.columns = frame.columns
    for position, level in enumerate(levels):
        values = frame.index.get_level_values(level)
        plain.insert(position, values.name, values.array, allow_duplicates=True)
    return plain


def _array(series: pd.Series[Any], name: str) -> tuple[Any, bool, bool]:
    """A column as Arrow, whether its dtype allows nulls, and whether it is a geometry."""
    import pandas as pd

    dtype = series.dtype
    if dtype.name == "geometry":
        return wkb_of(np.asarray(series.array, dtype=object)), True, True
    if isinstance(dtype, pd.CategoricalDtype):
        codes = series.cat.codes.to_numpy()
        array, _, is_geometry = _array(pd.Series(series.cat.categories), name)
        return array.take(pa.array(codes, pa.int64(), mask=codes < 0)), True, is_geometry
    if isinstance(dtype, pd.SparseDtype):
        return _array(pd.Series(np.asarray(series.array)), name)
    if dtype.kind == "O" and isinstance(dtype, np.dtype):
        return _object_array(series, name)
    try:
        array = pa.array(series.array, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as cause:
        raise _unstorable(name, str(dtype)) from cause
    is_plain = isinstance(dtype, np.dtype) and dtype.kind in "iub"
    return array, not is_plain, False


def _object_array(series: pd.Series[Any], name: str) -> tuple[pa.Array, bool, bool]:
    values = series.to_numpy()
    is_null = series.isna().to_numpy()
    kinds = {kind: _object_kind(kind, name) for kind in {type(v) for v in values[~is_null]}}
    found = set(kinds.values())
    if len(found) > 1:
        one, other = sorted(k.__name__ for k in kinds)[:2] if len(kinds) == 2 else _two_types(kinds)
        raise error(
            "result-type",
            f"column '{name}' holds both {one} and {other}",
            facts=[("column", name)],
            hint="convert the column to one type",
        )
    kind = found.pop() if found else "string"
    if kind == "geometry":
        return wkb_of(series.where(~series.isna(), None).to_numpy()), True, True
    goal = None if kind == "decimal" else arrow_type(kind)
    if kind in ("Int64", "float64", "boolean"):
        values = np.array([v.item() if isinstance(v, np.generic) else v for v in values], object)
    try:
        return pa.array(values, goal, mask=is_null), True, False
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeEncodeError) as cause:
        raise error(
            "bad-value",
            f"column '{name}' holds a value that cannot be stored as {kind}: {cause}",
            facts=[("column", name)],
            hint="give values that fit, or convert the column",
        ) from cause


def _object_kind(kind: type, name: str) -> str:
    """The dtype that stores Python objects of one type; the order matters: bool is an int, datetime a date."""
    table: tuple[tuple[tuple[type, ...], str], ...] = (
        ((str,), "string"),
        ((bool, np.bool_), "boolean"),
        ((int, np.integer), "Int64"),
        ((float, np.floating), "float64"),
        ((dt.datetime, np.datetime64), "timestamp"),
        ((dt.date,), "date"),
        ((Decimal,), "decimal"),
        ((bytes, bytearray, memoryview), "binary"),
    )
    for types, dtype in table:
        if issubclass(kind, types):
            return dtype
    import shapely

    if issubclass(kind, shapely.Geometry):
        return "geometry"
    raise _unstorable(name, kind.__name__)


def _two_types(kinds: dict[type, str]) -> tuple[str, str]:
    by_dtype = {dtype: kind.__name__ for kind, dtype in kinds.items()}
    one, other, *_ = sorted(by_dtype.values())
    return one, other


def _unstorable(name: str, kind: str) -> BuilderError:
    return error(
        "result-type",
        f"column '{name}' has the type {kind}, which cannot be stored",
        facts=[("column", name)],
        hint="convert it to numbers, text, dates, timestamps, decimals, bytes or a geometry",
    )
