"""What functions and classes hold beside their text: defaults, closures, attributes, and what a class assigns.

Decides which of it counts by value. Never hashes.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from enum import Enum
from types import CellType, FunctionType, ModuleType
from typing import Any

from builder.authoring.scopes import Import

_GIVEN = frozenset({"__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__firstlineno__"})
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def unwrapped(value: Any) -> Any:
    """The user's function where `value` is a recipe of builder's, else `value`."""
    if type(value).__module__.partition(".")[0] == "builder" and not isinstance(value, (type, FunctionType)):
        return getattr(value, "__wrapped__", value)
    return value


def captured(function: FunctionType) -> Iterator[tuple[str, str, Any]]:
    """What a function holds beside its code: (``default``, ``closure`` or ``attribute``, its name, its value)."""
    code = function.__code__
    defaults = function.__defaults__ or ()
    positional = code.co_varnames[: code.co_argcount]
    for name, value in zip(positional[len(positional) - len(defaults) :], defaults, strict=True):
        yield "default", name, value
    for name, value in (function.__kwdefaults__ or {}).items():
        yield "default", name, value
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        yield "closure", name, _content(cell)
    for name, value in function.__dict__.items():
        yield "attribute", name, value


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return Ellipsis


def is_own(value: Any) -> bool:
    """Whether a function or class, or the class of an object, is builder's."""
    module = value.__module__ if isinstance(value, (FunctionType, type)) else type(value).__module__
    return str(module).partition(".")[0] == "builder"


def absolute(module: ModuleType, origin: Import) -> str:
    """The full name of the module that an import names; empty where it leads out of the package."""
    try:
        return importlib.util.resolve_name("." * origin.level + origin.module, vars(module).get("__package__"))
    except (ImportError, ValueError):
        return ""


def methods(cls: type) -> Iterator[tuple[str, FunctionType]]:
    """The functions that a class has of its own, by name, out of what makes them methods."""
    for name, value in sorted(vars(cls).items()):
        parts = (value.fget, value.fset, value.fdel) if isinstance(value, property) else (value,)
        for part in parts:
            function = getattr(part, "__func__", part)
            if isinstance(function, FunctionType):
                yield name, function


def class_values(cls: type, nodes: list[ast.ClassDef]) -> Iterator[tuple[str, Any]]:
    """The values that a class body assigns, by name; of a class without a body in the text, all that it has."""
    if issubclass(cls, Enum):
        yield from ((name, member.value) for name, member in cls.__members__.items())
    elif not nodes:
        yield from sorted((name, value) for name, value in vars(cls).items() if name not in _GIVEN)
    else:
        names = sorted({name for node in nodes for name in _assigned(node)})
        yield from ((name, vars(cls)[name]) for name in names if name in vars(cls))


def _assigned(node: ast.ClassDef) -> Iterator[str]:
    for inner in ast.walk(ast.Module(body=[s for s in node.body if not isinstance(s, _DEFINITIONS)], type_ignores=[])):
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store) and not inner.id.startswith("__"):
            yield inner.id
