"""A built project with two independent halves, and what must hold whatever breaks one of them."""

import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from builder.cli import main

RECIPES = """
s = b.source("s", "data/s.csv", key="id")
g = b.source("g", "data/g.csv", key="id")

@b.recipe(key="id")
def t(s: pd.DataFrame):
    return s

@b.recipe(key="id")
def u(t: pd.DataFrame):
    return t

@b.recipe(key="id")
def other(g: pd.DataFrame):
    return g.assign(x=1)
"""
S = "id,n,name\n1,10,Ann\n2,20,Bob\n3,30,Cid\n"
G = "id,v\n1,5\n2,6\n"


class Halves:
    """``s -> t -> u`` and ``g -> other``, built once; then one half breaks, and the other has work to do as well."""

    def __init__(self, site: Any) -> None:
        self.site = site
        self.root: Path = site.root
        self.s = S
        self.recipes = RECIPES

    def lay(self, recipes: str = "", **files: str | bytes) -> "Halves":
        """Write the project, build it, and remember what stands."""
        self.site.write("builder.toml", 'name = "halves"\npublish = "all"\n')
        self.site.write("data/s.csv", S)
        self.site.write("data/g.csv", G)
        for path, content in files.items():
            self.site.write(path, content)
        self.recipes = RECIPES + recipes
        self.site.recipe(self.recipes)
        self.site.built()
        self.remember()
        return self

    def remember(self) -> None:
        """Note what stands in ``out/`` and what can be loaded."""
        self.standing = self.out()
        self.loaded = {n: self.site.load(n) for n in ("t", "u", "other")}

    def out(self) -> dict[str, tuple[bytes, int]]:
        """Content and time of every file in ``out/``."""
        return {
            p.relative_to(self.root).as_posix(): (p.read_bytes(), p.stat().st_mtime_ns)
            for p in sorted((self.root / "out").rglob("*"))
            if p.is_file()
        }

    def command(self, *args: str, own_process: bool = False, **options: Any) -> tuple[int, str, str]:
        """Exit code, standard output and error of the command.

        By default in this process, through the very entry point of the installed command: a process for each of a
        hundred cases would cost minutes. `own_process` starts one.
        """
        if own_process or options:
            done = self.site.command(*args, **options)
            return done.returncode, done.stdout, done.stderr
        out, err = io.StringIO(), io.StringIO()
        before = sys.argv, Path.cwd()
        sys.argv = ["builder", *args]
        os.chdir(self.root)
        left: Any = 0
        try:
            with redirect_stdout(out), redirect_stderr(err):
                main()
        except SystemExit as leaving:
            left = leaving.code or 0
        finally:
            sys.argv = before[0]
            os.chdir(before[1])
        return left, out.getvalue(), err.getvalue()

    def run(self, *args: str, code: int, **options: Any) -> dict[str, Any]:
        """The one document that the command prints with ``--json``, after it left with this exit code."""
        left, printed, said = self.command(*args, "--json", **options)
        assert left == code, (left, printed, said)
        assert "Traceback" not in said, said
        document = json.loads(printed)  # exactly one: anything beside it would not parse
        assert document["format"] == 1
        return document

    def breaks(self, name: str, *args: str, **options: Any) -> dict[str, Any]:
        """The error of the source or target `name` in a rebuild that fails and harms nothing else."""
        self.site.write("data/g.csv", G + "3,7\n")
        report = self.run(*(args or ("rebuild", "--inline")), code=1, **options)
        outcomes = {r["name"]: r["outcome"] for r in report["targets"]}
        errors = {r["name"]: r["error"] for r in (*report["sources"], *report["targets"]) if r["error"]}
        assert report["outcome"] == "failed"
        assert outcomes["other"] == "built", "what does not depend on the failure goes on"
        assert set(errors) == {name}, errors
        self.stands(but=("other",))
        status = self.site.project.status().to_json()
        states = {t["name"]: t["state"] for t in status["targets"]}
        assert states["other"] == "fresh"
        if name in ("s", "t"):
            assert outcomes["u"] == "blocked"
            assert states["u"] == "blocked"
        assert states.get(name, "failed") == "failed"
        if name == "s":
            assert next(s for s in status["sources"] if s["name"] == "s")["state"] in ("changed", "missing")
        error = errors[name]
        assert error["place"] and error["hint"], error
        explained = self.site.project.explain({"s": "t", "x": "y"}.get(name, name)).to_json()
        assert explained["error"]["code"] == error["code"], "the reason is told again when asked for"
        return error

    def stands(self, but: tuple[str, ...] = ()) -> None:
        """The old outputs load as before, and their files in ``out/`` were not touched."""
        for name, before in self.loaded.items():
            if name not in but:
                pd.testing.assert_frame_equal(self.site.load(name), before)
        kept = [f"out/{n}.parquet" for n in self.loaded if n not in but]
        now = self.out()
        assert {p: now.get(p) for p in kept} == {p: self.standing[p] for p in kept}

    def mended(self, path: str | None = "data/s.csv", content: str = S) -> None:
        """After mending, the next rebuild makes all fresh."""
        if path is not None:
            file = self.root / path
            if file.is_dir() and not file.is_symlink():
                shutil.rmtree(file)
            elif os.path.lexists(file):
                file.unlink()
            self.site.write(path, content)
        self.site.built()
        assert set(self.site.states().values()) == {"fresh"}

    def refuses(self, *args: str, **options: Any) -> dict[str, Any]:
        """The error of a command that is refused before anything happens."""
        error = self.run(*(args or ("rebuild", "--inline")), code=2, **options)["error"]
        assert error["place"] and error["hint"], error
        self.stands()
        return error


@pytest.fixture
def halves(site: Any) -> Halves:
    """The project with two halves, built."""
    return Halves(site).lay()


@pytest.fixture
def lay(site: Any) -> Callable[..., Halves]:
    """Builds the project with two halves after adding to its recipes and files."""
    return Halves(site).lay
