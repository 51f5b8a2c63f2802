"""Meeting the machines of a standing cluster: what its scheduler, workers and nannies are asked, and what is wrong.

Decides which workers are fit: their versions, settings, threads, nannies, and that they see the store. Never decides
what follows from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.errors import BuilderError
from builder.execute.serving import serve
from builder.execute.settings import WORKER, as_variables, setting_facts, wrong_settings
from builder.sense.environment import library_versions
from builder.store import disk
from builder.version import VERSION

NEEDED = ("python", "pandas", "pyarrow", "dask", "distributed")
"""Versions that count on workers beside those of the project's environment."""
MOST_MET_AT_ONCE = 50


# -- what runs on the cluster ------------------------------------------------------------------------------------------


def about_scheduler(dask_scheduler: Any) -> dict[str, Any]:
    """What a scheduler is and how it is set; it must have builder, for it unpickles what it passes on."""
    scheduler = dask_scheduler
    return {
        "builder": VERSION,
        "versions": library_versions(["python", "distributed"]),
        "settings": {
            "distributed.scheduler.allowed-failures": scheduler.allowed_failures,
            "distributed.scheduler.work-stealing": "stealing" in scheduler.extensions,
            "distributed.scheduler.worker-saturation": scheduler.WORKER_SATURATION,
            "distributed.scheduler.no-workers-timeout": scheduler.no_workers_timeout,
            "distributed.scheduler.worker-ttl": scheduler.worker_ttl,
            "distributed.scheduler.idle-timeout": scheduler.idle_timeout or 0,
        },
    }


def about_worker(names: tuple[str, ...], token: str, dask_worker: Any) -> dict[str, Any]:
    """What a worker is, how it is set, and what it reads in the file `token`; from now on it takes attempts."""
    serve(dask_worker)
    memory = dask_worker.memory_manager
    versions: dict[str, str] = {}
    for name in names:
        with contextlib.suppress(BuilderError):
            versions |= library_versions([name])
    read = ""
    with contextlib.suppress(OSError):
        read = Path(token).read_text()
    return {
        "builder": VERSION,
        "versions": versions,
        "pid": os.getpid(),
        "nthreads": dask_worker.state.nthreads,
        "nanny": dask_worker.nanny,
        "token": read,
        "settings": {
            "distributed.worker.memory.target": memory.memory_target_fraction,
            "distributed.worker.memory.spill": memory.memory_spill_fraction,
            "distributed.worker.memory.pause": memory.memory_pause_fraction,
        },
    }


def end_worker(pids: list[int], dask_worker: Any) -> None:
    """Kill the worker process of a nanny, where it is one of these: no other process can have its child's number."""
    now = dask_worker.pid
    if now in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(now, signal.SIGKILL)


# -- meeting workers ---------------------------------------------------------------------------------------------------


class Meeting:
    """What workers must be like, and a file of the store by which they show that they see it."""

    def __init__(self, store: Path, environment: Mapping[str, str], tell: Callable[[str, str], None]) -> None:
        self.versions = {**library_versions(NEEDED), **environment}
        self.tell = tell
        self._word = secrets.token_hex(8)
        self._file = store / "scratch" / f"meeting-{self._word}"

    def open(self) -> None:
        """Lay the file out."""
        disk.make_folder(self._file.parent)
        with disk.writing(self._file):
            self._file.write_text(self._word)

    def close(self) -> None:
        """Take the file away."""
        self._file.unlink(missing_ok=True)

    @property
    def question(self) -> tuple[tuple[str, ...], str]:
        """The arguments of `about_worker`."""
        return tuple(self.versions), str(self._file)

    def faults(self, found: Mapping[str, Any]) -> list[str]:
        """What is wrong with a worker, in words; empty for a fit one."""
        faults = []
        if found["builder"] != VERSION:
            faults.append(f"it has builder {found['builder']}, not {VERSION}")
        for name, version in self.versions.items():
            there = found["versions"].get(name)
            if there != version:
                faults.append(f"it has {name} {there or 'not installed'}, not {version}")
        if found["nthreads"] != 1:
            faults.append(f"it has {found['nthreads']} threads: start it with --nthreads 1")
        if not found["nanny"]:
            faults.append("it has no nanny: start it without --no-nanny")
        wrong = wrong_settings(found["settings"], WORKER)
        if wrong:
            faults += [text for _, text in setting_facts("", wrong)]
            faults.append("start it with " + as_variables(wrong, WORKER))
        if found["token"] != self._word:
            faults.append(f"it does not see the store: mount {self._file.parent.parent} there, at this very path")
        return faults


@dataclass(frozen=True, slots=True)
class Known:
    """A worker that was met: its process, its nanny, and what is wrong with it (``""``: nothing).

    ``life`` tells it from another that has its address after it.
    """

    life: str
    pid: int
    nanny: str
    fault: str = ""


# -- asking ----------------------------------------------------------------------------------------------------------


async def asked(client: Any, question: tuple[Any, ...], addresses: list[str], within_s: float) -> dict[str, Any]:
    """What each worker says of itself, or the exception that came instead, each within its own bound."""
    room = asyncio.Semaphore(MOST_MET_AT_ONCE)

    async def one(address: str) -> Any:
        try:
            async with room:
                answer = client._run(about_worker, *question, workers=[address], on_error="return")
                return (await asyncio.wait_for(answer, within_s))[address]
        except Exception as cause:
            return cause

    return dict(zip(addresses, await asyncio.gather(*map(one, addresses)), strict=True))
