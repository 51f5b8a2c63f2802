"""Columns of a frame as codes: which values occur, in order, and which of them stands in each row.

Decides which dtypes can be counted by, how each is put in order, and which dtype comes back. Null and NaN are code -1,
and -0.0 is 0.0. Knows nothing of counting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from builder.errors import BuilderError, error

if TYPE_CHECKING:
    import pandas as pd

Codes = npt.NDArray[np.int32]

_OBJECTS = {  # dtypes that values of one kind in a column of dtype object come out in
    pa.int64(): "Int64",
    pa.bool_(): "boolean",
    pa.large_string(): "str",
    pa.null(): "str",
    pa.date32(): "date32[day][pyarrow]",
    pa.binary(): "binary[pyarrow]",
}
_DIRECT = 1 << 20  # integers in a range of this size are codes as they are; larger ranges must be a quarter full
_NONE = np.zeros(0, np.bool_)


@dataclass(frozen=True, slots=True)
class Coded:
    """Rows of one column.

    Parameters
    ----------
    values
        Different values without null, ascending.
    codes
        One code a row, -1 for null.
    ranks
        Of every code, its position in `values`.
    """

    values: pa.Array
    codes: Codes
    ranks: Codes


def coded_column(series: pd.Series[Any], what: str) -> Coded:
    """The codes of a column; `what` names it in errors.

    Raises
    ------
    BuilderError
        ``bad-value`` for a dtype that has no exact order: lists, geometries, durations, mixed objects.
    """
    return _coded(series, what, encode)


def coded_within(series: pd.Series[Any], what: str, known: pa.Array) -> tuple[Coded, pa.Array]:
    """The codes of a column whose values are among `known`, and the values that are not.

    `known` is ascending, integers as `as_integers` gives them. The codes are of no use where there are unknown values;
    all are unknown where the column is of another type.
    """
    unknown: list[pa.Array] = []

    def encode_known(column: pa.ChunkedArray) -> Coded:
        if pa.types.is_large_string(column.type) and column.type == known.type:
            # The known ones go first and so have the first codes: nothing needs to be sorted or looked up.
            found, codes = _text_codes(pa.chunked_array([known, *column.chunks]), 2 * len(known))
            unknown.append(found[len(known) :])
            return Coded(known, codes[len(known) :], np.arange(len(found), dtype=np.int32))
        coded = encode(column)
        values = as_integers(coded.values)
        places = positions(values, known) if values.type == known.type else np.full(len(values), -1, np.int32)
        unknown.append(values.filter(pa.array(places < 0)))
        return Coded(known, coded.codes, places[coded.ranks])

    coded = _coded(series, what, encode_known)
    return coded, unknown[0]


def _coded(series: pd.Series[Any], what: str, encode: Callable[[pa.ChunkedArray], Coded]) -> Coded:
    import pandas as pd

    if not isinstance(series.dtype, pd.CategoricalDtype):
        return encode(arrow_column(series, what))
    codes = np.asarray(series.cat.codes).astype(np.int32)
    used = np.unique(codes[codes >= 0])
    found = encode(arrow_column(series.cat.categories[used].to_series(), what))
    ranks = np.zeros(len(series.cat.categories), np.int32)
    ranks[used] = found.ranks[found.codes]
    return Coded(found.values, codes, ranks)


def as_integers(values: pa.Array) -> pa.Array:
    """Integers as ``int64`` where they fit, so that those of different widths are equal; other values as they are."""
    if not pa.types.is_integer(values.type) or (pc.max(values).as_py() or 0) >= 1 << 63:
        return values
    return values.cast(pa.int64())


def positions(values: pa.Array, known: pa.Array) -> Codes:
    """Of each value its position in `known`, -1 for null and where it is not there."""
    found = pc.index_in(values, known, skip_nulls=True)
    return np.asarray(pc.fill_null(found, -1).to_numpy(zero_copy_only=False), np.int32)


def arrow_column(series: pd.Series[Any], what: str) -> pa.ChunkedArray:
    """A column in the one Arrow type of its kind: ``int32``, ``int64`` or ``uint64``, ``large_string``, ``float64``.

    Raises
    ------
    BuilderError
        ``bad-value`` as in `coded_column`.
    """
    import pandas as pd

    if isinstance(series.dtype, pd.SparseDtype):
        raise _refused(series, what)
    try:
        array = pa.array(series.array, from_pandas=True)
        column = _canonical(array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array]))
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as cause:
        raise _refused(series, what) from cause
    is_inferred = series.dtype == np.dtype(object)
    if column is None or (is_inferred and column.type not in _OBJECTS):
        raise _refused(series, what)
    return column


def _canonical(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """The column in the one type of its kind, None where it has no place."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _canonical(column.cast(kind.value_type))
    if pa.types.is_string(kind) or pa.types.is_string_view(kind) or pa.types.is_large_string(kind):
        return column.cast(pa.large_string())
    if pa.types.is_integer(kind):
        return column if kind in (pa.int32(), pa.int64(), pa.uint64()) else column.cast(pa.int64())
    if pa.types.is_floating(kind):
        whole = column.cast(pa.float64())
        return pc.add(pc.if_else(pc.is_nan(whole), None, whole), 0.0)  # -0.0 + 0.0 is 0.0
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return column.cast(pa.binary())
    is_plain = pa.types.is_boolean(kind) or pa.types.is_null(kind) or pa.types.is_decimal(kind)
    is_moment = pa.types.is_temporal(kind) and not (pa.types.is_duration(kind) or pa.types.is_interval(kind))
    return column if is_plain or is_moment or kind == pa.binary() else None


