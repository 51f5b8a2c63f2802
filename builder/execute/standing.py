"""A standing Dask cluster: connected to by its address or given as an object, checked before anything runs there.

Decides whom to ask and when, and what follows: a wrong scheduler or worker at connect is refused with what to set; a
wrong worker that joins later is left out and told. What is wrong is for `meeting` to say. Never starts an attempt.
"""

from __future__ import annotations

import contextlib
import runpy
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dask
from distributed import Client

from builder.compile.policy import Policy
from builder.errors import BuilderError, error
from builder.execute.causes import Causes
from builder.execute.meeting import Known, Meeting, about_scheduler, asked, end_worker
from builder.execute.scaling import Scaling
from builder.execute.settings import EMBEDDED, SCHEDULER, as_variables, setting_facts, wrong_settings
from builder.execute.tls import ANSWER_S, START_ONE, Certificates, NoAnswer, greet, is_listening, refused, security_for
from builder.execute.workers import Worker
from builder.sense.environment import library_versions
from builder.version import VERSION

LIST_EVERY_S = 1.0
LOST_AFTER_S = 15.0
MEET_S = 2.0
"""How long a worker that joins in mid-run has to say what it is; the build waits for that."""
MEET_AGAIN_S = 60.0
"""How long a worker that says nothing is left alone at the most, before it is asked again."""


