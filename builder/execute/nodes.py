"""The work of a run as nodes: what waits for what, and how each looks to the scheduling policy.

Decides what has to be done before what: the schema of a family before its members, a source before its readers, a
step before the steps that read it. Linear in nodes and edges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from builder.compile.policy import PACKED_S, Job
from builder.digests import Digest
from builder.graph.graph import Step
from builder.plan.keys import Field
from builder.plan.plan import Plan
from builder.plan.verdict import Action, Verdict

UNKNOWN_S = 1.0


class Kind(StrEnum):
    """What a node does: fix a family's schema, take a source in, sum columns of a table, run a step."""

    PIN = "pin"
    SOURCE = "source"
    SUMS = "sums"
    STEP = "step"


@dataclass(slots=True)
class Node:
    """One piece of work; ``name`` is the source's, step's or family's, ``id`` is unique among all nodes.

    ``attempts`` are those that count; ``starts`` are all, also those that were taken back by nobody's fault.
    """

    id: str
    name: str
    kind: Kind
    job: Job
    step: Step | None = None
    waits: int = 0
    readers: list[str] = field(default_factory=list)
    is_done: bool = False
    is_blocked: bool = False
    is_guess: bool = False
    attempts: int = 0
    starts: int = 0
    verdict: Verdict | None = None
    key: Digest | None = None
    fields: list[Field] = field(default_factory=list)

    def forget(self) -> None:
        """Let go of what only a node that is not done needs: a long run stays small."""
        self.verdict = None
        self.key = None
        self.fields = []

    @property
    def timeout_s(self) -> float | None:
        """Seconds after which an attempt is killed; None: never."""
        return self.step.timeout_s if self.step else None


def schema_node(base: str) -> str:
    """The id of the node that finds a family's schema."""
    return f"schema of {base}"


def sums_node(name: str) -> str:
    """The id of the node that sums columns of a table."""
    return f"columns of {name}"


def make_sums_node(name: str, order: int, reader: Node) -> Node:
    """The node that sums columns of a table, which a reader waits for."""
    identity = sums_node(name)
    job = Job(identity, order, UNKNOWN_S, reader.job.depth_s + UNKNOWN_S, reader.job.is_first, reader.job.priority)
    return Node(identity, name, Kind.SUMS, job)


def make_nodes(plan: Plan, predicted_s: Mapping[str, float | None], first: frozenset[str]) -> dict[str, Node]:
    """The nodes of a plan by id, in topological order, each with the longest predicted way to the end."""
    graph = plan.situation.graph
    nodes: dict[str, Node] = {}
    for base in families_to_pin(plan):
        _add(nodes, schema_node(base), base, Kind.PIN, UNKNOWN_S, None, frozenset())
    for name in plan.intakes:
        _add(nodes, name, name, Kind.SOURCE, predicted_s.get(name), None, first)
        _link(nodes, schema_node(graph.sources[name].base), name)
    for name in plan.steps:
        _add(nodes, name, name, Kind.STEP, predicted_s.get(name), graph.steps[name], first)
        for need in dict.fromkeys(graph.maker.get(n, n) for n in graph.steps[name].reads):
            _link(nodes, need, name)
    for node in reversed(nodes.values()):
        below_s = max((nodes[r].job.depth_s for r in node.readers), default=0.0)
        node.job = replace(node.job, depth_s=below_s + node.job.predicted_s)
    return nodes


def _add(
    nodes: dict[str, Node],
    identity: str,
    name: str,
    kind: Kind,
    predicted_s: float | None,
    step: Step | None,
    first: frozenset[str],
) -> None:
    seconds = UNKNOWN_S if predicted_s is None else predicted_s
    job = Job(identity, len(nodes), seconds, 0.0, name in first)
    if step is not None:
        if step.timeout_s is not None:
            seconds = max(seconds, PACKED_S)  # what may be killed must not take others with it: never packed
        job = replace(
            job,
            predicted_s=seconds,
            priority=step.priority,
            lanes=step.lanes,
            slots=step.slots,
            memory_bytes=step.memory_bytes,
            needs=step.abilities,
        )
    nodes[identity] = Node(identity, name, kind, job, step, is_guess=predicted_s is None)


def _link(nodes: dict[str, Node], need: str, identity: str) -> None:
    """Let one node wait for another where that one is to be done at all."""
    if need in nodes:
        nodes[need].readers.append(identity)
        nodes[identity].waits += 1


def families_to_pin(plan: Plan) -> list[str]:
    """Families of tables whose schema no version has fixed yet: it is found over all members together."""
    situation = plan.situation
    sources = situation.graph.sources
    bases = dict.fromkeys(
        sources[n].base
        for n in plan.intakes
        if sources[n].params
        and situation.is_table(n)
        and situation.sources[n].problem is None
        and plan.sources[n].action is Action.RUN
    )
    return [b for b in bases if b not in situation.pins]
