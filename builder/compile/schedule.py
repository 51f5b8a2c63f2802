"""The schedule: when each step of a plan would start and end, and what bounds the whole. Pure.

Decides with predicted seconds: what a step took last, else the median of its recipe, else of the project. A
discrete-event simulation gives the finish: the ready step with the longest way to the end goes first, on a free slot,
where its lanes have room.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

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


def predictions(plan: Plan, history_s: Mapping[str, float]) -> dict[str, float | None]:
    """Predicted seconds of each intake and step of a plan; None where nothing was ever measured."""
    graph = plan.situation.graph
    by_recipe: dict[str, list[float]] = {}
    for name, seconds in history_s.items():
        base = graph.steps[name].recipe if name in graph.steps else name.partition("[")[0]
        by_recipe.setdefault(base, []).append(seconds)
    typical = median(history_s.values()) if history_s else None

    def predict(name: str, base: str, action: Action) -> float | None:
        if action is Action.RESTORE:
            return RESTORE_S
        if name in history_s:
            return history_s[name]
        return median(by_recipe[base]) if base in by_recipe else typical

    found = {n: predict(n, graph.sources[n].base, plan.sources[n].action) for n in plan.intakes}
    return found | {n: predict(n, graph.steps[n].recipe, plan.verdicts[n].action) for n in plan.steps}


def make_schedule(plan: Plan, history_s: Mapping[str, float], lanes: Mapping[str, int], workers: int) -> Schedule:
    """The schedule of a plan on this many workers."""
    graph = plan.situation.graph
    predicted = predictions(plan, history_s)
    names = list(predicted)
    readers, waits = _edges(graph, names)
    depth: dict[str, float] = {}
    for name in reversed(names):
        below = max((depth[r] for r in readers[name]), default=0.0)
        depth[name] = below + (predicted[name] or 0.0)
    times = _simulate(graph, names, predicted, readers, waits, depth, lanes, workers)
    is_known = all(predicted[n] is not None for n in names)
    slots = tuple(
        Slot(
            n,
            "intake" if n in graph.sources else "target",
            (plan.sources[n] if n in graph.sources else plan.verdicts[n]).action.value,
            graph.steps[n].lanes if n in graph.steps else (),
            predicted[n],
            round(depth[n], 4),
            times[n][0] if is_known else None,
            times[n][1] if is_known else None,
        )
        for n in sorted(names, key=lambda n: (times[n][0], times[n][2]))
    )
    if not is_known:
        return Schedule(slots, workers, None)
    return _bounded(graph, slots, workers, lanes, max(depth.values(), default=0.0))


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


def _simulate(
    graph: Graph,
    names: list[str],
    predicted: Mapping[str, float | None],
    readers: Mapping[str, list[str]],
    waits: dict[str, int],
    depth: Mapping[str, float],
    lanes: Mapping[str, int],
    workers: int,
) -> dict[str, tuple[float, float, int]]:
    """(start, finish, order) of each step under the executor's rule."""
    room = dict(lanes)
    free, now = workers, 0.0
    ready = [(-depth[n], i, n) for i, n in enumerate(names) if waits[n] == 0]
    heapq.heapify(ready)
    order = {n: i for i, n in enumerate(names)}
    running: list[tuple[float, int, str]] = []
    times: dict[str, tuple[float, float, int]] = {}
    while ready or running:
        parked = []
        while ready and free:
            item = heapq.heappop(ready)
            taken = graph.steps[item[2]].lanes if item[2] in graph.steps else ()
            if any(room[lane] < count for lane, count in taken):
                parked.append(item)
                continue
            for lane, count in taken:
                room[lane] -= count
            free -= 1
            finish = now + (predicted[item[2]] or 0.0)
            times[item[2]] = (round(now, 4), round(finish, 4), len(times))
            heapq.heappush(running, (finish, item[1], item[2]))
        for item in parked:
            heapq.heappush(ready, item)
        now, _, name = heapq.heappop(running)
        free += 1
        for lane, count in graph.steps[name].lanes if name in graph.steps else ():
            room[lane] += count
        for reader in readers[name]:
            waits[reader] -= 1
            if waits[reader] == 0:
                heapq.heappush(ready, (-depth[reader], order[reader], reader))
    return times


def _bounded(
    graph: Graph, slots: tuple[Slot, ...], workers: int, lanes: Mapping[str, int], longest_s: float
) -> Schedule:
    """The schedule with its lower bounds and the one that binds."""
    work_s = sum(s.predicted_s or 0.0 for s in slots) / workers
    lane_s = {
        lane: sum((s.predicted_s or 0.0) * dict(s.lanes).get(lane, 0) for s in slots) / capacity
        for lane, capacity in lanes.items()
    }
    bounds = {"critical path": longest_s, "work": work_s} | {f"lane {n}": s for n, s in lane_s.items()}
    bottleneck = max(bounds, key=lambda n: bounds[n]) if slots else ""
    finish_s = max((s.finish_s or 0.0 for s in slots), default=0.0)
    return Schedule(
        slots,
        workers,
        round(finish_s, 4),
        round(longest_s, 4),
        round(work_s, 4),
        {n: round(s, 4) for n, s in lane_s.items()},
        bottleneck,
    )
