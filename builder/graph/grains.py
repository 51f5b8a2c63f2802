"""What a declared grain and a lookup may name.

Decides which declarations cannot be; never how an update is derived from a grain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

from builder.errors import error
from builder.graph.declare import Grain, RecipeDecl
from builder.graph.graph import Edge

PIECEWISE = ("rows", "spatial", "fold")
"""Grains whose full run may go through a large table piece by piece."""

PIECE_ROWS = 1 << 20
"""How many rows a piece has; a table of less than two goes in one."""


def check_grain(decl: RecipeDecl, edges: Iterable[Edge]) -> None:
    """Refuse a grain of what is no input of the recipe, and a lookup outside of a row recipe.

    Raises
    ------
    ConfigError
        ``recipe-declaration``.
    """
    edges = tuple(edges)
    grain = decl.grain
    if grain.of is not None and edge_of(grain, edges) is None:
        raise error(
            "recipe-declaration",
            f"the grain of recipe '{decl.name}' names '{grain.of}', which is none of its inputs",
            place=str(decl.place),
            facts=[("inputs", ", ".join(e.parameter for e in edges) or "none")],
            hint=f"name an input: b.{grain.kind}(…) takes the parameter whose rows it goes by",
        )
    for edge in edges:
        if edge.on is not None and (grain.kind != "rows" or edge.shape != "one"):
            raise error(
                "recipe-declaration",
                f"input '{edge.parameter}' of recipe '{decl.name}' is a b.lookup",
                place=str(decl.place),
                hint="b.lookup is for one table in a recipe with grain=b.rows(…); give the reference itself",
            )


def edge_of(grain: Grain, edges: Sequence[Edge]) -> Edge | None:
    """The input whose rows a grain goes by; None where it names none."""
    found = None if grain.of is None else place_of(grain.of, [(e.parameter, e.names, e.on) for e in edges])
    return None if found is None else edges[found]


def place_of(name: str, inputs: Sequence[tuple[str, Iterable[str], str | None]]) -> int | None:
    """Where among inputs the one is that a grain's `name` means: by its parameter, else by the dataset that it reads.

    An input has its parameter, the datasets that it reads, and the column by which it is looked up. One that is looked
    up is never meant: a table may look itself up.
    """
    own = [(at, parameter, datasets) for at, (parameter, datasets, on) in enumerate(inputs) if on is None]
    by_parameter = (at for at, parameter, _ in own if parameter == name)
    by_dataset = (at for at, _, datasets in own if any(name in (n, n.partition("[")[0]) for n in datasets))
    return next(chain(by_parameter, by_dataset), None)
