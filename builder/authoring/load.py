"""A project's recipes loaded: modules run from a bundle's text, declarations collected, reads of files noted.

Decides the order in which recipe files run and what an error in one of them looks like. Never looks into a
declaration, and never hashes what was read.
"""

from __future__ import annotations

import ast
import glob
import importlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from builder.authoring import modules
from builder.authoring.bundle import Bundle, read_bundle
from builder.authoring.guard import Territory, Watch, watching
from builder.authoring.outside import forget_outside
from builder.authoring.ready_keys import resolved
from builder.authoring.registry import Declaration, collecting
from builder.errors import BuilderError, error

__all__ = ["Bundle", "Loaded", "load", "load_cached", "read_bundle"]

_loading = threading.RLock()
_cache: dict[tuple[str, str, str], Loaded] = {}


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A project's recipes after loading.

    ``modules`` and ``sources`` (text and syntax tree) are by full module name, below ``package``; a helper that is
    first imported inside a function joins them then, and ``watch`` notes what it reads. ``described`` keeps what
    `authoring.fingerprint` worked out.
    """

    package: str
    bundle: Bundle
    folder: Path
    project: Path
    modules: dict[str, ModuleType]
    sources: dict[str, tuple[str, ast.Module]]
    declarations: tuple[Declaration, ...]
    watch: Watch
    described: dict[Any, Any] = field(default_factory=dict)

    @property
    def opened(self) -> tuple[str, ...]:
        """The files that recipes read while they loaded: relative to the project, absolute outside of it."""
        return tuple(sorted(self.watch.territory.relative(path) for path in self.watch.opened))

    @property
    def listed(self) -> tuple[str, ...]:
        """The folders that recipes listed while they loaded, absolute."""
        return tuple(sorted(self.watch.listed | _folders_of(self.watch)))

    @property
    def recipes_py(self) -> frozenset[str]:
        """The absolute paths of the recipe files."""
        return _recipes_py(self.bundle, self.folder)


def load(bundle: Bundle, folder: Path, project: Path, before: Callable[[], None] | None = None) -> Loaded:
    """The modules of a bundle, freshly run in name order, with their declarations; empty for an empty bundle.

    Files in the top of the folder without a leading underscore run; all others run where these import them.
    `before` is called once before the first of them.

    Raises
    ------
    ConfigError
        ``recipe-syntax`` where a file is not Python; ``recipe-declaration`` where one raises while it runs. An error of
        builder itself passes through, with the place in the recipes where it has none.
    """
    folder, project = Path(os.path.realpath(folder)), Path(os.path.realpath(project))
    with _loading:
        package = modules.install(bundle, folder, project)
        forget_outside(project)
        names = _top_level(package)
        if before is not None:
            before()
        recipes_py = _recipes_py(bundle, folder)
        with watching(project, recipes_py) as watch, collecting(str(project)) as declarations:
            for name in names:
                _run(f"{package.name}.{name}", package, watch.territory)
        return Loaded(
            package.name,
            bundle,
            folder,
            project,
            package.modules,
            package.sources,
            resolved(declarations),
            watch,
        )


def load_cached(bundle: Bundle, folder: Path, project: Path) -> Loaded:
    """As `load`, but run once per process and bundle; for workers, where a bundle stays the same for many attempts."""
    key = (os.path.realpath(project), os.path.realpath(folder), bundle.digest)
    with _loading:
        if key not in _cache:
            while len(_cache) >= 4:
                del _cache[next(iter(_cache))]
            _cache[key] = load(bundle, folder, project)
        return _cache[key]


def _recipes_py(bundle: Bundle, folder: Path) -> frozenset[str]:
    return frozenset(str(folder / path) for path, _ in bundle.files)


def _top_level(package: modules.Package) -> list[str]:
    names = []
    for path in package.texts:
        stem = path.rsplit("/", 1)[-1][: -len(".py")]
        sibling = path[: -len(".py")] + "/__init__.py"
        if "." in stem or sibling in package.texts:
            raise error(
                "recipe-declaration",
                f"'{package.shown(path)}' cannot be imported: "
                + ("a dot stands in its name" if "." in stem else "a package has its name"),
                place=package.shown(path),
                hint="rename the file",
            )
        if "/" not in path and not path.startswith("_"):
            names.append(stem)
    return sorted(names)


def _run(name: str, package: modules.Package, territory: Territory) -> None:
    try:
        importlib.import_module(name)
    except BuilderError as cause:
        if cause.place is None:
            cause.place = _place(cause.__traceback__, territory)
        raise
    except (Exception, SystemExit) as cause:
        path = package.shown(package.path_of(name) or "")
        raise error(
            "recipe-declaration",
            f"'{path}' failed while it was loaded: {type(cause).__name__}: {cause}",
            place=_place(cause.__traceback__, territory) or path,
            hint=_hint(cause, package),
        ) from cause


def _place(traceback: TracebackType | None, territory: Territory) -> str | None:
    place = None
    while traceback is not None:
        filename = traceback.tb_frame.f_code.co_filename
        if territory.is_code(filename):
            place = f"{territory.relative(filename)}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return place


def _hint(cause: BaseException, package: modules.Package) -> str:
    if isinstance(cause, ModuleNotFoundError) and cause.name:
        if cause.name.replace(".", "/") in package.paths:
            return f"import helpers relatively: from . import {cause.name}"
        if not cause.name.startswith(package.name):
            return f"install {cause.name.partition('.')[0]} into the environment that runs builder"
    return "recipe files only declare; nothing has run yet"


def _folders_of(watch: Watch) -> set[str]:
    """The folders whose entries decide what the seen globs match, ``a/x`` and ``a/y`` for ``a/*/data.csv``."""
    folders: set[str] = set()
    for pattern in watch.patterns:
        folder = os.path.dirname(pattern)
        while glob.has_magic(folder):
            folders.update(os.path.realpath(f) for f in glob.glob(folder, recursive=True) if os.path.isdir(f))
            folder = os.path.dirname(folder)
        folders.add(os.path.realpath(folder))
    return folders
