"""Where text went wrong: an exact, slow second reading that finds lines, columns and bytes.

Decides places in messages. Never runs unless something failed already.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

from builder.errors import BuilderError, error
from builder.execute.spec import IntakeSpec
from builder.formats import streams
from builder.formats.opened import unreadable
from builder.sources import SourceFile

_FIELD_CHARS = 32 << 20  # a longer field is taken for a quote that is never closed, before it fills the memory
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """One record as the csv module reads it; ``is_open`` where the file ended inside its quotes."""

    line: int
    fields: list[str]
    is_open: bool


def rows(stream: TextIO, delimiter: str) -> Iterator[Row]:
    """Every record with the line it starts on, the header first; empty lines count where records have one field."""
    ended = False

    def lines() -> Iterator[str]:
        nonlocal ended
        yield from stream
        ended = True

    with _long_fields():
        reader = csv.reader(lines(), delimiter=delimiter)
        line, width = 1, 0
        try:
            for fields in reader:
                width = width or len(fields)
                if fields or width == 1:
                    yield Row(line, fields, ended)
                line = reader.line_num + 1
        except csv.Error:  # the one error of a reader that is not strict: a field beyond the limit
            yield Row(line, [], True)


def explain(spec: IntakeSpec, file: SourceFile, encoding: str, delimiter: str, reason: object) -> BuilderError:
    """The error that tells why a CSV file could not be read: its first bad byte, its first bad row, else `reason`."""
    try:
        with streams.reading(spec, file), streams.open_text(file, encoding) as stream:
            width = 0
            for row in rows(stream, delimiter):
                width = width or len(row.fields)
                if row.is_open or max(len(row.fields), 1) != width:
                    return _bad_row(spec, file, row, width)
    except UnicodeError:
        return bad_byte(spec, file, encoding)
    except BuilderError as cause:
        return cause
    return unreadable(spec, file, reason)


def bad_byte(spec: IntakeSpec, file: SourceFile, encoding: str) -> BuilderError:
    """The error about the first byte that `encoding` does not allow."""
    decoder = codecs.getincrementaldecoder(encoding)()
    line = 1
    with streams.reading(spec, file), streams.open_bytes(file) as stream:
        while True:
            chunk = stream.read(_CHUNK_BYTES)
            try:
                line += decoder.decode(chunk, final=not chunk).count("\n")
            except UnicodeDecodeError as cause:
                line += cause.object[: cause.start].decode(encoding, "ignore").count("\n")
                return _bad_encoding(spec, file, encoding, line, f"0x{cause.object[cause.start]:02x}")
            except UnicodeError as cause:
                return _bad_encoding(spec, file, encoding, line, str(cause))
            if not chunk:
                return _bad_encoding(spec, file, encoding, line, "unknown")


def is_quote_open(file: SourceFile, encoding: str, delimiter: str) -> bool:
    """Whether the file ends inside quotes."""
    with streams.open_text(file, encoding) as stream:
        return any(row.is_open for row in rows(stream, delimiter))


@dataclass(slots=True)
class Lines:
    """Lines of a file's data rows; what was found once is remembered."""

    file: SourceFile
    encoding: str
    delimiter: str
    total_rows: int | None = None
    _is_plain: bool | None = None
    _known: dict[int, int] = field(default_factory=dict)

    def line(self, row: int) -> int:
        """The line on which a data row, counted from 0, starts."""
        if self._is_plain is None:
            is_bytewise = not self.encoding.startswith(("utf-16", "utf-32"))
            self._is_plain = is_bytewise and self.total_rows is not None and self._count() == self.total_rows + 1
        if self._is_plain:
            return row + 2
        if row not in self._known:
            with streams.open_text(self.file, self.encoding) as stream:
                for ordinal, found in enumerate(rows(stream, self.delimiter), -1):
                    if ordinal == row:
                        self._known[row] = found.line
                        break
        return self._known.get(row, row + 2)

    def _count(self) -> int:
        """How many lines the file has; one record a line where it is one more than the rows."""
        count, last = 0, b"\n"
        with streams.open_bytes(self.file) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                count += chunk.count(b"\n")
                last = chunk[-1:]
        return count + (last != b"\n")


@contextmanager
def _long_fields() -> Iterator[None]:
    """Lift the csv module's limit on the size of a field, which is one for the whole process, for a while."""
    before = csv.field_size_limit(_FIELD_CHARS)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _bad_row(spec: IntakeSpec, file: SourceFile, row: Row, width: int) -> BuilderError:
    if row.is_open:
        what, hint = "a quote that is never closed", "close the quote, or double it where it is part of the text"
    else:
        what = f"a row of {len(row.fields)} fields where the header has {width}"
        hint = "correct the row; quote fields that hold the delimiter or a line end"
    return error(
        "bad-row",
        f"'{spec.source}' has {what}",
        place=f"{file.shown}:{row.line}",
        facts=[
            ("line", str(row.line)),
            *(() if row.is_open else (("expected", f"{width} fields"), ("found", f"{len(row.fields)} fields"))),
            ("row", repr(row.fields)[:200]),
        ],
        hint=hint,
        target=spec.source,
    )


def _bad_encoding(spec: IntakeSpec, file: SourceFile, encoding: str, line: int, byte: str) -> BuilderError:
    other = "latin-1" if encoding == "utf-8" else "utf-8"
    return error(
        "bad-encoding",
        f"'{spec.source}' is not {encoding}: {file.shown}",
        place=f"{file.shown}:{line}",
        facts=[("line", str(line)), ("byte", byte), ("encoding", encoding)],
        hint=f'say which encoding it has, for example encoding="{other}", or deliver the file in UTF-8',
        target=spec.source,
    )
