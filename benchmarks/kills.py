"""kill -9 of a rebuild at random points: what goes on afterwards, what is lost, what anybody could see meanwhile.

    python benchmarks/kills.py example [--kills 20] [--whom driver|group] [--seed 1]
    python benchmarks/kills.py dag [--size 106] [--sleep-s 0.02] …

A calm build gives the digests to come out. Then the same command is started from nothing, killed, and started again:
one time in three it is killed again, else it gets to its end and is compared. A watcher opens whatever stands in
``out/``, all the time. Exits 1 with the problems, as JSON on standard output, where any of this fails:

- the command after a kill goes on by itself, and every finished build has the calm build's digests;
- of each step exactly one attempt is committed, however often its build was killed;
- no file of ``out/`` is ever half, and no temporary one is left after a build;
- no process of a killed command is left after ten seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import reference_dag

import builder

ORPHANS_GONE_S = 10.0
START_S = 2.0
STEP_S = 0.05


@dataclass
class Site:
    """A project under fire, with what was found wrong."""

    root: Path
    workers: int
    environ: dict[str, str]
    problems: list[str] = field(default_factory=list)

    def start(self) -> subprocess.Popen[bytes]:
        """A rebuild in a process group of its own."""
        command = [sys.executable, "-m", "builder", "-C", str(self.root), "rebuild", "-j", str(self.workers), "--json"]
        log = (self.root / "rebuild.log").open("ab")
        return subprocess.Popen(command, stdout=log, stderr=log, env=self.environ, start_new_session=True)

    def digests(self) -> dict[str, str]:
        """The digest of everything that is built or taken in."""
        ledger = builder.open(self.root).ledger()
        try:
            return {name: str(current.digest) for name, current in ledger.currents().items()}
        finally:
            ledger.close()

    def done_attempts(self) -> dict[str, int]:
        """How many attempts of each step were committed since the store was made."""
        path = self.root / ".builder" / "ledger.sqlite"
        if not path.exists():
            return {}
        with contextlib.closing(sqlite3.connect(path, timeout=30)) as db:
            try:
                return dict(db.execute("SELECT step, count(*) FROM attempts WHERE outcome = 'done' GROUP BY step"))
            except sqlite3.OperationalError:
                return {}  # killed before the ledger had its tables

    def processes(self) -> list[int]:
        """Processes that a command of this site started and that still live."""
        mark = f"KILLS_MARK={self.environ['KILLS_MARK']}".encode()
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                with contextlib.suppress(OSError):
                    is_dead = b"State:\tZ" in (folder / "status").read_bytes()
                    if not is_dead and mark in (folder / "environ").read_bytes().split(b"\0"):
                        found.append(int(folder.name))
        return found

    def wipe(self) -> None:
        """Forget all that was built."""
        for name in (".builder", "out"):
            shutil.rmtree(self.root / name, ignore_errors=True)


# -- the watcher -------------------------------------------------------------------------------------------------------


def fault_of(name: str, content: bytes) -> str:
    """What is wrong with a published file's content; empty where it is whole."""
    if name.endswith(".parquet"):
        size = int.from_bytes(content[-8:-4], "little")
        is_whole = content[:4] == b"PAR1" == content[-4:] and 0 < size <= len(content) - 12
    elif name.endswith(".json"):
        try:
            json.loads(content)
            is_whole = True
        except ValueError:
            is_whole = False
    elif name.endswith(".png"):
        is_whole = content[:4] == b"\x89PNG" and content[-8:-4] == b"IEND"
    elif name.endswith(".sqlite"):
        page_bytes, pages = int.from_bytes(content[16:18]), int.from_bytes(content[28:32])
        is_whole = content.startswith(b"SQLite format 3\0") and page_bytes * pages == len(content)
    else:
        is_whole = content.endswith(b"END\n")
    return "" if is_whole else f"half file in out/: {name}, {len(content)} bytes"


@contextlib.contextmanager
def watching(site: Site) -> Iterator[list[int]]:
    """Open and check whatever stands in ``out/``, over and over; yields how many files were checked."""
    stop = threading.Event()
    seen = [0]

    def look() -> None:
        while not stop.wait(0.002):
            for folder, folders, names in os.walk(site.root / "out"):
                folders[:] = [f for f in folders if not f.startswith(".")]
                for name in names:
                    if not name.startswith("."):
                        with contextlib.suppress(FileNotFoundError):
                            fault = fault_of(name, Path(folder, name).read_bytes())
                            seen[0] += 1
                            if fault and fault not in site.problems:
                                site.problems.append(fault)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


