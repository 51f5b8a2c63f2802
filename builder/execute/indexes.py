"""Indexes of regions that outlive the step that built them: kept in the store, opened by other steps.

Decides which are worth keeping. A file that is gone or cannot be used is no error: the index is built again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from builder.errors import BuilderError
from builder.execute.spec import InputSpec
from builder.names import path_segment, value_text
from builder.store import disk
from builder.store.indexes import LIKE, index_path
from builder.store.manifest import read_digest

KEPT_FROM_VERTICES = 100_000
"""Fewer take less than a tenth of a second to index."""

_MOST_NOTED = 4096
"""More regions than this that differ from a kept index make a new one worth its time."""


def index_of(store: Path, regions: InputSpec, region_id: str, arrive: Callable[[], Any]) -> Any:
    """The index of the regions that one input reads, by the column of their ids; they `arrive` only where none is kept.

    Raises
    ------
    BuilderError
        What `builder.transforms.RegionIndex` says of regions that cannot be used.
    """
    from shapely import get_num_coordinates

    from builder.transforms import RegionIndex

    try:
        path = index_path(store, read_of(regions))
    except KeyError:
        arrive()  # it says which column there is not
        raise
    if path.exists():
        with suppress(BuilderError, OSError):
            kept = RegionIndex.open(path)
            kept.check()
            return kept
    frame = arrive()
    index = RegionIndex(frame, region_id, threads=1)  # a worker has one processor
    if get_num_coordinates(frame.geometry.to_numpy()).sum() >= KEPT_FROM_VERTICES:
        with suppress(BuilderError, OSError):  # a full disk is told where something must be written
            disk.make_folder(path.parent)
            disk.before("write", path)
            index.save(path)  # whole or not at all; its checksum tells what a power failure tore
    return index


def nearly_index_of(store: Path, read: list[str]) -> tuple[Any, set[Any]] | None:
    """A kept index that is right for some regions but those with certain ids, and these ids; None where there is none.

    `read` are the digests of what is read of the regions' tables. An index built on purpose has no such ids.
    """
    from builder.transforms import RegionIndex

    path = index_path(store, read)
    with suppress(BuilderError, OSError, ValueError, KeyError, TypeError):
        if path.exists():
            return RegionIndex.open(path), set()
        note = json.loads(path.with_suffix(LIKE).read_bytes())
        return RegionIndex.open(path.with_name(path_segment(note["index"]))), set(note["ids"])
    return None


def note_nearly(store: Path, before: list[str], now: list[str], ids: Collection[Any]) -> None:
    """Note that the regions read now are those read before but for these ids, unless they are too many to be of use."""
    path, own = index_path(store, before), index_path(store, now)
    known: set[Any] = set()
    if not path.exists():
        try:
            like = json.loads(path.with_suffix(LIKE).read_bytes())
            path, known = path.with_name(path_segment(like["index"])), set(like["ids"])
        except (OSError, ValueError, KeyError, TypeError):
            return
    changed = known | set(ids)
    if len(changed) <= _MOST_NOTED and all(type(i) in (int, str) for i in changed) and path.exists():
        with suppress(BuilderError, OSError):
            note = {"index": path.name, "ids": sorted(changed, key=repr)}
            disk.write_whole(own.with_suffix(LIKE), json.dumps(note).encode(), is_durable=False)


def read_of(regions: InputSpec) -> list[str]:
    """The digests of what is read of each table of regions, with its parameters where there are several."""
    found: list[str] = []
    for item in regions.items:
        if item.manifest is not None:
            found.append(read_digest(item.manifest, regions.columns))
            found += [f"{name}={value_text(value)}" for name, value in item.params if regions.shape == "gather"]
    return found
