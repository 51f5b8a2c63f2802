"""CSV and TSV as tables, in bounded memory.

Decides how text becomes columns: every field is read as text by Arrow, `convert` makes the dtypes of it, so that one
grammar serves inference and reading, and a cell that does not fit is at hand with its row. An empty unquoted field is
null (or what `null=` lists), a quoted one is text.

The dtypes of columns that nobody fixed are guessed from the head of the source; the guess is kept only if every cell of
every file fits it, which makes it the dtype that the whole would have given: looking at more never narrows a dtype.

The records of a keyed source are hashed on the way, so that its next version can be taken in by lines (`byline`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv

from builder.errors import error
from builder.execute.spec import IntakeSpec
from builder.formats import locate, streams
from builder.formats.assemble import assemble
from builder.formats.columns import Wanted, check_header, check_same, full_schema, wanted_columns
from builder.formats.convert import Misfit, Survey, typed
from builder.formats.linefiles import can_be_indexed
from builder.formats.lines import SourceHashes, Splitter, TextFile
from builder.formats.opened import GuessFailed, Opened, RowPlaces
from builder.sources import SourceFile
from builder.tables.crs import canonical_crs
from builder.tables.schema import Column

BLOCK_BYTES = 4 << 20
MAX_BLOCK_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a source's text is written."""

    delimiter: str
    encoding: str
    null: tuple[str, ...]

    @property
    def is_bytewise(self) -> bool:
        """Whether line ends are the bytes that they are in ASCII."""
        return "\r\n".encode(self.encoding) == b"\r\n"


@dataclass(frozen=True, slots=True)
class Head:
    """A file's column names, the line they stand on, and whether anything follows them."""

    file: SourceFile
    names: tuple[str, ...]
    line: int
    has_rows: bool


def open_csv(spec: IntakeSpec, scratch: Path, *, is_certain: bool) -> Opened:
    """The source's rows as its pinned, declared or inferred dtypes.

    With `is_certain` everything is read once before, to know the inferred dtypes; else they are guessed, and opening or
    reading raises `GuessFailed` where the guess was wrong.

    Raises
    ------
    BuilderError
        ``source-empty``, ``source-unreadable``, ``bad-encoding``, ``bad-row``, ``schema-drift``, ``bad-value``.
    """
    dialect = dialect_of(spec)
    heads = [read_head(spec, file, dialect) for file in spec.files]
    first = heads[0]
    wanted = wanted_columns(spec, first.names, first.file.shown)
    for head in heads[1:]:
        wanted_columns(spec, head.names, head.file.shown)
        check_same(spec, first.names, first.file.shown, head.names, head.file.shown)
    columns = typed_columns(spec, wanted, _dtypes(spec, heads, wanted, dialect, is_certain))
    schema = full_schema(spec, columns)
    hashes = SourceHashes() if can_be_indexed(spec) else None
    lines = {file.path: locate.Lines(file, dialect.encoding, dialect.delimiter) for file in spec.files}
    places = RowPlaces(lambda file, row: f"{file.shown}:{lines[file.path].line(row)}")

    def tables() -> Iterator[pa.Table]:
        for head in heads:
            places.begin(head.file)
            if hashes is not None:
                hashes.begin()
            for batch in read_batches(spec, head, dialect, hashes):
                yield converted(spec, head.file, batch, wanted, columns, is_certain, places.place_of)
                places.add(batch.num_rows)
            lines[head.file.path].total_rows = places.rows_of_file
            if hashes is not None:
                hashes.end(places.rows_of_file)

    return Opened(schema, tables(), places, hashes, tuple(head.names for head in heads))


def typed_columns(spec: IntakeSpec, wanted: Sequence[Wanted], dtypes: Sequence[str]) -> list[Column]:
    """The columns of a text source, with the declared CRS where they are geometries."""
    return [
        Column(w.name, dtype, canonical_crs(spec.crs) if dtype == "geometry" else None)
        for w, dtype in zip(wanted, dtypes, strict=True)
    ]


def dialect_of(spec: IntakeSpec) -> Dialect:
    """The delimiter, encoding and spellings of null that hold for a source.

    Raises
    ------
    ConfigError
        ``recipe-declaration`` for an encoding that Python does not know, or a delimiter of several bytes.
    """
    delimiter = spec.delimiter or ("\t" if spec.format == "tsv" else ",")
    if len(delimiter.encode()) != 1 or delimiter in '"\r\n':
        raise error(
            "recipe-declaration",
            f"source '{spec.source}' has the delimiter {delimiter!r}",
            hint="a delimiter is one ASCII character, no quote and no line end",
            target=spec.source,
        )
    return Dialect(delimiter, streams.encoding_of(spec), ("",) if spec.null is None else spec.null)


def read_head(spec: IntakeSpec, file: SourceFile, dialect: Dialect) -> Head:
    """The header of a file.

    Raises
    ------
    BuilderError
        ``source-empty``, ``source-unreadable``, ``bad-encoding``, ``bad-row`` for names that are empty or not distinct.
    """
    streams.check_not_empty(spec, file)
    try:
        with streams.reading(spec, file), streams.open_text(file, dialect.encoding) as stream:
            records = locate.rows(stream, dialect.delimiter)
            header = next((r for r in records if r.fields), None)
            has_rows = next(records, None) is not None
    except UnicodeError as cause:
        raise locate.bad_byte(spec, file, dialect.encoding) from cause
    if header is None:
        header = locate.Row(1, [""], False)
    check_header(spec, header.fields, f"{file.shown}:{header.line}")
    return Head(file, tuple(header.fields), header.line, has_rows)


