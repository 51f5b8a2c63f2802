"""What Python code opens and lists: watched while recipes load, refused while a recipe runs.

Decides which reads of files count. One audit hook serves the process and returns at once unless something is active.
Opens made by libraries in C raise no event, nor do `os.stat` and `os.path.exists`; they are not seen.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any

from builder.authoring.variables import noting
from builder.errors import BuilderError, error

_OWN_CODE = os.path.dirname(os.path.dirname(os.path.realpath(__file__))) + os.sep
_IMPORTING = "<frozen importlib"
_METADATA = f"{os.sep}importlib{os.sep}metadata{os.sep}"
_METADATA_DEPTH = 8
_CODE_SUFFIXES = (".py", ".pyc", ".so", ".pyd", ".dylib")
_LISTINGS = frozenset({"os.listdir", "os.scandir"})
_GLOBS = frozenset({"glob.glob", "pathlib.Path.glob", "pathlib.Path.rglob"})
_SYSTEM_FOLDERS = ("/proc/", "/sys/", "/dev/")
_SHARED_MEMORY = "/dev/shm/"  # plain files, and sometimes whole projects


def is_below(path: str, folder: str) -> bool:
    """Whether `path` is `folder` or lies below it; both real and absolute."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


class Territory:
    """Which files belong to a project: all below its folder but installed libraries and builder itself."""

    __slots__ = ("_installed", "project", "recipes_py")

    def __init__(self, project: str | os.PathLike[str], recipes_py: Collection[str] = ()) -> None:
        self.project = os.path.realpath(project)
        self.recipes_py = frozenset(recipes_py)
        prefixes = {os.path.realpath(p) for p in (sys.prefix, sys.base_prefix)}
        self._installed = tuple(p for p in prefixes if p != self.project and is_below(p, self.project))

    def holds(self, path: str) -> bool:
        """Whether the real path is a file or folder of the project."""
        if not is_below(path, self.project) or f"{os.sep}site-packages{os.sep}" in path[len(self.project) :]:
            return False
        return not path.startswith(_OWN_CODE) and not any(is_below(path, p) for p in self._installed)

    def is_code(self, filename: str) -> bool:
        """Whether `filename` (of a code object) is Python code of the project."""
        return filename in self.recipes_py or (filename.endswith(".py") and self.holds(filename))

    def relative(self, path: str) -> str:
        """`path` relative to the project with forward slashes where it lies there, else as it is."""
        return Path(path).relative_to(self.project).as_posix() if is_below(path, self.project) else path

    def place(self, frame: FrameType | None) -> str | None:
        """``file:line`` of the innermost frame that runs code of the project, None where there is none."""
        while frame is not None:
            if self.is_code(frame.f_code.co_filename):
                return f"{self.relative(frame.f_code.co_filename)}:{frame.f_lineno}"
            frame = frame.f_back
        return None


@dataclass(slots=True)
class Watch:
    """What code of the project has read: real absolute paths; `patterns` are globs with their folder.

    ``variables`` are those of the process environment, with the digest of the value when each was first read.
    """

    territory: Territory
    opened: set[str] = field(default_factory=set)
    listed: set[str] = field(default_factory=set)
    patterns: set[str] = field(default_factory=set)
    variables: dict[str, str] = field(default_factory=dict)

    def see_variable(self, name: str, digest: str, frame: FrameType) -> None:
        """Note the read of a variable where the project's own code is behind it."""
        if name not in self.variables and self._is_by_project(frame):
            self.variables[name] = digest

    def see(self, event: str, args: tuple[Any, ...], frame: FrameType) -> None:
        """Note the event where the project's own code, not the import of a library, is behind it."""
        if event in _GLOBS:
            parts = [os.fspath(a) for a in args[:2] if isinstance(a, (str, os.PathLike))]
            if self._is_by_project(frame):
                self.patterns.add(os.path.join(os.getcwd(), *(os.fsdecode(p) for p in parts)))
            return
        path = _path_of(event, args)
        if path is None or (path.startswith(_SYSTEM_FOLDERS) and not path.startswith(_SHARED_MEMORY)):
            return
        if frame.f_code.co_filename.startswith(_IMPORTING):
            self._see_import(event, path)
        elif self._is_by_project(frame) and path not in self.territory.recipes_py:
            (self.listed if event in _LISTINGS else self.opened).add(path)

    def _see_import(self, event: str, path: str) -> None:
        if event != "open" or not self.territory.holds(path):
            return
        folder, name = os.path.split(path)
        if name.endswith(".pyc") and os.path.basename(folder) == "__pycache__":
            path = os.path.join(os.path.dirname(folder), name.split(".")[0] + ".py")
        self.opened.add(path)

    def _is_by_project(self, frame: FrameType | None) -> bool:
        while frame is not None:
            filename = frame.f_code.co_filename
            if self.territory.is_code(filename):
                return True
            if filename.startswith(_IMPORTING):
                return False
            frame = frame.f_back
        return False


