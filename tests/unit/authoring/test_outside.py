"""Modules of the project outside of its recipes: their text counts, whatever was compiled or imported before."""

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builder.authoring.load import Loaded
from builder.authoring.outside import FromText

RECIPES = {"m.py": "import ours_of_test\n\nVALUE = ours_of_test.VALUE\n"}


@pytest.fixture
def load_value(load_files: Callable[..., Loaded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Write ``ours_of_test.py`` beside the recipes, load these, and give what they saw of it."""
    monkeypatch.syspath_prepend(tmp_path)

    def made(text: str) -> object:
        loaded = load_files(RECIPES | {"/ours_of_test.py": text})
        return vars(loaded.modules[f"{loaded.package}.m"])["VALUE"]

    yield made
    sys.modules.pop("ours_of_test", None)


def test_an_edit_of_the_same_size_in_the_same_second_counts(
    load_value: Callable[[str], object], tmp_path: Path
) -> None:
    assert load_value("VALUE = 1\n") == 1
    file = tmp_path / "ours_of_test.py"
    before = file.stat()
    file.write_text("VALUE = 2\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert load_value("VALUE = 2\n") == 2


@pytest.mark.parametrize("init", [None, "", "VALUE = 0\n"], ids=["none", "empty", "imported before any recipe"])
def test_an_edit_counts_in_a_package_that_stays(
    load_files: Callable[..., Loaded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, init: str | None
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    files = {"m.py": "from lib_of_test import helper\n\nVALUE = helper.VALUE\n"}
    if init is not None:
        files |= {"/lib_of_test/__init__.py": init}
    if init:
        (tmp_path / "lib_of_test").mkdir()
        (tmp_path / "lib_of_test/__init__.py").write_text(init)
        importlib.import_module("lib_of_test")
    try:
        for value in (1, 2):
            loaded = load_files(files | {"/lib_of_test/helper.py": f"VALUE = {value}\n"})
            assert vars(loaded.modules[f"{loaded.package}.m"])["VALUE"] == value
            assert "lib_of_test/helper.py" in loaded.opened
    finally:
        for name in ("lib_of_test", "lib_of_test.helper"):
            sys.modules.pop(name, None)


def test_no_pyc_is_used_or_left(load_value: Callable[[str], object], tmp_path: Path) -> None:
    load_value("VALUE = 1\n")
    assert not list(tmp_path.rglob("ours_of_test*.pyc"))
    assert isinstance(sys.modules["ours_of_test"].__spec__.loader, FromText)  # type: ignore[union-attr]


def test_what_the_program_imported_itself_is_left_alone(load_value: Callable[[str], object], tmp_path: Path) -> None:
    (tmp_path / "ours_of_test.py").write_text("VALUE = 1\n")
    import ours_of_test  # type: ignore[import-not-found]

    assert load_value("VALUE = 2\n") == 1
    assert sys.modules["ours_of_test"] is ours_of_test


def test_a_file_of_the_project_never_hides_what_stands_before_it_on_the_path(
    load_files: Callable[..., Loaded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    loaded = load_files({"m.py": "import colorsys\n", "/colorsys.py": "raise RuntimeError('the wrong one')\n"})
    assert hasattr(vars(loaded.modules[f"{loaded.package}.m"])["colorsys"], "rgb_to_hsv")
