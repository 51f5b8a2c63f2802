"""The reference DAG as each tool wants it written: make, ninja, doit, Snakemake, and builder beside them.

Decides what the build files say and which commands build and preview; `workflow` and `answers` run them. Every tool
gets the same tasks (mix.c, mix.py), sources and places of outputs: ``out/KIND/TASK.txt``. Builder keeps its
outputs in its store and is asked for them through its own API.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reference_dag import Dag, Task, make_dag

HERE = Path(__file__).resolve().parent
ROWS = 36


@dataclass(frozen=True)
class Knobs:
    """What a test turns: the text of the code and the parameter of some types; the others have "A" and 1."""

    salts: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, int] = field(default_factory=dict)

    def salt(self, kind: str) -> str:
        """The text in the code of a type."""
        return self.salts.get(kind, "A")

    def param(self, kind: str) -> int:
        """The parameter of a type."""
        return self.params.get(kind, 1)


@dataclass(frozen=True)
class Work:
    """The DAG with its settings in one folder."""

    dag: Dag
    folder: Path
    mix: str
    workers: int
    knobs: Knobs = Knobs()

    @property
    def kinds(self) -> dict[str, list[Task]]:
        """The tasks of each type."""
        found: dict[str, list[Task]] = {}
        for task in self.dag.tasks:
            found.setdefault(task.kind, []).append(task)
        return found


def path_of(name: str) -> str:
    """Where a source or target lies in every tool's folder."""
    kind, is_target, rest = name.partition("[task=")
    return f"out/{kind}/{rest[:-1]}.txt" if is_target else f"src/{name}.csv"


def out_of(task: Task) -> str:
    """Where a task's output lies."""
    return path_of(task.target)


def reads_of(task: Task) -> list[str]:
    """Where a task's inputs lie."""
    return [path_of(name) for name in task.needs]


# -- what each tool is given -------------------------------------------------------------------------------------------


def for_make(work: Work) -> dict[str, str]:
    """A Makefile with one rule per output and a variable per parameter."""
    settings = "".join(f"P_{kind} = {work.knobs.param(kind)}\n" for kind in work.kinds)
    rules = "".join(
        f"{out_of(t)}: {' '.join(reads_of(t))}\n"
        f"\t{work.mix} $@ {t.name} {t.kind} {work.knobs.salt(t.kind)} $(P_{t.kind}) $^\n"
        for t in work.dag.tasks
    )
    return {"Makefile": f"all: {' '.join(map(out_of, work.dag.tasks))}\n{settings}{rules}"}


def for_ninja(work: Work) -> dict[str, str]:
    """A build.ninja with a rule per type; ``restat`` as an expert writes it."""
    rules = "".join(
        f"p_{kind} = {work.knobs.param(kind)}\nrule {kind}\n"
        f"  command = {work.mix} $out $id {kind} {work.knobs.salt(kind)} $p_{kind} $in\n  restat = 1\n"
        for kind in work.kinds
    )
    builds = "".join(f"build {out_of(t)}: {t.kind} {' '.join(reads_of(t))}\n  id = {t.name}\n" for t in work.dag.tasks)
    return {"build.ninja": f"{rules}{builds}build all: phony {' '.join(map(out_of, work.dag.tasks))}\ndefault all\n"}


def for_snakemake(work: Work) -> dict[str, str]:
    """A Snakefile with a rule per type and parameters in its configuration."""
    head = (
        "import json\nconfigfile: 'config.json'\nTASKS = json.load(open('dag.json'))\n"
        "READS = {task: reads for task, _, _, reads in TASKS}\n"
        "rule all:\n  input: [out for _, _, out, _ in TASKS]\n"
    )
    rules = "".join(
        f"rule {kind}:\n  input: lambda w: READS[w.task]\n  output: 'out/{kind}/{{task}}.txt'\n"
        f"  params: p=config['p']['{kind}']\n  shell: '{work.mix} {{output}} {{wildcards.task}} {kind} "
        f"{work.knobs.salt(kind)} {{params.p}} {{input}}'\n"
        for kind in work.kinds
    )
    settings = {"p": {kind: work.knobs.param(kind) for kind in work.kinds}}
    return {"Snakefile": head + rules, "config.json": json.dumps(settings), "dag.json": _tasks_json(work)}


