"""The note of a run under way: what other commands can tell of it while it goes on.

Decides nothing. It is written beside the ledger, never into it, whole and now and then; it says who wrote it, so that
a note whose builder has died tells nothing. Losing it loses nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from builder.processes import Identity, myself

FILE = "running.json"


def write_note(store: Path, facts: Mapping[str, Any]) -> None:
    """Leave a note of how the run of this process stands; a store that cannot be written gets none."""
    path = store / FILE
    beside = path.with_name(f"{FILE}.{os.getpid()}")
    with suppress(OSError):
        beside.write_text(json.dumps({"by": str(myself()), **facts}), encoding="utf-8")
        beside.replace(path)


def remove_note(store: Path) -> None:
    """Take the note away, where it is this process's own."""
    with suppress(OSError, ValueError, AttributeError):
        if json.loads((store / FILE).read_bytes()).get("by") == str(myself()):
            (store / FILE).unlink()


def read_note(store: Path) -> dict[str, Any] | None:
    """What is noted of the run under way; None where there is none."""
    try:
        note = json.loads((store / FILE).read_bytes())
        writer = Identity.parse(note["by"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return note if writer.is_alive or not writer.is_here else None
