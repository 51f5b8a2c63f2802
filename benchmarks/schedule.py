"""How well the schedule packs: simulated against lower bounds and first-in-first-out, then a real run against both.

    python benchmarks/schedule.py simulated [--size 5200] [--workers 4,16,64,256,1000] [--seeds 7,8,9,10]
    python benchmarks/schedule.py real [--size 1245] [--workers 4] [--mean-s 0.15]
    python benchmarks/schedule.py order [--size 1245] [--workers 16]

Times are log-normal, ten times as long at the 95th percentile as at the 5th. Three lanes take whole types of tasks,
each until its own lower bound is 0.8 of that of the workers (of 64, where they vary). No schedule beats a bound: the
longest way through the graph, the work over the workers, each lane's work over its capacity.

simulated  the executor's policy and first-in-first-out on known times, then with predictions that are wrong
real       tasks that sleep: wall over the largest bound; on a second run the predicted finish over the real one
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
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reference_dag import SEED, Dag, make_dag, write_project

import builder
from builder import building
from builder.compile.policy import Job, Place, by_depth, first_in_first_out
from builder.compile.simulate import simulate
from builder.compile.urgency import with_queues
from builder.execute.inline import InlineRunner
from builder.execute.runner import Ended
from builder.execute.spec import AttemptSpec

SIGMA = math.log(10) / (2 * 1.6449)
LANE_SHARE = 0.8
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

    def bounds(self, workers: int) -> dict[str, float]:
        """The lower bounds in seconds."""
        longest_s = max(job.depth_s for job in self.jobs(self.seconds))
        found = {"longest way": longest_s, "work": sum(self.seconds.values()) / workers}
        for lane, capacity in self.lanes.items():
            own_s = sum(self.seconds[t.target] for t in self.dag.tasks if self.lane_of.get(t.kind) == lane)
            found[f"lane {lane}"] = own_s / capacity
        return found


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


def finish_s(
    load: Load, workers: int, known_s: Mapping[str, float], rank: Any = by_depth, queues: bool = True
) -> float:
    """When the last task ends, as the simulator plays it with ranks by what is known of the times."""
    places = [Place(str(n)) for n in range(workers)]
    waits = {t.target: sum(n in load.seconds for n in t.needs) for t in load.dag.tasks}
    jobs = load.jobs(known_s)
    if queues and rank is by_depth:
        known = [replace(job, predicted_s=known_s[job.name]) for job in jobs]
        ranked = with_queues(known, load.readers, load.lanes, places, max(load.bounds(workers).values()))
        jobs = [replace(job, predicted_s=load.seconds[job.name]) for job in ranked]
    times = simulate(jobs, load.readers, waits, load.lanes, places, rank)
    return max(t.finish_s for t in times.values())


def simulated(options: argparse.Namespace) -> None:
    """Print a table for each seed."""
    for seed in map(int, options.seeds.split(",")):
        print_finishes(options.size, list(map(int, options.workers.split(","))), seed)


def print_finishes(size: int, numbers: Sequence[int], seed: int) -> None:
    """Print the table of simulated finishes over the largest bound."""
    load = make_load(size, 64, 60.0, seed)
    chance = random.Random(seed)
    wrong = {
        f"off by {sigma:.0%}": {n: s * chance.lognormvariate(0, sigma) for n, s in load.seconds.items()}
        for sigma in WRONG_SIGMAS
    }
    own = {lane: sum(load.lane_of.get(t.kind) == lane for t in load.dag.tasks) for lane in load.lanes}
    lanes = ", ".join(f"{lane} {count} at once, {own[lane]:,} tasks" for lane, count in load.lanes.items())
    print(f"\nseed {seed}: {size:,} tasks of {sum(load.seconds.values()) / 3600:.1f} h; lanes: {lanes}")
    print("finish over the largest bound")
    columns = ("policy", *wrong, "no queues counted", "first in first out", "over policy")
    print(
        f"{'workers':>8}  {'bound s':>8} {'bottleneck':<15}" + "".join(f"{c:>20}" for c in columns) + f"{'took s':>8}"
    )
    for workers in numbers:
        bounds = load.bounds(workers)
        name, bound_s = max(bounds.items(), key=lambda item: item[1])
        began = time.perf_counter()
        best_s = finish_s(load, workers, load.seconds)
        took_s = time.perf_counter() - began
        found = [best_s, *(finish_s(load, workers, known) for known in wrong.values())]
        depth_s = finish_s(load, workers, load.seconds, queues=False)
        found.append(depth_s)
        plain_s = finish_s(load, workers, load.seconds, first_in_first_out)
        cells = [f"{s / bound_s:.3f}" for s in (*found, plain_s)] + [f"{plain_s / best_s:.3f}"]
        row = "".join(f"{c:>20}" for c in cells)
        print(f"{workers:>8}  {bound_s:>8,.0f} {name:<15}{row}{took_s:>8.2f}")


# -- real --------------------------------------------------------------------------------------------------------------


class Starts:
    """An observer that keeps the order of starts."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def event(self, kind: str, name: str, **facts: Any) -> None:
        """Note a start."""
        if kind == "started":
            self.names.append(name)


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
    """Run the sleeping tasks twice and print walls, bounds and predictions."""
    workers = int(options.workers)
    load = make_load(options.size, workers, options.mean_s, options.seed)
    bounds = load.bounds(workers)
    name, bound_s = max(bounds.items(), key=lambda item: item[1])
    said = ", ".join(f"{n} {s:.1f} s" for n, s in bounds.items())
    print(f"{options.size:,} tasks, {workers} workers; lower bounds: {said}")
    fifo_s = finish_s(load, workers, load.seconds, first_in_first_out)
    best_s = finish_s(load, workers, load.seconds)
    print(f"simulated, no overhead: {best_s / bound_s:.3f} × {name}; first in first out {fifo_s / bound_s:.3f} ×")
    with tempfile.TemporaryDirectory(prefix="schedule-") as folder:
        project = write_naps(load, Path(folder) / "p")
        for number in (1, 2):
            schedule = project.plan(all=True, workers=workers).schedule
            starts = Starts()
            began, cpu_s = time.perf_counter(), time.process_time()
            run = project.rebuild(all=True, workers=workers, observer=starts)
            wall_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_s
            done = sum(t.outcome in ("built", "unchanged") for t in run.targets)
            print(
                f"run {number}: {done:,} built in {wall_s:.1f} s, {wall_s / bound_s:.3f} × {name}; "
                f"driver {1000 * cpu_s / len(load.seconds):.2f} ms CPU a step; {_predicted(schedule, starts, wall_s)}"
            )


