"""A runner on Dask: one attempt in one single-threaded worker process at a time.

Decides what became of an attempt whose worker died, or whose address vanished before it began. Dask never retries,
steals or queues here: it is told where a task runs and says when it ended. Imported only when something has to run.
"""

from __future__ import annotations

import contextlib
import os
import queue
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from builder.compile.policy import Place, Policy
from builder.errors import BuilderError, error
from builder.execute.causes import MEMORY, Causes, Listening
from builder.execute.presence import await_silence, end_attempt, presence_file, read_presence
from builder.execute.runner import Ended, RunnerLost
from builder.execute.spec import AttemptRecord, AttemptSpec
from builder.execute.telling import run_and_tell
from builder.execute.workers import Cluster

VANISHED_S = 5.0
"""An attempt that was sent to an address nobody has any more, and never began, is given up after this time."""

ANSWER_WITHIN_S = 5.0
"""How long a lost worker's machine is asked to end what it ran: a nanny that starts another worker answers late."""

MOST_UNBEGUN = 5
"""How often a step's worker may die before the step's first line, and it counts for nothing."""


@dataclass(slots=True)
class Task:
    """Attempts under way that travel together: their future and the worker that has them."""

    future: Any
    worker: str
    pid: int | None
    specs: tuple[AttemptSpec, ...]
    sentence: tuple[str, str] | None = None
    silent: str = ""
    vanished_s: float | None = None


