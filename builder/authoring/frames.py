"""Values of numpy, pandas, pyarrow and shapely by their content.

Decides which libraries' values are compared by value rather than by their structure. Never imports a library: a value
of one is there only where the recipes have imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, Protocol


class Sink(Protocol):
    """What values are written to; see `authoring.values.Writer`."""

    def text(self, *fields: str) -> None:
        """Add texts."""

    def fields(self, name: str, *values: Any) -> None:
        """Add the parts of a value."""

    def sequence(self, name: str, items: Iterable[Any]) -> None:
        """Add values in order."""


def library_value(value: Any, sink: Sink) -> bool:
    """Write a value of a known library; False, and nothing written, where `value` is none."""
    library = type(value).__module__.partition(".")[0]
    write = _BY_LIBRARY.get(library)
    return write is not None and library in sys.modules and write(value, sink)


def _numpy(value: Any, sink: Sink) -> bool:
    import numpy as np

    if isinstance(value, np.ma.MaskedArray):
        sink.fields("masked", np.ma.getmaskarray(value), value.filled(), value.fill_value)
    elif isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        sink.fields(type(value).__name__, _numpy_dtype(array.dtype), list(array.shape))
        if array.dtype.hasobject or array.dtype.kind == "T":
            sink.sequence("elements", array.ravel().tolist())
        else:
            sink.fields("bytes", array.tobytes())
    elif isinstance(value, np.dtype):
        sink.fields("dtype", _numpy_dtype(value))
    else:
        return False
    return True


def _numpy_dtype(dtype: Any) -> Any:
    return [list(map(str, field)) for field in dtype.descr] if dtype.names else dtype.str


def _pandas(value: Any, sink: Sink) -> bool:
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        columns = [value.iloc[:, i] for i in range(value.shape[1])]
        sink.fields(type(value).__name__, value.columns, value.index, dict(value.attrs))
        for column in columns:
            _column(column, sink)
    elif isinstance(value, pd.MultiIndex):
        sink.fields("MultiIndex", list(value.names))
        for level in range(value.nlevels):
            _column(value.get_level_values(level), sink)
    elif isinstance(value, (pd.Series, pd.Index)):
        sink.fields("Series" if isinstance(value, pd.Series) else "Index", value.name)
        if isinstance(value, pd.Series):
            sink.fields("of", value.index, dict(value.attrs))
        _column(value, sink)
    else:
        return False
    return True


def _column(column: Any, sink: Sink) -> None:
    import numpy as np

    sink.text(str(column.dtype))
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biufcmM":
        sink.fields("values", np.ascontiguousarray(column.to_numpy()))
        return
    if str(column.dtype) == "category":
        sink.fields("categories", column.dtype.categories, bool(column.dtype.ordered))
    if str(column.dtype) == "geometry":
        sink.fields("crs", str(column.array.crs and column.array.crs.to_wkt()))
    sink.sequence("values", list(column.astype(object)))


def _pyarrow(value: Any, sink: Sink) -> bool:
    import pyarrow as pa

    if isinstance(value, (pa.Table, pa.RecordBatch)):
        sink.fields(type(value).__name__, value.schema)
        for column in value.columns:
            sink.sequence("column", column.to_pylist())
    elif isinstance(value, (pa.Array, pa.ChunkedArray)):
        sink.text("array", str(value.type))
        sink.sequence("values", value.to_pylist())
    elif isinstance(value, pa.Scalar):
        sink.fields("scalar", str(value.type), value.as_py())
    elif isinstance(value, pa.Schema):
        fields = [(f.name, str(f.type), f.nullable, dict(f.metadata or {})) for f in value]
        sink.fields("schema", fields, dict(value.metadata or {}))
    elif isinstance(value, (pa.DataType, pa.Field)):
        sink.text(type(value).__name__, str(value))
    else:
        return False
    return True


def _shapely(value: Any, sink: Sink) -> bool:
    import shapely

    if not isinstance(value, shapely.Geometry):
        return False
    sink.fields("geometry", shapely.to_wkb(value, include_srid=True))
    return True


_BY_LIBRARY = {"numpy": _numpy, "pandas": _pandas, "geopandas": _pandas, "pyarrow": _pyarrow, "shapely": _shapely}
