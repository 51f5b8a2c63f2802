"""Hooks: a project's own callables, told of steps before they start and after they end.

Decides that a hook can never harm a build: what it raises is noted as a warning, what it returns is ignored, and
nobody waits for one that is slow. Hooks run in a thread of the driver, one after the other, in the order of events;
they get plain values, never data.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from builder.authoring.guard import suspended
from builder.errors import error

Hook = Callable[[dict[str, Any]], object]
Call = tuple[Hook, dict[str, Any]]
PATIENCE_S = 10.0
MOST_WAITING = 10_000
MOST_PROBLEMS = 20
"""Failed calls that are told one by one; of the others their number is."""
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
    """An observer that calls the project's hooks; what goes wrong with them is kept in ``problems``."""

    def __init__(self, hooks: Mapping[str, Sequence[Hook]], patience_s: float = PATIENCE_S) -> None:
        self.hooks = hooks
        self.patience_s = patience_s
        self.problems: list[str] = []
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._dropped = 0
        self._untold = 0

    def event(self, kind: str, name: str, **facts: Any) -> None:
        """Have the hooks called that an event concerns; never waits for them."""
        when = KINDS.get(kind)
        for hook in self.hooks.get(when, ()) if when else ():
            if self._calls.qsize() >= MOST_WAITING:
                self._dropped += 1
                continue
            self._calls.put((hook, {"event": kind, "name": name, **facts}))
            if self._thread is None:
                self._thread = Thread(target=self._call_all, name="hooks", daemon=True)
                self._thread.start()

    def _call_all(self) -> None:
        """Call one hook after the other, until there are no more; what they read is no recipe's doing."""
        with suspended():
            while (call := self._calls.get()) is not None:
                hook, event = call
                try:
                    hook(event)
                except BaseException as caught:  # not even SystemExit may end a build
                    self._note(f"a hook failed at '{event['name']}': {type(caught).__name__}: {caught}")

    def _note(self, problem: str) -> None:
        """Keep a problem, as long as they are few."""
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)
        else:
            self._untold += 1

    def finish(self) -> None:
        """Wait for the hooks that were not called yet, but not for long; one that hangs is told and left."""
        if self._thread is None:
            return
        self._calls.put(None)
        self._thread.join(self.patience_s)
        if self._untold:
            self.problems.append(f"{self._untold} more calls of hooks failed")
        left = self._dropped + (self._calls.qsize() - 1 if self._thread.is_alive() else 0)
        if self._thread.is_alive():
            self.problems.append(
                f"a hook has not ended {self.patience_s:g} s after the build; {left} calls were left out"
            )
        elif left:
            self.problems.append(f"hooks were too slow: {left} calls were left out")
        self._thread = None

    def close(self) -> None:
        """Hooks keep nothing open."""
