"""Merging layers, so that a version of many small updates reads like a plain table.

Decides when: once the layers over the oldest together hold 2/5 of its rows the whole is written anew; until then at
most `MOST_LAYERS` lie over it, and where there are more, the last ones are merged, back to the first that is no larger
than all after it together. So a row is written again a few times, not once for each update. The change that made the
version stays as its `delta`. Never changes what a version holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from builder.nouns import replace
from builder.store.manifest import Layer, Manifest, Part
from builder.store.parts import PartFolder
from builder.tables.batches import read_batch
from builder.tables.layers import merged_parts, table_schema, with_hashes
from builder.tables.lookup import locate
from builder.tables.order import distinct_keys
from builder.tables.part_writer import LAYER_PART_BYTES, PART_BYTES, PartWriter

MOST_LAYERS = 8
WHOLE_SHARE = 0.4


def compacted(store: Path, manifest: Manifest, folder: PartFolder) -> Manifest:
    """The same version in fewer layers where it has too many, or too much in them; else the manifest itself.

    Memory is bounded by a few parts, and by the keys that the merged layers delete.
    """
    oldest, *later = manifest.layers
    if not later:
        return manifest
    if _is_small(oldest) or sum(layer.rows for layer in later) >= WHOLE_SHARE * oldest.rows:
        layers: tuple[Layer, ...] = (Layer(_upserts(store, manifest, folder, PART_BYTES)),)
    elif len(later) > MOST_LAYERS:
        first = _first_to_merge([layer.rows for layer in later])
        layers = (oldest, *later[:first], _merged(store, manifest, later[first:], folder))
    else:
        return manifest
    size = sum(p.bytes for layer in layers for p in layer.parts)
    return replace(manifest, layers=layers, bytes=size, delta=later[-1])


def _is_small(layer: Layer) -> bool:
    """Whether a layer has no file: its table costs nothing to write anew."""
    return all(part.content is not None for part in layer.parts)


def _first_to_merge(sizes: Sequence[int]) -> int:
    """The first layer that is no larger than all after it together; at the latest the last but one."""
    last = len(sizes) - 2
    return next((n for n in range(last) if sizes[n] <= sum(sizes[n + 1 :])), last)


def _upserts(store: Path, manifest: Manifest, folder: PartFolder, part_bytes: int) -> tuple[Part, ...]:
    """Parts of all rows of a version, with their hashes."""
    writer = PartWriter(folder, part_bytes=part_bytes)
    for table in merged_parts(store, manifest, with_hashes(table_schema(manifest).names, True)):
        writer.add(table)
    return writer.finish()


def _merged(store: Path, manifest: Manifest, layers: Sequence[Layer], folder: PartFolder) -> Layer:
    """One layer that does to a version what these do one after the other."""
    key = table_schema(manifest).key
    upserts = _upserts(store, replace(manifest, layers=tuple(layers)), folder, LAYER_PART_BYTES)
    deletes = [read_batch(store, part, key) for layer in layers for part in layer.deletes]
    if not deletes:
        return Layer(upserts)
    keys = distinct_keys(deletes, key)
    is_upserted = locate(store, replace(manifest, layers=(Layer(upserts),)), keys).is_found
    writer = PartWriter(folder, part_bytes=LAYER_PART_BYTES)
    writer.add(keys.filter(pa.array(~is_upserted)))
    return Layer(upserts, writer.finish())
