"""The project's modules as text beside what they became: which syntax tree a function or class came from.

Decides what is first-party: the modules of the recipes, and other modules whose file lies in the project. Never hashes.
"""

from __future__ import annotations

import ast
import sys
import tokenize
from dataclasses import dataclass, field
from types import CodeType, FunctionType, ModuleType
from typing import Any

from builder.authoring.canonical import children
from builder.authoring.definitions import unwrapped
from builder.authoring.guard import Territory, suspended
from builder.authoring.load import Loaded
from builder.authoring.outside import text_of
from builder.authoring.scopes import Import, has_star_import, module_imports, module_names

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@dataclass(slots=True, eq=False)
class View:
    """A first-party module: its values and its syntax tree, with its functions by line and its classes by name."""

    name: str
    label: str
    module: ModuleType
    tree: ast.Module
    functions: dict[tuple[str, int], list[Function]] = field(default_factory=dict)
    classes: dict[str, list[ast.ClassDef]] = field(default_factory=dict)
    imports: dict[str, set[Import]] = field(default_factory=dict)
    names: frozenset[str] = frozenset()
    has_star: bool = False

    def __post_init__(self) -> None:
        self.imports = module_imports(self.tree)
        self.names = module_names(self.tree)
        self.has_star = has_star_import(self.tree)
        self._index(self.tree, "")

    @property
    def is_package(self) -> bool:
        """Whether other modules lie below it."""
        return hasattr(self.module, "__path__")

    def _index(self, node: ast.AST, path: str) -> None:
        for child in children(node):
            inner = path
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                line = min([child.lineno, *(d.lineno for d in child.decorator_list)])
                self.functions.setdefault((child.name, line), []).append(child)
                inner = f"{path}{child.name}.<locals>."
            elif isinstance(child, ast.Lambda):
                self.functions.setdefault(("<lambda>", child.lineno), []).append(child)
                inner = f"{path}<lambda>.<locals>."
            elif isinstance(child, ast.ClassDef):
                self.classes.setdefault(path + child.name, []).append(child)
                inner = f"{path}{child.name}."
            self._index(child, inner)

    def function_node(self, code: CodeType) -> Function | None:
        """The syntax tree that `code` was compiled from; None where that cannot be told."""
        found = self.functions.get((code.co_name, code.co_firstlineno), [])
        if len(found) < 2:
            return found[0] if found else None
        spans = [
            (line, column, end_line, end_column)
            for line, end_line, column, end_column in code.co_positions()
            if line and end_line and column is not None and end_column is not None
            if (line, column) < (end_line, end_column)
        ]
        fitting = [node for node in found if spans and all(_holds(node, span) for span in spans)]
        return min(fitting, key=_extent) if fitting else None

    def class_nodes(self, cls: type) -> list[ast.ClassDef]:
        """The definitions that `cls` may have come from; several where one name is defined on several branches."""
        found = self.classes.get(cls.__qualname__, [])
        lines = {f.__code__.co_firstlineno for f in vars(cls).values() if isinstance(f, FunctionType)}
        fitting = [n for n in found if any(n.lineno <= line <= (n.end_lineno or n.lineno) for line in lines)]
        return fitting if len(found) > 1 and fitting else found


def _holds(node: Function, span: tuple[int, int, int, int]) -> bool:
    body = node.body if isinstance(node, ast.Lambda) else node
    start = (body.lineno, body.col_offset)
    end = (body.end_lineno or body.lineno, body.end_col_offset or 0)
    return start <= span[:2] and span[2:] <= end


def _extent(node: Function) -> tuple[int, int]:
    return ((node.end_lineno or node.lineno) - node.lineno, (node.end_col_offset or 0) - node.col_offset)


class Views:
    """Every first-party module of a loaded project, found by name or by the file of a code object."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._territory = Territory(loaded.project, loaded.recipes_py)
        self._views: dict[str, View | None] = {}

    def by_name(self, name: Any) -> View | None:
        """The view of a module that is loaded; None for any other and for what is not first-party."""
        if not isinstance(name, str):
            return None
        if name not in self._views:
            view = self._view(name)
            if view is None and (name not in sys.modules or self._is_recipes(name)):
                return None  # it may yet be imported
            self._views[name] = view
        return self._views[name]

    def home(self, value: Any) -> tuple[View, str] | None:
        """The module and the name at its top under which a function or class is defined and still found."""
        value = unwrapped(value)
        if isinstance(value, FunctionType):
            view, name = self.of_function(value), value.__code__.co_qualname
        elif isinstance(value, type):
            view, name = self.by_name(value.__module__), value.__qualname__
        else:
            return None
        return (view, name) if view and unwrapped(vars(view.module).get(name)) is value else None

    def owns(self, path: str | None) -> bool:
        """Whether a file is first-party code."""
        return path is not None and self._territory.is_code(path)

    def of_function(self, function: FunctionType) -> View | None:
        """The view of the module whose text holds the function."""
        view = self.by_name(function.__globals__.get("__name__"))
        return view if view and view.module.__file__ == function.__code__.co_filename else None

    def _is_recipes(self, name: str) -> bool:
        return name.partition(".")[0] == self._loaded.package

    def _view(self, name: str) -> View | None:
        package = self._loaded.package
        if self._is_recipes(name):
            if name not in self._loaded.sources or name not in self._loaded.modules:
                return None
            label = name[len(package) + 1 :] or "__init__"
            return View(name, label, self._loaded.modules[name], self._loaded.sources[name][1])
        module = sys.modules.get(name)
        path = getattr(module, "__file__", None)
        if module is None or not isinstance(path, str) or not self._territory.is_code(path):
            return None
        source = text_of(module)
        if source is not None:
            return View(name, name, module, ast.parse(source))
        try:
            with suspended(), tokenize.open(path) as stream:
                return View(name, name, module, ast.parse(stream.read()))
        except (OSError, SyntaxError, ValueError):
            return None
