"""Progress of a run on standard error: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO


class Lines:
    """One plain line per event that matters: what was taken in or failed, and a count now and then."""

    def __init__(self, stream: TextIO | None = None, every_s: float = 5.0) -> None:
        self.stream = stream or sys.stderr
        self.every_s = every_s
        self.total = 0
        self.done = 0
        self.last_s = time.monotonic()

    def event(self, kind: str, name: str, **facts: Any) -> None:
        """Note an event; print it where it matters."""
        if kind == "total":
            self.total = facts["steps"] + facts["intakes"]
        elif kind == "ended":
            self.done += 1
            if facts.get("error"):
                self._print(f"  failed   {name}  {facts['error']}")
            elif time.monotonic() - self.last_s > self.every_s:
                self._print(f"  {self.done:,} of {self.total:,} done · now {name}")
        elif kind == "retried":
            self._print(f"  retrying {name}  {facts['error']}")
        elif kind == "health":
            self._print(f"  {name}  {facts['finding']}")
        elif kind == "paused":
            self._print("  paused; builder resume goes on")

    def _print(self, line: str) -> None:
        self.last_s = time.monotonic()
        print(line, file=self.stream, flush=True)

    def close(self) -> None:
        """Nothing is left on the screen."""


class Live:
    """A live line: a bar, the count, what runs now. Needs a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self.running: dict[str, None] = {}
        self.progress = Progress(
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=Console(stderr=True),
            transient=True,
        )
        self.task = self.progress.add_task("starting workers", total=None)
        self.progress.start()
        self.done = 0

    def event(self, kind: str, name: str, **facts: Any) -> None:
        """Show an event."""
        if kind == "total":
            self.progress.update(self.task, total=facts["steps"] + facts["intakes"])
        elif kind == "started":
            self.running[name] = None
        elif kind in ("ended", "retried", "target"):
            self.running.pop(name, None)
            self.done += kind == "ended"
            if facts.get("error") and kind == "ended":
                self.progress.console.print(f"  failed   {name}  {facts['error']}", markup=False, highlight=False)
        self.progress.update(self.task, completed=self.done, description=", ".join(list(self.running)[:3]))

    def close(self) -> None:
        """Take the line away."""
        self.progress.stop()


def observer() -> Lines | Live:
    """The observer that fits where standard error goes."""
    return Live() if sys.stderr.isatty() else Lines()


def hashing(done_bytes: int, total_bytes: int) -> None:
    """Show how far the hashing of changed files is, on a terminal and where there is enough to wait for."""
    if total_bytes > 200_000_000 and sys.stderr.isatty():
        end = "\r" if done_bytes < total_bytes else "\r\033[K"
        print(f"  hashing {done_bytes / 1e9:.1f} of {total_bytes / 1e9:.1f} GB", end=end, file=sys.stderr, flush=True)
