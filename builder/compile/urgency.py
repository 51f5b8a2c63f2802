"""How urgent each job is when lanes are scarce: how long before the end it has to start, queues counted. Pure.

Decides the ranks that the policy goes by; never the order itself. The longest predicted way to the end is all that
counts where no lane is scarce. Where one is, a job also has to leave time for those that queue for the lane after it:
the graph is played backwards, from its ends, with the lanes' room, and a job's urgency is when it is over there (Li and
Willis 1992, "An iterative scheduling technique for resource-constrained project scheduling"). Played forwards and
backwards again, each time ranked by the last, it gets better; the best of all by its simulated finish is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from builder.compile.policy import Job, Place
from builder.compile.simulate import Times, simulate

ROUNDS = 2
ENOUGH = 1.01
"""A finish this near the lower bound is not worth another round."""


def with_queues(
    jobs: Sequence[Job],
    readers: Mapping[str, Sequence[str]],
    lanes: Mapping[str, int],
    places: Sequence[Place],
    bound_s: float = 0.0,
) -> tuple[Job, ...]:
    """The jobs with their urgency as ``depth_s``; as they are where none takes a lane.

    Parameters
    ----------
    jobs
        In an order in which each comes after those it waits for, with the longest way to the end as ``depth_s``.
    readers
        Who waits for each job.
    bound_s
        A lower bound of the finish.

    Notes
    -----
    Costs two simulations for the first urgency and two for each of `ROUNDS` more.
    """
    own = tuple(jobs)
    if not places or not any(job.lanes for job in own):
        return own
    needs = _turned(readers)
    waits = {job.name: len(needs[job.name]) for job in own}
    ends = {name: len(readers.get(name, ())) for name in waits}
    best, best_s = own, _finish_s(simulate(own, readers, waits, lanes, places))
    ample = [replace(places[0], name=str(n), abilities=_abilities(own), memory_bytes=0) for n in range(len(own))]
    ranks = _ways_from_start(own, needs)
    for number in range(1 + ROUNDS):
        if best_s <= bound_s * ENOUGH:
            break
        backwards = simulate(_ranked(own, ranks), needs, ends, lanes, places if number else ample)
        found = _ranked(own, {name: t.finish_s for name, t in backwards.items()})
        times = simulate(found, readers, waits, lanes, places)
        ranks = {name: t.finish_s for name, t in times.items()}
        if _finish_s(times) < best_s:
            best, best_s = found, _finish_s(times)
    return best


def _finish_s(times: Mapping[str, Times]) -> float:
    return max((t.finish_s for t in times.values()), default=0.0)


def _turned(readers: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """What each job waits for, from who waits for each."""
    found: dict[str, list[str]] = {name: [] for name in readers}
    for name, waiting in readers.items():
        for reader in waiting:
            found[reader].append(name)
    return found


def _ways_from_start(jobs: Sequence[Job], needs: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """The longest way from a start to the end of each job."""
    found: dict[str, float] = {}
    for job in jobs:
        found[job.name] = job.predicted_s + max((found[n] for n in needs[job.name]), default=0.0)
    return found


def _ranked(jobs: Sequence[Job], depth_s: Mapping[str, float]) -> tuple[Job, ...]:
    """The jobs ranked by these lengths; a job that could not be played keeps its own."""
    return tuple(replace(job, depth_s=depth_s.get(job.name, job.depth_s)) for job in jobs)


def _abilities(jobs: Sequence[Job]) -> frozenset[str]:
    return frozenset(need for job in jobs for need in job.needs)
