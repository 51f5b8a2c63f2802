"""Remote objects by any fsspec URL: their listing, their version tokens, their private copies.

Decides when a remote object need not be read again: its server gives the version token of the last sensing and what was
read then is still held. A token never says that two objects are equal; only bytes do. Never shows a secret of a URL.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from blake3 import blake3

from builder.digests import Digest
from builder.errors import BuilderError, error
from builder.names import path_segment
from builder.sense.patterns import Captures, join, parse_pattern
from builder.sense.urls import UrlSpeech, is_absence, is_remote, shown_url, tokens_agree, version_token
from builder.store import disk

_CHUNK_BYTES = 4 << 20
_FETCHES_AT_ONCE = 4


__all__ = [
    "RemoteCache",
    "RemoteFile",
    "RemoteVersion",
    "copy_path",
    "fetch",
    "is_remote",
    "list_remote",
    "sense_remote",
    "shown_url",
    "version_token",
]


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One remote object as listed: its URL, its name in the source, its captures; version token and size if known."""

    url: str
    name: str
    captures: Captures
    token: str | None
    size: int | None


@dataclass(frozen=True, slots=True)
class RemoteVersion:
    """One state of a remote object: token, content digest and size, and whether the content was read to know them."""

    token: str | None
    digest: Digest
    size: int
    was_read: bool


class RemoteCache(Protocol):
    """What earlier sensings found, by URL."""

    def get(self, url: str) -> tuple[str, Digest, int] | None:
        """The version token, the digest and the size; None for a URL not seen or without a token."""

    def put(self, url: str, token: str, digest: Digest, size: int) -> None:
        """Keep what was found, over what was kept before."""


def list_remote(pattern: str) -> list[RemoteFile]:
    """The objects that a URL pattern names now, in the order of their paths, as `listing.list_pattern` does for files.

    Each folder is listed once.

    Raises
    ------
    SourceError
        ``source-unreadable``: no file system for the scheme, no access, no answer.
    """
    speech = UrlSpeech(pattern)
    try:
        return _list(pattern)
    except BuilderError:
        raise
    except Exception as cause:  # file systems raise whatever their libraries do
        if is_absence(cause):
            return []
        raise speech.unreadable(cause) from speech.cause(cause)


def fetch(url: str, target: Path) -> tuple[Digest, int]:
    """The digest and size of a remote object, which is then at `target`; it appears there whole or not at all.

    Raises
    ------
    SourceError
        ``source-missing``, ``source-unreadable``, or ``source-moved`` where it changed while it was read, twice.
    """
    version, copy = _fetch_still(url, target.parent)
    disk.replace(copy, target)
    return version.digest, version.size


def sense_remote(
    files: list[RemoteFile],
    cache: RemoteCache,
    is_held: Callable[[str, Digest], bool],
    folder: Path,
    advance: Callable[[int], None] | None = None,
) -> dict[str, RemoteVersion | BuilderError]:
    """What each object holds, by URL: with the token of the last sensing and content still held, nothing is read.

    What is read is kept under `copy_path`. Objects that vanished since they were listed are left out.
    """
    sensed: dict[str, RemoteVersion | BuilderError] = {}
    unknown = []
    for file in files:
        known = cache.get(file.url) if file.token else None
        if known and known[0] == file.token and is_held(file.url, known[1]):
            sensed[file.url] = RemoteVersion(file.token, known[1], known[2], was_read=False)
        else:
            unknown.append(file)
    for file, version in zip(unknown, _fetch_all(unknown, folder, advance), strict=True):
        if version is None:
            continue
        sensed[file.url] = version
        if isinstance(version, RemoteVersion) and version.token:
            cache.put(file.url, version.token, version.digest, version.size)
    return sensed


def _fetch_all(
    files: list[RemoteFile], folder: Path, advance: Callable[[int], None] | None
) -> list[RemoteVersion | BuilderError | None]:
    from concurrent.futures import ThreadPoolExecutor  # slow to import; nothing to read is the common case

    def read(file: RemoteFile) -> RemoteVersion | BuilderError | None:
        try:
            version, copy = _fetch_still(file.url, folder, advance)
            disk.replace(copy, copy_path(folder, file.url, version.digest))
        except BuilderError as refused:
            return None if refused.code == "source-missing" else refused
        # The token kept is the listing's, for the next listing to meet; one of an older version is worth nothing.
        return replace(version, token=file.token if tokens_agree(file.token, version.token) else None)

    if not files:
        return []
    with ThreadPoolExecutor(min(_FETCHES_AT_ONCE, len(files))) as pool:
        return list(pool.map(read, files))


def copy_path(folder: Path, url: str, digest: Digest) -> Path:
    """Where the private copy of an object lies: named by content, with the ending that tells its format."""
    last = re.split(r"[?#]", _target(url)[1])[0].rstrip("/").rsplit("/", 1)[-1]
    ending = path_segment(last[last.find(".", 1) :]) if "." in last[1:] else ""
    return folder / f"{digest[:40]}{ending[-40:]}"


def _list(pattern: str) -> list[RemoteFile]:
    system, path = _open_system(pattern)
    listing = _Listing(system, pattern, path)
    # A query may hold * and braces; they are the server's.
    parsed = None if "?" in path else parse_pattern(listing.body)
    if parsed is None or parsed.is_plain:
        if listing.info(listing.body).get("type") != "directory":
            return [listing.file(listing.body, re.split(r"[?]", listing.body)[0].rstrip("/").rsplit("/", 1)[-1], ())]
        parsed = parse_pattern(listing.body.rstrip("/") + "/**")
    found = sorted(parsed.walk(listing.entries, lambda p: bool(system.isfile(listing.base + p))))
    return [listing.file(p, parsed.name_of(p), parsed.match(p) or ()) for p in found]


