"""The hash of a cell, a row and a column: the format that digests of tables rest on.

Decides the 128 bits that stand for a cell. Never looks at the layout of a table: chunks, offsets, bitmaps and
dictionaries do not count. A change of anything below is a new version of the store.

A number of 128 bits is a pair of words (low, high) of 64 bits; words are unsigned and wrap around.

Payload of a cell, canonical: a null is (0, 2^63). ``int64``, ``Int64``: the value's two's complement; ``bool``,
``boolean``: 0 or 1; ``float64``: its IEEE bits, -0.0 as 0.0, NaN as a null; ``date``: days since 1970; ``timestamp``:
microseconds since 1970 in UTC; each with a high word of 0. ``decimal(p,s)``: the unscaled integer in 128 bits of two's
complement. ``string`` (UTF-8), ``binary``, ``geometry`` (WKB): MurmurHash3_x64_128 of the bytes with seed 0. No payload
of fixed width is that of a null, since decimals stay below 10^38 in magnitude.

Seed of a column: the first 16 bytes of ``digest_of("cell", kind, name)``, little-endian; the kind is ``integer``,
``bool``, or else the dtype's text, so that null, "" and 0 of different kinds differ.

Mix of (key, seed, payload), with F the finalizer fmix64 of MurmurHash3::

    x = payload.low ^ key.low ^ seed.low;  y = payload.high ^ key.high ^ seed.high
    x = F(x + y);  y = F(y + x);  x = F(x + y)

Key of a row: begin with (0, 0) and take key = mix(key, seed, payload) for each key column in order; in an unkeyed table
it is the mix of (0, 0), the seed ``digest_of("cell", "position", "")`` and the payload (position, 0), counted from 0.

A cell is the mix of its row's key, its column's seed and its payload. A row's hash is the sum of its cells, a column's
the sum of its cells, both mod 2^128, over all columns and rows, key columns included.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from builder.digests import digest_of
from builder.tables.schema import Schema

Words = npt.NDArray[np.uint64]
Payload = tuple[Words, npt.NDArray[np.uint8], int]  # words, validity bitmap (empty: all valid), its first bit

_BLOCK_ROWS = 1 << 15  # keys and row hashes of a block stay in the cache while the columns pass
_ALL_VALID = np.empty(0, np.uint8)
_BYTES = frozenset({"string", "binary", "geometry"})


def hash_rows(table: pa.Table, schema: Schema, first_row: int = 0) -> tuple[Words, dict[str, int]]:
    """Row hashes, an (n, 2) array of (low, high) words, and the columns' sums mod 2^128.

    Nulls, NaN and -0.0 are canonical here. A table of no rows gives an empty array and
    sums of 0.

    Parameters
    ----------
    table, schema
        The rows, and what they conform to.
    first_row
        The position of the table's first row in the whole table; it counts for unkeyed tables only.
    """
    from builder.tables.kernels import mix_cells

    rows = np.zeros((table.num_rows + 1, 2), np.uint64)  # the last row takes a column's sum
    sums = dict.fromkeys(schema.names, 0)
    kinds = {c.name: _kind(c.dtype) for c in schema.columns}
    start = 0
    for block in table.to_batches(max_chunksize=_BLOCK_ROWS):
        out = np.zeros((block.num_rows + 1, 2), np.uint64)
        payloads = {n: _payload(block.column(n), kinds[n]) for n in schema.key}
        keys = _keys(payloads, kinds, schema.key, first_row + start, block.num_rows)
        for name, kind in kinds.items():
            words, valid, at = payloads.get(name) or _payload(block.column(name), kind)
            mix_cells(words, kind == "float64", valid, at, *column_seed(name, kind), keys, out, True)
            sums[name] += int(out[-1, 0]) | int(out[-1, 1]) << 64
        rows[start : start + block.num_rows] = out[:-1]
        start += block.num_rows
    return rows[:-1], {name: value % (1 << 128) for name, value in sums.items()}


def differ(one: Words, other: Words) -> npt.NDArray[np.bool_]:
    """For each pair of hashes, whether they are of different rows."""
    marks: npt.NDArray[np.bool_] = (one[:, 0] != other[:, 0]) | (one[:, 1] != other[:, 1])
    return marks


def hash_values(table: pa.Table) -> Words:
    """An (n, 2) array of words for each row, equal where all of the row's values are, whatever the columns' names."""
    from builder.tables.kernels import mix_cells

    hashes = np.zeros((table.num_rows, 2), np.uint64)
    for column in table.combine_chunks().columns:
        kind = _kind_of(column.type)
        array = column.chunk(0) if column.num_chunks else pa.array([], column.type)
        words, valid, at = _payload(array, kind)
        mix_cells(words, kind == "float64", valid, at, *column_seed("", kind), hashes, hashes, False)
    return hashes


def _kind_of(stored: pa.DataType) -> str:
    """The kind of a column by its Arrow type; all bytes are alike."""
    types = pa.types
    if types.is_decimal(stored):
        return f"decimal({stored.precision},{stored.scale})"
    plain = {pa.bool_(): "bool", pa.date32(): "date", pa.float64(): "float64"}
    is_bytes = types.is_string(stored) or types.is_binary(stored)
    return "binary" if is_bytes else plain.get(stored, "integer")


@lru_cache(maxsize=4096)
def column_seed(name: str, kind: str) -> tuple[np.uint64, np.uint64]:
    """The two words that stand for a column of this name and kind."""
    raw = bytes.fromhex(digest_of("cell", kind, name))
    return np.uint64(int.from_bytes(raw[:8], "little")), np.uint64(int.from_bytes(raw[8:16], "little"))


def _kind(dtype: str) -> str:
    return {"int64": "integer", "Int64": "integer", "boolean": "bool"}.get(dtype, dtype)


def _keys(payloads: dict[str, Payload], kinds: dict[str, str], key: tuple[str, ...], first: int, rows: int) -> Words:
    from builder.tables.kernels import mix_cells

    keys = np.zeros((rows, 2), np.uint64)
    for name in key:
        words, valid, at = payloads[name]
        mix_cells(words, kinds[name] == "float64", valid, at, *column_seed(name, kinds[name]), keys, keys, False)
    if not key:
        positions = np.arange(first, first + rows, dtype=np.uint64).reshape(-1, 1)
        mix_cells(positions, False, _ALL_VALID, 0, *column_seed("", "position"), keys, keys, False)
    return keys


def _payload(array: pa.Array, kind: str) -> Payload:
    valid, offset, count = array.buffers()[0], array.offset, len(array)
    bitmap = _ALL_VALID if valid is None or array.null_count == 0 else np.frombuffer(valid, np.uint8)
    return _words(array, kind, offset, count), bitmap, offset


def _words(array: pa.Array, kind: str, offset: int, count: int) -> Words:
    content = array.buffers()[1]
    if kind in _BYTES:
        return _byte_words(array, offset, count)
    if kind == "bool":
        bits = np.frombuffer(content, np.uint8)[offset >> 3 : (offset + count + 7) >> 3]
        ones = np.unpackbits(bits, bitorder="little")[offset & 7 :][:count]
        return ones.astype(np.uint64).reshape(-1, 1)
    if kind == "date":
        days = np.frombuffer(content, np.int32)[offset : offset + count]
        return days.astype(np.int64).view(np.uint64).reshape(-1, 1)
    width = 2 if kind.startswith("decimal") else 1
    return np.frombuffer(content, np.uint64)[width * offset : width * (offset + count)].reshape(-1, width)


def _byte_words(array: pa.Array, offset: int, count: int) -> Words:
    from builder.tables.kernels import hash_bytes

    _, offsets, content = array.buffers()
    words = np.empty((count, 2), np.uint64)
    if count:
        ends = np.frombuffer(offsets, np.int32)[offset : offset + count + 1]
        hash_bytes(np.frombuffer(content or b"", np.uint8), ends, words)
    return words
