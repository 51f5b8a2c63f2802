"""Outcomes: how each node ends, committed to the ledger and told in the report.

Decides what is written together: a step's outputs, trace and pointers, and all that ended in one turn of the driver's
loop, in one transaction. Never starts anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from builder.digests import Digest
from builder.errors import BuilderError
from builder.execute.nodes import Kind, Node
from builder.execute.report import SourceReport, TargetReport
from builder.execute.spec import AttemptRecord, AttemptSpec, IntakeSpec, Output, SumsSpec, Work
from builder.execute.work import Workplace
from builder.plan.basis import rule_of
from builder.plan.keys import key_of
from builder.plan.plan import Plan, Version, source_fields
from builder.plan.verdict import Reason
from builder.sense.pins import write_pin
from builder.situation import Situation
from builder.store.commits import Attempt, Commit, Committer, Restore
from builder.store.manifest import Manifest
from builder.store.parts import drop_parts
from builder.store.recall import Recall
from builder.store.records import AUDIT


@dataclass(frozen=True, slots=True)
class Finished:
    """A node whose present attempt brought what it should."""

    node: Node
    spec: AttemptSpec
    record: AttemptRecord


@dataclass(frozen=True, slots=True)
class Waiting:
    """Work to be committed with the next, and what follows once it is: ``then`` gets the numbers of its manifests."""

    work: Commit | Restore
    then: Callable[[Mapping[str, int]], None]


class Outcomes:
    """What a run has brought so far: versions that others may read, failures, and the rows of the report."""

    def __init__(
        self,
        plan: Plan,
        recall: Recall,
        committer: Committer,
        run: int,
        workplace: Workplace,
        publish: Callable[..., None],
        tell: Callable[..., None],
    ) -> None:
        self.plan = plan
        self.situation: Situation = plan.situation
        self.graph = plan.situation.graph
        self.recall = recall
        self.committer = committer
        self.run = run
        self.workplace = workplace
        self.publish = publish
        self.tell = tell
        self.versions: dict[str, Version] = dict(plan.versions)
        self.failed: dict[str, BuilderError] = {}
        self.targets: list[TargetReport] = []
        self.sources: list[SourceReport] = []
        self.warnings: list[tuple[str, str]] = []
        self.fresh_steps: list[str] = []
        self.distrusted: set[str] = set()
        """Recipes of which a full run refuted an update in this run."""
        self._waiting: list[Waiting] = []
        self._to_publish: list[str] = []

    def commit_all(self, finished: Sequence[Finished]) -> list[Node]:
        """Commit what attempts brought, with all that waits, in one transaction; then report and publish it.

        Returns the nodes that have to run again: updated by what turned out to be no update.
        """
        for one in finished:
            self._distrust(one)
        again = []
        for one in finished:
            if self._is_distrusted(one):
                self._take_back(one)
                again.append(one.node)
            elif one.node.kind is Kind.PIN:
                self._pin(one.node.name, one.record.outputs[0].manifest)
            elif one.node.kind is Kind.SUMS:
                number = self.versions[one.node.name].manifest
                assert number is not None
                self.committer.summed(number, one.record.outputs[0].manifest)
            else:
                self._waiting.append(self._source(one) if one.node.kind is Kind.SOURCE else self._step(one))
        self.flush()
        return again

    def flush(self) -> None:
        """Commit what waits: restores, and notes of sources of files. A kill before loses them; they are cheap."""
        waiting, self._waiting = self._waiting, []
        numbers = self.committer.commit_all(self.run, time.time(), [w.work for w in waiting])
        for one, outputs in zip(waiting, numbers, strict=True):
            one.then(outputs)
        to_publish, self._to_publish = self._to_publish, []
        self.publish(*to_publish)  # also of nothing: what is written aside may be whole by now

    def _report(self, report: TargetReport) -> None:
        """Add a target to the report, and tell of it."""
        self.targets.append(report)
        self.tell("target", report.name, outcome=report.outcome, rows=report.rows)

    def _report_source(self, report: SourceReport) -> None:
        """Add a source to the report, and tell of it."""
        self.sources.append(report)
        self.tell("source", report.name, outcome=report.outcome, rows=report.rows)

    # -- without running -------------------------------------------------------------------------------------------

    def fresh(self, node: Node, outputs: Mapping[str, tuple[int, Digest]]) -> None:
        """A step proved fresh: its present outputs stand."""
        for target, (number, digest) in outputs.items():
            self.versions[target] = Version(digest, number)
            self.tell("fresh", target)
        self.fresh_steps.append(node.name)

    def forget_failures(self) -> None:
        """Steps that proved fresh have no failure any more."""
        known = [s for s in self.fresh_steps if s in self.recall.failures]
        if known:
            self.committer.cleared(known)

    def restore_source(self, node: Node, number: int, digest: Digest) -> None:
        """Point a source at a version that was taken in before."""
        assert node.key is not None
        difference = self._difference(node.name, digest)
        self.versions[node.name] = Version(digest, number)

        def then(numbers: Mapping[str, int]) -> None:
            if self.situation.is_table(node.name):
                rows = self.recall.manifest(number).rows
                self._report_source(SourceReport(node.name, "restored", rows, difference))

        self._waiting.append(Waiting(Restore(node.name, node.key, {node.name: number}), then))

    def note_files(self, node: Node) -> None:
        """Note the present version of a source of files, which needs no intake."""
        sensed = self.situation.sources[node.name]
        assert sensed.content is not None and node.key is not None
        manifest = Manifest("files", sensed.content, (), bytes=sensed.bytes)
        self._waiting.append(Waiting(Commit(node.name, node.key, node.fields, {node.name: manifest}), lambda _: None))

    def restore_step(self, node: Node, outputs: Mapping[str, tuple[int, Digest]], reasons: tuple[Reason, ...]) -> None:
        """Point a step's targets at what the store has."""
        assert node.step is not None and node.key is not None
        chosen = {t: outputs[t] for t in node.step.targets}
        differences = {t: self._difference(t, digest) for t, (_, digest) in chosen.items()}
        self.versions.update((t, Version(digest, number)) for t, (number, digest) in chosen.items())

        def then(numbers: Mapping[str, int]) -> None:
            for target, number in numbers.items():
                manifest = self.recall.manifest(number)
                rows = manifest.rows if manifest.kind == "table" else None
                counts = differences[target]
                self._report(TargetReport(target, "restored", "store", rows=rows, difference=counts, reasons=reasons))
                self._to_publish.append(target)

        self._waiting.append(Waiting(Restore(node.name, node.key, {t: n for t, (n, _) in chosen.items()}), then))

    def _difference(self, name: str, digest: Digest) -> tuple[int, int, int] | None:
        """Rows that differ between the present version and another that the store has, where that was counted."""
        current = self.recall.currents.get(name)
        return None if current is None else self.recall.ledger.difference(current.digest, digest)

    def has_parts(self, outputs: Mapping[str, tuple[int, Digest]]) -> bool:
        """Whether every part of these outputs lies in the store: a hit with a missing part is a miss."""
        return all(self._has_manifest(number) for number, _ in outputs.values())

    def _has_manifest(self, number: int) -> bool:
        """Whether every part of one output lies in the store."""
        return all((self.workplace.store / p.path).exists() for p in self.recall.manifest(number).files)

    # -- after an attempt ------------------------------------------------------------------------------------------

    def _pin(self, base: str, manifest: Manifest) -> None:
        """Fix a source's schema as a file of the project, before anything is committed under it."""
        assert manifest.schema is not None
        if self.situation.pins.get(base) != manifest.schema:
            write_pin(self.workplace.project, base, manifest.schema)
            self.situation = replace(self.situation, pins={**self.situation.pins, base: manifest.schema})

    def _source(self, one: Finished) -> Waiting:
        """A source that was taken in, to be committed."""
        node, record = one.node, one.record
        (output,) = record.outputs
        base = self.graph.sources[node.name].base
        if base not in self.situation.pins:
            self._pin(base, output.manifest)
        node.fields = source_fields(node.name, self.situation)
        node.key = key_of(node.fields)
        commit, is_same = self._commit(one)

        def then(numbers: Mapping[str, int]) -> None:
            self._take(record, commit, numbers)
            outcome = "unchanged" if is_same[node.name] else "read" if output.via == "full" else "updated"
            difference = (0, 0, 0) if is_same[node.name] else output.difference
            costs = (record.wall_s, record.cpu_s)
            self._report_source(SourceReport(node.name, outcome, output.manifest.rows, difference, *costs))

        return Waiting(commit, then)

    def _step(self, one: Finished) -> Waiting:
        """A step that ran, to be committed."""
        node, record = one.node, one.record
        self._warn_if_not_deterministic(node, record.outputs)
        commit, is_same = self._commit(one)

        def then(numbers: Mapping[str, int]) -> None:
            self._take(record, commit, numbers)
            for output in record.outputs:
                self._report(self._built(node, record, output, is_same[output.name]))
                self._to_publish.append(output.name)

        return Waiting(commit, then)

    def _built(self, node: Node, record: AttemptRecord, output: Output, is_same: bool) -> TargetReport:
        """The report on a target whose step ran."""
        is_table = output.manifest.kind == "table"
        assert node.verdict is not None
        return TargetReport(
            output.name,
            "unchanged" if is_same else "built" if output.via == "full" else "updated",
            output.via,
            record.wall_s,
            record.cpu_s,
            record.peak_rss_bytes,
            output.manifest.rows if is_table else None,
            (0, 0, 0) if is_same and is_table else output.difference,
            node.verdict.reasons or self.plan.verdicts[node.name].reasons,
            tested=output.tested,
        )

    def _warn_if_not_deterministic(self, node: Node, outputs: tuple[Output, ...]) -> None:
        """Say so where the same key gave another digest before; the new output wins."""
        assert node.step is not None
        recipe = self.graph.recipes[node.step.recipe]
        if node.key is None or not recipe.pure or self.recall.made_by(node.key) not in recipe.made_by:
            return  # what another grain or own update gave says nothing of the recipe
        known = self.recall.trace(node.key)
        for output in outputs:
            if output.name in known and known[output.name][1] != output.manifest.digest:
                text = f"'{output.name}' came out differently from the same inputs: the new output is taken"
                self.warnings.append(("not-deterministic", text))

    def _distrust(self, one: Finished) -> None:
        """Where a full run refuted an update: say so, and let no update of this recipe count any more."""
        rule = next((o.refuted for o in one.record.outputs if o.refuted), "")
        if rule:
            self.refute(one.node)
            means = "what it reads" if rule == "where" else f"its {rule}"
            text = f"'{one.node.name}' came out otherwise by {means} than from nothing: it runs whole from now on"
            self.warnings.append(("not-a-row-recipe" if rule in ("rows", "groups") else "not-deterministic", text))

    def refute(self, node: Node) -> None:
        """Let no update of a step's recipe count any more, nor what any gave before: it is not what its grain says.

        What is known of the store is asked for anew, lest an output come back that an update had given.
        """
        assert node.step is not None
        recipe = self.graph.recipes[node.step.recipe]
        self.committer.distrusted(recipe.name, recipe.fingerprint, recipe.update)
        self.recall.forget_traces()
        self.distrusted.add(recipe.name)

    def _is_distrusted(self, one: Finished) -> bool:
        """Whether an attempt brought the unproven update of a recipe whose updates count no more."""
        update = one.spec.update
        first = one.record.outputs[0] if one.record.outputs else None
        is_update = update is not None and first is not None and first.via != "full" and not first.is_audited
        return is_update and one.node.step is not None and one.node.step.recipe in self.distrusted

    def _take_back(self, one: Finished) -> None:
        """Let go of what an attempt brought; it is noted as one that does not count."""
        for output in one.record.outputs:
            drop_parts(self.workplace.store, output.manifest, one.spec.previous[output.name])
        self.tried(one.node, one.spec, one.record, "refuted")

    def _commit(self, one: Finished) -> tuple[Commit, dict[str, bool]]:
        """What to commit of an attempt, and whether each output equals its last version, by name.

        An output that equals its last version keeps that version's parts.
        """
        node, record = one.node, one.record
        assert node.key is not None
        outputs: dict[str, Manifest | int] = {}
        is_same = {}
        differences: dict[tuple[str, str], tuple[int, int, int]] = {}
        for output in record.outputs:
            current = self.recall.currents.get(output.name)
            is_same[output.name] = current is not None and current.digest == output.manifest.digest
            outputs[output.name] = output.manifest
            if current is None:
                continue
            if is_same[output.name] and self._has_manifest(current.manifest_id):
                outputs[output.name] = current.manifest_id
            if output.difference is not None:
                differences[current.digest, output.manifest.digest] = output.difference
        recipe = self.graph.recipes[node.step.recipe] if node.step else None
        commit = Commit(
            node.name,
            node.key,
            node.fields,
            outputs,
            record.outputs[0].via,
            record.wall_s,
            record.cpu_s,
            record.peak_rss_bytes,
            None if recipe is None else (recipe.fingerprint, recipe.items),
            differences,
            self.attempt(node, one.spec, record, "done"),
            self._read(node),
            "" if recipe is None else recipe.grain.text,
            self._made_by(one),
        )
        return commit, is_same

    def _made_by(self, one: Finished) -> str | None:
        """What outputs were made by, as far as their recipe says it; empty where something else was noted."""
        node, output = one.node, one.record.outputs[0]
        assert node.key is not None
        if node.step is not None:
            recipe = self.graph.recipes[node.step.recipe]
            if rule_of(node.step, recipe) in ("rows", "groups", "update"):
                if output.in_pieces:
                    return recipe.in_pieces
                if output.via != "full" and not output.is_audited:
                    base = self.recall.built_key(node.step.name)
                    return recipe.updated(self.recall.made_by(base) if base else "")
        return "" if self.recall.made_by(node.key) else None

    def _read(self, node: Node) -> dict[str, int]:
        """The manifest of each table that a step read, by number, where an update may ever start from them."""
        if node.step is None or rule_of(node.step, self.graph.recipes[node.step.recipe]) == "whole":
            return {}
        found = ((name, self.versions[name].manifest) for name in node.step.reads)
        return {name: number for name, number in found if number is not None}

    def _take(self, record: AttemptRecord, commit: Commit, numbers: Mapping[str, int]) -> None:
        """Let others read what was committed; parts that are not needed, since the last version's are, go."""
        for output in record.outputs:
            number = commit.outputs[output.name]
            if isinstance(number, int):
                drop_parts(self.workplace.store, output.manifest, self.recall.manifest(number))
            self.versions[output.name] = Version(output.manifest.digest, numbers[output.name])

    def attempt(self, node: Node, spec: AttemptSpec, record: AttemptRecord, outcome: str) -> Attempt:
        """An attempt as the ledger remembers it."""
        return Attempt(
            node.id,
            node.attempts,
            outcome,
            spec.log.removeprefix(f"{self.workplace.store}/"),
            time.time(),
            record.wall_s,
            record.cpu_s,
            record.peak_rss_bytes,
            node.step.recipe if node.step else node.name.partition("[")[0],
            *volume_in(spec.work),
            sum(output.manifest.bytes for output in record.outputs),
            sum(output.manifest.rows for output in record.outputs),
            way_of(spec, record),
            max((o.tested or 0 for o in record.outputs), default=0),
        )

    # -- failures --------------------------------------------------------------------------------------------------

    def tried(self, node: Node, spec: AttemptSpec, record: AttemptRecord, code: str) -> None:
        """Note an attempt that will be repeated."""
        self.committer.tried(self.run, self.attempt(node, spec, record, code))

    def fail(
        self, node: Node, cause: BuilderError, spec: AttemptSpec | None = None, record: AttemptRecord | None = None
    ) -> None:
        """A node failed; what was built before stays as it is."""
        cause = self._placed(node, cause.about(node.name))
        self.failed[node.id] = cause
        record = record or AttemptRecord("")
        attempt = self.attempt(node, spec, record, cause.code) if spec is not None else None
        if node.kind in (Kind.PIN, Kind.SUMS):
            if attempt is not None:
                self.committer.tried(self.run, attempt)
            return
        self.committer.failed(self.run, node.name, node.key, cause, attempt)
        if node.kind is Kind.SOURCE:
            report = SourceReport(node.name, "failed", wall_s=record.wall_s, cpu_s=record.cpu_s, error=cause)
            self._report_source(report)
            return
        assert node.step is not None
        reasons = node.verdict.reasons if node.verdict else ()
        costs = (record.wall_s, record.cpu_s, record.peak_rss_bytes)
        for target in node.step.targets:
            self._report(TargetReport(target, "failed", "full", *costs, reasons=reasons, error=cause))

    def block(self, node: Node, cause: BuilderError) -> None:
        """A node cannot be had because something before it failed."""
        assert node.step is not None
        self.failed[node.id] = cause
        node.is_blocked = True
        reason = Reason("upstream", cause.target or "", f"failed: {cause.code}")
        for target in node.step.targets:
            self._report(TargetReport(target, "blocked", reasons=(reason,)))

    def _placed(self, node: Node, cause: BuilderError) -> BuilderError:
        """An error with a place: where the recipe or source is declared, for one that has none of its own."""
        step = node.step.name if node.step is not None else self.graph.maker.get(node.name)
        if step is not None:
            declared = self.graph.recipes[self.graph.steps[step].recipe].place
        else:
            declared = str(self.situation.declarations[node.name.partition("[")[0]].place)
        cause.place = cause.place or declared
        return cause


def way_of(spec: AttemptSpec, record: AttemptRecord) -> str:
    """How an attempt went: by a rule, whole, or both ways where the update was audited."""
    first = record.outputs[0] if record.outputs else None
    if (spec.update is not None and spec.update.is_audited) or (first is not None and first.is_audited):
        return AUDIT
    return first.via if first is not None else "full"


def volume_in(work: Work) -> tuple[int, int]:
    """(bytes, rows) that an attempt is given to read; a source's files, and inputs that are no tables, have no rows."""
    if isinstance(work, IntakeSpec):
        return sum(f.bytes for f in work.files), 0
    if isinstance(work, SumsSpec):
        return work.manifest.bytes, work.manifest.rows
    items = [item for given in work.inputs for item in given.items]
    size = sum(item.manifest.bytes if item.manifest else sum(f.bytes for f in item.files or ()) for item in items)
    return size, sum(item.manifest.rows for item in items if item.manifest)
