"""Where declarations go while a project's recipes load.

Decides who collects a declaration. Never looks into one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from builder.errors import error
from builder.graph.declare import RecipeDecl, SourceDecl

Declaration = SourceDecl | RecipeDecl

_current: ContextVar[tuple[list[Declaration], str] | None] = ContextVar("declarations", default=None)


@contextmanager
def collecting(root: str = "") -> Iterator[list[Declaration]]:
    """The list that gets every declaration made inside the ``with`` block, in order; blocks nest.

    `root` is the absolute folder of the project that is being loaded.
    """
    declarations: list[Declaration] = []
    token = _current.set((declarations, root))
    try:
        yield declarations
    finally:
        _current.reset(token)


def project_root() -> str:
    """The real absolute folder of the project that is being loaded; empty where none is."""
    current = _current.get()
    return current[1] if current else ""


def is_collecting() -> bool:
    """Whether a project's recipes are being loaded by the caller's thread."""
    return _current.get() is not None


def register(declaration: Declaration) -> None:
    """Hand a declaration to whoever loads the project.

    Raises
    ------
    ConfigError
        ``recipe-declaration`` where nobody does.
    """
    current = _current.get()
    if current is None:
        raise error(
            "recipe-declaration",
            f"'{declaration.name}' is declared outside of a project's recipes",
            place=str(declaration.place),
            hint="declare it in a file of the project's recipes folder",
        )
    current[0].append(declaration)