def _predicted(schedule: Any, starts: Starts, wall_s: float) -> str:
    if schedule.predicted_s is None:
        return "nothing was known of its times"
    order = [slot.name for slot in schedule.slots]
    share = schedule.predicted_s / wall_s
    pairs = agreement(order, starts.names)
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
    own = building._runner_factory
    building._runner_factory = lambda *_: lambda: runner
    try:
        project.rebuild(all=True)
    finally:
        building._runner_factory = own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=["simulated", "real", "order"])
    parser.add_argument("--size", type=int, help="tasks: 5200 simulated, 1245 else")
    parser.add_argument("--workers", help="a list where simulated")
    parser.add_argument("--mean-s", type=float, default=0.15, help="mean seconds of a task where they run")
    parser.add_argument("--seed", type=int, default=SEED, help="of times and lanes where they run")
    parser.add_argument("--seeds", default="7,8,9,10", help="of times and lanes where simulated")
    options = parser.parse_args()
    options.size = options.size or (5200 if options.mode == "simulated" else 1245)
    options.workers = options.workers or {"simulated": "4,16,64,256,1000", "real": "4", "order": "16"}[options.mode]
    cores, load = os.cpu_count(), os.getloadavg()[0]
    print(f"{platform.machine()}, {cores} cores, load {load:.1f}, Python {platform.python_version()}")
    {"simulated": simulated, "real": real, "order": ordered}[options.mode](options)


if __name__ == "__main__":
    main()
