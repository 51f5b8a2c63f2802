"""Reports as small HTML tables for notebooks."""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import Any

from builder.execute.report import Run
from builder.plan.verdict import State
from builder.report.text import closing_text, reason_text, unique_errors
from builder.report.values import PlanReport, Status
from builder.sizes import count_text, seconds_text

COLOURS = {
    "fresh": "#2e7d32",
    "unchanged": "#2e7d32",
    "restored": "#2e7d32",
    "built": "#1565c0",
    "updated": "#1565c0",
    "stale": "#ef6c00",
    "pending": "#8d6e63",
    "missing": "#757575",
    "failed": "#c62828",
    "blocked": "#ad1457",
}
MOST_ROWS = 40


def preformatted(text: str) -> str:
    """A text as it is."""
    return f"<pre>{escape(text)}</pre>"


def _badge(state: str) -> str:
    return f'<span style="color:{COLOURS.get(state, "#444")};font-weight:600">{escape(state)}</span>'


def table(head: list[str], rows: list[list[str]], note: str = "") -> str:
    """A table; cells are HTML already."""
    shown = rows[:MOST_ROWS]
    more = f"<p>… and {len(rows) - len(shown)} more</p>" if len(rows) > len(shown) else ""
    cells = "".join("<tr>" + "".join(f'<td style="text-align:left">{c}</td>' for c in row) + "</tr>" for row in shown)
    top = "".join(f'<th style="text-align:left">{escape(h)}</th>' for h in head)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{cells}</tbody></table>{more}{note}"


def status_html(status: Status) -> str:
    """The status: a headline and the targets that are not fresh."""
    totals = status.totals
    head = (
        f"<p><b>{escape(status.project)}</b> · {totals['fresh']} of {count_text(totals['targets'], 'target')} fresh</p>"
    )
    sources = [
        [escape(s.name), _badge(s.state), escape(", ".join(s.reasons))]
        for s in status.sources
        if s.state != "unchanged"
    ]
    targets = [
        [escape(t.name), _badge(t.state.value), escape("; ".join(reason_text(r) for r in t.reasons[:2]))]
        for t in status.targets
        if t.state is not State.FRESH
    ]
    parts = [table(["source", "state", "why"], sources)] if sources else []
    parts += [table(["target", "state", "why"], targets)] if targets else []
    return head + "".join(parts)


def plan_html(report: PlanReport) -> str:
    """The plan's steps in the order they would start."""
    rows = [
        [
            escape(s.name),
            escape(s.action),
            "" if s.predicted_s is None else seconds_text(s.predicted_s),
            escape(", ".join(n for n, _ in s.lanes)),
        ]
        for s in report.schedule.slots
    ]
    return table(["step", "action", "predicted", "lanes"], rows)


def graph_html(value: dict[str, Any]) -> str:
    """The graph's document as a table: families folded, the number of members in each state, and what they read."""
    states: dict[str, Counter[str]] = {}
    for node in value["nodes"]:
        states.setdefault(node["name"].partition("[")[0], Counter())[node["state"]] += 1
    reads: dict[str, dict[str, None]] = {}
    for read, reader in value["edges"]:
        reads.setdefault(reader.partition("[")[0], {})[read.partition("[")[0]] = None
    rows = [
        [
            escape(base),
            ", ".join(f"{n} {_badge(s)}" if counts.total() > 1 else _badge(s) for s, n in counts.items()),
            escape(", ".join(reads.get(base, ()))),
        ]
        for base, counts in states.items()
    ]
    return table(["name", "state", "reads"], rows)


def run_html(run: Run) -> str:
    """What a run did, target by target."""
    rows = [
        [
            escape(t.name),
            _badge(t.outcome),
            "" if t.rows is None else f"{t.rows:,}",
            "" if t.difference is None else f"{sum(t.difference):,}",
            seconds_text(t.wall_s) if t.wall_s else "",
        ]
        for t in run.targets
    ]
    errors = "".join(preformatted(str(e)) for e in unique_errors(run))
    return (
        f"<p><b>{escape(closing_text(run))}</b></p>"
        + table(["target", "outcome", "rows", "changed", "time"], rows)
        + errors
    )
