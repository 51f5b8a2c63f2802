"""JSON arrays of objects, JSON Lines and GeoJSON as chunks of objects with their lines.

Decides how a document's records are found, and what stands in a GeoJSON feature. Never decides dtypes: `records` does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from builder.errors import error
from builder.execute.spec import IntakeSpec
from builder.formats import jsonstream, locate, streams
from builder.formats.geometry import wkb_of_geojson
from builder.formats.opened import unreadable
from builder.sources import SourceFile
from builder.tables.crs import LON_LAT

ToldCrs = dict[str, str | None]
"""The CRS that each GeoJSON file, by its path, tells of; None: it says that it is not known."""

CHUNK_ROWS = 8192
GEOMETRY = "geometry"


@dataclass(slots=True)
class Chunk:
    """Some records of a file, from its `first`, counted from 0; for GeoJSON with the WKB of each feature's geometry."""

    first: int = 0
    objects: list[dict[str, Any]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    shapes: list[bytes | None] = field(default_factory=list)


def read_chunks(spec: IntakeSpec, file: SourceFile, told: ToldCrs | None = None) -> Iterator[Chunk]:
    """The records of a file, in its order; at the end `told` has the CRS that stands in a GeoJSON file.

    Raises
    ------
    BuilderError
        ``source-empty``, ``source-unreadable``, ``bad-encoding``, ``bad-geometry``.
    """
    streams.check_not_empty(spec, file)
    encoding = streams.encoding_of(spec)
    chunk = Chunk()
    try:
        with streams.reading(spec, file), streams.open_text(file, encoding) as stream:
            for number, (line, item, shape) in enumerate(_items(spec, file, stream, {} if told is None else told), 1):
                if not isinstance(item, dict):
                    raise jsonstream.BadJson(f"record {number} is no object", line)
                chunk.objects.append(item)
                chunk.lines.append(line)
                chunk.shapes.append(shape)
                if len(chunk.objects) == CHUNK_ROWS:
                    yield chunk
                    chunk = Chunk(number)
    except jsonstream.BadJson as cause:
        wrong = unreadable(spec, file, f"line {cause.line}: {cause.reason}")
        wrong.place = f"{file.shown}:{cause.line}"
        raise wrong from cause
    except UnicodeError as cause:
        raise locate.bad_byte(spec, file, encoding) from cause
    if chunk.objects:
        yield chunk


def _items(spec: IntakeSpec, file: SourceFile, stream: Any, told: ToldCrs) -> Iterator[tuple[int, Any, bytes | None]]:
    if spec.format == "geojson":
        yield from _features(spec, file, stream, told)
    elif spec.format == "json":
        for line, item in jsonstream.elements(stream):
            yield line, item, None
    else:
        for line, text in enumerate(stream, 1):
            if not text.isspace():
                try:
                    yield line, json.loads(text), None
                except (ValueError, RecursionError) as cause:
                    raise jsonstream.BadJson(str(cause), line) from cause


def _features(
    spec: IntakeSpec, file: SourceFile, stream: Any, told: ToldCrs
) -> Iterator[tuple[int, Any, bytes | None]]:
    kind: Any = None
    number = 0
    told[file.path] = LON_LAT  # RFC 7946; the crs member is of the standard before it
    for line, name, value in jsonstream.members(stream, "features"):
        if name == "type":
            kind = value
        elif name == "crs":
            told[file.path] = _crs_name(value)
        elif name == "features":
            number += 1
            if not isinstance(value, dict) or value.get("type") != "Feature":
                raise jsonstream.BadJson(f"feature {number} is no Feature", line)
            try:
                properties = _properties(value)
            except ValueError as cause:
                raise jsonstream.BadJson(f"feature {number}: {cause}", line) from cause
            yield line, properties, _shape(spec, file, value.get("geometry"), number, line)
    if kind != "FeatureCollection":
        raise jsonstream.BadJson(f"the document's type is {kind!r}, not 'FeatureCollection'", 1)


def _properties(feature: dict[str, Any]) -> Any:
    """A feature's properties; its own id is one where it has none of that name."""
    properties = feature.get("properties")
    properties = {} if properties is None else properties
    if isinstance(properties, dict) and GEOMETRY in properties:
        raise ValueError(f"a property is named '{GEOMETRY}', as the column of the geometry is")
    if isinstance(properties, dict) and "id" in feature and "id" not in properties:
        return {"id": feature["id"], **properties}
    return properties


def _shape(spec: IntakeSpec, file: SourceFile, geometry: Any, number: int, line: int) -> bytes | None:
    if geometry is None:
        return None
    try:
        return wkb_of_geojson(geometry)
    except (ValueError, RecursionError) as cause:
        raise error(
            "bad-geometry",
            f"'{spec.source}' has a geometry that cannot be read",
            place=place_of(spec, file, line, number - 1),
            facts=[("column", GEOMETRY), ("reason", str(cause))],
            hint="repair the geometry where it is made, or make it null",
            target=spec.source,
        ) from cause


def _crs_name(member: Any) -> str | None:
    """The name that a crs member holds; null says that the CRS is unknown."""
    if not isinstance(member, dict):
        return None
    properties = member.get("properties")
    name = properties.get("name") if isinstance(properties, dict) else None
    return name if isinstance(name, str) else None


_NAMES = {"geojson": "feature", "json": "record"}
"""What the rows of a document are called, all of which may stand on one line."""


def place_of(spec: IntakeSpec, file: SourceFile, line: int, row: int) -> str:
    """Where a file's row stands: its line, and its number in a document."""
    number = f", {_NAMES[spec.format]} {row + 1}" if spec.format in _NAMES else ""
    return f"{file.shown}:{line}{number}"


def line_of(spec: IntakeSpec, file: SourceFile, row: int) -> int:
    """The line on which a record, counted from 0, starts."""
    before = 0
    for chunk in read_chunks(spec, file):
        if row < before + len(chunk.lines):
            return chunk.lines[row - before]
        before += len(chunk.lines)
    return row + 1
