"""Why a target is as it is: the verdict's own reasons, with values, and the way back to the root cause."""

from __future__ import annotations

from builder.errors import BuilderError
from builder.nouns import replace
from builder.plan.keys import UNKNOWN
from builder.plan.plan import Plan, digest_of_read
from builder.plan.verdict import Action, Reason, State
from builder.report.values import Explanation
from builder.store.recall import Recall


def explain(plan: Plan, recall: Recall, target: str) -> Explanation:
    """The explanation of one target, from the same fields that made its key."""
    graph = plan.situation.graph
    step = graph.step_of(target)
    verdict = plan.verdicts[step.name]
    recipe = graph.recipes[step.recipe]
    reasons = tuple(
        r for reason in verdict.reasons for r in _detailed(reason, recall, recipe.fingerprint, recipe.items)
    )
    inputs = tuple(
        (name, _known(digest_of_read(plan.versions, recall, name, edge.columns)))
        for edge in step.edges
        for name in edge.names
    )
    waits = tuple(
        n
        for n in step.reads
        if (n in graph.maker and plan.verdict_of(n).action is not Action.NONE)
        or (n in graph.sources and plan.sources[n].action is not Action.NONE)
    )
    chain = () if verdict.state is State.FRESH else _chain(plan, step.name)
    place = f"{recipe.place}"
    return Explanation(
        target,
        verdict.state,
        reasons,
        waits,
        inputs,
        chain,
        _root_error(plan, recall, step.name),
        f"recipe {recipe.name}",
        place,
    )


def _root_error(plan: Plan, recall: Recall, name: str) -> BuilderError | None:
    """The error behind a step that failed or is blocked: its own, or that of what blocks it, however far up."""
    graph = plan.situation.graph
    seen: set[str] = set()
    while name not in seen:
        seen.add(name)
        sensed = plan.situation.sources.get(name)
        if sensed is not None and sensed.problem is not None:
            return sensed.problem
        verdict = plan.verdicts.get(name)
        if verdict is not None and verdict.state is State.BLOCKED:
            name = next((graph.maker.get(r.subject, r.subject) for r in verdict.reasons if r.kind == "upstream"), name)
        elif name in recall.failures and (verdict is None or verdict.state is State.FAILED):
            return recall.failures[name].error
    return None


def _known(digest: str) -> str | None:
    return None if digest == UNKNOWN else digest


def _detailed(reason: Reason, recall: Recall, now: str, items: tuple[tuple[str, str], ...]) -> list[Reason]:
    """A changed recipe by its pieces: which function, constant or default it was."""
    if reason.kind != "recipe" or reason.after != now or not reason.before:
        return [reason]
    before, after = recall.ledger.fingerprint_items(reason.before), dict(items)
    if not before:
        return [reason]
    pieces = [
        Reason(
            "recipe",
            s,
            "changed" if s in before and s in after else "is new" if s in after else "is gone",
            before.get(s),
            after.get(s),
        )
        for s in dict.fromkeys((*after, *before))
        if before.get(s) != after.get(s)
    ]
    return pieces or [reason]


def _chain(plan: Plan, step: str) -> tuple[str, ...]:
    """The way from a step back to the first thing that is not fresh because of nothing before it."""
    graph = plan.situation.graph
    chain = [step]
    while True:
        upstream = [r.subject.partition("(")[0] for r in plan.verdicts[chain[-1]].reasons if r.kind == "upstream"]
        known = [graph.maker[n] for n in upstream if n in graph.maker and graph.maker[n] not in chain]
        if not known:
            break
        chain.append(known[0])
    sources = [r.subject.partition("(")[0] for r in plan.verdicts[chain[-1]].reasons if r.kind == "source"]
    return tuple([*chain, *(f"{s} changed" for s in sources[:1])]) if len(chain) > 1 or sources else ()


def with_pieces(
    reasons: tuple[Reason, ...], recall: Recall, fingerprint: str, items: tuple[tuple[str, str], ...]
) -> tuple[Reason, ...]:
    """Reasons whose detail names the pieces of a recipe that changed."""
    found = []
    for reason in reasons:
        pieces = _detailed(reason, recall, fingerprint, items)
        names = ", ".join(f"{p.subject} {p.detail}" for p in pieces[:3])
        found.append(reason if pieces == [reason] else replace(reason, detail=f"changed: {names}"))
    return tuple(found)
