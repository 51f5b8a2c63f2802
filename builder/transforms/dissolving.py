"""Regions united by the values of columns.

Decides when the fast union of a coverage is right and when the general one is needed. Never moves a vertex, and never
mends a polygon.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import shapely

from builder.errors import error
from builder.transforms.columns import some_of
from builder.transforms.labels import Labels, column_names, label_rows
from builder.transforms.polygons import NO_REGION, Shapes, polygon_array

Codes = npt.NDArray[np.int64]

_UNIONS = ("auto", "coverage", "unary")
_ROUNDING = 1e-13  # of an area's terms, each at most the width of a shape times the length of its border


def dissolve(regions: Any, by: str | Sequence[str], *, union: Literal["auto", "coverage", "unary"] = "auto") -> Any:
    """One region for each label: the union of the polygons with the same values in `by`.

    A GeoDataFrame with the columns of `by` in their dtypes and `geometry` (polygons, multipolygons, in normal form), in
    the CRS of `regions`, also where that is none; sorted by the labels, with a fresh RangeIndex. The order of `regions`
    changes nothing. Each label is united by itself; parts of a frame united apart, and then together, cover the same.

    Polygons of one label form a coverage where they meet along whole edges, or not at all, without overlap. Then the
    union is the edges that occur once, an order of magnitude faster; the result is valid and as large as its parts
    together, and so known to be right. Where it is not, the label is united in the general (unary) way. The result's
    ``attrs`` say how many labels were united which way.

    - Null and empty geometry adds nothing; a label without any area gets an empty polygon.
    - Rows with a null in `by` are left out.
    - Invalid polygons are refused where the general union meets them.
    - Edges are straight in the coordinates as they are; across the antimeridian, split first (`split_antimeridian`).

    ``attrs``: ``unlabelled_rows``, ``empty_regions``, ``coverage_unions``, ``unary_unions``: how many there are.

    Parameters
    ----------
    regions
        A GeoDataFrame of polygons.
    by
        The columns of the label, at least one.
    union
        ``coverage`` refuses labels that are no coverage; ``unary`` unites all in the general way.

    Raises
    ------
    BuilderError
        ``recipe-declaration``: another `union`, wrong names in `by`; ``bad-value``: a missing column; ``bad-geometry``:
        rows that are no polygons, invalid ones, or with ``coverage`` labels that are none.

    Examples
    --------
    >>> import geopandas, shapely
    >>> squares = [shapely.box(0, 0, 1, 1), shapely.box(1, 0, 2, 1), shapely.box(5, 5, 6, 6)]
    >>> regions = geopandas.GeoDataFrame({"state": ["A", "A", None]}, geometry=squares, crs="EPSG:4326")
    >>> states = dissolve(regions, "state")
    >>> [shape.area for shape in states.geometry], states.attrs["unlabelled_rows"]
    ([2.0], 1)
    """
    if union not in _UNIONS:
        raise error("recipe-declaration", f"union={union!r} is not known", hint="one of " + ", ".join(_UNIONS))
    names = column_names(by, ("geometry",))
    if not names:
        raise error("recipe-declaration", "'by' names no column")
    shapes = polygon_array(regions, "regions")
    labels = label_rows(regions, names, "regions")
    used = (labels.codes >= 0) & ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
    shapes, codes = shapes[used], labels.codes[used]
    united, is_union = no_unions(len(labels.frame)), np.zeros(len(labels.frame), bool)
    if union != "unary":
        united, is_union = coverage_unions(shapes, codes, len(labels.frame))
    if union == "coverage":
        _check_coverage(labels, is_union)
    rest = ~is_union[codes]
    _check_valid(shapes[rest], regions.index[used][rest])
    unary_unions(shapes[rest], codes[rest], united)
    counts = {"coverage_unions": int(is_union.sum()), "unary_unions": int((~is_union).sum())}
    return label_frame(labels, shapely.normalize(united), regions.crs, counts)


def label_frame(labels: Labels, shapes: Shapes, crs: Any, counts: dict[str, int]) -> Any:
    """A region for each label, with the counts in its ``attrs``."""
    import geopandas

    frame = geopandas.GeoDataFrame(labels.frame.copy(), geometry=shapes, crs=crs)
    empty = int(shapely.is_empty(shapes).sum())
    frame.attrs = {"unlabelled_rows": labels.unlabelled, "empty_regions": empty} | counts
    return frame


def coverage_unions(shapes: Shapes, codes: Codes, count: int) -> tuple[Shapes, npt.NDArray[np.bool_]]:
    """What the edges that occur once enclose, for each label, and whether that is the union of the label's polygons.

    Parameters
    ----------
    shapes, codes
        The polygons, none null or empty, and the number of each one's label.
    count
        How many labels there are; one without polygons has an empty union.
    """
    united = no_unions(count)
    order = np.argsort(codes, kind="stable")
    held = np.unique(codes)
    with np.errstate(invalid="ignore"):  # of coordinates that are not finite
        if len(held):
            united[held] = _edges_that_occur_once(
                shapely.geometrycollections(shapes[order], indices=np.searchsorted(held, codes[order]))
            )
        return united, _are_unions(united, shapes, codes)


def unary_unions(shapes: Shapes, codes: Codes, united: Shapes) -> None:
    """Put the general union of each label's valid polygons in its place in `united`."""
    order = np.lexsort((shapely.to_wkb(shapes), codes)) if len(codes) else codes  # rounding depends on the order
    for part in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1) if len(codes) else ():
        united[codes[part[0]]] = shapely.union_all(shapes[part])


