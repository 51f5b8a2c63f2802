"""The epoch under which attempts run, in a file of its own: workers read it, and it outlives the ledger.

Decides how it is kept: flushed before the first attempt of an epoch begins, so that no number is ever given twice,
whatever becomes of the ledger. Never decides who is an orphan: `execute.presence` does.
"""

from __future__ import annotations

from pathlib import Path

from builder.store import disk

FILE = "epoch"
PRESENCE = ".pid"
"""What ends the name of an attempt's presence file, which lies beside its folder in scratch."""


def begun_epoch(store: Path) -> int:
    """The last epoch whose builder ran attempts; 0 for none."""
    try:
        return int((store / "scratch" / FILE).read_text())
    except (OSError, ValueError):
        return 0


def note_epoch(store: Path, epoch: int) -> None:
    """Note that attempts of an epoch may begin; it is on the disk when this returns."""
    path = store / "scratch" / FILE
    disk.write_whole(path, str(epoch).encode())
    disk.sync_folder(path.parent)
