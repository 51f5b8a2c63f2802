"""A runner on Dask: one attempt in one single-threaded worker process at a time.

Decides what became of an attempt whose worker died, or whose address vanished before it began. Workers are called
directly: Dask starts them, and knows which are there, but never hears of an attempt. Imported only when something has
to run.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder.compile.policy import Place, Policy
from builder.errors import BuilderError, error
from builder.execute.causes import MEMORY, Causes, Listening
from builder.execute.presence import await_silence, end_attempts, presence_file, read_presence, revoke
from builder.execute.runner import Ended, RunnerLost
from builder.execute.spec import AttemptRecord, AttemptSpec
from builder.execute.wire import End, Heard, Wire
from builder.execute.workers import Cluster

ANSWER_WITHIN_S = 5.0
"""How long a lost worker's machine is asked to end what it ran: a nanny that starts another worker answers late."""

UNSENT = "it left the cluster, or cannot be reached from here"

MOST_UNBEGUN = 5
"""How often a step's worker may die before the step's first line, and it counts for nothing."""


@dataclass(slots=True)
class Pack:
    """Attempts under way that travel together, the worker that has them, and which of them have ended.

    ``is_broken``: the connection broke, and their end is being proven; ``is_sentenced``: they are being killed.
    """

    worker: str
    pid: int | None
    specs: tuple[AttemptSpec, ...]
    told: set[str] = field(default_factory=set)
    sentence: tuple[str, str] | None = None
    silent: str = ""
    is_broken: bool = False
    is_sentenced: bool = False


@dataclass(frozen=True, slots=True)
class Proven:
    """A pack whose connection broke and whose attempts are over now, with what became of them."""

    key: str
    problem: Future[BuilderError]


