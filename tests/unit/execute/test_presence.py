"""Attempts under way as files, and what becomes of those whose builder is gone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.digests import Digest
from builder.errors import BuilderError
from builder.execute import presence
from builder.execute.attempt import run_pack
from builder.execute.presence import (
    begin_epoch,
    cpu_s_by,
    end_attempts,
    end_elsewhere,
    end_orphans,
    orphans,
    presence_file,
    present,
    printed_bytes,
    read_presence,
)
from builder.execute.spec import AttemptRecord, AttemptSpec, RecipeSpec
from builder.processes import MARK, Identity, identity_of, mark, myself
from builder.store import disk
from builder.store.commits import Committer
from builder.store.epochs import begun_epoch
from builder.store.gc import collect
from builder.store.ledger import Ledger

ELSEWHERE = Identity("another/0/0", 4242, 99)


def spec_of(store: Path, number: int = 1, epoch: int = 1) -> AttemptSpec:
    work = RecipeSpec("r", Digest("0"), Digest("0"), (), (), (("", "t"),))
    name = f"{epoch}-{number}"
    return AttemptSpec(
        f"t[a=b-c]-{epoch}-7-{number}", "t", str(store), str(store), str(store), str(store / "logs" / name),
        str(store / "scratch" / name), work,
    )  # fmt: skip


@pytest.fixture
def sleeper() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts processes that lead a session of their own, as workers do."""
    made: list[subprocess.Popen[bytes]] = []

    def make(**environ: str) -> subprocess.Popen[bytes]:
        made.append(subprocess.Popen(["sleep", "600"], env=os.environ | environ, start_new_session=True))
        return made[-1]

    yield make
    for process in made:
        process.kill()
        process.wait()


def leave(spec: AttemptSpec, process: Identity) -> Path:
    """The presence that an attempt of this process would have left behind."""
    path = presence_file(spec)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{process}\n{spec.epoch}\n{0.0:015.3f}\n{spec.id}\n")
    return path


def identity(pid: int) -> Identity:
    found = identity_of(pid)
    assert found is not None
    return found


# -- on the worker -----------------------------------------------------------------------------------------------------


def test_an_attempt_is_present_while_it_runs_and_what_it_starts_carries_its_mark(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, epoch=3)
    with present(spec):
        found = read_presence(presence_file(spec))
        assert found is not None and (found.process, found.epoch, found.attempt) == (myself(), 3, spec.id)
        child = subprocess.run(["env"], capture_output=True, text=True, check=True).stdout
        assert f"{MARK}={mark(str(tmp_path), 3, spec.id)}\n" in child
    assert not presence_file(spec).exists() and MARK not in os.environ


