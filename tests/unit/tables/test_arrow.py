"""Arrow types, schemas from types, and conforming: what is canonical and what is refused."""

from __future__ import annotations

import datetime as dt
import json
import math
import struct
from decimal import Decimal
from pathlib import Path
from typing import Any

import geopandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from builder.errors import BuilderError
from builder.tables.arrow import arrow_schema, arrow_type, conform, schema_of
from builder.tables.schema import Column, Schema

UTC = dt.UTC


def one(dtype: str, values: pa.Array) -> list[Any]:
    schema = Schema((Column("x", dtype),))
    return conform(pa.table({"x": values}), schema, place="here").column("x").to_pylist()


def refusal(dtype: str, values: pa.Array) -> BuilderError:
    with pytest.raises(BuilderError) as caught:
        one(dtype, values)
    assert caught.value.place == "here"
    return caught.value


@pytest.mark.parametrize(
    ("kind", "nullable", "dtype"),
    [
        (pa.int8(), False, "int64"),
        (pa.uint64(), True, "Int64"),
        (pa.bool_(), False, "bool"),
        (pa.bool_(), True, "boolean"),
        (pa.float16(), True, "float64"),
        (pa.float32(), False, "float64"),
        (pa.large_string(), True, "string"),
        (pa.string_view(), True, "string"),
        (pa.null(), True, "string"),
        (pa.dictionary(pa.int8(), pa.string()), True, "string"),
        (pa.dictionary(pa.int8(), pa.int32()), True, "Int64"),
        (pa.date64(), True, "date"),
        (pa.timestamp("ns"), True, "timestamp"),
        (pa.timestamp("s", "Europe/Berlin"), True, "timestamp"),
        (pa.decimal128(9, 2), True, "decimal(9,2)"),
        (pa.decimal64(9, 2), True, "decimal(9,2)"),
        (pa.large_binary(), True, "binary"),
        (pa.binary(4), True, "binary"),
    ],
)
def test_an_arrow_type_has_one_dtype(kind: pa.DataType, nullable: bool, dtype: str) -> None:
    assert schema_of(pa.schema([pa.field("x", kind, nullable)]), ()).columns == (Column("x", dtype),)


@pytest.mark.parametrize(
    "kind",
    [pa.list_(pa.int8()), pa.struct([("a", pa.int8())]), pa.duration("s"), pa.time32("s"), pa.decimal256(50, 2)],
)
def test_a_type_that_cannot_be_stored_is_refused_by_column(kind: pa.DataType) -> None:
    with pytest.raises(BuilderError) as caught:
        schema_of(pa.schema([("a", pa.int64()), ("odd", kind)]), (), place="recipes/r.py:3")
    assert (caught.value.code, caught.value.place) == ("result-type", "recipes/r.py:3")
    assert "'odd'" in caught.value.message


@pytest.mark.parametrize(("names", "key"), [(["a", "a"], ()), (["a", ""], ()), (["a"], ("b",))])
def test_names_twice_empty_names_and_missing_keys_are_refused(names: list[str], key: tuple[str, ...]) -> None:
    with pytest.raises(BuilderError) as caught:
        schema_of(pa.schema([(n, pa.int64()) for n in names]), key)
    assert caught.value.code == "result-type"


def test_conform_orders_columns_and_takes_the_schemas_types() -> None:
    schema = Schema((Column("b", "string"), Column("a", "int64")))
    table = pa.table({"a": pa.array([1, 2], pa.uint8()), "b": pa.array(["x", None]).dictionary_encode()})
    result = conform(table, schema)
    assert result.schema.equals(arrow_schema(schema), check_metadata=True)
    assert result.to_pylist() == [{"b": "x", "a": 1}, {"b": None, "a": 2}]
    assert not result.schema.field("a").nullable


@pytest.mark.parametrize("names", [["a"], ["a", "b", "c"]])
def test_conform_refuses_missing_and_extra_columns(names: list[str]) -> None:
    schema = Schema((Column("a", "int64"), Column("b", "int64")))
    with pytest.raises(BuilderError) as caught:
        conform(pa.table({n: [1] for n in names}), schema)
    assert caught.value.code == "result-type"


def test_floats_have_one_zero_and_no_nan() -> None:
    values = one("float64", pa.array([-0.0, math.nan, struct.unpack("<d", b"\1\0\0\0\0\0\xf8\xff")[0], None, 1.5]))
    assert values == [0.0, None, None, None, 1.5]
    assert math.copysign(1, values[0]) == 1
    assert one("float64", pa.array([1.5, -0.0], pa.float32())) == [1.5, 0.0]


