"""The hashes of cells, rows and columns against a slow reference written from the definition alone."""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.digests import digest_of
from builder.tables.arrow import arrow_schema, arrow_type
from builder.tables.cells import hash_rows
from builder.tables.schema import Column, Schema

MASK = (1 << 64) - 1
Pair = tuple[int, int]


def fmix(x: int) -> int:
    x ^= x >> 33
    x = x * 0xFF51AFD7ED558CCD & MASK
    x ^= x >> 33
    x = x * 0xC4CEB9FE1A85EC53 & MASK
    return x ^ (x >> 33)


def rotate(x: int, by: int) -> int:
    return (x << by | x >> (64 - by)) & MASK


def murmur(raw: bytes, seed: int = 0) -> Pair:
    """MurmurHash3_x64_128, as in Appleby's MurmurHash3.cpp."""
    c1, c2 = 0x87C37B91114253D5, 0x4CF5AD432745937F
    h1 = h2 = seed
    blocks = len(raw) // 16
    for i in range(blocks):
        k1, k2 = struct.unpack_from("<QQ", raw, 16 * i)
        h1 ^= rotate(k1 * c1 & MASK, 31) * c2 & MASK
        h1 = ((rotate(h1, 27) + h2) * 5 + 0x52DCE729) & MASK
        h2 ^= rotate(k2 * c2 & MASK, 33) * c1 & MASK
        h2 = ((rotate(h2, 31) + h1) * 5 + 0x38495AB5) & MASK
    k1, k2 = struct.unpack("<QQ", raw[16 * blocks :].ljust(16, b"\0"))
    h2 ^= rotate(k2 * c2 & MASK, 33) * c1 & MASK
    h1 ^= rotate(k1 * c1 & MASK, 31) * c2 & MASK
    h1 ^= len(raw)
    h2 ^= len(raw)
    h1 = (h1 + h2) & MASK
    h2 = (h2 + h1) & MASK
    h1, h2 = fmix(h1), fmix(h2)
    h1 = (h1 + h2) & MASK
    return h1, (h2 + h1) & MASK


def payload(value: Any, dtype: str) -> Pair:
    if value is None or (dtype == "float64" and math.isnan(value)):
        return 0, 1 << 63
    if dtype == "float64":
        return struct.unpack("<Q", struct.pack("<d", value + 0.0))[0], 0
    if dtype in ("string", "binary", "geometry"):
        return murmur(value.encode() if isinstance(value, str) else value)
    if dtype == "date":
        return (value - date(1970, 1, 1)).days & MASK, 0
    if dtype == "timestamp":
        return (value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) & MASK, 0
    if dtype.startswith("decimal"):
        unscaled = int("".join(map(str, value.as_tuple().digits)))
        unscaled = -unscaled if value.is_signed() else unscaled
        return unscaled & MASK, unscaled >> 64 & MASK
    return int(value) & MASK, 0


def seed(kind: str, name: str) -> Pair:
    return struct.unpack("<QQ", bytes.fromhex(digest_of("cell", kind, name))[:16])


def mix(key: Pair, seed: Pair, cell: Pair) -> Pair:
    x, y = cell[0] ^ key[0] ^ seed[0], cell[1] ^ key[1] ^ seed[1]
    x = fmix(x + y & MASK)
    y = fmix(y + x & MASK)
    return fmix(x + y & MASK), y


def reference(rows: list[dict[str, Any]], schema: Schema, first_row: int = 0) -> tuple[list[int], dict[str, int]]:
    kinds = {
        c.name: {"int64": "integer", "Int64": "integer", "boolean": "bool"}.get(c.dtype, c.dtype)
        for c in schema.columns
    }
    row_hashes, sums = [], dict.fromkeys(schema.names, 0)
    for position, row in enumerate(rows, first_row):
        key: Pair = (0, 0)
        for name in schema.key:
            key = mix(key, seed(kinds[name], name), payload(row[name], schema.column(name).dtype))
        if not schema.key:
            key = mix(key, seed("position", ""), (position, 0))
        total = 0
        for column in schema.columns:
            low, high = mix(key, seed(kinds[column.name], column.name), payload(row[column.name], column.dtype))
            total += low | high << 64
            sums[column.name] = (sums[column.name] + (low | high << 64)) % (1 << 128)
        row_hashes.append(total % (1 << 128))
    return row_hashes, sums


def hashed(table: pa.Table, schema: Schema, first_row: int = 0) -> tuple[list[int], dict[str, int]]:
    rows, sums = hash_rows(table, schema, first_row)
    assert rows.shape == (table.num_rows, 2) and rows.dtype == np.uint64
    return [int(low) | int(high) << 64 for low, high in rows], sums


VALUES: dict[str, Callable[[], st.SearchStrategy[Any]]] = {
    "int64": lambda: st.integers(-(1 << 63), (1 << 63) - 1),
    "Int64": lambda: st.none() | st.integers(-(1 << 63), (1 << 63) - 1),
    "bool": st.booleans,
    "boolean": lambda: st.none() | st.booleans(),
    "float64": lambda: st.none() | st.floats(),
    "string": lambda: st.none() | st.text(max_size=40),
    "binary": lambda: st.none() | st.binary(max_size=70),
    "geometry": lambda: st.none() | st.binary(max_size=30),
    "date": lambda: st.none() | st.dates(),
    "timestamp": lambda: st.none() | st.datetimes(timezones=st.just(UTC)),
    "decimal(38,3)": lambda: (
        st.none()
        | st.integers(-(10**38) + 1, 10**38 - 1).map(lambda n: Decimal((n < 0, tuple(map(int, str(abs(n)))), -3)))
    ),
}
SCHEMA = Schema(tuple(Column(f"c {dtype}", dtype) for dtype in VALUES))
ROWS = st.lists(st.fixed_dictionaries({f"c {dtype}": values() for dtype, values in VALUES.items()}), max_size=12)


