"""The scheduling policy: which ready job starts next, and where. Pure; executor and simulator run this very object.

Decides by rank: jobs wanted first, then higher ``priority=``, then the longest predicted way to the end. A job that
cannot start holds back what it waits for (a lane's room, several slots at once) from jobs of lower rank, so that none
waits for ever. Choosing costs the number of different demands among the ready jobs, never the number of jobs.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from builder.nouns import dataclass

PACKED_S = 0.05
PACK_S = 0.5


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work as the policy sees it; ``depth_s`` is the longest predicted way from its start to the end.

    It needs ``slots`` at once, and can use up to ``most_slots``, where others are idle when it starts.
    """

    name: str
    order: int
    predicted_s: float
    depth_s: float
    is_first: bool = False
    priority: int = 0
    lanes: tuple[tuple[str, int], ...] = ()
    slots: int = 1
    memory_bytes: int = 0
    needs: frozenset[str] = frozenset()
    is_alone: bool = False
    most_slots: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """One worker process, which runs one attempt at a time; ``memory_bytes`` 0: no limit known."""

    name: str
    memory_bytes: int = 0
    abilities: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Start:
    """What starts now: one job, or several tiny ones in one go, on a place; further places that it takes stay idle.

    ``is_spread``: the job may use the further places too, they fit it.
    """

    jobs: tuple[Job, ...]
    places: tuple[str, ...]
    is_spread: bool = False


class Able(NamedTuple):
    """How many places have a job's abilities, and how many of these its memory as well."""

    able: int
    fitting: int

    def __bool__(self) -> bool:
        return self.able > 0


Rank = tuple[float, ...]
Kind = tuple[int, int, frozenset[str]]
Demand = tuple[tuple[tuple[str, int], ...], int, int, frozenset[str], bool]


def by_depth(job: Job) -> Rank:
    """The executor's rank: lower goes first."""
    return (not job.is_first, -job.priority, -job.depth_s, job.order)


def first_in_first_out(job: Job) -> Rank:
    """The rank of a scheduler that knows nothing, for comparison."""
    return ()


def _demand(job: Job) -> Demand:
    """What a job needs to start; jobs that need the same wait in one queue."""
    return (job.lanes, job.slots, job.memory_bytes, job.needs, job.is_alone)


def _may_join(first: Job, job: Job) -> bool:
    """Whether a job may travel in a pack: it is tiny, and makes none wait that are wanted before it."""
    return job.predicted_s < PACKED_S and job.is_first == first.is_first


