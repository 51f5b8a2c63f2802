"""Polygons as arrays: refusing what is none, and the polygons of mixed results.

Decides which geometries count as regions. Never changes one that is a polygon.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely import GeometryType

from builder.errors import error
from builder.transforms.columns import some_of

Shapes = npt.NDArray[np.object_]

NO_REGION = shapely.Polygon()
"""What a label or a row without an area gets."""

_POLYGONAL = (GeometryType.POLYGON, GeometryType.MULTIPOLYGON)


def polygon_array(frame: Any, what: str) -> Shapes:
    """The active geometry of a GeoDataFrame of polygons, null and empty among them.

    Raises
    ------
    BuilderError
        ``bad-geometry``: no geometry, or rows with points, lines or collections.
    """
    shapes = geometry_array(frame, what)
    kinds = shapely.get_type_id(shapes)
    is_other = ~np.isin(kinds, _POLYGONAL) & (kinds >= 0) & ~shapely.is_empty(shapes)
    if is_other.any():
        rows = np.flatnonzero(is_other)
        raise error(
            "bad-geometry",
            f"{len(rows):,} rows of '{what}' are no polygons",
            facts=[("rows", some_of(frame.index[rows])), ("first", shapes[rows[0]].geom_type)],
            hint="regions are polygons or multipolygons; leave the other rows out",
        )
    return shapes


def geometry_array(frame: Any, what: str) -> Shapes:
    """The active geometry of a GeoDataFrame.

    Raises
    ------
    BuilderError
        ``bad-geometry``: it has none.
    """
    name = getattr(frame, "_geometry_column_name", None)
    if name is None or name not in frame.columns:
        raise error("bad-geometry", f"'{what}' has no geometry", hint="give a GeoDataFrame with an active geometry")
    shapes: Shapes = np.asarray(frame.geometry.array, dtype=object)
    return shapes


def only_polygons(shapes: Shapes) -> Shapes:
    """The polygons of each geometry as one polygon or multipolygon, an empty polygon where there are none."""
    kinds = shapely.get_type_id(shapes)
    result = np.where(np.isin(kinds, _POLYGONAL), shapes, NO_REGION)
    result[shapely.is_empty(result)] = NO_REGION
    for row in np.flatnonzero(kinds == GeometryType.GEOMETRYCOLLECTION):
        parts = shapely.get_parts(shapely.get_parts(shapes[row]))
        kept = parts[shapely.get_type_id(parts) == GeometryType.POLYGON]
        result[row] = kept[0] if len(kept) == 1 else shapely.multipolygons(kept) if len(kept) else NO_REGION
    return result


def with_geometry(frame: Any, shapes: Shapes) -> Any:
    """The same rows with other shapes as their active geometry, in the same CRS."""
    import geopandas

    return frame.assign(**{frame.geometry.name: geopandas.array.GeometryArray(shapes, crs=frame.crs)})
