"""Attempts as workers get them: a node's work with its inputs by reference, under an id that is never used again."""

from __future__ import annotations

from collections.abc import Iterable

from builder.execute.nodes import Kind, Node
from builder.execute.outcomes import Outcomes
from builder.execute.spec import AttemptSpec
from builder.execute.work import Workplace, intake_attempt, pin_attempt, recipe_attempt
from builder.store.manifest import Manifest
from builder.store.recall import Recall


class Assignments:
    """Makes the attempts of one run."""

    def __init__(self, workplace: Workplace, recall: Recall, outcomes: Outcomes, run: int) -> None:
        self.workplace = workplace
        self.recall = recall
        self.outcomes = outcomes
        self.run = run

    def next(self, node: Node, epoch: int) -> AttemptSpec:
        """The next attempt at a node, under an epoch."""
        node.attempts += 1
        node.starts += 1
        identity = f"{node.id}-{epoch}-{self.run}-{node.starts}"
        situation = self.outcomes.situation
        if node.kind is Kind.PIN:
            return pin_attempt(self.workplace, situation, node.name, identity, self.run)
        if node.step is None:
            previous = self._previous([node.name])
            return intake_attempt(self.workplace, situation, node.name, identity, self.run, previous)
        return recipe_attempt(
            self.workplace,
            situation,
            node.step,
            identity,
            self.run,
            self.outcomes.versions.__getitem__,
            self.recall.manifest,
            self._previous(node.step.targets),
        )

    def _previous(self, names: Iterable[str]) -> dict[str, Manifest]:
        """The present manifests of these names."""
        found = {n: self.recall.currents[n] for n in names if n in self.recall.currents}
        return {n: self.recall.manifest(c.manifest_id) for n, c in found.items()}
