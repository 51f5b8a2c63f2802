"""Variables of the process environment that are read while recipes load.

Decides how a variable's value is compared: by digest, since it may be a secret. Never keeps a value.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from builder.digests import digest_of

Note = Callable[[str, str, FrameType], None]


def variable_digest(value: str | None) -> str:
    """The digest of a variable's value; empty where it is not set."""
    return "" if value is None else digest_of("variable", value)


@contextmanager
def noting(note: Note) -> Iterator[None]:
    """For each variable read inside the block, calls `note` with its name, its value's digest and the reading frame.

    Python raises no audit event for these reads, so `os.environ` itself is of another class meanwhile.
    """
    plain = type(os.environ)

    class Noted(plain):  # type: ignore[misc, valid-type]
        def __getitem__(self, key: str) -> str:
            value: str | None = None
            try:
                value = super().__getitem__(key)
                return value
            finally:
                note(key, variable_digest(value), sys._getframe(1))

    os.environ.__class__ = Noted
    try:
        yield
    finally:
        os.environ.__class__ = plain
