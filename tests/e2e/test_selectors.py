"""What a TARGET means, and the options of rebuild that choose what runs, in which order, where."""

import json

import pytest

from builder.errors import BuilderError
from builder.execute.settings import EMBEDDED

RECIPE = """
b.source("shops[state={state}]", "data/shops/{state}.csv", key="id")
b.source("rates", "data/rates.csv", key="id")

@b.recipe(each=["shops", {"year": [2023, 2024]}], key="id", inputs={"shops": "shops[state={state}]"})
def clean(shops, state, year):
    return shops

@b.recipe(each="clean")
def count(clean, state, year):
    return {"n": len(clean)}

@b.recipe(inputs={"parts": "count[*]"}, outputs=("total", "names"))
def summary(parts):
    return {"total": [sum(p["n"] for p in parts.values())], "names": sorted(parts)}

@b.recipe
def rated(rates):
    return len(rates) and [1] or []

@b.recipe(inputs={"total": "summary.total"})
def report(total, rated):
    return total + rated
"""
CLEAN = {f"clean[state={s},year={y}]" for s in ("CA", "WA") for y in (2023, 2024)}
COUNT = {n.replace("clean", "count") for n in CLEAN}
SUMMARY = {"summary.total", "summary.names"}
ALL = CLEAN | COUNT | SUMMARY | {"rated", "report"}


@pytest.fixture
def shops(site):
    for state in ("CA", "WA"):
        site.write(f"data/shops/{state}.csv", "id,size\n1,2\n")
    site.write("data/rates.csv", "id\n1\n")
    site.write("builder.toml", """
    [sets]
    daily = ["rated", "*[state=WA]"]
    nested = ["daily", "summary"]
    """)  # fmt: skip
    site.recipe(RECIPE)
    return site


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (["clean"], CLEAN),
        (["clean[state=CA,year=2024]"], {"clean[state=CA,year=2024]"}),
        (["clean[year=2024,state=CA]"], {"clean[state=CA,year=2024]"}),
        (["clean[year=2024]"], {"clean[state=CA,year=2024]", "clean[state=WA,year=2024]"}),
        (["clean[*]"], CLEAN),
        (["clean[state=C*,year=202?]"], {"clean[state=CA,year=2023]", "clean[state=CA,year=2024]"}),
        (["*[state=WA]"], {n for n in CLEAN | COUNT if "WA" in n}),
        (["*[year=2023,state=WA]"], {"clean[state=WA,year=2023]", "count[state=WA,year=2023]"}),
        (["c*"], CLEAN | COUNT),
        (["r?ted"], {"rated"}),
        (["*"], ALL),
        (["summary"], SUMMARY),
        (["summary.names"], {"summary.names"}),
        (["summary.*"], SUMMARY),
        (["+summary.total"], ALL - {"rated", "report"}),
        (["rates+"], {"rated", "report"}),
        (["shops[state=WA]+"], {n for n in CLEAN | COUNT if "WA" in n} | SUMMARY | {"report"}),
        (
            ["clean[state=CA,year=2023]+"],
            {"clean[state=CA,year=2023]", "count[state=CA,year=2023]", "report"} | SUMMARY,
        ),
        (["+count[state=CA,year=2023]"], {"clean[state=CA,year=2023]", "count[state=CA,year=2023]"}),
        (["+rated+"], {"rated", "report"}),
        (["daily"], {"rated"} | {n for n in CLEAN | COUNT if "WA" in n}),
        (["nested"], {"rated"} | {n for n in CLEAN | COUNT if "WA" in n} | SUMMARY),
        (["rated", "report"], {"rated", "report"}),
    ],
)
def test_a_target_means(shops, wanted, expected):
    assert {t["name"] for t in shops.project.status(wanted).to_json()["targets"]} == expected
    assert {n["name"] for n in shops.project.plan(wanted).to_json()["steps"] if n["kind"] == "target"} >= expected


@pytest.mark.parametrize("command", ["status", "plan", "rebuild", "explain", "show", "diff", "log", "verify", "graph"])
def test_an_unknown_target_says_what_is_near(shops, command):
    done = shops.main(command, "raetd", "--json")
    said = json.loads(done.stdout)["error"]
    assert (done.returncode, said["code"]) == (2, "unknown-target") and said["hint"], done.stderr
    if command in ("status", "plan", "rebuild", "verify", "graph", "explain"):
        assert "rated" in done.stderr


def test_values_with_marks_are_meant_by_their_encoded_names(site):
    values = ["a*", "ab", "[x]", "a?", "x,y", "50%"]
    site.recipe(f"@b.recipe(each={{'v': {values!r}}})\ndef f(v):\n    return [v]\n")
    site.built()
    names = [t["name"] for t in site.project.status().to_json()["targets"]]
    for name, value in zip(names, values, strict=True):
        assert [t["name"] for t in site.project.status([name]).to_json()["targets"]] == [name]
        assert site.load(name) == [value]
        assert site.project.explain(name).to_json()["name"] == name == site.project.show(name).to_json()["name"]
    assert [t["name"] for t in site.project.status(["f[v=a*]"]).to_json()["targets"]] == [names[0], names[1], names[3]]


