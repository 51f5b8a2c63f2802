"""Which CRS regions are in, whether two frames agree, and the way from one to another; x is longitude, y latitude.

Decides that CRS84 and EPSG:4326 are one. Never reprojects unless it is asked to.
"""

from __future__ import annotations

from typing import Any

from builder.errors import error
from builder.transforms.columns import some_of

_LON_LAT = ("OGC:CRS84", "EPSG:4326")


def is_lon_lat(crs: Any) -> bool:
    """True for WGS 84 in degrees, spelt as EPSG:4326 or CRS84."""
    return crs is not None and any(crs.equals(spelt, ignore_axis_order=True) for spelt in _LON_LAT)


def check_crs(frame: Any, what: str) -> Any:
    """The CRS of a GeoDataFrame.

    Raises
    ------
    BuilderError
        ``crs-missing`` where it has none.
    """
    if frame.crs is None:
        raise error("crs-missing", f"'{what}' has no CRS", hint=f"say which it is: {what}.set_crs('EPSG:4326')")
    return frame.crs


def check_same_crs(left: Any, right: Any, names: tuple[str, str]) -> Any:
    """The one CRS of two GeoDataFrames.

    Raises
    ------
    BuilderError
        ``crs-missing``; ``crs-mismatch`` with both.
    """
    one, other = check_crs(left, names[0]), check_crs(right, names[1])
    if one == other or (is_lon_lat(one) and is_lon_lat(other)):
        return one
    raise error(
        "crs-mismatch",
        f"'{names[0]}' and '{names[1]}' have different CRSs",
        facts=[(names[0], one.to_string()), (names[1], other.to_string())],
        hint="bring one to the other's CRS first, with to_crs",
    )


def check_degrees(frame: Any, what: str) -> Any:
    """The CRS of a GeoDataFrame in degrees.

    Raises
    ------
    BuilderError
        ``crs-missing``; ``crs-mismatch`` where its coordinates are not degrees.
    """
    crs = check_crs(frame, what)
    if not in_degrees(crs):
        raise error(
            "crs-mismatch",
            f"'{what}' is not in degrees",
            facts=[(what, crs.to_string())],
            hint="bring it to EPSG:4326 first, with to_crs",
        )
    return crs


def in_degrees(crs: Any) -> bool:
    """True for a CRS whose coordinates are longitudes and latitudes in degrees."""
    return bool(crs.is_geographic) and all(axis.unit_name == "degree" for axis in crs.axis_info[:2])


def parse_crs(value: Any) -> Any:
    """The `pyproj.CRS` of an EPSG number, WKT, PROJJSON or another spelling.

    Raises
    ------
    BuilderError
        ``crs-missing``: no known CRS.
    """
    import pyproj

    try:
        return pyproj.CRS.from_user_input(value)
    except (pyproj.exceptions.CRSError, TypeError) as cause:
        raise error("crs-missing", f"{str(value)[:80]!r} is no known CRS", hint="write EPSG:n, or WKT") from cause


def to_crs(frame: Any, crs: Any) -> Any:
    """The same rows in another CRS.

    Columns, dtypes, index and row order are those of `frame`; the active geometry alone is transformed, vertex by
    vertex: an edge is straight in either CRS, which is another line on the ground. x is longitude or easting and y
    latitude or northing on both sides, whatever order the authority's definition gives. Null and empty geometry stay.
    Between CRS84 and EPSG:4326, which are one, no coordinate changes. PROJ chooses the operation by the grids that are
    installed; outside of the target's area of use its results may be finite and far off.

    Parameters
    ----------
    frame
        A GeoDataFrame.
    crs
        The CRS to go to, as EPSG number or text.

    Raises
    ------
    BuilderError
        ``crs-missing``: `frame` has none, or `crs` is unknown; ``crs-mismatch``: PROJ has no way from one to the other;
        ``bad-value``: rows whose coordinates are not finite in `crs`, since they were not before or lie beyond the
        globe.

    Examples
    --------
    >>> import geopandas, shapely
    >>> points = geopandas.GeoSeries([shapely.Point(15, 0), None], crs="EPSG:4326").to_frame("geometry")
    >>> moved = to_crs(points, 32633).geometry
    >>> round(moved[0].x, 3), moved[0].y, moved[1]
    (500000.0, 0.0, None)
    """
    import numpy as np
    import pyproj
    import shapely

    source, target = check_crs(frame, "frame"), parse_crs(crs)
    if source == target or (is_lon_lat(source) and is_lon_lat(target)):
        moved = frame.set_crs(target, allow_override=True)
    else:
        try:
            moved = frame.to_crs(target)
        except (pyproj.exceptions.ProjError, RuntimeError) as cause:
            facts = [("from", source.to_string()), ("to", target.to_string()), ("because", str(cause))]
            raise error("crs-mismatch", "no way from one CRS to the other is known", facts=facts) from cause
    xy, owner = shapely.get_coordinates(moved.geometry.array, return_index=True)
    bad = np.unique(owner[~np.isfinite(xy).all(axis=1)])
    if len(bad):
        raise error(
            "bad-value",
            f"{len(bad):,} rows of 'frame' have no finite coordinates in {target.to_string()}",
            facts=[("rows", some_of(moved.index[bad])), ("first", str(frame.geometry.iloc[bad[0]])[:100])],
            hint="leave them out, or choose a CRS that covers them",
        )
    return moved
