"""What makes two records comparable: which columns are compared, which must agree, how near they must be.

Decides how the arguments that say so are read and refused. Never compares texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from builder.errors import error
from builder.transforms.candidates import Nearness, nearness
from builder.transforms.columns import check_columns
from builder.transforms.normalising import blank_as_null, normal_values
from builder.transforms.values import Positions, arrow_values, joint_codes, kind_of, text_values

ColumnPairs = tuple[tuple[str, str], ...]


def column_pairs(value: Any, what: str) -> ColumnPairs:
    """Pairs of a left and a right column of a name, a list of names, or a mapping from left names to right names.

    Raises
    ------
    BuilderError
        ``recipe-declaration`` for anything else.
    """
    if value is None:
        return ()
    if isinstance(value, str):
        return ((value, value),)
    pairs = list(value.items()) if isinstance(value, Mapping) else None
    if pairs is None and isinstance(value, Sequence):
        pairs = [(name, name) for name in value]
    if pairs is not None and all(isinstance(name, str) for pair in pairs for name in pair):
        return tuple(pairs)
    raise error("recipe-declaration", f"'{what}' is {value!r}", hint="names, or {left name: right name}")


def names_of(value: Any, what: str) -> tuple[str, ...]:
    """The names of a name or a list of names.

    Raises
    ------
    BuilderError
        ``recipe-declaration`` for anything else.
    """
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, Sequence) or not all(isinstance(n, str) for n in names):
        raise error("recipe-declaration", f"'{what}' is {value!r}", hint="give names of columns")
    return tuple(names)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two frames, and the columns in which their rows are compared (`on`) and must agree (`block`).

    Where there is no right frame, the left one is compared with itself, and what is said of the right side is empty.
    """

    left: pd.DataFrame
    right: pd.DataFrame | None
    on: ColumnPairs
    block: ColumnPairs
    near: Nearness | None

    def exact_codes(self, pairs: ColumnPairs) -> tuple[Positions, Positions]:
        """Codes of rows by their values as they are; -1 where one is null, or a text of nothing but spaces."""
        return _codes([(_said(a), _said(b)) for a, b in self._read(pairs, arrow_values)], pairs)

    def texts(self) -> list[tuple[pa.Array, pa.Array]]:
        """The normal texts of the compared columns, null where blank."""
        return [(_normal(a), _normal(b)) for a, b in self._read(self.on, text_values)]

    def normal_codes(self, texts: list[tuple[pa.Array, pa.Array]]) -> tuple[Positions, Positions]:
        """Codes of rows by their normal texts and blocks."""
        return _codes([*texts, *self._blocks()], (*self.on, *self.block))

    def block_codes(self, texts: list[tuple[pa.Array, pa.Array]]) -> tuple[Positions, Positions]:
        """Codes of rows by their blocks; -1 where a compared text or a block's column says nothing."""
        if self.block:
            left, right = _codes(self._blocks(), self.block)
        else:
            left, right = (np.zeros(len(side), np.int64) for side in texts[0])
        for a, b in texts:
            left = np.where(a.is_null().to_numpy(zero_copy_only=False), -1, left)
            right = np.where(b.is_null().to_numpy(zero_copy_only=False), -1, right)
        return left, right

    def _blocks(self) -> list[tuple[pa.Array, pa.Array]]:
        arrays = self._read(self.block, arrow_values)
        return [(_normal(a), _normal(b)) if kind_of(a, "") == kind_of(b, "") == "text" else (a, b) for a, b in arrays]

    def _read(self, pairs: ColumnPairs, read: Callable[[Any, str], pa.Array]) -> list[tuple[pa.Array, pa.Array]]:
        left = [read(self.left[a], a) for a, _ in pairs]
        right = [a[:0] for a in left] if self.right is None else [read(self.right[b], b) for _, b in pairs]
        return list(zip(left, right))


def comparison(
    frames: Sequence[pd.DataFrame],
    rows: Sequence[Positions],
    *,
    on: Any,
    block: Any,
    near: Any,
    within_m: Any,
    exact: ColumnPairs = (),
    sides: tuple[str, str] = ("left", "right"),
) -> Comparison:
    """The comparison of two frames, or of one with itself, of the rows at these positions, in their order.

    Raises
    ------
    BuilderError
        ``recipe-declaration`` for wrong arguments, ``bad-value`` for columns that are not there.
    """
    pairs, blocks, places = column_pairs(on, "on"), column_pairs(block, "block"), column_pairs(near, "near")
    if places and len(places) != 2:
        raise error("recipe-declaration", f"'near' is {near!r}", hint="give the columns of longitude and latitude")
    if within_m is not None and not places:
        raise error("recipe-declaration", "'within_m' is given without 'near'", hint="near=['lon', 'lat']")
    names = list(zip(*pairs, *blocks, *places, *exact))
    for frame, side, needed in zip(frames, sides, names):
        check_columns(frame, dict.fromkeys(needed), side)
    left, *others = map(_in_order, frames, rows, names)
    right = others[0] if others else None
    near_rows = nearness(left, left if right is None else right, places[0], places[1], within_m) if places else None
    return Comparison(left, right, pairs, blocks, near_rows)


def _in_order(frame: pd.DataFrame, rows: Positions, names: Iterable[str]) -> pd.DataFrame:
    return pd.DataFrame({name: frame[name].array.take(rows) for name in dict.fromkeys(names)})


def _codes(arrays: list[tuple[pa.Array, pa.Array]], pairs: ColumnPairs) -> tuple[Positions, Positions]:
    return joint_codes(arrays, [a if a == b else f"{a} and {b}" for a, b in pairs])


def _said(values: pa.Array) -> pa.Array:
    if not pa.types.is_large_string(values.type):
        return values
    return blank_as_null(values, pc.utf8_trim_whitespace(values))


def _normal(texts: pa.Array) -> pa.Array:
    normal = normal_values(texts)
    return blank_as_null(normal, normal)
