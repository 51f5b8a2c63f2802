"""Counters between frames: what was counted of a part, what of several parts adds up, and the frame it becomes.

Decides how columns are called and which dtypes they have, and what is refused: parts that differ in dtypes, rows taken
off that were not there, sums that do not fit. Never looks at more than one part's rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from builder.errors import BuilderError, error
from builder.transforms.columns import check_columns
from builder.transforms.count_cells import Cells, merged, totalled
from builder.transforms.count_codes import Coded, coded_column, restored
from builder.transforms.count_totals import MAX_ROWS, as_array, first_overflow, summed_column
from builder.transforms.taxonomy import Taxonomy, read_taxonomy

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Layout:
    """What the columns of a result are called: those counted by, the count, and sums with the columns they add up."""

    by: tuple[str, ...]
    counts: str
    sums: tuple[tuple[str, str], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a result, in order."""
        return (*self.by, self.counts, *(new for new, _ in self.sums))

    def of_results(self) -> Layout:
        """The layout by which results of this one are added up: their sums sum themselves."""
        return Layout(self.by, self.counts, tuple((new, new) for new, _ in self.sums))


@dataclass(frozen=True, slots=True)
class Part:
    """Cells with what a frame needs beside them: dtypes of the columns counted by, types of the sums, rows left out."""

    cells: Cells
    dtypes: tuple[Any, ...]
    kinds: tuple[pa.DataType, ...]
    left_out: int


def layout_of(by: Sequence[str], counts: str, sums: Mapping[str, str] | None) -> Layout:
    """The layout that the arguments of `count_by` describe; ``recipe-declaration`` where two columns have one name."""
    layout = Layout((by,) if isinstance(by, str) else tuple(by), counts, tuple((sums or {}).items()))
    if not layout.by:
        raise error("recipe-declaration", "'by' names no column", hint="name at least one")
    twice = [name for i, name in enumerate(layout.columns) if name in layout.columns[:i]]
    if twice:
        raise error(
            "recipe-declaration",
            f"the result would have two columns '{twice[0]}'",
            facts=[("columns", ", ".join(map(str, layout.columns)))],
            hint="rename it in 'counts' or 'sums'",
        )
    return layout


def taxonomy_of(layout: Layout, table: pd.DataFrame | None, on: str | None) -> tuple[int, Taxonomy] | None:
    """The checked taxonomy and the position in `by` of the column that it is of."""
    if table is None:
        if on is not None:
            raise error("recipe-declaration", f"'taxonomy_on' is '{on}' without a taxonomy", hint="give 'taxonomy' too")
        return None
    if on is None and len(layout.by) == 1:
        on = layout.by[0]
    if on not in layout.by:
        raise error(
            "recipe-declaration",
            f"'taxonomy_on' is {on!r}",
            facts=[("by", ", ".join(layout.by))],
            hint="say which column of 'by' holds the codes of the taxonomy",
        )
    return layout.by.index(on), read_taxonomy(table)


def counted(layout: Layout, table: pd.DataFrame, taxonomy: tuple[int, Taxonomy] | None, *, is_rolled_up: bool) -> Part:
    """The counters of some records, without or with the totals of ancestors."""
    _check_table(table, "table", [*layout.by, *(old for _, old in layout.sums)])
    at, known = taxonomy or (None, None)
    columns = [
        known.coded(table[name], "table") if known and i == at else coded_column(table[name], "table")
        for i, name in enumerate(layout.by)
    ]
    summed = [summed_column(table[old], "table") for _, old in layout.sums]
    tree = (taxonomy[0], taxonomy[1].tree) if taxonomy and is_rolled_up else None
    cells = totalled(columns, [limbs for limbs, _ in summed], has_ones=True, tree=tree)
    return Part(cells, _dtypes(table, layout), tuple(kind for _, kind in summed), _with_null(columns))


def _with_null(columns: Iterable[Coded]) -> int:
    """How many rows have a null; columns without one are only looked through for their least code."""
    nullable = [c.codes < 0 for c in columns if len(c.codes) and c.codes.min() < 0]
    return int(np.logical_or.reduce(nullable).sum()) if nullable else 0


def _check_table(table: Any, what: str, names: Iterable[str]) -> None:
    import pandas as pd

    if not isinstance(table, pd.DataFrame):
        raise error("result-type", f"'{what}' is a {type(table).__name__}", hint="give a pandas DataFrame")
    check_columns(table, names, what)
    if len(table) > MAX_ROWS:
        hint = f"count parts of at most {MAX_ROWS:,} rows with Counters"
        raise error("bad-value", f"a table of {len(table):,} rows is too long for one call", hint=hint)


def _dtypes(table: pd.DataFrame, layout: Layout) -> tuple[Any, ...]:
    import pandas as pd

    found: list[Any] = [table[name].dtype for name in layout.by]
    return tuple(d.categories.dtype if isinstance(d, pd.CategoricalDtype) else d for d in found)


def read_part(layout: Layout, table: pd.DataFrame) -> Part:
    """A result of `count_by` as cells again."""
    _check_table(table, "part", layout.columns)
    extra = [name for name in table.columns if name not in layout.columns]
    if extra:
        problem = f"a part has a column '{extra[0]}' that the first part lacks"
        raise error("schema-drift", problem, hint="merge like parts")
    columns = [coded_column(table[name], "part") for name in layout.by]
    empty = next((name for name, c in zip(layout.by, columns) if (c.codes < 0).any()), None)
    if empty is not None:
        raise error("key-null", f"column '{empty}' of a part has nulls", hint="give results of count_by")
    summed = [summed_column(table[name], "part") for name in layout.columns[len(layout.by) :]]
    if not pa.types.is_int64(summed[0][1]):
        raise error(
            "bad-value", f"column '{layout.counts}' of a part holds no counts", hint="say which one does: counts="
        )
    cells = totalled(columns, [limbs for limbs, _ in summed])
    kinds = tuple(kind for _, kind in summed[1:])
    return Part(cells, _dtypes(table, layout), kinds, int(table.attrs.get("left_out", 0)))