@dataclass(slots=True)
class Guard:
    """What a running recipe may read of its project; `violations` keeps every refusal, swallowed or not."""

    territory: Territory
    allowed_files: frozenset[str]
    allowed_folders: tuple[str, ...]
    thread: int
    violations: list[BuilderError] = field(default_factory=list)

    def see(self, event: str, args: tuple[Any, ...], frame: FrameType) -> None:
        """Refuse the read where it is of the project and not allowed."""
        if event in _GLOBS:
            return
        path = _path_of(event, args)
        if path is None or self._is_allowed(path, frame):
            return
        if not self.territory.holds(path):
            path = os.path.realpath(path)
            if not self.territory.holds(path) or self._is_allowed(path, frame):
                return
        if threading.get_ident() != self.thread and _runs_own_code(frame):
            return
        shown = self.territory.relative(path)
        what = "lists the folder" if event in _LISTINGS else "reads"
        refusal = error(
            "undeclared-read",
            f"a recipe {what} '{shown}', which is none of its inputs",
            place=self.territory.place(frame),
            hint="declare it with b.source(...) and take it as an input",
        )
        self.violations.append(refusal)
        raise refusal

    def _is_allowed(self, path: str, frame: FrameType) -> bool:
        if path in self.allowed_files or path in self.territory.recipes_py:
            return True
        if path.endswith(_CODE_SUFFIXES) and (frame.f_code.co_filename.startswith(_IMPORTING) or _shows_source(frame)):
            return True
        return any(is_below(path, folder) for folder in self.allowed_folders)


class _Suspension(threading.local):
    depth = 0


_active: tuple[Watch | Guard, ...] = ()
_changing = threading.Lock()
_suspension = _Suspension()
_installed = False


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if not _active or _suspension.depth:
        return
    if event != "open" and event not in _LISTINGS and event not in _GLOBS and event != "sqlite3.connect":
        return
    frame = sys._getframe(1)
    _suspension.depth += 1  # what this hook itself does raises events too
    try:
        for observer in _observers():
            if event not in _LISTINGS or not _imports(frame):
                observer.see(event, args, frame)
    finally:
        _suspension.depth -= 1


def _imports(frame: FrameType | None) -> bool:
    """Whether a folder is listed to find a module, or the metadata of one that is installed."""
    if frame is not None and frame.f_code.co_filename.startswith(_IMPORTING):
        return True
    for _ in range(_METADATA_DEPTH):
        if frame is None or _METADATA in frame.f_code.co_filename:
            return frame is not None
        frame = frame.f_back
    return False


def _observers() -> list[Watch | Guard]:
    """Every watch, and the innermost guard of this thread; a thread without one answers to the only guard there is."""
    watches: list[Watch | Guard] = [o for o in _active if isinstance(o, Watch)]
    guards = [o for o in _active if isinstance(o, Guard)]
    own = [g for g in guards if g.thread == threading.get_ident()]
    return watches + (own[-1:] or (guards if len(guards) == 1 else []))


