"""How a run stands, step by step: a fold of its events.

Decides the state of each step and intake (queued, running, packed, done, failed, blocked; queued ones are paused while
no step may start) and the words for all of them. `report.progress` decides where and when they are shown.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from builder.sizes import seconds_text

ENDS = ("done", "failed", "blocked")
MOST_NAMES = 3
MOST_FINDINGS = 3


class Board:
    """The states of one run, kept up to date by its events; an event costs the same however many steps there are."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.began_s = clock()
        self.total = 0
        self.is_paused = False
        self.counts: Counter[str] = Counter()
        self.running: dict[str, None] = {}
        self.lanes: Mapping[str, Mapping[str, int]] = {}
        self.findings: dict[str, str] = {}
        self._states: dict[str, str] = {}
        self._left_s: float | None = None
        self._said_s = 0.0

    def event(self, kind: str, name: str, **facts: Any) -> None:
        """Take note of an event."""
        if kind == "total":
            self.total = facts["steps"] + facts["intakes"]
        elif kind == "queued":
            self._move(name, "queued")
        elif kind == "started":
            self._move(name, "packed" if facts.get("packed") else "running")
        elif kind == "ended":
            self._move(name, facts.get("state") or ("failed" if facts.get("error") else "done"))
        elif kind == "progress":
            self.lanes = facts["lanes"]
            self._left_s, self._said_s = facts["left_s"], self.clock()
        elif kind in ("paused", "resumed"):
            self.is_paused = kind == "paused"
        elif kind == "health":
            self.findings.pop(name, None)
            self.findings[name] = facts["finding"]

    def _move(self, name: str, state: str) -> None:
        """Give a step its new state."""
        before = self._states.get(name)
        if before is not None:
            self.counts[before] -= 1
        self.counts[state] += 1
        self._states[name] = state
        if state == "running":
            self.running[name] = None
        else:
            self.running.pop(name, None)
        if state in ENDS:
            self.findings.pop(name, None)

    def state(self, name: str) -> str | None:
        """The state of a step or intake; None before it is queued."""
        found = self._states.get(name)
        return "paused" if found == "queued" and self.is_paused else found

    @property
    def done(self) -> int:
        """How many came to an end, good or bad."""
        return sum(self.counts[state] for state in ENDS)

    @property
    def left_s(self) -> float | None:
        """Predicted seconds to the end, from now; None where nobody can tell."""
        if self._left_s is None or self.is_paused or self.done == self.total:
            return None
        return max(0.0, self._left_s - (self.clock() - self._said_s))

    # -- words -----------------------------------------------------------------------------------------------------

    def line(self) -> str:
        """All in one line: the count, the states, the lanes with a queue, the time left."""
        lanes = [self._lane(name) for name, lane in self.lanes.items() if lane["queued"]]
        parts = [f"{self.done:,} of {self.total:,} done", self.states(), *lanes, self.time_left()]
        return " · ".join(p for p in parts if p)

    def states(self) -> str:
        """How many are in each state, those that came to a good end apart."""
        words = ("running", "packed", "queued", "failed", "blocked")
        said = {"queued": "paused"} if self.is_paused else {}
        return ", ".join(f"{self.counts[w]:,} {said.get(w, w)}" for w in words if self.counts[w])

    def names(self) -> str:
        """What runs now, the oldest first; a few of them."""
        names = list(self.running)
        more = len(names) - MOST_NAMES
        return ", ".join(names[:MOST_NAMES]) + (f" and {more:,} more" if more > 0 else "")

    def queues(self) -> str:
        """Every lane: how much of it is taken, how many wait."""
        return " · ".join(map(self._lane, self.lanes))

    def _lane(self, name: str) -> str:
        lane = self.lanes[name]
        queued = f", {lane['queued']:,} queued" if lane["queued"] else ""
        return f"lane {name} {lane['taken']} of {lane['capacity']}{queued}"

    def time_left(self) -> str:
        """The predicted time to the end as a phrase; empty where nobody can tell."""
        if self.is_paused:
            return "paused; builder resume goes on"
        return "" if self.left_s is None else f"about {seconds_text(self.left_s)} left"

    def warnings(self) -> Iterator[str]:
        """What looks wrong now, latest last; a few."""
        for name in list(self.findings)[-MOST_FINDINGS:]:
            yield f"{name}  {self.findings.get(name, '')}"
