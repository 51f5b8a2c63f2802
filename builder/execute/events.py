"""Events of a run as JSON lines, for other tools: one object a line, written as it happens.

Decides the fields: ``{"at": seconds since the epoch, "event": kind, "name": …}`` and what the event brings. Never
buffers.
"""

from __future__ import annotations

import json
import time
from typing import Any, TextIO


class JsonLines:
    """An observer that writes every event as a line of JSON."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def event(self, kind: str, name: str, **facts: Any) -> None:
        """Write an event."""
        line = {"at": round(time.time(), 3), "event": kind, "name": name, **facts}
        self.stream.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")
        self.stream.flush()

    def close(self) -> None:
        """Nothing is kept back."""


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
