"""What the columns of a table hold."""

from __future__ import annotations

import datetime as dt
import json
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from builder.errors import BuilderError
from builder.transforms import profile


def row(values: Any, **rest: Any) -> dict[str, Any]:
    frame = values if isinstance(values, pd.DataFrame) else pd.DataFrame({"x": values})
    return profile(frame, **rest).iloc[0].to_dict()


def test_columns_and_dtypes_are_as_stated() -> None:
    table = profile(pd.DataFrame({"b": [1], "a": ["x"]}))
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == {
        "column": "string", "dtype": "string", "kind": "string", "rows": "int64", "nulls": "int64",
        "null_share": "float64", "blanks": "Int64", "blank_share": "float64", "distinct": "int64", "min": "string",
        "max": "string", "mean": "float64", "p5": "string", "p25": "string", "p50": "string", "p75": "string",
        "p95": "string", "min_length": "Int64", "max_length": "Int64", "mean_length": "float64", "xmin": "float64",
        "ymin": "float64", "xmax": "float64", "ymax": "float64", "frequent": "string",
    }  # fmt: skip
    assert table["column"].tolist() == ["b", "a"] and list(table.index) == [0, 1]


def test_texts_have_blanks_lengths_and_frequent_values() -> None:
    found = row(pd.Series(["Łódź", "", "  ", "b", "Łódź", None], index=[3] * 6))
    assert (found["rows"], found["nulls"], found["blanks"], found["distinct"]) == (6, 1, 2, 4)
    assert (found["null_share"], found["blank_share"]) == (1 / 6, 2 / 6)
    assert (found["min"], found["max"]) == ("", "Łódź")
    assert (found["min_length"], found["max_length"], found["mean_length"]) == (0, 4, 11 / 5)
    assert found["frequent"] == '[["Łódź", 2]]' and pd.isna(found["p50"]) and math.isnan(found["mean"])


def test_the_most_frequent_come_by_count_and_then_by_value() -> None:
    values = ["c", "c", "a", "a", "b", "b", "b", "z", "d", "d"]
    assert json.loads(row(values, frequent=3)["frequent"]) == [["b", 3], ["a", 2], ["c", 2]]
    assert row(values, frequent=0)["frequent"] == "[]"


@pytest.mark.parametrize("dtype", ["int64", "Int64", "int8", "uint64", "int64[pyarrow]"])
def test_the_mean_of_integers_is_exact(dtype: str) -> None:
    values = [100, 7, 7, 2] if dtype == "int8" else [2**62 + 1, 2**62 + 3, 5, 7]
    values += [-3] if dtype != "uint64" else [2**63]
    found = row(pd.Series(values, dtype=dtype))
    assert found["mean"] == sum(values) / len(values)
    assert (found["min"], found["max"]) == (str(min(values)), str(max(values)))


def test_the_mean_of_decimals_is_exact() -> None:
    values = [Decimal("0.10"), Decimal("-99999999999999999999.99"), Decimal("1.05"), None]
    found = row(pd.Series(values, dtype=object))
    assert found["kind"] == "decimal" and found["min"] == "-99999999999999999999.99" and found["p50"] == "0.10"
    assert found["mean"] == float(sum(map(Fraction, values[:3])) / 3)


def test_the_mean_of_floats_is_rounded_once() -> None:
    rng = np.random.default_rng(3)
    values = np.concatenate([rng.normal(size=999) * 10.0 ** rng.integers(-300, 300, 999), [5e-324, -2.5e-310, 0.1]])
    found = row(values)
    assert found["mean"] == float(sum(map(Fraction, values.tolist())) / len(values))
    assert row([1e16, 1.0, -1e16])["mean"] == 1 / 3


def test_infinities_are_values_and_nan_is_null() -> None:
    found = row([1.0, float("inf"), float("nan")])
    assert (found["nulls"], found["distinct"], found["max"], found["mean"]) == (1, 2, "inf", math.inf)
    assert math.isnan(row([float("-inf"), float("inf")])["mean"]) and row([float("-inf"), 3.0])["mean"] == -math.inf


def test_minus_zero_is_zero() -> None:
    found = row([-0.0, 0.0])
    assert (found["distinct"], found["min"], found["frequent"]) == (1, "0.0", "[[0.0, 2]]")


@pytest.mark.parametrize("n", [1, 2, 3, 19, 20, 21, 100])
def test_quantiles_are_values_of_the_column(n: int) -> None:
    values = np.random.default_rng(n).integers(0, n, n)
    shares = [0, 0.05, 0.25, 0.5, 0.9, 0.95, 1]
    found = row(values, quantiles=shares)
    expected = np.quantile(values, shares, method="inverted_cdf")
    assert [int(found[f"p{100 * share:g}"]) for share in shares] == expected.tolist()


