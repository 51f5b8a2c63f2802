"""The driver alone: CPU per step on Dask, how busy many slots are kept, and whether its memory stays flat.

    python benchmarks/driver.py [--parts steps,slots,memory] [--size 1245] [--workers 2] [--slots 100] [--steps 50000]

steps   the reference DAG built on Dask, each step alone and then packed: process CPU of driver and workers from the
        first start to the end of the build, so without planning and without the start of the cluster; also the CPU
        of all that, and wall seconds.
slots   steps of one second on slots in this process (threads that sleep): the share of the time that slots are busy.
memory  a long chain of layers of steps that take no time: resident size and CPU per step as the build goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import os
import queue
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from reference_dag import make_dag, write_project

import builder
from builder.compile import policy
from builder.compile.policy import Place
from builder.digests import digest_of
from builder.execute.driver import Driver
from builder.execute.runner import Ended
from builder.execute.spec import AttemptRecord, AttemptSpec, Output, RecipeSpec
from builder.execute.work import Workplace
from builder.graph.declare import Place as Declared
from builder.graph.declare import SourceDecl
from builder.graph.graph import Edge, Graph, RecipeNode, SourceNode, Step
from builder.plan.plan import make_plan
from builder.situation import Sensed, Situation
from builder.sources import SourceFile
from builder.store.commits import Committer
from builder.store.ledger import Ledger
from builder.store.manifest import Layer, Manifest
from builder.store.recall import Recall

STEP_S = 1.0


# -- steps: CPU on Dask ------------------------------------------------------------------------------------------------


@dataclass
class Meter:
    """An observer that reads the clocks when the first step starts and whenever a step ends."""

    first: tuple[float, float, float] | None = None
    last: tuple[float, float, float] = (0.0, 0.0, 0.0)
    begun_s: dict[str, float] = field(default_factory=dict)
    alone: int = 0
    packed: int = 0

    def event(self, kind: str, name: str, **facts: Any) -> None:
        """Read the clocks."""
        if kind == "started":
            self.first = self.first or clocks()
            self.packed += facts["packed"]
            self.alone += not facts["packed"]

    def stop(self) -> None:
        """Read the clocks for the last time."""
        self.last = clocks()


def clocks() -> tuple[float, float, float]:
    """Wall seconds, CPU seconds of this process, CPU seconds of the processes below it that run now."""
    below = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            spent = process.cpu_times()
            below += spent.user + spent.system
    return time.perf_counter(), time.process_time(), below


@contextlib.contextmanager
def stopped_by(meter: Meter) -> Iterator[None]:
    """Let the meter read the clocks when the driver has ended all, before the cluster is closed."""
    from builder.execute.cluster import DaskRunner

    kept = DaskRunner.close

    def close(runner: DaskRunner) -> None:
        meter.stop()
        kept(runner)

    DaskRunner.close = close  # type: ignore[method-assign]
    try:
        yield
    finally:
        DaskRunner.close = kept  # type: ignore[method-assign]


def steps(size: int, workers: int) -> None:
    """CPU per step that travels alone, and packed."""
    print(f"\nsteps: the reference DAG of {size:,} tasks on Dask, {workers} workers")
    print(f"{'':<22}{'alone':>7}{'packed':>8}{'driver ms/step':>16}{'worker ms/step':>16}{'wall ms/step':>14}"
          f"{'start-up CPU s':>16}{'whole wall s':>14}")  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="driver-") as name:
        folder = write_project(make_dag(size), Path(name) / "project")
        for what, packed_s, options in (
            ("cold", policy.PACKED_S, {}),
            ("all again, packed", policy.PACKED_S, {"all": True}),
            ("all again, alone", 0.0, {"all": True}),
        ):
            kept, policy.PACKED_S = policy.PACKED_S, packed_s
            meter = Meter()
            with stopped_by(meter):
                began, cpu = time.perf_counter(), time.process_time()
                run = builder.open(folder).rebuild(workers=workers, observer=meter, **options)
            policy.PACKED_S = kept
            assert meter.first is not None and run.outcome == "built", run
            wall_s, driver_s, worker_s = (b - a for a, b in zip(meter.first, meter.last, strict=True))
            count = meter.alone + meter.packed
            print(f"{what:<22}{meter.alone:>7,}{meter.packed:>8,}{1000 * driver_s / count:>16.2f}"
                  f"{1000 * worker_s / count:>16.2f}{1000 * wall_s / count:>14.2f}"
                  f"{meter.first[1] - cpu:>16.2f}{time.perf_counter() - began:>14.2f}")  # fmt: skip


# -- a driver on a graph in memory -------------------------------------------------------------------------------------


class Stage:
    """A graph of `layers` layers of `width` steps, each of which reads two of the layer before, and a real ledger."""

    def __init__(self, layers: int, width: int, store: Path) -> None:
        self.store = store
        (store / "parts").mkdir(parents=True)
        self.ledger = Ledger.open(store, create=True)
        found = []
        for layer in range(layers):
            for number in range(width):
                near = (number, (number + 1) % width)
                reads = ["s"] if layer == 0 else [f"t{layer - 1}x{n}" for n in near]
                name = f"t{layer}x{number}"
                edges = tuple(Edge(f"p{i}", "one", (n,)) for i, n in enumerate(dict.fromkeys(reads)))
                found.append(Step(name, "step", (("at", name),), edges, (name,)))
        place = Declared("recipes/main.py", 1)
        node = RecipeNode("step", str(place), digest_of("code"), (), digest_of("declared"))
        graph = Graph.build([SourceNode("s", "s", ())], [node], found)
        file = SourceFile("s", "/s", "data/s", 1, digest_of("content"))
        self.situation = Situation(
            graph,
            {"s": SourceDecl("s", "data/s", place, format="file")},
            {"s": Sensed("s", "s", (file,), digest_of("files"))},
            {},
            (),
            {},
            digest_of("bundle"),
            project_environment=(),
        )

    def driver(self, runner: Any, observer: Any) -> Driver:
        """A driver that builds all."""
        recall = Recall(self.ledger)
        committer = Committer.take(self.ledger)
        return Driver(
            make_plan(self.situation, recall),
            recall,
            committer,
            committer.begin_run(0.0),
            Workplace(self.store, self.store, self.store, self.store),
            lambda: runner,
            lanes={},
            publish=lambda *names: None,
            observer=observer,
        )


def record_of(spec: AttemptSpec, wall_s: float) -> AttemptRecord:
    """What an attempt sends back that gave bytes of its own."""
    assert isinstance(spec.work, RecipeSpec)
    outputs = tuple(
        Output(target, Manifest("bytes", digest_of("output", target), (Layer(()),), bytes=1))
        for _, target in spec.work.outputs
    )
    return AttemptRecord(spec.id, outputs, wall_s=wall_s)


@dataclass
class Slots:
    """Places in this process."""

    count: int

    def places(self) -> list[Place]:
        """As many as there are."""
        return [Place(str(number)) for number in range(self.count)]

    def follow(self, demand: policy.Policy) -> None:
        """Nothing: their number is fixed."""

    def is_begun(self, attempt: str) -> bool:
        """Each begins at once."""
        return True

    def kill(self, attempt: str, code: str, message: str) -> None:
        """Nothing here has a timeout."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing to give back."""


