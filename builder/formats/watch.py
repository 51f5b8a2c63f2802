"""Whether files stood still while they were read.

Decides `source-moved`. A file is as it was sensed when its token is; when its token differs, or is too young for
the file system's clock to tell two writes apart, when its bytes have the digest that was sensed. Never hashes old,
unchanged files.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blake3 import blake3

from builder.errors import BuilderError, error
from builder.sources import LOG_ENDING, SourceFile

YOUNG_NS: Final = 2_000_000_000

Token = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class Watched:
    """A file before it is read: its token then, and whether only its bytes can prove that it is what was sensed."""

    file: SourceFile
    token: Token | None
    is_doubtful: bool


def watch(files: Iterable[SourceFile]) -> tuple[Watched, ...]:
    """The files as they stand before reading; private copies, which have no token, are left out."""
    now_ns = time.time_ns()
    watched = []
    for file in files:
        if file.token is None:
            continue
        token = _token(file.path)
        is_young = token is not None and now_ns - max(token[1], token[2]) < YOUNG_NS
        watched.append(Watched(file, token, is_young or token != file.token))
    return tuple(watched)


def moved(watched: Iterable[Watched], source: str) -> BuilderError | None:
    """The error about the first file that changed since it was sensed, None where all stood still.

    To be asked after the last byte was read: a doubtful file is hashed now, and its token compared again.
    """
    for item in watched:
        after = _token(item.file.path)
        if after is None or after != item.token:
            return _error(item.file, source, "it is gone" if after is None else "it was written while it was read")
        if item.is_doubtful:
            digest = blake3().update_mmap(item.file.path).hexdigest()
            if digest != item.file.digest or _token(item.file.path) != after:
                return _error(item.file, source, "its bytes are not those that were sensed")
    return None


def logged(file: SourceFile, known: Iterable[SourceFile], source: str) -> BuilderError | None:
    """The error about a GeoPackage whose log was not there when the `known` files were sensed: it is read with it."""
    log = os.path.realpath(file.path) + LOG_ENDING
    size = os.path.getsize(log) if os.path.isfile(log) else 0
    if not size or file.log_among(known):
        return None
    return _error(file, source, "another program opened it and wrote to it")


def _token(path: str) -> Token | None:
    try:
        stat = Path(path).stat()
    except FileNotFoundError:
        return None
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev


def _error(file: SourceFile, source: str, reason: str) -> BuilderError:
    return error(
        "source-moved",
        f"'{source}' changed during the run: {file.shown}",
        place=file.shown,
        facts=[("reason", reason)],
        hint="run builder rebuild again once the file is complete; write it beside and rename it into place",
        target=source,
    )
