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
from dataclasses import dataclass
from typing import Any

import dask
from distributed import Client, LocalCluster

from builder.errors import error
from builder.execute.attempt import run_attempt
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


@dataclass(slots=True)
class Task:
    """An attempt under way: its future and the worker that has it."""

    future: Any
    worker: str
    pid: int | None
    sentence: tuple[str, str] | None = None


class Causes(logging.Handler):
    """Keeps what the nannies say of workers that ended, by pid; the only place that knows the cause."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.by_pid: dict[int, str] = {}
        self.memory: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message that names a cause."""
        text = record.getMessage()
        match = re.search(r"Worker process (\d+) (exited.*|was killed.*)", text)
        if match:
            self.by_pid[int(match[1])] = match[2].strip()
        match = re.search(r"\(pid=(\d+)\) exceeded", text)
        if match:
            self.by_pid[int(match[1])] = "memory"


class DaskRunner:
    """Attempts on an embedded cluster of processes, or on a standing one by its address."""

    def __init__(self, workers: int, scheduler: str = "", scratch: str = "") -> None:
        self._dask = dask.config.set(SETTINGS)
        self._dask.__enter__()
        self._logger = logging.getLogger("distributed.nanny")
        self._causes = Causes()
        self._ended: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._tasks: dict[str, Task] = {}
        self._pids: dict[str, int] = {}
        self._cluster: Any = None
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
                    memory_limit="auto",
                    preload=["builder.execute.preload"],
                    local_directory=scratch or None,
                    scheduler_kwargs={"dashboard": False},
                )
                self._client = Client(self._cluster, set_as_default=False)
            self._client.wait_for_workers(1, timeout=WAIT_FOR_WORKER_S)
            self.slots = workers if not scheduler else max(1, len(self._workers()))
        except BaseException:
            self.close()
            raise

    # -- the runner's interface ------------------------------------------------------------------------------------

    def start(self, spec: AttemptSpec) -> None:
        """Begin an attempt on an idle worker; where none comes in time, it ends with ``no-worker``."""
        worker = self._idle_worker()
        if worker is None:
            problem = error(
                "no-worker",
                f"no worker came to run '{spec.step}'",
                target=spec.step,
                hint="look at the cluster: its workers are gone or cannot start",
            )
            self._tasks[spec.id] = Task(AttemptRecord(spec.id, error=problem.to_json()), "", None)
            self._ended.put(spec.id)
            return
        future = self._client.submit(
            run_attempt,
            spec.to_bytes(),
            key=spec.id,
            pure=False,
            retries=0,
            workers=[worker],
            allow_other_workers=False,
        )
        self._tasks[spec.id] = Task(future, worker, self._pid(worker))
        future.add_done_callback(lambda _: self._ended.put(spec.id))

    def wait(self, timeout_s: float | None) -> list[Ended]:
        """The attempts that ended."""
        ended = []
        try:
            ended.append(self._finish(self._ended.get(timeout=timeout_s)))
            while True:
                ended.append(self._finish(self._ended.get_nowait()))
        except queue.Empty:
            return [e for e in ended if e is not None]

    def kill(self, attempt: str, code: str, message: str) -> None:
        """Kill the worker process that runs an attempt; its nanny starts another."""
        task = self._tasks.get(attempt)
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

    def _workers(self) -> list[str]:
        """Addresses of the workers that are there now."""
        if self._cluster is not None:
            return list(self._cluster.scheduler.workers)
        return list(self._client.scheduler_info(n_workers=-1)["workers"])

    def _idle_worker(self) -> str | None:
        """A worker without an attempt; waits for one that is being started again."""
        until = time.monotonic() + WAIT_FOR_WORKER_S
        pause = threading.Event()
        while True:
            busy = {t.worker for t in self._tasks.values()}
            idle = [w for w in self._workers() if w not in busy]
            if idle or time.monotonic() > until:
                return idle[0] if idle else None
            pause.wait(0.02)

    def _pid(self, worker: str) -> int | None:
        """The process id of a worker."""
        if worker not in self._pids:
            with contextlib.suppress(Exception):
                self._pids.update(self._client.run(os.getpid, workers=[worker]))
        return self._pids.get(worker)

    def _finish(self, attempt: str) -> Ended | None:
        """The end of an attempt: its record, or why its worker could not give one."""
        task = self._tasks.pop(attempt, None)
        if task is None:
            return None
        if isinstance(task.future, AttemptRecord):
            return Ended(attempt, task.future)
        if task.future.status == "finished":
            raw = task.future.result()
            task.future.release()
            return Ended(attempt, AttemptRecord.from_bytes(raw))
        code, message, facts = self._cause(attempt, task)
        hint = "builder log TARGET shows what it printed before"
        if code == "out-of-memory":
            hint = "let it read less, or give the workers more memory"
        problem = error(code, message, facts=facts, hint=hint)
        task.future.release()
        return Ended(attempt, AttemptRecord(attempt, error=problem.to_json()), is_lost=True)

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
        return self._causes.by_pid.get(pid, "")


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
