"""How urgent each job is when lanes are scarce: how long before the end it has to start, queues counted. Pure.

Decides the ranks that the policy goes by; never the order itself. The longest predicted way to the end is all that
counts where no lane is scarce. Where one is, a job also has to leave time for those that queue for the lane after it:
the graph is played backwards, from its ends, with the lanes' room, and a job's urgency is when it is over there. Played
forwards and backwards again, each time ranked by the last, it gets better (Li and Willis 1992, "An iterative scheduling
technique for resource-constrained project scheduling"). Where that ends depends on where it begins, so it begins with
the longest ways, and with an order through the graph from one side to the other and back (`compile.sweep`). The best by
its simulated finish is kept; a finish at the lower bound ends the search.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from builder.compile.bounds import lower_bounds, ways_from, ways_to
from builder.compile.policy import Job, Place, Rank
from builder.compile.simulate import Times, simulate
from builder.compile.sweep import sweep
from builder.nouns import replace

ROUNDS = 2
ENOUGH = 1.01
"""A finish this near the lower bound is not worth another round."""
MOST_PLAYED = 60_000
"""Jobs started in all simulations together, some half a second of work; after that the best so far has to do."""
WORTH = 0.995
"""A round has to come below this share of the last one's finish for another to follow it."""

Ranks = Mapping[str, float]


def with_queues(
    jobs: Sequence[Job], readers: Mapping[str, Sequence[str]], lanes: Mapping[str, int], places: Sequence[Place]
) -> tuple[Job, ...]:
    """The jobs with their urgency as ``depth_s``; as they are where none takes a lane and none is wanted first.

    Those wanted first are ranked among themselves, as if there were no others: they have the right of way.

    Parameters
    ----------
    jobs
        In an order in which each comes after those it waits for, with the longest way to the end as ``depth_s``.
    readers
        Who waits for each job.

    Notes
    -----
    Costs a simulation where the longest ways do, else at most three begins of `ROUNDS` + 1 rounds of two simulations,
    and not much more than `MOST_PLAYED` jobs in all.
    """
    if not places:
        return tuple(jobs)
    early = [job for job in jobs if job.is_first]
    if not early or len(early) == len(jobs):
        return _best(jobs, readers, lanes, places)
    names = {job.name for job in early}
    inner = {job.name: [r for r in readers.get(job.name, ()) if r in names] for job in early}
    after_s = ways_from(early, inner)
    among = _best([replace(j, depth_s=j.predicted_s + after_s[j.name]) for j in early], inner, lanes, places)
    ranked = {job.name: job for job in among}
    return _best([ranked.get(job.name, job) for job in jobs], readers, lanes, places)


def _best(
    jobs: Sequence[Job], readers: Mapping[str, Sequence[str]], lanes: Mapping[str, int], places: Sequence[Place]
) -> tuple[Job, ...]:
    """The jobs with the urgency that ends earliest; those wanted first keep theirs where there are others."""
    own = tuple(jobs)
    if not any(job.lanes for job in own):
        return own
    enough_s = ENOUGH * lower_bounds(own, readers, lanes, len(places)).largest_s
    played = _Played(own, readers, lanes, places)
    best, best_s = own, _finish_s(played.forwards(played.own_s))
    if best_s <= enough_s:
        return own
    for ends_s in played.begins():
        last_s = float("inf")
        for _ in range(1 + ROUNDS):
            urgency_s = _ends(played.backwards(ends_s))
            times = played.forwards(urgency_s)
            finish_s = _finish_s(times)
            if finish_s < best_s:
                best, best_s = played.ranked(urgency_s), finish_s
                if best_s <= enough_s:
                    return best
            if played.started > MOST_PLAYED:
                return best
            if finish_s > WORTH * last_s:
                break
            last_s, ends_s = finish_s, _ends(times)
    return best


class _Played:
    """One set of jobs, to be played forwards and backwards under different ranks."""

    def __init__(
        self,
        jobs: tuple[Job, ...],
        readers: Mapping[str, Sequence[str]],
        lanes: Mapping[str, int],
        places: Sequence[Place],
    ) -> None:
        self.jobs = jobs
        self.readers = readers
        self.needs = _turned(readers)
        self.lanes = lanes
        self.places = places
        self.own_s = {job.name: job.depth_s for job in jobs}
        self.started = 0
        self.is_fixed = not all(job.is_first for job in jobs)

    def _urgency(self, job: Job, urgency_s: Ranks) -> float:
        """A job's urgency; one wanted before others, or that could not be played, keeps its own."""
        return job.depth_s if job.is_first and self.is_fixed else urgency_s.get(job.name, job.depth_s)

    def forwards(self, urgency_s: Ranks) -> dict[str, Times]:
        """The run from its beginning, as `by_depth` ranks jobs with this urgency."""

        def rank(job: Job) -> Rank:
            return (not job.is_first, -job.priority, -self._urgency(job, urgency_s), job.order)

        self.started += len(self.jobs)
        waits = {name: len(needs) for name, needs in self.needs.items()}
        return simulate(self.jobs, self.readers, waits, self.lanes, self.places, rank)

    def backwards(self, ends_s: Ranks) -> dict[str, Times]:
        """The run from its end: what ended last goes first."""

        def rank(job: Job) -> Rank:
            return (-ends_s.get(job.name, 0.0), job.order)

        self.started += len(self.jobs)
        waits = {job.name: len(self.readers.get(job.name, ())) for job in self.jobs}
        return simulate(self.jobs, self.needs, waits, self.lanes, self.places, rank)

    def begins(self) -> Iterator[Ranks]:
        """When each job ends in the runs that the search begins with."""
        levels = sweep([job.name for job in self.jobs], self.readers, self.needs)
        for sign in (-1, 1):
            yield _ends(self.forwards({name: sign * level for name, level in levels.items()}))
        before_s = ways_to(self.jobs, self.readers)
        yield {job.name: before_s[job.name] + job.predicted_s for job in self.jobs}

    def ranked(self, urgency_s: Ranks) -> tuple[Job, ...]:
        """The jobs with this urgency."""
        return tuple(replace(job, depth_s=self._urgency(job, urgency_s)) for job in self.jobs)


def _ends(times: Mapping[str, Times]) -> dict[str, float]:
    return {name: t.finish_s for name, t in times.items()}


def _finish_s(times: Mapping[str, Times]) -> float:
    return max((t.finish_s for t in times.values()), default=0.0)


def _turned(readers: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """What each job waits for, from who waits for each."""
    found: dict[str, list[str]] = {name: [] for name in readers}
    for name, waiting in readers.items():
        for reader in waiting:
            found[reader].append(name)
    return found
