"""What it costs to bring a build up to date, by the record: each part is a module of its own beside this one.

    python benchmarks/increments.py PART … [--rows 5000000] [--dir FOLDER] [--repeat 3]

``intake``: a changed CSV of 20 columns, against plain pyarrow reading it and writing Parquet.
``rows``, ``counters``, ``regions``: five recipes row by row; 200,000 and more counters; points in 30,000 regions: the
steps brought up to date against a build from nothing. ``choice``: changes of steps of every rule, and whether the way
that each went was the cheaper one. ``example``: the shipped example at a hundred times its points (``--times``), from
nothing, against a plain script of the same functions, what is published counted and not. ``large``: what a worker holds
at most while four times as many rows go through. ``days``: what a store grows by in twenty days (``--days``), and
reading a table then. ``real``: real releases of the example's sources, one after the other.

Data is seeded. Every contender runs in processes of its own, alternating, and counts with the least CPU time of its
runs; what of it counts, each part says. Each result is compared with a full build's, digest for digest. Exits 1 where a
figure is over what it may be.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

PARTS = {
    "intake": "increments_intake",
    "rows": "increments_steps",
    "counters": "increments_steps",
    "regions": "increments_steps",
    "choice": "increments_choice",
    "example": "increments_example",
    "large": "increments_large",
    "days": "increments_days",
    "real": "increments_real",
}


FORKS = get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "geopandas",
        "builder.project",
        "builder.execute.driver",
        "builder.execute.inline",
        "builder.execute.own",
        "builder.execute.spatial",
        "builder.formats.byrow",
        "builder.formats.updates",
        "builder.formats.intake",
        "builder.formats.linekernels",
        "builder.tables.kernels",
        "builder.tables.search",
        "builder.transforms.count",
        "builder.transforms.region_index",
    ]
)


@dataclass(frozen=True)
class Line:
    """One figure: what it is, its value, and what it may be at most."""

    label: str
    value: float
    limit: float
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether the value is no more than it may be."""
        return self.value <= self.limit


def measure(script: str, contender: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What a contender of a part's script took in a process of its own, and what it says of its result."""
    command = [sys.executable, script, contender, json.dumps({k: str(v) for k, v in arguments.items()})]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{contender} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def as_contender(contenders: Mapping[str, Callable[..., dict[str, Any] | None]]) -> None:
    """Run the contender that the command line names; prints its cost and its result."""
    print(json.dumps(costed(contenders[sys.argv[1]], json.loads(sys.argv[2]))))


def forked(function: Callable[..., dict[str, Any] | None], **arguments: Any) -> dict[str, Any]:
    """As `measure`, in a process that begins with all imports made: for what counts the CPU of steps alone."""
    with ProcessPoolExecutor(1, mp_context=FORKS) as pool:
        return pool.submit(costed, function, arguments).result()


def costed(function: Callable[..., dict[str, Any] | None], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What a function took, called as the only one of this process, and what it says of its result."""
    started = time.perf_counter()
    said = function(**arguments) or {}
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cost = {
        "cpu_s": sum(u.ru_utime + u.ru_stime for u in usages),
        "wall_s": time.perf_counter() - started,
        "peak_bytes": max(u.ru_maxrss for u in usages) * 1024,
    }
    return cost | said


def alternating(
    runs: Mapping[str, Callable[[], dict[str, Any]]], repeat: int, by: str = "cpu_s"
) -> dict[str, dict[str, Any]]:
    """The cheapest of several runs of each, made in turn, so that a busy machine is busy for all."""
    best: dict[str, dict[str, Any]] = {}
    for _ in range(repeat):
        for name, run in runs.items():
            found = run()
            assert name not in best or found.get("digests") == best[name].get("digests"), f"{name}: other digests now"
            if name not in best or found[by] < best[name][by]:
                best[name] = found
    return best


def show(title: str, costs: Mapping[str, Mapping[str, Any]], lines: Sequence[Line]) -> bool:
    """Print what a part found; whether all of it holds."""
    print(f"\n{title}")
    if costs:
        print(f"{'':<38}{'wall s':>8}{'CPU s':>8}{'peak MB':>9}")
    for name, cost in costs.items():
        print(f"{name:<38}{cost['wall_s']:>8.2f}{cost['cpu_s']:>8.2f}{cost['peak_bytes'] / 1e6:>9.0f}")
    for line in lines:
        verdict = "holds" if line.holds else "DOES NOT HOLD"
        print(f"{line.label:<56}{line.value:>7.3f} at most {line.limit:<6g}{verdict}  {line.note}", flush=True)
    return all(line.holds for line in lines)


def main() -> None:
    """Parse the command line and run the parts; exits 1 where a figure does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--dir", type=Path, default=None, help="where the files go; a temporary folder if not given")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--days", type=int, default=20, help="how many days the source changes")
    parser.add_argument("--times", type=int, default=100, help="how many times the points of the example")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}")
    all_hold = True
    for name in options.parts or PARTS:
        module = importlib.import_module(PARTS[name])
        with tempfile.TemporaryDirectory(dir=options.dir) as folder:
            run = module.RUNS[name] if hasattr(module, "RUNS") else module.run
            all_hold &= show(*run(Path(folder), options))
    sys.exit(0 if all_hold else 1)


if __name__ == "__main__":
    main()
