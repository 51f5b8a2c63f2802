"""The driver: brings a plan to its end, one loop, one owner of all state.

Decides what becomes of an attempt, and when it is tried again. `Readiness` says what a node needs, the policy what
starts where; a `Runner` executes, `Outcomes` commits. Work that does not depend on a failure goes on. A turn of the
loop costs what ended in it and what runs, never the size of the graph.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from builder.compile.amounts import forecasts
from builder.compile.expected import expected_ways
from builder.compile.policy import Place, Policy, Start
from builder.compile.predict import ENOUGH_SEEN, Experience, Pace
from builder.compile.urgency import with_queues
from builder.errors import BuilderError, from_json
from builder.execute.assign import Assignments
from builder.execute.crew import Crew, absent, gone
from builder.execute.lookout import Lookout, Running, Trip
from builder.execute.nodes import Kind, Node, make_nodes, make_sums_node, sums_node
from builder.execute.outcomes import Finished, Outcomes
from builder.execute.outlook import Outlook
from builder.execute.readiness import Readiness
from builder.execute.runner import Ended, Runner, RunnerLost
from builder.execute.spec import AttemptRecord, AttemptSpec
from builder.execute.ways import Ways
from builder.execute.work import Workplace
from builder.plan.plan import Plan
from builder.store import disk
from builder.store.commits import Committer
from builder.store.recall import Recall

MOST_WAIT_S = 0.5
LOST_RETRIES = 1
"""A step whose worker died gets one more attempt whatever ``retries=`` says: the second death is its own."""


class Observer(Protocol):
    """Hears of what happens in a run; never changes it."""

    def event(self, kind: str, name: str, **facts: Any) -> None:
        """Something happened: one of the kinds that `builder.execute.events` tells of."""


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
        publish: Callable[..., None],
        observer: Observer,
        is_fail_fast: bool = False,
        first: frozenset[str] = frozenset(),
        is_paused: Callable[[], bool] = lambda: False,
        wait_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.plan = plan
        self.committer = committer
        self.workplace = workplace
        self.outcomes = Outcomes(plan, recall, committer, run, workplace, publish, observer.event)
        ways = Ways(plan, workplace.store, recall, self.outcomes.versions)
        self.readiness = Readiness(plan, recall, self.outcomes, ways)
        self.assignments = Assignments(workplace, recall, self.outcomes, run, ways)
        self.lanes = lanes
        self.policy = Policy(lanes)
        self.crew = Crew(self.policy, make_runner, clock, wait_s)
        self.observer = observer
        self.is_fail_fast = is_fail_fast
        self.is_paused = is_paused
        self.clock = clock
        self.nodes = make_nodes(plan, _seconds(plan, recall), first)
        self.experience = Experience()
        self.arrived: deque[Node] = deque()
        self.running: dict[str, Running] = {}
        self.lookout = Lookout(self.running, workplace.store, observer)
        self.outlook = Outlook(
            self.nodes, self.policy, lanes, self.experience, observer.event, Pace(*recall.ledger.pace()), clock()
        )
        self.seen = 0
        self.is_stopping = False
        self.is_aborted = False
        self._said_paused = False
        self._is_ranked = False

    # -- the loop --------------------------------------------------------------------------------------------------

    def execute(self) -> None:
        """Bring every step of the plan to its end: built, restored, fresh, failed or blocked."""
        steps = len(self.plan.steps)
        self.observer.event("total", "", steps=steps, intakes=len(self.nodes) - steps)
        try:
            self.arrived.extend(n for n in self.nodes.values() if n.waits == 0)
            self._settle()
            while (self.policy.ready or self.running) and not self.is_aborted:
                try:
                    self._dispatch()
                    if self.is_stopping and not self.running:
                        break
                    ended = self._wait()
                except RunnerLost as lost:
                    self._begin_again(lost)
                    continue
                self._end_all(ended)
                self._settle()
            self.outcomes.forget_failures()
        finally:
            self.crew.close()

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
            unsummed = self.readiness.unsummed(node)
            if unsummed:
                self._sum_first(node, unsummed)
            elif self.readiness.is_settled(node):
                self._finish(node)
            else:
                self._queue(node)
        self.outcomes.flush()

    def _tell(self, kind: str, node: Node, **facts: Any) -> None:
        """Tell of what happens to a node of the plan."""
        if node.kind is not Kind.SUMS:
            self.observer.event(kind, node.id, **facts)

    def _sum_first(self, reader: Node, names: Sequence[str]) -> None:
        """Let a step wait until columns of some tables are summed."""
        for name in dict.fromkeys(names):
            identity = sums_node(name)
            if identity not in self.nodes or self.nodes[identity].is_done:  # done for a version that was replaced
                self.nodes[identity] = make_sums_node(name, len(self.nodes), reader)
                self.arrived.append(self.nodes[identity])
            self.nodes[identity].readers.append(reader.id)
            reader.waits += 1

    # -- queueing --------------------------------------------------------------------------------------------------

    def _queue(self, node: Node) -> None:
        """Put a node among those that may run, with what this run has shown of its like where nothing else is known."""
        self._guess(node)
        node.job = replace(node.job, most_slots=self.assignments.most_slots(node))
        self._tell("queued", node, **({"lanes": dict(node.job.lanes)} if node.job.lanes else {}))
        self._offer(node)

    def _offer(self, node: Node) -> None:
        """Let the policy have a node, or fail it where no worker that is there or may come back could ever run it."""
        refusal = self.crew.refusal(node.job)
        if refusal is not None:
            return self._fail(node, refusal)
        return self.policy.offer(node.job)

    def _guess(self, node: Node) -> None:
        """Predict a node's time by what this run has shown of its like, where nothing else is known of it."""
        if node.is_guess and node.step is not None and node.timeout_s is None:
            seen_s = self.experience.of(node.step.recipe)
            if seen_s is not None:
                node.job = replace(node.job, predicted_s=seen_s)

    def _guess_again(self, count: int) -> None:
        """Look again at all that is ready each time twice as much has been seen, so that tiny steps are packed soon."""
        before, self.seen = self.seen, self.seen + count
        if self.seen >= ENOUGH_SEEN and self.seen.bit_length() > before.bit_length():
            for job in self.policy.withdraw():
                node = self.nodes[job.name]
                self._guess(node)
                self.policy.offer(node.job)

    # -- running ---------------------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Start what the policy chooses, as long as it chooses."""
        if self.is_stopping or self._is_held_back():
            return
        if self.policy.ready and self.crew.runner is None:
            self._take_runner()
        self._meet_places()
        self._settle()
        while not self.is_stopping and (start := self.policy.choose()) is not None:
            self._start(start)
        if self.crew.runner is not None:
            self.crew.runner.follow(self.policy)

    def _take_runner(self) -> None:
        """Have a runner; where one was lost and none comes in its place, what is ready fails."""
        try:
            self.crew.runner = self.crew.make_runner()
        except BuilderError as cause:
            if not self.crew.losses:
                raise
            for job in self.policy.withdraw():
                self._fail(self.nodes[job.name], gone(job, cause))

    def _begin_again(self, lost: RunnerLost) -> None:
        """Take back all that was under way when the runner was lost, under an epoch that none of it can commit to."""
        self.crew.lose(str(lost))
        self.observer.event("health", "the cluster", finding=f"{lost}: all that ran there starts again on a new one")
        self.committer.advance()
        taken_back = list(self.running.values())
        self.running.clear()
        for trip in {running.trip for running in taken_back}:
            self._end_trip(trip)
        for running in taken_back:
            running.node.attempts -= 1
            self._queue(running.node)

    def _is_held_back(self) -> bool:
        """Whether a pause keeps steps from starting; said once."""
        is_paused = self.is_paused()
        if is_paused != self._said_paused:
            self._said_paused = is_paused
            self.observer.event("paused" if is_paused else "resumed", "")
        return is_paused

    def _meet_places(self) -> None:
        """Take note of workers that came and went; a job that none of this run could ever run fails at once."""
        if self.crew.has_changed() and self.policy.places:
            self._rank(list(self.policy.places.values()))
            if not all(self.policy.can_ever_run(job) for job in self.policy.waiting()):
                for job in self.policy.withdraw():
                    self._offer(self.nodes[job.name])
        if self.crew.is_deserted:
            for job in self.policy.withdraw():
                self._fail(self.nodes[job.name], absent(job))

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

    def _start(self, start: Start) -> None:
        """Start the attempts that travel together."""
        assert self.crew.runner is not None
        specs = []
        trip, now_s = Trip(start, len(start.jobs)), self.clock()
        self.outlook.started(now_s)
        for job in start.jobs:
            node = self.nodes[job.name]
            spec = self.assignments.next(node, self.committer.epoch)
            if start.is_spread or (node.step is not None and node.step.is_on_cluster):
                spec = replace(spec, helpers=start.places[1:], is_spread=start.is_spread)
            specs.append(spec)
            self.running[spec.id] = Running(node, spec, trip, now_s, node.timeout_s)
            self._tell("started", node, attempt=node.attempts, packed=len(start.jobs) > 1)
        self.crew.runner.start(specs, start.places[0])

    def _wait(self) -> list[Ended]:
        """Attempts that ended; those over their time are killed."""
        runner = self.crew.runner
        if runner is None:
            time.sleep(MOST_WAIT_S)  # paused before anything ran: only the marker's end can come
            return []
        ended = runner.wait(min(self.lookout.left_s(self.clock()), MOST_WAIT_S))
        now_s = self.clock()
        self.lookout.kill_overdue(runner, {e.id for e in ended}, now_s)
        self.lookout.look(now_s)
        self.outlook.look(now_s, self.running.values())
        return ended

    # -- an attempt ended ------------------------------------------------------------------------------------------

    def _end_all(self, ended: Sequence[Ended]) -> None:
        """Give back what attempts held; commit all that came to an output at once, and try again or fail the rest."""
        ran: list[tuple[Running, Finished]] = []
        alone: list[float] = []  # when attempts would have ended had nothing been lost around them
        for one in ended:
            running = self._given_back(one)
            if running is None:
                continue  # heard twice: its first end was committed or failed
            if one.is_innocent:
                running.node.attempts -= 1
                self._run_again(running)
            elif one.record.error is not None:
                self._end_badly(running, one)
            else:
                ran.append((running, Finished(running.node, running.spec, one.record)))
                if len(running.trip.start.jobs) == 1:
                    alone.append(running.started_s + one.record.wall_s)
        finished = self._committed(ran)
        now_s = self.clock()
        for ideal_s in alone:
            self.outlook.ended(now_s - ideal_s)
        for done in finished:
            if done.node.step is not None:
                self.experience.add(done.node.step.recipe, done.record.wall_s)
            self._finish(done.node)
        if finished:
            self.crew.losses = 0
            self._guess_again(len(finished))

    def _committed(self, ran: Sequence[tuple[Running, Finished]]) -> list[Finished]:
        """What was committed of attempts that came to an output; those that were taken back run again."""
        refused = {node.id for node in self.outcomes.commit_all([one for _, one in ran])}
        for running, one in ran:
            if one.node.id in refused:
                running.node.attempts -= 1
                self._run_again(running)
        return [one for _, one in ran if one.node.id not in refused]

    def _given_back(self, ended: Ended) -> Running | None:
        """The attempt that ended, after its place and lanes are free again; None for one that is not under way."""
        running = self.running.pop(ended.id, None)
        if running is not None:
            running.trip.left -= 1
            if running.trip.left == 0:
                self._end_trip(running.trip)
        return running

    def _end_trip(self, trip: Trip) -> None:
        """Give back what attempts that travelled together held; those of them that have to run again may now."""
        self.policy.end([job.name for job in trip.start.jobs])
        self.arrived.extend(trip.again)
        trip.again.clear()

    def _run_again(self, running: Running) -> None:
        """Let a node have another attempt, once what travelled with its last one is over and its place is free."""
        if running.trip.left:
            running.trip.again.append(running.node)
        else:
            self.arrived.append(running.node)

    def _end_badly(self, running: Running, ended: Ended) -> None:
        """Try again where that is allowed, else fail."""
        node, record = running.node, ended.record
        assert record.error is not None
        cause = from_json(record.error).about(node.name)
        if ended.is_lost and cause.code in ("worker-died", "out-of-memory"):
            finding = f"lost while it ran {node.name}: {cause.message}"
            self.observer.event("health", running.trip.start.places[0], finding=finding)
        if cause.code == "source-moved":
            disk.remove(self.workplace.store / "graph.json")  # what recipes captured while loading may be what moved
        if node.attempts <= self._retries(node, cause.code, ended) and not self.is_stopping:
            if cause.code == "out-of-memory":
                node.job = replace(node.job, is_alone=True)
            self.outcomes.tried(node, running.spec, record, cause.code)
            self.observer.event("retried", node.id, error=cause.code)
            return self._run_again(running)
        if cause.code == "not-a-row-recipe" and node.step is not None:
            self.outcomes.refute(node)
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
        self._finish(node)

    def _finish(self, node: Node) -> None:
        """A node is done: those that waited for it alone are ready."""
        node.is_done = True
        node.forget()
        cause = self.outcomes.failed.get(node.id)
        self.is_stopping = self.is_stopping or (self.is_fail_fast and cause is not None and not node.is_blocked)
        state = "blocked" if node.is_blocked else "failed" if cause else "done"
        self._tell("ended", node, state=state, error=cause.code if cause and state == "failed" else None)
        for name in node.readers:
            reader = self.nodes[name]
            reader.waits -= 1
            if reader.waits == 0:
                self.arrived.append(reader)


def _seconds(plan: Plan, recall: Recall) -> dict[str, float | None]:
    """Predicted seconds of each intake and step of a plan; None where nothing was ever measured."""
    ways = expected_ways(plan, recall, recall.ledger)
    found = forecasts(plan, recall.ledger, recall.currents, ways)
    return {name: forecast.s if forecast else None for name, forecast in found.items()}
