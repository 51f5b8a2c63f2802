"""Publishing: the plain, complete files in ``out/`` that any other tool reads.

Decides where a target lies there and how it gets there: whole, by rename. Store and ``out/`` never share bytes that
could be written through: a file is a reflink where the file system can, else a copy. A table is written as one plain
Parquet file from its parts; a large one in a thread of its own, while others are built, and put in place by whoever
asks next: the run does so again and again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from builder.errors import BuilderError, StoreError, error
from builder.graph.graph import Graph
from builder.names import Params, file_segments, path_segment, value_text
from builder.store import disk
from builder.store.lock import check_held
from builder.store.manifest import Manifest, Part
from builder.store.parts import check_file, content_of
from builder.store.published import file_token, published_targets
from builder.store.recall import Recall

if TYPE_CHECKING:
    from builder.store.commits import Committer

SUFFIXES = {"table": ".parquet", "json": ".json", "figure": ".png", "bytes": ".bin"}
ASIDE_BYTES = 32 << 20
"""A table of more bytes than this is written in a thread: it takes a good part of a second."""
_FICLONE = 0x40049409
_PARTIAL = ".partial"

Written = tuple[str, str, str, str]
"""A target, the digest of the version that stands in ``out/``, its path there, and the file's token."""


def published_path(name: str, base: str, params: Params, manifest: Manifest) -> str:
    """Where a target lies, relative to ``out/``: ``NAME.parquet``, or ``NAME/state=CA/part-0.parquet`` for a member."""
    suffix = SUFFIXES.get(manifest.kind, "")
    if manifest.kind == "file":
        suffix = "".join(Path(manifest.parts[0].name).suffixes[-1:])[:16]
    if not params:
        return path_segment(base) + suffix
    folders = [path_segment(f"{k}={v if isinstance(v, str) else value_text(v)}") for k, v in params]
    return "/".join([path_segment(base), *folders, f"part-0{suffix}"])


class Writing(NamedTuple):
    """A file of a target's version that a thread writes: where it is, and where it is to be."""

    name: str
    digest: str
    path: str
    fresh: Path
    future: Future[None]


