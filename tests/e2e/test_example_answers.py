"""The example on the real data gives the answers that were computed outside of this project.

They stand in recipes/airports/NOTICE.md and README.md; the files are real releases of public data sets.
"""

import json
import shutil
from types import SimpleNamespace

import pandas as pd
import pytest

import builder as b

CHANGED_STATES = {
    "AK", "AL", "AR", "AZ", "CA", "FL", "GA", "IA", "ID", "IL", "IN", "KS", "KY", "LA", "MI", "MN", "MO", "MS", "NC",
    "ND", "NM", "NV", "NY", "OH", "OK", "SC", "SD", "TN", "TX", "UT", "VA", "VT", "WI", "WV",
}  # fmt: skip


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """The example built, changed, built again, reverted and built once more, with what was seen at each point."""
    folder = tmp_path_factory.mktemp("example") / "airports"
    b.init(folder, example="airports")
    required = folder / "recipes/regions.py"  # which way is the faster depends on the machine
    required.write_text(required.read_text().replace("predicate=", 'policy="require", predicate='))
    cleaning = folder / "recipes/clean.py"
    cleaning.write_text(cleaning.read_text().replace("grain=", 'policy="require", grain='))
    project = b.open(folder)
    names = ["airport_counties", "county_counts", "state_counts", "kind_counts", "states_report"]

    def build():
        run = project.rebuild(workers=2)
        report = run.to_json()
        return SimpleNamespace(
            report=report,
            outcomes={t["name"]: t["outcome"] for t in report["targets"]},
            rows={t["name"]: t["rows_changed"] for t in report["targets"]},
            tested={t["name"]: (t["via"], t.get("rows_tested")) for t in report["targets"]},
            sources={s["name"]: (s["outcome"], s["rows_changed"]) for s in report["sources"]},
            status=project.status().to_json(),
            tables={name: project.load(name) for name in names},
            view=run._repr_html_(),
        )

    first = build()
    airports = folder / "data/airports.csv.gz"
    shutil.copy(airports, folder / "earlier")
    shutil.copy(folder / "later/airports.csv.gz", airports)
    stale = project.status().to_json()
    read = taken_in(shutil.copytree(folder, folder.parent / "read"))
    later = build()
    shutil.copy(folder / "earlier/airports.csv.gz", airports)
    reverted = build()
    shutil.copy(folder / "earlier/counties.geojson.gz", folder / "data")
    counties = build()
    shutil.copy(folder / "later/places.csv.gz", folder / "data")
    places = build()
    verified = b.open(folder).verify().to_json()
    return SimpleNamespace(
        folder=folder,
        first=first,
        stale=stale,
        read=read,
        later=later,
        reverted=reverted,
        counties=counties,
        places=places,
        verified=verified,
    )


def taken_in(folder):
    """What is said of a project after its changed sources were taken in and nothing was run."""
    project = b.open(folder)
    project.read_sources(inline=True)
    status, plan = project.status(), project.plan()
    values = {"status": status, "plan": plan}
    return SimpleNamespace(
        texts={name: str(value).splitlines() for name, value in values.items()},
        views={name: value._repr_html_() for name, value in values.items()},
        documents={name: value.to_json() for name, value in values.items()},
    )


def states_of(status):
    return {t["name"]: t["state"] for t in status["targets"]}


def test_a_first_build_makes_every_target(history):
    assert history.first.report["outcome"] == "built"
    assert history.first.status["totals"]["targets"] == history.first.status["totals"]["fresh"] == 130


def test_12526_of_12573_airports_lie_in_a_county(history):
    county = history.first.tables["airport_counties"]["county"]
    assert (len(county), county.notna().sum(), county.isna().sum()) == (12_573, 12_526, 47)


def test_2941_counties_have_an_airport_and_02170_has_most(history):
    counts = history.first.tables["county_counts"]
    assert len(counts) == 3_232  # the county with an empty polygon is among the rejects
    assert (counts["airports"] > 0).sum() == 2_941
    most = counts.loc[counts["airports"].idxmax()]
    assert (most["id"], most["airports"]) == ("02170", 149)


def test_the_county_without_a_polygon_is_rejected_with_a_reason(history):
    rejects = b.open(history.folder).load("clean_counties.rejects")
    assert rejects[["id", "reason"]].to_dict("records") == [{"id": "51610", "reason": "empty polygon"}]


def test_counters_agree_with_the_rows_they_count(history):
    tables = history.first.tables
    assert tables["county_counts"]["airports"].sum() == 12_526
    assert tables["kind_counts"]["airports"].sum() == 12_573
    assert tables["state_counts"]["airports"].sum() == tables["states_report"]["airports"]


def test_published_files_are_plain_and_complete(history):
    out = history.folder / "out"
    by_state = pd.read_parquet(out / "state_airports")
    assert by_state["state"].nunique() == 53  # three territories have no airport in the list
    assert len(by_state) == 12_526
    assert json.loads((out / "states_report.json").read_text())["airports"] == 12_526
    assert (out / "airport_map.png").read_bytes().startswith(b"\x89PNG")


def test_later_airports_make_stale_only_what_reads_them(history):
    states = states_of(history.stale)
    fresh = {name for name, state in states.items() if state == "fresh"}
    assert fresh == {
        "clean_counties.good", "clean_counties.rejects", "clean_states.good", "clean_states.rejects", "place_counties"
    }  # fmt: skip
    assert {name for name, state in states.items() if state == "stale"} == {
        "clean_airports.good", "clean_airports.rejects"
    }  # fmt: skip


