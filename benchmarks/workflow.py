"""The reference DAG in builder, make, ninja, doit and Snakemake: times and right answers, side by side in one run.

    python benchmarks/workflow.py [--sizes 106,1245,5200] [--tools builder,make,ninja,doit,snakemake] [--repeat 20]
                                  [--peers DIR] [--workers 2] [--only times|answers] [--cold 1] [--json FILE]

Tools are found on the PATH, or in DIR. Each has a folder of its own with the same tasks and sources. Whole-process wall
and CPU seconds, children included: cold; nothing changed (median of `--repeat` rounds in which the tools take turns);
one source changed: what would run (median again), then the rebuild. After each build every output is compared with one
computed anew. Then five questions on right answers, see answers.py. Exits 1 where builder is wrong in any of it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from answers import KILLED, QUESTIONS, Answer, ask, kill_half_way
from peers import TOOLS, Tool, Work, body, command, environment, lay_out, path_of, wrong
from reference_dag import downstream, probe_source

COLD, NOTHING, PREVIEW, PROBE = "cold", "nothing changed", "preview", "rebuild"
SLOW_S = 2.0


@dataclass(frozen=True)
class Cost:
    """What a command took, its children included; `peak_bytes` is that of the largest process."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


Figures = dict[tuple[str, str], list[Cost]]
"""Costs by row of the table (a tool, or a tool and what it was asked) and stage."""


def timed(words: Sequence[str], work: Work, may_fail: bool = False) -> Cost:
    """The cost of one command in the tool's folder.

    Raises
    ------
    SystemExit
        Where it fails, with what it printed.
    """
    with tempfile.TemporaryFile() as printed:
        began = time.perf_counter()
        process = subprocess.Popen(words, cwd=work.folder, env=environment(work), stdout=printed, stderr=printed)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode and not may_fail:
            printed.seek(0)
            raise SystemExit(f"{' '.join(words)}: exit {process.returncode}\n{printed.read().decode()[-2000:]}")
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def measure(works: Mapping[str, Work], repeat: int, cold: int) -> tuple[Figures, dict[str, int]]:
    """The figures of all tools at one size, and how many outputs each had wrong after its builds."""
    figures: Figures = {}
    faults = dict.fromkeys(works, 0)

    def note(row: str, stage: str, cost: Cost) -> None:
        figures.setdefault((row, stage), []).append(cost)

    for name, work in works.items():
        tool = TOOLS[name]
        saved = work.folder.with_name(f"{name}.cold")
        shutil.copytree(work.folder, saved, symlinks=True)
        for again in range(cold):
            if again:
                shutil.rmtree(work.folder)
                shutil.copytree(saved, work.folder, symlinks=True)
            note(name, COLD, timed(command(tool.build, work), work))
        shutil.rmtree(saved)
        faults[name] += wrong(tool, work)
    for _ in range(repeat):
        for name, work in works.items():
            note(name, NOTHING, timed(command(TOOLS[name].build, work), work))
            if name == "builder":
                note("builder status", NOTHING, timed(TOOLS[name].previews["status"], work))
    for work in works.values():
        path = work.folder / path_of(probe_source(work.dag))
        path.write_text(path.read_text() + "36,1.000000,1.000000,1\n")
    for _ in range(min(repeat, 5)):
        for name, work in works.items():
            for what, words in TOOLS[name].previews.items():
                note(f"{name} {what}", PREVIEW, timed(command(words, work), work))
    for name, work in works.items():
        note(name, PROBE, timed(command(TOOLS[name].build, work), work))
        faults[name] += wrong(TOOLS[name], work)
    return figures, faults


def middle(costs: Iterable[Cost]) -> Cost:
    """The medians of some costs, and the largest peak."""
    known = list(costs)
    return Cost(median(c.wall_s for c in known), median(c.cpu_s for c in known), max(c.peak_bytes for c in known))


# -- tables ------------------------------------------------------------------------------------------------------------


def print_times(works: Mapping[str, Work], figures: Figures, faults: Mapping[str, int]) -> None:
    """One table a size: wall (CPU) seconds, and below it builder's wall over each peer's."""
    some = next(iter(works.values()))
    probe = probe_source(some.dag)
    reach = len(downstream(some.dag.tasks, {probe}))
    print(f"\n{len(some.dag.tasks):,} tasks, {len(some.dag.sources)} sources; one source changed: {reach:,} tasks run")
    stages = [COLD, NOTHING, PREVIEW, PROBE]
    head = "wall s (CPU s)"
    print(f"{head:<18}" + "".join(f"{s:>19}" for s in stages) + f"{'wrong':>7}{'peak MB, nothing':>18}")
    for row in dict.fromkeys(row for row, _ in figures):
        cells = [_cell(figures.get((row, stage))) for stage in stages]
        peak = figures.get((row, NOTHING))
        megabytes = f"{middle(peak).peak_bytes / 1e6:>18.0f}" if peak else ""
        print(f"{row:<18}" + "".join(f"{c:>19}" for c in cells) + f"{faults.get(row, ''):>7}{megabytes}")
    for stage, own in ((COLD, "builder"), (NOTHING, "builder"), (NOTHING, "builder status"),
                       (PREVIEW, "builder status"), (PREVIEW, "builder plan"), (PROBE, "builder")):  # fmt: skip
        if (own, stage) in figures:
            mine = middle(figures[own, stage]).wall_s
            rows = [row for row, at in figures if at == stage and not row.startswith("builder")]
            ratios = [f"{mine / middle(figures[row, stage]).wall_s:.3g}× {row}" for row in rows]
            if ratios:
                print(f"  {stage}: {own} takes {', '.join(ratios)}")