class Publisher:
    """Keeps ``out/`` in step with the present versions."""

    def __init__(
        self, store: Path, out: Path, graph: Graph, names: frozenset[str], recall: Recall, committer: Committer
    ) -> None:
        self.store = store
        self.out = out
        self.graph = graph
        self.names = names
        self.recall = recall
        self.committer = committer
        self.standing = recall.ledger.published()
        self.done: list[str] = []
        self.problems: dict[str, BuilderError] = {}
        self._thread: ThreadPoolExecutor | None = None
        self._writing: list[Writing] = []

    def is_due(self, name: str, digest: str) -> bool:
        """Whether what stands in ``out/`` for a target is not this version, or was changed there."""
        if name not in self.standing:
            return True
        known, path, token = self.standing[name]
        return known != digest or token != file_token(self.out / path)

    def publish(self, *names: str) -> None:
        """Bring these targets' files in ``out/`` up to date with their present versions, and note them together.

        A failure is kept in `problems`: the target is built, and the others go on. After a kill before the note the
        files are not those that are known, and are written again.
        """
        written = self._put_in_place(is_waiting=False)
        for name in names:
            if name in self.names:
                self.problems.pop(name, None)
                with self._kept(name):
                    written += self._put(name)
        self._note(written)

    def settle(self) -> None:
        """Wait for what a thread still writes, put it in place and note it."""
        self._note(self._put_in_place(is_waiting=True))

    def close(self) -> None:
        """End the thread; what it has not begun to write is not written."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
            self._thread = None

    def _note(self, written: Sequence[Written]) -> None:
        """Note what stands in ``out/`` now."""
        if not written:
            return
        with self._kept(*(row[0] for row in written)):
            self.committer.published(written)
            self.standing.update((name, (digest, path, token)) for name, digest, path, token in written)
            self.done += [row[0] for row in written]

    @contextmanager
    def _kept(self, *names: str) -> Iterator[None]:
        """Keep a failure inside as the problem of these targets; one who lost the store stops."""
        try:
            yield
        except StoreError as cause:
            if cause.code == "locked":
                raise
            for name in names:
                said = f"'{name}' could not be put into '{self.out.name}': {cause.message}"
                problem = error(cause.code, said, place=cause.place, facts=cause.facts, hint=cause.hint)
                self.problems[name] = problem.about(name)

    def _put_in_place(self, is_waiting: bool) -> list[Written]:
        """What threads have written, now in its place."""
        written = []
        for one in list(self._writing):
            if is_waiting or one.future.done():
                self._writing.remove(one)
                with self._kept(one.name):
                    one.future.result()
                    written.append(self._placed(one.name, one.digest, one.fresh, one.path))
        return written

    def _put(self, name: str) -> list[Written]:
        """What was written of a target's present version; empty where it stands, or a thread writes it."""
        current = self.recall.ledger.current(name)
        if current is None or not self.is_due(name, current.digest):
            return []
        manifest = self.recall.manifest(current.manifest_id)
        lost = next((p.path for p in manifest.files if not (self.store / p.path).exists()), None)
        if lost is not None:
            raise error(
                "store-damaged",
                f"a part of '{name}' is missing from the store",
                place=str(self.store / lost),
                hint="builder fsck --repair",
            )
        step = self.graph.step_of(name)
        path = published_path(name, name.partition("[")[0], step.params, manifest)
        fresh = self._fresh(self.out / path)
        write = partial(self._write, manifest, fresh, self.out / path, step.params)
        if manifest.kind == "table" and manifest.bytes > ASIDE_BYTES:
            self._thread = self._thread or ThreadPoolExecutor(1, "publish")
            self._writing.append(Writing(name, current.digest, path, fresh, self._thread.submit(write)))
            return []
        write()
        return [self._placed(name, current.digest, fresh, path)]

    def withdraw(self, names: Iterable[str]) -> list[str]:
        """The names of targets whose files were removed from ``out/``."""
        gone = [n for n in dict.fromkeys(names) if n in self.standing]
        for name in gone:
            self._remove(self.standing.pop(name)[1])
            self.committer.unpublished(name)
        return gone

    def sweep(self) -> None:
        """Remove what a builder that died had begun to write in ``out/``."""
        if (self.out / _PARTIAL).exists():
            disk.remove(self.out / _PARTIAL)

    def _remove(self, path: str) -> None:
        """Remove a published file and the folders it leaves empty."""
        check_held(self.store)
        full = self.out / path
        self._put_aside(full)
        disk.remove(full)
        for folder in full.parents:
            if folder == self.out or not folder.is_relative_to(self.out):
                break
            try:
                folder.rmdir()
            except OSError:
                break

    def _put_aside(self, path: Path) -> None:
        """Take a published folder out of sight at once, until `sweep`: removed file by file it would be seen half."""
        if path.is_dir() and not path.is_symlink():
            disk.make_folder(self.out / _PARTIAL)
            disk.replace(path, self.out / _PARTIAL / os.urandom(8).hex())

    def _fresh(self, path: Path) -> Path:
        """Where what is to appear at `path` is written first."""
        disk.make_folder(path.parent)
        disk.make_folder(self.out / _PARTIAL)
        return self.out / _PARTIAL / f"{os.urandom(8).hex()}{path.suffix}"

    def _write(self, manifest: Manifest, fresh: Path, path: Path, params: Params) -> None:
        """Write an output that is to appear at `path`."""
        disk.before("write", path)
        try:
            with disk.writing(path):
                if manifest.kind == "files":
                    self._write_folder(manifest, fresh)
                elif manifest.kind == "table":
                    from builder.tables.merge import write_plain

                    write_plain(self.store, manifest, fresh, without=params)
                else:
                    copy_part(self.store, manifest.parts[0], fresh)
        except BaseException:
            disk.remove(fresh)
            raise

    def _placed(self, name: str, digest: str, fresh: Path, path: str) -> Written:
        """Let what was written of a target appear, in place of what stood for it."""
        self._place(fresh, self.out / path)
        if name in self.standing and self.standing[name][1] != path:
            self._remove(self.standing[name][1])
        return name, digest, path, file_token(self.out / path)

    def _place(self, fresh: Path, path: Path) -> None:
        """Let what was written appear at `path`, whole."""
        try:
            check_held(self.store)  # a builder that was stopped meanwhile must not bring back an old version
            self._put_aside(path)
            disk.replace(fresh, path)
        except BaseException:
            disk.remove(fresh)
            raise

    def _write_folder(self, manifest: Manifest, fresh: Path) -> None:
        """Write an output of several files as a folder."""
        fresh.mkdir(parents=True)
        for part in manifest.parts:
            target = fresh.joinpath(*file_segments(part.name))
            target.parent.mkdir(parents=True, exist_ok=True)
            copy_part(self.store, part, target)


def copy_part(store: Path, part: Part, target: Path) -> None:
    """A writable file of a part's bytes.

    Raises
    ------
    StoreError
        ``store-damaged``: it has others than were written.
    """
    if part.content is None:
        copy_file(store / part.path, target)
        check_file(store, part, target)
    else:
        target.write_bytes(content_of(part))


def copy_file(source: Path, target: Path) -> None:
    """A writable copy of a file, sharing its blocks where the file system can."""
    import fcntl
    import shutil

    with open(source, "rb") as old, open(target, "xb") as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError:
            shutil.copyfileobj(old, new, 1 << 20)


__all__ = ["Publisher", "file_token", "published_path", "published_targets"]
