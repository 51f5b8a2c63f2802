"""Outputs made from their last version and from what changed in the inputs, by the rule of a grain.

Decides what an update has to prove before it may stand for a full run: the schema that a full run would give, rows that
belong to what changed. What a rule cannot follow is `Unfit`, and the step runs whole. Never commits.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, ClassVar, Final

import numpy as np
import pyarrow as pa

from builder.errors import BuilderError, DataError, error
from builder.execute.call import Call, check_moved
from builder.execute.spec import Output, UpdateSpec
from builder.execute.ways import must_update
from builder.plan.basis import unkeyed_output
from builder.store.manifest import Manifest
from builder.tables.among import rows_among
from builder.tables.arrow import arrow_schema, conform
from builder.tables.frames import from_result, to_frame
from builder.tables.keys import without
from builder.tables.order import sort_by_key
from builder.tables.read import read_parts, read_table
from builder.tables.schema import Column, Schema
from builder.tables.update import Known, Updated, write_update

_RULES: Final = {
    "rows": ("builder.execute.rules", "give_rows"),
    "groups": ("builder.execute.rules", "give_groups"),
    "fold": ("builder.execute.rules", "fold"),
    "spatial": ("builder.execute.spatial", "reassign"),
    "update": ("builder.execute.own", "update"),
    "where": ("builder.execute.rules", "look_at_read"),
}

_LATER: Final = ("builder.execute.proving", "builder.tables.kernels", "builder.tables.search", "pyarrow.acero")
"""What rules, and the look whether they are proven, import only where they need it."""

_WIDE = ("float64", "Int64", "boolean")
"""Dtypes that a column may have by some of its values."""

_NARROW = ("int64", "bool")
"""Dtypes that a column has by all of its values."""

_WIDENED = (*_WIDE, *_NARROW)
"""Dtypes that a column has by the luck of its nulls, where nobody declared it: pandas widens whole numbers that meet
one."""


class Unfit(Exception):
    """A rule cannot follow this change; the message says why the step runs whole."""


@dataclass(frozen=True, slots=True)
class Regiven:
    """Rows that were given again, by output, in place of all that belonged to the same owners.

    ``owners`` holds, each once, the values of the columns that a row's owner is known by: the key of the input's row,
    or the columns of a group. ``pieces`` is what the function made of them; None where it had nothing to make.
    ``tested`` counts the rows of the input that were looked at. ``is_beside``: a table that is looked up changed, also
    in rows that nobody looks up.
    """

    owners: pa.Table
    pieces: Mapping[str, Any] | None
    tested: int
    is_beside: bool = False

    @property
    def is_touched(self) -> bool:
        """Whether what the function is given changed."""
        return self.is_beside or self.owners.num_rows > 0

    @property
    def is_seen(self) -> bool:
        """Whether what it made shows the columns that a full run would give."""
        return self.pieces is not None and not self.is_beside


@dataclass(frozen=True, slots=True)
class Replaced:
    """Rows to put in place by key, and keys whose rows go where none is put; by output.

    ``known``: keys that were located in the last version already.
    """

    upserts: Mapping[str, Any]
    gone: Mapping[str, pa.Table]
    tested: int
    known: Mapping[str, Known] = field(default_factory=dict)
    is_touched: ClassVar = True
    is_seen: ClassVar = True


@dataclass(frozen=True, slots=True)
class Untouched:
    """Nothing changed in what is read: all outputs stand."""

    tested: int


def updated(call: Call, update: UpdateSpec) -> tuple[Output, ...] | None:
    """The outputs of a step, brought up to date by a rule; None where it has to run whole.

    Raises
    ------
    BuilderError
        What the recipe raises, as in a full run; ``not-a-row-recipe`` where a row belongs to none that it was given.
    """
    rule = load_rule(update.rule)
    try:
        is_filtered = update.rule == "where"
        bases = {} if is_filtered else {target: _base(call, target) for _, target in call.work.outputs}
        with call.placed():
            change = rule(call, update, bases)
        check_moved(call.work, call.spec.step)
        if isinstance(change, Untouched):
            return tuple(_standing(call, target, change.tested) for _, target in call.work.outputs)
        apart = {t: update.read_apart.get(t, ()) for t in bases}
        shown = cache(partial(_shown_by_some, call, change, bases))
        made = {t: _written(call, change, output, bases[t], apart[t], shown) for output, t in call.work.outputs}
        if call.decl.check is not None:
            _check_whole(call, made)
    except Unfit as why:
        call.folder.discard()
        if call.decl.policy == "require":
            raise must_update(call.spec.step, call.place, str(why)) from None
        sys.stdout.write(f"runs whole: {why}\n")
        return None
    except BuilderError as caught:
        if update.rule == "update" and isinstance(caught, DataError):
            caught.facts = (*caught.facts, ("rows of", "what its own update gave"))
        if call.decl.policy == "require" or _is_told(update.rule, caught.code):
            raise
        call.folder.discard()
        sys.stdout.write(f"runs whole, for its update failed: {caught.message}\n")
        return None
    return tuple(
        Output(t, m.manifest, (m.added, m.removed, m.changed), update.rule, change.tested) for t, m in made.items()
    )


def _standing(call: Call, target: str, tested: int) -> Output:
    """An output that is as it was."""
    manifest = call.spec.previous[target]
    return Output(target, manifest, (0, 0, 0) if manifest.kind == "table" else None, "rows", tested)


def load_rule(name: str) -> Rule:
    """The function of a rule; with all that it imports and compiles, once in a process."""
    module, function = _RULES[name]
    for later in _LATER:
        importlib.import_module(later)
    loaded = importlib.import_module(module)
    if name not in _warm:
        _warm.add(name)
        getattr(loaded, "warm", lambda: None)()
    found: Rule = getattr(loaded, function)
    return found


_warm: set[str] = set()
Rule = Callable[[Call, UpdateSpec, Mapping[str, Manifest]], Regiven | Replaced | Untouched]
Shown = Callable[[], Mapping[str, Schema]]


def _computed(value: Any, is_declared: bool) -> Any:
    """A dask collection as one frame; anything else as it is."""
    if not is_dask(value):
        return value
    if not is_declared:
        raise Unfit("the dtypes of a dask collection are those of its first part; columns= would say them")
    import dask

    with dask.config.set(scheduler="synchronous"):
        return value.compute()


def is_dask(value: Any) -> bool:
    """Whether a value is a dask collection."""
    return type(value).__module__.startswith("dask")


def _is_told(rule: str, code: str) -> bool:
    """Whether an error is told as it is. All else a full run tells, which may as well end well: few rows may raise
    where all do not, a sum of some overflow where that of all fits, a check want the very frame that was returned.
    """
    if code.startswith("store-"):
        return rule != "where"  # a full run needs no old version, and finds what is wrong with the present one
    if code in ("not-a-row-recipe", "source-moved", "internal"):
        return True
    return rule == "update" and code != "check-failed"


def _base(call: Call, target: str) -> Manifest:
    """The last version of an output, which has to be a keyed table."""
    base = call.spec.previous.get(target)
    why = unkeyed_output(target, None if base is None else base.schema)
    if base is None or why:
        raise Unfit(why)
    if not base.total:
        raise Unfit(f"the last version of '{target}' was written by an older builder")
    return base


def _written(
    call: Call, change: Regiven | Replaced, output: str, base: Manifest, read_apart: tuple[str, ...], shown: Shown
) -> Updated:
    """A new version of one output."""
    assert base.schema is not None
    schema = base.schema
    known = None
    if isinstance(change, Replaced):
        known = change.known.get(output)
        upserts = table_of(call, *returned(call, change.upserts[output]), schema)
        gone = change.gone[output]
    else:
        nothing = arrow_schema(schema).empty_table()
        upserts = nothing if change.pieces is None else _in_order(call, change.pieces[output], schema)
        if any(upserts.column(name).null_count for name in schema.key):
            raise Unfit("its key is null in some rows")
        _check_owners(call, upserts, change.owners, schema.key)
        owners = change.owners.drop_null()  # no row is of null, which a key cannot be
        is_key = owners.column_names == list(schema.key)
        gone = owners if is_key else rows_among(call.store, base, owners, schema.key)
    made = write_update(call.store, base, upserts, gone, call.folder, read_apart=read_apart, known=known)
    new = upserts if change.is_seen else None
    if made.manifest is not base or (change.is_touched and (new is None or not new.num_rows)):
        _check_luck(call, output, base, made.manifest, new, shown)
    return made


def returned(call: Call, value: Any) -> tuple[pa.Table, Schema]:
    """What a function returned as a table, and the schema that this table has alone."""
    decl = call.decl
    return from_result(
        _computed(value, bool(decl.columns)), decl.key, decl.columns, recipe=call.spec.step, place=call.place
    )


def _in_order(call: Call, value: Any, schema: Schema) -> pa.Table:
    """What a function returned for some rows as a table of the schema of the whole.

    Raises
    ------
    Unfit
        A column came out with another dtype, or in another place, than in the whole.
    """
    table, found = returned(call, value)
    whole = table_of(call, table, found, schema)
    if found.names != schema.names:
        raise Unfit("its columns came in another order; columns= would say which")
    return whole


def table_of(call: Call, table: pa.Table, found: Schema, schema: Schema) -> pa.Table:
    """A table of its own schema `found` as one of this very schema, whatever the order of its columns.

    Raises
    ------
    Unfit
        A column came out with another dtype than in the whole.
    """
    if found == schema:
        return table
    before, now = {c.name: c for c in schema.columns}, {c.name: c for c in found.columns}
    for name in dict.fromkeys((*before, *now)):
        if before.get(name) != now.get(name):
            was, is_now = (c.dtype if c else "not there" for c in (before.get(name), now.get(name)))
            raise Unfit(f"column '{name}' came out as {is_now} and was {was}; columns= would say what it is")
    if found.key != schema.key:
        raise Unfit("its key changed")
    return conform(table.select(schema.names), schema, place=call.place)


def is_declared(call: Call) -> bool:
    """Whether columns and dtypes of the output are told whatever its rows are: declared, or those of a transform."""
    return bool(call.decl.columns) or call.decl.ready_made is not None


def _is_shown(call: Call, made: Manifest, column: Column) -> bool:
    """Whether the values of a column show its dtype, whatever else was in it: one of floats by a fraction."""
    if column.dtype in _NARROW:
        return True
    if column.dtype != "float64":
        return column.dtype not in _WIDE and made.nulls[column.name] < made.rows
    parts = read_parts(call.store, made, columns=(column.name,))
    values = (part.column(column.name).to_numpy() for part in parts)  # null is NaN
    return any(bool((np.isinf(v) | (np.isfinite(v) & (v != np.floor(v)))).any()) for v in values)


def _check_luck(
    call: Call, output: str, base: Manifest, made: Manifest, upserts: pa.Table | None, shown: Shown
) -> None:
    """Refuse an update after which a full run might give other columns or dtypes, since nobody declared them.

    New rows show the dtypes of the table. Where there are none, a dtype may have come by rows that went, also by such
    as gave none; where the function made nothing, or another table came into it (`upserts` is None), a column may have
    too. The values that are left may show the dtype, or else the function, given some rows alone.
    """
    schema = base.schema
    assert schema is not None
    if is_declared(call):
        return
    is_seen = upserts is not None and upserts.num_rows > 0
    doubtful = (c.name for c in schema.columns if upserts is None or _is_doubtful(call, base, made, c, is_seen))
    name = next(doubtful, None)
    if name is not None and shown().get(output) != schema:
        where = f"'{name}' in '{output}'" if output else f"'{name}'"
        raise Unfit(f"the dtype of {where} may depend on all its values; columns= would say what it is")


def _is_doubtful(call: Call, base: Manifest, made: Manifest, column: Column, is_seen: bool) -> bool:
    """Whether a full run might give a column another dtype than before."""
    if (base.rows == 0) != (made.rows == 0) or column.dtype.startswith("decimal"):
        return True
    before, now = base.nulls[column.name], made.nulls[column.name]
    is_widened = column.dtype in _WIDENED and (before == 0) != (now == 0)
    is_widened |= (before == base.rows) != (now == made.rows)
    return is_widened or not (is_seen or _is_shown(call, made, column))


def _shown_by_some(call: Call, change: Regiven | Replaced, bases: Mapping[str, Manifest]) -> dict[str, Schema]:
    """The schema that each output has of some rows as they are now, where the function can be given these alone."""
    if isinstance(change, Replaced):
        return {}
    from builder.execute.sampling import shown_by_some

    return shown_by_some(call, change.owners, bases)


def _check_owners(call: Call, upserts: pa.Table, owners: pa.Table, key: tuple[str, ...]) -> None:
    """Refuse rows that belong to none of the owners that the function was given the rows of.

    Raises
    ------
    RecipeError
        ``not-a-row-recipe``.
    """
    names = tuple(owners.column_names)
    stray = upserts.select(names)
    if names == key[: len(names)]:  # sorted they are compared in a tenth of the time
        stray = without(sort_by_key(stray, names), sort_by_key(owners.drop_null(), names), names)
    if stray.num_rows:
        stray = stray.join(owners, list(names), join_type="left anti")
    if stray.num_rows == 0:
        return
    examples = stray.slice(0, 3).to_pylist()
    raise error(
        "not-a-row-recipe",
        f"'{call.spec.step}' gave rows for others than it was given",
        place=call.place,
        facts=[("rows", "; ".join(", ".join(f"{k} {v!r}" for k, v in row.items()) for row in examples))],
        hint="take grain= away, or let each row of the output depend on its own row of the input alone",
        target=call.spec.step,
    )


def _check_whole(call: Call, made: Mapping[str, Updated]) -> None:
    """Apply the recipe's own check to the whole of its outputs, as a full run would."""
    pieces = {}
    for output, target in call.work.outputs:
        manifest = made[target].manifest
        assert manifest.schema is not None
        pieces[output] = to_frame(read_table(call.store, manifest), manifest.schema)
    call.check(pieces)
