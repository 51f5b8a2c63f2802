"""The reference DAG as a builder project: a seeded, layered graph of tasks that each write a checksum per input.

    python benchmarks/reference_dag.py SIZE DIR [SEED]

SIZE is 106, 1245 or 5200 in the project's tables; any works. The same size and seed give the same graph everywhere:
dependencies per task are log-normal (median 4, at most 50), mostly on the layer before, near in a position of their
own, so that a changed source reaches a part of the graph only. Task types are uneven in size as well.
"""

from __future__ import annotations

import json
import random
import sys
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from statistics import mean, median

LAYERS = 12
SEED = 7
MOST_NEEDS = 50
SOURCES = {106: 20, 1245: 100, 5200: 500}

Place = tuple[float, str]
"""A position in [0, 1) and the source or target that lies there."""

RECIPES = '''\
"""One recipe per type of task, made in a loop from dag.json; each writes a checksum per input."""

import json
import os
import time
import zlib
from pathlib import Path

import builder as b

DAG = json.loads((Path(__file__).parent.parent / "dag.json").read_text())
SALT = 0


def checksum(value):
    """The CRC of a text without its comment lines; a source arrives as its files."""
    content = value if isinstance(value, bytes) else b"".join(path.read_bytes() for path in value.values())
    if b"#" in content:
        content = b"".join(line for line in content.splitlines(True) if not line.startswith(b"#"))
    return zlib.crc32(content)


def declare(kind, needs):
    """Declare one type with its tasks and what each of them reads."""

    @b.recipe(name=kind, each=[{"task": task} for task in needs], inputs=lambda task: {"read": needs[task]})
    def task_text(read, task) -> bytes:
        time.sleep(float(os.environ.get("REFERENCE_DAG_SLEEP_S", 0)))
        lines = [f"{checksum(value):08x} {name}\\n" for name, value in read.items()]
        return f"{task} {kind} {SALT}\\n{''.join(lines)}END\\n".encode()


for name in DAG["sources"]:
    b.source(name, f"data/{name}.csv", format="file")
for kind, needs in DAG["kinds"].items():
    declare(kind, needs)
'''


@dataclass
class Task:
    """One task: its name, its type, its layer, and the sources and targets it reads."""

    name: str
    kind: str
    layer: int
    needs: list[str]

    @property
    def target(self) -> str:
        """What builder calls its output."""
        return f"{self.kind}[task={self.name}]"


@dataclass(frozen=True)
class Dag:
    """Sources, tasks in topological order, and figures about them."""

    sources: list[str]
    tasks: list[Task]
    figures: dict[str, float] = field(default_factory=dict)


