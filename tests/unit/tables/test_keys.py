"""Searching sorted keys against bisection over Python's own order."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import BuilderError
from builder.tables.keys import Keys, overlaid

WHOLE = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)
KINDS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "int64": (pa.int64(), WHOLE),
    "float": (pa.float64(), st.floats(allow_nan=False).map(lambda v: v + 0.0)),
    "bool": (pa.bool_(), st.booleans()),
    "date": (pa.date32(), st.dates()),
    "text": (pa.string(), st.text(max_size=3)),
    "bytes": (pa.binary(), st.binary(max_size=3)),
    "decimal": (pa.decimal128(38, 2), st.decimals(-(10**30), 10**30, places=2) | st.decimals(-1, 1, places=2)),
}


def comparable(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_ranges_are_those_of_bisection(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=3))
    rows = st.lists(st.tuples(*(KINDS[k][1] for k in kinds)), max_size=20)
    held, sought = (sorted(data.draw(rows), key=lambda row: tuple(map(comparable, row))) for _ in range(2))
    width = data.draw(st.integers(1, len(kinds)))
    sought = sorted({row[:width] for row in [*sought, *held[::3]]}, key=lambda row: tuple(map(comparable, row)))

    def table(values: list[Any], count: int) -> pa.Table:
        columns = {f"k{n}": pa.array([row[n] for row in values], KINDS[kinds[n]][0]) for n in range(count)}
        return pa.table(columns)

    key = tuple(f"k{n}" for n in range(len(kinds)))
    padded = pa.concat_tables([table(held[:1], len(kinds)), table(held, len(kinds))]).combine_chunks()
    own = Keys.of(padded.slice(min(1, len(held))), key)
    low, high = own.ranges(Keys.of(table(sought, width), key[:width]))
    order = [tuple(map(comparable, row[:width])) for row in held]
    wanted = [tuple(map(comparable, row)) for row in sought]
    assert low.tolist() == [bisect_left(order, row) for row in wanted]
    assert high.tolist() == [bisect_right(order, row) for row in wanted]


@settings(max_examples=60, deadline=None)
@given(*[st.dictionaries(st.tuples(st.text(max_size=2), st.integers(0, 3)), st.integers(0, 9), max_size=12)] * 2)
def test_newer_rows_replace_older_ones_of_their_key(old: dict[Any, int], new: dict[Any, int]) -> None:
    def table(rows: dict[Any, int]) -> pa.Table:
        ordered = sorted(rows, key=lambda k: (k[0].encode(), k[1]))
        kinds = (pa.string(), pa.int64(), pa.int64())
        values = zip(*[(*k, rows[k]) for k in ordered], strict=True) if rows else ((), (), ())
        return pa.table({n: pa.array(v, kind) for n, kind, v in zip("ksv", kinds, values, strict=True)})

    assert overlaid(table(old), table(new), ("k", "s")).to_pylist() == table(old | new).to_pylist()


def test_offsets_that_a_damaged_file_holds_are_kept_inside_of_it() -> None:
    offsets = pa.py_buffer(b"".join(n.to_bytes(4, "little", signed=True) for n in (0, 1 << 30, -5, 7)))
    texts = pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(b"abcdefg")])
    own = Keys.of(pa.table({"k": texts}), ("k",))
    low, high = own.ranges(Keys.of(pa.table({"k": ["a", "b", "zz"]}), ("k",)))
    assert ((low >= 0) & (low <= high) & (high <= 3)).all()


@pytest.mark.parametrize("values", [[None, 1], ["a", None]])
def test_a_null_is_never_looked_up(values: list[Any]) -> None:
    with pytest.raises(BuilderError) as caught:
        Keys.of(pa.table({"k": values}), ("k",))
    assert caught.value.code == "internal"