def test_an_attempt_that_fails_is_not_present_any_more(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    with pytest.raises(ZeroDivisionError), present(spec):
        raise ZeroDivisionError
    assert not presence_file(spec).exists()


def test_an_attempt_of_a_builder_that_was_replaced_never_begins(tmp_path: Path) -> None:
    begin_epoch(tmp_path, 4)
    for epoch, code in ((3, "locked"), (4, "internal")):  # the second has no bundle: it has begun
        spec = spec_of(tmp_path, epoch=epoch)
        (record,) = [AttemptRecord.from_bytes(r) for r in run_pack([spec.to_bytes()], in_worker=False)]
        assert record.error is not None and record.error["code"] == code
        assert Path(spec.log).exists() == (epoch == 4)
        assert not presence_file(spec).exists()


@pytest.mark.parametrize(
    ("identity", "epoch"),
    [("t-5-7-1", 5), ("a-1-b-12-3-4", 12), ("t", 0), ("x-y-z-t", 0), ("t[a=1-2-3]", 0), ("t[a=x]-3-1-1", 3)],
)
def test_the_epoch_of_an_attempt_is_in_its_id(tmp_path: Path, identity: str, epoch: int) -> None:
    assert replace(spec_of(tmp_path), id=identity).epoch == epoch


def test_a_beat_says_what_was_used_and_is_never_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of(tmp_path)
    with present(spec):
        before = presence_file(spec).stat().st_size
        monkeypatch.setattr(presence, "_cpu_s_of", lambda processes: dict.fromkeys(processes, 12.5))
        presence.beat(spec)
        found = read_presence(presence_file(spec))
        assert found is not None and found.cpu_s == 12.5
        assert presence_file(spec).stat().st_size == before
    presence.beat(spec)
    assert not presence_file(spec).exists()


@pytest.mark.parametrize("text", ["", "x", "m 1 2\n3\n", "m 1 2\nthree\n0\nid\n"])
def test_a_presence_that_is_half_written_is_nobody(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.pid"
    path.write_text(text)
    assert read_presence(path) is None


# -- orphans -----------------------------------------------------------------------------------------------------------


def test_what_an_earlier_builder_left_is_ended_before_anything_begins(
    tmp_path: Path, sleeper: Callable[..., subprocess.Popen[bytes]]
) -> None:
    worker = sleeper()
    child = sleeper(**{MARK: mark(str(tmp_path), 1, "gone-1-1-1")})  # its worker is dead, and left no session
    path = leave(spec_of(tmp_path), identity(worker.pid))
    (tmp_path / "scratch" / "rubbish").mkdir()
    begin_epoch(tmp_path, 2)
    assert [p.wait(10) for p in (worker, child)] == [-9, -9]
    assert not path.exists() and [p.name for p in (tmp_path / "scratch").iterdir()] == ["epoch"]
    assert begun_epoch(tmp_path) == 2


def test_what_this_builder_started_is_no_orphan(
    tmp_path: Path, sleeper: Callable[..., subprocess.Popen[bytes]]
) -> None:
    worker, child = sleeper(), sleeper(**{MARK: mark(str(tmp_path), 2, "x-2-1-1")})
    path = leave(spec_of(tmp_path, epoch=2), identity(worker.pid))
    assert orphans(tmp_path, 2) == [] and end_orphans(str(tmp_path), 2)
    assert [p.poll() for p in (worker, child)] == [None, None] and path.exists()


def test_a_pid_that_came_again_is_not_killed(tmp_path: Path, sleeper: Callable[..., subprocess.Popen[bytes]]) -> None:
    innocent = sleeper()
    now = identity(innocent.pid)
    path = leave(spec_of(tmp_path), Identity(now.machine, now.pid, now.ticks - 100))
    begin_epoch(tmp_path, 2)
    assert innocent.poll() is None and not path.exists()


def test_another_store_s_processes_are_left_alone(
    tmp_path: Path, sleeper: Callable[..., subprocess.Popen[bytes]]
) -> None:
    other = sleeper(**{MARK: mark(str(tmp_path) + "2", 1, "x-1-1-1")})
    begin_epoch(tmp_path, 2)
    assert other.poll() is None


def test_machines_that_answer_end_their_own_orphans(tmp_path: Path) -> None:
    path = leave(spec_of(tmp_path), ELSEWHERE)
    begin_epoch(tmp_path, 2)
    assert path.exists(), "nobody here can say whether it lives"
    asked: list[tuple[Any, ...]] = []

    def everywhere(*call: Any) -> list[Any]:
        asked.append(call)
        path.unlink()
        return [True]

    end_elsewhere(tmp_path, 2, everywhere)
    assert asked == [(end_orphans, str(tmp_path), 2)]
    end_elsewhere(tmp_path, 2, lambda *call: pytest.fail("there is none left"))


def test_an_orphan_elsewhere_that_is_silent_is_taken_for_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "SILENT_S", 0.2)
    path = leave(spec_of(tmp_path), ELSEWHERE)
    end_elsewhere(tmp_path, 2, lambda *call: [])
    assert not path.exists()


def test_an_orphan_elsewhere_that_beats_on_is_refused_with_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "SILENT_S", 0.5)
    monkeypatch.setattr(presence, "WAIT_AT_MOST_S", 1.5)
    spec = spec_of(tmp_path)
    path = leave(spec, ELSEWHERE)
    stop = threading.Event()

    def beats() -> None:
        while not stop.wait(0.1):
            path.write_text(f"{ELSEWHERE}\n{spec.epoch}\n{time.monotonic():015.3f}\n{spec.id}\n")

    thread = threading.Thread(target=beats)
    thread.start()
    try:
        with pytest.raises(BuilderError) as caught:
            end_elsewhere(tmp_path, 2, lambda *call: [])
    finally:
        stop.set()
        thread.join()
    assert caught.value.code == "locked" and caught.value.hint
    assert list(caught.value.facts) == [("process", f"4242 on another: {spec.id}")]


