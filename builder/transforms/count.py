"""Counters: how many rows there are per combination of columns, and their exact sums, up a taxonomy where there is one.

Decides what counters of parts and of changes add up to. Everything is exact and independent of the order of rows and
parts, so that counters of parts merge, and those of old rows can be taken off. Never sums floats.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from builder.errors import error
from builder.transforms.count_parts import (
    Kinds,
    Part,
    combinations,
    counted,
    finished,
    joined,
    kinds_of,
    layout_of,
    read_part,
    signed,
    taxonomy_of,
)

if TYPE_CHECKING:
    import pandas as pd


def count_by(
    table: pd.DataFrame,
    by: Sequence[str],
    *,
    counts: str = "n",
    sums: Mapping[str, str] | None = None,
    taxonomy: pd.DataFrame | None = None,
    taxonomy_on: str | None = None,
) -> pd.DataFrame:
    """The number of rows per distinct combination of `by`, and exact sums.

    One row a combination that occurs, ascending by `by` (text by code point, false before true), with a fresh
    RangeIndex; the order and the index of `table` do not matter. With a taxonomy, every row counts for its code and
    once for each ancestor of it, so every level is counted. An empty table gives an empty result of the same dtypes.

    Parameters
    ----------
    table
        Records.
    by
        Columns of integers, text, booleans, dates, timestamps, decimals, bytes or floats (-0.0 is 0.0). They keep their
        dtype; categories are decoded. Columns of dtype object hold values of one kind: text (which comes out as
        ``str``), whole numbers (``Int64``), booleans (``boolean``), dates or bytes (Arrow's).
    counts
        The name of the column of counts, ``int64``.
    sums
        New column -> column that is summed. Integers give ``int64``, decimals ``decimal(38,s)`` of the same scale; a
        null adds nothing, and a sum of nulls alone is 0.
    taxonomy
        A table with the columns ``code`` and ``parent`` (null at a root), in any order and of any depth.
    taxonomy_on
        The column of `by` that holds codes; not needed where `by` is one column.

    Returns
    -------
    pandas.DataFrame
        `by`, `counts` and `sums`, in this order. Rows with a null (NaN, NaT) in `by` are left out; their number is in
        ``.attrs["left_out"]``.

    Raises
    ------
    BuilderError
        ``recipe-declaration`` for arguments that do not fit together. ``bad-value`` for a missing column, a column that
        cannot be counted by or summed (floats: their sum depends on the order), a sum that overflows, a code that is
        not in the taxonomy, an orphan or a cycle in it; ``key-null`` and ``key-duplicate`` for its codes.

    Notes
    -----
    Hash aggregation by partitions that fit the cache (Manegold, Boncz, Kersten 2002: "Optimizing main-memory join on
    modern hardware"), or direct addressing where there are few possible combinations. The records are aggregated once;
    then each level of the taxonomy from the level below.

    Examples
    --------
    >>> import pandas as pd
    >>> kinds = pd.DataFrame({"code": ["all", "sea", "air"], "parent": [None, "all", "all"]})
    >>> rows = pd.DataFrame({"kind": ["air", "sea", "air", None], "seats": [4, 2, 5, 9]})
    >>> found = count_by(rows, ["kind"], sums={"seats": "seats"}, taxonomy=kinds)
    >>> found.values.tolist(), found.attrs["left_out"]
    ([['air', 2, 9], ['all', 3, 11], ['sea', 1, 2]], 1)
    """
    layout = layout_of(by, counts, sums)
    ranked = taxonomy_of(layout, taxonomy, taxonomy_on)
    return finished(layout, counted(layout, table, ranked, is_rolled_up=True))


class Counters:
    """Counters of a table that comes in parts, or changes.

    `result` is what `count_by` would give of all rows that were added and not subtracted, whatever the parts and their
    order. Where these rows are a change of a table that was counted before, `touched` are the counters that it changes
    and `applied` turns those into the new ones: to read and to write them alone is enough. Memory is that of the
    largest part and of a few times the counters, not of the rows.

    Parameters
    ----------
    by, counts, sums, taxonomy, taxonomy_on
        As in `count_by`.

    Raises
    ------
    BuilderError
        As `count_by`; and ``schema-drift`` where a part's columns have other dtypes than the first part's.

    Examples
    --------
    >>> import pandas as pd
    >>> counters = Counters(["kind"])
    >>> counters.add(pd.DataFrame({"kind": ["air", "sea", "air"]}))
    >>> counters.subtract(pd.DataFrame({"kind": ["sea"]}))
    >>> counters.result().values.tolist()
    [['air', 2]]

    >>> change, was = Counters(["kind"]), count_by(pd.DataFrame({"kind": ["sea", "air", "air"]}), ["kind"])
    >>> change.add(pd.DataFrame({"kind": ["land", "air"]}))
    >>> change.subtract(pd.DataFrame({"kind": ["sea", "air"]}))
    >>> change.touched()["kind"].tolist(), change.applied(was).values.tolist()
    (['land', 'sea'], [['air', 2], ['land', 1]])
    """

    def __init__(
        self,
        by: Sequence[str],
        *,
        counts: str = "n",
        sums: Mapping[str, str] | None = None,
        taxonomy: pd.DataFrame | None = None,
        taxonomy_on: str | None = None,
    ) -> None:
        self._layout = layout_of(by, counts, sums)
        self._taxonomy = taxonomy_of(self._layout, taxonomy, taxonomy_on)
        self._tree = (self._taxonomy[0], self._taxonomy[1].tree) if self._taxonomy else None
        self._kinds: Kinds | None = None
        self._parts: list[Part] = []  # the first is what was merged so far

    def add(self, table: pd.DataFrame) -> None:
        """Count these rows too."""
        self._take(table, 1)

    def subtract(self, table: pd.DataFrame) -> None:
        """Take off rows that were added, or will be."""
        self._take(table, -1)

    def result(self) -> pd.DataFrame:
        """The counters now, as `count_by` gives them; counters that came down to 0 are not there.

        Raises
        ------
        BuilderError
            ``bad-value`` where more rows were subtracted than added, or a sum overflows. ``recipe-declaration`` where
            nothing was added yet, so that the dtypes are not known.
        """
        return finished(self._layout, self._merged(), self._taxonomy)

    def touched(self) -> pd.DataFrame:
        """The combinations of `by` that these rows change, ascending; among them the ancestors of codes in a taxonomy.

        Raises
        ------
        BuilderError
            ``recipe-declaration`` where nothing was added yet.
        """
        return combinations(self._layout, self._rolled_up())

    def applied(self, previous: pd.DataFrame) -> pd.DataFrame:
        """The counters after these rows, as `count_by` gives them; those that came down to 0 are not there.

        Parameters
        ----------
        previous
            Counters before the change: those that are touched, or any more. How many rows are left out after it is
            told only where their ``attrs`` have it.

        Raises
        ------
        BuilderError
            As `merge_counts`; ``bad-value`` where rows were subtracted that `previous` does not hold.
            ``recipe-declaration`` where nothing was added yet.
        """
        before, change = read_part(self._layout.of_results(), previous), self._rolled_up()
        kinds_of(before).agreed(self._layout, change)
        after = joined([before, change])
        return finished(self._layout, after if "left_out" in previous.attrs else replace(after, left_out=0))

    def _take(self, table: pd.DataFrame, sign: int) -> None:
        part = counted(self._layout, table, self._taxonomy, is_rolled_up=False)
        self._kinds = self._kinds.agreed(self._layout, part) if self._kinds else kinds_of(part)
        self._parts.append(signed(part, sign))
        held, *pending = (len(p.cells) for p in self._parts)
        # Merging costs what is held: to wait until as much is pending keeps the whole linear.
        if pending and sum(pending) >= held:
            self._parts = [joined(self._parts)]

    def _merged(self) -> Part:
        if not self._parts:
            raise error(
                "recipe-declaration", "these counters have seen no table", hint="add one first; it may have no rows"
            )
        self._parts = [joined(self._parts)]
        return self._parts[0]

    def _rolled_up(self) -> Part:
        part = self._merged()
        return replace(part, cells=part.cells.rolled_up(*self._tree)) if self._tree else part


def merge_counts(parts: Iterable[pd.DataFrame], by: Sequence[str], *, counts: str = "n") -> pd.DataFrame:
    """The counters of a whole table from those of its parts: equal combinations of `by` become one row.

    The parts are results of `count_by` with the same arguments; every column beside `by` and `counts` is a sum. Order,
    index, dtypes and ``.attrs["left_out"]`` are as if `count_by` had got the whole table; the order of the parts does
    not matter.

    Parameters
    ----------
    parts
        At least one result of `count_by`, with or without a taxonomy.
    by
        The columns that were counted by.
    counts
        The column of counts.

    Raises
    ------
    BuilderError
        ``recipe-declaration`` for no parts, ``schema-drift`` for parts with other columns or dtypes than the first,
        ``key-null`` for a null in `by`, ``bad-value`` for a count that comes out below 1 and a sum that overflows.

    Examples
    --------
    >>> import pandas as pd
    >>> parts = [pd.DataFrame({"kind": ["air", "air"]}), pd.DataFrame({"kind": ["sea", "air"]})]
    >>> merge_counts([count_by(part, ["kind"]) for part in parts], ["kind"]).values.tolist()
    [['air', 3], ['sea', 1]]
    """
    return _combined([(part, 1) for part in parts], by, counts)


def fold_counts(
    previous: pd.DataFrame, added: pd.DataFrame, removed: pd.DataFrame, *, by: Sequence[str], counts: str = "n"
) -> pd.DataFrame:
    """The counters after a change: `previous` and `added` less `removed`; counters that came down to 0 are not there.

    Equal to counting the changed table anew, row for row and with the same dtypes.

    Parameters
    ----------
    previous
        The result of `count_by` before the change.
    added
        The result of `count_by`, with the same arguments, over the rows that came or changed, as they are now.
    removed
        The same over the rows that went or changed, as they were.
    by, counts
        As in `merge_counts`.

    Raises
    ------
    BuilderError
        As `merge_counts`; ``bad-value`` where rows are removed that `previous` and `added` do not hold.

    Examples
    --------
    >>> import pandas as pd
    >>> was, now = pd.DataFrame({"kind": ["sea"]}), pd.DataFrame({"kind": ["air"]})
    >>> counted = [count_by(rows, ["kind"]) for rows in (was, now, was)]
    >>> fold_counts(*counted, by=["kind"]).values.tolist()
    [['air', 1]]
    """
    return _combined([(previous, 1), (added, 1), (removed, -1)], by, counts)


def _combined(tables: list[tuple[pd.DataFrame, int]], by: Sequence[str], counts: str) -> pd.DataFrame:
    if not tables:
        raise error("recipe-declaration", "there are no parts to merge", hint="give at least one; it may have no rows")
    first = tables[0][0]
    names = {by} if isinstance(by, str) else set(by)
    layout = layout_of(by, counts, {name: name for name in first.columns if name not in names and name != counts})
    parts = [read_part(layout, table) for table, _ in tables]
    kinds = kinds_of(parts[0])
    for part in parts[1:]:
        kinds = kinds.agreed(layout, part)
    return finished(layout, joined([signed(part, sign) for part, (_, sign) in zip(parts, tables)]))
