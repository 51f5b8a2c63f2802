"""How often each value of a column occurs: the state from which every statistic follows, exact and mergeable.

Decides how values are counted and how the counts of parts are joined. Never estimates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from builder.errors import error
from builder.transforms.values import Positions, arrow_values, kind_of

_SORTED = (
    "integer",
    "float",
    "date",
    "timestamp",
    "duration",
    "time",
)  # counted by sorting numbers, which is quicker than hashing


@dataclass(frozen=True, slots=True)
class Tally:
    """The distinct values of a column with their counts; nulls are counted apart.

    The values of numbers, dates and timestamps are ascending; others are in no order that says something.
    """

    kind: str
    rows: int
    nulls: int
    values: pa.Array
    counts: Positions


def tally(values: Any, name: str) -> Tally:
    """The tally of a Series."""
    array = arrow_values(values, name)
    return counted(array, kind_of(array, name))


def counted(array: pa.Array, kind: str) -> Tally:
    """The tally of an Arrow array."""
    held = array.drop_null() if array.null_count else array
    if kind in _SORTED:
        distinct, counts = _runs(_as_numbers(held))
        return Tally(kind, len(array), array.null_count, _as_values(distinct, array.type), counts)
    found = pc.value_counts(held)
    counts = found.field("counts").to_numpy().astype(np.int64)
    return Tally(kind, len(array), array.null_count, found.field("values"), counts)


def joined(parts: Sequence[Tally], name: str) -> Tally:
    """The tally of the parts together: that of the whole, whatever the parts.

    Raises
    ------
    BuilderError
        ``schema-drift`` where parts hold values of different types.
    """
    held = [part for part in parts if len(part.values)] or [parts[0]]
    kind, values = held[0].kind, _of_one_type([part.values for part in held], name)
    counts = np.concatenate([part.counts for part in held])
    rows, nulls = sum(part.rows for part in parts), sum(part.nulls for part in parts)
    if len(held) == 1:
        return Tally(kind, rows, nulls, values, counts)
    if kind in _SORTED:
        numbers = _as_numbers(values)
        order = np.argsort(numbers, kind="stable")
        starts = _starts(numbers[order])
        return Tally(kind, rows, nulls, values.take(pa.array(order[starts])), np.add.reduceat(counts[order], starts))
    encoded = values.dictionary_encode()
    summed = np.zeros(len(encoded.dictionary), np.int64)
    np.add.at(summed, encoded.indices.to_numpy(), counts)
    return Tally(kind, rows, nulls, encoded.dictionary, summed)


def _of_one_type(arrays: list[pa.Array], name: str) -> pa.Array:
    types = list(dict.fromkeys(array.type for array in arrays))
    if len(types) > 1 and all(map(pa.types.is_decimal, types)):
        types = [pa.decimal256(76, max(kind.scale for kind in types))]  # the scale that the whole has
        arrays = [array.cast(types[0]) for array in arrays]
    if len(types) > 1:
        raise error(
            "schema-drift",
            f"column '{name}' holds {types[0]} in one part and {types[1]} in another",
            hint="give all parts one type",
        )
    return pa.concat_arrays(arrays)


def _runs(numbers: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], Positions]:
    ordered = np.sort(numbers)
    starts = _starts(ordered)
    return ordered[starts], np.diff(np.append(starts, len(ordered)))


def _starts(ordered: npt.NDArray[Any]) -> Positions:
    if not len(ordered):
        return np.empty(0, np.int64)
    return np.concatenate(([0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1))


def _as_numbers(array: pa.Array) -> npt.NDArray[Any]:
    if not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        array = array.cast(pa.int32() if array.type.bit_width == 32 else pa.int64())
    numbers: npt.NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return numbers


def _as_values(numbers: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    return pa.array(numbers).cast(kind)


def exact_mean(found: Tally) -> float | None:
    """The mean of numbers, rounded once, whatever their order; None of no numbers, NaN of both infinities."""
    n = found.rows - found.nulls
    if n == 0 or found.kind not in ("integer", "float", "decimal"):
        return None
    if found.kind == "decimal":
        values = found.values
        width = values.type.bit_width // 32
        words = np.frombuffer(values.buffers()[1], np.uint32)[values.offset * width :][: len(values) * width]
        return float(Fraction(_words_total(words.reshape(-1, width), found.counts, True), 10**values.type.scale) / n)
    numbers = found.values.to_numpy()
    if found.kind == "integer":
        is_signed = numbers.dtype.kind == "i"
        words = numbers.astype(np.int64 if is_signed else np.uint64).view(np.uint32).reshape(-1, 2)
        return _words_total(words, found.counts, is_signed) / n
    if np.isinf(numbers[0]) or np.isinf(numbers[-1]):
        has_both = np.isinf(numbers[0]) and np.isinf(numbers[-1]) and numbers[0] != numbers[-1]
        return float("nan") if has_both else float(numbers[0] if np.isinf(numbers[0]) else numbers[-1])
    return float(_float_total(numbers, found.counts) / n)


def _words_total(words: npt.NDArray[np.uint32], counts: Positions, is_signed: bool) -> int:
    """The sum of integers given as words of 32 bits, lowest first; no word's sum overflows below 2**31 rows."""
    total = 0
    for place in range(words.shape[1]):
        word = words[:, place]
        if is_signed and place == words.shape[1] - 1:
            word = word.view(np.int32)
        total += int((word.astype(np.int64) * counts).sum()) << (32 * place)
    return total


