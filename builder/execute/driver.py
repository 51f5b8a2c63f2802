"""The driver: brings a plan to its end, one loop, one owner of all state.

Decides when a step is ready, what it needs (nothing, a restore, a run), which one goes next, and what is committed.
Attempts run through a `Runner`; only the driver commits, in one transaction per step, so that a step's outputs are
there together or not at all. Work that does not depend on a failure goes on.
"""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from builder.digests import Digest
from builder.errors import BuilderError, error, from_json
from builder.execute.report import SourceReport, TargetReport
from builder.execute.runner import Ended, Runner
from builder.execute.spec import AttemptRecord, AttemptSpec, Output
from builder.execute.work import Workplace, intake_attempt, pin_attempt, recipe_attempt
from builder.plan.keys import key_of, step_fields
from builder.plan.plan import Plan, Version, digest_of_read, source_fields
from builder.plan.verdict import Action, Reason, State, Verdict, judge
from builder.sense.pins import write_pin
from builder.store import disk
from builder.store.commits import Attempt, Commit, Committer
from builder.store.manifest import Manifest
from builder.store.recall import Recall


class Observer(Protocol):
    """Hears of what happens in a run; never changes it."""

    def event(self, kind: str, name: str, **facts: Any) -> None:
        """Something happened: started, ended, retried, published, total."""


@dataclass
class Node:
    """One piece of work and what it waits for."""

    name: str
    kind: str  # pin | source | step
    order: int
    waits: int = 0
    readers: list[str] = field(default_factory=list)
    is_done: bool = False
    is_blocked: bool = False
    attempts: int = 0
    verdict: Verdict | None = None
    key: Digest | None = None
    fields: list[tuple[str, str, str]] = field(default_factory=list)
    depth_s: float = 0.0


