"""Versions of a source made from the last one: which way, what is read, and that each is what a full intake gives."""

import importlib
import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builder.errors import BuilderError
from builder.formats import byline, byrow, fileindex, linefiles
from builder.formats.fileindex import FileIndex
from builder.formats.intake import take_in
from builder.formats.lines import read_records
from builder.formats.text import arrow_batches
from builder.nouns import replace
from builder.store.parts import PartFolder
from builder.tables.batches import read_batch
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


def shapes(name, count, changed=()):
    """Features of GeoJSON with points."""
    place = lambda n: [n / 10, -n / 20 - (n in changed)]  # noqa: E731
    return json.dumps(
        {
            "type": "FeatureCollection",
            "features": [
                {
                    "type": "Feature",
                    "properties": {"id": f"{name}{n}"},
                    "geometry": {"type": "Point", "coordinates": place(n)},
                }
                for n in range(count)
            ],
        }
    )


def parquet(source, name, rows, odd=()):
    sizes = [None if n in odd else n / 4 for n in rows]
    pq.write_table(pa.table({"id": [f"{name}{n}" for n in rows], "size": sizes}), source.folder / f"{name}.parquet")


def text(source, name, rows, odd=()):
    lines = (f"{name}{n},{n},{9 if n in odd else n / 4}\n" for n in rows)
    source.write(f"{name}.csv.gz", "id,name,note\n" + "".join(lines))


def geojson(source, name, rows, odd=()):
    source.write(f"{name}.geojson", shapes(name, len(rows), odd))


OPENED = {
    "parquet": ("builder.formats.columnar", "_parquet", parquet),
    "csv.gz": ("builder.formats.text", "read_head", text),
    "geojson": ("builder.formats.records", "read_chunks", geojson),
}


@pytest.mark.parametrize("ending", OPENED)
def test_of_many_files_of_any_format_only_changed_ones_are_opened(source, monkeypatch, ending):
    module, function, write = OPENED[ending]
    for name in "abc":
        write(source, name, range(300))
    versions = Versions(source)
    assert versions.last.manifest.rows == 900
    opened = []
    module = importlib.import_module(module)
    original = getattr(module, function)
    monkeypatch.setattr(module, function, lambda spec, file, *a: opened.append(file.name) or original(spec, file, *a))
    write(source, "b", range(1, 301) if ending != "geojson" else range(299), odd=(7, 8))
    made = versions.take(versions.last.manifest, pinned=versions.pinned)
    assert set(opened) == {f"b.{ending}"}
    assert (made.via, made.difference) == ("files", (0, 1, 2) if ending == "geojson" else (1, 1, 2))
    assert versions.next().manifest.digest == made.manifest.digest
    opened.clear()
    os.rename(source.folder / f"a.{ending}", source.folder / f"z.{ending}")
    (source.folder / f"c.{ending}").unlink()
    made = versions.take(versions.last.manifest, pinned=versions.pinned)
    assert (made.via, made.difference) == ("files", (0, 300, 0))
    assert len(set(opened)) <= 1, "one is opened for the schema that it has now, and none read"
    assert versions.next().manifest.digest == made.manifest.digest


def test_a_key_that_moves_between_files_is_followed_and_one_in_two_files_is_told(source):
    for name in "abcdef":
        parquet(source, name, range(100))
    versions = Versions(source)
    parquet(source, "a", range(99))
    table = pq.read_table(source.folder / "b.parquet")
    pq.write_table(pa.concat_tables([table, pa.table({"id": ["a99"], "size": [1.0]})]), source.folder / "b.parquet")
    made = versions.next()
    assert (made.via, made.difference) == ("files", (0, 0, 1))
    parquet(source, "a", range(100))
    with pytest.raises(BuilderError) as told:
        versions.take(versions.last.manifest, pinned=versions.pinned)
    assert told.value.code == "key-duplicate" and "a99" in str(told.value)


def test_where_the_name_of_a_file_is_a_column_another_name_gives_other_rows(source):
    for name in "abc":
        parquet(source, name, range(100))
    versions = Versions(source, key=("id",), file_column="file")
    os.rename(source.folder / "a.parquet", source.folder / "z.parquet")
    made = versions.next()
    assert (made.via, made.difference) == ("files", (0, 0, 100))


