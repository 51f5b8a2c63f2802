"""Promises about the rows of a table.

Decides what a row that breaks a rule is. Never counts, reports or mends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from builder.errors import BuilderError, error
from builder.transforms.columns import check_columns
from builder.transforms.comparing import names_of
from builder.transforms.values import arrow_values, joint_codes, kind_of, text_values

_NUMBERS = ("integer", "float", "decimal")
Broken = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """A promise about the rows of a table, made by one of the methods below.

    A null breaks `not_null` alone: the other rules say nothing of rows with a null in their columns.

    Attributes
    ----------
    text
        The rule as it was written.
    columns
        The columns that it is about; none for the number of rows.
    broken
        Which rows of a table break it; None where it is about their number.
    rows
        The least and the greatest number of rows.
    """

    text: str
    columns: tuple[str, ...]
    broken: Callable[[pd.DataFrame], Broken] | None
    rows: tuple[int, float] = (0, math.inf)

    @classmethod
    def not_null(cls, *columns: str) -> Rule:
        """A rule: none of the columns is null. The empty text is not null."""
        names = _columns(columns, "not_null")

        def broken(frame: pd.DataFrame) -> Broken:
            is_broken = np.zeros(len(frame), bool)
            for name in names:
                is_broken |= _is_null(arrow_values(frame[name], name))
            return is_broken

        return cls("not_null", names, broken)

    @classmethod
    def unique(cls, *columns: str) -> Rule:
        """A rule: no two rows have the same values in the columns. All the rows that share theirs break it."""
        names = _columns(columns, "unique")

        def broken(frame: pd.DataFrame) -> Broken:
            arrays = [arrow_values(frame[name], name) for name in names]
            codes, _ = joint_codes([(array, array[:0]) for array in arrays], names)
            counts = np.bincount(codes[codes >= 0], minlength=1)
            return (codes >= 0) & (counts[codes] > 1)

        return cls("unique", names, broken)

    @classmethod
    def in_range(cls, column: str, low: Any = None, high: Any = None) -> Rule:
        """A rule: values are at least `low` and at most `high`; None for no bound. Numbers, dates, instants, texts."""
        (name,) = _columns((column,), "in_range")
        if low is None and high is None:
            raise error("recipe-declaration", f"'in_range' of '{name}' has no bound", hint="give low, high or both")

        def broken(frame: pd.DataFrame) -> Broken:
            array = arrow_values(frame[name], name)
            is_broken = np.zeros(len(array), bool)
            for bound, compare, rounded in ((low, pc.less, math.ceil), (high, pc.greater, math.floor)):
                if bound is not None:
                    is_broken |= _is_true(compare(array, _bound(bound, array, name, rounded)))
            return is_broken

        return cls(f"in_range({low!r}, {high!r})", (name,), broken)

    @classmethod
    def one_of(cls, column: str, values: Iterable[Any]) -> Rule:
        """A rule: values are among those given, which are of the column's kind."""
        (name,) = _columns((column,), "one_of")
        if isinstance(values, str | bytes):
            raise error("recipe-declaration", f"'one_of' of '{name}' got {values!r}", hint="give a list of values")
        known = [value for value in values if not pd.isna(value)]

        def broken(frame: pd.DataFrame) -> Broken:
            array = arrow_values(frame[name], name)
            return ~_is_null(array) & ~_is_true(pc.is_in(array, value_set=_known(known, array, name)))

        return cls(f"one_of({len(known)} values)", (name,), broken)

    @classmethod
    def matches(cls, column: str, pattern: str) -> Rule:
        """A rule: the whole of each text matches a regular expression, in the syntax of RE2."""
        (name,) = _columns((column,), "matches")
        whole = rf"\A(?:{pattern})\z"
        try:
            if not isinstance(pattern, str):
                raise TypeError(f"{pattern!r} is not text")
            pc.match_substring_regex(pa.array([""]), whole)
        except (pa.ArrowException, TypeError) as cause:
            problem = str(cause).splitlines()[0]
            raise error(
                "recipe-declaration",
                f"'matches' of '{name}' is no regular expression: {problem}",
                hint="mend the pattern",
            ) from cause

        def broken(frame: pd.DataFrame) -> Broken:
            texts = text_values(frame[name], name)
            return ~_is_null(texts) & ~_is_true(pc.match_substring_regex(texts, whole))

        return cls(f"matches({pattern!r})", (name,), broken)

    @classmethod
    def references(cls, columns: Any, table: pd.DataFrame, table_columns: Any = None) -> Rule:
        """A rule: the values of the columns are those of some row in another table, in columns of the same kinds."""
        names = _columns(names_of(columns, "columns"), "references")
        others = names if table_columns is None else names_of(table_columns, "table_columns")
        if len(others) != len(names):
            raise error(
                "recipe-declaration", f"'references' compares {names} with {others}", hint="name as many columns"
            )
        check_columns(table, others, "table")

        def broken(frame: pd.DataFrame) -> Broken:
            pairs = [(arrow_values(frame[a], a), arrow_values(table[b], b)) for a, b in zip(names, others)]
            codes, known = joint_codes(pairs, names)
            return (codes >= 0) & ~np.isin(codes, known)

        return cls(f"references({', '.join(others)})", names, broken)

    @classmethod
    def row_count(cls, low: int = 0, high: float = math.inf) -> Rule:
        """A rule: the table has at least `low` rows and at most `high`."""
        if not all(isinstance(n, int | float) and not isinstance(n, bool) for n in (low, high)) or not 0 <= low <= high:
            raise error("recipe-declaration", f"'row_count' is from {low!r} to {high!r}", hint="give low <= high")
        return cls(f"row_count({low!r}, {high!r})", (), None, (low, high))


