"""The status of a project, from its plan and what the ledger recalls.

Decides which source counts as changed: one whose bytes differ from what was taken in, or whose present version its
readers have not seen yet.
"""

from __future__ import annotations

from builder.config import Config
from builder.digests import Digest
from builder.plan.plan import Plan
from builder.plan.verdict import State
from builder.report.values import SourceStatus, Status, TargetStatus, root_causes
from builder.store.publish import file_token
from builder.store.recall import Recall


def status_of(
    plan: Plan,
    recall: Recall,
    config: Config,
    workers: int,
    *,
    wanted: set[str] | None,
    published: frozenset[str],
    retired: tuple[str, ...],
) -> Status:
    """How sources and the wanted targets (None: all) stand, and why."""
    graph = plan.situation.graph
    predicted, total_s = _predicted(plan, recall, config, workers)
    roots = root_causes(plan)
    targets = tuple(
        TargetStatus(
            target,
            step.recipe,
            step.params,
            plan.verdicts[step.name].state,
            plan.verdicts[step.name].reasons,
            predicted.get(step.name),
            step.lanes,
            roots.get(step.name, ()),
        )
        for step in graph.steps.values()
        for target in step.targets
        if wanted is None or target in wanted
    )
    return Status(
        config.name,
        plan.situation.sensed_s,
        tuple(_source(name, plan, recall) for name in graph.sources),
        targets,
        total_s,
        workers,
        _unpublished(plan, recall, config, published),
        retired,
    )


def _predicted(
    plan: Plan, recall: Recall, config: Config, workers: int
) -> tuple[dict[str, float | None], float | None]:
    """Predicted seconds of each step to do, and of all of them on these workers."""
    if not plan.steps and not plan.intakes:
        return {}, 0.0
    from builder.compile.schedule import make_schedule  # most looks find nothing to do

    schedule = make_schedule(plan, recall.ledger.history_s(), config.lanes, workers)
    return {s.name: s.predicted_s for s in schedule.slots}, schedule.predicted_s


def _source(name: str, plan: Plan, recall: Recall) -> SourceStatus:
    """How one source stands."""
    sensed, verdict = plan.situation.sources[name], plan.sources[name]
    current = recall.currents.get(name)
    shown = sensed.files[0].shown if len(sensed.files) == 1 else plan.situation.declarations[sensed.base].path
    problem = sensed.problem
    if problem is None and name in recall.failures and recall.failures[name].key == verdict.key:
        problem = recall.failures[name].error
    state, rows_before, difference = verdict.state, None, None
    if state == "unchanged" and current is not None and _is_unseen(name, plan):
        found = _previous(name, current.digest, recall)
        if found is not None:
            state, (rows_before, difference) = "changed", found
    rows = current.rows if current else None
    return SourceStatus(
        name, state, len(sensed.files), sensed.bytes, verdict.reasons, shown, rows, problem, rows_before, difference
    )


def _is_unseen(name: str, plan: Plan) -> bool:
    """Whether a direct reader is stale because of the present version of a source that was taken in."""
    return any(
        r.kind == "source" and r.subject.partition("(")[0] == name and r.before is not None
        for step in plan.situation.graph.readers.get(name, ())
        for r in plan.verdicts[step].reasons
    )


def _previous(name: str, digest: Digest, recall: Recall) -> tuple[int, tuple[int, int, int] | None] | None:
    """Rows of the version before the present one, and what differs between them where that was counted."""
    for _, number in reversed(recall.ledger.versions(name)):
        if number is not None:
            manifest = recall.manifest(number)
            if manifest.digest != digest and manifest.kind == "table":
                return manifest.rows, recall.ledger.difference(manifest.digest, digest)
    return None


def _unpublished(plan: Plan, recall: Recall, config: Config, published: frozenset[str]) -> int:
    """How many fresh targets are missing in ``out/`` or were changed there."""
    standing = recall.ledger.published()
    count = 0
    for name in published:
        current = recall.currents.get(name)
        if current is None or plan.verdict_of(name).state is not State.FRESH:
            continue
        known = standing.get(name)
        is_there = known is not None and known[0] == current.digest and file_token(config.out / known[1]) == known[2]
        count += not is_there
    return count
