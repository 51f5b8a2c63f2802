"""Rows by label: which rows carry which values of some columns.

Decides the order of labels and that a row with a null in one of the columns carries none. Never drops a row: rows
without a label are numbered -1 and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from builder.errors import error
from builder.transforms.columns import check_columns

_MIXED = {"mixed", "mixed-integer"}


@dataclass(frozen=True, slots=True)
class Labels:
    """Each row's label by its number, and the labels themselves.

    Parameters
    ----------
    codes
        The number of each row's label, int64; -1 where it has none.
    frame
        The distinct labels, sorted, with a fresh RangeIndex and the dtypes of their columns.
    """

    codes: npt.NDArray[np.int64]
    frame: pd.DataFrame

    @property
    def unlabelled(self) -> int:
        """How many rows carry no label."""
        return int((self.codes < 0).sum())

    def names(self, codes: npt.NDArray[np.integer[Any]]) -> list[str]:
        """The labels of these numbers as text, as an error names them."""
        rows = self.frame.iloc[codes].itertuples(index=False, name=None)
        return [" ".join(map(str, row)) for row in rows]


def column_names(by: str | Sequence[str], reserved: Sequence[str]) -> list[str]:
    """The columns that `by` names, one name or several.

    Raises
    ------
    BuilderError
        ``recipe-declaration``: not names, a name twice, or one that the result has itself.
    """
    names = [by] if isinstance(by, str) else list(by) if isinstance(by, Sequence) else [by]
    if not all(isinstance(name, str) for name in names):
        raise error("recipe-declaration", "'by' takes the names of columns", facts=[("by", repr(by))])
    again = [name for name in names if names.count(name) > 1]
    if again:
        raise error("recipe-declaration", f"'by' names column '{again[0]}' twice")
    taken = [name for name in names if name in reserved]
    if taken:
        raise error("recipe-declaration", f"the result has a column '{taken[0]}' of its own", hint="rename yours")
    return names


def label_rows(frame: Any, by: Sequence[str], what: str) -> Labels:
    """The labels of a frame's rows; without columns in `by`, one label for all.

    Labels are sorted column by column as their values are (text by code point); 0.0 and -0.0 are one value.

    Raises
    ------
    BuilderError
        ``bad-value``: a missing column, or values that cannot be sorted.
    """
    check_columns(frame, by, what)
    if not by:
        return Labels(np.zeros(len(frame), np.int64), pd.DataFrame(index=pd.RangeIndex(min(len(frame), 1))))
    values = pd.DataFrame({name: _sortable(frame[name], what) for name in by})
    numbers = values.groupby(list(by), sort=True, observed=True, dropna=True).ngroup()
    codes = np.asarray(numbers.fillna(-1), np.int64)
    first = np.full(int(codes.max(initial=-1)) + 1, -1)
    rows = np.flatnonzero(codes >= 0)
    first[codes[rows[::-1]]] = rows[::-1]  # the earliest row is written last
    return Labels(codes, values.iloc[first].reset_index(drop=True))


def _sortable(column: pd.Series, what: str) -> pd.Series:
    column = column.reset_index(drop=True)
    kind = pd.api.types.infer_dtype(column, skipna=True) if column.dtype == object else ""
    if kind in _MIXED or column.dtype == "geometry":
        raise error(
            "bad-value",
            f"column '{column.name}' of '{what}' holds values that have no order",
            facts=[("dtype", f"{column.dtype} {kind}".strip())],
            hint="give labels of one kind: text, numbers or dates",
        )
    return column + 0.0 if pd.api.types.is_float_dtype(column.dtype) else column  # -0.0 becomes 0.0
