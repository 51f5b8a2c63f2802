"""One builder at a time, and no lock to remove by hand after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from builder.errors import BuilderError
from builder.store.lock import locked

HOLD = """
import sys
from pathlib import Path
from builder.store.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(store: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock until its input ends."""
    found = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert found.stdout is not None and found.stdout.readline() == "held\n"
    return found


def test_a_second_builder_is_told_who_holds_the_store(tmp_path: Path) -> None:
    with holder(tmp_path) as other:
        with pytest.raises(BuilderError) as caught, locked(tmp_path):
            pytest.fail("two builders at once")
        assert (caught.value.code, caught.value.exit_code) == ("locked", 2)
        assert str(other.pid) in dict(caught.value.facts)["holder"]
        other.communicate()
    with locked(tmp_path):
        pass


def test_a_killed_builder_leaves_the_store_free(tmp_path: Path) -> None:
    with holder(tmp_path) as other:
        os.kill(other.pid, signal.SIGKILL)
        other.wait()
        with locked(tmp_path):
            assert str(os.getpid()) in (tmp_path / "lock").read_text()


def test_the_lock_is_given_back_after_an_error_inside(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    with locked(tmp_path):
        pass


def test_the_lock_makes_the_stores_folder(tmp_path: Path) -> None:
    with locked(tmp_path / "deep" / "store"):
        assert (tmp_path / "deep" / "store" / "lock").is_file()


def test_a_store_that_cannot_be_a_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(BuilderError) as caught, locked(tmp_path / "store"):
        pytest.fail("held")
    assert caught.value.code == "store-read-only" and caught.value.hint
