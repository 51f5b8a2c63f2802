"""Regions united by label: the coverage union where it is right, else the general one."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from builder.errors import BuilderError
from builder.transforms.dissolving import dissolve

BOX = shapely.box(0, 0, 2, 2)
BOW_TIE = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])


def frame(shapes, labels=None, **kwargs) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"k": labels or ["a"] * len(shapes)}, geometry=list(shapes), **{"crs": 4326} | kwargs)


def ragged_coverage(n: int = 12, seed: int = 2) -> gpd.GeoDataFrame:
    """Quadrilaterals between jittered grid points: a coverage whose corners are no round numbers."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(n + 1.0), np.arange(n + 1.0))
    x, y = x + rng.uniform(-0.3, 0.3, x.shape) + 100, y + rng.uniform(-0.3, 0.3, y.shape)
    corners = [(0, 0), (0, 1), (1, 1), (1, 0)]
    cells = [
        shapely.Polygon([(x[i + a, j + b], y[i + a, j + b]) for a, b in corners]) for i in range(n) for j in range(n)
    ]
    return frame(cells, rng.integers(0, 9, n * n).tolist())


def test_a_coverage_is_united_as_shapely_does_it_with_no_new_vertex() -> None:
    regions = ragged_coverage()
    united = dissolve(regions, "k")
    assert united.attrs == {"unlabelled_rows": 0, "empty_regions": 0, "coverage_unions": 9, "unary_unions": 0}
    for k, shape in zip(united["k"], united.geometry):
        parts = regions.geometry[regions["k"] == k].array
        assert shape.equals(shapely.union_all(parts)) and shape.is_valid
        assert shape.area == pytest.approx(shapely.area(parts).sum(), rel=1e-13)
        assert set(map(tuple, shapely.get_coordinates(shape))) <= set(map(tuple, shapely.get_coordinates(parts)))


@pytest.mark.parametrize(
    "other",
    [
        shapely.box(1, 1, 3, 3),
        shapely.box(0.5, 0.5, 1, 1),
        BOX,
        shapely.box(2, 0, 4, 1),
        shapely.box(0, 0, 1, 2),
        shapely.box(0, 0, 1, 1),
        shapely.Polygon([(0, 0), (2, 0), (2, 2)]),
        shapely.box(2 - 1e-9, 0, 3, 2),
        shapely.box(0, 0, 1e-4, 1e-4),
    ],
    ids=[
        "overlap", "inside", "twice", "edge shared in part", "half", "corner", "same direction", "thin", "tiny"
    ],
)  # fmt: skip
def test_what_is_no_coverage_is_united_in_the_general_way(other) -> None:
    regions = frame([BOX, other, shapely.box(7, 7, 8, 8)], ["a", "a", "b"])
    united = dissolve(regions, "k")
    assert (united.attrs["coverage_unions"], united.attrs["unary_unions"]) == (1, 1)
    assert united.geometry.iloc[0].equals(BOX.union(other)) and united.is_valid.all()
    with pytest.raises(BuilderError) as caught:
        dissolve(regions, "k", union="coverage")
    assert caught.value.code == "bad-geometry" and dict(caught.value.facts)["labels"] == "a"


@pytest.mark.parametrize("seed", range(6))
def test_snapped_overlaps_are_never_taken_for_a_coverage(seed) -> None:
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 6, (80, 2))
    boxes = shapely.box(low[:, 0], low[:, 1], *(low + rng.integers(1, 4, (80, 2))).T)
    boxes = shapely.segmentize(boxes, 1.0)  # a vertex wherever borders cross
    regions = frame(boxes, rng.integers(0, 25, 80).tolist())
    united = dissolve(regions, "k")
    for k, shape in zip(united["k"], united.geometry):
        assert shape.symmetric_difference(shapely.union_all(boxes[regions["k"] == k])).area == 0


@pytest.mark.parametrize("union", ["auto", "unary"])
def test_the_order_of_rows_changes_nothing(union) -> None:
    rng = np.random.default_rng(1)
    shapes = shapely.buffer(shapely.points(rng.uniform(0, 5, (60, 2))), 0.6)
    regions = pd.concat([ragged_coverage(), frame(shapes, (rng.integers(0, 5, 60) + 6).tolist())])
    one = dissolve(regions, "k", union=union)
    other = dissolve(regions.sample(frac=1, random_state=3), "k", union=union)
    assert shapely.equals_exact(one.geometry.array, other.geometry.array).all()
    assert one.attrs == other.attrs and one["k"].equals(other["k"])


