"""A coverage with fewer vertices, and the same borders on both sides of each.

Decides which vertices may go; in what order they do stands in `thinning`. Never moves a vertex.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from builder.transforms.coverage import check_coverage, nodes_of, rings_of_nodes
from builder.transforms.metres import is_at_edge_of_world, metres_of
from builder.transforms.rings import build_regions, close_rings, read_rings
from builder.transforms.smooth import check_length, with_regions
from builder.transforms.thinning import thin_nodes


def simplify_regions(gdf: Any, tolerance_m: float, *, outer: bool = False) -> Any:
    """The same GeoDataFrame with fewer vertices, still a valid coverage: its rows, index, columns and CRS as they were.

    Shared borders stay shared, junctions of three or more stay, no region or hole vanishes. All rows are needed at
    once, in any order.

    Parameters
    ----------
    gdf
        A valid coverage of polygons and multipolygons without z: regions that touch where vertices match. Null and
        empty geometries come back as they are.
    tolerance_m
        The vertex whose triangle with its two neighbours has the least area goes first, and so on as long as it is
        below `tolerance_m` squared. A vertex stays where another vertex is in its triangle or its ring has but three.
    outer
        Whether vertices of the outer boundary, and of gaps, may go too. By default they stay, and so does the total
        area.

    Returns
    -------
    GeoDataFrame

    Raises
    ------
    BuilderError
        ``bad-geometry``: invalid geometries (NaN coordinates are), other types, z, no valid coverage, latitudes beyond
        a pole. ``crs-missing``. ``bad-value``: a tolerance that is no length.

    Notes
    -----
    Metres are those of `builder.transforms.metres`, at each vertex's latitude. In a geographic CRS vertices on the
    antimeridian and the poles stay. Source: Visvalingam and Whyatt 1993.

    Examples
    --------
    >>> import geopandas
    >>> wkt = ["POLYGON ((0 0, 0 4, 4 4, 4.1 2, 4 0, 0 0))", "POLYGON ((4 4, 8 4, 8 0, 4 0, 4.1 2, 4 4))"]
    >>> halves = geopandas.GeoDataFrame(geometry=geopandas.GeoSeries.from_wkt(wkt, crs="EPSG:32633"))
    >>> simplify_regions(halves, 1.0).geometry[0].wkt
    'POLYGON ((0 0, 0 4, 4 4, 4 0, 0 0))'
    >>> simplify_regions(halves.iloc[:1], 1.0).geometry[0].wkt  # alone, that border is outer boundary
    'POLYGON ((0 0, 0 4, 4 4, 4.1 2, 4 0, 0 0))'
    """
    check_length(tolerance_m, "tolerance_m")
    shape, metres = read_rings(gdf, "gdf"), metres_of(gdf, "gdf")
    check_coverage(gdf, shape, "gdf")
    nodes = nodes_of(shape)
    xy = np.empty((len(nodes.visits), 2))
    xy[nodes.of_corner] = shape.xy
    is_free = ((nodes.visits == 2) | (outer & (nodes.visits == 1))) & ~is_at_edge_of_world(gdf.crs, xy)
    stays = thin_nodes(
        xy,
        metres.shrink(xy[:, 1]),
        nodes.one,
        nodes.other,
        rings_of_nodes(nodes, shape.rings),
        np.diff(shape.rings),
        is_free,
        (tolerance_m / metres.per_unit) ** 2,
    )
    return with_regions(gdf, shape, build_regions(shape, *close_rings(shape.xy, shape.rings, stays[nodes.of_corner])))
