"""JSON, JSON Lines and GeoJSON."""

import datetime as dt
import io
import json
from decimal import Decimal

import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builder.formats import chunks, jsonstream
from builder.formats.geometry import wkb_of_geojson
from builder.tables.schema import Column


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


ROWS = [{"k": 1, "s": "02170", "f": 1, "b": True, "n": None}, {"k": 2, "s": "", "f": 2.5, "b": False, "n": 3}]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.json.gz"])
def test_objects_become_rows_and_text_stays_text(source, name):
    source.write(name, lines(ROWS) if "jsonl" in name else json.dumps(ROWS, indent=1))
    table, schema, _ = source.take()
    assert {c.name: c.dtype for c in schema.columns} == {
        "k": "int64",
        "s": "string",
        "f": "float64",
        "b": "bool",
        "n": "Int64",
    }
    assert table.to_pylist() == [{**row, "f": float(row["f"])} for row in ROWS]


def test_a_missing_member_is_null_and_a_late_one_counts(source, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 2)
    source.write("a.jsonl", lines([{"k": i} for i in range(5)] + [{"k": 5, "v": 7}]))
    table, schema, _ = source.take()
    assert schema.column("v").dtype == "Int64"
    assert table.column("v").to_pylist() == [None] * 5 + [7]


def test_nested_and_mixed_values_become_their_json(source):
    source.write("a.jsonl", '{"k": 1, "m": "x", "o": {"a": [1, 2]}}\n{"k": 2, "m": 1.5, "o": null}\n')
    assert source.rows() == {"k": [1, 2], "m": ["x", "1.5"], "o": ['{"a": [1, 2]}', None]}


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 10**30])
def test_integers_beyond_64_bits_stay_whole_as_text(source, value):
    source.write("a.json", f'[{{"k": {value}}}, {{"k": 1}}]')
    assert source.rows() == {"k": [str(value), "1"]}


def test_declared_dtypes_read_text(source):
    source.write("a.json", '[{"d": "2024-01-02", "t": "2024-01-02T03:04:05Z", "p": 1.5, "i": "7"}]')
    declared = (("d", "date"), ("t", "timestamp"), ("p", "decimal(5,2)"), ("i", "int64"))
    assert source.rows(columns=declared) == {
        "d": [dt.date(2024, 1, 2)],
        "t": [dt.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dt.UTC)],
        "p": [Decimal("1.50")],
        "i": [7],
    }


def test_a_value_that_does_not_fit_is_named_by_line(source):
    source.write("a.jsonl", '{"k": 1}\n\n{"k": "x"}\n')
    error = source.error(columns=(("k", "int64"),))
    assert (error.code, error.place, dict(error.facts)["value"]) == ("bad-value", "data/a.jsonl:3", "'x'")


@pytest.mark.parametrize("value", ['"1"', "1.5", "true", "99999999999999999999", "null"])
def test_a_pinned_column_takes_its_own_kind_only(source, value):
    source.write("a.json", '[{"k": 1}]')
    pin = source.take()[1]
    source.write("a.json", f'[{{"k": 1}},\n {{"k": {value}}}]')
    assert (source.error(pinned=pin).code, source.error(pinned=pin).place) == (
        "schema-drift",
        "data/a.json:2, record 2",
    )


@pytest.mark.parametrize(
    ("value", "code"), [("null", "key-null"), ('"x"', "schema-drift"), ("8193", "key-duplicate")], ids=str
)
def test_a_feature_is_named_by_its_number_where_all_stand_on_one_line(source, value, code):
    """The 9,000th, which is not among those that are read at first."""
    made = [feature(POINT, k=number) for number in range(1, 9001)]
    source.write("a.geojson", collection(*made))
    pin = source.take(key=("k",))[1]
    made[8999] = feature(POINT, k=json.loads(value))
    source.write("a.geojson", collection(*made))
    error = source.error(key=("k",), pinned=pin)
    assert error.code == code
    assert "data/a.geojson:1, feature 9000" in " ".join((str(error.place), *dict(error.facts).values()))


@pytest.mark.parametrize(("rows", "label"), [([{"k": 1}], "missing"), ([{"k": 1, "v": 2, "w": 3}], "new")])
def test_other_columns_than_pinned_have_drifted(source, rows, label):
    source.write("a.json", '[{"k": 1, "v": "x"}]')
    pin = source.take()[1]
    source.write("a.json", json.dumps(rows))
    assert label in dict(source.error(pinned=pin).facts)