@pytest.mark.parametrize("gone", [False, True])
def test_another_key_or_pin_is_seen_though_no_file_changed(source, gone):
    for name in "abcd":
        parquet(source, name, range(100))
    versions = Versions(source)
    if gone:
        (source.folder / "d.parquet").unlink()
    wide = replace(versions.pinned, columns=tuple(replace(c, dtype="string") for c in versions.pinned.columns))
    for asked in ({"key": ("id", "size")}, {"pinned": wide, "columns": (("size", "string"),)}, {"crs": "EPSG:4326"}):
        made = versions.take(versions.last.manifest, **({"pinned": versions.pinned} | asked))
        whole = versions.take(None, **({"pinned": versions.pinned} | asked))
        assert (made.manifest.digest, made.schema) == (whole.manifest.digest, whole.schema), asked
        assert (made.via == "files") == (made.schema == versions.last.schema and "crs" not in asked), asked


def test_files_that_went_are_taken_out_with_each_part_of_the_index_read_once(source, monkeypatch):
    names = [f"{n:03}" for n in range(40)]
    for name in names:
        parquet(source, name, range(20))
    versions = Versions(source)
    read = []
    monkeypatch.setattr(
        fileindex, "read_batch", lambda store, part, *a: read.append(part) or read_batch(store, part, *a)
    )
    for name in names[5:20]:
        (source.folder / f"{name}.parquet").unlink()
    made = versions.next()
    assert (made.via, made.difference) == ("files", (0, 300, 0))
    assert len(read) <= 2 + len(versions.last.manifest.index)
    for name in names[20:38]:
        (source.folder / f"{name}.parquet").unlink()
    assert versions.next().via == "rows", "most rows went"


def test_one_new_file_a_day_leaves_an_index_of_few_parts(source):
    for name in ("000", "001"):
        parquet(source, name, range(50))
    versions = Versions(source)
    for day in range(2, 30):
        parquet(source, f"{day:03}", range(50))
        made = versions.next()
        assert made.via == "files" and len(made.manifest.index) <= 10
    index = FileIndex.open(PartFolder(source.store), made.manifest.index)
    for name, file in index.files.items():
        keys = pa.concat_tables(index.keys(file)).column("id").to_pylist()
        assert keys == [f"{name.removesuffix('.parquet')}{n}" for n in range(50)]


def test_a_file_whose_packing_another_name_hides_is_read_again(source):
    for name in "abc":
        text(source, name, range(100))
    versions = Versions(source)
    os.rename(source.folder / "b.csv.gz", source.folder / "b.csv")
    for base in (versions.last.manifest, None):
        with pytest.raises(BuilderError) as told:
            versions.take(base, pinned=versions.pinned)
        assert told.value.code in ("bad-encoding", "bad-row", "schema-drift")


def test_each_json_file_has_every_column_whichever_is_read_first(source):
    for name in "abcd":
        rows = ({"id": f"{name}{n}", "v": 1} if name in "ab" or n else {"id": f"{name}{n}"} for n in range(50))
        source.write(f"{name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    versions = Versions(source)
    source.write("c.jsonl", "".join(json.dumps({"id": f"c{n}"}) + "\n" for n in range(50)))
    for base in (versions.last.manifest, None):
        with pytest.raises(BuilderError) as told:
            versions.take(base, pinned=versions.pinned)
        assert told.value.code == "schema-drift" and "c.jsonl" in str(told.value)


def test_where_most_files_changed_all_are_read(source):
    for name in "abc":
        parquet(source, name, range(100))
    versions = Versions(source)
    for name in "ab":
        parquet(source, name, range(100), odd=(4,))
    made = versions.next()
    assert (made.via, made.difference) == ("rows", (0, 0, 2))


def test_the_index_of_files_stays_small_however_often_they_change(source):
    for name in "abc":
        parquet(source, name, range(100))
    versions = Versions(source)
    for turn in range(12):
        parquet(source, "abc"[turn % 3], range(100), odd=(turn,))
        made = versions.next()
        assert made.via == "files"
        assert sum(part.rows for part in made.manifest.index[1:]) <= 1.5 * 300 + 100
        index = FileIndex.open(PartFolder(source.store), made.manifest.index)
        keys = {f.name: sum(k.num_rows for k in index.keys(f)) for f in index.files.values()}
        assert keys == {"a.parquet": 100, "b.parquet": 100, "c.parquet": 100}


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
