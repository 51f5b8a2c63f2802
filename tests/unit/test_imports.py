"""The imports of the package, walked in the syntax trees: they point down, run in no circle, and stay light."""

import ast
import importlib.util
import os
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(importlib.util.find_spec("builder").origin).parent

ROOMS = {  # room -> its floor; a module imports its own room and rooms on lower floors
    "errors": 0, "nouns": 0, "lazy": 0, "digests": 0, "names": 0, "sizes": 0, "version": 0, "tables.schema": 0,
    "store.manifest": 0,
    "formats.kinds": 0, "execute.spec": 0, "sources": 0, "quick": 0,
    "processes": 0,
    "graph": 1, "config": 1, "scaffold": 1, "transforms": 1,
    "situation": 2,
    "plan": 3,
    "compile": 4,
    "store": 5, "tables": 6,
    "authoring": 7, "formats": 7,
    "sense": 8,
    "execute": 9,
    "report": 10,
    "project": 11, "building": 11, "reading": 11, "upkeep": 11,
    "commands": 12, "cli": 12, "__main__": 13, "": 13,
}  # fmt: skip
ONE_ROOM = {0, 11, 12}  # floors whose rooms know each other: the nouns; the project and its verbs; the command line
ON_DEMAND = {  # what a function imports from above, only when it is called
    "execute.report": {"report.text", "report.html"},  # the views of a run
    "store.fsck": {"sense.hashing", "tables.check"},  # reading what the ledger says is there
    "store.parts": {"sense.hashing"},  # reading a file whole, to compare it with its digest
    "quick": {"commands", "cli"},  # the command itself, where no seal answers
    "store.gc": {"sense.cache"},  # which bundle the cached graph is of
    "store.publish": {"tables.merge"},  # several parts become one plain file
}

LIGHT = ("", "errors", "nouns", "lazy", "digests", "names", "sizes", "config", "graph", "authoring", "sense",
         "plan", "store", "report", "situation", "scaffold", "project", "building", "reading", "upkeep",
         "commands", "cli", "quick", "execute.driver", "execute.spec", "tables.schema", "formats.kinds",
         "sources", "transforms.versions")  # fmt: skip

HEAVY = {"pandas", "pyarrow", "numpy", "numba", "geopandas", "shapely", "pyogrio", "pyproj", "dask", "distributed",
         "matplotlib"}  # fmt: skip


class Imports(ast.NodeVisitor):
    """The absolute names that a module imports: at its top level, and inside of functions."""

    def __init__(self, tree: ast.Module) -> None:
        self.top: set[str] = set()
        self.inner: set[str] = set()
        self._found = self.top
        self.relative = False
        self.visit(tree)

    def visit_Import(self, node):
        self._found.update(alias.name for alias in node.names)

    def visit_ImportFrom(self, node):
        self.relative |= node.level > 0
        self._found.update(f"{node.module}.{alias.name}" for alias in node.names)

    def visit_FunctionDef(self, node):
        outside, self._found = self._found, self.inner
        self.generic_visit(node)
        self._found = outside

    visit_AsyncFunctionDef = visit_Lambda = visit_FunctionDef  # noqa: N815

    def visit_If(self, node):
        is_for_types_only = "TYPE_CHECKING" in ast.unparse(node.test)
        for child in node.orelse if is_for_types_only else [*node.body, *node.orelse]:
            self.visit(child)


def name_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def module_of(imported: str) -> str | None:
    """The module of the package behind an imported name; None for what is not ours."""
    if imported.split(".")[0] != "builder":
        return None
    name = imported.removeprefix("builder").removeprefix(".")
    return name if name in MODULES else name.rpartition(".")[0]


def room_of(module: str) -> str:
    """The most particular room that holds the module."""
    while module not in ROOMS and module:
        module = module.rpartition(".")[0]
    return module


FILES = {name_of(f): f for f in sorted(PACKAGE.rglob("*.py")) if "_examples" not in f.parts}
MODULES = {name: Imports(ast.parse(file.read_text("utf-8"))) for name, file in FILES.items()}
INNER = {n: {m for i in found.top | found.inner if (m := module_of(i)) is not None} for n, found in MODULES.items()}
TOP = {n: {m for i in found.top if (m := module_of(i)) is not None} for n, found in MODULES.items()}


def packages_above(module: str) -> set[str]:
    parts = module.split(".")
    return {".".join(parts[:n]) for n in range(len(parts))}


def test_every_module_lives_in_a_room():
    assert [n for n in MODULES if n and room_of(n) == ""] == []


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_down(module):
    room = room_of(module)
    floor = ROOMS[room]
    others = {other: room_of(other) for other in INNER[module]}
    upward = {
        other
        for other, there in others.items()
        if there != room and (ROOMS[there] > floor or (ROOMS[there] == floor and floor not in ONE_ROOM))
    }
    assert upward <= ON_DEMAND.get(module, set()) - TOP[module]


def test_no_module_imports_in_a_circle():
    order = TopologicalSorter({m: TOP[m] - {m, ""} for m in MODULES})
    assert len(list(order.static_order())) >= len(MODULES)


def test_nobody_inside_imports_through_the_package_root():
    through_root = [n for n in MODULES if n and "" in INNER[n]]
    assert through_root == []


def test_imports_are_absolute():
    assert [n for n, found in MODULES.items() if found.relative] == []


def test_transforms_import_no_build_code():
    for module in (m for m in MODULES if m.split(".")[0] == "transforms"):
        assert {o for o in INNER[module] if o.split(".")[0] not in ("errors", "transforms")} == set()


def is_light(module: str) -> bool:
    return any(module == light or (light and module.startswith(light + ".")) for light in LIGHT)


@pytest.mark.parametrize("module", sorted(filter(is_light, MODULES)))
def test_light_modules_reach_no_heavy_library(module):
    todo, seen = [module], set()
    while todo:
        current = todo.pop()
        seen.add(current)
        heavy = {i.split(".")[0] for i in MODULES[current].top} & HEAVY
        assert not heavy, f"{module} reaches {heavy} through {current}"
        todo += [m for m in {*TOP[current], *packages_above(current)} if m in MODULES and m not in seen]


@pytest.mark.parametrize("module", ["builder", "builder.cli", "builder.project"])
def test_importing_the_package_loads_no_heavy_library(module):
    code = f"import sys, {module}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert result.stdout.split() == []
