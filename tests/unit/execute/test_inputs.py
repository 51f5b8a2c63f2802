"""What arrives at a parameter: the type that the annotation asks for, the content from the store alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pyarrow as pa
import pytest
import shapely

import builder as b
from builder.digests import digest_bytes, digest_of
from builder.errors import BuilderError
from builder.execute.inputs import Arrival, check_crs, wanted_type
from builder.execute.spec import InputSpec, Item
from builder.sources import SourceFile
from builder.store.manifest import Layer, Manifest, Part
from builder.store.parts import PartFolder
from builder.tables.frames import from_result
from builder.tables.write import write_table


@pytest.mark.parametrize(
    ("annotation", "wanted"),
    [
        (pd.DataFrame, "pandas"), (gpd.GeoDataFrame, "geopandas"), (pa.Table, "arrow"), (b.Files, "files"),
        ("pd.DataFrame", "pandas"), ("pandas.DataFrame", "pandas"), ("gpd.GeoDataFrame", "geopandas"),
        ("pa.Table", "arrow"), ("dd.DataFrame", "dask"), ("dask.dataframe.DataFrame", "dask"), ("b.Files", "files"),
        ("DataFrame", "pandas"), (None, "any"), (dict, "any"), ("dict[str, int]", "any"), (str, "any"),
    ],
)  # fmt: skip
def test_an_annotation_says_what_arrives_written_or_evaluated(annotation: Any, wanted: str) -> None:
    assert wanted_type(annotation) == wanted


def test_dasks_own_class_is_known() -> None:
    import dask.dataframe as dd

    assert wanted_type(dd.DataFrame) == "dask"


class Pantry:
    """A store with outputs of every kind, and arrivals at one recipe."""

    def __init__(self, root: Path) -> None:
        self.root, self.store = root, root / "store"
        self.folder = PartFolder(self.store)
        for name in ("scratch", "arrival"):
            (root / name).mkdir()

    def table(self, frame: Any, key: tuple[str, ...] = ()) -> Manifest:
        table, schema = from_result(frame, key, (), recipe="m", place="r.py:1")
        return write_table(table, schema, self.folder, scratch=self.root / "scratch")

    def output(self, kind: Any, **files: str) -> Manifest:
        parts = []
        for name, content in files.items():
            relative, path = self.folder.fresh(".x")
            path.write_text(content)
            parts.append(Part(relative, 0, len(content), name.replace("__", "/"), digest_bytes(content.encode())))
        return Manifest(kind, digest_of("o", *files), (Layer(tuple(parts)),))

    def arrive(self, *items: Item, annotation: Any = None, shape: str = "one", **read: Any) -> Any:
        spec = InputSpec("p", shape, items, **read)
        return Arrival(self.store, self.root / "arrival", "m").value(spec, annotation)


@pytest.fixture
def pantry(tmp_path: Path) -> Pantry:
    """An empty store."""
    return Pantry(tmp_path)


FRAME = pd.DataFrame({"id": pd.array(["b", "a"], "string"), "n": [2, 1]})


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [(None, pd.DataFrame), (pd.DataFrame, pd.DataFrame), (pa.Table, pa.Table), ("dd.DataFrame", None)],
)
def test_a_table_arrives_sorted_by_its_key_as_the_wanted_type(pantry: Pantry, annotation: Any, kind: Any) -> None:
    found = pantry.arrive(Item("t", manifest=pantry.table(FRAME, ("id",))), annotation=annotation)
    assert kind is None or type(found) is kind
    frame = found.compute() if kind is None else found.to_pandas() if kind is pa.Table else found
    assert list(frame["id"]) == ["a", "b"] and list(frame["n"]) == [1, 2]


def test_only_the_columns_asked_for_arrive_in_their_order(pantry: Pantry) -> None:
    item = Item("t", manifest=pantry.table(FRAME.assign(z=0.5), ("id",)))
    assert list(pantry.arrive(item, columns=("z", "id")).columns) == ["z", "id"]
    assert list(pantry.arrive(item, columns=("n",))["n"]) == [1, 2]


def test_a_column_that_is_not_there_is_told_with_those_that_are(pantry: Pantry) -> None:
    with pytest.raises(BuilderError) as caught:
        pantry.arrive(Item("t", manifest=pantry.table(FRAME)), columns=("z",))
    assert (caught.value.code, caught.value.target) == ("recipe-error", "m")
    assert dict(caught.value.facts)["t has"] == "id, n"


def points(crs: str | None = "EPSG:4326") -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"id": ["a"]}, geometry=[shapely.Point(1, 2)], crs=crs)


def test_a_geometry_arrives_as_a_geodataframe_unless_asked_otherwise(pantry: Pantry) -> None:
    item = Item("t", manifest=pantry.table(points()))
    found = pantry.arrive(item)
    assert type(found) is gpd.GeoDataFrame and found.crs == "EPSG:4326"
    assert type(pantry.arrive(item, annotation=pd.DataFrame)) is pd.DataFrame
    assert type(pantry.arrive(item, columns=("id",))) is pd.DataFrame


def test_a_table_without_geometry_is_no_geodataframe(pantry: Pantry) -> None:
    with pytest.raises(BuilderError) as caught:
        pantry.arrive(Item("t", manifest=pantry.table(FRAME)), annotation=gpd.GeoDataFrame)
    assert caught.value.code == "recipe-error" and "geometry" in caught.value.message


def test_json_and_bytes_arrive_as_values(pantry: Pantry) -> None:
    assert pantry.arrive(Item("j", manifest=pantry.output("json", j=json.dumps({"a": [1]})))) == {"a": [1]}
    assert pantry.arrive(Item("b", manifest=pantry.output("bytes", b="raw"))) == b"raw"
    assert pantry.arrive(Item("f", manifest=pantry.output("figure", f="png"))) == b"png"


def test_files_made_by_a_recipe_arrive_under_their_names(pantry: Pantry) -> None:
    path = pantry.arrive(Item("one", manifest=pantry.output("file", report="text")))
    assert isinstance(path, Path) and (path.name, path.read_text()) == ("report", "text")
    several = pantry.arrive(Item("many[k=a/b]", manifest=pantry.output("files", x="1", sub__y="2")))
    assert isinstance(several, b.Files) and {n: p.read_text() for n, p in several.items()} == {"x": "1", "sub/y": "2"}
    assert all(pantry.root / "arrival" in p.parents for p in several.values())


def test_a_source_of_files_arrives_by_its_relative_names(pantry: Pantry) -> None:
    (pantry.root / "a.csv").write_text("x")
    file = SourceFile("sub/a.csv", str(pantry.root / "a.csv"), "data/a.csv", 1, digest_of("x"))
    found = pantry.arrive(Item("s", files=(file,)))
    assert list(found) == ["sub/a.csv"] and found.path.read_text() == "x"


def test_what_is_no_table_is_refused_where_a_table_is_wanted(pantry: Pantry) -> None:
    item = Item("j", manifest=pantry.output("json", j="1"))
    attempts: list[dict[str, Any]] = [{"annotation": pd.DataFrame}, {"annotation": pa.Table}, {"columns": ("a",)}]
    for options in attempts:
        with pytest.raises(BuilderError) as caught:
            pantry.arrive(item, **options)
        assert caught.value.code == "recipe-error" and "'j'" in caught.value.message


def test_a_lost_part_is_damage_with_its_remedy(pantry: Pantry) -> None:
    made = pantry.output("bytes", b="raw")
    (pantry.store / made.parts[0].path).unlink()
    with pytest.raises(BuilderError) as caught:
        pantry.arrive(Item("b", manifest=made))
    assert caught.value.code == "store-damaged" and "fsck" in (caught.value.hint or "")


def members(pantry: Pantry) -> list[Item]:
    return [Item(f"t[k={k}]", (("k", k),), pantry.table(FRAME.assign(n=i), ("id",))) for i, k in enumerate("xy")]


@pytest.mark.parametrize("annotation", [pd.DataFrame, pa.Table])
def test_a_gather_is_one_table_with_the_parameters_leading(pantry: Pantry, annotation: Any) -> None:
    found = pantry.arrive(*members(pantry), annotation=annotation, shape="gather")
    frame = found.to_pandas() if annotation is pa.Table else found
    assert list(frame.columns) == ["k", "id", "n"]
    assert list(zip(frame["k"], frame["id"], frame["n"], strict=True)) == [
        ("x", "a", 0), ("x", "b", 0), ("y", "a", 1), ("y", "b", 1),
    ]  # fmt: skip


@pytest.mark.parametrize("shape", ["gather", "list"])
def test_without_annotation_members_arrive_by_full_name_when_asked_for(pantry: Pantry, shape: str) -> None:
    items = members(pantry)
    broken = replace(items[1], manifest=pantry.output("bytes", b="raw"))
    (pantry.store / broken.manifest.parts[0].path).unlink()  # type: ignore[union-attr]
    found = pantry.arrive(items[0], broken, shape=shape)
    assert (list(found), len(found)) == (["t[k=x]", "t[k=y]"], 2)
    assert list(found["t[k=x]"]["n"]) == [0, 0]
    with pytest.raises(BuilderError):
        found["t[k=y]"]
    with pytest.raises(KeyError):
        found["t[k=z]"]


def test_a_gather_of_what_is_no_table_is_refused_with_its_name(pantry: Pantry) -> None:
    items = [*members(pantry), Item("t[k=z]", (("k", "z"),), pantry.output("json", j="1"))]
    with pytest.raises(BuilderError) as caught:
        pantry.arrive(*items, annotation=pd.DataFrame, shape="gather")
    assert "'t[k=z]'" in caught.value.message and caught.value.hint


def checked(*specs: InputSpec) -> None:
    check_crs(list(specs), "m", "r.py:1")


def test_one_crs_is_no_mismatch_and_two_are(pantry: Pantry) -> None:
    one, other, none = (
        Item(n, manifest=pantry.table(points(c))) for n, c in (("a", "EPSG:4326"), ("b", "EPSG:3857"), ("c", None))
    )
    plain = Item("d", manifest=pantry.table(FRAME))
    checked(InputSpec("p", "one", (one,)), InputSpec("q", "one", (one,)), InputSpec("r", "one", (plain,)))
    for second, code in ((other, "crs-mismatch"), (none, "crs-missing")):
        with pytest.raises(BuilderError) as caught:
            checked(InputSpec("p", "one", (one,)), InputSpec("q", "one", (second,)))
        assert (caught.value.code, caught.value.place) == (code, "r.py:1")
        assert {n for n, _ in caught.value.facts} == {"a", second.name}


def test_a_geometry_that_is_not_read_does_not_matter(pantry: Pantry) -> None:
    one, other = (Item(n, manifest=pantry.table(points(c))) for n, c in (("a", "EPSG:4326"), ("b", "EPSG:3857")))
    checked(InputSpec("p", "one", (one,)), InputSpec("q", "one", (other,), columns=("id",)))
