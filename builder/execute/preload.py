"""What a worker process does first, so that it can be ended with all it started, says where it was when it crashes, and
takes attempts.

Decides nothing of attempts. Interrupts are left to the driver.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import resource
import signal
import threading
from typing import Any

from builder.execute.serving import serve

MOST_FILES = 1 << 16
"""Recipes start programs that close every file they might have, one by one: more would take them long."""

_PR_SET_PDEATHSIG = 1


def dask_setup(worker: Any) -> None:
    """Take attempts, open many files, ignore interrupts, lead a session of its own, and die with the nanny."""
    serve(worker)
    allow_files()
    if threading.current_thread() is threading.main_thread():
        signal.signal(
            signal.SIGINT, signal.SIG_IGN
        )  # it reaches the whole process group, but is the driver's to act on
    faulthandler.enable()
    if getattr(worker, "nanny", None):
        with contextlib.suppress(OSError):
            os.setsid()  # what the recipes start is found by the session, even when this process is dead
        _die_with_parent()


def allow_files() -> None:
    """Let this process open as many files as it may: each part of a table that it looks into stays open for a while."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _die_with_parent() -> None:
    """Let the kernel end this process when its parent dies: Dask's own watch cannot while a recipe holds the GIL."""
    parent = os.getppid()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
