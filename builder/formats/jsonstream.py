"""JSON documents of any length, read element by element.

Decides how a long array is walked in bounded memory: one element at a time. Never builds the whole document.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, TextIO

_CHUNK_CHARS: Final = 1 << 20
_MAX_CHARS: Final = 1 << 30
_BLANK: Final = " \t\r\n"


class BadJson(ValueError):
    """Text that is no JSON, or not of the expected shape: what, and on which line."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


def elements(stream: TextIO) -> Iterator[tuple[int, Any]]:
    """Each element of the array that is the document, with the line it starts on.

    Raises
    ------
    BadJson
        The document is no JSON array.
    """
    text = _Text(stream)
    if text.peek() != "[":
        raise text.bad("the document is no array")
    yield from _array(text)
    text.end()


def members(stream: TextIO, streamed: str) -> Iterator[tuple[int, str, Any]]:
    """Each member of the object that is the document: line, name, value; the array named `streamed` element by element.

    Raises
    ------
    BadJson
        The document is no JSON object, or `streamed` no array.
    """
    text = _Text(stream)
    if text.peek() != "{":
        raise text.bad("the document is no object")
    text.take()
    while text.peek() != "}":
        name = text.value()
        if not isinstance(name, str):
            raise text.bad("a member has no name")
        text.expect(":")
        if name != streamed:
            yield text.line, name, text.value()
        elif text.peek() != "[":
            raise text.bad(f"'{streamed}' is no array")
        else:
            for line, value in _array(text):
                yield line, name, value
        if text.peek() != "}":
            text.expect(",")
            if text.peek() == "}":
                raise text.bad("a comma before the closing brace")
    text.take()
    text.end()


def _array(text: _Text) -> Iterator[tuple[int, Any]]:
    text.expect("[")
    while text.peek() != "]":
        line = text.line
        yield line, text.value()
        if text.peek() != "]":
            text.expect(",")
            if text.peek() == "]":
                raise text.bad("a comma before the closing bracket")
    text.take()


class _Text:
    """A window on a stream of text that moves forward only."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._window = ""
        self._at = 0
        self._is_ended = False
        self._counted = 0
        self._line = 1
        self._decoder = json.JSONDecoder()

    @property
    def line(self) -> int:
        """The line of the next character."""
        self._line += self._window.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def bad(self, reason: str) -> BadJson:
        return BadJson(reason, self.line)

    def peek(self) -> str:
        """The next character that is not blank; empty at the end."""
        while True:
            while self._at < len(self._window):
                if self._window[self._at] not in _BLANK:
                    return self._window[self._at]
                self._at += 1
            if not self._more():
                return ""

    def take(self) -> None:
        self._at += 1

    def expect(self, char: str) -> None:
        found = self.peek()
        if found != char:
            raise self.bad(
                f"expected {char!r}, found {found!r}" if found else f"the text ends where {char!r} is expected"
            )
        self._at += 1

    def end(self) -> None:
        """Only blanks may be left."""
        if self.peek():
            raise self.bad("text after the end of the document")

    def value(self) -> Any:
        """The next JSON value."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._window, self._at)
                # A number at the window's edge may go on, even behind a point or an exponent's sign.
                is_whole = not isinstance(value, (int, float)) or len(self._window) - end > 2
                if is_whole or self._is_ended:
                    self._at = end
                    return value
            except json.JSONDecodeError as cause:
                # Text that merely stops at the window's edge may go on; what is wrong well before it stays wrong.
                may_go_on = cause.msg.startswith("Unterminated string") or cause.pos > len(self._window) - 32
                if self._is_ended or not may_go_on or len(self._window) > _MAX_CHARS:
                    line = self.line + self._window.count("\n", self._at, cause.pos)
                    raise BadJson(cause.msg, line) from cause
            except RecursionError as cause:
                raise self.bad("nested too deeply") from cause
            self._more()

    def _more(self) -> bool:
        """Read on: at least as much as is left in the window, so that a long element costs linear time."""
        if self._is_ended:
            return False
        assert self.line
        left = self._window[self._at :]
        chunk = self._stream.read(max(_CHUNK_CHARS, len(left)))
        self._window = left + chunk
        self._at = self._counted = 0
        self._is_ended = not chunk
        return bool(chunk)
