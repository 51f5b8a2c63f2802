"""The projection of the map."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import shapely


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
