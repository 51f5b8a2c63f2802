"""The regions of a frame's points: one region each by a rule, or all of them.

Decides the frame that comes back, and which points and regions are refused. Never decides which region holds a point:
`RegionIndex` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import pandas as pd

from builder.errors import error
from builder.transforms.columns import check_columns
from builder.transforms.coordinates import check_coordinates, read_coordinates
from builder.transforms.crs import check_same_crs, in_degrees, parse_crs
from builder.transforms.region_index import Predicate, RegionIndex, is_border
from builder.transforms.region_rings import digest_regions, ids_and_geometries, order_of_ids, rings_of

Ties = Literal["lowest", "all"]


def assign_regions(
    points: pd.DataFrame,
    regions: Any,
    *,
    lon: str = "lon",
    lat: str = "lat",
    region_id: str = "id",
    keep: Sequence[str] | None = None,
    predicate: Predicate = "within",
    ties: Ties = "lowest",
    crs: Any = "EPSG:4326",
    index: RegionIndex | None = None,
    threads: int = 1,
    chunk_rows: int = 1 << 20,
) -> pd.DataFrame:
    """The points with the id of the region that holds each: one row a point, in their order and with their index.

    Columns are `keep`, as they are, and `region_id`. Its dtype is that of the regions' ids, in the form that can be
    null (``int64`` becomes ``Int64``); it is null for a point in no region. With ``ties="all"`` there is a row for
    each point and region that holds it, by the point and then the region's id; a point in no region has none, and
    `region_id` has the dtype of the regions' ids.

    A point is judged by itself: other rows, their order, and parts of a frame change nothing. A null or NaN coordinate
    is in no region.

    Parameters
    ----------
    points
        A frame with two numeric columns. Any index, which may repeat.
    regions
        A GeoDataFrame of valid polygons and multipolygons, which may overlap; or a `RegionIndex` of it. A null or empty
        geometry holds nothing. Regions are planar in the coordinates as they are stored: cut those that cross the
        antimeridian there first (`split_antimeridian`), or they are taken to run around the other way.
    lon, lat
        The points' columns, in the unit of `crs`.
    region_id
        The regions' column of ids, unique and never null; it names the column of the result.
    keep
        The points' columns to keep; all by default.
    predicate
        "within": inside and not on the border, so that a point on a shared border is in no region. "intersects": the
        border counts, so that it is in two or more.
    ties
        "lowest": of several regions, the one with the lowest id. "all": every one.
    crs
        What lon and lat are in; WGS 84 degrees unless told. It has to be the regions' CRS.
    index
        A `RegionIndex` of `regions`, made before. It is compared with them, which takes a part of what making one
        takes; give it in place of the regions where many frames are assigned.
    threads
        How many threads share the points.
    chunk_rows
        How many rows are worked on at a time: memory beyond the result does not grow with the points.

    Raises
    ------
    BuilderError
        ``bad-value`` for a missing, repeated or not numeric column, a column to keep that is called like `region_id`,
        an impossible position (infinite; in degrees |lat| > 90 or |lon| > 180), an index of other regions.
        ``crs-missing``, ``crs-mismatch``. ``bad-geometry``, ``key-null``, ``key-duplicate``, ``result-type`` as
        `RegionIndex`. ``recipe-declaration`` for an unknown predicate or rule.

    Notes
    -----
    Answers equal shapely's `within` and `intersects` for every pair; they are exact in the coordinates as stored.

    Examples
    --------
    >>> import geopandas, shapely
    >>> squares = geopandas.GeoDataFrame({"id": [7, 8]}, geometry=shapely.box([0, 1], 0, [1, 2], 1), crs="EPSG:4326")
    >>> points = pd.DataFrame({"lon": [0.5, 1.0, None], "lat": [0.5, 0.5, 0.5]})
    >>> assign_regions(points, squares, keep=[])["id"].tolist()
    [7, <NA>, <NA>]
    >>> assign_regions(points, squares, keep=[], predicate="intersects", ties="all")["id"].tolist()
    [7, 7, 8]
    """
    is_border(predicate)
    if ties not in ("lowest", "all"):
        raise error("recipe-declaration", f"ties '{ties}' is none of lowest, all")
    kept = _kept(points, keep, lon, lat, region_id)
    index = _index_of(regions, region_id, index, threads)
    asked = parse_crs(crs)
    check_same_crs(SimpleNamespace(crs=asked), index, ("points", "regions"))
    if ties == "lowest":
        at = np.empty(len(points), np.int32)
        for rows, x, y in _chunks(points, lon, lat, in_degrees(asked), chunk_rows):
            at[rows] = index.assign(x, y, predicate=predicate, threads=threads)
        result = points[kept].copy(deep=False)
        result[region_id] = _nullable(index.ids).take(at, allow_fill=True)
        return result
    found = [(np.empty(0, np.int64), np.empty(0, np.int32))]
    for rows, x, y in _chunks(points, lon, lat, in_degrees(asked), chunk_rows):
        point, region = index.pairs_by_id(x, y, predicate, threads)
        found.append((point + rows.start, region))
    result = points[kept].take(np.concatenate([point for point, _ in found]))
    result[region_id] = index.ids.array.take(np.concatenate([region for _, region in found]))
    return result


def _kept(points: Any, keep: Sequence[str] | None, lon: str, lat: str, region_id: str) -> list[str]:
    if not isinstance(points, pd.DataFrame):
        raise error("result-type", f"'points' is a {type(points).__name__} and not a DataFrame")
    if isinstance(keep, str):
        raise error("recipe-declaration", f"keep='{keep}' is a text and not a list of columns", hint=f"keep=['{keep}']")
    check_columns(points, (lon, lat), "points")
    kept = list(points.columns) if keep is None else list(keep)
    check_columns(points, kept, "points")
    if region_id in kept:
        hint = f"rename one of the two, or leave '{region_id}' out of keep="
        raise error("bad-value", f"'points' has a column '{region_id}', as the regions' ids have", hint=hint)
    return kept


def _index_of(regions: Any, region_id: str, index: RegionIndex | None, threads: int) -> RegionIndex:
    if isinstance(regions, RegionIndex):
        index = regions
    elif index is None:
        return RegionIndex(regions, region_id, threads=threads)
    else:
        ids, geometries, held_crs = ids_and_geometries(regions, region_id)
        check_same_crs(SimpleNamespace(crs=held_crs), index, ("regions", "index"))
        order = order_of_ids(ids)
        if digest_regions(ids, order, rings_of(geometries[order])) != index.digest:
            raise error("bad-value", "'index' is of other regions", hint="make it again: RegionIndex(regions)")
    if index.ids.name != region_id:
        hint = f"region_id='{index.ids.name}'"
        raise error("bad-value", f"the index's ids are called '{index.ids.name}' and not '{region_id}'", hint=hint)
    return index


def _chunks(
    points: pd.DataFrame, lon: str, lat: str, is_globe: bool, chunk_rows: int
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Rows and their coordinates, NaN in both where one is null; refuses impossible ones."""
    most_x, most_y = (180.0, 90.0) if is_globe else (np.finfo(float).max,) * 2
    for start in range(0, len(points), chunk_rows):
        rows = slice(start, min(start + chunk_rows, len(points)))
        part = pd.DataFrame({name: points[name].iloc[rows] for name in (lon, lat)})
        x, y, null = read_coordinates(part, lon, lat, "points")
        x[null] = y[null] = np.nan
        odd = ~((np.abs(x) <= most_x) & (np.abs(y) <= most_y) | null)
        check_coordinates(x[odd], y[odd], part.index[odd], in_degrees=is_globe, what="points")
        yield rows, x, y


def _nullable(ids: pd.Series) -> Any:
    """The ids as an array that can hold nulls; the dtype depends on theirs alone."""
    dtype: Any = ids.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "iub":
        dtype = "boolean" if dtype.kind == "b" else dtype.name.replace("uint", "UInt").replace("int", "Int")
    return ids.astype(dtype).array
