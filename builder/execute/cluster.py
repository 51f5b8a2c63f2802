"""A runner on Dask: one attempt in one single-threaded worker process at a time.

Decides on which worker an attempt runs, and what became of one whose worker died. Dask never retries, steals or
queues here: it is told where a task runs and says when it ended. Imported only when something has to run.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import re
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dask
from distributed import Client, LocalCluster

from builder.compile.policy import Place
from builder.errors import BuilderError, error
from builder.execute.attempt import kept_record, run_pack
from builder.execute.runner import Ended
from builder.execute.spec import AttemptRecord, AttemptSpec
from builder.version import VERSION

SETTINGS: dict[str, Any] = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.worker-saturation": "inf",
    "distributed.scheduler.no-workers-timeout": "30s",
    "distributed.scheduler.worker-ttl": "300s",
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.worker.daemon": True,
    "distributed.nanny.pre-spawn-environ": {
        "DASK_LOGGING__DISTRIBUTED": "critical",  # a worker's own log would stand between the lines of the report
        "MALLOC_TRIM_THRESHOLD_": 65536,
        "OMP_NUM_THREADS": 1,
        "MKL_NUM_THREADS": 1,
        "OPENBLAS_NUM_THREADS": 1,
        "GDAL_NUM_THREADS": 1,
    },
}
WAIT_FOR_WORKER_S = 30.0
LIST_EVERY_S = 1.0


@dataclass(slots=True)
class Task:
    """Attempts under way that travel together: their future and the worker that has them."""

    future: Any
    worker: str
    pid: int | None
    specs: tuple[AttemptSpec, ...]
    sentence: tuple[str, str] | None = None


class Causes(logging.Handler):
    """Keeps what the nannies say of workers that ended, by pid; the only place that knows the cause."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.by_pid: dict[int, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message that names a cause."""
        text = record.getMessage()
        match = re.search(r"Worker process (\d+) (exited.*|was killed.*)", text)
        if match:
            # A worker that used up its memory is killed by its nanny: the first word is the cause.
            self.by_pid.setdefault(int(match[1]), match[2].strip())
        match = re.search(r"\(pid=(\d+)\) exceeded", text)
        if match:
            self.by_pid[int(match[1])] = "memory"


