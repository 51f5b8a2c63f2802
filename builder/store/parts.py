"""Where the bytes of outputs lie: fresh, immutable files under ``parts/``.

Decides names of parts and when they are safe on disk. Never deletes: `store.gc` does.
"""

from __future__ import annotations

import os
import stat
import uuid
from pathlib import Path

from builder.store.disk import sync_file, sync_folder

READ_ONLY = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH


class PartFolder:
    """Hands out fresh paths below ``store/parts`` and seals what was written there.

    A fresh name is never used twice, so an attempt that dies leaves orphans, never a half part under a known name.
    """

    def __init__(self, store: str | os.PathLike[str]) -> None:
        self.store = Path(store)

    def fresh(self, suffix: str) -> tuple[str, Path]:
        """A new part's path, relative to the store and absolute; its folder exists."""
        name = uuid.uuid4().hex
        relative = f"parts/{name[:2]}/{name}{suffix}"
        path = self.store / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        return relative, path

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
