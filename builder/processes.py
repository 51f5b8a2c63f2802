"""Processes as the kernel knows them: who one is, whether it lives, all that belongs to it, what CPU it used.

A pid alone names nobody: numbers come again. An identity is the pid with its start time and its machine, so that no
process is ever taken for another. Decides what belongs together; never what deserves to end. Imports nothing heavy.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache

from builder.nouns import dataclass

MARK = "BUILDER_AT_WORK"
"""The environment variable of every process that works for a builder: ``STORE#EPOCH#ATTEMPT``, as `mark` gives it."""

DEAD = frozenset("ZXx")
STOPPED = "T"  # not "t": a process that is traced is at work between two looks
LOOK_EVERY_S = 0.01
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Identity:
    """One process for all time: its machine, its pid there, and when it started, in the kernel's ticks since boot."""

    machine: str
    pid: int
    ticks: int

    def __str__(self) -> str:
        return f"{self.machine} {self.pid} {self.ticks}"

    @staticmethod
    def parse(text: str) -> Identity:
        """The identity that `str` gave.

        Raises
        ------
        ValueError
            The text is none.
        """
        machine, pid, ticks = text.split()
        return Identity(machine, int(pid), int(ticks))

    @property
    def is_here(self) -> bool:
        """Whether this machine can say anything of it."""
        return self.machine == machine()

    @property
    def is_alive(self) -> bool:
        """Whether it runs, on this machine; a zombie does not."""
        stat = _stat(self.pid) if self.is_here else None
        return stat is not None and stat.ticks == self.ticks and stat.state not in DEAD

    @property
    def is_stopped(self) -> bool:
        """Whether it is held by a signal such as SIGSTOP, on this machine."""
        stat = _stat(self.pid) if self.is_here else None
        return stat is not None and stat.ticks == self.ticks and stat.state == STOPPED


@dataclass(frozen=True, slots=True)
class Stat:
    """What ``/proc/PID/stat`` tells; ``cpu_s`` counts children that ended and were waited for."""

    pid: int
    state: str
    parent: int
    session: int
    cpu_s: float
    ticks: int


@cache
def machine() -> str:
    """The name of this machine since its last boot, and of the container: pids mean something only in both."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        boot = file.read().strip()
    return f"{os.uname().nodename}/{boot[:8]}/{os.stat('/proc/self/ns/pid').st_ino}"


def identity_of(pid: int) -> Identity | None:
    """The identity of a process of this machine; None where there is none."""
    stat = _stat(pid)
    return None if stat is None else Identity(machine(), pid, stat.ticks)


def myself() -> Identity:
    """This process."""
    found = identity_of(os.getpid())
    assert found is not None
    return found


def mark(store: str, epoch: int, attempt: str = "") -> str:
    """The value of `MARK` for what works on a store under an epoch, for one attempt or for any."""
    return f"{store}#{epoch}#{attempt}"


# -- families ----------------------------------------------------------------------------------------------------------


def family(root: Identity) -> set[Identity]:
    """A process of this machine with all below it and all of its session, as far as they still live.

    What a dead process leaves behind is found by the session where it led one, as workers do (`execute.preload`).
    """
    return {Identity(root.machine, stat.pid, stat.ticks) for stat in _family(root, _table())}


def cpu_s_of(roots: Iterable[Identity]) -> dict[Identity, float]:
    """The CPU seconds that each of these processes with its family has used; only those that live on this machine."""
    table = _table()
    return {r: sum(s.cpu_s for s in _family(r, table)) for r in roots if r.is_alive}


def main_thread_cpu_s(process: Identity) -> float:
    """The CPU seconds that the first thread of a process of this machine has used; 0 where it is not there."""
    fields = _fields(f"/proc/{process.pid}/task/{process.pid}/stat")
    return sum(map(int, fields[11:13])) / _TICKS_PER_S if fields else 0.0


Table = tuple[dict[int, Stat], dict[int, list[int]], dict[int, list[int]]]


def _table() -> Table:
    """All processes by pid, and the pids below each parent and in each session."""
    stats = {s.pid: s for s in _stats()}
    children: dict[int, list[int]] = {}
    sessions: dict[int, list[int]] = {}
    for stat in stats.values():
        children.setdefault(stat.parent, []).append(stat.pid)
        sessions.setdefault(stat.session, []).append(stat.pid)
    return stats, children, sessions


def _family(root: Identity, table: Table) -> list[Stat]:
    """The members of a process's family."""
    stats, children, sessions = table
    is_another = root.pid in stats and stats[root.pid].ticks != root.ticks
    if not root.is_here or is_another:  # no session keeps the number of a process that is given away again
        return []
    members = {root.pid} | {pid for pid in sessions.get(root.pid, ()) if stats[pid].ticks >= root.ticks}
    todo = list(members)
    while todo:
        found = set(children.get(todo.pop(), ())) - members
        members |= found
        todo += found
    return [stats[pid] for pid in members if pid in stats]