class DaskRunner:
    """Attempts on an embedded cluster of processes, or on a standing one by its address."""

    def __init__(
        self,
        workers: int,
        scheduler: str = "",
        scratch: str = "",
        memory_bytes: int = 0,
        abilities: frozenset[str] = frozenset(),
    ) -> None:
        self._dask = dask.config.set(SETTINGS)
        self._dask.__enter__()
        self._logger = logging.getLogger("distributed.nanny")
        self._causes = Causes()
        self._ended: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._tasks: dict[str, Task] = {}
        self._pids: dict[str, int] = {}
        self._cluster: Any = None
        self._abilities = abilities
        self._listed: list[Place] = []
        self._listed_s = float("-inf")
        self._kept_levels = _quiet()
        try:
            self._logger.addHandler(self._causes)
            if scheduler:
                self._client = _connected(scheduler)
            else:
                self._cluster = LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",
                    worker_dashboard_address=None,
                    silence_logs=False,
                    memory_limit=memory_bytes or "auto",
                    preload=["builder.execute.preload"],
                    local_directory=scratch or None,
                    scheduler_kwargs={"dashboard": False},
                )
                self._client = Client(self._cluster, set_as_default=False)
            self._client.wait_for_workers(1, timeout=WAIT_FOR_WORKER_S)
        except BaseException:
            self.close()
            raise

    # -- the runner's interface ------------------------------------------------------------------------------------

    def places(self) -> list[Place]:
        """The workers that are there now, with their memory and, as abilities, the names of their Dask resources."""
        if self._cluster is not None:
            states = self._cluster.scheduler.workers
            return [self._place(a, s.memory_limit, s.resources) for a, s in list(states.items())]
        now_s = time.monotonic()
        if now_s - self._listed_s > LIST_EVERY_S:
            self._listed_s = now_s
            info = self._client.scheduler_info(n_workers=-1)["workers"]
            self._listed = [self._place(a, w.get("memory_limit"), w.get("resources") or {}) for a, w in info.items()]
        return self._listed

    def _place(self, address: str, memory_bytes: int | None, resources: Any) -> Place:
        """One worker as the policy sees it."""
        return Place(address, memory_bytes or 0, self._abilities | frozenset(resources))

    def start(self, specs: Sequence[AttemptSpec], place: str) -> None:
        """Begin attempts on an idle worker, as one task of Dask's."""
        key = specs[0].id
        pid = self._pid(place)
        for spec in specs:
            kept_record(spec).unlink(missing_ok=True)
        future = self._client.submit(
            run_pack,
            [spec.to_bytes() for spec in specs],
            key=key,
            pure=False,
            retries=0,
            workers=[place],
            allow_other_workers=False,
        )
        self._tasks[key] = Task(future, place, pid, tuple(specs))
        future.add_done_callback(lambda _: self._ended.put(key))

    def is_begun(self, attempt: str) -> bool:
        """Whether an attempt has come to its first line: then its log is there."""
        return any(s.id == attempt and os.path.exists(s.log) for t in self._tasks.values() for s in t.specs)

    def wait(self, timeout_s: float | None) -> list[Ended]:
        """The attempts that ended."""
        ended: list[Ended] = []
        try:
            ended += self._finish(self._ended.get(timeout=timeout_s))
            while True:
                ended += self._finish(self._ended.get_nowait())
        except queue.Empty:
            return ended

    def kill(self, attempt: str, code: str, message: str) -> None:
        """Kill the worker process that runs an attempt; its nanny starts another."""
        task = next((t for t in self._tasks.values() if any(s.id == attempt for s in t.specs)), None)
        if task is None or task.pid is None:
            return
        task.sentence = (code, message)
        if self._cluster is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(task.pid, signal.SIGKILL)
        else:
            self._client.run(os.kill, task.pid, signal.SIGKILL, workers=[task.worker], nanny=True)

    def close(self) -> None:
        """End the embedded workers, or let go of the standing cluster."""
        with contextlib.suppress(Exception):
            for task in self._tasks.values():
                if hasattr(task.future, "release"):
                    task.future.release()
        with contextlib.suppress(Exception):
            self._client.close(timeout=2)
        if self._cluster is not None:
            with contextlib.suppress(Exception):
                self._cluster.close(timeout=5)
        self._logger.removeHandler(self._causes)
        for name, level in self._kept_levels.items():
            logging.getLogger(name).setLevel(level)
        self._dask.__exit__(None, None, None)

    # -- workers ---------------------------------------------------------------------------------------------------

    def _pid(self, worker: str) -> int | None:
        """The process id of a worker."""
        if worker not in self._pids:
            with contextlib.suppress(Exception):
                self._pids.update(self._client.run(os.getpid, workers=[worker]))
        return self._pids.get(worker)

    def _finish(self, key: str) -> list[Ended]:
        """The ends of the attempts of a task: their records, or why the worker could not give them."""
        task = self._tasks.pop(key, None)
        if task is None:
            return []
        if task.future.status == "finished":
            records = [AttemptRecord.from_bytes(raw) for raw in task.future.result()]
            task.future.release()
            self._forget_kept(task)
            return [Ended(record.id, record) for record in records]
        problem = self._problem(key, task)
        task.future.release()
        ended = self._blame(task, problem)
        self._forget_kept(task)
        return ended

    def _problem(self, key: str, task: Task) -> BuilderError:
        """Why a worker could not report."""
        code, message, facts = self._cause(key, task)
        hint = "builder log TARGET shows what it printed before"
        if code == "out-of-memory":
            hint = "let it read less, or give the workers more memory"
        return error(code, message, facts=facts, hint=hint)

    @staticmethod
    def _blame(task: Task, problem: BuilderError) -> list[Ended]:
        """The ends of attempts whose worker died: some were done, one ran and is to blame, the rest never began."""
        ended: list[Ended] = []
        is_found = False
        for spec in task.specs:
            kept = kept_record(spec)
            if kept.exists() and (record := _whole(kept.read_bytes())) is not None:
                ended.append(Ended(spec.id, record))
                continue
            lost = AttemptRecord(spec.id, error=problem.to_json())
            is_innocent = is_found or (len(task.specs) > 1 and not os.path.exists(spec.log))
            ended.append(Ended(spec.id, lost, is_lost=True, is_innocent=is_innocent))
            is_found = True
        return ended

    @staticmethod
    def _forget_kept(task: Task) -> None:
        """Remove the records that were kept for the case of a death."""
        if len(task.specs) > 1:
            for spec in task.specs:
                kept_record(spec).unlink(missing_ok=True)

    def _cause(self, attempt: str, task: Task) -> tuple[str, str, list[tuple[str, str]]]:
        """Code, message and facts of an attempt that did not report."""
        if task.sentence is not None:
            return (*task.sentence, [])
        said = self._said(task.pid)
        if said == "memory":
            return "out-of-memory", "its worker used up the memory it may have", [("worker", task.worker)]
        facts = [("cause", said)] if said else []
        if not said:
            with contextlib.suppress(Exception):
                facts = [("cause", str(task.future.exception(timeout=2)).splitlines()[0][:300])]
        return "worker-died", "its worker process died" + (f": it {said}" if said else ""), facts

    def _said(self, pid: int | None) -> str:
        """What the nanny said of a process; it speaks a moment after the scheduler."""
        if pid is None or self._cluster is None:
            return ""
        until = time.monotonic() + 2.0
        pause = threading.Event()
        while pid not in self._causes.by_pid and time.monotonic() < until:
            pause.wait(0.02)
        return self._causes.by_pid.pop(pid, "")


