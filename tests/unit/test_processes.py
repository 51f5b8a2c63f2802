"""Who a process is, what belongs to it, and how all of it is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builder import processes
from builder.processes import MARK, Identity

PATIENCE_S = 20.0
FAMILY = """
import os, subprocess, sys
os.setsid()
child = subprocess.Popen([sys.executable, "-c", "import subprocess, time; p = subprocess.Popen(['sleep', '600']); "
                          "print(p.pid, flush=True); time.sleep(600)"], stdout=subprocess.PIPE, text=True)
print(child.pid, child.stdout.readline().strip(), flush=True)
child.wait()
"""


def until(is_so: Callable[[], bool]) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < until_s
        time.sleep(0.005)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def identity(pid: int) -> Identity:
    found = processes.identity_of(pid)
    assert found is not None
    return found


def test_an_identity_is_written_and_read_again() -> None:
    me = processes.myself()
    assert Identity.parse(str(me)) == me and me.pid == os.getpid() and me.is_here and me.is_alive


@pytest.mark.parametrize("text", ["", "one two", "machine 1 2 3", "machine pid 3"])
def test_a_text_that_is_no_identity_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Identity.parse(text)


def test_a_process_that_ended_is_not_alive_even_before_anyone_waited_for_it() -> None:
    process = subprocess.Popen(["true"])
    found = identity(process.pid)
    until(lambda: not found.is_alive)
    assert processes.identity_of(process.pid) is None or not found.is_alive
    process.wait()
    assert processes.identity_of(process.pid) is None


def test_a_number_that_came_again_is_another_process(sleeper: subprocess.Popen[bytes]) -> None:
    mine = identity(sleeper.pid)
    earlier = Identity(mine.machine, mine.pid, mine.ticks - 1)
    assert mine.is_alive and not earlier.is_alive
    assert processes.family(earlier) == set()
    processes.kill([earlier])
    assert processes.end_family(earlier)
    assert mine.is_alive and sleeper.poll() is None


def test_a_process_of_another_machine_is_left_alone(sleeper: subprocess.Popen[bytes]) -> None:
    mine = identity(sleeper.pid)
    there = Identity("elsewhere/0/0", mine.pid, mine.ticks)
    assert not there.is_here and not there.is_alive and processes.family(there) == set()
    processes.kill([there])
    assert mine.is_alive


def test_a_stopped_process_is_known_to_be(sleeper: subprocess.Popen[bytes]) -> None:
    mine = identity(sleeper.pid)
    assert not mine.is_stopped
    os.kill(sleeper.pid, signal.SIGSTOP)
    until(lambda: mine.is_stopped)
    assert mine.is_alive
    os.kill(sleeper.pid, signal.SIGCONT)
    until(lambda: not mine.is_stopped)


def test_a_process_that_is_traced_is_not_taken_for_stopped() -> None:
    code = "import ctypes, os, signal; ctypes.CDLL(None).ptrace(0, 0, 0, 0); os.kill(os.getpid(), signal.SIGSTOP)"
    process = subprocess.Popen([sys.executable, "-c", code])  # this process traces it, as a debugger would
    try:
        mine = identity(process.pid)
        stat = Path(f"/proc/{process.pid}/stat")
        until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "t")
        assert mine.is_alive and not mine.is_stopped
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def parent() -> Iterator[tuple[subprocess.Popen[str], list[Identity]]]:
    """A process that leads a session, with a child and a grandchild; and the identities of all three."""
    process = subprocess.Popen([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    members = [identity(int(pid)) for pid in (process.pid, *process.stdout.readline().split())]
    yield process, members
    processes.kill(members)
    process.wait()
    process.stdout.close()


def test_a_family_is_the_process_with_all_below_it(parent: tuple[subprocess.Popen[str], list[Identity]]) -> None:
    process, members = parent
    assert processes.family(members[0]) == set(members)
    assert processes.family(members[1]) == set(members[1:])
    assert processes.end_family(members[0])
    assert not any(m.is_alive for m in members)
    process.wait()


def test_what_a_dead_process_left_is_found_by_its_session(
    parent: tuple[subprocess.Popen[str], list[Identity]],
) -> None:
    process, members = parent
    process.kill()
    process.wait()
    assert processes.family(members[0]) == set(members[1:])
    assert processes.end_family(members[0])
    assert not any(m.is_alive for m in members)


def test_marked_processes_are_found_by_their_mark_alone() -> None:
    values = [processes.mark("/a/store", 3, "x-3-1-1"), processes.mark("/a/store", 4), processes.mark("/a/store2", 3)]
    started = [subprocess.Popen(["sleep", "600"], env=os.environ | {MARK: v}) for v in values]
    try:
        until(lambda: len(list(processes.marked("/a/store"))) == 3)  # each has its own environment once it is exec'd
        assert {(i.pid, v) for i, v in processes.marked("/a/store#")} == {
            (p.pid, v) for p, v in zip(started[:2], values[:2], strict=True)
        }
        assert processes.end_marked("/a/store#3#")
        assert [p.poll() is None for p in started[1:]] == [True, True]
        assert started[0].wait(PATIENCE_S) == -signal.SIGKILL
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_a_process_never_ends_itself_by_its_mark() -> None:
    code = (
        "from builder.processes import marked, end_marked\n"
        "assert list(marked('/b/')) == [] and end_marked('/b/')\n"
        "print('alive')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {MARK: "/b/#1#"}, text=True, capture_output=True, check=True
    )
    assert done.stdout == "alive\n"


def test_the_processor_time_of_a_family_counts_children_that_live_and_that_ended() -> None:
    burn = "import time; t = time.process_time()\nwhile time.process_time() - t < 0.3: pass\n"
    code = f"import subprocess, sys, time\nsubprocess.run([sys.executable, '-c', '''{burn}'''])\n{burn}time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        mine = identity(process.pid)
        until(lambda: processes.cpu_s_of([mine])[mine] >= 0.6)
        assert processes.main_thread_cpu_s(mine) < processes.cpu_s_of([mine])[mine]
    finally:
        process.kill()
        process.wait()
    assert processes.cpu_s_of([mine]) == {}
