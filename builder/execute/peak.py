"""The largest resident size of this process while something runs.

One thread samples for the whole process, and sleeps while nothing runs: to start a thread for each attempt cost more
than a tiny attempt itself.
"""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager

EVERY_S = 0.05
PARKED_AFTER = 20
"""Samples without anyone to sample for, after which the thread waits to be woken."""

_watched: dict[int, list[int]] = {}
_wake = threading.Event()
_changing = threading.Lock()
_thread: threading.Thread | None = None
_page_bytes = resource.getpagesize()


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """A list of one number, in bytes: sampled while inside, and whole when the block has ended.

    A new high of the whole process counts as well: it catches what comes and goes between two samples.
    """
    peak = [_resident_bytes()]
    high_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _watched[id(peak)] = peak
    _ensure_sampling()
    try:
        yield peak
    finally:
        del _watched[id(peak)]
        high = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak[0] = max(peak[0], _resident_bytes(), high * 1024 if high > high_before else 0)


def _ensure_sampling() -> None:
    """Start the thread, or wake it."""
    global _thread
    if _thread is not None and _thread.is_alive():  # it is not in a forked child
        if not _wake.is_set():
            _wake.set()
        return
    with _changing:
        if _thread is None or not _thread.is_alive():
            _wake.set()
            _thread = threading.Thread(target=_sample, name="peak memory", daemon=True)
            _thread.start()


def _sample() -> None:
    pause = threading.Event()
    idle = 0
    while True:
        pause.wait(EVERY_S)
        watched = list(_watched.values())
        idle = 0 if watched else idle + 1
        if idle > PARKED_AFTER:
            _wake.clear()
            if not _watched:  # else someone came between the look and the clearing, and found the bell still rung
                _wake.wait()
            idle = 0
        elif watched:
            now = _resident_bytes()
            for peak in watched:
                peak[0] = max(peak[0], now)


def _resident_bytes() -> int:
    """The resident size of this process."""
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * _page_bytes
