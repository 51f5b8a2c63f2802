"""Pinned schemas are stable text that people commit, and broken ones are refused with their place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builder.errors import BuilderError
from builder.sense.pins import pin_digest, pin_path, pin_text, read_pin, write_pin
from builder.tables.schema import Column, Schema

SCHEMA = Schema(
    (
        Column("icao", "string"),
        Column('größe "x"', "Int64"),
        Column("price", "decimal(10,2)"),
        Column("shape", "geometry", "EPSG:4326"),
        Column("other", "geometry"),
    ),
    ("icao",),
)


@pytest.mark.parametrize("schema", [SCHEMA, Schema((), ()), Schema((Column("a", "bool"),))])
def test_a_pin_comes_back_as_it_was_written(tmp_path: Path, schema: Schema) -> None:
    path = write_pin(tmp_path, "airports", schema)
    assert path == tmp_path / "schemas" / "airports.json"
    assert read_pin(tmp_path, "airports") == schema
    assert json.loads(path.read_text(encoding="utf-8")) == schema.to_json()


def test_the_text_is_for_people_and_stable(tmp_path: Path) -> None:
    assert pin_text(Schema((Column("id", "string"), Column("lat", "float64")), ("id",))) == (
        '{\n  "columns": {\n    "id": "string",\n    "lat": "float64"\n  },\n  "key": ["id"]\n}\n'
    )
    first = write_pin(tmp_path, "a", SCHEMA).read_bytes()
    assert write_pin(tmp_path, "a", SCHEMA).read_bytes() == first
    assert [p.name for p in (tmp_path / "schemas").iterdir()] == ["a.json"]


def test_members_share_the_pin_of_their_family(tmp_path: Path) -> None:
    write_pin(tmp_path, "shops[state=WA]", SCHEMA)
    assert pin_path(tmp_path, "shops[state=CA]") == tmp_path / "schemas" / "shops.json"
    assert read_pin(tmp_path, "shops[state=CA]") == read_pin(tmp_path, "shops") == SCHEMA


def test_what_is_not_pinned_is_none(tmp_path: Path) -> None:
    assert read_pin(tmp_path, "airports") is None


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "..", "a\0b", "x" * 300, "é"])
def test_hostile_names_stay_in_the_folder(tmp_path: Path, name: str) -> None:
    path = pin_path(tmp_path, name)
    assert path.parent == tmp_path / "schemas"
    assert len(path.name.encode()) < 255
    write_pin(tmp_path, name, SCHEMA)
    assert read_pin(tmp_path, name) == SCHEMA
    assert [p.name for p in tmp_path.iterdir()] == ["schemas"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{\n  "columns": {\n    "a" "string"\n  }\n}', "schemas/a.json:3"),
        ("", "schemas/a.json:1"),
        ("[]", "schemas/a.json"),
        ("null", "schemas/a.json"),
        ('{"columns": {"a": "string"}}', "schemas/a.json"),
        ('{"columns": {"a": "strnig"}, "key": []}', "schemas/a.json"),
        ('{"columns": {"a": "string", "a": "int64"}, "key": []}', "schemas/a.json"),
        ('{"columns": {"a": {"crs": "x"}}, "key": []}', "schemas/a.json"),
        ('{"columns": {"a": 3}, "key": []}', "schemas/a.json"),
        ('{"columns": {"a": "string"}, "key": ["b"]}', "schemas/a.json"),
        ('{"columns": {"a": "string"}, "key": [1]}', "schemas/a.json"),
        ('{"columns": {"a": "string"}, "key": [], "extra": 1}', "schemas/a.json"),
    ],
)
def test_a_broken_pin_is_refused_with_its_place(tmp_path: Path, text: str, place: str) -> None:
    pin_path(tmp_path, "a").parent.mkdir()
    pin_path(tmp_path, "a").write_text(text)
    with pytest.raises(BuilderError) as caught:
        read_pin(tmp_path, "a")
    assert (caught.value.code, caught.value.place) == ("config", place)
    assert "builder accept" in str(caught.value.hint)


def test_bytes_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    pin_path(tmp_path, "a").parent.mkdir()
    pin_path(tmp_path, "a").write_bytes(b'{"\xff": 1}')
    with pytest.raises(BuilderError, match="cannot be read"):
        read_pin(tmp_path, "a")


def test_pin_digests_tell_schemas_and_none_apart() -> None:
    other = Schema(SCHEMA.columns[1:], ())
    assert len({pin_digest(SCHEMA), pin_digest(other), pin_digest(None), pin_digest(Schema(()))}) == 4
    assert pin_digest(SCHEMA) == pin_digest(Schema(SCHEMA.columns, SCHEMA.key))
