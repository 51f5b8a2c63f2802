"""What can go wrong with a step on a worker: each cause is told as what it is, and nobody else is blamed for it."""

from __future__ import annotations

import io
import json
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from builder.report.progress import Lines
from tests.conftest import Site

FAULTS: dict[str, tuple[str, str, str, str]] = {
    # keywords of the recipe, its body, the code, what the error must say
    "exits": ("", "os._exit(3)", "worker-died", "exited with status 3"),
    "is_killed": ("", "os.kill(os.getpid(), signal.SIGKILL)", "worker-died", "killed by signal 9"),
    "crashes": ("", "ctypes.string_at(0)", "worker-died", "killed by signal 11"),
    "grows_slowly": ("", "grow(20_000_000, 0.02)", "out-of-memory", "used up the memory"),
    "grows_suddenly": ("", "grow(700_000_000, 60)", "out-of-memory", "used up the memory"),
    "asks_too_much": ("", "bytearray(1 << 50)", "out-of-memory", "ran out of memory"),
    "leaves": ("", "raise SystemExit(3)", "recipe-error", "SystemExit: 3"),
    "sleeps": ("timeout=5", "time.sleep(600)", "timed-out", "longer than 5 s"),
    "holds_the_gil": ("timeout=5", "ctypes.PyDLL(None).sleep(600)", "timed-out", "longer than 5 s"),
    "waits_for_a_child": ("timeout=5", "run(['sh', '-c', 'sleep 600 & wait'])", "timed-out", "longer than 5 s"),
    "raises": ("", "raise ValueError('no good')", "recipe-error", "ValueError: no good"),
    "raises_what_no_pickle_takes": ("", "raise Unpicklable()", "recipe-error", "Unpicklable: cannot travel"),
    "returns_what_no_store_takes": ("", "return object()", "result-type", "object"),
    "needs_another": ("needs='gpu'", "return {}", "no-worker", "gpu"),
}
HEAD = """
import ctypes, os, signal, time
from subprocess import run

class Unpicklable(Exception):
    def __init__(self):
        super().__init__("cannot travel")
        self.held = lambda: None
        self.file = open("/dev/null")

    def __reduce__(self):
        raise TypeError("no")

def grow(step_bytes, pause_s):
    held = []
    while True:
        held.append(bytearray(b"x") * step_bytes)
        time.sleep(pause_s)

@b.recipe(each={"n": list(range(30))})
def innocent(n):
    return {"n": n}

@b.recipe
def behind(exits):
    return exits

@b.recipe(inputs={"all": "innocent[*]"})
def innocents(all):
    return {"count": len(all)}
"""


class Broken:
    """A project in which nearly everything fails, built once by the real command on real workers."""

    def __init__(self, root: Path) -> None:
        self.site = Site(root)
        self.site.write("builder.toml", '[cluster]\nworkers = 3\nmemory = "500 MB"\n')
        recipes = [
            f"@b.recipe({keywords})\ndef {name}():\n    print('before {name}', flush=True)\n    {body}\n"
            for name, (keywords, body, _, _) in FAULTS.items()
        ]
        self.site.recipe(HEAD + "\n" + "\n".join(recipes))
        self.mark = f"FAULTS={root}".encode()
        self.done = self.site.command("rebuild", "--json", env={"FAULTS": str(root)})
        self.report = json.loads(self.done.stdout)
        self.targets = {t["name"]: t for t in self.report["targets"]}

    def left(self) -> list[str]:
        """Living processes that the command started."""
        found = []
        for folder in Path("/proc").iterdir():
            with suppress(OSError):
                if folder.name.isdigit() and self.mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append((folder / "cmdline").read_text())
        return found


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broken]:
    yield Broken(tmp_path_factory.mktemp("broken") / "site")


@pytest.mark.parametrize("name", FAULTS)
def test_the_true_cause_is_told_with_the_target_and_its_log(broken: Broken, name: str) -> None:
    _, _, code, said = FAULTS[name]
    assert broken.targets[name]["outcome"] == "failed"
    problem = broken.targets[name]["error"]
    assert problem["code"] == code, problem
    assert said in problem["message"] + json.dumps(problem["facts"]), problem
    assert problem["place"].startswith("recipes/main.py:") and problem["hint"], problem
    if code != "no-worker":
        assert f"before {name}" in broken.site.project.log(name)
    failures = broken.site.project.ledger().failures()
    assert failures[name].error.code == code and failures[name].error.target == name