class _Listing:
    """Lists folders of one file system for `Pattern.walk`, and keeps what each listing said of its files.

    Paths of HTTP are whole URLs; `base` is their scheme and host, `body` the rest, as it is for the other systems.
    """

    def __init__(self, system: Any, pattern: str, path: str) -> None:
        self.system = system
        self.before, text, self.after = _target(pattern)
        # What the file system takes off the front of the URL (scheme, host, user) is put back on what it lists.
        text = text.rstrip("/")
        self.front = text[: -len(path)] if path and text.endswith(path) else ""
        self.base = match[0] if (match := re.match(r"[\w+.-]+://[^/]*/?", path)) else ""
        self.body = path[len(self.base) :]
        self.listed: dict[str, Mapping[str, Any]] = {}
        self.now_s = datetime.now(UTC).timestamp()

    def entries(self, folder: str) -> list[tuple[str, bool]]:
        try:
            listed = self.system.ls(self.base + folder, detail=True)
        except (FileNotFoundError, NotADirectoryError) as cause:
            if not is_absence(cause):
                raise
            return []
        found = []
        for entry in listed:
            name = str(entry["name"]).rstrip("/").rsplit("/", 1)[-1]
            if name and name not in (".", ".."):
                self.listed[join((folder, name))] = entry
                found.append((name, entry.get("type") == "directory"))
        return found

    def info(self, path: str) -> Mapping[str, Any]:
        if path not in self.listed:
            self.listed[path] = self.system.info(self.base + path)
        return self.listed[path]

    def file(self, path: str, name: str, captures: Captures) -> RemoteFile:
        full = self.base + path
        entry = _with_modified(self.system, full, self.info(path))
        token = version_token(entry, self.now_s)
        if token is None:  # a listing may say less than the object does when asked by itself
            entry = _with_modified(self.system, full, self.system.info(full))
            token = version_token(entry, self.now_s)
        shown = self.front + full if self.front or self.base else str(self.system.unstrip_protocol(full))
        return RemoteFile(self.before + shown + self.after, name, captures, token, entry.get("size"))


def _with_modified(system: Any, path: str, entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The memory file system keeps its times beside its listing."""
    return {**entry, "modified": system.modified(path)} if system.protocol == "memory" else entry


def _fetch_still(url: str, folder: Path, advance: Callable[[int], None] | None = None) -> tuple[RemoteVersion, Path]:
    """A version whose token is the same before and after reading, and the temporary file with its bytes."""
    disk.make_folder(folder)
    copy = folder / f".{uuid.uuid4().hex}.tmp"
    speech = UrlSpeech(url)
    try:
        for _ in range(2):
            before = _info(url, speech)
            digest, size = _download(url, copy, speech, advance)
            after = _info(url, speech)
            token = version_token(after)
            is_whole = after.get("size") in (None, size)
            if is_whole and version_token(before) == token:
                disk.sync_file(copy)
                return RemoteVersion(token, digest, size, was_read=True), copy
        raise error(
            "source-moved",
            f"'{speech.shown}' changed while it was read, twice",
            place=speech.shown,
            hint="wait until it is written; then rebuild again",
        )
    except BaseException:
        copy.unlink(missing_ok=True)
        raise


def _info(url: str, speech: UrlSpeech) -> Mapping[str, Any]:
    try:
        system, path = _open_system(url)
        return _with_modified(system, path, system.info(path))
    except Exception as cause:  # as in list_remote
        raise speech.refusal(cause) from speech.cause(cause)


def _download(url: str, copy: Path, speech: UrlSpeech, advance: Callable[[int], None] | None) -> tuple[Digest, int]:
    hasher = blake3()
    size = 0
    try:
        system, path = _open_system(url)
        with system.open(path, "rb") as remote, _Sink(copy) as sink:
            while chunk := remote.read(_CHUNK_BYTES):
                hasher.update(chunk)
                sink.write(chunk)
                size += len(chunk)
                if advance:
                    advance(len(chunk))
    except BuilderError:
        raise
    except Exception as cause:  # as in list_remote
        raise speech.refusal(cause) from speech.cause(cause)
    return Digest(hasher.hexdigest()), size


class _Sink:
    """A local file whose failures are the store's, so that a full disk is not blamed on the server."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> _Sink:
        with disk.writing(self.path):
            self.file = self.path.open("wb")
        return self

    def write(self, chunk: bytes) -> None:
        with disk.writing(self.path):
            self.file.write(chunk)

    def __exit__(self, *_: object) -> None:
        with disk.writing(self.path):
            self.file.close()


def _target(url: str) -> tuple[str, str, str]:
    """The link of a chained URL that names the file, with what stands before and after it."""
    links = url.split("::")
    index = next((i for i, link in enumerate(links) if "://" in link), 0)
    before, after = "::".join(links[:index]), "::".join(links[index + 1 :])
    return before and before + "::", links[index], after and "::" + after


def _open_system(url: str) -> tuple[Any, str]:
    """The file system and the path of a URL; its listings of earlier sensings are forgotten."""
    from fsspec.core import url_to_fs  # slow to import; most projects have no remote source

    system, path = url_to_fs(url)
    system.invalidate_cache()
    return system, str(path)
