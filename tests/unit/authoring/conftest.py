"""Projects made of a few lines of text."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builder.authoring import modules
from builder.authoring.fingerprint import Fingerprint, fingerprint
from builder.authoring.load import Loaded, load, read_bundle

Files = dict[str, str]


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    for name in list(modules._finder.packages):
        modules.uninstall(name)


@pytest.fixture
def load_files(tmp_path: Path) -> Callable[..., Loaded]:
    """Write files into ``recipes/`` (a path that starts with ``/`` into the project), and load them."""

    def made(files: Files) -> Loaded:
        folder = tmp_path / "recipes"
        folder.mkdir(exist_ok=True)
        for old in folder.rglob("*.py"):
            old.unlink()
        for path, text in files.items():
            target = tmp_path / path[1:] if path.startswith("/") else folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(textwrap.dedent(text))
        return load(read_bundle(folder), folder, tmp_path)

    return made


@pytest.fixture
def print_of(load_files: Callable[..., Loaded]) -> Callable[..., Fingerprint]:
    """The fingerprint of ``f`` in ``clean.py``, or of another ``module.name``."""

    def made(files: Files | str, what: str = "clean.f") -> Fingerprint:
        loaded = load_files({"clean.py": files} if isinstance(files, str) else files)
        module, name = what.split(".")
        value = vars(loaded.modules[f"{loaded.package}.{module}"])[name]
        return fingerprint(getattr(value, "__wrapped__", value) if hasattr(value, "decl") else value, loaded)

    return made
