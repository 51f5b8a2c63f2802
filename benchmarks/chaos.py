"""Everything dies, again and again, and the build comes out as if nothing had been.

    python benchmarks/chaos.py [--steps 500] [--kills 10] [--workers 4] [--seed 1] [--no-cluster]

A project of steps that read one another, many of them in lanes, is built calmly, then once more under fire, always by
the same command:

- a worker is killed (SIGKILL) every 0.3 to 1 s, all the time;
- the driver is killed as often as ``--kills`` says, and started again;
- a driver is stopped (SIGSTOP) while a second one takes over; then it is let go on, and must commit nothing;
- some steps hold the GIL for seconds, so that neither Dask nor a signal's handler gets a word in;
- the work goes on on a standing cluster, whose scheduler is killed and started again.

Each execution of a step appends to a file of its own, and takes a lock without waiting for it where the step has a
lane. At the end: every step was committed once; every output has the calm build's bytes; no lock was refused; no
process is left; nothing hung. Prints a table; exits 1 with the problems where any of this fails.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import ctypes
import json
import os
import random
import resource
import shutil
import signal
import socket
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

import builder

NO_COMMIT_S = 120.0
"""How long nothing may be committed before the run counts as hung."""
END_WITHIN_S = 60.0
GONE_WITHIN_S = 10.0
WIDTH = 25
UP_SHARE = 0.8
"""How many of the blows are kept for workers that are up: on a busy machine, none would ever come up else."""

RECIPES = '''
import ctypes, fcntl, json, os, random, time
import builder as b

WIDTH, DEPTH, LONGEST_S = {width}, {depth}, {longest_s}
LANES = {{"db": 1, "disk": 2}}


def note(name, text):
    with open(os.path.join(os.environ["CHAOS_MARKS"], name), "a") as file:
        file.write(text + "\\n")


def lane_of(n):
    return {{0: "db", 1: "disk", 2: "disk"}}.get(n % 5)


def hold(lane):
    """An open file that holds one of the lane's locks; a refusal is noted."""
    for room in range(LANES[lane]):
        file = open(os.path.join(os.environ["CHAOS_MARKS"], f"lane.{{lane}}.{{room}}"), "a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            file.close()
    note("refused", lane)


def work(name, lane, is_holding_gil, values):
    is_first = not os.path.exists(os.path.join(os.environ["CHAOS_MARKS"], name))
    note(name, f"begin {{os.getpid()}}")
    held = hold(lane) if lane else None
    if is_holding_gil and is_first:
        ctypes.PyDLL(None).usleep(int(float(os.environ["CHAOS_GIL_S"]) * 1e6))  # never lets go of the GIL
    else:
        time.sleep(random.Random(name).uniform(0.1, 1.0) * LONGEST_S)
    note(name, "end")
    if held:
        held.close()
    return {{"name": name, "sum": sum(v["sum"] for v in values) % 1_000_003 + len(name), "rows": list(range(50))}}


def make_layer(layer):
    def inputs(n):
        if not layer:
            return {{"left": "seed", "right": "seed"}}
        return {{"left": f"layer{{layer - 1}}[n={{n}}]", "right": f"layer{{layer - 1}}[n={{(7 * n + 3) % WIDTH}}]"}}

    def made(left, right, n):
        is_holding_gil = layer % 4 == 1 and n in (5, 8)
        return work(f"layer{{layer}}.{{n}}", lane_of(n), is_holding_gil, [left, right])

    b.recipe(
        name=f"layer{{layer}}", each={{"n": list(range(WIDTH))}}, inputs=inputs, retries=1000,
        lane=lambda n: lane_of(n) or {{}},
    )(made)


@b.recipe
def seed():
    return {{"sum": 1}}


for number in range(DEPTH):
    make_layer(number)
'''


@dataclass
class Battle:
    """A project under fire, with what was done to it and what was found wrong."""

    root: Path
    marks: Path
    workers: int
    chance: random.Random
    environ: dict[str, str]
    done: collections.Counter[str] = field(default_factory=collections.Counter)
    problems: list[str] = field(default_factory=list)

    def start(self, *more: str) -> subprocess.Popen[str]:
        """The command that is given again after every death."""
        command = [sys.executable, "-m", "builder", "-C", str(self.root), "rebuild", "-j", str(self.workers), *more]
        with (self.marks / "command.log").open("a") as log:
            return subprocess.Popen(
                command, stdout=log, stderr=log, env=self.environ, text=True, start_new_session=True
            )

    # -- what is there -------------------------------------------------------------------------------------------------

    def query(self, sql: str) -> list[tuple[object, ...]]:
        """Rows of the ledger; none while it is not there."""
        path = self.root / ".builder" / "ledger.sqlite"
        if not path.exists():
            return []
        with contextlib.closing(sqlite3.connect(path, timeout=30)) as db:
            try:
                return db.execute(sql).fetchall()
            except sqlite3.OperationalError:
                return []  # killed before the ledger had its tables

    def committed(self) -> int:
        """How many steps were committed."""
        return len(self.query("SELECT name FROM current"))

    def processes(self) -> dict[int, str]:
        """Living processes that a command of this battle started, with their command lines."""
        mark = f"CHAOS_MARK={self.environ['CHAOS_MARK']}".encode()
        found = {}
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and int(folder.name) != os.getpid():
                with contextlib.suppress(OSError):
                    is_dead = b"State:\tZ" in (folder / "status").read_bytes()
                    if not is_dead and mark in (folder / "environ").read_bytes().split(b"\0"):
                        found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def worker_pids(self, is_up: bool) -> list[int]:
        """Worker processes: those that are up, which lead a session of their own, or all, also those just starting."""
        found = [pid for pid, line in self.processes().items() if "spawn_main" in line]
        return [pid for pid in found if not is_up or session_of(pid) == pid]

    def outputs(self) -> dict[str, bytes]:
        """The bytes of everything that was published."""
        out = self.root / "out"
        return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}

    def end(self) -> None:
        """Kill all that is left."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def await_commits(self, process: subprocess.Popen[str], wanted: int) -> bool:
        """Whether a command is still at work when this many are committed; without progress for long it has hung."""
        last, since_s = self.committed(), time.monotonic()
        while last < wanted and process.poll() is None:
            time.sleep(0.05)
            now = self.committed()
            if now != last:
                last, since_s = now, time.monotonic()
            if time.monotonic() - since_s > NO_COMMIT_S:
                self.problems.append(f"hung: nothing committed for {NO_COMMIT_S:g} s at {last}")
                raise Hung
        return process.poll() is None

    # -- blows ---------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def assassin(self) -> Iterator[None]:
        """Kill a worker every 0.3 to 1 s."""
        stop = threading.Event()
        chance = random.Random(self.chance.random())

        def strike() -> None:
            while not stop.wait(chance.uniform(0.3, 1.0)):
                pids = self.worker_pids(is_up=chance.random() < UP_SHARE)
                if pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(chance.choice(pids), signal.SIGKILL)
                        self.done["worker kills"] += 1

        thread = threading.Thread(target=strike, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def kill_driver(self, process: subprocess.Popen[str]) -> None:
        """Kill a driver; what it started is left to itself and to the next one."""
        process.kill()
        process.wait()
        self.done["driver kills"] += 1

    def take_over(self, first: subprocess.Popen[str], step: int) -> subprocess.Popen[str]:
        """The command that took over from a stopped one, which went on afterwards and was refused."""
        os.kill(first.pid, signal.SIGSTOP)
        second = self.start()
        while second.poll() is None and self.is_refused_as_busy(second):
            time.sleep(0.05)
        while second.poll() == 2:  # it was stopped amid a commit, and holds the ledger: let it finish that
            self.done["stopped amid a commit"] += 1
            os.kill(first.pid, signal.SIGCONT)
            time.sleep(0.02)
            os.kill(first.pid, signal.SIGSTOP)
            second = self.start()
            self.await_commits(second, self.committed() + 1)
        self.await_commits(second, self.committed() + step)
        os.kill(first.pid, signal.SIGCONT)
        try:
            code = first.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.problems.append("a driver that was replaced while it was stopped goes on")
            first.kill()
            code = first.wait()
        if code != 2:
            self.problems.append(f"a driver that was replaced while it was stopped exited with {code}, not 2")
        self.done["take-overs"] += 1
        return second

    def is_refused_as_busy(self, second: subprocess.Popen[str]) -> bool:
        """Whether a second driver has not got the lock yet."""
        holder = (self.root / ".builder" / "lock").read_text(errors="replace")
        return f"process {second.pid} " not in holder

    def finish(self, process: subprocess.Popen[str], *more: str) -> None:
        """Let the command end, and give it again as long as it fails by the fault of others."""
        for _ in range(20):
            while process.poll() is None and self.await_commits(process, 1 << 30):
                pass
            if process.returncode == 0:
                return
            self.done["commands given again"] += 1
            process = self.start(*more)
        self.problems.append(f"the command still exits with {process.returncode} after 20 times")


def session_of(pid: int) -> int:
    """The session of a process; 0 where it is gone."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


class Hung(Exception):
    """Nothing goes on any more."""


# -- a standing cluster ------------------------------------------------------------------------------------------------


class Standing:
    """A scheduler and workers with nannies, each started again when it ends, as a service would."""

    def __init__(self, battle: Battle) -> None:
        from builder.execute.settings import SCHEDULER, WORKER, as_variables

        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{one.getsockname()[1]}"
        pairs = (as_variables([n], {**SCHEDULER, **WORKER}) for n in (*SCHEDULER, *WORKER))
        variables = dict(pair.split("=", 1) for pair in pairs)
        self.environ = battle.environ | variables | {"DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "5s"}
        self.battle = battle
        self.stop = threading.Event()
        self.scheduler = self._run("scheduler", "--port", self.address.rsplit(":", 1)[1], "--no-dashboard")
        self.threads = [threading.Thread(target=self._keep_scheduler, daemon=True)]
        self.threads += [threading.Thread(target=self._keep_worker, daemon=True) for _ in range(battle.workers)]
        for thread in self.threads:
            thread.start()

    def _run(self, *words: str) -> subprocess.Popen[bytes]:
        with (self.battle.marks / "cluster.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_" + words[0], *words[1:]],
                stdout=log, stderr=log, env=self.environ, start_new_session=True, cwd=self.battle.marks,
            )  # fmt: skip

    def _keep_scheduler(self) -> None:
        while not self.stop.wait(0.2):
            if self.scheduler.poll() is not None:
                port = self.address.rsplit(":", 1)[1]
                self.scheduler = self._run("scheduler", "--port", port, "--no-dashboard")

    def _keep_worker(self) -> None:
        worker = None
        while not self.stop.wait(0.2):
            if worker is None or worker.poll() is not None:
                options = ["--nthreads", "1", "--no-dashboard", "--preload", "builder.execute.preload"]
                worker = self._run("worker", self.address, *options)
        if worker is not None:
            worker.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(GONE_WITHIN_S)

    def kill_scheduler(self) -> None:
        """Kill the scheduler; a moment later another is there."""
        self.scheduler.kill()
        self.battle.done["scheduler kills"] += 1

    def close(self) -> None:
        """End all."""
        self.stop.set()
        for thread in self.threads:
            thread.join()
        self.scheduler.terminate()
        self.scheduler.wait()


# -- the course of a battle --------------------------------------------------------------------------------------------


def fight(battle: Battle, steps: int, kills: int, has_cluster: bool) -> None:
    """Build under fire."""
    shares = [(i + 1) / (kills + 1) * 0.6 for i in range(kills)]
    process = battle.start()
    with battle.assassin():
        for share in shares:
            if battle.await_commits(process, int(share * steps)):
                battle.kill_driver(process)
            process = battle.start()
        if battle.await_commits(process, int(0.62 * steps)):
            process = battle.take_over(process, max(3, steps // 25))
        if not has_cluster:
            return battle.finish(process)
        if battle.await_commits(process, int(0.8 * steps)):
            battle.kill_driver(process)
        standing = Standing(battle)
        try:
            process = battle.start("--scheduler", standing.address)
            if battle.await_commits(process, int(0.88 * steps)):
                standing.kill_scheduler()
            battle.finish(process, "--scheduler", standing.address)
        finally:
            standing.close()
    return None


def check(battle: Battle, calm: dict[str, bytes], steps: int) -> dict[str, int]:
    """Figures of what was executed and committed; what is wrong goes to the problems."""
    twice = {s: n for s, n in battle.query(
        "SELECT step, count(*) FROM attempts WHERE outcome = 'done' GROUP BY step HAVING count(*) > 1")}  # fmt: skip
    if twice:
        battle.problems.append(f"committed more than once: {twice}")
    if battle.committed() != steps + 1:
        battle.problems.append(f"{battle.committed()} of {steps + 1} steps committed")
    found = battle.outputs()
    wrong = sorted(n for n in calm.keys() | found.keys() if calm.get(n) != found.get(n))
    if wrong:
        battle.problems.append(f"{len(wrong)} outputs differ from the calm build's, among them {wrong[:3]}")
    lines = {p.name: p.read_text().splitlines() for p in battle.marks.glob("layer*")}
    missing = steps - len(lines)
    if missing:
        battle.problems.append(f"{missing} steps were committed and never executed")
    refused = battle.marks / "refused"
    if refused.exists():
        battle.problems.append(f"{len(refused.read_text().splitlines())} locks of lanes refused")
    left = battle.processes()
    until_s = time.monotonic() + GONE_WITHIN_S
    while left and time.monotonic() < until_s:
        time.sleep(0.05)
        left = battle.processes()
    if left:
        battle.problems.append(f"processes left: {left}")
    return {
        "executions": sum(line.startswith("begin") for text in lines.values() for line in text),
        "executions that ended": sum(line == "end" for text in lines.values() for line in text),
    }


def after(battle: Battle) -> None:
    """A build that is done has nothing to do, and its store is sound."""
    for words in (["rebuild"], ["fsck"]):
        done = subprocess.run(
            [sys.executable, "-m", "builder", "-C", str(battle.root), *words], env=battle.environ, text=True,
            capture_output=True, check=False, timeout=NO_COMMIT_S,
        )  # fmt: skip
        wanted = "nothing to do" if words == ["rebuild"] else "sound"
        if done.returncode or wanted not in done.stdout:
            battle.problems.append(f"builder {words[0]} afterwards: {done.returncode} {done.stdout} {done.stderr}")


def cpu_s() -> float:
    """The CPU seconds of all processes that were waited for; orphans are this process's children (`adopt`)."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def adopt() -> None:
    """Become the parent of all whose parent dies below this process, so that their CPU is counted."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def write_project(root: Path, steps: int, longest_s: float) -> int:
    """How many steps the project has beside its seed, after writing it."""
    depth = max(1, steps // WIDTH)
    (root / "recipes").mkdir(parents=True)
    (root / "builder.toml").write_text('publish = "all"\n[lanes]\ndb = 1\ndisk = 2\n')
    (root / "recipes" / "main.py").write_text(RECIPES.format(width=WIDTH, depth=depth, longest_s=longest_s))
    return depth * WIDTH


def run(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """The figures of a calm build and of one under fire."""
    adopt()
    rows: dict[str, dict[str, float]] = {}
    calm: dict[str, bytes] = {}
    for name in ("calm", "under fire"):
        root, marks = folder / name.replace(" ", "_"), folder / ("marks " + name)
        marks.mkdir()
        steps = write_project(root, options.steps, options.longest_s)
        gil_s = "0.01" if name == "calm" else str(options.gil_s)
        environ = os.environ | {"CHAOS_MARKS": str(marks), "CHAOS_MARK": uuid.uuid4().hex, "CHAOS_GIL_S": gil_s}
        battle = Battle(root, marks, options.workers, random.Random(options.seed), environ)
        began_s, used_s = time.monotonic(), cpu_s()
        try:
            if name == "calm":
                battle.finish(battle.start())
            else:
                fight(battle, steps, options.kills, not options.no_cluster)
        except Hung:
            battle.end()
        except BaseException:
            battle.end()
            raise
        wall_s = time.monotonic() - began_s
        figures = check(battle, calm or battle.outputs(), steps)
        rows[name] = {"wall_s": round(wall_s, 1), "cpu_s": round(cpu_s() - used_s, 1), **figures, **battle.done}
        after(battle)
        calm = calm or battle.outputs()
        if battle.problems:
            shutil.copy(marks / "command.log", options.log) if options.log else None
            break
    return {"steps": steps, "seed": options.seed, "rows": rows, "problems": battle.problems}


def table(figures: dict[str, object]) -> str:
    """The figures as text."""
    rows = figures["rows"]
    assert isinstance(rows, dict)
    names = list(dict.fromkeys(n for row in rows.values() for n in row))
    lines = [f"{figures['steps']} steps, seed {figures['seed']}", f"{'':24}" + "".join(f"{r:>14}" for r in rows)]
    lines += [f"{n:24}" + "".join(f"{row.get(n, 0):>14}" for row in rows.values()) for n in names]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--kills", type=int, default=10, help="of the driver")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest-s", type=float, default=0.1, help="how long a step may take")
    parser.add_argument("--gil-s", type=float, default=8.0, help="how long the GIL is held")
    parser.add_argument("--no-cluster", action="store_true", help="leave the standing cluster out")
    parser.add_argument("--log", help="where to put what the commands said, if something is wrong")
    parser.add_argument("--json", action="store_true", help="print the figures as one document")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory() as folder:
        figures = run(options, Path(folder))
    print(json.dumps(figures) if options.json else table(figures))
    for problem in figures["problems"]:  # type: ignore[attr-defined]
        print(f"PROBLEM  {problem}", file=sys.stderr)
    sys.exit(1 if figures["problems"] else 0)


assert builder.__name__ == "builder"  # found, before anything is started

if __name__ == "__main__":
    main()
