"""A recipe's own update: called with the last output and what changed, it says which rows to put and which to drop.

Decides what such a function sees. It is trusted to give what a full run would; audits look whether it does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pyarrow as pa

from builder.errors import BuilderError, error
from builder.execute.call import Call
from builder.execute.rules import Bases, delta_of, schema_of
from builder.execute.spec import InputSpec, UpdateSpec
from builder.execute.updating import Replaced, Unfit
from builder.graph.declare import FULL
from builder.graph.declare import Delta as Answer
from builder.tables.arrow import arrow_schema, conform
from builder.tables.delta import Delta
from builder.tables.frames import to_frame
from builder.tables.keys import Keys
from builder.tables.read import filter_rows, read_table
from builder.tables.schema import Schema


class Change:
    """What changed in one input: ``upserts``, rows as they are now, and ``deleted``, keys of rows that are no more."""

    def __init__(self, given: InputSpec, delta: Delta) -> None:
        self._given = given
        self._delta = delta

    @property
    def rows(self) -> int:
        """How many rows came, changed or went."""
        return int(self._delta.upserted.num_rows + self._delta.deleted.num_rows)

    @property
    def upserts(self) -> Any:
        """The rows that came or changed, as they are now, with the columns that the recipe reads."""
        schema = schema_of(self._given)
        names = schema.names if self._given.columns is None else schema.named(self._given.columns)
        return to_frame(self._read(self._delta.upserts, names), schema.select(names))

    @property
    def deleted(self) -> Any:
        """The keys of the rows that went: from the table, or from what the recipe reads of it."""
        schema = schema_of(self._given)
        keys = self._delta.deleted
        if self._given.where:
            before, now = (self._read(side, schema.key) for side in (self._delta.before, self._delta.upserts))
            low, high = Keys.of(now, schema.key).ranges(Keys.of(before, schema.key))
            keys = before.filter(pa.array(low == high))
        return to_frame(keys, schema.select(schema.key))

    def old(self, columns: Any = None) -> Any:
        """The rows that changed or went, as they were; with these columns, or this one, or all."""
        schema = schema_of(self._given)
        names = schema.names if columns is None else (columns,) if isinstance(columns, str) else tuple(columns)
        return to_frame(self._read(self._delta.before, names), schema.select(names))

    def _read(self, side: Callable[[Sequence[str]], pa.Table], names: Sequence[str]) -> pa.Table:
        """These columns of one side's rows, as far as the recipe reads them."""
        where = self._given.where
        rows = filter_rows(side(tuple(dict.fromkeys((*names, *(column for column, _ in where))))), where)
        return rows.select(names).combine_chunks()


def update(call: Call, spec: UpdateSpec, bases: Bases) -> Replaced:
    """The rows to put in place and the keys to drop, by output, as the recipe's own update says.

    Raises
    ------
    RecipeError
        ``result-type`` where it returns something else than `builder.Delta` or `builder.FULL`.
    """
    own = call.callee.decl.update
    if own is None:
        raise Unfit("it has no update of its own")
    deltas = {given.parameter: Change(given, delta_of(call, spec, given)) for given in _changed(call, spec)}
    previous = {o: _frame(call, bases[t].schema, bases[t]) for o, t in call.work.outputs}
    is_single = not call.decl.outputs
    answer = call.guarded(partial(own, previous[""] if is_single else previous, deltas))
    answers = {"": answer} if is_single or answer is FULL else answer
    if answer is FULL:
        raise Unfit("its own update asks for a full run")
    if not isinstance(answers, Mapping) or set(answers) != set(previous):
        raise _wrong(call, answers)
    if not all(isinstance(a, Answer) for a in answers.values()):
        raise _wrong(call, next(a for a in answers.values() if not isinstance(a, Answer)))
    schemas = {o: bases[t].schema for o, t in call.work.outputs}
    gone = {o: _keys(call, a.deleted, schemas[o]) for o, a in answers.items()}
    upserts = {o: _rows(a.upserts, schemas[o]) for o, a in answers.items()}
    return Replaced(upserts, gone, sum(change.rows for change in deltas.values()))


def _changed(call: Call, spec: UpdateSpec) -> list[InputSpec]:
    """The inputs that an own update hears of: every single table that has a key."""
    tables = [g for g in call.work.inputs if g.shape == "one" and g.items[0].manifest and g.items[0].manifest.schema]
    tables = [g for g in tables if schema_of(g).key]
    for given in call.work.inputs:
        if given not in tables and any(item.name in spec.before for item in given.items):
            raise Unfit(f"'{given.parameter}' changed, which is no single table with a key and has no delta")
    return tables


def _frame(call: Call, schema: Schema | None, base: Any) -> Any:
    assert schema is not None
    return to_frame(read_table(call.store, base), schema)


def _rows(value: Any, schema: Schema | None) -> Any:
    """The rows to put; None puts none."""
    assert schema is not None
    return arrow_schema(schema).empty_table() if value is None else value


def _keys(call: Call, value: Any, schema: Schema | None) -> pa.Table:
    """The keys to drop as a table: of a frame its key columns, of a list the values of a single one."""
    import pandas as pd

    assert schema is not None
    keys = schema.select(schema.key)
    if value is None:
        return arrow_schema(keys).empty_table()
    try:
        if isinstance(value, pa.Table):
            frame = value
        elif isinstance(value, pd.DataFrame):
            levels = [n for n in value.index.names if n in schema.key and n not in value.columns]
            value = value.reset_index(levels) if levels else value
            frame = pa.Table.from_pandas(value[[n for n in schema.key if n in value.columns]], preserve_index=False)
        else:
            frame = pa.table({schema.key[0]: pa.array(value, from_pandas=True)})
    except (TypeError, ValueError, pa.ArrowException) as cause:
        raise _wrong(call, value, "has in deleted=") from cause
    if not set(schema.key) <= set(frame.column_names):
        raise _wrong(call, value, f"has no key ({', '.join(schema.key)}) in deleted=, but")
    try:
        return conform(frame.select(schema.key), keys, place=call.place)
    except BuilderError as caught:
        caught.facts = (*caught.facts, ("rows of", "deleted= of what its own update gave"))
        raise


def _wrong(call: Call, value: Any, has: str = "returned") -> Exception:
    return error(
        "result-type",
        f"the own update of '{call.spec.step}' {has} {type(value).__name__}",
        place=call.place,
        hint="return b.Delta(upserts, deleted), with frames that have the key's columns, or b.FULL",
        target=call.spec.step,
    )
