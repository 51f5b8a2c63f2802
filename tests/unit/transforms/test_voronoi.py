"""Voronoi cells of each label, united and clipped."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from builder.errors import BuilderError
from builder.transforms.infer import infer_regions
from builder.transforms.voronoi import places

WORLD = shapely.box(-180, -90, 180, 90)


def regions_of(xy, labels, **options) -> gpd.GeoDataFrame:
    xy = np.asarray(xy, float)
    df = pd.DataFrame({"k": labels, "lon": xy[:, 0], "lat": xy[:, 1]})
    return infer_regions(df, by="k", method="voronoi", **options)


def scattered(n=800, labels=12, seed=3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return np.round(rng.normal(size=(n, 2)) * 3, 2), rng.integers(0, labels, n)


def test_every_place_of_the_outline_belongs_to_the_label_of_its_nearest_point() -> None:
    xy, labels = scattered()
    outline = shapely.box(-8, -8, 8, 8)
    regions = regions_of(xy, labels, outline=outline)
    probes = np.random.default_rng(9).uniform(-8, 8, (3000, 2))
    distance = ((probes[:, None] - xy[None]) ** 2).sum(2)
    nearest = labels[np.argmin(distance, axis=1)]
    spots = shapely.points(probes)
    assert shapely.intersects(regions.geometry.array[nearest], spots).all()
    assert shapely.coverage_is_valid(regions.geometry.array)
    assert shapely.area(regions.geometry.array).sum() == pytest.approx(outline.area, rel=1e-12)


def test_regions_are_the_unions_of_shapelys_own_cells() -> None:
    xy, labels = scattered(300, 5)
    xy, first = np.unique(xy, axis=0, return_index=True)
    labels = labels[first]
    outline = shapely.box(-4, -4, 4, 4)
    cells = shapely.get_parts(shapely.voronoi_polygons(shapely.MultiPoint(xy), extend_to=WORLD, ordered=True))
    regions = regions_of(xy, labels, outline=outline)
    for label, region in zip(regions["k"], regions.geometry):
        direct = shapely.union_all(cells[labels == label]).intersection(outline)
        assert direct.symmetric_difference(region).area < 1e-12


def test_a_shared_place_has_the_most_frequent_label_and_of_those_the_lowest() -> None:
    x, y = np.zeros(7), np.zeros(7)
    assert places(x, y, np.array([2, 1, 2, 0, 1, 2, 3]))[2].tolist() == [2]
    assert places(x[:4], y[:4], np.array([2, 1, 2, 1]))[2].tolist() == [1]
    x, y, codes = places(np.array([1.0, 0, 1, 0, 2]), np.zeros(5), np.array([5, 4, 3, 4, 0]))
    assert (x.tolist(), codes.tolist()) == ([0, 1, 2], [4, 3, 0])


def test_a_label_that_holds_no_place_has_an_empty_region() -> None:
    regions = regions_of([(0, 0), (0, 0), (0, 0), (1, 0)], ["a", "b", "b", "c"])
    assert regions.geometry.is_empty.tolist() == [True, False, False]
    assert regions.attrs["empty_regions"] == 1


def test_without_an_outline_it_is_the_points_hull_grown_by_their_spacing() -> None:
    regions = regions_of([(0, 0), (2, 0), (2, 2), (0, 2)], list("abcd"))
    hull = shapely.box(0, 0, 2, 2)
    spare = shapely.union_all(regions.geometry.array).symmetric_difference(shapely.buffer(hull, 1.0))
    assert spare.area < 1e-12


@pytest.mark.parametrize(
    ("xy", "areas"),
    [([(0, 0)], [100.0]), ([(0, 0), (1, 0)], [55.0, 45.0]), ([(-1, 0), (0, 0), (1, 0)], [45.0, 10.0, 45.0])],
)
def test_one_place_two_and_places_on_a_line_share_the_outline(xy, areas) -> None:
    regions = regions_of(xy, list("abc")[: len(xy)], outline=shapely.box(-5, -5, 5, 5))
    assert shapely.area(regions.geometry.array).tolist() == pytest.approx(areas)


def test_a_single_place_without_an_outline_has_no_region() -> None:
    assert regions_of([(3, 3)] * 4, list("aaab")).geometry.is_empty.all()


def test_the_own_outline_ends_with_the_globe() -> None:
    regions = regions_of([(179, 0), (-179, 0), (179, 89), (-179, 89)], list("abcd"))
    assert regions.total_bounds.tolist() == [-180, pytest.approx(-89.25, abs=0.01), 180, 90]


def test_an_outline_with_holes_and_parts_cuts_regions_to_valid_polygons() -> None:
    xy, labels = scattered(200, 4)
    outline = shapely.box(-4, -4, 4, 4).difference(shapely.box(-1, -1, 1, 1)).union(shapely.box(5, 5, 6, 6))
    regions = regions_of(xy, labels, outline=outline)
    assert regions.is_valid.all() and set(regions.geom_type) <= {"Polygon", "MultiPolygon"}
    assert shapely.area(regions.geometry.array).sum() == pytest.approx(outline.area)


def test_an_outline_may_be_a_frame_in_the_same_crs() -> None:
    xy, labels = scattered(50, 3)
    halves = gpd.GeoSeries([shapely.box(-8, -8, 0, 8), None, shapely.box(0, -8, 8, 8)], crs="OGC:CRS84")
    whole = regions_of(xy, labels, outline=shapely.box(-8, -8, 8, 8))
    for outline in (halves, halves.to_frame("area")):
        assert regions_of(xy, labels, outline=outline).geometry.geom_equals(whole.geometry).all()


@pytest.mark.parametrize(
    ("outline", "code"),
    [
        (shapely.Point(0, 0), "bad-geometry"),
        (shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)]), "bad-geometry"),
        ("EPSG:4326", "bad-geometry"),
        (gpd.GeoSeries([shapely.box(0, 0, 1, 1)], crs=3857), "crs-mismatch"),
        (gpd.GeoSeries([shapely.box(0, 0, 1, 1)]), "crs-missing"),
        (gpd.GeoSeries([shapely.Point(0, 0)], crs=4326), "bad-geometry"),
    ],
)
def test_another_outline_is_refused(outline, code) -> None:
    with pytest.raises(BuilderError) as caught:
        regions_of([(0, 0), (1, 1)], list("ab"), outline=outline)
    assert caught.value.code == code


def test_an_empty_outline_leaves_every_region_empty() -> None:
    assert regions_of([(0, 0), (1, 1)], list("ab"), outline=shapely.Polygon()).geometry.is_empty.all()


def test_points_closer_than_the_arithmetic_can_tell_give_cells_or_a_clear_error() -> None:
    for apart in (1e-9, 1e-12, 1e-14, 5e-324):
        try:
            regions = regions_of([(0, 0), (1, 0), (apart, apart)], list("abc"))
        except BuilderError as problem:
            assert problem.code == "bad-geometry" and apart < 1e-10
        else:
            assert regions.is_valid.all()
