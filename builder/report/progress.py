"""Progress of a run on standard error: a few live lines on a terminal, plain lines elsewhere.

Decides where and when a run is shown; `report.board` decides what is said. A run in which nothing was queued is not.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, TextIO

from builder.report.board import Board

EVERY_S = 5.0
SHARE = 0.05
"""Of the time gone by: the next count waits that long, so that a run of a day prints some 150 of them."""
MOST_OF_A_KIND = 20


class Lines:
    """Plain lines: failures, retries and warnings as they come, up to a bound, and how the run stands now and then."""

    def __init__(
        self, stream: TextIO | None = None, every_s: float = EVERY_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.stream = stream or sys.stderr
        self.every_s = every_s
        self.clock = clock
        self.board = Board(clock)
        self.told: Counter[str] = Counter()
        self.last_s = clock()

    def event(self, kind: str, name: str, **facts: Any) -> None:
        """Note an event; print it where it matters."""
        self.board.event(kind, name, **facts)
        if kind == "ended" and facts.get("error"):
            self._tell("failed", f"{name}  {facts['error']}")
        elif kind == "retried":
            self._tell("retrying", f"{name}  {facts['error']}")
        elif kind == "health":
            self._tell("warning", f"{name}  {facts['finding']}")
        elif kind == "paused":
            self._print("  paused; builder resume goes on")
        elif kind == "resumed":
            self._print("  resumed")
        elif kind in ("ended", "progress"):
            now_s = self.clock()
            if now_s - self.last_s >= max(self.every_s, SHARE * (now_s - self.board.began_s)):
                self.last_s = now_s
                self._print(f"  {self.board.line()}")

    def _tell(self, word: str, what: str) -> None:
        """Print one of a kind, unless there were too many."""
        self.told[word] += 1
        if self.told[word] <= MOST_OF_A_KIND:
            self._print(f"  {word:<8} {what}")

    def _print(self, line: str) -> None:
        print(line, file=self.stream, flush=True)

    def close(self) -> None:
        """Say how many of each kind were left out."""
        for word, count in self.told.items():
            if count > MOST_OF_A_KIND:
                self._print(f"  {word:<8} {count - MOST_OF_A_KIND:,} more")


class Live:
    """A few lines that change in place: a bar, what runs, the lanes, what looks wrong. Needs a terminal.

    An event only changes the board; the lines are made four times a second, however many events there are.
    """

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live as Screen

        self.board = Board()
        self.console = Console(stderr=True)
        self.screen = Screen(
            console=self.console, get_renderable=self.lines, refresh_per_second=4, transient=True, redirect_stdout=False
        )
        self.screen.start()

    def event(self, kind: str, name: str, **facts: Any) -> None:
        """Show an event."""
        self.board.event(kind, name, **facts)
        if kind == "ended" and facts.get("error"):
            self._say(f"  failed   {name}  {facts['error']}")
        elif kind == "retried":
            self._say(f"  retrying {name}  {facts['error']}")

    def _say(self, line: str) -> None:
        """Print a line that stays, above those that change."""
        self.console.print(line, markup=False, highlight=False)

    def lines(self) -> Any:
        """What stands on the screen now."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        board = self.board
        head = Table.grid(padding=(0, 2))
        gone = time.strftime("%H:%M:%S", time.gmtime(board.clock() - board.began_s))
        bar = ProgressBar(total=max(1, board.total), completed=board.done, width=24)
        head.add_row(bar, f"{board.done:,} of {board.total:,}", gone, board.time_left())
        if not board.counts["running"] and not board.counts["packed"] and not board.done:
            rows = [("starting", "workers")]
        else:
            rows = [("steps", board.states()), ("running", board.names()), ("lanes", board.queues())]
        rows += [("warning", finding) for finding in board.warnings()]
        texts = [Text(f"  {word:<8} {said}", no_wrap=True, overflow="ellipsis") for word, said in rows if said]
        return Group(head, *texts)

    def close(self) -> None:
        """Take the lines away."""
        self.screen.stop()


def observer() -> Lines | Live:
    """The observer that fits where standard error goes."""
    return Live() if sys.stderr.isatty() else Lines()


class WhenQueued:
    """An observer made when the first step is queued, so that a rebuild with nothing to run imports nothing for it."""

    def __init__(self, make: Callable[[], Any] = observer) -> None:
        self.make = make
        self.made: Any = None
        self.totals: dict[str, Any] = {"steps": 0, "intakes": 0}

    def event(self, kind: str, name: str, **facts: Any) -> None:
        """Pass an event on; those before the first that is queued are of no interest but for the totals."""
        if kind == "total":
            self.totals = facts
        elif self.made is None and kind in ("queued", "paused"):
            self.made = self.make()
            self.made.event("total", "", **self.totals)
        if self.made is not None:
            self.made.event(kind, name, **facts)

    def close(self) -> None:
        """Close it where it was made."""
        if self.made is not None:
            self.made.close()


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    kernel = sys.modules.get("ipykernel.zmqshell")
    shell = sys.modules.get("IPython")
    return kernel is not None and shell is not None and shell.get_ipython() is not None


def hashing(done_bytes: int, total_bytes: int) -> None:
    """Show how far the hashing of changed files is, on a terminal and where there is enough to wait for."""
    if total_bytes > 200_000_000 and sys.stderr.isatty():
        end = "\r" if done_bytes < total_bytes else "\r\033[K"
        print(f"  hashing {done_bytes / 1e9:.1f} of {total_bytes / 1e9:.1f} GB", end=end, file=sys.stderr, flush=True)
