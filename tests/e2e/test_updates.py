"""Updates by grain in whole builds: which rows are looked at, what comes out, and when a step runs whole after all."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import reduce
from typing import Any

import pandas as pd
import pytest
import shapely

from builder.compile import choice
from builder.execute import piecewise, proving, sampling, ways
from builder.project import Project

PEOPLE = "id,team,x\n" + "".join(f"{i},{'abcd'[i % 4]},{i * 10}\n" for i in range(1, 41))
TEAMS = "team,w\na,1\nb,2\nc,3\nd,4\n"
SOURCES = """
people = b.source("people", "data/people.csv", key="id", columns={"id": "int64", "team": "string", "x": "int64"})
teams = b.source("teams", "data/teams.csv", key="team", columns={"team": "string", "w": "int64"})
"""
ROWS = """
@b.recipe(key="id", grain=b.rows("people"))
def doubled(people: pd.DataFrame):
    people["y"] = people["x"] * 2
    return people[people["x"] % 30 != 0]
"""
LOOKUP = """
@b.recipe(key="id", grain=b.rows("people"), inputs={"people": "people", "teams": b.lookup("teams", on="team")})
def weighed(people: pd.DataFrame, teams: pd.DataFrame):
    return people.merge(teams, on="team", how="left").astype({"w": "Int64"})
"""
GROUPS = """
@b.recipe(key="team", grain=b.groups("team", "people"))
def largest(people: pd.DataFrame):
    return people.groupby("team", as_index=False)["x"].max()
"""
COUNTS = """
b.count_by("sizes", of="people", by=["team"], sums={"total": "x"})
"""
OWN = """
@b.recipe(key="id")
def plus(people: pd.DataFrame):
    return people.assign(x=people["x"] + 1)

@plus.update
def plus_update(previous, deltas):
    change = deltas["people"]
    assert change.old(["x"])["x"].notna().all()
    return b.Delta(change.upserts.assign(x=change.upserts["x"] + 1), change.deleted)
"""


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Updates wherever they are allowed: these tables are too small for one to pay; and no audit by luck."""
    monkeypatch.setattr(choice, "always", True)
    monkeypatch.setattr(ways, "AUDITED", 1 << 40)
    yield


@pytest.fixture
def place(site: Any) -> Any:
    site.write("data/people.csv", PEOPLE)
    site.write("data/teams.csv", TEAMS)
    return site


def edited(text: str, **rows: str | None) -> str:
    """A table with rows put in place by the first column, dropped where None, or added."""
    head, *lines = text.splitlines()
    table = {line.partition(",")[0]: line for line in lines}
    for key, line in rows.items():
        table.pop(key.lstrip("_"), None)
        if line is not None:
            table[key.lstrip("_")] = line
    return "\n".join([head, *table.values()]) + "\n"


def target(report: dict[str, Any], name: str) -> dict[str, Any]:
    return next(t for t in report["targets"] if t["name"] == name)


def anew(site: Any) -> Project:
    """A build of the project as it is now, from nothing."""
    shutil.rmtree(site.root / "anew", ignore_errors=True)
    project = Project(replace(site.project.config, store=site.root / "anew/store", out=site.root / "anew/out"))
    project.rebuild(inline=True)
    return project


def assert_as_from_nothing(site: Any) -> None:
    ledger = anew(site).ledger()
    clean = {name: str(current.digest) for name, current in ledger.currents().items()}
    ledger.close()
    assert site.digests() == clean


@pytest.mark.parametrize(
    ("recipe", "name", "via", "changed", "tested"),
    [
        # 3: 30 → 35 comes in (30 is dropped by the recipe); 4: another value; 5 goes; 41 comes; 6 as it was.
        (ROWS, "doubled", "rows", 4, 3),
        (LOOKUP, "weighed", "rows", 4, 3),
        # Teams of 3 (d), 4 (a), 5 (b), 41 (b): the largest of a stays 400, of b 370 becomes 999.
        (GROUPS, "largest", "groups", 1, 3),
        # Two rows changed, one went, one came: b loses and gains one, its sum differs; so do those of a and d.
        (COUNTS, "sizes", "fold", 3, 6),
        (OWN, "plus", "update", 4, 4),
    ],
)
def test_only_what_a_change_touches_is_looked_at(place, recipe, name, via, changed, tested):
    place.recipe(SOURCES + recipe)
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _3="3,d,35", _4="4,a,41", _5=None, _41="41,b,999"))
    report = place.built()
    done = target(report, name)
    assert (done["outcome"], done["via"]) == ("updated", via)
    assert (done["rows_changed"], done["rows_tested"]) == (changed, tested)
    assert_as_from_nothing(place)


def test_a_changed_row_that_is_looked_up_touches_only_its_rows(place):
    place.recipe(SOURCES + LOOKUP)
    place.built()
    place.write("data/teams.csv", edited(TEAMS, b="b,20", d=None))
    done = target(place.built(), "weighed")
    assert (done["via"], done["rows_changed"], done["rows_tested"]) == ("rows", 20, 20)
    weighed = place.load("weighed").set_index("id")["w"]
    assert weighed[1] == 20 and weighed[2] == 3 and pd.isna(weighed[3])
    assert_as_from_nothing(place)


def test_rows_that_come_out_as_they_were_are_not_passed_on(place):
    place.recipe(
        SOURCES
        + """
@b.recipe(key="id", grain=b.rows("people"))
def team_of(people: pd.DataFrame):
    return people[["id", "team"]]

@b.recipe(key="id", grain=b.rows("team_of"))
def after(team_of: pd.DataFrame):
    return team_of
"""
    )
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _3="3,d,35", _4="4,d,40"))
    report = place.built()
    assert [(target(report, n)["rows_changed"], target(report, n)["rows_tested"]) for n in ("team_of", "after")] == [
        (1, 2),
        (1, 1),
    ]
    place.write("data/people.csv", edited(PEOPLE, _3="3,d,36", _4="4,d,40"))
    assert place.outcomes() == {"team_of": "unchanged"}


def test_an_update_writes_a_layer_and_leaves_the_parts_of_the_base_alone(place, in_files):
    place.recipe(SOURCES + ROWS)
    place.built()
    before = {p.name for p in (place.root / ".builder/parts").rglob("*") if p.is_file()}
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41"))
    place.built()
    after = {p.name for p in (place.root / ".builder/parts").rglob("*") if p.is_file()}
    assert before < after
    run = place.project.history("doubled").to_json()["runs"]
    assert len(run) == 2
    assert place.project.load("doubled", run="r1")["x"].tolist() != place.load("doubled")["x"].tolist()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda p: p.recipe(SOURCES + ROWS.replace("* 2", "* 3")), "code"),
        (lambda p: p.recipe(SOURCES + ROWS.replace("grain", "version=2, grain")), "version"),
    ],
)
def test_a_change_of_code_is_never_met_by_an_update(place, change, why):
    place.recipe(SOURCES + ROWS)
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41"))
    change(place)
    assert target(place.built(), "doubled")["via"] == "full"
    assert_as_from_nothing(place)


def test_a_change_that_every_row_may_depend_on_runs_whole(place):
    place.recipe(SOURCES + LOOKUP.replace('b.lookup("teams", on="team")', '"teams"'))
    place.built()
    place.write("data/teams.csv", edited(TEAMS, b="b,20"))
    assert target(place.built(), "weighed")["via"] == "full"


def test_a_dtype_that_hangs_on_all_rows_runs_whole_and_a_declared_one_does_not(place):
    recipe = ROWS.replace('people["x"] * 2', 'people["x"].where(people["x"] != 70)')
    for words, via in (
        ("", "full"),
        ('columns={"id": "int64", "team": "string", "x": "int64", "y": "Int64"}, ', "rows"),
    ):
        place.write("data/people.csv", PEOPLE)
        place.recipe(SOURCES + recipe.replace('key="id"', f'{words}key="id"'))
        place.built()
        place.write("data/people.csv", edited(PEOPLE, _7="7,d,71"))  # the only null goes
        assert target(place.built(), "doubled")["via"] == via
        assert_as_from_nothing(place)


RANK = """
@b.recipe(key="id", grain=b.rows("people"))
def ranked(people: pd.DataFrame):
    return people.assign(r=people["x"].rank())
"""
MEAN = """
@b.recipe(key="id", grain=b.rows("people"))
def filled(people: pd.DataFrame):
    return people.assign(x=people["x"].fillna(people["x"].mean()))
"""
TOTAL = """
@b.recipe(key="team", grain=b.groups("team", "people"))
def shares(people: pd.DataFrame):
    sums = people.groupby("team", as_index=False)["x"].sum()
    return sums.assign(x=sums["x"] / people["x"].sum())
"""


@pytest.mark.parametrize(("recipe", "name"), [(RANK, "ranked"), (MEAN, "filled"), (TOTAL, "shares")])
def test_a_recipe_that_is_not_what_its_grain_says_is_caught_by_its_first_build(place, recipe, name):
    place.write("data/people.csv", PEOPLE.replace(",70\n", ",\n"))
    place.recipe(SOURCES.replace('"x": "int64"', '"x": "float64"') + recipe)
    found = target(place.rebuild(), name)
    assert (found["outcome"], found["error"]["code"]) == ("failed", "not-a-row-recipe")
    assert "in the whole" in str(found["error"])


@pytest.mark.parametrize("of_all", ["1", "people['id'].max() + 1"])
def test_an_update_that_gives_rows_for_others_than_it_was_given_is_refused(place, of_all):
    """Two rows for each person, of which one is somebody else's wherever few people are given."""
    place.recipe(
        SOURCES
        + f"""
@b.recipe(key=["id", "part"], grain=b.rows("people"))
def halves(people: pd.DataFrame):
    owner = people["id"] if len(people) > 5 else {of_all}
    return pd.concat([people.assign(part=0), people.assign(part=1, id=owner)]).sort_values("part", ascending=False)
"""
    )
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41", _7="7,a,71"))
    found = target(place.rebuild(), "halves")["error"]
    assert (found["code"], "gave rows for others" in found["message"]) == ("not-a-row-recipe", True)
    assert len(place.load("halves")) == 80


def test_an_own_update_hears_nothing_of_a_table_without_a_key(place):
    place.write("data/notes.csv", "note\nA\nA\n")
    text = OWN.replace("plus(people: pd.DataFrame)", "plus(people: pd.DataFrame, notes: pd.DataFrame)")
    place.recipe(SOURCES + 'b.source("notes", "data/notes.csv")\n' + text)
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41"))
    assert target(place.built(), "plus")["via"] == "update"
    assert_as_from_nothing(place)
    place.write("data/notes.csv", "note\nA\nB\n")
    place.built()
    assert "'notes' changed, which is no single table with a key" in place.project.log("plus")


