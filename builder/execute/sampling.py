"""Some rows of the inputs as they are now, given to a function alone: they show which columns and dtypes a table has
that no new row shows.

A dtype of some rows is mostly no wider than that of all of them, so what some have now, and what all had before, a full
run has too. Of small tables these are all rows, so that nothing is left to luck; of a large one its first rows, which
put columns in order, others all over it, some that changed, and such as have rows in the outputs.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from builder.errors import DataError, RecipeError
from builder.execute.call import Call, check_moved
from builder.execute.rules import distinct, frame_of, main_of, manifest_of, others_of, rows_asked, union
from builder.execute.spec import InputSpec
from builder.execute.updating import returned
from builder.store.manifest import Manifest
from builder.tables.arrow import arrow_schema
from builder.tables.layers import table_schema
from builder.tables.read import Where, filter_rows, read_parts
from builder.tables.schema import Schema

MOST_ROWS = 1000
"""Rows that are chosen of a table; of one that has no more it is all."""

MOST_GROUPS = 20
MOST_GROUP_ROWS = 100_000


def shown_by_some(call: Call, owners: pa.Table, bases: Mapping[str, Manifest]) -> dict[str, Schema]:
    """The schema that each output has of some rows alone; empty where there are none, or the function fails for them.

    Parameters
    ----------
    owners
        What a row's owner is known by, of all that changed: columns of the input, and of each output's key.
    bases
        The last version of each target.
    """
    main = main_of(call)
    rows = rows_asked(call, main, _some_owners(call, main, owners, bases))
    if rows.num_rows == 0:
        return {}
    try:
        rest = others_of(call, main, rows, also=lambda given, key: _some(call, manifest_of(given), (key,)))
        made = call.run({main.parameter: frame_of(call, main, rows), **rest})
        check_moved(call.work, call.spec.step)
        return {output: returned(call, value)[1] for output, value in made.items()}
    except (RecipeError, DataError) as caught:
        sys.stdout.write(f"some rows alone show nothing: {caught.message}\n")
        return {}


def _some_owners(call: Call, main: InputSpec, changed: pa.Table, bases: Mapping[str, Manifest]) -> pa.Table:
    """Some owners of rows: of those that changed, of rows of the input, and of rows of each output."""
    names = tuple(changed.column_names)
    inputs = _some(call, manifest_of(main), names, main.where)
    found = [inputs, _spread(changed), *(_some(call, base, names) for base in bases.values())]
    owners = union(*(table.cast(_nullable(changed.schema)) for table in found))
    if call.decl.grain.kind != "groups":
        return owners
    size = max(1, manifest_of(main).rows // max(1, distinct(inputs).num_rows))
    most = min(MOST_GROUP_ROWS // size, max(MOST_GROUPS, MOST_ROWS // size))
    if owners.num_rows <= most:
        return owners
    few = max(1, most // len(found))
    return union(*(_spread(distinct(table), few).cast(owners.schema) for table in found))


def _some(call: Call, table: Manifest, names: tuple[str, ...], where: Where = ()) -> pa.Table:
    """These columns of a small table's rows; of a large one's first rows and of some in its middle and at its end."""
    asked = tuple(dict.fromkeys((*names, *(column for column, _ in where))))
    if table.rows <= MOST_ROWS:
        pieces = list(read_parts(call.store, table, asked))
    else:
        last = len(table.layers[0].upserts) - 1
        spans = [range(at, at + 1) for at in sorted({0, last // 2, max(0, last)})]
        firsts = (next(read_parts(call.store, table, asked, span=span), None) for span in spans)
        pieces = [_spread(filter_rows(rows, where), MOST_ROWS // len(spans)) for rows in firsts if rows is not None]
    empty = arrow_schema(table_schema(table).select(names)).empty_table()
    return pa.concat_tables([empty, *(filter_rows(rows, where).select(names) for rows in pieces)])


def _spread(rows: pa.Table, most: int = MOST_ROWS) -> pa.Table:
    """All rows where there are no more; else the first of them, and others at even distances."""
    count = rows.num_rows
    if count <= most:
        return rows
    at = np.union1d(np.arange((most + 1) // 2), np.linspace(0, count - 1, most // 2 + 1).astype(np.int64))
    return rows.take(pa.array(at))


def _nullable(schema: pa.Schema) -> pa.Schema:
    """The fields as they are where nulls may be: columns of a key have none, those of an input may have."""
    return pa.schema([field.with_nullable(True) for field in schema])