def table_of(rows: list[dict[str, Any]], schema: Schema) -> pa.Table:
    return pa.table(
        [pa.array([r[c.name] for r in rows], arrow_type(c.dtype)) for c in schema.columns], schema=arrow_schema(schema)
    )


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", "00000000000000000000000000000000"),
        (b"The quick brown fox jumps over the lazy dog", "e34bbc7bbc071b6c7a433ca9c49a9347"),
        (b"hello, world", "342fac623a5ebc8e4cdcbc079642414d"),
    ],
)
def test_the_reference_murmur_gives_the_published_vectors(raw: bytes, expected: str) -> None:
    low, high = murmur(raw)
    assert f"{low:016x}{high:016x}" == expected


@settings(max_examples=60, deadline=None)
@given(
    ROWS,
    st.sampled_from([(), ("c string",), ("c date", "c int64"), ("c decimal(38,3)", "c boolean")]),
    st.integers(0, 1 << 40),
)
def test_hashes_are_those_of_the_definition(rows: list[dict[str, Any]], key: tuple[str, ...], first: int) -> None:
    schema = Schema(SCHEMA.columns, key)
    assert hashed(table_of(rows, schema), schema, first) == reference(rows, schema, first)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 100), max_size=100))
def test_bytes_of_every_length_hash_as_the_definition_says(lengths: list[int]) -> None:
    schema = Schema((Column("x", "binary"),))
    rows = [{"x": bytes((17 * i + 31 * n) % 256 for i in range(n))} for n in lengths]
    assert hashed(table_of(rows, schema), schema) == reference(rows, schema)


@settings(max_examples=30, deadline=None)
@given(ROWS.filter(bool), st.lists(st.integers(0, 12), max_size=4))
def test_chunks_slices_and_offsets_do_not_count(rows: list[dict[str, Any]], cuts: list[int]) -> None:
    padded = table_of([*rows[:3], *rows, *rows[:5]], SCHEMA).slice(min(3, len(rows)), len(rows))
    edges = sorted({0, len(rows), *(c for c in cuts if c < len(rows))})
    pieces = pa.concat_tables([padded.slice(a, b - a) for a, b in itertools.pairwise(edges)])
    assert hashed(pieces, SCHEMA) == hashed(table_of(rows, SCHEMA), SCHEMA)


def test_rows_past_one_block_hash_as_in_two_calls() -> None:
    schema = Schema((Column("n", "int64"), Column("s", "string")))
    numbers = pa.array(np.arange(70_000))
    table = pa.table([numbers, numbers.cast(pa.string())], schema=arrow_schema(schema))
    whole, sums = hashed(table, schema)
    left, left_sums = hashed(table.slice(0, 40_001), schema)
    right, right_sums = hashed(table.slice(40_001), schema, 40_001)
    assert whole == left + right
    assert sums == {n: (left_sums[n] + right_sums[n]) % (1 << 128) for n in sums}
    assert sum(whole) % (1 << 128) == sum(sums.values()) % (1 << 128)


def test_order_of_rows_counts_only_without_a_key() -> None:
    columns = (Column("k", "string"), Column("v", "float64"))
    rows = [{"k": k, "v": v} for k, v in (("a", 1.0), ("b", None), ("", -0.0))]
    for key, is_same in ((("k",), True), ((), False)):
        schema = Schema(columns, key)
        forward, backward = hashed(table_of(rows, schema), schema), hashed(table_of(rows[::-1], schema), schema)
        assert (forward[1] == backward[1]) is is_same


def test_null_empty_zero_and_false_all_differ() -> None:
    cells = [("string", None), ("string", ""), ("string", "0"), ("binary", b""), ("Int64", 0), ("Int64", None)]
    cells += [("boolean", False), ("boolean", None), ("float64", 0.0), ("date", date(1970, 1, 1))]
    sums = set()
    for dtype, value in cells:
        schema = Schema((Column("x", dtype),))
        sums.add(hashed(table_of([{"x": value}], schema), schema)[1]["x"])
    assert len(sums) == len(cells)


def test_nullable_and_plain_integers_hash_alike() -> None:
    plain, nullable = Schema((Column("x", "int64"),)), Schema((Column("x", "Int64"),))
    rows = [{"x": n} for n in (0, -1, 1 << 62)]
    assert hashed(table_of(rows, plain), plain) == hashed(table_of(rows, nullable), nullable)


def test_the_format_of_the_store_has_not_moved() -> None:
    schema = Schema((Column("k", "string"), Column("v", "Int64")), ("k",))
    table = table_of([{"k": "a", "v": 1}, {"k": "", "v": None}], schema)
    assert {name: f"{value:032x}" for name, value in hashed(table, schema)[1].items()} == {
        "k": "47be862422861ba9bd4b8e2496056fc3",
        "v": "171b3cd878687240f34dfa3567fa80c2",
    }
