"""A project's recipe files as one value: read from a folder, sent as a zip, known by its digest.

Decides which files are recipes and how their bytes become text. Never runs them: `authoring.load` does.
"""

from __future__ import annotations

import io
import os
import tokenize
import zipfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from builder.digests import Digest, Hasher
from builder.errors import BuilderError, error

MAX_FILES = 10_000
MAX_BYTES = 64 * 1024 * 1024
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Bundle:
    """The recipe files of a project: pairs of a path relative to the recipes folder and the text, in path order."""

    files: tuple[tuple[str, str], ...]
    digest: Digest = field(init=False)

    def __post_init__(self) -> None:
        hasher = Hasher("bundle")
        for path, text in self.files:
            hasher.text(path).text(text)
        object.__setattr__(self, "digest", hasher.digest())

    def to_zip(self) -> bytes:
        """The files as a zip; the same files give the same bytes."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, text in self.files:
                archive.writestr(_entry(path), text.encode("utf-8", "surrogatepass"))
        return buffer.getvalue()

    @staticmethod
    def from_zip(content: bytes) -> Bundle:
        """The bundle that `to_zip` wrote.

        Raises
        ------
        StoreError
            ``store-damaged``: no zip, a name that leaves its folder or comes twice, over 10,000 files or 64 MiB.
        """
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                entries = archive.infolist()
                if len(entries) > MAX_FILES or len({e.filename for e in entries}) < len(entries):
                    raise _damaged(f"it holds {len(entries)} files, or one twice")
                return Bundle(_unpacked(archive, entries))
        except (zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError, RuntimeError, EOFError, OSError) as cause:
            raise _damaged(str(cause)) from cause


def _entry(path: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(path, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3
    info.external_attr = 0o644 << 16
    return info


def _unpacked(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo]) -> tuple[tuple[str, str], ...]:
    files = []
    left = MAX_BYTES
    for entry in entries:
        if not is_safe(entry.filename):
            raise _damaged(f"a file is named {entry.filename!r}")
        with archive.open(entry) as stream:
            content = stream.read(left + 1)  # what the header says of the size is not believed
        left -= len(content)
        if left < 0:
            raise _damaged(f"it unpacks to more than {MAX_BYTES} bytes")
        files.append((entry.filename, content.decode("utf-8", "surrogatepass")))
    return tuple(sorted(files))


def is_safe(path: str) -> bool:
    """Whether a path of a bundle names a Python file below its folder, and nothing else."""
    parts = path.split("/")
    return path.endswith(".py") and not any(p in ("", ".", "..") or set(p) & set("\\:\0") for p in parts)


def _damaged(detail: str) -> BuilderError:
    hint = "run builder rebuild again; it packs the recipes anew"
    return error("store-damaged", "the packed recipes cannot be used", facts=[("detail", detail)], hint=hint)


def read_bundle(folder: Path, project: Path | None = None) -> Bundle:
    """The Python files below `folder`, without hidden ones and ``__pycache__``; empty where there is no such folder.

    Raises
    ------
    ConfigError
        ``recipe-syntax``: a file that cannot be read or is not in the encoding it declares (PEP 263, else UTF-8).
    """
    files = []
    for root, folders, names in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".") and f != "__pycache__"]
        for name in names:
            if name.endswith(".py") and not name.startswith("."):
                path = Path(root, name)
                files.append((path.relative_to(folder).as_posix(), _text_of(path, project or folder.parent)))
    return Bundle(tuple(sorted(files)))


def _text_of(path: Path, project: Path) -> str:
    try:
        with tokenize.open(path) as stream:
            return stream.read()
    except (OSError, SyntaxError, UnicodeDecodeError) as cause:
        shown = path.relative_to(project).as_posix() if path.is_relative_to(project) else PurePosixPath(path).as_posix()
        is_encoding = not isinstance(cause, OSError)
        raise error(
            "recipe-syntax",
            f"'{shown}' is not text in the encoding it declares" if is_encoding else f"'{shown}' cannot be read",
            place=shown,
            facts=[("cause", str(cause))],
            hint="save it as UTF-8" if is_encoding else "make it readable, or take it out of the recipes folder",
        ) from cause
