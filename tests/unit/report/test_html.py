"""Reports as HTML: the facts of the text, in tables."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from builder.compile.predict import Choice
from builder.compile.schedule import Schedule, Slot
from builder.execute.report import Run, SourceReport, TargetReport
from builder.plan.plan import make_plan
from builder.plan.verdict import Reason, State
from builder.report.html import plan_html, run_html, status_html
from builder.report.values import PlanReport, SourceStatus, Status, TargetStatus, Updates

SENTENCE = "184 of 12,579 rows changed (59 added, 53 removed, 72 changed)"
AIRPORTS = SourceStatus(
    "airports", "changed", 1, 9, (), "data/airports.csv", rows=12_579, rows_before=12_573, difference=(59, 53, 72)
)


class Page(HTMLParser):
    """The paragraphs of a piece of HTML and the cells of its tables; what was opened must be closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.paragraphs: list[str] = []
        self.tables: list[list[list[str]]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self._open.append(tag)
        if tag == "p":
            self.paragraphs.append("")
        elif tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "p" in self._open:
            self.paragraphs[-1] += data
        else:
            self.tables[-1][-1][-1] += data


def status(**changes: Any) -> Page:
    reason = Reason("source", "airports", "changed")
    targets = (TargetStatus("clean", "clean", (), State.STALE, (reason,), None, ()),)
    told = {"project": "p", "sensed_s": 0.1, "sources": (AIRPORTS,), "targets": targets, "predicted_s": 3.2}
    return Page(status_html(Status(**(told | {"workers": 2} | changes))))


def test_a_status_tells_the_rows_that_changed_and_what_updates_save() -> None:
    page = status(updates=Updates(9, 12, 1.2, 8.4))
    assert page.paragraphs == [
        "p · 0 of 1 target fresh · about 3.2 s on 2 workers",
        "as updates 9 of 12 steps, about 1.2 s of work instead of 8.4 s",
    ]
    sources, targets = page.tables
    assert sources == [["source", "state", "rows", "why"], ["airports", "changed", "12,573 → 12,579", SENTENCE]]
    assert targets == [["target", "state", "why"], ["clean", "stale", "airports changed"]]


def test_a_status_tells_the_files_where_no_rows_were_counted() -> None:
    unread = SourceStatus("airports", "changed", 1, 9, ("a.csv <changed>",), "a.csv", rows_before=12_573)
    page = status(sources=(unread,), predicted_s=None)
    assert page.paragraphs == ["p · 0 of 1 target fresh"]
    assert page.tables[0][1] == ["airports", "changed", "", "a.csv <changed>"]


def test_a_plan_is_the_timetable_with_the_rows_and_both_times(world: Any, remembered: Any) -> None:
    plan = make_plan(world("s -> m[k=a] m[k=b] m[k=c] x", {"s": "1"}).situation, remembered)
    choices = [Choice(True, n / 4, float(n), 1_000 * n) for n in (1, 2, 3)]
    slots = [
        Slot(f"m[k={k}]", "target", "update", (), 1.0, 1.0, float(n), n + 1.0, None, choice)
        for n, (k, choice) in enumerate(zip("abc", choices, strict=True))
    ]
    slots.append(Slot("x", "target", "run", (("db", 1),), 1.0, 1.0, 3.0, 4.0))
    page = Page(plan_html(PlanReport(plan, Schedule(tuple(slots), 2, None), "t", sources=(AIRPORTS,))))
    assert page.paragraphs == [
        "4 steps to run, 0 to restore, 0 sources to take in",
        f"airports: {SENTENCE}",
        "as updates 3 of 4 steps, about 1.5 s of work instead of 6.0 s",
    ]
    assert page.tables == [
        [
            ["when", "action", "steps", "why", "rows to look at", "as updates", "whole", "lanes"],
            ["0 s – 3.0 s", "update", "m[*] (3)", "never built", "6,000", "1.5 s", "6.0 s", ""],
            ["3.0 s – 4.0 s", "run", "x", "never built", "", "", "", "db"],
        ]
    ]


def test_a_plan_without_choices_or_lanes_has_no_empty_columns(world: Any, remembered: Any) -> None:
    plan = make_plan(world("s -> x", {"s": "1"}).situation, remembered)
    slots = (
        Slot("s", "intake", "run", (), None, 1.0, None, None),
        Slot("x", "target", "run", (), None, 1.0, None, None),
    )
    page = Page(plan_html(PlanReport(plan, Schedule(slots, 2, None), "t")))
    assert page.tables == [[["when", "action", "steps", "why"], ["", "read", "s", ""], ["", "run", "x", "never built"]]]
    assert page.paragraphs == ["1 step to run, 0 to restore, 1 source to take in"]


def test_a_plan_with_nothing_to_do_says_so(world: Any, remembered: Any) -> None:
    plan = make_plan(world("", {}).situation, remembered)
    page = Page(plan_html(PlanReport(plan, Schedule((), 2, 0.0), "t")))
    assert (page.paragraphs, page.tables) == (["nothing to do: all is fresh"], [])


def test_a_run_tells_its_sources_and_of_each_target_what_became_of_its_rows() -> None:
    targets = (
        TargetReport("clean", "updated", "rows", 0.144, rows=12_579, difference=(59, 53, 72), tested=131),
        TargetReport("counts", "built", "full", 2.0, rows=7, difference=(0, 0, 5)),
        TargetReport("picture", "built", "full", 2.0),
    )
    sources = (SourceReport("airports", "updated", 12_579, (59, 53, 72)), SourceReport("bad", "failed"))
    page = Page(run_html(Run("r2", "built", 4.2, targets, sources, fresh=3, project="p")))
    assert page.paragraphs == ["p · r2 built · 2 built, 1 updated, 3 fresh · 4.2 s", f"airports: updated · {SENTENCE}"]
    assert page.tables == [
        [
            ["target", "outcome", "rows", "added", "removed", "changed", "looked at", "time"],
            ["clean", "updated", "12,579", "59", "53", "72", "131", "144 ms"],
            ["counts", "built", "7", "0", "0", "5", "", "2.0 s"],
            ["picture", "built", "", "", "", "", "", "2.0 s"],
        ]
    ]
