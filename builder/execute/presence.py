"""Attempts under way, as files: which process runs one, on which machine, for which builder.

An attempt's file is there before it begins and goes when it has ended; a process that dies leaves it behind. So a
builder that comes after a dead one knows what may still run, and ends it before it gives away a lane or a path. Decides
who is an orphan: whatever an earlier epoch began. A pid is never trusted without its start time and its machine.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from builder.errors import BuilderError, error
from builder.execute.spec import AttemptSpec
from builder.processes import MARK, Identity, cpu_s_of, end_family, end_marked, main_thread_cpu_s, mark, marked, myself
from builder.store import disk, epochs
from builder.store.epochs import begun_epoch, note_epoch
from builder.store.lock import taken_over

REVOKED = ".revoked"
END_WITHIN_S = 10.0
BEAT_EVERY_S = 5.0
SILENT_S = 20.0
WAIT_AT_MOST_S = 60.0


@dataclass(frozen=True, slots=True)
class Presence:
    """A process that runs attempts, the epoch of the builder that they work for, the first of them, and a beat.

    ``cpu_s``: what it had used by its last beat.
    """

    process: Identity
    epoch: int
    attempt: str
    cpu_s: float = 0.0


# -- on the worker -----------------------------------------------------------------------------------------------------


@contextmanager
def present(spec: AttemptSpec) -> Iterator[None]:
    """Be known as the process that runs an attempt, and let all that it starts carry the attempt's mark.

    Raises
    ------
    StoreError
        ``locked``: a later builder has taken over, or this one has given the attempt up. It ends whom it finds here
        after it wrote that; this process looks for it after it came here. So one of the two always sees the other.
    """
    path = presence_file(spec)
    before = os.environ.get(MARK)
    with disk.writing(path):
        _write(path, _text(0.0, spec).encode())
    try:
        if spec.epoch < begun_epoch(Path(spec.store)) or os.path.exists(spec.scratch + REVOKED):
            raise taken_over(Path(spec.store))
        os.environ[MARK] = mark(spec.store, spec.epoch, spec.id)
        _running.append(spec)
        _ensure_beating()
        yield
    finally:
        _running.clear()
        os.environ.pop(MARK, None)
        if before is not None:
            os.environ[MARK] = before
        path.unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    """Write a new file; its folder is made where it is the first."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.write(file, content)
    finally:
        os.close(file)


_running: list[AttemptSpec] = []


@cache
def _ensure_beating() -> None:
    """Start the thread that beats for this process from now on."""
    threading.Thread(target=_beat_on, name="presence", daemon=True).start()


def _beat_on() -> None:
    while True:
        time.sleep(BEAT_EVERY_S)
        _beat_once()


def _beat_once() -> None:
    for spec in list(_running):
        beat(spec)


def beat(spec: AttemptSpec) -> None:
    """Show, in an attempt's presence, that its process lives, and what CPU it used."""
    with suppress(OSError):
        file = os.open(presence_file(spec), os.O_WRONLY)
        try:
            os.pwrite(
                file, _text(sum(_cpu_s_of([myself()]).values()), spec).encode(), 0
            )  # as long as before: never half
        finally:
            os.close(file)


def _text(cpu_s: float, spec: AttemptSpec) -> str:
    return f"{_me()}\n{spec.epoch}\n{cpu_s:015.3f}\n{spec.id}\n"


def presence_file(spec: AttemptSpec) -> Path:
    """Where an attempt's presence is written while it runs."""
    return Path(spec.scratch + epochs.PRESENCE)


@cache
def _me_of(pid: int) -> str:
    return str(myself())


def _me() -> str:
    """This process, also where it was forked."""
    return _me_of(os.getpid())


# -- in the driver -----------------------------------------------------------------------------------------------------


def read_presence(path: Path) -> Presence | None:
    """Who runs an attempt; None where nobody does, or where it just begins."""
    try:
        process, epoch, cpu_s, rest = path.read_text().split("\n", 3)
        return Presence(Identity.parse(process), int(epoch), rest.removesuffix("\n"), float(cpu_s))
    except (OSError, ValueError):
        return None


def begin_epoch(store: Path, epoch: int) -> None:
    """Begin to run attempts, after this machine's attempts of earlier epochs were ended.

    Raises
    ------
    StoreError
        ``locked``: one of them cannot be ended.
    """
    note_epoch(store, epoch)
    if not end_orphans(str(store), epoch):
        raise _still_there(store, [p for _, p in orphans(store, epoch) if p.process.is_here])
    if not orphans(store, epoch):
        _sweep(store)


