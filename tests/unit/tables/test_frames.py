"""What a recipe sees of a table, and what its result becomes."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import shapely

from builder.errors import BuilderError
from builder.tables.arrow import arrow_type, conform
from builder.tables.frames import from_result, to_frame
from builder.tables.schema import Column, Schema

INSTANT = dt.datetime(2024, 2, 29, 1, 2, 3, 4, tzinfo=dt.UTC)
POINT = shapely.to_wkb(shapely.Point(1, 2), flavor="iso", byte_order=1)
SAMPLE: dict[str, tuple[Any, str]] = {  # dtype -> a value, the pandas dtype
    "int64": (1 << 60, "int64"),
    "bool": (True, "bool"),
    "float64": (1.5, "float64"),
    "Int64": ((1 << 60) + 1, "Int64"),
    "boolean": (False, "boolean"),
    "string": ("ä", "string"),
    "date": (dt.date(1066, 10, 14), "date32[day][pyarrow]"),
    "timestamp": (INSTANT, "datetime64[us, UTC]"),
    "decimal(5,2)": (Decimal("-1.25"), "decimal128(5, 2)[pyarrow]"),
    "binary": (b"\0", "binary[pyarrow]"),
    "geometry": (POINT, "geometry"),
}


def table_of(values: dict[str, list[Any]]) -> tuple[pa.Table, Schema]:
    schema = Schema(tuple(Column(d, d, "EPSG:4326" if d == "geometry" else None) for d in values))
    table = pa.table({d: pa.array(v, arrow_type(d)) for d, v in values.items()})
    return conform(table, schema), schema


def result(value: Any, key: tuple[str, ...] = (), columns: tuple[tuple[str, str], ...] = ()) -> tuple[pa.Table, Schema]:
    return from_result(value, key, columns, recipe="r", place="recipes/r.py:1")


def refusal(value: Any, **rest: Any) -> BuilderError:
    with pytest.raises(BuilderError) as caught:
        result(value, **rest)
    assert caught.value.place == "recipes/r.py:1"
    return caught.value


def column(values: Any, dtype: Any = object) -> tuple[list[Any], str]:
    table, schema = result(pd.DataFrame({"x": pd.Series(values, dtype=dtype)}))
    return table.column("x").to_pylist(), schema.columns[0].dtype


@pytest.mark.parametrize("rows", [0, 1, 3])
@pytest.mark.parametrize("has_null", [False, True])
def test_dtypes_come_from_the_schema_alone(rows: int, has_null: bool) -> None:
    nullable = [d for d in SAMPLE if d not in ("int64", "bool")]
    values = {d: [SAMPLE[d][0]] * rows + [None] * has_null for d in (nullable if has_null else SAMPLE)}
    frame = to_frame(*table_of(values))
    assert {d: str(frame[d].dtype) for d in values} == {d: SAMPLE[d][1] for d in values}
    assert frame.index.equals(pd.RangeIndex(rows + has_null)) and isinstance(frame.index, pd.RangeIndex)
    assert isinstance(frame, geopandas.GeoDataFrame) and frame.crs == "EPSG:4326"
    if has_null:
        assert frame["string"].iloc[-1] is pd.NA and np.isnan(frame["float64"].iloc[-1])
        assert frame["geometry"].iloc[-1] is None


def test_a_frame_and_back_is_the_same_table() -> None:
    nullable = {d: [SAMPLE[d][0], None] for d in SAMPLE if d not in ("int64", "bool")}
    for values in (nullable, {d: [SAMPLE[d][0]] for d in SAMPLE}, {d: [] for d in SAMPLE}):
        table, schema = table_of(values)
        again, seen = result(to_frame(table, schema))
        assert seen == schema
        assert again.equals(table, check_metadata=True)


def test_a_recipe_may_write_into_what_it_gets() -> None:
    table, schema = table_of({"int64": [1, 2], "float64": [1.0, 2.0], "string": ["a", "b"]})
    frame = to_frame(table, schema)
    frame.loc[0, ["int64", "float64", "string"]] = [5, 5.0, "z"]
    assert table.column("int64").to_pylist() == [1, 2] and table.column("float64").to_pylist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("values", "expected", "dtype"),
    [
        (["a", None, float("nan"), pd.NA], ["a", None, None, None], "string"),
        ([True, None], [True, None], "boolean"),
        ([1, np.int8(2)], [1, 2], "Int64"),
        ([1.5, np.float32(0.5), None], [1.5, 0.5, None], "float64"),
        ([dt.date(2024, 1, 1), pd.NaT], [dt.date(2024, 1, 1), None], "date"),
        ([INSTANT, pd.Timestamp(INSTANT).tz_convert("Asia/Tokyo")], [INSTANT, INSTANT], "timestamp"),
        ([Decimal("1.5"), Decimal("22")], [Decimal("1.5"), Decimal("22.0")], "decimal(3,1)"),
        ([b"a", None], [b"a", None], "binary"),
        ([None, None], [None, None], "string"),
        ([shapely.Point(1, 2), None], [POINT, None], "geometry"),
    ],
)
def test_object_columns_are_taken_by_their_values(values: list[Any], expected: list[Any], dtype: str) -> None:
    assert column(values) == (expected, dtype)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["a", 1], ("int", "str")),
        ([1, 1.5], ("float", "int")),
        ([True, 1], ("bool", "int")),
        ([dt.date(2024, 1, 1), INSTANT], ("date", "datetime")),
    ],
)
def test_an_object_column_of_two_kinds_is_refused(values: list[Any], words: tuple[str, str]) -> None:
    problem = refusal(pd.DataFrame({"x": pd.Series(values, dtype=object)}))
    assert problem.code == "result-type" and "'x'" in problem.message
    assert all(word in problem.message for word in words)


@pytest.mark.parametrize("value", [[1], {"a": 1}, {1}, 1j, dt.timedelta(1), dt.time(1), object()])
def test_an_object_that_cannot_be_stored_is_refused(value: Any) -> None:
    frame = pd.DataFrame({"x": pd.Series([None], dtype=object)})
    frame.at[0, "x"] = value
    assert refusal(frame).code == "result-type"


def test_dtypes_of_pandas_have_their_own() -> None:
    assert column([1, 2], "int32") == ([1, 2], "int64")
    assert column([1, None], "Int16") == ([1, None], "Int64")
    assert column([1, 2], "Int64")[1] == "Int64"
    assert column([1, 2], "int8[pyarrow]")[1] == "Int64"
    assert column([1.0, np.nan], "float32") == ([1.0, None], "float64")
    assert column(["a", None], "str") == (["a", None], "string")
    assert column(["b", None, "a"], "category") == (["b", None, "a"], "string")
    assert column([2, 1], "category") == ([2, 1], "Int64")
    assert column([0, 2], pd.SparseDtype("int64", 0)) == ([0, 2], "int64")
    assert column(pd.to_datetime(["2024-02-29T01:02:03.000004"]), None) == ([INSTANT], "timestamp")


@pytest.mark.parametrize("dtype", ["timedelta64[ns]", "complex128", "period[D]"])
def test_dtypes_that_cannot_be_stored_are_refused(dtype: str) -> None:
    assert refusal(pd.DataFrame({"x": pd.Series([None], dtype=dtype)})).code == "result-type"


def test_named_index_levels_become_columns() -> None:
    index = pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["k", None])
    table, schema = result(pd.DataFrame({"v": [1.0, 2.0]}, index=index), key=("k",))
    assert table.to_pylist() == [{"k": "a", "v": 1.0}, {"k": "b", "v": 2.0}]
    assert schema.key == ("k",)
    assert refusal(pd.DataFrame({"k": [1]}, index=pd.Index([1], name="k"))).code == "result-type"
    assert refusal(pd.DataFrame({"v": [1]}, index=pd.Index([1], name=3))).code == "result-type"


def test_column_names_are_unique_strings() -> None:
    assert "'a'" in refusal(pd.DataFrame([[1, 2]], columns=["a", "a"])).message
    assert refusal(pd.DataFrame([[1, 2]])).code == "result-type"


def test_declared_columns_give_dtype_and_order() -> None:
    frame = pd.DataFrame({"b": [1, 2], "a": ["x", "y"]})
    table, schema = result(frame, columns=(("a", "string"), ("b", "float64")))
    assert schema.names == ("a", "b") and table.to_pylist()[0] == {"a": "x", "b": 1.0}
    for declared in ((("a", "string"),), (("a", "string"), ("b", "int64"), ("c", "int64"))):
        assert refusal(frame, columns=declared).code == "result-type"
    problem = refusal(pd.DataFrame({"a": [1.0, 1.5]}), columns=(("a", "int64"),))
    assert (problem.code, dict(problem.facts)["row"]) == ("bad-value", "1")


def test_a_missing_key_is_named_and_other_results_are_refused() -> None:
    assert "'id'" in refusal(pd.DataFrame({"a": [1]}), key=("id",)).message
    assert refusal(7).code == "result-type"


def test_geometries_keep_their_z_and_crs() -> None:
    shapes = [shapely.Point(1, 2, 3), None, shapely.Point()]
    frame = geopandas.GeoDataFrame({"id": [1, 2, 3]}, geometry=shapes, crs="OGC:CRS84")
    table, schema = result(frame)
    assert schema.column("geometry").crs == "EPSG:4326"
    back = to_frame(table, schema)
    assert back.geometry.iloc[0].z == 3 and back.geometry.iloc[1] is None and back.geometry.iloc[2].is_empty
    assert result(geopandas.GeoDataFrame(geometry=shapes))[1].column("geometry").crs is None


def test_an_arrow_table_keeps_its_types_and_drops_pandas_metadata() -> None:
    arrow = pa.Table.from_pandas(pd.DataFrame({"a": [1, 2]}, index=[5, 6]), preserve_index=False)
    table, schema = result(arrow)
    assert schema.columns == (Column("a", "Int64"),) and table.schema.metadata is None


def test_several_geometries_each_keep_their_crs() -> None:
    frame = geopandas.GeoDataFrame({"a": geopandas.GeoSeries([shapely.Point(0, 0)], crs=32633)}, geometry="a")
    frame["b"] = geopandas.GeoSeries([shapely.Point(1, 1)], crs=4326)
    table, schema = result(frame)
    assert [c.crs for c in schema.columns] == ["EPSG:32633", "EPSG:4326"]
    again = to_frame(table, schema)
    assert again["b"].crs == "EPSG:4326" and again.geometry.name == "a"
