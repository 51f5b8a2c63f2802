"""Lower bounds of a run: what no schedule can beat, and which resource sets it. Pure.

Decides from three sides: the longest way through the graph, the work over the workers, each lane's work over its
capacity. A resource is never busy all the time: before its first job others have to be done, and after its last one as
well. So the work of some jobs, and the least that has to come before and after them, bounds more tightly than their
work alone (Carlier 1987, "Scheduling jobs with release dates and tails on identical machines").
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from builder.compile.policy import Job
from builder.nouns import dataclass, field

SAME = 1 + 1e-9
"""Bounds nearer than this are equal but for rounding: the first in order names the bottleneck."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The lower bounds in seconds; ``largest_s`` counts ways to and from each resource, the others do not."""

    critical_path_s: float = 0.0
    work_s: float = 0.0
    lanes_s: Mapping[str, float] = field(default_factory=dict)
    largest_s: float = 0.0
    bottleneck: str = ""


@dataclass(frozen=True, slots=True)
class _Use:
    """What a job takes of one resource: units, how long, and the least time before and after it."""

    units: int
    seconds: float
    before_s: float
    after_s: float


def lower_bounds(
    jobs: Sequence[Job], readers: Mapping[str, Sequence[str]], lanes: Mapping[str, int], workers: int
) -> Bounds:
    """The bounds of jobs given in topological order; all zero and no bottleneck where there are none.

    Every worker is taken to be able to run every job.
    """
    if not jobs or workers < 1:
        return Bounds(lanes_s=dict.fromkeys(lanes, 0.0))
    before_s, after_s = ways_to(jobs, readers), ways_from(jobs, readers)

    def uses(taken: Iterable[tuple[Job, int]]) -> list[_Use]:
        return [_Use(n, j.predicted_s, before_s[j.name], after_s[j.name]) for j, n in taken]

    longest_s = max(before_s[j.name] + j.predicted_s + after_s[j.name] for j in jobs)
    slots = uses((j, min(j.slots, workers)) for j in jobs)
    by_lane = {lane: uses((j, n) for j in jobs for own, n in j.lanes if own == lane) for lane in lanes}
    found = {"critical path": longest_s, "work": _queue_s(slots, workers)}
    found |= {f"lane {lane}": _queue_s(taken, lanes[lane]) for lane, taken in by_lane.items()}
    largest_s = max(found.values())
    return Bounds(
        longest_s,
        _work_s(slots, workers),
        {lane: _work_s(taken, lanes[lane]) for lane, taken in by_lane.items()},
        largest_s,
        next(name for name, s in found.items() if s * SAME >= largest_s),
    )


def ways_to(jobs: Sequence[Job], readers: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """The longest way from any beginning to the start of each job."""
    found = dict.fromkeys((job.name for job in jobs), 0.0)
    for job in jobs:
        end_s = found[job.name] + job.predicted_s
        for reader in readers.get(job.name, ()):
            found[reader] = max(found[reader], end_s)
    return found


def ways_from(jobs: Sequence[Job], readers: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """The longest way from the end of each job to any end."""
    found: dict[str, float] = {}
    seconds = {job.name: job.predicted_s for job in jobs}
    for job in reversed(jobs):
        found[job.name] = max((found[r] + seconds[r] for r in readers.get(job.name, ())), default=0.0)
    return found


def _work_s(uses: Sequence[_Use], capacity: int) -> float:
    """What is to be done over the units that do it."""
    return sum(use.seconds * use.units for use in uses) / capacity


def _queue_s(uses: Sequence[_Use], capacity: int) -> float:
    """The largest bound that any set of these jobs gives: those that cannot start early, or those that cannot end late.

    Each unit does a first and a last of them, so that it idles for as long as that one has to wait, and as what comes
    after that other takes. Costs n log n: the sets are the ends of one order, grown job by job.
    """
    forward = sorted(((u.before_s, u.after_s, u.seconds, u.units) for u in uses), reverse=True)
    backward = sorted(((u.after_s, u.before_s, u.seconds, u.units) for u in uses), reverse=True)
    return max(_grown(forward, capacity), _grown(backward, capacity), _work_s(uses, capacity))


def _grown(uses: Iterable[tuple[float, float, float, int]], capacity: int) -> float:
    """The largest bound of a set that grows in this order, by falling time on the one side."""
    near: deque[float] = deque()  # the least times on the one side, a unit each
    far: list[float] = []  # the least times on the other, negative: a heap with the largest on top
    near_s = far_s = work_s = best_s = 0.0
    for one_s, other_s, seconds, units in uses:
        work_s += seconds * units
        for _ in range(min(units, capacity)):
            near.append(one_s)
            near_s += one_s
            if len(near) > capacity:
                near_s -= near.popleft()
            if len(far) < capacity:
                heapq.heappush(far, -other_s)
                far_s += other_s
            elif other_s < -far[0]:
                far_s += other_s + heapq.heapreplace(far, -other_s)
        if len(near) == capacity:
            best_s = max(best_s, (near_s + work_s + far_s) / capacity)
    return best_s
