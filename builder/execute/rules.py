"""The rules of grains: which rows of an input are given again after a change, and what the function makes of them.

Decides, for each grain, whose output rows a change can touch. What is said of a grain here is what a recipe promises by
declaring it. Never writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from builder.errors import error
from builder.execute.call import Call
from builder.execute.inputs import wanted_type
from builder.execute.spec import InputSpec, UpdateSpec
from builder.execute.updating import Regiven, Replaced, Unfit, Untouched
from builder.graph.grains import place_of
from builder.nouns import replace
from builder.plan.basis import unfit_lookup, unkeyed_input
from builder.store.manifest import Manifest
from builder.tables.among import rows_among
from builder.tables.arrow import arrow_schema, conform
from builder.tables.delta import Delta, delta_between
from builder.tables.frames import to_frame
from builder.tables.lookup import locate, take
from builder.tables.order import sort_by_key
from builder.tables.read import filter_rows
from builder.tables.schema import Schema
from builder.tables.update import Known

Bases = Mapping[str, Manifest]

_WHOLE_FROM = 4
"""To look up one of so many rows of a table costs as much as to read all of them."""


def give_rows(call: Call, update: UpdateSpec, bases: Bases) -> Regiven:
    """The rows of the input that changed, or whose row in a table that is looked up changed, one by one."""
    main = main_of(call)
    delta = delta_of(call, update, main)
    looked_up = [i for i in call.work.inputs if i.on is not None and _name(i) in update.before]
    if not looked_up and not main.where:
        return given_again(call, main, delta.upserted, delta.touched, bases, delta)
    was, now = delta.deleted, delta.upserted
    if main.where:
        was, now = _read_of(main, delta, schema_of(main).key)
    touched = union(now, *(_looking_up(call, update, given, main) for given in looked_up))
    change = given_again(call, main, touched, union(touched, was), bases)
    return replace(change, is_beside=bool(looked_up))


def give_groups(call: Call, update: UpdateSpec, bases: Bases) -> Regiven:
    """All rows of each group that a changed row is in, or was in."""
    main = main_of(call)
    delta = delta_of(call, update, main)
    was, now = _read_of(main, delta, call.decl.grain.by)
    groups = union(distinct(now), distinct(was))
    return given_again(call, main, groups, groups, bases)


def _read_of(main: InputSpec, delta: Delta, names: tuple[str, ...]) -> tuple[pa.Table, pa.Table]:
    """These columns of the rows that changed, as they were and as they are, as far as the recipe reads them."""
    asked = tuple(dict.fromkeys((*names, *(column for column, _ in main.where))))
    was, now = (filter_rows(rows, main.where).select(names) for rows in (delta.before(asked), delta.upserts(asked)))
    return was, now


def fold(call: Call, update: UpdateSpec, bases: Bases) -> Replaced:
    """Counters less what rows gave that are no more as they were, with what rows give as they are now."""
    main = main_of(call)
    delta = delta_of(call, update, main)
    ((output, target),) = call.work.outputs
    schema = bases[target].schema
    assert schema is not None
    names = columns_of(call, main)
    sides = [frame_of(call, main, filter_rows(r, main.where)) for r in (delta.upserts(names), delta.before(names))]
    change = call.counters(**others_of(call, main))
    change.add(sides[0])
    change.subtract(sides[1])
    touched = pa.Table.from_pandas(change.touched(), preserve_index=False)
    touched = sort_by_key(conform(touched, schema.select(schema.key), place=call.place), schema.key)
    at = locate(call.store, bases[target], touched)
    after = change.applied(to_frame(take(at.only(at.is_found), schema.names), schema))
    tested = 2 * delta.changed + delta.added + delta.removed
    return Replaced({output: after}, {output: touched}, tested, {output: Known(touched, at)})


def look_at_read(call: Call, update: UpdateSpec, bases: Bases) -> Untouched:
    """Of inputs that are read in some rows and columns: that none of these changed."""
    tested = 0
    for given in call.work.inputs:
        if given.shape != "one" or _name(given) not in update.before:
            continue
        delta, schema = delta_of(call, update, given), schema_of(given)
        names = tuple(dict.fromkeys((*schema.key, *columns_of(call, given))))
        was, now = (filter_rows(rows, given.where) for rows in (delta.before(names), delta.upserts(names)))
        if not was.equals(now):
            raise Unfit(f"rows of '{_name(given)}' that it reads changed")
        tested += delta.upserted.num_rows + delta.deleted.num_rows
    return Untouched(tested)


# -- what arrives ------------------------------------------------------------------------------------------------------


def main_of(call: Call) -> InputSpec:
    """The single keyed table whose rows the recipe's grain goes by."""
    of, inputs = call.decl.grain.of, call.work.inputs
    at = None if of is None else place_of(of, [(g.parameter, [item.name for item in g.items], g.on) for g in inputs])
    if at is None or inputs[at].shape != "one":
        raise Unfit("its rows go by no single table")
    if why := unkeyed_input(_name(inputs[at]), schema_of(inputs[at])):
        raise Unfit(why)
    _check_there(call, inputs[at], call.decl.grain.by, "goes by groups of", "b.groups(…, of)")
    return inputs[at]