def test_what_looks_at_one_target_refuses_a_family_with_its_members(shops):
    shops.built()
    for look in (shops.project.diff, shops.project.log):
        with pytest.raises(BuilderError) as caught:
            look("clean[state=CA]")
        assert caught.value.code == "unknown-target" and "clean[state=CA,year=2023]" in caught.value.hint
        assert "clean[state=CA,year=2024]" in str(look("clean[year=2024,state=CA]"))
    assert shops.project.log("summary.total").startswith("summary ·")
    assert len(shops.project.history("clean").to_json()["runs"]) == 1
    assert shops.project.show("clean[year=2024,state=CA]").to_json()["name"] == "clean[state=CA,year=2024]"


def test_sets_that_contain_each_other_are_refused(site):
    site.write("builder.toml", '[sets]\nx = ["y"]\ny = ["x"]\n')
    site.recipe("@b.recipe\ndef rated():\n    return []\n")
    done = site.main("status", "x", "--json")
    said = json.loads(done.stdout)["error"]
    assert (done.returncode, said["code"]) == (2, "config") and "x" in said["message"] and "y" in said["message"]


def test_rebuild_of_targets_builds_what_they_need_and_no_more(shops):
    report = shops.built(targets=["count[year=2024,state=CA]"])
    assert {t["name"] for t in report["targets"]} == {"clean[state=CA,year=2024]", "count[state=CA,year=2024]"}
    assert [s["name"] for s in report["sources"]] == ["shops[state=CA]"]
    assert report["totals"]["fresh"] == 0
    states = shops.states()
    assert {n for n, s in states.items() if s == "fresh"} == {"clean[state=CA,year=2024]", "count[state=CA,year=2024]"}
    assert {t["name"] for t in shops.built()["targets"]} == ALL - {
        "clean[state=CA,year=2024]",
        "count[state=CA,year=2024]",
    }


def test_a_partial_rebuild_is_no_complete_build(shops):
    shops.built(targets=["rated"])
    assert [r["complete"] for r in shops.project.history().to_json()["runs"]] == [False]


def test_all_of_a_target_runs_what_it_needs_again(shops):
    shops.built()
    report = shops.built(targets=["rated"], all=True)
    assert {t["name"]: t["outcome"] for t in report["targets"]} == {"rated": "unchanged"}
    assert report["targets"][0]["reasons"][0]["kind"] == "forced"
    report = shops.built(all=True)
    assert {t["name"] for t in report["targets"]} == ALL and report["totals"]["unchanged"] == len(ALL)


def test_first_brings_its_targets_before_the_others(site):
    site.recipe("""
    for n in range(8):
        @b.recipe(name=f"early_{n}")
        def early():
            return []

    @b.recipe
    def base():
        return []

    @b.recipe
    def wanted(base):
        return []
    """)
    report = site.built(first=["wanted"])
    assert [t["name"] for t in report["targets"]][:2] == ["base", "wanted"] and len(report["targets"]) == 10
    done = site.main("rebuild", "--inline", "--first", "nothing", "--json")
    assert done.returncode == 2 and json.loads(done.stdout)["error"]["code"] == "unknown-target"


def test_a_dry_run_shows_the_plan_and_does_nothing(shops):
    done = shops.main("rebuild", "--dry-run", "rated", "--json")
    plan = json.loads(done.stdout)
    assert [(s["kind"], s["name"], s["action"]) for s in plan["steps"]] == [
        ("intake", "rates", "run"),
        ("target", "rated", "run"),
    ]
    assert not (shops.root / "out").exists() and not (shops.root / "schemas").exists()
    assert shops.project.history().to_json()["runs"] == []
    assert "rated" in shops.main("rebuild", "--dry-run").stdout


def test_a_saved_plan_runs_while_the_situation_is_the_same(shops):
    shops.built()
    shops.write("data/rates.csv", "id\n1\n2\n")
    assert shops.main("plan", "--out", "plan.json").returncode == 0
    assert {s["name"] for s in json.loads((shops.root / "plan.json").read_text())["steps"]} == {
        "rates",
        "rated",
        "report",
    }
    done = shops.main("rebuild", "--inline", "--plan", "plan.json", "--json")
    assert done.returncode == 0 and {t["name"] for t in json.loads(done.stdout)["targets"]} == {"rated"}, done.stderr


@pytest.mark.parametrize("move", ["source", "recipe", "store"])
def test_a_saved_plan_is_refused_when_the_situation_has_moved(shops, move):
    shops.built()
    shops.write("data/rates.csv", "id\n1\n2\n")
    plan = shops.project.plan().to_json()
    if move == "source":
        shops.write("data/rates.csv", "id\n1\n2\n3\n")
    elif move == "recipe":
        shops.recipe(RECIPE.replace("[1] or", "[2] or"))
    else:
        shops.built()
    (shops.root / "plan.json").write_text(json.dumps(plan))
    done = shops.main("rebuild", "--inline", "--plan", "plan.json", "--json")
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (2, "plan-moved")


