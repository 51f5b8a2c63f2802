"""The schedule: when each step of a plan would start and end, and what bounds the whole. Pure.

Decides nothing about the order: the executor's own policy is simulated on predicted times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from builder.compile.policy import Job, Place, Rank, by_depth
from builder.compile.predict import History, Measured
from builder.compile.simulate import simulate
from builder.compile.urgency import with_queues
from builder.graph.graph import Graph
from builder.plan.plan import Plan
from builder.plan.verdict import Action

RESTORE_S = 0.005


@dataclass(frozen=True, slots=True)
class Slot:
    """One step of the schedule: what is done, when, at which priority."""

    name: str
    kind: str
    action: str
    lanes: tuple[tuple[str, int], ...]
    predicted_s: float | None
    priority: float
    start_s: float | None
    finish_s: float | None


@dataclass(frozen=True, slots=True)
class Schedule:
    """Steps in the order they start, the predicted finish, and the lower bounds it cannot beat.

    Times are None where nothing was ever measured.
    """

    slots: tuple[Slot, ...]
    workers: int
    predicted_s: float | None
    critical_path_s: float | None = None
    work_s: float | None = None
    lanes_s: Mapping[str, float] = field(default_factory=dict)
    bottleneck: str = ""


@dataclass(frozen=True, slots=True)
class Network:
    """The intakes and steps of a plan as jobs, with who waits for whom; ``is_known`` where all times are predicted."""

    jobs: tuple[Job, ...]
    readers: Mapping[str, list[str]]
    waits: Mapping[str, int]
    predicted_s: Mapping[str, float | None]

    @property
    def is_known(self) -> bool:
        """Whether every job's time is predicted."""
        return all(s is not None for s in self.predicted_s.values())


def predictions(plan: Plan, history_s: Mapping[str, float]) -> dict[str, float | None]:
    """Predicted seconds of each intake and step of a plan; None where nothing was ever measured."""
    graph = plan.situation.graph
    recipe_of = {n: s.recipe for n, s in graph.steps.items()} | {n: s.base for n, s in graph.sources.items()}
    predictor = History({n: Measured(s) for n, s in history_s.items()}, recipe_of).predictor()
    found: dict[str, float | None] = {}
    for name in (*plan.intakes, *plan.steps):
        action = plan.sources[name].action if name in graph.sources else plan.verdicts[name].action
        found[name] = RESTORE_S if action is Action.RESTORE else predictor.predict(name, recipe_of[name])
    return found


def make_network(plan: Plan, predicted_s: Mapping[str, float | None], first: frozenset[str] = frozenset()) -> Network:
    """The jobs of a plan, each with the longest predicted way to the end; an unknown time counts as a second."""
    graph = plan.situation.graph
    names = list(predicted_s)
    readers, waits = _edges(graph, names)
    depth_s: dict[str, float] = {}
    for name in reversed(names):
        below_s = max((depth_s[r] for r in readers[name]), default=0.0)
        depth_s[name] = below_s + _seconds(predicted_s[name])
    jobs = tuple(
        _job(graph, name, order, _seconds(predicted_s[name]), depth_s[name], name in first)
        for order, name in enumerate(names)
    )
    return Network(jobs, readers, waits, predicted_s)


def _seconds(predicted_s: float | None) -> float:
    return 1.0 if predicted_s is None else predicted_s


def _job(graph: Graph, name: str, order: int, predicted_s: float, depth_s: float, is_first: bool) -> Job:
    """A step, or an intake, as the policy sees it."""
    step = graph.steps.get(name)
    if step is None:
        return Job(name, order, predicted_s, depth_s, is_first)
    return Job(
        name,
        order,
        predicted_s,
        depth_s,
        is_first,
        step.priority,
        step.lanes,
        step.slots,
        step.memory_bytes,
        frozenset(step.needs),
    )


def make_schedule(
    plan: Plan,
    history_s: Mapping[str, float],
    lanes: Mapping[str, int],
    workers: int,
    first: frozenset[str] = frozenset(),
    rank: Callable[[Job], Rank] = by_depth,
) -> Schedule:
    """The schedule of a plan on this many workers, which are taken to have every ability that a step needs."""
    graph = plan.situation.graph
    network = make_network(plan, predictions(plan, history_s), first)
    is_known = network.is_known
    abilities = frozenset(n for job in network.jobs for n in job.needs)
    places = [Place(str(number), 0, abilities) for number in range(workers)]
    jobs = network.jobs
    if rank is by_depth:
        jobs = with_queues(jobs, network.readers, lanes, places)
    times = simulate(jobs, network.readers, network.waits, lanes, places, rank)
    slots = tuple(
        Slot(
            job.name,
            "target" if job.name in graph.steps else "intake",
            (plan.verdicts[job.name] if job.name in graph.steps else plan.sources[job.name]).action.value,
            job.lanes,
            network.predicted_s[job.name],
            round(job.depth_s, 4),
            round(times[job.name].start_s, 4) if is_known else None,
            round(times[job.name].finish_s, 4) if is_known else None,
        )
        for job in sorted(jobs, key=lambda job: times[job.name].order)
    )
    if not network.is_known:
        return Schedule(slots, workers, None)
    return _bounded(network, slots, workers, lanes)


def _edges(graph: Graph, names: list[str]) -> tuple[dict[str, list[str]], dict[str, int]]:
    """Who waits for whom among these intakes and steps."""
    readers: dict[str, list[str]] = {n: [] for n in names}
    waits = dict.fromkeys(names, 0)
    for name in names:
        if name in graph.steps:
            for need in dict.fromkeys(graph.maker.get(n, n) for n in graph.steps[name].reads):
                if need in readers:
                    readers[need].append(name)
                    waits[name] += 1
    return readers, waits


def _bounded(network: Network, slots: tuple[Slot, ...], workers: int, lanes: Mapping[str, int]) -> Schedule:
    """The schedule with its lower bounds and the one that binds."""
    longest_s = max((job.depth_s for job in network.jobs), default=0.0)
    work_s = sum(job.predicted_s * min(job.slots, workers) for job in network.jobs) / workers
    lane_s = dict.fromkeys(lanes, 0.0)
    for job in network.jobs:
        for lane, count in job.lanes:
            lane_s[lane] += job.predicted_s * count / lanes[lane]
    bounds = {"critical path": longest_s, "work": work_s} | {f"lane {n}": s for n, s in lane_s.items()}
    bottleneck = max(bounds, key=lambda n: bounds[n]) if slots else ""
    return Schedule(
        slots,
        workers,
        max((s.finish_s or 0.0 for s in slots), default=0.0),
        round(longest_s, 4),
        round(work_s, 4),
        {n: round(s, 4) for n, s in lane_s.items()},
        bottleneck,
    )
