"""Parquet and GeoParquet."""

import datetime as dt

import geopandas as gpd
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shapely.geometry import Point

from builder.tables.schema import Column


def write(source, name="a.parquet", **columns):
    pq.write_table(pa.table(columns), source.folder / name)


def test_dtypes_are_the_file_s_own_and_refuse_nulls_where_there_are_none(source):
    write(
        source,
        i=pa.array([1, 2], pa.int16()),
        n=pa.array([1, None]),
        f=pa.array([1, 2], pa.float32()),
        b=[True, False],
        s=pa.array(["02170", None]).dictionary_encode(),
        d=[dt.date(2024, 1, 2), None],
        t=pa.array([0, 1], pa.timestamp("ms")),
    )
    assert source.dtypes() == {
        "i": "int64",
        "n": "Int64",
        "f": "float64",
        "b": "bool",
        "s": "string",
        "d": "date",
        "t": "timestamp",
    }
    assert source.rows()["s"] == ["02170", None]


def test_nulls_are_found_where_there_are_no_statistics(source):
    pq.write_table(pa.table({"n": pa.array([1, None])}), source.folder / "a.parquet", write_statistics=False)
    assert source.dtypes() == {"n": "Int64"}


def test_a_null_in_any_file_counts(source):
    write(source, "a.parquet", n=[1])
    write(source, "b.parquet", n=pa.array([None], pa.int64()))
    assert source.rows() == {"n": [1, None]}
    assert source.dtypes() == {"n": "Int64"}


def test_no_rows_are_an_empty_table(source):
    write(source, k=pa.array([], pa.int64()))
    assert source.take(key=("k",))[2].rows == 0


def test_an_unnamed_pandas_index_is_left_out_and_a_named_one_is_a_column(source):
    frame = pd.DataFrame({"k": [1, 2]}, index=[5, 6])
    frame.to_parquet(source.folder / "a.parquet")
    assert source.rows() == {"k": [1, 2]}
    frame.rename_axis("n").to_parquet(source.folder / "a.parquet")
    assert set(source.rows()) == {"k", "n"}


@pytest.mark.parametrize(
    ("crs", "expected"),
    [("EPSG:4326", "EPSG:4326"), ("OGC:CRS84", "EPSG:4326"), ("EPSG:32633", "EPSG:32633"), (None, None)],
)
def test_geoparquet_keeps_its_crs(source, crs, expected):
    gpd.GeoDataFrame({"k": [1, 2]}, geometry=[Point(1, 2), None], crs=crs).to_parquet(source.folder / "a.parquet")
    table, schema, _ = source.take()
    assert schema.columns == (Column("k", "int64"), Column("geometry", "geometry", expected))
    assert table.column("geometry").to_pylist() == [Point(1, 2).wkb, None]
    if crs is None:
        assert source.take(crs="EPSG:3857")[1].column("geometry").crs == "EPSG:3857"
    else:
        assert source.error(crs="EPSG:3857").code == "crs-mismatch"


def test_declared_dtypes_read_text_and_write_it(source):
    write(source, z=[2170, 7], n=["007", "1"])
    assert source.rows(columns=(("z", "string"), ("n", "int64"))) == {"z": ["2170", "7"], "n": [7, 1]}


def test_a_value_that_does_not_fit_is_named_by_row(source):
    write(source, v=[1.0, 2.5])
    error = source.error(columns=(("v", "int64"),))
    assert (error.code, error.place, dict(error.facts)["value"]) == ("bad-value", "data/a.parquet, row 2", "'2.5'")


@pytest.mark.parametrize("values", [pa.array(["x"]), pa.array([1.5]), pa.array([None], pa.int64())])
def test_a_pinned_column_of_another_kind_has_drifted(source, values):
    write(source, v=[1])
    pin = source.take()[1]
    write(source, v=values)
    assert source.error(pinned=pin).code == "schema-drift"


def test_other_columns_than_pinned_have_drifted(source):
    write(source, v=[1])
    pin = source.take()[1]
    write(source, w=[1])
    assert dict(source.error(pinned=pin).facts)["new"] == "w"


@pytest.mark.parametrize("content", [b"PAR1 no, not at all", b"k,v\n1,2\n"])
def test_what_is_no_parquet_is_unreadable(source, content):
    source.write("a.parquet", content)
    assert (source.error().code, source.error().place) == ("source-unreadable", "data/a.parquet")


def test_a_file_that_was_cut_is_unreadable(source):
    write(source, v=list(range(1000)))
    path = source.folder / "a.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    assert source.error().code == "source-unreadable"


def test_damage_inside_a_page_is_unreadable(source):
    write(source, v=[f"{i * 7919 % 10007}" for i in range(20000)])
    path = source.folder / "a.parquet"
    raw = bytearray(path.read_bytes())
    raw[40:4000] = bytes(3960)
    path.write_bytes(raw)
    assert source.error(columns=(("v", "string"),)).code == "source-unreadable"


def test_a_nested_column_is_told(source):
    write(source, v=[[1, 2]])
    error = source.error()
    assert error.code == "source-unreadable"
    assert "'v'" in dict(error.facts)["reason"]


def test_duplicate_keys_are_named_by_file_and_row(source):
    write(source, k=[1, 2, 1])
    assert "data/a.parquet, row 3" in source.error(key=("k",)).render()


def test_a_packed_file_gives_the_same_table(source):
    write(source, k=[1, 2])
    digest = source.take()[2].digest
    raw = (source.folder / "a.parquet").read_bytes()
    (source.folder / "a.parquet").unlink()
    source.write("a.parquet.gz", raw)
    assert source.take()[2].digest == digest
