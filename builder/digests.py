"""Content digests and the framing that makes them unambiguous.

Decides how values become bytes before they are hashed (BLAKE3, 256 bits). Never reads files: `sense.hashing` does.
"""

from __future__ import annotations

from datetime import date
from typing import Final

from blake3 import blake3

Scalar = str | int | bool | date


class Digest(str):
    """A content digest: 64 lowercase hexadecimal digits (256 bits)."""

    __slots__ = ()

    @property
    def short(self) -> str:
        """The first 12 digits, for people."""
        return self[:12]


class Hasher:
    """Hashes a sequence of fields, each framed by its length, so that no two sequences share their bytes.

    >>> Hasher("demo").text("ab").text("c").digest() == Hasher("demo").text("a").text("bc").digest()
    False
    """

    __slots__ = ("_state",)

    def __init__(self, domain: str) -> None:
        self._state = blake3()
        self.text(domain)

    def bytes(self, value: bytes) -> Hasher:
        """Add raw bytes as one field."""
        self._state.update(len(value).to_bytes(8, "little"))
        self._state.update(value)
        return self

    def text(self, value: str) -> Hasher:
        """Add a text as one field; lone surrogates (from odd file names) are kept apart from all else."""
        return self.bytes(value.encode("utf-8", "surrogatepass"))

    def number(self, value: int) -> Hasher:
        """Add an integer as one field."""
        return self.text(str(value))

    def digest(self) -> Digest:
        """The digest of the fields so far."""
        return Digest(self._state.hexdigest())


def digest_of(domain: str, *fields: str) -> Digest:
    """The digest of text fields under a domain name that keeps kinds of digests apart."""
    pieces: list[bytes] = []
    for field in (domain, *fields):
        content = field.encode("utf-8", "surrogatepass")
        pieces += (len(content).to_bytes(8, "little"), content)
    return digest_bytes(b"".join(pieces))  # the frames of `Hasher`, hashed in one piece


def digest_bytes(value: bytes) -> Digest:
    """The BLAKE3 digest of bytes, as for a file with this content."""
    return Digest(blake3(value).hexdigest())


EMPTY_FILE: Final = digest_bytes(b"")
