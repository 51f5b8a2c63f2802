"""Whether a table is as promised: how many rows break each rule, and examples.

Decides what a report says. Never drops or mends a row.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from builder.errors import error
from builder.transforms.columns import check_columns
from builder.transforms.comparing import names_of
from builder.transforms.profiling import as_text
from builder.transforms.rules import Rule
from builder.transforms.values import arrow_values, kind_of

_EXAMPLES = 3


def check_quality(frame: pd.DataFrame, rules: Iterable[Rule], *, key: Any = None) -> pd.DataFrame:
    """One row per rule: how many rows of a table break it, and examples.

    Parameters
    ----------
    frame
        The table; any index.
    rules
        Made by the methods of `Rule`: ``not_null``, ``unique``, ``in_range``, ``one_of``, ``matches``, ``references``,
        ``row_count``. All but ``not_null`` say nothing of rows with a null in their columns.
    key
        Columns whose values stand as the examples; without it the values that break the rule do.

    Returns
    -------
    pandas.DataFrame
        In the order of the rules, with a fresh RangeIndex: ``rule``, ``column`` (string; several columns with commas,
        none for the number of rows), ``rows`` (int64), ``failed`` (int64: the rows that break the rule; 1 for a wrong
        number of rows), ``share`` (float64: of the rows; NaN of no rows), ``passed`` (bool), ``examples`` (string:
        JSON, the three lowest of different examples). The same for any order of the rows. Parts' ``failed`` add up to
        that of the whole, but for ``unique`` and ``row_count``.

    Raises
    ------
    BuilderError
        ``recipe-declaration`` for wrong rules; ``bad-value`` where a column is missing, of several types or of another
        kind than the rule asks for.

    Examples
    --------
    >>> import pandas as pd
    >>> strips = pd.DataFrame({"icao": ["KSEA", "00aa", None], "lat": [47.4, 91.0, float("nan")]})
    >>> rules = [Rule.not_null("icao"), Rule.matches("icao", "[0-9A-Z]{4}"), Rule.in_range("lat", -90, 90)]
    >>> check_quality(strips, rules)[["rule", "failed", "examples"]].values.tolist()
    [['not_null', 1, '[null]'], ["matches('[0-9A-Z]{4}')", 1, '["00aa"]'], ['in_range(-90, 90)', 1, '[91.0]']]
    """
    rules = list(rules)
    for rule in rules:
        if not isinstance(rule, Rule):
            raise error("recipe-declaration", f"{rule!r} is no rule", hint="make rules with Rule.not_null and its like")
        check_columns(frame, rule.columns, "frame")
    keys = () if key is None else names_of(key, "key")
    check_columns(frame, keys, "frame")
    found = [_outcome(frame, rule, keys) for rule in rules]
    types = {"rule": "string", "column": "string", "rows": "int64", "failed": "int64", "share": "float64"}
    types |= {"passed": "bool", "examples": "string"}
    return pd.DataFrame({name: pd.Series([row[name] for row in found], dtype=dtype) for name, dtype in types.items()})


def require_quality(frame: pd.DataFrame, rules: Iterable[Rule], *, key: Any = None) -> None:
    """Nothing, where a table keeps all rules; made to be called in a recipe's ``check``.

    Parameters
    ----------
    frame, rules, key
        As in `check_quality`.

    Raises
    ------
    BuilderError
        ``check-failed`` with each rule that is broken, its count and its examples; what `check_quality` raises.

    Examples
    --------
    >>> import pandas as pd
    >>> require_quality(pd.DataFrame({"id": [1, 2]}), [Rule.unique("id"), Rule.row_count(1)])
    """
    report = check_quality(frame, rules, key=key)
    broken = report[~report["passed"]]
    if len(broken):
        rows = zip(broken["rule"], broken["column"], broken["failed"], broken["examples"])
        raise error(
            "check-failed",
            f"the table breaks {len(broken)} of {len(report)} rules",
            facts=[(f"{column} {rule}".strip(), f"{failed} failed: {some}") for rule, column, failed, some in rows],
            hint="mend the data or the rules",
        )


def _outcome(frame: pd.DataFrame, rule: Rule, keys: tuple[str, ...]) -> dict[str, Any]:
    rows = len(frame)
    row = {"rule": rule.text, "column": ", ".join(rule.columns), "rows": rows}
    if rule.broken is None:
        passed = rule.rows[0] <= rows <= rule.rows[1]
        return row | {
            "failed": int(not passed),
            "share": float(not passed),
            "passed": passed,
            "examples": "[]" if passed else f"[{rows}]",
        }
    is_broken = rule.broken(frame)
    failed = int(is_broken.sum())
    return row | {
        "failed": failed,
        "share": failed / rows if rows else math.nan,
        "passed": failed == 0,
        "examples": _examples(frame[is_broken], keys or rule.columns) if failed else "[]",
    }


def _examples(frame: pd.DataFrame, names: tuple[str, ...]) -> str:
    arrays = [arrow_values(frame[name], name) for name in names]
    table = pa.table(arrays, names=[str(n) for n in range(len(names))])
    table = table.group_by(table.column_names).aggregate([])
    order = pc.select_k_unstable(table, _EXAMPLES, [(name, "ascending") for name in table.column_names])
    some = [lowest_as_json(column.combine_chunks()) for column in table.take(order).columns]
    return json.dumps(some[0] if len(some) == 1 else list(map(list, zip(*some))), ensure_ascii=False)


def lowest_as_json(values: pa.Array) -> list[Any]:
    """Values that JSON has as they are, others as text."""
    kind = kind_of(values, "")
    is_json = kind in ("integer", "float", "boolean", "text")
    return values.to_pylist() if is_json else as_text(values, kind)
