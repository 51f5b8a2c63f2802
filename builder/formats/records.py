"""JSON arrays of objects, JSON Lines and GeoJSON as tables.

Decides how JSON values become columns: text stays text, numbers are ``int64`` or ``float64``, what is nested or mixed
is the JSON text of it. A member that an object lacks is null. Never holds more than a chunk of objects.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from builder.errors import error
from builder.execute.spec import IntakeSpec, SourceFile
from builder.formats import jsonstream, locate, streams
from builder.formats.assemble import assemble
from builder.formats.columns import Wanted, check_same, full_schema, wanted_columns
from builder.formats.convert import Misfit, nullable, typed
from builder.formats.geometry import checked, one_crs, source_crs, wkb_of_geojson
from builder.formats.opened import Opened, RowPlaces, unreadable
from builder.tables.crs import LON_LAT, canonical_crs
from builder.tables.schema import Column

ToldCrs = dict[str, str | None]
"""The CRS that each GeoJSON file, by its path, tells of; None: it says that it is not known."""

CHUNK_ROWS = 8192
GEOMETRY = "geometry"
_EXACT = 1 << 53
_LOW, _HIGH = -(1 << 63), (1 << 63) - 1


@dataclass(slots=True)
class Chunk:
    """Some records of a file; for GeoJSON with the WKB of each feature's geometry."""

    objects: list[dict[str, Any]] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    shapes: list[bytes | None] = field(default_factory=list)


@dataclass(slots=True)
class Survey:
    """What the records of a file hold, column by column: kinds of values, and the range of integers."""

    kinds: dict[str, set[type]] = field(default_factory=dict)
    present: dict[str, int] = field(default_factory=dict)
    wide: dict[str, int] = field(default_factory=dict)
    rows: int = 0

    def add(self, chunk: Chunk) -> None:
        """Take a chunk into account."""
        self.rows += len(chunk.objects)
        for item in chunk.objects:
            for name, value in item.items():
                self.kinds.setdefault(name, set()).add(type(value))
                self.present[name] = self.present.get(name, 0) + 1
                if type(value) is int and not -_EXACT <= value <= _EXACT:
                    self.wide[name] = max(self.wide.get(name, 0), 2 if not _LOW <= value <= _HIGH else 1)

    def dtype(self, name: str) -> str:
        """The narrowest dtype that holds every value of a column."""
        kinds = self.kinds.get(name, set()) - {type(None)}
        wide = self.wide.get(name, 0)
        dtype = "string"
        if kinds == {bool}:
            dtype = "bool"
        elif kinds == {int} and wide < 2:
            dtype = "int64"
        elif kinds and kinds <= {int, float} and not wide:
            dtype = "float64"
        has_null = type(None) in self.kinds.get(name, ()) or self.present.get(name, 0) < self.rows
        return nullable(dtype) if has_null else dtype


def open_records(spec: IntakeSpec, scratch: Path, *, is_certain: bool) -> Opened:
    """The source's records as its pinned, declared or inferred dtypes; GeoJSON's geometry is the last column.

    Raises
    ------
    BuilderError
        ``source-empty``, ``source-unreadable``, ``bad-encoding``, ``bad-geometry``, ``crs-mismatch``, ``schema-drift``,
        ``bad-value``.
    """
    is_geo = spec.format == "geojson"
    told: ToldCrs = {}
    survey = _survey(spec, told) if spec.pinned is None else None
    if survey is None:
        assert spec.pinned is not None
        found: list[str] = [c.name for c in spec.pinned.columns if c.name != spec.file_column]
    else:
        found = [*survey.kinds]
        if not survey.rows:
            found = list(dict.fromkeys([*dict(spec.columns), *(k for k in spec.key if k != spec.file_column), *found]))
    if is_geo and GEOMETRY not in found:
        found.append(GEOMETRY)
    wanted = wanted_columns(spec, found, spec.files[0].shown)
    crs = _crs(spec, told) if is_geo else spec.crs
    columns = []
    for column in wanted:
        dtype = column.dtype or (survey.dtype(column.name) if survey else "string")
        dtype = GEOMETRY if is_geo and column.name == GEOMETRY else dtype
        columns.append(Column(column.name, dtype, crs if dtype == "geometry" else None))
    schema = full_schema(spec, columns)
    places = RowPlaces(lambda file, row: f"{file.shown}:{_line(spec, file, row)}")

    def tables() -> Iterator[pa.Table]:
        seen: set[str] = set()
        for file in spec.files:
            places.begin(file)
            for chunk in read_chunks(spec, file, told):
                seen.update(*(item.keys() for item in chunk.objects))
                if not seen <= set(found):
                    wanted_columns(spec, [*found, *sorted(seen - set(found))], file.shown)
                yield _table(spec, file, chunk, wanted, columns)
                places.add(len(chunk.objects))
            if is_geo:
                source_crs(spec, GEOMETRY, told[file.path], file.shown)
            if seen:
                wanted_columns(spec, [n for n in found if n in seen or (is_geo and n == GEOMETRY)], file.shown)

    return Opened(schema, tables(), places.describe)


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
                    chunk = Chunk()
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
            place=f"{file.shown}:{line}",
            facts=[("feature", str(number)), ("column", GEOMETRY), ("reason", str(cause))],
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