def test_an_audit_that_finds_another_result_takes_that_one_and_lets_no_update_count_any_more(place, monkeypatch):
    place.recipe(SOURCES + OWN.replace('change.upserts["x"] + 1', 'change.upserts["x"] + 2'))
    place.built()
    monkeypatch.setattr(ways, "AUDITED", 1)
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41"))
    report = place.built()
    done = target(report, "plus")
    assert (done["via"], done["rows_changed"]) == ("full", 1)
    assert [w["code"] for w in report["warnings"]] == ["not-deterministic"]
    assert_as_from_nothing(place)
    monkeypatch.setattr(ways, "AUDITED", 1 << 40)
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,42"))
    assert target(place.built(), "plus")["via"] == "full"
    assert_as_from_nothing(place)


OF_TEAM = """
@b.recipe(key="id", each={"team": ["a", "b", "c", "d"]}, inputs={"people": b.read("people", where={"team": "{team}"})})
def plus(people: pd.DataFrame, team: str):
    return people.assign(x=people["x"] + 1)

@plus.update
def plus_update(previous, deltas):
    change = deltas["people"]
    return b.Delta(change.upserts.assign(x=change.upserts["x"] + 2), change.deleted)

@b.recipe(key="id", inputs={"teams": "plus[*]"})
def together(teams):
    return pd.concat(list(teams.values()))
"""


def audited(monkeypatch: pytest.MonkeyPatch, team: str) -> None:
    """From now on audit the updates of one team alone."""
    monkeypatch.setattr(ways, "AUDITED", 2)
    monkeypatch.setattr(
        ways, "key_of", lambda fields: "0" * 64 if f"str:{team}" in [value for *_, value in fields] else "f" * 64
    )


@pytest.mark.parametrize("workers", [None, 1, 2])
def test_an_audit_takes_back_what_other_members_were_given_by_the_same_update(place, monkeypatch, workers):
    """Those updated before, those whose updates are under way or ended with it, and what was made of them."""
    place.write("builder.toml", 'publish = "all"\n')
    place.recipe(SOURCES + OF_TEAM)
    place.built()
    people = edited(PEOPLE, _4="4,a,41", _5="5,b,51")  # members a and b become wrong, as nobody knows
    place.write("data/people.csv", people)
    assert {t["via"] for t in place.built()["targets"] if t["name"].startswith("plus")} == {"update"}
    assert place.load("together")["x"].tolist()[3:5] == [43, 53]
    audited(monkeypatch, "c")
    place.write("data/people.csv", edited(people, _6="6,c,61", _7="7,d,71"))
    kwargs = {"inline": True} if workers is None else {"inline": False, "workers": workers}
    run = place.project.rebuild(**kwargs)
    assert run.outcome == "built" and [code for code, _ in run.warnings] == ["not-deterministic"]
    assert {t.name: t.via for t in run.targets if t.name != "together"} == {f"plus[team={t}]": "full" for t in "abcd"}
    assert [t.name for t in run.targets].count("together") == 1
    assert set(place.states().values()) == {"fresh"} and run.is_complete
    published = pd.read_parquet(place.root / "out/together.parquet")
    assert published["x"].tolist()[3:7] == [42, 52, 62, 72]
    assert_as_from_nothing(place)


def test_a_way_that_was_refuted_is_planned_whole_and_the_plan_says_why(place, monkeypatch):
    place.recipe(SOURCES + OWN.replace('change.upserts["x"] + 1', 'change.upserts["x"] + 2'))
    place.built()
    monkeypatch.setattr(ways, "AUDITED", 1)
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41"))
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,42"))
    place.project.read_sources(inline=True)
    plan = place.project.plan()
    (step,) = (s for s in plan.to_json()["steps"] if s["name"] == "plus")
    assert (step["action"], step["why"]) == ("run", "an update of it came out otherwise than a full run")
    assert "whole, for an update of it came out otherwise than a full run" in " ".join(str(plan).split())


def test_a_plan_says_update_where_one_is_required_whatever_it_costs(place, monkeypatch):
    monkeypatch.setattr(choice, "always", False)
    place.recipe(SOURCES + ROWS.replace("grain", 'policy="require", grain'))
    place.built()
    place.write("data/people.csv", PEOPLE.replace("0\n", "1\n"))
    place.project.read_sources(inline=True)
    (step,) = (s for s in place.project.plan().to_json()["steps"] if s["name"] == "doubled")
    assert (step["action"], step["why"], step["rows_changed"]) == ("update", "", 40)
    assert target(place.built(), "doubled")["via"] == "rows"


def test_a_plan_says_why_a_step_with_a_grain_runs_whole(place):
    place.recipe(SOURCES + LOOKUP.replace('b.lookup("teams", on="team")', '"teams"'))
    place.built()
    place.write("data/teams.csv", edited(TEAMS, b="b,20"))
    place.project.read_sources(inline=True)
    (step,) = (s for s in place.project.plan().to_json()["steps"] if s["name"] == "weighed")
    assert (step["action"], step["why"]) == ("run", "'teams' changed, which every row may depend on")
    assert (step["update_s"], step["rows_changed"]) == (None, None)


def test_an_audit_is_no_measure_of_an_update(place, monkeypatch):
    """It takes as long as both ways together: taken for an update, no update would be tried again."""
    place.recipe(SOURCES + ROWS)
    place.built()
    monkeypatch.setattr(ways, "AUDITED", 1)
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41"))
    place.built()
    monkeypatch.setattr(ways, "AUDITED", 1 << 40)
    ledger = place.project.ledger()
    whole, updates = ledger.ways(["doubled"])["doubled"]
    ledger.close()
    assert (len(whole), updates) == (1, [])
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,42"))
    place.built()
    ledger = place.project.ledger()
    assert [len(found) for found in ledger.ways(["doubled"])["doubled"]] == [1, 1]
    ledger.close()


LABELLED = """
@b.recipe(key="team", grain=b.groups("team", "people"), columns={"team": "string", "n": "int64"})
def sizes(people: pd.DataFrame):
    people["team"] = people["team"].fillna("none")
    return people.groupby("team").size().rename("n").reset_index()
"""


@pytest.mark.parametrize("recipe", [TOTAL, LABELLED])
def test_people_of_no_team_are_tried_apart_from_those_of_one(place, recipe):
    """Of a team that is null no row may come: nothing would find it when its people get a team."""
    place.write("data/people.csv", PEOPLE + "41,,30\n")
    place.recipe(SOURCES.replace('"x": "int64"', '"x": "float64"') + recipe)
    (done,) = place.rebuild()["targets"]
    assert (done["outcome"], done["error"]["code"]) == ("failed", "not-a-row-recipe")


DUMMIES = """
@b.recipe(key="id", grain=b.rows("people"))
def dummies(people: pd.DataFrame):
    return pd.get_dummies(people, columns=["team"])
"""
CROSSED = """
@b.recipe(key="team", grain=b.groups("team", "people"))
def crossed(people: pd.DataFrame):
    return pd.crosstab(people["team"], people["x"] % 200 // 190).rename(columns=str).reset_index()
"""
SPREAD = """
@b.recipe(key="id", grain=b.rows("people"))
def spread(people: pd.DataFrame):
    return pd.DataFrame([{"id": i, **dict.fromkeys("yx" if i == 1 else "xy", i)} for i in people["id"]])
"""


@pytest.mark.parametrize(
    ("recipe", "odd"), [(DUMMIES, "team_q"), (CROSSED, "columns team, 0, 1"), (SPREAD, "columns id, y, x")]
)
def test_columns_that_hang_on_the_rows_are_no_grain(place, recipe, odd):
    """A column of one row, one of some teams, and columns in the order of the first row."""
    place.write("data/people.csv", PEOPLE + "41,q,410\n")
    place.recipe(SOURCES + recipe)
    (done,) = place.rebuild()["targets"]
    assert (done["outcome"], done["error"]["code"]) == ("failed", "not-a-row-recipe")
    assert odd in str(done["error"]["facts"])


@pytest.mark.parametrize("recipe", [DUMMIES, SPREAD])
def test_columns_that_no_trial_saw_are_no_update(place, recipe, monkeypatch):
    """The only one of its team goes; the first of all comes with the columns in another order."""
    monkeypatch.setattr(proving, "check_grain", lambda *_: None)
    place.write("data/people.csv", PEOPLE + "41,q,410\n")
    place.recipe(SOURCES + recipe)
    place.built()
    rows = PEOPLE if recipe is DUMMIES else edited(PEOPLE, _0="0,a,0")
    place.write("data/people.csv", rows)
    assert next(iter(place.built()["targets"]))["via"] == "full"
    assert_as_from_nothing(place)


@pytest.mark.parametrize(
    "head",
    [
        'key="id", grain=b.rows("people")',
        'key="id", grain=b.rows("people"), inputs={"people": "people", "teams": b.lookup("teams", on="team")}',
        'key=["team", "id"], grain=b.groups("team", "people")',
    ],
)
def test_a_row_that_went_may_have_made_a_dtype_though_it_gave_no_row(place, head):
    """Of a team that is not there, it makes the weights floats and is dropped."""
    place.write("data/people.csv", PEOPLE + "41,q,410\n")
    place.recipe(
        SOURCES
        + f"""
@b.recipe({head})
def matched(people: pd.DataFrame, teams: pd.DataFrame):
    found = people.merge(teams, on="team", how="left")
    return found[found["w"].notna()]
"""
    )
    place.built()
    place.write("data/people.csv", PEOPLE)
    assert target(place.built(), "matched")["via"] == "full"
    assert_as_from_nothing(place)
    assert str(place.load("matched")["w"].dtype) == "int64"


WEIGHED = """
@b.recipe(HEAD)
def weighed(people: pd.DataFrame):
    known = people[people["x"] > 0].copy()
    known["COLUMN"] = VALUES
    return known[known["COLUMN"]KEPT]
"""
WEIGHTS = 'np.array([{"a": 1, "b": 2, "c": 3, "d": 4}.get(t, np.nan) for t in known["team"]])'
NAMES = '[{"q": "queen"}.get(t, np.nan) for t in known["team"]]'
OWN_WEIGHED = """
@weighed.update
def weighed_update(previous, deltas):
    return b.Delta(None, deltas["people"].deleted)
"""


@pytest.mark.parametrize(
    ("head", "own", "last"),
    [
        ('key="id", grain=b.rows("people")', "", "41,q,0\n"),
        ('key=["team", "id"], grain=b.groups("team", "people")', "", "41,q,0\n"),
        ('key="id"', OWN_WEIGHED, ""),
    ],
)
@pytest.mark.parametrize(
    ("column", "values", "kept"),
    [
        ("w", WEIGHTS, ".notna()"),
        ("x", WEIGHTS, ".notna()"),
        ("w", WEIGHTS, " > 100"),
        ("w", NAMES, ".isna()"),
    ],
    ids=["some", "one of the input", "no row", "no value"],
)
def test_no_row_tells_no_dtype(place, head, own, last, column, values, kept):
    """Of a team that has no weight, the one who made the weights floats goes, or gives nothing sooner.

    That an input has such a column of floats says nothing of it.
    """
    place.write("data/people.csv", PEOPLE + "41,q,410\n")
    sources = SOURCES.replace('"x": "int64"', '"x": "float64"')
    words = {"HEAD": head, "COLUMN": column, "VALUES": values, "KEPT": kept}
    place.recipe("import numpy as np\n" + sources + reduce(lambda t, w: t.replace(*w), words.items(), WEIGHED) + own)
    place.built()
    place.write("data/people.csv", PEOPLE + last)
    assert target(place.built(), "weighed")["via"] == "full"
    assert_as_from_nothing(place)


