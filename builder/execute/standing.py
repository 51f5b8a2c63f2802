"""A standing Dask cluster: connected to by its address or given as an object, checked before anything runs there.

Decides which schedulers and workers are fit: their settings, versions, threads, nannies, and that they see the store.
A wrong one at connect is refused with what to set; a wrong one that joins later is left out and told. Never starts an
attempt.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import secrets
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
from distributed import Client

from builder.compile.policy import Policy
from builder.errors import BuilderError, error
from builder.execute.causes import Causes
from builder.execute.scaling import Scaling
from builder.execute.settings import EMBEDDED, SCHEDULER, WORKER, as_variables, setting_facts, wrong_settings
from builder.execute.tls import ANSWER_S, START_ONE, Certificates, NoAnswer, greet, is_listening, refused, security_for
from builder.execute.workers import Worker
from builder.sense.environment import library_versions
from builder.store import disk
from builder.version import VERSION

LIST_EVERY_S = 1.0
LOST_AFTER_S = 15.0
NEEDED = ("python", "pandas", "pyarrow", "dask", "distributed")
"""Versions that count on workers beside those of the project's environment."""


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
        },
    }


def about_worker(names: tuple[str, ...], token: str, dask_worker: Any) -> dict[str, Any]:
    """What a worker is, how it is set, and what it reads in the file `token`."""
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
    """A worker that was met: its process, its nanny, and what is wrong with it (``""``: nothing)."""

    pid: int
    nanny: str
    fault: str = ""


# -- the cluster -------------------------------------------------------------------------------------------------------


