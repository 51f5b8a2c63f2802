"""Tokens of files: what the file system says of a file without reading it.

Decides when an unchanged token may stand for unchanged content. Never reads content.
"""

from __future__ import annotations

import errno
import os
from typing import NamedTuple

from builder.errors import BuilderError, error

SETTLE_NS = 2_000_000_000
"""A file younger than this may change again within the clock tick of its last change (FAT counts in 2 s)."""

_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})


class Token(NamedTuple):
    """What tells two states of a file apart; a tuple, so that it travels as JSON and in `SourceFile.token`."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int


def token_of(path: str | os.PathLike[str]) -> Token | None:
    """The token of a file, through links; None where there is nothing (or only a link that leads nowhere).

    Raises
    ------
    SourceError
        ``source-unreadable``: a folder on the way that may not be entered, links in a circle, a NUL in the name.
    """
    try:
        return token_from(os.stat(path))
    except OSError as cause:
        if cause.errno in _MISSING:
            return None
        raise unreadable(path, cause) from cause
    except ValueError as cause:
        raise unreadable(path, cause) from cause


def token_from(found: os.stat_result) -> Token:
    """The token that a stat result holds."""
    return Token(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)


def is_settled(token: Token, sensed_at_ns: int) -> bool:
    """Whether the same token later means the same content: its times lay 2 s back when it was sensed.

    A file that is written twice within one tick of the file system's clock keeps its token; one whose times lie in the
    future is never settled.
    """
    return max(token.mtime_ns, token.ctime_ns) + SETTLE_NS <= sensed_at_ns


def has_stood(path: str, since_ns: int) -> bool:
    """Whether a file or folder surely is as it was then: settled then, or not there and the folder above settled."""
    while True:
        try:
            return is_settled(token_from(os.stat(path)), since_ns)
        except (OSError, ValueError):
            above = os.path.dirname(path)
            if above == path:
                return True
            path = above


def unreadable(path: str | os.PathLike[str], cause: OSError | ValueError) -> BuilderError:
    """The error of a file or folder that is there and cannot be read."""
    shown = os.fspath(path)
    why = (cause.strerror if isinstance(cause, OSError) else None) or str(cause)
    hint = "give read access to it" if isinstance(cause, PermissionError) else "make it a file that can be read"
    return error("source-unreadable", f"'{shown}' cannot be read: {why}", place=shown, hint=hint)