class DaskRunner:
    """Attempts on the workers of a Dask cluster.

    `make` gets the place where nannies' words are kept, and connects. `abilities` are those of every worker, beside its
    own.
    """

    def __init__(self, make: Callable[[Causes], Cluster], abilities: frozenset[str] = frozenset()) -> None:
        self._heard: queue.SimpleQueue[Heard | Proven] = queue.SimpleQueue()
        self._packs: dict[str, Pack] = {}
        self._unbegun: Counter[str] = Counter()
        self._abilities = abilities
        self._causes = Causes()
        self._listening = Listening(self._causes)
        try:
            self.cluster = make(self._causes)
        except BaseException:
            self._listening.close()
            raise
        self._wire = Wire(self.cluster.client, self._heard.put)

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
        """Begin attempts on an idle worker, in one call."""
        self._check_lost()
        key = specs[0].id
        self._packs[key] = Pack(place, self.cluster.pid(place), tuple(specs))
        self._wire.send(key, place, [spec.to_bytes() for spec in specs])

    def is_begun(self, attempt: str) -> bool:
        """Whether an attempt has come to its first line: then its log is there."""
        return any(s.id == attempt and os.path.exists(s.log) for t in self._packs.values() for s in t.specs)

    def wait(self, timeout_s: float | None) -> list[Ended]:
        """The attempts that ended."""
        ended: list[Ended] = []
        with contextlib.suppress(queue.Empty):
            ended += self._end(self._heard.get(timeout=timeout_s))
            while True:
                ended += self._end(self._heard.get_nowait())
        if not ended:
            self._check_lost()
        return ended

    def kill(self, attempt: str, code: str, message: str) -> None:
        """Kill the worker process that runs an attempt; its nanny starts another."""
        pack = next((t for t in self._packs.values() if any(s.id == attempt for s in t.specs)), None)
        if pack is None or pack.is_broken or pack.is_sentenced or (pid := self._pid(pack)) is None:
            return
        pack.sentence = (code, message)
        pack.is_sentenced = True
        _aside(self._kill, pack, pid)

    def everywhere(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """What a function gives on each machine of the cluster that answers."""
        return self.cluster.everywhere(function, *args)

    def close(self) -> None:
        """End what runs, then the embedded workers; a standing cluster is let go."""
        with contextlib.suppress(Exception):
            left = end_attempts([str(_barred(pack)) for pack in self._packs.values()])
            if left:
                self.everywhere(end_attempts, left)
        self._wire.close()
        try:
            self.cluster.close()
        finally:
            self._listening.close()

    def _check_lost(self) -> None:
        if self.cluster.is_lost:
            raise RunnerLost("the scheduler of the cluster is gone")

    # -- ends ------------------------------------------------------------------------------------------------------

    def _end(self, heard: Heard | Proven) -> list[Ended]:
        """The ends of attempts: by their records, or those of a call that were not told before it was over."""
        pack = self._packs[heard.key]
        if isinstance(heard, Proven):
            self._check_lost()
            del self._packs[heard.key]
            return self._blame(pack, heard.problem.result())
        ended = []
        for raw in heard.records:
            record = AttemptRecord.from_bytes(raw)
            pack.told.add(record.id)
            # A record that tells of a death tells of a helper's: the step's own worker could not have told.
            is_lost = record.error is not None and record.error["code"] == "worker-died"
            if record.error is not None and not any(spec.is_spread for spec in pack.specs):
                self._kill_helpers(pack)  # of a step that was spread they are idle: it waits for its pieces
            ended.append(Ended(record.id, record, is_lost))
        return ended if heard.end is None else ended + self._finish(heard.key, pack, heard.end)

    def _finish(self, key: str, pack: Pack, end: End) -> list[Ended]:
        """The ends of the attempts of a call that its worker did not tell; those of a broken one come when proven."""
        if end is not End.OVER:
            self._check_lost()  # it takes its workers with it, and none of them is to blame
            self._pid(pack)  # known no more when it is forgotten
            self.cluster.forget(pack.worker)
        if end is End.BROKEN:
            pack.is_broken = True
            _aside(self._prove, key, pack)
            return []
        del self._packs[key]
        said_nothing = error("worker-died", "its worker said nothing of it")
        return self._blame(pack, said_nothing if end is End.OVER else self._problem(pack, UNSENT))

    def _prove(self, key: str, pack: Pack) -> None:
        """See the end of attempts whose connection broke, in a thread of its own: a lost machine takes its time."""
        problem: Future[BuilderError] = Future()
        try:
            self._kill_helpers(pack)
            found = self._problem(pack, "")
            self._see_end(pack)
            problem.set_result(found)
        except Exception as cause:
            problem.set_exception(cause)
        self._heard.put(Proven(key, problem))

    def _kill(self, pack: Pack, pid: int) -> None:
        """Carry out a sentence, in a thread of its own: a machine that does not answer is waited for."""
        try:
            pack.silent = self.cluster.kill(pack.worker, pid)
            if pack.silent:
                self._wire.drop(pack.worker)
            self._kill_helpers(pack)
        finally:
            pack.is_sentenced = False

    def _pid(self, pack: Pack) -> int | None:
        """The process that runs a pack; a worker that has just joined is known here before its nanny knows its address,
        so that what an attempt wrote of itself may have to tell.
        """
        if pack.pid is None:
            found = read_presence(presence_file(pack.specs[0]))
            pack.pid = self.cluster.pid(pack.worker) if found is None else found.process.pid
        return pack.pid

    def _kill_helpers(self, pack: Pack) -> None:
        """End the workers that compute parts of a collection for a step that is gone: a part cannot be called back."""
        for helper in (h for spec in pack.specs for h in spec.helpers):
            pid = self.cluster.pid(helper)
            if pid is not None:
                self.cluster.kill(helper, pid)

    def _see_end(self, pack: Pack) -> None:
        """Return when attempts whose worker was lost are over, with all that they started, or can never begin: a broken
        connection is no death, and what still runs there would hold its lane.
        """
        path = _barred(pack)
        until_s = time.monotonic() + ANSWER_WITHIN_S
        while end_attempts([str(path)]):
            if any(not left for left in self.everywhere(end_attempts, [str(path)])):
                return
            if time.monotonic() > until_s:  # its machine does not answer: there is nothing left but to see it silent
                await_silence(path)
                return
            time.sleep(0.2)

    def _problem(self, pack: Pack, reason: str) -> BuilderError:
        """Why a worker could not report."""
        facts = [("worker", pack.silent)] if pack.silent else []
        if pack.sentence is not None:
            code, message = pack.sentence
        else:
            code, message, more = self._cause(pack, reason)
            facts += more
        hint = "builder log TARGET shows what it printed before"
        if code == "out-of-memory":
            hint = "let it read less, or give the workers more memory"
        return error(code, message, facts=facts, hint=hint)

    def _cause(self, pack: Pack, reason: str) -> tuple[str, str, list[tuple[str, str]]]:
        """Code, message and facts of an attempt that did not report."""
        said = reason or self.cluster.said(pack.worker, self._pid(pack))
        if said == MEMORY:
            return "out-of-memory", "its worker used up the memory it may have", [("worker", pack.worker)]
        facts = [("cause", said or "the connection to it broke")]
        how = f": {said}" if reason else f": it {said}" if said else ""
        return "worker-died", "its worker process died" + how, facts

    def _blame(self, pack: Pack, problem: BuilderError) -> list[Ended]:
        """The ends of attempts whose worker died: the last that began is to blame.

        Those before it had ended, though the worker could not tell it any more, and those after it never began.
        """
        left = [spec for spec in pack.specs if spec.id not in pack.told]
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


def _aside(function: Callable[..., None], *args: Any) -> None:
    """Call a function in a thread of its own: the driver goes on meanwhile, and does not wait for it in the end."""
    threading.Thread(target=function, args=args, daemon=True).start()


def _barred(pack: Pack) -> Path:
    """The presence file of a pack that can no longer begin, if it had not."""
    first = pack.specs[0]
    if not os.path.exists(first.log):
        revoke(first)
    return presence_file(first)
