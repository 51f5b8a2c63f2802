"""Content digests of files, read only where their tokens leave a doubt.

Decides when a file must be read again, and refuses one that changes while it is read. Never keeps what it found: the
`FileCache` does.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from blake3 import blake3

from builder.digests import Digest
from builder.errors import BuilderError, error
from builder.nouns import dataclass
from builder.sense.tokens import Token, is_settled, token_of, unreadable

Progress = Callable[[int, int], None]
"""Called with the bytes read so far and the bytes to read in all; from several threads, never at once."""

_CHUNK_BYTES = 4 << 20
_THREADED_BYTES = 1 << 20
_POOL_THREADS = 8  # small files wait for the disk more than for a core
_FEW_FILES, _SMALL_BYTES = 16, 64 << 10  # read sooner than threads are started


@dataclass(frozen=True, slots=True)
class FileVersion:
    """One state of a file: its token, its content's digest, and whether the content was read to know it."""

    token: Token
    digest: Digest
    was_read: bool


Sensed = FileVersion | BuilderError


class FileCache(Protocol):
    """What earlier sensings found, by absolute path."""

    def get(self, path: str) -> tuple[Token, Digest, int] | None:
        """The token, the digest and when it was sensed (ns since the epoch); None for a path not seen."""

    def put(self, path: str, token: Token, digest: Digest, sensed_at_ns: int) -> None:
        """Keep what was found, over what was kept before."""


def hash_file(path: str | os.PathLike[str], advance: Callable[[int], None] | None = None) -> Digest:
    """The BLAKE3 digest of a regular file's bytes; `advance` is called with the size of each piece read.

    Files are read, not mapped: a mapped file that another program truncates kills the process.

    Raises
    ------
    SourceError
        ``source-unreadable``: no file, a folder, a device, no permission. ``source-moved``: longer than it said, so
        that one that grows faster than it is read comes to an end.
    """
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for its writer.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as cause:
        raise unreadable(path, cause) from cause
    try:
        return _hash_open(handle, path, advance)
    except OSError as cause:
        raise unreadable(path, cause) from cause
    finally:
        os.close(handle)


def _hash_open(handle: int, path: str | os.PathLike[str], advance: Callable[[int], None] | None) -> Digest:
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "no regular file"
        raise unreadable(path, ValueError(f"it is {kind}"))
    hasher = blake3(max_threads=blake3.AUTO if found.st_size > _THREADED_BYTES else 1)
    buffer = memoryview(bytearray(min(found.st_size + 1, _CHUNK_BYTES)))
    left = found.st_size
    with open(handle, "rb", buffering=0, closefd=False) as file:
        while count := file.readinto(buffer[: left + 1]):
            left -= count
            if left < 0:
                raise _moved(path)
            hasher.update(buffer[:count])
            if advance:
                advance(count)
    return Digest(hasher.hexdigest())


def _moved(path: str | os.PathLike[str]) -> BuilderError:
    shown = os.fspath(path)
    return error(
        "source-moved",
        f"'{shown}' changed while it was read",
        place=shown,
        hint="wait until it is written, or write it beside and rename it into place; then rebuild again",
    )


def hash_files(
    paths: Iterable[str], progress: Progress | None = None, threads: int | None = None, root: Path | None = None
) -> dict[str, Sensed]:
    """What each file holds, read now: a version, or the error in its way; files that are not there are left out.

    A file whose token changes while it is read is read once more, then refused with ``source-moved``. Paths below
    `root` are shown relative to it in messages.
    """
    tokens, sensed = _tokens(paths, root)
    sensed |= _read_all(tokens, progress, threads, root)
    return sensed


def sense_files(
    paths: Iterable[str],
    cache: FileCache,
    now_ns: int,
    progress: Progress | None = None,
    root: Path | None = None,
) -> dict[str, Sensed]:
    """What each file holds, as `hash_files`; a file with the settled token of the last sensing is not read.

    `now_ns` is the time at which this sensing began. Versions and refreshed tokens go to the cache.
    """
    tokens, sensed = _tokens(paths, root)
    unknown: dict[str, Token] = {}
    for path, token in tokens.items():
        known = cache.get(path)
        if known and known[0] == token and is_settled(token, known[2]):
            sensed[path] = FileVersion(token, known[1], was_read=False)
        else:
            unknown[path] = token
    for path, version in _read_all(unknown, progress, None, root).items():
        sensed[path] = version
        if isinstance(version, FileVersion):
            cache.put(path, version.token, version.digest, now_ns)
    return sensed


def _tokens(paths: Iterable[str], root: Path | None) -> tuple[dict[str, Token], dict[str, Sensed]]:
    """Tokens of the files that are there, and errors of those that cannot even be asked."""
    tokens: dict[str, Token] = {}
    failed: dict[str, Sensed] = {}
    for path in paths:
        try:
            token = token_of(path)
        except BuilderError as refused:
            failed[path] = _relative(refused, path, root)
            continue
        if token is not None:
            tokens[path] = token
    return tokens, failed


def _read_all(
    tokens: dict[str, Token], progress: Progress | None, threads: int | None, root: Path | None
) -> dict[str, Sensed]:
    """The content of files with known tokens; those that vanished meanwhile are left out."""
    if not tokens:
        return {}
    advance = _adder(progress, sum(t.size for t in tokens.values())) if progress else None

    def read(path: str) -> Sensed | None:
        try:
            return _read_still(path, tokens[path], advance)
        except BuilderError as refused:
            return _relative(refused, path, root)

    # Largest first: the pool ends evenly. Large files use all cores by themselves, so that a few threads are enough.
    order = sorted(tokens, key=lambda p: -tokens[p].size)
    is_little = len(order) <= _FEW_FILES and tokens[order[0]].size <= _SMALL_BYTES
    threads = min(threads or (1 if is_little else _POOL_THREADS), len(order))
    if threads == 1:
        found = [read(path) for path in order]
    else:
        from concurrent.futures import ThreadPoolExecutor  # slow to import; nothing to read is the common case

        with ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(read, order))
    return {path: version for path, version in zip(order, found, strict=True) if version is not None}


def _read_still(path: str, token: Token, advance: Callable[[int], None] | None) -> FileVersion | None:
    """A version whose token is the same before and after reading; None where the file vanished."""
    before: Token | None = token
    for _ in range(2):
        if before is None:
            return None
        digest = None
        try:
            digest = hash_file(path, advance)
        except BuilderError as refused:
            if refused.code != "source-moved" and token_of(path) is not None:
                raise
        after = token_of(path)
        if digest is not None and after == before:
            return FileVersion(after, digest, was_read=True)
        before = after
    if before is None:
        return None
    raise _moved(path)


def _adder(progress: Progress, total: int) -> Callable[[int], None]:
    from threading import Lock  # only where there is something to read

    done = 0
    lock = Lock()

    def advance(count: int) -> None:
        nonlocal done
        with lock:
            done += count
            progress(done, max(done, total))

    return advance


def _relative(refused: BuilderError, path: str, root: Path | None) -> BuilderError:
    """The error with its path as people know it: relative to the project."""
    if root is None or not Path(path).is_relative_to(root):
        return refused
    shown = Path(path).relative_to(root).as_posix()
    message = refused.message.replace(f"'{path}'", f"'{shown}'", 1)
    return error(refused.code, message, place=shown, facts=refused.facts, hint=refused.hint)
