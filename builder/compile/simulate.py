"""A discrete-event simulation of a run: the executor's own policy on predicted times. Pure.

Decides nothing: it plays what `compile.policy.Policy` decides, so that its order is the executor's order.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from builder.compile.policy import Job, Place, Policy, Rank, by_depth


class Times(NamedTuple):
    """When a job starts and ends, in seconds from the beginning, and the how-manieth it is to start."""

    start_s: float
    finish_s: float
    order: int


def simulate(
    jobs: Sequence[Job],
    readers: Mapping[str, Sequence[str]],
    waits: Mapping[str, int],
    lanes: Mapping[str, int],
    places: Iterable[Place],
    rank: Callable[[Job], Rank] = by_depth,
    overhead_s: float = 0.0,
    startup_s: float = 0.0,
) -> dict[str, Times]:
    """The times of every job that can run; linear in jobs and edges, but for the heaps.

    Parameters
    ----------
    readers, waits
        Who waits for a job, and how many jobs each one waits for.
    overhead_s
        What each start costs beside the job itself.
    startup_s
        When the first jobs can start.
    """
    policy = Policy(lanes, rank)
    for place in places:
        policy.join(place)
    by_name = {job.name: job for job in jobs}
    left = dict(waits)
    for job in jobs:
        if left[job.name] == 0:
            policy.offer(job)
    now_s = startup_s
    running: list[tuple[float, int, str, tuple[str, ...]]] = []
    times: dict[str, Times] = {}
    while True:
        while (start := policy.choose()) is not None:
            finish_s = now_s + overhead_s
            last = start.jobs[-1]
            for job in start.jobs:
                finish_s += job.predicted_s
                freed = tuple([j.name for j in start.jobs]) if job is last else ()
                heapq.heappush(running, (finish_s, len(times), job.name, freed))
                times[job.name] = Times(now_s, finish_s, len(times))
        if not running:
            return times
        now_s, _, name, freed = heapq.heappop(running)
        if freed:
            policy.end(freed)
        for reader in readers.get(name, ()):
            left[reader] -= 1
            if left[reader] == 0:
                policy.offer(by_name[reader])
