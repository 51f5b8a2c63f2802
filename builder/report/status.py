"""The status of a project, from its plan and what the ledger recalls.

Decides which source counts as changed: one whose bytes differ from what was taken in, or whose present version its
readers have not seen yet.
"""

from __future__ import annotations

from builder.config import Config
from builder.digests import Digest
from builder.plan.plan import Plan
from builder.report.targets import Targets, TargetStatus
from builder.report.values import SourceStatus, Status, root_causes
from builder.store.pause import paused_since
from builder.store.published import is_standing
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

    def tell(target: str) -> TargetStatus:
        step = graph.step_of(target)
        verdict = plan.verdicts[step.name]
        return TargetStatus(
            target,
            step.recipe,
            step.params,
            verdict.state,
            verdict.reasons,
            predicted.get(step.name),
            step.lanes,
            roots.get(step.name, ()),
        )

    names = [t for t in graph.targets if wanted is None or t in wanted]
    stale = [t for s in plan.not_fresh for t in graph.steps[s].targets if wanted is None or t in wanted]
    targets = Targets(names, stale, tell)
    unseen = _unseen(plan)
    return Status(
        config.name,
        plan.situation.sensed_s,
        tuple(_source(name, plan, recall, is_unseen=name in unseen) for name in graph.sources),
        targets,
        total_s,
        workers,
        _unpublished(plan, recall, config, published),
        retired,
        paused_since(config.store),
    )


def _predicted(
    plan: Plan, recall: Recall, config: Config, workers: int
) -> tuple[dict[str, float | None], float | None]:
    """Predicted seconds of each step to do, and of all of them on these workers."""
    if not plan.steps and not plan.intakes:
        return {}, 0.0
    from builder.compile.amounts import forecasts  # most looks find nothing to do
    from builder.compile.expected import expected_ways
    from builder.compile.predict import Pace
    from builder.compile.schedule import make_schedule

    found = forecasts(plan, recall.ledger, recall.currents, expected_ways(plan, recall, recall.ledger))
    schedule = make_schedule(plan, found, config.lanes, workers, pace=Pace(*recall.ledger.pace()))
    return {s.name: s.predicted_s for s in schedule.slots}, schedule.predicted_s


def _source(name: str, plan: Plan, recall: Recall, *, is_unseen: bool) -> SourceStatus:
    """How one source stands."""
    sensed, verdict = plan.situation.sources[name], plan.sources[name]
    current = recall.currents.get(name)
    shown = sensed.files[0].shown if len(sensed.files) == 1 else plan.situation.declarations[sensed.base].path
    problem = sensed.problem
    if problem is None and name in recall.failures and recall.failures[name].key == verdict.key:
        problem = recall.failures[name].error
    state, rows_before, difference = verdict.state, None, None
    if state == "unchanged" and current is not None and is_unseen:
        found = _previous(name, current.digest, recall)
        if found is not None:
            state, (rows_before, difference) = "changed", found
    rows = current.rows if current else None
    return SourceStatus(
        name, state, len(sensed.files), sensed.bytes, verdict.reasons, shown, rows, problem, rows_before, difference
    )


def _unseen(plan: Plan) -> set[str]:
    """The sources of whose present version a direct reader is stale because it has seen another."""
    return {
        r.subject.partition("(")[0]
        for verdict in plan.not_fresh.values()
        for r in verdict.reasons
        if r.kind == "source" and r.before is not None
    }


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
    graph, out = plan.situation.graph, str(config.out)
    count = 0
    for name in published:
        current = recall.currents.get(name)
        if current is None or graph.maker[name] in plan.not_fresh:
            continue
        count += not is_standing(standing.get(name), current.digest, out)
    return count
