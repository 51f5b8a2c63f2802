"""Where indexes of regions lie in the store, so that steps need not build them again.

Decides their names: by the digest of what was read of the regions, and by the version of the index. Nothing needs such
a file: whoever lacks one builds it. Never opens one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from builder.digests import digest_of
from builder.names import path_segment
from builder.store.manifest import Manifest, read_digest
from builder.transforms.versions import versions_of

FOLDER = Path("cache", "regions")
LIKE = ".like"
"""The suffix of a note that says of which kept index certain regions differ in a few ids only."""


def index_path(store: Path, read: Iterable[str]) -> Path:
    """The path of the index of regions, by the digests of what was read of their tables, in order."""
    name = digest_of("regions", *versions_of(["RegionIndex"]), *read)
    return store / FOLDER / f"{name[:40]}.idx"


def possible_indexes(store: Path, manifest: Manifest) -> Iterator[Path]:
    """The paths of all indexes that the regions of one table can have, by any column as their id."""
    schema = manifest.schema
    if schema is not None and schema.geometry is not None:
        for name in schema.names:
            path = index_path(store, [read_digest(manifest, (name, schema.geometry)) or manifest.digest])
            yield path
            like = noted(path)
            if like is not None:
                yield from (path.with_suffix(LIKE), like[0])


def noted(path: Path) -> tuple[Path, list[Any]] | None:
    """The index that the note beside an index's path names, and the ids in which that one's regions differ; or None."""
    try:
        note = json.loads(path.with_suffix(LIKE).read_bytes())
        return path.with_name(path_segment(note["index"])), list(note["ids"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
