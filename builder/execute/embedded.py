"""The embedded cluster: worker processes on this machine that live as long as a run.

Decides how they are started, and that none of them outlives the run, even where Dask cannot end them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import dask
from distributed import Client, LocalCluster
from distributed.core import Status
from distributed.worker_memory import parse_memory_limit

from builder.compile.policy import Policy
from builder.errors import error
from builder.execute.causes import Causes
from builder.execute.settings import EMBEDDED, PRESPAWN
from builder.execute.spawning import without_main
from builder.execute.workers import Worker
from builder.processes import end_family, identity_of

CLOSE_WITHIN_S = 5.0
FIRST_WORKER_S = 60.0
MEND_EVERY_S = 0.5


class EmbeddedCluster:
    """Single-threaded worker processes, each with a nanny in this process, as is their scheduler."""

    def __init__(self, workers: int, scratch: str, memory_bytes: int, causes: Causes) -> None:
        self._causes = causes
        self._mend_s = 0.0
        self._cluster: Any = None
        self._client: Any = None
        self._settings = contextlib.ExitStack()
        self._settings.enter_context(dask.config.set(EMBEDDED))
        self._settings.enter_context(without_main())
        self._settings.enter_context(_restoring([*PRESPAWN, "PYTHONHASHSEED", "__DASK_PARENT_PID"]))
        try:
            self._cluster = LocalCluster(
                n_workers=0,  # asked for below: one that dies while it starts must not end them all
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                worker_dashboard_address=None,
                silence_logs=False,
                memory_limit=memory_bytes or parse_memory_limit("auto", 1, workers, logger=logging.getLogger(__name__)),
                preload=["builder.execute.preload"],
                local_directory=scratch or None,
                scheduler_kwargs={"dashboard": False},
            )
            self._cluster.scale(workers)
            self._client = Client(self._cluster, set_as_default=False)
            self._await_first()
        except BaseException:
            self.close()
            raise

    def _await_first(self) -> None:
        """Return when there is a worker."""
        until_s = time.monotonic() + FIRST_WORKER_S
        while not self.workers():
            if time.monotonic() > until_s:
                raise error(
                    "no-cluster",
                    f"no worker of the embedded cluster came up within {FIRST_WORKER_S:g} s",
                    place="127.0.0.1",
                    hint="the machine is busy, or forbids processes or local connections; try builder rebuild -j 1",
                )
            time.sleep(0.005)

    @property
    def client(self) -> Any:
        """The client whose workers run attempts."""
        return self._client

    @property
    def is_lost(self) -> bool:
        """Whether the scheduler has ended, so that nothing under way will ever be heard of again."""
        return self._client.status != "running" or self._cluster.scheduler.status is not Status.running

    def workers(self) -> dict[str, Worker]:
        """The workers that are there now, by address; others are started for those that died while they started."""
        now_s = time.monotonic()
        if now_s > self._mend_s:
            self._mend_s = now_s + MEND_EVERY_S
            self._cluster.loop.add_callback(self._mend)
        # The scheduler's thread takes workers out meanwhile: its sorted dict would be walked in Python, one by one, and
        # the plain dict that it is built on is listed in one piece.
        states = list(dict.values(self._cluster.scheduler.workers))
        return {s.address: Worker(s.address, s.memory_limit or 0, frozenset(s.resources)) for s in states}

    async def _mend(self) -> None:
        """Let Dask replace nannies that gave up, as they do when a worker dies before it has connected."""
        here = self._cluster.workers
        for name in [n for n, nanny in here.items() if nanny.status in (Status.closed, Status.failed)]:
            del here[name]
        if self._cluster.worker_spec.keys() - here.keys():
            with contextlib.suppress(Exception):
                await self._cluster._correct_state()

    def pid(self, worker: str) -> int | None:
        """The process id of a worker, as its nanny knows it."""
        nannies = list(self._cluster.workers.values())
        return next((n.pid for n in nannies if n.worker_address == worker), None)

    def forget(self, worker: str) -> None:
        """Nothing: the scheduler is in this process, and has seen the same connection break."""

    def kill(self, worker: str, pid: int) -> str:
        """Kill a worker process; always ``""``: this machine answers."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return ""

    def said(self, worker: str, pid: int | None) -> str:
        """What a nanny said of a process that ended."""
        return self._causes.said(pid)

    def everywhere(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """What a function gives on this machine, which has all workers."""
        return [function(*args)]

    def follow(self, policy: Policy) -> None:
        """Nothing: its size is fixed."""

    def close(self) -> None:
        """End all workers; those that are left because their scheduler is gone or they hang are killed."""
        nannies = list(self._cluster.workers.values()) if self._cluster is not None else []
        pids = [pid for nanny in nannies if (pid := nanny.pid) is not None]
        families = [found for pid in pids if (found := identity_of(pid)) is not None]
        with contextlib.suppress(Exception):
            self._client.close(timeout=2)
        with contextlib.suppress(Exception):
            self._cluster.close(timeout=CLOSE_WITHIN_S)
        with contextlib.suppress(AttributeError):
            self._cluster.status = Status.closed  # also where its scheduler went first, and closing gave up
        for pid in pids:
            _kill_child(pid)
        for worker in families:  # what recipes started and left behind
            end_family(worker)
        self._settings.close()


@contextlib.contextmanager
def _restoring(names: Iterable[str]) -> Iterator[None]:
    """Give this process its variables back in the end: a nanny sets those of its workers here, and leaves them."""
    before = {n: os.environ.get(n) for n in names}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _kill_child(pid: int) -> None:
    """Kill a process that is still this one's child, and see it end."""
    with contextlib.suppress(OSError):
        if os.waitpid(pid, os.WNOHANG) == (0, 0):  # a child that lives: its number cannot be another's
            os.kill(pid, signal.SIGKILL)
            until_s = time.monotonic() + CLOSE_WITHIN_S
            while os.waitpid(pid, os.WNOHANG) == (0, 0) and time.monotonic() < until_s:
                time.sleep(0.01)
