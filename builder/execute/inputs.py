"""What arrives at a recipe's parameters: manifests and files become frames, values, paths.

Decides the type from the annotation, and the content from the store alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from builder.authoring.guard import suspended
from builder.errors import error
from builder.execute.spec import InputSpec, Item
from builder.execute.workspace import Files
from builder.names import file_segments, path_segment
from builder.nouns import replace
from builder.store import disk
from builder.store.manifest import Manifest
from builder.store.parts import check_file, content_of, read_file
from builder.tables.schema import GEOMETRY, Schema

FRAMES = {
    "pandas.DataFrame": "pandas",
    "geopandas.geodataframe.GeoDataFrame": "geopandas",
    "pyarrow.lib.Table": "arrow",
    "dask.dataframe.dask_expr._collection.DataFrame": "dask",
    "builder.execute.workspace.Files": "files",
}
_SPELLED = {"DataFrame": "pandas", "GeoDataFrame": "geopandas", "Table": "arrow", "Files": "files"}


def wanted_type(annotation: Any) -> str:
    """Which type a parameter's annotation asks for: pandas, geopandas, arrow, dask, files, or any."""
    if isinstance(annotation, str):
        head, _, name = annotation.rpartition(".")
        if name == "DataFrame" and head in ("dd", "dask.dataframe"):
            return "dask"
        return _SPELLED.get(name, "any")
    if isinstance(annotation, type):
        full = f"{annotation.__module__}.{annotation.__qualname__}"
        if full.startswith("dask.dataframe") and annotation.__name__ == "DataFrame":
            return "dask"
        if full.startswith(("pandas.", "geopandas.")):
            return _SPELLED.get(annotation.__name__, "any")
        return FRAMES.get(full, "any")
    return "any"


class Arrival:
    """Makes the inputs of one attempt."""

    def __init__(self, store: Path, scratch: Path, recipe: str) -> None:
        self.store = store
        self.scratch = scratch
        self.recipe = recipe

    def value(self, spec: InputSpec, annotation: Any) -> Any:
        """What arrives for one parameter."""
        wanted = wanted_type(annotation)
        if spec.shape == "one":
            return self._one(spec, spec.items[0], wanted)
        if spec.shape == "gather" and wanted in ("pandas", "geopandas", "arrow", "dask"):
            return self._gathered(spec, wanted)
        return LazyMapping({i.name: self._loader(spec, i, wanted) for i in spec.items})

    def _loader(self, spec: InputSpec, item: Item, wanted: str) -> Callable[[], Any]:
        return lambda: self._one(spec, item, wanted)

    def _one(self, spec: InputSpec, item: Item, wanted: str) -> Any:
        """One dataset as the wanted type."""
        if item.files is not None:
            return Files({f.name: Path(f.path) for f in item.files})
        assert item.manifest is not None
        if item.manifest.kind == "table":
            return self._table(spec, item, item.manifest, wanted)
        if wanted in ("pandas", "geopandas", "arrow", "dask") or spec.columns is not None:
            raise error(
                "recipe-error",
                f"input '{item.name}' is no table but {item.manifest.kind}",
                target=self.recipe,
                hint="take the annotation (or columns=) of this parameter away",
            )
        return plain_value(self.store, item.manifest, lambda m: self._linked(item.name, m), wanted == "files")

    def _table(self, spec: InputSpec, item: Item, manifest: Manifest, wanted: str) -> Any:
        from builder.tables.read import read_table

        assert manifest.schema is not None
        spec = self._named(spec, manifest.schema, item.name)
        names = spec.columns if spec.columns is not None else manifest.schema.names
        self._check_columns(spec, manifest.schema, item.name)
        if wanted == "dask":
            return self._dask(manifest, tuple(names), spec.where)
        table = read_table(self.store, manifest, columns=spec.columns, where=spec.where)
        return self.frame(table, manifest.schema.select(names), wanted, item.name)

    def _check_columns(self, spec: InputSpec, schema: Schema, name: str, parameters: Sequence[str] = ()) -> None:
        """Refuse columns to be read that the input does not have; of a gather's members, parameters are columns too."""
        asked = [*(spec.columns or ()), *(column for column, _ in spec.where)]
        lost = [column for column in asked if column not in schema.names and column not in parameters]
        if lost:
            raise error(
                "recipe-error",
                f"'{self.recipe}' reads column '{lost[0]}' of '{name}', which it does not have",
                target=self.recipe,
                facts=[("column", lost[0]), (f"{name} has", ", ".join(schema.names[:20]))],
                hint="name columns of the input in b.read, or mend what makes it",
            )

    def _named(self, spec: InputSpec, schema: Schema, name: str) -> InputSpec:
        """The input with the geometry column by its own name, where it is asked for."""
        if spec.columns is None or GEOMETRY not in spec.columns:
            return spec
        if schema.geometry is None:
            raise error(
                "recipe-error",
                f"'{self.recipe}' reads the geometry of '{name}', which has none",
                target=self.recipe,
                facts=[(f"{name} has", ", ".join(schema.names[:20]))],
                hint="read a table with a geometry",
            )
        return replace(spec, columns=schema.named(spec.columns))

    def _gathered(self, spec: InputSpec, wanted: str) -> Any:
        """All members as one table, their parameters as leading columns."""
        from builder.tables.read import gather

        members = [(i.params, i.manifest) for i in spec.items if i.manifest is not None and i.manifest.kind == "table"]
        if len(members) < len(spec.items):
            name = next(i.name for i in spec.items if i.manifest is None or i.manifest.kind != "table")
            raise error(
                "recipe-error",
                f"'{name}' is no table and cannot be gathered into one",
                target=self.recipe,
                hint="take the annotation away: the members arrive as a mapping",
            )
        for item in spec.items:
            if item.manifest is not None and item.manifest.schema is not None:
                spec = self._named(spec, item.manifest.schema, item.name)
                self._check_columns(spec, item.manifest.schema, item.name, [k for k, _ in item.params])
        table, schema = gather(self.store, members, columns=spec.columns, where=spec.where)
        return self.frame(table, schema, wanted, spec.parameter)

    def frame(self, table: Any, schema: Schema, wanted: str, name: str) -> Any:
        """An Arrow table as the wanted kind of frame."""
        if wanted == "arrow":
            return table
        from builder.tables.frames import to_frame

        frame = to_frame(table, schema)
        if wanted == "geopandas" and schema.geometry is None:
            raise error(
                "recipe-error",
                f"input '{name}' has no geometry",
                target=self.recipe,
                hint="annotate it as pd.DataFrame",
            )
        if wanted == "dask":
            import dask.dataframe as dd

            return dd.from_pandas(frame, npartitions=1, sort=False)
        if wanted == "pandas" and schema.geometry is not None:
            import pandas as pd

            return pd.DataFrame(frame)
        return frame

    def _dask(self, manifest: Manifest, names: tuple[str, ...], where: tuple[tuple[str, Any], ...]) -> Any:
        """A dask DataFrame with one partition per part, read when needed."""
        import dask.dataframe as dd

        from builder.tables.frames import to_frame
        from builder.tables.read import read_table

        assert manifest.schema is not None
        schema = manifest.schema.select(names)
        pieces = manifest.split()
        empty = to_frame(read_table(self.store, manifest.without_rows(), columns=names), schema)

        def load(number: int) -> Any:
            with suspended():
                return to_frame(read_table(self.store, pieces[number], columns=names, where=where), schema)

        if not pieces:
            return dd.from_pandas(empty, npartitions=1)
        return dd.from_map(load, range(len(pieces)), meta=empty)

    def _linked(self, name: str, manifest: Manifest) -> dict[str, Path]:
        """Paths under the scratch folder, with the names they were made with, of an output of files."""
        folder = self.scratch / "inputs" / path_segment(name)
        found = {}
        for part in manifest.parts:
            path = folder.joinpath(*file_segments(part.name))
            disk.make_folder(path.parent)
            if part.content is not None:
                path.write_bytes(content_of(part))
            elif not path.is_symlink():
                with suspended():
                    check_file(self.store, part)
                path.symlink_to(self.store / part.path)
            found[part.name] = path
        return found


