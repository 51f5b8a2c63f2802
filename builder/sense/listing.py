"""The files that a pattern names now, in name order.

Decides which files make up a source. Never reads them, never follows a name found in data, and lists only folders that
can hold a match.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from builder.errors import BuilderError
from builder.nouns import dataclass
from builder.sense.patterns import Captures, Pattern, join, parse_pattern, prefix_of
from builder.sense.tokens import token_of, unreadable
from builder.sources import LOG_ENDING

__all__ = ["Match", "companions", "list_pattern", "prefix_of"]

_FILE = re.compile(r"(?!file:)(?:(?!\.\.?/)[^*{}/\0]+/)*(?!\.\.?\Z)[^*{}/\0]+", re.DOTALL)
"""A relative path that is its own pattern: nothing open in it, nothing to be tidied."""
_SHAPEFILE_ENDINGS = (".dbf", ".shx", ".prj", ".cpg")


@dataclass(frozen=True, slots=True)
class Match:
    """One file: its path (relative to the project unless the pattern is absolute), its captures, its name within."""

    path: str
    captures: Captures
    name: str


def list_pattern(root: Path, pattern: str, looked: set[str] | None = None) -> list[Match]:
    """The files that `pattern` names below `root`, in the order of their paths' code points; none is an empty list.

    A plain path gives one match where it exists; a plain folder gives every file below it that is not hidden, with
    names relative to it. Links are followed; in ``**`` a folder that holds itself is entered once. Folders that were
    listed, links found in them, and a plain path, there or not, are added to `looked`.

    Raises
    ------
    SourceError
        ``source-unreadable``: a folder that may not be listed.
    ConfigError
        ``recipe-declaration``: the pattern cannot be read.
    """
    base = os.fspath(root)
    looked = set() if looked is None else looked
    if _FILE.fullmatch(pattern):  # what most sources are: one file by its name
        full = f"{base}/{pattern}"
        looked.add(full)
        if not os.path.isdir(full):
            return [Match(pattern, (), pattern.rpartition("/")[2])] if _is_there(full) else []
    parsed = parse_pattern(pattern)
    if parsed.is_plain:
        path = join(parsed.segments)
        full = os.path.join(base, path)
        looked.add(full)
        if not os.path.isdir(full):
            return [Match(path, (), parsed.segments[-1])] if _is_there(full) else []
        parsed = Pattern(f"{path}/**")
    tree = _Tree(base, looked)
    return [Match(p, parsed.match(p) or (), parsed.name_of(p)) for p in sorted(parsed.walk(tree.entries, tree.is_file))]


def companions(path: str, looked: set[str] | None = None, *, is_geopackage: bool = False) -> list[str]:
    """The files that belong to a shapefile's ``.shp`` or a GeoPackage, in name order: they are content as well.

    A GeoPackage, whatever its name with `is_geopackage`, that another program has open may have its last changes in a
    log beside the file itself, not beside a link to it, until that is closed. Where companions would lie, there or not,
    is added to `looked`.
    """
    if is_geopackage or path[-5:].lower() == ".gpkg":
        log = os.path.realpath(path) + LOG_ENDING
        if looked is not None:
            looked.add(log)
        return [log] if os.path.isfile(log) and os.path.getsize(log) else []
    if path[-4:].lower() != ".shp":
        return []
    stem = path[:-4]
    spellings = [stem + e for e in (*_SHAPEFILE_ENDINGS, *(e.upper() for e in _SHAPEFILE_ENDINGS))]
    if looked is not None:
        looked.update(spellings)
    return sorted(s for s in spellings if os.path.isfile(s))


class _Tree:
    """Lists folders below `base` for `Pattern.walk`."""

    def __init__(self, base: str, looked: set[str]) -> None:
        self.base = base
        self.looked = looked

    def is_file(self, path: str) -> bool:
        return os.path.isfile(os.path.join(self.base, path))

    def entries(self, folder: str) -> list[tuple[str, bool]]:
        """Files and folders, links followed; what is neither (a link to nowhere, a pipe) is left out."""
        full = os.path.join(self.base, folder)
        self.looked.add(full)
        found = []
        try:
            with os.scandir(full) as listed:
                for entry in listed:
                    if entry.is_symlink():
                        self.looked.add(entry.path)
                    is_folder = _is(entry.is_dir)
                    if is_folder and entry.is_symlink() and self._holds(entry.path, folder):
                        continue
                    if is_folder or _is(entry.is_file):
                        found.append((entry.name, is_folder))
        except (FileNotFoundError, NotADirectoryError):
            return []  # it vanished, or was never there: nothing matches
        except OSError as cause:
            raise unreadable(folder or self.base, cause) from cause
        return found

    def _holds(self, link: str, folder: str) -> bool:
        """Whether a linked folder is one of those on the way to it: a circle."""
        found = os.stat(link)
        way = [self.base]
        for name in folder.split("/") if folder else ():
            way.append(os.path.join(way[-1], name or "/"))
        return any(os.path.samestat(found, os.stat(step)) for step in way)


def _is_there(path: str) -> bool:
    try:
        return token_of(path) is not None
    except BuilderError:
        return True  # sensing says why it cannot be read


def _is(claim: Callable[[], bool]) -> bool:
    try:
        return claim()
    except OSError:  # links in a circle
        return False