def test_an_empty_array_is_an_empty_table(source):
    source.write("a.json", "[]")
    table, schema, _ = source.take(columns=(("k", "int64"),), key=("k",))
    assert (table.num_rows, schema.columns) == (0, (Column("k", "int64"),))


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.json", "", None),
        ("a.json", '[{"k": 1},\n{"k": ]', 2),
        ("a.json", '[{"k": 1}', 1),
        ("a.json", '{"k": 1}', 1),
        ("a.json", "[1]", 1),
        ("a.json", '[{"k": 1}] x', 1),
        ("a.json", '[{"k": 1},]', 1),
        ("a.json", "[" * 100000, 1),
        ("a.jsonl", '{"k": 1}\n{"k"\n', 2),
        ("a.jsonl", '{"k": 1}\n[]\n', 2),
        ("a.geojson", "[]", 1),
        ("a.geojson", '{"type": "Feature"}', 1),
        ("a.geojson", '{"type": "FeatureCollection", "features": [', 1),
        ("a.geojson", '{"type": "FeatureCollection",\n "features": [{"type": "Point"}]}', 2),
        ("a.geojson", '{"type": "FeatureCollection", "features": 3}', 1),
    ],
)
def test_what_is_no_such_document_is_unreadable(source, name, content, line):
    source.write(name, content)
    error = source.error()
    assert error.code == ("source-empty" if line is None else "source-unreadable")
    assert error.place == (f"data/{name}" if line is None else f"data/{name}:{line}")


def test_bad_bytes_are_named_by_line(source):
    source.write("a.json", b'[{"k": "x"},\n{"k": "\xff"}]')
    assert (source.error().code, source.error().place) == ("bad-encoding", "data/a.json:2")


def test_half_a_surrogate_pair_is_no_text(source):
    source.write("a.json", '[{"k": "\\ud800"}]')
    assert source.error(columns=(("k", "string"),)).code == "bad-value"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(json_values, max_size=6), st.sampled_from([None, 2]), st.integers(1, 40))
def test_elements_are_those_that_the_json_module_reads(monkeypatch, values, indent, chunk):
    monkeypatch.setattr(jsonstream, "_CHUNK_CHARS", chunk)
    text = json.dumps(values, indent=indent)
    assert [value for _, value in jsonstream.elements(io.StringIO(text))] == values
    document = json.dumps({"a": values, "features": values, "z": 12}, indent=indent)
    assert [(n, v) for _, n, v in jsonstream.members(io.StringIO(document), "features")] == [
        ("a", values),
        *(("features", v) for v in values),
        ("z", 12),
    ]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 60), st.integers(1, 40))
def test_a_document_that_ends_early_never_reads_as_whole(monkeypatch, cut, chunk):
    monkeypatch.setattr(jsonstream, "_CHUNK_CHARS", chunk)
    text = json.dumps([{"k": 1, "name": "abc"}, {"k": 22}, {"k": [1, 2.5, None]}])
    if cut < len(text):
        with pytest.raises(jsonstream.BadJson):
            list(jsonstream.elements(io.StringIO(text[:cut])))


def collection(*features, **members):
    return json.dumps({"type": "FeatureCollection", **members, "features": features})


def feature(geometry, **properties):
    return {"type": "Feature", "properties": properties, "geometry": geometry}


POINT = {"type": "Point", "coordinates": [1, 2]}
SHAPES = [
    POINT,
    {"type": "Point", "coordinates": [1, 2, 3]},
    {"type": "Point", "coordinates": []},
    {"type": "LineString", "coordinates": [[0, 0], [1, 1.5]]},
    {"type": "Polygon", "coordinates": []},
    {"type": "Polygon", "coordinates": [[]]},
    {"type": "Polygon", "coordinates": [[[0, 0], [4, 0], [4, 4], [0, 0]], [[2, 1], [3, 1], [3, 2], [2, 1]]]},
    {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 1], [1, 0], [0, 0]]]},
    {"type": "MultiPoint", "coordinates": [[0, 0], [1, 1]]},
    {"type": "MultiLineString", "coordinates": [[[0, 0], [1, 1]], [[2, 2], [3, 3]]]},
    {"type": "MultiPolygon", "coordinates": [[[[0, 0], [4, 0], [4, 4], [0, 0]]], [[[9, 9], [8, 9], [8, 8], [9, 9]]]]},
    {"type": "MultiPolygon", "coordinates": [[[[0, 0, 1], [4, 0, 2], [4, 4, 3], [0, 0, 1]]]]},
    {"type": "GeometryCollection", "geometries": [POINT, {"type": "LineString", "coordinates": [[0, 0], [1, 1]]}]},
]