class StandingCluster:
    """A cluster that somebody else started; closed only where it was made for this run."""

    def __init__(self, client: Any, address: str, meeting: Meeting, causes: Causes) -> None:
        self._client = client
        self._stream = client.scheduler_comm
        self._address = address
        self._meeting = meeting
        self._causes = causes
        self._known: dict[str, Known] = {}
        self._silent: dict[str, tuple[float, float]] = {}  # when to ask again, and how long to wait after that
        self._nannies: dict[str, str] = {}  # also of workers that left: they say why
        self._given_up: dict[str, str] = {}
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
        try:
            made._scaling = Scaling(cluster, client, most, meeting.tell)
            made._at_end.append(cluster.close if is_ours else made._scaling.restore)
            if not made._list():
                made._scaling.ask(1)
        except Exception as cause:
            made.close()
            raise _nobody(address, f"{type(cause).__name__}: {cause}") from cause
        made._check(wait_s)
        return made

    @property
    def client(self) -> Any:
        """The client whose workers run attempts."""
        return self._client

    @property
    def is_lost(self) -> bool:
        """Whether the scheduler went away, also for a moment only, or has not answered for long."""
        is_silent = self._silent_s is not None and time.monotonic() - self._silent_s > LOST_AFTER_S
        return self._client.status != "running" or self._client.scheduler_comm is not self._stream or is_silent

    def workers(self) -> dict[str, Worker]:
        """The workers that are there now and fit, by address; asked for once a second."""
        now_s = time.monotonic()
        if now_s - self._listed_s > LIST_EVERY_S:
            self._listed_s = now_s
            with contextlib.suppress(Exception):  # what does not answer is lost in time: `is_lost`
                self._look(self._list())
        leaving = self._scaling.leaving if self._scaling else frozenset()
        return {a: w for a, w in self._here.items() if a not in leaving} if leaving else self._here

    def pid(self, worker: str) -> int | None:
        """The process id of a worker on its machine."""
        known = self._known.get(worker)
        return None if known is None else known.pid

    def forget(self, worker: str) -> None:
        """Take a worker off the list until the scheduler lists it again; then it is met anew, for it may be another."""
        self._known.pop(worker, None)
        self._here = {a: w for a, w in self._here.items() if a != worker}

    def kill(self, worker: str, pid: int) -> str:
        """Kill a worker process through its nanny; where that does not answer, its host is given up as lost.

        The process known at this address now may be meant as well: an attempt can start before a restart is seen.
        """
        known = self._known.get(worker)
        pids = [pid, *([known.pid] if known else [])]
        try:
            self._ask(self._client._run, end_worker, pids, workers=[worker], nanny=True)
        except KeyError:
            return self._given_up.get(worker, "")  # it has just left
        except OSError:  # also when time ran out
            with contextlib.suppress(Exception):
                self._ask(self._client.scheduler.unregister, address=worker, stimulus_id="builder-host-lost")
            said = f"{worker} is lost: its nanny gave no answer in {ANSWER_S:g} s; process {pid} may still run there"
            self._meeting.tell(worker, said)
            self._given_up[worker] = said
            return said
        except Exception as cause:
            return f"the nanny of {worker} could not end it: {type(cause).__name__}: {str(cause)[:200]}"
        return ""

    def said(self, worker: str, pid: int | None) -> str:
        """What a nanny said of a process that ended; ``""`` where it cannot be reached from here."""
        nanny = self._nannies.get(worker)
        return self._causes.said(pid, lambda: self._log(nanny)) if nanny is not None else ""

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

    def _look(self, listed: dict[str, Any]) -> None:
        """Take those who are known, then meet who is new: nobody waits for one that does not answer."""
        self._known = {a: k for a, k in self._known.items() if a in listed and k.life == _life(listed[a])}
        self._silent = {a: s for a, s in self._silent.items() if a in listed}
        self._take(listed)
        if self._meet(listed):
            self._take(listed)

    def _take(self, listed: dict[str, Any]) -> None:
        """Have the fit ones of those that are known."""
        self._here = {
            a: Worker(a, w.get("memory_limit") or 0, frozenset(w.get("resources") or ()))
            for a, w in listed.items()
            if a in self._known and not self._known[a].fault
        }

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
            while True:
                listed = self._list()
                self._meet(listed, is_told=False, within_s=ANSWER_S)
                if self._known or time.monotonic() >= until_s:
                    break
                time.sleep(0.1)
            if not listed:
                raise refused(
                    self._address,
                    f"no worker joined the cluster at {self._address} within {wait_s:g} s",
                    [("workers", "none")],
                    "start some with dask worker --nthreads 1, or raise wait under [cluster]",
                )
            if not self._known:
                silent = [(a, f"no answer in {ANSWER_S:g} s") for a in listed]
                raise _nobody(self._address, "no worker says what it is", silent[:5])
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

    def _meet(self, listed: dict[str, Any], is_told: bool = True, within_s: float = MEET_S) -> bool:
        """Whether new workers said what they are; one that gives no answer is asked again later, ever more seldom."""
        now_s = time.monotonic()
        new = [a for a in listed if a not in self._known and self._silent.get(a, (0.0, 0.0))[0] <= now_s]
        if not new:
            return False
        answers = self._client.sync(asked, self._client, self._meeting.question, new, within_s)
        for address, found in answers.items():
            if isinstance(found, (OSError, TimeoutError)):  # it left, or is too busy to answer
                delay_s = self._silent.get(address, (0.0, LIST_EVERY_S))[1]
                self._silent[address] = (time.monotonic() + delay_s, min(2 * delay_s, MEET_AGAIN_S))
                continue
            self._silent.pop(address, None)
            self._know(address, _life(listed[address]), found)
            if (fault := self._known[address].fault) and is_told:
                self._meeting.tell(address, f"left out: {fault}")
        return True

    def _know(self, address: str, life: str, found: Any) -> None:
        """Keep what a worker said of itself."""
        if isinstance(found, Exception):
            fault = f"it cannot load builder {VERSION}: {type(found).__name__}: {str(found)[:200]}"
            self._known[address] = Known(life, 0, "", fault)
            return
        known = Known(life, found["pid"], found["nanny"] or "", "; ".join(self._meeting.faults(found)))
        self._known[address] = known
        self._nannies[address] = known.nanny
        self._given_up.pop(address, None)


def _life(listed: Mapping[str, Any]) -> str:
    """What tells a worker from others at its address, before and after it: the folder that is its own."""
    return f"{listed.get('id')} {listed.get('local_directory')}"


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
            if time.monotonic() >= until_s:  # before that it was well, and may only be too busy to speak
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
