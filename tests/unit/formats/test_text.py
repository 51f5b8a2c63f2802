"""CSV and TSV: what each field becomes, and which place an error names."""

import csv
import io

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builder.execute.spec import IntakeSpec
from builder.formats import locate
from builder.formats import text as text_module
from builder.tables.schema import Column, Schema


def test_empty_is_null_quoted_empty_is_text_and_na_is_text(source):
    source.write("a.csv", 'k,v\n1,\n2,""\n3,NA\n4,null\n')
    assert source.rows()["v"] == [None, "", "NA", "null"]


def test_null_replaces_the_spellings_of_null(source):
    source.write("a.csv", 'k,v\n1,\n2,NA\n3,"NA"\n')
    assert source.rows(null=("NA",))["v"] == ["", None, "NA"]


def test_dtypes_come_from_the_whole_version(source):
    source.write("a.csv", "i,n,f,z,b,d,t,s\n1,,1,02170,true,2024-01-01,2024-01-01T00:00Z,\n2,3,2.5,1,,2024-01-02,,x\n")
    assert source.dtypes() == {
        "i": "int64",
        "n": "Int64",
        "f": "float64",
        "z": "string",
        "b": "boolean",
        "d": "date",
        "t": "timestamp",
        "s": "string",
    }


@pytest.mark.parametrize(
    ("late", "dtype"), [("x", "string"), ("2.5", "float64"), ("", "Int64"), ("007", "string"), ("7", "int64")]
)
def test_a_late_value_counts_as_much_as_an_early_one(source, monkeypatch, late, dtype):
    monkeypatch.setattr(text_module, "BLOCK_BYTES", 256)
    source.write("a.csv", "k,v\n" + "".join(f"{i},{i}\n" for i in range(500)) + f"500,{late}\n")
    table, schema, _ = source.take()
    assert schema.column("v").dtype == dtype
    assert table.num_rows == 501
    assert table.column("v")[3].as_py() == {"string": "3", "float64": 3.0}.get(dtype, 3)


def test_a_column_without_values_at_the_head_gets_the_dtype_of_its_values(source, monkeypatch):
    monkeypatch.setattr(text_module, "BLOCK_BYTES", 256)
    source.write("a.csv", "k,v\n" + "".join(f"{i},\n" for i in range(500)) + "500,2.5\n")
    assert source.dtypes() == {"k": "int64", "v": "float64"}


def test_a_later_file_counts_as_much_as_the_first(source):
    source.write("a.csv", "k,v\n1,1\n")
    source.write("b.csv", "v,k\nx,2\n")
    table, schema, _ = source.take()
    assert schema.names == ("k", "v")
    assert table.to_pydict() == {"k": [1, 2], "v": ["1", "x"]}


cells = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\x00"), max_size=6)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(cells, cells), min_size=1, max_size=8),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([16, 4096]),
)
def test_any_text_comes_back_as_the_csv_module_wrote_it(source, monkeypatch, rows, line_end, block_bytes):
    monkeypatch.setattr(text_module, "BLOCK_BYTES", block_bytes)
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator=line_end)
    writer.writerows([("a", "b"), *rows])
    source.write("a.csv", out.getvalue())
    got = source.rows(columns=(("a", "string"), ("b", "string")))
    assert list(zip(got["a"], got["b"], strict=True)) == rows


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-16-le"])
def test_other_encodings_give_the_same_table(source, encoding):
    source.write("a.csv", "k,v\n1,é\n".encode(encoding))
    assert source.rows(encoding=encoding) == {"k": [1], "v": ["é"]}


def test_a_byte_order_mark_is_no_part_of_the_first_name(source):
    source.write("a.csv", b"\xef\xbb\xbfk,v\n1,2\n")
    assert source.rows() == {"k": [1], "v": [2]}


@pytest.mark.parametrize(
    ("name", "delimiter", "char"), [("a.tsv", None, "\t"), ("a.csv", ";", ";"), ("a.csv", "|", "|")]
)
def test_delimiters(source, name, delimiter, char):
    source.write(name, f"k{char}v\n1{char}a,b\n")
    assert source.rows(delimiter=delimiter) == {"k": [1], "v": ["a,b"]}


