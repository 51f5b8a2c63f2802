"""The pause of a project: a marker in the store that keeps a builder from starting steps.

Decides only whether steps may start. It outlives the builder that saw it, so a pause can last for days.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from builder.store import disk

MARKER = "paused"


def pause(store: Path) -> bool:
    """Whether the project was running before; it is paused now."""
    if is_paused(store):
        return False
    disk.write_whole(store / MARKER, json.dumps({"since": time.time()}).encode())
    return True


def resume(store: Path) -> bool:
    """Whether the project was paused before; it is not any more."""
    if not is_paused(store):
        return False
    disk.remove(store / MARKER)
    return True


def is_paused(store: Path) -> bool:
    """Whether no step may start."""
    return (store / MARKER).exists()


def paused_since(store: Path) -> float | None:
    """When the project was paused, in seconds since the epoch; None where it is not."""
    try:
        return float(json.loads((store / MARKER).read_bytes())["since"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
