"""Each public transform has a home, and a version that enters the fingerprint of what reaches it."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from builder import transforms
from builder.transforms.versions import USES, VERSIONS, versions_of

ROOM = Path(importlib.util.find_spec("builder.transforms").origin).parent


def test_every_public_transform_has_a_home_and_a_version() -> None:
    assert sorted(transforms._HOMES) == transforms.__all__ == sorted(VERSIONS)
    assert all(isinstance(version, int) and version >= 1 for version in VERSIONS.values())


@pytest.mark.parametrize("name", sorted(VERSIONS))
def test_a_transform_has_the_name_that_its_version_is_found_by(name) -> None:
    value = getattr(transforms, name)
    assert (value.__name__, value.__module__) == (name, transforms._HOMES[name])
    assert getattr(importlib.import_module(transforms._HOMES[name]), name) is value


def test_no_module_has_the_name_of_a_transform() -> None:
    assert {file.stem for file in ROOM.glob("*.py")} & set(transforms.__all__) == set()  # its import would hide that


def imported(module: str) -> set[str]:
    """The names that a module imports from other modules of the room, as ``module.name``."""
    tree = ast.parse((ROOM / f"{module}.py").read_text("utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("builder.transforms"):
            inner = (node.module or "").removeprefix("builder.transforms").removeprefix(".")
            found |= {f"{inner}.{a.name}" if inner else a.name for a in node.names}
    return found


def made_of(name: str) -> set[str]:
    """The other public transforms that the modules behind a transform import, at any depth."""
    todo, seen, found = [transforms._HOMES[name].rpartition(".")[2]], set(), set()
    while todo:
        module = todo.pop()
        if module in seen:
            continue
        seen.add(module)
        for path in imported(module):
            inner, _, last = path.rpartition(".")
            if last in VERSIONS and transforms._HOMES[last] == f"builder.transforms.{inner}":
                found.add(last)
            elif inner and inner != "versions":
                todo.append(inner)
            elif (ROOM / f"{last}.py").exists():
                todo.append(last)
    return found - {name}


@pytest.mark.parametrize("name", sorted(VERSIONS))
def test_what_a_transform_is_made_of_is_known(name) -> None:
    assert made_of(name) <= {v.partition("@")[0] for v in versions_of([name])}


def test_nothing_is_said_to_be_made_of_what_it_does_not_import() -> None:
    assert {(n, o) for n, others in USES.items() for o in others if o not in made_of(n)} == set()


def test_the_versions_are_known_without_a_heavy_library() -> None:
    code = (
        "import sys; from builder import transforms; import builder.transforms.versions;"
        "print(*{'numpy', 'pandas', 'shapely', 'numba', 'geopandas', 'pyarrow', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOM.parents[1])
    assert done.stdout.split() == []