def _path_of(event: str, args: tuple[Any, ...]) -> str | None:
    """The path that the event reads: its folder real, its last part as named; None where nothing is read by path."""
    target = args[0]
    if event == "open" and (isinstance(target, int) or not _reads(args[2] if len(args) > 2 else None)):
        return None
    if target is None:
        target = os.curdir
    if isinstance(target, int) or (event == "sqlite3.connect" and str(target).startswith((":memory:", "file:"))):
        return None
    try:
        path = os.path.abspath(os.fsdecode(target))
    except (TypeError, ValueError, OSError):
        return None
    if event in _LISTINGS:
        return os.path.realpath(path)
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name) if "\0" not in path else None


def _reads(flags: Any) -> bool:
    access = flags & (os.O_RDONLY | os.O_WRONLY | os.O_RDWR) if isinstance(flags, int) else os.O_RDONLY
    return access != os.O_WRONLY and not (isinstance(flags, int) and flags & os.O_TRUNC)


def _shows_source(frame: FrameType) -> bool:
    """Whether a traceback or a warning looks up the line it shows."""
    return frame.f_back is not None and "linecache" in (frame.f_globals["__name__"], frame.f_back.f_globals["__name__"])


def _runs_own_code(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith(_OWN_CODE):
            return True
        frame = frame.f_back
    return False


@contextmanager
def _observing(observer: Watch | Guard) -> Iterator[None]:
    global _active, _installed
    with _changing:
        if not _installed:
            sys.addaudithook(_hook)  # can never be taken away again, so there is one for good
            _installed = True
        _active = (*_active, observer)
    try:
        yield
    finally:
        with _changing:
            _active = tuple(o for o in _active if o is not observer)


@contextmanager
def watching(project: str | os.PathLike[str], recipes_py: Collection[str] = ()) -> Iterator[Watch]:
    """What code of the project opens for reading, lists and takes from the process environment inside the block.

    Reads behind the import of a library do not count, nor do the files in `recipes_py`, whose text is known. A file
    that was not there counts too: its coming would be a change.
    """
    watch = Watch(Territory(project, recipes_py))
    with watching_on(watch):
        yield watch


@contextmanager
def watching_on(watch: Watch) -> Iterator[None]:
    """What is read inside the block is noted in a watch that there is."""
    with _observing(watch), noting(watch.see_variable):
        yield


@contextmanager
def guarding(
    project: str | os.PathLike[str],
    allowed_files: Collection[str] = (),
    allowed_folders: Collection[str] = (),
    recipes_py: Collection[str] = (),
) -> Iterator[Guard]:
    """A guard that lets no code inside the block read the project's files or list its folders, but those allowed.

    All paths are absolute. A thread without a guard of its own answers to this one where it is the only one.

    Raises
    ------
    RecipeError
        ``undeclared-read``, from the call that reads, and kept in ``violations``.
    """
    guard = Guard(
        _territory(os.fspath(project), frozenset(recipes_py)),
        frozenset(_spellings(allowed_files)),
        tuple(map(_real_folder, allowed_folders)),
        threading.get_ident(),
    )
    with _observing(guard):
        yield guard


@lru_cache(maxsize=4)
def _territory(project: str, recipes_py: frozenset[str]) -> Territory:
    """The territory of a project, found once for all the steps that this process runs."""
    return Territory(project, recipes_py)


def _real_folder(folder: str) -> str:
    """A folder's real path; where its parent really lies is found once."""
    parent, name = os.path.split(os.path.abspath(folder))
    path = os.path.join(_real_parent(parent), name)
    return os.path.realpath(path) if os.path.islink(path) else path


_real_parent = lru_cache(maxsize=16)(os.path.realpath)


def _spellings(paths: Collection[str]) -> Iterator[str]:
    for path in paths:
        folder, name = os.path.split(os.path.abspath(path))
        yield os.path.join(os.path.realpath(folder), name)
        yield os.path.realpath(path)


@contextmanager
def suspended() -> Iterator[None]:
    """Nothing that this thread reads inside the block is watched or guarded."""
    _suspension.depth += 1
    try:
        yield
    finally:
        _suspension.depth -= 1
