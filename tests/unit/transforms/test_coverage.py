"""Smoothing and simplifying a coverage: shared borders stay shared, the rest stays."""

from __future__ import annotations

from itertools import pairwise

import geopandas as gpd
import numpy as np
import pytest
import shapely
from shapely import Polygon

from builder.errors import BuilderError
from builder.transforms.coverage import nodes_of
from builder.transforms.rings import read_rings
from builder.transforms.simplify import simplify_regions
from builder.transforms.smooth import smooth_regions

# Two halves with a jagged border between them; an island in the eastern one; a third region beyond a gap.
WAVE = [(4, 8), (5, 6), (3, 4), (4.2, 2), (4, 0)]
ISLAND = [(6, 2), (7, 2), (7, 3), (6, 3)]
WEST = Polygon([(0, 0), (0, 8), *WAVE])
EAST = Polygon([(8, 0), *WAVE[::-1], (8, 8)], [ISLAND])
FAR = Polygon([(9, 0), (10, 0), (10.5, 1), (9, 1)])


def coverage(*shapes, crs="EPSG:32633") -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"id": range(len(shapes))}, geometry=list(shapes), crs=crs)


ALL = (WEST, EAST, Polygon(ISLAND), FAR, None, Polygon())


def test_the_shared_border_moves_on_both_sides_and_nothing_else_does() -> None:
    west, east, island, far, null, empty = smooth_regions(coverage(*ALL), method="coverage", iterations=1).geometry
    got = shapely.shared_paths(west.exterior, east.exterior).length
    assert got == pytest.approx(shapely.intersection(west, east).length) and got < shapely.LineString(WAVE).length
    assert {(0, 0), (0, 8), (4, 8), (4, 0)} <= set(west.exterior.coords) and (5, 6) not in west.exterior.coords
    assert (
        set(west.exterior.coords) & {(4.75, 6.5), (4.5, 5.5), (3.5, 4.5), (3.3, 3.5)}
        and len(west.exterior.coords) == 11
    )
    assert island.equals(Polygon(east.interiors[0])) and island.area == 0.875
    assert far.equals_exact(FAR, 0) and null is None and empty.is_empty
    assert west.area + east.area + island.area == pytest.approx(64, rel=1e-12)


def test_a_smooth_border_has_the_same_doubles_on_both_sides() -> None:
    turned = [shapely.affinity.rotate(s, 33.3, origin=(0, 0)) if s is not None else None for s in ALL]
    smooth = smooth_regions(coverage(*turned), method="coverage", iterations=5).geometry
    west, east = (set(s.exterior.coords) for s in smooth[:2])
    assert len(west & east) == 3 * 32 + 2


@pytest.mark.parametrize("outer", [False, True])
def test_simplifying_takes_flat_corners_of_shared_borders_first(outer) -> None:
    flat = [(4, 8), (4.1, 6), (4, 4), (2, 2), (4, 0)]
    frame = coverage(Polygon([(0, 0), (0, 8), (2, 8.01), *flat]), Polygon([(8, 0), *flat[::-1], (8, 8)]))
    west, east = simplify_regions(frame, 1.0, outer=outer).geometry
    shared = set(west.exterior.coords) & set(east.exterior.coords)
    assert shared == {(4, 8), (4, 4), (2, 2), (4, 0)}
    assert ((2, 8.01) in west.exterior.coords) is not outer


def test_no_region_or_hole_vanishes_however_large_the_tolerance() -> None:
    simple = simplify_regions(coverage(*ALL), 1e6, outer=True)
    assert shapely.coverage_is_valid(simple.geometry.values[:4]) and simple.geometry[:4].is_valid.all()
    assert len(simple.geometry[2].exterior.coords) == 4 and len(simple.geometry[1].interiors) == 1
    assert simple.geometry[4] is None and simple.geometry[5].is_empty


def test_tolerance_in_degrees_is_metres_at_each_latitude() -> None:
    # The same triangle of 0.001 square degrees is 12.4 km² on the equator and 6.2 km² at 60° north.
    def halves(y):
        middle = [(1, y + 0.1), (1.02, y + 0.05), (1, y)]
        return [
            Polygon([(0, y), (0, y + 0.1), *middle]),
            Polygon([(2, y + 0.1), (2, y), *middle[::-1]]),
        ]

    simple = simplify_regions(coverage(*halves(0), *halves(60), crs=4326), 3000.0).geometry
    assert [len(s.exterior.coords) for s in simple] == [6, 6, 5, 5]


