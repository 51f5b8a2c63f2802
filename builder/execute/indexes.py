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
from builder.names import value_text
from builder.store import disk
from builder.store.indexes import LIKE, index_path, noted
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

    like = _index_or_note(index_path(store, read))
    if like is not None:
        with suppress(BuilderError, OSError):
            return RegionIndex.open(like[0]), set(like[1])
    return None


def note_nearly(store: Path, before: list[str], now: list[str], ids: Collection[Any]) -> None:
    """Note that the regions read now are those read before but for these ids, unless they are too many to be of use."""
    like = _index_or_note(index_path(store, before))
    changed = set(ids).union([] if like is None else like[1])
    if like is None or len(changed) > _MOST_NOTED or not all(type(i) in (int, str) for i in changed):
        return
    note = {"index": like[0].name, "ids": sorted(changed, key=repr)}
    with suppress(BuilderError, OSError):
        disk.write_whole(index_path(store, now).with_suffix(LIKE), json.dumps(note).encode(), is_durable=False)


def _index_or_note(path: Path) -> tuple[Path, list[Any]] | None:
    """A kept index of some regions, or one that is noted for them with the ids that differ; None: there is none."""
    return (path, []) if path.exists() else noted(path)


def read_of(regions: InputSpec) -> list[str]:
    """The digests of what is read of each table of regions, with its parameters where there are several."""
    found: list[str] = []
    for item in regions.items:
        if item.manifest is not None:
            found.append(read_digest(item.manifest, regions.columns) or item.manifest.digest)
            found += [f"{name}={value_text(value)}" for name, value in item.params if regions.shape == "gather"]
    return found