def _name(given: InputSpec) -> str:
    return given.items[0].name


def manifest_of(given: InputSpec) -> Manifest:
    """The version now of an input that is one table."""
    manifest = given.items[0].manifest
    if manifest is None or manifest.schema is None:
        raise Unfit(f"'{_name(given)}' is no table")
    return manifest


def schema_of(given: InputSpec) -> Schema:
    """The schema of an input that is one table."""
    schema = manifest_of(given).schema
    assert schema is not None
    return schema


def delta_of(call: Call, update: UpdateSpec, given: InputSpec) -> Delta:
    """What changed in an input since the base was built."""
    now = manifest_of(given)
    found = delta_between(call.store, update.before.get(_name(given), now), now)
    if found is None:
        raise Unfit(f"'{_name(given)}' has another schema or key than before")
    return found


def columns_of(call: Call, main: InputSpec) -> tuple[str, ...]:
    """The columns to read of the main input: those that arrive, and those by which rows are chosen or looked up."""
    schema = schema_of(main)
    wanted = schema.names if main.columns is None else schema.named(main.columns)
    looked_up = [given.on for given in call.work.inputs if given.on is not None]
    _check_there(call, main, looked_up, "looks up by", "b.lookup(…, on=…)")
    return tuple(dict.fromkeys((*wanted, *(c for c, _ in main.where), *looked_up)))


def _check_there(call: Call, main: InputSpec, names: Iterable[str], does: str, said: str) -> None:
    """Refuse columns that the main input does not have."""
    has = schema_of(main).names
    lost = next((name for name in names if name not in has), None)
    if lost is not None:
        raise error(
            "recipe-error",
            f"'{call.spec.step}' {does} column '{lost}' of '{_name(main)}', which it does not have",
            place=call.place,
            facts=[("column", lost), (f"{_name(main)} has", ", ".join(has[:20]))],
            hint=f"name a column of the input whose rows it goes by: {said}",
            target=call.spec.step,
        )


def given_again(
    call: Call,
    main: InputSpec,
    touched: pa.Table,
    owners: pa.Table,
    bases: Bases,
    delta: Delta | None = None,
    arrived: Mapping[str, Any] | None = None,
    rows: pa.Table | None = None,
) -> Regiven:
    """What the function makes of the rows of the main input that have these values.

    `delta` is the change that touched them, which has found its rows already. `arrived` has the other inputs, where
    they do not arrive as in a full run; `rows` are the rows of the main input, where they were asked for before.
    """
    _check_carried(owners, bases)
    if touched.num_rows == 0:
        return Regiven(owners, None, 0)
    rows = rows_asked(call, main, touched, delta) if rows is None else rows
    if rows.num_rows == 0:
        return Regiven(owners, None, touched.num_rows)
    rest = others_of(call, main, rows) if arrived is None else arrived
    return Regiven(owners, call.run({main.parameter: frame_of(call, main, rows), **rest}), touched.num_rows)


def rows_asked(call: Call, main: InputSpec, touched: pa.Table, delta: Delta | None = None) -> pa.Table:
    """The rows of the main input that have these values, as far as the recipe reads them."""
    names = columns_of(call, main)
    if delta is not None and touched is delta.upserted:
        return filter_rows(delta.upserts(names), main.where)
    return filter_rows(rows_among(call.store, manifest_of(main), touched, names), main.where)


