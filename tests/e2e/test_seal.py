"""A sealed look: answered at once while nothing moved, never once something did."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import builder
from builder import quick
from builder.project import Project
from builder.report.values import Status
from builder.sense import tokens
from builder.sense.sense import Sensor

RECIPES = """
import os
from pathlib import Path
import builder as b
import pandas as pd

HERE = Path(__file__).parent
LIMIT = int((HERE / "limit.txt").read_text())
NAMES = sorted(os.listdir(HERE.parent / "listed"))
try:
    LOCAL = (HERE.parent / "data/local.txt").read_text()
except FileNotFoundError:
    LOCAL = ""

b.source("orders", "data/orders.csv", key="id")
b.source("shops[state={state}]", "shops/{state}.csv", key="id")
b.source("notes", "notes", format="file")
b.source("area", "area/area.shp", format="file")

@b.recipe(key="id")
def large(orders: pd.DataFrame):
    return orders[orders["amount"] > LIMIT]

@b.recipe(each="shops", inputs={"shops": "shops[state={state}]"}, key="id")
def clean(shops: pd.DataFrame, state):
    return shops

@b.recipe
def names(notes: b.Files, area: b.Files):
    return sorted(notes) + sorted(area)

@b.recipe
def site():
    folder = b.workspace() / "site"
    (folder / "css").mkdir(parents=True)
    (folder / "css/x.css").write_text("p{}")
    return folder
"""


@pytest.fixture
def sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that is built and sealed; files count as settled at once."""
    monkeypatch.setattr(tokens, "SETTLE_NS", 0)
    files = {
        "builder.toml": 'name = "sealed"\ndepends = ["meta/*.yaml", "late/a.yaml"]\n',
        "recipes/all.py": RECIPES,
        "recipes/limit.txt": "5",
        "listed/one": "",
        "meta/a.yaml": "a: 1",
        "data/orders.csv": "id,amount\n1,10\n2,3\n",
        "shops/CA.csv": "id,x\n1,1\n",
        "notes/a.txt": "a",
        "late/b.yaml": "b: 1",
        "area/area.shp": "",
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
    assert nothing is not None and nothing.startswith("sealed · nothing to do: 4 targets fresh · ")


def wait_for_a_tick(root: Path) -> None:
    """Come back when the clock of the file system has passed this moment."""
    probe, now_ns = root / ".builder/probe", time.time_ns()
    while not probe.exists() or probe.stat().st_mtime_ns <= now_ns:
        probe.touch()


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
    "a plain file of depends that was not there": write("late/a.yaml", "a: 1"),
    "a file that was not there while loading": write("data/local.txt", "1"),
    "a file that belongs to a shapefile": write("area/area.prj", "EPSG:4326"),
    "a pin": lambda root: (root / "schemas/orders.json").unlink(),
    "a published file": lambda root: next((root / "out").rglob("*.parquet")).unlink(),
    "a published file's bytes": lambda root: next((root / "out").rglob("*.parquet")).write_bytes(b"x"),
    "a file in a published folder": write("out/site/css/x.css", "zzz"),
    "a new file in a published folder": write("out/site/css/y.css", "zzz"),
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


DURING: dict[str, Callable[[Path], object]] = {
    what: EDITS[what]
    for what in ("a new member", "a source's content", "a folder listed while loading", "a published file", "a pin",
                 "a plain file of depends that was not there", "a new recipe file", "the settings", "the store")
}  # fmt: skip


@pytest.mark.parametrize("edit", DURING.values(), ids=DURING)
def test_what_moves_during_a_look_is_not_sealed(sealed: Path, edit: Callable[[Path], object]) -> None:
    class Moved(Project):
        """A project that something happens to once it was found fresh."""

        def _seal(self, sensor: Sensor, status: Status, published: list[str]) -> None:
            wait_for_a_tick(sealed)
            edit(sealed)
            super()._seal(sensor, status, published)

    (sealed / ".builder/seal").unlink()
    assert Moved(builder.open(sealed).config).status().is_fresh
    assert answer(sealed) is None


def test_settings_that_moved_since_a_project_was_opened_are_not_sealed(sealed: Path) -> None:
    project = builder.open(sealed)
    wait_for_a_tick(sealed)
    write("builder.toml", 'name = "sealed"\ndepends = ["notes/*"]\n')(sealed)
    assert project.status().is_fresh
    assert answer(sealed) is None
    assert not builder.open(sealed).status().is_fresh


def test_what_moves_while_recipes_load_is_neither_kept_nor_sealed(sealed: Path) -> None:
    kept = (sealed / ".builder/graph.json").read_bytes()
    write("recipes/all.py", RECIPES + "\nimport time\ntime.sleep(0.02)\n(HERE / 'limit.txt').write_text('6')\n")(sealed)
    assert builder.open(sealed).status().is_fresh
    assert answer(sealed) is None
    assert (sealed / ".builder/graph.json").read_bytes() == kept
    assert "large" in [t.name for t in builder.open(sealed).status().targets if t.state != "fresh"]


def test_a_seal_that_was_cut_short_is_none(sealed: Path) -> None:
    seal = sealed / ".builder/seal"
    whole = seal.read_bytes()
    for length in (*range(0, len(whole), 97), *range(len(whole) - 50, len(whole))):
        seal.write_bytes(whole[:length])
        assert answer(sealed) is None
    seal.write_bytes(whole)
    assert answer(sealed) is not None


@pytest.mark.parametrize("words", [["status", "-C"], ["status", "-C", ""], ["-C", "status"]], ids=" ".join)
def test_no_folder_is_not_this_folder(sealed: Path, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(sealed)
    assert quick.answer(["status"], 0.0) is not None
    assert quick.answer(words, 0.0) is None


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
    assert "all 4 targets fresh" in done[1].stdout
