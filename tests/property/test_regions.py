"""The index of regions answers as shapely does, pair for pair: sets that are hard, and sets that hypothesis draws.

``benchmarks/regions.py exact`` asks more points of the same sets under more seeds.
"""

from fractions import Fraction

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hard_regions import (
    BEYOND,
    SETS,
    differing,
    edges_of,
    grid_points,
    hard_points,
    hard_set,
    large_region,
    nudged,
    ordered,
    pairs_by_force,
    pairs_of_index,
    pairs_of_prepared,
    pairs_of_tree,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import BuilderError
from builder.transforms.region_index import RegionIndex

PREDICATES = ("within", "intersects")
FORCED = 150_000
CHUNKED = ("donuts", "snapped_to_tenths", "scattered_parts")


@pytest.fixture(scope="module")
def sets():
    """Each set with its index, made once."""
    made = {}

    def of(name):
        if name not in made:
            found = hard_set(name)
            made[name] = (found, RegionIndex(found.regions))
        return made[name]

    return of


def xy(points):
    return np.ascontiguousarray(points[:, 0]), np.ascontiguousarray(points[:, 1])


def assert_same(ours, theirs):
    assert differing(ours, theirs).tolist() == []


# -- shapely's answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SETS)
def test_the_sets_are_valid_so_that_shapely_has_one_answer(sets, name):
    assert shapely.is_valid(sets(name)[0].regions).all()


@pytest.mark.parametrize("predicate", PREDICATES)
@pytest.mark.parametrize("name", SETS)
def test_pairs_are_those_of_shapely(sets, name, predicate):
    found, index = sets(name)
    ours = pairs_of_index(index, found.lon, found.lat, predicate)
    assert_same(ours, pairs_of_tree(found.regions, found.lon, found.lat, predicate))
    few = FORCED // len(found.regions)
    assert_same(ours[ours[:, 0] < few], pairs_by_force(found.regions, found.lon[:few], found.lat[:few], predicate))


def is_in(region, x, y, predicate):
    """The answer of exact arithmetic for one point and one valid region."""
    px, py, is_inside = Fraction(x), Fraction(y), False
    for start, end in zip(*edges_of(region)):
        (x1, y1), (x2, y2) = map(Fraction, start), map(Fraction, end)
        turn = (x2 - x1) * (py - y1) - (y2 - y1) * (px - x1)
        if turn == 0 and min(x1, x2) <= px <= max(x1, x2) and min(y1, y2) <= py <= max(y1, y2):
            return predicate == "intersects"
        if (y1 > py) != (y2 > py) and (turn > 0) == (y2 > y1):
            is_inside = not is_inside
    return is_inside


@pytest.mark.parametrize("name", BEYOND)
def test_where_shapely_is_too_coarse_the_index_is_right_wherever_shapely_is_or_refuses(name):
    found = hard_set(name, most=20)
    try:
        index = RegionIndex(found.regions)
    except BuilderError as refused:
        assert refused.code == "bad-geometry"
        return
    for predicate in PREDICATES:
        ours = pairs_of_index(index, found.lon, found.lat, predicate)
        theirs = pairs_of_tree(found.regions, found.lon, found.lat, predicate)
        held = set(map(tuple, ours.tolist()))
        for point, region in differing(ours, theirs).tolist():
            truth = is_in(found.regions[[region]], found.lon[point], found.lat[point], predicate)
            assert ((point, region) in held) == truth


@pytest.mark.parametrize("predicate", PREDICATES)
@pytest.mark.parametrize("divisions", [1, 3, 10, 60, 64, 96, 100, 128])
@pytest.mark.parametrize("name", ["unit_grid", "shared_borders", "world_and_specks"])
def test_points_on_the_lines_of_a_grid_are_those_of_shapely(sets, name, divisions, predicate):
    found, index = sets(name)
    points = grid_points(found.regions, divisions)
    if len(points) > 3000:
        points = points[np.random.default_rng(divisions).choice(len(points), 3000, replace=False)]
    for lon, lat in (xy(points), xy(nudged(points, 1, 0)), xy(nudged(points, -1, -1))):
        ours = pairs_of_index(index, lon, lat, predicate)
        assert_same(ours, pairs_of_tree(found.regions, lon, lat, predicate))


def test_one_region_of_a_million_vertices():
    rng = np.random.default_rng(5)
    regions = np.array([large_region(1_000_000, rng), shapely.box(-1, -1, 1, 1)], object)
    lon, lat = xy(hard_points(regions, rng, 150))
    index = RegionIndex(regions)
    for predicate in PREDICATES:
        ours = pairs_of_index(index, lon, lat, predicate)
        assert_same(ours, pairs_of_prepared(regions, lon, lat, predicate))


def test_a_hole_of_one_region_that_another_fills_is_the_others(sets):
    found, index = sets("nested")
    centre = np.array([0.1]), np.array([0.2])
    assert index.assign(*centre).tolist() == [len(found.regions) - 1]


# -- drawn sets --------------------------------------------------------------------------------------------------------

WHOLE = st.integers(0, 6)
SCALES = st.sampled_from([1.0, 0.1, 1 / 3, 1e-7, 3e6])
OFFSETS = st.sampled_from([0.0, -3.0, 0.7, 1e3])


@st.composite
def drawn_regions(draw):
    """Valid regions with corners on a small lattice, so that corners, edges and latitudes coincide; and the lattice."""
    scale, offset = draw(SCALES), draw(OFFSETS)
    corner = st.tuples(WHOLE, WHOLE)
    regions = []
    for corners in draw(st.lists(st.lists(corner, min_size=3, max_size=9), min_size=1, max_size=8)):
        ring = shapely.Polygon(np.array(corners) * scale + offset)
        parts = shapely.get_parts(shapely.get_parts([shapely.make_valid(ring)]))
        region = shapely.union_all(parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON])
        if region.is_valid and region.area > 0:
            regions.append(region)
    if not regions:
        regions = [shapely.box(offset, offset, offset + scale, offset + scale)]
    return np.array([*regions, None], object)[:-1], scale, offset