def end_elsewhere(store: Path, epoch: int, everywhere: Callable[..., list[Any]]) -> None:
    """Return when no attempt of an earlier epoch is left on other machines: those that answer are told to end theirs.

    One whose machine does not answer is waited for while its file beats; silent for `SILENT_S`, it is taken for dead.

    Raises
    ------
    StoreError
        ``locked``: it still beats after `WAIT_AT_MOST_S`.
    """
    if not orphans(store, epoch):
        return
    everywhere(end_orphans, str(store), epoch)
    until_s = time.monotonic() + WAIT_AT_MOST_S
    left = [p for path, p in orphans(store, epoch) if not await_silence(path, until_s)]
    if left:
        raise _still_there(store, left)


def _still_there(store: Path, left: list[Presence]) -> BuilderError:
    return error(
        "locked",
        "a process that an earlier builder started is still at work",
        place=str(store),
        facts=[("process", f"{p.process.pid} on {p.process.machine.partition('/')[0]}: {p.attempt}") for p in left],
        hint="end it, or let it end; then run the same command again: it may hold what its lane protects",
    )


def await_silence(path: Path, until_s: float | None = None) -> bool:
    """Whether an attempt of another machine is over, or has not beaten for `SILENT_S`; False when it is too late.

    `until_s` is a time of the monotonic clock, by default soon enough for a driver to wait.
    """
    until_s = until_s or time.monotonic() + WAIT_AT_MOST_S
    last = read_presence(path)
    since_s = time.monotonic()
    while path.exists() and time.monotonic() - since_s < SILENT_S:
        if time.monotonic() > until_s:
            return False
        time.sleep(0.1)
        now = read_presence(path)
        if now != last:
            last, since_s = now, time.monotonic()
    path.unlink(missing_ok=True)
    return True


def orphans(store: Path, epoch: int) -> list[tuple[Path, Presence]]:
    """The attempts that builders of earlier epochs began, and that nobody has seen end, with their files."""
    found = [(path, read_presence(path)) for path in sorted((store / "scratch").glob("*" + epochs.PRESENCE))]
    return [(path, p) for path, p in found if p is not None and p.epoch < epoch]


def end_orphans(store: str, epoch: int) -> bool:
    """Whether no attempt of an earlier epoch is left on this machine, nor any process that one started."""
    is_over = True
    for path, found in orphans(Path(store), epoch):
        if found.process.is_here:
            is_over &= _end(path, found)
    for value in {v for _, v in marked(store + "#")}:  # what outlived the process that started it
        number = value.removeprefix(store + "#").partition("#")[0]
        if number.isdecimal() and int(number) < epoch:
            is_over &= end_marked(value, END_WITHIN_S)
    return is_over


def revoke(spec: AttemptSpec) -> None:
    """Nothing, after an attempt that has not begun can never begin: what was sent to a worker may come late."""
    path = Path(spec.scratch + REVOKED)
    with suppress(OSError):  # a disk that takes no file takes no presence either, without which nothing begins
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def end_attempts(paths: Sequence[str]) -> list[str]:
    """The presence files of attempts that are not proven over, with all that they started; what is here is killed.

    No such file: it never began, or has ended.
    """
    there = [(path, found) for path in paths if (found := read_presence(Path(path))) is not None]
    return [path for path, found in there if not (found.process.is_here and _end(Path(path), found))]


def _end(path: Path, found: Presence) -> bool:
    """Whether an attempt's process and all that belongs to it are gone."""
    if found.process.pid == os.getpid():
        return True  # an attempt in the driver's own process
    store = str(path.parent.parent)
    is_over = end_family(found.process, END_WITHIN_S) and end_marked(mark(store, found.epoch, found.attempt))
    if is_over:
        path.unlink(missing_ok=True)
    return is_over


def _sweep(store: Path) -> None:
    """Remove what dead attempts left in scratch: nobody works there now."""
    for path in (store / "scratch").iterdir():
        if path.name != epochs.FILE and not path.name.startswith("dask-"):  # Dask locks its own, and sweeps them
            with suppress(OSError, BuilderError):
                disk.remove(path)


def cpu_s_by(specs: Iterable[AttemptSpec]) -> dict[str, float]:
    """The CPU seconds that the processes of running attempts have used, by attempt; elsewhere, at their last beat."""
    found = {s.id: p for s in specs if (p := read_presence(presence_file(s))) is not None}
    here = _cpu_s_of({p.process for p in found.values() if p.process.is_here})
    return {i: here.get(p.process, p.cpu_s) for i, p in found.items()}


def _cpu_s_of(processes: Collection[Identity]) -> dict[Identity, float]:
    """What workers and their families have used, but for their main threads: Dask's event loop is never quite idle."""
    used = cpu_s_of(processes) if processes else {}
    return {p: max(0.0, seconds - main_thread_cpu_s(p)) for p, seconds in used.items()}


def printed_bytes(spec: AttemptSpec) -> int:
    """How much an attempt has printed so far."""
    try:
        return os.stat(spec.log).st_size
    except OSError:
        return 0
