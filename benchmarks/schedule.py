"""How well the schedule packs: simulated against lower bounds and first-in-first-out, then a real run against both.

    python benchmarks/schedule.py simulated [--size 5200] [--workers 64] [--seeds 0,1,2,3,4,5,6,7,8,9]
    python benchmarks/schedule.py real [--size 1245] [--workers 4] [--mean-s 0.5]
    python benchmarks/schedule.py order [--size 1245] [--workers 16]

Times are log-normal, ten times as long at the 95th percentile as at the 5th. Three lanes take whole types of tasks,
each until its own work over its capacity is 0.8 of the work over the workers. No schedule beats a bound: the longest
way through the graph, the work over the workers, each lane's work over its capacity, the last two with the ways that
lead to them and from them (`builder.compile.bounds`).

simulated  the executor's policy and first-in-first-out on known times, then with predictions that are wrong; and when
           five targets wanted first are ready, over the largest bound of what they need
real       tasks that sleep: wall over the largest bound; on a second run the predicted finish over the real one; on a
           third with five targets wanted first
order      the executor itself with ends at simulated times: its order of starts is the simulator's
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reference_dag import LAYERS, SEED, Dag, make_dag, write_project

import builder
from builder.compile.bounds import Bounds, lower_bounds
from builder.compile.policy import Job, Place, by_depth, first_in_first_out
from builder.compile.simulate import Times, simulate
from builder.compile.urgency import with_queues
from builder.execute import runners
from builder.execute.inline import InlineRunner
from builder.execute.runner import Ended
from builder.execute.spec import AttemptSpec

SIGMA = math.log(10) / (2 * 1.6449)
LANE_SHARE = 0.8
WANTED = 5
WRONG_SIGMAS = (0.2, 0.5)
PACKED_S = 0.05

RECIPES = '''\
"""One recipe per type of task, made in a loop from dag.json; each sleeps its time."""

import json
import time
from pathlib import Path

import builder as b

DAG = json.loads((Path(__file__).parent.parent / "dag.json").read_text())


def declare(kind, needs, sleeps, lane):
    """Declare one type with its tasks, what each of them reads and how long it sleeps."""

    @b.recipe(name=kind, each=[{"task": t} for t in needs], inputs=lambda task: {"read": needs[task]}, lane=lane)
    def nap(read, task) -> bytes:
        time.sleep(sleeps[task])
        return f"{task} read {len(read)}\\n".encode()


for name in DAG["sources"]:
    b.source(name, f"data/{name}.csv", format="file")
for kind, needs in DAG["kinds"].items():
    declare(kind, needs, DAG["sleeps"][kind], DAG["lanes"].get(kind))
'''


@dataclass(frozen=True)
class Load:
    """The DAG with a time for each task and a lane for some types."""

    dag: Dag
    seconds: Mapping[str, float]
    lane_of: Mapping[str, str]
    lanes: Mapping[str, int]

    @property
    def readers(self) -> dict[str, list[str]]:
        """Who waits for each target."""
        found: dict[str, list[str]] = {task.target: [] for task in self.dag.tasks}
        for task in self.dag.tasks:
            for need in task.needs:
                if need in found:
                    found[need].append(task.target)
        return found

    def jobs(self, known_s: Mapping[str, float]) -> list[Job]:
        """The tasks as jobs that take their time, ranked by what is known of it."""
        readers = self.readers
        depth_s: dict[str, float] = {}
        for task in reversed(self.dag.tasks):
            below_s = max((depth_s[r] for r in readers[task.target]), default=0.0)
            depth_s[task.target] = below_s + known_s[task.target]
        return [
            Job(t.target, order, self.seconds[t.target], depth_s[t.target], lanes=self.lanes_of(t.kind))
            for order, t in enumerate(self.dag.tasks)
        ]

    def lanes_of(self, kind: str) -> tuple[tuple[str, int], ...]:
        """The lane of a type, as a job has it."""
        return ((self.lane_of[kind], 1),) if kind in self.lane_of else ()

    def bounds(self, workers: int, only: frozenset[str] | None = None) -> Bounds:
        """The lower bounds, of all tasks or of these alone."""
        jobs = [job for job in self.jobs(self.seconds) if only is None or job.name in only]
        names = {job.name for job in jobs}
        readers = {n: [r for r in found if r in names] for n, found in self.readers.items() if n in names}
        return lower_bounds(jobs, readers, self.lanes, workers)

    def wanted(self, seed: int) -> list[str]:
        """Five targets of the last third of the layers."""
        late = [t.target for t in self.dag.tasks if t.layer >= LAYERS * 2 // 3]
        return random.Random(f"wanted/{seed}").sample(late, WANTED)

    def needed(self, wanted: Sequence[str]) -> frozenset[str]:
        """These targets and all that they need."""
        found = set(wanted)
        for task in reversed(self.dag.tasks):
            if task.target in found:
                found.update(n for n in task.needs if n in self.seconds)
        return frozenset(found)


def make_load(size: int, workers: int, mean_s: float, seed: int, least_s: float = 0.0) -> Load:
    """The seeded load whose lanes are nearly as tight as this many workers are."""
    dag = make_dag(size, SEED)
    chance = random.Random(f"{size}/{seed}")
    middle = math.log(mean_s) - SIGMA**2 / 2
    seconds = {task.target: max(least_s, chance.lognormvariate(middle, SIGMA)) for task in dag.tasks}
    lanes = {"database": max(1, workers // 16), "tiles": max(1, workers // 8), "service": max(1, workers // 4)}
    left_s = {lane: LANE_SHARE * c * sum(seconds.values()) / workers for lane, c in lanes.items()}
    work_s: dict[str, float] = {}
    for task in dag.tasks:
        work_s[task.kind] = work_s.get(task.kind, 0.0) + seconds[task.target]
    lane_of = {}
    for kind in chance.sample(sorted(work_s), len(work_s)):
        lane = max(left_s, key=lambda name: left_s[name] / lanes[name])
        if work_s[kind] <= left_s[lane]:
            lane_of[kind] = lane
            left_s[lane] -= work_s[kind]
    return Load(dag, seconds, lane_of, lanes)


# -- simulated ---------------------------------------------------------------------------------------------------------


def play(
    load: Load,
    workers: int,
    known_s: Mapping[str, float],
    rank: Any = by_depth,
    queues: bool = True,
    first: frozenset[str] = frozenset(),
) -> dict[str, Times]:
    """The run as the simulator plays it, with ranks by what is known of the times."""
    places = [Place(str(n)) for n in range(workers)]
    waits = {t.target: sum(n in load.seconds for n in t.needs) for t in load.dag.tasks}
    jobs = [replace(job, predicted_s=known_s[job.name], is_first=job.name in first) for job in load.jobs(known_s)]
    if queues and rank is by_depth:
        jobs = list(with_queues(jobs, load.readers, load.lanes, places))
    jobs = [replace(job, predicted_s=load.seconds[job.name]) for job in jobs]
    return simulate(jobs, load.readers, waits, load.lanes, places, rank)


def finish_s(times: Mapping[str, Times]) -> float:
    """When the last of these tasks ends."""
    return max(t.finish_s for t in times.values())


def simulated(options: argparse.Namespace) -> None:
    """Print a table with a line for each seed and number of workers; the largest ratios close it."""
    columns = ("policy", *(f"off by {s:.0%}" for s in WRONG_SIGMAS), "no queues", "FIFO", "wanted first")
    print(f"{options.size:,} tasks; finish over the largest bound, of the wanted ones over their own")
    print("seed workers  bound s bottleneck     " + "".join(f"{c:>13}" for c in columns) + "  CPU s")
    rows = [
        simulated_row(options.size, workers, seed)
        for seed in map(int, options.seeds.split(","))
        for workers in map(int, options.workers.split(","))
    ]
    print(f"{'largest':<38}" + "".join(f"{max(values):>13.3f}" for values in zip(*rows)))


def simulated_row(size: int, workers: int, seed: int) -> list[float]:
    """The ratios of one load, printed as a line."""
    load = make_load(size, workers, 60.0, seed)
    chance = random.Random(seed)
    bounds = load.bounds(workers)
    began_s = time.process_time()
    finishes = [finish_s(play(load, workers, load.seconds))]
    took_s = time.process_time() - began_s
    for sigma in WRONG_SIGMAS:
        wrong = {n: s * chance.lognormvariate(0, sigma) for n, s in load.seconds.items()}
        finishes.append(finish_s(play(load, workers, wrong)))
    finishes.append(finish_s(play(load, workers, load.seconds, queues=False)))
    finishes.append(finish_s(play(load, workers, load.seconds, first_in_first_out)))
    needed = load.needed(load.wanted(seed))
    times = play(load, workers, load.seconds, first=needed)
    ready_s = finish_s({n: times[n] for n in needed}) / load.bounds(workers, needed).largest_s
    row = [*(s / bounds.largest_s for s in finishes), ready_s]
    cells = "".join(f"{value:>13.3f}" for value in row)
    print(f"{seed:>4} {workers:>7} {bounds.largest_s:>8,.0f} {bounds.bottleneck:<15}{cells} {took_s:>6.2f}")
    return row


# -- real --------------------------------------------------------------------------------------------------------------


class Seen:
    """An observer that keeps the order of starts, and when each target was ready."""

    def __init__(self) -> None:
        self.began_s = time.perf_counter()
        self.names: list[str] = []
        self.ready_s: dict[str, float] = {}

    def event(self, kind: str, name: str, **facts: Any) -> None:
        """Note a start, or a target."""
        if kind == "started":
            self.names.append(name)
        elif kind == "target":
            self.ready_s[name] = time.perf_counter()


def write_naps(load: Load, folder: Path, is_asleep: bool = True) -> builder.Project:
    """The project in which each task sleeps its time."""
    write_project(load.dag, folder)
    dag = json.loads((folder / "dag.json").read_text())
    sleeps: dict[str, dict[str, float]] = {}
    for task in load.dag.tasks:
        sleeps.setdefault(task.kind, {})[task.name] = round(load.seconds[task.target], 4) if is_asleep else 0.0
    (folder / "dag.json").write_text(json.dumps({**dag, "sleeps": sleeps, "lanes": load.lane_of}))
    (folder / "recipes" / "tasks.py").write_text(RECIPES)
    lanes = "".join(f"{lane} = {count}\n" for lane, count in load.lanes.items())
    (folder / "builder.toml").write_text(f'name = "naps"\nenvironment = ["python"]\n\n[lanes]\n{lanes}')
    return builder.open(folder)


def agreement(one: Sequence[str], other: Sequence[str]) -> float:
    """The share of pairs that two orders of the same names have the same way round."""
    place = {name: number for number, name in enumerate(other)}
    ranks = [place[name] for name in one if name in place]
    pairs = len(ranks) * (len(ranks) - 1) // 2
    later = sum(sum(b > a for b in ranks[i + 1 :]) for i, a in enumerate(ranks))
    return later / pairs if pairs else 1.0


def real(options: argparse.Namespace) -> None:
    """Run the sleeping tasks three times and print walls, bounds and predictions."""
    workers = int(options.workers)
    load = make_load(options.size, workers, options.mean_s, options.seed)
    bounds = load.bounds(workers)
    lanes = ", ".join(f"lane {n} {s:.1f} s" for n, s in bounds.lanes_s.items())
    print(f"{options.size:,} tasks, {workers} workers; bounds: longest way {bounds.critical_path_s:.1f} s, "
          f"work {bounds.work_s:.1f} s, {lanes}; largest {bounds.largest_s:.1f} s, by {bounds.bottleneck}")  # fmt: skip
    ideal_s = finish_s(play(load, workers, load.seconds)) / bounds.largest_s
    fifo_s = finish_s(play(load, workers, load.seconds, first_in_first_out)) / bounds.largest_s
    print(f"simulated without overhead: {ideal_s:.3f} × the bound; first in first out {fifo_s:.3f} ×", flush=True)
    wanted = load.wanted(options.seed)
    with tempfile.TemporaryDirectory(prefix="schedule-") as folder:
        project = write_naps(load, Path(folder) / "p")
        for number, first in ((1, []), (2, []), (3, wanted)):
            schedule = project.plan(all=True, workers=workers, first=first).schedule
            seen = Seen()
            cpu_s = time.process_time()
            run = project.rebuild(all=True, workers=workers, first=first, observer=seen)
            cpu_s = time.process_time() - cpu_s
            done = sum(t.outcome in ("built", "unchanged") for t in run.targets)
            print(
                f"run {number}: {done:,} built in {run.wall_s:.1f} s, {run.wall_s / bounds.largest_s:.3f} × the bound; "
                f"driver {1000 * cpu_s / len(load.seconds):.2f} ms CPU a step; {_predicted(schedule, seen, run.wall_s)}"
            )
            if first:
                own = load.bounds(workers, load.needed(first))
                ready_s = max(seen.ready_s[n] for n in first) - seen.began_s
                needs = f"{len(load.needed(first)):,} tasks, bound {own.largest_s:.1f} s"
                print(f"       {WANTED} wanted first ({needs}) ready after {ready_s:.1f} s, "
                      f"{ready_s / own.largest_s:.3f} × their bound")  # fmt: skip
            sys.stdout.flush()


def _predicted(schedule: Any, seen: Seen, wall_s: float) -> str:
    if schedule.predicted_s is None:
        return "nothing was known of its times"
    order = [slot.name for slot in schedule.slots]
    share = schedule.predicted_s / wall_s
    pairs = agreement(order, seen.names)
    return f"predicted {schedule.predicted_s:.1f} s, {share:.3f} of it; starts agree in {pairs:.1%} of pairs"


# -- order -------------------------------------------------------------------------------------------------------------


class TimedRunner(InlineRunner):
    """Runs each attempt at once and reports its end when it would come: time passes only in `wait`."""

    def __init__(self, workers: int, seconds: Mapping[str, float]) -> None:
        super().__init__()
        self._places = tuple(Place(str(number)) for number in range(workers))
        self.seconds = seconds
        self.now_s = 0.0
        self.starts: list[str] = []
        self._coming: list[tuple[float, int, Ended]] = []

    def start(self, specs: Sequence[AttemptSpec], place: str) -> None:
        """Run attempts; each end waits for its time."""
        end_s = self.now_s
        for spec in specs:
            super().start([spec], place)
            own_s = self.seconds[spec.step]
            end_s += own_s
            self.starts.append(spec.step)
            for ended in super().wait(None):
                told = replace(ended, record=replace(ended.record, wall_s=own_s))
                heapq.heappush(self._coming, (end_s, len(self.starts), told))

    def wait(self, timeout_s: float | None) -> list[Ended]:
        """The next end."""
        self.now_s, _, ended = heapq.heappop(self._coming)
        return [ended]


def ordered(options: argparse.Namespace) -> None:
    """Let the executor itself run at simulated times, and compare its starts with the simulator's."""
    workers = int(options.workers)
    load = make_load(options.size, workers, options.mean_s, options.seed, least_s=2 * PACKED_S)
    with tempfile.TemporaryDirectory(prefix="schedule-") as folder:
        project = write_naps(load, Path(folder) / "p", is_asleep=False)
        for _ in range(2):  # the first run is there to be remembered
            runner = TimedRunner(workers, load.seconds)
            schedule = project.plan(all=True, workers=workers).schedule
            run_with(runner, project)
    places = [slot.name for slot in schedule.slots]
    same = next((n for n, (a, b) in enumerate(zip(places, runner.starts)) if a != b), len(places))
    print(
        f"{len(places):,} steps, {workers} workers: the first {same:,} starts are the simulator's, "
        f"{agreement(places, runner.starts):.2%} of all pairs; executor ends at {runner.now_s:.1f} s, "
        f"simulator at {schedule.predicted_s:.1f} s"
    )


