"""Geometries from GeoJSON and WKT as canonical WKB, and which CRS a source's geometries have.

Decides what a geometry is: anything GEOS can build, valid or not; recipes repair. Never changes a coordinate.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from builder.errors import error
from builder.execute.spec import IntakeSpec
from builder.formats.convert import Misfit
from builder.tables.crs import canonical_crs

_CODES = {
    "Point": 1,
    "LineString": 2,
    "Polygon": 3,
    "MultiPoint": 4,
    "MultiLineString": 5,
    "MultiPolygon": 6,
    "GeometryCollection": 7,
}
_SINGLE = {4: 1, 5: 2, 6: 3}
_Z = 1000
_EMPTY_POINT = struct.pack("<dd", float("nan"), float("nan"))


def wkb_of_geojson(geometry: Any) -> bytes:
    """The ISO WKB of a GeoJSON geometry; Z is kept where every position has one, further numbers are dropped.

    Raises
    ------
    ValueError
        Anything that is no GeoJSON geometry, with the reason.
    """
    if not isinstance(geometry, dict):
        raise ValueError(f"a geometry is an object, not {type(geometry).__name__}")
    kind = geometry.get("type")
    code = _CODES.get(kind) if isinstance(kind, str) else None
    if code is None:
        raise ValueError(f"{kind!r} is no type of geometry")
    content = geometry.get("geometries" if code == 7 else "coordinates")
    if not isinstance(content, list):
        raise ValueError(f"a {kind} needs {'geometries' if code == 7 else 'coordinates'}")
    if code == 7:
        members = [wkb_of_geojson(member) for member in content]
        return struct.pack("<BII", 1, code, len(members)) + b"".join(members)
    width = min(_widths(content), default=2)
    return _wkb(code, content, 3 if width >= 3 else 2)


def from_wkt(texts: pa.Array) -> pa.Array:
    """Text columns of WKT as WKB; null stays null.

    Raises
    ------
    Misfit
        The first text that is no WKT.
    """
    import shapely

    values = texts.to_pylist()
    return _by_shapely(values, shapely.from_wkt, values)


def checked(wkb: pa.Array) -> pa.Array:
    """WKB in its canonical form; null stays null.

    Raises
    ------
    Misfit
        The first bytes that GEOS cannot make a geometry of; its value is the start of their hexadecimal form.
    """
    import shapely

    values = wkb.to_pylist()
    return _by_shapely(values, shapely.from_wkb, [v and v[:20].hex() for v in values])


def source_crs(spec: IntakeSpec, column: str, found: str | None, shown: str) -> str | None:
    """The canonical CRS of a file's geometries: what it says, which `crs=` must agree with, else what `crs=` says.

    Raises
    ------
    DataError
        ``crs-mismatch`` naming both: the file's, and the declared or the pinned one.
    """
    declared = canonical_crs(spec.crs, f"source '{spec.source}'")
    inside = canonical_crs(found, shown)
    if declared is not None and inside is not None and declared != inside:
        raise error(
            "crs-mismatch",
            f"'{spec.source}' is declared as {declared[:80]} and {shown} says otherwise",
            place=shown,
            facts=[("declared", declared), ("file", inside)],
            hint="drop crs= to take the file's, or reproject the file",
            target=spec.source,
        )
    crs = inside or declared
    if spec.pinned is None or column not in spec.pinned.names:
        return crs
    pinned = spec.pinned.column(column).crs
    was_declared_since = pinned is None and crs == declared
    if spec.pinned.column(column).dtype == "geometry" and pinned != crs and not was_declared_since:
        raise error(
            "crs-mismatch",
            f"'{spec.source}' is pinned as {(pinned or 'a table without a CRS')[:80]} and {shown} says otherwise",
            place=shown,
            facts=[("pinned", pinned or "none"), ("pinned in", spec.pin_shown), ("file", crs or "none")],
            hint=f"reproject the file; builder accept {spec.source} takes the new CRS in",
            target=spec.source,
        )
    return crs


def one_crs(spec: IntakeSpec, column: str, found: list[tuple[str | None, str]]) -> str | None:
    """The CRS that all files of a source share, from pairs of what a file says and its name; None where none says any.

    Raises
    ------
    DataError
        ``crs-mismatch`` naming both.
    """
    by_crs = {source_crs(spec, column, crs, shown): shown for crs, shown in reversed(found)}
    if len(by_crs) > 1:
        (first, first_shown), (other, other_shown) = [*reversed(by_crs.items())][:2]
        raise error(
            "crs-mismatch",
            f"files of '{spec.source}' have different CRSs",
            place=other_shown,
            facts=[(first_shown, first or "none"), (other_shown, other or "none")],
            hint="reproject one of them, so that all files share one CRS",
            target=spec.source,
        )
    return next(iter(by_crs), None)


def _by_shapely(values: list[Any], read: Callable[..., Any], shown: list[str | None]) -> pa.Array:
    import numpy as np
    import shapely

    from builder.tables.wkb import wkb_of

    cells = np.array([*values, None], dtype=object)[:-1]
    try:
        return wkb_of(read(cells))
    except (shapely.errors.GEOSException, TypeError):
        for row, value in enumerate(values):
            try:
                read(value)
            except (shapely.errors.GEOSException, TypeError) as cause:
                raise Misfit(row, shown[row], str(cause)) from cause
        raise


def _widths(content: list[Any]) -> set[int]:
    """How many numbers the positions below have."""
    if not content:
        return set()
    if isinstance(content[0], (int, float)):
        if len(content) < 2 or not all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in content):
            raise ValueError(f"{content!r:.60} is no position")
        return {len(content)}
    if not all(isinstance(inner, list) for inner in content):
        raise ValueError(f"{content!r:.60} holds something that is no position")
    return set().union(*map(_widths, content))


def _wkb(code: int, content: list[Any], width: int) -> bytes:
    head = struct.pack("<BI", 1, code + (_Z if width == 3 else 0))
    if code == 1:
        return head + (_positions([content], width) if content else _EMPTY_POINT)
    if code == 2:
        return head + _counted(content, width)
    if code == 3:
        rings = content if content != [[]] else []
        return head + struct.pack("<I", len(rings)) + b"".join(_counted(ring, width) for ring in rings)
    members = [_wkb(_SINGLE[code], member, width) for member in content]
    return head + struct.pack("<I", len(members)) + b"".join(members)


def _counted(positions: list[Any], width: int) -> bytes:
    return struct.pack("<I", len(positions)) + _positions(positions, width)


def _positions(positions: list[Any], width: int) -> bytes:
    try:
        numbers = [number for position in positions for number in position[:width]]
        return struct.pack(f"<{len(positions) * width}d", *numbers)
    except (struct.error, TypeError) as cause:
        raise ValueError(f"coordinates are nested as no such geometry is: {positions!r:.60}") from cause
