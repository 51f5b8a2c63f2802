"""What assignment to regions does with odd and wrong input: the stated answer, or an error that helps."""

from datetime import date
from decimal import Decimal

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import shapely
from shapely import LineString, MultiPolygon, Point, Polygon

from builder.errors import BuilderError
from builder.transforms.assign import assign_regions
from builder.transforms.region_index import RegionIndex

BOW_TIE = Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
SQUARE = shapely.box(0, 0, 1, 1)
PREDICATES = ("within", "intersects")


def frame(geometries, ids=None, crs="EPSG:4326"):
    ids = [f"r{k}" for k in range(len(geometries))] if ids is None else ids
    return gpd.GeoDataFrame({"id": ids}, geometry=gpd.GeoSeries(geometries, crs=crs))


# -- regions -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "nothing",
    [
        None,
        Polygon(),
        MultiPolygon(),
        float("nan"),
    ],
)
def test_a_null_or_empty_region_holds_nothing_and_keeps_its_place(nothing):
    geometries = np.array([nothing, SQUARE, nothing], object)
    index = RegionIndex(geometries)
    assert len(index) == 3
    for predicate in PREDICATES:
        assert index.assign([0.5, 0.0, 7.0], [0.5, 5.0, 7.0], predicate=predicate).tolist() == [1, -1, -1]


@pytest.mark.parametrize("geometries", [[], [None], [Polygon(), None], [MultiPolygon()]])
def test_regions_that_hold_nothing_at_all_give_no_answers(geometries, tmp_path):
    index = RegionIndex(frame(geometries))
    index.save(tmp_path / "none")
    for each in (index, RegionIndex.open(tmp_path / "none")):
        assert len(each) == len(geometries)
        assert each.assign([0.0, 1.0], [0.0, 1.0], predicate="intersects").tolist() == [-1, -1]
        assert [found.tolist() for found in each.pairs([0.0], [0.0], predicate="intersects")] == [[], []]


def test_an_empty_part_of_a_region_is_of_no_account():
    region = MultiPolygon([SQUARE, Polygon(), shapely.box(2, 0, 3, 1)])
    assert RegionIndex([region]).assign([0.5, 1.5, 2.5], [0.5, 0.5, 0.5]).tolist() == [0, -1, 0]


def test_a_third_coordinate_is_of_no_account():
    tall = Polygon([(0, 0, 5), (1, 0, 6), (1, 1, float("nan")), (0, 1, 8)])
    assert RegionIndex([tall]).assign([0.5], [0.5]).tolist() == [0]


@pytest.mark.parametrize(
    "invalid",
    [
        BOW_TIE,
        Polygon([(0, 0), (4, 0), (4, 4), (0, 4)], [[(3, 3), (6, 3), (6, 6)]]),
        Polygon([(0, 0), (1, 1), (2, 2)]),
        MultiPolygon([SQUARE, shapely.box(0.5, 0.5, 2, 2)]),
        Polygon([(0, 0), (np.inf, 0), (1, 1)]),
    ],
    ids=["bow tie", "hole outside", "no area", "parts overlap", "infinite"],
)
def test_an_invalid_region_is_refused_by_its_id_with_the_remedy(refused, invalid):
    with refused("bad-geometry", "r1", "repair"):
        RegionIndex(frame([SQUARE, invalid]))


@pytest.mark.parametrize("other", [Point(0, 0), LineString([(0, 0), (1, 1)]), shapely.GeometryCollection([SQUARE])])
def test_what_is_no_polygon_is_refused_by_its_id(refused, other):
    with refused("bad-geometry", "r1", other.geom_type):
        RegionIndex(frame([SQUARE, other]))


@pytest.mark.parametrize("odd", ["POLYGON EMPTY", 7, b"\x00", date(2024, 1, 1)])
def test_a_value_that_is_no_geometry_is_refused(refused, odd):
    with refused("result-type"):
        RegionIndex(np.array([SQUARE, odd], object))


@pytest.mark.parametrize("odd", [SQUARE, None, 7, "regions", [[SQUARE], [SQUARE]], pd.DataFrame({"id": [1]})])
def test_what_is_no_row_of_regions_is_refused(refused, odd):
    with refused("result-type"):
        RegionIndex(odd)