@pytest.mark.parametrize("by", [3, 10])
@pytest.mark.parametrize("most", [380, 1000])
@pytest.mark.parametrize("last", ["4,a,60", None])
def test_rows_that_stay_tell_the_dtypes(place, by, most, last):
    """Of two outputs the rows that change give one or both nothing; fractions are left in it, or none, or no row."""
    recipe = f"""
@b.recipe(key="id", grain=b.rows("people"), outputs=["good", "bad"], policy="require")
def sorted_out(people: pd.DataFrame):
    people = people.assign(y=people["x"] / {by})
    return {{"good": people[people["x"] < {most}], "bad": people[people["x"] >= {most}]}}
"""
    place.recipe(SOURCES + recipe)
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4=last))
    assert target(place.built(), "sorted_out.good")["via"] == "rows"
    assert_as_from_nothing(place)


@pytest.mark.parametrize("grain", ['b.rows("people")', 'b.groups("team", "people")'])
def test_of_a_large_table_some_rows_that_stay_are_asked(place, grain):
    """Also such as have a row among the few of the output."""
    rows = [f"{i},t{i % 700},{i}" for i in range(1, 7001)]
    place.write("data/people.csv", "\n".join(["id,team,x", *rows, ""]))
    place.recipe(
        SOURCES
        + f"""
@b.recipe(key=["team", "id"], grain={grain}, outputs=["good", "bad"])
def sorted_out(people: pd.DataFrame):
    people = people.assign(y=people["x"] / 1)
    is_good = people["x"] % 1000 != 7
    return {{"good": people[is_good], "bad": people[~is_good]}}
"""
    )
    place.built()
    place.write("data/people.csv", "\n".join(["id,team,x", *rows[:40], *rows[41:], ""]))
    assert target(place.built(), "sorted_out.bad")["via"] == grain[2:].partition("(")[0]
    assert_as_from_nothing(place)


def test_rows_that_stay_of_groups_that_may_be_null(place):
    """As whole numbers they are never null in the key of the output, in the input they may be."""
    place.write("data/people.csv", PEOPLE + "41,a,\n")
    place.recipe(
        SOURCES.replace('"x": "int64"', '"x": "Int64"')
        + """
@b.recipe(key=["x", "id"], grain=b.groups("x", "people"), policy="require")
def sized(people: pd.DataFrame):
    people = people[people["x"].notna()].astype({"x": "int64"})
    return people.assign(n=people.groupby("x")["id"].transform("size"))
"""
    )
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4=None) + "41,a,\n")
    assert target(place.built(), "sized")["via"] == "groups"
    assert_as_from_nothing(place)


MAPPED = """
codes = b.source("codes", "data/codes.csv", key="id", columns={"id": "int64", "code": "Int64"})

@b.recipe(key="id", grain=b.rows("codes"))
def named(codes: pd.DataFrame):
    return codes.assign(r=codes["code"].map({0: 10, 1: 11}))
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [("01" * 10, "01" * 10 + "5"), ("5" * 6, "5" * 6 + "0"), ("01" * 10 + "5", "01" * 10), ("5" * 6, "5" * 7)],
    ids=["a null comes", "a value comes", "the null goes", "another null comes"],
)
def test_dtypes_that_none_of_the_rows_has_alone(place, before, after):
    """In a mapping that has all of the codes, or none, the values are Int64; in one that has some, floats."""
    place.recipe(MAPPED)
    for codes in (before, after):
        place.write("data/codes.csv", "id,code\n" + "".join(f"{i},{code}\n" for i, code in enumerate(codes)))
        place.built()
        assert_as_from_nothing(place)


@pytest.mark.parametrize("people", [PEOPLE, edited(PEOPLE, _4=None), edited(PEOPLE, _4="4,a,41")])
@pytest.mark.parametrize(("before", "after"), [("", "e,0\n"), ("e,0\n", "")], ids=["comes", "goes"])
def test_a_row_that_nobody_looks_up_may_make_a_dtype(place, before, after, people):
    place.recipe(
        SOURCES
        + """
@b.recipe(key="id", grain=b.rows("people"), inputs={"people": "people", "teams": b.lookup("teams", on="team")})
def weighed(people: pd.DataFrame, teams: pd.DataFrame):
    teams["w"] = teams["w"].where(teams["w"] > 0)
    return people.merge(teams, on="team", how="left")
"""
    )
    place.write("data/teams.csv", TEAMS + before)
    place.built()
    place.write("data/teams.csv", TEAMS + after)
    place.write("data/people.csv", people)
    assert target(place.built(), "weighed")["via"] == "full"
    assert_as_from_nothing(place)


def test_a_side_row_that_changes_no_dtype_touches_none_but_its_rows(place):
    place.recipe(SOURCES + LOOKUP.replace("key=", 'policy="require", key='))
    place.built()
    for teams, via in ((TEAMS + "e,0\n", 0), (TEAMS + "e,1\n", 0), (TEAMS.replace("a,1", "a,5"), 10)):
        place.write("data/teams.csv", teams)
        done = target(place.built(), "weighed")
        assert (done["via"], done["rows_tested"]) == ("rows", via)
        assert_as_from_nothing(place)


@pytest.mark.parametrize("last", ["31,e,15\n", ""])
def test_rows_of_no_team_that_stay_make_a_dtype(place, last):
    """Of no team no row comes; what stands in its rows may be narrower than what no row has."""
    place.recipe(
        SOURCES.replace('"x": "int64"', '"x": "float64"')
        + """
@b.recipe(key=["team", "id"], grain=b.groups("team", "people"))
def high(people: pd.DataFrame):
    high = people[people["x"] >= 1000]
    high = high.assign(n=high["x"].map(lambda x: int(x) if x.is_integer() else x))
    return high[high["team"].notna()]
"""
    )
    few = "id,team,x\n" + "".join(f"{i},{'abcd'[i % 4]},{i}\n" for i in range(1, 20)) + "30,,3000\n"
    place.write("data/people.csv", few + "31,e,1500.5\n")
    place.built()
    place.write("data/people.csv", few + last)
    place.built()
    assert_as_from_nothing(place)


@pytest.mark.parametrize("teams", [5, 19, 60])
def test_of_a_small_table_all_rows_that_stay_are_asked(place, teams):
    """The only row that makes whole numbers is in the last group, and gives none."""
    place.recipe(
        "import numpy as np\n"
        + SOURCES
        + """
