"""Invalid geometry made valid, with a report of what changed.

Decides which method mends and what the report says. Never changes a geometry that is valid, and never drops a row.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from shapely import GeometryType

from builder.errors import error
from builder.transforms.columns import check_columns, some_of
from builder.transforms.polygons import Shapes, geometry_array, only_polygons, with_geometry

_METHODS = ("structure", "linework")


class Repaired(NamedTuple):
    """What `repair` returns."""

    regions: Any
    report: pd.DataFrame


def repair(
    regions: Any, *, method: Literal["structure", "linework"] = "structure", region_id: str | None = None
) -> Repaired:
    """The same rows with valid geometry, and a report with a row for each that was invalid, empty or null.

    ``regions``: columns, dtypes, index, row order and CRS as they were; valid geometry is the very same, null and empty
    stay. An invalid polygon becomes a polygon or multipolygon, without lines and points; an empty polygon where nothing
    has an area. Z is kept, interpolated at new vertices.

    - ``structure``: rings keep their roles; shells are united, holes are taken out of them.
    - ``linework``: what an odd number of rings enclose. A hole that reaches out of its shell becomes ground.

    ``report``, in the order of `regions`, with their index labels:

    =============================== ======= ===================================================================
    column                          dtype
    =============================== ======= ===================================================================
    the column `region_id`          its own where one was named
    outcome                         string  ``repaired``; ``collapsed``: nothing was left; ``empty`` and ``null``
    reason                          string  what GEOS finds invalid and where; null for empty and null
    area_before, area_after         float64 in the square of the CRS's unit; before, of a shape that crosses
                                            itself, what is passed twice counts twice or not at all; NaN of null
    parts_before, parts_after       int64   polygons
    =============================== ======= ===================================================================

    Each row is judged by itself: order and parts of a frame change nothing. The CRS may be missing.

    Parameters
    ----------
    regions
        A GeoDataFrame.
    method
        How GEOS rebuilds invalid geometry.
    region_id
        A column that the report names its rows by.

    Raises
    ------
    BuilderError
        ``recipe-declaration``: another method; ``bad-geometry``: no geometry, or invalid rows that are no polygons, or
        have coordinates that are not finite, which no method can mend; ``bad-value``: a missing column.

    References
    ----------
    GEOS ``MakeValid``: ``structure`` with collapsed parts left out, after JTS's GeometryFixer; ``linework``.

    Examples
    --------
    >>> import geopandas, shapely
    >>> bow_tie = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    >>> regions = geopandas.GeoDataFrame({"id": [1, 2]}, geometry=[bow_tie, shapely.Polygon()], crs="EPSG:4326")
    >>> repaired, report = repair(regions, region_id="id")
    >>> report[["id", "outcome", "area_after", "parts_after"]].values.tolist()
    [[1, 'repaired', 2.0, 2], [2, 'empty', 0.0, 0]]
    """
    if method not in _METHODS:
        raise error("recipe-declaration", f"method={method!r} is not known", hint="one of " + ", ".join(_METHODS))
    check_columns(regions, [region_id] if region_id is not None else [], "regions")
    before = geometry_array(regions, "regions")
    null, empty = shapely.is_missing(before), shapely.is_empty(before)
    broken = ~(shapely.is_valid(before) | null)
    after = before.copy()
    _check_mendable(before[broken], regions.index[broken])
    after[broken] = _mended(before[broken], method)
    outcome = np.select(
        [null, empty, broken & shapely.is_empty(after), broken], ["null", "empty", "collapsed", "repaired"], ""
    )
    changed = outcome != ""
    reasons = pd.Series(shapely.is_valid_reason(before[changed]), dtype="string").where(broken[changed])
    report = pd.DataFrame(
        {
            "outcome": pd.array(outcome[changed], dtype="string"),
            "reason": reasons.array,
            "area_before": _area(before[changed]),
            "area_after": _area(after[changed]),
            "parts_before": _parts(before[changed]),
            "parts_after": _parts(after[changed]),
        },
        index=regions.index[changed],
    )
    if region_id is not None:
        report.insert(0, region_id, regions.loc[changed, region_id])
    return Repaired(with_geometry(regions, after), report)


def _mended(shapes: Shapes, method: str) -> Shapes:
    if method == "linework":
        return only_polygons(shapely.make_valid(shapes, method="linework"))
    mended = only_polygons(shapely.make_valid(shapes, method="structure", keep_collapsed=False))
    # GEOS leaves two polygons of a ring that passes an edge twice side by side, which is invalid.
    for row in np.flatnonzero(~shapely.is_valid(mended)):
        mended[row] = shapely.union_all(shapely.get_parts(mended[row]))
    return only_polygons(mended)


def _check_mendable(shapes: Shapes, rows: Any) -> None:
    polygons = np.isin(shapely.get_type_id(shapes), (GeometryType.POLYGON, GeometryType.MULTIPOLYGON))
    xy, owner = shapely.get_coordinates(shapes, return_index=True)
    infinite = np.isin(np.arange(len(shapes)), owner[~np.isfinite(xy).all(axis=1)])
    for bad, what in ((infinite, "have coordinates that are not finite"), (~polygons, "are invalid and no polygons")):
        if bad.any():
            found = np.flatnonzero(bad)
            raise error(
                "bad-geometry",
                f"{len(found):,} rows of 'regions' {what}",
                facts=[("rows", some_of(rows[found])), ("first", str(shapes[found[0]])[:100])],
                hint="leave them out first",
            )


def _area(shapes: Shapes) -> npt.NDArray[np.float64]:
    return np.asarray(shapely.area(shapes), np.float64)


def _parts(shapes: Shapes) -> npt.NDArray[np.int64]:
    return np.where(shapely.is_empty(shapes), 0, shapely.get_num_geometries(shapes)).astype(np.int64)
