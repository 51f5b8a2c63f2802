"""Seeded regions for tests of borders: jagged coverages out of triangles, and random polygons alone."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import shapely
from scipy.spatial import Delaunay


def jagged_coverage(seed: int, points: int = 120, regions: int = 6, squash: float = 1.0, grid: int = 0):
    """A coverage of unions of Delaunay triangles, some of them multipolygons, with holes or touching in points.

    `squash` flattens it to slivers; `grid` snaps its points to that many steps a unit. None where GEOS finds it
    invalid.
    """
    rng = np.random.default_rng(seed)
    places = rng.random((points, 2)) * [10, 5]
    if grid:
        places = np.unique(np.round(places * grid) / grid, axis=0)
    corners = Delaunay(places).simplices
    places[:, 1] = places[:, 1] * squash + 40
    triangles = shapely.polygons(places[corners])
    middles = places[corners].mean(axis=1)
    seeds = places[rng.integers(0, len(places), regions)]
    far = ((middles[:, None] - seeds) ** 2).sum(axis=2) + rng.random((len(middles), regions)) * rng.choice([0, 0.5, 3])
    label, is_solid = far.argmin(axis=1), shapely.area(triangles) > 0
    try:
        unions = [shapely.coverage_union_all(triangles[(label == r) & is_solid]) for r in range(regions)]
    except shapely.errors.GEOSException:
        return None
    frame = gpd.GeoDataFrame({"id": [f"r{r:02d}" for r in range(regions)]}, geometry=unions, crs=4326)
    frame = frame[~frame.is_empty].reset_index(drop=True)
    is_fine = frame.is_valid.all() and shapely.coverage_is_valid(frame.geometry.values)
    return frame if is_fine else None