def test_packed_files_give_the_same_digest(source):
    content = "k,v\n" + "".join(f"{i},x{i}\n" for i in range(1000))
    source.write("a.csv", content)
    source.write("b.csv.gz", content)
    (source.folder / "c.csv.zst").write_bytes(pa.compress(content.encode(), "zstd", asbytes=True))
    assert len({source.take(n, key=("k",))[2].digest for n in ("a.csv", "b.csv.gz", "c.csv.zst")}) == 1


def test_one_column_keeps_its_empty_lines_as_nulls(source):
    source.write("a.csv", "v\n1\n\n3\n")
    assert source.rows() == {"v": [1, None, 3]}


@pytest.mark.parametrize(("content", "rows"), [("\n\nv\n1\n", {"v": [1]}), ("\n\nk,v\n1,2\n", {"k": [1], "v": [2]})])
def test_empty_lines_before_the_header_are_left_out(source, content, rows):
    source.write("a.csv", content)
    assert source.rows() == rows


def test_empty_lines_between_rows_of_several_columns_are_left_out(source):
    source.write("a.csv", "k,v\n\n1,2\n\n\n3,4\n\n")
    assert source.rows() == {"k": [1, 3], "v": [2, 4]}


@pytest.mark.parametrize("content", ["k,v\n", "k,v", "k,v\r\n\r\n"])
def test_a_header_alone_is_an_empty_table(source, content):
    source.write("a.csv", content)
    table, schema, manifest = source.take(columns=(("k", "int64"),), key=("k",))
    assert (table.num_rows, manifest.rows) == (0, 0)
    assert schema == Schema((Column("k", "int64"), Column("v", "string")), ("k",))


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_no_byte_at_all_is_an_error(source, name):
    source.write(name, b"")
    assert source.error().code == "source-empty"


def test_a_truly_empty_packed_file_is_empty_too(source):
    (source.folder / "a.csv.gz").write_bytes(b"")
    assert source.error().code == "source-empty"


@pytest.mark.parametrize(
    ("content", "line"),
    [("k,v\n1,2\n1,2,3\n", 3), ("k,v\n1\n", 2), ('k,v\n"a\nb",2\n\n7\n', 5), ("k,v\n" + "1,2\n" * 400 + "1\n", 402)],
)
def test_a_ragged_row_is_named_by_its_line(source, monkeypatch, content, line):
    monkeypatch.setattr(text_module, "BLOCK_BYTES", 256)
    source.write("a.csv.gz", content)
    error = source.error()
    assert (error.code, error.place) == ("bad-row", f"data/a.csv.gz:{line}")
    assert dict(error.facts)["expected"] == "2 fields"


@pytest.mark.parametrize("tail", ['1,"x\n', '1,"x\n2,y\n3,z\n', '"x,3\n4,5\n'])
@pytest.mark.parametrize("block_bytes", [64, 1 << 20])
def test_a_quote_that_is_never_closed_is_named_by_its_line(source, monkeypatch, tail, block_bytes):
    monkeypatch.setattr(text_module, "BLOCK_BYTES", block_bytes)
    source.write("a.csv", "k,v\n" + "1,2\n" * 50 + tail + "9,9\n" * 50)
    error = source.error()
    assert (error.code, error.place) == ("bad-row", "data/a.csv:52")
    assert "never closed" in error.message


def test_a_record_longer_than_a_block_is_read(source, monkeypatch):
    monkeypatch.setattr(text_module, "BLOCK_BYTES", 64)
    rows = [(str(i), "x" * (5000 if i == 20 else 3)) for i in range(40)]
    source.write("a.csv", "k,v\n" + "".join(f"{k},{v}\n" for k, v in rows))
    assert source.rows()["v"] == [v for _, v in rows]


def test_bad_bytes_are_named_by_line_and_value(source):
    source.write("a.csv", b"k,v\n1,a\n2,caf\xe9\n")
    error = source.error()
    assert (error.code, error.place, dict(error.facts)["byte"]) == ("bad-encoding", "data/a.csv:3", "0xe9")
    assert "latin-1" in error.hint