def test_the_innocent_are_built_and_nobody_blames_them(broken: Broken) -> None:
    assert broken.done.returncode == 1 and broken.report["outcome"] == "failed"
    assert {n for n, t in broken.targets.items() if t["outcome"] == "failed"} == set(FAULTS)
    assert broken.targets["behind"]["outcome"] == "blocked"
    good = {f"innocent[n={n}]" for n in range(30)} | {"innocents"}
    assert {broken.targets[n]["outcome"] for n in good} == {"built"}
    ledger = broken.site.project.ledger()
    tried = ledger.rows("SELECT step, outcome FROM attempts WHERE step LIKE 'innocent%'")
    assert sorted(tried) == sorted((n, "done") for n in good), "one attempt each, and it counted"


def test_who_takes_workers_down_gets_one_more_attempt_and_all_others_none(broken: Broken) -> None:
    counts = dict(broken.site.project.ledger().rows("SELECT step, count(*) FROM attempts GROUP BY step"))
    deadly = {n for n, (_, _, code, said) in FAULTS.items() if code == "worker-died" or "used up" in said}
    assert {n: counts.get(n, 0) for n in FAULTS} == {
        n: 0 if n == "needs_another" else 2 if n in deadly else 1 for n in FAULTS
    }


def test_nothing_of_what_failed_is_left(broken: Broken) -> None:
    assert broken.left() == []
    scratch = [p.name for p in (broken.site.root / ".builder" / "scratch").iterdir() if not p.name.startswith("dask-")]
    assert scratch == ["epoch"]