def plain_value(
    store: Path, manifest: Manifest, linked: Callable[[Manifest], Mapping[str, Path]], as_files: bool = False
) -> Any:
    """An output that is no table: the JSON value, the bytes, a path, or `Files`."""
    if as_files:
        return Files(linked(manifest))
    if manifest.kind in ("file", "files"):
        paths = linked(manifest)
        if manifest.kind == "file":
            return next(iter(paths.values()))
        return Files(paths)
    (part,) = manifest.parts
    with suspended():
        content = read_file(store, part)
    return json.loads(content) if manifest.kind == "json" else content


class LazyMapping(Mapping[str, Any]):
    """Full names -> values, each read from the store when it is asked for."""

    def __init__(self, loaders: Mapping[str, Callable[[], Any]]) -> None:
        self._loaders = dict(loaders)

    def __getitem__(self, name: str) -> Any:
        with suspended():
            return self._loaders[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaders)

    def __len__(self) -> int:
        return len(self._loaders)

    def __repr__(self) -> str:
        return f"LazyMapping({', '.join(self._loaders)})"


def check_crs(inputs: list[InputSpec], recipe: str, place: str) -> None:
    """Refuse geometries in different CRSs at one recipe; builder never reprojects.

    Raises
    ------
    DataError
        ``crs-mismatch``, or ``crs-missing`` where one has none and another has.
    """
    found = {
        item.name: item.manifest.schema.column(item.manifest.schema.geometry).crs
        for spec in inputs
        for item in spec.items
        if item.manifest
        and item.manifest.schema
        and item.manifest.schema.geometry
        and (spec.columns is None or not {GEOMETRY, item.manifest.schema.geometry}.isdisjoint(spec.columns))
    }
    if len(set(found.values())) < 2:
        return
    is_missing = None in found.values()
    raise error(
        "crs-missing" if is_missing else "crs-mismatch",
        f"inputs of '{recipe}' have " + ("no CRS, or one" if is_missing else "different CRSs"),
        place=place,
        target=recipe,
        facts=[(name, crs or "no CRS") for name, crs in found.items()],
        hint="give the source its CRS with crs="
        if is_missing
        else "reproject one of them in a recipe of its own before",
    )
