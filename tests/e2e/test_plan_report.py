"""The plan as users see it, families in reports on one target, and a history that reads no reports."""

from __future__ import annotations

import json
from typing import Any

import pytest

RECIPES = """
    b.source("rows", "data/rows.csv", key="id")

    @b.recipe(inputs={"rows": "rows"}, each={"n": [1, 2, 3]}, key="id")
    def part(rows, n):
        return rows[rows.id <= n]

    @b.recipe(inputs={"one": "part[n=1]"}, lane="db", key="id")
    def late(one):
        return one
"""


@pytest.fixture
def project(site: Any) -> Any:
    site.write("builder.toml", 'name = "plans"\n[lanes]\ndb = 1\n')
    site.write("data/rows.csv", "id,v\n1,1\n2,2\n3,3\n")
    site.recipe(RECIPES)
    return site


def test_a_first_plan_has_an_order_and_no_times(project: Any) -> None:
    assert project.main("plan").stdout.splitlines() == [
        "  read     rows",
        "  run      part[*] (3)  (never built)",
        "  run      late  (never built)  lane db",
        "4 steps to run, 0 to restore, 1 source to take in",
    ]


def test_a_plan_with_times_tells_when_targets_are_ready_and_what_binds(project: Any) -> None:
    project.built()
    lines = project.main("plan", "--all", "--workers", "1000", "--first", "late").stdout.splitlines()
    assert [line.split("–")[1].split()[-3:] for line in lines if "run" in line and "–" in line]
    assert any(
        line.startswith("  ready    ") and "late" in line and "part[*]" not in line.split("late")[0] for line in lines
    )
    assert any(line.startswith("  first    late ready after ") for line in lines)
    (bounds,) = [line for line in lines if line.startswith("  bounds   ")]
    assert "critical path" in bounds and "work on 1,000 workers" in bounds and "lane db" in bounds
    assert lines[-1].startswith("4 steps to run, 0 to restore, 0 sources to take in · about ")
    assert lines[-1].endswith("on 1,000 workers · bound by critical path")


def test_the_json_of_a_plan_has_bounds_no_order_beats_and_what_is_wanted_first(project: Any) -> None:
    project.built()
    found = json.loads(project.main("plan", "--all", "--workers", "1", "--first", "late", "--json").stdout)
    bounds = found["bounds"]
    assert found["predicted_s"] >= bounds["largest_s"] - 1e-3
    assert bounds["largest_s"] >= max(bounds["critical_path_s"], bounds["work_s"], *bounds["lanes"].values()) - 1e-3
    assert found["first"]["targets"] == ["late"] and found["first"]["ready_s"] == found["ready"]["late"]
    assert [s["name"] for s in found["steps"]][:2] == ["part[n=1]", "late"]
    assert all(s["likely_s"][0] <= s["predicted_s"] <= s["likely_s"][1] for s in found["steps"])
    assert json.loads(project.main("plan", "--all", "--json").stdout)["first"] is None


def test_a_dry_run_is_the_plan(project: Any) -> None:
    project.built()
    plan, dry = (project.main(*words).stdout for words in (["plan", "--all"], ["rebuild", "--all", "--dry-run"]))
    assert plan == dry


def test_a_report_on_a_family_says_which_member_is_shown(project: Any) -> None:
    project.built()
    shown = project.main("show", "part").stdout.splitlines()
    assert shown[0] == "3 targets meant; this is the first" and shown[1].startswith("part[n=1] · table")
    assert json.loads(project.main("show", "part", "--json").stdout)["members"] == [
        "part[n=1]",
        "part[n=2]",
        "part[n=3]",
    ]
    assert not project.main("show", "part[n=2]").stdout.startswith("1 target")
    assert project.main("explain", "part").stdout.splitlines()[0] == "0 of 3 targets not fresh; this is the first"


def test_a_family_is_explained_by_its_first_member_that_is_not_fresh(project: Any) -> None:
    project.rebuild(["part[n=1]", "part[n=3]"])
    lines = project.main("explain", "part").stdout.splitlines()
    assert lines[0] == "1 of 3 targets not fresh; this is the first of those"
    assert lines[1].startswith("part[n=2] is missing")


def test_history_reads_totals_and_never_reports(project: Any) -> None:
    project.built()
    before = project.main("history").stdout
    ledger = project.project.ledger()
    ledger.db.execute("UPDATE runs SET report = 'no report at all'")
    ledger.close()
    assert project.main("history").stdout == before and "4 built" in before
