"""The schedule: when each step of a plan would start and end, and what bounds the whole. Pure.

Decides nothing about the order: the executor's own policy is simulated on predicted times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from builder.compile.bounds import Bounds, lower_bounds
from builder.compile.policy import Job, Place, Rank, by_depth
from builder.compile.predict import Choice, Forecast, Pace
from builder.compile.simulate import Times, simulate
from builder.compile.urgency import with_queues
from builder.graph.graph import Graph
from builder.nouns import dataclass
from builder.plan.plan import Plan

NO_TIME = Pace()


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
    likely_s: tuple[float, float] | None = None
    choice: Choice | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """Steps in the order they start, the predicted finish, and the lower bounds it cannot beat.

    Times and bounds are None where nothing was ever measured. ``first_s`` is when the targets wanted first are all
    ready, ``first_bounds`` what that cannot beat; None where none are.
    """

    slots: tuple[Slot, ...]
    workers: int
    predicted_s: float | None
    bounds: Bounds | None = None
    first_bounds: Bounds | None = None
    first_s: float | None = None


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
        step.abilities,
    )


def make_schedule(
    plan: Plan,
    forecasts: Mapping[str, Forecast | None],
    lanes: Mapping[str, int],
    workers: int,
    first: frozenset[str] = frozenset(),
    rank: Callable[[Job], Rank] = by_depth,
    pace: Pace = NO_TIME,
) -> Schedule:
    """The schedule of a plan on this many workers, which are taken to have every ability that a step needs.

    `forecasts` has each intake and step of the plan, in topological order; `first` what the targets wanted first need.
    `pace` is added to the times, never to the bounds.
    """
    network = make_network(plan, {n: f.s if f else None for n, f in forecasts.items()}, first)
    abilities = frozenset(n for job in network.jobs for n in job.needs)
    places = [Place(str(number), 0, abilities) for number in range(workers)]
    jobs = network.jobs
    if rank is by_depth:
        jobs = with_queues(jobs, network.readers, lanes, places)
    times = simulate(jobs, network.readers, network.waits, lanes, places, rank, pace.overhead_s, pace.startup_s)
    is_known = network.is_known
    slots = tuple(
        _slot(plan, job, forecasts[job.name], times[job.name] if is_known else None)
        for job in sorted(jobs, key=lambda job: times[job.name].order)
    )
    if not is_known:
        return Schedule(slots, workers, None)
    early = [job for job in jobs if job.is_first]
    names = {job.name for job in early}
    inner = {n: [r for r in network.readers[n] if r in names] for n in names}
    return Schedule(
        slots,
        workers,
        max((s.finish_s or 0.0 for s in slots), default=0.0),
        lower_bounds(jobs, network.readers, lanes, workers),
        lower_bounds(early, inner, lanes, workers) if early else None,
        max(times[n].finish_s for n in names) if early else None,
    )


def _slot(plan: Plan, job: Job, forecast: Forecast | None, times: Times | None) -> Slot:
    """One line of the schedule."""
    is_step = job.name in plan.situation.graph.steps
    action = (plan.verdicts[job.name] if is_step else plan.sources[job.name]).action.value
    choice = forecast.choice if forecast else None
    return Slot(
        job.name,
        "target" if is_step else "intake",
        "update" if choice is not None and choice.is_update else action,
        job.lanes,
        None if forecast is None else round(forecast.s, 4),
        round(job.depth_s, 4),
        None if times is None else round(times.start_s, 4),
        None if times is None else round(times.finish_s, 4),
        None if forecast is None else (round(forecast.low_s, 4), round(forecast.high_s, 4)),
        choice,
    )


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