@dataclass
class Sleepers(Slots):
    """Slots that sleep: one thread keeps the ends in order."""

    ended: queue.SimpleQueue[Ended] = field(default_factory=queue.SimpleQueue)
    busy_s: float = 0.0
    first_s: float = 0.0
    last_s: float = 0.0

    def __post_init__(self) -> None:
        self.due: list[tuple[float, int, AttemptSpec]] = []
        self.change = threading.Condition()
        self.order = 0
        self.is_over = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def start(self, specs: Sequence[AttemptSpec], place: str) -> None:
        """Sleep for each in turn."""
        now_s = time.perf_counter()
        self.first_s = self.first_s or now_s
        with self.change:
            for number, spec in enumerate(specs):
                self.order += 1
                heapq.heappush(self.due, (now_s + STEP_S * (number + 1), self.order, spec))
            self.change.notify()

    def _run(self) -> None:
        with self.change:
            while not self.is_over:
                now_s = time.perf_counter()
                while self.due and self.due[0][0] <= now_s:
                    _, _, spec = heapq.heappop(self.due)
                    self.busy_s += STEP_S
                    self.last_s = now_s
                    self.ended.put(Ended(spec.id, record_of(spec, STEP_S)))
                self.change.wait(self.due[0][0] - now_s if self.due else None)

    def wait(self, timeout_s: float | None) -> list[Ended]:
        """What ended."""
        try:
            found = [self.ended.get(timeout=timeout_s)]
            while True:
                try:
                    found.append(self.ended.get_nowait())
                except queue.Empty:
                    return found
        except queue.Empty:
            return []

    def close(self) -> None:
        """Let the thread end."""
        with self.change:
            self.is_over = True
            self.change.notify()


