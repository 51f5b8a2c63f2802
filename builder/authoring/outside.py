"""Modules of a project that lie outside of its recipes: compiled from their text, and run again with the recipes.

Decides which text such a module has. Python would take a .pyc whose time (in whole seconds) and size agree, and a
process that stands for long would keep what it imported first; either way old code would run under a new fingerprint.
Modules that the program itself imported before any recipe are left alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from builder.authoring.guard import Territory, is_below
from builder.authoring.modules import PREFIX


class FromText(SourceFileLoader):
    """Loads a module from its text alone; ``source`` is the very text that was compiled."""

    source: bytes = b""

    def get_code(self, fullname: str) -> CodeType | None:
        """The code of the text as it stands."""
        self.source = self.get_data(self.path)
        code: Any = self.source_to_code(self.source, self.path)  # type: ignore[call-arg, arg-type, unused-ignore]
        return code if isinstance(code, CodeType) else None


class _Finder(MetaPathFinder):
    def __init__(self) -> None:
        self.territories: dict[str, Territory] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.startswith(PREFIX):
            return None  # recipes have a finder of their own
        near = [p for p in (sys.path if path is None else path) if isinstance(p, str) and self._is_near(p)]
        if not near or PathFinder.find_spec(fullname, near) is None:
            return None
        spec = PathFinder.find_spec(fullname, path)  # what stands before it on the path goes before it
        if spec is None or type(spec.loader) is not SourceFileLoader or spec.origin is None:
            return None
        if not any(t.holds(os.path.realpath(spec.origin)) for t in self.territories.values()):
            return None
        spec.loader = FromText(fullname, spec.origin)
        spec.cached = None
        return spec

    def _is_near(self, entry: str) -> bool:
        """Whether a folder of the path lies in a project."""
        folder = os.path.realpath(entry)
        return any(is_below(folder, project) for project in self.territories)


_finder = _Finder()


def forget_outside(project: Path) -> None:
    """Let the project's own modules that came with recipes be imported anew, from their text."""
    territory = Territory(project)
    _finder.territories[territory.project] = territory
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    for name, module in list(sys.modules.items()):
        loader = getattr(getattr(module, "__spec__", None), "loader", None)
        if isinstance(loader, FromText) and territory.holds(os.path.realpath(loader.path)):
            del sys.modules[name]
            parent, _, tail = name.rpartition(".")
            package = sys.modules.get(parent)
            if getattr(package, tail, None) is module:  # a package that stays would give the old one without an import
                delattr(package, tail)


def text_of(module: ModuleType) -> bytes | None:
    """The text that a module was compiled from; None where Python's own loader chose it."""
    loader = getattr(getattr(module, "__spec__", None), "loader", None)
    return loader.source if isinstance(loader, FromText) else None