def no_unions(count: int) -> Shapes:
    """An empty polygon for each label."""
    return np.full(count, NO_REGION, object)


def _edges_that_occur_once(groups: Shapes) -> Shapes:
    """GEOS's coverage union of each collection; an empty polygon where it finds that that is no coverage."""
    try:
        return np.asarray(shapely.coverage_union_all(groups[:, np.newaxis], axis=1), object)
    except shapely.errors.GEOSException:
        if len(groups) == 1:
            return np.full(1, NO_REGION, object)
    middle = len(groups) // 2
    return np.concatenate([_edges_that_occur_once(groups[:middle]), _edges_that_occur_once(groups[middle:])])


def _are_unions(united: Shapes, shapes: Shapes, codes: Codes) -> npt.NDArray[np.bool_]:
    """Whether each candidate is valid and as large as its parts together.

    Edges that two parts share in opposite directions cancel out in the border of the parts' sum (how many parts cover a
    place). A valid polygon with the border that is left is that sum, so no place is covered twice. Edges that are
    shared in the same direction do not cancel out, and without them the area is another.
    """
    area = np.bincount(codes, shapely.area(shapes), len(united))
    bounds = shapely.bounds(united)
    width = np.nan_to_num(bounds[:, 2] - bounds[:, 0])
    is_as_large = abs(shapely.area(united) - area) <= _ROUNDING * width * shapely.length(united)
    return np.asarray(is_as_large & shapely.is_valid(united), bool)


def _check_coverage(labels: Labels, is_union: npt.NDArray[np.bool_]) -> None:
    others = np.flatnonzero(~is_union)
    if len(others):
        raise error(
            "bad-geometry",
            f"the regions of {len(others):,} labels are no coverage: they overlap, or share edges in part",
            facts=[("labels", some_of(labels.names(others)))],
            hint="union='auto' unites them in the general way",
        )


def _check_valid(shapes: Shapes, rows: Any) -> None:
    broken = np.flatnonzero(~shapely.is_valid(shapes))
    if len(broken):
        reason = shapely.is_valid_reason(shapes[broken[0]])
        raise error(
            "bad-geometry",
            f"{len(broken):,} rows of 'regions' are invalid",
            facts=[("rows", some_of(sorted(rows[broken], key=str))), ("first", reason)],
            hint="repair them first, with repair",
        )
