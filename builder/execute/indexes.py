"""Indexes of regions that outlive the step that built them: kept in the store, opened by other steps.

Decides which are worth keeping. A file that is gone or cannot be used is no error: the index is built again.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from builder.errors import BuilderError
from builder.execute.spec import InputSpec
from builder.names import value_text
from builder.store import disk
from builder.store.indexes import index_path
from builder.store.manifest import read_digest

KEPT_FROM_VERTICES = 100_000
"""Fewer take less than a tenth of a second to index."""


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
        path = index_path(store, _read(regions))
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


def _read(regions: InputSpec) -> list[str]:
    """The digests of what is read of each table of regions, with its parameters where there are several."""
    found: list[str] = []
    for item in regions.items:
        if item.manifest is not None:
            found.append(read_digest(item.manifest, regions.columns))
            found += [f"{name}={value_text(value)}" for name, value in item.params if regions.shape == "gather"]
    return found
