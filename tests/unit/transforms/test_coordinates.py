"""Possible and impossible coordinates."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from builder.errors import BuilderError
from builder.transforms.coordinates import split_coordinates

CASES = [
    (0.0, 0.0, None),
    (-180.0, 90.0, None),
    (180.0, -90.0, None),
    (np.nan, 1.0, "null"),
    (1.0, np.nan, "null"),
    (np.inf, np.nan, "null"),
    (np.inf, 1.0, "not finite"),
    (1.0, -np.inf, "not finite"),
    (47.6, -122.3, "longitude and latitude swapped"),
    (-90.0, 180.0, "longitude and latitude swapped"),
    (90.1, 90.1, "latitude beyond ±90"),
    (10.0, 180.1, "latitude beyond ±90"),
    (200.0, -95.0, "latitude beyond ±90"),
    (np.nextafter(180, 181), 0.0, "longitude beyond ±180"),
    (0.0, np.nextafter(90, 91), "longitude and latitude swapped"),
    (-190.0, 90.0, "longitude beyond ±180"),
]


def cases() -> pd.DataFrame:
    return pd.DataFrame(CASES, columns=["lon", "lat", "expected"], index=[f"r{i}" for i in range(len(CASES))])


def test_each_reason() -> None:
    df = cases()
    good, rejects = split_coordinates(df)
    assert good.index.tolist() == ["r0", "r1", "r2"]
    assert rejects["reason"].tolist() == rejects["expected"].tolist() and rejects["reason"].dtype == "string"


def test_every_row_is_in_exactly_one_with_its_cells_dtypes_and_order() -> None:
    df = cases().assign(n=range(len(CASES)))
    good, rejects = split_coordinates(df)
    joined = pd.concat([good, rejects.drop(columns="reason")]).sort_values("n")
    pd.testing.assert_frame_equal(joined, df)
    assert good["n"].is_monotonic_increasing and rejects["n"].is_monotonic_increasing


def test_rows_are_judged_one_by_one() -> None:
    df = cases()
    whole = split_coordinates(df)[1]
    parts = [split_coordinates(df.iloc[[row]])[1] for row in range(len(df) - 1, -1, -1)]
    pd.testing.assert_frame_equal(pd.concat(parts).loc[whole.index], whole, check_dtype=False)


def test_zero_may_be_impossible() -> None:
    df = pd.DataFrame({"lon": [0.0, -0.0, 0.0], "lat": [0.0, 0.0, 1.0]})
    assert len(split_coordinates(df)[0]) == 3
    good, rejects = split_coordinates(df, zero=False)
    assert good.index.tolist() == [2] and set(rejects["reason"]) == {"zero longitude and latitude"}


@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "Float64", "double[pyarrow]", "Int64", "int64[pyarrow]", object]
)
def test_null_is_null_in_every_dtype(dtype) -> None:
    df = pd.DataFrame({"x": pd.Series([10, None, 200], dtype=dtype), "y": pd.Series([20, 1, 5], dtype=dtype)})
    good, rejects = split_coordinates(df, lon="x", lat="y")
    assert good.index.tolist() == [0] and rejects["reason"].tolist() == ["null", "longitude beyond ±180"]
    assert good.dtypes.equals(df.dtypes)


def test_decimals_are_numbers_and_a_nan_beside_nulls_is_not_finite() -> None:
    decimals = pd.Series([Decimal("1.5"), None], dtype=pd.ArrowDtype(pa.decimal128(9, 2)))
    assert len(split_coordinates(pd.DataFrame({"lon": decimals, "lat": decimals}))[0]) == 1
    arrow = pd.Series(pd.arrays.ArrowExtensionArray(pa.array([float("nan"), None, 1.0])))
    _, rejects = split_coordinates(pd.DataFrame({"lon": arrow, "lat": arrow}))
    assert rejects["reason"].tolist() == ["not finite", "null"]


def test_an_empty_frame_gives_two() -> None:
    good, rejects = split_coordinates(cases()[:0])
    assert (len(good), len(rejects)) == (0, 0) and "reason" in rejects and "reason" not in good


@pytest.mark.parametrize(
    "df",
    [
        pd.DataFrame({"lon": [1.0]}),
        pd.DataFrame({"lon": ["1.0"], "lat": [1.0]}),
        pd.DataFrame({"lon": [True], "lat": [1.0]}),
        pd.DataFrame({"lon": [1.0], "lat": [1.0], "reason": ["x"]}),
        pd.DataFrame([[1.0, 2.0, 3.0]], columns=["lon", "lat", "lat"]),
    ],
    ids=["missing", "text", "boolean", "reason", "twice"],
)
def test_another_frame_is_refused(df) -> None:
    with pytest.raises(BuilderError) as caught:
        split_coordinates(df)
    assert caught.value.code == "bad-value"
