"""The values that stand out."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from builder.errors import BuilderError
from builder.transforms import outliers


def found(values: Any, **rest: Any) -> pd.DataFrame:
    return outliers(pd.DataFrame({"x": values}), "x", **rest)


def test_beyond_the_fences_by_quartiles() -> None:
    table = found([1, 2, 3, 4, 5, 6, 7, 8, 9, 100, -50])
    low, high = np.quantile([1, 2, 3, 4, 5, 6, 7, 8, 9, 100, -50], [0.25, 0.75])
    assert table["x"].tolist() == [100, -50]
    assert table["score"].tolist() == [(100 - high) / (high - low), (low + 50) / (high - low)]
    assert table["reason"].tolist() == ["above 15", "below -5"]
    assert [str(d) for d in table.dtypes] == ["int64", "string", "float64"] and list(table.index) == [0, 1]


def test_a_value_on_the_fence_does_not_stand_out() -> None:
    values = [0.0, 1, 2, 3, 4]
    assert found([*values, 7.0])["x"].tolist() == []
    assert found([*values, 9.0], limit=1.0)["x"].tolist() == [9.0]


def test_far_from_the_median_by_robust_deviations() -> None:
    values = [10.0, 11, 12, 13, 14, 15, 40]
    table = found(values, method="mad")
    assert table["x"].tolist() == [40.0] and table["score"].iloc[0] == pytest.approx((40 - 13) / (1.4826 * 2))
    assert found(values, method="mad", limit=20).empty


def test_nulls_say_nothing_and_infinities_stand_out() -> None:
    table = found([1.0, 2, 3, np.nan, math.inf, -math.inf])
    assert table["x"].tolist() == [-math.inf, math.inf] and (table["score"] == math.inf).all()
    assert table["reason"].tolist() == ["not finite", "not finite"]


@pytest.mark.parametrize("method", ["iqr", "mad"])
def test_without_spread_what_differs_stands_out(method: str) -> None:
    table = found([5, 5, 5, 5, 5, 6], method=method)
    assert (
        table["x"].tolist() == [6] and table["score"].tolist() == [math.inf] and table["reason"].tolist() == ["above 5"]
    )
    assert found([5, 5, 5], method=method).empty


def test_decimals_and_nullable_integers_are_numbers() -> None:
    assert found([Decimal(1)] * 9 + [Decimal(50), None])["x"].tolist() == [Decimal(50)]
    assert found(pd.array([1] * 9 + [50, None], dtype="Int64"))["x"].tolist() == [50]


def test_a_rare_format_stands_out() -> None:
    table = found([*(f"K{n:03}" for n in range(100)), None, "x", "?"], method="rare_pattern", limit=0.01)
    assert table["x"].tolist() == ["?", "x"] and table["score"].tolist() == [1 - 1 / 102] * 2
    assert table["reason"].tolist() == ["format '?' of 1 of 102 texts", "format 'a' of 1 of 102 texts"]


def test_the_order_of_rows_changes_nothing() -> None:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"k": rng.integers(0, 3, 200), "x": rng.standard_cauchy(200).round()})
    table = outliers(frame, "x")
    assert len(table) > 10 and table["score"].is_monotonic_decreasing
    pd.testing.assert_frame_equal(outliers(frame.sample(frac=1, random_state=3), "x"), table)


@pytest.mark.parametrize("method", ["iqr", "mad"])
def test_nothing_has_no_outliers(method: str) -> None:
    assert found(pd.Series([], dtype="float64"), method=method).empty
    assert found([np.nan, np.nan], method=method).empty
    assert found(pd.Series([None], dtype="string"), method="rare_pattern").empty


@pytest.mark.parametrize(
    ("column", "rest", "code"),
    [
        ("y", {}, "bad-value"),
        ("x", {"method": "z"}, "recipe-declaration"),
        ("x", {"limit": 0}, "recipe-declaration"),
        ("x", {"limit": "1"}, "recipe-declaration"),
        ("x", {"method": "rare_pattern"}, "bad-value"),
        ("score", {}, "bad-value"),
    ],
)
def test_wrong_arguments_are_told(column: str, rest: dict[str, Any], code: str) -> None:
    with pytest.raises(BuilderError) as caught:
        outliers(pd.DataFrame({"x" if column != "score" else "score": [1.0, 2.0]}), column, **rest)
    assert caught.value.code == code
