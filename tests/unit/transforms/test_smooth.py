"""Smoothing of regions one by one: Chaikin, Taubin, buffer; what comes back, and what is refused."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from shapely import MultiPolygon, Polygon

from builder.errors import BuilderError
from builder.transforms.curves import chaikin_weights
from builder.transforms.smooth import smooth_regions

UTM = "EPSG:32633"
ALONE = [{"method": "chaikin"}, {"method": "taubin"}, {"method": "buffer", "distance_m": 0.2}]
LON_LAT_BUFFER = {"method": "buffer", "distance_m": 10_000.0}
SQUARE = shapely.box(0, 0, 4, 4)
DONUT = Polygon(SQUARE.exterior, [[(1, 1), (1, 3), (3, 3), (3, 1)]])


def not_finite(value: str) -> Polygon:
    with np.errstate(invalid="ignore"):
        return shapely.from_wkt(f"POLYGON ((0 0, 1 {value}, 1 1, 0 0))")


def frame(*shapes, crs=UTM) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"id": range(len(shapes))}, geometry=list(shapes), crs=crs)


def chaikin_by_rounds(ring: np.ndarray, rounds: int) -> np.ndarray:
    """The definition: each corner replaced by the points at a quarter of its edges, round by round."""
    for _ in range(rounds):
        before, after = np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0)
        ring = np.stack([0.75 * ring + 0.25 * before, 0.75 * ring + 0.25 * after], axis=1).reshape(-1, 2)
    return ring


def star(seed: int, corners: int = 40, middle=(15.0, 50.0)) -> Polygon:
    rng = np.random.default_rng(seed)
    turn, far = np.sort(rng.uniform(0, 2 * np.pi, corners)), rng.uniform(0.2, 1, corners)
    return Polygon(np.column_stack((middle[0] + far * np.cos(turn), middle[1] + far * np.sin(turn))))


@pytest.mark.parametrize("rounds", [0, 1, 2, 3, 5])
def test_chaikin_is_its_definition_round_by_round(rounds) -> None:
    shapes = [star(seed) for seed in range(5)]
    smooth = smooth_regions(frame(*shapes), iterations=rounds)
    for before, after in zip(shapes, smooth.geometry):
        want = chaikin_by_rounds(shapely.get_coordinates(before)[:-1], rounds)
        got = shapely.get_coordinates(after)[:-1]
        assert len(got) == len(want)
        assert shapely.hausdorff_distance(shapely.MultiPoint(got), shapely.MultiPoint(want)) < 1e-13


def test_the_weights_of_each_new_point_add_up_to_one_exactly() -> None:
    for rounds in range(7):
        assert (chaikin_weights(rounds).sum(axis=1) == 1).all() and len(chaikin_weights(rounds)) == 2**rounds


def test_taubin_is_its_definition_and_shrinks_a_circle_by_less_than_a_thousandth() -> None:
    ring = shapely.get_coordinates(shapely.Point(0, 0).buffer(100, quad_segs=16))[:-1]
    want = ring.copy()
    for share in (0.5, -0.53) * 3:
        want += share * ((np.roll(want, 1, axis=0) + np.roll(want, -1, axis=0)) / 2 - want)
    smooth, report = smooth_regions(frame(Polygon(ring)), method="taubin", iterations=3, report=True)
    np.testing.assert_allclose(shapely.get_coordinates(smooth.geometry[0])[:-1], want, atol=1e-12)
    assert abs(report["area_change"][0]) < 1e-3


@pytest.mark.parametrize("options", ALONE)
def test_rows_index_columns_crs_nulls_and_empties_come_back_as_they_were(options) -> None:
    before = frame(SQUARE, None, Polygon(), MultiPolygon([DONUT, shapely.box(9, 9, 12, 12)]))
    before = before.rename_geometry("border").assign(note=["a", None, "c", "d"]).set_axis([7, 7, "x", None])
    kept = before.copy(deep=True)
    after, report = smooth_regions(before, report=True, **options)
    pd.testing.assert_frame_equal(before, kept)
    pd.testing.assert_frame_equal(
        pd.DataFrame(after.drop(columns="border")), pd.DataFrame(before.drop(columns="border"))
    )
    assert after.geometry.name == "border" and after.crs == UTM and report.index.equals(before.index)
    assert after.geometry.isna().tolist() == [False, True, False, False]
    assert after.geometry.is_empty.tolist() == [False, False, True, False]
    assert after.geom_type.dropna().tolist() == ["Polygon", "Polygon", "MultiPolygon"]
    assert report["area_change"].isna().tolist() == [False, True, True, False]


@pytest.mark.parametrize("options", [*ALONE, {"method": "coverage"}])
@pytest.mark.parametrize("shapes", [[], [None], [Polygon(), None]])
def test_frames_without_regions_come_back(options, shapes) -> None:
    after, report = smooth_regions(frame(*shapes), report=True, **options)
    assert len(after) == len(report) == len(shapes)
    assert list(map(str, report.dtypes)) == ["int64"] * 4 + ["float64"]


def test_holes_are_smoothed_too_and_the_report_counts() -> None:
    smooth, report = smooth_regions(frame(DONUT), iterations=1, report=True)
    assert smooth.geometry[0].area == 16 - 4 * 0.5 - (4 - 4 * 0.125)
    assert report.values.tolist() == [[10, 18, 1, 0, 10.5 / 12 - 1]]


def test_a_corner_whose_cut_would_run_into_another_part_stays() -> None:
    near, far = (Polygon([(0, 0), (8, 0), (0, 8)], [[(d, d), (d + 0.2, d), (d, d + 0.2)]]) for d in (0.2, 2.0))
    smooth, report = smooth_regions(frame(near, far), report=True)
    assert smooth.is_valid.all()
    assert report["corners_kept"].tolist() == [1, 0]
    assert (0.0, 0.0) in smooth.geometry[0].exterior.coords


@pytest.mark.parametrize("touching", [(0, 0), (2, 0), (4, 1.7)])
def test_a_hole_that_touches_the_shell_in_a_corner_or_on_an_edge_still_does(touching) -> None:
    shape = Polygon(SQUARE.exterior, [[touching, (2, 2), (1.7, 2.5)]])
    assert shape.is_valid
    smooth, report = smooth_regions(frame(shape), iterations=3, report=True)
    assert smooth.is_valid.all() and report["iterations"][0] == 3
    ring, hole = smooth.geometry[0].exterior, smooth.geometry[0].interiors[0]
    assert ring.intersects(hole) and report["corners_kept"][0] > 0


def test_parts_that_touch_in_a_point_still_do() -> None:
    pair = MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(1, 1, 2, 2)])
    smooth = smooth_regions(frame(pair), iterations=2)
    assert smooth.is_valid.all() and shapely.intersects(*smooth.geometry[0].geoms)


def test_repeated_points_do_not_keep_a_corner_sharp() -> None:
    twice = Polygon([(0, 0), (4, 0), (4, 0), (4, 4), (0, 4), (0, 4)])
    smooth = smooth_regions(frame(twice, Polygon([(0, 0), (4, 0), (4, 4), (0, 4)])))
    assert smooth.geometry[0].equals_exact(smooth.geometry[1], 0)


def test_taubin_halves_the_iterations_of_a_region_that_becomes_invalid() -> None:
    comb = [(0, 0), *((x / 8, (x % 2) * 9 + 0.01) for x in range(1, 80)), (10, 0)]
    smooth, report = smooth_regions(frame(Polygon(comb), SQUARE), method="taubin", iterations=64, report=True)
    assert smooth.is_valid.all() and report["iterations"][1] == 64
    assert report["iterations"][0] in (0, 1, 2, 4, 8, 16, 32, 64)


def test_buffer_goes_out_in_by_twice_and_out_and_leaves_a_region_that_would_vanish() -> None:
    thin = shapely.box(20, 0, 30, 0.1)
    smooth, report = smooth_regions(frame(star(1), thin), method="buffer", distance_m=0.1, report=True)
    assert smooth.geometry[0].equals(star(1).buffer(0.1).buffer(-0.2).buffer(0.1))
    assert smooth.geometry[1].equals_exact(thin, 0) and report["iterations"].tolist() == [1, 0]


def test_buffer_measures_metres_at_the_middle_latitude_of_each_region() -> None:
    bay = [Polygon([(0, y), (2, y), (2, y + 1), (1.1, y + 1), (1.1, y + 0.5), (1, y + 0.5), (1, y + 1), (0, y + 1)])
           for y in (0, 59.5)]  # fmt: skip  # a bay 0.1 degree wide: 11.1 km on the equator, 5.6 km at 60° north
    narrow = smooth_regions(frame(*bay, crs=4326), method="buffer", distance_m=3500.0)
    assert [shape.contains(shapely.Point(1.05, y + 0.75)) for shape, y in zip(narrow.geometry, (0, 59.5))] == [
        False,
        True,
    ]
    wide = smooth_regions(frame(*bay, crs=4326), method="buffer", distance_m=6500.0)
    assert [shape.contains(shapely.Point(1.05, y + 0.75)) for shape, y in zip(wide.geometry, (0, 59.5))] == [True, True]


@pytest.mark.parametrize(("crs", "metres"), [(UTM, 1.0), ("EPSG:2263", 1200 / 3937), (4326, 111_195.08)])
def test_tolerance_leaves_corners_that_would_move_by_less(crs, metres) -> None:
    # The limit curve passes the right angles of the unit square by sqrt(2) / 8, the flat corner on top by 1 / 800.
    shape = Polygon([(0, 0), (1, 0), (1, 1), (0.5, 1.0025), (0, 1)])
    one, all_of_them = (
        smooth_regions(frame(shape, crs=crs), iterations=1, tolerance_m=t * metres).geometry[0] for t in (0.01, 0.0001)
    )
    assert (len(one.exterior.coords), len(all_of_them.exterior.coords)) == (10, 11)
    assert (0.5, 1.0025) in one.exterior.coords


def test_corners_on_the_antimeridian_and_at_the_poles_stay_in_degrees_alone() -> None:
    east = Polygon([(170, 80), (180, 80), (180, 90), (170, 90)])
    assert smooth_regions(frame(east, crs=4326)).geometry[0].bounds == (170, 80, 180, 90)
    assert {(180, 80), (180, 90), (170, 90)} <= set(smooth_regions(frame(east, crs=4326)).geometry[0].exterior.coords)
    assert (180, 80) not in smooth_regions(frame(east, crs=UTM)).geometry[0].exterior.coords


def test_a_missing_crs_matters_to_metres_alone() -> None:
    plain = frame(SQUARE, crs=None)
    assert smooth_regions(plain).crs is None and smooth_regions(plain, method="taubin").is_valid.all()
    for options in ({"tolerance_m": 1.0}, {"method": "buffer", "distance_m": 1.0}):
        with pytest.raises(BuilderError) as caught:
            smooth_regions(plain, **options)
        assert caught.value.code == "crs-missing"


@pytest.mark.parametrize(
    "shape",
    [
        Polygon([(0, 0), (2, 2), (2, 0), (0, 2)]),
        not_finite("nan"),
        not_finite("inf"),
        shapely.Point(1, 1),
        shapely.LineString([(0, 0), (1, 1)]),
        shapely.GeometryCollection([SQUARE]),
        Polygon([(0, 0, 1), (1, 0, 1), (1, 1, 1)]),
    ],
    ids=["bow tie", "nan", "infinite", "point", "line", "collection", "z"],
)
@pytest.mark.parametrize("options", [*ALONE, {"method": "coverage"}])
def test_what_is_no_valid_region_is_refused_by_row(shape, options) -> None:
    with pytest.raises(BuilderError) as caught:
        smooth_regions(frame(SQUARE, shape).set_axis(["first", "second"]), **options)
    assert caught.value.code == "bad-geometry" and "second" in str(caught.value) and "first'" not in str(caught.value)


def test_latitudes_beyond_a_pole_are_refused_where_metres_count() -> None:
    swapped = frame(shapely.box(40, 100, 41, 101), crs=4326)
    for options in ({"tolerance_m": 1.0}, LON_LAT_BUFFER):
        with pytest.raises(BuilderError) as caught:
            smooth_regions(swapped, **options)
        assert caught.value.code == "bad-geometry"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"method": "spline"}, "recipe-declaration"),
        ({"method": "buffer"}, "recipe-declaration"),
        ({"distance_m": 5.0}, "recipe-declaration"),
        ({"method": "taubin", "tolerance_m": 5.0}, "recipe-declaration"),
        ({"method": "buffer", "distance_m": 5.0, "iterations": 2}, "recipe-declaration"),
        ({"method": "buffer", "distance_m": float("nan")}, "bad-value"),
        ({"method": "buffer", "distance_m": 0}, "bad-value"),
        ({"tolerance_m": -1.0}, "bad-value"),
        ({"tolerance_m": "5 m"}, "bad-value"),
        ({"iterations": 7}, "bad-value"),
        ({"iterations": 1.5}, "bad-value"),
        ({"iterations": True}, "bad-value"),
    ],
)
def test_wrong_arguments_are_refused(options, code) -> None:
    with pytest.raises(BuilderError) as caught:
        smooth_regions(frame(SQUARE), **options)
    assert caught.value.code == code


@pytest.mark.parametrize("what", [pd.DataFrame({"a": [1]}), gpd.GeoDataFrame({"a": [1]}), None, [SQUARE]])
def test_what_is_no_geodataframe_is_refused(what) -> None:
    with pytest.raises(BuilderError) as caught:
        smooth_regions(what)
    assert caught.value.code == "bad-geometry"