def test_bad_bytes_in_the_header_and_in_other_encodings_are_named(source):
    source.write("a.csv", b"k,caf\xe9\n1,2\n")
    assert (source.error().code, source.error().place) == ("bad-encoding", "data/a.csv:1")
    source.write("a.csv", b"k,v\n1,\x81\n")
    assert (source.error(encoding="cp1252").code, source.error(encoding="cp1252").place) == (
        "bad-encoding",
        "data/a.csv:2",
    )


def test_an_unknown_encoding_is_refused(source):
    source.write("a.csv", "k\n1\n")
    assert source.error(encoding="klingon").code == "recipe-declaration"


@pytest.mark.parametrize("header", ["k,k\n1,2", "k,\n1,2", ",\n1,2", "\n\n", "k,v,k"])
def test_columns_need_names_of_their_own(source, header):
    source.write("a.csv", header + "\n")
    error = source.error()
    assert (error.code, error.place) == ("bad-row", "data/a.csv:1")


def test_a_value_that_does_not_fit_a_declared_column_is_named(source):
    source.write("a.csv", 'k,v\n1,"a\nb"\n2,c\nx,d\n')
    error = source.error(columns=(("k", "int64"), ("v", "string")))
    facts = dict(error.facts)
    assert (error.code, error.place) == ("bad-value", "data/a.csv:5")
    assert (facts["column"], facts["value"], facts["dtype"]) == ("k", "'x'", "int64")


def test_the_first_bad_row_is_told_whatever_its_column(source):
    source.write("a.csv", "a,b\n1,1\n1,x\ny,1\n")
    assert source.error(columns=(("a", "int64"), ("b", "int64"))).place == "data/a.csv:3"


def test_a_null_in_a_declared_int64_is_named(source):
    source.write("a.csv", "k,v\n1,2\n2,\n")
    error = source.error(columns=(("v", "int64"),))
    assert (error.code, error.place, dict(error.facts)["value"]) == ("bad-value", "data/a.csv:3", "null")
    assert "Int64" in error.hint


def pinned(source, content, **rest):
    source.write("a.csv", content)
    return source.take(**rest)[1]


def test_a_pinned_column_that_no_longer_fits_has_drifted(source):
    pin = pinned(source, "k,zip\n1,98101\n2,10001\n")
    source.write("a.csv", "k,zip\n1,98101\n2,02170\n")
    error = source.error(pinned=pin)
    assert (error.code, error.place) == ("schema-drift", "data/a.csv:3")
    assert dict(error.facts) == {
        "column": "zip",
        "value": "'02170'",
        "dtype": "int64",
        "pinned in": "schemas/shops.json",
    }
    assert "builder accept shops" in error.hint


def test_a_null_where_the_pin_has_none_has_drifted(source):
    pin = pinned(source, "k,v\n1,2\n")
    source.write("a.csv", "k,v\n1,\n")
    assert (source.error(pinned=pin).code, source.error(pinned=pin).place) == ("schema-drift", "data/a.csv:2")


def test_a_pin_gives_the_dtypes_whatever_the_values_would_suggest(source):
    pin = pinned(source, "k,v\n1,x\n")
    source.write("a.csv", "v,k\n7,5\n")
    table, schema, _ = source.take(pinned=pin)
    assert (schema, table.to_pydict()) == (pin, {"k": [5], "v": ["7"]})


@pytest.mark.parametrize(("header", "label", "names"), [("k", "missing", "v"), ("k,v,w", "new", "w")])
def test_other_columns_than_pinned_have_drifted(source, header, label, names):
    pin = pinned(source, "k,v\n1,x\n")
    source.write("a.csv", header + "\n")
    error = source.error(pinned=pin)
    assert (error.code, dict(error.facts)[label], dict(error.facts)["file"]) == ("schema-drift", names, "data/a.csv")
    assert error.hint == "builder accept shops takes the new columns in"


@pytest.mark.parametrize("rest", [{"columns": (("w", "int64"),)}, {"key": ("w",)}])
def test_a_declared_column_that_is_not_there_has_drifted(source, rest):
    source.write("a.csv", "k,v\n1,2\n")
    error = source.error(**rest)
    assert (error.code, dict(error.facts)["missing"]) == ("schema-drift", "w")