def _columns(names: Sequence[Any], rule: str) -> tuple[str, ...]:
    if not names or not all(isinstance(name, str) for name in names):
        raise error("recipe-declaration", f"'{rule}' is about {list(names)!r}", hint="give names of columns")
    return tuple(names)


def _is_null(array: pa.Array) -> Broken:
    found: Broken = array.is_null().to_numpy(zero_copy_only=False)
    return found


def _is_true(array: pa.Array) -> Broken:
    found: Broken = array.fill_null(False).to_numpy(zero_copy_only=False)
    return found


def _bound(value: Any, array: pa.Array, name: str, rounded: Callable[[Any], int]) -> pa.Scalar:
    """A bound in the column's type; one of integers is rounded towards the inside, which changes no answer."""
    kind = kind_of(array, name)
    try:
        if kind == "integer" and math.isinf(value):
            return pa.scalar(float(value))
        if kind == "integer":
            return (
                pa.scalar(Decimal(rounded(value)), pa.decimal128(38, 0))
                if abs(value) >= 2**63
                else pa.scalar(rounded(value))
            )
        if kind == "decimal":
            return pa.scalar(Decimal(str(value)))
        if kind in ("date", "timestamp"):
            moment = pd.Timestamp(value)
            zone = getattr(array.type, "tz", None)
            if kind == "timestamp" and zone and moment.tz is None:
                moment = moment.tz_localize("UTC")
            return pa.scalar(moment.date() if kind == "date" else moment, array.type)
        if kind == "float" and not isinstance(value, str):
            return pa.scalar(float(value))
        if kind == "text" and isinstance(value, str):
            return pa.scalar(value, array.type)
    except (pa.ArrowException, TypeError, ValueError, ArithmeticError) as cause:
        raise _unfit("in_range", value, kind, name) from cause
    raise _unfit("in_range", value, kind, name)


def _known(values: list[Any], array: pa.Array, name: str) -> pa.Array:
    kind = kind_of(array, name)
    if not values:
        return array[:0]
    try:
        known = arrow_values(pd.Series(values, dtype=object), name)
        other = kind_of(known, name)
        if other != kind and not (other in _NUMBERS and kind in _NUMBERS):
            raise _unfit("one_of", values[0], kind, name)
        return known.cast(array.type)
    except (pa.ArrowException, ValueError) as cause:
        raise _unfit("one_of", values[0], kind, name) from cause


def _unfit(rule: str, value: Any, kind: str, name: str) -> BuilderError:
    return error(
        "recipe-declaration",
        f"'{rule}' of '{name}' cannot compare {value!r} with {kind}",
        hint="give values of the column's kind",
    )