def _connected(scheduler: str) -> Client:
    """A client of a standing cluster whose workers have this very builder.

    Raises
    ------
    ConfigError
        ``no-cluster``: nobody answers, or a worker has another version.
    """
    hint = "start one with dask scheduler and dask worker --nthreads 1, or leave --scheduler away"
    try:
        client = Client(scheduler, timeout=10, set_as_default=False)
        versions = client.run(_version)
    except Exception as cause:
        raise error(
            "no-cluster",
            f"no Dask cluster answers at {scheduler}",
            place=scheduler,
            facts=[("reason", str(cause)[:300])],
            hint=hint,
        ) from cause
    wrong = {w: v for w, v in versions.items() if v != VERSION}
    if wrong or not versions:
        raise error(
            "no-cluster",
            f"the cluster at {scheduler} cannot run this project",
            place=scheduler,
            facts=[(w, f"builder {v}") for w, v in wrong.items()] or [("workers", "none")],
            hint=f"its workers need builder {VERSION} and the same folders",
        )
    return client


def _whole(raw: bytes) -> AttemptRecord | None:
    """The record in a kept file; None where the worker died while it wrote it."""
    try:
        return AttemptRecord.from_bytes(raw)
    except (ValueError, KeyError, TypeError):
        return None


def _version() -> str:
    return VERSION


def _quiet() -> dict[str, int]:
    """Levels of distributed's loggers before they were made silent: a run's own report says what matters."""
    kept = {}
    for name in (
        "distributed",
        "distributed.nanny",
        "distributed.scheduler",
        "distributed.core",
        "distributed.worker",
        "distributed.client",
        "tornado.application",
    ):
        logger = logging.getLogger(name)
        kept[name] = logger.level
        if name != "distributed.nanny":
            logger.setLevel(logging.CRITICAL + 1)
    nanny = logging.getLogger("distributed.nanny")
    nanny.setLevel(logging.INFO)
    nanny.propagate = False
    return kept