def test_files_with_different_columns_are_both_named(source):
    source.write("a.csv", "k,v\n1,2\n")
    source.write("b.csv", "k,w\n1,2\n")
    error = source.error()
    assert (error.code, error.place) == ("schema-drift", "data/b.csv")
    assert dict(error.facts) == {"file": "data/b.csv", "first file": "data/a.csv", "new": "w", "missing": "v"}


def test_file_column_leads_and_names_each_row_s_file(source):
    source.write("a.csv", "k\n1\n2\n")
    source.write("b.csv", "k\n3\n")
    table, schema, _ = source.take(file_column="file")
    assert schema.names == ("file", "k")
    assert table.to_pydict() == {"file": ["a.csv", "a.csv", "b.csv"], "k": [1, 2, 3]}
    assert source.take(file_column="file", pinned=schema)[1] == schema
    assert source.take(file_column="file", key=("file", "k"))[1].key == ("file", "k")
    assert source.error(file_column="k").code == "schema-drift"


def test_duplicate_keys_are_named_by_file_and_line(source):
    source.write("a.csv", 'k,v\n1,"x\ny"\n2,z\n')
    source.write("b.csv", "k,v\n\n5,a\n2,b\n")
    error = source.error(key=("k",))
    assert error.code == "key-duplicate"
    assert "data/a.csv:4" in error.render()
    assert "data/b.csv:4" in error.render()


def test_a_null_key_is_named_by_file_and_line(source):
    source.write("a.csv", "k,v\na,1\n,2\n")
    error = source.error(key=("k",))
    assert error.code == "key-null"
    assert "data/a.csv:3" in error.render()


@pytest.mark.parametrize("damage", ["cut", "foreign", "checksum"])
def test_damaged_packed_files_are_unreadable(source, damage):
    path = source.write("a.csv.gz", "k,v\n" + "".join(f"{i},{i * 7919 % 10007}\n" for i in range(20000)))
    raw = path.read_bytes()
    flipped = raw[:-6] + bytes([raw[-6] ^ 255]) + raw[-5:]
    path.write_bytes({"cut": raw[: len(raw) // 2], "foreign": b"k,v\n1,2\n", "checksum": flipped}[damage])
    error = source.error()
    assert (error.code, error.place) == ("source-unreadable", "data/a.csv.gz")


def test_geometry_can_be_declared_for_wkt(source):
    source.write("a.csv", 'k,g\n1,"POINT (1 2)"\n2,\n')
    table, schema, _ = source.take(columns=(("g", "geometry"),), crs="OGC:CRS84")
    assert schema.column("g") == Column("g", "geometry", "EPSG:4326")
    assert table.column("g").to_pylist()[1] is None
    source.write("a.csv", 'k,g\n1,"POINT (1 2)"\n2,"POINT (1"\n')
    error = source.error(columns=(("g", "geometry"),))
    assert (error.code, error.place) == ("bad-geometry", "data/a.csv:3")


def test_a_spec_survives_its_way_to_a_worker(source):
    source.write("a.csv", "k\n1\n")
    spec = source.spec(key=("k",), columns=(("k", "int64"),), null=("NA",))
    assert IntakeSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize("delimiter", ["", "ab", '"', "\n", "é"])
def test_a_delimiter_is_one_ascii_character(source, delimiter):
    source.write("a.csv", "k\n1\n")
    if delimiter:
        assert source.error(delimiter=delimiter).code == "recipe-declaration"
    else:
        assert source.rows(delimiter=delimiter) == {"k": [1]}


def test_an_open_quote_is_told_without_reading_the_rest_into_one_field(source, monkeypatch):
    monkeypatch.setattr(locate, "_FIELD_CHARS", 1000)
    source.write("a.csv", "k,v\n1,2\n" + '3,"x\n' + "9,9\n" * 1000)
    assert (source.error().code, source.error().place) == ("bad-row", "data/a.csv:3")


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_an_empty_field_at_the_end_of_a_file_is_null_with_or_without_a_line_end(source, end):
    source.write("a.csv", f'id,name,note\n1,"x",y\n2,"z",{end}')
    assert source.rows()["note"] == ["y", None]


def test_a_quote_that_opens_in_the_last_line_and_is_never_closed_is_an_error(source):
    source.write("a.csv", 'id,note\n1,x\n2,"never closed')
    assert source.error().code == "bad-row"
