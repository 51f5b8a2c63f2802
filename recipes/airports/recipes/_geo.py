"""Geometry for the recipes: one join, one repair, one map projection."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely


def assign_within(points: pd.DataFrame, regions: gpd.GeoDataFrame, *, lon: str, lat: str) -> pd.Series:
    """The `id` of the region that each point lies within, in the order of `points`; null where there is none.

    Where regions overlap, the lowest id. A point on a border is within no region.
    """
    spots = shapely.points(points[lon].to_numpy(float), points[lat].to_numpy(float))
    ordered = regions.sort_values("id", ignore_index=True)
    point, region = shapely.STRtree(ordered.geometry.to_numpy()).query(spots, predicate="within")
    lowest = pd.Series(region).groupby(point).min()
    ids = ordered["id"].astype("string").take(lowest.to_numpy()).set_axis(lowest.index)
    return ids.reindex(range(len(points))).set_axis(points.index)


def repair(regions: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """The same rows, invalid polygons made valid by GEOS's structure method, which drops lines and points it leaves."""
    shapes = regions.geometry.to_numpy().copy()
    is_broken = ~shapely.is_valid(shapes)
    shapes[is_broken] = shapely.make_valid(shapes[is_broken], method="structure", keep_collapsed=False)
    return regions.set_geometry(gpd.GeoSeries(shapes, index=regions.index, crs=regions.crs))


def albers(lon: np.ndarray, lat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kilometres east and north of 96° W, 37.5° N: Albers' equal-area cone through 29.5° and 45.5° N, on a sphere.

    Snyder, Map Projections: A Working Manual, 1987, page 100.
    """
    radius_km, origin, low, high = 6371.0, *np.radians([37.5, 29.5, 45.5])
    n = (np.sin(low) + np.sin(high)) / 2
    c = np.cos(low) ** 2 + 2 * n * np.sin(low)
    rho = radius_km * np.sqrt(c - 2 * n * np.sin(np.radians(lat))) / n
    rho0 = radius_km * np.sqrt(c - 2 * n * np.sin(origin)) / n
    theta = n * np.radians(lon + 96)
    return rho * np.sin(theta), rho0 - rho * np.cos(theta)


def project(shapes: gpd.GeoSeries) -> np.ndarray:
    """The shapes in `albers` kilometres, as an array of geometries."""
    return shapely.transform(shapes.to_numpy(), lambda xy: np.column_stack(albers(xy[:, 0], xy[:, 1])))
