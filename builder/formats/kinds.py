"""Formats by file name: which parser a source's path asks for, and how its bytes are packed.

Decides from the name alone. Never opens a file, and imports nothing heavy: declarations are checked with it.
"""

from __future__ import annotations

from typing import Final

FORMATS: Final = ("csv", "tsv", "parquet", "geojson", "json", "jsonl", "gpkg", "fgb", "shp", "file")
"""Every format a source may have; ``file`` is anything that is not taken in as a table."""

_ENDINGS: Final = {f".{name}": name for name in FORMATS if name != "file"} | {
    ".ndjson": "jsonl",
    ".geoparquet": "parquet",
}
_PACKINGS: Final = {".gz": "gzip", ".zst": "zstd"}


def kind_of(path: str) -> tuple[str, str]:
    """The format and the compression of a path or URL, by its ending and without regard to case.

    The compression is ``gzip``, ``zstd``, ``zip`` (only of shapefiles) or empty.

    >>> kind_of("data/a.CSV.gz"), kind_of("counties.zip"), kind_of("notes.txt")
    (('csv', 'gzip'), ('shp', 'zip'), ('file', ''))
    """
    name = path.lower().rsplit("/", 1)[-1]
    packing = packing_of(name)
    if packing == "zip":
        stem = name.removesuffix(".zip")
        return ("shp", "zip") if stem.endswith(".shp") or "." not in stem else ("file", "")
    plain = name.rsplit(".", 1)[0] if packing else name
    for ending, format in _ENDINGS.items():
        if plain.endswith(ending):
            return format, packing
    return "file", ""


def packing_of(path: str) -> str:
    """How the bytes of a path are packed: ``gzip``, ``zstd``, ``zip``, or empty for plain bytes."""
    name = path.lower()
    if name.endswith(".zip"):
        return "zip"
    return next((packing for ending, packing in _PACKINGS.items() if name.endswith(ending)), "")
