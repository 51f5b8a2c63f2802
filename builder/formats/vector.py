"""GeoPackage, FlatGeobuf and shapefiles as tables, streamed by GDAL.

Decides the layer, the geometry column (``geometry``, the last one) and how an archive is unpacked safely. Never repairs
a geometry.
"""

from __future__ import annotations

import shutil
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import pyarrow as pa

from builder.errors import BuilderError
from builder.execute.spec import IntakeSpec
from builder.formats import streams
from builder.formats.columns import check_same, full_schema, wanted_columns
from builder.formats.fit import fit, fixed_columns
from builder.formats.geometry import one_crs
from builder.formats.opened import Opened, RowPlaces, unreadable
from builder.formats.watch import logged
from builder.sources import LOG_ENDING, SourceFile
from builder.store.disk import writing
from builder.tables.arrow import schema_of
from builder.tables.schema import Column, Schema

GEOMETRY: Final = "geometry"
BATCH_ROWS: Final = 8192
MAX_ARCHIVE_BYTES: Final = 16 << 30
"""A zipped shapefile that unpacks to more than this is refused."""
MAX_RATIO: Final = 200
"""So is a member that unpacks to more than this many times its packed size and to more than 64 MiB."""
_RATIO_FREE_BYTES: Final = 64 << 20
_MEMBERS: Final = frozenset({".shp", ".shx", ".dbf", ".prj", ".cpg", ".qpj"})


@dataclass(frozen=True, slots=True)
class _Layer:
    """One layer of a file that GDAL can open."""

    file: SourceFile
    path: str
    name: str | None
    geometry: str | None
    crs: str | None
    columns: tuple[str, ...]


def open_vector(spec: IntakeSpec, scratch: Path, *, is_certain: bool) -> Opened:
    """The source's features: their properties, then the geometry.

    Raises
    ------
    BuilderError
        ``source-empty``, ``source-unreadable``, ``schema-drift``, ``bad-value``, ``bad-geometry``, ``crs-mismatch``.
    """
    layers = [_layer(spec, file, scratch) for file in spec.files if not _is_companion(spec, file)]
    first = layers[0]
    wanted = wanted_columns(spec, first.columns, first.file.shown)
    for layer in layers[1:]:
        wanted_columns(spec, layer.columns, layer.file.shown)
        check_same(spec, first.columns, first.file.shown, layer.columns, layer.file.shown)
    crs = {
        GEOMETRY: one_crs(
            spec, GEOMETRY, [(layer.crs, layer.file.shown) for layer in layers if layer.geometry is not None]
        )
    }
    own = Schema(())
    has_null: set[str] = set()
    if any(w.dtype is None for w in wanted):
        own = _schema(spec, first)
        for layer in layers:
            for table in _tables(spec, layer, with_geometry=False):
                has_null |= {n for n in table.column_names if table.column(n).null_count}
    columns = fixed_columns(spec, wanted, own, has_null, crs)
    places = RowPlaces(lambda file, row: f"{file.shown}, feature {row + 1}")

    def tables() -> Iterator[pa.Table]:
        for layer in layers:
            places.begin(layer.file)
            for table in _tables(spec, layer, with_geometry=True):
                yield fit(spec, layer.file, table, wanted, columns, places)
                places.add(table.num_rows)
            if spec.format == "gpkg" and (why := logged(layer.file, spec.files, spec.source)):
                raise why

    return Opened(full_schema(spec, columns), tables(), places)


def _is_companion(spec: IntakeSpec, file: SourceFile) -> bool:
    """Whether a file belongs to a shapefile or a GeoPackage beside it: GDAL reads it along with that one."""
    if spec.format == "gpkg":
        return any(other.log_among((file,)) for other in spec.files)
    return spec.format == "shp" and streams.packing(file) != "zip" and not file.shown.lower().endswith(".shp")


def _layer(spec: IntakeSpec, file: SourceFile, scratch: Path) -> _Layer:
    import pyogrio

    streams.check_not_empty(spec, file)
    path = _plain_path(spec, file, scratch)
    with _gdal(spec, file):
        names = [str(name) for name, _ in pyogrio.list_layers(path)]
    layer = None if streams.packing(file) == "zip" else spec.layer  # there it named the shapefile
    if layer is not None and layer not in names:
        raise unreadable(spec, file, f"it has no layer '{layer}', only {', '.join(names)}", "correct layer=")
    if layer is None and len(names) != 1:
        reason = f"it has {len(names)} layers: {', '.join(names)}"
        raise unreadable(spec, file, reason, f'name one of them, for example layer="{names[0]}"' if names else None)
    with _gdal(spec, file):
        info = pyogrio.read_info(path, layer=layer, **_encoding(spec))
    geometry = GEOMETRY if info["geometry_type"] is not None else None
    fields = tuple(str(f) for f in info["fields"])
    if GEOMETRY in fields and geometry:
        raise unreadable(spec, file, f"a field has the name '{GEOMETRY}' of the geometry's column", "rename it")
    return _Layer(file, path, layer or names[0], geometry, info["crs"], (*fields, *([GEOMETRY] if geometry else [])))