def test_a_saved_plan_of_some_targets_does_only_them(shops):
    shops.main("plan", "rated", "--out", "plan.json")
    done = shops.main("rebuild", "--inline", "--plan", "plan.json", "--json")
    assert done.returncode == 0 and {t["name"] for t in json.loads(done.stdout)["targets"]} == {"rated"}, done.stdout


def test_a_saved_plan_of_an_empty_family_does_nothing(shops):
    shops.built(targets=["rated"])
    for state in ("CA", "WA"):
        (shops.root / f"data/shops/{state}.csv").unlink()
    plan = shops.project.plan(["clean"]).to_json()
    assert (plan["steps"], plan["targets"]) == ([], [])
    assert shops.rebuild(plan=plan)["targets"] == []


@pytest.mark.parametrize("content", ["", "{}", "[1]", "no json", None])
def test_a_plan_file_that_is_none_is_refused(shops, content):
    if content is not None:
        shops.write("plan.json", content)
    done = shops.main("rebuild", "--inline", "--plan", "plan.json", "--json")
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (2, "config")


def test_fail_fast_starts_nothing_more(site):
    site.recipe("""
    @b.recipe(priority=9)
    def bad():
        raise ValueError("no")

    @b.recipe
    def other():
        return []
    """)
    report = site.rebuild(fail_fast=True)
    assert {t["name"]: t["outcome"] for t in report["targets"]} == {"bad": "failed"}
    assert site.states() == {"bad": "failed", "other": "missing"}
    assert site.outcomes() == {"bad": "failed", "other": "built"}


def test_changed_and_all_exclude_each_other(shops):
    done = shops.main("rebuild", "--changed", "--all", "--json")
    assert done.returncode == 2 and json.loads(done.stdout)["error"]["code"] == "config"


def test_a_standing_cluster_gives_the_same_digests(shops):
    import dask
    from distributed import LocalCluster

    options = {"n_workers": 1, "threads_per_worker": 1, "processes": True, "dashboard_address": "127.0.0.1:0"}
    with dask.config.set(EMBEDDED), LocalCluster(**options) as cluster:
        done = shops.command("rebuild", "--scheduler", cluster.scheduler_address, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["outcome"] == "built"
        assert len(cluster.workers) == 1
    assert shops.load("report") == [4, 1]
    assert shops.project.verify(inline=True).is_equal


def test_no_cluster_at_the_address_is_an_error_that_names_it(shops):
    done = shops.command("rebuild", "--scheduler", "tcp://127.0.0.1:9", "--json")
    said = json.loads(done.stdout)["error"]
    assert (done.returncode, said["code"]) == (2, "no-cluster") and "127.0.0.1:9" in said["message"] + str(
        said["place"]
    )


def test_workers_of_the_embedded_cluster_are_chosen_by_j(shops):
    done = shops.command("rebuild", "-j", "1", "--json", "rated")
    assert done.returncode == 0 and json.loads(done.stdout)["outcome"] == "built", done.stderr
    assert shops.main("rebuild", "-j", "0").returncode == 2


def test_a_look_that_finds_nothing_to_do_forgets_no_failure_of_the_rest(site):
    site.write("data/fine.csv", "id\n1\n")
    site.write("data/broken.csv", "id,size\n1\n2,3,4\n")
    site.recipe("""
    b.source("fine", "data/fine.csv", key="id")
    b.source("broken", "data/broken.csv", key="id")

    @b.recipe
    def good(fine):
        return [len(fine)]

    @b.recipe
    def bad(fine):
        raise ValueError("no")

    @b.recipe
    def after(bad):
        return bad

    @b.recipe
    def reader(broken):
        return [len(broken)]
    """)
    site.rebuild()

    def looked():
        status = site.project.status().to_json()
        return {r["name"]: (r["state"], (r.get("error") or {}).get("code")) for r in status["targets"]} | {
            r["name"]: (r["error"] or {}).get("code") for r in status["sources"]
        }

    before = looked()
    assert {n: before[n][0] for n in ("good", "bad", "after", "reader")} == {
        "good": "fresh", "bad": "failed", "after": "blocked", "reader": "blocked"
    }  # fmt: skip
    assert before["broken"] and not before["fine"]
    assert site.rebuild(["good"])["outcome"] == "nothing"
    assert looked() == before
    assert site.command("status", "--read").returncode in (0, 1)
    assert looked() == before
    site.write("data/broken.csv", "id,size\n1,2\n")
    site.rebuild(["reader"])
    assert looked()["reader"][0] == "fresh" and looked()["bad"] == before["bad"]


def test_a_failure_is_forgotten_once_the_step_is_fresh_without_work(site):
    site.write("data/fine.csv", "id\n1\n")
    text = """
    b.source("fine", "data/fine.csv", key="id")

    @b.recipe
    def good(fine):
        {}
    """
    site.recipe(text.format("return [len(fine)]"))
    site.built()
    site.recipe(text.format("raise ValueError"))
    site.rebuild()
    assert site.states() == {"good": "failed"}
    site.recipe(text.format("return [len(fine)]"))
    assert site.rebuild(["good"])["outcome"] == "nothing"
    ledger = site.project.ledger()
    assert ledger.failures() == {}
    ledger.close()
