"""Taking a table source in: files to a manifest, in bounded memory.

Decides which parser reads a source, and that a version is taken in whole or not at all. Never decides dtypes: the
parsers do, by `columns`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

from builder.errors import BuilderError, error
from builder.execute.spec import IntakeSpec
from builder.formats.opened import GuessFailed, Opened
from builder.formats.watch import moved, watch
from builder.store.manifest import Manifest
from builder.store.parts import PartFolder
from builder.tables.schema import Schema

_PARSERS: Final = {
    "csv": ("builder.formats.text", "open_csv"),
    "tsv": ("builder.formats.text", "open_csv"),
    "json": ("builder.formats.records", "open_records"),
    "jsonl": ("builder.formats.records", "open_records"),
    "geojson": ("builder.formats.records", "open_records"),
    "parquet": ("builder.formats.columnar", "open_parquet"),
    "gpkg": ("builder.formats.vector", "open_vector"),
    "fgb": ("builder.formats.vector", "open_vector"),
    "shp": ("builder.formats.vector", "open_vector"),
}


def take_in(spec: IntakeSpec, folder: PartFolder, scratch: Path) -> tuple[Manifest, Schema]:
    """The manifest of a version of a source, its parts safe on disk, and its whole schema, to be pinned.

    Parameters
    ----------
    spec
        The files as they were sensed, and how to read them.
    folder
        Where parts go.
    scratch
        A folder of this attempt's own, for what does not fit into memory; the caller removes it.

    Raises
    ------
    BuilderError
        What is wrong with the source: ``source-moved`` where a file changed since it was sensed, whatever that led to.
    """
    if not spec.files:
        raise error(
            "source-missing",
            f"'{spec.source}' has no file",
            hint="put the files in place, or correct the path",
            target=spec.source,
        )
    watched = watch(spec.files)
    gone = next((w for w in watched if w.token is None), None)
    try:
        if gone is not None:
            raise cast("BuilderError", moved([gone], spec.source))
        try:
            return _take_in(spec, folder, scratch, lambda: moved(watched, spec.source), is_certain=False)
        except GuessFailed:
            return _take_in(spec, folder, scratch, lambda: moved(watched, spec.source), is_certain=True)
    except BuilderError as cause:
        if cause.code != "source-moved":
            why = moved(watched, spec.source)  # a file that moves under the parser looks damaged
            if why is not None:
                raise why from cause
        cause.about(spec.source)
        raise


def load_parser(format: str) -> None:
    """Import what it takes to read this format and to write a table, so that no source pays for it as its own time."""
    for module in (_PARSERS[format][0], "builder.tables.arrow", "builder.tables.write"):
        importlib.import_module(module)


def open_source(spec: IntakeSpec, scratch: Path, *, is_certain: bool) -> Opened:
    """The source as its format's parser gives it; see `builder.formats.text.open_csv` for `is_certain`."""
    module, name = _PARSERS[spec.format]
    parser: Callable[..., Opened] = getattr(importlib.import_module(module), name)
    return parser(spec, scratch, is_certain=is_certain)


def _take_in(
    spec: IntakeSpec,
    folder: PartFolder,
    scratch: Path,
    moved_since: Callable[[], BuilderError | None],
    *,
    is_certain: bool,
) -> tuple[Manifest, Schema]:
    from builder.tables.arrow import conform
    from builder.tables.write import TableWriter

    opened = open_source(spec, scratch, is_certain=is_certain)
    writer = TableWriter(folder, opened.schema, scratch=scratch, describe_row=opened.describe_row)
    try:
        for table in opened.tables:
            writer.append(conform(table, opened.schema, place=spec.source))
        why = moved_since()
        if why is not None:
            raise why
        return writer.finish(), opened.schema
    except BaseException:
        writer.abort()
        raise