class StandingCluster:
    """A cluster that somebody else started; closed only where it was made for this run."""

    def __init__(self, client: Any, address: str, meeting: Meeting, causes: Causes) -> None:
        self._client = client
        self._address = address
        self._meeting = meeting
        self._causes = causes
        self._known: dict[str, Known] = {}
        self._here: dict[str, Worker] = {}
        self._listed_s = float("-inf")
        self._silent_s: float | None = None
        self._scaling: Scaling | None = None
        self._at_end: list[Callable[[], Any]] = []

    @classmethod
    def at(
        cls,
        address: str,
        certificates: Certificates,
        meeting: Meeting,
        causes: Causes,
        wait_s: float,
        patience_s: float = 0.0,
    ) -> StandingCluster:
        """The cluster at an address, checked; one that does not answer is waited for as long as `patience_s`.

        Raises
        ------
        ConfigError
            ``config`` for the files of certificates; ``no-cluster``: nobody answers, or it cannot be used as it is.
        """
        client = _connected(address, certificates, patience_s)
        made = cls(client, address, meeting, causes)
        made._check(wait_s)
        return made

    @classmethod
    def of_object(
        cls, cluster: Any, meeting: Meeting, causes: Causes, most: int, wait_s: float, is_ours: bool
    ) -> StandingCluster:
        """The cluster behind a Dask cluster object, checked; it follows the work up to `most` workers.

        Raises
        ------
        ConfigError
            ``no-cluster``: no worker comes within `wait_s`, or it cannot be used as it is.
        """
        address = str(getattr(cluster, "scheduler_address", "") or type(cluster).__name__)
        try:
            client = Client(cluster, set_as_default=False, timeout=max(wait_s, ANSWER_S))
        except Exception as cause:
            raise _nobody(address, str(cause)) from cause
        made = cls(client, address, meeting, causes)
        made._scaling = Scaling(cluster, client, most)
        made._at_end.append(cluster.close if is_ours else made._scaling.restore)
        if not made._list():
            made._scaling.ask(1)
        made._check(wait_s)
        return made

    @property
    def client(self) -> Any:
        """The client whose tasks run here."""
        return self._client

    @property
    def is_lost(self) -> bool:
        """Whether the scheduler went away, or has not answered for long."""
        is_silent = self._silent_s is not None and time.monotonic() - self._silent_s > LOST_AFTER_S
        return self._client.status != "running" or is_silent

    def workers(self) -> dict[str, Worker]:
        """The workers that are there now and fit, by address; asked for once a second."""
        now_s = time.monotonic()
        if now_s - self._listed_s > LIST_EVERY_S:
            self._listed_s = now_s
            with contextlib.suppress(Exception):  # what does not answer is lost in time: `is_lost`
                listed = self._list()
                self._meet([a for a in listed if a not in self._known])
                self._here = {
                    a: Worker(a, w.get("memory_limit") or 0, frozenset(w.get("resources") or ()))
                    for a, w in listed.items()
                    if a in self._known and not self._known[a].fault
                }
        leaving = self._scaling.leaving if self._scaling else frozenset()
        return {a: w for a, w in self._here.items() if a not in leaving} if leaving else self._here

    def pid(self, worker: str) -> int | None:
        """The process id of a worker on its machine."""
        known = self._known.get(worker)
        return None if known is None else known.pid

    def kill(self, worker: str, pid: int) -> str:
        """Kill a worker process through its nanny; where that does not answer, its host is given up as lost."""
        try:
            self._ask(self._client._run, os.kill, pid, signal.SIGKILL, workers=[worker], nanny=True)
        except Exception:
            with contextlib.suppress(Exception):
                self._ask(self._client.scheduler.unregister, address=worker, stimulus_id="builder-host-lost")
            said = f"{worker} is lost: its nanny gave no answer in {ANSWER_S:g} s; process {pid} may still run there"
            self._meeting.tell(worker, said)
            return said
        return ""

    def said(self, worker: str, pid: int | None) -> str:
        """What a nanny said of a process that ended; ``""`` where it cannot be reached from here."""
        known = self._known.get(worker)
        return self._causes.said(pid, lambda: self._log(known.nanny)) if known else ""

    def everywhere(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """What a function gives on each machine that answers, run by its nannies."""
        try:
            told = self._ask(self._client._run, function, *args, nanny=True, on_error="ignore")
        except Exception:
            return []
        return list(told.values())

    def follow(self, policy: Policy) -> None:
        """Grow or shrink with the ready work, where this is a cluster object."""
        if self._scaling is not None:
            self._scaling.follow(policy, self._here)

    def close(self) -> None:
        """Let go of the cluster; end it where it was made for this run."""
        for end in self._at_end:
            with contextlib.suppress(Exception):
                end()
        with contextlib.suppress(Exception):
            self._client.close(timeout=2)
        self._meeting.close()

    # -- asking ----------------------------------------------------------------------------------------------------

    def _ask(self, function: Any, *args: Any, **options: Any) -> Any:
        """The answer of the cluster, within a bound."""
        return self._client.sync(function, *args, callback_timeout=ANSWER_S, **options)

    def _list(self) -> dict[str, Any]:
        """All workers by address, as the scheduler knows them."""
        asked_s = time.monotonic()
        try:
            listed: dict[str, Any] = self._ask(self._client.scheduler.identity, n_workers=-1)["workers"]
        except Exception:
            self._silent_s = self._silent_s or asked_s
            raise
        self._silent_s = None
        return listed

    def _log(self, nanny: str) -> list[str] | None:
        """The last lines of a nanny's log; None where nothing listens at its address any more."""
        if not is_listening(nanny):
            return None
        try:
            lines = self._client.sync(_nanny_log, self._client, nanny, callback_timeout=ANSWER_S)
        except Exception:
            return []
        return [text for _, text in lines]

    # -- checking --------------------------------------------------------------------------------------------------

    def _check(self, wait_s: float) -> None:
        """Refuse a cluster that cannot run this project as it is.

        Raises
        ------
        ConfigError
            ``no-cluster`` with what to set.
        """
        try:
            self._meeting.open()
            self._check_scheduler()
            until_s = time.monotonic() + wait_s
            while not (listed := self._list()) and time.monotonic() < until_s:
                time.sleep(0.1)
            if not listed:
                raise refused(
                    self._address,
                    f"no worker joined the cluster at {self._address} within {wait_s:g} s",
                    [("workers", "none")],
                    "start some with dask worker --nthreads 1, or raise wait under [cluster]",
                )
            self._meet(list(listed), is_told=False)
            faults = [(a, k.fault) for a, k in self._known.items() if k.fault]
            if faults:
                raise refused(
                    self._address,
                    f"{len(faults)} of {len(listed)} workers at {self._address} cannot run this project",
                    faults[:5],
                    f"workers need builder {VERSION}, one thread, a nanny, the same libraries and the same folders",
                )
        except BaseException as cause:
            self.close()
            if isinstance(cause, (BuilderError, KeyboardInterrupt)):
                raise
            raise _nobody(self._address, f"{type(cause).__name__}: {cause}") from cause

    def _check_scheduler(self) -> None:
        """Refuse a scheduler that is set otherwise, or has another builder."""
        try:
            found = self._ask(self._client._run_on_scheduler, about_scheduler)
        except Exception as cause:
            raise refused(
                self._address,
                f"the scheduler at {self._address} has no builder, or another one",
                [("reason", f"{type(cause).__name__}: {str(cause)[:200]}")],
                f"install builder {VERSION} into the environment that runs the scheduler",
            ) from cause
        own = library_versions(["python", "distributed"])
        facts = [("builder", f"{found['builder']}, not {VERSION}")] if found["builder"] != VERSION else []
        facts += [(n, f"{v}, not {own[n]}") for n, v in found["versions"].items() if v != own[n]]
        if facts:
            hint = "run the scheduler from the same environment as builder"
            raise refused(self._address, f"the scheduler at {self._address} runs other versions", facts, hint)
        wrong = wrong_settings(found["settings"], SCHEDULER)
        if wrong:
            raise refused(
                self._address,
                f"the scheduler at {self._address} is not set for builds",
                setting_facts("setting", wrong),
                "start it with " + as_variables(wrong, SCHEDULER),
            )

    def _meet(self, addresses: list[str], is_told: bool = True) -> None:
        """Ask new workers what they are; one that gives no answer is asked again the next time."""
        if not addresses:
            return
        answers = self._ask(
            self._client._run, about_worker, *self._meeting.question, workers=addresses, on_error="return"
        )
        for address, found in answers.items():
            if isinstance(found, Exception):
                fault = f"it cannot load builder {VERSION}: {type(found).__name__}: {str(found)[:200]}"
                if isinstance(found, OSError):
                    continue  # it left, or is too busy to answer
                self._known[address] = Known(0, "", fault)
            else:
                fault = "; ".join(self._meeting.faults(found))
                self._known[address] = Known(found["pid"], found["nanny"] or "", fault)
            if fault and is_told:
                self._meeting.tell(address, f"left out: {fault}")


async def _nanny_log(client: Any, nanny: str) -> Any:
    return await client.rpc(nanny).get_logs(n=50)


def _connected(address: str, certificates: Certificates, patience_s: float) -> Any:
    """A client of the scheduler at an address."""
    security = security_for(address, certificates)
    until_s = time.monotonic() + patience_s
    while True:
        try:
            greet(address, certificates)
            return Client(address, security=security, timeout=ANSWER_S, set_as_default=False)
        except BuilderError:
            raise
        except Exception as cause:
            if time.monotonic() >= until_s:
                waited = [("waited", f"{patience_s:g} s")] if patience_s else []
                raise _nobody(address, str(cause), waited) from (None if isinstance(cause, NoAnswer) else cause)
        time.sleep(min(0.5, max(0.0, until_s - time.monotonic())))


def _nobody(address: str, reason: str, more: list[tuple[str, str]] | None = None) -> BuilderError:
    facts = [("reason", (reason.splitlines() or ["no answer"])[0][:300]), *(more or ())]
    return refused(address, f"no Dask cluster answers at {address}", facts, START_ONE)


def made_by(factory: str, root: Path) -> Any:
    """The cluster object that ``file.py:function`` returns, called with Dask set as builds need it.

    Raises
    ------
    ConfigError
        ``config``: no such file or function, it fails, or what it returns has no ``scale``.
    """
    file, _, name = factory.partition(":")
    reason = "it returned nothing that has scale()"
    cause: Exception | None = None
    try:
        with dask.config.set(EMBEDDED):
            made = runpy.run_path(str(root / file), run_name="builder_factory")[name]()
        if callable(getattr(made, "scale", None)):
            return made
    except Exception as caught:
        cause, reason = caught, f"{type(caught).__name__}: {str(caught)[:300]}"
    raise error(
        "config",
        f"the factory '{factory}' made no cluster",
        place=file,
        facts=[("reason", reason)],
        hint="it takes no arguments and returns a Dask cluster, such as dask_jobqueue.SLURMCluster(…)",
    ) from cause
