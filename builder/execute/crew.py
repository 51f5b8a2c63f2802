"""The workers of a run: the runner that has them, and the places that the policy knows.

Decides when a runner is made, and when there is nobody for a job. Workers may come and go at any moment; what ran on
one that went is told by the runner, as the end of an attempt. Fails nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from builder.compile.policy import Job, Policy
from builder.errors import BuilderError, error
from builder.execute.runner import Runner

WITHOUT_WORKER_S = 30.0
MOST_LOSSES = 3
"""How often in a row a runner may be lost before anything is finished."""


class Crew:
    """The runner and its places, from the first step that has to run."""

    def __init__(self, policy: Policy, make_runner: Callable[[], Runner], clock: Callable[[], float]) -> None:
        self.policy = policy
        self.make_runner = make_runner
        self.clock = clock
        self.runner: Runner | None = None
        self.losses = 0
        self._seen_s = clock()

    def has_changed(self) -> bool:
        """Whether workers came or went since the last call; the policy knows of it from now on."""
        if self.runner is None:
            return False
        now = {p.name: p for p in self.runner.places()}
        if now or not self.policy.ready:
            self._seen_s = self.clock()
        before = self.policy.places.keys()
        if now.keys() == before:
            return False
        for name in before - now.keys():
            self.policy.leave(name)
        for name in [n for n in now if n not in before]:
            self.policy.join(now[name])
        return True

    @property
    def is_deserted(self) -> bool:
        """Whether something is ready and there has been no worker at all for long."""
        return self.runner is not None and self.clock() > self._seen_s + WITHOUT_WORKER_S

    def refusal(self, job: Job) -> BuilderError | None:
        """Why no worker that is there can ever run a job; None where one can, or none is there yet."""
        if not self.policy.places or self.policy.can_ever_run(job):
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