def test_coordinates_too_large_to_compute_with_are_refused(refused):
    with refused("bad-geometry"):
        RegionIndex([shapely.box(0, 0, 1e200, 1e200)])


@pytest.mark.parametrize("geometries", [[SQUARE, None], [SQUARE, SQUARE]])
@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT])
def test_a_region_without_an_id_is_refused(refused, geometries, missing):
    with refused("key-null", "id"):
        RegionIndex(frame(geometries, pd.Series(["a", missing], dtype=object)))


@pytest.mark.parametrize("ids", [["a", "b", "a"], [1, 2, 1], [1.0, 2.0, 1.0], [0.0, 1.0, -0.0]])
def test_a_repeated_id_is_refused_and_shown(refused, ids):
    with refused("key-duplicate", str(ids[2])):
        RegionIndex(frame([SQUARE] * 3, ids))


def test_ids_that_cannot_be_compared_are_refused(refused):
    with refused("bad-value", "id"):
        RegionIndex(frame([SQUARE] * 2, pd.Series([1, "a"], dtype=object)))


def test_a_missing_id_column_is_named_with_the_nearest(refused):
    with refused("bad-value", "county", "did you mean"):
        RegionIndex(frame([SQUARE]).rename(columns={"id": "country"}), region_id="county")


@pytest.mark.parametrize(
    "ids",
    [
        pd.Series(["b", "a", "c"], dtype="string"),
        pd.Series(["b", "a", "c"], dtype=pd.ArrowDtype(pa.string())),
        pd.Series([20, 3, 100], dtype="Int64"),
        pd.Series([20, 3, 100], dtype="uint8"),
        pd.Series([-1.5, -20.0, 3.0]),
        pd.Series(pd.to_datetime(["2024-02-01", "2024-01-01", "2025-01-01"])),
        pd.Series([date(2024, 2, 1), date(2024, 1, 1), date(2025, 1, 1)], dtype=pd.ArrowDtype(pa.date32())),
        pd.Series([Decimal("2.0"), Decimal("1.5"), Decimal("10.1")], dtype=pd.ArrowDtype(pa.decimal128(5, 1))),
        pd.Series(pd.Categorical(["b", "a", "c"], categories=["c", "b", "a"])),
    ],
    ids=str,
)
def test_ids_of_any_type_keep_it_and_the_lowest_is_by_their_own_order(ids, tmp_path):
    regions = gpd.GeoDataFrame({"id": ids.array}, geometry=[SQUARE] * len(ids))
    index = RegionIndex(regions)
    index.save(tmp_path / "index")
    for each in (index, RegionIndex.open(tmp_path / "index")):
        assert each.assign([0.5], [0.5]).tolist() == [1]
        assert each.ids.tolist() == ids.tolist()
        assert each.ids.dtype == regions["id"].dtype


def test_the_frame_of_regions_may_have_any_index_and_geometry_column_and_is_left_as_it_was():
    regions = (
        frame([shapely.box(k, 0, k + 1, 1) for k in range(3)]).rename_geometry("shape").set_index(pd.Index([7, 7, 7]))
    )
    before = regions.copy(deep=True)
    assert RegionIndex(regions).assign([0.5, 2.5], [0.5, 0.5]).tolist() == [0, 2]
    pd.testing.assert_frame_equal(pd.DataFrame(regions), pd.DataFrame(before))


# -- the globe ---------------------------------------------------------------------------------------------------------


def test_a_region_cut_at_the_antimeridian_holds_points_on_both_sides_and_180_is_not_minus_180():
    fiji = MultiPolygon([shapely.box(177, -20, 180, -15), shapely.box(-180, -20, -178, -15)])
    index = RegionIndex([fiji])
    assert index.assign([178.0, -179.0, 0.0, 181.0], [-17.0] * 4).tolist() == [0, 0, -1, -1]
    assert index.assign([180.0, -180.0], [-17.0] * 2, predicate="within").tolist() == [-1, -1]
    assert index.assign([180.0, -180.0], [-17.0] * 2, predicate="intersects").tolist() == [0, 0]
    assert RegionIndex([fiji.geoms[0]]).assign([-180.0], [-17.0], predicate="intersects").tolist() == [-1]