def _refused(series: pd.Series[Any], what: str) -> BuilderError:
    return error(
        "bad-value",
        f"column '{series.name}' of '{what}' cannot be counted by",
        facts=[("dtype", str(series.dtype))],
        hint="convert it to integers, text, booleans, dates, timestamps or an Arrow decimal of a fixed scale",
    )


def restored(values: pa.Array, codes: Any, dtype: Any) -> Any:
    """The values at the codes as a pandas array of the dtype that the column came in; categories are decoded."""
    import pandas as pd

    if isinstance(dtype, pd.CategoricalDtype):
        dtype = dtype.categories.dtype
    array = values.take(pa.array(codes, pa.int64()))
    if pa.types.is_null(array.type):
        array = array.cast(pa.large_string())
    if dtype == np.dtype(object):
        dtype = pd.api.types.pandas_dtype(_OBJECTS[array.type])
    if isinstance(dtype, pd.DatetimeTZDtype):
        instants = array.cast(pa.timestamp(dtype.unit)).to_numpy(zero_copy_only=False)
        return pd.Series(instants).dt.tz_localize("UTC").dt.tz_convert(dtype.tz).array
    if isinstance(dtype, pd.ArrowDtype):
        return pd.arrays.ArrowExtensionArray(array.cast(_plain(dtype.pyarrow_dtype)))
    if hasattr(dtype, "__from_arrow__"):
        return dtype.__from_arrow__(array)
    if dtype.kind in "iu":
        return array.cast(pa.from_numpy_dtype(dtype)).to_numpy(zero_copy_only=False)
    return array.to_numpy(zero_copy_only=False).astype(dtype)


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def encode(column: pa.ChunkedArray) -> Coded:
    """The codes of a column that `arrow_column` made."""
    if pa.types.is_int32(column.type) or pa.types.is_int64(column.type):
        return _encode_integers(column)
    if pa.types.is_large_string(column.type):
        return _sorted(*_text_codes(column))
    array = pc.dictionary_encode(column.combine_chunks())
    if pa.types.is_null(column.type):
        return Coded(pa.nulls(0), np.full(len(column), -1, np.int32), np.zeros(0, np.int32))
    codes = pc.fill_null(array.indices, -1).to_numpy(zero_copy_only=False).astype(np.int32, copy=False)
    return _sorted(array.dictionary, codes)


def _sorted(values: pa.Array, codes: Codes) -> Coded:
    order = pc.sort_indices(values)
    ranks = np.empty(len(values), np.int32)
    ranks[order.to_numpy()] = np.arange(len(values))
    return Coded(values.take(order), codes, ranks)


