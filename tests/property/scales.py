"""Sizes at which tables of a few rows go the ways of large ones: by lines, in pieces, in many parts and layers.

Decides which of these ways a chain goes. Nothing of it may change a result, so what a chain is compared with is built
at the usual sizes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pyarrow as pa

from builder.execute import indexes, piecewise
from builder.formats import byfile, byline, byrow, fileindex, linefiles, lineindex, lines, text
from builder.store import disk
from builder.tables import compaction, layers, read, write

Limit = tuple[ModuleType, str, Any]

BY_LINES: tuple[Limit, ...] = (
    (linefiles, "MIN_BYTES", 0),
    (linefiles, "PART_ROWS", 2),
    (lineindex, "PART_ROWS", 2),
    (lineindex, "MOST_LAYERS", 2),
    (lines, "READ_BYTES", 64),
    (lines, "_RECORDS", 2),
    (byline, "_MOST_NEW", 2),
    (byrow, "_MOST_NEW", 2),
)
BY_FILES: tuple[Limit, ...] = (
    (linefiles, "MIN_BYTES", 0),
    (byfile, "_MOST_READ", 2),
    *((module, "can_be_indexed", lambda spec: False) for module in (byline, fileindex, text)),
)
IN_PIECES: tuple[Limit, ...] = (
    (piecewise, "PIECE_ROWS", 2),
    (layers, "BATCH_ROWS", 2),
    (read, "BATCH_ROWS", 2),
    (read, "SOUGHT_FROM", 0),
    (write, "PART_ROWS", 2),
    (indexes, "KEPT_FROM_VERTICES", 0),
)
IN_LAYERS: tuple[Limit, ...] = ((compaction, "WHOLE_SHARE", 4), (compaction, "MOST_LAYERS", 2))

_USUAL = [(module, name, getattr(module, name)) for module, name, _ in (*BY_LINES, *BY_FILES, *IN_PIECES, *IN_LAYERS)]


def limits_of(seed: int) -> tuple[Limit, ...]:
    """The sizes of one chain: the usual ones of each kind now and then, so that both ways are gone."""
    rng = random.Random(f"{seed} sizes")
    kinds = [kind for kind in (BY_LINES, IN_PIECES, IN_LAYERS) if rng.random() < 0.6]
    return tuple(limit for kind in (*kinds, *((BY_FILES,) if rng.random() < 0.4 else ())) for limit in kind)


@contextmanager
def limited(limits: tuple[Limit, ...] = ()) -> Iterator[None]:
    """These sizes, and else the usual ones."""
    before = [(module, name, getattr(module, name)) for module, name, _ in _USUAL]
    try:
        _set(_USUAL)
        _set(limits)
        yield
    finally:
        _set(before)


def _set(limits: Any) -> None:
    for module, name, value in limits:
        setattr(module, name, value)


@contextmanager
def counted(counts: dict[str, int], module: ModuleType, name: str, what: str) -> Iterator[None]:
    """Count how often a function of a module gives something."""
    function = getattr(module, name)

    def counting(*given: Any) -> Any:
        found = function(*given)
        counts[what] = counts.get(what, 0) + (found is not None)
        return found

    setattr(module, name, counting)
    try:
        yield
    finally:
        setattr(module, name, function)


@contextmanager
def at_small_scale() -> Iterator[None]:
    """No flushing to the disk meanwhile: kills here spare the machine. One thread for a few rows."""
    before = disk.durable, pa.cpu_count(), pa.io_thread_count()
    disk.durable = False
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    try:
        yield
    finally:
        disk.durable = before[0]
        pa.set_cpu_count(before[1])
        pa.set_io_thread_count(before[2])
