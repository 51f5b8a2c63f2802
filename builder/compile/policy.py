"""The scheduling policy: which ready job starts next, and where. Pure; executor and simulator run this very object.

Decides by rank: jobs wanted first, then higher ``priority=``, then the longest predicted way to the end. A job that
cannot start holds back what it waits for (a lane's room, several slots at once) from jobs of lower rank, so that none
waits for ever. Choosing costs the number of different demands among the ready jobs, never the number of jobs.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

PACKED_S = 0.05
PACK_S = 0.5


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work as the policy sees it; ``depth_s`` is the longest predicted way from its start to the end."""

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


@dataclass(frozen=True, slots=True)
class Place:
    """One worker process, which runs one attempt at a time; ``memory_bytes`` 0: no limit known."""

    name: str
    memory_bytes: int = 0
    abilities: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Start:
    """What starts now: one job, or several tiny ones in one go, on a place; further places that it takes stay idle."""

    jobs: tuple[Job, ...]
    places: tuple[str, ...]


Rank = tuple[float, ...]
Kind = tuple[int, int, frozenset[str]]
Demand = tuple[tuple[tuple[str, int], ...], int, int, frozenset[str], bool]


def by_depth(job: Job) -> Rank:
    """The executor's rank: lower goes first."""
    return (not job.is_first, -job.priority, -job.depth_s, job.order)


def first_in_first_out(job: Job) -> Rank:
    """The rank of a scheduler that knows nothing, for comparison."""
    return ()


class Policy:
    """Ready jobs, free room in lanes, idle places; and the rule that joins them."""

    def __init__(self, lanes: Mapping[str, int], rank: Callable[[Job], Rank] = by_depth) -> None:
        self.room = dict(lanes)
        self.rank = rank
        self.places: dict[str, Place] = {}
        self.idle: dict[Kind, dict[str, None]] = {}
        self.started: dict[str, tuple[Job, tuple[str, ...]]] = {}
        self._ready: dict[Demand, list[tuple[Rank, int, Job]]] = {}
        self._offers = 0

    # -- places ----------------------------------------------------------------------------------------------------

    def join(self, place: Place) -> None:
        """A worker came: it is idle."""
        self.places[place.name] = place
        self._rest(place)

    def _rest(self, place: Place) -> None:
        """Put a place among the idle ones of its kind; kinds stay in order, the least able first."""
        kind = (len(place.abilities), place.memory_bytes, place.abilities)
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
        for names in self.idle.values():
            names.pop(name, None)

    def can_ever_run(self, job: Job) -> bool:
        """Whether some place has what a job needs; memory beyond any place's is had by running alone."""
        return any(job.needs <= p.abilities for p in self.places.values())

    # -- jobs ------------------------------------------------------------------------------------------------------

    def offer(self, job: Job) -> None:
        """A job is ready."""
        demand = (job.lanes, job.slots, job.memory_bytes, job.needs, job.is_alone)
        self._offers += 1
        heapq.heappush(self._ready.setdefault(demand, []), (self.rank(job), self._offers, job))

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
        held: set[str] = set()
        for _, _, demand in sorted((heap[0][0], heap[0][1], demand) for demand, heap in self._ready.items()):
            job = self._ready[demand][0][2]
            lacking = {lane for lane, count in job.lanes if self.room.get(lane, 0) < count}
            if lacking or any(lane in held for lane, _ in job.lanes):
                held |= lacking
                continue
            places = self._places_for(job)
            if places is not None:
                return self._start(demand, places)
            if job.slots > 1 or job.is_alone:
                return None  # it collects idle places: nothing smaller may take them
        return None

    def _places_for(self, job: Job) -> tuple[str, ...] | None:
        """Idle places for a job, the least able that will do; None where there are too few."""
        most = max((memory for _, memory, _ in self.idle), default=0)
        if job.is_alone or job.memory_bytes > most > 0:  # more than any place has: alone on the whole machine
            whole = tuple(n for kind in reversed(self.idle) for n in self.idle[kind])
            return whole if whole and len(whole) == len(self.places) else None
        wanted = min(job.slots, max(1, len(self.places)))
        found: list[str] = []
        for (_, memory, abilities), names in self.idle.items():
            if job.needs <= abilities and (not memory or memory >= job.memory_bytes):
                found += islice(names, wanted - len(found))
        return tuple(found) if len(found) == wanted else None

    def _start(self, demand: Demand, places: tuple[str, ...]) -> Start:
        """Take what the best job of a demand needs, and pack tiny jobs of the same demand with it."""
        heap = self._ready[demand]
        jobs = [heapq.heappop(heap)[2]]
        if jobs[0].predicted_s < PACKED_S and not jobs[0].lanes and jobs[0].slots == 1 and not jobs[0].is_alone:
            share = -(-(len(heap) + 1) // max(1, len(self.places)))
            total_s = jobs[0].predicted_s
            while heap and len(jobs) < share and heap[0][2].predicted_s < PACKED_S:
                total_s += heap[0][2].predicted_s
                if total_s > PACK_S:
                    break
                jobs.append(heapq.heappop(heap)[2])
        if not heap:
            del self._ready[demand]
        for lane, count in jobs[0].lanes:
            self.room[lane] -= count
        for name in places:
            for names in self.idle.values():
                names.pop(name, None)
        for job in jobs:
            self.started[job.name] = (job, places)
        return Start(tuple(jobs), places)

    def end(self, names: Iterable[str]) -> None:
        """Jobs that started together are proven over: their room and places are free again."""
        for name in names:
            job, places = self.started.pop(name)
            for lane, count in job.lanes:
                self.room[lane] += count
            for place in places:
                if place in self.places:
                    self._rest(self.places[place])
