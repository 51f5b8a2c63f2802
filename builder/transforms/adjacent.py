"""Which regions meet, how, and along what length.

Decides what counts as meeting: borders in common along an edge or at single points, or interiors in common. A valid
coverage is told by its vertices alone; anything else by GEOS, pair by pair. Never mends a border.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely

from builder.errors import error
from builder.transforms.columns import check_columns, some_of
from builder.transforms.compiling import njit
from builder.transforms.coverage import nodes_of, number_places
from builder.transforms.metres import Metres, metres_of
from builder.transforms.rings import Bools, Floats, Ints, Rings, read_rings

_EDGE, _CORNER, _OVERLAP = 0, 1, 2
_KINDS = np.array(["edge", "corner", "overlap"], object)


def adjacency(gdf: Any, region_id: str = "id") -> Any:
    """One row for each pair of regions that meet: left, right, kind and length_m, sorted by left and right.

    The same whatever the order of the rows; but each pair needs both of its regions, so all rows at once.

    Parameters
    ----------
    gdf
        Valid polygons and multipolygons without z, in any CRS. Null and empty geometries meet nothing.
    region_id
        The column of ids, unique and without nulls, of one kind that can be ordered.

    Returns
    -------
    DataFrame
        ``left`` and ``right``: ids, left below right, with the dtype of `region_id`. ``kind`` (str): ``edge`` where the
        regions touch along a line, ``corner`` where they touch in points alone, ``overlap`` where their interiors meet.
        ``length_m`` (float64): the length of what their borders have in common, in the metres of
        `builder.transforms.metres` at the latitude of each edge's middle; 0 for ``corner``. A fresh RangeIndex.

    Raises
    ------
    BuilderError
        ``bad-geometry``: invalid geometries (NaN coordinates are), other types, z, latitudes beyond a pole.
        ``crs-missing``, ``key-null``, ``key-duplicate``; ``bad-value``: no such column, ids without an order.

    Notes
    -----
    In a valid coverage regions meet where their vertices match, and the time is linear in these. Elsewhere every pair
    whose boxes meet is asked of GEOS. Meeting is planar: what lies on either side of the antimeridian does not meet.

    Examples
    --------
    >>> import geopandas, shapely
    >>> boxes = [shapely.box(1, 0, 2, 1), shapely.box(0, 0, 1, 1), shapely.box(2, 1, 3, 2), None]
    >>> gdf = geopandas.GeoDataFrame({"id": ["b", "a", "c", "d"]}, geometry=boxes, crs="EPSG:32633")
    >>> adjacency(gdf).values.tolist()
    [['a', 'b', 'edge', 1.0], ['b', 'c', 'corner', 0.0]]
    """
    check_columns(gdf, [region_id], "gdf")
    shape, metres = read_rings(gdf, "gdf"), metres_of(gdf, "gdf")
    by_id = _order_of_ids(gdf[region_id])
    rank = np.empty(len(gdf), np.int64)
    rank[by_id] = np.arange(len(gdf))
    find = _meetings_of_coverage if shapely.coverage_is_valid(shape.geometries[shape.held]) else _meetings_by_geos
    left, right, kind, length_m = find(shape, rank[shape.held], metres)
    return _frame(gdf[region_id], by_id, (left, right, kind, length_m))


def _order_of_ids(ids: Any) -> Ints:
    if ids.isna().any():
        raise error("key-null", f"'{ids.name}' is null in {int(ids.isna().sum())} rows", hint="give each region an id")
    is_repeated = ids.duplicated()
    if is_repeated.any():
        raise error(
            "key-duplicate",
            f"'{ids.name}' repeats ids",
            facts=[("ids", some_of(ids[is_repeated]))],
            hint="dissolve by it first",
        )
    try:
        return np.asarray(ids.argsort(kind="stable"), np.int64)
    except TypeError:
        hint = "give ids of one kind"
        raise error("bad-value", f"'{ids.name}' holds ids that have no order among them", hint=hint) from None


def _frame(ids: Any, by_id: Ints, found: tuple[Ints, Ints, Ints, Floats]) -> Any:
    import pandas as pd

    left, right, kind, length_m = found
    order = np.lexsort((right, left))
    sides = {
        name: ids.iloc[by_id[side[order]]].reset_index(drop=True) for name, side in (("left", left), ("right", right))
    }
    return pd.DataFrame(sides | {"kind": pd.Series(_KINDS[kind[order]], dtype="str"), "length_m": length_m[order]})


def _lengths_m(one: Floats, other: Floats, metres: Metres) -> Floats:
    """The lengths of segments, the same in either direction."""
    across = np.abs(one[:, 0] - other[:, 0]) * metres.shrink((one[:, 1] + other[:, 1]) / 2)
    return np.asarray(np.hypot(across, one[:, 1] - other[:, 1]) * metres.per_unit)


def _meetings_of_coverage(shape: Rings, rank: Ints, metres: Metres) -> tuple[Ints, Ints, Ints, Floats]:
    nodes = nodes_of(shape)
    row = rank[np.repeat(np.arange(len(rank)), np.diff(shape.starts))]
    low, high, length_m = _shared_edges(shape, nodes.of_corner, row, metres)
    pair_of_edge, left, right = _pairs(low, high)
    # Summed from the shortest on: in an order that does not depend on that of the rows.
    order = np.lexsort((length_m, pair_of_edge))
    total_m = np.bincount(pair_of_edge[order], length_m[order], len(left))
    is_junction = nodes.visits[nodes.of_corner] == 0
    low, high = _pairs_at_nodes(*_sorted_pairs(nodes.of_corner[is_junction], row[is_junction]))
    _, corner_left, corner_right = _pairs(low, high)
    is_new = ~_is_among(corner_left, corner_right, left, right)
    corner_left, corner_right = corner_left[is_new], corner_right[is_new]
    return (
        np.concatenate((left, corner_left)),
        np.concatenate((right, corner_right)),
        np.repeat([_EDGE, _CORNER], [len(left), len(corner_left)]),
        np.concatenate((total_m, np.zeros(len(corner_left)))),
    )


def _shared_edges(shape: Rings, node: Ints, row: Ints, metres: Metres) -> tuple[Ints, Ints, Floats]:
    """For each edge on two rings, the ranks of their regions, lower one first, and its length."""
    after = np.arange(1, len(shape.xy) + 1)
    after[shape.rings[1:] - 1] = shape.rings[:-1]
    ends = np.column_stack((np.minimum(node, node[after]), np.maximum(node, node[after])))
    edge, count = number_places(ends.astype(np.float64))
    first, last = np.empty(count, np.int64), np.empty(count, np.int64)
    last[edge] = np.arange(len(edge))
    first[edge[::-1]] = np.arange(len(edge))[::-1]
    is_shared = row[first] != row[last]
    first, last = first[is_shared], last[is_shared]
    length_m = _lengths_m(shape.xy[first], shape.xy[after[first]], metres)
    return np.minimum(row[first], row[last]), np.maximum(row[first], row[last]), length_m


def _sorted_pairs(one: Ints, other: Ints) -> tuple[Ints, Ints]:
    """Pairs of numbers, each once, sorted."""
    order = np.lexsort((other, one))
    one, other = one[order], other[order]
    is_first = np.ones(len(one), bool)
    is_first[1:] = (one[1:] != one[:-1]) | (other[1:] != other[:-1])
    return one[is_first], other[is_first]


def _pairs(low: Ints, high: Ints) -> tuple[Ints, Ints, Ints]:
    """Each pair once, sorted, and for each pair given which of them it is."""
    left, right = _sorted_pairs(low, high)
    size = int(right.max(initial=0)) + 1
    return np.searchsorted(left * size + right, low * size + high), left, right


def _is_among(low: Ints, high: Ints, left: Ints, right: Ints) -> Bools:
    size = int(max(high.max(initial=0), right.max(initial=0))) + 1
    return np.isin(low * size + high, left * size + right)


@njit(cache=True, nogil=True)
def _pairs_at_nodes(nodes, rows):  # type: ignore[no-untyped-def]
    """All pairs of rows at the same node; nodes are sorted, and so are rows at each."""
    count = 0
    begin = 0
    for i in range(len(nodes)):
        if nodes[i] != nodes[begin]:
            begin = i
        count += i - begin
    low, high = np.empty(count, np.int64), np.empty(count, np.int64)
    count = begin = 0
    for i in range(len(nodes)):
        if nodes[i] != nodes[begin]:
            begin = i
        for j in range(begin, i):
            low[count], high[count] = rows[j], rows[i]
            count += 1
    return low, high


def _meetings_by_geos(shape: Rings, rank: Ints, metres: Metres) -> tuple[Ints, Ints, Ints, Floats]:
    regions = shape.geometries[shape.held]
    one, other = shapely.STRtree(regions).query(regions, predicate="intersects")
    is_ordered = rank[one] < rank[other]
    one, other = one[is_ordered], other[is_ordered]
    borders = shapely.boundary(regions)
    common = shapely.intersection(borders[one], borders[other])
    length_m = _lengths_of_lines_m(common, metres)
    is_touch = shapely.touches(regions[one], regions[other])
    kind = np.where(is_touch, np.where(length_m > 0, _EDGE, _CORNER), _OVERLAP)
    return rank[one], rank[other], kind, length_m


def _lengths_of_lines_m(geometries: Any, metres: Metres) -> Floats:
    """The length of the lines in each geometry."""
    parts, owner = shapely.get_parts(geometries, return_index=True)
    is_line = shapely.get_dimensions(parts) == 1
    parts, owner = parts[is_line], owner[is_line]
    inner, owner_of_inner = shapely.get_parts(parts, return_index=True)
    xy, line = shapely.get_coordinates(inner, return_index=True)
    is_same = line[1:] == line[:-1]
    lengths_m = _lengths_m(xy[:-1][is_same], xy[1:][is_same], metres)
    total_m = np.bincount(owner[owner_of_inner[line[1:][is_same]]], lengths_m, len(geometries))
    return total_m.astype(np.float64)  # of no lines at all, NumPy counts integers
