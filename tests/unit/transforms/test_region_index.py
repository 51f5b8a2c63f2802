"""What an index of regions promises beside exactness: ids, threads, files, and clear refusals."""

import pickle
import warnings

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from builder.errors import BuilderError
from builder.transforms.region_index import RegionIndex, warm

RNG = np.random.default_rng(11)


def coverage(count=60, seed=5):
    rng = np.random.default_rng(seed)
    cells = shapely.voronoi_polygons(shapely.multipoints(rng.random((count, 2))))
    return shapely.get_parts(cells)


def frame(geometries, ids=None, crs="EPSG:4326"):
    ids = range(len(geometries)) if ids is None else ids
    return gpd.GeoDataFrame({"id": ids}, geometry=list(geometries), crs=crs)


def asked(count=4000, seed=2):
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.2, 1.2, count), rng.uniform(-0.2, 1.2, count)


def refused(code, *arguments, **keywords):
    with pytest.raises(BuilderError) as caught:
        RegionIndex(*arguments, **keywords)
    assert caught.value.code == code
    return caught.value


def pairs_of_shapely(regions, lon, lat, predicate):
    points, held = shapely.STRtree(regions).query(shapely.points(lon, lat), predicate=predicate)
    order = np.lexsort((held, points))
    return points[order], held[order]


@pytest.mark.parametrize("predicate", ["within", "intersects"])
def test_pairs_equal_those_of_shapely_on_borders_and_off(predicate):
    regions = np.concatenate([coverage(), shapely.buffer(shapely.points(RNG.random((20, 2))), 0.2)])
    vertices = shapely.get_coordinates(regions)[::3]
    lon, lat = asked()
    lon, lat = np.concatenate([lon, vertices[:, 0]]), np.concatenate([lat, vertices[:, 1]])
    found = RegionIndex(regions).pairs(lon, lat, predicate=predicate)
    for one, other in zip(found, pairs_of_shapely(regions, lon, lat, predicate), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("predicate", ["within", "intersects"])
def test_more_regions_over_a_spot_than_bits_in_a_word_are_all_found(predicate):
    regions = shapely.buffer(shapely.points(np.zeros((150, 2))), np.linspace(0.1, 1, 150))
    lon, lat = RNG.normal(size=(2, 2000)) / 2
    vertices = shapely.get_coordinates(regions)[::50]
    lon, lat = np.concatenate([lon, vertices[:, 0]]), np.concatenate([lat, vertices[:, 1]])
    found = RegionIndex(regions).pairs(lon, lat, predicate=predicate)
    for one, other in zip(found, pairs_of_shapely(regions, lon, lat, predicate), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_small_crowd_in_a_wide_world_is_divided_until_cells_hold_few_edges():
    crowd = shapely.transform(coverage(300), lambda xy: xy * 1e-4)
    regions = np.concatenate([shapely.box([-180], [-90], [180], [90]), crowd])
    lon, lat = (v * 1e-4 for v in asked())
    index = RegionIndex(regions)
    for one, other in zip(index.pairs(lon, lat), pairs_of_shapely(regions, lon, lat, "within"), strict=True):
        np.testing.assert_array_equal(one, other)
    assert index.nbytes < 2_000_000


def test_the_lowest_id_wins_whatever_the_order_of_the_regions():
    squares = shapely.box(0, 0, [2, 3, 4], 2)
    index = RegionIndex(frame(squares, ["b", "c", "a"]))
    assert index.ids[index.assign([1.0, 2.5, 3.5], [1.0, 1.0, 1.0])].tolist() == ["a", "a", "a"]
    index = RegionIndex(frame(squares, ["b", "a", "c"]))
    assert index.ids[index.assign([1.0, 2.5, 3.5], [1.0, 1.0, 1.0])].tolist() == ["a", "a", "c"]


def test_pairs_come_by_region_position_and_by_id_where_that_is_asked():
    index = RegionIndex(frame(shapely.box(0, 0, [2, 3], 2), ["b", "a"]))
    assert index.pairs([1.0], [1.0])[1].tolist() == [0, 1]
    assert index.pairs_by_id([1.0], [1.0], "within", 1)[1].tolist() == [1, 0]


def test_threads_change_neither_the_file_nor_the_answers(tmp_path):
    regions = coverage(400)
    one, three = RegionIndex(regions, threads=1), RegionIndex(regions, threads=3)
    one.save(tmp_path / "one")
    three.save(tmp_path / "three")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "three").read_bytes()
    lon, lat = asked(600_000)
    np.testing.assert_array_equal(one.assign(lon, lat), one.assign(lon, lat, threads=2))
    for a, b in zip(one.pairs(lon, lat), one.pairs(lon, lat, threads=2), strict=True):
        np.testing.assert_array_equal(a, b)


def test_checking_on_threads_leaves_the_filters_of_warnings_alone():
    before = list(warnings.filters)
    west = np.arange(200) * 1e200  # overflows within GEOS
    for _ in range(20):
        with pytest.raises(BuilderError, match="too small or too large"):
            RegionIndex(shapely.box(west, 0, west + 1e200, 1e200), threads=4)
    assert warnings.filters == before


@pytest.mark.parametrize("ids", [None, list("zyxwvutsrqponmlkjihgfedcba0123456789ABCDEFGHIJKLMNOPQRSTUVWXY")[:60]])
def test_a_saved_index_answers_the_same(tmp_path, ids):
    index = RegionIndex(frame(coverage(), ids))
    index.save(tmp_path / "regions.index")
    opened = RegionIndex.open(tmp_path / "regions.index")
    lon, lat = asked()
    np.testing.assert_array_equal(opened.assign(lon, lat), index.assign(lon, lat))
    assert (opened.digest, opened.crs, len(opened), opened.nbytes) == (
        index.digest,
        index.crs,
        len(index),
        index.nbytes,
    )
    pd.testing.assert_series_equal(opened.ids, index.ids)
    assert [p.name for p in tmp_path.iterdir()] == ["regions.index"]


def test_an_index_can_be_sent_to_another_process(tmp_path):
    index = RegionIndex(coverage())
    index.save(tmp_path / "i")
    lon, lat = asked(50)
    for sent in (index, RegionIndex.open(tmp_path / "i")):
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(sent)).assign(lon, lat), index.assign(lon, lat))


