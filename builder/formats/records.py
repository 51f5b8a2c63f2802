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

from builder.execute.spec import IntakeSpec
from builder.formats.assemble import assemble
from builder.formats.chunks import GEOMETRY, Chunk, ToldCrs, line_of, place_of, read_chunks
from builder.formats.columns import Wanted, check_same, full_schema, wanted_columns
from builder.formats.convert import Misfit, nullable, typed
from builder.formats.geometry import checked, one_crs, source_crs
from builder.formats.opened import Opened, RowPlaces
from builder.sources import SourceFile
from builder.tables.crs import canonical_crs
from builder.tables.schema import Column

_EXACT = 1 << 53
_LOW, _HIGH = -(1 << 63), (1 << 63) - 1


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
    places = RowPlaces(lambda file, row: place_of(spec, file, line_of(spec, file, row), row))

    def tables() -> Iterator[pa.Table]:
        for file in spec.files:
            seen: set[str] = set()
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

    return Opened(schema, tables(), places)


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
        return place_of(spec, file, chunk.lines[row], chunk.first + row)

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
