"""The modules of a bundle under a private package name, compiled from the bundle's text alone.

Decides which text a module of a project's recipes has. Never reads a file and never uses a .pyc: what stands in the
bundle is what runs, on the driver and on every worker.
"""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType

from builder.authoring.bundle import Bundle
from builder.digests import digest_of
from builder.errors import BuilderError, error

PREFIX = "_recipes_"
_KEPT_PACKAGES = 8


@dataclass(slots=True, eq=False)
class Package:
    """One bundle in this process: its modules by full name as they are loaded, with their text and syntax tree."""

    name: str
    bundle: Bundle
    folder: Path
    project: Path
    modules: dict[str, ModuleType] = field(default_factory=dict)
    sources: dict[str, tuple[str, ast.Module]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.texts = dict(self.bundle.files)
        for path in self.texts:
            parts = path[: -len(".py")].split("/")
            for depth in range(len(parts)):
                self.folders.add("/".join(parts[:depth]))
            if parts[-1] == "__init__":
                self.paths["/".join(parts[:-1])] = path
            else:
                self.paths.setdefault("/".join(parts), path)

    def path_of(self, fullname: str) -> str | None:
        """The bundle's path of a module, None for a folder without ``__init__.py``.

        Raises
        ------
        ModuleNotFoundError
            The bundle has no such module.
        """
        tail = "/".join(fullname.split(".")[1:])
        path = self.paths.get(tail)
        if path is None and tail not in self.folders:
            shown = self.shown(tail + ".py")
            raise ModuleNotFoundError(f"there is no '{shown}' among the recipes", name=fullname)
        return path

    def shown(self, path: str) -> str:
        """A path of the bundle as people know it: relative to the project where it lies there."""
        absolute = self.folder / path
        return absolute.relative_to(self.project).as_posix() if absolute.is_relative_to(self.project) else str(absolute)

    def parse(self, fullname: str, path: str) -> CodeType:
        """The code of a module; its text and tree are noted in ``sources``.

        Raises
        ------
        ConfigError
            ``recipe-syntax`` with the line.
        """
        text, filename = self.texts[path], str(self.folder / path)
        try:
            tree = ast.parse(text, filename)
            code = compile(tree, filename, "exec", dont_inherit=True)
        except SyntaxError as cause:
            raise self._syntax_error(path, cause.msg, cause.lineno, cause.text) from cause
        except (ValueError, RecursionError, MemoryError, OverflowError) as cause:
            raise self._syntax_error(path, str(cause) or type(cause).__name__, None, None) from cause
        self.sources[fullname] = (text, tree)
        linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
        return code

    def _syntax_error(self, path: str, message: str, line: int | None, text: str | None) -> BuilderError:
        shown = self.shown(path)
        return error(
            "recipe-syntax",
            f"'{shown}' is not Python: {message}",
            place=f"{shown}:{line}" if line else shown,
            facts=[("line", text.strip())] if text and text.strip() else (),
            hint="mend the line; nothing has run",
        )


class _Loader(InspectLoader):
    def __init__(self, package: Package, path: str | None) -> None:
        self.package = package
        self.path = path

    def get_source(self, fullname: str) -> str | None:
        return None if self.path is None else self.package.texts[self.path]

    def get_filename(self, fullname: str) -> str:
        return str(self.package.folder / (self.path or ""))

    def is_package(self, fullname: str) -> bool:
        return self.path is None or self.path.rsplit("/", 1)[-1] == "__init__.py"

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        self.package.modules[name] = module
        if self.path is not None:
            try:
                exec(self.package.parse(name, self.path), module.__dict__)
            except BaseException:
                self.package.modules.pop(name, None)
                raise


class _Finder(MetaPathFinder):
    def __init__(self) -> None:
        self.packages: dict[str, Package] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package = self.packages.get(fullname.partition(".")[0])
        if package is None:
            return None
        inside = package.path_of(fullname)
        loader = _Loader(package, inside)
        is_package = loader.is_package(fullname)
        origin = str(package.folder / inside) if inside else None
        spec = ModuleSpec(fullname, loader, origin=origin, is_package=is_package)
        spec.has_location = origin is not None
        if is_package:
            spec.submodule_search_locations = [str(package.folder.joinpath(*fullname.split(".")[1:]))]
        return spec


_finder = _Finder()


def package_name(bundle: Bundle, project: Path) -> str:
    """The private name of a project's recipes: one per project and content."""
    return PREFIX + digest_of("recipes", str(project), bundle.digest)[:12]


def install(bundle: Bundle, folder: Path, project: Path) -> Package:
    """A package whose modules are not loaded yet; what was loaded under its name before is forgotten.

    The last few packages stay importable, so that imports inside their functions go on working.
    """
    package = Package(package_name(bundle, project), bundle, folder, project)
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    uninstall(package.name)
    while len(_finder.packages) >= _KEPT_PACKAGES:
        uninstall(next(iter(_finder.packages)))
    _finder.packages[package.name] = package
    return package


def uninstall(name: str) -> None:
    """Forget a package and its modules; nothing where it is not installed."""
    _finder.packages.pop(name, None)
    for module in [m for m in sys.modules if m == name or m.startswith(name + ".")]:
        del sys.modules[module]