def splitter_of(head: Head, dialect: Dialect) -> Splitter:
    """What splits a file's text as `arrow_batches` reads it."""
    has_one_field = len(head.names) == 1
    return Splitter(head.line if has_one_field else 1, dialect.delimiter, keeps_empty=has_one_field)


def read_batches(
    spec: IntakeSpec, head: Head, dialect: Dialect, hashes: SourceHashes | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of a file as text columns, in the file's order; `hashes` gets those of its records.

    Raises
    ------
    BuilderError
        ``source-unreadable``, ``bad-encoding``, ``bad-row``.
    """
    if not head.has_rows:
        return
    done = 0
    block_bytes = BLOCK_BYTES
    last: pa.RecordBatch | None = None
    while True:
        try:
            skip = done
            for batch in _file_batches(head, dialect, block_bytes, hashes):
                fresh = batch.slice(min(skip, batch.num_rows))
                skip -= batch.num_rows - fresh.num_rows
                if fresh.num_rows:
                    done += fresh.num_rows
                    last = fresh
                    yield fresh
            break
        except (pa.ArrowException, OSError, UnicodeError) as cause:
            # A record longer than a block: begin again with larger blocks, unless an open quote is to blame.
            may_grow = "straddles" in str(cause) and block_bytes < MAX_BLOCK_BYTES
            if may_grow and (block_bytes > BLOCK_BYTES or not _is_quote_open(spec, head.file, dialect)):
                block_bytes *= 8
                continue
            raise locate.explain(spec, head.file, dialect.encoding, dialect.delimiter, cause) from cause
    # Arrow takes a quote that is never closed for one long last field, if the number of fields allows it.
    is_suspect = last is not None and "\n" in (last.column(last.num_columns - 1)[-1].as_py() or "")
    if is_suspect and _is_quote_open(spec, head.file, dialect):
        raise locate.explain(spec, head.file, dialect.encoding, dialect.delimiter, "a quote is never closed")


def _is_quote_open(spec: IntakeSpec, file: SourceFile, dialect: Dialect) -> bool:
    with streams.reading(spec, file):
        return locate.is_quote_open(file, dialect.encoding, dialect.delimiter)


def _file_batches(
    head: Head, dialect: Dialect, block_bytes: int, hashes: SourceHashes | None
) -> Iterator[pa.RecordBatch]:
    with streams.open_bytes(head.file) as stream:
        if not dialect.is_bytewise:
            yield from arrow_batches(stream, head, dialect, block_bytes)
            return
        gather = None if hashes is None else hashes.gather(splitter_of(head, dialect))
        yield from arrow_batches(TextFile(stream, gather), head, dialect, block_bytes)


def arrow_batches(stream: Any, head: Head, dialect: Dialect, block_bytes: int) -> Iterator[pa.RecordBatch]:
    """The rows of a text as text columns; `head` says on which line its header stands.

    Raises
    ------
    pyarrow.ArrowInvalid
        What Arrow cannot read, a record longer than a block among it.
    """
    yield from csv.open_csv(
        stream,
        read_options=csv.ReadOptions(
            use_threads=False, block_size=block_bytes, encoding=dialect.encoding, skip_rows=head.line - 1
        ),
        parse_options=csv.ParseOptions(
            delimiter=dialect.delimiter, newlines_in_values=True, ignore_empty_lines=len(head.names) > 1
        ),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(head.names, pa.string()),
            null_values=dialect.null,
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def _dtypes(
    spec: IntakeSpec, heads: Sequence[Head], wanted: Sequence[Wanted], dialect: Dialect, is_certain: bool
) -> list[str]:
    """The dtype of every column, those that nobody fixed as the rows suggest."""
    surveys = {w.name: Survey() for w in wanted if w.dtype is None}
    if surveys:
        for head in heads:
            for batch in read_batches(spec, head, dialect):
                for name, survey in surveys.items():
                    survey.add(batch.column(name))
                if not is_certain:
                    break
            if not is_certain and head.has_rows:
                break
        if not is_certain and not all(survey.is_settled for survey in surveys.values()):
            raise GuessFailed  # a column without a value at the head may be of any dtype
    return [surveys[w.name].dtype() if w.dtype is None else w.dtype for w in wanted]


def converted(
    spec: IntakeSpec,
    file: SourceFile,
    batch: pa.RecordBatch,
    wanted: Sequence[Wanted],
    columns: Sequence[Column],
    is_certain: bool,
    place: Callable[[int], str],
) -> pa.Table:
    """Text columns of a file as columns of their dtypes; `place` names a row of the batch.

    Raises
    ------
    BuilderError
        ``schema-drift``, ``bad-value`` or ``bad-geometry`` about the first row that does not fit.
    GuessFailed
        It does not fit a dtype that was guessed, unless `is_certain`.
    """

    def convert(want: Wanted, column: Column) -> pa.Array:
        try:
            return typed(batch.column(want.name), column.dtype, lenient=want.is_lenient)
        except Misfit:
            if want.origin == "inferred" and not is_certain:
                raise GuessFailed from None
            raise

    return assemble(spec, file, batch.num_rows, wanted, columns, convert, place)