def _cell(costs: list[Cost] | None) -> str:
    if not costs:
        return ""
    cost = middle(costs)
    return f"{cost.wall_s:.3f} ({cost.cpu_s:.3f})"


def print_answers(size: int, found: Mapping[str, Mapping[str, Answer]]) -> None:
    """The right-answers table of one size."""
    print(f"\nRight answers, {size:,} tasks")
    for question in (*QUESTIONS, KILLED):
        print(f"{question}")
        for name, answers in found.items():
            print(f"    {name:<12}{answers[question]}")


# -- the run -----------------------------------------------------------------------------------------------------------


def answers_of(tool: Tool, size: int, folder: Path, mix: str, workers: int) -> dict[str, Answer]:
    """A tool's answers at one size; ninja's with outputs left alone that do not change, for which it has ``restat``."""
    settings = {"MIX_KEEP": "1"} if tool.name == "ninja" else {}
    name = tool.name
    found = ask(tool, lay_out(tool, size, folder / name, mix, workers), **settings)
    slow_ms = max(1, round(1000 * SLOW_S * workers / size))
    killed = kill_half_way(tool, lay_out(tool, size, folder / f"{name}.killed", mix, workers), slow_ms)
    for place in (folder / name, folder / f"{name}.killed"):
        shutil.rmtree(place)
    return {**found, KILLED: killed}


def machine(tools: Iterable[Tool]) -> str:
    """The machine and the versions of all that runs."""
    lines = [f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {platform.platform()}"]
    lines.append(f"Python {platform.python_version()}")
    for tool in tools:
        said = subprocess.run(tool.version, capture_output=True, text=True).stdout.strip().splitlines()
        lines.append(f"{tool.name}: {said[0] if said else 'of unknown version'}")
    return " · ".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="106,1245,5200")
    parser.add_argument("--tools", default=",".join(TOOLS))
    parser.add_argument("--repeat", type=int, default=20, help="rounds for what is over at once")
    parser.add_argument("--cold", type=int, default=1, help="cold builds")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--peers", type=Path, help="a folder with tools that are not on the PATH")
    parser.add_argument("--only", choices=["times", "answers"])
    parser.add_argument("--json", type=Path, help="a file for all figures")
    options = parser.parse_args()
    if options.peers:
        os.environ["PATH"] = f"{os.environ['PATH']}{os.pathsep}{options.peers}"
    unknown = set(options.tools.split(",")) - set(TOOLS)
    if unknown:
        parser.error(f"no such tools: {', '.join(sorted(unknown))}")
    tools = [TOOLS[name] for name in options.tools.split(",")]
    print(machine(t for t in tools if t.found()))
    for tool in tools:
        if not tool.found():
            print(f"{tool.name} is not installed: left out")
    sizes = [int(size) for size in options.sizes.split(",")]
    record: dict[str, object] = {}
    is_right = True
    with tempfile.TemporaryDirectory(prefix="workflow-") as name:
        mix = body(Path(name))
        for size in sizes:
            figures, good = one_size([t for t in tools if t.found()], size, Path(name), mix, options)
            record[str(size)] = figures
            is_right = is_right and good
    floor = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(f"\nA peak below {floor:.0f} MB cannot be told: it is this benchmark's own, which every command starts from.")
    if options.json:
        options.json.write_text(json.dumps(record, indent=1))
    sys.exit(0 if is_right else 1)


def one_size(
    tools: Sequence[Tool], size: int, folder: Path, mix: str, options: argparse.Namespace
) -> tuple[dict[str, object], bool]:
    """All figures of one size, printed, and whether builder was right in all."""
    record: dict[str, object] = {}
    is_right = True
    if options.only != "answers":
        works = {t.name: lay_out(t, size, folder / f"{size}" / t.name, mix, options.workers) for t in tools}
        figures, faults = measure(works, options.repeat, options.cold)
        print_times(works, figures, faults)
        record["times"] = {f"{row}: {stage}": [asdict(c) for c in costs] for (row, stage), costs in figures.items()}
        is_right = not faults.get("builder")
        shutil.rmtree(folder / f"{size}")
    if options.only != "times":
        found = {}
        for tool in tools:
            found[tool.name] = answers_of(tool, size, folder / f"{size}.answers", mix, options.workers)
        print_answers(size, found)
        record["answers"] = {n: {q: str(a) for q, a in answers.items()} for n, answers in found.items()}
        is_right = is_right and all(a.is_right for a in found.get("builder", {}).values())
    return record, is_right


if __name__ == "__main__":
    main()
