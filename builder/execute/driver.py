"""The driver: brings a plan to its end, one loop, one owner of all state.

Decides when a node is ready, what it needs (nothing, a restore, a run), and what becomes of an attempt. The policy
says what starts where, a `Runner` executes, `Outcomes` commits. Work that does not depend on a failure goes on.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from builder.compile.policy import Place, Policy, Start
from builder.compile.predict import Experience
from builder.compile.schedule import predictions
from builder.compile.urgency import with_queues
from builder.errors import error, from_json
from builder.execute.health import Pulse, disk_finding, slow_steps
from builder.execute.nodes import Kind, Node, make_nodes, schema_node
from builder.execute.outcomes import Outcomes
from builder.execute.runner import Ended, Runner
from builder.execute.spec import AttemptRecord, AttemptSpec
from builder.execute.work import Workplace, intake_attempt, pin_attempt, recipe_attempt
from builder.plan.keys import key_of, step_fields
from builder.plan.plan import Plan, digest_of_read, source_fields
from builder.plan.verdict import Action, State, judge
from builder.store import disk
from builder.store.commits import Committer
from builder.store.manifest import Manifest
from builder.store.recall import Recall

MOST_WAIT_S = 0.5
HEALTH_EVERY_S = 10.0
WITHOUT_WORKER_S = 30.0
LOST_RETRIES = 1
"""A step whose worker died gets one more attempt whatever ``retries=`` says: the second death is its own."""


class Observer(Protocol):
    """Hears of what happens in a run; never changes it."""

    def event(self, kind: str, name: str, **facts: Any) -> None:
        """Something happened: total, queued, started, retried, target, source, ended, health, paused."""


@dataclass(slots=True)
class Running:
    """An attempt under way; those that travel together share ``start``."""

    node: Node
    spec: AttemptSpec
    start: Start
    started_s: float
    timeout_s: float | None
    is_begun: bool = False


class Driver:
    """Executes one plan."""

    def __init__(
        self,
        plan: Plan,
        recall: Recall,
        committer: Committer,
        run: int,
        workplace: Workplace,
        make_runner: Callable[[], Runner],
        *,
        lanes: Mapping[str, int],
        publish: Callable[[str], None],
        observer: Observer,
        is_fail_fast: bool = False,
        first: frozenset[str] = frozenset(),
        is_paused: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.plan = plan
        self.graph = plan.situation.graph
        self.recall = recall
        self.run_number = run
        self.epoch = committer.epoch
        self.workplace = workplace
        self.make_runner = make_runner
        self.runner: Runner | None = None
        self.outcomes = Outcomes(plan, recall, committer, run, workplace, publish, observer.event)
        self.lanes = lanes
        self.policy = Policy(lanes)
        self.observer = observer
        self.is_fail_fast = is_fail_fast
        self.is_paused = is_paused
        self.clock = clock
        self.nodes = make_nodes(plan, predictions(plan, recall.ledger.history_s()), first)
        self.experience = Experience()
        self.arrived: deque[Node] = deque()
        self.running: dict[str, Running] = {}
        self.left: dict[Start, int] = {}
        self.is_stopping = False
        self.is_aborted = False
        self._said_paused = False
        self._is_ranked = False
        self._next_health_s = 0.0
        self._worker_seen_s = clock()

    # -- the loop --------------------------------------------------------------------------------------------------

    def execute(self) -> None:
        """Bring every step of the plan to its end: built, restored, fresh, failed or blocked."""
        steps = len(self.plan.steps)
        self.observer.event("total", "", steps=steps, intakes=len(self.nodes) - steps)
        try:
            self.arrived.extend(n for n in self.nodes.values() if n.waits == 0)
            self._settle()
            while (self.policy.ready or self.running) and not self.is_aborted:
                self._dispatch()
                if self.is_stopping and not self.running:
                    break
                for ended in self._wait():
                    self._end(ended)
                self._settle()
            self.outcomes.forget_failures()
        finally:
            if self.runner is not None:
                self.runner.close()

    def stop(self) -> None:
        """Start nothing more; what runs may end and commit. A second call gives it up."""
        self.is_aborted = self.is_stopping
        self.is_stopping = True

    @property
    def is_interrupted(self) -> bool:
        """Whether work is left because of `stop`."""
        return self.is_stopping and not all(n.is_done for n in self.nodes.values())

    def _settle(self) -> None:
        """Decide for every node that waits for nothing any more; a queue, so that long chains need no deep stack."""
        while self.arrived:
            node = self.arrived.popleft()
            if node.kind is Kind.STEP:
                self._arrive_step(node)
            elif node.kind is Kind.SOURCE:
                self._arrive_source(node)
            else:
                self._queue(node)

    # -- a node is ready -------------------------------------------------------------------------------------------

    def _arrive_source(self, node: Node) -> None:
        """Decide what a source needs: a failure to be told, a restore, a note, an intake."""
        situation = self.outcomes.situation
        sensed = situation.sources[node.name]
        problem = sensed.problem or self.outcomes.failed.get(schema_node(sensed.base))
        if problem is not None:
            return self._fail(node, problem)
        verdict = self.plan.sources[node.name]
        node.fields = source_fields(node.name, situation)
        node.key = key_of(node.fields)
        if verdict.action is Action.RESTORE and verdict.outputs and self.outcomes.has_parts(verdict.outputs):
            self.outcomes.restore_source(node, *verdict.outputs[node.name])
            return self._finish(node)
        if not situation.is_table(node.name):
            self.outcomes.note_files(node)
            return self._finish(node)
        return self._queue(node)

    def _arrive_step(self, node: Node) -> None:
        """Decide what a step needs now that every digest it reads is known."""
        step = node.step
        assert step is not None
        needs = (self.graph.maker.get(n, n) for n in step.reads)
        cause = next((self.outcomes.failed[n] for n in needs if n in self.outcomes.failed), None)
        if cause is not None:
            self.outcomes.block(node, cause)
            return self._finish(node)
        node.fields = step_fields(
            step, self.outcomes.situation, partial(digest_of_read, self.outcomes.versions, self.recall)
        )
        verdict = node.verdict = judge(
            step.name,
            step.targets,
            node.fields,
            self.recall,
            is_forced=self.plan.is_forced,
            is_pure=self.graph.recipes[step.recipe].pure,
        )
        node.key = verdict.key
        if verdict.state is State.FRESH and verdict.outputs is not None:
            self.outcomes.fresh(node, verdict.outputs)
            return self._finish(node)
        if verdict.action is Action.RESTORE and verdict.outputs and self.outcomes.has_parts(verdict.outputs):
            reasons = verdict.reasons or self.plan.verdicts[node.name].reasons
            self.outcomes.restore_step(node, verdict.outputs, reasons)
            return self._finish(node)
        return self._queue(node)

    def _queue(self, node: Node) -> None:
        """Put a node among those that may run, with what this run has shown of its like where nothing else is known."""
        if node.is_guess and node.step is not None and node.timeout_s is None:
            seen_s = self.experience.of(node.step.recipe)
            if seen_s is not None:
                node.job = replace(node.job, predicted_s=seen_s)
        self.observer.event("queued", node.id)
        self._offer(node)

    # -- running ---------------------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Start what the policy chooses, as long as it chooses."""
        if self.is_stopping or self._is_held_back():
            return
        if self.policy.ready and self.runner is None:
            self.runner = self.make_runner()
        self._meet_places()
        self._settle()
        while not self.is_stopping and (start := self.policy.choose()) is not None:
            self._start(start)

    def _is_held_back(self) -> bool:
        """Whether a pause keeps steps from starting; said once."""
        is_paused = self.is_paused()
        if is_paused != self._said_paused:
            self._said_paused = is_paused
            self.observer.event("paused" if is_paused else "resumed", "")
        return is_paused

    def _meet_places(self) -> None:
        """Take note of workers that came and went; a job that none of them can ever run fails at once."""
        if self.runner is None:
            return
        now = {p.name: p for p in self.runner.places()}
        self._give_up_without(now)
        if now.keys() == self.policy.places.keys():
            return
        for name in self.policy.places.keys() - now.keys():
            self.policy.leave(name)
        for name in now.keys() - self.policy.places.keys():
            self.policy.join(now[name])
        if now:
            self._rank(list(now.values()))
            self._refuse_impossible()

    def _rank(self, places: Sequence[Place]) -> None:
        """Rank all with the first places and the queues for lanes in mind, as the schedule does; once: it is dear."""
        if self._is_ranked:
            return
        self._is_ranked = True
        left = [node for node in self.nodes.values() if not node.is_done]
        readers = {node.id: [r for r in node.readers if not self.nodes[r].is_done] for node in left}
        for job in with_queues([node.job for node in left], readers, self.lanes, places):
            self.nodes[job.name].job = job
        for job in self.policy.withdraw():
            self.policy.offer(self.nodes[job.name].job)

    def _give_up_without(self, places: Mapping[str, Place]) -> None:
        """Fail what is ready when there has been no worker at all for long."""
        now_s = self.clock()
        if places or not self.policy.ready:
            self._worker_seen_s = now_s
        elif now_s > self._worker_seen_s + WITHOUT_WORKER_S:
            for job in self.policy.withdraw():
                self._fail(
                    self.nodes[job.name],
                    error(
                        "no-worker",
                        f"no worker came to run '{job.name}'",
                        hint="look at the cluster: its workers are gone or cannot start",
                    ),
                )

    def _refuse_impossible(self) -> None:
        """Fail what became ready before any worker came and needs what none of them has."""
        if not all(self.policy.can_ever_run(job) for job in self.policy.waiting()):
            for job in self.policy.withdraw():
                self._offer(self.nodes[job.name])

    def _offer(self, node: Node) -> None:
        """Let the policy have a node, or fail it where no worker that is there could ever run it."""
        if not self.policy.places or self.policy.can_ever_run(node.job):
            return self.policy.offer(node.job)
        have = sorted({a for p in self.policy.places.values() for a in p.abilities})
        problem = error(
            "no-worker",
            f"no worker has what '{node.name}' needs",
            facts=[("needs", ", ".join(sorted(node.job.needs))), ("workers have", ", ".join(have) or "nothing named")],
            hint="start a worker with this ability, name it under [cluster] abilities, or mend needs=",
        )
        return self._fail(node, problem)

    def _start(self, start: Start) -> None:
        """Start the attempts that travel together."""
        assert self.runner is not None
        specs = []
        for job in start.jobs:
            node = self.nodes[job.name]
            node.attempts += 1
            spec = self._spec(node)
            specs.append(spec)
            self.running[spec.id] = Running(node, spec, start, self.clock(), node.timeout_s)
            self.observer.event("started", node.id, attempt=node.attempts, packed=len(start.jobs) > 1)
        self.left[start] = len(specs)
        self.runner.start(specs, start.places[0])

    def _spec(self, node: Node) -> AttemptSpec:
        """What the worker gets for a node."""
        identity = f"{node.id}-{self.epoch}-{self.run_number}-{node.attempts}"
        situation = self.outcomes.situation
        if node.kind is Kind.PIN:
            return pin_attempt(self.workplace, situation, node.name, identity, self.run_number)
        if node.step is None:
            previous = self._previous([node.name])
            return intake_attempt(self.workplace, situation, node.name, identity, self.run_number, previous)
        return recipe_attempt(
            self.workplace,
            situation,
            node.step,
            identity,
            self.run_number,
            self.outcomes.versions.__getitem__,
            self.recall.manifest,
            self._previous(node.step.targets),
        )

    def _previous(self, names: Any) -> dict[str, Manifest]:
        """The present manifests of these names."""
        found = {n: self.recall.currents[n] for n in names if n in self.recall.currents}
        return {n: self.recall.manifest(c.manifest_id) for n, c in found.items()}

    def _wait(self) -> list[Ended]:
        """Attempts that ended; those over their time are killed."""
        if self.runner is None:
            time.sleep(MOST_WAIT_S)  # paused before anything ran: only the marker's end can come
            return []
        now_s = self.clock()
        left_s = [r.started_s + r.timeout_s - now_s for r in self.running.values() if r.timeout_s is not None]
        ended = self.runner.wait(max(0.0, min([*left_s, MOST_WAIT_S])))
        self._kill_overdue({e.id for e in ended})
        self._look_after(self.clock())
        return ended

    def _kill_overdue(self, done: set[str]) -> None:
        """Kill attempts over their time; it counts from their first line, not from a worker's start."""
        assert self.runner is not None
        now_s = self.clock()
        for identity, running in self.running.items():
            limit_s = running.timeout_s
            if limit_s is None or identity in done:
                continue
            if not running.is_begun:
                running.is_begun = self.runner.is_begun(identity)
                running.started_s = (
                    now_s if running.is_begun and now_s >= running.started_s + limit_s else running.started_s
                )
            if running.is_begun and now_s >= running.started_s + limit_s:
                self.runner.kill(identity, "timed-out", f"'{running.node.name}' ran longer than {limit_s:g} s")
                running.timeout_s = None

    def _look_after(self, now_s: float) -> None:
        """Say what looks wrong among the running steps, now and then."""
        if now_s < self._next_health_s:
            return
        self._next_health_s = now_s + HEALTH_EVERY_S
        pulses = (Pulse(r.node.id, now_s - r.started_s, r.node.job.predicted_s) for r in self.running.values())
        for name, finding in slow_steps(pulses):
            self.observer.event("health", name, finding=finding)
        full = disk_finding(self.workplace.store)
        if full is not None:
            self.observer.event("health", "the store's disk", finding=full)

    # -- an attempt ended ------------------------------------------------------------------------------------------

    def _end(self, ended: Ended) -> None:
        """Give back what an attempt held, then commit it, try again, or fail."""
        running = self.running.pop(ended.id, None)
        if running is None:
            return  # heard twice: its first end was committed or failed
        self.left[running.start] -= 1
        if self.left[running.start] == 0:
            del self.left[running.start]
            self.policy.end([job.name for job in running.start.jobs])
        if ended.is_innocent:
            running.node.attempts -= 1
            self._queue(running.node)
        elif ended.record.error is not None:
            self._end_badly(running, ended)
        else:
            self.outcomes.commit(running.node, running.spec, ended.record)
            if running.node.step is not None:
                self.experience.add(running.node.step.recipe, ended.record.wall_s)
            self._finish(running.node)

    def _end_badly(self, running: Running, ended: Ended) -> None:
        """Try again where that is allowed, else fail."""
        node, record = running.node, ended.record
        assert record.error is not None
        cause = from_json(record.error).about(node.name)
        if cause.code == "source-moved":
            disk.remove(self.workplace.store / "graph.json")  # what recipes captured while loading may be what moved
        if node.attempts <= self._retries(node, cause.code, ended) and not self.is_stopping:
            if cause.code == "out-of-memory":
                node.job = replace(node.job, is_alone=True)
            self.outcomes.tried(node, running.spec, record, cause.code)
            self.observer.event("retried", node.id, error=cause.code)
            return self._queue(node)
        return self._fail(node, cause, running.spec, record)

    @staticmethod
    def _retries(node: Node, code: str, ended: Ended) -> int:
        """How many attempts more than one a node gets after this error."""
        allowed = node.step.retries if node.step else 0
        is_accident = ended.is_lost and code in ("worker-died", "out-of-memory")
        return max(allowed, LOST_RETRIES) if is_accident else allowed

    # -- ends ------------------------------------------------------------------------------------------------------

    def _fail(
        self, node: Node, cause: Any, spec: AttemptSpec | None = None, record: AttemptRecord | None = None
    ) -> None:
        self.outcomes.fail(node, cause, spec, record)
        self.is_stopping = self.is_stopping or self.is_fail_fast
        self._finish(node)

    def _finish(self, node: Node) -> None:
        """A node is done: those that waited for it alone are ready."""
        node.is_done = True
        cause = self.outcomes.failed.get(node.id)
        self.observer.event("ended", node.id, error=cause.code if cause and not node.is_blocked else None)
        for name in node.readers:
            reader = self.nodes[name]
            reader.waits -= 1
            if reader.waits == 0:
                self.arrived.append(reader)
