"""Which regions meet, how, and along what length."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from pyproj import Geod
from shapely import MultiPolygon, Polygon

from builder.errors import BuilderError
from builder.transforms.adjacent import adjacency

UTM = "EPSG:32633"
COLUMNS = ["left", "right", "kind", "length_m"]


def not_finite(value: str) -> Polygon:
    with np.errstate(invalid="ignore"):
        return shapely.from_wkt(f"POLYGON ((0 0, 1 {value}, 1 1, 0 0))")


def boxes(columns: int, rows: int, crs=UTM) -> gpd.GeoDataFrame:
    """Boxes of one unit, ids row by row from the south-west."""
    shapes = [shapely.box(x, y, x + 1, y + 1) for y in range(rows) for x in range(columns)]
    return gpd.GeoDataFrame({"id": range(len(shapes))}, geometry=shapes, crs=crs)


def frame(ids, shapes, crs=UTM) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"id": list(ids)}, geometry=list(shapes), crs=crs)


def test_a_grid_of_boxes_has_the_edges_and_corners_of_its_size() -> None:
    found = adjacency(boxes(4, 3))
    assert list(found.columns) == COLUMNS and (found["left"] < found["right"]).all()
    assert found["kind"].value_counts().to_dict() == {"edge": 3 * 3 + 4 * 2, "corner": 2 * 3 * 2}
    assert set(found.loc[found["kind"] == "edge", "length_m"]) == {1.0}
    assert set(found.loc[found["kind"] == "corner", "length_m"]) == {0.0}
    assert found.sort_values(["left", "right"]).equals(found) and found.index.equals(pd.RangeIndex(len(found)))


def test_borders_whose_vertices_do_not_match_meet_all_the_same() -> None:
    shapes = [shapely.box(0, 0, 2, 2), shapely.box(2, 1, 3, 4), shapely.box(0, 2, 1, 3), shapely.box(9, 9, 10, 10)]
    assert adjacency(frame("abcd", shapes)).values.tolist() == [["a", "b", "edge", 1.0], ["a", "c", "edge", 1.0]]


def test_overlaps_are_told_with_the_border_in_common() -> None:
    shapes = [shapely.box(0, 0, 2, 2), shapely.box(1, 0, 3, 2), shapely.box(0, 0, 2, 2), shapely.box(0.5, 0.5, 1, 1)]
    assert adjacency(frame("abcd", shapes)).values.tolist() == [
        ["a", "b", "overlap", 2.0], ["a", "c", "overlap", 8.0], ["a", "d", "overlap", 0.0], ["b", "c", "overlap", 2.0],
        ["b", "d", "edge", 0.5], ["c", "d", "overlap", 0.0],
    ]  # fmt: skip


def test_a_region_in_the_hole_of_another_and_parts_of_a_multipolygon_meet_once() -> None:
    ring = Polygon(shapely.box(0, 0, 4, 4).exterior, [shapely.box(1, 1, 3, 3).exterior])
    inside = shapely.box(1, 1, 3, 3)
    pair = MultiPolygon([shapely.box(4, 0, 5, 4), shapely.box(-1, 0, 0, 4)])
    found = adjacency(frame(["ring", "inside", "pair"], [ring, inside, pair]))
    assert found.values.tolist() == [["inside", "ring", "edge", 8.0], ["pair", "ring", "edge", 8.0]]


def test_lengths_in_degrees_are_within_a_hundredth_of_the_ellipsoid() -> None:
    shapes = [shapely.box(10 + x, 49 + y, 11 + x, 50 + y) for y in (0, 1) for x in (0, 1)]
    found = adjacency(frame(range(4), shapes, crs=4326)).set_index(["left", "right"])["length_m"]
    geod = Geod(ellps="WGS84")
    assert found[0, 1] == pytest.approx(geod.line_length([11, 11], [49, 50]), rel=0.01)
    assert found[0, 2] == pytest.approx(geod.line_length([10, 11], [50, 50]), rel=0.01)


@pytest.mark.parametrize("dtype", ["int64", "Int64", "str", "string[pyarrow]", "int64[pyarrow]", "category"])
def test_ids_keep_their_dtype_and_order_does_not_matter(dtype) -> None:
    regions = boxes(3, 3).astype({"id": dtype}).set_axis([5] * 9)
    found = adjacency(regions)
    assert found["left"].dtype == found["right"].dtype == regions["id"].dtype
    assert (str(found["kind"].dtype), str(found["length_m"].dtype)) == ("str", "float64")
    for seed in range(3):
        again = regions.iloc[np.random.default_rng(seed).permutation(9)]
        pd.testing.assert_frame_equal(adjacency(again), found)


def test_null_and_empty_regions_meet_nothing() -> None:
    found = adjacency(frame("abcd", [shapely.box(0, 0, 1, 1), None, Polygon(), shapely.box(1, 0, 2, 1)]))
    assert found.values.tolist() == [["a", "d", "edge", 1.0]]
    for shapes in ([], [None], [shapely.box(0, 0, 1, 1)]):
        none = adjacency(frame(list("abc"[: len(shapes)]), shapes))
        assert len(none) == 0 and list(none.columns) == COLUMNS and str(none["length_m"].dtype) == "float64"


def test_another_column_may_name_the_regions() -> None:
    assert adjacency(boxes(2, 1).rename(columns={"id": "county"}), region_id="county")["right"].tolist() == [1]


@pytest.mark.parametrize(
    ("regions", "code"),
    [
        (frame(["a", None], [shapely.box(0, 0, 1, 1)] * 2), "key-null"),
        (frame(["a", "a"], [shapely.box(0, 0, 1, 1), None]), "key-duplicate"),
        (frame([1, "a"], [shapely.box(0, 0, 1, 1), None]), "bad-value"),
        (boxes(2, 1).drop(columns="id"), "bad-value"),
        (boxes(2, 1, crs=None), "crs-missing"),
        (frame(["a"], [Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])]), "bad-geometry"),
        (frame(["a"], [not_finite("nan")]), "bad-geometry"),
        (frame(["a"], [shapely.Point(0, 0)]), "bad-geometry"),
        (frame(["a"], [shapely.box(40, 100, 41, 101)], crs=4326), "bad-geometry"),
    ],
    ids=["null id", "repeated id", "mixed ids", "no column", "no crs", "invalid", "nan", "point", "beyond a pole"],
)
def test_what_cannot_be_told_is_refused(regions, code) -> None:
    with pytest.raises(BuilderError) as caught:
        adjacency(regions)
    assert caught.value.code == code
