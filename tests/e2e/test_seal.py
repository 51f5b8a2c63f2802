"""A sealed look: answered at once while nothing moved, never once something did."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import builder
from builder import quick
from builder.sense import tokens

RECIPES = """
import os
from pathlib import Path
import builder as b
import pandas as pd

HERE = Path(__file__).parent
LIMIT = int((HERE / "limit.txt").read_text())
NAMES = sorted(os.listdir(HERE.parent / "listed"))

b.source("orders", "data/orders.csv", key="id")
b.source("shops[state={state}]", "shops/{state}.csv", key="id")
b.source("notes", "notes", format="file")

@b.recipe(key="id")
def large(orders: pd.DataFrame):
    return orders[orders["amount"] > LIMIT]

@b.recipe(each="shops", inputs={"shops": "shops[state={state}]"}, key="id")
def clean(shops: pd.DataFrame, state):
    return shops

@b.recipe
def names(notes: b.Files):
    return sorted(notes)
"""


@pytest.fixture
def sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that is built and sealed; files count as settled at once."""
    monkeypatch.setattr(tokens, "SETTLE_NS", 0)
    files = {
        "builder.toml": 'name = "sealed"\ndepends = ["meta/*.yaml"]\n',
        "recipes/all.py": RECIPES,
        "recipes/limit.txt": "5",
        "listed/one": "",
        "meta/a.yaml": "a: 1",
        "data/orders.csv": "id,amount\n1,10\n2,3\n",
        "shops/CA.csv": "id,x\n1,1\n",
        "notes/a.txt": "a",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "notes" / "later.txt").symlink_to(tmp_path / "elsewhere.txt")
    project = builder.open(tmp_path)
    assert project.rebuild(inline=True).outcome == "built"
    assert answer(tmp_path) is None
    assert project.status().is_fresh
    assert answer(tmp_path) is not None
    return tmp_path


def answer(root: Path, *words: str) -> str | None:
    return quick.answer([*(words or ("status",)), "-C", str(root)], 0.0)


def test_a_sealed_look_says_what_a_look_says(sealed: Path) -> None:
    said = answer(sealed)
    assert said is not None
    assert said.split(", looked")[0] == str(builder.open(sealed).status()).split(", looked")[0]
    nothing = answer(sealed, "rebuild")
    assert nothing is not None and nothing.startswith("sealed · nothing to do: 3 targets fresh · ")


def write(path: str, text: str) -> Callable[[Path], object]:
    return lambda root: (root / path).write_text(text)


EDITS: dict[str, Callable[[Path], object]] = {
    "a source's content": write("data/orders.csv", "id,amount\n1,10\n2,30\n"),
    "a source of the same size": write("data/orders.csv", "id,amount\n1,10\n2,9\n"),
    "a touched source": lambda root: os.utime(root / "data/orders.csv"),
    "a deleted source": lambda root: (root / "data/orders.csv").unlink(),
    "a new member": write("shops/WA.csv", "id,x\n1,1\n"),
    "a deleted member": lambda root: (root / "shops/CA.csv").unlink(),
    "a file in a source's folder": write("notes/b.txt", "b"),
    "a link that comes alive": write("elsewhere.txt", "late"),
    "a recipe": write("recipes/all.py", RECIPES + "\nX = 1\n"),
    "a new recipe file": write("recipes/more.py", "X = 1\n"),
    "a file read while loading": write("recipes/limit.txt", "6"),
    "a folder listed while loading": write("listed/two", ""),
    "the settings": write("builder.toml", 'name = "other"\n'),
    "settings elsewhere": write("pyproject.toml", "[tool.builder]\n"),
    "a file of depends": write("meta/a.yaml", "a: 2"),
    "a new file of depends": write("meta/b.yaml", "b: 2"),
    "a pin": lambda root: (root / "schemas/orders.json").unlink(),
    "a published file": lambda root: next((root / "out").rglob("*.parquet")).unlink(),
    "a published file's bytes": lambda root: next((root / "out").rglob("*.parquet")).write_bytes(b"x"),
    "the ledger": lambda root: os.utime(root / ".builder/ledger.sqlite"),
    "the store": lambda root: (root / ".builder/ledger.sqlite").unlink(),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_whatever_moves_breaks_the_seal(sealed: Path, edit: Callable[[Path], object]) -> None:
    edit(sealed)
    assert answer(sealed) is None


def test_a_newly_installed_library_breaks_the_seal(sealed: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("site")
    sys.path.append(str(folder))
    try:
        assert answer(sealed) is None
        builder.open(sealed).status()
        assert answer(sealed) is not None
        (folder / "thing-1.0.dist-info").mkdir()
        assert answer(sealed) is None
    finally:
        sys.path.remove(str(folder))


@pytest.mark.parametrize(
    "words", [("status", "--json"), ("status", "large"), ("status", "--read"), ("rebuild", "--all"), ("plan",), ()]
)
def test_anything_else_is_looked_at_afresh(sealed: Path, words: tuple[str, ...]) -> None:
    assert quick.answer([*words, "-C", str(sealed)], 0.0) is None


def test_another_folder_has_no_seal(sealed: Path) -> None:
    (sealed / "recipes").exists()
    assert answer(sealed / "data") is None
    assert answer(sealed / "nowhere") is None


def test_what_is_not_fresh_is_not_sealed(sealed: Path) -> None:
    write("data/orders.csv", "id,amount\n1,100\n")(sealed)
    assert not builder.open(sealed).status().is_fresh
    assert answer(sealed) is None


def test_a_file_too_young_to_trust_is_not_sealed(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "SETTLE_NS", 10**12)
    os.utime(sealed / "data/orders.csv")
    assert builder.open(sealed).status().is_fresh
    assert answer(sealed) is None


def test_recipes_that_read_the_environment_are_not_sealed(sealed: Path) -> None:
    write("recipes/env.py", "import os\nX = os.environ.get('SOME_NAME')\n")(sealed)
    assert builder.open(sealed).status().is_fresh
    assert answer(sealed) is None


def test_a_sealed_command_imports_next_to_nothing(sealed: Path) -> None:
    look = "from builder.sense import tokens; tokens.SETTLE_NS = 0; import builder; builder.open('.').status()"
    heavy = ("click", "sqlite3", "json", "dataclasses", "pandas", "dask")
    ask = (
        "import sys; from builder import quick; sys.argv = ['builder', 'status']; quick.main(); "
        f"sys.exit(' '.join(m for m in {heavy} if m in sys.modules) or None)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = [
        subprocess.run([sys.executable, "-c", code], cwd=sealed, env=environment, capture_output=True, text=True)
        for code in (look, ask)
    ]
    assert [d.returncode for d in done] == [0, 0], [d.stderr for d in done]
    assert "all 3 targets fresh" in done[1].stdout
