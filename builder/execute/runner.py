"""The interface between the driver and whatever executes attempts.

Decides nothing. A runner has places, starts attempts on them, says which have ended, and kills one when told; it never
touches the ledger. Any of its methods but `close` raises `RunnerLost` when all is lost at once; then only `close` may
be called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from builder.compile.policy import Place, Policy
from builder.execute.spec import AttemptRecord, AttemptSpec


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that is proven over.

    ``is_lost``: its worker died or was killed before it could report. ``is_innocent``: it never began, because one that
    travelled before it took the worker down; it counts for nothing.
    """

    id: str
    record: AttemptRecord
    is_lost: bool = False
    is_innocent: bool = False


class RunnerLost(Exception):
    """All that a runner had under way is gone at once, by the fault of no attempt: its scheduler went away."""


class Runner(Protocol):
    """Executes attempts, one at a time on each place."""

    def places(self) -> Sequence[Place]:
        """The workers that are there now."""

    def follow(self, policy: Policy) -> None:
        """Ask for more or fewer workers as the ready work needs them, where that is possible."""

    def start(self, specs: Sequence[AttemptSpec], place: str) -> None:
        """Begin attempts on an idle place, one after the other in one go; each ends on its own account."""

    def is_begun(self, attempt: str) -> bool:
        """Whether an attempt has come to its first line."""

    def wait(self, timeout_s: float | None) -> list[Ended]:
        """The attempts that ended, at least one unless `timeout_s` passes first."""

    def kill(self, attempt: str, code: str, message: str) -> None:
        """End an attempt by force; it is reported as ended with this error."""

    def everywhere(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """What a function gives on each machine that answers and has workers; not of this process's own."""

    def close(self) -> None:
        """Give back all workers, whatever they do."""
