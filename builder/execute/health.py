"""Health of a run: what looks wrong while it still goes on. Pure but for the look at a disk.

Decides when a step counts as slow or stuck, and when a disk is nearly full; says each once. Only warns; a timeout is
what ends a step.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SLOW_FACTOR = 5.0
SLOW_AT_LEAST_S = 30.0
STUCK_CPU_SHARE = 0.01
STUCK_AFTER_S = 300.0
NEARLY_FULL_BYTES = 1 << 30
NEARLY_FULL_SHARE = 0.02

Finding = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Pulse:
    """A running attempt: how long it has run and was predicted to, and what shows that it works.

    ``cpu_s``: seconds of CPU that its process has used so far (None: not known); ``log_bytes``: what it has printed.
    """

    attempt: str
    name: str
    running_s: float
    predicted_s: float | None = None
    cpu_s: float | None = None
    log_bytes: int = 0


@dataclass(slots=True)
class _Sign:
    """The last sign of life of an attempt, and what was said of it already."""

    cpu_s: float
    log_bytes: int
    at_s: float
    is_said: bool = False
    is_slow: bool = False


class Watch:
    """Remembers the signs of life of running attempts from one look to the next."""

    def __init__(self) -> None:
        self._signs: dict[str, _Sign] = {}
        self._said: set[str] = set()

    def findings(self, now_s: float, pulses: Iterable[Pulse]) -> list[Finding]:
        """Name and finding of each step that begins to look stuck or slow; of one that goes on so, nothing again."""
        before, self._signs = self._signs, {}
        found: list[Finding] = []
        for pulse in pulses:
            sign = before.get(pulse.attempt) or _Sign(pulse.cpu_s or 0.0, pulse.log_bytes, now_s)
            self._signs[pulse.attempt] = sign
            found += self._stuck(pulse, sign, now_s)
            found += self._slow(pulse, sign)
        return found

    @staticmethod
    def _stuck(pulse: Pulse, sign: _Sign, now_s: float) -> Iterator[Finding]:
        """Whether an attempt has used no CPU to speak of, and printed nothing, for long."""
        still_s = now_s - sign.at_s
        is_at_work = pulse.cpu_s is None or pulse.cpu_s - sign.cpu_s > STUCK_CPU_SHARE * max(still_s, 1.0)
        if is_at_work or pulse.log_bytes != sign.log_bytes:
            sign.cpu_s, sign.log_bytes, sign.at_s, sign.is_said = pulse.cpu_s or 0.0, pulse.log_bytes, now_s, False
        elif still_s > STUCK_AFTER_S and not sign.is_said:
            sign.is_said = True
            yield pulse.name, f"stuck? no CPU used and nothing printed for {still_s:.0f} s"

    @staticmethod
    def _slow(pulse: Pulse, sign: _Sign) -> Iterator[Finding]:
        """Whether an attempt runs much longer than predicted."""
        if pulse.predicted_s is None or sign.is_slow:
            return
        if pulse.running_s > max(SLOW_AT_LEAST_S, SLOW_FACTOR * pulse.predicted_s):
            sign.is_slow = True
            yield pulse.name, f"slow: {pulse.running_s:.0f} s so far, predicted {pulse.predicted_s:.1f} s"

    def once(self, subject: str, finding: str | None) -> list[Finding]:
        """A finding about something else, where it is new; None ends it: it will be said when it comes again."""
        if finding is None:
            self._said.discard(subject)
        elif subject not in self._said:
            self._said.add(subject)
            return [(subject, finding)]
        return []


def disk_finding(folder: Path) -> str | None:
    """What to say of the disk that holds a folder; None where there is room."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    if usage.free < min(NEARLY_FULL_BYTES, NEARLY_FULL_SHARE * usage.total):
        return f"nearly full: {usage.free / 1e6:.0f} MB left"
    return None