@pytest.mark.parametrize(
    ("values", "kind", "low", "median"),
    [
        (pd.Series([dt.date(2020, 2, 29), None, dt.date(2019, 1, 1)]), "date", "2019-01-01", "2019-01-01"),
        (pd.to_datetime(["2020-01-02", None, "2020-01-01"]), "timestamp", "2020-01-01 00:00:00.000000", None),
        (pd.to_datetime(["2020-01-01T12:00:00Z"]), "timestamp", "2020-01-01 12:00:00.000000Z", None),
        (pd.to_timedelta([5, 7], unit="s"), "duration", None, None),
        (pd.Series([dt.time(12, 30), dt.time(1, 0)]), "time", "01:00:00.000000", "01:00:00.000000"),
        (pd.Series([True, None, False], dtype="boolean"), "boolean", "false", None),
        (pd.Series([b"\xff", b"a", None]), "binary", "61", None),
        (pd.Series(["b", "a", "b"], dtype="category"), "text", "a", None),
        (pd.Series([3, 1, None, 3], dtype=pd.ArrowDtype(pa.int16())), "integer", "1", "3"),
    ],
    ids=lambda v: str(v) if isinstance(v, str) else "",
)
def test_values_of_every_kind_are_told(values: Any, kind: str, low: str | None, median: str | None) -> None:
    found = row(values)
    assert found["kind"] == kind and found["nulls"] == int(pd.Series(values).isna().sum())
    assert low is None or found["min"] == low
    assert median is None or found["p50"] == median


def test_geometries_have_bounds_types_and_blanks() -> None:
    geopandas = pytest.importorskip("geopandas")
    shapes = geopandas.GeoSeries.from_wkt(
        ["POINT (1 2)", "POINT (1 2)", "POLYGON EMPTY", None, "LINESTRING (-5 0, 3 9)"]
    )
    frame = geopandas.GeoDataFrame(geometry=shapes, crs="EPSG:3857")
    found = row(frame)
    assert (found["dtype"], found["kind"]) == ("geometry[EPSG:3857]", "geometry")
    assert (found["rows"], found["nulls"], found["blanks"], found["distinct"]) == (5, 1, 1, 3)
    assert [found[n] for n in ("xmin", "ymin", "xmax", "ymax")] == [-5, 0, 3, 9] and pd.isna(found["min"])
    assert found["frequent"] == '[["Point", 2], ["LineString", 1], ["Polygon", 1]]'
    assert row(frame.set_crs(None, allow_override=True))["dtype"] == "geometry"
    empty = row(frame[2:4])
    assert math.isnan(empty["xmin"]) and empty["blank_share"] == 0.5


@pytest.mark.parametrize("values", [pd.Series([], dtype="int64"), pd.Series([None, None], dtype="string"), [np.nan]])
def test_without_values_statistics_are_null(values: Any) -> None:
    found = row(values)
    assert found["distinct"] == 0 and found["frequent"] == "[]"
    assert all(pd.isna(found[n]) for n in ("min", "max", "mean", "p50", "min_length", "mean_length", "xmin"))


def test_a_table_without_columns_has_no_rows() -> None:
    assert len(profile(pd.DataFrame(index=range(3)))) == 0


def test_parts_and_order_change_nothing() -> None:
    geopandas = pytest.importorskip("geopandas")
    rng = np.random.default_rng(11)
    n = 300
    frame = geopandas.GeoDataFrame(
        {
            "i": rng.integers(-9, 9, n),
            "f": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n).round(1)),
            "s": pd.array([None if v < 3 else "é" * v for v in rng.integers(0, 9, n)], dtype="string"),
            "c": pd.Categorical(rng.choice(["x", "y"], n)),
            "d": [None if i < 200 else Decimal(i) / 8 for i in range(n)],
            "t": pd.to_datetime(rng.integers(0, 50, n), unit="D", utc=True),
            "b": rng.random(n) < 0.5,
        },
        geometry=geopandas.points_from_xy(rng.integers(0, 5, n), rng.integers(0, 5, n)),
        crs="EPSG:4326",
    )
    whole = profile(frame)
    for cuts in ([0, 100], [0, 1, 2, 150, 250], [0, 0, 300]):
        parts = [frame.iloc[a:b] for a, b in zip(cuts, [*cuts[1:], n])]
        pd.testing.assert_frame_equal(profile(parts), whole)
        pd.testing.assert_frame_equal(profile(part for part in parts[::-1]), whole)
    pd.testing.assert_frame_equal(profile(frame.sample(frac=1, random_state=1)), whole)


@pytest.mark.parametrize(
    ("frames", "rest", "code", "word"),
    [
        ([], {}, "recipe-declaration", "frames"),
        (3, {}, "recipe-declaration", "frames"),
        (pd.DataFrame({"x": [1]}), {"quantiles": [50]}, "recipe-declaration", "quantiles"),
        (pd.DataFrame({"x": [1]}), {"frequent": -1}, "recipe-declaration", "frequent"),
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), {}, "bad-value", "2 columns 'x'"),
        (pd.DataFrame({"x": [1, "a"]}, dtype=object), {}, "bad-value", "'x'"),
        (pd.DataFrame({"x": [[1], [2]]}), {}, "bad-value", "no order"),
        ([pd.DataFrame({"x": [1]}), pd.DataFrame({"y": [1]})], {}, "schema-drift", "part 2"),
        ([pd.DataFrame({"x": [1]}), pd.DataFrame({"x": [1.0]})], {}, "schema-drift", "x float64"),
        ([pd.DataFrame({"x": [1]}, dtype=object), pd.DataFrame({"x": ["a"]}, dtype=object)], {}, "schema-drift", "'x'"),
    ],
)
def test_wrong_arguments_are_told(frames: Any, rest: dict[str, Any], code: str, word: str) -> None:
    with pytest.raises(BuilderError) as caught:
        profile(frames, **rest)
    assert caught.value.code == code and word in str(caught.value)


def test_a_profile_is_a_table_that_can_be_stored() -> None:
    from builder.tables.frames import from_result

    table, schema = from_result(profile(pd.DataFrame({"x": [1]})), ("column",), (), recipe="r", place=None)
    assert table.num_rows == 1 and schema.key == ("column",)
