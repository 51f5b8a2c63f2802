"""Attempts as workers get them: a node's work with its inputs by reference, under an id that is never used again."""

from __future__ import annotations

from builder.execute.nodes import Kind, Node
from builder.execute.outcomes import Outcomes
from builder.execute.spec import AttemptSpec
from builder.execute.ways import Ways
from builder.execute.work import Workplace, intake_attempt, pin_attempt, recipe_attempt
from builder.store.recall import Recall


class Assignments:
    """Makes the attempts of one run."""

    def __init__(self, workplace: Workplace, recall: Recall, outcomes: Outcomes, run: int, ways: Ways) -> None:
        self.workplace = workplace
        self.recall = recall
        self.outcomes = outcomes
        self.run = run
        self.ways = ways

    def next(self, node: Node, epoch: int) -> AttemptSpec:
        """The next attempt at a node, under an epoch."""
        node.attempts += 1
        node.starts += 1
        identity = f"{node.id}-{epoch}-{self.run}-{node.starts}"
        situation = self.outcomes.situation
        if node.kind is Kind.PIN:
            return pin_attempt(self.workplace, situation, node.name, identity, self.run)
        if node.step is None:
            previous = self.ways.previous([node.name])
            return intake_attempt(self.workplace, situation, node.name, identity, self.run, previous)
        previous = self.ways.previous(node.step.targets)
        return recipe_attempt(
            self.workplace,
            situation,
            node.step,
            identity,
            self.run,
            self.outcomes.versions.__getitem__,
            self.recall.manifest,
            previous,
            self.ways.update(node, node.step, previous),
        )
