"""Polygons as flat arrays of corners and back."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import shapely
from shapely import MultiPolygon, Polygon

from builder.transforms.rings import build_regions, close_rings, read_rings

DONUT = Polygon(
    shapely.box(0, 0, 4, 4).exterior, [shapely.box(1, 1, 2, 2).exterior, shapely.box(3, 3, 3.5, 3.5).exterior]
)
SHAPES = [
    DONUT,
    None,
    MultiPolygon([shapely.box(5, 5, 6, 6)]),
    Polygon(),
    MultiPolygon(),
    shapely.box(7, 7, 8, 8),
    MultiPolygon([shapely.box(9, 9, 10, 10), DONUT]),
]


def closed(shape) -> list:
    return build_regions(shape, *close_rings(shape.xy, shape.rings, np.ones(len(shape.xy), bool))).tolist()


def test_regions_come_back_with_their_types_and_rings() -> None:
    shape = read_rings(gpd.GeoDataFrame(geometry=SHAPES), "gdf")
    assert shape.held.tolist() == [0, 2, 5, 6]
    assert [s.wkt for s in closed(shape)] == [SHAPES[i].wkt for i in shape.held]


def test_a_choice_of_regions_is_what_reading_them_alone_gives() -> None:
    frame = gpd.GeoDataFrame(geometry=SHAPES)
    chosen = read_rings(frame, "gdf").of(np.array([False, True, False, True]))
    assert [s.wkt for s in closed(chosen)] == [SHAPES[2].wkt, SHAPES[6].wkt]
    assert chosen.per_region(np.ones(len(chosen.xy), bool)).tolist() == [4, 16]


def test_corners_of_polygons_alone_and_of_no_regions() -> None:
    alone = read_rings(gpd.GeoDataFrame(geometry=[DONUT, DONUT]), "gdf")
    assert alone.starts.tolist() == [0, 12, 24] and [s.wkt for s in closed(alone)] == [DONUT.wkt] * 2
    none = read_rings(gpd.GeoDataFrame(geometry=[None, Polygon()]), "gdf")
    assert closed(none) == [] and none.starts.tolist() == [0]
