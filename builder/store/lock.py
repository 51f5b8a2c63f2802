"""One builder at a time per store.

Decides who may write. The lock is the kernel's (`flock`), so a process that dies, however it dies, leaves nothing to
remove by hand.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from builder.errors import error
from builder.store.disk import make_folder, store_error, writing


@contextmanager
def locked(store: Path) -> Iterator[None]:
    """Hold a store's lock.

    Raises
    ------
    StoreError
        ``locked`` while another process holds it, with that process.
    """
    make_folder(store)
    path = store / "lock"
    with writing(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as cause:
            holder = os.pread(handle, 200, 0).decode("utf-8", "replace").strip() or "unknown"
            raise error(
                "locked",
                "another builder is at work in this project",
                place=str(store),
                facts=[("holder", holder)],
                hint="wait for it; builder status works meanwhile",
            ) from cause
        except OSError as cause:  # a file system without locks, or without any left
            raise store_error(cause, path) from cause
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)