# -- rounds ------------------------------------------------------------------------------------------------------------


def is_under_way(site: Site, process: subprocess.Popen[bytes], committed: int, chance: float) -> bool:
    """Whether a command still runs a moment after this many steps were committed (with none: into its start)."""
    while process.poll() is None and len(site.done_attempts()) < committed:
        time.sleep(0.005)
    time.sleep(chance * (START_S if committed == 0 else STEP_S))
    return process.poll() is None


def kill(site: Site, process: subprocess.Popen[bytes], whom: str) -> float:
    """Seconds until nothing of a command was left after it was killed, alone or with its group."""
    with contextlib.suppress(ProcessLookupError):
        if whom == "group":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            os.kill(process.pid, signal.SIGKILL)
    process.wait()
    began = time.monotonic()
    while left := site.processes():
        if time.monotonic() - began > ORPHANS_GONE_S:
            site.problems.append(f"{len(left)} processes left {ORPHANS_GONE_S:g} s after the {whom} was killed")
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            break
        time.sleep(0.02)
    return time.monotonic() - began


def check_end(site: Site, calm: dict[str, str], code: int) -> None:
    """Compare a build that got to its end with the calm one."""
    if code != 0:
        site.problems.append(f"the command after a kill exited with {code}")
    found = site.digests()
    wrong = sorted(n for n in calm.keys() | found.keys() if calm.get(n) != found.get(n))
    if wrong:
        site.problems.append(f"{len(wrong)} outputs differ from the calm build, among them {wrong[:3]}")
    twice = {step: count for step, count in site.done_attempts().items() if count != 1}
    if twice:
        site.problems.append(f"committed work ran again: {twice}")
    hidden = [p.name for p in (site.root / "out").rglob(".*")]
    if hidden:
        site.problems.append(f"temporary files left in out/: {hidden[:3]}")


def fire(site: Site, kills: int, whom: tuple[str, ...], seed: int) -> dict[str, object]:
    """Figures of a calm build and of as many kills, at points spread evenly over its work."""
    began = time.monotonic()
    if site.start().wait() != 0:
        raise SystemExit((site.root / "rebuild.log").read_text(errors="replace"))
    calm_s = time.monotonic() - began
    calm = site.digests()
    site.wipe()
    chance = random.Random(seed)
    killed_at: list[int] = []
    orphans_s: list[float] = []
    ends = 0
    may_end = False
    with watching(site) as seen:
        while len(killed_at) < kills or may_end:
            process = site.start()
            if not may_end and is_under_way(site, process, chance.randrange(len(calm)), chance.random()):
                orphans_s.append(kill(site, process, whom[len(killed_at) % len(whom)]))
                killed_at.append(len(site.done_attempts()))
                may_end = len(killed_at) == kills or chance.random() < 2 / 3
                continue
            check_end(site, calm, process.wait())
            ends += 1
            may_end = False
            if len(killed_at) < kills:
                site.wipe()
    return {
        "calm_s": round(calm_s, 2), "steps": len(site.done_attempts()), "kills": len(killed_at),
        "committed_at_kill": killed_at, "builds_ended": ends, "files_watched": seen[0],
        "slowest_orphan_s": round(max(orphans_s, default=0.0), 2), "problems": site.problems,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", choices=["example", "dag"])
    parser.add_argument("--size", type=int, default=106, help="tasks of the reference DAG")
    parser.add_argument("--sleep-s", type=float, default=0.02, help="how long each task of the DAG takes")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--whom", choices=["driver", "group"], help="default: both in turn")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "project"
        if options.project == "dag":
            reference_dag.write_project(reference_dag.make_dag(options.size), root)
        else:
            builder.init(root, example="airports")
        environ = os.environ | {"KILLS_MARK": uuid.uuid4().hex, "REFERENCE_DAG_SLEEP_S": str(options.sleep_s)}
        site = Site(root, options.workers, environ)
        figures = fire(site, options.kills, (options.whom,) if options.whom else ("driver", "group"), options.seed)
    print(json.dumps(figures))
    sys.exit(1 if figures["problems"] else 0)


if __name__ == "__main__":
    main()
