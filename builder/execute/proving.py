"""Whether a recipe is what its grain says: rows given apart have to come out as they did in the whole.

Decides the rows to try: all of a small table, some of a large one, and some with nulls, which is where a mean or a rank
of the whole shows. They are shuffled and dealt into two halves, the same for the same input, each in the order that
recipes are promised. Proves nothing about rows that were not tried; audits go on where this ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from builder.errors import BuilderError, DataError, RecipeError, error
from builder.execute.call import Call
from builder.execute.rules import frame_of, lost_owner, main_of, manifest_of, others_of, rows_asked, schema_of
from builder.execute.spec import InputSpec, UpdateSpec
from builder.execute.updating import Unfit, returned, table_of
from builder.store.manifest import Manifest
from builder.tables.among import rows_among
from builder.tables.batches import HIGH, LOW, hashed_table
from builder.tables.cells import hash_rows
from builder.tables.layers import look_over
from builder.tables.read import filter_rows, read_table
from builder.tables.schema import Schema

MOST_ROWS = 1000
MOST_GROUPS = 20
MOST_GROUP_ROWS = 100_000
_NULLS = 3
"""Rows with a null that are tried of each column."""
_COUNT = "\0rows"  # no name of a column


def check_grain(call: Call, made: Mapping[str, Manifest]) -> None:
    """Refuse a recipe whose rows, given in two halves, come out otherwise than in the whole.

    Raises
    ------
    RecipeError
        ``not-a-row-recipe`` with an example.
    """
    grain = call.decl.grain
    if grain.kind not in ("rows", "groups") or call.decl.ready_made is not None:
        return
    try:
        main = main_of(call)
        chance = np.random.default_rng(int(manifest_of(main).digest[:16], 16))
        owners = _some_rows(call, main, chance) if grain.kind == "rows" else _some_groups(call, main, grain.by, chance)
        if len(owners.drop_null()) < 2 or any(m.schema is None or lost_owner(owners, m.schema) for m in made.values()):
            return
        for half in _halves(owners, chance):
            _try(call, main, half, made)
    except Unfit:
        return  # nor will an update ever be had by this grain


def is_unproven(call: Call, update: UpdateSpec) -> bool:
    """Whether what the last outputs were built from was too little to try the grain by.

    So is one row, one group, or one row of a table that is looked up.
    """
    grain = call.decl.grain
    if update.rule not in ("rows", "groups") or call.decl.ready_made is not None:
        return False
    main = main_of(call)
    if any(given.on is not None and _before(given, update).rows < 2 for given in call.work.inputs):
        return True  # what looks all of a table up may have counted it
    base = _before(main, update)
    if grain.kind == "rows" and not main.where:
        return base.rows < 2
    assert base.schema is not None
    owner = base.schema.key if grain.kind == "rows" else grain.by
    first: list[pa.Scalar] = []
    for rows in look_over(call.store, base, tuple(dict.fromkeys((*owner, *(name for name, _ in main.where))))):
        owners = filter_rows(rows, main.where).select(owner).drop_null()
        if owners.num_rows:
            first = first or [column[0] for column in owners.columns]
            if any(
                pc.any(pc.not_equal(column, one)).as_py() for column, one in zip(owners.columns, first, strict=True)
            ):
                return False
    return True


def _before(given: InputSpec, update: UpdateSpec) -> Manifest:
    """The version of an input that the last outputs were built from."""
    return update.before.get(given.items[0].name, manifest_of(given))


def _halves(owners: pa.Table, chance: np.random.Generator) -> list[pa.Table]:
    """Owners of rows dealt at random into two halves, each in the order in which they are given.

    Those with a null go with one half: alone they are not what any full run sees.
    """
    full = owners.drop_null()
    dealt = chance.permutation(full.num_rows)
    middle = (full.num_rows + 1) // 2
    one, other = (full.take(pa.array(np.sort(at))) for at in (dealt[:middle], dealt[middle:]))
    return [one, pa.concat_tables([other, owners.slice(full.num_rows)])]


def _try(call: Call, main: InputSpec, owners: pa.Table, made: Mapping[str, Manifest]) -> None:
    """Refuse rows that come out otherwise where only those of these owners are given."""
    rows = rows_asked(call, main, owners)
    if rows.num_rows == 0:
        return  # nor is the function called for none by an update
    rest = others_of(call, main, rows)
    try:
        pieces = call.run({main.parameter: frame_of(call, main, rows), **rest})
        alone = {output: returned(call, piece) for output, piece in pieces.items()}
    except (RecipeError, DataError) as cause:
        raise _alone(call, owners.num_rows, cause) from cause
    for output, target in call.work.outputs:
        _compare(call, *alone[output], made[target], owners)


def _alone(call: Call, count: int, cause: BuilderError) -> BuilderError:
    """The error of a function that raises where few rows are given; whether it is to blame, nobody knows."""
    kind = call.decl.grain.kind
    return error(
        "recipe-error",
        f"'{call.spec.step}' is declared with grain=b.{kind}(…), and fails where some {kind} are given alone",
        place=cause.place or call.place,
        facts=[("tried alone", f"{count:,} {kind}"), ("error", cause.message), *cause.facts],
        hint="let it work on any of its rows, as updates give them, or take grain= away",
        target=call.spec.step,
    )


def _some_rows(call: Call, main: InputSpec, chance: np.random.Generator) -> pa.Table:
    """The keys of some rows of the input; of all where there are no more."""
    manifest, schema = manifest_of(main), schema_of(main)
    names = [n for n in schema.names if manifest.nulls.get(n) and n not in schema.key]
    table = read_table(call.store, manifest, (*schema.key, *names), main.where)
    chosen = chance.choice(table.num_rows, min(MOST_ROWS, table.num_rows), replace=False)
    empty = [pc.indices_nonzero(pc.is_null(table.column(n))).slice(0, _NULLS).to_numpy() for n in names]
    at = np.unique(np.concatenate([chosen, *empty]))
    return table.select(schema.key).take(pa.array(at.astype(np.int64)))


def _some_groups(call: Call, main: InputSpec, by: tuple[str, ...], chance: np.random.Generator) -> pa.Table:
    """The values of some groups of the input; of all where there are no more, and they are small.

    After them come some with a null, of which no row may come.
    """
    table = read_table(call.store, manifest_of(main), by, main.where)
    groups = table.group_by(list(by), use_threads=False).aggregate([([], "count_all")])
    groups = groups.rename_columns([*by, _COUNT]).sort_by([(name, "ascending") for name in by])
    is_full = reduce(pc.and_, (pc.is_valid(groups.column(name)) for name in by))
    none, groups = groups.filter(pc.invert(is_full)).slice(0, _NULLS), groups.filter(is_full)
    none = none.filter(pc.less_equal(pc.cumulative_sum(none.column(_COUNT)), MOST_GROUP_ROWS))
    chosen = chance.permutation(groups.num_rows)[:MOST_GROUPS]
    rows = np.cumsum(groups.column(_COUNT).to_numpy()[chosen])
    chosen = chosen[: max(2, int(np.searchsorted(rows, MOST_GROUP_ROWS, "right")))]
    return pa.concat_tables([groups.take(pa.array(np.sort(chosen))), none]).select(by)


def _compare(call: Call, table: pa.Table, found: Schema, made: Manifest, owners: pa.Table) -> None:
    """Refuse rows, and columns, that differ between what they are alone and what they are in the whole."""
    schema = made.schema
    assert schema is not None
    whole = rows_among(call.store, made, owners.drop_null(), (*schema.names, LOW, HIGH))  # no key is null
    if table.num_rows and found.names != schema.names:
        raise _not_so(call, owners.num_rows, [("in the whole", _columns(schema)), ("alone", _columns(found))])
    try:
        alone = table_of(call, table, found, schema)
    except Unfit:
        return  # dtypes by the luck of a few rows say nothing of the rows
    now, was = _hashes(hashed_table(alone, hash_rows(alone, schema)[0])), _hashes(whole)
    for rows, own, other in ((alone, now, set(was)), (whole, was, set(now))):
        odd = next((at for at, pair in enumerate(own) if pair not in other), None)
        if odd is not None:
            key = rows.select(schema.key).slice(odd, 1)
            facts = [("in the whole", _row(whole, key, schema)), ("alone", _row(alone, key, schema))]
            raise _not_so(call, owners.num_rows, facts)


def _columns(schema: Schema) -> str:
    """The names of the columns, the first of many."""
    more = len(schema.names) - 20
    return "columns " + ", ".join(schema.names[:20]) + (f" and {more:,} more" if more > 0 else "")


def _hashes(rows: pa.Table) -> list[tuple[int, int]]:
    return list(zip(rows.column(LOW).to_pylist(), rows.column(HIGH).to_pylist(), strict=True))


def _row(rows: pa.Table, key: pa.Table, schema: Schema) -> str:
    """The row of a key for people, its first columns."""
    for name in schema.key:
        rows = rows.filter(pc.equal(rows.column(name), key.column(name)[0]))
    if rows.num_rows == 0:
        return "no such row of these"
    return ", ".join(f"{n} {str(rows.column(n)[0].as_py())[:60]!r}" for n in schema.names[:8])


def _not_so(call: Call, count: int, facts: list[tuple[str, str]]) -> BuilderError:
    kind = call.decl.grain.kind
    return error(
        "not-a-row-recipe",
        f"'{call.spec.step}' is declared with grain=b.{kind}(…), and its rows depend on more than that",
        place=call.place,
        facts=[("tried alone", f"{count:,} {kind}"), *facts],
        hint="take grain= away, or compute each row from its own row, each group from its rows, in the same columns",
        target=call.spec.step,
    )
