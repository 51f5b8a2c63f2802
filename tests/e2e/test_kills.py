"""What becomes of a build whose processes die: the same command goes on, nothing is seen half, the cause is told."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
PATIENCE_S = 60.0


class Command:
    """The installed command under way, in a process group of its own."""

    def __init__(self, site, *args: str) -> None:
        self.site = site
        self.process = subprocess.Popen(
            [sys.executable, "-m", "builder", *args], cwd=site.root, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def await_file(self, path: str) -> str:
        """The content of a file of the project, once a recipe wrote it."""
        file = self.site.root / path
        until = time.monotonic() + PATIENCE_S
        while not (file.exists() and file.read_text().endswith("\n")):
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < until
            threading.Event().wait(0.02)
        return file.read_text().strip()

    def end(self) -> tuple[int, dict]:
        """The exit code and the document on standard output."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        assert out, err
        return self.process.returncode, json.loads(out)


SLOW = """
    import os, time

    def wait_until(name):  # says which process waits, outside of the project's inputs
        marks = os.environ["MARKS"]
        with open(f"{marks}/{name}.pid", "w") as file:
            file.write(f"{os.getpid()}\\n")
        while not os.path.exists(f"{marks}/go"):
            time.sleep(0.01)

    @b.recipe
    def slow():
        wait_until("slow")
        return {"made": 1}

    @b.recipe
    def after(slow):
        return {"after": slow}

    @b.recipe(publish=True)
    def quick():
        return {"quick": 1}
"""


@pytest.fixture
def waiting(site, monkeypatch):
    """A project with a recipe that waits until the file ``marks/go`` is there."""
    (site.root / "marks").mkdir()
    monkeypatch.setenv("MARKS", str(site.root / "marks"))
    site.recipe(SLOW)
    return site


def targets_of(report: dict) -> dict[str, str]:
    return {t["name"]: t["outcome"] for t in report["targets"]}


def error_of(report: dict, name: str) -> dict:
    return next(t["error"] for t in report["targets"] if t["name"] == name)


@pytest.mark.parametrize("whom", ["driver", "group"])
def test_a_killed_build_goes_on_with_what_was_not_committed(whom):
    options = ["--size", "40", "--kills", "2", "--whom", whom, "--seed", "3"]
    command = [sys.executable, str(BENCHMARKS / "kills.py"), "dag", *options]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert done.stdout, done.stderr
    figures = json.loads(done.stdout)
    assert figures["problems"] == []
    assert figures["kills"] == 2
    assert figures["files_watched"] > 0
    assert done.returncode == 0


def test_an_interrupt_lets_what_runs_end_and_commit(waiting):
    with Command(waiting, "rebuild", "-j", "1", "--json") as command:
        command.await_file("marks/slow.pid")
        os.killpg(command.process.pid, signal.SIGINT)  # as a terminal does; only the driver acts on it
        threading.Event().wait(0.2)
        assert command.process.poll() is None
        (waiting.root / "marks/go").touch()
        code, report = command.end()
    assert code == 130
    assert report["outcome"] == "interrupted"
    assert targets_of(report)["slow"] == "built"
    assert "after" not in targets_of(report)
    assert waiting.states()["slow"] == "fresh"
    assert waiting.ran() >= {"after"}
    assert set(waiting.states().values()) == {"fresh"}


def test_a_second_interrupt_ends_a_build_at_once(waiting):
    with Command(waiting, "rebuild", "-j", "1", "--json") as command:
        pid = int(command.await_file("marks/slow.pid"))
        command.process.send_signal(signal.SIGINT)
        threading.Event().wait(0.2)
        command.process.send_signal(signal.SIGINT)
        code, report = command.end()
    assert code == 130
    assert report["outcome"] == "interrupted"
    assert "slow" not in targets_of(report)
    assert not Path(f"/proc/{pid}").exists()
    (waiting.root / "marks/go").touch()
    assert waiting.ran() >= {"slow", "after"}


def test_a_step_whose_worker_was_killed_runs_again(waiting):
    with Command(waiting, "rebuild", "-j", "1", "--json") as command:
        pid = int(command.await_file("marks/slow.pid"))
        (waiting.root / "marks/go").touch()
        os.kill(pid, signal.SIGKILL)
        code, report = command.end()
    assert code == 0, report
    assert targets_of(report) == {"slow": "built", "after": "built", "quick": "built"}


def test_a_recipe_that_ends_its_process_fails_with_the_cause(site):
    lines = {
        "leaves": ("os._exit(3)", "worker-died", "exited with status 3"),
        "aborts": ("os.abort()", "worker-died", "signal 6"),
        "exits": ("raise SystemExit(3)", "recipe-error", "SystemExit: 3"),
        "says": ("sys.exit('no more')", "recipe-error", "SystemExit: no more"),
        "interrupts": ("raise KeyboardInterrupt", "recipe-error", "KeyboardInterrupt"),
    }
    recipes = [f"@b.recipe\ndef {name}():\n    {line}\n" for name, (line, _, _) in lines.items()]
    site.recipe("\n".join(["import os, sys", *recipes, "@b.recipe\ndef good():\n    return {'good': 1}\n"]))
    report = site.rebuild(inline=False, workers=2)
    assert targets_of(report) == {"good": "built"} | dict.fromkeys(lines, "failed")
    for name, (_, code, cause) in lines.items():
        problem = error_of(report, name)
        assert problem["code"] == code, name
        assert cause in json.dumps(problem), name
        assert problem["hint"], name


def test_a_recipe_over_its_time_is_killed(site):
    site.recipe("""
        import os, time

        @b.recipe(timeout=4)
        def endless():
            print(f"process {os.getpid()}", flush=True)
            while True:
                time.sleep(0.05)

        @b.recipe
        def good():
            return {"good": 1}
    """)
    report = site.rebuild(inline=False, workers=1)
    assert targets_of(report) == {"endless": "failed", "good": "built"}
    problem = error_of(report, "endless")
    assert problem["code"] == "timed-out"
    assert "4 s" in problem["message"]
    pid = int(site.project.log("endless").split("process ")[1].split()[0])
    assert not Path(f"/proc/{pid}").exists()


def test_two_builders_do_not_work_at_once_and_reports_work_meanwhile(waiting):
    with Command(waiting, "rebuild", "-j", "1", "--json") as command:
        command.await_file("marks/slow.pid")
        second = waiting.command("rebuild", "--json")
        assert second.returncode == 2
        problem = json.loads(second.stdout)["error"]
        assert problem["code"] == "locked"
        assert problem["hint"]
        assert str(command.process.pid) in second.stderr
        status = waiting.command_json("status")
        assert {t["name"]: t["state"] for t in status["targets"]}["slow"] == "missing"
        assert waiting.command("history").returncode == 0
        (waiting.root / "marks/go").touch()
        assert command.end()[0] == 0
    assert waiting.command("rebuild").returncode == 0


def test_a_second_interrupt_inline_ends_the_recipe(waiting):
    with Command(waiting, "rebuild", "--inline", "--json") as command:
        command.await_file("marks/slow.pid")
        command.process.send_signal(signal.SIGINT)
        threading.Event().wait(0.2)
        command.process.send_signal(signal.SIGINT)
        code, report = command.end()
    assert (code, report["outcome"]) == (130, "interrupted")
    assert "slow" not in targets_of(report)
    assert waiting.states()["slow"] == "missing"
