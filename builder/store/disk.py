"""The few operations that change a disk, in one place.

Every write, rename and removal of the store goes through here, so that tests can stop the process before any of them
(`on_write`), and so that full and read-only disks become errors with a remedy.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from builder.errors import BuilderError, error

on_write: Callable[[str, Path], None] | None = None
"""Called before each operation with its name and path; tests raise from it to stand for a kill."""

durable = os.environ.get("BUILDER_DURABLE", "1") != "0"
"""Whether files are flushed to the disk; a test suite may trade this for speed."""


def before(operation: str, path: Path) -> None:
    """Announce an operation to `on_write`."""
    if on_write is not None:
        on_write(operation, path)


def store_error(cause: OSError, path: Path) -> BuilderError:
    """The error of a disk that is full, read-only, forbidden, broken, or holds a file where a folder belongs.

    Any other is an internal one.
    """
    if cause.errno in (errno.ENOSPC, errno.EDQUOT):
        code, what, hint = "store-full", "the disk is full", "free space, or run builder gc; then rebuild again"
    elif cause.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        code, what, hint = "store-read-only", "the store cannot be written", "give write access to this folder"
    elif cause.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        code, what = "store-read-only", f"the store cannot be written: {(cause.strerror or '').lower()}"
        hint = "a file stands where a folder belongs, or the other way round: move it away"
    elif cause.errno == errno.EIO:
        code, what, hint = "store-damaged", "the disk failed", "look at its health; then builder fsck --repair"
    else:
        code, what, hint = "internal", f"the disk failed: {cause.strerror or cause}", "look at the disk's health"
    return error(code, what, place=str(path), hint=hint)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an `OSError` inside into the store's error about `path`."""
    try:
        yield
    except OSError as cause:
        raise store_error(cause, path) from cause


def sync_file(path: Path) -> None:
    """Flush a file's content to the disk."""
    before("sync", path)
    if not durable:
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(path: Path) -> None:
    """Flush a folder's entries to the disk."""
    sync_file(path)


def make_folder(path: Path) -> None:
    """Create a folder and those above it where they are missing."""
    if not path.is_dir():
        before("mkdir", path)
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)


def replace(source: Path, target: Path) -> None:
    """Rename `source` to `target` in one step, over what stood there."""
    before("rename", target)
    with writing(target):
        os.replace(source, target)


def beside(path: Path) -> Path:
    """A fresh hidden name in the same folder, to be renamed to `path` once it is whole."""
    return path.with_name(f".{path.name[:60]}.{os.urandom(4).hex()}.tmp")


def write_whole(path: Path, content: bytes, *, is_durable: bool = True) -> None:
    """Write a file so that it appears whole or not at all; a cache need not be flushed (`is_durable` False)."""
    make_folder(path.parent)
    temporary = beside(path)
    before("write", path)
    try:
        with writing(path):
            temporary.write_bytes(content)
        if is_durable:
            sync_file(temporary)
        replace(temporary, path)
    except BuilderError:
        temporary.unlink(missing_ok=True)
        raise


def remove(path: Path) -> None:
    """Remove a file or a folder with all in it; nothing where there is none. A link is removed, not followed."""
    before("remove", path)
    with writing(path):
        if path.is_dir() and not path.is_symlink():
            import shutil  # slow to import, and most commands remove no folder

            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
