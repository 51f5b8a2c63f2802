"""Files as streams of bytes, unpacked on the way.

Decides how gzip and zstd are opened, and how much an unpacked file may take. Never interprets the bytes.
"""

from __future__ import annotations

import codecs
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, TextIO, cast

import pyarrow as pa

from builder.errors import BuilderError, error
from builder.execute.spec import IntakeSpec
from builder.formats.kinds import packing_of
from builder.formats.opened import empty, unreadable
from builder.sources import SourceFile
from builder.store.disk import writing

MAX_UNPACKED_BYTES: Final = 64 << 30
"""A packed file that unpacks to more than this is refused where it has to be unpacked to the disk first."""

_CHUNK_BYTES: Final = 1 << 20


def packing(file: SourceFile) -> str:
    """How a file is packed, by its path, or by its name where a private copy lost its ending."""
    return packing_of(file.path) or packing_of(file.name)


def open_bytes(file: SourceFile) -> pa.NativeFile:
    """The file's bytes, unpacked while they are read (an archive's as they are); a damaged file raises OSError."""
    compression = packing(file) if packing(file) != "zip" else ""
    return pa.input_stream(file.path, compression=compression or None, buffer_size=_CHUNK_BYTES)


def encoding_of(spec: IntakeSpec) -> str:
    """The encoding of a source's text, as Python names its codec; UTF-8 where none is declared.

    Raises
    ------
    ConfigError
        ``recipe-declaration`` for one that Python does not know.
    """
    try:
        name = codecs.lookup(spec.encoding or "utf-8").name
    except LookupError:
        raise error(
            "recipe-declaration",
            f"source '{spec.source}' has the encoding {spec.encoding!r}, which is not known",
            hint='use the name of a Python codec, for example "latin-1"',
            target=spec.source,
        ) from None
    return "utf-8" if name == "utf-8-sig" else name


@contextmanager
def open_text(file: SourceFile, encoding: str) -> Iterator[TextIO]:
    """The file's text, a byte-order mark skipped, line ends as they are; bad bytes raise UnicodeDecodeError."""
    with open_bytes(file) as stream:
        yield io.TextIOWrapper(cast("BinaryIO", stream), encoding=_with_mark(encoding), newline="")


def check_not_empty(spec: IntakeSpec, file: SourceFile) -> None:
    """Nothing where the file, unpacked, has a byte.

    Raises
    ------
    SourceError
        ``source-empty`` or, where it cannot be unpacked, ``source-unreadable``.
    """
    with reading(spec, file), open_bytes(file) as stream:
        if not stream.read(1):
            raise empty(spec, file)


@contextmanager
def reading(spec: IntakeSpec, file: SourceFile) -> Iterator[None]:
    """Turn what a damaged or foreign file raises inside into ``source-unreadable``."""
    try:
        yield
    except BuilderError:
        raise
    except (OSError, pa.ArrowException, EOFError) as cause:
        raise unreadable(spec, file, cause) from cause


def unpack(spec: IntakeSpec, file: SourceFile, target: Path) -> Path:
    """`target` with the file's unpacked bytes in it.

    Raises
    ------
    SourceError
        ``source-unreadable``: damaged, or larger than `MAX_UNPACKED_BYTES`.
    StoreError
        ``store-full`` where scratch is full.
    """
    written = 0
    with open_bytes(file) as stream, target.open("wb") as out:
        while True:
            with reading(spec, file):
                chunk = stream.read(_CHUNK_BYTES)
            if not chunk:
                return target
            written += len(chunk)
            if written > MAX_UNPACKED_BYTES:
                raise unreadable(spec, file, f"unpacks to more than {MAX_UNPACKED_BYTES >> 30} GiB")
            with writing(target):
                out.write(chunk)


def copy_member(spec: IntakeSpec, file: SourceFile, member: Any, target: Path, limit_bytes: int) -> None:
    """Write an open archive member to `target`; more than `limit_bytes` is refused, whatever the listing says."""
    with target.open("wb") as out, reading(spec, file):
        shutil.copyfileobj(cast("BinaryIO", _Limited(member, limit_bytes)), out, _CHUNK_BYTES)


class _Limited:
    """A stream that fails once it has given more than it may."""

    def __init__(self, stream: Any, limit_bytes: int) -> None:
        self._stream = stream
        self._left = limit_bytes

    def read(self, size: int) -> bytes:
        chunk: bytes = self._stream.read(size)
        self._left -= len(chunk)
        if self._left < 0:
            raise OSError("a member is larger than the archive says")
        return chunk


def _with_mark(encoding: str) -> str:
    return "utf-8-sig" if encoding == "utf-8" else encoding
