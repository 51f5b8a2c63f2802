"""Why worker processes ended: what their nannies say of it, by process id; nobody else knows the cause.

Decides which lines of a nanny's log name a cause. Never decides what follows from it.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterable

import distributed  # noqa: F401 - sets the levels of its loggers when it is imported, so it must be before we do

MEMORY = "memory"
SAID_WITHIN_S = 2.0
FETCHED_WITHIN_S = 15.0
"""A nanny that starts another worker answers late."""
_LOGGERS = (
    "distributed",
    "distributed.nanny",
    "distributed.scheduler",
    "distributed.core",
    "distributed.worker",
    "distributed.client",
    "distributed.deploy",
    "distributed.comm",
    "asyncio",  # a nanny whose worker died while it started leaves a task that nobody asks for its outcome
    "tornado.application",
)


class Causes(logging.Handler):
    """Keeps what nannies say of workers that ended, by pid."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.by_pid: dict[int, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message that names a cause."""
        self.hear(record.getMessage())

    def hear(self, text: str) -> None:
        """Keep a line that names a cause."""
        _hear(text, self.by_pid)

    def said(self, pid: int | None, fetch: Callable[[], Iterable[str] | None] | None = None) -> str:
        """What was said of a process, ``""`` for nothing; a nanny speaks a moment after the scheduler.

        `fetch` brings the lines of a log that lies elsewhere; None where nobody will ever bring them. They are kept for
        this question alone: on another machine the same number is another process.
        """
        if pid is None:
            return ""
        until_s = time.monotonic() + (SAID_WITHIN_S if fetch is None else FETCHED_WITHIN_S)
        pause = threading.Event()
        by_pid = self.by_pid if fetch is None else {}
        while True:
            lines = fetch() if fetch is not None else ()
            for line in lines or ():
                _hear(line, by_pid)
            if pid in by_pid or lines is None or time.monotonic() >= until_s:
                return by_pid.pop(pid, "")
            pause.wait(0.02 if fetch is None else 0.2)


def _hear(text: str, by_pid: dict[int, str]) -> None:
    """Keep a line that names a cause, by the process that it speaks of."""
    match = re.search(r"Worker process (\d+) (exited.*|was killed.*)", text)
    if match:
        # A worker that used up its memory is killed by its nanny: the first word is the cause.
        by_pid.setdefault(int(match[1]), match[2].strip())
    match = re.search(r"\(pid=(\d+)\) exceeded", text)
    if match:
        by_pid[int(match[1])] = MEMORY


class Listening:
    """Distributed's loggers made silent for the time of a run, but for the nannies, which `causes` hears.

    A run's own report says what matters, and addresses and file names of certificates stay out of logs.
    """

    def __init__(self, causes: Causes) -> None:
        self._causes = causes
        self._kept: dict[str, tuple[int, bool]] = {}
        nanny = logging.getLogger("distributed.nanny")
        for name in _LOGGERS:
            logger = logging.getLogger(name)
            self._kept[name] = (logger.level, logger.propagate)
            if logger is not nanny:
                logger.setLevel(logging.CRITICAL + 1)
        nanny.setLevel(logging.INFO)
        nanny.propagate = False
        nanny.addHandler(causes)

    def close(self) -> None:
        """Give the loggers back as they were."""
        logging.getLogger("distributed.nanny").removeHandler(self._causes)
        for name, (level, propagate) in self._kept.items():
            logging.getLogger(name).setLevel(level)
            logging.getLogger(name).propagate = propagate
