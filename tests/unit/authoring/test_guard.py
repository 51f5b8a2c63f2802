"""What a running recipe may read of its project."""

from __future__ import annotations

import contextlib
import glob
import importlib.metadata
import os
import sqlite3
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from builder.authoring.guard import Guard, guarding, suspended, watching
from builder.errors import RecipeError


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for path in ("data/in.csv", "data/other.csv", "recipes/clean.py", "store/parts/p", "top.yaml", "../outside.txt"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("x")
    return root


def guard(project: Path, **more):
    files = {str(project / "data/in.csv")}
    folders = (str(project / "store/parts"),)
    return guarding(project, files, folders, {str(project / "recipes/clean.py")}, **more)


READS = {
    "open": lambda p: open(p).close(),
    "read_text": lambda p: p.read_text(),
    "bytes path": lambda p: open(os.fsencode(p)).close(),
    "os.open": lambda p: os.close(os.open(p, os.O_RDONLY)),
    "read and write": lambda p: open(p, "r+").close(),
    "append and read": lambda p: open(p, "a+").close(),
    "relative": lambda p: open(os.path.relpath(p)).close(),
    "through a folder and back": lambda p: open(p.parent / "none" / ".." / p.name).close(),
    "sqlite": lambda p: sqlite3.connect(p),
}


@pytest.mark.parametrize("how", READS)
def test_reading_an_undeclared_file_is_refused(project, how) -> None:
    with guard(project) as active, pytest.raises(RecipeError) as caught:
        READS[how](project / "top.yaml")
    assert caught.value.code == "undeclared-read"
    assert "'top.yaml'" in caught.value.message and "b.source" in caught.value.hint
    assert active.violations == [caught.value]


def test_a_missing_file_is_refused_all_the_same(project) -> None:
    with guard(project), pytest.raises(RecipeError):
        (project / "data" / "gone.csv").read_text()


@pytest.mark.parametrize("path", ["data/in.csv", "store/parts/p", "../outside.txt", "recipes/clean.py"])
def test_inputs_parts_recipe_files_and_what_lies_outside_may_be_read(project, path) -> None:
    with guard(project) as active:
        assert (project / path).read_text() == "x"
    assert active.violations == []


def test_writing_is_no_read(project) -> None:
    with guard(project) as active:
        (project / "new.txt").write_text("y")
        with open(project / "top.yaml", "ab") as stream:
            stream.write(b"z")
        with open(project / "both.txt", "w+") as stream:
            stream.write("z")
    assert active.violations == []


def test_a_swallowed_refusal_is_kept(project) -> None:
    with guard(project) as active, contextlib.suppress(Exception):
        (project / "top.yaml").read_text()
    assert [v.code for v in active.violations] == ["undeclared-read"]


def test_listing_a_folder_of_the_project_is_a_read(project) -> None:
    ways = (
        os.listdir,
        os.scandir,
        lambda p: glob.glob(str(p / "*")),
        lambda p: list(p.iterdir()),
        lambda p: list(os.walk(p)),
    )
    for way in ways:
        with guard(project), pytest.raises(RecipeError) as caught:
            way(project / "data")
        assert "lists the folder 'data'" in caught.value.message
    with guard(project) as active:
        os.listdir(project / "store/parts")
        os.listdir(project.parent)
    assert active.violations == []


def test_a_link_into_the_project_is_followed(project) -> None:
    link, folder = project.parent / "link", project.parent / "folder"
    link.symlink_to(project / "top.yaml")
    folder.symlink_to(project / "data")
    for path in (link, folder / "other.csv"):
        with guard(project), pytest.raises(RecipeError):
            path.read_text()
    with guard(project):
        assert (folder / "in.csv").read_text() == "x"


def test_an_input_that_is_a_link_may_be_read_under_its_name(project) -> None:
    (project / "data/linked.csv").symlink_to(project / "top.yaml")
    with guarding(project, {str(project / "data/linked.csv")}):
        assert (project / "data/linked.csv").read_text() == "x"


def test_threads_of_the_recipe_are_guarded_too(project) -> None:
    caught = []

    def read() -> None:
        try:
            (project / "top.yaml").read_text()
        except RecipeError as refusal:
            caught.append(refusal)

    with guard(project) as active:
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    assert active.violations == caught and len(caught) == 1


def test_two_guards_in_two_threads_do_not_mix(project, tmp_path) -> None:
    other = tmp_path / "second"
    other.mkdir()
    (other / "b.txt").write_text("x")
    ready, done = threading.Event(), threading.Event()
    theirs: list[Guard] = []

    def run() -> None:
        with guarding(other) as mine:
            theirs.append(mine)
            ready.set()
            done.wait(5)

    thread = threading.Thread(target=run)
    thread.start()
    ready.wait(5)
    with guard(project) as active:
        assert (other / "b.txt").read_text() == "x"
    done.set()
    thread.join()
    assert active.violations == theirs[0].violations == []


def test_suspended_reads_are_not_seen(project) -> None:
    with guard(project) as active:
        with suspended():
            assert (project / "top.yaml").read_text() == "x"
        with pytest.raises(RecipeError):
            (project / "top.yaml").read_text()
    assert len(active.violations) == 1


def test_nothing_is_refused_outside_of_the_block(project) -> None:
    with guard(project):
        pass
    assert (project / "top.yaml").read_text() == "x"


def test_imports_inside_a_recipe_are_no_reads(project, monkeypatch) -> None:
    monkeypatch.chdir(project)
    monkeypatch.syspath_prepend(str(project))
    (project / "beside_guard.py").write_text("K = 1")
    sys.modules.pop("beside_guard", None)
    sys.modules.pop("plistlib", None)
    with guard(project) as active:
        import plistlib  # noqa: F401

        import beside_guard

        assert beside_guard.K == 1
    assert active.violations == []
    del sys.modules["beside_guard"]


def test_looking_for_installed_libraries_inside_a_recipe_is_no_read(project, monkeypatch) -> None:
    monkeypatch.chdir(project)
    monkeypatch.syspath_prepend("")
    with guard(project) as active:
        importlib.invalidate_caches()
        assert list(importlib.metadata.entry_points(group="no such group")) == []
    assert active.violations == []


def test_installed_libraries_inside_of_the_project_may_be_read(project) -> None:
    library = project / ".venv/lib/python3.11/site-packages/lib/table.csv"
    library.parent.mkdir(parents=True)
    library.write_text("x")
    with guard(project):
        assert library.read_text() == "x"


def test_the_place_is_the_line_of_the_recipe(load_files, tmp_path) -> None:
    (tmp_path / "secret.txt").write_text("x")
    text = f"""
        from pathlib import Path
        def f():
            return Path({str(tmp_path / "secret.txt")!r}).read_text()
    """
    loaded = load_files({"a.py": text})
    with guarding(tmp_path, recipes_py=loaded.recipes_py), pytest.raises(RecipeError) as caught:
        vars(loaded.modules[loaded.package + ".a"])["f"]()
    assert caught.value.place == "recipes/a.py:4"


def test_a_watch_sees_only_what_code_of_the_project_does(project) -> None:
    with watching(project) as watch:
        (project / "top.yaml").read_text()  # by this test, whose file is none of the project's
    assert watch.opened == set()


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs /dev/shm")
def test_a_project_among_the_folders_of_the_system_is_watched_like_any_other() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        code, read = Path(folder, "all.py"), Path(folder, "limit.txt")
        read.write_text("5")
        run = compile(f"open({str(read)!r}).close()", str(code), "exec")
        with watching(Path(folder), {str(code)}) as watch:
            exec(run)
        assert watch.opened == {os.path.realpath(read)}
