"""Columns put together into tables, and the first value that stands in the way turned into an error.

Decides which of several misfits is told: the one in the first row. Never converts: each parser passes its own way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from builder.execute.spec import IntakeSpec
from builder.formats.columns import Wanted, misfit
from builder.formats.convert import Misfit
from builder.sources import SourceFile
from builder.tables.schema import Column

Convert = Callable[[Wanted, Column], Any]


def assemble(
    spec: IntakeSpec,
    file: SourceFile,
    rows: int,
    wanted: Sequence[Wanted],
    columns: Sequence[Column],
    convert: Convert,
    place: Callable[[int], str],
) -> pa.Table:
    """Rows of a file as a table: the file's name first where it is asked for, then what `convert` makes of each column.

    `place` names a row, counted from the first of these.

    Raises
    ------
    BuilderError
        ``bad-value``, ``bad-geometry`` or ``schema-drift`` about the first row that does not fit.
    """
    arrays: dict[str, Any] = {}
    if spec.file_column is not None:
        arrays[spec.file_column] = pa.repeat(pa.scalar(file.name), rows)
    misfits: list[tuple[Misfit, Wanted, Column]] = []
    for want, column in zip(wanted, columns, strict=True):
        try:
            arrays[column.name] = convert(want, column)
        except Misfit as found:
            misfits.append((found, want, column))
    if misfits:
        first, want, column = min(misfits, key=lambda entry: entry[0].row)
        raise misfit(spec, want, column.dtype, place(first.row), first.value, first.reason) from first
    return pa.table(arrays)
