"""The cached graph is used exactly while nothing that it came from changed, and equals the one loaded anew."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3

from builder.authoring.templates import Surroundings, from_cache, from_recipes, listing_digest, recipe_files
from builder.errors import BuilderError
from builder.graph.declare import SourceDecl
from builder.names import Params
from builder.sense import tokens

RECIPES = """
import builder as b
from pathlib import Path

LIMITS = Path("limits.txt").read_text()
b.source("airports", "data/airports.csv", key="icao", columns={"lat": "float64"}, null=[""])
b.source("shops[state={state}]", "data/shops/{state}.csv")

@b.recipe(lane="db")
def clean(airports):
    return airports

@b.recipe(each="shops", inputs={"shops": "shops[state={state}]"}, outputs=("good", "bad"), version=3)
def split(shops, state):
    return LIMITS
"""


class Home:
    """A project folder, and the surroundings a caller would give."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.families: dict[str, tuple[Params, ...]] = {"shops": ((("state", "CA"),), (("state", "WA"),))}
        self.write("recipes/main.py", RECIPES)
        self.write("limits.txt", "5")

    def write(self, path: str, text: str) -> Path:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return target

    def _digests(self, paths: Iterable[str]) -> Mapping[str, str]:
        there = {p: self.root / p for p in paths if (self.root / p).is_file()}
        return {p: blake3(f.read_bytes()).hexdigest() for p, f in there.items()}

    def _members(self, sources: Iterable[SourceDecl]) -> dict[str, tuple[Params, ...]]:
        names = {s.name.partition("[")[0] for s in sources}
        return {n: v for n, v in self.families.items() if n in names}

    @property
    def around(self) -> Surroundings:
        return Surroundings(
            self.root,
            self.root / "recipes",
            self.root / ".builder",
            {"db": 1},
            "libraries",
            self._digests,
            self._members,
            tokens.has_stood,
        )

    def cached(self) -> Any:
        """What the cache holds after a load, as it comes back from a disk."""
        return json.loads(json.dumps(from_recipes(self.around)[1]))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A project that reads a file of its own while its recipes load; files count as settled at once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tokens, "SETTLE_NS", 0)
    return Home(tmp_path)


def test_the_cached_graph_equals_the_loaded_one(home: Home) -> None:
    loaded, cached = from_recipes(home.around)
    found = from_cache(json.loads(json.dumps(cached)), home.around)
    assert found == loaded
    assert list(loaded.graph.steps) == ["clean", "split[state=CA]", "split[state=WA]"]
    assert set(loaded.graph.targets) == {"clean"} | {
        f"split.{o}[state={s}]" for o in ("good", "bad") for s in ("CA", "WA")
    }
    assert loaded.sources["airports"].null == ("",)
    assert loaded.graph.recipes["split"].version == "3"


def rename_recipe_file(home: Home) -> None:
    (home.root / "recipes/main.py").rename(home.root / "recipes/other.py")


CHANGES: dict[str, Callable[[Home], Any]] = {
    "a recipe file changed": lambda h: h.write("recipes/main.py", RECIPES + "\n# more"),
    "a recipe file is new": lambda h: h.write("recipes/sub/more.py", ""),
    "a recipe file was renamed": rename_recipe_file,
    "a file read while loading changed": lambda h: h.write("limits.txt", "6"),
    "a file read while loading is gone": lambda h: (h.root / "limits.txt").unlink(),
    "a member is new": lambda h: h.families.update(shops=(*h.families["shops"], (("state", "NV"),))),
    "a family has no members left": lambda h: h.families.update(shops=()),
    "the packed recipes are gone": lambda h: [p.unlink() for p in (h.root / ".builder/bundles").iterdir()],
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_cache_is_not_used_once_something_it_came_from_changed(home: Home, change: str) -> None:
    cached = home.cached()
    assert from_cache(cached, home.around) is not None
    CHANGES[change](home)
    assert from_cache(cached, home.around) is None


@pytest.mark.parametrize("changed", [{"lanes": {"db": 2}}, {"lanes": {}}, {"installed": "other libraries"}])
def test_a_cache_of_other_surroundings_is_not_used(home: Home, changed: dict[str, Any]) -> None:
    cached = home.cached()
    assert from_cache(cached, replace(home.around, **changed)) is None


MEANWHILE: dict[str, str] = {
    "a file that was read is written": "Path('limits.txt').write_text('6')",
    "a file that was read is deleted": "Path('limits.txt').unlink()",
    "a file that was not there comes": "Path('local.txt').write_text('7')",
    "a folder that was listed gets a file": "Path('parts/b').touch()",
}


@pytest.mark.parametrize("code", MEANWHILE.values(), ids=MEANWHILE)
def test_nothing_is_kept_of_what_changed_while_the_recipes_loaded(home: Home, code: str) -> None:
    home.write("parts/a", "")
    reads = """
import os
PARTS = sorted(os.listdir("parts"))
try:
    LOCAL = Path("local.txt").read_text()
except FileNotFoundError:
    LOCAL = ""
"""
    home.write("recipes/main.py", RECIPES + reads)
    assert home.cached() is not None
    later = "import time\ntime.sleep(0.02)  # the clock of the file system ticks\n"
    home.write("recipes/main.py", RECIPES + reads + later + code)
    assert home.cached() is None


def test_nothing_is_kept_of_a_file_too_young_to_trust(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "SETTLE_NS", 10**12)
    assert home.cached() is None


def test_what_is_no_recipe_does_not_count(home: Home) -> None:
    cached = home.cached()
    for path in ("recipes/notes.txt", "recipes/.hidden.py", "recipes/__pycache__/x.py", "data/new.csv"):
        home.write(path, "anything")
    assert from_cache(cached, home.around) is not None


@pytest.mark.parametrize("cached", [None, [], {}, {"made_by": None}, "text"])
def test_what_is_no_cache_of_ours_is_not_used(home: Home, cached: Any) -> None:
    assert from_cache(cached, home.around) is None


def test_recipe_files_are_found_in_order_without_hidden_ones(tmp_path: Path) -> None:
    for path in ("b.py", "a.py", "sub/c.py", "sub/.d.py", ".git/e.py", "__pycache__/f.py", "g.pyc", "h.txt"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("")
    assert recipe_files(tmp_path) == ["a.py", "b.py", "sub/c.py"]


def test_a_folders_listing_is_its_names_alone(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    before = listing_digest(str(tmp_path))
    (tmp_path / "a").write_text("2")
    assert listing_digest(str(tmp_path)) == before
    (tmp_path / "b").write_text("")
    assert listing_digest(str(tmp_path)) != before
    assert listing_digest(str(tmp_path / "none")) == ""


def test_a_missing_recipes_folder_is_told(home: Home) -> None:
    with pytest.raises(BuilderError) as caught:
        from_recipes(replace(home.around, recipes=home.root / "pipeline"))
    assert caught.value.code == "config" and "'pipeline'" in caught.value.message and caught.value.hint
