"""Events of a run, and observers of them: lines of JSON for other tools, a note for other commands.

Decides the fields. An event has a kind, the name of what it is about, and facts:

    total      (no name)       steps, intakes: how many will end
    queued     step or source  lanes (where it takes any): it waits for a worker or a lane
    started    step or source  attempt: the how-manieth; packed: it travels with other tiny steps
    retried    step or source  error: the code; it is queued again
    target     target          outcome (built, updated, unchanged, restored, failed, blocked), rows
    fresh      target          it proved fresh: nothing ran for it
    source     source          outcome (read, unchanged, restored, failed), rows
    ended      step or source  state (done, failed, blocked), error: the code or null; the last of its events
    progress   (no name)       done, left, running: counts; left_s: predicted seconds to the end or null;
                               lanes: for each its capacity, taken, queued
    paused, resumed (no name)  no step may start; steps may start again
    health     what it is about  finding: what looks wrong

Sources are taken in under their own names; the schema of a family under ``schema of NAME``. Never buffers.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, TextIO

from builder.store.current_run import remove_note, write_note


class JsonLines:
    """An observer that writes every event as a line of JSON: ``at`` (seconds since the epoch), event, name, facts."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def event(self, kind: str, name: str, **facts: Any) -> None:
        """Write an event."""
        line = {"at": round(time.time(), 3), "event": kind, "name": name, **facts}
        self.stream.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")
        self.stream.flush()

    def close(self) -> None:
        """Nothing is kept back."""


class Noted:
    """An observer that leaves a note in the store of how the run stands, for commands that look while it goes on."""

    def __init__(self, store: Path) -> None:
        self.store = store
        self.facts: dict[str, Any] = {"is_paused": False}
        self.is_written = False

    def event(self, kind: str, name: str, **facts: Any) -> None:
        """Note the outlook, or a pause."""
        if kind == "progress":
            self.facts |= {"at": time.time(), **facts}
        elif kind in ("paused", "resumed"):
            self.facts["is_paused"] = kind == "paused"
        else:
            return
        write_note(self.store, self.facts)
        self.is_written = True

    def close(self) -> None:
        """Take the note away."""
        if self.is_written:
            remove_note(self.store)


class Several:
    """An observer that tells each of several others."""

    def __init__(self, *observers: Any) -> None:
        self.observers = observers

    def event(self, kind: str, name: str, **facts: Any) -> None:
        """Pass an event on."""
        for observer in self.observers:
            observer.event(kind, name, **facts)

    def close(self) -> None:
        """Close each."""
        for observer in self.observers:
            observer.close()
