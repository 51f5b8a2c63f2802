"""The frame of points with their regions: columns, dtypes, order, and clear refusals."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from builder.errors import BuilderError
from builder.transforms.assign import assign_regions
from builder.transforms.region_index import RegionIndex

SQUARES = gpd.GeoDataFrame({"id": [7, 8]}, geometry=shapely.box([0, 1], 0, [1, 2], 1), crs="EPSG:4326")
POINTS = pd.DataFrame(
    {"lon": [0.5, 1.0, 1.5, np.nan, 5.0], "lat": [0.5] * 5, "name": list("abcde")}, index=[9, 9, 3, -1, 0]
)


def refused(code, *arguments, **keywords):
    with pytest.raises(BuilderError) as caught:
        assign_regions(*arguments, **keywords)
    assert caught.value.code == code
    return caught.value


def scattered(count=3000, seed=1):
    rng = np.random.default_rng(seed)
    lon, lat = rng.uniform(-1, 11, (2, count))
    return pd.DataFrame({"lon": lon, "lat": lat, "n": np.arange(count)})


def overlapping(count=40, seed=4):
    rng = np.random.default_rng(seed)
    shapes = shapely.buffer(shapely.points(rng.uniform(0, 10, (count, 2))), rng.uniform(0.3, 2, count))
    return gpd.GeoDataFrame({"id": rng.permutation(count)}, geometry=shapes, crs="OGC:CRS84")


def test_each_point_has_a_row_in_order_with_its_index_and_columns():
    result = assign_regions(POINTS, SQUARES)
    pd.testing.assert_frame_equal(result[POINTS.columns], POINTS)
    expected = pd.Series([7, None, 8, None, None], index=POINTS.index, dtype="Int64", name="id")
    pd.testing.assert_series_equal(result["id"], expected)


def test_the_points_are_left_as_they_were():
    before = POINTS.copy()
    result = assign_regions(POINTS, SQUARES)
    result.loc[:, "name"] = "z"
    pd.testing.assert_frame_equal(POINTS, before)


def test_keep_chooses_the_columns():
    assert list(assign_regions(POINTS, SQUARES, keep=[]).columns) == ["id"]
    assert list(assign_regions(POINTS, SQUARES, keep=["name"]).columns) == ["name", "id"]


def test_all_gives_a_row_a_pair_by_point_and_then_id():
    result = assign_regions(POINTS, SQUARES.iloc[::-1], predicate="intersects", ties="all", keep=["name"])
    assert result.to_dict("list") == {"name": ["a", "b", "b", "c"], "id": [7, 7, 8, 8]}
    assert result.index.tolist() == [9, 9, 9, 3]
    assert result["id"].dtype == SQUARES["id"].dtype


@pytest.mark.parametrize("predicate", ["within", "intersects"])
def test_pairs_and_lowest_equal_a_spatial_join(predicate):
    points, regions = scattered(), overlapping()
    where = gpd.GeoDataFrame(points, geometry=gpd.points_from_xy(points["lon"], points["lat"]), crs="OGC:CRS84")
    joined = where.sjoin(regions, predicate=predicate).sort_values(["n", "id"], kind="stable")
    every = assign_regions(points, regions, predicate=predicate, ties="all")
    np.testing.assert_array_equal(every[["n", "id"]], joined[["n", "id"]])
    one = assign_regions(points, regions, predicate=predicate)
    expected = joined.groupby("n")["id"].min().reindex(points["n"]).astype("Int64")
    assert one["id"].tolist() == expected.tolist()


@pytest.mark.parametrize("ties", ["lowest", "all"])
def test_parts_chunks_threads_and_order_of_rows_change_nothing(ties):
    points, regions = scattered(), overlapping()
    whole = assign_regions(points, regions, ties=ties)
    parts = [assign_regions(points.iloc[a : a + 700], regions, ties=ties) for a in range(0, 3000, 700)]
    pd.testing.assert_frame_equal(pd.concat(parts), whole)
    pd.testing.assert_frame_equal(assign_regions(points, regions, ties=ties, chunk_rows=101, threads=2), whole)
    mixed = assign_regions(points.sample(frac=1, random_state=1), regions.sample(frac=1, random_state=2), ties=ties)
    pd.testing.assert_frame_equal(mixed.sort_index(kind="stable"), whole)


@pytest.mark.parametrize(
    ("ids", "dtype"),
    [
        (np.array([7, 8], np.int64), "Int64"),
        (np.array([7, 8], np.uint16), "UInt16"),
        (pd.array([7, 8], "Int32"), "Int32"),
        (pd.array(["a", "b"], "string"), "string"),
        (pd.array(["a", "b"], "str"), "str"),
        (np.array([False, True]), "boolean"),
        (np.array([0.5, 1.5]), "float64"),
        (pd.to_datetime(["2020-01-01", "2021-01-01"]).as_unit("us"), "datetime64[us]"),
        (pd.array([7, 8], "int64[pyarrow]"), "int64[pyarrow]"),
        (pd.Categorical(["b", "a"]), "category"),
    ],
)
def test_the_dtype_follows_from_the_ids_alone(ids, dtype):
    for points in (POINTS, POINTS[:1], POINTS[:0]):
        found = assign_regions(points, SQUARES.assign(id=ids))["id"]
        assert found.dtype == dtype
        assert found.notna().tolist() == [True, False, True, False, False][: len(points)]
        every = assign_regions(points, SQUARES.assign(id=ids), ties="all")["id"]
        assert every.dtype == pd.Series(ids).dtype


def test_an_index_stands_for_its_regions():
    index = RegionIndex(SQUARES)
    expected = assign_regions(POINTS, SQUARES)
    pd.testing.assert_frame_equal(assign_regions(POINTS, index), expected)
    pd.testing.assert_frame_equal(assign_regions(POINTS, SQUARES, index=index), expected)
    other = SQUARES.assign(geometry=SQUARES.geometry.translate(1e-9))
    assert "other regions" in str(refused("bad-value", POINTS, other, index=index))
    assert "'id'" in str(refused("bad-value", POINTS, index, region_id="code"))


def test_columns_may_be_of_any_number_dtype_with_nulls():
    for dtype in ("Float64", "double[pyarrow]", "object"):
        points = pd.DataFrame({"lon": pd.array([0.5, None], "Float64"), "lat": [0.5, 0.5]}).astype({"lon": dtype})
        assert assign_regions(points, SQUARES, keep=[])["id"].isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("lon", "lat"), [(0.5, 91.0), (181.0, 0.5), (-180.5, 0.0), (np.inf, 0.0), (0.0, -np.inf), (47.6, -122.3)]
)
def test_an_impossible_position_is_refused_with_its_row_and_a_remedy(lon, lat):
    points = pd.DataFrame({"lon": [0.5, np.nan, lon], "lat": [0.5, 0.5, lat]}, index=["p", "q", "r"])
    caught = refused("bad-value", points, SQUARES)
    assert dict(caught.facts)["rows"] == "r" and "split_coordinates" in caught.hint


def test_a_null_beside_an_impossible_coordinate_is_null():
    points = pd.DataFrame({"lon": [np.nan, 999.0], "lat": [999.0, np.nan]})
    assert assign_regions(points, SQUARES)["id"].isna().all()


def test_crs_have_to_be_there_and_agree():
    assert "set_crs" in refused("crs-missing", POINTS, SQUARES.set_crs(None, allow_override=True)).hint
    utm = SQUARES.to_crs(32631)
    assert "EPSG:32631" in str(refused("crs-mismatch", POINTS, utm))
    refused("crs-missing", POINTS, SQUARES, crs="EPSG:no")
    metres = pd.DataFrame({"x": [utm.geometry[0].centroid.x], "y": [utm.geometry[0].centroid.y]})
    assert assign_regions(metres, utm, lon="x", lat="y", crs=32631)["id"].tolist() == [7]
    assert assign_regions(POINTS, SQUARES.to_crs("OGC:CRS84"))["id"].notna().sum() == 2


def test_regions_that_hold_nothing_leave_all_points_out():
    nothing = gpd.GeoDataFrame({"id": [1, 2]}, geometry=[None, shapely.Polygon()], crs=4326)
    assert assign_regions(POINTS, nothing)["id"].isna().all()
    assert len(assign_regions(POINTS, nothing, ties="all")) == 0
    assert assign_regions(POINTS, nothing[:0])["id"].dtype == "Int64"


def test_a_region_cut_at_the_antimeridian_holds_points_of_both_sides():
    halves = shapely.MultiPolygon([shapely.box(179, 0, 180, 1), shapely.box(-180, 0, -179, 1)])
    regions = gpd.GeoDataFrame({"id": [1]}, geometry=[halves], crs=4326)
    points = pd.DataFrame({"lon": [179.5, -179.5, 0.0], "lat": [0.5] * 3})
    assert assign_regions(points, regions)["id"].notna().tolist() == [True, True, False]


def test_a_wrong_call_is_refused():
    refused("bad-value", POINTS.assign(id=1), SQUARES)
    refused("bad-value", POINTS, SQUARES, lon="longitude")
    refused("bad-value", POINTS, SQUARES, keep=["nme"])
    refused("bad-value", POINTS.assign(lon="x"), SQUARES)
    refused("bad-value", POINTS, SQUARES, region_id="code")
    refused("recipe-declaration", POINTS, SQUARES, keep="name")
    refused("recipe-declaration", POINTS, SQUARES, predicate="touches")
    refused("recipe-declaration", POINTS, SQUARES, ties="first")
    refused("result-type", POINTS, pd.DataFrame({"id": [1]}))
    refused("result-type", [1, 2], SQUARES)
