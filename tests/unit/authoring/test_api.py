"""The words recipes are written in: what each keyword becomes, and that a wrong one is refused where it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest

import builder as b
from builder.authoring.registry import collecting, project_root
from builder.errors import BuilderError
from builder.graph.declare import WHOLE, Grain, Lookup, Read, RecipeDecl, SourceDecl


@pytest.fixture
def made() -> Iterator[list[Any]]:
    """What was declared so far."""
    with collecting() as declarations:
        yield declarations


def refused(call: Callable[[], Any], *words: str) -> None:
    with pytest.raises(BuilderError) as caught:
        call()
    found = caught.value
    assert (found.code, found.exit_code) == ("recipe-declaration", 2)
    assert found.place and found.hint, found
    text = found.render()
    assert "test_api.py:" in text and all(w in text for w in words), text


# -- sources -----------------------------------------------------------------------------------------------------------


def test_a_source_gives_its_name_back_and_its_declaration_away(made: list[Any]) -> None:
    name = b.source(
        "airports", "data/*.csv", key="icao", columns={"lat": "float64", "p": "decimal(5, 2)"}, crs="EPSG:4326",
        delimiter=";", encoding="latin-1", null=["", "NA"], file_column="file",
    )  # fmt: skip
    (decl,) = made
    assert name == "airports" and isinstance(decl, SourceDecl)
    assert (decl.name, decl.path, decl.key, decl.format) == ("airports", "data/*.csv", ("icao",), "csv")
    assert decl.columns == (("lat", "float64"), ("p", "decimal(5,2)"))
    assert (decl.crs, decl.delimiter, decl.encoding, decl.null, decl.file_column) == (
        "EPSG:4326", ";", "latin-1", ("", "NA"), "file",
    )  # fmt: skip
    assert decl.place.file.endswith("test_api.py")


@pytest.mark.parametrize(
    ("path", "options", "format", "is_table"),
    [
        ("a.csv", {}, "csv", True), ("a.tsv", {}, "tsv", True), ("a.parquet", {}, "parquet", True),
        ("a.geojson", {}, "geojson", True), ("a.jsonl", {}, "jsonl", True), ("a.gpkg", {}, "gpkg", True),
        ("a.shp", {}, "shp", True), ("a.csv.gz", {}, "csv", True), ("a.csv.zst", {}, "csv", True),
        ("a.pdf", {}, "file", False), ("folder/", {}, "file", False), ("a.csv", {"format": "file"}, "file", False),
        ("a.txt", {"format": "csv"}, "csv", True),
    ],
)  # fmt: skip
def test_the_format_is_told_or_taken_from_the_ending(
    made: list[Any], path: str, options: dict[str, Any], format: str, is_table: bool
) -> None:
    b.source("s", path, **options)
    assert (made[0].format, made[0].is_table) == (format, is_table)


def test_a_text_is_one_text_and_not_its_letters(made: list[Any]) -> None:
    b.source("s", "a.csv", null="NA", key="id")
    assert (made[0].null, made[0].key) == (("NA",), ("id",))
    assert b.read("s", "lon").columns == ("lon",)


@pytest.mark.parametrize(
    ("name", "path", "options", "words"),
    [
        ("", "a.csv", {}, ["''"]),
        ("../x", "a.csv", {}, ["'../x'"]),
        ("a b", "a.csv", {}, ["'a b'"]),
        ("n" * 300, "a.csv", {}, ["200 bytes"]),
        (7, "a.csv", {}, ["'7'"]),
        ("s", "", {}, ["''"]),
        ("s", "a\0b", {}, ["NUL"]),
        ("s", 5, {}, ["5"]),
        ("s", "a.csv", {"format": "xls"}, ["'xls'", "parquet"]),
        ("s", "a.csv", {"columns": {"a": "float"}}, ["'float'", "float64"]),
        ("s", "a.csv", {"columns": {"a": "decimal(50,2)"}}, ["'a'"]),
        ("s", "a.csv", {"columns": ["a"]}, ["columns="]),
        ("s", "a.csv", {"key": 5}, ["key= is 5"]),
        ("s", "a.csv", {"key": [""]}, ["key="]),
        ("s", "a.csv", {"key": ["id", "id"]}, ["twice"]),
        ("s", "a.csv", {"null": 5}, ["null= is 5"]),
        ("s", "a.csv", {"null": ["NA", 0]}, ["null="]),
        ("s[k={k}]", "a.csv", {}, ["captures"]),
        ("s", "{k}.csv", {}, ["captures"]),
        ("s[k={j}]", "{j}.csv", {}, ["'{j}'"]),
        ("s[k", "a.csv", {}, ["closing ]"]),
    ],
)
def test_a_wrong_source_is_refused_where_it_stands(
    made: list[Any], name: Any, path: Any, options: dict[str, Any], words: list[str]
) -> None:
    refused(lambda: b.source(name, path, **options), *words)
    assert made == []


# -- recipes -----------------------------------------------------------------------------------------------------------


def test_a_recipe_without_keywords_has_every_default(made: list[Any]) -> None:
    @b.recipe
    def clean(airports: Any) -> Any:
        """What it does."""
        return airports

    (decl,) = made
    assert isinstance(decl, RecipeDecl)
    assert (decl.name, decl.key, decl.columns, decl.outputs, decl.grain) == ("clean", (), (), (), WHOLE)
    assert (decl.each, decl.inputs, decl.lane, decl.slots, decl.memory, decl.needs) == (None, None, None, 1, None, ())
    assert (decl.retries, decl.timeout, decl.priority, decl.policy, decl.pure) == (0, None, 0, "auto", True)
    assert (clean(7), clean.__name__, clean.__doc__) == (7, "clean", "What it does.")


def test_keywords_become_the_declaration(made: list[Any]) -> None:
    check = lambda frame: True  # noqa: E731
    b.recipe(
        name="other", key=["a", "b"], columns={"a": "string"}, grain=b.groups(["a"], "raw"), each={"k": [1]},
        inputs={"raw": "raw"}, lane={"db": 2}, slots=2, memory="4 GB", needs=("gpu",), retries=3, timeout=5.0,
        priority=-1, environment="shapely", version="2", check=check, publish=False, pure=False, policy="full",
    )(lambda raw, k: raw)  # fmt: skip
    (decl,) = made
    assert (decl.name, decl.key, decl.columns) == ("other", ("a", "b"), (("a", "string"),))
    assert decl.grain == Grain("groups", "raw", ("a",)) and decl.each == {"k": [1]}
    assert (decl.lane, decl.slots, decl.memory, decl.needs) == ({"db": 2}, 2, "4 GB", ("gpu",))
    assert (decl.retries, decl.timeout, decl.priority) == (3, 5.0, -1)
    assert (decl.environment, decl.version, decl.check) == (("shapely",), "2", check)
    assert (decl.publish, decl.pure, decl.policy) == (False, False, "full")


def test_recipes_may_be_made_in_a_loop(made: list[Any]) -> None:
    for state in ("CA", "WA"):
        b.recipe(name=f"clean_{state}")(lambda raw: raw)
    assert [d.name for d in made] == ["clean_CA", "clean_WA"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "a/b"}, ["'a/b'"]),
        ({"name": "con"}, ["'con'"]),
        ({"grain": "rows"}, ["grain", "b.rows"]),
        ({"retries": -1}, ["retries", "-1"]),
        ({"retries": 1.5}, ["retries"]),
        ({"priority": "high"}, ["priority"]),
        ({"policy": "never"}, ["policy", "'never'"]),
        ({"publish": "yes"}, ["publish"]),
        ({"outputs": ("one",)}, ["outputs", "two or more"]),
        ({"outputs": ("a", "a")}, ["outputs"]),
        ({"outputs": ("a", "b/c")}, ["'b/c'"]),
        ({"outputs": "good"}, ["outputs", "two or more"]),
        ({"outputs": 5}, ["outputs="]),
        ({"version": 1.5}, ["version"]),
        ({"inputs": ["a"]}, ["inputs"]),
        ({"check": 5}, ["check"]),
        ({"memory": "lots"}, ["memory", "'lots'"]),
        ({"key": 5}, ["key= is 5"]),
        ({"key": ["a", "a"]}, ["twice"]),
        ({"environment": [1]}, ["environment="]),
        ({"columns": {"a": "int"}}, ["'int'"]),
    ],
)
def test_a_wrong_recipe_is_refused_where_it_stands(made: list[Any], options: dict[str, Any], words: list[str]) -> None:
    refused(lambda: b.recipe(**{"name": "m"} | options)(lambda: None), *words)
    assert made == []


def test_a_recipe_on_no_function_is_refused(made: list[Any]) -> None:
    refused(lambda: b.recipe("clean"), "'clean'", "keywords")  # type: ignore[arg-type]


def test_an_own_update_is_noted_and_the_recipe_stays(made: list[Any]) -> None:
    @b.recipe
    def clean(raw: Any) -> Any:
        return raw

    @clean.update
    def clean_update(previous: Any, deltas: Any) -> Any:
        return b.FULL

    assert clean_update is clean and made[0].update is not None


# -- references --------------------------------------------------------------------------------------------------------


def test_references_keep_what_is_read() -> None:
    assert b.read("t", ["b", "a"], {"k": 1}) == Read("t", ("b", "a"), (("k", 1),))
    assert b.read("t") == Read("t", None, ())
    assert b.lookup("t", on="id") == Lookup("t", "id")
    assert (b.rows("t"), b.groups("k", "t")) == (Grain("rows", "t"), Grain("groups", "t", ("k",)))


@pytest.mark.parametrize("columns", [5, ["a", 5], [""], ["a", "a"]])
def test_wrong_columns_of_a_reference_are_refused(columns: Any) -> None:
    refused(lambda: b.read("t", columns), "columns=")


OTHERS = [[1, 2], (1,), {1}, {"k": 1}, Decimal("1.5"), datetime(2024, 1, 2, tzinfo=UTC), pd.NA, pd.NaT, b"a"]


@pytest.mark.parametrize("value", OTHERS)
def test_where_compares_each_column_with_one_value(value):
    refused(lambda: b.read("t", where={"k": value}), "where= compares column 'k' with")


@pytest.mark.parametrize("value", ["a", 1, True, 1.5, date(2024, 1, 2), None])
def test_where_takes_what_a_name_may_hold_a_float_and_null(value):
    assert b.read("t", where={"k": value}).where == (("k", value),)


def test_no_key_begins_with_a_dot() -> None:
    refused(lambda: b.source("s", "a.csv", key=["id", ".x"]), "key= is")
    refused(lambda: b.recipe(name="m", key=".x")(lambda: None), "key= is")
    refused(lambda: b.groups(".x", "t"), "by is")


def test_an_update_is_not_required_of_what_runs_on_every_rebuild() -> None:
    refused(lambda: b.recipe(name="m", pure=False, policy="require")(lambda: None), "require")


def test_a_declaration_outside_of_a_project_is_refused() -> None:
    refused(lambda: b.source("s", "a.csv"), "outside")
    refused(lambda: b.recipe(name="m")(lambda: None), "outside")


def test_collections_nest_and_know_their_project() -> None:
    with collecting("/p") as outer:
        b.source("s", "a.csv")
        with collecting("/q") as inner:
            b.source("t", "a.csv")
            assert project_root() == "/q"
        assert project_root() == "/p"
    assert ([d.name for d in outer], [d.name for d in inner]) == (["s"], ["t"]) and project_root() == ""
