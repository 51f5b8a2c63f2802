"""What a driver leaves behind when it dies, is stopped, paused or interrupted, and what the next one makes of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.processes import identity_of
from tests.e2e.test_kills import Command, targets_of
from tests.e2e.test_standing_cluster import Standing

PATIENCE_S = 60.0
RECIPES = """
    import ctypes, fcntl, os, subprocess, time

    def at(name):
        return os.path.join(os.environ["MARKS"], name)

    def note(name, text):
        with open(at(name), "a") as file:
            file.write(text + "\\n")

    @b.recipe(lane="db")
    def guarded():  # the lock is held by the child: it is what must be gone before the lane is given away again
        child = subprocess.Popen(["flock", "-n", "-E", "75", at("lock"), "sh", "-c", "echo held; exec sleep 600"],
                                 stdout=subprocess.PIPE, text=True)
        said = child.stdout.readline().strip() or "refused"
        note("guarded", f"{os.getpid()} {child.pid} {said}")
        while not os.path.exists(at("go")):
            time.sleep(0.01)
        child.kill()
        child.wait()
        return {"made": said}

    @b.recipe
    def after(guarded):
        note("after", str(os.getpid()))
        return guarded
"""


def gone(pid: int) -> bool:
    """Whether a process has ended, waited for or not."""
    found = identity_of(pid)
    return found is None or not found.is_alive


def until(is_so: Callable[[], Any], what: str) -> Any:
    until_s = time.monotonic() + PATIENCE_S
    while not (found := is_so()):
        assert time.monotonic() < until_s, what
        time.sleep(0.01)
    return found


@pytest.fixture
def lane(site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A project whose first step holds its lane through a child process until ``marks/go`` is there."""
    (tmp_path / "marks").mkdir()
    monkeypatch.setenv("MARKS", str(tmp_path / "marks"))
    site.write("builder.toml", "[lanes]\ndb = 1\n")
    site.recipe(RECIPES)
    return site


@pytest.fixture
def standing(tmp_path: Path, lane: Any) -> Iterator[Standing]:
    """Two workers that outlive any driver."""
    folder = tmp_path / "cluster"
    folder.mkdir()
    made = Standing(folder)
    made.start_workers(2)
    yield made
    made.close()


def lines(name: str) -> list[list[str]]:
    path = Path(os.environ["MARKS"]) / name
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def nth(count: int) -> list[int]:
    """The pids of the guarded step's worker and child, when it runs for this time."""
    worker, child, said = until(lambda: (lines("guarded")[count - 1 :] or [None])[0], f"execution {count}")
    assert said == "held", "the lane was given away while another held it"
    return [int(worker), int(child)]


def go() -> None:
    (Path(os.environ["MARKS"]) / "go").touch()


def test_what_a_killed_driver_left_on_a_standing_cluster_is_ended_before_its_lane_is_given(
    lane: Any, standing: Standing
) -> None:
    lane.write("builder.toml", f'[lanes]\ndb = 1\n[cluster]\nscheduler = "{standing.address}"\n')
    with Command(lane, "rebuild", "--json") as first:
        orphans = nth(1)
        first.process.kill()
        first.process.wait()
    assert not any(map(gone, orphans)), "a standing cluster's worker goes on by itself"
    with Command(lane, "rebuild", "--json") as second:
        nth(2)
        assert all(map(gone, orphans))
        go()
        code, report = second.end()
    assert code == 0 and targets_of(report) == {"guarded": "built", "after": "built"}
    assert len(lines("guarded")) == 2 and len(lines("after")) == 1


def test_the_child_of_a_recipe_outlives_its_driver_only_until_the_next_one_starts(lane: Any) -> None:
    with Command(lane, "rebuild", "-j", "1", "--json") as first:
        worker, child = nth(1)
        first.process.kill()
        first.process.wait()
    until(lambda: gone(worker), "the end of the worker")
    assert not gone(child)
    with Command(lane, "rebuild", "-j", "1", "--json") as second:
        nth(2)
        assert gone(child)
        go()
        assert second.end()[0] == 0


def test_a_worker_dies_with_its_driver_though_a_recipe_holds_the_gil(lane: Any) -> None:
    lane.recipe(
        RECIPES + '\n    @b.recipe\n    def frozen():\n        note("frozen", str(os.getpid()))\n'
        "        ctypes.PyDLL(None).sleep(600)\n"
    )
    with Command(lane, "rebuild", "frozen", "-j", "1", "--json") as command:
        ((pid,),) = until(lambda: lines("frozen"), "the frozen step")
        command.process.kill()
        command.process.wait()
        began_s = time.monotonic()
        until(lambda: gone(int(pid)), "the end of the worker")
        assert time.monotonic() - began_s < 5


def test_a_child_that_a_dead_worker_left_is_ended_before_the_step_runs_again(lane: Any) -> None:
    with Command(lane, "rebuild", "-j", "2", "--json") as command:
        worker, child = nth(1)
        os.kill(worker, signal.SIGKILL)
        nth(2)
        assert gone(child)
        go()
        assert command.end()[0] == 0


# -- stopped -----------------------------------------------------------------------------------------------------------