@pytest.mark.parametrize("geometry", SHAPES)
def test_geometries_are_those_that_geos_reads(geometry):
    expected = shapely.from_geojson(json.dumps(geometry))
    assert shapely.equals_identical(shapely.from_wkb(wkb_of_geojson(geometry)), expected)


def test_geojson_gives_properties_then_geometry_in_lon_lat(source):
    source.write(
        "a.geojson", collection(*(feature(g, id=f"0{i}") for i, g in enumerate(SHAPES)), feature(None, id="99"))
    )
    table, schema, _ = source.take()
    assert schema.columns == (Column("id", "string"), Column("geometry", "geometry", "EPSG:4326"))
    shapes = shapely.from_wkb(table.column("geometry").to_numpy())
    assert shapes[-1] is None
    assert [s.geom_type for s in shapes[:-1]] == [g["type"] for g in SHAPES]


def test_a_feature_s_own_id_is_a_column(source):
    source.write("a.geojson", collection({**feature(POINT, name="x"), "id": "02170"}))
    assert source.rows()["id"] == ["02170"]


@pytest.mark.parametrize(
    ("members", "crs"),
    [
        ({}, "EPSG:4326"),
        ({"crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}}, "EPSG:4326"),
        ({"crs": {"type": "name", "properties": {"name": "EPSG:32633"}}}, "EPSG:32633"),
        ({"crs": None}, None),
    ],
)
def test_the_crs_member_counts(source, members, crs):
    source.write("a.geojson", collection(feature(POINT, k=1), **members))
    schema = source.take()[1]
    assert schema.column("geometry").crs == crs
    assert source.take(pinned=schema)[1] == schema


def test_a_crs_that_differs_from_the_declared_or_pinned_one_is_an_error(source):
    source.write("a.geojson", collection(feature(POINT, k=1)))
    pin = source.take()[1]
    error = source.error(crs="EPSG:32633")
    assert (error.code, dict(error.facts)) == ("crs-mismatch", {"declared": "EPSG:32633", "file": "EPSG:4326"})
    other = {"crs": {"type": "name", "properties": {"name": "EPSG:32633"}}}
    source.write("a.geojson", collection(feature(POINT, k=1), **other))
    assert source.error(pinned=pin).code == "crs-mismatch"
    source.write("b.geojson", collection(feature(POINT, k=1)))
    assert source.error().code == "crs-mismatch"


@pytest.mark.parametrize(
    "geometry",
    [
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0]]]},
        {"type": "Polygon", "coordinates": [[0, 0], [1, 1]]},
        {"type": "LineString", "coordinates": [[0, 0]]},
        {"type": "Blob", "coordinates": []},
        {"type": "Point", "coordinates": ["a", "b"]},
        {"type": "Point"},
        [1, 2],
        {"type": "Point", "coordinates": [1]},
        {"type": "MultiPolygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 0]]]},
        {"type": "Point", "coordinates": [[1, 2]]},
        {"type": "GeometryCollection", "geometries": [{"type": "Point", "coordinates": [None, 1]}]},
    ],
)
def test_a_geometry_that_cannot_be_read_is_named(source, geometry):
    source.write(
        "a.geojson", collection(feature(POINT, k=1)).replace("]}", ",\n" + json.dumps(feature(geometry, k=2)) + "]}")
    )
    source.write(
        "a.geojson",
        '{"type": "FeatureCollection", "features": [\n'
        + json.dumps(feature(POINT, k=1))
        + ",\n"
        + json.dumps(feature(geometry, k=2))
        + "]}",
    )
    error = source.error()
    assert (error.code, error.place) == ("bad-geometry", "data/a.geojson:3, feature 2")


def test_duplicate_keys_are_named_by_line(source):
    source.write("a.jsonl", '{"k": 1}\n\n{"k": 2}\n{"k": 1}\n')
    assert "data/a.jsonl:4" in source.error(key=("k",)).render()