def test_a_region_that_crosses_the_antimeridian_uncut_is_planar():
    around = Polygon([(177, -20), (-178, -20), (-178, -15), (177, -15)])
    assert RegionIndex([around]).assign([0.0, 179.0], [-17.0, -17.0]).tolist() == [0, -1]


def test_the_pole_is_a_line_of_points():
    caps = RegionIndex([shapely.box(-180, 60, 180, 90), shapely.box(-180, -90, 180, -60)])
    poles = [0.0, 123.0, 180.0, 0.0], [90.0, 90.0, 90.0, -90.0]
    assert caps.assign(*poles, predicate="intersects").tolist() == [0, 0, 0, 1]
    assert caps.assign(*poles, predicate="within").tolist() == [-1, -1, -1, -1]


# -- points ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf"), 1e308, -1e308, 181.0, 1e-310 - 1])
def test_a_coordinate_that_is_nowhere_is_in_no_region(odd):
    index = RegionIndex([SQUARE, shapely.box(-0.5, -0.5, 180, 90)])
    for predicate in PREDICATES:
        assert index.assign([odd, 0.5, odd], [0.5, odd, odd], predicate=predicate).tolist() == [-1, -1, -1]
        assert [found.tolist() for found in index.pairs([odd, 0.5], [0.5, odd], predicate=predicate)] == [[], []]


@pytest.mark.parametrize(
    "make",
    [
        list,
        tuple,
        np.array,
        lambda v: np.array(v, np.float32),
        lambda v: np.repeat(np.array(v), 2)[::2],
        lambda v: pd.Series(v, index=[5, 5, 5]),
        lambda v: pd.Series(v, dtype="Float64"),
        lambda v: pd.Series(v, dtype=pd.ArrowDtype(pa.float64())),
        lambda v: pd.Series([Decimal(str(x)) for x in v], dtype=pd.ArrowDtype(pa.decimal128(6, 2))),
        lambda v: pd.Series(v, dtype=object),
        pa.array,
    ],
    ids=["list", "tuple", "array", "float32", "strided", "series", "Float64", "arrow", "decimal", "object", "pyarrow"],
)
def test_coordinates_may_come_in_any_form_of_numbers(make):
    index = RegionIndex([SQUARE])
    assert index.assign(make([0.5, 1.5, 0.25]), make([0.5, 0.5, 0.25])).tolist() == [0, -1, 0]


def test_whole_coordinates_are_numbers_too():
    index = RegionIndex([shapely.box(0, 0, 2, 2)])
    for dtype in ("int64", "int8", "uint16", "Int64"):
        assert index.assign(pd.Series([1, 3], dtype=dtype), pd.Series([1, 1], dtype=dtype)).tolist() == [0, -1]


@pytest.mark.parametrize("dtype", ["Float64", pd.ArrowDtype(pa.float64()), object, "Int64"])
def test_a_null_coordinate_is_in_no_region(dtype):
    lon = pd.Series([1, None, 1], dtype=dtype)
    assert RegionIndex([shapely.box(0, 0, 2, 2)]).assign(lon, [1, 1, None]).tolist() == [0, -1, -1]


@pytest.mark.parametrize(
    "odd",
    [
        ["a", "b"],
        [1j, 2j],
        [[1], [2]],
        ["1.0", "2.0"],
        pd.Series(["1.0", "2.0"]),
        [1.0, "2.0"],
        [pd.Timestamp(0)] * 2,
    ],
)
def test_coordinates_that_are_no_numbers_are_refused(refused, odd):
    with refused("bad-value"):
        RegionIndex([SQUARE]).assign(odd, [0.5, 0.5])


@pytest.mark.parametrize(("lon", "lat"), [([1.0], [1.0, 2.0]), (1.0, [1.0, 2.0]), ([[1.0]], [[1.0]])])
def test_rows_of_different_lengths_are_refused(refused, lon, lat):
    with refused("bad-value"):
        RegionIndex([SQUARE]).pairs(lon, lat)


def test_other_predicates_and_rules_are_refused(refused):
    index = RegionIndex([SQUARE])
    for ask in (index.assign, index.pairs):
        with refused("recipe-declaration", "within"):
            ask([0.5], [0.5], predicate="contains")
    with refused("recipe-declaration", "lowest"):
        index.assign([0.5], [0.5], ties="first")


