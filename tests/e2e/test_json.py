"""The documents that ``--json`` prints, their fields, and the exit codes."""

import json
import re

import pytest

RECIPE = """
b.source("a", "data/a.csv", key="id")
b.source("raw", "data/raw.bin")

@b.recipe(key="id", lane="db")
def first(a):
    print("said by first")
    return a

@b.recipe
def second(first, raw):
    return {"n": len(first)}

@b.recipe(each={"v": [1, 2]})
def member(first, v):
    return [v]
"""
NAMES = ["first", "second", "member[v=1]", "member[v=2]"]
REASON = {"kind", "subject", "detail"}
KINDS = {
    "source",
    "recipe",
    "parameter",
    "environment",
    "project",
    "upstream",
    "missing",
    "failed",
    "version",
    "update",
    "forced",
}


@pytest.fixture
def site(site):
    site.write("builder.toml", 'name = "shop"\npublish = "all"\n[lanes]\ndb = 1\nnet = 2\n')
    site.write("data/a.csv", "id,x\n1,2\n2,3\n")
    site.write("data/raw.bin", b"abc")
    site.recipe(RECIPE)
    return site


def said(site, *args, code=0):
    """The one document on stdout."""
    done = site.main(*args, "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)  # fails on anything besides one document


def fields(value, *names):
    """Assert that a dict has these fields."""
    assert set(names) <= set(value), set(names) - set(value)


def test_status(site):
    value = said(site, "status")
    fields(value, "format", "project", "sensed_s", "sources", "targets", "totals", "predicted_s")
    assert (value["format"], value["project"]) == (1, "shop") and isinstance(value["sensed_s"], float)
    assert [(s["name"], s["state"], s["files"], s["bytes"]) for s in value["sources"]] == [
        ("a", "new", 1, 13),
        ("raw", "new", 1, 3),
    ]
    assert all(isinstance(r, str) for s in value["sources"] for r in s["reasons"])
    assert [t["name"] for t in value["targets"]] == NAMES
    for target in value["targets"]:
        fields(target, "name", "recipe", "params", "state", "reasons", "predicted_s", "lanes")
        assert target["state"] == "missing" and all(set(r) >= REASON and r["kind"] in KINDS for r in target["reasons"])
    assert value["targets"][0]["lanes"] == {"db": 1} and value["targets"][3]["params"] == {"v": 2}
    assert value["targets"][3]["recipe"] == "member"
    assert value["totals"] == {
        "targets": 4,
        "fresh": 0,
        "stale": 0,
        "pending": 0,
        "missing": 4,
        "blocked": 0,
        "failed": 0,
    }


def test_states_of_sources_and_targets(site):
    site.built()
    value = said(site, "status")
    assert {s["state"] for s in value["sources"]} == {"unchanged"} and value["totals"]["fresh"] == 4
    site.write("data/a.csv", "id,x\n1,2\n2,4\n")
    value = said(site, "status")
    assert [s["state"] for s in value["sources"]] == ["changed", "unchanged"] and value["sources"][0]["reasons"]
    states = {t["name"]: (t["state"], {(r["kind"], r["subject"]) for r in t["reasons"]}) for t in value["targets"]}
    assert states["first"] == ("stale", {("source", "a")}) and states["second"] == ("pending", {("upstream", "first")})
    assert (value["totals"]["stale"], value["totals"]["pending"]) == (1, 3)
    (site.root / "data/a.csv").unlink()
    assert said(site, "status")["sources"][0]["state"] == "missing"


def test_status_exits_1_where_something_is_not_fresh_only_when_asked(site):
    assert site.main("status").returncode == 0
    assert site.main("status", "--exit-code").returncode == 1
    site.built()
    assert site.main("status", "--exit-code").returncode == 0
    site.write("data/raw.bin", b"abcd")
    assert site.main("status", "--exit-code").returncode == 1
    assert site.main("status", "first", "--exit-code").returncode == 0
    assert site.main("status", "second", "--exit-code").returncode == 1


def test_status_read_takes_changed_sources_in_and_runs_no_recipe(site):
    site.built()
    site.write("data/a.csv", "id,x\n2,3\n1,2\n")
    assert said(site, "status")["totals"]["stale"] == 1
    value = said(site, "status", "--read")
    assert value["totals"]["fresh"] == 4 and value["sources"][0]["state"] == "unchanged"
    site.write("data/a.csv", "id,x\n2,9\n1,2\n")
    value = said(site, "status", "--read")
    assert {t["name"]: t["state"] for t in value["targets"]}["first"] == "stale"
    assert site.load("first")["x"].to_list() == [2, 3]


def test_plan(site):
    value = said(site, "plan")
    fields(value, "format", "steps", "predicted_s", "bounds", "bottleneck", "ready")
    assert (value["steps"][0]["kind"], value["steps"][0]["name"]) == ("intake", "a")
    assert {s["name"] for s in value["steps"] if s["kind"] == "target"} == set(NAMES)
    for step in value["steps"]:
        fields(step, "kind", "name", "action", "reasons", "predicted_s", "lanes", "priority", "start_s", "finish_s")
        assert step["action"] in ("run", "update", "restore") and all(set(r) >= REASON for r in step["reasons"])
    fields(value["bounds"], "critical_path_s", "work_s", "lanes")
    assert set(value["ready"]) >= set(NAMES)
    order = [s["name"] for s in value["steps"]]
    assert order.index("a") < order.index("first") < order.index("second")
    site.built()
    assert said(site, "plan")["steps"] == []
    site.write("data/a.csv", "id,x\n1,2\n2,4\n")
    value = said(site, "plan", "--workers", "100")
    assert all(isinstance(s["predicted_s"], float) for s in value["steps"]) and isinstance(value["predicted_s"], float)
    assert value["bottleneck"] in ("critical path", "work", "critical_path", "workers") or value["bottleneck"]


def test_rebuild(site):
    value = said(site, "rebuild", "--inline")
    fields(value, "format", "run", "outcome", "wall_s", "targets", "sources", "totals")
    assert (value["format"], value["outcome"]) == (1, "built") and isinstance(value["wall_s"], float)
    for target in value["targets"]:
        fields(
            target,
            "name",
            "outcome",
            "via",
            "wall_s",
            "cpu_s",
            "peak_rss_bytes",
            "rows",
            "rows_changed",
            "reasons",
            "error",
        )
        assert (target["outcome"], target["via"], target["error"]) == ("built", "full", None)
        assert all(set(r) >= REASON for r in target["reasons"])
    (source,) = value["sources"]
    fields(source, "name", "outcome", "rows", "rows_changed", "wall_s", "cpu_s")
    assert (source["name"], source["outcome"], source["rows"]) == ("a", "read", 2)
    assert value["totals"] == {
        "built": 4,
        "updated": 0,
        "unchanged": 0,
        "restored": 0,
        "failed": 0,
        "blocked": 0,
        "fresh": 0,
    }
    assert {t["name"]: t["rows"] for t in value["targets"]}["first"] == 2


def test_rebuild_of_changes(site):
    site.built()
    value = said(site, "rebuild", "--inline")
    assert (value["outcome"], value["targets"], value["totals"]["fresh"]) == ("nothing", [], 4)
    site.write("data/a.csv", "id,x\n1,2\n2,4\n3,1\n")
    value = said(site, "rebuild", "--inline")
    found = {t["name"]: t for t in value["targets"]}
    assert (found["first"]["outcome"], found["first"]["rows_changed"]) == ("built", 2)
    assert (value["sources"][0]["outcome"], value["sources"][0]["rows_changed"]) == ("updated", 2)
    assert {found[n]["outcome"] for n in ("member[v=1]", "member[v=2]")} == {"unchanged"}
    assert value["totals"]["built"] == 2 and value["totals"]["unchanged"] == 2
    site.write("data/a.csv", "id,x\n1,2\n2,3\n")
    value = said(site, "rebuild", "--inline")
    found = {t["name"]: (t["outcome"], t["via"], t["rows_changed"]) for t in value["targets"]}
    assert found["first"] == ("restored", "store", 2) and value["sources"][0]["outcome"] == "restored"
    assert value["totals"]["restored"] == len(found)


def test_a_source_found_equal_is_taken_in_and_the_outcome_is_nothing(site):
    site.built()
    site.write("data/a.csv", 'id,x\n2,3\n"1",2\n'.replace('"1"', "1"))
    value = said(site, "rebuild", "--inline")
    assert (value["outcome"], value["targets"]) == ("nothing", [])
    assert [(s["name"], s["outcome"], s["rows_changed"]) for s in value["sources"]] == [("a", "unchanged", 0)]


def test_a_failed_rebuild_exits_1_with_its_errors(site):
    site.recipe(RECIPE.replace("return a\n", 'raise ValueError("bad luck")\n'))
    value = said(site, "rebuild", "--inline", code=1)
    found = {t["name"]: t for t in value["targets"]}
    assert value["outcome"] == "failed" and (value["totals"]["failed"], value["totals"]["blocked"]) == (1, 3)
    assert found["first"]["error"]["code"] == "recipe-error" and "bad luck" in found["first"]["error"]["message"]
    assert found["second"]["outcome"] == "blocked"
    states = {t["name"]: t["state"] for t in said(site, "status")["targets"]}
    assert states == {"first": "failed", "second": "blocked", "member[v=1]": "blocked", "member[v=2]": "blocked"}
    assert said(site, "status")["targets"][0]["reasons"][0]["kind"] == "failed"


def test_a_failed_source_is_told_with_its_error(site):
    site.built()
    site.write("data/a.csv", "id,x\n1,2\n2,abc\n")
    value = said(site, "rebuild", "--inline", code=1)
    (source,) = value["sources"]
    assert source["outcome"] == "failed" and source["error"]["code"] == "schema-drift"
    assert source["error"]["place"] == "data/a.csv:3" and "abc" in json.dumps(source["error"])
    assert {t["outcome"] for t in value["targets"]} == {"blocked"}
    assert site.load("first")["x"].to_list() == [2, 3]


def test_verify(site):
    site.built()
    before = site.digests()
    value = said(site, "verify", "--inline")
    assert value["format"] == 1 and {t["name"] for t in value["targets"]} == set(NAMES)
    assert all(t["equal"] is True and isinstance(t["detail"], str) for t in value["targets"])
    assert site.digests() == before
    assert [t["name"] for t in said(site, "verify", "--inline", "first")["targets"]] == ["first"]


def test_verify_exits_1_when_it_finds_something(site):
    site.write("count", "")
    site.recipe("""
    import itertools
    import os

    @b.recipe
    def random():
        return list(os.urandom(8))
    """)
    site.built()
    value = said(site, "verify", "--inline", code=1)
    assert [(t["name"], t["equal"]) for t in value["targets"]] == [("random", False)]


def test_explain(site):
    site.built()
    site.write("data/a.csv", "id,x\n1,2\n2,4\n")
    value = said(site, "explain", "first")
    fields(value, "format", "name", "state", "reasons", "waits_for", "inputs")
    assert (value["name"], value["state"], value["waits_for"]) == ("first", "stale", ["a"])
    for reason in value["reasons"]:
        fields(reason, "kind", "subject", "detail", "before", "after")
        assert reason["before"] != reason["after"]
    assert [i["name"] for i in value["inputs"]] == ["a"] and "digest" in value["inputs"][0]
    value = said(site, "explain", "second")
    assert (value["state"], value["waits_for"]) == ("pending", ["first"])
    site.built()
    value = said(site, "explain", "first")
    assert (value["state"], value["reasons"], value["waits_for"]) == ("fresh", [], [])
    assert re.fullmatch("[0-9a-f]+", value["inputs"][0]["digest"])


def test_show(site):
    built = site.built()["run"]
    value = said(site, "show", "first")
    fields(value, "format", "name", "run", "rows", "bytes", "digest", "columns", "key", "via", "built_at", "inputs")
    assert (value["name"], value["run"], value["rows"], value["key"], value["via"]) == (
        "first",
        built,
        2,
        ["id"],
        "full",
    )
    assert value["columns"] == {"id": "int64", "x": "int64"} and value["bytes"] > 0
    assert list(value["inputs"]) == ["a"] and value["digest"] == site.digests()["first"]
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", value["built_at"])
    assert said(site, "show", "second")["columns"] == {} and said(site, "show", "a")["rows"] == 2
    text = site.main("show", "first").stdout
    assert "first" in text and "int64" in text and "2 rows" in text


def test_diff(site):
    first = site.built()["run"]
    value = said(site, "diff", "first")
    assert (value["format"], value["name"], value["added"], value["removed"], value["changed"]) == (1, "first", 2, 0, 0)
    site.write("data/a.csv", "id,x\n2,5\n3,1\n4,1\n")
    second = site.built()["run"]
    for args in ((), (first,), (first, second)):
        value = said(site, "diff", "first", *args)
        assert (value["added"], value["removed"], value["changed"]) == (2, 1, 1), args
        examples = value["examples"]
        assert sorted(r["id"] for r in examples["added"]) == [3, 4] and examples["removed"][0]["id"] == 1
        assert examples["changed"][0]["key"] == {"id": 2}
    value = said(site, "diff", "first", second, first)
    assert (value["added"], value["removed"], value["changed"]) == (1, 2, 1)
    assert "→" in site.main("diff", "first").stdout
    assert said(site, "diff", "first", "r99", code=2)["error"]["code"] == "unknown-target"
    assert said(site, "diff", "first", "nonsense", code=2)["error"]["code"] in ("unknown-target", "config")


def test_history_and_log(site):
    assert said(site, "history") == {"format": 1, "runs": []}
    site.built()
    site.write("data/raw.bin", b"abcd")
    site.built()
    value = said(site, "history")
    assert value["format"] == 1 and [r["outcome"] for r in value["runs"]] == ["built", "built"]
    for done in value["runs"]:
        fields(done, "run", "started_at", "outcome", "wall_s", "totals")
    assert len(said(site, "history", "first")["runs"]) == 1 and len(said(site, "history", "second")["runs"]) >= 1
    assert "said by first" in site.main("log", "first").stdout
    assert "said by first" in said(site, "log", "first")["log"]


def test_lanes_and_graph(site):
    value = said(site, "lanes")
    assert value["format"] == 1
    assert {lane["name"]: (lane["capacity"], lane["targets"]) for lane in value["lanes"]} == {
        "db": (1, ["first"]),
        "net": (2, []),
    }
    graph = said(site, "graph")
    assert graph["format"] == 1
    assert site.main("graph").stdout.startswith("digraph") and '"first"' in site.main("graph").stdout
    assert json.loads(site.main("graph", "--format", "json").stdout)["format"] == 1
    assert site.main("graph", "first", "-o", "graph.dot").returncode == 0
    assert "second" not in (site.root / "graph.dot").read_text() and "first" in (site.root / "graph.dot").read_text()


def test_gc_and_fsck(site, in_files):
    site.built()
    for n in range(4):
        site.write("data/a.csv", f"id,x\n1,{n}\n")
        site.built()
    would = said(site, "gc", "--keep", "1", "--dry-run")
    assert would["format"] == 1 and would["removed"]
    value = said(site, "gc", "--keep", "1")
    assert value["removed"] == would["removed"]
    assert said(site, "gc", "--keep", "1")["removed"] == []
    assert said(site, "fsck") == said(site, "fsck") and said(site, "fsck")["problems"] == []
    part = next(p for p in (site.root / ".builder/parts").rglob("*") if p.is_file())
    part.chmod(0o644)
    part.write_bytes(b"damaged")
    value = said(site, "fsck", code=1)
    assert value["format"] == 1 and value["problems"]


def test_accept(site):
    site.built()
    site.write("data/a.csv", "id,x,y\n1,2,a\n")
    value = said(site, "rebuild", "--inline", code=1)
    assert value["sources"][0]["error"]["code"] == "schema-drift" and "accept a" in value["sources"][0]["error"]["hint"]
    assert said(site, "accept", "a")["format"] == 1
    assert json.loads((site.root / "schemas/a.json").read_text())["columns"]["y"] == "string"
    assert said(site, "rebuild", "--inline")["outcome"] == "built"
    assert list(site.load("first").columns) == ["id", "x", "y"]
    assert said(site, "accept", "nothing", code=2)["error"]["code"] in ("unknown-target", "unknown-input")


@pytest.mark.parametrize(
    ("args", "code"),
    [(("status", "--nonsense"), None), (("nonsense",), None), (("rebuild", "-j", "x"), None), (("explain",), None),
     (("diff", "a", "r1", "r2", "r3"), None), (("plan", "nothing"), "unknown-target")],
)  # fmt: skip
def test_wrong_usage_exits_2_with_a_document(site, args, code):
    value = said(site, *args, code=2)
    assert value["format"] == 1 and set(value["error"]) >= {"code", "message", "place", "hint"}
    assert value["error"]["message"] and value["error"]["hint"]
    assert code is None or value["error"]["code"] == code


def test_a_broken_project_exits_2_with_a_document_for_every_command(site):
    site.write("recipes/bad.py", "def f(:\n")
    for args in (("status",), ("plan",), ("rebuild",), ("explain", "first"), ("verify",), ("graph",)):
        value = said(site, *args, code=2)
        assert value["error"]["code"] == "recipe-syntax" and value["error"]["place"].startswith("recipes/bad.py:1"), (
            args
        )
        assert value["error"]["hint"]


def test_a_folder_that_is_no_project_exits_2(tmp_path, site):
    (tmp_path / "empty").mkdir()
    value = said(site, "-C", str(tmp_path / "empty"), "status", code=2)
    assert value["error"]["code"] == "config"
    assert said(site, "status", "-C", str(tmp_path / "nowhere"), code=2)["error"]["code"] == "config"


def test_the_directory_may_stand_before_or_after_the_command(site, tmp_path):
    import subprocess
    import sys

    for args in (("-C", str(site.root), "status", "--json"), ("status", "--json", "-C", str(site.root))):
        done = subprocess.run(
            [sys.executable, "-m", "builder", *args], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert json.loads(done.stdout)["project"] == "shop"
    inner = site.root / "data"
    done = subprocess.run(
        [sys.executable, "-m", "builder", "status", "--json"], cwd=inner, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["project"] == "shop"


def test_progress_goes_to_stderr_and_the_report_to_stdout(site):
    done = site.command("rebuild", "--json", "-j", "1")
    assert json.loads(done.stdout)["outcome"] == "built"
    assert "said by first" not in done.stdout


def test_init_makes_a_project_that_runs(site, tmp_path):
    value = said(site, "init", str(tmp_path / "fresh"))
    assert value["format"] == 1
    done = site.command("-C", str(tmp_path / "fresh"), "rebuild", "--inline", "--json")
    assert done.returncode == 0, done.stderr
    assert said(site, "-C", str(tmp_path / "fresh"), "status")["totals"]["fresh"] >= 1
    again = site.command("init", str(tmp_path / "fresh"), "--json")
    assert again.returncode == 2 and json.loads(again.stdout)["error"]["hint"]
