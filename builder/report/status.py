"""The status of a project, from its plan and what the ledger recalls."""

from __future__ import annotations

from builder.config import Config
from builder.plan.plan import Plan
from builder.report.sources import source_statuses
from builder.report.targets import Targets, TargetStatus
from builder.report.values import Status, Updates, root_causes, updates_of
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
    due: Plan | None = None,
) -> Status:
    """How sources and the wanted targets (None: all) stand, and why.

    `due` is the plan that brings the wanted ones up to date, where that is not `plan`.
    """
    graph = plan.situation.graph
    predicted, total_s, updates = _predicted(due or plan, recall, config, workers)
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
    return Status(
        config.name,
        plan.situation.sensed_s,
        source_statuses(plan, recall),
        targets,
        total_s,
        workers,
        _unpublished(plan, recall, config, published),
        retired,
        paused_since(config.store),
        updates,
    )


def _predicted(
    plan: Plan, recall: Recall, config: Config, workers: int
) -> tuple[dict[str, float | None], float | None, Updates | None]:
    """Predicted seconds of each step to do, and of all of them on these workers; what updates should save."""
    if not plan.steps and not plan.intakes:
        return {}, 0.0, None
    from builder.compile.amounts import forecasts  # most looks find nothing to do
    from builder.compile.expected import expected_ways
    from builder.compile.predict import Pace
    from builder.compile.schedule import make_schedule

    found = forecasts(plan, recall.ledger, recall.currents, expected_ways(plan, recall, recall.ledger))
    schedule = make_schedule(plan, found, config.lanes, workers, pace=Pace(*recall.ledger.pace()))
    return {s.name: s.predicted_s for s in schedule.slots}, schedule.predicted_s, updates_of(schedule)


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
