"""Where the bytes of outputs lie: fresh, immutable files under ``parts/``, or, of small ones, the ledger itself.

Decides names of parts, which are small, and when they are safe on disk. Never removes a part that a version needs.
"""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from builder.digests import digest_bytes
from builder.errors import BuilderError, error
from builder.store.disk import remove, sync_file, sync_folder
from builder.store.manifest import Manifest, Part

INLINE_BYTES = 4096
"""An output of at most this many bytes travels with its manifest and is committed with it. One file of its own costs a
name, a write and two flushes, and fills a block of 4 KB; in the ledger it costs its bytes once more in a transaction
that is written anyway. Larger ones would make every reader's spec and every look at a manifest heavier for no gain."""

BESIDE = ".rows"
"""What the file of row hashes beside a table's Parquet file is called more, in a store of format 2."""
_PARQUET = ".parquet"

READ_ONLY = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH


class PartFolder:
    """Hands out fresh paths below ``store/parts`` and seals what was written there.

    A fresh name is never used twice, so an attempt that dies leaves orphans, never a half part under a known name.

    Parameters
    ----------
    store
        The store's folder.
    inline_bytes
        How large an output may be that gets no file; None: each gets one.
    """

    def __init__(self, store: str | os.PathLike[str], inline_bytes: int | None = None) -> None:
        self.store = Path(store)
        self._inline_bytes = inline_bytes
        self._given: list[Path] = []

    def is_small(self, size: int) -> bool:
        """Whether an output of this many bytes gets no file."""
        return self._inline_bytes is not None and size <= self._inline_bytes

    def fresh(self, suffix: str) -> tuple[str, Path]:
        """A new part's path, relative to the store and absolute; its folder exists."""
        name = uuid.uuid4().hex
        relative = f"parts/{name[:2]}/{name}{suffix}"
        path = self.store / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        self._given.append(path)
        return relative, path

    def adopt(self, relatives: Iterable[str]) -> None:
        """Answer for parts that others wrote for the same outputs, too."""
        self._given += map(self.path, relatives)

    def discard(self) -> None:
        """Remove what was written under the paths that were handed out: half a part may be what fills the disk."""
        for path in self._given:
            with suppress(OSError):
                path.unlink()

    def path(self, relative: str) -> Path:
        """The absolute path of a part."""
        return self.store / relative

    def seal(self, *paths: Path) -> int:
        """Make files durable and read-only; their size in bytes together."""
        size = 0
        for path in paths:
            path.chmod(READ_ONLY)
            sync_file(path)
            size += path.stat().st_size
        for folder in {path.parent for path in paths}:
            sync_folder(folder)
        return size


def files_of(store: Path, part: Part) -> list[Path]:
    """The files that a table's part lies in: one, or two where it was written in format 2."""
    path = store / part.path
    return [path, path.with_name(path.name + BESIDE)] if path.suffix == _PARQUET else [path]


def inlined(content: bytes, *, rows: int = 0, name: str = "") -> Part:
    """A part that has its bytes with it."""
    return Part(f"inline/{uuid.uuid4().hex}", rows, len(content), name, digest_bytes(content), content)


def content_of(part: Part) -> bytes:
    """The bytes of a part that has them with it.

    Raises
    ------
    StoreError
        ``store-damaged``: they are not those that were written.
    """
    if part.content is None or not is_whole(part):
        raise _other_bytes(part)
    return part.content


def read_file(store: Path, part: Part) -> bytes:
    """The bytes of a part of an output that is no table.

    Raises
    ------
    StoreError
        ``store-damaged``: it is missing, or they are not those that were written.
    """
    if part.content is not None:
        return content_of(part)
    try:
        content = (store / part.path).read_bytes()
    except OSError as cause:
        raise _missing(store, part) from cause
    if digest_bytes(content) != part.digest:
        raise _other_bytes(part)
    return content


def check_file(store: Path, part: Part, copy: Path | None = None) -> None:
    """Refuse the file of a part of an output that is no table where it, or this copy of it, has other bytes.

    Raises
    ------
    StoreError
        ``store-damaged``: as `read_file`.
    """
    from builder.sense.hashing import hash_file

    path = copy or store / part.path
    try:
        found = path.stat()
        seen = (str(path), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if seen in _whole:
            return
        is_same = hash_file(path) == part.digest
    except (OSError, BuilderError) as cause:
        raise _missing(store, part) from cause
    if not is_same:
        raise _other_bytes(part)
    if copy is None:
        _whole.add(seen)


_whole: set[tuple[str, int, int, int, int]] = set()
"""Files of parts, by what changes with their bytes, that this process has read whole and found as they were written."""


def _missing(store: Path, part: Part) -> BuilderError:
    return error(
        "store-damaged",
        "a part of an output is missing from the store",
        place=str(store / part.path),
        hint="builder fsck --repair",
    )


def _other_bytes(part: Part) -> BuilderError:
    return error(
        "store-damaged",
        f"part '{part.path}' of the store has other bytes than were written",
        place=part.path,
        hint="builder fsck --repair",
    )


def is_whole(part: Part) -> bool:
    """Whether a part that has its bytes with it has those that were written."""
    return part.content is not None and digest_bytes(part.content) == part.digest


def drop_parts(store: Path, manifest: Manifest, kept: Manifest) -> None:
    """Remove the parts of one version that another, which stands for it, does not have."""
    own = {part.path for part in kept.files}
    for part in manifest.files:
        if part.path not in own:
            remove(store / part.path)