def test_what_travels_with_a_step_that_kills_its_worker_is_not_blamed(site: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("DEADLY", "-1")
    site.recipe(
        """
        import os

        @b.recipe(each={"n": list(range(24))})
        def tiny(n):
            if n == int(os.environ["DEADLY"]):
                os._exit(3)
            return {"n": n}
        """
    )
    site.built(inline=False, workers=1)
    monkeypatch.setenv("DEADLY", "9")
    ledger = site.project.ledger()
    (before,) = ledger.rows("SELECT max(id) FROM attempts")[0]
    packed: set[int] = set()

    class Heard:
        def event(self, kind: str, name: str, **facts: Any) -> None:
            if kind == "started":
                packed.add(facts["packed"])

    report = site.rebuild(inline=False, workers=1, all=True, observer=Heard())
    assert True in packed, "tiny steps travel together"
    outcomes = {t["name"]: t["outcome"] for t in report["targets"]}
    assert outcomes == {f"tiny[n={n}]": "failed" if n == 9 else "unchanged" for n in range(24)}
    tried = ledger.rows(f"SELECT step, outcome FROM attempts WHERE id > {before}")
    assert sorted(tried) == sorted(
        [(f"tiny[n={n}]", "done") for n in range(24) if n != 9] + [("tiny[n=9]", "worker-died")] * 2
    )


def test_a_disk_that_is_full_fails_on_a_worker_what_does_not_fit(site: Any) -> None:
    store = site.root / ".builder"
    store.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "builder-test", str(store)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("mounting a small disk is not permitted here")
    try:
        site.recipe(
            """
            @b.recipe
            def large():
                import os
                return os.urandom(8 << 20)

            @b.recipe
            def small():
                return {"x": 1}
            """
        )
        report = site.rebuild(inline=False, workers=1)
        assert {t["name"]: t["outcome"] for t in report["targets"]} == {"large": "failed", "small": "built"}
        problem = next(t["error"] for t in report["targets"] if t["error"])
        assert problem["code"] == "store-full" and problem["target"] == "large" and "builder gc" in problem["hint"]
    finally:
        subprocess.run(["umount", "-l", str(store)], check=True)


@pytest.mark.parametrize("how", ["raises", "leaves", "hangs"])
def test_a_hook_that_misbehaves_never_harms_a_build(site: Any, how: str) -> None:
    site.write("builder.toml", '[hooks]\nbefore = ["hooks.py:before"]\nafter = ["hooks.py:after"]\n')
    bodies = {
        "raises": "raise ValueError('hook')",
        "leaves": "raise SystemExit(0)",
        "hangs": "import time; time.sleep(600)",
    }
    site.write("hooks.py", f"def before(event):\n    {bodies[how]}\n\ndef after(event):\n    {bodies[how]}\n")
    site.recipe("@b.recipe\ndef one():\n    return {'x': 1}\n\n@b.recipe\ndef two(one):\n    return one\n")
    done = site.command("rebuild", "-j", "1", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0 and {t["outcome"] for t in report["targets"]} == {"built"}, done.stderr
    assert report["warnings"] and all("hook" in w["message"] for w in report["warnings"])


# -- what only looks wrong ---------------------------------------------------------------------------------------------

LOOKS = """
    import os, subprocess, sys, time

    def wait():
        end_s = time.monotonic() + 6
        while time.monotonic() < end_s:
            time.sleep(0.05)

    @b.recipe
    def sleeps():
        wait()
        return {}

    @b.recipe
    def prints():
        for n in range(60):
            print(n, flush=True)
            time.sleep(0.1)
        return {}

    @b.recipe
    def has_a_child_at_work():
        burn = "import time; t = time.monotonic()\\nwhile time.monotonic() < t + 6: pass"
        subprocess.run([sys.executable, "-c", burn])
        return {}

    @b.recipe
    def dies_once():
        if not os.path.exists(os.environ["ONCE"]):
            open(os.environ["ONCE"], "w").close()
            os.kill(os.getpid(), 9)
        return {}
"""


class Noted:
    """An observer that keeps what was said of the run's health."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def event(self, kind: str, name: str, **facts: Any) -> None:
        if kind == "health":
            self.said.append((name, facts["finding"]))


def test_a_step_that_does_nothing_and_a_lost_worker_are_said_while_the_run_goes_on(
    site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONCE", str(tmp_path / "once"))
    monkeypatch.setattr("builder.execute.lookout.HEALTH_EVERY_S", 0.2)
    monkeypatch.setattr("builder.execute.health.STUCK_AFTER_S", 2.0)
    monkeypatch.setattr("builder.execute.health.STUCK_CPU_SHARE", 0.05)  # of two seconds a heartbeat takes its share
    site.recipe(LOOKS)
    noted = Noted()
    site.built(inline=False, workers=4, observer=noted)
    stuck = [name for name, finding in noted.said if finding.startswith("stuck?")]
    assert stuck == ["sleeps"], "said once, of the one that neither computes nor prints, not even through a child"
    ((worker, lost),) = [(n, f) for n, f in noted.said if "lost" in f]
    assert worker.startswith("tcp://") and "dies_once" in lost and "signal 9" in lost


def test_a_step_far_beyond_its_prediction_and_a_disk_that_fills_up_are_said(
    site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONG_S", "0.0")
    site.recipe("import os, time\n\n@b.recipe\ndef t():\n    time.sleep(float(os.environ['LONG_S']))\n    return {}\n")
    site.built(inline=False, workers=1)
    monkeypatch.setenv("LONG_S", "4")
    monkeypatch.setattr("builder.execute.lookout.HEALTH_EVERY_S", 0.2)
    monkeypatch.setattr("builder.execute.health.SLOW_AT_LEAST_S", 1.5)
    monkeypatch.setattr("builder.execute.health.NEARLY_FULL_SHARE", 1.0)
    monkeypatch.setattr("builder.execute.health.NEARLY_FULL_BYTES", 1 << 62)
    noted = Noted()
    site.built(inline=False, workers=1, all=True, observer=noted)
    assert [name for name, finding in noted.said if finding.startswith("slow:")] == ["t"]
    assert [name for name, finding in noted.said if finding.startswith("nearly full")] == ["the store's disk"]


def test_findings_are_lines_on_standard_error() -> None:
    stream = io.StringIO()
    Lines(stream).event("health", "t", finding="stuck? no CPU used and nothing printed for 301 s")
    assert stream.getvalue() == "  warning  t  stuck? no CPU used and nothing printed for 301 s\n"
