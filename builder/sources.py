"""One file of a source as sensing found it: a noun that sensing, planning, the wire format and the formats share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from builder.digests import Digest
from builder.nouns import dataclass

INTAKE_VERSION = "2"
"""Of how files become rows: sources that were taken in by another one are read anew, in all their files and lines."""

LOG_ENDING = "-wal"
"""How the name of the log ends that SQLite writes beside a GeoPackage that is open."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source as it was sensed.

    ``name`` is the file's name relative to the source and counts as content for `Files`; ``path`` is the absolute local
    path to read; ``shown`` is for people (relative to the project, or a URL); ``token`` is the file's
    (size, mtime_ns, ctime_ns, inode, device) when it was sensed, None for a private copy of a remote object.
    """

    name: str
    path: str
    shown: str
    bytes: int
    digest: Digest
    token: tuple[int, int, int, int, int] | None = None

    def to_json(self) -> list[Any]:
        """A plain list that `from_json` reads."""
        return [self.name, self.path, self.shown, self.bytes, self.digest, self.token and list(self.token)]

    def log_among(self, files: Iterable[SourceFile]) -> SourceFile | None:
        """The log beside this file, if it was sensed with it."""
        return next((file for file in files if file.shown == self.shown + LOG_ENDING), None)

    @staticmethod
    def from_json(value: list[Any]) -> SourceFile:
        """The file that `to_json` wrote."""
        name, path, shown, size, digest, token = value
        return SourceFile(name, path, shown, size, Digest(digest), token and tuple(token))
