"""The graph as JSON or DOT, each node coloured by its state."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from builder.plan.plan import Plan

FILLS = {
    "fresh": "#c8e6c9",
    "stale": "#ffcc80",
    "pending": "#ffe0b2",
    "missing": "#eeeeee",
    "failed": "#ef9a9a",
    "blocked": "#f8bbd0",
    "unchanged": "#bbdefb",
    "changed": "#ffcc80",
    "new": "#ffcc80",
}


@dataclass(frozen=True, repr=False)
class GraphReport:
    """The graph of a plan's situation, whole or only some targets with what they need."""

    plan: Plan
    wanted: list[str] | None = None

    def to_json(self) -> dict[str, Any]:
        """Nodes with their states, and edges from what is read to what reads it."""
        graph = self.plan.situation.graph
        steps = set(graph.steps) if self.wanted is None else graph.upstream({graph.maker[t] for t in self.wanted})
        read = {n for s in steps for n in graph.steps[s].reads}
        sources = [n for n in graph.sources if self.wanted is None or n in read]
        nodes = [{"name": n, "kind": "source", "state": self.plan.sources[n].state} for n in sources]
        nodes += [
            {"name": t, "kind": "target", "recipe": step.recipe, "state": self.plan.verdicts[step.name].state.value}
            for step in graph.steps.values()
            if step.name in steps
            for t in step.targets
        ]
        edges = [
            [n, t] for step in graph.steps.values() if step.name in steps for n in step.reads for t in step.targets
        ]
        return {"format": 1, "nodes": nodes, "edges": edges}

    def to_dot(self) -> str:
        """The graph in Graphviz's language; a family stands as one node with the number of its members."""
        value = self.to_json()
        groups: dict[str, list[dict[str, Any]]] = {}
        for node in value["nodes"]:
            groups.setdefault(node["name"].partition("[")[0], []).append(node)
        lines = ["digraph builder {", "  rankdir=LR;", '  node [style="filled,rounded", fontname="Helvetica"];']
        for base, members in groups.items():
            states = {m["state"] for m in members}
            fill = FILLS[states.pop()] if len(states) == 1 else FILLS["stale"]
            label = base if len(members) == 1 and members[0]["name"] == base else f"{base}[*]\n{len(members)}"
            shape = "cylinder" if members[0]["kind"] == "source" else "box"
            lines.append(f"  {_quoted(base)} [label={_quoted(label)}, shape={shape}, fillcolor={_quoted(fill)}];")
        edges = dict.fromkeys((a.partition("[")[0], b.partition("[")[0]) for a, b in value["edges"])
        lines += [f"  {_quoted(a)} -> {_quoted(b)};" for a, b in edges]
        return "\n".join([*lines, "}"])

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return self.to_dot()

    def _repr_html_(self) -> str:
        from builder.report.html import graph_html

        return graph_html(self.to_json())


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
