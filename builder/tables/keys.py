"""Keys as arrays that compiled code compares: where sorted rows hold a key, or would.

Decides the order of keys once more, as `tables.order` has it: numbers and times by value, text by its bytes. Sees one
run of sorted rows at a time; knows nothing of parts and layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from builder.errors import error
from builder.tables.order import Key

Positions = npt.NDArray[np.int64]

_SIGN = np.int64(-(1 << 63))


@dataclass(frozen=True, slots=True)
class Words:
    """A column of numbers whose order is that of the values."""

    values: npt.NDArray[np.int64]

    @property
    def parts(self) -> tuple[npt.NDArray[Any], ...]:
        """Arrays that are equal where the keys are."""
        return (self.values,)


@dataclass(frozen=True, slots=True)
class Texts:
    """A column of bytes between offsets."""

    offsets: npt.NDArray[np.int32]
    data: npt.NDArray[np.uint8]

    @property
    def parts(self) -> tuple[npt.NDArray[Any], ...]:
        """Arrays that are equal where the keys are."""
        return np.diff(self.offsets), self.data[self.offsets[0] : self.offsets[-1]]


@dataclass(frozen=True, slots=True)
class Keys:
    """The key columns of some rows, which are in key order; a decimal is two columns."""

    columns: tuple[Words | Texts, ...]
    count: int

    @staticmethod
    def of(rows: pa.Table | pa.RecordBatch, key: Key) -> Keys:
        """The keys of rows without nulls in them, which need no copy where there is one chunk."""
        columns = [c for name in key for c in _columns(_array(rows.column(name)))]
        return Keys(tuple(columns), rows.num_rows)

    def is_same(self, other: Keys) -> bool:
        """Whether these are the other keys, of the same dtypes, one for one."""
        pairs = zip(self.columns, other.columns, strict=True)
        return self.count == other.count and all(
            np.array_equal(a, b) for c, d in pairs for a, b in zip(c.parts, d.parts, strict=True)
        )

    def ranges(self, sought: Keys) -> tuple[Positions, Positions]:
        """For each key that is sought, in ascending order, the range [low, high) of rows that hold it.

        What is sought may have fewer columns: the first ones. An empty range stands where the key would.
        """
        from builder.tables.search import narrow_texts, narrow_words

        low = np.zeros(sought.count, np.int64)
        high = np.full(sought.count, self.count, np.int64)
        for own, other in zip(self.columns, sought.columns, strict=False):
            if isinstance(own, Words) and isinstance(other, Words):
                narrow_words(own.values, other.values, low, high)
            elif isinstance(own, Texts) and isinstance(other, Texts):
                narrow_texts(own.offsets, own.data, other.offsets, other.data, low, high)
            else:
                raise error("internal", "keys of different dtypes were compared")
        return low, high


def _array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        column = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if column.null_count:
        raise error("internal", "a null was looked up")
    return column


def _columns(array: pa.Array) -> list[Words | Texts]:
    """One column of numbers or texts; of a decimal its high and its low word."""
    kind, start, stop = array.type, array.offset, array.offset + len(array)
    types = pa.types
    if types.is_string(kind) or types.is_binary(kind):
        return [_texts(array, start, stop)]
    content = array.buffers()[1] or b""
    if types.is_boolean(kind):
        bits = np.unpackbits(np.frombuffer(content, np.uint8)[start >> 3 : (stop + 7) >> 3], bitorder="little")
        return [Words(bits[start & 7 :][: len(array)].astype(np.int64))]
    if types.is_date32(kind):
        return [Words(np.frombuffer(content, np.int32)[start:stop].astype(np.int64))]
    if types.is_decimal(kind):
        pairs = np.frombuffer(content, np.int64)[2 * start : 2 * stop]
        return [Words(np.ascontiguousarray(pairs[1::2])), Words(pairs[::2] ^ _SIGN)]
    words = np.frombuffer(content, np.int64)[start:stop]
    if types.is_floating(kind):  # the bits of negative numbers descend
        return [Words(words ^ ((words >> 63) & np.int64((1 << 63) - 1)))]
    return [Words(words)]


def _texts(array: pa.Array, start: int, stop: int) -> Texts:
    _, offsets, data = array.buffers()
    ends = np.frombuffer(offsets, np.int32)[start : stop + 1] if len(array) else np.zeros(1, np.int32)
    return Texts(ends, np.frombuffer(data or b"", np.uint8))


def without(rows: pa.Table, others: pa.Table, key: Key) -> pa.Table:
    """The rows whose key none of the others has, both in key order and without nulls in it."""
    low, high = Keys.of(others, key).ranges(Keys.of(rows, key))
    return rows.filter(pa.array(low == high))


def overlaid(older: pa.Table, newer: pa.Table, key: Key) -> pa.Table:
    """The rows of both in key order, each sorted and of distinct keys; of a key that both hold the newer row."""
    if newer.num_rows == 0 or older.num_rows == 0:
        return newer if newer.num_rows else older
    low, high = Keys.of(older, key).ranges(Keys.of(newer, key))
    chosen = woven(np.arange(older.num_rows), low, high, np.arange(newer.num_rows) + older.num_rows)
    return pa.concat_tables([older, newer]).combine_chunks().take(pa.array(chosen))


def woven(older: Positions, low: Positions, high: Positions, newer: Positions) -> Positions:
    """The older positions with each newer one in place of the row that holds its key, or where it would stand."""
    is_held = high > low
    result = older.copy()
    result[low[is_held]] = newer[is_held]
    return result if is_held.all() else np.insert(result, low[~is_held], newer[~is_held])
