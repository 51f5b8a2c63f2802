"""Formats by file name."""

import pytest

from builder.formats.kinds import kind_of, packing_of


@pytest.mark.parametrize("name", ["csv", "tsv", "parquet", "geojson", "json", "jsonl", "gpkg", "fgb", "shp"])
@pytest.mark.parametrize(("ending", "packing"), [("", ""), (".gz", "gzip"), (".zst", "zstd")])
def test_every_table_format_is_known_plain_and_packed(name, ending, packing):
    assert kind_of(f"data/a.{name}{ending}") == (name, packing)


@pytest.mark.parametrize("path", ["counties.zip", "counties.shp.zip", "COUNTIES.SHP.ZIP"])
def test_a_zip_is_a_shapefile(path):
    assert kind_of(path) == ("shp", "zip")


@pytest.mark.parametrize("path", ["a.csv.zip", "a.txt", "csv", "a.csv/readme", "a.gz", "a.csv.bz2", ""])
def test_all_else_is_a_file(path):
    assert kind_of(path)[0] == "file"


def test_case_and_urls_do_not_matter():
    assert kind_of("https://host/x.y/A.CSV.GZ") == ("csv", "gzip")
    assert packing_of("A.ZST") == "zstd"
