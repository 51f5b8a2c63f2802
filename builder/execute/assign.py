"""Attempts as workers get them: a node's work with its inputs by reference, under an id that is never used again."""

from __future__ import annotations

from builder.execute.nodes import Kind, Node
from builder.execute.outcomes import Outcomes
from builder.execute.spec import AttemptSpec
from builder.execute.ways import Ways
from builder.execute.work import Workplace, intake_attempt, pin_attempt, recipe_attempt, sums_attempt
from builder.graph.grains import PIECE_ROWS, PIECEWISE, edge_of
from builder.store.manifest import unsummed
from builder.store.recall import Recall


class Assignments:
    """Makes the attempts of one run."""

    def __init__(self, workplace: Workplace, recall: Recall, outcomes: Outcomes, run: int, ways: Ways) -> None:
        self.workplace = workplace
        self.recall = recall
        self.outcomes = outcomes
        self.run = run
        self.ways = ways

    def most_slots(self, node: Node) -> int:
        """How many slots a node can use at once where they are idle: one for each piece that a full run of it goes in.

        0 where it uses what it asks for: a step of a small table, or one that is brought up to date, is not spread; nor
        one that holds a lane, whose units say how many may use it at a time.
        """
        graph, step = self.outcomes.graph, node.step
        edge = edge_of(graph.recipes[step.recipe].grain, step.edges) if step is not None else None
        if step is None or step.slots > 1 or step.lanes or edge is None or edge.shape != "one":
            return 0
        version = self.outcomes.versions.get(edge.names[0])
        if version is None or version.manifest is None:
            return 0
        pieces = self.recall.manifest(version.manifest).rows // PIECE_ROWS
        if pieces < 2 or graph.recipes[step.recipe].grain.kind not in PIECEWISE:
            return 0
        update = self.ways.update(node, step, self.ways.previous(step.targets))
        return pieces if update is None or update.is_audited else 0

    def next(self, node: Node, epoch: int) -> AttemptSpec:
        """The next attempt at a node, under an epoch."""
        node.attempts += 1
        node.starts += 1
        identity = f"{node.id}-{epoch}-{self.run}-{node.starts}"
        situation = self.outcomes.situation
        if node.kind is Kind.PIN:
            return pin_attempt(self.workplace, situation, node.name, identity, self.run)
        if node.kind is Kind.SUMS:
            version = self.outcomes.versions[node.name]
            assert version.manifest is not None
            manifest = self.recall.manifest(version.manifest)
            columns = unsummed(manifest, self.ways.read_apart[node.name])
            return sums_attempt(self.workplace, node.name, manifest, columns, identity, self.run)
        if node.step is None:
            previous = self.ways.previous([node.name])
            apart = self.ways.read_apart.get(node.name, ())
            return intake_attempt(self.workplace, situation, node.name, identity, self.run, previous, apart)
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
