"""Taxonomies: tables of codes and their parents, checked once and then asked for ancestors.

Decides what is no taxonomy: a code that is null or there twice, a parent that is not in the table, a cycle. Counts
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from builder.errors import BuilderError, error
from builder.transforms.columns import check_columns
from builder.transforms.count_cells import Tree
from builder.transforms.count_codes import Coded, Codes, arrow_column, as_integers, coded_within, positions

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """A checked taxonomy.

    Parameters
    ----------
    codes
        All codes, ascending.
    tree
        Parents and depths, by position in `codes`.
    """

    codes: pa.Array
    tree: Tree

    def coded(self, series: pd.Series[Any], what: str) -> Coded:
        """A column of codes; its values are all codes of the taxonomy, not only those that occur.

        Raises
        ------
        BuilderError
            ``bad-value`` with examples for values that are no code of the taxonomy, or of another type.
        """
        coded, unknown = coded_within(series, what, self.codes)
        if len(unknown) == 0:
            return coded
        if unknown.type == self.codes.type:
            raise _problem("bad-value", f"column '{series.name}' has codes that are not in the taxonomy", unknown)
        raise error(
            "bad-value",
            f"column '{series.name}' and the taxonomy's codes are of different types",
            facts=[(what, str(unknown.type)), ("taxonomy", str(self.codes.type))],
            hint="convert one of them, so that equal codes are equal values",
        )


def read_taxonomy(table: pd.DataFrame) -> Taxonomy:
    """The taxonomy of a table with the columns ``code`` and ``parent``; other columns do not matter, nor does order.

    Codes are integers or text, or of any dtype that can be counted by. A parent is null at a root; there may be several
    roots, and any depth. Parents that pandas made floats because some are null are taken as the integers they were.

    Raises
    ------
    BuilderError
        ``key-null`` for a null code, ``key-duplicate`` for a code that is there twice, ``bad-value`` for a parent that
        is not in the table and for a cycle, each with examples.
    """
    check_columns(table, ("code", "parent"), "taxonomy")
    codes = as_integers(arrow_column(table["code"], "taxonomy").combine_chunks())
    parents = _like(as_integers(arrow_column(table["parent"], "taxonomy").combine_chunks()), codes)
    if codes.null_count:
        rows = np.flatnonzero(codes.is_null().to_numpy(zero_copy_only=False))
        raise error(
            "key-null",
            f"{len(rows)} rows of the taxonomy have no code",
            facts=[("rows", _listed(rows.tolist()))],
            hint="give every row a code; only a root's parent is null",
        )
    order = pc.sort_indices(codes)
    codes, parents = codes.take(order), parents.take(order)
    if len(codes) > 1:
        is_repeat = pc.equal(codes[1:], codes[:-1]).to_numpy(zero_copy_only=False)
        if is_repeat.any():
            raise _problem(
                "key-duplicate", "the taxonomy has codes more than once", codes[1:].filter(pa.array(is_repeat))
            )
    places = positions(parents, codes)
    is_orphan = (places < 0) & parents.is_valid().to_numpy(zero_copy_only=False)
    if is_orphan.any():
        raise _problem(
            "bad-value", "the taxonomy has parents that are not among its codes", parents.filter(pa.array(is_orphan))
        )
    depths = _depths(places, codes)
    return Taxonomy(codes, Tree(places, depths, np.argsort(-depths, kind="stable").astype(np.int32)))


def _like(parents: pa.Array, codes: pa.Array) -> pa.Array:
    if parents.type == codes.type:
        return parents
    is_number = pa.types.is_floating(parents.type) or pa.types.is_null(parents.type)
    if is_number or parents.null_count == len(parents):
        try:
            return parents.cast(codes.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            pass
    raise error(
        "bad-value",
        "the taxonomy's codes and parents are of different types",
        facts=[("code", str(codes.type)), ("parent", str(parents.type))],
        hint="convert one of them, so that a parent equals its code",
    )


def _depths(parents: Codes, codes: pa.Array) -> Codes:
    """How many ancestors every node has, by jumping twice as far each time (Wyllie's list ranking)."""
    depths, ahead = (parents >= 0).astype(np.int32), parents.copy()
    for _ in range(len(parents).bit_length() + 1):
        climbing = np.flatnonzero(ahead >= 0)
        if not len(climbing):
            return depths
        next_up = ahead[climbing]
        depths[climbing] += depths[next_up]
        ahead[climbing] = ahead[next_up]
    raise _cycle(parents, int(np.flatnonzero(ahead >= 0)[0]), codes)


def _cycle(parents: Codes, node: int, codes: pa.Array) -> BuilderError:
    for _ in range(len(parents)):  # from a branch that leads into the cycle into the cycle itself
        node = int(parents[node])
    path = [node]
    while len(path) == 1 or path[-1] != node:
        path.append(int(parents[path[-1]]))
    shown = [codes[i].as_py() for i in path[: 2 * _SHOWN]] + (["…"] if len(path) > 2 * _SHOWN else [])
    return error(
        "bad-value",
        "the taxonomy has a cycle",
        facts=[("cycle", " -> ".join(map(str, shown)))],
        hint="let the chain of parents of every code end at a root, whose parent is null",
    )


def _problem(code: str, message: str, bad: pa.Array) -> BuilderError:
    bad = pc.unique(bad)
    examples = bad.take(pc.sort_indices(bad)).to_pylist()
    hints = {"key-duplicate": "keep one row a code", "bad-value": "add the missing codes to the taxonomy"}
    return error(code, message, facts=[("codes", _listed(examples))], hint=hints[code])


def _listed(values: list[Any]) -> str:
    more = len(values) - _SHOWN
    return ", ".join(map(repr, values[:_SHOWN])) + (f" and {more} more" if more > 0 else "")