def _survey(spec: IntakeSpec, told: ToldCrs) -> Survey:
    """What all files hold; every file with rows must have the same columns."""
    whole = Survey()
    first: tuple[list[str], str] | None = None
    for file in spec.files:
        own = Survey()
        for chunk in read_chunks(spec, file, told):
            own.add(chunk)
            whole.add(chunk)
        if own.rows:
            first = first or (list(own.kinds), file.shown)
            check_same(spec, *first, list(own.kinds), file.shown)
    return whole


def _crs(spec: IntakeSpec, told: ToldCrs) -> str | None:
    """The one CRS of all files; where they were not surveyed, the pinned one, which each file is held against later."""
    if spec.pinned is not None:
        return spec.pinned.column(GEOMETRY).crs or canonical_crs(spec.crs)
    return one_crs(spec, GEOMETRY, [(told[file.path], file.shown) for file in spec.files])


def _table(
    spec: IntakeSpec, file: SourceFile, chunk: Chunk, wanted: tuple[Wanted, ...], columns: list[Column]
) -> pa.Table:
    def convert(want: Wanted, column: Column) -> pa.Array:
        if spec.format == "geojson" and column.name == GEOMETRY:
            return checked(pa.array(chunk.shapes, pa.binary()))
        return _array([item.get(column.name) for item in chunk.objects], column.dtype, want.is_lenient)

    def place(row: int) -> str:
        return f"{file.shown}:{chunk.lines[row]}"

    return assemble(spec, file, len(chunk.objects), wanted, columns, convert, place)


def _array(values: list[Any], dtype: str, lenient: bool) -> pa.Array:
    """JSON values as a column of a dtype."""
    kinds = set(map(type, values)) - {type(None)}
    if dtype == "string" and not kinds <= {str}:
        values = [_text(value) for value in values]
    if dtype in ("string", "date", "timestamp", "binary", "geometry") or dtype.startswith("decimal"):
        return typed(_texts(values, dtype), dtype, lenient=lenient)
    if dtype in ("int64", "bool") and None in values:
        raise Misfit(values.index(None), None)
    fits: dict[str, tuple[set[type], pa.DataType]] = {
        "int64": ({int}, pa.int64()),
        "float64": ({int, float}, pa.float64()),
        "bool": ({bool}, pa.bool_()),
    }
    allowed, type_ = fits[{"Int64": "int64", "boolean": "bool"}.get(dtype, dtype)]
    if kinds <= allowed:
        try:
            exact = [None if v is None else float(v) for v in values] if dtype == "float64" else values
            return pa.array(exact, type_)
        except OverflowError:
            row = next(i for i, v in enumerate(values) if v is not None and not _LOW <= v <= _HIGH)
            raise Misfit(row, str(values[row])) from None
    if lenient:
        return typed(_texts([_text(value) for value in values], dtype), dtype, lenient=True)
    row = next(i for i, v in enumerate(values) if v is not None and type(v) not in allowed)
    raise Misfit(row, _text(values[row]))


def _text(value: Any) -> str | None:
    """A value as text: text as it is, all else as its JSON."""
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _texts(values: list[Any], dtype: str) -> pa.Array:
    try:
        return pa.array([_text(v) for v in values] if dtype != "string" else values, pa.string())
    except UnicodeEncodeError:
        for row, value in enumerate(values):
            try:
                pa.scalar(_text(value), pa.string())
            except UnicodeEncodeError:
                raise Misfit(row, ascii(value), "half a surrogate pair is no text") from None
        raise


def _line(spec: IntakeSpec, file: SourceFile, row: int) -> int:
    """The line on which a record, counted from 0, starts."""
    before = 0
    for chunk in read_chunks(spec, file):
        if row < before + len(chunk.lines):
            return chunk.lines[row - before]
        before += len(chunk.lines)
    return row + 1
