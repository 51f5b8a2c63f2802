"""Regions across the antimeridian, split at ±180°.

Decides which way round the globe an edge goes, and which pole a ring around the globe encloses. Never touches a region
that lies within ±180° as it is drawn.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from builder.errors import error
from builder.transforms.columns import some_of
from builder.transforms.crs import check_degrees
from builder.transforms.polygons import NO_REGION, Shapes, only_polygons, polygon_array, with_geometry

Floats = npt.NDArray[np.float64]

TURN_DEG = 360.0
_HALF_DEG = 180.0
_POLE_DEG = 90.0
_SAME_DEG = 1e-9  # a shift by a turn moves a longitude by less than this, by rounding


def split_antimeridian(regions: Any) -> Any:
    """The same rows, with regions across the antimeridian split at ±180° (RFC 7946, 3.1.9).

    Columns, dtypes, index, row order and CRS are those of `regions`; the geometry of a split row is a multipolygon in
    two dimensions (a polygon where one part is left) whose vertices are the old ones and those on ±180. Other rows keep
    their very geometry; null and empty stay.

    - An edge longer than 180° of longitude goes the other way round. One from -180 to 180 is a step across the
      antimeridian; but a ring with such long edges alone is taken as drawn if it would have no area otherwise, or go
      round the globe: the whole globe, or a polar cap down to the line at ±90.
    - Longitudes from -360 to 360 are taken round the globe: 190 is -170.
    - A ring that goes round the globe encloses a pole: the north one where its latitude, averaged over all longitudes,
      is 0 or more. Its region is drawn down to that pole's line at ±90.

    Each row is judged by itself. Planar areas, unions and hulls are right only after this.

    Parameters
    ----------
    regions
        A GeoDataFrame of polygons in degrees.

    Raises
    ------
    BuilderError
        ``crs-missing``; ``crs-mismatch``: not in degrees; ``bad-geometry``: rows that are no polygons, have coordinates
        that are not finite or beyond the globe, or cross themselves where they are to be split.

    Examples
    --------
    >>> import geopandas, shapely
    >>> island = shapely.box(-179, -20, 177, -16)
    >>> regions = geopandas.GeoSeries([island, None], crs="EPSG:4326").to_frame("geometry")
    >>> split = split_antimeridian(regions).geometry
    >>> [part.bounds for part in split[0].geoms], split[1]
    ([(177.0, -20.0, 180.0, -16.0), (-180.0, -20.0, -179.0, -16.0)], None)
    """
    check_degrees(regions, "regions")
    shapes = polygon_array(regions, "regions").copy()
    for row in _suspects(shapes, regions.index):
        try:
            shapes[row] = _on_globe(shapes[row])
        except (shapely.errors.GEOSException, ValueError) as cause:
            raise error(
                "bad-geometry",
                f"row {regions.index[row]} of 'regions' cannot be split at the antimeridian",
                facts=[("because", str(cause))],
                hint="repair it first",
            ) from cause
    return with_geometry(regions, shapes)


def cut_at_seam(shape: shapely.Geometry, vertices: Floats) -> shapely.Geometry:
    """A polygon whose longitudes run on beyond ±180, cut there and put back within.

    Parameters
    ----------
    shape
        A valid polygon or multipolygon.
    vertices
        Its vertices before their longitudes were shifted by a turn: the result has exactly these.
    """
    return _restored(_cut(shape), vertices)


def _cut(shape: shapely.Geometry) -> shapely.Geometry:
    west, _, east, _ = shape.bounds
    pieces: list[shapely.Geometry] = []
    for turn in range(int(np.floor((west + _HALF_DEG) / TURN_DEG)), int(np.ceil((east - _HALF_DEG) / TURN_DEG)) + 1):
        at = turn * TURN_DEG
        piece = only_polygons(np.array([shape.intersection(shapely.box(at - 180, -91, at + 180, 91))], object))[0]
        pieces += shapely.get_parts(_moved(piece, -at)).tolist()
    return _one([p for p in pieces if p.area > 0])


def _one(pieces: list[shapely.Geometry]) -> shapely.Geometry:
    return shapely.multipolygons(pieces) if len(pieces) > 1 else pieces[0] if pieces else NO_REGION


def _moved(shape: shapely.Geometry, by: float) -> shapely.Geometry:
    def move(xy: Floats) -> Floats:
        x = xy[:, 0] + by
        x[abs(abs(x) - _HALF_DEG) < _SAME_DEG] = np.copysign(_HALF_DEG, x[abs(abs(x) - _HALF_DEG) < _SAME_DEG])
        return np.column_stack([x, xy[:, 1]])

    return shapely.transform(shape, move)


def _suspects(shapes: Shapes, rows: Any) -> npt.NDArray[np.int64]:
    """The rows that have a long step between vertices, perhaps only from one part to the next, or one beyond ±180."""
    xy, owner = shapely.get_coordinates(shapes, return_index=True)
    x, y = xy[:, 0], xy[:, 1]
    is_bad = ~(np.isfinite(x) & np.isfinite(y)) | (abs(x) > TURN_DEG) | (abs(y) > _POLE_DEG)
    if is_bad.any():
        bad = np.unique(owner[is_bad])
        raise error(
            "bad-geometry",
            f"{len(bad):,} rows of 'regions' have impossible coordinates",
            facts=[("rows", some_of(rows[bad])), ("first", f"{x[is_bad][0]}, {y[is_bad][0]}")],
            hint="longitudes lie within ±360, latitudes within ±90",
        )
    is_long = (owner[1:] == owner[:-1]) & (abs(np.diff(x)) > _HALF_DEG)
    return np.unique(np.concatenate([owner[1:][is_long], owner[abs(x) > _HALF_DEG]]))


def _on_globe(shape: shapely.Geometry) -> shapely.Geometry:
    polygons = shapely.get_parts(shape)
    rings = shapely.get_rings(polygons)
    if not any(_runs_across(shapely.get_coordinates(ring)) for ring in rings):
        return shape
    pieces = [piece for polygon in polygons for piece in shapely.get_parts(_polygon_on_globe(polygon))]
    return _restored(_one(pieces), shapely.get_coordinates(shape))


def _polygon_on_globe(polygon: shapely.Polygon) -> shapely.Geometry:
    region = _ring_on_globe(shapely.get_coordinates(polygon.exterior))
    if polygon.interiors:
        holes = [_ring_on_globe(shapely.get_coordinates(ring)) for ring in polygon.interiors]
        region = region.difference(shapely.union_all(holes))
    return only_polygons(np.array([region], object))[0]


def _ring_on_globe(xy: Floats) -> shapely.Geometry:
    """What a ring encloses, within ±180."""
    turns = _turns(xy)
    x, y = xy[:, 0] + np.append(0.0, np.cumsum(turns)), xy[:, 1]
    is_round, on_seam = round((x[-1] - x[0]) / TURN_DEG) != 0, (abs(np.diff(xy[:, 0])) == TURN_DEG) | (turns == 0)
    if on_seam.all() and (is_round or shapely.Polygon(np.column_stack([x, y])).area == 0):
        return _cut(_valid(shapely.Polygon(xy)))
    if not is_round:
        return _cut(_valid(shapely.Polygon(np.column_stack([x, y]))))
    mean_lat = np.sum((y[1:] + y[:-1]) / 2 * np.diff(x)) / (x[-1] - x[0])
    pole = _POLE_DEG if mean_lat >= 0 else -_POLE_DEG
    span = x[-1] - x[0]
    thrice = np.concatenate([x[:-1] - span, x[:-1], x + span])  # so that ±180 lies well inside of it
    xs, ys = np.append(thrice, [thrice[-1], thrice[0]]), np.append(np.append(np.tile(y[:-1], 2), y), [pole, pole])
    band = _valid(shapely.Polygon(np.column_stack([xs, ys])))
    return band.intersection(shapely.box(-_HALF_DEG, -_POLE_DEG, _HALF_DEG, _POLE_DEG))


def _turns(xy: Floats) -> Floats:
    """What to add to the longitudes after each edge so that none is longer than 180°."""
    step = np.diff(xy[:, 0])
    return np.where(abs(step) > _HALF_DEG, -TURN_DEG * np.round(step / TURN_DEG), 0.0)


def _runs_across(xy: Floats) -> bool:
    return bool(_turns(xy).any() or (abs(xy[:, 0]) > _HALF_DEG).any())


def _valid(polygon: shapely.Polygon) -> shapely.Polygon:
    if not polygon.is_valid:
        raise ValueError(f"a ring crosses itself: {shapely.is_valid_reason(polygon)}")
    return polygon


def _restored(shape: shapely.Geometry, original: Floats) -> shapely.Geometry:
    """The shape with its vertices' longitudes as they were before they were shifted, so that shared borders stay so."""
    lon = original[:, 0]
    known = np.where(lon > _HALF_DEG, lon - TURN_DEG, np.where(lon < -_HALF_DEG, lon + TURN_DEG, lon))
    by_lat: dict[float, list[float]] = {}
    for row in np.lexsort((known, original[:, 1])):
        by_lat.setdefault(float(original[row, 1]), []).append(float(known[row]))

    def restore(xy: Floats) -> Floats:
        exact = np.array([_nearest(by_lat.get(lat, ()), lon) for lon, lat in xy.tolist()])
        is_known = abs(exact - xy[:, 0]) < _SAME_DEG
        return np.column_stack([np.where(is_known, exact, xy[:, 0]), xy[:, 1]])

    return shapely.transform(shape, restore)


def _nearest(sorted_values: Sequence[float], value: float) -> float:
    at = bisect_left(sorted_values, value)
    return min(sorted_values[max(at - 1, 0) : at + 1], key=lambda known: abs(known - value), default=value)
