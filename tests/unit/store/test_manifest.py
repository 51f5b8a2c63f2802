"""Manifests are plain values; their digests depend on content and never on layout."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from builder.digests import digest_bytes
from builder.store.manifest import Layer, Manifest, Part, files_digest, read_digest, table_digest
from builder.tables.schema import Column, Schema

SCHEMA = Schema((Column("id", "string"), Column("n", "int64"), Column("g", "geometry", "EPSG:4326")), ("id",))
COLUMNS = {"id": "0" * 32, "n": "1" * 32, "g": "2" * 32}
TOTAL = "3" * 32


def table(*layers: Layer, rows: int = 5, schema: Schema = SCHEMA) -> Manifest:
    return Manifest("table", table_digest(schema, rows, TOTAL), layers, rows, 100, schema, COLUMNS, total=TOTAL)


def part(name: str, rows: int = 5) -> Part:
    return Part(f"parts/{name}.arrow", rows, 10 * rows)


@pytest.mark.parametrize(
    "manifest",
    [
        table(Layer((part("a"),))),
        table(Layer((part("a"), part("b"))), Layer((part("c"),), (part("d", 2),))),
        table(),
        replace(table(), nulls={"id": 0, "n": 0, "g": 3}, base=digest_bytes(b"base"), delta=Layer((part("e"),))),
        replace(table(Layer((part("a"),))), index=(part("i"), Part("inline/x", 1, 1, "f", "d", b"x"))),
        Manifest("table", digest_bytes(b"t"), (), schema=Schema(()), base=digest_bytes(b"base")),
        Manifest("json", digest_bytes(b"{}"), (Layer((Part("parts/x", 0, 2, "x.json", "d" * 64),)),), bytes=2),
        Manifest(
            "files", digest_bytes(b""), (Layer((Part("p/1", 0, 1, "a/é\udcff", "d"), Part("p/2", 0, 1, "b", "e"))),)
        ),
    ],
)
def test_a_manifest_comes_back_from_json(manifest: Manifest) -> None:
    assert Manifest.from_json(json.loads(json.dumps(manifest.to_json()))) == manifest


def test_the_parts_of_all_layers_are_listed() -> None:
    manifest = table(Layer((part("a"), part("b"))), Layer((part("c"),), (part("d"),)))
    assert [p.path for p in manifest.parts] == [f"parts/{n}.arrow" for n in "abcd"]
    more = replace(manifest, delta=Layer((part("e"),), (part("f"),)), index=(part("g"),))
    assert [p.path for p in more.parts] == [p.path for p in more.files] == [f"parts/{n}.arrow" for n in "abcdefg"]


def test_the_layout_is_not_in_the_digest() -> None:
    one, many = table(Layer((part("a"),))), table(Layer((part("b", 2), part("c", 3))), Layer((), (part("d"),)))
    assert one.digest == many.digest == read_digest(one, None) == read_digest(many, None)


def test_a_table_digest_sees_schema_rows_and_their_sum() -> None:
    others = {
        table_digest(SCHEMA, 5, TOTAL),
        table_digest(SCHEMA, 6, TOTAL),
        table_digest(Schema(SCHEMA.columns), 5, TOTAL),
        table_digest(SCHEMA, 5, "4" * 32),
    }
    assert len(others) == 4


def test_a_reader_of_some_columns_depends_on_those_only() -> None:
    before = table()
    after = Manifest("table", digest_bytes(b"new"), (), 5, 100, SCHEMA, {**COLUMNS, "n": "9" * 32})
    assert read_digest(before, ["id", "g"]) == read_digest(after, ["id", "g"])
    assert read_digest(before, ["id", "n"]) != read_digest(after, ["id", "n"])
    assert read_digest(before, SCHEMA.names) == before.digest
    assert read_digest(before, ["id", "g"]) != read_digest(before, ["g", "id"])
    with pytest.raises(KeyError):
        read_digest(before, ["gone"])


def test_what_a_reader_of_a_column_without_a_sum_depends_on_is_not_known_yet() -> None:
    known = replace(table(), columns={"id": COLUMNS["id"], "g": COLUMNS["g"]})
    assert read_digest(known, ["id", "n"]) is None
    assert read_digest(known, ["id", "g"]) == read_digest(table(), ["id", "g"]) != known.digest


def test_what_is_no_table_is_read_whole() -> None:
    manifest = Manifest("json", digest_bytes(b"{}"), ())
    assert read_digest(manifest, ["a"]) == manifest.digest


def test_files_have_a_digest_of_names_and_contents_in_any_order() -> None:
    files = [("a", "1"), ("b", "2")]
    assert files_digest("files", files) == files_digest("files", files[::-1])
    others = [[("a", "2"), ("b", "1")], [("a", "1")], [("a1", ""), ("b", "2")], [("a", "1"), ("b", "2"), ("c", "")], []]
    assert len({files_digest("files", f) for f in [files, *others]}) == 6
    assert files_digest("files", files) != files_digest("json", files)