class DaskRunner:
    """Attempts on the workers of a Dask cluster.

    `make` gets the place where nannies' words are kept, and connects. `abilities` are those of every worker, beside its
    own.
    """

    def __init__(self, make: Callable[[Causes], Cluster], abilities: frozenset[str] = frozenset()) -> None:
        self._heard: queue.SimpleQueue[str | bytes] = queue.SimpleQueue()
        self._told: set[str] = set()
        self._topic = f"builder-{uuid.uuid4().hex}"
        self._tasks: dict[str, Task] = {}
        self._unbegun: Counter[str] = Counter()
        self._abilities = abilities
        self._causes = Causes()
        self._listening = Listening(self._causes)
        try:
            self.cluster = make(self._causes)
        except BaseException:
            self._listening.close()
            raise
        self.cluster.client.subscribe_topic(self._topic, self._hear)

    def _hear(self, event: tuple[float, Sequence[bytes]]) -> None:
        """Take records that a worker sends, in the client's own thread."""
        for raw in event[1]:
            self._heard.put(raw)

    # -- the runner's interface ------------------------------------------------------------------------------------

    def places(self) -> list[Place]:
        """The workers that are there now, with their memory and, as abilities, the names of their Dask resources."""
        self._check_lost()
        found = self.cluster.workers().values()
        return [Place(w.address, w.memory_bytes, self._abilities | w.abilities) for w in found]

    def follow(self, policy: Policy) -> None:
        """Let a cluster that can grow and shrink follow the ready work."""
        self.cluster.follow(policy)

    def start(self, specs: Sequence[AttemptSpec], place: str) -> None:
        """Begin attempts on an idle worker, as one task of Dask's."""
        self._check_lost()
        key = specs[0].id
        future = self.cluster.client.submit(
            run_and_tell,
            self._topic,
            [spec.to_bytes() for spec in specs],
            key=key,
            pure=False,
            retries=0,
            workers=[place],
            allow_other_workers=False,
        )
        self._tasks[key] = Task(future, place, self.cluster.pid(place), tuple(specs))
        future.add_done_callback(lambda _: self._heard.put(key))

    def is_begun(self, attempt: str) -> bool:
        """Whether an attempt has come to its first line: then its log is there."""
        return any(s.id == attempt and os.path.exists(s.log) for t in self._tasks.values() for s in t.specs)

    def wait(self, timeout_s: float | None) -> list[Ended]:
        """The attempts that ended."""
        ended: list[Ended] = []
        with contextlib.suppress(queue.Empty):
            ended += self._end(self._heard.get(timeout=timeout_s))
            while True:
                ended += self._end(self._heard.get_nowait())
        if not ended:
            self._check_lost()
            ended = self._vanished()
        return ended

    def kill(self, attempt: str, code: str, message: str) -> None:
        """Kill the worker process that runs an attempt; its nanny starts another."""
        task = next((t for t in self._tasks.values() if any(s.id == attempt for s in t.specs)), None)
        if task is None or (pid := self._pid(task)) is None:
            return
        task.sentence = (code, message)
        task.silent = self.cluster.kill(task.worker, pid)
        self._kill_helpers(task)

    def everywhere(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """What a function gives on each machine of the cluster that answers."""
        return self.cluster.everywhere(function, *args)

    def close(self) -> None:
        """End what runs, then the embedded workers; a standing cluster is let go."""
        for task in self._tasks.values():
            with contextlib.suppress(Exception):
                is_under_way = task.future.status == "pending"
                task.future.release()
                path = str(presence_file(task.specs[0]))
                if is_under_way and not end_attempt(path):
                    self.everywhere(end_attempt, path)
        try:
            self.cluster.close()
        finally:
            self._listening.close()

    # -- losses ----------------------------------------------------------------------------------------------------

    def _check_lost(self) -> None:
        if self.cluster.is_lost:
            raise RunnerLost("the scheduler of the cluster is gone")

    def _vanished(self) -> list[Ended]:
        """The ends of attempts that were sent to a worker which was gone before they began: nobody's fault.

        What had begun there is told by the scheduler, which knows that it took the worker down.
        """
        ended: list[Ended] = []
        here = self.cluster.workers() if self._tasks else {}
        now_s = time.monotonic()
        for key, task in list(self._tasks.items()):
            if task.worker in here or task.future.status != "pending":
                task.vanished_s = None
                continue
            task.vanished_s = task.vanished_s or now_s
            if now_s - task.vanished_s > VANISHED_S:
                del self._tasks[key]
                task.future.cancel()
                self._see_end(task)
                ended += self._blame(task, self._problem(task, "its worker left the cluster"))
        return ended

    # -- ends ------------------------------------------------------------------------------------------------------

    def _end(self, heard: str | bytes) -> list[Ended]:
        """The ends of attempts: one by its record, or those of a task that were not told before it was over."""
        if isinstance(heard, str):
            return self._finish(heard)
        record = AttemptRecord.from_bytes(heard)
        self._told.add(record.id)
        # A record that tells of a death tells of a helper's: the step's own worker could not have told.
        is_lost = record.error is not None and record.error["code"] == "worker-died"
        return [Ended(record.id, record, is_lost)]

    def _finish(self, key: str) -> list[Ended]:
        """The ends of the attempts of a task whose worker did not tell them."""
        task = self._tasks.get(key)
        if task is None:
            return []
        if task.future.status in ("cancelled", "lost"):
            raise RunnerLost("the connection to the scheduler broke")
        del self._tasks[key]
        if task.future.status == "finished":
            task.future.release()
            return self._blame(task, error("worker-died", "its worker said nothing of it"))
        problem = self._problem(task, "")
        if task.sentence is None:
            self._kill_helpers(task)
        self._see_end(task)
        ended = self._blame(task, problem)
        task.future.release()
        return ended

    def _pid(self, task: Task) -> int | None:
        """The process that runs a task; a worker that has just joined is known here before its nanny knows its address,
        so that what an attempt wrote of itself may have to tell.
        """
        if task.pid is None:
            found = read_presence(presence_file(task.specs[0]))
            task.pid = self.cluster.pid(task.worker) if found is None else found.process.pid
        return task.pid

    def _kill_helpers(self, task: Task) -> None:
        """End the workers that compute parts of a collection for a step that is gone: a part cannot be called back."""
        for helper in (h for spec in task.specs for h in spec.helpers):
            pid = self.cluster.pid(helper)
            if pid is not None:
                self.cluster.kill(helper, pid)

    def _see_end(self, task: Task) -> None:
        """Return when attempts whose worker was lost are over, with all that they started: a lost connection or a
        worker that holds the GIL for too long is told as a death, and what it runs would still hold its lane.
        """
        path = presence_file(task.specs[0])
        until_s = time.monotonic() + ANSWER_WITHIN_S
        while not end_attempt(str(path)):
            if any(self.everywhere(end_attempt, str(path))):
                return
            if time.monotonic() > until_s:  # its machine does not answer: there is nothing left but to see it silent
                await_silence(path)
                return
            time.sleep(0.2)

    def _problem(self, task: Task, reason: str) -> BuilderError:
        """Why a worker could not report."""
        facts = [("worker", task.silent)] if task.silent else []
        if task.sentence is not None:
            code, message = task.sentence
        else:
            code, message, more = self._cause(task, reason)
            facts += more
        hint = "builder log TARGET shows what it printed before"
        if code == "out-of-memory":
            hint = "let it read less, or give the workers more memory"
        return error(code, message, facts=facts, hint=hint)

    def _cause(self, task: Task, reason: str) -> tuple[str, str, list[tuple[str, str]]]:
        """Code, message and facts of an attempt that did not report."""
        said = reason or self.cluster.said(task.worker, self._pid(task))
        if said == MEMORY:
            return "out-of-memory", "its worker used up the memory it may have", [("worker", task.worker)]
        facts = [("cause", said)] if said else []
        if not said:
            with contextlib.suppress(Exception):
                facts = [("cause", str(task.future.exception(timeout=2)).splitlines()[0][:300])]
        how = f": {said}" if reason else f": it {said}" if said else ""
        return "worker-died", "its worker process died" + how, facts

    def _blame(self, task: Task, problem: BuilderError) -> list[Ended]:
        """The ends of attempts whose worker died: the last that began is to blame.

        Those before it had ended, though the worker could not tell it any more, and those after it never began.
        """
        left = [spec for spec in task.specs if spec.id not in self._told]
        self._told.difference_update(spec.id for spec in task.specs)
        if not left:
            return []
        begun = [spec for spec in left if os.path.exists(spec.log)]
        guilty = begun[-1] if begun else None if self._never_began(left[0]) else left[0]
        lost = problem.to_json()
        return [Ended(s.id, AttemptRecord(s.id, error=lost), True, is_innocent=s is not guilty) for s in left]

    def _never_began(self, spec: AttemptSpec) -> bool:
        """Whether it counts for nothing that an attempt never came to its first line; after some deaths it does."""
        self._unbegun[spec.step] += 1
        return self._unbegun[spec.step] <= MOST_UNBEGUN
