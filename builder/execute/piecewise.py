"""A full run of a step in pieces of its input, one after the other, or on several workers at once: tables larger than
memory go through.

Decides when a step goes in pieces: its rows depend on rows of one large table, one by one, and nothing asks to see the
whole. Pieces that come out with different dtypes are no pieces of one table, and the step runs in one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import pyarrow as pa

from builder.errors import BuilderError
from builder.execute.call import Call, check_moved
from builder.execute.inputs import wanted_type
from builder.execute.rules import columns_of, frame_of, main_of, manifest_of, others_of, schema_of
from builder.execute.sampling import shown_by_some
from builder.execute.spec import InputSpec
from builder.execute.spread import Made, drop, spans_of, spread
from builder.execute.updating import Unfit, is_dask, is_declared
from builder.graph.grains import PIECE_ROWS, PIECEWISE
from builder.store.manifest import Manifest
from builder.tables.arrow import arrow_schema
from builder.tables.frames import from_result, to_frame
from builder.tables.read import filter_rows, read_parts, read_table
from builder.tables.schema import Schema
from builder.tables.write import TableWriter, put_together

PIECE_BYTES = 256 << 20

MASKED = {"Int64": "int64", "boolean": "bool"}
"""Dtypes that hold nulls beside whole numbers or truths, and what these are in rows without a null."""


def run_in_pieces(call: Call) -> Made | None:
    """The manifest of each target that a step makes; None where it has to run in one.

    Raises
    ------
    BuilderError
        What the recipe raises, as in a run of the whole.
    """
    main = _main(call)
    if main is None:
        return None
    try:
        made = _by_many(call, main) or _alone(call, main)
        if made is not None and not is_declared(call):
            _check_masked(call, main, made)
        return made
    except Unfit as why:
        sys.stdout.write(f"runs in one: {why}\n")
    except BuilderError as caught:  # a piece may fail where the whole does not: that tells
        if caught.code == "source-moved" or caught.code.startswith("store-"):
            raise
        sys.stdout.write(f"runs in one, for a piece failed: {caught.message}\n")
    return None


def piece(call: Call, span: range) -> Made:
    """What a step makes of the rows that belong to some parts of its large table, on whatever worker; empty where there
    are none.

    Raises
    ------
    BuilderError
        What the recipe raises.
    Unfit
        There is no large table that it goes through.
    """
    main = _main(call)
    if main is None:
        raise Unfit("it goes through no large table")
    return _alone(call, main, span) or {}


def _alone(call: Call, main: InputSpec, span: range | None = None) -> Made | None:
    """What a step makes of some parts of its large table, or of all, one piece after the other."""
    return (_counted_up if call.decl.grain.kind == "fold" else _written)(call, main, span)


def _by_many(call: Call, main: InputSpec) -> Made | None:
    """What a step makes of its large table with the help of other workers; None where it was given none, or they cannot
    be reached: it goes through the table alone then.
    """
    helpers = call.spec.helpers if call.spec.is_spread else ()
    layers = manifest_of(main).layers
    spans = spans_of(layers[0].upserts, 1 + len(helpers)) if helpers and layers else []
    if len(spans) < 2:
        return None
    for given in call.work.inputs:
        if call.is_indexed(given):
            call.arrived(given)  # made here once; the others open what is kept of it
    pieces: list[Made] = []
    made: Made = {}
    try:
        pieces += filter(None, spread(call.spec, spans, partial(piece, call)))
        if not pieces:
            return None
        call.folder.adopt(part.path for one in pieces for manifest in one.values() for part in manifest.files)
        check_moved(call.work, call.spec.step)
        for _, target in call.work.outputs:
            made[target] = _together(call, [one[target] for one in pieces])
        return made
    except OSError as why:
        drop(call.store, [*pieces, made])
        sys.stdout.write(f"runs on one worker: {why}\n")
        return None
    except BaseException:
        drop(call.store, [*pieces, made])
        raise


def _check_masked(call: Call, main: InputSpec, made: Made) -> None:
    """Refuse pieces whose whole numbers, or truths, are something else in rows from all over the table.

    What pandas maps to such is Int64 where all values are found and where none is, and floats where some are.
    """
    masked = {
        output: [c for c in schema.columns if c.dtype in MASKED]
        for output, target in call.work.outputs
        if (schema := made[target].schema) is not None
    }
    if not any(masked.values()):
        return
    key = arrow_schema(schema_of(main).select(schema_of(main).key)).empty_table()
    shown = shown_by_some(call, key, {})
    for output, columns in masked.items():
        found = {c.name: c.dtype for c in shown[output].columns} if output in shown else {}
        for column in columns:
            if found.get(column.name, column.dtype) not in (column.dtype, MASKED[column.dtype]):
                drop(call.store, [made])
                raise Unfit(f"the dtype of '{column.name}' is another in rows that no piece has together")


def _together(call: Call, pieces: list[Manifest]) -> Manifest:
    """One output of what each piece made of it."""
    first = pieces[0].schema
    assert first is not None
    if any(made.schema != first for made in pieces):
        raise Unfit("its pieces have different dtypes")
    if call.decl.grain.kind != "fold":
        return put_together(pieces, call.folder, scratch=call.scratch)
    whole = call.results.write(call.merge(*(to_frame(read_table(call.store, made), first) for made in pieces)))
    drop(call.store, [{"": made} for made in pieces])
    return whole


def _written(call: Call, main: InputSpec, span: range | None) -> Made | None:
    """The tables that all pieces make, one after the other."""
    writers: dict[str, tuple[TableWriter, Schema]] = {}
    try:
        for made in _made(call, main, span):
            for output, target in call.work.outputs:
                _append(call, writers, target, made[output])
        check_moved(call.work, call.spec.step)
        return {target: writer.finish() for target, (writer, _) in writers.items()} or None
    except BaseException:
        for writer, _ in writers.values():
            writer.abort()
        raise


def _made(call: Call, main: InputSpec, span: range | None) -> Iterator[dict[str, Any]]:
    """What the function makes of each piece, by output."""
    for rows in _pieces(call, main, span):
        others = others_of(call, main, rows, is_whole_better=True)
        yield call.run({main.parameter: frame_of(call, main, rows), **others})


def _append(call: Call, writers: dict[str, tuple[TableWriter, Schema]], target: str, value: Any) -> None:
    """Write what the function made of a piece after what it made of those before."""
    decl = call.decl
    if is_dask(value):
        raise Unfit("its pieces are not in memory")
    table, schema = from_result(value, decl.key, decl.columns, recipe=call.spec.step, place=call.place)
    if target not in writers:
        writers[target] = TableWriter(call.folder, schema, scratch=call.scratch), schema
    writer, first = writers[target]
    if schema != first:
        raise Unfit("its pieces have different dtypes")
    writer.append(table)


def _counted_up(call: Call, main: InputSpec, span: range | None) -> Made | None:
    """The counters of all pieces together; None where there is no piece."""
    ((output, target),) = call.work.outputs
    total = None
    for made in _made(call, main, span):
        total = made[output] if total is None else call.merge(total, made[output])
    check_moved(call.work, call.spec.step)
    return None if total is None else {target: call.results.write(total)}


def _main(call: Call) -> InputSpec | None:
    """The large table whose rows the step goes by; None where it has to run in one."""
    if call.decl.grain.kind not in PIECEWISE or call.decl.check is not None or not call.decl.key:
        return None
    try:
        main = main_of(call)
    except Unfit:
        return None
    if wanted_type(call.annotation(main)) == "dask":
        return None
    table = manifest_of(main)
    return main if table.rows >= 2 * PIECE_ROWS or table.bytes > PIECE_BYTES else None


def _pieces(call: Call, main: InputSpec, span: range | None) -> Iterator[pa.Table]:
    """The rows of the main input in key order, as far as the recipe reads them, in pieces of about one size.

    No piece is empty, for its dtypes would say nothing of the others', unless the whole table is.
    """
    names = columns_of(call, main)
    pending: list[pa.Table] = []
    rows, is_none = 0, span is None
    for table in read_parts(call.store, manifest_of(main), names, span=span):
        pending.append(filter_rows(table, main.where))
        rows += pending[-1].num_rows
        if rows >= PIECE_ROWS or sum(t.nbytes for t in pending) >= PIECE_BYTES:
            yield pa.concat_tables(pending)
            pending, rows, is_none = [], 0, False
    if pending and (rows or is_none):
        yield pa.concat_tables(pending)