class Deaf:
    """An observer that hears nothing."""

    def event(self, kind: str, name: str, **facts: Any) -> None:
        """Nothing."""


def slots(count: int) -> bool:
    """How busy slots are kept by steps of one second; whether it is 95 %."""
    layers = 20
    print(f"\nslots: {layers * count:,} steps of {STEP_S:g} s on {count} slots in this process")
    with tempfile.TemporaryDirectory(prefix="driver-") as name:
        stage = Stage(layers, count, Path(name) / "store")
        runner = Sleepers(count)
        cpu = time.process_time()
        stage.driver(runner, Deaf()).execute()
        cpu = time.process_time() - cpu
        wall_s = runner.last_s - runner.first_s
        share = runner.busy_s / (count * wall_s)
        each_ms = 1000 * cpu / (layers * count)
        print(f"wall {wall_s:.2f} s · busy {100 * share:.1f} % · driver {each_ms:.2f} ms CPU a step")
        stage.ledger.close()
    return share >= 0.95


# -- memory ------------------------------------------------------------------------------------------------------------


@dataclass
class AtOnce(Slots):
    """Slots whose attempts end at once; they say every so often how large the process is."""

    every: int = 5000
    total: int = 0
    ended: list[Ended] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    cpu_s: float = 0.0

    def start(self, specs: Sequence[AttemptSpec], place: str) -> None:
        """End each at once."""
        if self.total == 0:
            self.cpu_s = time.process_time()
        for spec in specs:
            self.ended.append(Ended(spec.id, record_of(spec, 0.001)))
            self.total += 1
            if self.total % self.every == 0:
                now_s = time.process_time()
                self.sizes.append(psutil.Process().memory_info().rss)
                each_ms = 1000 * (now_s - self.cpu_s) / self.every
                self.cpu_s = now_s
                print(f"{self.total:>10,}{self.sizes[-1] / 1e6:>10.0f} MB{each_ms:>10.3f} ms CPU a step")

    def wait(self, timeout_s: float | None) -> list[Ended]:
        """What ended."""
        found, self.ended = self.ended, []
        return found


def memory(count: int) -> bool:
    """Resident size while steps go by; whether it grows by less than 1,000 bytes a step after the first tenth.

    That much is the report on each target, and the digest by which later steps read it.
    """
    width = 500
    print(f"\nmemory: {count:,} steps of no length, {width} wide")
    with tempfile.TemporaryDirectory(prefix="driver-") as name:
        stage = Stage(count // width, width, Path(name) / "store")
        runner = AtOnce(4, max(1, count // 10))
        stage.driver(runner, Deaf()).execute()
        grown = (runner.sizes[-1] - runner.sizes[0]) / (runner.total * 0.9)
        print(f"grown by {grown:.0f} bytes a step")
        stage.ledger.close()
    return grown < 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="steps,slots,memory")
    parser.add_argument("--size", type=int, default=1245)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--slots", type=int, default=100)
    parser.add_argument("--steps", type=int, default=50_000)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    parts = options.parts.split(",")
    is_good = True
    if "steps" in parts:
        steps(options.size, options.workers)
    if "slots" in parts:
        is_good &= slots(options.slots)
    if "memory" in parts:
        is_good &= memory(options.steps)
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