@b.recipe(key=["team", "id"], grain=b.groups("team", "people"), outputs=["good", "bad"])
def sorted_out(people: pd.DataFrame):
    bad = people[people["x"] >= 1000]
    bad = bad.assign(n=np.array([x // 1000 if x % 1000 == 0 else x / 1000 for x in bad["x"]]))
    return {"good": people[people["x"] < 1000], "bad": bad[bad["n"] < 0]}
"""
    )
    few = "id,team,x\n" + "".join(f"{i},t{i % teams:02},{i}\n" for i in range(120)) + f"130,t{teams - 1:02},3000\n"
    place.write("data/people.csv", few + "131,zz,1500\n")
    place.built()
    place.write("data/people.csv", few)
    place.built()
    assert_as_from_nothing(place)


@pytest.mark.parametrize("outputs", [["good", "bad"], ["good", "bad", "worse"]])
@pytest.mark.parametrize("teams", [6, 19])
def test_the_only_row_that_widens_is_among_those_that_are_asked(place, teams, outputs):
    made = ", ".join(f'"{name}": people[people["x"] >= {i * 1000}]' for i, name in enumerate(outputs))
    place.recipe(
        SOURCES
        + f"""
@b.recipe(key="id", grain=b.groups("id", "people"), outputs={outputs}, policy="require")
def sorted_out(people: pd.DataFrame):
    people["c"] = [None if x == {10 * teams} else x for x in people["x"]]
    return {{{made}}}
"""
    )
    rows = [f"{i},a,{i * 10}\n" for i in range(1, teams + 1)]
    place.write("data/people.csv", "id,team,x\n" + "".join(rows))
    place.built()
    place.write("data/people.csv", "id,team,x\n" + "".join(rows[1:]))
    assert target(place.built(), "sorted_out.good")["via"] == "groups"
    assert_as_from_nothing(place)


def test_rows_that_stay_and_fail_alone_tell_nothing(place, monkeypatch):
    monkeypatch.setattr(proving, "check_grain", lambda *_: None)
    monkeypatch.setattr(sampling, "MOST_ROWS", 10)
    place.recipe(
        SOURCES
        + """
@b.recipe(key="id", grain=b.rows("people"))
def halved(people: pd.DataFrame):
    if 1 < len(people) < 40:
        raise ValueError("some are not here")
    return people.assign(y=people["x"] / 2)[people["x"] != 7]
"""
    )
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,7"))
    assert target(place.built(), "halved")["via"] == "full"
    assert_as_from_nothing(place)


@pytest.mark.parametrize("columns", ["", 'columns={"team": "string", "n": "int64"}, '])
def test_people_of_no_team_are_never_tried_alone(place, columns):
    """A full run sees none without those of a team, so nor need a recipe give anything of them."""
    place.recipe(
        SOURCES
        + f"""
@b.recipe({columns}key="team", grain=b.groups("team", "people"))
def sizes(people: pd.DataFrame):
    return pd.DataFrame([{{"team": team, "n": len(rows)}} for team, rows in people.groupby("team")])
"""
    )
    for teams in ("a", "ab", "abc"):
        rows = "".join(f"{i},{teams[i % len(teams)]},{i}\n" for i in range(12))
        for more in ("12,,5\n", "12,,5\n13,,6\n"):
            place.write("data/people.csv", "id,team,x\n" + rows + more)
            place.built()
            assert_as_from_nothing(place)


@pytest.mark.parametrize(
    "grain", ['key="id", grain=b.rows("people")', 'key=["team", "id"], grain=b.groups("team", "people")']
)
def test_a_change_of_rows_that_are_not_read_is_no_change(place, grain):
    place.recipe(
        SOURCES
        + f"""
@b.recipe({grain}, policy="require", inputs={{"people": b.read("people", where={{"team": "a"}})}})
def doubled(people: pd.DataFrame):
    return people.assign(x=people["x"] * 2)
"""
    )
    place.built()
    for line in ("5,b,51", None):
        place.write("data/people.csv", edited(PEOPLE, _5=line))
        done = target(place.built(), "doubled")
        assert (done["outcome"], done["via"]) == ("unchanged", grain.partition("b.")[2].partition("(")[0])
        assert_as_from_nothing(place)


@pytest.mark.parametrize("recipe", [RANK, TOTAL])
def test_a_fake_grain_that_one_row_could_not_show_is_found_by_its_first_update(place, recipe):
    place.write("data/people.csv", "id,team,x\n7,a,70\n")
    place.recipe(SOURCES.replace('"x": "int64"', '"x": "float64"') + recipe)
    place.built()
    place.write("data/people.csv", "id,team,x\n3,b,30\n7,a,70\n")
    (done,) = place.rebuild()["targets"]
    assert (done["outcome"], done["error"]["code"]) == ("failed", "not-a-row-recipe")


OF_ALL = """
@b.recipe(key=["team", "id"], grain=GRAIN, inputs={"people": READ})
def shares(people: pd.DataFrame):
    return people.assign(x=people["x"] / people["x"].sum()).dropna(subset="team")
"""
BY_TEAM, BY_ROW = 'b.groups("team", "people")', 'b.rows("people")'
ALL, OF_B = '"people"', 'b.read("people", where={"team": "b"})'


def of_all(grain: str, read: str) -> str:
    """Recipe text: each one's share of the sum of all that are read, which is no row's nor group's own."""
    sources = SOURCES.replace('"x": "int64"', '"x": "float64"')
    return sources + OF_ALL.replace("GRAIN", grain).replace("READ", read)


@pytest.mark.parametrize(
    ("grain", "read", "before"),
    [
        (BY_TEAM, ALL, "1,a,10\n2,a,20\n3,a,30\n"),
        (BY_ROW, OF_B, "1,a,10\n2,a,20\n3,b,30\n"),
    ],
)
def test_one_group_or_row_of_many_that_are_there_shows_nothing_either(place, grain, read, before):
    """One team of three, and one row that is read of three."""
    place.write("data/people.csv", "id,team,x\n" + before)
    place.recipe(of_all(grain, read))
    place.built()
    place.write("data/people.csv", "id,team,x\n" + before + "4,b,40\n")
    (done,) = place.rebuild()["targets"]
    assert (done["outcome"], done["error"]["code"]) == ("failed", "not-a-row-recipe")


@pytest.mark.parametrize("grain", [BY_TEAM, BY_ROW])
def test_rows_to_try_are_among_those_that_are_read(place, monkeypatch, grain):
    """Two of 400 are read, and two are tried."""
    monkeypatch.setattr(proving, "MOST_ROWS", 2)
    people = "".join(f"{i},{'a' if i % 200 else 'b'},{i}\n" for i in range(1, 401))
    place.write("data/people.csv", "id,team,x\n" + people)
    where = "{'x': 7.0}" if grain == BY_TEAM else "{'team': 'b'}"
    text = of_all(grain, f'b.read("people", where={where})')
    if grain == BY_TEAM:
        place.write("data/people.csv", "id,team,x\n" + people + "401,c,7\n402,d,7\n")
    place.recipe(text)
    (done,) = place.rebuild()["targets"]
    assert (done["outcome"], done["error"]["code"]) == ("failed", "not-a-row-recipe")


def test_a_group_may_be_called_like_a_count(place):
    place.write("data/people.csv", PEOPLE.replace("team", "count_all"))
    place.recipe(
        (SOURCES + GROUPS)
        .replace('"team": "string", "x"', '"count_all": "string", "x"')
        .replace('key="team", grain=b.groups("team"', 'key="count_all", grain=b.groups("count_all"')
        .replace('groupby("team"', 'groupby("count_all"')
    )
    assert place.built()["outcome"] == "built"
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,999").replace("team", "count_all"))
    assert target(place.built(), "largest")["via"] == "groups"
    assert_as_from_nothing(place)


def test_what_an_audit_takes_back_is_built_also_where_other_targets_were_asked_for(place, monkeypatch):
    place.recipe(SOURCES + OF_TEAM)
    place.built()
    people = edited(PEOPLE, _4="4,a,41")  # member a becomes wrong, as nobody knows
    place.write("data/people.csv", people)
    place.built()
    audited(monkeypatch, "c")
    place.write("data/people.csv", edited(people, _6="6,c,61", _7="7,d,71"))
    run = place.project.rebuild(["plus[team=c]"], inline=True)
    assert {t.name: t.via for t in run.targets} == {f"plus[team={t}]": "full" for t in "abcd"}
    assert 42 in place.load("plus[team=a]")["x"].tolist()
    assert {n for n, s in place.states().items() if s != "fresh"} == {"together"}
    assert run.totals["fresh"] == 0
    again = place.project.rebuild(["plus[team=c]"], inline=True)
    assert (again.outcome, again.totals["fresh"]) == ("nothing", 4)


TWINS = """
@b.recipe(key="id", each={"half": ["ab", "cd"]}, inputs={"people": "half{half}"}, grain=b.rows("people"))
def twins(people: pd.DataFrame, half: str):
    return people.assign(twin=people["x"].duplicated(keep=False))
"""
HALVES = """
b.source("halfab", "data/ab.csv", key="id")
b.source("halfcd", "data/cd.csv", key="id")
"""


def test_a_grain_that_a_trial_refutes_takes_back_what_other_members_were_given(place):
    """Wrong by rows, as nobody knows, until the trial of another member's full run finds two rows apart."""
    place.recipe(HALVES + TWINS)
    alone = "id,x\n" + "".join(f"{i},{i}\n" for i in range(1, 41))
    for half in ("ab", "cd"):
        place.write(f"data/{half}.csv", alone)
    place.built()
    pairs = "id,x\n" + "".join(f"{i},{i + i % 2}\n" for i in range(1, 41))
    place.write("data/ab.csv", edited(alone, _4="4,7"))
    assert target(place.built(), "twins[half=ab]")["via"] == "rows"
    assert place.load("twins[half=ab]")["twin"].sum() == 0
    place.project.rebuild(["halfcd"], inline=True)
    place.write("data/cd.csv", pairs)
    run = place.project.rebuild(["twins[half=cd]"], inline=True, all=True)
    assert {t.name: t.outcome for t in run.targets} == {"twins[half=cd]": "failed", "twins[half=ab]": "built"}
    assert place.load("twins[half=ab]")["twin"].sum() == 2
    place.write("data/cd.csv", alone)  # as it was built before, if by an update
    place.built()
    place.recipe(HALVES + TWINS.replace(', grain=b.rows("people")', ""))
    place.built()
    assert_as_from_nothing(place)


def test_what_other_code_gave_stands_when_a_recipe_is_refuted(place):
    """A slip in the code, found by its trial, is no reason to forget what honest code made by updates."""
    place.recipe(SOURCES + ROWS)
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41"))
    assert target(place.built(), "doubled")["via"] == "rows"
    place.recipe(SOURCES + ROWS.replace('people["x"] * 2', 'people["x"].rank()'))
    assert target(place.rebuild(), "doubled")["error"]["code"] == "not-a-row-recipe"
    assert 82 in place.load("doubled")["y"].tolist()
    place.recipe(SOURCES + ROWS)
    assert [t["outcome"] for t in place.built()["targets"]] in ([], ["restored"])
    assert_as_from_nothing(place)


MEMBERS = """
b.source("half[h={h}]", "data/halves/{h}.csv", key="id")
@b.recipe(key="id", each="half", inputs={"people": "half[h={h}]"})
def plus(people: pd.DataFrame, h: str):
    return people.assign(x=people["x"] + 1)
@plus.update
def plus_update(previous, deltas):
    change = deltas["people"]
    return b.Delta(change.upserts.assign(x=change.upserts["x"] + 2), change.deleted)
@b.recipe(key="id", each="half", inputs={"t": "plus[h={h}]"})
def after(t: pd.DataFrame, h: str):
    return t
"""


def test_a_member_that_comes_back_in_the_run_that_refutes_it_is_built_anew_too(place, monkeypatch):
    place.recipe(MEMBERS)
    half = "id,x\n" + "".join(f"{i},{i}\n" for i in range(1, 41))
    for name in ("ab", "cd"):
        place.write(f"data/halves/{name}.csv", half)
    place.built()
    place.write("data/halves/ab.csv", edited(half, _4="4,7"))
    place.built()
    assert 9 in place.load("plus[h=ab]")["x"].tolist()
    (place.root / "data/halves/ab.csv").unlink()
    place.rebuild()
    for name in ("ab", "cd"):
        place.write(f"data/halves/{name}.csv", edited(half, _4="4,7"))
    of = ways.key_of
    monkeypatch.setattr(ways, "AUDITED", 2)
    monkeypatch.setattr(ways, "key_of", lambda fields: "0" * 64 if "h=cd" in str(fields) else of(fields))
    run = place.project.rebuild(inline=True)
    assert (run.outcome, run.is_complete) == ("built", True)
    assert set(place.states().values()) == {"fresh"}
    assert place.load("after[h=ab]").set_index("id")["x"][4] == 8
    assert_as_from_nothing(place)


def test_what_is_restored_is_taken_back_with_the_rest(place, monkeypatch):
    """Restored in the very run in which another member's full run refutes the grain."""
    place.recipe(HALVES + TWINS)
    alone = "id,x\n" + "".join(f"{i},{i}\n" for i in range(1, 41))
    for half in ("ab", "cd"):
        place.write(f"data/{half}.csv", alone)
    place.built()
    place.write("data/ab.csv", edited(alone, _4="4,7"))
    assert target(place.built(), "twins[half=ab]")["via"] == "rows"  # two are alike now, which it does not see
    place.write("data/ab.csv", alone)
    assert target(place.built(), "twins[half=ab]")["outcome"] == "restored"
    place.write("data/ab.csv", edited(alone, _4="4,7"))
    place.write("data/cd.csv", "id,x\n" + "".join(f"{i},{i + 1 - i % 2}\n" for i in range(1, 41)))
    place.project.read_sources(inline=True)
    monkeypatch.setattr(choice, "always", False)
    outcomes = {t.name: t.outcome for t in place.project.rebuild(inline=True).targets}
    assert outcomes["twins[half=cd]"] == "failed"
    assert place.load("twins[half=ab]")["twin"].sum() == 2


SPARSE = """
b.source("sparse", "data/sparse.csv", key="id", columns={"id": "int64", "g": "GIVEN"})
@b.recipe(key=["id", "g"], grain=b.groups("g", "sparse"), columns={"id": "int64", "g": "MADE", "n": "int64"})
def sized(sparse: pd.DataFrame):
    sparse = sparse[sparse["g"].notna()]
    return sparse.assign(n=sparse.groupby("g")["id"].transform("size"))
"""


@pytest.mark.parametrize(
    ("given", "made", "values"), [("Int64", "int64", "012"), ("boolean", "bool", ("true", "false"))]
)
def test_a_row_may_leave_its_group_for_none(place, given, made, values):
    """The group's column takes nulls in the input, and in the output's key, where it is not first, none."""
    rows = {f"_{i}": f"{i},{values[i % len(values)]}" for i in range(1, 20)}
    place.recipe(SPARSE.replace("GIVEN", given).replace("MADE", made))
    place.write("data/sparse.csv", edited("id,g\n", **rows))
    place.built()
    place.write("data/sparse.csv", edited("id,g\n", **{**rows, "_5": "5,"}))
    assert target(place.built(), "sized")["via"] == "groups"
    assert_as_from_nothing(place)


FLAKY = """
@b.recipe(key="id", grain=b.rows("people"), retries=RETRIES)
def doubled(people: pd.DataFrame):
    if os.environ["FAILS_AT"] == str(len(people)):
        os.environ["FAILS_AT"] = ""
        raise RuntimeError("connection lost")
    return people
"""


@pytest.mark.parametrize("retries", [0, 2])
def test_a_trial_that_fails_by_chance_says_nothing_of_the_grain(place, monkeypatch, retries):
    """The first half that is tried is of twenty rows."""
    monkeypatch.setenv("FAILS_AT", "20")
    place.recipe("import os\n" + SOURCES + FLAKY.replace("RETRIES", str(retries)))
    done = target(place.rebuild(), "doubled")
    assert done["outcome"] == ("built" if retries else "failed")
    if not retries:
        assert done["error"]["code"] == "recipe-error"
        assert dict(done["error"]["facts"])["tried alone"] == "20 rows"
        assert "connection lost" in dict(done["error"]["facts"])["error"]
        place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41"))
    assert target(place.built(), "doubled")["via"] == "rows"


SELF = """
@b.recipe(key="id", grain=b.rows("people"), inputs={"people": "people", "boss": b.lookup("people", on="x")})
def placed(boss: pd.DataFrame, people: pd.DataFrame):
    return people.merge(boss[["id", "team"]].rename(columns={"id": "x", "team": "of"}), on="x", how="left")
"""


def test_a_table_may_look_itself_up_whatever_comes_first(place):
    people = "id,team,x\n" + "".join(f"{i},{'abcd'[i % 4]},{i * 7 % 20 + 1}\n" for i in range(1, 41))
    place.write("data/people.csv", people)
    place.recipe(SOURCES + SELF)
    place.built()
    place.write("data/people.csv", edited(people, _8="8,z,3"))
    done = target(place.built(), "placed")
    assert (done["via"], done["rows_tested"] < 20) == ("rows", True)
    assert_as_from_nothing(place)


COUNTING = """
@b.recipe(key="id", grain=b.rows("people"), inputs={"people": "people", "teams": b.lookup("teams", on="team")})
def counted(people: pd.DataFrame, teams: pd.DataFrame):
    return people[["id"]].assign(n=len(teams))
"""


def test_a_recipe_that_counts_what_it_looks_up_is_caught_though_one_row_was_there(place):
    """All look one row up, so that no half of them sees less than the whole."""
    place.write("data/people.csv", "id,team,x\n" + "".join(f"{i},b,{i}\n" for i in range(1, 10)))
    place.write("data/teams.csv", "team,w\nb,1\n")
    place.recipe(SOURCES + COUNTING)
    place.built()
    place.write("data/teams.csv", "team,w\nb,1\nc,2\n")
    (done,) = place.rebuild()["targets"]
    assert (done["outcome"], done["error"]["code"]) == ("failed", "not-a-row-recipe")


DROPPING = """
@b.recipe(key="team", grain=b.rows("people"))
def teams_seen(people: pd.DataFrame):
    return people[["team"]].drop_duplicates()
"""
CHAIN = """
@b.recipe(key="id", grain=b.rows("doubled"))
def again(doubled: pd.DataFrame):
    return doubled
"""
LOOKING = """
@b.recipe(key="id", grain=b.rows("people"), inputs={"people": "people", "teams": b.lookup("teams", on="x")})
def weighed(people: pd.DataFrame, teams: pd.DataFrame):
    return people
"""


@pytest.mark.parametrize(
    ("recipe", "name", "why"),
    [
        (DROPPING, "teams_seen", "'id' is not in the key of 'teams_seen', so that no row is found by it"),
        (LOOKING, "weighed", "'x' and 'team' of 'teams' are of different dtypes"),
        (ROWS.replace('key="id", ', ""), "doubled", "'doubled' has no key, so that no row of it can be replaced"),
    ],
)
def test_a_plan_promises_no_update_that_the_tables_cannot_have(place, recipe, name, why):
    place.recipe(SOURCES + recipe)
    place.built()
    place.write("data/teams.csv", TEAMS.replace("a,1", "a,5"))
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41"))
    place.project.read_sources(inline=True)
    (step,) = (s for s in place.project.plan().to_json()["steps"] if s["name"] == name)
    assert (step["action"], step["why"]) == ("run", why)
    assert place.project.status().to_json()["updates"] is None
    assert target(place.built(), name)["via"] == "full"


def test_the_status_of_one_target_has_what_brings_it_up_to_date_and_no_more(place):
    place.recipe(SOURCES + ROWS + CHAIN + GROUPS)
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41"))
    place.project.read_sources(inline=True)
    found = [place.project.status(names).to_json()["updates"]["of"] for names in (["again"], ["doubled"], None)]
    assert found == [2, 1, 3]


def test_rows_that_an_own_update_gives_twice_are_said_to_be_its_own(place):
    twice = OWN.replace('x=change.upserts["x"] + 1)', 'x=change.upserts["x"] + 1).loc[lambda df: [*df.index] * 2]')
    place.recipe(SOURCES + twice)
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41"))
    found = target(place.rebuild(), "plus")["error"]
    assert (found["code"], found["facts"][-1]) == ("key-duplicate", ["rows of", "what its own update gave"])


def test_groups_of_a_column_that_is_not_there_are_told_of(place):
    place.recipe(SOURCES + GROUPS.replace('b.groups("team"', 'b.groups("tema"'))
    found = target(place.rebuild(), "largest")["error"]
    assert found["code"] == "recipe-error" and "goes by groups of column 'tema' of 'people'" in found["message"]


PICKED = """
@b.recipe(key="team", grain=b.groups("team", "people"), inputs={"people": b.read("people", where={"x": 70})})
def first_of(people: pd.DataFrame):
    return people.loc[[people["x"].idxmax()]][["team", "id"]]
"""


def test_a_function_that_fails_for_no_rows_is_not_tried_on_none(place):
    """One team alone has such a row, so that the other half of the teams has none."""
    place.recipe(SOURCES + PICKED)
    assert target(place.built(), "first_of")["rows"] == 1
    place.write("data/people.csv", edited(PEOPLE, _8="8,a,70"))
    done = target(place.rebuild(), "first_of")  # by its groups it would have two rows
    assert done["via"] == "full" and done["rows"] in (1, None)
    assert "first_of" not in place.states() or place.load("first_of")["team"].tolist() == ["d"]


SECOND = """
@b.recipe(key="id", grain=b.rows("people"))
def named(people: pd.DataFrame):
    return people.drop_duplicates("team")
"""


def test_a_recipe_that_keeps_the_first_of_its_like_is_caught_though_half_of_its_rows_are_gone(place):
    place.recipe(SOURCES + SECOND)
    found = target(place.rebuild(), "named")
    assert (found["outcome"], found["error"]["code"]) == ("failed", "not-a-row-recipe")


def test_an_audit_that_finds_the_same_says_nothing(place, monkeypatch):
    place.recipe(SOURCES + ROWS)
    place.built()
    monkeypatch.setattr(ways, "AUDITED", 1)
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41"))
    report = place.built()
    assert target(report, "doubled")["via"] == "rows" and report["warnings"] == []
    assert_as_from_nothing(place)


@pytest.mark.parametrize(
    ("name", "before", "after", "via", "why"),
    [
        ("plus", OWN, OWN.replace("assert change", "assert True or change"), "update", "its own update changed"),
        ("ranked", RANK, RANK.replace(', grain=b.rows("people")', ""), "rows", "its grain changed"),
    ],
)
def test_what_updates_go_by_makes_stale_what_was_updated_and_nothing_else(
    place, monkeypatch, name, before, after, via, why
):
    """Another own update, and a wrong grain, which no trial saw, taken away."""
    monkeypatch.setattr(proving, "check_grain", lambda *_: None)
    place.recipe(SOURCES + before)
    place.built()
    place.recipe(SOURCES + after)
    assert place.states()[name] == "fresh", "it was built whole"
    place.recipe(SOURCES + before)
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,4000"))
    assert target(place.built(), name)["via"] == via
    place.recipe(SOURCES + after)
    found = next(t for t in place.project.status().to_json()["targets"] if t["name"] == name)
    assert found["state"] == "stale"
    assert [(r["kind"], r["detail"]) for r in found["reasons"]] == [("update", why)]
    assert target(place.built(), name)["via"] == "full"
    assert_as_from_nothing(place)
    assert place.states()[name] == "fresh"


def test_an_own_update_that_is_mended_beside_an_edit_starts_from_nothing_that_it_gave(place):
    """The old one forgot the rows that went."""
    forgetful = OWN.replace("change.deleted", "[]")
    place.recipe(SOURCES + forgetful)
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4=None))
    assert target(place.built(), "plus")["via"] == "update"
    place.recipe(SOURCES + OWN)
    place.write("data/people.csv", edited(PEOPLE, _4=None, _5="5,a,1"))
    plan = place.project.plan("plus").to_json()
    assert "its own update changed" in str(plan)
    assert target(place.built(), "plus")["via"] == "full"
    assert_as_from_nothing(place)


def test_what_a_grain_gave_counts_beside_an_own_update_and_where_it_was_audited(place, monkeypatch):
    place.recipe(SOURCES + ROWS)
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41"))
    assert target(place.built(), "doubled")["via"] == "rows"
    own = OWN.partition("@plus.update")[2].replace("x=change", "y=2 * change").replace('["x"] + 1)', '["x"])')
    place.recipe(SOURCES + ROWS + "@doubled.update" + own)
    assert place.states()["doubled"] == "fresh"
    place.recipe(SOURCES + ROWS)
    monkeypatch.setattr(ways, "AUDITED", 1)
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,42"))
    assert target(place.built(), "doubled")["via"] == "rows"
    place.recipe(SOURCES + ROWS.replace(', grain=b.rows("people")', ""))
    assert place.states()["doubled"] == "fresh"


def test_what_a_wrong_grain_gave_is_no_base_of_an_own_update(place, monkeypatch):
    """Else it would stand when the grain is taken away."""
    monkeypatch.setattr(proving, "check_grain", lambda *_: None)
    own = "@ranked.update\ndef ranked_update(previous, deltas):\n    return b.Delta(None, deltas['people'].deleted)\n"
    place.recipe(SOURCES + RANK)
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,4000"))
    assert target(place.built(), "ranked")["via"] == "rows"
    place.recipe(SOURCES + RANK + own)
    assert place.states()["ranked"] == "fresh"
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,4000", _40=None))
    report = place.built()
    assert (target(report, "ranked")["via"], report["warnings"]) == ("full", [])
    assert_as_from_nothing(place)


def test_a_refuted_grain_leaves_what_an_own_update_gave_before(place, monkeypatch):
    """Nothing was found against that."""
    own = "@ranked.update\ndef ranked_update(previous, deltas):\n    return b.Delta(None, deltas['people'].deleted)\n"
    declared = RANK.replace("key=", 'columns={"id": "int64", "team": "string", "x": "int64", "r": "float64"}, key=')
    monkeypatch.setattr(proving, "check_grain", lambda *_: None)
    place.recipe(SOURCES + declared + own)
    place.built()
    before = edited(PEOPLE, _40=None)
    place.write("data/people.csv", before)
    assert target(place.built(), "ranked")["via"] == "update"
    place.recipe(SOURCES + declared)
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41"))
    assert target(place.built(), "ranked")["via"] == "full"
    monkeypatch.setattr(ways, "AUDITED", 1)
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,4000"))
    assert [w["code"] for w in place.built()["warnings"]] == ["not-a-row-recipe"]
    place.recipe(SOURCES + declared + own)
    place.write("data/people.csv", before)
    assert target(place.built(), "ranked")["outcome"] == "restored"


def test_an_own_update_may_ask_for_a_full_run(place):
    place.recipe(SOURCES + OWN.replace("    return b.Delta", "    return b.FULL\n    return b.Delta"))
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41"))
    assert target(place.built(), "plus")["via"] == "full"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("None", "returned NoneType"),
        ("previous", "returned DataFrame"),
        ("{'': b.FULL}", "returned dict"),
        ("b.Delta(previous, 5)", "has in deleted= int"),
        ("b.Delta(previous, previous[['x']])", "has no key (id) in deleted="),
        ("b.Delta(previous, ['a'])", "deleted= of what its own update gave"),
    ],
)
def test_an_own_update_that_returns_something_else_is_refused(place, answer, said):
    place.recipe(SOURCES + OWN.replace("    return b.Delta", f"    return {answer}\n    return b.Delta"))
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41"))
    found = target(place.rebuild(), "plus")
    assert (found["outcome"], found["error"]["code"]) == ("failed", "result-type")
    assert said in str(found["error"])