def _check_carried(owners: pa.Table, bases: Bases) -> None:
    """Refuse outputs whose key does not say whose each row is."""
    for target, base in bases.items():
        assert base.schema is not None
        lost = lost_owner(owners, base.schema)
        if lost is not None:
            raise Unfit(
                f"'{lost}' is not in the key of '{target}' as it is in the input, so that no row is found by it"
            )


def lost_owner(owners: pa.Table, schema: Schema) -> str | None:
    """The first column of the owners that the key does not have, or has with other values: of another type."""
    types = {field.name: field.type for field in arrow_schema(schema.select(schema.key))}
    return next((f.name for f in owners.schema if types.get(f.name) != f.type), None)


def frame_of(call: Call, given: InputSpec, rows: pa.Table, wanted: str = "") -> Any:
    """Some rows of an input as it arrives in a full run, or as the wanted kind of frame."""
    schema = schema_of(given)
    names = schema.names if given.columns is None else schema.named(given.columns)
    return call.arrival.frame(
        rows.select(names), schema.select(names), wanted or wanted_type(call.annotation(given)), _name(given)
    )


def others_of(
    call: Call,
    main: InputSpec,
    rows: pa.Table | None = None,
    *,
    is_whole_better: bool = False,
    also: Callable[[InputSpec, str], pa.Table] | None = None,
) -> dict[str, Any]:
    """All other inputs as they arrive; of a table that is looked up only the rows that these `rows` look up.

    `is_whole_better`: it arrives whole where they look a good part of it up, which costs more than to read it.
    `also` gives, of such a table and the name of its key, keys of rows that arrive besides.
    """
    found = {}
    for given in call.work.inputs:
        if given is main:
            continue
        few = None if given.on is None or rows is None else _looked_up(call, given, main, rows, is_whole_better, also)
        found[given.parameter] = call.arrived(given) if few is None else few
    return found


# -- looking up --------------------------------------------------------------------------------------------------------


def _side_key(given: InputSpec, main: InputSpec) -> str:
    """The one column that names the rows of a table that is looked up."""
    assert given.on is not None
    schema = schema_of(given)
    if why := unfit_lookup(_name(given), given.on, schema, schema_of(main)):
        raise Unfit(why)
    return schema.key[0]


def _looking_up(call: Call, update: UpdateSpec, given: InputSpec, main: InputSpec) -> pa.Table:
    """The keys of the rows that look a changed row up."""
    assert given.on is not None
    side = delta_of(call, update, given)
    changed = union(side.upserted, side.deleted)
    values = pa.table({given.on: changed.column(_side_key(given, main))})
    key = schema_of(main).key
    names = tuple(dict.fromkeys((*key, *(column for column, _ in main.where))))
    return filter_rows(rows_among(call.store, manifest_of(main), values, names), main.where).select(key)


def _looked_up(
    call: Call,
    given: InputSpec,
    main: InputSpec,
    rows: pa.Table,
    is_whole_better: bool,
    also: Callable[[InputSpec, str], pa.Table] | None,
) -> Any:
    """The rows of a table that these rows of the main input look up, as they arrive; None: better all of them."""
    assert given.on is not None
    key = _side_key(given, main)
    values = pc.drop_null(rows.column(given.on).combine_chunks().unique())
    if is_whole_better and len(values) * _WHOLE_FROM > manifest_of(given).rows:
        return None
    asked = pa.table({key: values})
    if also is not None:
        asked = union(asked, also(given, key))
    return frame_of(call, given, rows_among(call.store, manifest_of(given), asked, schema_of(given).names))


# -- sets of keys ------------------------------------------------------------------------------------------------------


def distinct(rows: pa.Table) -> pa.Table:
    """Each combination of values once."""
    return rows.group_by(rows.column_names, use_threads=False).aggregate([])


def union(one: pa.Table, *others: pa.Table) -> pa.Table:
    """The rows of all, each once."""
    return distinct(pa.concat_tables([one, *(o.select(one.column_names).cast(one.schema) for o in others)]))
