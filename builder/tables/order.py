"""The order of keys: what is sorted, what is there twice, what is null.

Decides key order: column by column, numbers and times by value, text by its UTF-8 bytes (which is by code point). Rows
of equal keys are an error, told with examples. Never writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from builder.errors import BuilderError, error

Key = tuple[str, ...]
KeyValue = tuple[Any, ...]

_EXAMPLES = 5


def is_ascending(table: pa.Table, key: Key) -> bool:
    """Whether every row's key is greater than the one before; true for no and for one row. Keys hold no nulls."""
    ahead, behind = table.slice(0, max(0, table.num_rows - 1)), table.slice(1)
    result = None
    for name in reversed(key):
        a, b = ahead.column(name), behind.column(name)
        less = pc.less(a, b)
        result = less if result is None else pc.or_(less, pc.and_(pc.equal(a, b), result))
    return result is None or bool(pc.all(result, min_count=0).as_py())


def sort_by_key(table: pa.Table, key: Key) -> pa.Table:
    """The table in key order, rows of equal keys in the order they had; the table itself where it is in order."""
    if is_ascending(table, key):
        return table
    table = table.combine_chunks()
    return table.take(pc.sort_indices(table, [(name, "ascending") for name in key]))


def distinct_keys(tables: Sequence[pa.Table], key: Key) -> pa.Table:
    """The keys of all these tables, at least one, in key order, each once."""
    keys = pa.concat_tables([table.select(key) for table in tables]).combine_chunks()
    ordered = sort_by_key(keys, key)
    again = repeats(ordered, key)
    if again is None or not pc.any(again, min_count=0).as_py():
        return ordered
    return ordered.filter(pa.chunked_array([pa.array([True]), *pc.invert(again).chunks]))


def key_at(table: pa.Table | pa.RecordBatch, key: Key, row: int) -> KeyValue:
    """The key of one row as Python values, which compare as `is_ascending` does."""
    return tuple(table.column(name)[row].as_py() for name in key)


def repeats(table: pa.Table, key: Key) -> pa.ChunkedArray | None:
    """For each row of a sorted table but the first, whether its key is that of the row before; None without a key."""
    ahead, behind = table.slice(0, max(0, table.num_rows - 1)), table.slice(1)
    result = None
    for name in key:
        equal = pc.equal(ahead.column(name), behind.column(name))
        result = equal if result is None else pc.and_(result, equal)
    return result


def refuse_null_keys(table: pa.Table, key: Key, first_row: int, describe_row: Callable[[int], str]) -> None:
    """Nothing where no key column holds a null.

    Raises
    ------
    DataError
        ``key-null`` with the places of the first five.
    """
    for name in key:
        column = table.column(name)
        if column.null_count == 0:
            continue
        rows = pc.indices_nonzero(pc.is_null(column))
        places = [describe_row(first_row + row) for row in rows.slice(0, _EXAMPLES).to_pylist()]
        raise error(
            "key-null",
            f"key column '{name}' is null in {_count(column.null_count, 'row')}",
            place=places[0],
            facts=[("column", name), ("rows", ", ".join(places))],
            hint="give every row a key, drop these rows, or declare another key",
        )


def refuse_duplicates(table: pa.Table, key: Key, rows: pa.ChunkedArray, describe_row: Callable[[int], str]) -> None:
    """Nothing where no two neighbours of a sorted table share their key; `rows` are the rows' numbers in the input.

    Raises
    ------
    DataError
        ``key-duplicate`` with five keys and the places of each.
    """
    same = repeats(table, key)
    if same is None or not pc.any(same, min_count=0).as_py():
        return
    seconds = pc.indices_nonzero(same).to_pylist()  # the row before each second one, so of each pair the first
    firsts = [i for n, i in enumerate(seconds) if n == 0 or seconds[n - 1] != i - 1]
    examples = [_places(table, key, first, set(seconds), rows, describe_row) for first in firsts[:_EXAMPLES]]
    raise duplicate_error(key, len(firsts), examples)


def duplicate_error(key: Key, count: int, examples: Sequence[tuple[str, list[str]]]) -> BuilderError:
    """The error of a key that `count` times stands in several rows; examples are pairs of a key and its places."""
    shown = ", ".join(key)
    return error(
        "key-duplicate",
        f"key '{shown}' is not unique: at least {_count(count, 'value')} in more than one row",
        place=examples[0][1][0],
        facts=[(f"{shown} {value}", ", ".join(places)) for value, places in examples],
        hint="drop or merge the repeated rows, or add a column to the key",
    )


def _places(
    table: pa.Table,
    key: Key,
    first: int,
    seconds: set[int],
    rows: pa.ChunkedArray,
    describe_row: Callable[[int], str],
) -> tuple[str, list[str]]:
    positions = [first]
    while positions[-1] in seconds and len(positions) < _EXAMPLES:
        positions.append(positions[-1] + 1)
    numbers = sorted(rows[p].as_py() for p in positions)
    value = key_at(table, key, first)
    return repr(value[0]) if len(key) == 1 else repr(value), [describe_row(n) for n in numbers]


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")
