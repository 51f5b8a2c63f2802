"""Geometries as bytes: well-known binary (OGC 06-103r4, ISO 13249-3), in one spelling.

Decides that spelling: ISO flavour, little-endian, Z kept, no SRID. Never mends a geometry.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from builder.errors import error


def canonical_wkb(values: pa.ChunkedArray, column: str, place: str | None) -> pa.ChunkedArray:
    """The same geometries as canonical WKB; the values themselves where they already are.

    Raises
    ------
    DataError
        ``bad-geometry``: bytes that are no WKB.
    """
    if all(_is_iso_little_endian(chunk) for chunk in values.chunks):
        return values
    import shapely

    try:
        shapes = shapely.from_wkb(values.to_numpy(zero_copy_only=False))
    except shapely.errors.GEOSException as cause:
        raise error("bad-geometry", f"column '{column}' holds bytes that are no WKB: {cause}", place=place) from cause
    return pa.chunked_array([wkb_of(shapes)], pa.binary())


def wkb_of(shapes: Any) -> pa.Array:
    """The WKB of an array of shapely geometries: ISO flavour, little-endian, Z kept, no SRID; None is null."""
    import shapely

    raw = shapely.to_wkb(shapes, flavor="iso", byte_order=1, include_srid=False)
    return pa.array(raw, pa.binary(), from_pandas=True)


def _is_iso_little_endian(chunk: pa.Array) -> bool:
    """Whether every WKB begins with a little-endian ISO type code; looks at the outermost geometry only."""
    present = chunk.drop_null()
    if len(present) == 0:
        return True
    offsets = np.frombuffer(present.buffers()[1], np.int32)[present.offset : present.offset + len(present) + 1]
    if (np.diff(offsets) < 5).any():
        return False
    content = np.frombuffer(present.buffers()[2], np.uint8)
    starts = offsets[:-1]
    flags = content[starts[:, None] + np.arange(5)]
    return bool((flags[:, 0] == 1).all() and (flags[:, 3:] == 0).all())
