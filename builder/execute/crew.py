"""The workers of a run: the runner that has them, and the places that the policy knows.

Decides when a runner is made, and when there is nobody for a job. Workers may come and go at any moment; what ran on
one that went is told by the runner, as the end of an attempt. Fails nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from math import inf

from builder.compile.policy import Job, Policy
from builder.errors import BuilderError, error
from builder.execute.runner import Runner

WITHOUT_WORKER_S = 30.0
"""How long a job waits for a worker to come back, at the least: a nanny needs seconds to start another."""
MOST_TURN_S = 5.0
"""What a stretch in which nobody looked counts at the most: a pause, a stall, a machine that slept."""
MOST_LOSSES = 3
"""How often in a row a runner may be lost before anything is finished."""


class Crew:
    """The runner and its places, from the first step that has to run.

    `wait_s` is how long workers that went are waited for, in seconds of watching: what passes while nobody looks says
    nothing of them.
    """

    def __init__(
        self, policy: Policy, make_runner: Callable[[], Runner], clock: Callable[[], float], wait_s: float = 0.0
    ) -> None:
        self.policy = policy
        self.make_runner = make_runner
        self.clock = clock
        self.wait_s = max(wait_s, WITHOUT_WORKER_S)
        self.runner: Runner | None = None
        self.losses = 0
        self._looked_s = clock()
        self._watched_s = 0.0
        self._empty_since_s: float | None = None
        self._gone_since_s: dict[frozenset[str], float | None] = {}  # of all abilities ever met; None: they are there
        self._due_s = inf

    def has_changed(self) -> bool:
        """Whether workers came or went since the last call, or one is overdue; the policy knows them from now on."""
        if self.runner is None:
            return False
        now = {p.name: p for p in self.runner.places()}
        self._watch(bool(now) or not self.policy.ready)
        is_due = self._watched_s > self._due_s
        if is_due:
            self._due_s = inf
        before = self.policy.places.keys()
        if now.keys() == before:
            return is_due
        for name in before - now.keys():
            self.policy.leave(name)
        for name in [n for n in now if n not in before]:
            self.policy.join(now[name])
        here = {p.abilities for p in now.values()}
        for abilities in here | self._gone_since_s.keys():
            since_s = self._gone_since_s.get(abilities)
            self._gone_since_s[abilities] = (
                None if abilities in here else self._watched_s if since_s is None else since_s
            )
        return True

    def _watch(self, is_well: bool) -> None:
        """Let the time of watching go on, and note since when there has been no worker for what is ready."""
        now_s = self.clock()
        self._watched_s += min(now_s - self._looked_s, MOST_TURN_S)
        self._looked_s = now_s
        if is_well:
            self._empty_since_s = None
        elif self._empty_since_s is None:
            self._empty_since_s = self._watched_s

    @property
    def is_deserted(self) -> bool:
        """Whether something is ready and there has been no worker at all for long."""
        return self._empty_since_s is not None and self._watched_s > self._empty_since_s + self.wait_s

    def refusal(self, job: Job) -> BuilderError | None:
        """Why no worker can run a job; None where one can, none is there yet, or one that could was there just now."""
        if not self.policy.places or self.policy.can_ever_run(job):
            return None
        gone_s = [s for a, s in self._gone_since_s.items() if job.needs <= a and s is not None]
        due_s = max(gone_s, default=-inf) + self.wait_s
        if due_s >= self._watched_s:
            self._due_s = min(self._due_s, due_s)
            return None
        have = sorted({a for p in self.policy.places.values() for a in p.abilities})
        return error(
            "no-worker",
            f"no worker has what '{job.name}' needs",
            facts=[("needs", ", ".join(sorted(job.needs))), ("workers have", ", ".join(have) or "nothing named")],
            hint="start a worker with this ability, name it under [cluster] abilities, or mend needs=",
        )

    def lose(self, reason: str) -> None:
        """Let go of a runner that was lost, and of all its places.

        Raises
        ------
        BuilderError
            ``no-cluster``: one runner after the other was lost and nothing was finished in between.
        """
        with suppress(Exception):  # its scheduler is gone: nobody may be left to be given back to
            self.close()
        self.losses += 1
        if self.losses > MOST_LOSSES:
            message = f"the cluster was lost {self.losses} times, and nothing was finished in between"
            raise error("no-cluster", message, facts=[("reason", reason)], hint="look at the scheduler's log")
        for name in list(self.policy.places):
            self.policy.leave(name)
        self._empty_since_s = None

    def close(self) -> None:
        """Give back all workers."""
        runner, self.runner = self.runner, None
        if runner is not None:
            runner.close()


def absent(job: Job) -> BuilderError:
    """The error of a job for which no worker came."""
    hint = "look at the cluster: its workers are gone or cannot start"
    return error("no-worker", f"no worker came to run '{job.name}'", hint=hint)


def gone(job: Job, cause: BuilderError) -> BuilderError:
    """The error of a job whose cluster was lost and could not be had again."""
    return error(
        "no-worker",
        f"the cluster went away before '{job.name}' could run, and did not come back",
        facts=[("reason", cause.message), *cause.facts],
        hint="look at the cluster, then builder rebuild: what was built stays, the rest goes on from here",
    )
