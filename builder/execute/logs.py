"""An attempt's log: all that is printed while it runs, by Python and, in a worker, by C code and children too."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import FileIO
from pathlib import Path


@contextmanager
def logged(log: Path, in_worker: bool) -> Iterator[None]:
    """Send all that is printed to a log, which is there from now on: its presence says that the attempt began.

    `in_worker`: the process is a worker's own, whose descriptors may be turned.
    """
    with ExitStack() as stack:
        target = stack.enter_context(_opened(log))
        if in_worker:
            stack.enter_context(_descriptors(target.fileno()))
        text = open(  # noqa: SIM115 - closed with its descriptor
            target.fileno(), "a", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False
        )
        stack.enter_context(text)
        stack.callback(setattr, sys, "stdout", sys.stdout)
        stack.callback(setattr, sys, "stderr", sys.stderr)
        sys.stdout = sys.stderr = text
        yield


def _opened(log: Path) -> FileIO:
    """The log, open for appending; its folder is made where it is the first."""
    try:
        return open(log, "ab", buffering=0)
    except FileNotFoundError:
        log.parent.mkdir(parents=True, exist_ok=True)
        return open(log, "ab", buffering=0)


@contextmanager
def _descriptors(log: int) -> Iterator[None]:
    """Point the process's own standard output and error at a file, for what C code and children print."""
    kept = os.dup(1), os.dup(2)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        yield
    finally:
        for number, descriptor in zip((1, 2), kept, strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)
