"""Rows that an update leaves as they are, given to the function alone: they show which columns and dtypes a table has
without the rows that went.

A dtype of some rows is no narrower than that of fewer of them, so what the rows that stay have by themselves, and those
that came have too, a full run has. Of a large table only some are asked: its first rows, which put columns in order,
others all over it, and such as have rows in the outputs. Never raises what the function raises: that shows nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from builder.errors import DataError, RecipeError
from builder.execute.call import Call
from builder.execute.rules import distinct, frame_of, main_of, manifest_of, others_of, rows_asked
from builder.execute.updating import returned
from builder.store.manifest import Manifest
from builder.tables.arrow import arrow_schema
from builder.tables.keys import without
from builder.tables.layers import table_schema
from builder.tables.order import sort_by_key
from builder.tables.read import Where, filter_rows, read_parts
from builder.tables.schema import Schema

MOST_ROWS = 1000
"""Rows of a table that are looked at to choose from; of one with fewer than half as many it is all."""

MOST_GROUPS = 20
MOST_GROUP_ROWS = 100_000


def shown_by_rest(call: Call, owners: pa.Table, bases: Mapping[str, Manifest]) -> dict[str, Schema]:
    """The schema that each output has of some rows of other owners than these alone.

    Empty where no row is left, or the function fails for these few.

    Parameters
    ----------
    owners
        What a row's owner is known by, of all that changed: columns of the input, and of each output's key.
    bases
        The last version of each target.
    """
    main = main_of(call)
    few = _others(call, owners, bases)
    rows = rows_asked(call, main, few) if few.num_rows else few
    if rows.num_rows == 0:
        return {}
    try:
        made = call.run({main.parameter: frame_of(call, main, rows), **others_of(call, main, rows)})
        return {output: returned(call, value)[1] for output, value in made.items()}
    except (RecipeError, DataError):
        return {}


def _others(call: Call, owners: pa.Table, bases: Mapping[str, Manifest]) -> pa.Table:
    """Some owners of rows, but not these: of rows of the input, and of rows of each output."""
    main, names = main_of(call), tuple(owners.column_names)
    inputs = _some(call, manifest_of(main), names, main.where)
    found = [distinct(inputs), *(distinct(_some(call, base, names)) for base in bases.values())]
    fields = pa.schema([field.with_nullable(True) for field in owners.schema])
    changed = sort_by_key(owners.cast(fields).drop_null(), names)
    left = [without(sort_by_key(table.drop_null(), names), changed, names) for table in found]
    left = [table.cast(changed.schema) for table in left]  # columns of a key are not null, others may be
    if call.decl.grain.kind == "groups":
        a_group = max(1, manifest_of(main).rows // max(1, found[0].num_rows))
        most = max(1, min(MOST_GROUPS, MOST_GROUP_ROWS // a_group) // len(left))
        left = [table.slice(0, most) for table in left]
    return distinct(pa.concat_tables(left))


def _some(call: Call, table: Manifest, names: tuple[str, ...], where: Where = ()) -> pa.Table:
    """These columns of the first rows of a table and of some in its middle and at its end."""
    parts = len(table.layers[0].upserts) if table.layers else 0
    spans = sorted({0, parts // 2, max(0, parts - 1)})
    asked = tuple(dict.fromkeys((*names, *(column for column, _ in where))))
    few = MOST_ROWS // (2 * len(spans))
    found = [arrow_schema(table_schema(table).select(names)).empty_table()]
    for span in spans:
        rows = next(read_parts(call.store, table, asked, span=range(span, span + 1)), None)
        kept = found[0] if rows is None else filter_rows(rows, where).select(names)
        if last := kept.num_rows:
            at = np.union1d(np.arange(min(few, last)), np.linspace(0, last - 1, few).astype(np.int64))
            found.append(kept.take(pa.array(at)))
    return pa.concat_tables(found)
