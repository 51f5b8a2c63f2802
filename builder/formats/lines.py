"""Text split into records, each with a hash of its bytes, in bounded memory.

Decides which bytes are records: not the byte-order mark, not the header, not empty lines (unless a record has one
field), and no line ends. Never looks into a record; `linekernels` holds the grammar.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt

from builder.formats.linekernels import PADDING, gather_records, hash_records, split_records
from builder.sources import SourceFile
from builder.tables.matching import Mask, Words

READ_BYTES: Final = 512 << 10
"""How much is read at once: what is split and hashed is still in the cache."""

MAX_RECORD_BYTES: Final = 32 << 20
"""A longer record is taken for a quote that is never closed."""

_MARK = b"\xef\xbb\xbf"
_RECORDS = 8192

Offsets = npt.NDArray[np.int64]


class OddText(Exception):
    """Text that is better read by who can say what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Records:
    """Some records of a file, in its order: where they begin and end in `data`, until the next ones are asked for."""

    data: npt.NDArray[np.uint8]
    starts: Offsets
    ends: Offsets
    low: Words
    high: Words

    def text(self, is_new: Mask) -> bytes:
        """The records that are new, a line end behind each."""
        size = int((self.ends - self.starts)[is_new].sum()) + int(np.count_nonzero(is_new))
        out = np.empty(size, np.uint8)
        if size:
            gather_records(self.data, self.starts, self.ends, is_new, out)
        return out.tobytes()


class Splitter:
    """Splits the text of one file, given in pieces, into records.

    Parameters
    ----------
    header
        How many records stand before the first row, the header among them.
    delimiter
        One byte.
    keeps_empty
        Whether an empty line is a record.
    """

    def __init__(self, header: int, delimiter: str, *, keeps_empty: bool) -> None:
        self._header = header
        self._delimiter = delimiter.encode()[0]
        self._keeps_empty = keeps_empty
        self._buffer = np.zeros(2 * READ_BYTES, np.uint8)
        self._begin = 0
        self._end = 0
        self._is_fresh = True
        self._starts = np.empty(_RECORDS, np.int64)
        self._ends = np.empty(_RECORDS, np.int64)

    def room(self, size: int) -> memoryview:
        """Where the next `size` bytes of the file go, behind what is left of the last ones.

        Raises
        ------
        OddText
            What is left is longer than `MAX_RECORD_BYTES`.
        """
        left = self._end - self._begin
        if left > MAX_RECORD_BYTES:
            raise OddText("a record is too long")
        buffer = self._buffer
        if left + size + PADDING > len(buffer):
            buffer = np.zeros(2 * (left + size + PADDING + 7) & ~7, np.uint8)
        buffer[:left] = self._buffer[self._begin : self._end].copy()
        self._buffer, self._begin, self._end = buffer, 0, left
        return memoryview(buffer)[left : left + size]  # type: ignore[arg-type]

    def records(self, size: int, *, is_last: bool) -> Iterator[Records]:
        """The records that are whole now that `size` more bytes are in their room.

        Raises
        ------
        OddText
            The file ends inside quotes.
        """
        self._end += size
        if self._is_fresh and not self._skip_mark(is_last):
            return
        data, words = self._buffer, self._buffer.view(np.uint64)
        while True:
            count, self._begin, is_open = split_records(
                data,
                words,
                self._begin,
                self._end,
                is_last,
                self._keeps_empty,
                self._delimiter,
                self._starts,
                self._ends,
            )
            if is_open and is_last:
                raise OddText("a quote is never closed")
            dropped = min(self._header, count)
            self._header -= dropped
            starts, ends = self._starts[dropped:count], self._ends[dropped:count]
            if len(starts):
                yield _hashed(data, words, starts, ends)
            if count < _RECORDS:
                return

    def _skip_mark(self, is_last: bool) -> bool:
        """Whether it is known by now that the file begins with a byte-order mark, or does not."""
        if self._end < len(_MARK) and not is_last:
            return False
        self._is_fresh = False
        if self._buffer[: min(self._end, len(_MARK))].tobytes() == _MARK:
            self._begin = len(_MARK)
        return True


def _hashed(data: npt.NDArray[np.uint8], words: Words, starts: Offsets, ends: Offsets) -> Records:
    low, high = np.empty(len(starts), np.uint64), np.empty(len(starts), np.uint64)
    hash_records(words, starts, ends, len(starts), low, high)
    return Records(data, starts, ends, low, high)


def read_records(file: SourceFile, splitter: Splitter) -> Iterator[Records]:
    """The records of a file.

    Raises
    ------
    OddText
        The file cannot be split.
    OSError
        It cannot be read.
    """
    with open(file.path, "rb", buffering=0) as stream:
        while True:
            size = stream.readinto(splitter.room(READ_BYTES))
            yield from splitter.records(size, is_last=size == 0)
            if size == 0:
                return


class TextFile(io.RawIOBase):
    """The bytes of a text, a line end behind the last record whether it has one or not; `gather` is given them all.

    Arrow takes an empty field that ends a file without a line end for a quoted one, if there was one before it.
    """

    def __init__(self, stream: BinaryIO, gather: Callable[[bytes], None] | None) -> None:
        self._stream = stream
        self._gather = gather
        self._last = b""

    def readable(self) -> bool:
        """True."""
        return True

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        content = self._stream.read(size)
        if not content and self._last not in (b"", b"\n", b"\r"):
            content = b"\n"
        self._last = content[-1:]
        if self._gather is not None:
            self._gather(content)
        return content

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
        super().close()


class SourceHashes:
    """The hashes of a source's records, file by file, gathered while its text is read for its rows.

    Where text cannot be split, or is split into other rows than the reader found, `is_whole` is false: the text is read
    all the same, and its hashes are of no use.
    """

    def __init__(self) -> None:
        self.is_whole = True
        self.counts: list[int] = []
        self._skip = 0
        self._taken: list[tuple[Words, Words]] = []

    def begin(self) -> None:
        """The hashes from here on are those of the next file."""
        self.counts.append(0)

    def gather(self, splitter: Splitter) -> Callable[[bytes], None]:
        """What takes the bytes of the current file in, from their beginning; records that were hashed count once."""
        self._skip = self.counts[-1]

        def gather(content: bytes) -> None:
            try:
                if self.is_whole:
                    self._split(splitter, content)
            except OddText:
                self.is_whole = False

        return gather

    def _split(self, splitter: Splitter, content: bytes) -> None:
        for at in range(0, max(1, len(content)), READ_BYTES):
            piece = memoryview(content)[at : at + READ_BYTES]
            splitter.room(len(piece))[:] = piece
            for records in splitter.records(len(piece), is_last=not content):
                self._add(records.low, records.high)

    def _add(self, low: Words, high: Words) -> None:
        skipped = min(self._skip, len(low))
        self._skip -= skipped
        if skipped < len(low):
            self._taken.append((low[skipped:], high[skipped:]))
            self.counts[-1] += len(low) - skipped

    def end(self, rows: int) -> None:
        """The reader found so many rows in the current file."""
        self.is_whole = self.is_whole and self.counts[-1] == rows

    def take(self) -> tuple[Words, Words]:
        """The hashes that were not taken yet."""
        taken, self._taken = self._taken, []
        none = [np.empty(0, np.uint64)]
        return np.concatenate(none + [low for low, _ in taken]), np.concatenate(none + [high for _, high in taken])
