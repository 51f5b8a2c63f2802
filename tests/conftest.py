"""A project of a test's own: files to write, rebuilds in this process or by the command, and what they did."""

import gc
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from textwrap import dedent
from typing import Any

os.environ.setdefault("BUILDER_DURABLE", "0")  # before builder is imported: a test's store need not outlive the machine

import pytest

import builder as b


def pytest_collection_finish() -> None:
    """Collected tests and loaded modules stay to the end: garbage collections need not look through them each time."""
    gc.collect()
    gc.freeze()


class Site:
    """A project folder and what tests do to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "recipes").mkdir(parents=True, exist_ok=True)

    def write(self, path: str, content: str | bytes) -> Path:
        """A file of the project with this content; text is dedented."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else dedent(content).encode())
        return file

    def recipe(self, text: str, name: str = "main.py") -> Path:
        """A recipe file, after the imports that nearly all have."""
        return self.write(f"recipes/{name}", "import builder as b\nimport pandas as pd\n\n" + dedent(text))

    @property
    def project(self) -> b.Project:
        """The project as a new process would open it."""
        return b.open(self.root)

    def rebuild(self, targets: Iterable[str] | None = None, **options: Any) -> dict[str, Any]:
        """The report of a rebuild, by default in this process."""
        return self.project.rebuild(targets, **({"inline": True} | options)).to_json()

    def built(self, **options: Any) -> dict[str, Any]:
        """The report of a rebuild that must not fail."""
        report = self.rebuild(**options)
        wrong = [(r["name"], r["error"]) for r in (*report["sources"], *report["targets"]) if r["error"]]
        assert not wrong, wrong
        return report

    def outcomes(self, **options: Any) -> dict[str, str]:
        """What a rebuild did to each target that it touched."""
        return {t["name"]: t["outcome"] for t in self.rebuild(**options)["targets"]}

    def ran(self, **options: Any) -> set[str]:
        """The targets whose recipe ran in a rebuild that must not fail."""
        ran = {"built", "updated", "unchanged"}
        return {t["name"] for t in self.built(**options)["targets"] if t["outcome"] in ran}

    def states(self) -> dict[str, str]:
        """The state of every target."""
        return {t["name"]: t["state"] for t in self.project.status().to_json()["targets"]}

    def load(self, target: str) -> Any:
        """A target's value."""
        return self.project.load(target)

    def digests(self) -> dict[str, str]:
        """The digest of everything that was built or taken in, by name."""
        ledger = self.project.ledger()
        try:
            return {name: str(current.digest) for name, current in ledger.currents().items()}
        finally:
            ledger.close()

    def command(self, *args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """The installed command, run to its end in the project's folder."""
        return subprocess.run(
            [sys.executable, "-m", "builder", *args], cwd=self.root, env=os.environ | (env or {}), text=True,
            capture_output=True, check=False,
        )  # fmt: skip

    def main(self, *args: str) -> subprocess.CompletedProcess[str]:
        """The command's entry point run in this process: fast, and the same but for the start of an interpreter."""
        from builder.cli import main

        out, err = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.chdir(self.root)
            patch.setattr(sys, "argv", ["builder", *args])
            with pytest.raises(SystemExit) as ended:
                main()
        return subprocess.CompletedProcess(args, int(ended.value.code or 0), out.getvalue(), err.getvalue())

    def command_json(self, *args: str, **options: Any) -> dict[str, Any]:
        """The document that the installed command prints with ``--json``."""
        done = self.command(*args, "--json", **options)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def in_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every output of this process gets a file of its own, however small."""
    monkeypatch.setattr("builder.execute.attempt.INLINE_BYTES", None)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """An empty project."""
    return Site(tmp_path / "site")
