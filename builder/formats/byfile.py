"""A version of a source of many files, read only in the files that changed.

Decides which file is which of the last version, and when so much changed that the whole is read sooner. Rows that a
changed file gave before and gives no more are gone; which of the others differ, the update of the table finds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from builder.execute.spec import IntakeSpec
from builder.formats.byline import MOST_UPSERTS_BYTES
from builder.formats.fileindex import FileIndex, FileRows, is_by_files, reading_of
from builder.formats.opened import OpenSource
from builder.nouns import replace
from builder.store.manifest import Manifest, Part
from builder.store.parts import PartFolder
from builder.tables.arrow import arrow_schema, conform

_MOST_READ = 0.5
"""The share of a source's bytes in changed files from where on their rows are not worth looking up one by one."""


@dataclass(frozen=True, slots=True)
class ChangedFiles:
    """Rows of the files that changed, the keys of the rows they had, how many rows this version has, and its index."""

    upserts: pa.Table
    gone: pa.Table
    rows: int
    index: tuple[Part, ...]


def changed_files(
    spec: IntakeSpec, base: Manifest, folder: PartFolder, scratch: Path, open_source: OpenSource
) -> ChangedFiles | None:
    """What the changed files of a source change in its last version, `base`; None: it cannot be told, or is too much.

    Raises
    ------
    BuilderError
        What is wrong with those files, or with the index.
    """
    if base.schema is None or not base.index or spec.pinned is None or not is_by_files(spec):
        return None
    index = FileIndex.open(folder, base.index)
    if index is None or index.reading != reading_of(spec, base.schema):
        return None
    kept = _kept(spec, index)
    files = tuple(file for file in spec.files if file.name not in kept)
    still = {old.name for old in kept.values()}
    lost = [old for old in index.files.values() if old.name not in still]
    is_much = sum(file.bytes for file in files) > _MOST_READ * sum(file.bytes for file in spec.files)
    if is_much or sum(old.rows for old in lost) > _MOST_READ * base.rows:
        return None
    if not files and open_source(replace(spec, files=spec.files[:1]), scratch, is_certain=False).schema != base.schema:
        return None  # what is asked of the source changed, and none of its files
    fields = arrow_schema(base.schema)
    keys = arrow_schema(base.schema.select(base.schema.key))
    held, tables, read = 0, [fields.empty_table()], {}
    for file in files:
        opened = open_source(replace(spec, files=(file,)), scratch, is_certain=False)
        if opened.schema != base.schema:
            return None
        own = [fields.empty_table()]
        for table in opened.tables:
            own.append(conform(table, base.schema, place=spec.source))
            held += own[-1].nbytes
            if held > MOST_UPSERTS_BYTES:
                return None
        tables += own
        read[file.name] = pa.concat_tables(own).select(base.schema.key)
    gone = [k.cast(keys) for old in sorted(lost, key=lambda old: old.first) for k in index.keys(old)]
    return ChangedFiles(
        pa.concat_tables(tables),
        pa.concat_tables([keys.empty_table(), *gone]),
        sum(old.rows for old in kept.values()) + sum(found.num_rows for found in read.values()),
        index.next(spec.files, kept, read),
    )


def _kept(spec: IntakeSpec, index: FileIndex) -> dict[str, FileRows]:
    """The files whose rows are as they were, by present name: the same bytes, also under another name where the name is
    no column.
    """
    kept = {f.name: old for f in spec.files if (old := index.files.get(f.name)) and old.digest == f.digest}
    if spec.file_column is None:
        free = {old.digest: old for name, old in index.files.items() if name not in kept}
        for file in spec.files:
            old = free.get(file.digest) if file.name not in kept else None
            if old is not None and Path(old.name).suffix == Path(file.name).suffix:  # which says how it is packed
                kept[file.name] = free.pop(file.digest)
    return kept