@pytest.mark.parametrize("drop", [True, False])
def test_an_own_update_may_have_keys_in_the_index_and_ask_for_one_old_column(place, drop):
    own = OWN.replace("change.deleted)", f'change.deleted.set_index("id", drop={drop}))').replace(
        'old(["x"])', 'old("x")'
    )
    place.recipe(SOURCES + own)
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41", _5=None))
    assert target(place.built(), "plus")["via"] == "update"
    assert_as_from_nothing(place)


def test_where_an_update_is_required_a_change_of_code_is_an_error_until_all_is_asked_for(place):
    place.recipe(SOURCES + ROWS.replace("grain", 'policy="require", grain'))
    assert target(place.built(), "doubled")["via"] == "full"
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41"))
    assert target(place.built(), "doubled")["via"] == "rows"
    place.recipe(SOURCES + ROWS.replace("grain", 'policy="require", grain').replace("* 2", "* 3"))
    found = target(place.rebuild(), "doubled")
    assert (found["outcome"], found["error"]["code"]) == ("failed", "recipe-error")
    assert "its code changed" in found["error"]["message"]
    assert place.load("doubled")["y"].iloc[0] == 20, "the old output stays"
    assert target(place.built(all=True), "doubled")["via"] == "full"


def test_the_plan_says_which_way_a_step_goes_and_what_both_would_take(place, monkeypatch):
    monkeypatch.setattr(choice, "always", False)
    place.recipe(SOURCES + ROWS)
    place.built()
    for row, way in (("4,a,41", "update"), ("4,a,42", "update")):
        place.write("data/people.csv", edited(PEOPLE, _4=row))
        place.project.read_sources(inline=True)
        (step,) = (s for s in place.project.plan().to_json()["steps"] if s["name"] == "doubled")
        assert (step["action"], step["rows_changed"]) == (way, 1)
        assert step["full_s"] > 0 and step["update_s"] > 0
        assert target(place.built(), "doubled")["via"] == "rows"
    everything = PEOPLE.replace("0\n", "1\n")
    place.write("data/people.csv", everything)
    place.project.read_sources(inline=True)
    (step,) = (s for s in place.project.plan().to_json()["steps"] if s["name"] == "doubled")
    assert step["action"] == "run"
    assert target(place.built(), "doubled")["via"] == "full"


