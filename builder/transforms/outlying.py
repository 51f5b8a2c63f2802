"""The values of a column that stand out: far from the others, or of a rare format.

Decides how far is far by a stated measure. Never judges whether such a value is wrong.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from builder.errors import error
from builder.transforms.columns import check_columns
from builder.transforms.text_formats import coded
from builder.transforms.values import Positions, number_values, row_order, text_values

_METHODS = {"iqr": 1.5, "mad": 3.5, "rare_pattern": 0.01}  # with their usual limits
_DEVIATION = 1.4826  # of a normal distribution, in median absolute deviations

Found = tuple[Positions, list[str], npt.NDArray[np.float64]]  # rows, reasons, scores


def outliers(frame: pd.DataFrame, column: str, *, method: str = "iqr", limit: float | None = None) -> pd.DataFrame:
    """The rows whose value in a column stands out, why, and how far.

    Parameters
    ----------
    frame
        Any index.
    column
        Numbers for ``iqr`` and ``mad``, texts for ``rare_pattern``.
    method
        ``iqr``: below the first quartile or above the third by more than `limit` times the distance between them
        (quartiles interpolated linearly); the score is how many such distances. ``mad``: more than `limit` robust
        standard deviations, 1.4826 times the median absolute deviation, from the median; the score is how many.
        ``rare_pattern``: the format, of `patterns`, has a share of the texts below `limit`; the score is 1 less the
        share.
    limit
        1.5 for ``iqr``, 3.5 for ``mad``, 0.01 for ``rare_pattern`` where it is None.

    Returns
    -------
    pandas.DataFrame
        The columns of `frame`, then ``reason`` (string) and ``score`` (float64); by score, descending, then by the
        columns from left to right; a fresh RangeIndex. The same for any order of the rows.

    Raises
    ------
    BuilderError
        ``bad-value`` where the column is missing or of another kind, or `frame` has columns ``reason`` or ``score``;
        ``recipe-declaration`` for wrong arguments.

    Notes
    -----
    Nulls and NaN never stand out and do not count. Infinities always do, with an infinite score, and do not count for
    the others. Where the spread is 0, every value beyond it stands out, with an infinite score. Reasons name the
    value that was passed, or the format and how many texts have it.

    Tukey 1977 for ``iqr``; Iglewicz and Hoaglin 1993 for ``mad``.

    Examples
    --------
    >>> import pandas as pd
    >>> fields = pd.DataFrame({"id": list("abcdef"), "feet": [12.0, 15, 11, 14, 900, None]})
    >>> outliers(fields, "feet", method="mad")[["id", "reason"]].values.tolist()
    [['e', 'above 24.3782']]
    """
    if method not in _METHODS:
        raise error("recipe-declaration", f"there is no method {method!r}", facts=[("methods", ", ".join(_METHODS))])
    limit = _METHODS[method] if limit is None else limit
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not limit > 0:
        raise error("recipe-declaration", f"'limit' is {limit!r}", hint="give a number above 0")
    check_columns(frame, [column], "frame")
    for name in {"reason", "score"}.intersection(frame.columns):
        raise error("bad-value", f"'frame' has a column '{name}'", hint="rename it: that name is for the result")
    find = _rare if method == "rare_pattern" else _far
    rows, reasons, scores = find(frame[column], column, method, limit)
    found = frame.iloc[rows].reset_index(drop=True)
    order = row_order(found)
    order = order[np.argsort(-scores[order], kind="stable")]
    found = found.iloc[order].reset_index(drop=True)
    found["reason"] = pd.Series([reasons[n] for n in order], dtype="string")
    found["score"] = scores[order]
    return found


def _far(values: Any, column: str, method: str, limit: float) -> Found:
    numbers = number_values(values, column)
    finite = numbers[np.isfinite(numbers)]
    rows = np.flatnonzero(~np.isnan(numbers))
    numbers = numbers[rows]
    low, high, spread = _middle(finite, method)
    beyond = np.maximum(low - numbers, numbers - high)
    with np.errstate(divide="ignore", over="ignore"):
        score = np.where(beyond > 0, beyond / spread if spread else np.inf, 0.0)
    score[np.isinf(numbers)] = np.inf
    is_out = score > limit
    texts = {False: f"below {low - limit * spread:.6g}", True: f"above {high + limit * spread:.6g}"}
    reasons = ["not finite" if np.isinf(n) else texts[bool(n > high)] for n in numbers[is_out]]
    return rows[is_out], reasons, score[is_out]


def _middle(finite: npt.NDArray[np.float64], method: str) -> tuple[float, float, float]:
    """From where to where values do not stand out at all, and the unit in which the distance from there is told."""
    if not len(finite):
        return 0.0, 0.0, 0.0
    if method == "iqr":
        low, high = np.quantile(finite, [0.25, 0.75])
        return float(low), float(high), float(high - low)
    middle = float(np.median(finite))
    return middle, middle, _DEVIATION * float(np.median(np.abs(finite - middle)))


def _rare(values: Any, column: str, method: str, limit: float) -> Found:
    texts = text_values(values, column)
    rows = np.flatnonzero(texts.is_valid().to_numpy(zero_copy_only=False))
    codes, formats = coded(texts.drop_null(), collapse=False)
    counts = np.bincount(codes, minlength=len(formats))
    share = counts / max(len(rows), 1)
    is_rare = share[codes] < limit
    names = formats.to_pylist()
    reasons = [f"format '{names[code]}' of {counts[code]} of {len(rows)} texts" for code in codes[is_rare]]
    return rows[is_rare], reasons, 1.0 - share[codes[is_rare]]