def test_a_stopped_driver_is_replaced_and_is_refused_when_it_goes_on(lane: Any) -> None:
    with Command(lane, "rebuild", "-j", "1", "--json") as first:
        left = nth(1)
        first.process.send_signal(signal.SIGSTOP)
        with Command(lane, "rebuild", "-j", "1", "--json") as second:
            nth(2)
            assert all(map(gone, left))
            epoch = lane.project.ledger().epoch()
            first.process.send_signal(signal.SIGCONT)
            out, err = first.process.communicate(timeout=PATIENCE_S)
            assert first.process.returncode == 2, (out, err)
            assert '"code": "locked"' in out.replace('":"', '": "') and "taken the store over" in out + err
            go()
            code, report = second.end()
    assert code == 0 and targets_of(report) == {"guarded": "built", "after": "built"}
    assert lane.project.ledger().epoch() == epoch
    assert [(len(lines(n))) for n in ("guarded", "after")] == [2, 1]
    assert lane.project.ledger().rows("SELECT count(*) FROM attempts WHERE outcome = 'done'") == [(2,)]


def test_a_driver_at_work_is_not_replaced(lane: Any) -> None:
    with Command(lane, "rebuild", "-j", "1", "--json") as first:
        nth(1)
        refused = lane.command("rebuild")
        assert refused.returncode == 2 and "locked" in refused.stderr
        go()
        assert first.end()[0] == 0
    assert len(lines("guarded")) == 1


# -- interrupted -------------------------------------------------------------------------------------------------------


def test_an_interrupt_lets_a_step_in_a_lane_end_and_leaves_no_process(lane: Any) -> None:
    with Command(lane, "rebuild", "-j", "1", "--json") as command:
        pids = nth(1)
        os.killpg(command.process.pid, signal.SIGINT)
        time.sleep(0.3)
        assert command.process.poll() is None and not any(map(gone, pids))
        go()
        code, report = command.end()
    assert (code, targets_of(report)) == (130, {"guarded": "built"})
    assert all(map(gone, pids)) and lines("after") == []


def test_a_second_interrupt_ends_a_step_in_a_lane_with_all_it_started(lane: Any) -> None:
    with Command(lane, "rebuild", "-j", "1", "--json") as command:
        pids = nth(1)
        os.killpg(command.process.pid, signal.SIGINT)
        time.sleep(0.3)
        os.killpg(command.process.pid, signal.SIGINT)
        code, report = command.end()
    assert (code, report["outcome"], targets_of(report)) == (130, "interrupted", {})
    assert all(map(gone, pids))
    go()
    assert lane.ran(inline=False, workers=1) == {"guarded", "after"}
    assert [line[2] for line in lines("guarded")] == ["held", "held"]


def test_a_second_interrupt_ends_what_runs_on_a_standing_cluster(lane: Any, standing: Standing) -> None:
    lane.write("builder.toml", f'[lanes]\ndb = 1\n[cluster]\nscheduler = "{standing.address}"\n')
    with Command(lane, "rebuild", "--json") as command:
        pids = nth(1)
        command.process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        command.process.send_signal(signal.SIGINT)
        assert command.end()[0] == 130
    until(lambda: all(map(gone, pids)), "the end of what ran")


# -- paused ------------------------------------------------------------------------------------------------------------

CHAIN = """
    import os

    def run(name):
        with open(os.path.join(os.environ["MARKS"], name), "a") as file:
            file.write(f"{os.getpid()}\\n")
        while name == "step3" and not os.path.exists(os.path.join(os.environ["MARKS"], "go")):
            pass
        return {"name": name}

    @b.recipe(lane="db")
    def step0():
        return run("step0")

    def make(number):
        @b.recipe(name=f"step{number}", inputs={"before": f"step{number - 1}"}, lane="db")
        def made(before):
            return run(f"step{number}")

    for number in range(1, 8):
        make(number)
"""


def test_a_paused_build_that_is_killed_goes_on_when_it_is_resumed_and_repeats_nothing(lane: Any) -> None:
    lane.recipe(CHAIN)
    steps = [f"step{n}" for n in range(8)]
    with Command(lane, "rebuild", "-j", "2", "--json-lines") as first:
        until(lambda: lines("step3"), "the fourth step")
        assert lane.command("pause").returncode == 0
        go()  # what runs when the pause begins may end, and is committed
        assert first.process.stdout is not None
        for line in first.process.stdout:
            if '"paused"' in line:
                break
        until(lambda: lane.states()["step3"] == "fresh", "the commit of the fourth step")
        os.killpg(first.process.pid, signal.SIGKILL)
    assert [bool(lines(s)) for s in steps] == [True] * 4 + [False] * 4
    assert "paused" in lane.command("status").stdout

    with Command(lane, "rebuild", "-j", "2", "--json-lines") as second:  # another day: it waits, too
        assert second.process.stdout is not None
        for line in second.process.stdout:
            if '"paused"' in line:
                break
        time.sleep(0.3)
        assert lines("step4") == []
        assert lane.command("resume").returncode == 0
        second.process.communicate(timeout=PATIENCE_S)
        assert second.process.returncode == 0
    assert [len(lines(s)) for s in steps] == [1] * 8, "nothing lost, nothing run twice"
    assert set(lane.states().values()) == {"fresh"}


# -- everything at once ------------------------------------------------------------------------------------------------


def test_a_small_battle_is_won() -> None:
    options = ["--steps", "50", "--kills", "2", "--workers", "2", "--gil-s", "1.5", "--no-cluster", "--seed", "5"]
    command = [sys.executable, str(Path(__file__).parents[2] / "benchmarks" / "chaos.py"), *options]
    done = subprocess.run(command, text=True, capture_output=True, check=False, timeout=170)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "take-overs" in done.stdout and "PROBLEM" not in done.stderr