def test_a_full_policy_and_a_forced_rebuild_never_update(place):
    place.recipe(SOURCES + ROWS.replace("grain", 'policy="full", grain'))
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41"))
    assert target(place.built(), "doubled")["via"] == "full"
    place.recipe(SOURCES + ROWS)
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,42"))
    assert target(place.built(all=True), "doubled")["via"] == "full"


def test_a_check_sees_the_whole_output_of_an_update(place):
    place.recipe(SOURCES + ROWS.replace("grain", "check=lambda t: t['x'].sum() < 8_000, grain"))
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,5000"))
    found = target(place.rebuild(), "doubled")
    assert (found["outcome"], found["error"]["code"]) == ("failed", "check-failed")
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,50"))
    assert target(place.built(), "doubled")["via"] == "rows"


# -- where an update would differ from a full run ----------------------------------------------------------------------


def test_a_dtype_that_came_by_a_row_that_went_runs_whole(place):
    rows = "id,team,x\n" + "".join(f"{i},{i},{i}\n" for i in range(1, 30))
    place.write("data/people.csv", rows + "30,3.5,1\n")
    place.recipe(SOURCES + ROWS.replace('people["x"] * 2', 'pd.to_numeric(people["team"])'))
    place.built()
    place.write("data/people.csv", rows)
    assert target(place.built(), "doubled")["via"] == "full"
    assert_as_from_nothing(place)


@pytest.mark.parametrize(
    ("sources", "recipe", "via"),
    [
        (SOURCES.replace('key="team"', 'key=["team", "w"]'), LOOKUP, "full"),
        (SOURCES.replace('key="team", ', ""), LOOKUP, "full"),
        (SOURCES.replace('"team": "string", "w"', '"team": "binary", "w"'), LOOKUP, "full"),
        (SOURCES, ROWS.replace('people["y"] =', 'people["id"] = people["id"].astype(str); people["y"] ='), "full"),
        (SOURCES, GROUPS.replace("return people", 'return people.assign(team=people["team"].map(ord))'), "full"),
    ],
)
def test_a_rule_that_cannot_find_rows_by_their_key_runs_whole(place, sources, recipe, via):
    place.recipe(sources + recipe.replace('on="team", how', 'left_on="team", right_on="team", how'))
    if "binary" in sources:
        place.recipe(sources + recipe.replace("teams, on", 'teams.assign(team=teams["team"].astype(str)), on'))
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41"))
    (done,) = place.built()["targets"]
    assert done["via"] == via
    assert_as_from_nothing(place)


def test_a_key_may_be_looked_up_by_a_column_with_nulls(site):
    people = "id,boss,x\n" + "".join(f"{i},{i * 7 % 11 or ''},{i * 10}\n" for i in range(1, 30))
    site.write("data/people.csv", people)
    site.recipe("""
b.source("people", "data/people.csv", key="id", columns={"id": "int64", "boss": "Int64", "x": "int64"})
@b.recipe(key="id", grain=b.rows("people"), inputs={"people": "people", "all": b.lookup("names", on="boss")})
def bossed(people: pd.DataFrame, all: pd.DataFrame):
    bosses = all.rename(columns={"id": "boss", "x": "y"}).astype({"boss": "Int64"})
    return people.merge(bosses, on="boss", how="left").astype({"y": "Int64"})
@b.recipe(key="id", grain=b.rows("people"))
def names(people: pd.DataFrame):
    return people[["id", "x"]]
""")
    site.built()
    site.write("data/people.csv", edited(people, _3="3,5,31", _8="8,,1"))
    assert target(site.built(), "bossed")["via"] == "rows"
    assert_as_from_nothing(site)


def test_a_column_to_look_up_by_that_is_not_there_is_told(place):
    place.recipe(SOURCES + LOOKUP.replace('on="team")}', 'on="tema")}'))
    found = target(place.rebuild(), "weighed")["error"]
    assert (found["code"], found["facts"][0]) == ("recipe-error", ["column", "tema"])


CONCAT = """
@b.recipe(key="id", grain=b.rows("people"))
def large(people: pd.DataFrame):
    return pd.concat([rows for _, rows in people[people["x"] > 50].groupby("team")])
"""
DTYPE = """
@b.recipe(key="id", grain=b.rows("people"), columns={"id": "int64", "x": "int64"}, check=lambda t: t["x"].dtype == "f8")
def half(people: pd.DataFrame):
    return people[["id"]].assign(x=people["x"] / 10)
"""


@pytest.mark.parametrize("recipe", [CONCAT, DTYPE])
def test_what_fails_of_an_update_alone_runs_whole(place, recipe):
    place.recipe(SOURCES + recipe)
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,20"))
    place.built()
    assert_as_from_nothing(place)


def test_counters_whose_changes_alone_overflow_are_brought_up_to_date(place):
    sums = "id,team,x\n1,a,{0}\n2,a,{0}\n3,a,-9000000000000000000\n4,a,-9000000000000000000\n5,b,1\n"
    place.write("data/people.csv", sums.format(9 * 10**18))
    place.recipe(SOURCES + COUNTS)
    place.built()
    place.write("data/people.csv", sums.format(89 * 10**17))
    assert target(place.built(), "sizes")["via"] == "fold"
    assert_as_from_nothing(place)


@pytest.mark.parametrize(("columns", "via"), [("", "full"), (', columns={"id": "int64", "x": "int64"}', "rows")])
def test_a_recipe_by_rows_may_return_a_dask_collection(place, columns, via):
    place.recipe(
        f"""{SOURCES}
import dask.dataframe as dd

@b.recipe(key="id", grain=b.rows("people"){columns})
def lazy(people: dd.DataFrame):
    return people[["id", "x"]].assign(x=people["x"] * 2)
"""
    )
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41", _5=None))
    assert target(place.built(), "lazy")["via"] == via
    assert_as_from_nothing(place)


def test_a_group_without_a_label_is_told_as_by_a_full_run(place):
    place.recipe(SOURCES + GROUPS.replace("as_index=False", "as_index=False, dropna=False"))
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,,41"))
    assert target(place.rebuild(), "largest")["error"]["code"] == "key-null"


def test_an_own_update_sees_what_the_recipe_reads_of_a_table(place):
    chosen = OWN.replace('(key="id")', '(key="id", inputs={"people": b.read("people", where={"team": "a"})})')
    place.recipe(SOURCES + chosen)
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,b,41", _5="5,b,51", _6="6,a,61", _8=None, _9=None))
    done = target(place.built(), "plus")
    assert (done["via"], done["rows_changed"]) == ("update", 3)
    assert_as_from_nothing(place)


def test_an_own_update_is_not_asked_where_a_value_changed_that_is_no_table(place):
    place.recipe(
        SOURCES
        + OWN.replace("def plus(people: pd.DataFrame)", "def plus(people: pd.DataFrame, total)").replace(
            'people["x"] + 1)', 'people["x"] + total["w"])'
        )
        + """
@b.recipe
def total(teams: pd.DataFrame):
    return {"w": int(teams["w"].sum())}
"""
    )
    place.built()
    place.write("data/teams.csv", edited(TEAMS, b="b,20"))
    assert target(place.built(), "plus")["via"] == "full"
    assert_as_from_nothing(place)


