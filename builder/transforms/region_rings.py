"""The rings of a set of regions as flat arrays, the form that everything about regions starts from.

Decides which geometries can be regions: valid polygons and multipolygons; a null or empty one holds nothing. Decides
the order of regions among themselves: their ids' own. Never repairs, reprojects or shifts a coordinate.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import shapely
from blake3 import blake3

from builder.errors import error
from builder.transforms.columns import check_columns, some_of
from builder.transforms.compiling import njit
from builder.transforms.orientation import compiled

_POLYGON, _MULTIPOLYGON = 3, 6
_EXAMPLES = 5
_LEAST, _MOST = 1e-100, 1e100  # products of coordinates stay far inside of what a double holds

Spread = Callable[[Callable[[Any], Any], list[Any]], list[Any]]


@dataclass(frozen=True, slots=True)
class RegionRings:
    """All vertices of all rings, end to end; `region[k]` bounds the edge from vertex k to k + 1, -1 at a ring's end.

    `bounds` are west, south, east, north.
    """

    xy: np.ndarray
    region: np.ndarray
    region_count: int
    bounds: tuple[float, float, float, float]


def ids_and_geometries(regions: Any, region_id: str) -> tuple[pd.Series, np.ndarray, Any]:
    """Regions' ids, their geometries, and their CRS (None where it is not known).

    Raises
    ------
    BuilderError
        ``bad-value`` without the id column, ``result-type`` for what holds no geometries.
    """
    if isinstance(regions, pd.DataFrame):
        check_columns(regions, [region_id], "regions")
        if not hasattr(regions, "geometry"):
            raise error("result-type", "'regions' has no geometry", hint="give a GeoDataFrame of polygons")
        geometries = regions.geometry
        return regions[region_id].reset_index(drop=True), np.asarray(geometries.array), geometries.crs
    try:
        array = np.asarray(regions, dtype=object)
    except (TypeError, ValueError):
        array = np.empty((0, 0), object)
    if array.ndim != 1:
        raise error(
            "result-type", "'regions' is not a row of geometries", hint="give a GeoDataFrame or an array of polygons"
        )
    array = array.copy()
    array[~shapely.is_geometry(array) & pd.isna(array)] = None  # NaN is null
    return pd.Series(np.arange(len(array)), name=region_id), array, getattr(regions, "crs", None)


def order_of_ids(ids: pd.Series) -> np.ndarray:
    """The positions of ids, lowest id first.

    Raises
    ------
    BuilderError
        ``key-null``, ``key-duplicate``; ``bad-value`` where ids cannot be compared.
    """
    missing = np.flatnonzero(ids.isna().to_numpy())
    if len(missing):
        raise error("key-null", f"{len(missing):,} regions have no '{ids.name}'", facts=[("rows", some_of(missing))])
    if isinstance(ids.dtype, pd.CategoricalDtype):
        ids = ids.astype(ids.dtype.categories.dtype)
    try:
        repeated = ids.duplicated(keep="first").to_numpy()
        order = np.asarray(ids.argsort(kind="stable"), dtype=np.int64)
    except TypeError as cause:
        hint = "make the column of one type"
        raise error("bad-value", f"values of '{ids.name}' cannot be compared", hint=hint) from cause
    if repeated.any():
        examples = some_of(ids[repeated].drop_duplicates())
        raise error(
            "key-duplicate",
            f"{int(repeated.sum()):,} regions repeat a '{ids.name}'",
            facts=[("ids", examples)],
            hint=f"dissolve the parts of a region first: regions.dissolve('{ids.name}')",
        )
    return order


def check_kinds(ids: pd.Series, geometries: np.ndarray) -> None:
    """Refuse what is neither a polygon, a multipolygon, nor null.

    Raises
    ------
    BuilderError
        ``result-type`` for what is no geometry, ``bad-geometry`` for another kind, with the ids.
    """
    known = shapely.is_geometry(geometries)
    odd = ~(known | pd.isna(geometries))
    if odd.any():
        raise error("result-type", "'regions' holds values that are no geometries", facts=[("ids", some_of(ids[odd]))])
    types = shapely.get_type_id(geometries)
    other = known & (types != _POLYGON) & (types != _MULTIPOLYGON)
    if other.any():
        named = [f"{i} is a {geometries[k].geom_type}" for k, i in _first(other, ids)]
        hint = "a region is a Polygon or MultiPolygon: buffer lines and points, take the polygons of collections"
        raise error(
            "bad-geometry",
            f"{int(other.sum()):,} regions are no polygons",
            facts=[("ids", "\n".join(named))],
            hint=hint,
        )


def check_valid(ids: pd.Series, geometries: np.ndarray, spread: Spread) -> None:
    """Refuse invalid polygons; `spread` maps a function over slices of the geometries.

    Raises
    ------
    BuilderError
        ``bad-geometry`` with the ids and reasons.
    """
    cuts = np.linspace(0, len(geometries), 17).astype(int)
    parts = [geometries[a:b] for a, b in pairwise(cuts) if a < b]
    with warnings.catch_warnings():  # shapely sets the filters in each thread, and may leave another thread's behind
        valid = np.concatenate([np.empty(0, bool), *spread(_is_valid, parts)])
    invalid = shapely.is_geometry(geometries) & ~valid
    if invalid.any():
        named = [f"{i}: {shapely.is_valid_reason(geometries[k])}" for k, i in _first(invalid, ids)]
        hint = "mend them first: t.repair(regions)"
        raise error(
            "bad-geometry", f"{int(invalid.sum()):,} regions are invalid", facts=[("ids", "\n".join(named))], hint=hint
        )


def _is_valid(geometries: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):  # huge coordinates overflow in GEOS; the state is the thread's own
        return np.asarray(shapely.is_valid(geometries))


def rings_of(geometries: np.ndarray) -> RegionRings:
    """The rings of geometries, which are regions 0, 1, 2, … in this order."""
    owners = np.arange(len(geometries), dtype=np.int32)
    types, holes = shapely.get_type_id(geometries), shapely.get_num_interior_rings(geometries)
    if not (((types == _POLYGON) & (holes == 0)) | (types < 0)).all():
        parts, of_part = shapely.get_parts(geometries, return_index=True)
        geometries, of_ring = shapely.get_rings(parts, return_index=True)
        owners = owners[of_part[of_ring]]
    counts = shapely.get_num_coordinates(geometries)
    xy = shapely.get_coordinates(geometries)
    xy += 0.0  # one zero
    region = np.repeat(owners, counts)
    region[np.cumsum(counts)[counts > 0] - 1] = -1
    *bounds, least = _extent(xy)
    west, south, east, north = bounds
    most = max(abs(bound) for bound in bounds) if len(xy) else 0.0
    if least < _LEAST or most > _MOST:
        raise error(
            "bad-geometry",
            "regions have coordinates that are not 0 and too small or too large to be exact",
            facts=[("magnitudes", f"{least:g} to {most:g}"), ("limits", f"{_LEAST:g} to {_MOST:g}")],
            hint="give coordinates in degrees or metres",
        )
    return RegionRings(xy, region, len(types), (west, south, east, north))


@njit(**compiled)
def _extent(xy):  # type: ignore[no-untyped-def]
    """West, south, east, north, and the least magnitude that is not 0: one pass, which numpy has none for."""
    west = south = np.inf
    east = north = -np.inf
    least = 1.0
    for k in range(len(xy)):
        x, y = xy[k, 0], xy[k, 1]
        west, east = min(west, x), max(east, x)
        south, north = min(south, y), max(north, y)
        if 0.0 < abs(x) < least:
            least = abs(x)
        if 0.0 < abs(y) < least:
            least = abs(y)
    return west, south, east, north, least


def digest_regions(ids: pd.Series, order: np.ndarray, rings: RegionRings) -> str:
    """A digest (BLAKE3) of ids in row order and all rings; the same for the same regions, whatever made the frame."""
    state = blake3(b"regions 1\0")
    parts: tuple[Any, ...] = (_id_bytes(ids), order.astype("<i8").tobytes(), rings.region, rings.xy)
    for part in parts:
        view = memoryview(part).cast("B") if len(part) else b""
        state.update(len(view).to_bytes(8, "little"))
        state.update(view)
    return state.hexdigest()


def _id_bytes(ids: pd.Series) -> bytes:
    if pd.api.types.is_integer_dtype(ids.dtype):
        return b"i" + ids.to_numpy(dtype=np.int64).astype("<i8").tobytes()
    texts = pa.array([str(i) for i in ids], pa.large_string())
    lengths = np.diff(np.frombuffer(texts.buffers()[1], "<i8", len(texts) + 1))
    content: bytes = (texts.buffers()[2] or pa.py_buffer(b"")).to_pybytes()
    return b"s" + lengths.tobytes() + content


def _first(mask: np.ndarray, ids: pd.Series) -> list[tuple[int, Any]]:
    return [(int(k), ids.iloc[k]) for k in np.flatnonzero(mask)[:_EXAMPLES]]
