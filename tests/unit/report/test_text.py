"""Reports as text: the cause first, what follows under it, one closing line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from builder.compile.bounds import Bounds
from builder.compile.predict import Choice
from builder.compile.schedule import Schedule, Slot
from builder.errors import error
from builder.execute.report import Run, SourceReport, TargetReport
from builder.plan.plan import make_plan
from builder.plan.verdict import Reason, State
from builder.report.text import explanation_text, run_text, status_text, unique_errors, wrapped
from builder.report.timetable import plan_text
from builder.report.values import Explanation, PlanReport, SourceStatus, Status, TargetStatus, Updates

FRESH = SourceStatus("counties", "unchanged", 1, 10, (), "data/counties.geojson")


def source(**changes: Any) -> SourceStatus:
    told = {
        "name": "airports",
        "state": "changed",
        "files": 1,
        "bytes": 2_000_000,
        "reasons": ("data/airports.csv changed",),
        "shown": "data/airports.csv",
    }
    return SourceStatus(**(told | changes))


def target(name: str, state: State, root: tuple[str, str], reason: Reason | None = None) -> TargetStatus:
    reasons = (reason or Reason(root[0], root[1], "changed"),)
    return TargetStatus(name, name.partition("[")[0], (), state, reasons, None, (), (root,))


def status(*targets: TargetStatus, sources: tuple[SourceStatus, ...] = (FRESH,), **changes: Any) -> str:
    told = {
        "project": "airports",
        "sensed_s": 0.04,
        "sources": sources,
        "targets": targets,
        "predicted_s": None,
        "workers": 2,
    }
    return status_text(Status(**(told | changes)))


AIRPORTS = ("source", "airports")
CHANGED = [
    target("clean", State.STALE, AIRPORTS),
    target("counts", State.PENDING, AIRPORTS),
    *(target(f"state[s={s}]", State.PENDING, AIRPORTS) for s in "abc"),
]


def test_a_fresh_project_is_one_line() -> None:
    text = status(TargetStatus("a", "a", (), State.FRESH, (), None, ()))
    assert text == "airports · all 1 target fresh · 1 source unchanged, looked at in 40 ms"


def test_a_changed_source_stands_above_what_follows_from_it() -> None:
    lines = status(*CHANGED, sources=(source(), FRESH), predicted_s=3.2).splitlines()
    assert lines == [
        "airports · 1 of 2 sources changed · 5 of 5 targets not fresh · about 3.2 s on 2 workers",
        "  airports  changed  data/airports.csv",
        "    stale    clean",
        "    pending  counts, state[*] (3) … may prove fresh",
        "  builder explain NAME says why; builder rebuild brings all up to date",
    ]


ROWS = {"rows": 12_579, "rows_before": 12_573}


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (
            {**ROWS, "difference": (59, 53, 72)},
            "  12,573 → 12,579 rows · 184 of 12,579 rows changed (59 added, 53 removed, 72 changed)",
        ),
        ({**ROWS, "difference": (6, 0, 0)}, "  12,573 → 12,579 rows · 6 of 12,579 rows changed (6 added)"),
        ({"rows": 7, "rows_before": 7, "difference": (0, 0, 0)}, "  7 → 7 rows · none of 7 rows changed"),
        (ROWS, "  12,573 → 12,579 rows"),
        ({"rows_before": 12_573}, ""),
    ],
)
def test_rows_are_told_where_they_were_counted(told: dict[str, Any], said: str) -> None:
    lines = status(*CHANGED, sources=(source(**told),)).splitlines()
    assert lines[1] == f"  airports  changed  data/airports.csv{said}"


@pytest.mark.parametrize(
    ("updates", "lines"),
    [
        (Updates(9, 12, 1.23, 8.4), ["  as updates  9 of 12 steps, about 1.2 s of work instead of 8.4 s"]),
        (Updates(1, 1, 0.05, 0.013), ["  as updates  1 of 1 step, about 50 ms of work instead of 13 ms"]),
        (Updates(1, 3, None, 2.0), ["  as updates  1 of 3 steps"]),
        (Updates(0, 3, 0.0, 0.0), []),
        (None, []),
    ],
)
def test_what_updates_save_is_told_before_the_closing_line(updates: Updates | None, lines: list[str]) -> None:
    told = status(*CHANGED, sources=(source(),), updates=updates).splitlines()
    assert [line for line in told if line.startswith("  as updates")] == lines
    assert told[-1 - len(lines) : -1] == lines or not lines


def test_new_sources_are_told_with_their_size() -> None:
    text = status(
        target("clean", State.MISSING, ("missing", "never built")), sources=(source(state="new", reasons=()),)
    )
    assert "1 of 1 source new" in text and "data/airports.csv, 2.0 MB" in text
    assert "  never built\n    missing  clean" in text


@pytest.mark.parametrize(
    ("root", "detail", "line"),
    [
        (("recipe", "clean"), "changed", "  recipe clean  changed"),
        (("environment", "shapely"), "changed", "  library shapely  changed"),
        (("project", "metadata/a.yaml"), "changed", "  metadata/a.yaml  changed"),
        (("failed", "clean"), "its last attempt failed", "  clean  failed last time"),
        (("missing", "its outputs are not whole"), "its outputs are not whole", "  its outputs are not whole"),
    ],
)
def test_each_other_cause_has_its_words(root: tuple[str, str], detail: str, line: str) -> None:
    text = status(target("a", State.STALE, root, Reason(root[0], root[1], detail)))
    assert line in text.splitlines()


def test_a_problem_of_a_source_is_told_in_full() -> None:
    problem = error("source-missing", "'airports' is not there", place="data/airports.csv", hint="put it back")
    text = status(target("clean", State.BLOCKED, AIRPORTS), sources=(source(state="missing", problem=problem),))
    assert "    error[source-missing]: 'airports' is not there" in text and "put it back" in text
    assert "    blocked  clean" in text


def test_each_target_is_told_once_though_it_has_two_causes() -> None:
    both = TargetStatus("x", "x", (), State.STALE, (), None, (), (AIRPORTS, ("recipe", "x")))
    assert status(both, sources=(source(),)).count("    stale    x") == 1


def test_what_is_gone_and_what_was_changed_in_out_is_told() -> None:
    text = status(retired=("old",), unpublished=2)
    assert (
        "gone from the project, and from out/ with the next rebuild: old" in text
        and "2 published files in out/" in text
    )


def test_long_lists_are_wrapped_under_their_label() -> None:
    lines = wrapped("  built     ", ", ".join(f"target_number_{i}" for i in range(30)))
    assert len(lines) > 3 and all(len(line) <= 110 for line in lines)
    assert all(line.startswith(" " * 12) for line in lines[1:])


# -- a run -------------------------------------------------------------------------------------------------------------


def run(*targets: TargetReport, **changes: Any) -> Run:
    told = {"name": "r7", "outcome": "built", "wall_s": 1.5, "targets": targets, "project": "airports"}
    return Run(**(told | changes))


def test_a_run_with_nothing_to_do_is_one_line() -> None:
    assert run_text(run(outcome="nothing", fresh=61)) == "airports · nothing to do: 61 targets fresh · 1.5 s"


def test_a_run_tells_outcomes_folded_and_closes_with_totals() -> None:
    targets = [TargetReport("a", "built"), *(TargetReport(f"m[k={i}]", "unchanged") for i in range(3))]
    sources = (SourceReport("airports", "read", 100, (3, 1, 6)), SourceReport("counties", "unchanged", 5, (0, 0, 0)))
    assert run_text(run(*targets, sources=sources, fresh=4)).splitlines() == [
        "  airports: read · 10 of 100 rows changed (3 added, 1 removed, 6 changed)",
        "  counties: unchanged · 5 rows, none changed",
        "  built     a",
        "  unchanged m[*] (3)",
        "airports · r7 built · 1 built, 3 unchanged, 4 fresh · 1.5 s",
    ]


def test_a_first_reading_is_no_change() -> None:
    assert "airports: read · 100 rows\n" in run_text(run(sources=(SourceReport("airports", "read", 100, (100, 0, 0)),)))


def test_failures_come_with_their_errors_once_and_the_blocked_after_them() -> None:
    cause = error("recipe-error", "'split' raised", place="recipes/a.py:3", hint="mend it", target="split")
    targets = [TargetReport(n, "failed", error=cause) for n in ("split.a", "split.b")]
    text = run_text(run(*targets, TargetReport("after", "blocked"), outcome="failed"))
    assert text.count("error[recipe-error]") == 1
    assert text.index("error[") < text.index("  blocked   after") < text.index("airports · r7 failed")
    assert unique_errors(run(*targets)) == [cause]


def test_warnings_and_what_left_are_told() -> None:
    text = run_text(run(warnings=(("not-deterministic", "'a' came out differently"),), retired=("old",)))
    assert "  warning[not-deterministic]: 'a' came out differently" in text
    assert "  gone      old (no longer part of the project)" in text


# -- a plan and an explanation -----------------------------------------------------------------------------------------


def test_an_empty_plan_says_so(world: Any, remembered: Any) -> None:
    plan = make_plan(world("", {}).situation, remembered)
    assert plan_text(PlanReport(plan, Schedule((), 2, 0.0), "t")) == "nothing to do: all is fresh"


def test_a_plan_groups_steps_by_their_reason_and_closes_with_the_bound(world: Any, remembered: Any) -> None:
    plan = make_plan(world("s -> a b", {"s": "1"}).situation, remembered)
    slots = (
        Slot("s", "intake", "run", (), 1.0, 2.0, 0.0, 1.0),
        Slot("a", "target", "run", (("db", 1),), 1.0, 1.0, 1.0, 2.0),
        Slot("b", "target", "run", (), 1.0, 1.0, 1.0, 2.0),
    )
    schedule = Schedule(slots, 2, 2.0, Bounds(2.0, 1.5, {"db": 1.0}, 2.0, "critical path"))
    assert plan_text(PlanReport(plan, schedule, "t")).splitlines() == [
        "      0 s – 1.0 s   read     s",
        "    1.0 s – 2.0 s   run      a  (never built)  lane db",
        "    1.0 s – 2.0 s   run      b  (never built)",
        "  bounds   critical path 2.0 s · work on 2 workers 1.5 s · lane db 1.0 s",
        "2 steps to run, 0 to restore, 1 source to take in · about 2.0 s on 2 workers · bound by critical path",
    ]


def updated(name: str, at_s: float, choice: Choice | None) -> Slot:
    """A step that is predicted to take a second."""
    way = "update" if choice is not None and choice.is_update else "run"
    return Slot(name, "target", way, (), 1.0, 1.0, at_s, at_s + 1.0, None, choice)


@pytest.fixture
def updating(world: Any, remembered: Any) -> PlanReport:
    """A plan in which members of a family are updates that take different times, and one step runs whole."""
    members = [f"m[k={k}]" for k in "abc"]
    plan = make_plan(world(f"s -> {' '.join(members)} w x", {"s": "1"}).situation, remembered)
    choices = [Choice(True, n / 4, float(n), 10 * n) for n in (1, 2, 3)]
    slots = [updated(name, float(n), choice) for n, (name, choice) in enumerate(zip(members, choices, strict=True))]
    slots += [updated("w", 3.0, Choice(False, 0.75, 0.5, 1_000)), updated("x", 4.0, None)]
    schedule = Schedule(tuple(slots), 1, 5.0, Bounds(1.0, 5.0, {}, 5.0, "work"))
    return PlanReport(plan, schedule, "t", sources=(source(name="s", **ROWS, difference=(59, 53, 72)),))


def test_a_plan_tells_the_rows_that_changed_and_what_updates_save(updating: PlanReport) -> None:
    assert plan_text(updating).splitlines() == [
        "  s: 184 of 12,579 rows changed (59 added, 53 removed, 72 changed)",
        "      0 s – 3.0 s   update   m[*] (3)  (never built; 60 rows to look at, 1.5 s as updates, 6.0 s whole)",
        "    3.0 s – 4.0 s   run      w  (never built; 1,000 rows to look at, 750 ms as an update, 500 ms whole)",
        "    4.0 s – 5.0 s   run      x  (never built)",
        "  bounds   critical path 1.0 s · work on 1 worker 5.0 s",
        "  as updates  3 of 5 steps, about 1.5 s of work instead of 6.0 s",
        "5 steps to run, 0 to restore, 0 sources to take in · about 5.0 s on 1 worker · bound by work",
    ]


def test_a_plan_tells_of_a_few_sources_and_counts_the_others(updating: PlanReport) -> None:
    many = tuple(source(name=f"s{n}", rows=n, rows_before=9) for n in range(20))
    lines = plan_text(replace(updating, sources=(source(name="unread"), *many))).splitlines()
    assert lines[:2] == ["  s0: 9 → 0 rows", "  s1: 9 → 1 row"]
    assert lines[11:13] == ["  s11: 9 → 11 rows", "  … 8 more sources"]


def test_an_explanation_shows_values_cut_and_what_is_read() -> None:
    made = Explanation(
        "a",
        State.STALE,
        (Reason("source", "s", "changed", "a" * 64, "b" * 64), Reason("version", "a", "changed", "1")),
        ("b",),
        (("s", "c" * 64), ("longer", None)),
        ("s", "b", "a"),
        recipe="a",
        place="recipes/a.py:3",
    )
    assert explanation_text(made).splitlines() == [
        "a is stale  (a, recipes/a.py:3)",
        "  source      s changed",
        "              aaaaaaaaaaaa → bbbbbbbbbbbb",
        "  version     a changed",
        "              1 → none",
        "  waits for   b",
        "  because     s → b → a",
        "  reads       s       cccccccccccc",
        "  reads       longer  not known yet",
    ]


def test_a_fresh_target_is_explained_too_and_many_inputs_are_folded() -> None:
    inputs = tuple((f"m[k={i}]", "d") for i in range(20))
    text = explanation_text(Explanation("a", State.FRESH, (), (), inputs))
    assert "every field of its build key is as it was when it was built" in text
    assert "  reads       m[*] (20)" in text