@settings(max_examples=80, deadline=None, derandomize=True)
@given(drawn_regions(), st.randoms(use_true_random=False))
def test_any_regions_on_a_lattice_get_the_pairs_of_shapely(drawn, chance):
    regions, scale, offset = drawn
    half = np.stack(np.meshgrid(np.arange(-1, 14) / 2, np.arange(-1, 14) / 2), -1).reshape(-1, 2) * scale + offset
    points = np.vstack([half, hard_points(regions, np.random.default_rng(chance.randrange(2**32)), 20)])
    lon, lat = xy(points)
    index = RegionIndex(regions)
    for predicate in PREDICATES:
        ours = pairs_of_index(index, lon, lat, predicate)
        assert_same(ours, pairs_by_force(regions, lon, lat, predicate))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.integers(3, 40), st.integers(-10_000, 10_000), st.integers(-6, 6))
def test_any_fan_of_regions_around_a_point_gets_the_pairs_of_shapely(seed, count, offset, exponent):
    rng = np.random.default_rng(seed)
    scale, centre = 10.0**exponent, offset / 7
    angle = np.sort(rng.uniform(0, 2 * np.pi, count))
    rim = np.column_stack([np.cos(angle), np.sin(angle)]) * scale * rng.uniform(0.5, 2, (count, 1)) + centre
    wedges = [shapely.Polygon([(centre, centre), a, b]) for a, b in zip(rim, np.roll(rim, -1, axis=0))]
    box = shapely.box(centre, centre, centre + scale, centre + scale)
    regions = np.array([*(w for w in wedges if w.is_valid and w.area > 0), box], object)
    lon, lat = xy(hard_points(regions, rng, 40))
    index = RegionIndex(regions)
    for predicate in PREDICATES:
        ours = pairs_of_index(index, lon, lat, predicate)
        assert_same(ours, pairs_by_force(regions, lon, lat, predicate))


# -- laws --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("predicate", PREDICATES)
@pytest.mark.parametrize("name", SETS)
def test_assign_gives_the_lowest_of_the_pairs_and_minus_one_where_there_is_none(sets, name, predicate):
    found, _ = sets(name)
    ids = np.random.default_rng(3).permutation(len(found.regions))
    index = RegionIndex(gpd.GeoDataFrame({"id": ids}, geometry=found.regions, crs=None), region_id="id")
    position = index.assign(found.lon, found.lat, predicate=predicate, ties="lowest")
    lowest = np.full(len(found.lon), len(ids))
    point, region = index.pairs(found.lon, found.lat, predicate=predicate)
    np.minimum.at(lowest, point, ids[region])
    row_of = np.append(np.argsort(ids), -1)
    assert position.dtype == np.int32
    assert np.array_equal(position, row_of[lowest])