def test_instants_are_utc_whatever_zone_or_unit_they_came_in() -> None:
    noon = dt.datetime(2024, 1, 31, 12, tzinfo=UTC)
    assert one("timestamp", pa.array([noon], pa.timestamp("ns", "America/Chicago"))) == [noon]
    assert one("timestamp", pa.array([noon.replace(tzinfo=None)], pa.timestamp("s"))) == [noon]


@pytest.mark.parametrize(
    ("dtype", "values", "row", "shown"),
    [
        ("int64", pa.array([1.0, 2.0, 1.5]), "2", "1.5"),
        ("int64", pa.array([1, 2**63], pa.uint64()), "1", str(2**63)),
        ("int64", pa.array([1, None]), "1", "null"),
        ("int64", pa.array([1.0, math.nan]), "1", "null"),
        ("bool", pa.array([None, True]), "0", "null"),
        ("float64", pa.array([2**53 + 1]), "0", str(2**53 + 1)),
        ("timestamp", pa.array([1000, 1001], pa.timestamp("ns")), "1", "1970-01-01 00:00:00.000001001"),
        ("date", pa.array([0, 1], pa.timestamp("s")), "1", "datetime.datetime(1970, 1, 1, 0, 0, 1)"),
        ("decimal(3,1)", pa.array([Decimal("1.0"), Decimal("1.25")]), "1", "Decimal('1.25')"),
    ],
)
def test_what_a_dtype_cannot_hold_is_told_with_row_and_value(
    dtype: str, values: pa.Array, row: str, shown: str
) -> None:
    problem = refusal(dtype, values)
    facts = dict(problem.facts)
    assert (problem.code, facts["column"], facts["row"]) == ("bad-value", "x", row)
    assert shown in facts["value"]


@pytest.mark.parametrize(
    ("dtype", "values"),
    [("string", pa.array([1])), ("int64", pa.array(["1"])), ("float64", pa.array([True])), ("bool", pa.array([1]))],
)
def test_kinds_are_never_converted_silently(dtype: str, values: pa.Array) -> None:
    assert refusal(dtype, values).code == "result-type"


def test_exact_casts_are_taken() -> None:
    assert one("Int64", pa.array([1.0, math.nan])) == [1, None]
    assert one("date", pa.array([86400], pa.timestamp("s"))) == [dt.date(1970, 1, 2)]
    assert one("decimal(5,2)", pa.array([1, None])) == [Decimal("1.00"), None]
    assert one("decimal(38,0)", pa.nulls(2)) == [None, None]
    assert arrow_type("decimal(38,0)") == pa.decimal128(38, 0)


def test_wkb_becomes_iso_little_endian() -> None:
    point = shapely.Point(1, 2, 3)
    iso = shapely.to_wkb(point, flavor="iso", byte_order=1)
    odd = [
        shapely.to_wkb(shapely.set_srid(point, 4326), include_srid=True),
        shapely.to_wkb(point, flavor="iso", byte_order=0),
        shapely.to_wkb(point, flavor="extended", byte_order=1),
        iso,
        None,
    ]
    assert one("geometry", pa.array(odd, pa.binary())) == [iso, iso, iso, iso, None]
    assert refusal("geometry", pa.array([b"no geometry"])).code == "bad-geometry"


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32633", None])
def test_a_stored_geometry_is_geoparquet(tmp_path: Path, crs: str | None) -> None:
    schema = Schema((Column("id", "int64"), Column("shape", "geometry", crs)))
    shapes = pa.array([shapely.to_wkb(shapely.Point(1, 2), byte_order=1), None], pa.binary())
    table = conform(pa.table({"id": [1, 2], "shape": shapes}), schema)
    pq.write_table(table, tmp_path / "a.parquet")
    frame = geopandas.read_parquet(tmp_path / "a.parquet")
    assert frame.crs == crs and frame.geometry.name == "shape"
    assert schema_of(pq.read_table(tmp_path / "a.parquet"), ("id",)) == Schema(schema.columns, ("id",))


def test_geoparquet_without_a_crs_member_is_lon_lat() -> None:
    geo = json.dumps({"columns": {"g": {"encoding": "WKB"}}})
    arrow = pa.schema([("g", pa.binary())], metadata={"geo": geo})
    assert schema_of(arrow, ()).columns == (Column("g", "geometry", "EPSG:4326"),)
    assert schema_of(pa.schema([("g", pa.binary())]), (), crs={"g": 32633}).columns[0].crs == "EPSG:32633"
