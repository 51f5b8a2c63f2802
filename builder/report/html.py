"""Reports as small HTML tables for notebooks."""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import Any

from builder.execute.report import Run
from builder.plan.verdict import State
from builder.report.text import (
    about,
    closing_text,
    families_of,
    reason_text,
    source_text,
    sources_run_text,
    unique_errors,
    updates_text,
)
from builder.report.timetable import Row, at, closing, rows, sources_said
from builder.report.values import PlanReport, SourceStatus, Status, Updates, folded, updates_of
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
PLAN_HEAD = ["when", "action", "steps", "why", "rows to look at", "as updates", "whole", "lanes"]
ALWAYS_SHOWN = 4
"""So many of a plan's columns stand whether or not there is anything in them."""
RUN_HEAD = ["target", "outcome", "rows", "added", "removed", "changed", "looked at", "time"]


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
    """The status: a headline, what updates save, the sources that changed and the targets that are not fresh."""
    totals = status.totals
    fresh = f"{totals['fresh']:,} of {count_text(totals['targets'], 'target')} fresh"
    said = [f"<b>{escape(status.project)}</b>", fresh]
    if status.predicted_s:
        said.append(about(status.predicted_s, status.workers))
    head = f"<p>{' · '.join(said)}</p>" + _updates_html(status.updates)
    sources = [
        [escape(s.name), _badge(s.state), _rows_html(s), escape(_source_why(s))]
        for s in status.sources
        if s.state != "unchanged"
    ]
    targets = [
        [escape(t.name), _badge(t.state.value), escape("; ".join(reason_text(r) for r in t.reasons[:2]))]
        for t in status.targets
        if t.state is not State.FRESH
    ]
    parts = [table(["source", "state", "rows", "why"], sources)] if sources else []
    parts += [table(["target", "state", "why"], targets)] if targets else []
    return head + "".join(parts)


def _rows_html(source: SourceStatus) -> str:
    """The rows of a source, before and now, where both are known."""
    if source.rows is None or source.rows_before is None:
        return ""
    return f"{source.rows_before:,} → {source.rows:,}"


def _source_why(source: SourceStatus) -> str:
    """Why a source counts as changed: its rows where they were counted, else its files."""
    return source_text(source) if source.difference is not None else ", ".join(source.reasons)


def _updates_html(updates: Updates | None) -> str:
    """How many steps are updates, and what that saves."""
    said = updates_text(updates)
    return f"<p>as updates {said}</p>" if said else ""


def plan_html(report: PlanReport) -> str:
    """The plan: what changed, how long it takes, and the timetable."""
    head = f"<p><b>{escape(closing(report))}</b></p>"
    if not report.schedule.slots:
        return head
    families = families_of(report.plan.situation.graph.targets)
    cells = [_plan_cells(row, families) for row in rows(report)]
    shown = [n for n in range(len(PLAN_HEAD)) if n < ALWAYS_SHOWN or any(line[n] for line in cells)]
    head += "".join(f"<p>{escape(line.strip())}</p>" for line in sources_said(report))
    head += _updates_html(updates_of(report.schedule))
    return head + table([PLAN_HEAD[n] for n in shown], [[line[n] for n in shown] for line in cells])


def _plan_cells(row: Row, families: dict[str, int]) -> list[str]:
    """One line of the timetable."""
    when = f"{at(min(row.starts_s))} – {at(max(row.ends_s))}" if row.starts_s else ""
    ways = [f"{row.rows:,}", at(row.update_s), at(row.full_s)] if row.choices else [""] * 3
    said = [row.word, ", ".join(folded(row.names, families)), row.why]
    return [when, *map(escape, said), *ways, escape(", ".join(row.lanes))]


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
    """What a run did: the sources that it took in, then target by target."""
    cells = [
        [
            escape(t.name),
            _badge(t.outcome),
            _number(t.rows),
            *map(_number, t.difference or (None, None, None)),
            _number(t.tested),
            seconds_text(t.wall_s) if t.wall_s else "",
        ]
        for t in run.targets
    ]
    head = f"<p><b>{escape(closing_text(run))}</b></p>"
    head += "".join(f"<p>{escape(line.strip())}</p>" for line in sources_run_text(run))
    return head + table(RUN_HEAD, cells) + "".join(preformatted(str(e)) for e in unique_errors(run))


def _number(count: int | None) -> str:
    """A count; empty where it is not known."""
    return "" if count is None else f"{count:,}"
