"""Which way each step of a plan is expected to go, as far as can be told before anything runs. Pure.

Decides how much of a dataset changes that is still to be built: as large a share as of what it is made from. What a
source holds that was not taken in yet is not known, and nor is the way of what reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol

from builder.compile.choice import Read, Tried, choose, whole_s
from builder.compile.predict import Choice
from builder.digests import Digest
from builder.graph.graph import Step
from builder.nouns import replace
from builder.plan.basis import UNCHANGED, Basis, basis_of, rule_of, unfit
from builder.plan.keys import step_fields
from builder.plan.plan import Memory, Plan, digest_of_read
from builder.plan.verdict import Action
from builder.store.manifest import Manifest, layers_between

Tries = tuple[Sequence[Tried], Sequence[Tried]]
Share = tuple[float, bool]
"""Of rows that changed; and whether that is the most, for nobody counted."""

NEAR_EDGES = 0.25
"""The share of points near edges of regions of which all changed a little: 20 % of the airports in a revision of the
counties."""


FORCED = "a full run was asked for"
REFUTED = "an update of it came out otherwise than a full run"
"""Why a step runs whole whose updates count no more."""


class Past(Protocol):
    """What a ledger tells of versions and of attempts."""

    def inputs(self, key: Digest, grain: str) -> Mapping[str, int]:
        """The manifest of each table that was read for a key by a grain, by number."""

    def difference(self, old: Digest, new: Digest) -> tuple[int, int, int] | None:
        """Rows that differ between two digests, where that was counted."""

    def is_distrusted(self, recipe: str, fingerprint: str) -> bool:
        """Whether an update by this code was refuted by a full run."""

    def ways(self, steps: Iterable[str]) -> Mapping[str, Tries]:
        """The latest attempts of each step that ran whole, and those that were updates."""


def expected_ways(plan: Plan, memory: Memory, past: Past) -> dict[str, Choice]:
    """The choice between an update and a full run, of each step that may be updated and whose changes are known."""
    graph = plan.situation.graph
    read = partial(digest_of_read, plan.versions, memory)
    shares: dict[str, Share] = {}
    found: dict[str, Choice] = {}
    names = [name for name in plan.steps if _may_update(plan, name)]
    tried = past.ways(names) if names else {}
    for name in names:
        step = graph.steps[name]
        recipe = graph.recipes[step.recipe]
        basis: Basis | str = FORCED
        if not plan.is_forced:
            basis = basis_of(step, recipe, step_fields(step, plan.situation, read), memory)
        if not isinstance(basis, str) and past.is_distrusted(recipe.name, recipe.fingerprint + recipe.update):
            basis = REFUTED
        held: dict[str, Manifest | None] = {}
        if not isinstance(basis, str):
            held = {n: _held(plan, memory, n) for n in (*step.reads, *step.targets)}
            basis = unfit(step, recipe, basis, {n: m.schema for n, m in held.items() if m is not None}) or basis
        if isinstance(basis, str):
            if basis != UNCHANGED:  # else what will change is not known yet
                is_refused = recipe.policy == "require" and not plan.is_forced and _was_built(step, memory)
                full_s = _whole_s(plan, memory, step, tried[name][0])
                found[name] = Choice(False, None, full_s, None, basis, is_refused=is_refused)
            continue
        share = _share(plan, memory, past, step, basis, shares)
        if share is None:
            continue
        shares.update(dict.fromkeys(step.targets, share))
        inputs = {n: held[n] for n in step.reads}
        is_required = recipe.policy == "require"
        choice = choice_of(step, basis, min(1.0, share[0]), inputs, tried[name], is_required=is_required)
        found[name] = replace(choice, is_most=share[1])
    return found


def _whole_s(plan: Plan, memory: Memory, step: Step, whole: Sequence[Tried]) -> float | None:
    """Seconds of a full run of a step; None where none was measured."""
    if not whole:
        return None
    inputs = [held for name in step.reads if (held := _held(plan, memory, name)) is not None]
    return whole_s(whole, Read(sum(m.bytes for m in inputs), sum(m.rows for m in inputs)))


def _was_built(step: Step, memory: Memory) -> bool:
    """Whether any output of a step is there."""
    return any(memory.current_key(target) is not None for target in step.targets)


def _may_update(plan: Plan, name: str) -> bool:
    """Whether a step is to run, and is one that may be updated at all, or must."""
    recipe = plan.situation.graph.recipes[plan.situation.graph.steps[name].recipe]
    is_whole = rule_of(plan.situation.graph.steps[name], recipe) == "whole" and recipe.policy != "require"
    return not is_whole and plan.verdicts[name].action is Action.RUN


def _share(
    plan: Plan, memory: Memory, past: Past, step: Step, basis: Basis, shares: Mapping[str, Share]
) -> Share | None:
    """The share of rows that an update has to look at; None where one of the changes is not known."""
    known = past.inputs(basis.key, plan.situation.graph.recipes[step.recipe].grain.text)
    total, is_most = 0.0, False
    for name in basis.changed:
        version = plan.versions.get(name)
        if version is not None and version.manifest is not None and name in known:
            share = share_between(past, memory.manifest(known[name]), memory.manifest(version.manifest))
        elif name in shares:
            share = shares[name]
        else:
            return None
        total += share[0] * weight(step, basis, name)
        is_most |= share[1]
    return total, is_most


def weight(step: Step, basis: Basis, name: str) -> float:
    """What share of the main input's rows a change of all rows of an input touches."""
    is_main = any(edge.parameter == basis.of and name in edge.names for edge in step.edges)
    return NEAR_EDGES if basis.rule == "spatial" and not is_main else 1.0


def _held(plan: Plan, memory: Memory, name: str) -> Manifest | None:
    """The version of a dataset that is read, or the last one of what is still to be built."""
    version = plan.versions.get(name)
    if version is not None:
        return None if version.manifest is None else memory.manifest(version.manifest)
    key = memory.current_key(name)
    found = {} if key is None else memory.trace(key)
    return memory.manifest(found[name][0]) if name in found else None


def share_between(past: Past, old: Manifest, new: Manifest) -> Share:
    """The share of rows that differ between two versions: as counted before, or at most."""
    most = max(1, old.rows, new.rows)
    counted = past.difference(old.digest, new.digest)
    if counted is not None:
        return sum(counted) / most, False
    layers = layers_between(old, new)
    return (1.0 if layers is None else sum(layer.rows for layer in layers) / most), True


def choice_of(
    step: Step,
    basis: Basis,
    share: float,
    held: Mapping[str, Manifest | None],
    tried: Tries,
    *,
    is_required: bool = False,
) -> Choice:
    """The cheaper way of a step of whose input this share of the rows changed.

    `held` has what the step reads; None for what is no table, or not known. `tried` has its latest attempts that ran
    whole, and those that were updates; with `is_required` there is no choice, but both costs are told.
    """
    main = next((e.names[0] for e in step.edges if e.parameter == basis.of), basis.changed[0])
    table = held.get(main)
    rows = table.rows if table is not None else 0
    size = sum(m.bytes for m in held.values() if m is not None)
    read = Read(size, rows, table.bytes if table is not None else 0)
    return choose(basis.rule, round(share * rows), read, *tried, is_required=is_required)
