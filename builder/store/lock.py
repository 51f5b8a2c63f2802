"""One builder at a time per store.

Decides who may write. The lock is the kernel's (`flock`), so a process that dies, however it dies, leaves nothing to
remove by hand. A builder that was stopped (SIGSTOP, Ctrl-Z) is not at work: the next one takes its place, under the
next epoch, and whatever the stopped one does when it goes on is refused.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from builder.errors import BuilderError, error
from builder.processes import Identity, myself
from builder.store import disk
from builder.store.disk import make_folder, store_error, writing

FILE = "lock"
TURN = "lock.turn"
TURN_WAIT_S = 5.0
BUSY_MS = 2000
STOPPED_FOR_S = 1.0

_held: dict[Path, int] = {}
"""The locks that this process holds, by store."""


@contextmanager
def locked(store: Path) -> Iterator[None]:
    """Hold a store's lock.

    Raises
    ------
    StoreError
        ``locked`` while another process holds it and is not stopped, with that process.
    """
    make_folder(store)
    with _turn(store):
        handle = _take(store)
    _held[store] = handle
    try:
        yield
    finally:
        del _held[store]
        os.close(handle)


def check_held(store: Path) -> None:
    """Refuse to go on where another builder has taken this process's lock; nothing where this process has none.

    Raises
    ------
    StoreError
        ``locked``: it was taken over while this process was stopped.
    """
    handle = _held.get(store)
    if handle is not None and not _is_current(store / FILE, handle):
        raise taken_over(store)


def is_held(folder: Path) -> bool:
    """Whether a process that lives, at work or stopped, holds the lock of a folder."""
    path = folder / FILE
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _is_locked(handle, path)
    finally:
        os.close(handle)


def taken_over(store: Path) -> BuilderError:
    """The error of a builder that another one has replaced."""
    return error("locked", "another builder has taken the store over", place=str(store), hint="let that one finish")


def _take(store: Path) -> int:
    """A descriptor that holds the lock; only one process at a time is in here, by `_turn`."""
    path = store / FILE
    handle = _opened(path)
    try:
        if _is_locked(handle, path):
            return _sign(handle)
        holder, process = _holder(handle)
        if process is None or not _stays_stopped(process):
            raise error(
                "locked",
                "another builder is at work in this project",
                place=str(store),
                facts=[("holder", holder)],
                hint="wait for it; builder status works meanwhile",
            )
    except BaseException:
        os.close(handle)
        raise
    os.close(handle)
    return _replace(store)


def _stays_stopped(process: Identity) -> bool:
    """Whether a process is stopped, and still is a while later: a debugger lets it go on, and a job may be resumed."""
    if not process.is_stopped:
        return False
    time.sleep(STOPPED_FOR_S)
    return process.is_stopped


def _replace(store: Path) -> int:
    """A descriptor that holds a new lock in the place of a stopped builder's, whose epoch ends with that."""
    from builder.store.commits import Committer
    from builder.store.ledger import FILE as LEDGER
    from builder.store.ledger import Ledger

    fresh = disk.beside(store / FILE)
    handle = _opened(fresh)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if (store / LEDGER).exists():
            ledger = Ledger.open(store)
            try:
                ledger.db.execute(
                    f"PRAGMA busy_timeout = {BUSY_MS}"
                )  # it was stopped amid a commit: refused, not waited for
                with Committer.taking(ledger):
                    disk.replace(fresh, store / FILE)
            finally:
                ledger.close()
        else:
            disk.replace(fresh, store / FILE)  # it has no epoch yet, and gets none: `check_held`
        return _sign(handle)
    except BaseException:
        os.close(handle)
        fresh.unlink(missing_ok=True)
        raise


@contextmanager
def _turn(store: Path) -> Iterator[None]:
    """Let one process at a time look for the lock, so that no two take the same stopped builder's place."""
    handle = _opened(store / TURN)
    try:
        until_s = time.monotonic() + TURN_WAIT_S
        while not _is_locked(handle, store / TURN):
            if time.monotonic() > until_s:
                raise error(
                    "locked",
                    "another builder was stopped while it took the lock",
                    place=str(store),
                    hint="let it go on, or end it",
                )
            time.sleep(0.005)
        yield
    finally:
        os.close(handle)


def _opened(path: Path) -> int:
    with writing(path):
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)


def _is_locked(handle: int, path: Path) -> bool:
    """Whether the lock on an open file is this process's now."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as cause:  # a file system without locks, or without any left
        raise store_error(cause, path) from cause
    return True


def _sign(handle: int) -> int:
    """The descriptor, after this process's name was written into the file."""
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"process {os.getpid()} on {os.uname().nodename}\n{myself()}\n".encode(), 0)
    return handle


def _holder(handle: int) -> tuple[str, Identity | None]:
    """The process that holds the lock, in words and as an identity; None where the file does not say."""
    lines = os.pread(handle, 400, 0).decode("utf-8", "replace").splitlines()
    try:
        return lines[0], Identity.parse(lines[1])
    except (IndexError, ValueError):
        return (lines[0] if lines else "unknown"), None


def _is_current(path: Path, handle: int) -> bool:
    """Whether an open file is the one that stands at its path."""
    try:
        there, mine = os.stat(path), os.fstat(handle)
    except OSError:
        return False
    return (there.st_ino, there.st_dev) == (mine.st_ino, mine.st_dev)
