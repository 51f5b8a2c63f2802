"""A runner in the driver's own process: for tests, debugging and tiny projects.

Attempts run to their end inside `start`; a timeout cannot stop them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from builder.compile.policy import Place, Policy
from builder.execute.runner import Ended
from builder.execute.spec import AttemptRecord, AttemptSpec


class InlineRunner:
    """Runs each attempt at once, one at a time, through the very function that workers run."""

    def __init__(self, abilities: frozenset[str] = frozenset()) -> None:
        self._ended: list[Ended] = []
        self._places = (Place("this process", 0, abilities),)

    def places(self) -> Sequence[Place]:
        """This process."""
        return self._places

    def follow(self, policy: Policy) -> None:
        """Nothing: there is one process."""

    def start(self, specs: Sequence[AttemptSpec], place: str) -> None:
        """Run attempts to their end."""
        from builder.execute.attempt import run_pack

        records = map(AttemptRecord.from_bytes, run_pack([spec.to_bytes() for spec in specs], in_worker=False))
        self._ended += [Ended(record.id, record) for record in records]

    def is_begun(self, attempt: str) -> bool:
        """Whether an attempt has come to its first line: it has come to its last."""
        return True

    def wait(self, timeout_s: float | None) -> list[Ended]:
        """The attempts that ended since the last call; where none did, after `timeout_s`: it is a wait like any."""
        if not self._ended and timeout_s:
            time.sleep(timeout_s)
        ended, self._ended = self._ended, []
        return ended

    def kill(self, attempt: str, code: str, message: str) -> None:
        """Nothing: every attempt has ended when this can be called."""

    def everywhere(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """Nothing: there is no worker."""
        return []

    def close(self) -> None:
        """Nothing to give back."""
