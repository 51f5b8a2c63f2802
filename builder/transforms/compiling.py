"""Loops compiled by numba: kept on disk from one process to the next, and compiled by one process at a time.

Decides when a loop that was kept is out of date: when any file changed whose functions or constants are compiled into
it; numba asks the loop's own file alone. Decides to keep those loops that Python calls, with all that they call inside,
and to compile a loop once for all constants that others give it. Never decides what a loop does. Importing this module
imports numba.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import FunctionType
from typing import Any

import numba
import numpy as np
from numba.core.caching import FunctionCache
from numba.core.compiler_lock import global_compiler_lock

_WAIT_S = 120.0  # for another process that compiles the same: longer than any of our loops takes
_LOOK_EVERY_S = 0.02
_CONSTANTS = (bool, int, float, str, tuple, np.generic, np.ndarray)

_Loop = Callable[..., Any]


def njit(signature: Any = None, **options: Any) -> Callable[[_Loop], _Loop]:
    """A decorator: numba's ``njit`` with this cache in place of its own; compiles at once what has a signature."""

    def compiled(function: _Loop) -> _Loop:
        loop: Any = numba.njit(**options | {"cache": False, "no_cfunc_wrapper": True})(function)
        if not hasattr(loop, "py_func"):  # NUMBA_DISABLE_JIT
            return function
        if options.get("cache"):
            with suppress(RuntimeError):  # no folder that can be written: every process compiles for itself
                loop._cache = _Cache(function)  # type: ignore[no-untyped-call]
        loop.compile = lambda wanted: _turn.compile(loop, wanted)
        if signature is not None:
            loop.compile(signature)
            loop.disable_compile()
        return loop  # type: ignore[no-any-return]

    return compiled


class _Cache(FunctionCache):
    """numba's cache of one loop, whose stamp is that of everything the loop is made of."""

    _is_stamped = False

    def load_overload(self, signature: Any, target: Any) -> Any:
        """What was kept; waits where another process compiles a loop of the same file."""
        if _turn.depth > 1:
            return None
        if not self._is_stamped:  # not before: what a loop calls may stand below it
            try:
                self._cache_file._source_stamp = _stamp(self._py_func)
            except OSError:  # a source that is no file cannot be seen to change
                self.disable()  # type: ignore[no-untyped-call]
            self._is_stamped = True
        found = super().load_overload(signature, target)  # type: ignore[no-untyped-call]
        if found is None and _turn.take(Path(self.cache_path), Path(self._py_func.__code__.co_filename).stem):
            found = super().load_overload(signature, target)  # type: ignore[no-untyped-call]
        return found

    def save_overload(self, signature: Any, data: Any) -> None:
        """Keep what Python called; what is compiled on the way is inside of it."""
        if _turn.depth == 1:
            super().save_overload(signature, data)  # type: ignore[no-untyped-call]


class _Turn:
    """This process's turn to compile loops of a file, by a lock on a file beside what is kept of them.

    All under numba's own lock, which lets one thread compile at a time.
    """

    def __init__(self) -> None:
        self.depth = 0
        self._lock = -1

    def compile(self, loop: Any, signature: Any) -> Any:
        """The loop compiled, or read where it was kept; a turn ends with the loop that Python called."""
        with global_compiler_lock:
            self.depth += 1
            try:
                return type(loop).compile(loop, _plain(signature))
            finally:
                self.depth -= 1
                if self.depth == 0 and self._lock >= 0:
                    os.close(self._lock)
                    self._lock = -1

    def take(self, folder: Path, module: str) -> bool:
        """True when no other process compiles loops of this file any more; False where that cannot be known."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / f"{module}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError:
            return False
        until_s = time.monotonic() + _WAIT_S
        while time.monotonic() < until_s:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                time.sleep(_LOOK_EVERY_S)
            except OSError:  # a file system without locks
                return False
        return False


_turn = _Turn()


def _plain(signature: Any) -> Any:
    """A signature without literals: else a loop is compiled again for each constant that a caller gives it."""
    return tuple(map(numba.types.unliteral, signature)) if isinstance(signature, tuple) else signature


def _stamp(function: FunctionType) -> str:
    """A digest of the files and constants that the function is made of, wherever they stand."""
    todo, seen = [function], {function}
    files: set[str] = set()
    constants: set[str] = set()
    while todo:
        one = todo.pop()
        files.add(one.__code__.co_filename)
        for name in one.__code__.co_names:
            value = one.__globals__.get(name)
            called = getattr(value, "py_func", None) or getattr(value, "_defn", None)
            if isinstance(called, FunctionType) and called not in seen:
                seen.add(called)
                todo.append(called)
            elif isinstance(value, _CONSTANTS):
                constants.add(f"{name}={value!r}")
    parts = [_file_digest(file) for file in sorted(files)] + sorted(constants)
    return sha256("\n".join(parts).encode()).hexdigest()


@cache
def _file_digest(path: str) -> str:
    return sha256(Path(path).read_bytes()).hexdigest()