def _chunks(column: pa.ChunkedArray) -> Iterator[tuple[pa.Array, npt.NDArray[np.bool_], slice]]:
    """Every chunk with which of its rows are valid (empty: all are) and where it lies in the column."""
    at = 0
    for chunk in column.chunks:
        valid = chunk.is_valid().to_numpy(zero_copy_only=False) if chunk.null_count else _NONE
        yield chunk, valid, slice(at, at + len(chunk))
        at += len(chunk)


def _view(chunk: pa.Array, position: int, dtype: Any, count: int, start: int = 0) -> Any:
    """A read-only look at a buffer: the compiled loops are compiled once, for read-only input."""
    buffer = chunk.buffers()[position]
    if buffer is None or count == 0:
        return _read_only(np.zeros(count, dtype))
    return _read_only(np.frombuffer(buffer, dtype, count, start * np.dtype(dtype).itemsize))


def _read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


def _integers(chunk: pa.Array) -> Any:
    return _view(chunk, 1, chunk.type.to_pandas_dtype(), len(chunk), chunk.offset)


def _encode_integers(column: pa.ChunkedArray) -> Coded:
    low, high = (scalar.as_py() for scalar in pc.min_max(column).values())
    if low is None:
        return Coded(pa.array([], column.type), np.full(len(column), -1, np.int32), np.zeros(0, np.int32))
    codes = np.empty(len(column), np.int32)
    if high - low < max(_DIRECT, len(column) // 4):
        return _encode_range(column, codes, low, high - low + 1)
    from builder.transforms.code_kernels import encode_integers, rehash_integers

    found, used = np.empty(1 << 11, np.int64), 0
    slots, marks = np.empty(1 << 12, np.int64), np.full(1 << 12, -1, np.int32)
    for chunk, valid, rows in _chunks(column):
        at = 0
        while True:
            at, used = encode_integers(_integers(chunk), valid, at, codes[rows], slots, marks, found, used)
            if at == len(chunk):
                break
            found = np.resize(found, 4 * len(found))
            slots, marks = np.empty(2 * len(found), np.int64), np.full(2 * len(found), -1, np.int32)
            rehash_integers(found, used, slots, marks)
    return _sorted(pa.array(found[:used], column.type), codes)


def _encode_range(column: pa.ChunkedArray, codes: Codes, low: int, size: int) -> Coded:
    from builder.transforms.code_kernels import mark_present

    present = np.zeros(size, np.bool_)
    for chunk, valid, rows in _chunks(column):
        mark_present(_integers(chunk), valid, low, codes[rows], present)
    ranks = np.cumsum(present, dtype=np.int32) - np.int32(1)
    return Coded(pa.array(np.flatnonzero(present) + low, column.type), codes, ranks)


def _text_codes(column: pa.ChunkedArray, room: int = 0) -> tuple[pa.Array, Codes]:
    """The different texts in the order of their first rows, and their positions in the rows; `room` is for how many."""
    from builder.transforms.code_kernels import encode_texts, rehash_texts

    codes = np.empty(len(column), np.int32)
    size = 1 << max(11, room.bit_length() - 1)
    slots, arena = np.zeros((2 * size, 4), np.uint64), np.empty(16 * size, np.uint8)
    starts, used = np.zeros(size + 1, np.int64), 0
    for chunk, valid, rows in _chunks(column):
        offsets = _view(chunk, 1, np.int64, len(chunk) + 1, chunk.offset)
        data = _view(chunk, 2, np.uint8, int(offsets[-1]))
        at = 0
        while True:
            at, used = encode_texts(data, offsets, valid, at, codes[rows], slots, arena, starts, used)
            if at == len(chunk):
                break
            if used + 1 < len(starts):
                needed = int(offsets[at + 1] - offsets[at])
                arena = np.concatenate([arena, np.empty(3 * len(arena) + needed, np.uint8)])
                continue
            starts = np.concatenate([starts, np.zeros(3 * used, np.int64)])
            larger = np.zeros((8 * used, 4), np.uint64)
            rehash_texts(slots, larger)
            slots = larger
    texts = pa.LargeStringArray.from_buffers(used, pa.py_buffer(starts), pa.py_buffer(arena))
    return texts, codes
