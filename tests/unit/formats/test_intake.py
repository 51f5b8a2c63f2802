"""Whole sources taken in: the shipped data, and what stays of a failure."""

import json
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest

from builder.execute.spec import IntakeSpec
from builder.formats.intake import take_in
from builder.store.parts import PartFolder
from builder.tables.frames import to_frame

DATA = Path(__file__).parents[3] / "recipes" / "airports" / "data"


def taken(source, name, **rest):
    (source.folder / name).symlink_to(DATA / name)
    table, schema, manifest = source.take(name, **rest)
    return to_frame(table, schema), schema, manifest


def test_the_airports_are_what_pandas_reads(source):
    frame, schema, manifest = taken(source, "airports.csv.gz", key=("icao",))
    expected = pd.read_csv(DATA / "airports.csv.gz", keep_default_na=False, na_values=[""]).sort_values("icao")
    expected = expected.reset_index(drop=True)
    assert manifest.rows == len(expected) == 12573
    assert {c.name: c.dtype for c in schema.columns}["lat"] == "float64"
    for name in expected.columns:
        assert frame[name].isna().tolist() == expected[name].isna().tolist()
        assert frame[name].dropna().tolist() == expected[name].dropna().tolist()


def test_the_counties_are_what_geopandas_reads(source):
    frame, schema, _ = taken(source, "counties.geojson.gz", key=("id",))
    expected = gpd.read_file(f"/vsigzip/{DATA / 'counties.geojson.gz'}").sort_values("id").reset_index(drop=True)
    assert schema.column("geometry").crs == "EPSG:4326"
    assert frame["id"].tolist() == expected["id"].tolist()
    assert "02170" in frame["id"].tolist()
    assert frame.geometry.to_wkb().tolist() == expected.geometry.to_wkb().tolist()
    assert int((~frame.geometry.is_valid).sum()) == 13


def test_a_failure_leaves_no_part_behind(source):
    source.write("a.csv", "k,v\n1,2\n1,3\n")
    assert source.error(key=("k",)).code == "key-duplicate"
    assert [p for p in source.store.rglob("*") if p.is_file()] == []


def test_a_source_without_files_is_missing(source):
    with pytest.raises(Exception, match="no file") as caught:
        take_in(IntakeSpec("shops", "csv", ()), PartFolder(source.store), source.scratch)
    assert caught.value.code == "source-missing"


def test_order_and_packing_of_a_keyed_source_leave_its_digest(source):
    rows = [f"{i},x{i % 7}\n" for i in range(3000)]
    source.write("a.csv", "k,v\n" + "".join(rows))
    source.write("b.csv.gz", "k,v\n" + "".join(reversed(rows)))
    source.write("c.csv", '"k","v"\r\n' + "".join(rows).replace("\n", "\r\n"))
    source.write("d.jsonl", "".join(json.dumps({"v": f"x{i % 7}", "k": i}) + "\n" for i in range(3000)))
    digests = {source.take(n, key=("k",), pinned=None)[2].digest for n in ("a.csv", "b.csv.gz", "c.csv")}
    pin = source.take("a.csv", key=("k",))[1]
    digests.add(source.take("d.jsonl", key=("k",), pinned=pin)[2].digest)
    assert len(digests) == 1
