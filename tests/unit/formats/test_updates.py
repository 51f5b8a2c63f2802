"""Versions of a source made from the last one: which way, what is read, and that each is what a full intake gives."""

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builder.formats import byline, byrow, linefiles
from builder.formats.intake import take_in
from builder.formats.lines import read_records
from builder.formats.text import arrow_batches
from builder.nouns import replace
from builder.store.parts import PartFolder
from builder.tables.read import read_table

ROWS = "".join(f"{n},place {n},{n / 4}\n" for n in range(500))
HEADER = "id,name,size\n"


@pytest.fixture(autouse=True)
def any_size(monkeypatch):
    monkeypatch.setattr(linefiles, "MIN_BYTES", 0)


class Versions:
    """Versions of one source, each taken in from the one before, and whole beside it."""

    def __init__(self, source, **rest):
        self.source = source
        self.rest = {"key": ("id",)} | rest
        self.last = self.take(None)
        self.pinned = self.last.schema

    def take(self, base, **rest):
        spec = self.source.spec(**(self.rest | rest))
        return take_in(replace(spec, base=base), PartFolder(self.source.store), self.source.scratch)

    def next(self, **rest):
        """The next version, which is the same as taken in whole."""
        made = self.take(self.last.manifest, pinned=self.pinned, **rest)
        whole = self.take(None, pinned=self.pinned, **rest)
        assert made.manifest.digest == whole.manifest.digest
        assert read_table(self.source.store, made.manifest).equals(read_table(self.source.store, whole.manifest))
        self.last = made
        return made


def test_a_changed_line_is_all_that_is_parsed(source, monkeypatch):
    source.write("a.csv", HEADER + ROWS)
    versions = Versions(source)
    parsed = []

    def watched(stream, *rest):
        parsed.append(stream.read())
        return arrow_batches(pa.BufferReader(parsed[-1]), *rest)

    monkeypatch.setattr(byline, "arrow_batches", watched)
    source.write("a.csv", HEADER + ROWS.replace("place 7,", "other 7,") + "900,new,1\n")
    made = versions.next()
    assert (made.via, made.difference) == ("lines", (1, 0, 1))
    assert parsed == [b'"id","name","size"\n7,other 7,1.75\n900,new,1\n']


def test_of_many_files_only_changed_ones_are_split(source, monkeypatch):
    for name in "abc":
        source.write(f"{name}.csv", HEADER + "".join(f"{ord(name)}{n},{name},1\n" for n in range(300)))
    versions = Versions(source)
    read = []
    monkeypatch.setattr(byline, "read_records", lambda file, by: read.append(file.name) or read_records(file, by))
    source.write("b.csv", HEADER + "".join(f"98{n},b,{1 if n % 50 else 2}\n" for n in range(300)))
    made = versions.next()
    assert (made.via, made.difference, read) == ("lines", (0, 0, 6), ["b.csv"])


def test_a_file_under_another_name_is_known_by_its_lines(source):
    source.write("a.csv", HEADER + ROWS)
    versions = Versions(source)
    os.rename(source.folder / "a.csv", source.folder / "b.csv")
    made = versions.next()
    assert (made.via, made.difference) == ("lines", (0, 0, 0))


def test_other_line_ends_and_another_order_change_nothing_and_parse_nothing(source, monkeypatch):
    source.write("a.csv", HEADER + ROWS)
    versions = Versions(source)
    monkeypatch.setattr(byline, "arrow_batches", None)
    source.write("a.csv", (HEADER + "".join(reversed(ROWS.splitlines(keepends=True)))).replace("\n", "\r\n"))
    made = versions.next()
    assert (made.via, made.difference, len(made.manifest.layers)) == ("lines", (0, 0, 0), 1)


@pytest.mark.parametrize(
    "rest",
    [{"null": ("place 7",)}, {"columns": (("size", "string"),)}, {"file_column": "file"}, {"encoding": "latin-1"}],
)
def test_text_that_is_read_otherwise_is_read_whole(source, rest):
    source.write("a.csv", HEADER + ROWS)
    versions = Versions(source)
    made = versions.take(versions.last.manifest, **rest)
    whole = versions.take(None, **rest)
    assert made.via != "lines"
    assert made.manifest.digest == whole.manifest.digest


def test_a_packed_source_is_read_whole_and_written_by_rows(source):
    source.write("a.csv.gz", HEADER + ROWS)
    versions = Versions(source)
    source.write("a.csv.gz", HEADER + ROWS.replace("place 7,", "other,"))
    made = versions.next()
    assert (made.via, made.difference) == ("rows", (0, 0, 1))


def test_a_source_without_a_key_is_taken_in_whole(source):
    source.write("a.csv", HEADER + ROWS)
    versions = Versions(source, key=())
    source.write("a.csv", HEADER + ROWS + "9,x,1\n")
    assert versions.next().via == "full"


def test_a_version_with_little_in_common_is_taken_in_whole(source, monkeypatch):
    monkeypatch.setattr(byrow, "_FEW_ROWS", 100)
    source.write("a.csv", HEADER + ROWS)
    versions = Versions(source)
    source.write("a.csv", HEADER + ROWS.replace("place", "other"))
    assert versions.next().via == "full"


def test_a_damaged_index_costs_a_reading_of_the_whole(source):
    source.write("a.csv", HEADER + ROWS)
    versions = Versions(source)
    part = source.store / versions.last.manifest.index[1].path
    part.chmod(0o644)
    raw = bytearray(part.read_bytes())
    raw[1000] ^= 1
    part.write_bytes(raw)
    source.write("a.csv", HEADER + ROWS.replace("place 7,", "other,"))
    made = versions.next()
    assert made.via == "rows"
    source.write("a.csv", HEADER + ROWS.replace("place 8,", "other,"))
    assert versions.next().via == "lines"


def test_a_key_that_comes_twice_is_refused_with_both_lines(source):
    source.write("a.csv", HEADER + ROWS)
    versions = Versions(source)
    source.write("a.csv", HEADER + ROWS + "7,again,1\n")
    with pytest.raises(Exception, match="not unique") as caught:
        versions.next()
    assert list(caught.value.facts) == [("id 7", "data/a.csv:9, data/a.csv:502")]


@pytest.mark.parametrize("kind", ["parquet", "geojson", "jsonl"])
def test_other_formats_are_read_whole_and_written_by_rows(source, kind):
    def write(rows):
        if kind == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), source.folder / "a.parquet")
        elif kind == "jsonl":
            source.write("a.jsonl", "\n".join(map(json.dumps, rows)))
        else:
            features = [
                {"type": "Feature", "properties": row, "geometry": {"type": "Point", "coordinates": [row["id"], 1]}}
                for row in rows
            ]
            source.write("a.geojson", json.dumps({"type": "FeatureCollection", "features": features}))

    rows = [{"id": n, "name": f"place {n}"} for n in range(300)]
    write(rows)
    versions = Versions(source)
    rows[5]["name"] = "other"
    write([*rows[:9], *rows[10:], {"id": 999, "name": "new"}])
    made = versions.next()
    assert (made.via, made.difference) == ("rows", (1, 1, 1))
    write([*reversed(rows)])
    assert versions.next().difference == (1, 1, 0)
