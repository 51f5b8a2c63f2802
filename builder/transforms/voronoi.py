"""Regions of what lies nearest: the Voronoi cells of each label's points, united and clipped.

Decides which label a place with several has, and how far regions reach. Never looks at columns: labels are numbers
here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from builder.errors import error
from builder.transforms.coordinates import Floats
from builder.transforms.crs import check_same_crs, in_degrees
from builder.transforms.dissolving import coverage_unions, unary_unions
from builder.transforms.labels import Labels
from builder.transforms.polygons import Shapes, only_polygons, polygon_array

Codes = npt.NDArray[np.int64]

_ROUNDING = 2.0**-48  # of the largest coordinate: sixteen times that of a double
_TRIANGLE = 3  # a ring of a triangle has one vertex more
_FAR = 3.0  # diameters; beyond one, a far site takes nothing that lies within the outline


def voronoi_regions(x: Floats, y: Floats, labels: Labels, codes: Codes, outline: shapely.Geometry) -> Shapes:
    """What lies nearest to each label's points, within an outline; an empty polygon where that is nothing.

    Parameters
    ----------
    x, y, codes
        The points and the number of each one's label.
    labels
        All labels.
    outline
        A valid polygon or multipolygon, or an empty one.
    """
    x, y, codes = places(x, y, codes)
    if outline.is_empty or not len(codes):
        return only_polygons(np.full(len(labels.frame), None, object))
    united = _united(*_cells(x, y, outline), codes, len(labels.frame))
    shapely.prepare(outline)
    is_cut = ~(shapely.covers(outline, united) | shapely.is_empty(united))
    united[is_cut] = only_polygons(shapely.intersection(united[is_cut], outline))
    return np.asarray(shapely.normalize(united), object)


def places(x: Floats, y: Floats, codes: Codes) -> tuple[Floats, Floats, Codes]:
    """The distinct points, sorted, each with the label that most of its rows have; of several the lowest."""
    order = np.lexsort((codes, y, x))
    x, y, codes = x[order], y[order], codes[order]
    new_place = np.append(True, (np.diff(x) != 0) | (np.diff(y) != 0))[: len(x)]
    if new_place.all():
        return x, y, codes
    first = np.flatnonzero(new_place | np.append(True, np.diff(codes) != 0))
    rows = np.diff(np.append(first, len(x)))
    place = np.cumsum(new_place)[first]
    ranked = np.lexsort((codes[first], -rows, place))
    chosen = first[ranked[np.append(True, np.diff(place[ranked]) != 0)]]
    return x[chosen], y[chosen], codes[chosen]


def outline_of(outline: Any, crs: Any, x: Floats, y: Floats) -> shapely.Geometry:
    """The polygon that regions are clipped to.

    Without an outline given, the convex hull of the points, grown by the width of a square that holds one point on
    average: √(hull's area / number of distinct points), along a line its length / that number; in degrees within the
    globe. A single place has none.

    Raises
    ------
    BuilderError
        ``bad-geometry``: it is no valid polygon; ``crs-missing``, ``crs-mismatch``: a frame in another CRS.
    """
    if outline is None:
        grown = _grown_hull(x, y)
        return grown.intersection(shapely.box(-180, -90, 180, 90)) if in_degrees(crs) else grown
    import geopandas

    if isinstance(outline, (geopandas.GeoDataFrame, geopandas.GeoSeries)):
        frame = outline if isinstance(outline, geopandas.GeoDataFrame) else outline.to_frame("geometry")
        check_same_crs(frame, geopandas.GeoSeries([], crs=crs), ("outline", "crs"))
        shapes = polygon_array(frame, "outline")
    else:
        shapes = np.array([outline], object)
    is_shape = all(isinstance(shape, (shapely.Polygon, shapely.MultiPolygon, type(None))) for shape in shapes)
    if not is_shape or not shapely.is_valid(shapes[~shapely.is_missing(shapes)]).all():
        raise error(
            "bad-geometry",
            "'outline' is no valid polygon",
            facts=[("outline", str(outline)[:100])],
            hint="repair it first, with repair",
        )
    return only_polygons(np.array([shapely.union_all(shapes)], object))[0]


def _grown_hull(x: Floats, y: Floats) -> shapely.Geometry:
    xy = np.unique(np.column_stack([x, y]), axis=0)
    if len(xy) == 1 or not len(xy):
        return shapely.Polygon()
    hull = shapely.convex_hull(shapely.linestrings(xy))
    by = np.sqrt(hull.area / len(xy)) if hull.area else hull.length / len(xy)
    return shapely.buffer(hull, by)


def _cells(x: Floats, y: Floats, outline: shapely.Geometry) -> tuple[Shapes, float]:
    """The Voronoi cell of each point, those within the outline bounded by other cells alone; and their rounding."""
    sites = np.column_stack([x, y])
    west, south, east, north = shapely.total_bounds([outline, shapely.box(*sites.min(0), *sites.max(0))])
    middle = np.array([(west + east) / 2, (south + north) / 2])
    far = middle + _FAR * np.hypot(east - west, north - south) * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    # Far sites keep every cell finite, so that GEOS clips none: borders clipped twice may differ in the last bit.
    line = shapely.linestrings(np.concatenate([sites, far]))
    try:
        cells = shapely.get_parts(shapely.voronoi_polygons(line, ordered=True))
    except shapely.errors.GEOSException as cause:
        raise error(
            "bad-geometry",
            "points lie too close together for the arithmetic of Voronoi cells",
            facts=[("because", str(cause))],
            hint="round the coordinates first: 9 decimals of a degree are a tenth of a millimetre",
        ) from cause
    return np.asarray(cells[: len(x)], object), float(_ROUNDING * np.abs(far).max())


def _united(cells: Shapes, rounding: float, codes: Codes, count: int) -> Shapes:
    united, is_union = coverage_unions(cells, codes, count)
    if is_union.all():
        return united
    # Four points on one circle have a vertex twice, a rounding apart, and the border between them may turn back.
    cells, codes = _with_merged_vertices(cells, rounding, codes)
    united, is_union = coverage_unions(cells, codes, count)
    rest = ~is_union[codes]
    unary_unions(only_polygons(shapely.make_valid(cells[rest], method="structure")), codes[rest], united)
    return united


def _with_merged_vertices(cells: Shapes, rounding: float, codes: Codes) -> tuple[Shapes, Codes]:
    """The cells that keep an area, with vertices that an edge no longer than a rounding joins made one."""
    xy, owner = shapely.get_coordinates(cells, return_index=True)
    vertex = xy[:, 0] + 1j * xy[:, 1]
    is_short = (owner[1:] == owner[:-1]) & (np.abs(np.diff(xy, axis=0)).max(axis=1) <= rounding)
    ends = np.unique(np.concatenate([vertex[1:][is_short], vertex[:-1][is_short]]))
    one, other = (np.searchsorted(ends, vertex[at][is_short]) for at in (slice(1, None), slice(-1)))
    first = np.arange(len(ends))
    while True:
        least = np.minimum(first[one], first[other])
        before = first.copy()
        np.minimum.at(first, one, least)
        np.minimum.at(first, other, least)
        if (first == before).all():
            break
    at = np.minimum(np.searchsorted(ends, vertex), len(ends) - 1)
    merged = np.where(ends[at] == vertex, ends[first[at]], vertex) if len(ends) else vertex
    keep = np.append(True, (np.diff(owner) != 0) | (np.diff(merged) != 0))
    held = np.bincount(owner[keep], minlength=len(cells)) > _TRIANGLE
    keep &= held[owner]
    rings = np.column_stack([merged.real, merged.imag])[keep]
    ring_of = np.cumsum(held)[owner[keep]] - 1
    return np.asarray(shapely.polygons(shapely.linearrings(rings, indices=ring_of)), object), codes[held]
