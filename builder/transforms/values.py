"""The values of a frame's columns as Arrow: one array a column, codes of equal values, one order of rows.

Decides which values are equal (floats by value with NaN as null, categories decoded, geometries by their WKB) and the
order of rows that their order in the frame cannot move. Never changes a frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from builder.errors import BuilderError, error

Positions = npt.NDArray[np.int64]

_KINDS: tuple[tuple[str, Any], ...] = (
    ("text", pa.types.is_large_string),
    ("boolean", pa.types.is_boolean),
    ("integer", pa.types.is_integer),
    ("float", pa.types.is_floating),
    ("decimal", pa.types.is_decimal),
    ("date", pa.types.is_date),
    ("timestamp", pa.types.is_timestamp),
    ("duration", pa.types.is_duration),
    ("time", pa.types.is_time),
    ("binary", pa.types.is_large_binary),
)


def arrow_values(values: Any, name: str) -> pa.Array:
    """One Arrow array of a Series; NaN is null, categories are decoded, text and bytes have 64-bit offsets.

    Geometries are their WKB. A column of nulls alone is text.

    Raises
    ------
    BuilderError
        ``bad-value`` where the values are of several types, or of one that has no order.
    """
    series = values if isinstance(values, pd.Series) else pd.Series(values)
    try:
        if series.dtype.name == "geometry":
            return _wkb(series)
        array = pa.array(series.array, from_pandas=True)
        if isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
        if isinstance(array, pa.ChunkedArray):  # of no chunks, or too long for one with 32-bit offsets
            chunks = [_plain(chunk) for chunk in array.chunks]
            array = pa.concat_arrays(chunks) if chunks else pa.array([], array.type)
        array = _plain(array)
    except (pa.ArrowException, OverflowError, UnicodeError) as cause:
        raise error(
            "bad-value",
            f"column '{name}' cannot be compared: {str(cause).splitlines()[0]}",
            facts=[("dtype", str(series.dtype))],
            hint="give the column values of one type",
        ) from cause
    kind_of(array, name)
    return array


def _wkb(series: pd.Series[Any]) -> pa.Array:
    import shapely

    return pa.array(shapely.to_wkb(np.asarray(series.array, dtype=object)), pa.large_binary())


def _plain(array: pa.Array) -> pa.Array:
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _plain(array.dictionary_decode())
    if pa.types.is_string(kind) or pa.types.is_null(kind) or pa.types.is_string_view(kind):
        return array.cast(pa.large_string())
    if pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return array.cast(pa.large_binary())
    if pa.types.is_floating(kind):
        floats = array.to_numpy(zero_copy_only=False).astype(np.float64) + 0.0  # -0.0 is 0.0
        return pa.array(floats, from_pandas=True)
    return array


def kind_of(array: pa.Array, name: str) -> str:
    """The kind of an array's values: text, boolean, integer, float, decimal, date, timestamp, duration, time, binary.

    Raises
    ------
    BuilderError
        ``bad-value`` for lists, structs and others.
    """
    for kind, is_kind in _KINDS:
        if is_kind(array.type):
            return kind
    raise error(
        "bad-value", f"column '{name}' holds values of type {array.type}, which have no order", hint="leave it out"
    )


def text_values(values: Any, name: str) -> pa.Array:
    """The values of a text column.

    Raises
    ------
    BuilderError
        ``bad-value`` where the column holds something else.
    """
    array = arrow_values(values, name)
    kind = kind_of(array, name)
    if kind != "text":
        raise error("bad-value", f"column '{name}' is not text", facts=[("holds", kind)], hint="convert it")
    return array


def with_bytes(texts: pa.Array, table: npt.NDArray[np.uint8]) -> pa.Array:
    """The texts with each byte looked up in a table of 256: one pass over all of them, for those of ASCII alone."""
    validity, offsets, data = texts.buffers()
    before = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    return pa.Array.from_buffers(
        texts.type, len(texts), [validity, offsets, pa.py_buffer(table[before])], texts.null_count, texts.offset
    )


def number_values(values: Any, name: str) -> npt.NDArray[np.float64]:
    """The values of a column of numbers as float64, NaN where null.

    Raises
    ------
    BuilderError
        ``bad-value`` where the column holds something else.
    """
    array = arrow_values(values, name)
    kind = kind_of(array, name)
    if kind not in ("integer", "float", "decimal"):
        raise error("bad-value", f"column '{name}' is not numbers", facts=[("holds", kind)], hint="convert it")
    floats: npt.NDArray[np.float64] = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return floats


def joint_codes(pairs: Iterable[tuple[pa.Array, pa.Array]], names: Sequence[str]) -> tuple[Positions, Positions]:
    """Codes of the rows of two sides: equal where the rows' values are equal, -1 where one of them is null.

    The codes count up from 0 without gaps; which row has which code says nothing.

    Raises
    ------
    BuilderError
        ``bad-value`` where the two sides of a pair are of different kinds.
    """
    codes: Positions | None = None
    size = 0
    for (left, right), name in zip(pairs, names, strict=True):
        size = len(left)
        both = pa.chunked_array(_alike(left, right, name)).combine_chunks()
        encoded = both.dictionary_encode()
        new = _filled(encoded.indices)
        codes = new if codes is None else _joined(codes, new, len(encoded.dictionary))
    assert codes is not None
    return codes[:size], codes[size:]


def _joined(one: Positions, other: Positions, cardinality: int) -> Positions:
    both = one * cardinality + other  # each is below the number of rows: it fits
    encoded = pa.array(both, mask=(one < 0) | (other < 0)).dictionary_encode()
    return _filled(encoded.indices)


def _filled(indices: pa.Array) -> Positions:
    codes: Positions = indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


def _alike(left: pa.Array, right: pa.Array, name: str) -> list[pa.Array]:
    """Both arrays in one type, in which values that are equal stay equal and no others become so."""
    kinds = kind_of(left, name), kind_of(right, name)
    if kinds[0] != kinds[1]:
        raise error(
            "bad-value",
            f"'{name}' compares {kinds[0]} with {kinds[1]}",
            facts=[("left", str(left.type)), ("right", str(right.type))],
            hint="convert one of the two columns",
        )
    if left.type == right.type:
        return [left, right]
    try:
        goal = _common_type(kinds[0], left.type, right.type)
        return [left.cast(goal), right.cast(goal)]
    except (pa.ArrowException, ValueError) as cause:
        raise error(
            "bad-value", f"'{name}' compares {left.type} with {right.type}: {cause}", hint="convert one of the two"
        ) from cause


def _common_type(kind: str, one: pa.DataType, other: pa.DataType) -> pa.DataType:
    if kind == "integer":
        return pa.decimal128(20, 0) if pa.uint64() in (one, other) else pa.int64()
    if kind == "decimal":
        return pa.decimal256(76, max(one.scale, other.scale))
    if kind == "date":
        return pa.date32()
    if kind == "timestamp" and (one.tz is None) == (other.tz is None):
        finest = max(one.unit, other.unit, key=("s", "ms", "us", "ns").index)
        return pa.timestamp(finest, None if one.tz is None else "UTC")
    raise ValueError("there is no type for both")


def row_order(frame: pd.DataFrame, first: Sequence[str] = ()) -> Positions:
    """The positions of rows in the order of columns `first`, then of all others from left to right; nulls last.

    A name with a leading "-" is descending, but for the name of a column. Rows that tie are equal in every column, so
    that nobody can tell which came first.
    """
    named = [(name, False) if name in frame.columns else (name.removeprefix("-"), True) for name in first]
    seen = {name for name, _ in named}
    named += [(name, False) for name in frame.columns if name not in seen]
    if not named:
        return np.arange(len(frame), dtype=np.int64)
    names = [str(n) for n in range(len(named))]
    table = pa.table([arrow_values(frame[name], str(name)) for name, _ in named], names=names)
    keys = [(n, "descending" if is_down else "ascending") for n, (_, is_down) in zip(names, named)]
    order: Positions = pc.sort_indices(table, sort_keys=keys).to_numpy().astype(np.int64)
    return order


def key_order(frame: pd.DataFrame, key: Sequence[str], what: str) -> Positions:
    """The positions of rows in the order of their keys.

    Raises
    ------
    BuilderError
        ``key-null``, ``key-duplicate`` with examples.
    """
    arrays = [arrow_values(frame[name], name) for name in key]
    for name, array in zip(key, arrays, strict=True):
        if array.null_count:
            rows = np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))[:3]
            raise error(
                "key-null",
                f"'{what}' has {array.null_count} rows without '{name}'",
                facts=[("rows", ", ".join(map(str, rows)))],
                hint="a key must be there in every row",
            )
    table = pa.table(arrays, names=[str(n) for n in range(len(arrays))])
    order: Positions = pc.sort_indices(table, sort_keys=[(n, "ascending") for n in table.column_names]).to_numpy()
    order = order.astype(np.int64)
    same = np.ones(max(len(order) - 1, 0), bool)
    for array in arrays:
        sorted_values = array.take(pa.array(order))
        same &= pc.equal(sorted_values[1:], sorted_values[:-1]).to_numpy(zero_copy_only=False)
    if same.any():
        raise _duplicates(arrays, key, order[:-1][same], what)
    return order


def _duplicates(arrays: list[pa.Array], key: Sequence[str], rows: Positions, what: str) -> BuilderError:
    some = [tuple(array[int(row)].as_py() for array in arrays) for row in rows[:3]]
    return error(
        "key-duplicate",
        f"'{what}' has keys '{', '.join(key)}' that several rows share",
        facts=[("rows", str(len(rows) + 1)), ("keys", ", ".join(str(k[0] if len(k) == 1 else k) for k in some))],
        hint="name more columns in the key, or de-duplicate first",
    )
