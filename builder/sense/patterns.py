"""Path patterns of sources: ``*`` within a name, ``**`` over folders, ``{capture}``s.

Decides which paths belong to a pattern and what its captures hold. Never looks at a disk: a walk asks whoever lists.

`*` and captures do not match ``/``; a name that begins with a dot needs a pattern that says the dot.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, lru_cache

from builder.errors import error
from builder.nouns import dataclass

_PIECE = re.compile(r"\*+|\{[^{}]*\}|[^*{}]+|[{}]")

Captures = tuple[tuple[str, str], ...]
Lister = Callable[[str], Iterable[tuple[str, bool]]]
"""Gives the entries of a folder (``""``: where the pattern starts): a name, and whether it is a folder."""


@dataclass(frozen=True)
class Pattern:
    """A parsed pattern: its segments between slashes, each fixed text or with something open in it."""

    text: str

    @cached_property
    def segments(self) -> tuple[str, ...]:
        """The segments; the first is ``/`` where the pattern is absolute, and a trailing slash counts for nothing."""
        absolute = ("/",) if self.text.startswith("/") else ()
        named = [s for s in self.text.split("/") if s not in ("", ".")]
        return absolute + tuple(
            s for s, before in zip(named, ["", *named], strict=False) if (s, before) != ("**", "**")
        )

    @property
    def is_plain(self) -> bool:
        """Whether it has neither ``*`` nor captures, and so names one path."""
        return all(_is_fixed(s) for s in self.segments)

    @cached_property
    def fixed_count(self) -> int:
        """How many leading segments are fixed text, the last one left out."""
        return _leading(self.segments, _is_fixed)

    @cached_property
    def prefix_count(self) -> int:
        """How many leading segments have no ``*``, the last one left out; for one member of a family they are fixed."""
        return _leading(self.segments, lambda s: "*" not in s)

    @cached_property
    def capture_names(self) -> tuple[str, ...]:
        """Names of the captures, each once, as they first occur."""
        return tuple(dict.fromkeys(re.findall(r"\{([^{}]*)\}", self.text)))

    @cached_property
    def _whole(self) -> re.Pattern[str]:
        """All segments at once, so that a capture that occurs twice agrees with itself."""
        numbers = {name: i for i, name in enumerate(self.capture_names)}
        seen: set[str] = set()
        text = ""
        last = len(self.segments) - 1
        for i, segment in enumerate(self.segments):
            if segment == "**":
                text += r"(?:(?!\.)[^/]+/)*" + (r"(?!\.)[^/]+" if i == last else "")
            elif segment == "/":
                text += "/"
            else:
                text += _segment_regex(segment, numbers, seen) + ("" if i == last else "/")
        return re.compile(text, re.DOTALL)

    def match(self, path: str) -> Captures | None:
        """The captures that `path` gives, None where it does not match."""
        found = self._whole.fullmatch(path)
        return found and tuple((n, found[f"c{i}"]) for i, n in enumerate(self.capture_names))

    def name_of(self, path: str) -> str:
        """The name of a file that matches, relative to the pattern's prefix."""
        return path.lstrip("/").split("/", self.prefix_count - (self.segments[0] == "/"))[-1]

    def walk(self, entries: Lister, is_file: Callable[[str], bool]) -> Iterator[str]:
        """The paths that match, in no order, each once; `entries` is asked only for folders that can hold one."""
        start = join(self.segments[: self.fixed_count])
        paths = self._below(start, self.fixed_count, entries, is_file)
        # Two ways through several ** lead to the same path.
        return (p for p in dict.fromkeys(paths) if self.match(p) is not None)

    def _below(self, folder: str, index: int, entries: Lister, is_file: Callable[[str], bool]) -> Iterator[str]:
        segment, is_last = self.segments[index], index == len(self.segments) - 1
        if segment == "**":
            if not is_last:
                yield from self._below(folder, index + 1, entries, is_file)
            for name, is_folder in entries(folder):
                if is_folder and not name.startswith("."):
                    yield from self._below(join((folder, name)), index, entries, is_file)
                elif is_last and not is_folder:
                    yield join((folder, name))
        elif _is_fixed(segment):
            path = join((folder, segment))
            if not is_last:
                yield from self._below(path, index + 1, entries, is_file)
            elif is_file(path):
                yield path
        else:
            regex = _alone(segment)
            for name, is_folder in entries(folder):
                if is_folder != is_last and regex.fullmatch(name):
                    path = join((folder, name))
                    yield from (path,) if is_last else self._below(path, index + 1, entries, is_file)


@lru_cache(maxsize=1024)
def parse_pattern(text: str) -> Pattern:
    """The pattern that `text` writes.

    Raises
    ------
    ConfigError
        ``recipe-declaration``: empty or the root, a NUL, braces that name no capture, ``**`` beside other text.
    """
    pattern = Pattern(text.removeprefix("file://"))
    problem = None
    if pattern.segments in ((), ("/",)):
        problem = "names no file"
    if "\0" in text:
        problem = "holds a NUL"
    for segment in pattern.segments:
        if segment != "**" and "**" in segment:
            problem = "has ** beside other text; it stands alone between slashes"
        if any(p in ("{", "}") or (p[0] == "{" and not p[1:-1].isidentifier()) for p in _PIECE.findall(segment)):
            problem = "has braces that name no capture"
    if problem:
        hint = "write * for any text within a name, ** for any folders, {name} for a capture"
        raise error("recipe-declaration", f"the path {text!r} {problem}", hint=hint)
    return pattern


def prefix_of(pattern: str) -> str:
    """The folder that names of a source's files are relative to: all before the first ``*``, without the last segment.

    Captures may stand in it: they are fixed for each member of a family.

    >>> prefix_of("data/{state}/*.csv"), prefix_of("airports.csv")
    ('data/{state}', '')
    """
    parsed = parse_pattern(pattern)
    return join(parsed.segments[: parsed.prefix_count])


def join(segments: tuple[str, ...]) -> str:
    """Segments as one path; empty ones count for nothing, and the segment ``/`` is the root."""
    path = "/".join(s for s in segments if s)
    return path[1:] if path.startswith("//") else path


def _leading(segments: tuple[str, ...], holds: Callable[[str], bool]) -> int:
    count = 0
    while count < len(segments) - 1 and holds(segments[count]):
        count += 1
    return count


def _is_fixed(segment: str) -> bool:
    return "*" not in segment and "{" not in segment


@lru_cache(maxsize=1024)
def _alone(segment: str) -> re.Pattern[str]:
    """A segment by itself; captures within it agree, those of other segments are checked later."""
    names = dict.fromkeys(re.findall(r"\{([^{}]*)\}", segment))
    return re.compile(_segment_regex(segment, {n: i for i, n in enumerate(names)}, set()), re.DOTALL)


def _segment_regex(segment: str, numbers: dict[str, int], seen: set[str]) -> str:
    pieces = _PIECE.findall(segment)
    # Hidden names are for patterns that begin with the dot themselves.
    text = r"(?!\.)" if pieces[0][0] in "*{" else ""
    for piece in pieces:
        if piece[0] == "*":
            text += "[^/]*"
        elif piece[0] == "{":
            name = piece[1:-1]
            text += f"(?P=c{numbers[name]})" if name in seen else f"(?P<c{numbers[name]}>[^/]+?)"
            seen.add(name)
        else:
            text += re.escape(piece)
    return text
