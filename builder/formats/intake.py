"""Taking a table source in: files to a manifest, in bounded memory.

Decides which parser reads a source, whether a version is made from the last one, and that it is taken in whole or not
at all. Never decides dtypes: the parsers do, by `columns`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import pyarrow as pa

from builder.errors import BuilderError, error
from builder.execute.spec import IntakeSpec
from builder.formats.lines import OddText
from builder.formats.opened import GuessFailed, Opened
from builder.formats.watch import moved, watch
from builder.nouns import replace
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


@dataclass(frozen=True, slots=True)
class Taken:
    """A version of a source: its manifest, its parts safe on disk, and its whole schema, to be pinned.

    ``via``: it was read whole and written whole (``full``), or only what differs from the last version was written, and
    read whole (``rows``), in the files that changed (``files``) or in the lines that differ (``lines``). Of the latter
    three ``difference`` has how many rows were (added, removed, changed).
    """

    manifest: Manifest
    schema: Schema
    via: str = "full"
    difference: tuple[int, int, int] | None = None


def take_in(spec: IntakeSpec, folder: PartFolder, scratch: Path) -> Taken:
    """A version of a source, taken in.

    Parameters
    ----------
    spec
        The files as they were sensed, how to read them, and the last version where there is one to go by.
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

    def check_still() -> None:
        why = moved(watched, spec.source)
        if why is not None:
            raise why

    try:
        if gone is not None:
            raise cast("BuilderError", moved([gone], spec.source))
        return _taken(spec, folder, scratch, check_still)
    except BuilderError as cause:
        if cause.code != "source-moved":
            why = moved(watched, spec.source)  # a file that moves under the parser looks damaged
            if why is not None:
                raise why from cause
        cause.about(spec.source)
        raise


def load_parser(format: str) -> None:
    """Import what it takes to read this format and to write a table, so that no source pays for it as its own time."""
    for module in (_PARSERS[format][0], "builder.formats.updates", "builder.tables.arrow", "builder.tables.write"):
        importlib.import_module(module)


def open_source(spec: IntakeSpec, scratch: Path, *, is_certain: bool) -> Opened:
    """The source as its format's parser gives it; see `builder.formats.text.open_csv` for `is_certain`."""
    module, name = _PARSERS[spec.format]
    parser: Callable[..., Opened] = getattr(importlib.import_module(module), name)
    return parser(spec, scratch, is_certain=is_certain)


def _taken(spec: IntakeSpec, folder: PartFolder, scratch: Path, check_still: Callable[[], None]) -> Taken:
    """The version, by the way that costs least of those that lead to it."""
    if spec.base is not None and spec.base.schema is not None and spec.base.schema.key:
        for via in ("lines", "files", "rows"):
            taken = _updated(spec, spec.base, via, folder, scratch, check_still)
            if taken is not None:
                return taken
            folder.discard()
    try:
        return _written(spec, folder, scratch, check_still, is_certain=False)
    except GuessFailed:
        folder.discard()
        return _written(spec, folder, scratch, check_still, is_certain=True)


def _updated(
    spec: IntakeSpec, base: Manifest, via: str, folder: PartFolder, scratch: Path, check_still: Callable[[], None]
) -> Taken | None:
    """The version as the last one and what differs; None: that way does not lead to it, for whatever reason.

    What is wrong with a source is told by the way that reads and writes all of it, so that it is told in one way.
    """
    from builder.formats.updates import by_files, by_lines, by_rows

    try:
        if via == "lines":
            made = by_lines(spec, base, folder, check_still)
        elif via == "files":
            made = by_files(spec, base, folder, scratch, open_source, check_still)
        else:
            made = by_rows(spec, base, open_source(spec, scratch, is_certain=False), folder, check_still)
    except BuilderError as cause:
        if cause.code in ("source-moved", "store-full", "store-read-only"):
            raise
        return None
    except (GuessFailed, OddText, OSError, pa.ArrowException, UnicodeError):
        return None
    if made is None:
        return None
    assert base.schema is not None
    return Taken(made.manifest, base.schema, via, (made.added, made.removed, made.changed))


def _written(
    spec: IntakeSpec, folder: PartFolder, scratch: Path, check_still: Callable[[], None], *, is_certain: bool
) -> Taken:
    """The version read and written whole."""
    from builder.formats.updates import index_on_the_way
    from builder.tables.arrow import conform
    from builder.tables.write import TableWriter

    opened = open_source(spec, scratch, is_certain=is_certain)
    writer = TableWriter(folder, opened.schema, scratch=scratch, describe_row=opened.describe_row)
    index = index_on_the_way(spec, opened, folder)
    try:
        for table in opened.tables:
            rows = conform(table, opened.schema, place=spec.source)
            index.add(rows)
            writer.append(rows)
        check_still()
        return Taken(replace(writer.finish(), index=index.finish()), opened.schema)
    except BaseException:
        writer.abort()
        raise
