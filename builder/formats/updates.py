"""A version of a source as the last one and what differs: a layer of the table, and the index of the new version.

Decides when an update stands for a full intake: every record has a key of its own and no file moved. `byline`, `byfile`
and `byrow` find what differs. Never tells what is wrong with a source.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from builder.execute.spec import IntakeSpec
from builder.formats.byfile import changed_files
from builder.formats.byline import changed_lines
from builder.formats.byrow import differing_rows
from builder.formats.fileindex import FileIndexOnTheWay, is_by_files
from builder.formats.lineindex import LineIndexOnTheWay
from builder.formats.opened import Opened, OpenSource
from builder.nouns import replace
from builder.store.manifest import Manifest
from builder.store.parts import PartFolder
from builder.tables.update import Updated, write_update


def by_lines(spec: IntakeSpec, base: Manifest, folder: PartFolder, check_still: Callable[[], None]) -> Updated | None:
    """The version of a text source, read only in the lines that differ; None: it has to be read whole."""
    changed = changed_lines(spec, base, folder)
    if changed is None:
        return None
    check_still()
    made = write_update(folder.store, base, changed.upserts, changed.gone, folder, read_apart=spec.read_apart)
    if made.manifest.rows != changed.records:  # a new record has the key of one that stayed
        return None
    return replace(made, manifest=replace(made.manifest, index=changed.index.write()))


def by_files(
    spec: IntakeSpec,
    base: Manifest,
    folder: PartFolder,
    scratch: Path,
    open_source: OpenSource,
    check_still: Callable[[], None],
) -> Updated | None:
    """The version of a source of many files, read only in those that changed; None: it has to be read whole."""
    changed = changed_files(spec, base, folder, scratch, open_source)
    if changed is None:
        return None
    check_still()
    made = write_update(folder.store, base, changed.upserts, changed.gone, folder, read_apart=spec.read_apart)
    if made.manifest.rows != changed.rows:  # a row has the key of one in a file that is as it was
        return None
    return replace(made, manifest=replace(made.manifest, index=changed.index))


def by_rows(
    spec: IntakeSpec, base: Manifest, opened: Opened, folder: PartFolder, check_still: Callable[[], None]
) -> Updated | None:
    """The version of a source that was opened, read whole; None: it has to be written whole."""
    if opened.schema != base.schema:
        return None
    index = index_on_the_way(spec, opened, folder)
    differing = differing_rows(folder.store, base, opened, spec.source, index.add)
    if differing is None:
        return None
    check_still()
    made = write_update(folder.store, base, differing.upserts, differing.gone, folder, read_apart=spec.read_apart)
    if made.manifest.rows != differing.rows:
        return None
    return replace(made, manifest=replace(made.manifest, index=index.finish()))


def index_on_the_way(spec: IntakeSpec, opened: Opened, folder: PartFolder) -> LineIndexOnTheWay | FileIndexOnTheWay:
    """What writes the index of a version while it is read whole."""
    return (FileIndexOnTheWay if is_by_files(spec) else LineIndexOnTheWay)(spec, opened, folder)