def for_doit(work: Work) -> dict[str, str]:
    """A dodo.py with a function per type, whose parameter is declared with ``config_changed``."""
    head = (
        "import json\nfrom doit.tools import config_changed\nfrom mix import mix\n"
        "BY_KIND = {}\nfor task in json.load(open('dag.json')):\n    BY_KIND.setdefault(task[1], []).append(task)\n"
    )
    kinds = "".join(
        f"def do_{kind}(out, task, param, reads):\n"
        f"    mix(out, task, '{kind}', '{work.knobs.salt(kind)}', param, reads)\n"
        f"def task_{kind}():\n    for task, _, out, reads in BY_KIND['{kind}']:\n"
        f"        yield dict(name=task, file_dep=reads, targets=[out], uptodate=[config_changed({{'p': {param}}})],\n"
        f"                   actions=[(do_{kind}, [out, task, {param}, reads])])\n"
        for kind, param in ((kind, work.knobs.param(kind)) for kind in work.kinds)
    )
    return {"dodo.py": head + kinds, "mix.py": (HERE / "mix.py").read_text(), "dag.json": _tasks_json(work)}


def for_builder(work: Work) -> dict[str, str]:
    """A project with a recipe per type, whose parameter is the default of an argument."""
    head = (
        "import json\nfrom pathlib import Path\nimport builder as b\nfrom .mix import mixed, note, wait\n"
        "DAG = json.loads((Path(__file__).parent.parent / 'dag.json').read_text())\n"
        "for name in DAG['sources']:\n    b.source(name, f'src/{name}.csv', format='file')\n"
        "def path_of(name):\n    kind, is_target, rest = name.partition('[task=')\n"
        "    return f'out/{kind}/{rest[:-1]}.txt' if is_target else f'src/{name}.csv'\n"
        "def content(value):\n"
        "    return value if isinstance(value, bytes) else b''.join(p.read_bytes() for p in value.values())\n"
        "def run(read, task, kind, salt, param):\n    note('B', task)\n"
        "    text = mixed(task, kind, salt, param, {path_of(name): content(value) for name, value in read.items()})\n"
        "    wait()\n    note('E', task)\n    return text.encode()\n"
    )
    kinds = "".join(
        f"NEEDS_{kind} = DAG['kinds']['{kind}']\n"
        f"@b.recipe(each=[{{'task': t}} for t in NEEDS_{kind}], inputs=lambda task: {{'read': NEEDS_{kind}[task]}})\n"
        f"def {kind}(read, task, param={work.knobs.param(kind)}) -> bytes:\n"
        f"    return run(read, task, '{kind}', '{work.knobs.salt(kind)}', param)\n"
        for kind in work.kinds
    )
    needs = {kind: {task.name: task.needs for task in tasks} for kind, tasks in work.kinds.items()}
    return {
        "builder.toml": 'name = "reference"\nenvironment = ["python"]\n',
        "dag.json": json.dumps({"sources": work.dag.sources, "kinds": needs}),
        "recipes/mix.py": (HERE / "mix.py").read_text(),
        "recipes/tasks.py": head + kinds,
    }


def _tasks_json(work: Work) -> str:
    return json.dumps([[t.name, t.kind, out_of(t), reads_of(t)] for t in work.dag.tasks])


# -- the tools ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tool:
    """A tool: what it is given, how it builds, and how it says what a build would do."""

    name: str
    files: Callable[[Work], dict[str, str]]
    build: tuple[str, ...]
    previews: Mapping[str, tuple[str, ...]]
    version: tuple[str, ...]

    def found(self) -> bool:
        """Whether the tool is on the PATH."""
        return shutil.which(self.build[0]) is not None


BUILDER = (sys.executable, "-m", "builder")
TOOLS = {
    tool.name: tool
    for tool in (
        Tool(
            "builder",
            for_builder,
            (*BUILDER, "rebuild", "-j", "{workers}"),
            {"status": (*BUILDER, "status"), "plan": (*BUILDER, "plan")},
            (*BUILDER, "--version"),
        ),
        Tool("make", for_make, ("make", "-j{workers}"), {"-n": ("make", "-n")}, ("make", "--version")),
        Tool("ninja", for_ninja, ("ninja", "-j{workers}"), {"-n": ("ninja", "-n")}, ("ninja", "--version")),
        Tool(
            "doit",
            for_doit,
            ("doit", "-n", "{workers}"),
            {"list -s": ("doit", "list", "--all", "--status")},
            ("doit", "--version"),
        ),
        Tool(
            "snakemake",
            for_snakemake,
            ("snakemake", "-j{workers}"),
            {"-n": ("snakemake", "-n")},
            ("snakemake", "--version"),
        ),
    )
}


