"""What changed is said in records, by `status --read`, `plan` and their views, against the version that readers saw."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

RECIPES = """
    b.source("people", "data/people.csv", key="id", columns={"name": "string", "age": "int64", "city": "string"})
    b.source("towns", "data/towns.csv", key="city")

    @b.recipe(key="id", grain=b.rows("people"))
    def older(people):
        return people.assign(age=people["age"] + 1)

    @b.recipe(key="id", inputs={"ages": b.read("people", columns=["id", "age"])})
    def ages(ages):
        return ages

    @b.recipe(key="city")
    def places(towns):
        return towns
"""
PEOPLE = {n: f"{n},name {n},{n % 80},X" for n in range(1, 101)}
CHANGES = {3: None, 4: None, 7: "7,other,7,X", 201: "201,new,1,X", 202: "202,new,1,X", 203: "203,new,1,X"}
SENTENCE = "6 of 101 rows changed (3 added, 2 removed, 1 changed)"


@pytest.fixture
def project(site: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A built project: of people a step by rows and one that reads two columns, and of towns another."""
    monkeypatch.setattr("builder.compile.choice.always", True)
    site.recipe(RECIPES)
    site.write("data/towns.csv", "city,size\nX,1\n")
    write(site, {})
    site.built()
    return site


def write(site: Any, changes: dict[int, str | None]) -> None:
    """The people, with some changed, added, or taken out."""
    lines = [line for line in (PEOPLE | changes).values() if line is not None]
    site.write("data/people.csv", "\n".join(["id,name,age,city", *lines, ""]))


def taken_in(site: Any, changes: dict[int, str | None]) -> None:
    """The people with these changes, taken in and read by nobody yet."""
    write(site, changes)
    site.project.read_sources(inline=True)


def rows_of(report: dict[str, Any], name: str = "people") -> tuple[Any, ...]:
    """What a report's JSON says of the rows of a source."""
    source = next(s for s in report["sources"] if s["name"] == name)
    fields = ("state", "rows_before", "rows", "rows_changed", "rows_added", "rows_removed")
    return tuple(source[f] for f in fields)


def updates_line(text: str) -> str:
    """The line on updates in a report."""
    (line,) = [line for line in text.splitlines() if line.startswith("  as updates")]
    return line


def test_status_read_says_how_many_rows_changed_and_what_updates_save(project: Any) -> None:
    write(project, CHANGES)
    text = project.main("status", "--read").stdout
    assert text.splitlines()[1] == f"  people  changed  data/people.csv  100 → 101 rows · {SENTENCE}"
    assert re.fullmatch(r"  as updates  1 of 2 steps, about .+ of work instead of .+", updates_line(text))
    found = json.loads(project.main("status", "--json").stdout)
    assert rows_of(found) == ("changed", 100, 101, 6, 3, 2)
    assert rows_of(found, "towns") == ("unchanged", 1, 1, 0, 0, 0)
    assert (found["updates"]["steps"], found["updates"]["of"]) == (1, 2)
    assert found["updates"]["update_s"] > 0 and found["updates"]["full_s"] > 0


def test_what_was_not_taken_in_yet_is_not_known(project: Any) -> None:
    write(project, CHANGES)
    found = json.loads(project.main("status", "--json").stdout)
    assert rows_of(found) == ("changed", 100, None, None, None, None)
    assert found["updates"] is None
    assert "as updates" not in project.main("status").stdout
    plan = project.main("plan").stdout
    assert "read     people" in plan
    assert "rows changed" not in plan and "as updates" not in plan
    assert rows_of(json.loads(project.main("plan", "--json").stdout)) == ("changed", 100, None, None, None, None)


def test_a_plan_says_so_of_what_was_taken_in_before_and_of_nothing_else(project: Any) -> None:
    taken_in(project, CHANGES)
    text = project.main("plan").stdout
    assert text.splitlines()[0] == f"  people: {SENTENCE}"
    assert updates_line(text).startswith("  as updates  1 of 2 steps, about ")
    found = json.loads(project.main("plan", "--json").stdout)
    assert [s["name"] for s in found["sources"]] == ["people"] and rows_of(found) == ("changed", 100, 101, 6, 3, 2)
    ways = [(s["update_s"], s["full_s"]) for s in found["steps"] if s["action"] == "update"]
    assert ways == [(found["updates"]["update_s"], found["updates"]["full_s"])]
    assert json.loads(project.main("plan", "places", "--json").stdout)["sources"] == []


def test_notebooks_see_the_same(project: Any) -> None:
    taken_in(project, CHANGES)
    status, plan = project.project.status()._repr_html_(), project.project.plan()._repr_html_()
    assert f'100 → 101</td><td style="text-align:left">{SENTENCE}</td>' in status
    assert f"<p>people: {SENTENCE}</p>" in plan and "<p>as updates 1 of 2 steps, about " in status


def test_a_status_may_take_in_first(project: Any) -> None:
    write(project, CHANGES)
    assert SENTENCE in str(project.project.status(read=True))
    project.built()
    assert rows_of(project.project.status().to_json()) == ("unchanged", 101, 101, 0, 0, 0)


def test_rows_are_compared_with_the_version_that_readers_saw(project: Any) -> None:
    taken_in(project, CHANGES)
    taken_in(project, {1: "1,other,1,X"})
    found = project.project.status()
    assert rows_of(found.to_json()) == ("changed", 100, 100, None, None, None), "only 100 and 101 rows were compared"
    assert "  people  changed  data/people.csv  100 → 100 rows\n" in str(found)
    taken_in(project, {})
    assert project.project.status().is_fresh, "that is what they saw"


def test_what_readers_do_not_read_is_no_new_version_to_them(project: Any) -> None:
    project.recipe(RECIPES.replace('    @b.recipe(key="id", grain=b.rows("people"))\n    def older', "    def older"))
    project.built()
    taken_in(project, {1: "1,other,1,X"})
    assert project.project.status().is_fresh, "names are not read"
    taken_in(project, {1: "1,other,2,X", 2: "2,other,2,X"})
    assert rows_of(project.project.status().to_json()) == ("changed", 100, 100, 2, 0, 0)


def test_a_version_that_the_store_has_is_known_before_it_is_taken_in(project: Any) -> None:
    write(project, CHANGES)
    project.built()
    write(project, {})
    back = "6 of 100 rows changed (2 added, 3 removed, 1 changed)"
    assert f"data/people.csv  101 → 100 rows · {back}" in project.main("status").stdout
    assert project.main("plan").stdout.splitlines()[0] == f"  people: {back}"
    assert rows_of(project.project.status().to_json()) == ("changed", 101, 100, 6, 2, 3)


def test_a_first_version_has_none_before_it(site: Any) -> None:
    site.recipe(RECIPES)
    site.write("data/towns.csv", "city,size\nX,1\n")
    write(site, {})
    found = site.project.status().to_json()
    assert rows_of(found) == ("new", None, None, None, None, None) and found["updates"] is None