def test_a_group_of_nulls_that_changes_has_no_row_to_replace(place):
    place.recipe(SOURCES + GROUPS)
    place.write("data/people.csv", edited(PEOPLE, _4="4,,40"))
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,,41", _5="5,b,900"))
    assert target(place.built(), "largest")["via"] == "groups"
    assert_as_from_nothing(place)


@pytest.mark.parametrize(
    ("dtype", "declared", "value", "code"),
    [("Int64", "decimal(9,1)", "2", None), ("float64", "Int64", "1.5", "bad-value"), ("float64", "Int64", "2.0", None)],
)
def test_counters_of_another_dtype_than_their_source_end_as_a_full_run_does(place, dtype, declared, value, code):
    place.write("data/people.csv", PEOPLE)
    place.recipe(
        f"""
b.source("people", "data/people.csv", key="id", columns={{"x": "{dtype}"}})
b.count_by("sizes", of="people", by=["x"], columns={{"x": "{declared}", "n": "int64"}})
"""
    )
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4=f"4,a,{value}"))
    error = target(place.rebuild(), "sizes")["error"]
    assert (error and error["code"]) == code, error
    if code is None:
        assert_as_from_nothing(place)


def test_a_grain_that_no_build_was_made_by_is_tried_first(place):
    shares = """
@b.recipe(key=["team", "id"], grain=b.groups("team", "people"))
def shares(people: pd.DataFrame):
    return people.assign(x=people["x"] / people.groupby("team")["x"].transform("sum"))
"""
    place.recipe(SOURCES + shares)
    place.built()
    place.recipe(SOURCES + shares.replace('b.groups("team", "people")', 'b.rows("people")'))
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41"))
    assert target(place.rebuild(), "shares")["error"]["code"] == "not-a-row-recipe"


def test_a_store_of_the_format_before_can_be_looked_at(place):
    place.recipe(SOURCES + ROWS)
    place.built()
    with closing(sqlite3.connect(place.root / ".builder/ledger.sqlite")) as db:
        db.executescript("""DROP TABLE inputs; DROP TABLE distrusted; DROP TABLE IF EXISTS rules;
            ALTER TABLE attempts DROP COLUMN via; ALTER TABLE attempts DROP COLUMN rows_tested;
            UPDATE meta SET value = '2' WHERE name = 'version';""")
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41"))
    for command in (["plan"], ["status"], ["explain", "doubled"]):
        assert place.main(*command).returncode == 0, command
    assert target(place.built(), "doubled")["via"] == "full"
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,42"))
    assert target(place.built(), "doubled")["via"] == "rows"
    assert_as_from_nothing(place)


HULLS = """
b.infer_regions(
    "hulls", each={"label": ["team", "kind"]}, points="spots", by="{label}", method="convex", lon="x", lat="y"
)
b.source("spots", "data/spots.csv", key="id", columns={"x": "float64", "y": "float64"})
"""


def test_groups_of_a_ready_made_family_go_by_the_column_of_each_member(site):
    spots = "id,x,y,team,kind\n" + "".join(
        f"{i},{i * i % 17},{i * 7 % 13},{'ab'[i % 2]},{'uvw'[i % 3]}\n" for i in range(60)
    )
    site.write("data/spots.csv", spots)
    site.recipe(HULLS)
    site.built()
    site.write("data/spots.csv", edited(spots, _4="4,30,30,a,v"))
    report = site.built()
    for label, groups in (("team", 1), ("kind", 1)):
        done = target(report, f"hulls[label={label}]")
        assert (done["via"], done["rows_changed"], done["rows_tested"]) == ("groups", 1, groups)
    assert_as_from_nothing(site)


# -- points and regions ------------------------------------------------------------------------------------------------

ASSIGN = """
b.source("points", "data/points.csv", key="id", columns={"id": "int64", "x": "float64", "y": "float64"})
b.source("squares", "data/squares.geojson", key="id", columns={"id": "int64"})
b.assign_regions("placed", points="points", regions="squares", lon="x", lat="y", region_id={"square": "id"})
"""