class Policy:
    """Ready jobs, free room in lanes, idle places; and the rule that joins them."""

    def __init__(self, lanes: Mapping[str, int], rank: Callable[[Job], Rank] = by_depth) -> None:
        self.room = dict(lanes)
        self.rank = rank
        self.places: dict[str, Place] = {}
        self.idle: dict[Kind, dict[str, None]] = {}
        self.started: dict[str, tuple[Job, tuple[str, ...]]] = {}
        self._ready: dict[Demand, list[tuple[Rank, int, Job]]] = {}
        self._kinds: dict[str, Kind] = {}
        self._counts: dict[tuple[frozenset[str], int], Able] = {}
        self._offers = 0

    # -- places ----------------------------------------------------------------------------------------------------

    def join(self, place: Place) -> None:
        """A worker came: it is idle."""
        self.places[place.name] = place
        self._counts.clear()
        self._kinds[place.name] = (len(place.abilities), place.memory_bytes, place.abilities)
        self._rest(place)

    def _rest(self, place: Place) -> None:
        """Put a place among the idle ones of its kind; kinds stay in order, the least able first."""
        kind = self._kinds[place.name]
        if kind not in self.idle:
            kinds = {**self.idle, kind: {}}
            self.idle = dict(sorted(kinds.items(), key=lambda item: (item[0][0], item[0][1], sorted(item[0][2]))))
        self.idle[kind][place.name] = None

    @property
    def idle_count(self) -> int:
        """How many places have nothing to do."""
        return sum(map(len, self.idle.values()))

    def leave(self, name: str) -> None:
        """A worker went; what it ran ends by `end`."""
        self.places.pop(name, None)
        self._counts.clear()
        for names in self.idle.values():
            names.pop(name, None)

    def can_ever_run(self, job: Job) -> bool:
        """Whether some place has what a job needs; memory beyond any place's is had by running alone."""
        return any(job.needs <= p.abilities for p in self.places.values())

    # -- jobs ------------------------------------------------------------------------------------------------------

    def offer(self, job: Job) -> None:
        """A job is ready."""
        self._offers += 1
        heapq.heappush(self._ready.setdefault(_demand(job), []), (self.rank(job), self._offers, job))

    def withdraw(self) -> list[Job]:
        """Every job that is ready and has not started; none is any more."""
        jobs = [job for heap in self._ready.values() for _, _, job in heap]
        self._ready.clear()
        return jobs

    @property
    def ready(self) -> int:
        """How many jobs are ready and have not started."""
        return sum(map(len, self._ready.values()))

    def waiting(self) -> Iterable[Job]:
        """The ready jobs, in no order."""
        return (job for heap in self._ready.values() for _, _, job in heap)

    def choose(self) -> Start | None:
        """What starts now; None where nothing can. Room and places are taken until `end`."""
        if not any(self.idle.values()):
            return None
        held: set[str] = set()
        for heap in sorted(self._ready.values()):  # by their best jobs: no two have the same rank and offer
            job = heap[0][2]
            able = self._able(job)
            if not able:
                continue  # nobody who is there can run it: it waits for one who can, and holds nobody up
            if job.lanes:
                lacking = {lane for lane, count in job.lanes if self.room.get(lane, 0) < count}
                if lacking or any(lane in held for lane, _ in job.lanes):
                    held |= lacking
                    continue
            wants_whole = job.is_alone or able.fitting == 0
            places = self._whole(job) if wants_whole else self._some(job, min(job.slots, able.fitting))
            if places is not None:
                spread = places if wants_whole else self._spread(job, places)
                return self._start(heap, spread, is_spread=len(spread) > len(places))
            if wants_whole or job.slots > 1:
                return None  # it collects idle places: nothing smaller may take them
        return None

    def _able(self, job: Job) -> Able:
        """How many places could run a job: all that have its abilities, and of these those with the memory for it."""
        key = (job.needs, job.memory_bytes)
        found = self._counts.get(key)
        if found is None:
            able = [p for p in self.places.values() if job.needs <= p.abilities]
            fitting = sum(not p.memory_bytes or p.memory_bytes >= job.memory_bytes for p in able)
            found = self._counts[key] = Able(len(able), fitting)
        return found

    def _whole(self, job: Job) -> tuple[str, ...] | None:
        """All places, where all are idle, the ablest for the job first; None where some are not.

        That is for a job that is to run alone, or needs more memory than any place has that could run it.
        """
        if self.idle_count < len(self.places):
            return None
        able = sorted(
            self.places.values(),
            key=lambda p: (job.needs <= p.abilities, p.memory_bytes == 0, p.memory_bytes),
            reverse=True,
        )
        return tuple(p.name for p in able)

    def _some(self, job: Job, wanted: int) -> tuple[str, ...] | None:
        """So many idle places that fit a job, the least able that will do; None where there are too few."""
        found = tuple(islice(self._fitting(job), wanted))
        return found if len(found) == wanted else None

    def _spread(self, job: Job, places: tuple[str, ...]) -> tuple[str, ...]:
        """These places, and idle ones that fit and that nothing else is ready for, as many as the job can use."""
        spare = self.idle_count - len(places) - (self.ready - 1)
        more = min(job.most_slots - len(places), spare)
        return tuple(islice(self._fitting(job), len(places) + more)) if more > 0 else places

    def _fitting(self, job: Job) -> Iterator[str]:
        """The idle places that fit a job, the least able first."""
        for (_, memory, abilities), names in self.idle.items():
            if job.needs <= abilities and (not memory or memory >= job.memory_bytes):
                yield from names

    def _start(self, heap: list[tuple[Rank, int, Job]], places: tuple[str, ...], is_spread: bool) -> Start:
        """Take what the best job of a demand needs, and pack tiny jobs of the same demand with it."""
        jobs = [heapq.heappop(heap)[2]]
        is_single = len(places) == 1 and not jobs[0].is_alone
        if jobs[0].predicted_s < PACKED_S and not jobs[0].lanes and is_single:
            share = -(-(len(heap) + 1) // max(1, len(self.places)))
            total_s = jobs[0].predicted_s
            while heap and len(jobs) < share and _may_join(jobs[0], heap[0][2]):
                total_s += heap[0][2].predicted_s
                if total_s > PACK_S:
                    break
                jobs.append(heapq.heappop(heap)[2])
        if not heap:
            del self._ready[_demand(jobs[0])]
        for lane, count in jobs[0].lanes:
            self.room[lane] -= count
        for name in places:
            del self.idle[self._kinds[name]][name]
        for job in jobs:
            self.started[job.name] = (job, places)
        return Start(tuple(jobs), places, is_spread)

    def end(self, names: Iterable[str]) -> None:
        """Jobs that started together are proven over: their room and places are free again."""
        for name in names:
            job, places = self.started.pop(name)
            for lane, count in job.lanes:
                self.room[lane] += count
            for place in places:
                if place in self.places:
                    self._rest(self.places[place])
