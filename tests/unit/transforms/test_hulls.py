"""Hulls of the points of each label."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from shapely import MultiPoint

from builder.transforms.hulls import hulls


def cloud(n: int = 4000, labels: int = 60, decimals: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points on a grid, so that distances tie, some of them repeated."""
    rng = np.random.default_rng(7)
    codes = rng.integers(0, labels, n)
    xy = np.round(rng.normal(size=(n, 2)) * 0.2 + np.column_stack([codes % 8, codes // 8]), decimals)
    return xy[:, 0], xy[:, 1], codes


@pytest.mark.parametrize("decimals", [1, 2, 9])
@pytest.mark.parametrize("ratio", [None, 0.0, 0.3, 1.0])
def test_each_hull_is_shapelys_of_the_labels_multipoint(ratio, decimals) -> None:
    x, y, codes = cloud(decimals=decimals)
    found = hulls(x, y, codes, 60, ratio=ratio, in_degrees=True)
    for code in range(60):
        spots = MultiPoint(np.column_stack([x, y])[codes == code])
        expected = spots.convex_hull if ratio is None else shapely.concave_hull(spots, ratio=ratio)
        assert shapely.equals(found[code], expected)


@pytest.mark.parametrize("ratio", [None, 0.0, 0.4])
def test_order_and_repeated_points_change_nothing(ratio) -> None:
    x, y, codes = cloud(decimals=1)
    order = np.random.default_rng(1).permutation(len(x)).repeat(2)
    one = hulls(x, y, codes, 60, ratio=ratio, in_degrees=True)
    other = hulls(x[order], y[order], codes[order], 60, ratio=ratio, in_degrees=True)
    assert shapely.equals_exact(one, other).all()


@pytest.mark.parametrize("ratio", [None, 0.3])
def test_every_point_lies_in_its_labels_hull(ratio) -> None:
    x, y, codes = cloud()
    found = hulls(x, y, codes, 60, ratio=ratio, in_degrees=True)
    assert shapely.intersects(found[codes], shapely.points(x, y)).all()


def test_holes_appear_where_they_are_asked_for() -> None:
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    x, y, codes = np.cos(angle) * 10, np.sin(angle) * 10, np.zeros(60, int)
    x, y, codes = np.tile(x, 2) * np.repeat([1, 1.2], 60), np.tile(y, 2) * np.repeat([1, 1.2], 60), np.tile(codes, 2)
    full = hulls(x, y, codes, 1, ratio=0.1, in_degrees=True)[0]
    ring = hulls(x, y, codes, 1, ratio=0.1, holes=True, in_degrees=True)[0]
    assert len(full.interiors) == 0 and len(ring.interiors) == 1


@pytest.mark.parametrize("ratio", [None, 1.0])
def test_a_label_across_the_antimeridian_is_split_there_with_its_own_vertices(ratio) -> None:
    x, y = np.array([179.123456789, -179.987654321, -179.5, 179.3]), np.array([1.1, 1.2, -3.3, -3.1])
    found = hulls(x, y, np.zeros(4, int), 1, ratio=ratio, in_degrees=True)[0]
    assert found.is_valid and len(found.geoms) == 2
    assert abs(found.bounds[0]) == 180 == found.bounds[2]
    shifted = shapely.convex_hull(MultiPoint(np.column_stack([x % 360, y])))
    assert found.area == pytest.approx(shifted.area, rel=1e-12)
    corners = set(map(tuple, shapely.get_coordinates(found).tolist()))
    assert {c for c in corners if abs(c[0]) != 180} == set(zip(x.tolist(), y.tolist()))


def test_a_wide_label_that_is_closer_together_on_the_plane_stays_whole() -> None:
    x, y = np.array([-100.0, -40, 0, 50, 100]), np.array([0.0, 10, -10, 10, 0])
    found = hulls(x, y, np.zeros(5, int), 1, ratio=None, in_degrees=True)[0]
    assert found.bounds == (-100, -10, 100, 10)


def test_eastings_are_never_taken_round_the_globe() -> None:
    x, y = np.array([0.0, 400, 400, 1]), np.array([0.0, 0, 5, 5])
    assert hulls(x, y, np.zeros(4, int), 1, ratio=None, in_degrees=False)[0].bounds == (0, 0, 400, 5)


def test_labels_without_points_have_no_region() -> None:
    found = hulls(np.array([]), np.array([]), np.array([], int), 2, ratio=None, in_degrees=True)
    assert shapely.is_empty(found).tolist() == [True, True]