def test_the_lowest_of_texts_is_by_their_own_order():
    square = shapely.box(0, 0, 1, 1)
    regions = gpd.GeoDataFrame({"id": ["b", "10", "9", "a"]}, geometry=[square] * 4)
    assert RegionIndex(regions).assign([0.5], [0.5]).tolist() == [1]


@pytest.mark.parametrize("predicate", PREDICATES)
@pytest.mark.parametrize("name", CHUNKED)
def test_chunks_of_every_size_give_what_the_whole_gives(sets, name, predicate):
    found, index = sets(name)
    lon, lat = found.lon[:600], found.lat[:600]
    whole = index.assign(lon, lat, predicate=predicate)
    point, region = index.pairs(lon, lat, predicate=predicate)
    for size in (1, 2, 7, 63, 64, 65, 256, 599, 600):
        chunks = [(lo, lon[lo : lo + size], lat[lo : lo + size]) for lo in range(0, 600, size)]
        assert np.array_equal(np.concatenate([index.assign(x, y, predicate=predicate) for _, x, y in chunks]), whole)
        pairs = [(lo, *index.pairs(x, y, predicate=predicate)) for lo, x, y in chunks]
        assert np.array_equal(np.concatenate([p + lo for lo, p, _ in pairs]), point)
        assert np.array_equal(np.concatenate([r for _, _, r in pairs]), region)


@pytest.mark.parametrize("predicate", PREDICATES)
@pytest.mark.parametrize("name", CHUNKED)
def test_two_threads_give_what_one_gives(sets, name, predicate):
    found, index = sets(name)
    lon, lat = np.tile(found.lon, 30), np.tile(found.lat, 30)
    one, two = (index.assign(lon, lat, predicate=predicate, threads=n) for n in (1, 2))
    assert np.array_equal(one, two)
    one, two = (index.pairs(lon[:20_001], lat[:20_001], predicate=predicate, threads=n) for n in (1, 2))
    assert np.array_equal(one, two)


@pytest.mark.parametrize("name", CHUNKED)
def test_the_order_of_points_is_of_no_account(sets, name):
    found, index = sets(name)
    order = np.random.default_rng(1).permutation(len(found.lon))
    for predicate in PREDICATES:
        whole = index.assign(found.lon, found.lat, predicate=predicate)
        assert np.array_equal(index.assign(found.lon[order], found.lat[order], predicate=predicate), whole[order])


@pytest.mark.parametrize("name", CHUNKED)
def test_the_order_of_regions_only_renumbers_them(sets, name):
    found, index = sets(name)
    order = np.random.default_rng(2).permutation(len(found.regions))
    turned = RegionIndex(found.regions[order])
    for predicate in PREDICATES:
        ours = pairs_of_index(turned, found.lon, found.lat, predicate)
        ours = ordered(ours[:, 0], order[ours[:, 1]])
        assert_same(ours, pairs_of_index(index, found.lon, found.lat, predicate))


@pytest.mark.parametrize("name", CHUNKED)
def test_the_direction_and_the_start_of_rings_are_of_no_account(sets, name):
    found, index = sets(name)
    turned = RegionIndex(shapely.reverse(shapely.normalize(found.regions)))
    for predicate in PREDICATES:
        ours = pairs_of_index(turned, found.lon, found.lat, predicate)
        assert_same(ours, pairs_of_index(index, found.lon, found.lat, predicate))


@pytest.mark.parametrize("name", SETS)
def test_a_saved_index_gives_the_same_when_it_is_opened(sets, name, tmp_path):
    found, index = sets(name)
    index.save(tmp_path / "regions.index")
    opened = RegionIndex.open(tmp_path / "regions.index")
    for predicate in PREDICATES:
        before = index.pairs(found.lon, found.lat, predicate=predicate)
        assert np.array_equal(opened.pairs(found.lon, found.lat, predicate=predicate), before)
        before = index.assign(found.lon, found.lat, predicate=predicate)
        assert np.array_equal(opened.assign(found.lon, found.lat, predicate=predicate), before)


@pytest.mark.parametrize("predicate", PREDICATES)
def test_no_points_give_no_answers(sets, predicate):
    _, index = sets("one_region")
    none = np.empty(0)
    assert index.assign(none, none, predicate=predicate).tolist() == []
    assert [len(found) for found in index.pairs(none, none, predicate=predicate)] == [0, 0]