def unreadable(path):
    with pytest.raises(BuilderError) as caught:
        RegionIndex.open(path)
    assert caught.value.hint
    return caught.value.code, dict(caught.value.facts)["why"]


def test_every_damage_to_a_file_is_noticed(tmp_path):
    path = tmp_path / "i"
    RegionIndex(coverage()).save(path)
    whole = path.read_bytes()
    for at in np.linspace(0, len(whole) - 1, 60).astype(int):
        damaged = bytearray(whole)
        damaged[at] ^= 0x41
        path.write_bytes(damaged)
        try:
            RegionIndex.open(path).check()
        except BuilderError as caught:
            assert caught.code == "source-unreadable"
        else:
            assert whole[at] == 0  # padding before the arrays
    for length in (0, 5, 20, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert unreadable(path)[0] == "source-unreadable"
    path.write_bytes(whole + b"\0")
    assert "bytes" in unreadable(path)[1]
    path.write_bytes(whole[:8] + b"\x63" + whole[9:])
    assert "version 99" in unreadable(path)[1]
    with pytest.raises(BuilderError) as caught:
        RegionIndex.open(tmp_path / "none")
    assert caught.value.code == "source-missing"


def test_a_damaged_block_is_noticed_by_the_first_answer_that_reads_it_and_no_other(tmp_path):
    path = tmp_path / "i"
    index = RegionIndex(coverage(3000))
    index.save(path)
    lon, lat = asked(25)
    right = [index.pairs(lon[k : k + 1], lat[k : k + 1])[1].tolist() for k in range(len(lon))]
    whole = path.read_bytes()
    noticed = answered = 0
    for at in np.linspace(len(whole) // 50, len(whole) - 65, 120).astype(int):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        try:
            opened = RegionIndex.open(path)
            for k in range(len(lon)):
                assert opened.pairs(lon[k : k + 1], lat[k : k + 1])[1].tolist() == right[k]
                answered += 1
            with pytest.raises(BuilderError, match="source-unreadable"):
                opened.check()
        except BuilderError as caught:
            assert caught.code == "source-unreadable"
            noticed += 1
    assert noticed > 5 and answered > 20


def test_damage_is_noticed_before_an_index_is_sent_or_saved_again_and_not_looked_for_unless_asked(tmp_path):
    path = tmp_path / "i"
    RegionIndex(coverage(3000)).save(path)
    whole = path.read_bytes()
    at = len(whole) // 2
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
    for use in (pickle.dumps, RegionIndex.check, lambda index: index.save(tmp_path / "again")):
        with pytest.raises(BuilderError, match="source-unreadable"):
            use(RegionIndex.open(path))
    RegionIndex.open(path, verify=False).check()


def test_null_and_empty_geometry_hold_nothing():
    index = RegionIndex([None, shapely.Polygon(), shapely.box(0, 0, 1, 1), shapely.MultiPolygon()])
    assert index.assign([0.5], [0.5]).tolist() == [2]
    for nothing in ([], [None], [shapely.Polygon()]):
        assert RegionIndex(nothing).assign([0.0, 1.0], [0.0, 1.0]).tolist() == [-1, -1]
        assert len(RegionIndex(nothing).pairs([0.0], [0.0])[0]) == 0


def test_positions_that_are_no_numbers_or_far_off_are_in_no_region():
    index = RegionIndex([shapely.box(-180, -90, 180, 90)])
    odd = [np.nan, np.inf, -np.inf, 1e300, -1e300]
    assert index.assign(odd, [0.0] * 5).tolist() == [-1] * 5
    assert index.assign([0.0] * 5, odd).tolist() == [-1] * 5
    assert index.assign([], []).tolist() == []


def test_a_pole_and_the_antimeridian_are_lines_like_others():
    index = RegionIndex([shapely.box(170, 80, 180, 90), shapely.box(-180, 80, -170, 90)])
    lon, lat = [180.0, -180.0, 175.0, 175.0], [85.0, 85.0, 90.0, 85.0]
    assert index.assign(lon, lat).tolist() == [-1, -1, -1, 0]
    assert index.assign(lon, lat, predicate="intersects").tolist() == [0, 1, 0, 0]


def test_repeated_points_and_signed_zeros_in_a_ring_change_nothing():
    ring = [(-0.0, 0.0), (0.0, 0.0), (1.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0), (-0.0, 0.0)]
    repeated, plain = RegionIndex([shapely.Polygon(ring)]), RegionIndex([shapely.box(0, 0, 1, 1)])
    for predicate in ("within", "intersects"):
        points = [0.0, -0.0, 1.0, 0.5, 0.5], [0.0, 0.5, 0.0, 0.0, 0.5]
        assert (repeated.assign(*points, predicate=predicate) == plain.assign(*points, predicate=predicate)).all()


def test_the_digest_tells_regions_apart_and_knows_them_again():
    base = frame(coverage())
    assert RegionIndex(base).digest == RegionIndex(base.set_index(base.index + 7)).digest
    assert RegionIndex(base).digest == RegionIndex(base.assign(id=base["id"].astype("Int64"))).digest
    moved = base.copy()
    moved.geometry = moved.geometry.where(moved["id"] != 3, moved.geometry.translate(1e-12))
    others = [moved, base.assign(id=base["id"] + 1), base.assign(id=base["id"].astype(str)), base.iloc[::-1], base[1:]]
    assert len({RegionIndex(other).digest for other in [base, *others]}) == 6


def test_what_cannot_be_a_region_is_refused_with_ids_and_a_remedy():
    bow = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
    caught = refused("bad-geometry", frame([bow, shapely.box(0, 0, 1, 1)], ["x7", "x8"]))
    assert "x7" in str(caught) and "x8" not in str(caught) and "t.repair" in caught.hint
    caught = refused("bad-geometry", frame([shapely.Point(0, 0), shapely.LineString([(0, 0), (1, 1)])], [3, 4]))
    assert "3 is a Point" in str(caught)
    refused("bad-geometry", [shapely.box(1e-310, 0, 1, 1)])
    refused("bad-geometry", [shapely.box(0, 0, 1e200, 1)])
    refused("bad-geometry", [shapely.GeometryCollection([shapely.box(0, 0, 1, 1)])])


def test_ids_have_to_be_there_once_each_and_comparable():
    two = shapely.box([0, 1], 0, [1, 2], 1)
    assert "1" in dict(refused("key-null", frame(two, ["a", None])).facts)["rows"]
    assert "a" in dict(refused("key-duplicate", frame(two, ["a", "a"])).facts)["ids"]
    refused("bad-value", frame(two, pd.Series(["a", 1], dtype=object)))
    refused("bad-value", frame(two), "name")


@pytest.mark.parametrize("regions", [pd.DataFrame({"id": [1]}), 3, "text", [[shapely.box(0, 0, 1, 1)]], ["a"], [1.5]])
def test_what_holds_no_geometries_is_refused(regions):
    refused("result-type", regions)


def test_a_wrong_call_is_refused():
    index = RegionIndex([shapely.box(0, 0, 1, 1)])
    for ask in (
        lambda: index.assign([0.5], [0.5], predicate="touches"),
        lambda: index.assign([0.5], [0.5], ties="all"),
        lambda: index.pairs([0.5], [0.5], predicate=None),
    ):
        with pytest.raises(BuilderError, match=r"recipe-declaration"):
            ask()
    for lon, lat in (([0.5], [0.5, 0.6]), (["a"], [0.5]), ([[0.5]], [[0.5]]), (None, None)):
        with pytest.raises(BuilderError, match="bad-value"):
            index.assign(lon, lat)


def test_coordinates_may_be_series_of_any_number_dtype_with_nulls():
    index = RegionIndex([shapely.box(0, 0, 10, 10)])
    for dtype in ("Int64", "float64", "Float32", "double[pyarrow]"):
        lon = pd.Series([5, None, 50], dtype=dtype)
        assert index.assign(lon, pd.Series([5, 5, 5], dtype="int8")).tolist() == [0, -1, -1]


def test_warming_makes_the_next_calls_quick():
    warm()
    assert repr(RegionIndex([shapely.box(0, 0, 1, 1)])).startswith("<RegionIndex of 1 regions")
