"""Who may write to a store: one builder, and another in the place of one that was stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builder.errors import BuilderError
from builder.processes import identity_of
from builder.store.commits import Committer
from builder.store.ledger import Ledger
from builder.store.lock import check_held, is_held, locked

HOLD = """
import sys
from pathlib import Path
from builder.errors import BuilderError
from builder.store.commits import Committer
from builder.store.ledger import Ledger
from builder.store.lock import check_held, locked

store = Path(sys.argv[1])

def tried(what):
    try:
        what()
        return "done"
    except BuilderError as refused:
        return refused.code

with locked(store):
    ledger = Ledger.open(store, create=True) if "ledger" in sys.argv else None
    committer = Committer.take(ledger) if "epoch" in sys.argv else None
    if "commit" in sys.argv:
        ledger.db.execute("BEGIN IMMEDIATE")
    print("held", flush=True)
    sys.stdin.readline()
    if committer is not None:
        print("commit", tried(lambda: committer.begin_run(0.0)), flush=True)
    ledger = ledger or Ledger.open(store, create=True)
    print("take", tried(lambda: Committer.take(ledger)), "held", tried(lambda: check_held(store)), flush=True)
"""


class Holder:
    """Another process that holds a store's lock until it is told to go on."""

    def __init__(self, store: Path, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(store), *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None and self.process.stdout.readline() == "held\n"

    def stop(self) -> None:
        found = identity_of(self.process.pid)
        os.kill(self.process.pid, signal.SIGSTOP)
        while found is not None and not found.is_stopped:
            pass

    def go_on(self) -> str:
        os.kill(self.process.pid, signal.SIGCONT)
        return self.process.communicate("\n", timeout=30)[0]


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Callable[..., Holder]]:
    made: list[Holder] = []

    def make(*words: str) -> Holder:
        made.append(Holder(tmp_path, *words))
        return made[-1]

    yield make
    for one in made:
        one.process.kill()
        one.process.communicate()


@pytest.fixture(autouse=True)
def _short_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.store.lock.STOPPED_FOR_S", 0.02)


def refused(store: Path) -> BuilderError:
    with pytest.raises(BuilderError) as caught, locked(store):
        pass
    assert caught.value.code == "locked" and caught.value.hint
    return caught.value


def test_a_builder_at_work_is_waited_for(tmp_path: Path, holder: Callable[..., Holder]) -> None:
    one = holder("ledger", "epoch")
    assert f"process {one.process.pid} on " in dict(refused(tmp_path).facts)["holder"]
    assert one.go_on() == "commit done\ntake done held done\n"
    with locked(tmp_path):
        check_held(tmp_path)


def test_a_killed_builder_leaves_nothing_to_remove(tmp_path: Path, holder: Callable[..., Holder]) -> None:
    one = holder("ledger", "epoch")
    one.process.kill()
    one.process.wait()
    with locked(tmp_path):
        check_held(tmp_path)


def test_a_stopped_builder_is_replaced_and_commits_nothing_any_more(
    tmp_path: Path, holder: Callable[..., Holder]
) -> None:
    one = holder("ledger", "epoch")
    one.stop()
    with locked(tmp_path):
        check_held(tmp_path)
        ledger = Ledger.open(tmp_path)
        committer = Committer.take(ledger)
        assert one.go_on() == "commit locked\ntake locked held locked\n"
        assert committer.begin_run(0.0) == 1
        ledger.close()


def test_a_builder_that_was_stopped_before_it_had_an_epoch_gets_none(
    tmp_path: Path, holder: Callable[..., Holder]
) -> None:
    one = holder()
    one.stop()
    with locked(tmp_path):
        assert one.go_on() == "take locked held locked\n"


def test_who_took_over_is_waited_for_by_the_next(tmp_path: Path, holder: Callable[..., Holder]) -> None:
    first = holder("ledger", "epoch")
    first.stop()
    second = holder("ledger", "epoch")
    assert f"process {second.process.pid} on " in dict(refused(tmp_path).facts)["holder"]
    assert first.go_on().startswith("commit locked")
    assert second.go_on() == "commit done\ntake done held done\n"


def test_a_builder_stopped_amid_a_commit_is_not_replaced(
    tmp_path: Path, holder: Callable[..., Holder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.store.lock.BUSY_MS", 50)
    one = holder("ledger", "commit")
    one.stop()
    assert "ledger" in refused(tmp_path).message
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []
    os.kill(one.process.pid, signal.SIGKILL)
    one.process.wait()
    with locked(tmp_path):
        check_held(tmp_path)


def test_a_store_without_a_lock_of_this_process_is_not_checked(tmp_path: Path) -> None:
    check_held(tmp_path)


def test_the_lock_is_given_back_after_an_error_inside(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    with locked(tmp_path):
        assert str(os.getpid()) in (tmp_path / "lock").read_text()


def test_the_lock_makes_the_stores_folder(tmp_path: Path) -> None:
    with locked(tmp_path / "deep" / "store"):
        assert (tmp_path / "deep" / "store" / "lock").is_file()


def test_a_store_that_cannot_be_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(BuilderError) as caught, locked(tmp_path / "store"):
        pytest.fail("held")
    assert caught.value.code == "store-read-only" and caught.value.hint


def test_a_builder_that_goes_on_between_two_looks_is_not_replaced(
    tmp_path: Path, holder: Callable[..., Holder], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = holder("ledger", "epoch")
    one.stop()
    found = identity_of(one.process.pid)

    def resume(seconds: float) -> None:
        os.kill(one.process.pid, signal.SIGCONT)
        while found is not None and found.is_stopped:
            pass

    monkeypatch.setattr("builder.store.lock.time.sleep", resume)
    refused(tmp_path)
    monkeypatch.undo()
    assert one.go_on() == "commit done\ntake done held done\n"


def test_a_free_lock_is_taken_without_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.store.lock.time.sleep", lambda seconds: pytest.fail("waited"))
    with locked(tmp_path):
        check_held(tmp_path)


def test_a_builder_whose_lock_was_taken_by_one_that_died_before_its_epoch_commits_nothing(
    tmp_path: Path, holder: Callable[..., Holder]
) -> None:
    one = holder("ledger", "epoch")
    one.stop()
    ledger = Ledger.open(tmp_path)
    epoch = ledger.epoch()
    (tmp_path / "taken").write_text("")
    os.replace(tmp_path / "taken", tmp_path / "lock")  # the taker is killed here
    assert one.go_on() == "commit locked\ntake locked held locked\n"
    assert ledger.epoch() == epoch and ledger.runs() == []
    ledger.close()


def test_a_lock_is_held_while_its_process_lives(tmp_path: Path, holder: Callable[..., Holder]) -> None:
    assert not is_held(tmp_path)
    one = holder()
    assert is_held(tmp_path)
    one.stop()
    assert is_held(tmp_path)
    one.process.kill()
    one.process.wait()
    assert not is_held(tmp_path)