def _tables(spec: IntakeSpec, layer: _Layer, *, with_geometry: bool) -> Iterator[pa.Table]:
    """The layer's features in batches; GDAL's name of the geometry column becomes ours."""
    with _reader(spec, layer, with_geometry=with_geometry) as (meta, reader):
        inner = meta["geometry_name"] or "wkb_geometry"
        while True:
            with _gdal(spec, layer.file):
                batch = next(reader, None)
            if batch is None:
                return
            table = pa.table(batch)
            names = [GEOMETRY if n == inner and with_geometry else n for n in table.column_names]
            table = table.rename_columns(names)
            yield table.select([n for n in layer.columns if n in names])


def _schema(spec: IntakeSpec, layer: _Layer) -> Schema:
    """The layer's own schema, which it has even without a feature."""
    with _reader(spec, layer, with_geometry=False) as (_, reader):
        arrow = reader.schema
    kept = pa.schema([field for field in arrow if field.name in layer.columns])
    try:
        schema = schema_of(kept, (), place=layer.file.shown)
    except BuilderError as cause:
        raise unreadable(spec, layer.file, cause.message, cause.hint) from cause
    return Schema((*schema.columns, Column(GEOMETRY, "geometry")) if layer.geometry else schema.columns)


@contextmanager
def _reader(spec: IntakeSpec, layer: _Layer, *, with_geometry: bool) -> Iterator[tuple[dict[str, Any], Any]]:
    """GDAL's stream of the layer, with what it tells of itself."""
    import pyogrio

    with ExitStack() as stack:
        with _gdal(spec, layer.file):
            opened = pyogrio.open_arrow(
                layer.path,
                layer=layer.name,
                read_geometry=with_geometry,
                batch_size=BATCH_ROWS,
                use_pyarrow=True,
                **_encoding(spec),
            )
            meta, reader = stack.enter_context(opened)
        yield meta, reader


def _encoding(spec: IntakeSpec) -> dict[str, Any]:
    return {} if spec.encoding is None else {"encoding": spec.encoding}


@contextmanager
def _gdal(spec: IntakeSpec, file: SourceFile) -> Iterator[None]:
    """Turn GDAL's complaints inside into ``source-unreadable``."""
    import pyogrio.errors

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except BuilderError:
        raise
    except (pyogrio.errors.DataSourceError, pa.ArrowException, OSError, RuntimeError, UnicodeError) as cause:
        raise unreadable(spec, file, cause) from cause


def _plain_path(spec: IntakeSpec, file: SourceFile, scratch: Path) -> str:
    """A path that GDAL can open: the file itself, or what was unpacked of it; a copy of one that has a log.

    To read a log may change its file.
    """
    packing = streams.packing(file)
    log = file.log_among(spec.files)
    if log is not None:
        copy = scratch / f"copied-{file.digest[:16]}-{log.digest[:16]}.gpkg"
        for one, name in ((file, copy.name), (log, copy.name + LOG_ENDING)):
            with streams.reading(spec, one), writing(scratch / name):
                shutil.copyfile(one.path, scratch / name)
        return str(copy)
    if not packing:
        return file.path
    folder = scratch / f"unpacked-{file.digest[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    if packing == "zip":
        return str(_unzip(spec, file, folder))
    return str(streams.unpack(spec, file, folder / f"unpacked.{spec.format}"))


def _unzip(spec: IntakeSpec, file: SourceFile, folder: Path) -> Path:
    """The shapefile that was unpacked from an archive into `folder`; only its own members are, under names of ours."""
    try:
        with zipfile.ZipFile(file.path) as archive:
            members = _members(spec, file, archive)
            for suffix, member in members.items():
                with archive.open(member) as packed:
                    streams.copy_member(spec, file, packed, folder / f"unpacked{suffix}", member.file_size)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as cause:
        shutil.rmtree(folder, ignore_errors=True)
        raise unreadable(spec, file, cause) from cause
    return folder / "unpacked.shp"


def _members(spec: IntakeSpec, file: SourceFile, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The archive's members that make up its one shapefile, by suffix.

    Raises
    ------
    SourceError
        ``source-unreadable``: a member that would leave the folder, too many bytes, none or several shapefiles.
    """
    infos = archive.infolist()
    for info in infos:
        path = PurePosixPath(info.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in info.filename:
            raise unreadable(spec, file, f"member {info.filename!r} points out of the archive")
    stems = [n[:-4] for n in (i.filename for i in infos) if n.lower().endswith(".shp")]
    if spec.layer is not None:
        stems = [s for s in stems if PurePosixPath(s).name == spec.layer]
    if len(stems) != 1:
        raise unreadable(spec, file, f"it holds {len(stems)} shapefiles", "zip one shapefile, or name it with layer=")
    chosen = {}
    for info in infos:
        suffix = PurePosixPath(info.filename).suffix.lower()
        if suffix in _MEMBERS and info.filename[: -len(suffix)] == stems[0]:
            chosen[suffix] = info
    total = sum(info.file_size for info in chosen.values())
    if total > MAX_ARCHIVE_BYTES:
        raise unreadable(spec, file, f"it unpacks to {total} bytes, more than {MAX_ARCHIVE_BYTES >> 30} GiB")
    for info in chosen.values():
        if info.file_size > max(_RATIO_FREE_BYTES, MAX_RATIO * info.compress_size):
            raise unreadable(spec, file, f"member {info.filename!r} unpacks to over {MAX_RATIO} times its size")
    return chosen
