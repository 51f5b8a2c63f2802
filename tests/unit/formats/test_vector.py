"""GeoPackage, FlatGeobuf and shapefiles."""

import gzip
import zipfile

import geopandas as gpd
import pytest
from shapely.geometry import MultiPolygon, Point, Polygon

from builder.formats import vector
from builder.tables.schema import Column

BOWTIE = Polygon([(0, 0), (1, 1), (0, 1), (1, 0)])
SQUARE = Polygon([(0, 0), (0, 1), (1, 1), (1, 0)])
FRAME = {"zip": ["02170", "98101"], "n": [1, 2], "f": [1.5, 2.5]}


def regions(crs="EPSG:4326", **columns):
    return gpd.GeoDataFrame({**FRAME, **columns}, geometry=[SQUARE, BOWTIE], crs=crs)


@pytest.mark.parametrize("name", ["a.gpkg", "a.fgb", "a.shp"])
def test_properties_come_first_then_the_geometry(source, name):
    regions().to_file(source.folder / name)
    table, schema, _ = source.take(name, key=("zip",))
    assert schema.columns == (
        Column("zip", "string"),
        Column("n", "int64"),
        Column("f", "float64"),
        Column("geometry", "geometry", "EPSG:4326"),
    )
    assert table.select(list(FRAME)).to_pydict() == FRAME
    assert source.take(name, key=("zip",), pinned=schema)[1] == schema


def test_every_format_gives_the_same_digest(source):
    frame = regions()
    frame.geometry = [MultiPolygon([SQUARE]), MultiPolygon([SQUARE])]
    digests = set()
    for name in ("a.gpkg", "a.fgb", "a.geojson", "a.parquet"):
        frame.to_parquet(source.folder / name) if name.endswith("parquet") else frame.to_file(source.folder / name)
        digests.add(source.take(name, key=("zip",))[2].digest)
    assert len(digests) == 1


@pytest.mark.parametrize("name", ["a.gpkg", "a.fgb"])
def test_nulls_in_a_column_allow_nulls(source, name):
    frame = regions(n=[1, None])
    frame["n"] = frame["n"].astype("Int64")
    frame.to_file(source.folder / name)
    assert source.rows(name)["n"] == [1, None]
    assert source.dtypes(name)["n"] == "Int64"


def test_a_missing_crs_stays_missing_unless_it_is_declared(source):
    with pytest.warns(UserWarning, match="crs"):
        regions(crs=None).to_file(source.folder / "a.shp")
    assert source.take("a.shp")[1].column("geometry").crs is None
    assert source.take("a.shp", crs="EPSG:3857")[1].column("geometry").crs == "EPSG:3857"


def test_a_declared_crs_that_differs_is_an_error(source):
    regions().to_file(source.folder / "a.gpkg")
    error = source.error("a.gpkg", crs="EPSG:32633")
    assert (error.code, dict(error.facts)) == ("crs-mismatch", {"declared": "EPSG:32633", "file": "EPSG:4326"})


def test_a_layer_is_chosen_by_name_and_never_by_chance(source):
    regions().to_file(source.folder / "a.gpkg", layer="one")
    regions(n=[7, 8]).to_file(source.folder / "a.gpkg", layer="two", mode="a")
    assert source.rows("a.gpkg", layer="two")["n"] == [7, 8]
    assert "one, two" in source.error("a.gpkg").render()
    assert "no layer 'three'" in source.error("a.gpkg", layer="three").render()


@pytest.mark.parametrize("name", ["a.gpkg", "a.fgb", "a.shp"])
def test_what_gdal_cannot_open_is_unreadable(source, name):
    source.write(name, b"this is not a map")
    assert (source.error().code, source.error().place) == ("source-unreadable", f"data/{name}")


def test_a_packed_geopackage_is_read(source):
    regions().to_file(source.folder / "a.gpkg")
    (source.folder / "b.gpkg.gz").write_bytes(gzip.compress((source.folder / "a.gpkg").read_bytes()))
    assert source.take("b.gpkg.gz")[2].digest == source.take("a.gpkg")[2].digest


def zipped(source, names=None, **extra):
    """A zipped shapefile, its members under other names where wanted, with more members beside."""
    shapes = source.folder.parent / "shapes"
    shapes.mkdir()
    regions().to_file(shapes / "a.shp")
    with zipfile.ZipFile(source.folder / "a.shp.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(shapes.iterdir()):
            archive.write(path, (names or "{}").format(path.name))
        for name, content in extra.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("names", ["{}", "some/folder/{}"])
def test_a_zipped_shapefile_is_read(source, names):
    zipped(source, names)
    assert source.rows()["zip"] == FRAME["zip"]


@pytest.mark.parametrize("evil", ["../evil.shp", "/etc/evil", "a/../../evil", "..\\evil", "C:\\evil"])
def test_a_member_that_points_out_of_the_archive_is_refused(source, evil):
    zipped(source, **{evil: b"x"})
    error = source.error()
    assert error.code == "source-unreadable"
    assert "out of the archive" in error.render()
    assert sorted(p.name for p in source.folder.parent.iterdir()) == ["data", "scratch", "shapes"]


def test_an_archive_that_unpacks_to_too_much_is_refused(source, monkeypatch):
    zipped(source)
    monkeypatch.setattr(vector, "MAX_ARCHIVE_BYTES", 100)
    assert "unpacks to" in source.error().render()


def test_a_member_that_is_packed_too_well_is_refused(source, monkeypatch):
    monkeypatch.setattr(vector, "_RATIO_FREE_BYTES", 1 << 16)
    zipped(source, **{"a.qpj": bytes(1 << 24)})
    assert "times its size" in source.error().render()


def test_several_shapefiles_need_a_layer(source):
    zipped(source, **{"b.shp": b"x"})
    assert "2 shapefiles" in source.error().render()
    assert source.rows(layer="a")["zip"] == FRAME["zip"]


@pytest.mark.parametrize("content", [b"not a zip", b"PK\x03\x04 cut"])
def test_what_is_no_archive_is_unreadable(source, content):
    source.write("a.shp.zip", content)
    assert source.error().code == "source-unreadable"


def test_a_value_that_does_not_fit_is_named_by_feature(source):
    gpd.GeoDataFrame({"v": ["1", "x"]}, geometry=[Point(0, 0)] * 2, crs=4326).to_file(source.folder / "a.gpkg")
    error = source.error("a.gpkg", columns=(("v", "int64"),))
    assert (error.code, error.place) == ("bad-value", "data/a.gpkg, feature 2")


@pytest.mark.parametrize("name", ["a.gpkg", "a.shp"])
def test_a_layer_without_features_is_an_empty_table(source, name):
    regions().iloc[:0].to_file(source.folder / name)
    table, schema, _ = source.take(name, key=("zip",))
    assert (table.num_rows, schema.names) == (0, ("zip", "n", "f", "geometry"))
    assert schema.column("zip").dtype == "string"


def test_a_crs_that_comes_or_goes_has_drifted(source):
    regions().to_file(source.folder / "a.gpkg")
    pin = source.take("a.gpkg")[1]
    with pytest.warns(UserWarning, match="crs"):
        regions(crs=None).to_file(source.folder / "b.gpkg")
    error = source.error("b.gpkg", pinned=pin)
    assert (error.code, dict(error.facts)["file"]) == ("crs-mismatch", "none")
    bare = source.take("b.gpkg")[1]
    assert source.error("a.gpkg", pinned=bare).code == "crs-mismatch"
    assert source.take("b.gpkg", pinned=bare, crs="EPSG:4326")[1] == pin
