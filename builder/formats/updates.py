"""A version of a source as the last one and what differs: a layer of the table, and the line index of the new version.

Decides when an update stands for a full intake: every record has a key of its own and no file moved. `byline` and
`byrow` find what differs. Never tells what is wrong with a source.
"""

from __future__ import annotations

from collections.abc import Callable

from builder.execute.spec import IntakeSpec
from builder.formats.byline import changed_lines
from builder.formats.byrow import differing_rows
from builder.formats.lineindex import IndexOnTheWay
from builder.formats.opened import Opened
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


def by_rows(
    spec: IntakeSpec, base: Manifest, opened: Opened, folder: PartFolder, check_still: Callable[[], None]
) -> Updated | None:
    """The version of a source that was opened, read whole; None: it has to be written whole."""
    if opened.schema != base.schema:
        return None
    index = IndexOnTheWay(spec, opened, folder)
    differing = differing_rows(folder.store, base, opened, spec.source, index.add)
    if differing is None:
        return None
    check_still()
    made = write_update(folder.store, base, differing.upserts, differing.gone, folder, read_apart=spec.read_apart)
    if made.manifest.rows != differing.rows:
        return None
    return replace(made, manifest=replace(made.manifest, index=index.finish()))