@dataclass
class Running:
    """An attempt under way."""

    node: Node
    spec: AttemptSpec
    started_s: float
    timeout_s: float | None


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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.plan = plan
        self.situation = plan.situation
        self.graph = plan.situation.graph
        self.recall = recall
        self.committer = committer
        self.run_number = run
        self.workplace = workplace
        self.make_runner = make_runner
        self.runner: Runner | None = None
        self.lanes_free = dict(lanes)
        self.slots_free = 0
        self.publish = publish
        self.observer = observer
        self.is_fail_fast = is_fail_fast
        self.first = first
        self.clock = clock
        self.versions: dict[str, Version] = dict(plan.versions)
        self.failed: dict[str, BuilderError] = {}
        self.nodes: dict[str, Node] = {}
        self.ready: list[tuple[int, int, float, int, str]] = []
        self.parked: dict[str, deque[str]] = {}
        self.arrived: deque[Node] = deque()
        self.running: dict[str, Running] = {}
        self.targets: list[TargetReport] = []
        self.sources: list[SourceReport] = []
        self.warnings: list[tuple[str, str]] = []
        self.fresh_steps: list[str] = []
        self.is_stopping = False
        self.is_aborted = False

    # -- the loop --------------------------------------------------------------------------------------------------

    def execute(self) -> None:
        """Bring every step of the plan to its end: built, restored, fresh, failed or blocked."""
        self._prepare()
        steps = len(self.plan.steps)
        self.observer.event("total", "", steps=steps, intakes=len(self.nodes) - steps)
        try:
            self.arrived.extend(n for n in self.nodes.values() if n.waits == 0)
            self._settle()
            while self.ready or self.running:
                self._dispatch()
                if self.is_aborted or not self.running:
                    break
                for ended in self._wait():
                    self._end(ended)
                    self._settle()
            if self.fresh_steps:
                self.committer.cleared([s for s in self.fresh_steps if s in self.recall.failures])
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

    def _prepare(self) -> None:
        """Make the nodes with their edges; the longest way to the end gives each its priority."""
        for name in self._families_to_pin():
            self.nodes[f"schema of {name}"] = Node(name, "pin", len(self.nodes))
        for name in self.plan.intakes:
            self.nodes[name] = Node(name, "source", len(self.nodes))
            self._link(f"schema of {self.graph.sources[name].base}", name)
        for name in self.plan.steps:
            self.nodes[name] = Node(name, "step", len(self.nodes))
            needs = dict.fromkeys(self.graph.maker.get(n, n) for n in self.graph.steps[name].reads)
            for need in needs:
                self._link(need, name)
        costs = self.recall.ledger.history_s()
        typical_s = sorted(costs.values())[len(costs) // 2] if costs else 1.0
        for node in reversed(self.nodes.values()):
            below = max((self.nodes[r].depth_s for r in node.readers), default=0.0)
            node.depth_s = below + costs.get(node.name, typical_s)

    def _link(self, need: str, name: str) -> None:
        """Let one node wait for another where that one is to be done at all."""
        if need in self.nodes:
            self.nodes[need].readers.append(name)
            self.nodes[name].waits += 1

    def _families_to_pin(self) -> list[str]:
        """Families of tables whose schema no version has fixed yet: it is found over all members together."""
        bases = dict.fromkeys(
            self.graph.sources[n].base
            for n in self.plan.intakes
            if self.graph.sources[n].params
            and self.situation.is_table(n)
            and self.situation.sources[n].problem is None
            and self.plan.sources[n].action is Action.RUN
        )
        return [b for b in bases if b not in self.situation.pins]

    def _settle(self) -> None:
        """Decide for every node that waits for nothing any more; a queue, so that long chains need no deep stack."""
        while self.arrived:
            self._arrive(self.arrived.popleft())

    # -- a node is ready -------------------------------------------------------------------------------------------

    def _arrive(self, node: Node) -> None:
        """Decide what a node needs now that all it waits for is done."""
        if node.kind == "step":
            self._arrive_step(node)
        elif node.kind == "pin":
            self._queue(node)
        else:
            self._arrive_source(node)

    def _arrive_source(self, node: Node) -> None:
        sensed = self.situation.sources[node.name]
        verdict = self.plan.sources[node.name]
        if sensed.problem is not None:
            return self._fail_source(node, sensed.problem.about(node.name), None)
        pin_problem = self.failed.get(f"schema of {sensed.base}")
        if pin_problem is not None:
            return self._fail_source(node, pin_problem, None)
        node.fields = source_fields(node.name, self.situation)
        node.key = key_of(node.fields)
        if verdict.action is Action.RESTORE and verdict.outputs and self._has_parts(verdict.outputs):
            number, digest = verdict.outputs[node.name]
            difference = self._difference(node.name, digest)
            self.committer.restored(self.run_number, node.name, node.key, {node.name: number})
            self._know(node.name, digest, number)
            if self.situation.is_table(node.name):
                rows = self.recall.manifest(number).rows
                self.sources.append(SourceReport(node.name, "restored", rows, difference))
            return self._finish(node)
        if not self.situation.is_table(node.name):
            assert sensed.content is not None
            manifest = Manifest("files", sensed.content, (), bytes=sensed.bytes)
            commit = Commit(node.name, node.key, node.fields, {node.name: manifest})
            self.committer.built(self.run_number, time.time(), commit)
            return self._finish(node)
        return self._queue(node)

    def _arrive_step(self, node: Node) -> None:
        step = self.graph.steps[node.name]
        bad = next((self.failed[n] for n in self._needs(node.name) if n in self.failed), None)
        if bad is not None:
            return self._block(node, bad)
        node.fields = step_fields(step, self.situation, lambda n, c: digest_of_read(self.versions, self.recall, n, c))
        planned = self.plan.verdicts[node.name]
        node.verdict = judge(
            step.name,
            step.targets,
            node.fields,
            self.recall,
            is_forced=self.plan.is_forced,
            is_pure=self.graph.recipes[step.recipe].pure,
        )
        node.key = node.verdict.key
        if node.verdict.state is State.FRESH and node.verdict.outputs is not None:
            for target, (number, digest) in node.verdict.outputs.items():
                self._know(target, digest, number)
            self.fresh_steps.append(node.name)
            return self._finish(node)
        outputs = node.verdict.outputs
        if node.verdict.action is Action.RESTORE and outputs and self._has_parts(outputs):
            return self._restore(node, outputs, node.verdict.reasons or planned.reasons)
        return self._queue(node)

    def _needs(self, step: str) -> list[str]:
        """Nodes that a step reads from, and sources with a problem."""
        return [self.graph.maker.get(n, n) for n in self.graph.steps[step].reads]

    def _restore(self, node: Node, outputs: Mapping[str, tuple[int, Digest]], reasons: tuple[Reason, ...]) -> None:
        """Point a step's targets at what the store has."""
        step = self.graph.steps[node.name]
        assert node.key is not None
        chosen = {t: outputs[t] for t in step.targets}
        differences = {t: self._difference(t, digest) for t, (_, digest) in chosen.items()}
        self.committer.restored(self.run_number, node.name, node.key, {t: n for t, (n, _) in chosen.items()})
        for target, (number, digest) in chosen.items():
            self._know(target, digest, number)
            manifest = self.recall.manifest(number)
            rows = manifest.rows if manifest.kind == "table" else None
            report = TargetReport(
                target, "restored", "store", rows=rows, difference=differences[target], reasons=reasons
            )
            self._report(report)
            self.publish(target)
        self._finish(node)

    def _difference(self, name: str, digest: Digest) -> tuple[int, int, int] | None:
        """Rows that differ between the present version and another that the store has, where that was counted."""
        current = self.recall.currents.get(name)
        return None if current is None else self.recall.ledger.difference(current.digest, digest)

    def _has_parts(self, outputs: Mapping[str, tuple[int, Digest]]) -> bool:
        """Whether every part of these outputs lies in the store: a hit with a missing part is a miss."""
        store = self.workplace.store
        return all((store / p.path).exists() for n, _ in outputs.values() for p in self.recall.manifest(n).parts)

    def _know(self, name: str, digest: Digest, number: int) -> None:
        """Note the version of a dataset for all that read it."""
        self.versions[name] = Version(digest, number)

    # -- running ---------------------------------------------------------------------------------------------------

    def _queue(self, node: Node) -> None:
        """Put a node among those that may run."""
        step = self.graph.steps.get(node.name)
        priority = step.priority if step else 0
        urgency = 1 if node.name in self.first else 0
        heapq.heappush(self.ready, (-urgency, -priority, -node.depth_s, node.order, self._id(node)))
        self.observer.event("queued", node.name)

    @staticmethod
    def _id(node: Node) -> str:
        return f"schema of {node.name}" if node.kind == "pin" else node.name

    def _dispatch(self) -> None:
        """Start what may run: a free slot, and room in every lane it takes."""
        if self.is_stopping:
            return
        if self.ready and self.runner is None:
            self.runner = self.make_runner()
            self.slots_free = self.runner.slots
        while self.ready and self.slots_free > 0:
            node = self.nodes[self.ready[0][-1]]
            lane = self._full_lane(node)
            if lane is None and self._slots(node) > self.slots_free:
                return  # slots that come free are kept for it: narrow steps would hold a wide one back for ever
            heapq.heappop(self.ready)
            if lane is not None:
                self.parked.setdefault(lane, deque()).append(self._id(node))
            else:
                self._start(node)

    def _full_lane(self, node: Node) -> str | None:
        """A lane that has no room for a node now."""
        return next((n for n, count in self._lanes(node) if self.lanes_free[n] < count), None)

    def _lanes(self, node: Node) -> tuple[tuple[str, int], ...]:
        step = self.graph.steps.get(node.name)
        return step.lanes if step and node.kind == "step" else ()

    def _slots(self, node: Node) -> int:
        """Slots a node takes; never more than there are, so that it can run at all."""
        assert self.runner is not None
        step = self.graph.steps.get(node.name)
        return min(step.slots, self.runner.slots) if step and node.kind == "step" else 1

    def _start(self, node: Node) -> None:
        """Start an attempt at a node."""
        assert self.runner is not None
        node.attempts += 1
        step = self.graph.steps.get(node.name) if node.kind == "step" else None
        spec = self._spec(node)
        for lane, count in self._lanes(node):
            self.lanes_free[lane] -= count
        self.slots_free -= self._slots(node)
        self.running[spec.id] = Running(node, spec, self.clock(), step.timeout_s if step else None)
        self.observer.event("started", self._id(node), attempt=node.attempts)
        self.runner.start(spec)

    def _spec(self, node: Node) -> AttemptSpec:
        """What the worker gets for a node."""
        identity = f"{self._id(node)}-{self.committer.epoch}-{self.run_number}-{node.attempts}"
        if node.kind == "pin":
            return pin_attempt(self.workplace, self.situation, node.name, identity, self.run_number)
        if node.kind == "source":
            return intake_attempt(
                self.workplace, self.situation, node.name, identity, self.run_number, self._previous([node.name])
            )
        step = self.graph.steps[node.name]
        return recipe_attempt(
            self.workplace,
            self.situation,
            step,
            identity,
            self.run_number,
            lambda n: self.versions[n],
            self.recall.manifest,
            self._previous(step.targets),
        )

    def _previous(self, names: Any) -> dict[str, Manifest]:
        """The present manifests of these names."""
        found = {n: self.recall.currents[n] for n in names if n in self.recall.currents}
        return {n: self.recall.manifest(c.manifest_id) for n, c in found.items()}

    def _wait(self) -> list[Ended]:
        """Attempts that ended; those over their time are killed."""
        assert self.runner is not None
        now = self.clock()
        left = [r.started_s + r.timeout_s - now for r in self.running.values() if r.timeout_s is not None]
        ended = self.runner.wait(max(0.0, min([*left, 0.5])))
        now = self.clock()
        done = {e.id for e in ended}
        for identity, running in self.running.items():
            limit = running.timeout_s
            if identity not in done and limit is not None and now >= running.started_s + limit:
                self.runner.kill(identity, "timed-out", f"'{running.node.name}' ran longer than {limit:g} s")
                running.timeout_s = None
        return ended

    # -- an attempt ended ------------------------------------------------------------------------------------------

    def _end(self, ended: Ended) -> None:
        """Give back what an attempt held, then commit it, try again, or fail."""
        running = self.running.pop(ended.id, None)
        if running is None:
            return  # heard twice: its first end was committed or failed
        node = running.node
        for lane, count in self._lanes(node):
            self.lanes_free[lane] += count
            for name in self.parked.pop(lane, ()):
                self._queue(self.nodes[name])
        self.slots_free += self._slots(node)
        record = ended.record
        if record.error is not None:
            self._end_badly(node, running.spec, record, ended.is_lost)
        elif node.kind == "pin":
            self._pin(node.name, record.outputs[0].manifest)
            self._finish(node)
        elif node.kind == "source":
            self._commit_source(node, running.spec, record)
        else:
            self._commit_step(node, running.spec, record)

    def _attempt(self, node: Node, spec: AttemptSpec, record: AttemptRecord, outcome: str) -> Attempt:
        """The attempt as the ledger remembers it."""
        return Attempt(
            self._id(node),
            node.attempts,
            outcome,
            str(Path(spec.log).relative_to(self.workplace.store)),
            time.time(),
            record.wall_s,
            record.cpu_s,
            record.peak_rss_bytes,
        )

    def _end_badly(self, node: Node, spec: AttemptSpec, record: AttemptRecord, is_lost: bool) -> None:
        """Try again where that is allowed, else fail."""
        assert record.error is not None
        cause = from_json(record.error).about(node.name)
        if cause.code == "source-moved":
            disk.remove(self.workplace.store / "graph.json")  # what recipes captured while loading may be what moved
        step = self.graph.steps.get(node.name)
        allowed = step.retries if step and node.kind == "step" else 0
        if is_lost and cause.code == "worker-died":
            allowed = max(allowed, 1)
        if node.attempts <= allowed and not self.is_stopping:
            self.committer.tried(self.run_number, self._attempt(node, spec, record, cause.code))
            self.observer.event("retried", self._id(node), error=cause.code)
            return self._queue(node)
        attempt = self._attempt(node, spec, record, cause.code)
        if node.kind == "step":
            return self._fail_step(node, cause, attempt, record)
        return self._fail_source(node, cause, attempt, record.wall_s, record.cpu_s)

    def _pin(self, base: str, manifest: Manifest) -> None:
        """Fix a source's schema as a file of the project, before anything is committed under it."""
        assert manifest.schema is not None
        if self.situation.pins.get(base) != manifest.schema:
            write_pin(self.workplace.project, base, manifest.schema)
            self.situation = replace(self.situation, pins={**self.situation.pins, base: manifest.schema})

    def _commit_source(self, node: Node, spec: AttemptSpec, record: AttemptRecord) -> None:
        (output,) = record.outputs
        if self.graph.sources[node.name].base not in self.situation.pins:
            self._pin(self.graph.sources[node.name].base, output.manifest)
        node.fields = source_fields(node.name, self.situation)
        node.key = key_of(node.fields)
        (is_same,) = self._commit(node, spec, record, "full").values()
        outcome = "unchanged" if is_same else "read"
        manifest = output.manifest
        difference = (0, 0, 0) if is_same else output.difference
        self.sources.append(SourceReport(node.name, outcome, manifest.rows, difference, record.wall_s, record.cpu_s))
        self._finish(node)

    def _commit_step(self, node: Node, spec: AttemptSpec, record: AttemptRecord) -> None:
        step = self.graph.steps[node.name]
        planned = self.plan.verdicts[node.name]
        if node.key is not None:
            self._warn_if_not_deterministic(node, record.outputs)
        is_same = self._commit(node, spec, record, "full")
        assert node.verdict is not None
        reasons = node.verdict.reasons or planned.reasons
        for output in record.outputs:
            same = is_same[output.name]
            self._report(
                TargetReport(
                    output.name,
                    "unchanged" if same else "built",
                    "full",
                    record.wall_s,
                    record.cpu_s,
                    record.peak_rss_bytes,
                    output.manifest.rows if output.manifest.kind == "table" else None,
                    (0, 0, 0) if same and output.manifest.kind == "table" else output.difference,
                    reasons,
                )
            )
            self.publish(output.name)
        self.warnings += [("warning", f"{step.name}: {w}") for w in record.warnings]
        self._finish(node)

    def _warn_if_not_deterministic(self, node: Node, outputs: tuple[Output, ...]) -> None:
        """Say so where the same key gave another digest before; the new output wins."""
        assert node.key is not None
        known = self.recall.trace(node.key)
        is_pure = self.graph.recipes[self.graph.steps[node.name].recipe].pure
        for output in outputs:
            if is_pure and output.name in known and known[output.name][1] != output.manifest.digest:
                text = f"'{output.name}' came out differently from the same inputs: the new output is taken"
                self.warnings.append(("not-deterministic", text))

    def _commit(self, node: Node, spec: AttemptSpec, record: AttemptRecord, via: str) -> dict[str, bool]:
        """Commit the outputs of an attempt; whether each equals its last version, by name.

        An output that equals its last version keeps that version's parts; the new ones are removed again.
        """
        assert node.key is not None
        outputs: dict[str, Manifest | int] = {}
        is_same = {}
        for output in record.outputs:
            current = self.recall.currents.get(output.name)
            is_same[output.name] = current is not None and current.digest == output.manifest.digest
            keep = is_same[output.name] and self._has_parts({output.name: (current.manifest_id, current.digest)})  # type: ignore[union-attr]
            outputs[output.name] = current.manifest_id if keep and current else output.manifest
        recipe = self.graph.recipes.get(self.graph.steps[node.name].recipe) if node.kind == "step" else None
        commit = Commit(
            node.name,
            node.key,
            node.fields,
            outputs,
            via,
            record.wall_s,
            record.cpu_s,
            record.peak_rss_bytes,
            None if recipe is None else (recipe.fingerprint, recipe.items),
            {
                (self.recall.currents[o.name].digest, o.manifest.digest): o.difference
                for o in record.outputs
                if o.difference is not None and o.name in self.recall.currents
            },
        )
        numbers = self.committer.built(self.run_number, time.time(), commit, self._attempt(node, spec, record, "done"))
        for output in record.outputs:
            if isinstance(outputs[output.name], int):
                self._drop(output.manifest)
            self._know(output.name, output.manifest.digest, numbers[output.name])
        return is_same

    def _drop(self, manifest: Manifest) -> None:
        """Remove parts that nothing names."""
        for part in manifest.parts:
            disk.remove(self.workplace.store / part.path)
            disk.remove(self.workplace.store / (part.path + ".rows"))

    # -- ends ------------------------------------------------------------------------------------------------------

    def _finish(self, node: Node) -> None:
        """A node is done: those that waited for it alone are ready."""
        node.is_done = True
        cause = self.failed.get(self._id(node))
        self.observer.event("ended", self._id(node), error=cause.code if cause and not node.is_blocked else None)
        for name in node.readers:
            reader = self.nodes[name]
            reader.waits -= 1
            if reader.waits == 0:
                self.arrived.append(reader)

    def _report(self, report: TargetReport) -> None:
        self.targets.append(report)
        self.observer.event("target", report.name, outcome=report.outcome, rows=report.rows)

    def _placed(self, node: Node, cause: BuilderError) -> BuilderError:
        """An error with a place: where the recipe or source is declared, for one that has none of its own."""
        step = self.graph.steps.get(node.name) if node.kind == "step" else None
        base = node.name if node.kind == "pin" else node.name.partition("[")[0]
        declared = self.graph.recipes[step.recipe] if step else self.situation.declarations[base]
        cause.place = cause.place or str(declared.place)
        return cause

    def _fail_source(
        self, node: Node, cause: BuilderError, attempt: Attempt | None, wall_s: float = 0.0, cpu_s: float = 0.0
    ) -> None:
        cause = self._placed(node, cause)
        self.failed[self._id(node)] = cause
        if node.kind == "source":
            self.committer.failed(self.run_number, node.name, node.key, cause, attempt)
            self.sources.append(SourceReport(node.name, "failed", wall_s=wall_s, cpu_s=cpu_s, error=cause))
        elif attempt is not None:
            self.committer.tried(self.run_number, attempt)
        self._after_failure()
        self._finish(node)

    def _fail_step(self, node: Node, cause: BuilderError, attempt: Attempt | None, record: AttemptRecord) -> None:
        cause = self._placed(node, cause)
        self.failed[node.name] = cause
        self.committer.failed(self.run_number, node.name, node.key, cause, attempt)
        reasons = node.verdict.reasons if node.verdict else ()
        for target in self.graph.steps[node.name].targets:
            self._report(
                TargetReport(
                    target,
                    "failed",
                    "full",
                    record.wall_s,
                    record.cpu_s,
                    record.peak_rss_bytes,
                    reasons=reasons,
                    error=cause,
                )
            )
        self._after_failure()
        self._finish(node)

    def _after_failure(self) -> None:
        if self.is_fail_fast:
            self.is_stopping = True

    def _block(self, node: Node, cause: BuilderError) -> None:
        """A node cannot be had because something before it failed."""
        self.failed[node.name] = cause
        node.is_blocked = True
        for target in self.graph.steps[node.name].targets:
            reason = Reason("upstream", cause.target or "", f"failed: {cause.code}")
            self._report(TargetReport(target, "blocked", reasons=(reason,)))
        self._finish(node)


def lost(spec_id: str, code: str, message: str, hint: str, facts: list[tuple[str, str]] | None = None) -> Ended:
    """The end of an attempt whose worker could not report."""
    problem = error(code, message, hint=hint, facts=facts or [])
    return Ended(spec_id, AttemptRecord(spec_id, error=problem.to_json()), is_lost=True)
