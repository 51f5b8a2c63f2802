"""Coordinate reference systems as canonical text.

Decides how a CRS is spelt: ``EPSG:n`` where the registry has exactly this one, else WKT; CRS84 and EPSG:4326 (x = lon)
are one. Never transforms coordinates.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from builder.errors import error

LON_LAT = "EPSG:4326"
_EXACT = 100  # pyproj's confidence, in percent, that the registry's CRS is the same one


def canonical_crs(value: Any, place: str | None = None) -> str | None:
    """The canonical text of a CRS given as text, EPSG number, PROJJSON or pyproj.CRS; None for None.

    Raises
    ------
    DataError
        ``crs-missing``: `value` names no known CRS.

    >>> canonical_crs("OGC:CRS84"), canonical_crs(32633), canonical_crs(None)
    ('EPSG:4326', 'EPSG:32633', None)
    """
    if value is None or (isinstance(value, str) and value == LON_LAT):
        return value  # most calls, and without importing pyproj
    import pyproj

    try:
        crs = pyproj.CRS.from_user_input(value)
    except pyproj.exceptions.CRSError as cause:
        raise error(
            "crs-missing", f"{str(value)[:80]!r} is no known CRS", place=place, hint="write EPSG:n, or WKT"
        ) from cause
    code = crs.to_epsg(min_confidence=_EXACT)
    if code is not None:
        return f"EPSG:{code}"
    if crs.to_authority(min_confidence=_EXACT) == ("OGC", "CRS84"):
        return LON_LAT
    return str(crs.to_wkt())


@lru_cache(maxsize=64)
def crs_json(text: str) -> dict[str, Any]:
    """The PROJJSON of a canonical CRS."""
    import pyproj

    value: dict[str, Any] = json.loads(pyproj.CRS.from_user_input(text).to_json())
    return value
