"""The boxes of changed edges hold every point whose answer changed."""

import numpy as np
import pytest
import shapely

from builder.errors import BuilderError
from builder.transforms.region_changes import changed_boxes, near
from builder.transforms.region_index import RegionIndex


def coverage(seed, count=80):
    rng = np.random.default_rng(seed)
    return shapely.get_parts(shapely.voronoi_polygons(shapely.multipoints(rng.random((count, 2)))))


def edited(regions, rng):
    """Some regions with a vertex moved, exchanged, taken out, shrunk, or cut."""
    new = regions.copy()
    for k in rng.choice(len(new), 6, replace=False):
        kind = rng.integers(0, 5)
        if kind == 0:
            xy = shapely.get_coordinates(new[k])[:-1]
            xy[rng.integers(len(xy))] += rng.normal(size=2) * 0.01
            moved = shapely.Polygon(xy)
            new[k] = moved if moved.is_valid else new[k]
        elif kind == 1:
            other = rng.integers(len(new))
            new[k], new[other] = new[other], new[k]
        elif kind == 2:
            new[k] = None
        elif kind == 3:
            new[k] = new[k].buffer(-0.005)
        else:
            new[k] = new[k].difference(new[k].centroid.buffer(0.01))
    return new


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("predicate", ["within", "intersects"])
def test_every_point_whose_regions_changed_is_near(seed, predicate):
    rng = np.random.default_rng(seed)
    old = coverage(seed)
    new = edited(old, rng)
    vertices = shapely.get_coordinates(np.concatenate([old, new]))
    lon, lat = np.concatenate([rng.uniform(-0.5, 1.5, (8000, 2)), vertices]).T
    before, after = (set(zip(*RegionIndex(r).pairs(lon, lat, predicate=predicate), strict=True)) for r in (old, new))
    touched = np.unique([point for point, _ in before ^ after]).astype(int)
    assert len(touched)
    mask = near(changed_boxes(old, new), lon, lat)
    assert mask[touched].all()


def test_a_moved_vertex_gives_the_box_of_its_edges_alone():
    xs = np.arange(0.0, 101.0)
    ring = np.concatenate([np.column_stack([xs, 0 * xs]), [(100.0, 50.0), (0.0, 50.0)]])
    moved = ring.copy()
    moved[40, 1] = 1.0
    boxes = changed_boxes([shapely.Polygon(ring)], [shapely.Polygon(moved)])
    assert boxes.tolist() == [[39.0, 0.0, 41.0, 1.0]]


def test_two_changes_far_apart_are_two_boxes_and_neighbours_share_theirs():
    left = shapely.box([0, 1, 50], 0, [1, 2, 51], 1)
    right = np.array([shapely.box(0, 0, 1.5, 1), shapely.box(1.5, 0, 2, 1), shapely.box(50, 0, 52, 1)])
    boxes = changed_boxes(left, right)
    assert boxes.tolist() == [[0, 0, 1.5, 1], [1, 0, 2, 1], [50, 0, 52, 1]]


def test_the_same_ring_from_another_start_or_the_other_way_round_is_no_change():
    box = shapely.box(0, 0, 2, 1)
    turned = shapely.Polygon(np.roll(shapely.get_coordinates(box)[:-1], 1, axis=0))
    assert len(changed_boxes([box, box, None], [turned, shapely.reverse(box), None])) == 0
    assert len(changed_boxes([], [])) == 0


def test_a_region_that_comes_or_goes_is_near_as_a_whole():
    box = shapely.box(0, 0, 2, 1)
    for old, new in (([box], [None]), ([None], [box])):
        assert changed_boxes(old, new).tolist() == [[0, 0, 2, 1]]


@pytest.mark.parametrize("count", [1, 7, 300, 5000])
def test_near_is_true_exactly_in_a_box(count):
    rng = np.random.default_rng(count)
    corner = rng.integers(0, 100, (count, 2)).astype(float)
    size = rng.integers(0, 3, (count, 2)) * rng.choice([1, 30], (count, 1), p=[0.9, 0.1])
    boxes = np.concatenate([corner, corner + size], axis=1)
    lon, lat = rng.integers(-2, 140, (2, 1500)) / rng.choice([1.0, 2.0, np.nan], (2, 1500), p=[0.5, 0.4, 0.1])
    expected = np.zeros(len(lon), bool)
    for west, south, east, north in boxes:
        expected |= (west <= lon) & (lon <= east) & (south <= lat) & (lat <= north)
    np.testing.assert_array_equal(near(boxes, lon, lat), expected)


def test_no_box_and_no_number_are_not_near():
    assert near(np.empty((0, 4)), [0.0], [0.0]).tolist() == [False]
    assert near([[0, 0, 1, 1]], [np.nan, np.inf], [0.5, 0.5]).tolist() == [False, False]
    assert near([[1, 1, 1, 1]], [1.0, 2.0], [1.0, 1.0]).tolist() == [True, False]


def test_wrong_arguments_are_refused():
    bow = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
    for code, ask in (
        ("bad-value", lambda: changed_boxes([None], [])),
        ("bad-geometry", lambda: changed_boxes([bow], [None])),
        ("bad-geometry", lambda: changed_boxes([None], [shapely.Point(0, 0)])),
        ("result-type", lambda: changed_boxes(["a"], [None])),
        ("bad-value", lambda: near([0, 0, 1, 1], [0.0], [0.0])),
    ):
        with pytest.raises(BuilderError, match=code):
            ask()