def test_parts_united_apart_and_together_are_the_whole() -> None:
    regions = ragged_coverage()
    whole = dissolve(regions, "k")
    parts = pd.concat([dissolve(regions[:70], "k"), dissolve(regions[70:], "k")])
    assert shapely.equals_exact(dissolve(parts, "k").geometry.array, whole.geometry.array).all()


def test_holes_islands_and_multipolygons_are_kept() -> None:
    ring = shapely.box(0, 0, 9, 9).difference(shapely.box(3, 3, 6, 6))
    both = shapely.MultiPolygon([shapely.box(4, 4, 5, 5), shapely.box(20, 0, 21, 1)])
    united = dissolve(frame([ring, both]), "k")
    assert united.attrs["coverage_unions"] == 1
    assert united.geometry.iloc[0].equals(shapely.union_all([ring, both]))


def test_null_and_empty_add_nothing_and_null_labels_are_counted() -> None:
    shapes = [None, BOX, shapely.Polygon(), None, BOX, shapely.GeometryCollection()]
    united = dissolve(frame(shapes, ["a", "a", "b", "b", None, "c"]), "k")
    assert united["k"].tolist() == ["a", "b", "c"] and united.geometry.is_empty.tolist() == [False, True, True]
    assert united.attrs["unlabelled_rows"] == 1 and united.attrs["empty_regions"] == 2


@pytest.mark.parametrize("shapes", [[], [None], [shapely.Polygon()]])
@pytest.mark.parametrize("union", ["auto", "unary", "coverage"])
def test_without_polygons_there_is_nothing_to_unite(shapes, union) -> None:
    united = dissolve(frame(shapes), "k", union=union)
    assert len(united) == len(shapes) and united.geometry.is_empty.all() and united.crs == 4326


def test_invalid_polygons_are_refused_with_their_rows() -> None:
    regions = frame([BOX, BOW_TIE]).set_axis(["good", "bad"])
    for union in ("auto", "unary"):
        with pytest.raises(BuilderError) as caught:
            dissolve(regions, "k", union=union)
        assert caught.value.code == "bad-geometry" and dict(caught.value.facts)["rows"] == "bad"


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_coordinates_that_are_not_finite_are_refused(bad) -> None:
    shape = shapely.transform(BOX, lambda xy: np.where((np.arange(5) == 1)[:, None], bad, xy))
    with pytest.raises(BuilderError) as caught:
        dissolve(frame([shape, BOX]), "k")
    assert caught.value.code == "bad-geometry"


@pytest.mark.parametrize("shape", [shapely.Point(0, 0), shapely.LineString([(0, 0), (1, 1)])])
def test_points_and_lines_are_refused(shape) -> None:
    with pytest.raises(BuilderError) as caught:
        dissolve(frame([BOX, shape]), "k")
    assert caught.value.code == "bad-geometry" and dict(caught.value.facts)["rows"] == "1"


def test_the_crs_and_another_name_of_the_geometry_are_accepted() -> None:
    regions = frame([BOX], crs=None).rename_geometry("shape")
    united = dissolve(regions, ["k"])
    assert united.crs is None and list(united.columns) == ["k", "geometry"]


@pytest.mark.parametrize(
    ("code", "by", "union"),
    [
        ("recipe-declaration", "k", "fast"),
        ("recipe-declaration", [], "auto"),
        ("recipe-declaration", "geometry", "auto"),
        ("bad-value", "state", "auto"),
    ],
)
def test_wrong_arguments_are_refused(code, by, union) -> None:
    with pytest.raises(BuilderError) as caught:
        dissolve(frame([BOX]), by, union=union)
    assert caught.value.code == code


def test_a_frame_without_geometry_is_refused() -> None:
    for plain in (pd.DataFrame({"k": [1]}), gpd.GeoDataFrame({"k": [1]})):
        with pytest.raises(BuilderError) as caught:
            dissolve(plain, "k")
        assert caught.value.code == "bad-geometry"