def test_a_corner_another_border_stands_behind_stays_when_simplifying() -> None:
    tip, behind = (4.5, 5), (4.2, 5)
    bay = [(4, 4), tip, (4, 6)]
    east = Polygon([(8, 0), (4, 0), *bay, (4, 10), (8, 10)])
    west = Polygon([(0, 0), (0, 10), (4, 10), *bay[::-1], (4, 0)], [[behind, (3.9, 5.1), (3.9, 4.9)]])
    assert west.is_valid and shapely.coverage_is_valid([west, east])
    simple = simplify_regions(coverage(west, east), 100.0)
    assert simple.is_valid.all() and tip in simple.geometry[0].exterior.coords


def test_places_are_one_whatever_the_sign_of_zero() -> None:
    frame = coverage(Polygon([(0.0, 0.0), (1, 0), (1, 1)]), Polygon([(-0.0, -0.0), (1, 1), (0, 1)]))
    nodes = nodes_of(read_rings(frame, "gdf"))
    assert len(nodes.visits) == 4 and (nodes.visits[nodes.of_corner] == 0).sum() == 4


@pytest.mark.parametrize(
    "shapes",
    [
        (shapely.box(0, 0, 2, 2), shapely.box(1, 1, 3, 3)),
        (shapely.box(0, 0, 2, 2), shapely.box(0, 0, 2, 2)),
        (shapely.box(0, 0, 2, 2), shapely.box(2, 0, 4, 1)),
        (shapely.box(0, 0, 8, 8), shapely.box(1, 1, 3, 3)),
    ],
    ids=["overlap", "twice", "unmatched", "nested"],
)
def test_what_is_no_coverage_is_refused_by_row(shapes) -> None:
    frame = coverage(FAR, *shapes).set_axis(["far", "one", "other"])
    for refuse in (lambda: smooth_regions(frame, method="coverage"), lambda: simplify_regions(frame, 1.0)):
        with pytest.raises(BuilderError) as caught:
            refuse()
        assert caught.value.code == "bad-geometry" and "one" in str(caught.value) and "far" not in str(caught.value)


@pytest.mark.parametrize("tolerance_m", [0, -1.0, float("nan"), float("inf"), None, "3"])
def test_a_tolerance_that_is_no_length_is_refused(tolerance_m) -> None:
    with pytest.raises(BuilderError) as caught:
        simplify_regions(coverage(FAR), tolerance_m)
    assert caught.value.code == "bad-value"


def test_simplifying_needs_a_crs() -> None:
    with pytest.raises(BuilderError) as caught:
        simplify_regions(coverage(FAR, crs=None), 1.0)
    assert caught.value.code == "crs-missing"


def test_frames_without_regions_come_back() -> None:
    assert simplify_regions(coverage(), 1.0).empty
    assert simplify_regions(coverage(None, Polygon()), 1.0).geometry.isna().tolist() == [True, False]


def test_corners_on_the_antimeridian_stay() -> None:
    east, west = Polygon([(179, 0), (180, 0), (180, 1), (180, 2), (179, 2)]), shapely.box(178, 0, 179, 2)
    simple = simplify_regions(coverage(east, west, crs=4326), 1e6, outer=True)
    assert {(180, 0), (180, 1), (180, 2)} <= set(simple.geometry[0].exterior.coords)


def test_many_regions_around_one_node_stay_a_coverage() -> None:
    turn = np.linspace(0, 2 * np.pi, 201)
    rim = np.column_stack((np.cos(turn), np.sin(turn)))
    rim[-1] = rim[0]
    wedges = [Polygon([(0, 0), (0.5 * a + 0.01).tolist(), a, b, (0.5 * b + 0.01).tolist()]) for a, b in pairwise(rim)]
    for result in (
        smooth_regions(coverage(*wedges), method="coverage", iterations=3),
        simplify_regions(coverage(*wedges), 1.0),
    ):
        assert result.is_valid.all() and shapely.coverage_is_valid(result.geometry.values)
