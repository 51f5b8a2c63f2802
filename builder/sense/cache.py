"""What earlier sensings found, kept beside the ledger as JSON so that nothing unchanged is read again.

Decides nothing about staleness: a lost or broken cache costs time, never a wrong answer. Whoever senses writes it,
whole, by rename.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from builder.digests import Digest, digest_of
from builder.errors import BuilderError
from builder.sense.tokens import Token
from builder.store.disk import write_whole

FORMAT = 1


class SenseCache:
    """Digests of local files by path and token."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.remote = RemoteSenseCache(self)
        self._files: dict[str, list[Any]] = {}
        self._urls: dict[str, list[Any]] = {}
        self._is_changed = False
        value = read_json(path)
        if isinstance(value, dict) and value.get("format") == FORMAT:
            self._files = value.get("files", {})
            self._urls = value.get("urls", {})

    def get(self, path: str) -> tuple[Token, Digest, int] | None:
        """The token, the digest and when it was sensed (ns); None for a path not seen."""
        row = self._files.get(path)
        return None if row is None else (Token(*row[0]), Digest(row[1]), row[2])

    def put(self, path: str, token: Token, digest: Digest, sensed_at_ns: int) -> None:
        """Keep what was found."""
        self._files[path] = [list(token), digest, sensed_at_ns]
        self._is_changed = True

    def save(self, alive: Iterable[str] | None = None) -> None:
        """Write what is new, without paths that are not `alive`; a store that cannot be written keeps the old cache."""
        if alive is not None:
            keep = set(alive)
            gone = [p for p in self._files if p not in keep]
            for path in gone:
                del self._files[path]
            self._is_changed = self._is_changed or bool(gone)
        if self._is_changed and self.path.parent.is_dir():
            write_json(self.path, {"format": FORMAT, "files": self._files, "urls": self._urls})
        self._is_changed = False


class RemoteSenseCache:
    """Digests of remote objects by URL and version token, in the same file."""

    def __init__(self, owner: SenseCache) -> None:
        self._owner = owner

    def get(self, url: str) -> tuple[str, Digest, int] | None:
        """The version token, the digest and the size; None for a URL not seen."""
        row = self._owner._urls.get(_hidden(url))
        return None if row is None else (row[0], Digest(row[1]), row[2])

    def put(self, url: str, token: str, digest: Digest, size: int) -> None:
        """Keep what was found."""
        self._owner._urls[_hidden(url)] = [token, digest, size]
        self._owner._is_changed = True


def _hidden(url: str) -> str:
    """The digest of a URL, which may hold a secret that must not lie in a cache."""
    return digest_of("url", url)


def read_json(path: Path) -> Any:
    """A cache file's value; None where there is none or it cannot be read."""
    return parsed(read_bytes(path))


def read_bytes(path: Path) -> bytes | None:
    """A cache file's bytes; None where there is none or it cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def parsed(content: bytes | None) -> Any:
    """The value of a cache file with this content; None where it is no JSON."""
    try:
        return None if content is None else json.loads(content)
    except (ValueError, RecursionError):
        return None


def write_json(path: Path, value: Any) -> None:
    """Keep a cache file; a disk that takes none is no error, for nothing depends on it."""
    try:
        write_whole(path, json.dumps(value, separators=(",", ":")).encode("utf-8", "surrogatepass"), is_durable=False)
    except (BuilderError, OSError):
        return
