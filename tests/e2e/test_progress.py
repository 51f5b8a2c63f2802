"""What a run tells while it goes on: events as lines of JSON, and the note that other commands read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from builder.store.current_run import FILE, read_note, write_note

RECIPES = """
    b.source("rows", "data/rows.csv", key="id")

    @b.recipe(inputs={"rows": "rows"}, each={"n": [1, 2, 3]}, lane="db")
    def part(rows, n):
        return {"n": n, "rows": len(rows)}

    @b.recipe(inputs={"rows": "rows"})
    def broken(rows):
        raise ValueError("no")

    @b.recipe
    def behind(broken):
        return broken

    @b.recipe(inputs={"one": "part[n=1]"})
    def late(one):
        return one
"""


@pytest.fixture
def events(site: Any) -> list[dict[str, Any]]:
    """The events of a first run, with a failure in it."""
    site.write("builder.toml", 'name = "told"\n[lanes]\ndb = 1\n[cluster]\nworkers = 2\n')
    site.write("data/rows.csv", "id\n1\n2\n")
    site.recipe(RECIPES)
    done = site.main("rebuild", "--inline", "--json-lines")
    assert done.returncode == 1, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_events_are_lines_of_json_in_order_with_one_end_for_each(site: Any, events: list[dict[str, Any]]) -> None:
    assert all({"event", "name", "at"} <= set(e) for e in events[:-1])
    assert [e["at"] for e in events[:-1]] == sorted(e["at"] for e in events[:-1])
    assert (events[0]["event"], events[-1]["event"]) == ("total", "report")
    nodes = {e["name"] for e in events[:-1] if e["event"] == "ended"}
    assert len(nodes) == events[0]["steps"] + events[0]["intakes"]
    for node in nodes:
        kinds = [e["event"] for e in events[:-1] if e["name"] == node and e["event"] in ("queued", "started", "ended")]
        assert kinds in (["queued", "started", "ended"], ["ended"]), (node, kinds)
    targets = [e["name"] for e in events[:-1] if e["event"] in ("target", "fresh")]
    assert sorted(targets) == ["behind", "broken", "late", "part[n=1]", "part[n=2]", "part[n=3]"]
    assert {e["name"]: e["state"] for e in events if e["event"] == "ended" and e["state"] != "done"} == {
        "broken": "failed",
        "behind": "blocked",
    }
    started = [e["name"] for e in events if e["event"] == "started"]
    ended = [e["name"] for e in events if e["event"] == "ended"]
    assert ended.index("part[n=1]") < len(ended) and started.index("part[n=1]") < started.index("late")
    report = {t["name"]: t["outcome"] for t in events[-1]["targets"]}
    assert report == {e["name"]: e["outcome"] for e in events if e["event"] == "target"}


def test_the_lanes_of_what_is_queued_and_the_outlook_are_among_the_events(events: list[dict[str, Any]]) -> None:
    queued = {e["name"]: e.get("lanes") for e in events if e["event"] == "queued"}
    assert queued["part[n=2]"] == {"db": 1} and queued["late"] is None
    (first, *_) = [e for e in events if e["event"] == "progress"]
    assert set(first) >= {"done", "left", "running", "left_s", "lanes"}
    assert first["lanes"]["db"]["capacity"] == 1


def test_targets_that_prove_fresh_are_told(site: Any, events: list[dict[str, Any]]) -> None:
    site.write("data/rows.csv", "id\n2\n1\n")
    done = site.main("rebuild", "part", "--json-lines", "--inline")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(e["name"] for e in told if e["event"] == "fresh") == ["part[n=1]", "part[n=2]", "part[n=3]"]


def test_lanes_tells_the_queues_of_a_builder_that_is_at_work(site: Any) -> None:
    site.write("builder.toml", 'name = "told"\n[lanes]\ndb = 1\n')
    site.recipe("@b.recipe(lane='db')\ndef a(): return {'n': 1}")
    assert site.main("lanes").stdout == "db  capacity 1  1 target\n"
    store = site.project.config.store
    store.mkdir(exist_ok=True)
    write_note(store, {"lanes": {"db": {"capacity": 1, "taken": 1, "queued": 7}}})
    assert site.main("lanes").stdout == "db  capacity 1  1 target  now 1 taken, 7 queued\n"
    found = json.loads(site.main("lanes", "--json").stdout)
    assert found["running"] and found["lanes"][0]["queued"] == 7
    assert site.rebuild()["outcome"] == "built"
    assert not (store / FILE).exists(), "the note goes with its run"


@pytest.mark.parametrize("content", ["", "[]", '{"by": "nobody"}', '{"by": "elsewhere/0/1 1"}', "{}"])
def test_a_note_that_is_none_tells_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    assert read_note(tmp_path) is None


def test_the_note_of_a_builder_that_died_tells_nothing(tmp_path: Path) -> None:
    write_note(tmp_path, {"left_s": 1.0})
    assert read_note(tmp_path) is not None
    note = json.loads((tmp_path / FILE).read_text())
    machine, pid, ticks = note["by"].split()
    (tmp_path / FILE).write_text(json.dumps(note | {"by": f"{machine} {pid} {int(ticks) - 1}"}))
    assert read_note(tmp_path) is None