def body(folder: Path) -> str:
    """The command that does a task: mix.c where there is a C compiler, else mix.py."""
    if shutil.which("gcc"):
        target = folder / "mix"
        subprocess.run(["gcc", "-O2", "-static", "-o", target, HERE / "mix.c"], check=True)
        return str(target)
    return f"{sys.executable} {HERE / 'mix.py'}"


def lay_out(tool: Tool, size: int, folder: Path, mix: str, workers: int) -> Work:
    """The DAG of this size in a folder, with its sources and the tool's build files."""
    work = Work(make_dag(size), folder, mix, workers)
    chance = random.Random(size)
    for name in work.dag.sources:
        rows = (
            f"{i},{chance.uniform(-90, 90):.6f},{chance.uniform(-180, 180):.6f},{chance.randrange(1000)}\n"
            for i in range(ROWS)
        )
        put(folder / path_of(name), "# note 0\nid,x,y,v\n" + "".join(rows))
    write_files(tool, work)
    return work


def write_files(tool: Tool, work: Work) -> None:
    """Write a tool's build files; what did not change is left alone, as an editor leaves it."""
    for kind in work.kinds if tool.name != "builder" else ():
        (work.folder / "out" / kind).mkdir(parents=True, exist_ok=True)
    for name, text in tool.files(work).items():
        put(work.folder / name, text)


def put(path: Path, text: str) -> None:
    """Write a file unless it holds just this."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


# -- what must come out ------------------------------------------------------------------------------------------------


def expected(work: Work) -> dict[str, str]:
    """Every output as it must be, by task, computed anew from the sources that lie in the folder."""
    texts = {path_of(name): (work.folder / path_of(name)).read_text() for name in work.dag.sources}
    crcs = {path: _crc(text) for path, text in texts.items()}
    found = {}
    for task in work.dag.tasks:
        lines = "".join(f"{crcs[path]:08x} {path}\n" for path in reads_of(task))
        settings = f"{work.knobs.salt(task.kind)} {work.knobs.param(task.kind)}"
        found[task.name] = f"{task.name} {task.kind} {settings}\n{lines}END\n"
        crcs[out_of(task)] = _crc(found[task.name])
    return found


def _crc(text: str) -> int:
    return zlib.crc32("".join(line for line in text.splitlines(True) if line[0] != "#").encode())


READ_BACK = """
import json, sys
import builder
project, found = builder.open(sys.argv[1]), {}
for kind in json.load(sys.stdin):
    try:
        found |= {name.partition("task=")[2][:-1]: value.decode() for name, value in project.load(kind + "[*]").items()}
    except builder.BuilderError:
        pass
print(json.dumps(found))
"""


def outputs(tool: Tool, work: Work) -> dict[str, str]:
    """Every output as the tool has it now, by task; missing ones are left out."""
    if tool.name == "builder":
        words = [sys.executable, "-c", READ_BACK, str(work.folder)]
        kinds = json.dumps(list(work.kinds))
        done = subprocess.run(words, input=kinds, capture_output=True, text=True, check=True)
        return dict(json.loads(done.stdout))
    paths = {task.name: work.folder / out_of(task) for task in work.dag.tasks}
    return {name: path.read_text() for name, path in paths.items() if path.exists()}


def wrong(tool: Tool, work: Work) -> int:
    """How many outputs are not what they must be."""
    found = outputs(tool, work)
    return sum(found.get(name) != text for name, text in expected(work).items())


def environment(work: Work, **settings: str) -> dict[str, str]:
    """The environment of a command: nothing of this one's settings, caches beside the folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MIX_")}
    return {**kept, "XDG_CACHE_HOME": str(work.folder.parent / "cache"), **settings}


def command(words: tuple[str, ...], work: Work) -> list[str]:
    """A command's words with the number of workers filled in."""
    return [word.replace("{workers}", str(work.workers)) for word in words]