@dataclass(frozen=True, slots=True)
class Kinds:
    """What the columns of all parts are made of. Columns of dtype object that held only nulls agree with any."""

    dtypes: tuple[Any, ...]
    values: tuple[pa.DataType, ...]

    def agreed(self, layout: Layout, part: Part) -> Kinds:
        """These kinds, after a part that agrees with them; ``schema-drift`` for one that does not."""
        other = kinds_of(part)
        for name, one, another in zip((*layout.by, *(new for new, _ in layout.sums)), self.dtypes, other.dtypes):
            if one != another:
                raise _drifted(name, one, another)
        for name, one, another in zip(layout.by, self.values, other.values):
            if one != another and not (pa.types.is_null(one) or pa.types.is_null(another)):
                raise _drifted(name, one, another)
        values = (b if pa.types.is_null(a) else a for a, b in zip(self.values, other.values))
        return Kinds(self.dtypes, tuple(values))


def kinds_of(part: Part) -> Kinds:
    """The kinds of one part."""
    return Kinds((*part.dtypes, *part.kinds), tuple(v.type for v in part.cells.values))


def _drifted(name: str, one: Any, another: Any) -> BuilderError:
    return error(
        "schema-drift",
        f"column '{name}' has another dtype in a later part",
        facts=[("first", str(one)), ("later", str(another))],
        hint="give all parts the same dtypes",
    )


def signed(part: Part, sign: int) -> Part:
    """The part, or with sign -1 its opposite."""
    return Part(part.cells.signed(sign), part.dtypes, part.kinds, sign * part.left_out)


def joined(parts: Sequence[Part]) -> Part:
    """The sum of parts that agree."""
    cells = merged([p.cells for p in parts])
    return Part(cells, parts[0].dtypes, parts[0].kinds, sum(p.left_out for p in parts))


def finished(layout: Layout, part: Part, taxonomy: tuple[int, Taxonomy] | None = None) -> pd.DataFrame:
    """The frame of what was counted, after the checks that only the whole can pass."""
    import pandas as pd

    cells = part.cells
    is_wrong = cells.totals[0] < 1  # a cell with nothing in it is not there: a count of 0 has a sum
    if is_wrong.any() or part.left_out < 0:
        raise _removed_too_much(layout, part, np.flatnonzero(is_wrong))
    if taxonomy:
        cells = cells.rolled_up(taxonomy[0], taxonomy[1].tree)
    for (new, _), kind, totals in zip(layout.sums, part.kinds, cells.totals[1:]):
        overflow = first_overflow(totals, kind)
        if overflow is not None:
            raise error(
                "bad-value",
                f"the sum '{new}' does not fit {_spelt(kind)}",
                facts=[("counter", _shown(layout, cells, overflow)), ("sum", str(totals[overflow]))],
                hint="sum a decimal of scale 0 instead" if pa.types.is_int64(kind) else "sum smaller values",
            )
    columns = _columns_of(layout, part, cells)
    columns[layout.counts] = cells.totals[0]
    for (new, _), kind, totals in zip(layout.sums, part.kinds, cells.totals[1:]):
        columns[new] = as_array(totals, kind)
    frame = pd.DataFrame(columns, index=pd.RangeIndex(len(cells)), copy=False)
    frame.attrs["left_out"] = part.left_out
    return frame


def combinations(layout: Layout, part: Part) -> pd.DataFrame:
    """The columns counted by, one row a cell."""
    import pandas as pd

    columns = _columns_of(layout, part, part.cells)
    return pd.DataFrame(columns, index=pd.RangeIndex(len(part.cells)), copy=False)


def _columns_of(layout: Layout, part: Part, cells: Cells) -> dict[str, Any]:
    return {
        name: _restored(values, codes, dtype, name)
        for name, values, codes, dtype in zip(layout.by, cells.values, cells.codes, part.dtypes)
    }


def _restored(values: pa.Array, codes: Any, dtype: Any, name: str) -> Any:
    try:
        return restored(values, codes, dtype)
    except (pa.ArrowInvalid, OverflowError) as cause:
        hint = "give the column the dtype of the taxonomy's codes"
        raise error("bad-value", f"column '{name}' is too narrow for its ancestors: {cause}", hint=hint) from cause


def _spelt(kind: pa.DataType) -> str:
    return "int64" if pa.types.is_int64(kind) else f"decimal({kind.precision},{kind.scale})"


def _shown(layout: Layout, cells: Cells, at: int) -> str:
    pairs = zip(layout.by, cells.values, cells.codes)
    return ", ".join(f"{name}={values[int(codes[at])].as_py()!r}" for name, values, codes in pairs)


def _removed_too_much(layout: Layout, part: Part, rows: Any) -> BuilderError:
    shown = [f"{_shown(layout, part.cells, int(row))}: {int(part.cells.totals[0][row])}" for row in rows[:_SHOWN]]
    return error(
        "bad-value",
        "rows were taken off that were not counted",
        facts=[("counters", "; ".join(shown) or f"{part.left_out} rows left out")],
        hint="take off exactly rows that were added, as they were then",
    )