def marked(prefix: str) -> Iterator[tuple[Identity, str]]:
    """The processes of this machine whose `MARK` begins so, with its value; never this one or those above it."""
    above = set(_above(os.getpid()))
    wanted = f"{MARK}={prefix}".encode()
    for pid in _pids():
        if pid in above:
            continue
        with contextlib.suppress(OSError):  # it ended meanwhile, or is another person's
            with open(f"/proc/{pid}/environ", "rb") as file:
                content = file.read()
            at = 0 if content.startswith(wanted) else content.find(b"\0" + wanted) + 1
            if (at or content.startswith(wanted)) and (found := identity_of(pid)) is not None:
                value = content[at:].partition(b"\0")[0].decode()
                yield found, value[len(MARK) + 1 :]


def end_family(root: Identity, within_s: float = 5.0) -> bool:
    """Whether a process of this machine and all that belongs to it are proven gone, after killing them."""
    return _end_all(lambda: family(root), within_s)


def end_marked(prefix: str, within_s: float = 5.0) -> bool:
    """Whether all whose `MARK` begins so are proven gone from this machine with their families, after killing them."""
    return _end_all(lambda: {m for found, _ in marked(prefix) for m in family(found)}, within_s)


def _end_all(look: Callable[[], set[Identity]], within_s: float) -> bool:
    """Kill what is found until nothing is found any more: what was forked meanwhile is met the next time."""
    until_s = time.monotonic() + within_s
    while found := look():
        kill(found)
        if not await_end(found, until_s):
            return False
    return True


def kill(identities: Iterable[Identity]) -> None:
    """Kill processes, each only while it is still itself."""
    for identity in identities:
        if identity.is_alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(identity.pid, signal.SIGKILL)


def await_end(identities: Iterable[Identity], until_s: float) -> bool:
    """Whether these processes of this machine ended before a time of the monotonic clock."""
    left = [i for i in identities if i.is_alive]
    while left and time.monotonic() < until_s:
        time.sleep(LOOK_EVERY_S)
        left = [i for i in left if i.is_alive]
    return not left


# -- /proc -------------------------------------------------------------------------------------------------------------


def _stats() -> Iterator[Stat]:
    """All processes of this machine that live."""
    for pid in _pids():
        if (stat := _stat(pid)) is not None and stat.state not in DEAD:
            yield stat


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _stat(pid: int) -> Stat | None:
    """One process; None where there is none of this number."""
    fields = _fields(f"/proc/{pid}/stat")
    if not fields:
        return None
    cpu_s = sum(map(int, fields[11:15])) / _TICKS_PER_S
    return Stat(pid, fields[0].decode(), int(fields[1]), int(fields[3]), cpu_s, int(fields[19]))


def _fields(path: str) -> list[bytes]:
    """What follows the name in a ``stat`` file; empty where there is none."""
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError:
        return []
    return text[text.rindex(b")") + 2 :].split()  # the name may hold anything


def _above(pid: int) -> Iterator[int]:
    """A process and those that started it, up to the first of all."""
    while pid and (stat := _stat(pid)) is not None:
        yield pid
        pid = stat.parent
