"""What an update of a step may start from: its present outputs, where all that differs is content that a rule follows.

Decides when an increment is allowed; whether it is worth it, `compile.choice` says. Code, environment, parameters or
declarations that changed always mean a full run. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import zip_longest

from builder.digests import Digest
from builder.graph.grains import edge_of
from builder.graph.graph import Edge, RecipeNode, Step
from builder.nouns import dataclass
from builder.plan.keys import Field, columns_read, subject_of
from builder.plan.verdict import Traces, other_rule
from builder.tables.schema import Schema

UNCHANGED = "nothing that it reads changed"

_PLAIN = {"Int64": "int64", "boolean": "bool"}
"""Dtypes that differ only in whether there may be nulls."""

_WHY = {
    "recipe": "its code changed",
    "version": "its version changed",
    "parameter": "its parameters changed",
    "environment": "the environment changed",
    "project": "a file that counts for all recipes changed",
}


@dataclass(frozen=True, slots=True)
class Basis:
    """What an update starts from: the key of the present outputs, the rule, and the inputs whose content differs.

    ``of`` is the parameter whose rows the rule goes by; empty for an own update, and for the rule ``where``: the
    outputs stand where nothing changed in the rows that are read.
    """

    key: Digest
    rule: str
    changed: tuple[str, ...]
    of: str = ""


def basis_of(step: Step, recipe: RecipeNode, fields: list[Field], traces: Traces) -> Basis | str:
    """What an update of a step may start from, or why it has to run whole.

    Parameters
    ----------
    fields
        Those of the key that the step is to be built under.
    """
    rule = rule_of(step, recipe)
    if rule == "whole":
        return "its rows may depend on all of its input"
    if recipe.policy == "full":
        return 'its policy is "full"'
    if not recipe.pure:
        return "it is no function of its inputs"
    key = traces.built_key(step.name)
    if key is None:
        return "it was not built before"
    if (was_by := traces.made_by(key)) not in recipe.bases:
        return "it was updated by its grain so far" if was_by in recipe.made_by else other_rule(was_by)
    refusal, changed = _changed(step, traces.fields(key), fields)
    if refusal:
        return refusal
    main = edge_of(recipe.grain, step.edges)
    if rule == "where":
        refusal = _unfiltered(step.edges, changed)
    elif rule != "update":
        refusal = _refusal(rule, main, step.edges, changed)
    if refusal:
        return refusal
    return Basis(key, rule, changed, main.parameter if main else "")


def unfit(step: Step, recipe: RecipeNode, basis: Basis, held: Mapping[str, Schema | None]) -> str:
    """Why the tables themselves can have no update by this rule; empty where nothing is known against it.

    `held` has the schemas of inputs and outputs, as far as they are known: None for what is no table.
    """
    if basis.rule == "where":
        return ""
    main = edge_of(recipe.grain, step.edges)
    of = held.get(main.names[0]) if main is not None else None
    owner: tuple[str, ...] = ()
    if of is not None and basis.rule in ("rows", "groups", "spatial"):
        owner = recipe.grain.by if basis.rule == "groups" else of.key
    for target in step.targets:
        schema = held.get(target)
        if target in held and (why := unkeyed_output(target, schema)):
            return why
        lost = None if schema is None else next((name for name in owner if name not in schema.key), None)
        if lost is not None:
            return f"'{lost}' is not in the key of '{target}', so that no row is found by it"
    if main is None or of is None or basis.rule == "update":
        return ""
    if why := unkeyed_input(main.names[0], of):
        return why
    for edge in step.edges:
        side = held.get(edge.names[0]) if edge.on in of.names else None
        if edge.on is not None and side is not None and (why := unfit_lookup(edge.names[0], edge.on, side, of)):
            return why
    return ""


def unkeyed_output(name: str, schema: Schema | None) -> str:
    """Why no row of an output can be replaced; empty where it is a table with a key."""
    return "" if schema is not None and schema.key else f"'{name}' has no key, so that no row of it can be replaced"


def unkeyed_input(name: str, schema: Schema) -> str:
    """Why no grain can go by the rows of a table; empty where it has a key."""
    return "" if schema.key else f"'{name}' has no key, so that its rows cannot be told apart"


def unfit_lookup(name: str, on: str, side: Schema, main: Schema) -> str:
    """Why a table cannot be looked up in parts by a column of the main input; empty where it can."""
    if len(side.key) != 1:
        return f"'{name}' is looked up, and no single column names its rows"
    one, other = (_PLAIN.get(d, d) for d in (side.column(side.key[0]).dtype, main.column(on).dtype))
    return "" if one == other else f"'{on}' and '{side.key[0]}' of '{name}' are of different dtypes"


def rule_of(step: Step, recipe: RecipeNode) -> str:
    """The rule by which a step may be brought up to date; ``whole`` where there is none."""
    if recipe.update:
        return "update"
    is_filtered = recipe.grain.kind == "whole" and any(edge.where for edge in step.edges)
    return "where" if is_filtered else recipe.grain.kind


def _changed(step: Step, before: Iterable[Field], now: Iterable[Field]) -> tuple[str, tuple[str, ...]]:
    """Why no update is allowed, or else the datasets among the inputs whose content differs."""
    read = {subject_of(n, columns_read(edge)): n for edge in step.edges for n in edge.names}
    changed = []
    for old, new in zip_longest(before, now):
        if old == new:
            continue
        if old is None or new is None or old[:2] != new[:2]:
            return "it reads other inputs than before", ()
        if new[0] not in ("source", "upstream"):
            return _WHY.get(new[0], "its declaration changed"), ()
        changed.append(read[new[1]])
    return ("" if changed else UNCHANGED), tuple(dict.fromkeys(changed))


def _unfiltered(edges: Iterable[Edge], changed: tuple[str, ...]) -> str:
    """The input that changed and of which more than some rows is read, as a reason; empty where there is none."""
    lost = next((n for e in edges for n in e.names if n in changed and not (e.where and e.shape == "one")), None)
    return "" if lost is None else f"'{lost}' changed, of which all rows are read"


def _refusal(rule: str, main: Edge | None, edges: Iterable[Edge], changed: tuple[str, ...]) -> str:
    """Why a rule cannot follow these changes; empty where it can."""
    if main is None or main.shape != "one":
        return "its rows go by no single table"
    for edge in edges:
        lost = next((n for n in edge.names if n in changed), None)
        if lost is None or edge is main or edge.on is not None or (rule == "spatial" and edge.shape == "one"):
            continue
        return f"'{lost}' changed, which every row may depend on"
    return ""
