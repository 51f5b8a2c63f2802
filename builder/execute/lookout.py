"""Attempts under way, and what is to be done about those that run too long or look wrong.

Decides when a timeout is over, and how often health is looked at. Costs the number of attempts that run, never more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder.compile.policy import Start
from builder.execute.health import Pulse, Watch, disk_finding
from builder.execute.nodes import Node
from builder.execute.presence import cpu_s_by, printed_bytes
from builder.execute.runner import Runner
from builder.execute.spec import AttemptSpec

HEALTH_EVERY_S = 10.0
KILL_EVERY_S = 2.0
"""How often an attempt over its time is killed until it has ended: a kill may come before its process is known."""
LOOK_AGAIN_S = 0.05
"""How often it is asked whether an attempt whose time is over has begun at all."""


@dataclass(slots=True, eq=False)
class Trip:
    """Attempts that travel together; the place and the lanes are theirs until none is left.

    ``again`` are nodes whose attempts ended and that run again after it.
    """

    start: Start
    left: int
    again: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Running:
    """An attempt under way; ``timeout_s`` None: it may take as long as it likes.

    ``begun_s`` is when it was seen to have come to its first line, which is looked for where it has a timeout.
    """

    node: Node
    spec: AttemptSpec
    trip: Trip
    started_s: float
    timeout_s: float | None
    begun_s: float | None = None
    killed_s: float | None = None


class Lookout:
    """Looks after the attempts in `running`, which the driver adds to and takes from."""

    def __init__(self, running: Mapping[str, Running], store: Path, observer: Any) -> None:
        self.running = running
        self.store = store
        self.observer = observer
        self._watch = Watch()
        self._next_health_s = 0.0

    def left_s(self, now_s: float) -> float:
        """Seconds until the next timeout; infinity for none."""
        return min((self._left_s(r, now_s) for r in self.running.values()), default=float("inf"))

    def _left_s(self, running: Running, now_s: float) -> float:
        if running.timeout_s is None:
            return float("inf")
        if running.killed_s is not None:
            return max(0.0, running.killed_s + KILL_EVERY_S - now_s)
        if running.begun_s is None:
            return max(LOOK_AGAIN_S, running.started_s + running.timeout_s - now_s)
        return max(0.0, running.begun_s + running.timeout_s - now_s)

    def kill_overdue(self, runner: Runner, done: set[str], now_s: float) -> None:
        """Kill attempts over their time until they end; it counts from their first line, not from a worker's start."""
        for identity, running in self.running.items():
            limit_s = running.timeout_s
            if limit_s is None or identity in done:
                continue
            if running.begun_s is None:
                running.begun_s = now_s if runner.is_begun(identity) else None
                continue
            is_over = now_s >= running.begun_s + limit_s
            if is_over and (running.killed_s is None or now_s >= running.killed_s + KILL_EVERY_S):
                runner.kill(identity, "timed-out", f"'{running.node.name}' ran longer than {limit_s:g} s")
                running.killed_s = now_s

    def look(self, now_s: float) -> None:
        """Say what looks wrong, now and then."""
        if now_s < self._next_health_s:
            return
        self._next_health_s = now_s + HEALTH_EVERY_S
        found = self._watch.findings(now_s, self._pulses(now_s))
        found += self._watch.once("the store's disk", disk_finding(self.store))
        for name, finding in found:
            self.observer.event("health", name, finding=finding)

    def _pulses(self, now_s: float) -> Iterator[Pulse]:
        """The signs of life of attempts that have run for a while."""
        longer = [r for r in self.running.values() if now_s - r.started_s > HEALTH_EVERY_S]
        cpu_s = cpu_s_by(r.spec for r in longer)
        for r in longer:
            yield Pulse(
                r.spec.id,
                r.node.id,
                now_s - r.started_s,
                None if r.node.is_guess else r.node.job.predicted_s,
                cpu_s.get(r.spec.id),
                printed_bytes(r.spec),
            )