def squares(**boxes: tuple[float, ...]) -> str:
    found = {str(i): (i % 10, i // 10, i % 10 + 1, i // 10 + 1) for i in range(100)} | {
        k.lstrip("_"): box for k, box in boxes.items()
    }
    features = [
        {"type": "Feature", "properties": {"id": int(i)}, "geometry": shapely.geometry.mapping(shapely.box(*box))}
        for i, box in found.items()
    ]
    return json.dumps({"type": "FeatureCollection", "features": features})


@pytest.mark.parametrize("ties", ["lowest", "all"])
def test_a_changed_region_touches_only_the_points_near_its_changed_edges(site, ties):
    points = "id,x,y\n" + "".join(f"{i},{i % 40 / 4 + 0.1},{i // 40 / 4 + 0.1}\n" for i in range(1600))
    site.write("data/points.csv", points)
    site.write("data/squares.geojson", squares())
    site.recipe(ASSIGN.replace("region_id=", f'ties="{ties}", region_id='))
    site.built()
    site.write("data/squares.geojson", squares(_55=(5, 5, 6, 6.5), _7=(7, 0, 8, 0.5)))
    done = target(site.built(), "placed")
    assert done["via"] == "spatial"
    assert done["rows_tested"] <= 40
    assert_as_from_nothing(site)
    site.write("data/points.csv", edited(points, _9="9,5.5,6.2", _10=None))
    site.write("data/squares.geojson", squares(_55=(5, 5, 6, 6.5)))
    assert target(site.built(), "placed")["via"] == "spatial"
    assert_as_from_nothing(site)


# -- in pieces ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("piece_bytes", [piecewise.PIECE_BYTES, 0])  # what is looked up is small, or large
@pytest.mark.parametrize("recipe", [ROWS, LOOKUP, COUNTS], ids=["rows", "lookup", "fold"])
def test_a_large_table_goes_through_in_pieces_with_the_digests_of_the_whole(place, monkeypatch, recipe, piece_bytes):
    place.recipe(SOURCES + recipe)
    place.built()
    whole = place.digests()
    asked: list[int] = []
    frame_of = piecewise.frame_of
    monkeypatch.setattr(piecewise, "frame_of", lambda *given: asked.append(given[2].num_rows) or frame_of(*given))
    monkeypatch.setattr(piecewise, "PIECE_ROWS", 7)
    monkeypatch.setattr(piecewise, "PIECE_BYTES", piece_bytes)
    monkeypatch.setattr("builder.tables.layers.BATCH_ROWS", 7)
    monkeypatch.setattr("builder.tables.read.BATCH_ROWS", 7)
    place.built(all=True)
    assert len(asked) > 1 and sum(asked) == 40
    assert place.digests() == whole


def test_a_dtype_that_none_of_the_pieces_has_alone(place, monkeypatch):
    """All of the codes of one are found, and none of the other's."""
    place.write("data/codes.csv", "id,code\n" + "".join(f"{i},{5 * (i > 6)}\n" for i in range(14)))
    place.recipe(MAPPED)
    place.built()
    whole = place.digests()
    monkeypatch.setattr(piecewise, "PIECE_ROWS", 7)
    monkeypatch.setattr("builder.tables.layers.BATCH_ROWS", 7)
    monkeypatch.setattr("builder.tables.read.BATCH_ROWS", 7)
    place.built(all=True)
    assert place.digests() == whole


@pytest.mark.parametrize("is_changed", [False, True])
def test_what_a_wrong_grain_gave_in_pieces_goes_with_the_grain(place, monkeypatch, is_changed):
    """No trial saw it: the rank among all is one among seven; also after an update of it."""
    monkeypatch.setattr(proving, "check_grain", lambda *_: None)
    monkeypatch.setattr(piecewise, "PIECE_ROWS", 7)
    monkeypatch.setattr("builder.tables.layers.BATCH_ROWS", 7)
    place.recipe(SOURCES + RANK)
    place.built()
    if is_changed:
        place.write("data/people.csv", edited(PEOPLE, _4="4,a,4000"))
        assert target(place.built(), "ranked")["via"] == "rows"
    assert place.states()["ranked"] == "fresh"
    place.recipe(SOURCES + RANK.replace(', grain=b.rows("people")', ""))
    assert place.states()["ranked"] == "stale"
    place.built()
    assert_as_from_nothing(place)


@pytest.mark.parametrize("audited", [1 << 40, 1])
def test_an_own_update_starts_from_pieces_while_their_grain_is_there(place, monkeypatch, audited):
    """A full run in pieces that confirms it goes by the grain, too."""
    own = OWN.partition("@plus.update")[2].replace("x=change", "y=2 * change").replace('["x"] + 1)', '["x"])')
    both = SOURCES + ROWS + "@doubled.update" + own
    place.recipe(both)
    monkeypatch.setattr(ways, "AUDITED", audited)
    monkeypatch.setattr(piecewise, "PIECE_ROWS", 7)
    monkeypatch.setattr("builder.tables.layers.BATCH_ROWS", 7)
    place.built()
    for x in (41, 42):
        place.write("data/people.csv", edited(PEOPLE, _4=f"4,a,{x}"))
        assert target(place.built(), "doubled")["via"] == "update"
        assert_as_from_nothing(place)
    place.recipe(SOURCES + ROWS)
    assert place.states()["doubled"] == ("fresh" if audited == 1 else "stale")
    place.recipe(both.replace(', grain=b.rows("people")', ""))
    found = next(t for t in place.project.status().to_json()["targets"] if t["name"] == "doubled")
    why = "its grain changed" if audited == 1 else "its grain or its own update changed"
    assert [r["detail"] for r in found["reasons"]] == [why]


def test_pieces_of_different_dtypes_are_run_as_one(place, monkeypatch):
    place.recipe(SOURCES + ROWS.replace('people["x"] * 2', 'people["x"].where(people["x"] != 70)'))
    place.built()
    whole = place.digests()
    monkeypatch.setattr(piecewise, "PIECE_ROWS", 7)
    monkeypatch.setattr("builder.tables.layers.BATCH_ROWS", 7)
    place.built(all=True)
    assert place.digests() == whole


def test_a_piece_that_fails_where_the_whole_does_not_is_run_as_one(place, monkeypatch):
    found = "    assert people['x'].max() == 400, 'not all'\n    people"
    place.recipe(SOURCES + ROWS.replace("    people", found, 1).replace("grain", 'policy="full", grain'))
    monkeypatch.setattr(proving, "check_grain", lambda call, made: None)  # it is no row recipe, and would be told so
    monkeypatch.setattr(piecewise, "PIECE_ROWS", 7)
    monkeypatch.setattr("builder.tables.layers.BATCH_ROWS", 7)
    place.built()
    assert len(place.load("doubled")) == 27


FILTERED = """
@b.recipe(
    each={"team": ["a", "b"]},
    inputs=lambda team: {"people": b.read("people", columns=["x"], where={"team": team})},
)
def sums(people: pd.DataFrame, team: str):
    return {"team": team, "sum": int(people["x"].sum()), "rows": len(people)}
"""


def test_a_step_that_reads_some_rows_stands_where_only_others_changed(place):
    place.recipe(SOURCES + FILTERED)
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41"))
    done = place.built()
    one, other = (target(done, f"sums[team={team}]") for team in "ab")
    assert (one["outcome"], one["via"]) == ("built", "full")
    assert (other["outcome"], other["via"], other["rows_tested"]) == ("unchanged", "rows", 1)
    place.write("data/people.csv", edited(PEOPLE, _4="4,b,41"))
    done = place.built()
    assert {target(done, f"sums[team={team}]")["via"] for team in "ab"} == {"full"}
    assert_as_from_nothing(place)


def test_a_filtered_input_beside_one_that_is_read_whole_counts_with_it(place):
    both = FILTERED.replace('"team": team})}', '"team": team}), "teams": "teams"}')
    place.recipe(SOURCES + both.replace("people: pd.DataFrame,", "people: pd.DataFrame, teams: pd.DataFrame,"))
    place.built()
    place.write("data/teams.csv", edited(TEAMS, b="b,20"))
    assert {t["via"] for t in place.built()["targets"]} == {"full"}
    place.write("data/people.csv", edited(PEOPLE, _4="4,c,41"))
    assert target(place.built(), "sums[team=b]")["via"] == "rows"
    assert_as_from_nothing(place)


@pytest.mark.parametrize("none", ['"gone[*]"', "[]"])
def test_a_filtered_input_beside_a_gather_of_nothing_is_looked_at(place, none):
    beside = FILTERED.replace('"team": team})}', f'"team": team}}), "parts": {none}}}')
    family = '\nb.source("gone[k={k}]", "data/gone/{k}.csv", key="id")\n'
    place.recipe(SOURCES + family + beside.replace("people: pd.DataFrame,", "people: pd.DataFrame, parts: dict,"))
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41"))
    done = place.built()
    assert [target(done, f"sums[team={team}]")["via"] for team in "ab"] == ["full", "rows"]
    assert_as_from_nothing(place)


def test_a_step_that_reads_some_rows_does_not_stand_on_a_damaged_change(place):
    """A row moves into what is read, and is then damaged on the disk so that it seems to have stayed out."""
    large = "id,team,x\n" + "".join(f"{i},b,{i}\n" for i in range(20_000))
    place.write("data/people.csv", large)
    place.recipe(SOURCES + FILTERED + "\n@b.recipe\ndef other(people: pd.DataFrame): return {'rows': len(people)}\n")
    place.built()
    changed = large.replace("8\n", "80\n").replace("\n78,b,780\n", "\n78,a,780\n")  # enough for a file
    place.write("data/people.csv", changed)
    place.built(targets=["other"])
    part = max((place.root / ".builder/parts").rglob("*.arrow"), key=lambda p: p.stat().st_mtime)
    content = part.read_bytes()
    assert content.count(b"bab") == 1
    part.chmod(0o600)
    part.write_bytes(content.replace(b"bab", b"bbb"))
    done = place.rebuild()
    one = target(done, "sums[team=a]")
    assert (one["outcome"], one["error"]["code"]) == ("failed", "store-damaged")


DOUBLED = """
@b.recipe(key="id", grain=b.rows("people"))
def doubled(people: pd.DataFrame):
    return people.assign(x=people["x"] * 2)
"""
APART = """
@b.recipe(inputs={"doubled": b.read("doubled", columns=["team"]), "people": b.read("people", columns=["team"])})
def found(doubled: pd.DataFrame, people: pd.DataFrame):
    return {"teams": sorted(set(doubled["team"].dropna()) | set(people["team"].dropna()))}
"""


def keys(place) -> dict[str, str]:
    ledger = place.project.ledger()
    found = {name: str(current.key) for name, current in ledger.currents().items()}
    ledger.close()
    return found


@pytest.mark.parametrize("inline", [True, False])
def test_a_new_reader_of_a_column_that_an_update_did_not_sum_has_the_key_of_a_build_from_nothing(place, inline):
    place.recipe(SOURCES + DOUBLED)
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41"))
    assert target(place.built(), "doubled")["via"] == "rows"
    place.recipe(SOURCES + DOUBLED + APART)
    assert [t["name"] for t in place.built(inline=inline)["targets"]] == ["found"]
    incremental = keys(place)
    assert_as_from_nothing(place)
    assert keys(place)["found"] == incremental["found"]
    assert set(place.states().values()) == {"fresh"}
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,42"))
    assert [t["name"] for t in place.built()["targets"]] == ["doubled"], "no column that it reads changed"


def test_a_reader_that_comes_back_to_columns_that_did_not_change_is_fresh_again(place):
    place.recipe(SOURCES + DOUBLED + APART)
    place.built()
    place.recipe(SOURCES + DOUBLED)
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41"))
    place.built()
    place.recipe(SOURCES + DOUBLED + APART)
    done = place.rebuild()
    assert [(t["name"], t["outcome"]) for t in done["targets"]] in ([], [("found", "restored")])
    assert set(place.states().values()) == {"fresh"}


def test_columns_that_cannot_be_summed_fail_who_reads_them(place):
    many = "id,team,x\n" + "".join(f"{i},b,{i}\n" for i in range(20_000))
    place.write("data/people.csv", many)
    place.recipe(SOURCES + DOUBLED)
    place.built()
    place.write("data/people.csv", many.replace("\n77,b,77\n", "\n77,b,78\n"))
    place.built()
    for part in (place.root / ".builder/parts").rglob("*.arrow"):
        part.chmod(0o600)
        part.write_bytes(part.read_bytes().replace(b"bbbbbbbb", b"bbbbbbba", 1))
    place.recipe(SOURCES + DOUBLED + APART)
    one = target(place.rebuild(), "found")
    assert (one["outcome"], [r["detail"] for r in one["reasons"]]) == ("blocked", ["failed: store-damaged"])


FIRST = """
import sys
import builder
from builder.execute import attempt
outcome = attempt._outcome
def watched(spec):
    before = set(sys.modules)
    found = outcome(spec)
    late.update(n for n in set(sys.modules) - before if n.startswith(("builder.", "pandas.", "pyarrow.pa")))
    return found
late, attempt._outcome = set(), watched
done = builder.open(".").rebuild(inline=True)
print(sorted(late), *(target.via for target in done.targets))
"""


@pytest.mark.parametrize("head", ['@b.recipe(key="id", grain=b.rows("people"))', "@b.recipe"])
def test_what_the_first_step_of_a_process_imports_is_no_cost_of_the_step(place, head):
    """It would be taken for what a full run costs ever after, and dearer updates for cheaper ones."""
    place.recipe(f"{SOURCES}\n{head}\ndef same(people): return people\n")
    place.built()
    place.recipe(f"{SOURCES}\n{head}\ndef same(people): return people[people['x'] > 10]\n")
    done = subprocess.run([sys.executable, "-c", FIRST], cwd=place.root, capture_output=True, text=True, check=True)
    assert done.stdout == "[] full\n"


LARGE = """
import builder
from builder.execute import attempt
from builder.execute.peak import peak_memory
outcome = attempt._outcome
def kept():
    with peak_memory() as found:
        return found[0]
def watched(spec):
    found = outcome(spec)
    sizes.append(kept())
    return found
sizes, attempt._outcome = [], watched
builder.open(".").rebuild(inline=True)
print(max(sizes) - kept())
"""


def test_what_a_large_step_freed_is_given_back_before_the_next(place):
    """The next step would pay for it, as for a dear update."""
    large = "pa.concat_arrays([pa.nulls(40_000_000, pa.int64())] * 2).nbytes"
    place.recipe(f"import pyarrow as pa\n{SOURCES}\n@b.recipe\ndef size(people): return {{'bytes': {large}}}\n")
    done = subprocess.run([sys.executable, "-c", LARGE], cwd=place.root, capture_output=True, text=True, check=True)
    assert int(done.stdout) > 400 << 20


OF_RECIPES = FIRST.replace(
    "before = set", "if type(spec.work).__name__ != 'RecipeSpec': return outcome(spec)\n    before = set"
)


@pytest.mark.parametrize(
    ("rule", "grain"), [("rows", 'b.rows("people")'), ("groups", 'b.groups("id", "people")')], ids=["rows", "groups"]
)
def test_what_the_first_update_of_a_process_imports_is_no_cost_of_it(place, rule, grain):
    place.recipe(f'{SOURCES}\n@b.recipe(key="id", grain={grain})\ndef same(people): return people\n')
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41"))
    done = subprocess.run(
        [sys.executable, "-c", OF_RECIPES], cwd=place.root, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"[] {rule}\n"


def test_the_time_of_a_full_run_is_told_by_full_runs(place):
    """Many cheap updates since the last one say nothing of it."""
    slow = ROWS.replace('people["y"]', 'time.sleep(0.3 if len(people) > 20 else 0); people["y"]')
    place.recipe("import time\n" + SOURCES + slow)
    place.built()
    for x in range(3):
        place.write("data/people.csv", edited(PEOPLE, _4=f"4,a,{x}"))
        assert target(place.built(), "doubled")["via"] == "rows"
    plans = [place.project.plan("doubled", all=True)]
    place.recipe("import time\n" + SOURCES + slow.replace("* 2", "* 3"))
    plans.append(place.project.plan("doubled"))
    for plan in plans:
        (step,) = [s for s in plan.to_json()["steps"] if s["name"] == "doubled"]
        assert (step["action"], step["update_s"]) == ("run", None)
        assert step["predicted_s"] == step["full_s"] > 0.3


def test_a_plan_says_that_a_step_will_fail_that_must_be_updated_and_cannot(place):
    place.recipe(SOURCES + ROWS.replace("))", '), policy="require")'))
    assert "fails" not in str(place.project.plan("doubled")), "it was never built"
    place.built()
    place.recipe(SOURCES + ROWS.replace("))", '), policy="require")').replace("* 2", "* 3"))
    said = " ".join(str(place.project.plan("doubled")).split())
    assert "fails, for it cannot be updated: its code changed; builder rebuild --all doubled runs it whole" in said
    assert "fails" not in str(place.project.plan("doubled", all=True))
    assert target(place.rebuild(), "doubled")["outcome"] == "failed"


def test_rows_that_nobody_counted_are_told_as_the_most(place):
    place.recipe(SOURCES + ROWS + GROUPS)
    place.built()
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,41"))
    place.built(targets=["largest"])
    place.write("data/people.csv", edited(PEOPLE, _4="4,a,42"))
    place.project.read_sources(inline=True)
    said = [" ".join(str(place.project.plan(name)).split()) for name in ("doubled", "largest")]
    assert ["at most" in text for text in said] == [True, False]
    assert "1 row to look at" in said[1]