def test_later_airports_are_assigned_to_12532_counties(history):
    county = history.later.tables["airport_counties"]["county"]
    assert (county.notna().sum(), county.isna().sum()) == (12_532, 47)


def test_no_surviving_airport_changes_its_county(history):
    before, after = (h.tables["airport_counties"] for h in (history.first, history.later))
    both = before.merge(after, on="icao", suffixes=("_before", "_after"))
    assert len(both) == 12_520
    assert (both["county_before"].fillna("") == both["county_after"].fillna("")).all()


def test_94_county_counters_differ(history):
    before, after = (h.tables["county_counts"].set_index("id")["airports"] for h in (history.first, history.later))
    assert (before != after.reindex(before.index)).sum() == 94
    assert history.later.rows["county_counts"] == 94


def test_184_cleaned_airports_differ(history):
    assert history.later.rows["clean_airports.good"] == 184


def test_states_without_a_changed_airport_come_out_unchanged_and_stop_there(history):
    prefix, suffix = "state_airports[state=", "state_summary[state="
    outcomes = history.later.outcomes
    members = {name.removeprefix(prefix)[:-1]: o for name, o in outcomes.items() if name.startswith(prefix)}
    summaries = {name.removeprefix(suffix)[:-1] for name in outcomes if name.startswith(suffix)}
    assert {state for state, outcome in members.items() if outcome in ("built", "updated")} == CHANGED_STATES
    assert {state for state, outcome in members.items() if outcome == "unchanged"} == set(members) - CHANGED_STATES
    assert len(members) == 56
    assert summaries == CHANGED_STATES


def test_a_reverted_source_is_restored_without_running_a_recipe(history):
    assert {o for o in history.reverted.outcomes.values()} == {"restored"}
    assert history.reverted.report["totals"]["built"] == 0
    for name, table in history.first.tables.items():
        again = history.reverted.tables[name]
        assert again == table if isinstance(table, dict) else again.equals(table)


def test_184_of_12579_airports_go_through_the_row_recipes_and_none_changes_its_county(history):
    later = history.later
    assert later.sources["airports"] == ("updated", 184)
    assert later.tested["clean_airports.good"] == ("rows", 59 + 72)
    assert later.rows["clean_airports.good"] == 184
    assert later.tested["airport_counties"] == ("spatial", 59 + 72)
    assert later.rows["airport_counties"] == 59 + 53, "those that came and those that went"


SENTENCE = "184 of 12,579 rows changed (59 added, 53 removed, 72 changed)"


def test_184_of_12579_is_said_wherever_the_airports_are_told_of(history):
    texts, views = history.read.texts, history.read.views
    assert texts["status"][1] == f"  airports  changed  data/airports.csv.gz  12,573 → 12,579 rows · {SENTENCE}"
    assert texts["plan"][0] == f"  airports: {SENTENCE}"
    cells = ["airports", "12,573 → 12,579", SENTENCE]
    assert all(f">{cell}</td>" in views["status"] for cell in cells)
    assert f"<p>airports: {SENTENCE}</p>" in views["plan"]
    assert f"<p>airports: updated · {SENTENCE}</p>" in history.later.view
    for document in history.read.documents.values():
        said = next(s for s in document["sources"] if s["name"] == "airports")
        told = [said[n] for n in ("rows_before", "rows", "rows_changed", "rows_added", "rows_removed")]
        assert told == [12_573, 12_579, 184, 59, 53]


def test_what_updates_save_is_the_sum_over_the_steps_of_the_plan(history):
    plan = history.read.documents["plan"]
    steps = {s["step"]: s for s in plan["steps"]}.values()
    chosen = [s for s in steps if s["action"] == "update"]
    said = plan["updates"]
    assert {"clean_airports", "airport_counties", "airport_states"} <= {s["step"] for s in chosen}
    assert (said["steps"], said["of"]) == (len(chosen), len(steps)) and len(steps) == 124
    for field in ("update_s", "full_s"):
        assert said[field] == pytest.approx(sum(s[field] for s in chosen), abs=0.001 * len(chosen))
    assert history.read.documents["status"]["updates"] == said
    for lines in history.read.texts.values():
        (line,) = [line for line in lines if line.startswith("  as updates")]
        assert line.startswith(f"  as updates  {len(chosen)} of 124 steps, about ")
    assert len(history.read.texts["plan"]) < 60, "members of a family stand together though each takes its own time"


def test_117_airports_change_their_county_and_a_quarter_at_most_is_asked(history):
    via, tested = history.counties.tested["airport_counties"]
    assert via == "spatial" and 117 <= tested <= 12_573 // 4
    assert history.counties.rows["airport_counties"] == 117


def test_a_later_release_of_places_touches_127_rows(history):
    assert history.places.sources == {"places": ("updated", 101 + 3 + 23)}
    assert history.places.tested["place_counties"] == ("spatial", 101 + 23)


def test_after_all_these_updates_everything_equals_a_build_from_nothing(history):
    assert [t["name"] for t in history.verified["targets"] if not t["equal"]] == []
    assert len(history.verified["targets"]) == 130