def make_dag(size: int, seed: int = SEED) -> Dag:
    """The seeded graph of `size` tasks."""
    chance = random.Random(f"{size}/{seed}")
    count = SOURCES.get(size, max(5, size // 10))
    sources: list[Place] = [((i + 0.5) / count, f"s{i:03d}") for i in range(count)]
    types = 100 if size >= 1000 else 40
    weights = [chance.lognormvariate(0, 0.8) for _ in range(types)]
    kinds = sorted([*range(types), *chance.choices(range(types), weights=weights, k=size - types)])
    layers: list[list[Place]] = [[] for _ in range(LAYERS)]
    tasks: list[Task] = []
    for number, kind in enumerate(kinds):
        layer = kind * LAYERS // types
        position = chance.random()
        needs = _needs(chance, layer, position, sources, layers)
        task = Task(f"t{number:04d}", f"ty{kind:02d}", layer, sorted(needs, key=_order))
        tasks.append(task)
        layers[layer].append((position, task.target))
        if number + 1 == size or kinds[number + 1] * LAYERS // types != layer:
            layers[layer].sort(key=_by_position)
    _read_every_source(sources, tasks)
    return Dag([name for _, name in sources], tasks, _figures([name for _, name in sources], tasks))


def _needs(
    chance: random.Random, layer: int, position: float, sources: Sequence[Place], layers: Sequence[Sequence[Place]]
) -> set[str]:
    """What a task at this position reads: some sources, most of the layer before, the rest from anywhere before."""
    wanted = max(1, min(MOST_NEEDS, round(chance.lognormvariate(1.42, 0.88))))

    def near(pool: Sequence[Place], count: int) -> list[str]:
        middle = bisect_left(pool, (position,))
        window = pool[max(0, middle - count - 1) : middle + count + 1]
        return [name for _, name in chance.sample(window, min(count, len(window)))]

    needs: set[str] = set()
    if layer == 0:
        needs |= set(near(sources, min(wanted, 4)))
    else:
        from_sources = sum(chance.random() < 0.05 for _ in range(wanted))
        needs |= set(near(sources, from_sources)) if from_sources else set()
        from_before = sum(chance.random() < 0.7 for _ in range(wanted - from_sources))
        needs |= set(near(layers[layer - 1], from_before)) if from_before else set()
        rest = wanted - len(needs)
        if rest > 0:
            before = chain.from_iterable(layers[:layer]) if layer < 3 else layers[chance.randrange(layer)]
            needs |= set(near(sorted(before, key=_by_position), rest))
    return needs or set(near(sources, 1))


def _by_position(place: Place) -> tuple[float, tuple[bool, str]]:
    return place[0], _order(place[1])


def _order(name: str) -> tuple[bool, str]:
    """Targets before sources, each by name."""
    return "[" not in name, name


def _read_every_source(sources: Sequence[Place], tasks: Sequence[Task]) -> None:
    """Let a task of the first layer read each source that no task reads."""
    used = {name for task in tasks for name in task.needs}
    first = [task for task in tasks if task.layer == 0]
    for position, name in sources:
        if name not in used:
            task = first[int(position * len(first))]
            task.needs = sorted([*task.needs, name], key=_order)


def downstream(tasks: Iterable[Task], changed: Iterable[str]) -> set[str]:
    """Names of the tasks that need one of the changed sources or targets, directly or not."""
    hot = set(changed)
    found = set()
    for task in tasks:
        if not hot.isdisjoint(task.needs):
            hot.add(task.target)
            found.add(task.name)
    return found


def _figures(sources: Sequence[str], tasks: Sequence[Task]) -> dict[str, float]:
    """Counts that two writers of this graph can compare."""
    counts = [len(task.needs) for task in tasks]
    reach = sorted((len(downstream(tasks, {name})), name) for name in sources)
    return {
        "tasks": len(tasks),
        "types": len({task.kind for task in tasks}),
        "sources": len(sources),
        "edges": sum(counts),
        "deps_mean": round(mean(counts), 2),
        "deps_median": median(counts),
        "deps_max": max(counts),
        "downstream_min": reach[0][0],
        "downstream_median": reach[len(reach) // 2][0],
        "downstream_max": reach[-1][0],
    }


def probe_source(dag: Dag) -> str:
    """The source whose change reaches the median number of tasks: the one to touch in a benchmark."""
    reach = {name: len(downstream(dag.tasks, {name})) for name in dag.sources}
    return sorted(reach, key=lambda name: reach[name])[len(reach) // 2]


def write_project(dag: Dag, folder: Path, seed: int = SEED) -> Path:
    """The folder, after a project of this graph was written there, with 1 KB per source."""
    chance = random.Random(seed)
    kinds: dict[str, dict[str, list[str]]] = {}
    for task in dag.tasks:
        kinds.setdefault(task.kind, {})[task.name] = task.needs
    for name in ("recipes", "data"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "builder.toml").write_text('name = "reference"\nenvironment = ["python"]\n')
    (folder / "recipes" / "tasks.py").write_text(RECIPES)
    (folder / "dag.json").write_text(json.dumps({"sources": dag.sources, "kinds": kinds}))
    for name in dag.sources:
        rows = (
            f"{i},{chance.uniform(-90, 90):.6f},{chance.uniform(-180, 180):.6f},{chance.randrange(1000)}\n"
            for i in range(36)
        )
        (folder / "data" / f"{name}.csv").write_text("# note 0\nid,x,y,v\n" + "".join(rows))
    return folder


def main(arguments: Sequence[str]) -> None:
    size, folder = int(arguments[0]), Path(arguments[1])
    seed = int(arguments[2]) if len(arguments) > 2 else SEED
    dag = make_dag(size, seed)
    write_project(dag, folder, seed)
    print(json.dumps({**dag.figures, "probe_source": probe_source(dag)}))


if __name__ == "__main__":
    main(sys.argv[1:])