def _float_total(numbers: npt.NDArray[np.float64], counts: Positions) -> Fraction:
    """The sum of floats as a fraction: each mantissa as three integers of 18 bits, added up for each exponent.

    Below 2**34 rows no such sum leaves the integers that a float holds exactly.
    """
    mantissa, exponent = np.frexp(numbers)
    whole = (mantissa * 2.0**53).astype(np.int64)
    lowest = int(exponent.min())
    total = 0
    for shift in (0, 18, 36):
        digits = (whole >> shift) & 0x3FFFF if shift < 36 else whole >> shift
        sums = np.bincount(exponent - lowest, weights=digits.astype(np.float64) * counts)
        total += sum(int(part) << (n + shift) for n, part in enumerate(sums.tolist()) if part)
    return Fraction(total) * Fraction(2) ** (lowest - 53)


def quantile_values(found: Tally, shares: Sequence[float]) -> pa.Array:
    """For each share the least value that at least this share of the values does not exceed; nothing between values.

    Nulls where there are no values. Definition 1 of Hyndman and Fan 1996 (the inverse of the distribution function).
    """
    n = found.rows - found.nulls
    if n == 0:
        return pa.nulls(len(shares), found.values.type)
    values, counts = found.values, found.counts
    if found.kind not in _SORTED:
        order = pc.array_sort_indices(values)
        values, counts = values.take(order), counts[order.to_numpy()]
    ranks = [max(-(-Fraction(str(share)) * n // 1), 1) for share in shares]
    at = np.searchsorted(np.cumsum(counts), [int(rank) for rank in ranks], "left")
    return values.take(pa.array(at))


def most_frequent(found: Tally, most: int, least: int = 2) -> tuple[pa.Array, Positions]:
    """The values that occur at least so often, with their counts: by count, descending, then by value."""
    repeated = np.flatnonzero(found.counts >= least)
    if len(repeated) > most > 0:  # those below the last count that gets in need no ordering
        last = np.partition(found.counts[repeated], len(repeated) - most)[len(repeated) - most]
        repeated = repeated[found.counts[repeated] >= last]
    table = pa.table({"value": found.values.take(pa.array(repeated)), "count": found.counts[repeated]})
    order = pc.sort_indices(table, sort_keys=[("count", "descending"), ("value", "ascending")])[:most]
    return found.values.take(pa.array(repeated[order.to_numpy()])), found.counts[repeated][order.to_numpy()]


def lowest_and_highest(found: Tally) -> pa.Array:
    """The least and the greatest value, null where there are none; texts by code point."""
    if found.kind in _SORTED and len(found.values):
        return found.values.take(pa.array([0, len(found.values) - 1]))
    ends = pc.min_max(found.values)
    return pa.array([ends["min"], ends["max"]], found.values.type)
