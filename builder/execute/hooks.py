"""Hooks: a project's own callables, told of steps before they start and after they end.

Decides that a hook can never harm a build: what it raises is noted as a warning, and what it returns is ignored.
Hooks run in the driver, one after the other, so they must be quick; they get plain values, never data.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from builder.errors import error

Hook = Callable[[dict[str, Any]], object]
KINDS = {"started": "before", "target": "after", "source": "after"}


def load_hooks(project: Path, named: Mapping[str, Sequence[str]]) -> dict[str, list[Hook]]:
    """The callables that ``[hooks]`` names as ``file.py:function``, by ``before`` and ``after``.

    Raises
    ------
    ConfigError
        ``config``: no such file in the project, no such function, or the file fails.
    """
    found: dict[str, list[Hook]] = {}
    modules: dict[str, dict[str, Any]] = {}
    for when, texts in named.items():
        for text in texts:
            file, _, name = text.partition(":")
            path = (project / file).resolve()
            if not path.is_relative_to(project.resolve()) or not path.is_file() or not name:
                raise _wrong(text, "there is no such file in the project")
            if file not in modules:
                try:
                    modules[file] = runpy.run_path(str(path), run_name="builder_hooks")
                except Exception as cause:
                    raise _wrong(text, f"{type(cause).__name__}: {cause}") from cause
            if not callable(modules[file].get(name)):
                raise _wrong(text, f"{file} has no function {name}")
            found.setdefault(when, []).append(modules[file][name])
    return found


def _wrong(text: str, reason: str) -> Exception:
    return error(
        "config",
        f"the hook '{text}' cannot be used",
        place="builder.toml",
        facts=[("reason", reason)],
        hint='name it as "file.py:function", with a file of the project',
    )


class Hooks:
    """An observer that calls the project's hooks; their failures are kept in ``problems``."""

    def __init__(self, hooks: Mapping[str, Sequence[Hook]]) -> None:
        self.hooks = hooks
        self.problems: list[str] = []

    def event(self, kind: str, name: str, **facts: Any) -> None:
        """Call the hooks that an event concerns."""
        when = KINDS.get(kind)
        for hook in self.hooks.get(when, ()) if when else ():
            try:
                hook({"event": kind, "name": name, **facts})
            except BaseException as caught:  # not even SystemExit may end a build
                if isinstance(caught, KeyboardInterrupt):
                    raise
                self.problems.append(f"a hook failed at '{name}': {type(caught).__name__}: {caught}")

    def close(self) -> None:
        """Hooks keep nothing open."""
