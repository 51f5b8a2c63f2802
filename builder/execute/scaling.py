"""Growing and shrinking a cluster with the work: how many workers the ready work can use, and who may go.

Decides the demand from what is ready, the room in lanes and the abilities that workers have, and asks for it through
``scale``. Only workers that do nothing are ever given back. A cluster that cannot do it is told of, and ends no build.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from builder.compile.policy import Policy

WORTH_S = 5.0
"""Predicted work that is worth a further worker."""
LOOK_EVERY_S = 1.0
IDLE_S = 20.0
"""How long fewer workers must do before any is given back."""
MISSING_S = 20.0
"""How long fewer workers may be there than are wanted before they are asked for again: those that were lost stay lost
to many clusters until then."""
ANSWER_S = 30.0
"""How long a cluster may take to let workers go."""


def demand(policy: Policy) -> int:
    """How many workers the running and the ready work can use at once.

    Ready jobs count as far as lanes have room and as some present worker has what they need; tiny ones together, by
    their time.
    """
    running = {place for _, places in policy.started.values() for place in places}
    room = dict(policy.room)
    slots, work_s = 0, 0.0
    for job in policy.waiting():
        if policy.places and not policy.can_ever_run(job):
            continue
        if any(room.get(lane, 0) < count for lane, count in job.lanes):
            continue
        for lane, count in job.lanes:
            room[lane] -= count
        slots += job.slots
        work_s += job.predicted_s * job.slots
    widest = max((job.slots for job in policy.waiting()), default=0)
    return len(running) + min(slots, max(widest, math.ceil(work_s / WORTH_S)))


class Scaling:
    """Asks one cluster object for as many workers as the work can use, `most` at the most."""

    def __init__(self, cluster: Any, client: Any, most: int, tell: Callable[[str, str], None]) -> None:
        self._cluster = cluster
        self._client = client
        self._most = most
        self._tell = tell
        self._is_told = False
        self._at_first = self._size()
        self._asked = 0
        self._looked_s = float("-inf")
        self._enough_since_s: float | None = None
        self._fewer_since_s: float | None = None
        self.leaving: frozenset[str] = frozenset()

    def ask(self, count: int) -> None:
        """Have at least this many workers, `most` at the most."""
        count = min(count, self._most)
        if count > max(self._asked, self._size()):
            self._cluster.scale(count)
            self._asked = count

    def follow(self, policy: Policy, here: Collection[str]) -> None:
        """Ask for what the work can use now; give back idle workers that were too many for a while."""
        now_s = time.monotonic()
        if now_s - self._looked_s < LOOK_EVERY_S:
            return
        self._looked_s = now_s
        try:
            self._follow(policy, frozenset(here), now_s)
        except Exception as cause:
            if not self._is_told:
                self._is_told = True
                finding = f"its size cannot be changed: {type(cause).__name__}: {str(cause)[:200]}"
                self._tell("the cluster", finding)

    def _follow(self, policy: Policy, here: frozenset[str], now_s: float) -> None:
        self.leaving &= here
        wanted = min(max(1, demand(policy)), self._most)
        size = max(self._asked, self._size())
        present = len(here - self.leaving)
        if wanted >= size:
            self.ask(wanted)
        if present >= wanted:
            self._fewer_since_s = None
        elif self._fewer_since_s is None:
            self._fewer_since_s = now_s
        elif now_s - self._fewer_since_s >= MISSING_S:
            self._fewer_since_s = now_s
            self._cluster.scale(max(wanted, size))
        if present <= wanted:
            self._enough_since_s = None
        elif self._enough_since_s is None:
            self._enough_since_s = now_s
        elif now_s - self._enough_since_s >= IDLE_S:
            self._enough_since_s = None
            self._give_back(policy, present - wanted)

    def restore(self) -> None:
        """Give the cluster back in the size it had; nothing runs there any more."""
        self._cluster.scale(self._at_first)

    def _size(self) -> int:
        """How many workers the cluster has or has asked for."""
        for name in ("worker_spec", "workers"):
            known = getattr(self._cluster, name, None)
            if known is not None and hasattr(known, "__len__"):
                return len(known)
        return len(self._listed())

    def _listed(self) -> Mapping[str, Any]:
        """All workers by address, as the scheduler knows them."""
        asked = self._client.sync(self._client.scheduler.identity, n_workers=-1, callback_timeout=ANSWER_S)
        listed: Mapping[str, Any] = asked["workers"]
        return listed

    def _give_back(self, policy: Policy, count: int) -> None:
        """Let up to `count` idle workers go; none where the cluster cannot be told which."""
        idle = [name for names in policy.idle.values() for name in names][:count]
        if not idle:
            return
        if hasattr(self._cluster, "scale_down"):
            names = self._names(idle)
            if len(names) < len(idle):
                return
            for place in idle:
                policy.leave(place)
            self.leaving |= frozenset(idle)
            with contextlib.suppress(Exception):
                retire = self._client.scheduler.retire_workers
                self._client.sync(retire, workers=idle, close_workers=False, remove=False, callback_timeout=ANSWER_S)
            self._cluster.sync(self._cluster.scale_down, names, callback_timeout=ANSWER_S)
            self._asked = self._size()
        elif policy.idle_count == len(policy.places):
            # A bare scale() chooses whom to end: it is told only while no one works.
            keep = len(policy.places) - len(idle)
            self._cluster.scale(keep)
            self._asked = keep

    def _names(self, addresses: list[str]) -> list[Any]:
        """The cluster's own names of workers."""
        listed = self._listed()
        return [listed[a]["name"] for a in addresses if a in listed]
