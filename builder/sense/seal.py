"""Seals: what the last look found all fresh by, so that the next one need only compare tokens.

Decides when a look may be sealed: all is fresh, every source is local, nothing of the process's environment was read
while recipes loaded, and every token is settled, so that the same token later means the same content. `builder.quick`
reads what is written here.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from builder.quick import FILE, head
from builder.sense.tokens import Token, is_settled, token_from
from builder.store.disk import write_whole


def seal_path(root: Path) -> Path:
    """Where a project's seal lies: at the store's usual place, where it is found without reading any settings."""
    return root / ".builder" / FILE


def write_seal(
    root: Path,
    summary: tuple[str, str, str],
    sensed: dict[str, Token],
    looked: Iterable[str],
    *,
    own: Iterable[str],
) -> bool:
    """Whether the look was sealed.

    Parameters
    ----------
    summary
        The project's name, its targets and its sources as counted for people.
    sensed
        Files that were sensed, with the tokens they had then.
    looked
        Folders and files that were looked at otherwise: their tokens are taken now, and must be settled.
    own
        The store's own files and the published ones, whose tokens are taken now as well.
    """
    now_ns = time.time_ns()
    lines = [*head(str(root)), "\t".join(summary)]
    for path in dict.fromkeys((*sensed, *looked, *own, *sys.path)):
        token = sensed.get(path) or _token(path)
        if token is not None and not is_settled(token, now_ns):
            return False
        text = "-" if token is None else " ".join(map(str, token))
        lines.append(f"{text}\t{path}")
    if any("\n" in line for line in lines) or not seal_path(root).parent.is_dir():
        return False
    content = "\n".join(lines).encode("utf-8", "surrogateescape")
    write_whole(seal_path(root), content, is_durable=False)
    return True


def _token(path: str) -> Token | None:
    """A file's or folder's token; None where there is none."""
    try:
        return token_from(os.stat(path))
    except (OSError, ValueError):
        return None
