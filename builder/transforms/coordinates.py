"""Longitudes and latitudes of a frame: as numbers, and the rows where they are impossible.

Decides what is impossible and under which reason. Never mends a coordinate and never drops a row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from builder.errors import error
from builder.transforms.columns import check_columns, some_of

Floats = npt.NDArray[np.float64]

REASONS = (
    "null",
    "not finite",
    "longitude and latitude swapped",
    "latitude beyond ±90",
    "longitude beyond ±180",
    "zero longitude and latitude",
)


def split_coordinates(
    df: pd.DataFrame, *, lon: str = "lon", lat: str = "lat", zero: bool = True
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows with a possible position, and the others with the reason.

    Every row is in exactly one of the two frames, in the order of `df`, with its index, columns and dtypes. The second
    has a column `reason` more, ``string``, the first of these that holds:

    - ``null``: a coordinate is null (in numpy's float columns NaN is null)
    - ``not finite``: a coordinate is infinite, or NaN where the dtype tells it from null
    - ``longitude and latitude swapped``: |lat| is in (90, 180] and |lon| ≤ 90, so that the other order is possible
    - ``latitude beyond ±90``
    - ``longitude beyond ±180``; 190 is not taken for -170
    - ``zero longitude and latitude``: both are 0, with ``zero=False``

    A row is judged by itself: order and parts of a frame change nothing. An empty frame gives two.

    Parameters
    ----------
    df
        A frame with two numeric columns.
    lon, lat
        The columns, in degrees.
    zero
        Whether a point at 0° N 0° E is possible. It lies in the ocean, and often stands for an unknown position.

    Raises
    ------
    BuilderError
        ``bad-value``: a missing column, one that is not numeric, or a column `reason` in `df`.

    Examples
    --------
    >>> df = pd.DataFrame({"lon": [-122.3, 47.6, None], "lat": [47.6, -122.3, 51.0]})
    >>> good, rejects = split_coordinates(df)
    >>> len(good), rejects["reason"].tolist()
    (1, ['longitude and latitude swapped', 'null'])
    """
    if "reason" in df.columns:
        raise error("bad-value", "'df' has a column 'reason' already", hint="rename it first")
    x, y, null = read_coordinates(df, lon, lat, "df")
    reason = impossible(x, y, null, zero=zero)
    names = pd.array([None, *REASONS], dtype="string")
    is_good = reason == 0
    return df[is_good], df[~is_good].assign(reason=names.take(reason[~is_good]))


def impossible(x: Floats, y: Floats, null: npt.NDArray[np.bool_], *, zero: bool = True) -> npt.NDArray[np.int64]:
    """0 for a possible position in degrees, else one more than the place of its reason in `REASONS`."""
    finite = np.isfinite(x) & np.isfinite(y)
    tall, wide = np.abs(y), np.abs(x)
    cases = [null, ~finite, (tall > 90) & (tall <= 180) & (wide <= 90), tall > 90, wide > 180, (x == 0) & (y == 0)]
    return np.select(cases if not zero else cases[:-1], range(1, len(cases) + (not zero)), 0).astype(np.int64)


def read_coordinates(df: Any, lon: str, lat: str, what: str) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Two columns as float64, NaN where null, with 0.0 for -0.0; and where one of them is null.

    Raises
    ------
    BuilderError
        ``bad-value``: a missing column, or one that is not numeric.
    """
    check_columns(df, (lon, lat), what)
    x, y = (_numbers(df[name], what) for name in (lon, lat))
    return x, y, (df[lon].isna() | df[lat].isna()).to_numpy(bool)


def check_coordinates(x: Floats, y: Floats, rows: Any, *, in_degrees: bool, what: str) -> None:
    """Refuse positions that are not finite, or beyond the globe where they are in degrees.

    Parameters
    ----------
    x, y
        The positions.
    rows
        The index labels of these rows, for the message.

    Raises
    ------
    BuilderError
        ``bad-value`` with the rows and the first one's reason.
    """
    reason = impossible(x, y, np.isnan(x) | np.isnan(y)) if in_degrees else (~(np.isfinite(x) & np.isfinite(y)) * 2)
    bad = np.flatnonzero(reason)
    if not len(bad):
        return
    raise error(
        "bad-value",
        f"{len(bad):,} rows of '{what}' have an impossible position",
        facts=[("rows", some_of(rows[bad])), ("first", f"{REASONS[reason[bad[0]] - 1]}: {x[bad[0]]}, {y[bad[0]]}")],
        hint="set them apart first, with split_coordinates",
    )


def _numbers(column: pd.Series, what: str) -> Floats:
    is_object = column.dtype == object
    kind = pd.api.types.infer_dtype(column, skipna=True) if is_object else ""
    numeric = pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)
    if not (numeric or kind in ("decimal", "floating", "integer", "mixed-integer-float", "empty")):
        raise error(
            "bad-value",
            f"column '{column.name}' of '{what}' is not numeric",
            facts=[("dtype", str(column.dtype))],
            hint="degrees as float64, such as 47.62",
        )
    return column.to_numpy(dtype=np.float64, na_value=np.nan) + 0.0
