"""What a node needs when it waits for nothing any more: nothing, a restore, or a run.

Decides by the same verdict as planning, now that every digest a step reads is known. Starts and commits nothing.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial

from builder.execute.nodes import Kind, Node, schema_node, sums_node
from builder.execute.outcomes import Outcomes
from builder.execute.ways import Ways
from builder.nouns import replace
from builder.plan.keys import columns_read, key_of, step_fields
from builder.plan.plan import Plan, digest_of_read, source_fields
from builder.plan.verdict import Action, State, judge
from builder.store.manifest import read_digest
from builder.store.recall import Recall


class Readiness:
    """Settles what can be settled without a run, and tells the outcome."""

    def __init__(self, plan: Plan, recall: Recall, outcomes: Outcomes, ways: Ways) -> None:
        self.plan = plan
        self.ways = ways
        self.graph = plan.situation.graph
        self.recall = recall
        self.outcomes = outcomes

    def is_settled(self, node: Node) -> bool:
        """Whether a node is done without a run: fresh, restored, noted, blocked or failed."""
        if node.kind is Kind.STEP:
            return self._is_step_settled(node)
        return node.kind is Kind.SOURCE and self._is_source_settled(node)

    def unsummed(self, node: Node) -> list[str]:
        """The tables of which a step reads columns whose sums are not known: its key is not, until they are."""
        if node.step is None or any(self.graph.maker.get(n, n) in self.outcomes.failed for n in node.step.reads):
            return []
        return [
            name
            for edge in node.step.edges
            if edge.columns is not None
            for name in edge.names
            if sums_node(name) not in self.outcomes.failed and self._lacks_sums(name, columns_read(edge))
        ]

    def _lacks_sums(self, name: str, columns: tuple[str, ...] | None) -> bool:
        version = self.outcomes.versions.get(name)
        if version is None or version.manifest is None:
            return False
        with suppress(KeyError):  # a column that is not there
            return read_digest(self.recall.manifest(version.manifest), columns) is None
        return False

    def _is_source_settled(self, node: Node) -> bool:
        """Whether a source needs no intake: it has a problem, was taken in before, or is a source of files."""
        situation = self.outcomes.situation
        sensed = situation.sources[node.name]
        problem = sensed.problem or self.outcomes.failed.get(schema_node(sensed.base))
        if problem is not None:
            self.outcomes.fail(node, problem)
            return True
        verdict = self.plan.sources[node.name]
        node.fields = source_fields(node.name, situation)
        node.key = key_of(node.fields)
        if verdict.action is Action.RESTORE and verdict.outputs and self.outcomes.has_parts(verdict.outputs):
            self.outcomes.restore_source(node, *verdict.outputs[node.name])
            return True
        if not situation.is_table(node.name):
            self.outcomes.note_files(node)
            return True
        return False

    def _is_step_settled(self, node: Node) -> bool:
        """Whether a step need not run: something before it failed, it proves fresh, or the store has its outputs."""
        step = node.step
        assert step is not None
        needs = (self.graph.maker.get(n, n) for n in step.reads)
        needed = (*needs, *map(sums_node, step.reads))
        cause = next((self.outcomes.failed[n] for n in needed if n in self.outcomes.failed), None)
        if cause is not None:
            self.outcomes.block(node, cause)
            return True
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
            made_by=self.graph.recipes[step.recipe].made_by,
        )
        node.key = verdict.key
        planned = self.plan.verdicts[node.name].reasons
        if verdict.reasons == planned:  # one copy is enough: the report keeps it
            verdict = node.verdict = replace(verdict, reasons=planned)
        if verdict.state is State.FRESH and verdict.outputs is not None:
            self.outcomes.fresh(node, verdict.outputs)
            return True
        if verdict.action is Action.RESTORE and verdict.outputs and self.outcomes.has_parts(verdict.outputs):
            reasons = verdict.reasons or self.plan.verdicts[node.name].reasons
            self.outcomes.restore_step(node, verdict.outputs, reasons)
            return True
        refusal = self.ways.refusal(node, step)
        if refusal is not None:
            self.outcomes.fail(node, refusal)
        return refusal is not None
