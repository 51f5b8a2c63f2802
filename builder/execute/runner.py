"""The interface between the driver and whatever executes attempts.

Decides nothing. A runner has slots, starts attempts, says which have ended, and kills one when told; it never touches
the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from builder.execute.spec import AttemptRecord, AttemptSpec


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that is proven over. ``is_lost``: its worker died or was killed before it could report."""

    id: str
    record: AttemptRecord
    is_lost: bool = False


class Runner(Protocol):
    """Executes attempts, each on one slot."""

    slots: int

    def start(self, spec: AttemptSpec) -> None:
        """Begin an attempt; the driver starts no more than `slots` at a time."""

    def wait(self, timeout_s: float | None) -> list[Ended]:
        """The attempts that ended, at least one unless `timeout_s` passes first."""

    def kill(self, attempt: str, code: str, message: str) -> None:
        """End an attempt by force; it is reported as ended with this error."""

    def close(self) -> None:
        """Give back all workers, whatever they do."""