def test_the_points_are_left_as_they_were():
    lon, lat = np.array([0.5, np.nan, -0.0]), np.array([0.5, 0.5, -0.0])
    before = lon.tobytes(), lat.tobytes()
    index = RegionIndex([SQUARE])
    index.assign(lon, lat)
    index.pairs(lon, lat, predicate="intersects")
    assert (lon.tobytes(), lat.tobytes()) == before


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    """An index in a file."""
    file = tmp_path / "regions.index"
    RegionIndex(frame([shapely.box(k, 0, k + 1, 1) for k in range(40)])).save(file)
    return file


def test_an_index_that_is_not_there_is_said_so(refused, tmp_path):
    with refused("source-missing", "gone"):
        RegionIndex.open(tmp_path / "gone")


def test_a_file_cut_short_anywhere_is_refused(refused, saved):
    whole = saved.read_bytes()
    for length in {*range(64), *range(0, len(whole), len(whole) // 60), len(whole) - 1}:
        saved.write_bytes(whole[:length])
        with refused("source-unreadable"):
            RegionIndex.open(saved)


def test_a_file_with_any_byte_changed_is_refused_or_answers_as_before(saved):
    whole = saved.read_bytes()
    lon, lat = np.linspace(-1, 41, 300), np.full(300, 0.5)
    before = RegionIndex.open(saved).assign(lon, lat)
    for at in {*range(0, 600, 3), *range(600, len(whole), len(whole) // 150)}:
        saved.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            found = RegionIndex.open(saved).assign(lon, lat)
        except BuilderError as refusal:
            assert refusal.code == "source-unreadable"
        else:
            assert np.array_equal(found, before)  # a byte between arrays


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"PAR1" * 100, b"RGNINDEX" + b"\xff" * 100])
def test_another_kind_of_file_is_refused(refused, saved, content):
    saved.write_bytes(content)
    with refused("source-unreadable"):
        RegionIndex.open(saved)


def test_a_folder_is_refused(refused, tmp_path):
    with refused("source-unreadable"):
        RegionIndex.open(tmp_path)


def test_an_index_is_replaced_whole_and_one_that_is_open_stays_what_it_was(saved):
    opened = RegionIndex.open(saved)
    RegionIndex(frame([SQUARE])).save(saved)
    assert opened.assign([30.5], [0.5]).tolist() == [30]
    assert RegionIndex.open(saved).assign([30.5], [0.5]).tolist() == [-1]
    assert [f.name for f in saved.parent.iterdir()] == [saved.name]


def test_the_same_regions_give_the_same_file_and_the_crs_is_kept(saved, tmp_path):
    again = tmp_path / "again"
    regions = frame([shapely.box(k, 0, k + 1, 1) for k in range(40)])
    RegionIndex(regions, threads=2).save(again)
    assert again.read_bytes() == saved.read_bytes()
    assert RegionIndex.open(again).crs == regions.crs
    assert RegionIndex.open(again).digest == RegionIndex(regions, threads=1).digest


# -- frames ------------------------------------------------------------------------------------------------------------


def grid(crs="EPSG:4326", dtype="int64"):
    """Four squares with ids out of order."""
    ids = pd.array([30, 7, 20, 4], dtype="int64").astype(dtype)
    return gpd.GeoDataFrame(
        {"id": ids}, geometry=shapely.box([0, 1, 0, 1], [0, 0, 1, 1], [1, 2, 1, 2], [1, 1, 2, 2]), crs=crs
    )


def places(lon, lat, **more):
    return pd.DataFrame({"name": [f"p{k}" for k in range(len(lon))], "lon": lon, "lat": lat, **more})


def listed(frame):
    """The ids of a result, None where null."""
    return [None if pd.isna(i) else i for i in frame["id"]]


CORNERS = ([0.5, 1.0, 1.0, None, 9.0, float("nan")], [0.5, 0.5, 1.0, 1.0, 9.0, 0.5])


def test_each_point_gets_one_region_or_null():
    assert listed(assign_regions(places(*CORNERS), grid())) == [30, None, None, None, None, None]
    assert listed(assign_regions(places(*CORNERS), grid(), predicate="intersects")) == [30, 7, 4, None, None, None]


def test_all_regions_of_a_point_come_by_id_and_points_in_none_are_left_out():
    found = assign_regions(places(*CORNERS), grid(), predicate="intersects", ties="all")
    assert list(zip(found["name"], found["id"])) == [
        ("p0", 30), ("p1", 7), ("p1", 30), ("p2", 4), ("p2", 7), ("p2", 20), ("p2", 30),
    ]  # fmt: skip
    assert found.index.tolist() == [0, 1, 1, 2, 2, 2, 2]


@pytest.mark.parametrize("ties", ["lowest", "all"])
@pytest.mark.parametrize("predicate", PREDICATES)
def test_assignment_is_the_join_that_geopandas_makes(predicate, ties):
    rng = np.random.default_rng(4)
    points = places(rng.integers(-1, 26, 4000) / 10, rng.integers(-1, 26, 4000) / 10)
    located = gpd.GeoDataFrame(points, geometry=gpd.points_from_xy(points.lon, points.lat), crs="EPSG:4326")
    joined = gpd.sjoin(located, grid(), predicate=predicate, how="inner")[["name", "id"]].sort_values(["name", "id"])
    if ties == "lowest":
        joined = joined.drop_duplicates("name")
    found = assign_regions(points, grid(), keep=["name"], predicate=predicate, ties=ties).dropna(subset="id")
    found = found.sort_values(["name", "id"])
    assert list(zip(found["name"], found["id"])) == list(zip(joined["name"], joined["id"]))


@pytest.mark.parametrize("ties", ["lowest", "all"])
def test_parts_rows_in_another_order_and_chunks_give_what_the_whole_gives(ties):
    rng = np.random.default_rng(5)
    points = places(rng.integers(-1, 26, 500) / 10, rng.integers(-1, 26, 500) / 10)
    points.loc[::7, "lon"] = np.nan
    ask = {"predicate": "intersects", "ties": ties}
    whole = assign_regions(points, grid(), **ask)
    parts = [points.iloc[a:b] for a, b in ((0, 1), (1, 1), (1, 130), (130, 500))]
    pd.testing.assert_frame_equal(pd.concat([assign_regions(p, grid(), **ask) for p in parts]), whole)
    shuffled = assign_regions(points.sample(frac=1, random_state=1), grid().iloc[::-1], **ask)
    pd.testing.assert_frame_equal(shuffled.sort_index(kind="stable"), whole)
    for chunk_rows in (1, 7, 499):
        pd.testing.assert_frame_equal(assign_regions(points, grid(), **ask, chunk_rows=chunk_rows, threads=2), whole)


@pytest.mark.parametrize("ties", ["lowest", "all"])
@pytest.mark.parametrize("dtype", ["int64", "int32", "Int64", "string", "str", "float64", "uint8", "category"])
def test_the_dtype_of_the_result_is_of_the_ids_alone(dtype, ties):
    regions = grid(dtype=dtype)
    some, none = places([0.5], [0.5]), places([9.0], [9.0])
    found = [assign_regions(points, regions, ties=ties) for points in (some, none, some.iloc[:0])]
    assert len({str(f["id"].dtype) for f in found}) == 1
    assert str(found[0]["id"].iloc[0]) == str(regions["id"].iloc[0])


def test_the_points_keep_their_index_columns_and_dtypes_and_are_left_as_they_were():
    points = places([0.5, 1.5, None], [0.5, 0.5, 1.0], size=pd.array([1, None, 3], "Int64")).set_axis([5, 5, 2])
    before = points.copy(deep=True)
    found = assign_regions(points, grid())
    pd.testing.assert_frame_equal(points, before)
    pd.testing.assert_frame_equal(found.drop(columns="id"), before)
    found.loc[2, "size"] = 99
    pd.testing.assert_frame_equal(points, before)
    assert assign_regions(points, grid(), keep=["size"]).columns.tolist() == ["size", "id"]
    assert assign_regions(points, grid(), keep=[]).columns.tolist() == ["id"]


@pytest.mark.parametrize(
    ("lon", "lat"), [(181.0, 0.0), (-180.5, 0.0), (0.0, 90.5), (0.0, -91.0), (47.6, -122.3), (float("inf"), 0.0)]
)
def test_an_impossible_position_is_refused_with_its_row_and_value(refused, lon, lat):
    with refused("bad-value") as caught:
        assign_regions(places([0.5, lon], [0.5, lat]).set_axis(["a", "b"]), grid())
    text = caught.value.render()
    assert "b" in text
    assert str(lon) in text or str(lat) in text


def test_far_off_coordinates_are_possible_where_the_unit_is_no_degree():
    regions = gpd.GeoDataFrame({"id": [1]}, geometry=[shapely.box(4e5, 5e6, 5e5, 6e6)], crs="EPSG:32633")
    assert listed(assign_regions(places([4.5e5, 0.0], [5.5e6, 1e9]), regions, crs="EPSG:32633")) == [1, None]


def test_the_extremes_of_the_globe_are_possible():
    found = assign_regions(places([180.0, -180.0, 0.0], [90.0, -90.0, -90.0]), grid())
    assert listed(found) == [None, None, None]


@pytest.mark.parametrize("text", ["lon", "lat"])
def test_a_column_of_texts_is_refused(refused, text):
    points = places([0.5], [0.5])
    points[text] = points[text].astype("string")
    with refused("bad-value", text):
        assign_regions(points, grid())


def test_a_missing_column_is_named_with_the_nearest(refused):
    with refused("bad-value", "lon", "did you mean"):
        assign_regions(places([0.5], [0.5]).rename(columns={"lon": "long"}), grid())
    with refused("bad-value", "size"):
        assign_regions(places([0.5], [0.5]), grid(), keep=["size"])
    with refused("bad-value", "rid"):
        assign_regions(places([0.5], [0.5]), grid(), region_id="rid")


def test_a_column_of_the_points_that_is_called_like_the_id_is_refused(refused):
    with refused("bad-value", "id", "rename"):
        assign_regions(places([0.5], [0.5], id=[1]), grid())
    assert listed(assign_regions(places([0.5], [0.5], id=[1]), grid(), keep=["name"])) == [30]


def test_regions_without_a_crs_or_in_another_are_refused_and_crs84_is_epsg_4326(refused):
    with refused("crs-missing", "regions"):
        assign_regions(places([0.5], [0.5]), grid(crs=None))
    with refused("crs-mismatch", "3857", "4326"):
        assign_regions(places([0.5], [0.5]), grid(crs="EPSG:3857"))
    with refused("crs-mismatch", "3857"):
        assign_regions(places([0.5], [0.5]), grid(), crs="EPSG:3857")
    assert listed(assign_regions(places([0.5], [0.5]), grid(crs="OGC:CRS84"))) == [30]


def test_an_index_made_before_gives_the_same_and_one_of_other_regions_is_refused(refused, tmp_path):
    points, index = places(*CORNERS), RegionIndex(grid())
    index.save(tmp_path / "index")
    opened = RegionIndex.open(tmp_path / "index")
    whole = assign_regions(points, grid(), predicate="intersects")
    for given in ({"regions": grid(), "index": index}, {"regions": grid(), "index": opened}, {"regions": opened}):
        pd.testing.assert_frame_equal(assign_regions(points, predicate="intersects", **given), whole)
    with refused("bad-value", "index"):
        assign_regions(points, grid().iloc[:3], index=index)
    with refused("bad-value", "index"):
        assign_regions(points, grid().assign(id=[1, 2, 3, 4]), index=index)


def test_regions_in_another_crs_than_their_index_are_refused(refused):
    with refused("crs-mismatch"):
        assign_regions(places([0.5], [0.5]), grid(crs="EPSG:3857"), index=RegionIndex(grid()))


@pytest.mark.parametrize("wrong", [{"predicate": "touches"}, {"ties": "first"}, {"keep": "name"}])
def test_arguments_that_are_none_of_the_choices_are_refused(refused, wrong):
    with refused("recipe-declaration"):
        assign_regions(places([0.5], [0.5]), grid(), **wrong)


def test_regions_are_refused_here_as_by_the_index(refused):
    points = places([0.5], [0.5])
    with refused("bad-geometry", "repair"):
        assign_regions(points, frame([BOW_TIE]))
    with refused("key-duplicate"):
        assign_regions(points, frame([SQUARE] * 2, ["a", "a"]))
    with refused("key-null"):
        assign_regions(points, frame([SQUARE], [None]))
    with refused("result-type"):
        assign_regions(points, pd.DataFrame({"id": [1]}))
    with refused("result-type"):
        assign_regions([1, 2], grid())
