"""What the columns of a table hold: one row of statistics per column, exact, the same for any order and any parts.

Decides which statistics there are and how values are written as text. Never samples, never estimates.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from builder.errors import error
from builder.transforms.columns import check_columns
from builder.transforms.tallies import (
    Tally,
    exact_mean,
    joined,
    lowest_and_highest,
    most_frequent,
    quantile_values,
    tally,
)

_ORDERED = ("integer", "float", "decimal", "date", "timestamp", "duration", "time")
_TYPES = (
    "Point",
    "LineString",
    "LinearRing",
    "Polygon",
    "MultiPoint",
    "MultiLineString",
    "MultiPolygon",
    "GeometryCollection",
)  # by shapely's type ids
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def profile(frames: Any, *, frequent: int = 5, quantiles: Sequence[float] = _QUANTILES) -> pd.DataFrame:
    """One row of statistics per column of a table.

    All are exact, and the same for the rows in any order and for any parts that make up the table.

    Parameters
    ----------
    frames
        A DataFrame, or several with the same columns and dtypes that are parts of one; any index.
    frequent
        How many of the most frequent values are listed.
    quantiles
        Shares between 0 and 1.

    Returns
    -------
    pandas.DataFrame
        In the order of the columns, with a fresh RangeIndex:

        - ``column``, ``dtype``, ``kind`` (string): the name; the dtype, of a geometry with its CRS; text, boolean,
        integer,
          float, decimal, date, timestamp, duration, time, binary or geometry
        - ``rows``, ``nulls`` (int64), ``null_share`` (float64): NaN is null
        - ``blanks`` (Int64), ``blank_share`` (float64): texts of nothing but spaces and empty geometries; null of
        others
        - ``distinct`` (int64): different values, null apart; geometries by their bytes
        - ``min``, ``max`` (string): as text; texts by code point; null of geometries
        - ``mean`` (float64): of numbers, rounded once from the exact sum
        - ``p5``, ``p25``, … (string): of what has an order and is neither text nor bytes, the least value that so many
          per cent of the values do not exceed
        - ``min_length``, ``max_length`` (Int64), ``mean_length`` (float64): characters of texts, bytes of binary
        - ``xmin``, ``ymin``, ``xmax``, ``ymax`` (float64): of geometries, in the units of their CRS
        - ``frequent`` (string): JSON ``[[value, count], …]`` of values that occur twice or more, the most frequent
        first,
          then the lowest; of geometries their types

    Raises
    ------
    BuilderError
        ``bad-value`` for a column of several types, of lists or structs, or of a name that another has;
        ``schema-drift`` where parts differ; ``recipe-declaration`` for wrong arguments.

    Notes
    -----
    Parts are counted by value and the counts added up, so the memory needed is that of the distinct values. Without
    values every statistic of them is null. Infinities are values. Bytes are written in hexadecimal.

    Examples
    --------
    >>> import pandas as pd
    >>> towns = pd.DataFrame({"name": ["Ely", "", "Ely", None], "people": [10, 20, 20, 2**60]})
    >>> table = profile(towns, quantiles=[0.5])
    >>> table[["column", "nulls", "blanks", "distinct", "max", "p50", "frequent"]].values.tolist()[0]
    ['name', 1, 1, 2, 'Ely', <NA>, '[["Ely", 2]]']
    >>> profile([towns[:1], towns[1:]], quantiles=[0.5]).equals(table)
    True
    """
    parts = _parts(frames)
    if isinstance(frequent, bool) or not isinstance(frequent, int) or frequent < 0:
        raise error("recipe-declaration", f"'frequent' is {frequent!r}", hint="give how many values to list")
    if not all(isinstance(share, int | float) and 0 <= share <= 1 for share in quantiles):
        raise error("recipe-declaration", f"'quantiles' is {list(quantiles)!r}", hint="give shares between 0 and 1")
    rows = [_column(name, [part[name] for part in parts], frequent, quantiles) for name in parts[0].columns]
    names = [f"p{100 * share:g}" for share in quantiles]
    types = _types(names)
    return pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=dtype) for name, dtype in types.items()})


def _parts(frames: Any) -> list[pd.DataFrame]:
    parts = [frames] if isinstance(frames, pd.DataFrame) else list(frames) if isinstance(frames, Iterable) else []
    if not parts or not all(isinstance(part, pd.DataFrame) for part in parts):
        raise error("recipe-declaration", "'frames' is no DataFrame and no list of them", hint="give one part at least")
    check_columns(parts[0], [str(name) for name in parts[0].columns], "frames")
    for number, part in enumerate(parts[1:], 2):
        if list(part.columns) != list(parts[0].columns) or (part.dtypes != parts[0].dtypes).any():
            raise error(
                "schema-drift",
                f"part {number} of 'frames' has other columns than the first",
                facts=[("first", _schema(parts[0])), (f"part {number}", _schema(part))],
                hint="give all parts the same columns, in one order, of the same dtypes",
            )
    return parts


def _schema(part: pd.DataFrame) -> str:
    return ", ".join(f"{name} {dtype}" for name, dtype in part.dtypes.items())


def _types(quantiles: list[str]) -> dict[str, str]:
    return {
        **dict.fromkeys(("column", "dtype", "kind"), "string"),
        **dict.fromkeys(("rows", "nulls"), "int64"),
        "null_share": "float64",
        "blanks": "Int64",
        "blank_share": "float64",
        "distinct": "int64",
        **dict.fromkeys(("min", "max"), "string"),
        "mean": "float64",
        **dict.fromkeys(quantiles, "string"),
        **dict.fromkeys(("min_length", "max_length"), "Int64"),
        **dict.fromkeys(("mean_length", "xmin", "ymin", "xmax", "ymax"), "float64"),
        "frequent": "string",
    }


def _column(name: Any, parts: list[pd.Series[Any]], frequent: int, shares: Sequence[float]) -> dict[str, Any]:
    found = joined([tally(part, str(name)) for part in parts], str(name))
    dtype = parts[0].dtype
    is_geometry = dtype.name == "geometry"
    row: dict[str, Any] = dict.fromkeys(_types([f"p{100 * share:g}" for share in shares]))
    row |= {
        "column": str(name),
        "dtype": _geometry_dtype(parts[0]) if is_geometry else str(dtype),
        "kind": "geometry" if is_geometry else found.kind,
        "rows": found.rows,
        "nulls": found.nulls,
        "null_share": _share(found.nulls, found.rows),
        "distinct": len(found.values),
    }
    if is_geometry:
        return row | _of_geometries(found, frequent)
    row["min"], row["max"] = as_text(lowest_and_highest(found), found.kind)
    row["mean"] = exact_mean(found)
    if found.kind in _ORDERED:
        row |= zip((f"p{100 * share:g}" for share in shares), as_text(quantile_values(found, shares), found.kind))
    if found.kind in ("text", "binary"):
        row |= _of_lengths(found)
    row["frequent"] = _frequent(*most_frequent(found, frequent), found.kind)
    return row


def _of_lengths(found: Tally) -> dict[str, Any]:
    is_text = found.kind == "text"
    lengths = (pc.utf8_length if is_text else pc.binary_length)(found.values).to_numpy().astype(np.int64)
    n = found.rows - found.nulls
    row: dict[str, Any] = {}
    if is_text:
        row = _blanks(found, pc.equal(pc.utf8_trim_whitespace(found.values), "").to_numpy(zero_copy_only=False))
    if n:
        total = int((lengths * found.counts).sum())
        row |= {"min_length": lengths.min(), "max_length": lengths.max(), "mean_length": total / n}
    return row


def _of_geometries(found: Tally, frequent: int) -> dict[str, Any]:
    import shapely

    shapes = shapely.from_wkb(found.values.to_numpy(zero_copy_only=False))
    row = _blanks(found, shapely.is_empty(shapes))
    row |= zip(("xmin", "ymin", "xmax", "ymax"), shapely.total_bounds(shapes).tolist())
    counts = np.bincount(shapely.get_type_id(shapes), found.counts, len(_TYPES)).astype(np.int64)
    is_held = counts > 0
    types = Tally("text", found.rows, found.nulls, pa.array(_TYPES, pa.large_string()).filter(is_held), counts[is_held])
    return row | {"frequent": _frequent(*most_frequent(types, frequent, least=1), "text")}


def _geometry_dtype(values: Any) -> str:
    crs = values.array.crs
    return "geometry" if crs is None else f"geometry[{crs.to_string()}]"


def _blanks(found: Tally, is_blank: npt.NDArray[np.bool_]) -> dict[str, Any]:
    blanks = int(found.counts[is_blank].sum())
    return {"blanks": blanks, "blank_share": _share(blanks, found.rows)}


def _share(part: int, rows: int) -> float:
    return part / rows if rows else float("nan")


def as_text(values: pa.Array, kind: str) -> list[str | None]:
    """Values as text: what their type writes, floats as Python does, bytes in hexadecimal; null is None."""
    if kind == "float":
        return [None if value is None else repr(value) for value in values.to_pylist()]
    if kind == "binary":
        return [None if value is None else value.hex() for value in values.to_pylist()]
    if kind == "duration":
        values = values.cast(pa.int64())
    texts: list[str | None] = values.cast(pa.large_string()).to_pylist()
    return texts


def _frequent(values: pa.Array, counts: npt.NDArray[np.int64], kind: str) -> str:
    is_json = kind in ("integer", "float", "boolean", "text")
    texts = values.to_pylist() if is_json else as_text(values, kind)
    return json.dumps([[text, int(count)] for text, count in zip(texts, counts)], ensure_ascii=False)
