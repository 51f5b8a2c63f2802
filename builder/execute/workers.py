"""What the runner needs of a Dask cluster, whoever started it: who works there, and how one of them is ended.

Decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from builder.compile.policy import Policy


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker process with one thread; ``memory_bytes`` 0: no limit, ``abilities``: the names of its resources."""

    address: str
    memory_bytes: int = 0
    abilities: frozenset[str] = frozenset()


class Cluster(Protocol):
    """A Dask cluster, embedded or standing."""

    @property
    def client(self) -> Any:
        """The client whose workers run attempts."""

    @property
    def is_lost(self) -> bool:
        """Whether the scheduler is gone, so that nothing under way will ever be heard of again."""

    def workers(self) -> dict[str, Worker]:
        """The workers that are there now and fit to run attempts, by address."""

    def pid(self, worker: str) -> int | None:
        """The process id of a worker on its machine."""

    def forget(self, worker: str) -> None:
        """Take a worker that ended off the list, also where Dask does not know it yet; who comes next is met anew."""

    def kill(self, worker: str, pid: int) -> str:
        """Kill a worker process; what is to be said of it where its machine does not answer, else ``""``."""

    def said(self, worker: str, pid: int | None) -> str:
        """What a nanny said of a process that ended; ``""`` where nothing is known."""

    def everywhere(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """What a function gives on each machine that answers, run by its nannies."""

    def follow(self, policy: Policy) -> None:
        """Grow or shrink with the ready work, where the cluster can."""

    def close(self) -> None:
        """End the workers that were started for this run, and let go of all others."""