def test_collection_leaves_an_orphan_to_the_next_builder_which_ends_it(
    tmp_path: Path, sleeper: Callable[..., subprocess.Popen[bytes]]
) -> None:
    ledger = Ledger.open(tmp_path, create=True)
    worker = sleeper()
    path = leave(spec_of(tmp_path, epoch=Committer.take(ledger).epoch), identity(worker.pid))
    collect(ledger, Committer.take(ledger), tmp_path, 1, is_dry=False)
    assert path.exists() and worker.poll() is None
    begin_epoch(tmp_path, Committer.take(ledger).epoch)
    assert worker.wait(10) == -9 and not path.exists()
    ledger.close()


def test_a_new_ledger_goes_on_from_the_epoch_whose_attempts_ran(
    tmp_path: Path, sleeper: Callable[..., subprocess.Popen[bytes]]
) -> None:
    begin_epoch(tmp_path, 57)
    worker = sleeper()
    path = leave(spec_of(tmp_path, epoch=57), identity(worker.pid))
    ledger = Ledger.open(tmp_path, create=True)
    committer = Committer.take(ledger)
    assert committer.epoch == ledger.epoch() == 58
    begin_epoch(tmp_path, committer.epoch)
    assert worker.wait(10) == -9 and not path.exists()
    late = spec_of(tmp_path, epoch=57)
    (record,) = [AttemptRecord.from_bytes(r) for r in run_pack([late.to_bytes()], in_worker=False)]
    assert record.error is not None and record.error["code"] == "locked"
    ledger.close()


def test_an_epoch_is_on_the_disk_before_its_attempts_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[str, str]] = []
    monkeypatch.setattr(disk, "on_write", lambda operation, path: done.append((operation, path.name)))
    begin_epoch(tmp_path, 3)
    flushed = [name for operation, name in done if operation == "sync"]
    assert flushed[0].startswith(".epoch.") and flushed[1:] == ["scratch"]


# -- an attempt of this builder ----------------------------------------------------------------------------------------


def test_an_attempt_is_over_when_nobody_is_present(tmp_path: Path) -> None:
    assert end_attempts([str(presence_file(spec_of(tmp_path)))]) == []


def test_a_lost_attempt_is_ended_with_what_it_started(
    tmp_path: Path, sleeper: Callable[..., subprocess.Popen[bytes]]
) -> None:
    spec = spec_of(tmp_path)
    worker, child = sleeper(), sleeper(**{MARK: mark(str(tmp_path), 1, spec.id)})
    path = leave(spec, identity(worker.pid))
    assert end_attempts([str(path)]) == [] and not path.exists()
    assert [p.wait(10) for p in (worker, child)] == [-9, -9]


def test_an_attempt_of_another_machine_cannot_be_proven_over_here(tmp_path: Path) -> None:
    path = leave(spec_of(tmp_path), ELSEWHERE)
    assert end_attempts([str(path)]) == [str(path)] and path.exists()


def test_the_processor_time_of_running_attempts_is_that_of_their_families(tmp_path: Path) -> None:
    code = "import os, sys, threading, time\nos.setsid()\ndef burn():\n    while time.thread_time() < 0.3: pass\n"
    code += "t = threading.Thread(target=burn)\nt.start()\nt.join()\nprint('burnt', flush=True)\ntime.sleep(600)"
    worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert worker.stdout is not None and worker.stdout.readline() == b"burnt\n"
        here, there, nobody = (spec_of(tmp_path, n) for n in (1, 2, 3))
        leave(here, identity(worker.pid))
        leave(there, ELSEWHERE).write_text(f"{ELSEWHERE}\n1\n{7.5:015.3f}\n{there.id}\n")
        used = cpu_s_by([here, there, nobody])
        assert used.keys() == {here.id, there.id} and used[there.id] == 7.5
        assert used[here.id] >= 0.25
    finally:
        worker.kill()
        worker.communicate()


def test_what_an_attempt_printed_is_measured_in_its_log(tmp_path: Path) -> None:
    spec = spec_of(tmp_path)
    assert printed_bytes(spec) == 0
    Path(spec.log).parent.mkdir()
    Path(spec.log).write_text("12345")
    assert printed_bytes(spec) == 5
