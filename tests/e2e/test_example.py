"""The example on the real data, by the installed command: what runs, what stops, what comes back from the store.

The answers themselves are in test_example_answers.py, on Dask; here builds run inline, and one on Dask must agree.
"""

import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

import builder as b

pytestmark = pytest.mark.slow

STATES = {
    "AK", "AL", "AR", "AS", "AZ", "CA", "CO", "CT", "DC", "DE", "FL", "GA", "GU", "HI", "IA", "ID", "IL", "IN", "KS",
    "KY", "LA", "MA", "MD", "ME", "MI", "MN", "MO", "MP", "MS", "MT", "NC", "ND", "NE", "NH", "NJ", "NM", "NV", "NY",
    "OH", "OK", "OR", "PA", "PR", "RI", "SC", "SD", "TN", "TX", "UT", "VA", "VI", "VT", "WA", "WI", "WV", "WY",
}  # fmt: skip
CHANGED = {
    "AK", "AL", "AR", "AZ", "CA", "FL", "GA", "IA", "ID", "IL", "IN", "KS", "KY", "LA", "MI", "MN", "MO", "MS", "NC",
    "ND", "NM", "NV", "NY", "OH", "OK", "SC", "SD", "TN", "TX", "UT", "VA", "VT", "WI", "WV",
}  # fmt: skip
REGIONS = {
    "clean_counties.good", "clean_counties.rejects", "clean_states.good", "clean_states.rejects", "place_counties"
}  # fmt: skip
AIRPORTS = {
    "clean_airports.good", "clean_airports.rejects", "airport_kinds", "airport_counties", "airport_states",
    "county_counts", "state_counts", "kind_counts", "county_people", "airport_database", "airport_map", "state_chart",
    "states_report",
}  # fmt: skip


def members(recipe, states):
    return {f"{recipe}[state={state}]" for state in states}


EVERY = REGIONS | AIRPORTS | members("state_airports", STATES) | members("state_summary", STATES)

IMPORTS = """
import json, sys
from builder.cli import main
sys.argv = ["builder", *sys.argv[1:]]
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def command(folder, *args):
    """What the command printed as JSON, and the modules that it imported."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS, *args, "--json"], cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"BUILDER_DURABLE": "0"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), set(json.loads(done.stderr.splitlines()[-1]))


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """The example built, given the later airports, built again, reverted and built a last time."""
    folder = tmp_path_factory.mktemp("example") / "airports"
    b.init(folder, example="airports")
    airports = folder / "data/airports.csv.gz"

    def build(*options):
        report, imported = command(folder, "rebuild", *options)
        ledger = b.open(folder).ledger()
        digests = {n: str(c.digest) for n, c in ledger.currents().items()}
        ledger.close()
        out = {p.relative_to(folder).as_posix(): p.read_bytes() for p in (folder / "out").rglob("*") if p.is_file()}
        return SimpleNamespace(
            report=report, imported=imported, digests=digests, out=out,
            outcomes={t["name"]: t["outcome"] for t in report["targets"]},
        )  # fmt: skip

    first = build("--inline")
    shutil.copy(airports, folder / "earlier")
    shutil.copy(folder / "later/airports.csv.gz", airports)
    planned, _ = command(folder, "plan")
    later = build("--inline")
    difference, _ = command(folder, "diff", "county_counts")
    shutil.copy(folder / "earlier/airports.csv.gz", airports)
    reverted = build()
    nothing = build()
    return SimpleNamespace(
        folder=folder,
        first=first,
        planned=planned,
        later=later,
        difference=difference,
        reverted=reverted,
        nothing=nothing,
    )


def test_the_first_build_makes_each_of_130_targets(seen):
    assert len(EVERY) == 130
    assert seen.first.outcomes == dict.fromkeys(EVERY, "built")


def test_later_airports_run_only_what_depends_on_them(seen):
    assert set(seen.later.outcomes) == AIRPORTS | members("state_airports", STATES) | members("state_summary", CHANGED)
    assert {s["name"]: s["outcome"] for s in seen.later.report["sources"]} == {"airports": "updated"}
    assert seen.later.report["totals"]["fresh"] == 130 - 103


def test_every_step_that_ran_was_planned(seen):
    steps = {s["name"] for s in seen.planned["steps"] if s["kind"] == "target"}
    ran = set(seen.later.outcomes)
    assert ran < steps
    assert steps - ran == members("state_summary", STATES - CHANGED)


def test_members_without_a_changed_airport_come_out_unchanged_and_what_follows_stays_fresh(seen):
    outcomes = seen.later.outcomes
    unchanged = {name for name, outcome in outcomes.items() if outcome == "unchanged"}
    assert unchanged >= members("state_airports", STATES - CHANGED)
    assert not unchanged & members("state_airports", CHANGED)
    assert not set(outcomes) & members("state_summary", STATES - CHANGED)
    assert unchanged - members("state_summary", CHANGED) == members("state_airports", STATES - CHANGED) | {
        "clean_airports.rejects"
    }


def test_the_diff_shows_94_county_counters(seen):
    difference = seen.difference
    assert (difference["added"], difference["removed"], difference["changed"]) == (0, 0, 94)
    assert all(set(e["before"]) == set(e["after"]) == {"airports"} for e in difference["examples"]["changed"])


def test_what_did_not_run_was_not_written(seen):
    changed = {path for path in seen.later.out if seen.first.out[path] != seen.later.out[path]}
    assert {path for path in changed if path.startswith("out/state_airports/")} == {
        f"out/state_airports/state={state}/part-0.parquet" for state in CHANGED
    }
    assert seen.first.out.keys() == seen.later.out.keys()


def test_after_reverting_all_is_restored_and_no_recipe_runs(seen):
    assert seen.reverted.outcomes == dict.fromkeys(seen.later.outcomes, "restored")
    assert {s["name"]: s["outcome"] for s in seen.reverted.report["sources"]} == {"airports": "restored"}
    assert seen.reverted.report["totals"] == {
        "built": 0, "updated": 0, "unchanged": 0, "restored": 103, "failed": 0, "blocked": 0, "fresh": 27
    }  # fmt: skip
    assert seen.reverted.digests == seen.first.digests
    assert seen.reverted.out == seen.first.out


def test_reverting_imports_neither_dask_nor_pandas(seen):
    for build in (seen.reverted, seen.nothing):
        heavy = {"dask", "distributed", "pandas", "geopandas", "numba", "shapely", "matplotlib"}
        assert build.imported & heavy == set()


def test_then_nothing_is_left_to_do(seen):
    assert (seen.nothing.report["outcome"], seen.nothing.outcomes, seen.nothing.report["totals"]["fresh"]) == (
        "nothing",
        {},
        130,
    )


def test_a_build_on_dask_in_an_empty_store_agrees_digest_for_digest(seen, tmp_path):
    folder = tmp_path / "airports"
    b.init(folder, example="airports")
    report, imported = command(folder, "rebuild", "-j", "2")
    assert report["outcome"] == "built"
    assert "distributed" in imported
    ledger = b.open(folder).ledger()
    assert {n: str(c.digest) for n, c in ledger.currents().items()} == seen.first.digests
    ledger.close()
