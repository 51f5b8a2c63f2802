"""Text columns as columns of a dtype, and the dtype that fits a text column.

Decides which cells fit; `textcells` holds the grammar. Never knows files or lines: a cell that does not fit is a row of
the column at hand.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from builder.formats import textcells
from builder.tables.schema import decimal_parts

_NONE = np.zeros(1, dtype=np.uint8)
_NARROW_FIRST = ("int64", "float64", "bool", "date", "timestamp")
_NULLABLE = {"int64": "Int64", "bool": "boolean"}


class Misfit(Exception):
    """A cell that does not fit its dtype: the row in the column at hand, its text (None: null), and why."""

    def __init__(self, row: int, value: str | None, reason: str = "") -> None:
        super().__init__(row, value, reason)
        self.row = row
        self.value = value
        self.reason = reason


class Survey:
    """Collects what one text column holds, over every chunk of every file, until its dtype is asked for."""

    __slots__ = ("_candidates", "_has_null", "is_settled")

    def __init__(self) -> None:
        self._candidates: tuple[str, ...] = _NARROW_FIRST
        self._has_null = False
        self.is_settled = False
        """Whether there was a value at all; a column of nulls only is text until a value says more."""

    def add(self, texts: pa.Array) -> None:
        """Take the cells of a chunk into account."""
        self._has_null = self._has_null or texts.null_count > 0
        self.is_settled = self.is_settled or texts.null_count < len(texts)
        self._candidates = tuple(dtype for dtype in self._candidates if _fits(texts, dtype))

    def dtype(self) -> str:
        """The narrowest dtype that every cell fits; ``string`` where nothing else does, or without a value."""
        dtype = self._candidates[0] if self.is_settled and self._candidates else "string"
        return nullable(dtype) if self._has_null else dtype


def _fits(texts: pa.Array, dtype: str) -> bool:
    try:
        typed(texts, nullable(dtype), lenient=False)
    except Misfit:
        return False
    return True


def nullable(dtype: str) -> str:
    """The dtype that holds the same values and null."""
    return _NULLABLE.get(dtype, dtype)


def typed(texts: pa.Array, dtype: str, *, lenient: bool) -> pa.Array:
    """The column as `dtype`, in its Arrow type; nulls stay null.

    ``binary`` is the text's UTF-8, ``geometry`` is read as WKT.

    Raises
    ------
    Misfit
        The first cell that does not fit, a null in ``int64`` and ``bool`` among them.
    """
    if texts.offset:
        texts = pa.concat_arrays([texts, texts.slice(0, 0)])  # copies, so that the validity bits start at bit 0
    if dtype in _NULLABLE and texts.null_count:
        raise Misfit(pc.index(texts.is_null(), True).as_py(), None)
    match dtype:
        case "string":
            return texts
        case "int64" | "Int64":
            return _fixed(texts, textcells.integers, np.int64, pa.int64(), lenient)
        case "float64":
            return _floats(texts, lenient)
        case "bool" | "boolean":
            return _bools(texts, lenient)
        case "date":
            return _fixed(texts, textcells.days, np.int32, pa.date32(), lenient)
        case "timestamp":
            return _fixed(texts, textcells.instants, np.int64, pa.timestamp("us", "UTC"), lenient)
        case "binary":
            return texts.cast(pa.binary())
        case "geometry":
            return _geometries(texts)
    return _decimals(texts, dtype)


def _cells(texts: pa.Array) -> tuple[Any, Any, Any, bool]:
    """The buffers of a string column as the compiled loops take them."""
    validity, offsets, data = texts.buffers()
    starts = np.frombuffer(offsets, dtype=np.int32, count=len(texts) + 1)
    chars = np.frombuffer(data, dtype=np.uint8) if data is not None and data.size else _NONE
    valid = np.frombuffer(validity, dtype=np.uint8) if texts.null_count else _NONE
    for array in (starts, chars, valid):
        array.flags.writeable = False  # one kind of array, so that each loop is compiled once
    return starts, chars, valid, texts.null_count > 0


def _misfit(texts: pa.Array, row: int) -> Misfit:
    return Misfit(row, texts[row].as_py())


def _from_values(texts: pa.Array, values: Any, type: pa.DataType) -> pa.Array:
    validity = texts.buffers()[0] if texts.null_count else None
    return pa.Array.from_buffers(type, len(texts), [validity, pa.py_buffer(values)], texts.null_count)


def _fixed(texts: pa.Array, loop: Any, numbers: Any, type: pa.DataType, lenient: bool) -> pa.Array:
    if not len(texts):
        return pa.array([], type)
    out = np.empty(len(texts), dtype=numbers)
    bad = loop(*_cells(texts), lenient, out)
    if bad >= 0:
        raise _misfit(texts, bad)
    return _from_values(texts, out, type)


def _bools(texts: pa.Array, lenient: bool) -> pa.Array:
    if not len(texts):
        return pa.array([], pa.bool_())
    out = np.empty(len(texts), dtype=np.uint8)
    bad = textcells.truths(*_cells(texts), lenient, out)
    if bad >= 0:
        raise _misfit(texts, bad)
    return _from_values(texts, np.packbits(out, bitorder="little"), pa.bool_())


def _floats(texts: pa.Array, lenient: bool) -> pa.Array:
    if not len(texts):
        return pa.array([], pa.float64())
    out = np.empty(len(texts))
    hard = np.empty(len(texts), dtype=np.uint8)
    bad = textcells.decimals(*_cells(texts), lenient, out, hard)
    if bad >= 0:
        raise _misfit(texts, bad)
    rows = np.flatnonzero(hard)
    if len(rows):
        out[rows] = _hard_floats(texts, rows)
    return _from_values(texts, out, pa.float64())


def _hard_floats(texts: pa.Array, rows: Any) -> Any:
    """The correctly rounded values of well-formed cells with many digits or large exponents."""
    left = pc.utf8_ltrim(pc.utf8_trim_whitespace(texts.take(pa.array(rows))), "+")
    return left.cast(pa.float64()).to_numpy(zero_copy_only=False)


def _decimals(texts: pa.Array, dtype: str) -> pa.Array:
    parts = decimal_parts(dtype)
    assert parts is not None, dtype
    type = pa.decimal128(*parts)
    trimmed = pc.utf8_trim_whitespace(texts)
    try:
        return trimmed.cast(type)
    except pa.ArrowInvalid:
        for row in range(len(trimmed)):
            try:
                trimmed.slice(row, 1).cast(type)
            except pa.ArrowInvalid:
                raise _misfit(texts, row) from None
        raise


def _geometries(texts: pa.Array) -> pa.Array:
    from builder.formats.geometry import from_wkt

    return from_wkt(texts)
