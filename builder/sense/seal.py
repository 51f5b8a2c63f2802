"""Seals: what the last look found all fresh by, so that the next one need only compare tokens.

Decides when a look may be sealed: all is fresh, every source is local, nothing of the process's environment was read
while recipes loaded, and every token was settled before anything was looked at, so that what is sealed is what was
looked at, and the same token later means the same content. `builder.quick` reads what is written here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from builder.quick import FILE, head
from builder.sense.tokens import Token, has_stood, is_settled, token_from
from builder.store.disk import write_whole
from builder.transforms import versions


def seal_path(root: Path) -> Path:
    """Where a project's seal lies: at the store's usual place, where it is found without reading any settings."""
    return root / ".builder" / FILE


def write_seal(
    root: Path,
    summary: tuple[str, str, str],
    sensed: Mapping[str, Token | None],
    looked: Iterable[str],
    *,
    own: Iterable[str],
    now_ns: int,
) -> bool:
    """Whether the look was sealed.

    Parameters
    ----------
    summary
        The project's name, its targets and its sources as counted for people.
    sensed
        Files that were sensed, with the tokens they had then; None for those that were not there.
    looked
        Folders and files that were looked at otherwise: their tokens are taken now, and must have been settled then.
        So are those of the module that says which versions transforms have.
    own
        The store's own files and the published ones, whose tokens are taken now as well.
    now_ns
        When the look began: what changed since may have changed after it was looked at.
    """
    paths = dict.fromkeys((*sensed, *looked, *own, *sys.path, str(versions.__file__)))
    first = head(str(root))
    count = len(first) + 1 + len(paths) + 1  # with the empty line that ends it
    lines = [*first, "\t".join((*summary, str(count)))]
    for path in paths:
        token = sensed[path] if path in sensed else _token(path)
        has_moved = not is_settled(token, now_ns) if token else path not in sensed and not has_stood(path, now_ns)
        if has_moved:
            return False
        text = "-" if token is None else " ".join(map(str, token))
        lines.append(f"{text}\t{path}")
    lines.append("")
    if any("\n" in line for line in lines) or not seal_path(root).parent.is_dir():
        return False
    content = "\n".join(lines).encode("utf-8", "surrogateescape")
    write_whole(seal_path(root), content, is_durable=False)
    return True


def all_below(path: str) -> list[str]:
    """A file or folder with all folders and files below it: none of the folders above a change in one tells of it."""
    inside = (os.path.join(at, name) for at, folders, files in os.walk(path) for name in (*folders, *files))
    return [path, *inside]


def _token(path: str) -> Token | None:
    """A file's or folder's token; None where there is none."""
    try:
        return token_from(os.stat(path))
    except (OSError, ValueError):
        return None
