"""Health of a run: what looks wrong while it still goes on. Pure.

Decides when a step counts as slow or stuck, and when a disk is nearly full. Only warns; a timeout is what ends a step.
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


@dataclass(frozen=True, slots=True)
class Pulse:
    """A running step: how long it has run and was predicted to, and the CPU seconds it used (None: not known)."""

    name: str
    running_s: float
    predicted_s: float | None
    cpu_s: float | None = None


def slow_steps(pulses: Iterable[Pulse]) -> Iterator[tuple[str, str]]:
    """Name and finding of each step that runs much longer than predicted, or uses no CPU at all."""
    for pulse in pulses:
        if _is_stuck(pulse):
            yield pulse.name, f"stuck? it used {pulse.cpu_s:.1f} s of CPU in {pulse.running_s:.0f} s"
        elif pulse.predicted_s is not None:
            limit_s = max(SLOW_AT_LEAST_S, SLOW_FACTOR * pulse.predicted_s)
            if pulse.running_s > limit_s:
                yield pulse.name, f"slow: {pulse.running_s:.0f} s so far, predicted {pulse.predicted_s:.1f} s"


def _is_stuck(pulse: Pulse) -> bool:
    """Whether a step that has run for long uses no CPU to speak of."""
    if pulse.cpu_s is None or pulse.running_s <= STUCK_AFTER_S:
        return False
    return pulse.cpu_s < STUCK_CPU_SHARE * pulse.running_s


def disk_finding(folder: Path) -> str | None:
    """What to say of the disk that holds a folder; None where there is room."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    if usage.free < min(NEARLY_FULL_BYTES, NEARLY_FULL_SHARE * usage.total):
        return f"nearly full: {usage.free / 1e6:.0f} MB left"
    return None
