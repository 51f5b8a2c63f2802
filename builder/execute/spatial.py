"""The rule of points and regions: which points may lie in another region now, and the few regions they are asked of.

Decides by edges: a region holds a point as before unless the point is near an edge that changed. Membership is never
had from an overlay: the points in question are asked again, of an index of only the regions that they can be in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from builder.execute.call import Call
from builder.execute.indexes import nearly_index_of, note_nearly, read_of
from builder.execute.rules import (
    Bases,
    columns_of,
    delta_of,
    frame_of,
    given_again,
    main_of,
    manifest_of,
    rows_asked,
    schema_of,
    union,
)
from builder.execute.spec import InputSpec, UpdateSpec
from builder.execute.updating import Regiven, Unfit
from builder.nouns import dataclass, replace
from builder.tables.among import rows_among
from builder.tables.arrow import arrow_schema
from builder.tables.layers import look_over
from builder.tables.lookup import at_positions, take
from builder.tables.read import filter_rows
from builder.tables.schema import GEOMETRY

MOST_ASKED = 0.6
"""The share of the points from which on to ask all of them anew is no more work."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of regions: the boxes around their changed edges, and the ids of all that changed, came or went."""

    boxes: np.ndarray
    ids: pa.Array


def reassign(call: Call, update: UpdateSpec, bases: Bases) -> Regiven:
    """The points that changed, and those near changed edges of regions, with the regions they lie in now."""
    points = main_of(call)
    regions = next(i for i in call.work.inputs if i is not points)
    delta = delta_of(call, update, points)
    if regions.items[0].name not in update.before:
        arrived = call.arrived(regions)
        return given_again(call, points, delta.upserted, delta.touched, bases, delta, {regions.parameter: arrived})
    moved = _moved(call, update, regions)
    wanted, has_new = columns_of(call, points), delta.upserted.num_rows > 0
    close = _near(call, points, moved, () if has_new else wanted)
    touched = union(delta.upserted, close.select(schema_of(points).key))
    if touched.num_rows > MOST_ASKED * manifest_of(points).rows and call.decl.policy != "require":
        raise Unfit(f"{touched.num_rows:,} points are near changed edges")
    is_read = not has_new and {*wanted} <= {*close.column_names}
    rows = filter_rows(close.select(wanted), points.where) if is_read else rows_asked(call, points, touched)
    few = {regions.parameter: _few_regions(call, update, regions, rows, moved)}
    return given_again(call, points, touched, union(touched, delta.deleted), bases, arrived=few, rows=rows)


def warm() -> None:
    """Compile or load the loops of this rule."""
    import shapely

    from builder.transforms import region_index
    from builder.transforms.region_changes import changed_boxes, near

    region_index.warm()
    near(changed_boxes([shapely.box(0, 0, 1, 1)], [None]), [0.5], [0.5])


def _moved(call: Call, update: UpdateSpec, regions: InputSpec) -> Moved:
    """How the regions changed."""
    from builder.transforms.region_changes import changed_boxes

    schema = schema_of(regions)
    region_id = call.region_id
    if schema.key != (region_id,):
        raise Unfit(f"'{region_id}' is not the key of the regions")
    delta = delta_of(call, update, regions)
    ids = union(delta.upserted, delta.deleted).column(region_id).combine_chunks()
    names = (region_id, *schema.named((GEOMETRY,)))
    old, new = (_shapes(rows, ids) for rows in (delta.before(names), delta.upserts(names)))
    return Moved(changed_boxes(old, new), ids)


def _shapes(rows: pa.Table, ids: pa.Array) -> np.ndarray:
    """The geometry of each of these regions; None for one that is not there."""
    import pyarrow.compute as pc
    import shapely

    at = pc.index_in(ids, rows.column(0).combine_chunks())
    return np.asarray(shapely.from_wkb(rows.column(1).combine_chunks().take(at).to_numpy(zero_copy_only=False)))


def _near(call: Call, points: InputSpec, moved: Moved, wanted: Sequence[str]) -> pa.Table:
    """The points in one of the boxes, in row order: their keys, and the wanted columns where that costs little."""
    from builder.transforms.region_changes import near

    manifest, key, coordinates = manifest_of(points), schema_of(points).key, tuple(dict.fromkeys(call.lon_lat))
    is_plain = len(manifest.layers) == 1  # else the keys are read in any case, to put the layers together
    names = coordinates if is_plain else tuple(dict.fromkeys((*key, *coordinates)))
    at, found, start = [np.empty(0, np.int64)], [arrow_schema(schema_of(points).select(names)).empty_table()], 0
    for rows in look_over(call.store, manifest, names):
        chosen = np.flatnonzero(near(moved.boxes, *(rows.column(c).to_numpy() for c in call.lon_lat)))
        at.append(chosen + start)
        start += rows.num_rows
        if not is_plain:
            found.append(rows.take(pa.array(chosen)))
    if is_plain:
        positions = np.concatenate(at)
        is_much = len(positions) > MOST_ASKED * manifest.rows  # which the keys alone will tell
        names = key if is_much else tuple(dict.fromkeys((*key, *wanted)))
        return take(at_positions(call.store, manifest, positions), names)
    return pa.concat_tables(found)


def _few_regions(call: Call, update: UpdateSpec, regions: InputSpec, points: pa.Table, moved: Moved) -> Any:
    """An index of the regions that any of these points can be in; of all where no earlier one is kept."""
    from builder.transforms import RegionIndex

    name = regions.items[0].name
    before = replace(regions, items=(replace(regions.items[0], manifest=update.before[name]),))
    found = nearly_index_of(call.store, read_of(before))
    if found is None:
        return call.arrived(regions)
    index, changed = found
    lon, lat = call.lon_lat
    _, at = index.pairs(*(points.column(c).to_numpy() for c in (lon, lat)), predicate="intersects")
    held = index.ids.take(np.unique(at)).to_list()  # a column of Arrow's may lie in several chunks
    ids = pa.concat_arrays([pa.array(held, moved.ids.type), pa.array(sorted(changed), moved.ids.type), moved.ids])
    note_nearly(call.store, read_of(before), read_of(regions), moved.ids.to_pylist())
    asked = pa.table({call.region_id: ids.unique()})
    few = rows_among(call.store, manifest_of(regions), asked, schema_of(regions).named(regions.columns or ()))
    return RegionIndex(frame_of(call, regions, few, "geopandas"), call.region_id, threads=1)