def run_with(runner: TimedRunner, project: builder.Project) -> None:
    """A rebuild of everything on this runner: the library offers none but its own two, so its choice is replaced."""
    own = runners.Runners
    runners.Runners = lambda *_, **__: lambda: runner
    try:
        project.rebuild(all=True)
    finally:
        runners.Runners = own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["simulated", "real", "order"])
    parser.add_argument("--size", type=int, help="tasks: 5200 simulated, 1245 else")
    parser.add_argument("--workers", help="a list where simulated")
    parser.add_argument("--mean-s", type=float, default=0.5, help="mean seconds of a task where they run")
    parser.add_argument("--seed", type=int, default=SEED, help="of times and lanes where they run")
    parser.add_argument("--seeds", default="0,1,2,3,4,5,6,7,8,9", help="of times and lanes where simulated")
    options = parser.parse_args()
    options.size = options.size or (5200 if options.mode == "simulated" else 1245)
    options.workers = options.workers or {"simulated": "64", "real": "4", "order": "16"}[options.mode]
    cores, load = os.cpu_count(), os.getloadavg()[0]
    print(f"{platform.machine()}, {cores} cores, load {load:.1f}, Python {platform.python_version()}")
    {"simulated": simulated, "real": real, "order": ordered}[options.mode](options)


if __name__ == "__main__":
    main()
