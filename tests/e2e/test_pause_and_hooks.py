"""Pausing and resuming a build, hooks, events as lines, and what workers are able to do."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

import builder as b
from builder.store.pause import is_paused, pause, paused_since, resume


@pytest.fixture
def counted(site: Any) -> Any:
    site.write("data/s.csv", "id\n1\n2\n")
    site.recipe(
        """
        b.source("s", "data/s.csv", key="id")

        @b.recipe
        def one(s: pd.DataFrame):
            return {"rows": len(s)}

        @b.recipe
        def two(one):
            return {"twice": 2 * one["rows"]}
        """
    )
    return site


class Heard:
    """An observer that wakes who waits for an event."""

    def __init__(self) -> None:
        self.paused = threading.Event()
        self.kinds: list[str] = []

    def event(self, kind: str, name: str, **facts: Any) -> None:
        self.kinds.append(kind)
        if kind == "paused":
            self.paused.set()


def test_a_pause_outlives_whoever_set_it_and_is_ended_once(tmp_path: Path) -> None:
    assert not is_paused(tmp_path) and paused_since(tmp_path) is None
    assert pause(tmp_path) and not pause(tmp_path)
    assert is_paused(tmp_path) and paused_since(tmp_path) is not None
    assert resume(tmp_path) and not resume(tmp_path)
    assert not is_paused(tmp_path)


def test_a_paused_build_starts_nothing_and_goes_on_when_resumed(counted: Any) -> None:
    assert counted.main("pause").stdout.startswith("paused; ")
    heard = Heard()
    runs: list[Any] = []
    thread = threading.Thread(target=lambda: runs.append(counted.project.rebuild(inline=True, observer=heard)))
    thread.start()
    assert heard.paused.wait(30)
    assert "started" not in heard.kinds
    assert counted.main("resume").stdout == "resumed\n"
    thread.join(30)
    assert runs[0].outcome == "built" and "resumed" in heard.kinds
    assert counted.main("resume").stdout == "not paused\n"


def test_hooks_hear_of_steps_and_never_harm_a_build(counted: Any) -> None:
    counted.write("builder.toml", '[hooks]\nbefore = ["hooks.py:note"]\nafter = ["hooks.py:note", "hooks.py:bad"]\n')
    counted.write(
        "hooks.py",
        """
        from pathlib import Path

        def note(event):
            with open(Path(__file__).with_name("heard.txt"), "a") as file:
                print(event["event"], event["name"], event.get("outcome", ""), file=file)

        def bad(event):
            raise SystemExit(3)
        """,
    )
    run = counted.project.rebuild(inline=True)
    assert run.outcome == "built"
    heard = (counted.root / "heard.txt").read_text().split("\n")
    assert [h.strip() for h in heard if h] == [
        "started s", "source s read", "started one", "target one built", "started two", "target two built",
    ]  # fmt: skip
    assert [text for _, text in run.warnings] == [f"a hook failed at '{n}': SystemExit: 3" for n in ("s", "one", "two")]


@pytest.mark.parametrize("hook", ["nowhere.py:f", "hooks.py:nothing", "hooks.py", "../hooks.py:f"])
def test_a_hook_that_is_not_there_is_told_before_anything_runs(counted: Any, hook: str) -> None:
    counted.write("hooks.py", "X = 1\n")
    counted.write("builder.toml", f'[hooks]\nafter = ["{hook}"]\n')
    with pytest.raises(b.BuilderError) as caught:
        counted.project.rebuild(inline=True)
    assert caught.value.code == "config" and hook in caught.value.message
    assert counted.digests() == {}


def test_events_are_lines_of_json_and_the_report_is_the_last(counted: Any) -> None:
    done = counted.main("rebuild", "--inline", "--json-lines")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert {"total", "queued", "started", "target", "ended"} <= {line["event"] for line in lines}
    assert lines[-1]["event"] == "report" and lines[-1]["outcome"] == "built"
    assert [line["name"] for line in lines if line["event"] == "target"] == ["one", "two"]


def test_what_no_worker_can_do_fails_at_once_and_the_rest_is_built(counted: Any) -> None:
    counted.recipe(
        """
        @b.recipe(needs="gpu")
        def trained(one):
            return one
        """,
        "more.py",
    )
    run = counted.rebuild()
    outcomes = {t["name"]: t["outcome"] for t in run["targets"]}
    assert outcomes == {"one": "built", "two": "built", "trained": "failed"}
    problem = next(t["error"] for t in run["targets"] if t["name"] == "trained")
    assert problem["code"] == "no-worker" and ["needs", "gpu"] in problem["facts"] and problem["hint"]
    counted.write("builder.toml", '[cluster]\nabilities = ["gpu"]\n')
    assert counted.outcomes() == {"trained": "built"}


@pytest.mark.parametrize("text", ['memory = "much"', "memory = -1", 'abilities = "gpu"'])
def test_settings_of_workers_are_checked(counted: Any, text: str) -> None:
    counted.write("builder.toml", f"[cluster]\n{text}\n")
    with pytest.raises(b.BuilderError) as caught:
        counted.project  # noqa: B018
    assert (caught.value.code, caught.value.place) == ("config", "builder.toml:2")


def test_a_recipe_that_outgrows_its_worker_is_out_of_memory(counted: Any) -> None:
    counted.write("builder.toml", '[cluster]\nworkers = 1\nmemory = "500 MB"\n')
    counted.recipe(
        """
        import time

        @b.recipe
        def huge(one):
            held = []
            while True:
                held.append(bytearray(30_000_000))
                held[-1][::4096] = b"x" * len(held[-1][::4096])
                time.sleep(0.05)
        """,
        "more.py",
    )
    run = counted.rebuild(inline=False)
    outcomes = {t["name"]: t["outcome"] for t in run["targets"]}
    assert outcomes == {"one": "built", "two": "built", "huge": "failed"}
    assert next(t["error"]["code"] for t in run["targets"] if t["name"] == "huge") == "out-of-memory"
