"""Sources of every format, place and shape: what arrives, what a change does, how a schema is pinned."""

import gzip
import io
import json
import shutil
import subprocess
import sys
import zipfile
from contextlib import ExitStack, contextmanager
from datetime import date
from decimal import Decimal

import fsspec
import geopandas as gpd
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shapely.geometry import MultiPolygon, Point, box

from builder.errors import BuilderError
from builder.formats import vector as vectors

FRAME = pd.DataFrame({"id": [3, 1, 2], "name": ["c", "a", None], "x": [1.5, None, 2.0]})
PLACES = gpd.GeoDataFrame({"id": [2, 1], "name": ["b", "a"]}, geometry=[Point(2, 3), Point(1, 2)], crs=4326)
PASS = "\n@b.recipe(key='id')\ndef copy(src):\n    return src\n"


def source(site, path, extra='key="id"', recipe=PASS):
    site.recipe(f'b.source("src", {path!r}, {extra})\n' + recipe)


def csv_bytes(sep=",", frame=FRAME):
    return frame.to_csv(index=False, sep=sep).encode()


def zstd(content):
    return pa.Codec("zstd").compress(content, asbytes=True)


def parquet_bytes(frame=FRAME):
    target = io.BytesIO()
    frame.to_parquet(target)
    return target.getvalue()


def json_bytes(lines):
    rows = json.loads(FRAME.to_json(orient="records"))
    return "\n".join(map(json.dumps, rows)).encode() if lines else json.dumps(rows).encode()


TABLES = {
    "t.csv": lambda: csv_bytes(),
    "t.CSV": lambda: csv_bytes(),
    "t.tsv": lambda: csv_bytes("\t"),
    "t.csv.gz": lambda: gzip.compress(csv_bytes()),
    "t.csv.zst": lambda: zstd(csv_bytes()),
    "t.tsv.gz": lambda: gzip.compress(csv_bytes("\t")),
    "t.parquet": parquet_bytes,
    "t.json": lambda: json_bytes(False),
    "t.jsonl": lambda: json_bytes(True),
    "t.jsonl.gz": lambda: gzip.compress(json_bytes(True)),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_of_any_format_arrives_with_the_same_values(site, name):
    site.write(f"data/{name}", TABLES[name]())
    source(site, f"data/{name}")
    site.built()
    found = site.load("copy")
    assert found["id"].to_list() == [1, 2, 3] and found["x"].fillna(-1).to_list() == [-1, 2.0, 1.5]
    assert [None if pd.isna(v) else v for v in found["name"]] == ["a", None, "c"]
    assert str(found["x"].dtype) == "float64" and str(found["id"].dtype) in ("int64", "Int64")


def vector(site, name, frame=PLACES):
    folder = site.root / "data"
    folder.mkdir(exist_ok=True)
    if name.endswith(".parquet"):
        frame.to_parquet(folder / name)
    elif name.endswith(".zip"):
        frame.to_file(folder / "inner.shp", engine="pyogrio")
        with zipfile.ZipFile(folder / name, "w") as archive:
            for path in sorted(folder.glob("inner.*")):
                archive.write(path, path.name)
                path.unlink()
    elif name.endswith(".gz"):
        frame.to_file(folder / "plain.geojson", engine="pyogrio")
        (folder / name).write_bytes(gzip.compress((folder / "plain.geojson").read_bytes()))
        (folder / "plain.geojson").unlink()
    else:
        frame.to_file(folder / name, engine="pyogrio")


VECTORS = ["p.geojson", "p.gpkg", "p.fgb", "p.shp", "p.shp.zip", "p.zip", "p.parquet", "p.geojson.gz"]


@pytest.mark.parametrize("name", VECTORS)
def test_geometries_of_any_format_arrive_as_a_geodataframe(site, name):
    vector(site, name)
    source(site, f"data/{name}", 'key="id", format="shp"' if name == "p.zip" else 'key="id"')
    site.built()
    found = site.load("copy")
    assert isinstance(found, gpd.GeoDataFrame) and found.crs == "EPSG:4326", type(found)
    assert found["id"].to_list() == [1, 2] and found["name"].to_list() == ["a", "b"]
    assert found.geometry.x.to_list() == [1.0, 2.0] and found.geometry.y.to_list() == [2.0, 3.0]
    digest = site.project.show("copy").to_json()["columns"]
    assert digest["geometry"].startswith("geometry"), digest


def test_formats_with_the_same_content_have_the_same_digest(site):
    for name in ("a.geojson", "b.gpkg", "c.fgb", "d.parquet"):
        vector(site, name)
    names = {"a": "a.geojson", "b_": "b.gpkg", "c": "c.fgb", "d": "d.parquet"}
    site.recipe(
        "".join(f'b.source("{n}", "data/{p}", key="id", columns={{"id": "int64"}})\n' for n, p in names.items())
        + "".join(f'@b.recipe(key="id")\ndef of_{n}({n}):\n    return {n}[["id", "name", "geometry"]]\n' for n in names)
    )
    site.built()
    digests = site.digests()
    assert len({digests[f"of_{n}"] for n in names}) == 1


def test_crs84_and_epsg_4326_are_one(site):
    (site.root / "data").mkdir()
    PLACES.to_file(site.root / "data/a.geojson", engine="pyogrio")
    PLACES.set_crs("OGC:CRS84", allow_override=True).to_parquet(site.root / "data/b.parquet")
    site.recipe("""
    b.source("a", "data/a.geojson", key="id")
    b.source("other", "data/b.parquet", key="id")

    @b.recipe
    def f(a, other):
        return [str(a.crs) == str(other.crs), bool(a.geometry.geom_equals(other.geometry).all())]
    """)
    site.built()
    assert site.load("f") == [True, True]


def test_other_crss_at_one_recipe_are_refused(site):
    (site.root / "data").mkdir()
    PLACES.to_file(site.root / "data/a.gpkg", engine="pyogrio")
    PLACES.to_crs(3857).to_file(site.root / "data/b.gpkg", engine="pyogrio")
    site.recipe("""
    b.source("a", "data/a.gpkg", key="id")
    b.source("other", "data/b.gpkg", key="id")

    @b.recipe
    def f(a, other):
        return []
    """)
    (failed,) = site.rebuild()["targets"]
    assert failed["error"]["code"] == "crs-mismatch" and "EPSG:3857" in json.dumps(failed["error"])


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_a_missing_crs_is_an_error_and_crs_gives_it(site):
    (site.root / "data").mkdir()
    gpd.GeoDataFrame({"id": [1]}, geometry=[Point(1, 2)]).to_file(site.root / "data/a.shp", engine="pyogrio")
    source(site, "data/a.shp")
    report = site.rebuild()
    codes = {r["error"]["code"] for r in (*report["sources"], *report["targets"]) if r["error"]}
    assert (report["outcome"], codes) in (("built", set()), ("failed", {"crs-missing"}))
    source(site, "data/a.shp", 'key="id", crs="EPSG:3857"')
    site.built()
    assert site.load("copy").crs == "EPSG:3857"


def test_layer_chooses_and_several_layers_without_it_are_refused(site):
    (site.root / "data").mkdir()
    PLACES.to_file(site.root / "data/a.gpkg", layer="one", engine="pyogrio")
    PLACES.assign(name="z").to_file(site.root / "data/a.gpkg", layer="two", engine="pyogrio", mode="a")
    source(site, "data/a.gpkg", 'key="id", layer="two"')
    site.built()
    assert site.load("copy")["name"].to_list() == ["z", "z"]
    source(site, "data/a.gpkg", 'key="id"')
    report = site.rebuild()
    if report["outcome"] == "failed":
        assert "one" in json.dumps(report["sources"][0]["error"]) and "layer" in report["sources"][0]["error"]["hint"]
    else:
        assert site.load("copy")["name"].to_list() == ["a", "b"]


def test_polygons_and_multipolygons_arrive_as_they_are(site):
    (site.root / "data").mkdir()
    shapes = [box(0, 0, 1, 1), MultiPolygon([box(0, 0, 1, 1), box(2, 2, 3, 3)])]
    gpd.GeoDataFrame({"id": [1, 2]}, geometry=shapes, crs=4326).to_file(site.root / "data/a.geojson", engine="pyogrio")
    source(site, "data/a.geojson")
    site.built()
    assert [(g.geom_type, g.area) for g in site.load("copy").geometry] == [("Polygon", 1.0), ("MultiPolygon", 2.0)]


# -- text --------------------------------------------------------------------------------------------------------------


def test_null_empty_and_na_in_text(site):
    site.write("data/a.csv", 'id,s\n1,\n2,""\n3,NA\n4,null\n5,"NA"\n')
    source(site, "data/a.csv")
    site.built()
    assert [None if pd.isna(v) else v for v in site.load("copy")["s"]] == [None, "", "NA", "null", "NA"]
    source(site, "data/a.csv", 'key="id", null=["NA", "null"]')
    assert site.ran() == {"copy"}
    assert [None if pd.isna(v) else v for v in site.load("copy")["s"]] == ["", "", None, None, "NA"]


def test_dialect_is_as_declared(site):
    site.write("data/a.txt", 'id;name\n1;"Müller; Söhne"\n'.encode("latin-1"))
    source(site, "data/a.txt", 'key="id", format="csv", delimiter=";", encoding="latin-1"')
    site.built()
    assert site.load("copy")["name"].to_list() == ["Müller; Söhne"]


def test_declared_dtypes_arrive(site):
    site.write(
        "data/a.csv",
        "id,n,on,m,d,t,x,code\n2,,true,1.50,2024-02-29,2024-01-01T12:00:00+01:00,1e3,007\n1,5,false,,,,,\n",
    )
    columns = (
        '{"id": "int64", "n": "Int64", "on": "bool", "m": "decimal(8,2)", "d": "date", "t": "timestamp", '
        '"x": "float64", "code": "string"}'
    )
    source(site, "data/a.csv", f'key="id", columns={columns}')
    site.built()
    found = site.load("copy")
    assert found["n"].to_list() == [5, pd.NA] and found["on"].to_list() == [False, True]
    assert found["m"][1] == Decimal("1.50") and pd.isna(found["m"][0])
    assert found["d"][1] == date(2024, 2, 29) and found["t"][1] == pd.Timestamp("2024-01-01 11:00", tz="UTC")
    assert found["x"][1] == 1000.0 and found["code"][1] == "007"
    dtypes = {c: str(t) for c, t in found.dtypes.items()}
    assert (dtypes["n"], dtypes["on"], dtypes["t"], dtypes["x"]) == ("Int64", "bool", "datetime64[us, UTC]", "float64")


def test_parquet_dtypes_arrive(site):
    table = pa.table({
        "id": pa.array([2, 1], pa.int32()), "raw": pa.array([b"\x00\xff", None]),
        "m": pa.array([Decimal("1.50"), None]),
        "d": pa.array([date(2024, 2, 29), None]), "t": pa.array([0, 10**9], pa.timestamp("ns", "America/New_York")),
        "on": pa.array([True, None]), "cat": pa.array(["x", "x"]).dictionary_encode(), "big": pa.array([2**60, 1]),
    })  # fmt: skip
    (site.root / "data").mkdir()
    pq.write_table(table, site.root / "data/a.parquet")
    source(site, "data/a.parquet")
    site.built()
    found = site.load("copy")
    assert found["id"].to_list() == [1, 2] and found["raw"][1] == b"\x00\xff" and found["m"][1] == Decimal("1.50")
    assert found["d"][1] == date(2024, 2, 29) and str(found["on"].dtype) == "boolean"
    assert str(found["t"].dtype) == "datetime64[us, UTC]" and found["t"][0] == pd.Timestamp(
        "1970-01-01 00:00:01", tz="UTC"
    )
    assert found["cat"].to_list() == ["x", "x"] and found["big"].to_list() == [1, 2**60]


def test_an_empty_table_is_a_table_and_an_empty_file_is_not(site):
    site.write("data/a.csv", "id,x\n")
    source(site, "data/a.csv", 'key="id", columns={"id": "int64", "x": "float64"}')
    site.built()
    assert len(site.load("copy")) == 0 and list(site.load("copy").columns) == ["id", "x"]
    site.write("data/a.csv", "")
    (failed,) = site.rebuild()["sources"]
    assert failed["error"]["code"] == "source-empty" and len(site.load("copy")) == 0
    pq.write_table(pa.table({"id": pa.array([], pa.int64())}), site.root / "data/b.parquet")
    source(site, "data/b.parquet")
    (site.root / "schemas/src.json").unlink()
    site.built()
    assert list(site.load("copy").columns) == ["id"]


# -- many files --------------------------------------------------------------------------------------------------------


def test_a_star_is_one_source_of_many_files_in_name_order(site):
    for name, row in (("b", "2,x"), ("a", "1,y"), ("c", "0,z")):
        site.write(f"data/days/{name}.csv", f"id,v\n{row}\n")
    source(site, "data/days/*.csv", "", "\n@b.recipe\ndef copy(src):\n    return src\n")
    site.built()
    assert site.load("copy")["v"].to_list() == ["y", "x", "z"]
    source(site, "data/days/*.csv")
    site.built()
    assert site.load("copy")["v"].to_list() == ["z", "y", "x"]
    status = site.project.status().to_json()
    assert (status["sources"][0]["files"], status["sources"][0]["name"]) == (3, "src")


def test_file_column_says_where_a_row_came_from(site):
    site.write("data/days/a.csv", "id\n1\n")
    site.write("data/days/b.csv", "id\n2\n3\n")
    source(site, "data/days/*.csv", 'key="id", file_column="file"')
    site.built()
    assert site.load("copy")[["id", "file"]].values.tolist() == [[1, "a.csv"], [2, "b.csv"], [3, "b.csv"]]


def test_files_that_do_not_agree_are_refused_with_the_file(site):
    site.write("data/days/a.csv", "id,v\n1,2\n")
    site.write("data/days/b.csv", "id,w\n2,3\n")
    source(site, "data/days/*.csv")
    (failed,) = site.rebuild()["sources"]
    assert failed["outcome"] == "failed" and "b.csv" in json.dumps(failed["error"]), failed


def test_many_files_may_be_of_any_format(site):
    for n in range(3):
        vector(site, f"p{n}.geojson", PLACES.assign(id=[2 * n, 2 * n + 1]))
    source(site, "data/p*.geojson")
    site.built()
    assert site.load("copy")["id"].to_list() == list(range(6)) and site.load("copy").crs == "EPSG:4326"


FILES = """
@b.recipe
def copy(src: b.Files):
    return {name: path.read_bytes().decode() for name, path in src.items()}
"""


@pytest.mark.parametrize(
    ("path", "extra", "names"),
    [
        ("data/pdf/", "", ["a.csv", "deep/b.pdf"]),
        ("data/pdf", 'format="file"', ["a.csv", "deep/b.pdf"]),
        ("data/pdf/a.csv", 'format="file"', ["a.csv"]),
        ("data/pdf/*/b.pdf", "", ["deep/b.pdf"]),
        ("data/pdf/deep/*.pdf", "", ["b.pdf"]),
    ],
)
def test_files_arrive_as_they_are(site, path, extra, names):
    site.write("data/pdf/a.csv", "A")
    site.write("data/pdf/deep/b.pdf", "B")
    source(site, path, extra, FILES)
    site.built()
    assert site.load("copy") == {n: n.rpartition("/")[2][0].upper() for n in names}
    assert site.built()["outcome"] == "nothing"
    if len(names) == 2:
        (site.root / "data/pdf/a.csv").rename(site.root / "data/pdf/c.csv")
        assert site.ran() == {"copy"} and list(site.load("copy")) == ["c.csv", "deep/b.pdf"]


# -- places ------------------------------------------------------------------------------------------------------------


def test_a_remote_object_is_taken_in_and_its_change_is_seen(site):
    store = fsspec.filesystem("memory")
    store.pipe("/contract/a.csv", b"id,x\n2,b\n1,a\n")
    source(site, "memory://contract/a.csv")
    site.built()
    assert site.load("copy")["x"].to_list() == ["a", "b"]
    assert site.built()["outcome"] == "nothing"
    store.pipe("/contract/a.csv", b"id,x\n2,b\n1,a\n3,c\n")
    assert site.ran() == {"copy"}
    assert site.load("copy")["x"].to_list() == ["a", "b", "c"]
    store.rm("/contract/a.csv")
    report = site.rebuild()
    assert report["outcome"] == "failed" and site.load("copy")["x"].to_list() == ["a", "b", "c"]
    assert site.project.status().to_json()["sources"][0]["state"] == "missing"


def test_a_remote_family_and_a_remote_pattern(site):
    store = fsspec.filesystem("memory")
    for state in ("CA", "WA"):
        store.pipe(f"/family/{state}.csv", f"id,s\n1,{state}\n".encode())
    site.recipe("""
    b.source("shops[state={state}]", "memory://family/{state}.csv", key="id")
    b.source("every", "memory://family/*.csv", file_column="file")

    @b.recipe(each="shops", key="id")
    def one(shops, state):
        return shops

    @b.recipe
    def copy(every):
        return every["s"].to_list()
    """)
    site.built()
    assert site.load("copy") == ["CA", "WA"] and site.load("one[state=WA]")["s"].to_list() == ["WA"]
    store.pipe("/family/OR.csv", b"id,s\n1,OR\n")
    assert site.ran() == {"one[state=OR]", "copy"} and site.load("copy") == ["CA", "OR", "WA"]
    store.rm("/family", recursive=True)


def test_a_file_url_and_an_absolute_path_are_sources_too(site, tmp_path):
    far = tmp_path / "far"
    far.mkdir()
    (far / "a.csv").write_text("id,x\n1,a\n")
    for path in (f"file://{far}/a.csv", str(far / "a.csv")):
        source(site, path)
        site.built()
        assert site.load("copy")["x"].to_list()[0] == "a"
        (far / "a.csv").write_text(f"id,x\n1,a\n2,{'z' * len(path)}\n")
        assert site.ran() == {"copy"}
        assert len(site.load("copy")) == 2
        (far / "a.csv").write_text("id,x\n1,a\n")


# -- pins --------------------------------------------------------------------------------------------------------------

MEMBERS = """
b.source("shops[state={state}]", "data/shops/{state}.csv", key="id")

@b.recipe(each="shops", key="id")
def clean(shops, state):
    return shops
"""


def test_the_schema_of_a_family_is_found_over_all_its_members(site):
    site.write("data/shops/CA.csv", "id,v,w,only\n1,1,x,\n")
    site.write("data/shops/WA.csv", "id,v,w,only\n1,2.5,,\n2,,y,7\n")
    site.recipe(MEMBERS)
    site.built()
    pin = json.loads((site.root / "schemas/shops.json").read_text())
    assert pin == {"columns": {"id": "int64", "v": "float64", "w": "string", "only": "Int64"}, "key": ["id"]}
    assert {str(site.load(f"clean[state={s}]")["v"].dtype) for s in ("CA", "WA")} == {"float64"}
    assert {str(site.load(f"clean[state={s}]")["only"].dtype) for s in ("CA", "WA")} == {"Int64"}


def test_a_new_member_that_drifts_is_refused_until_it_is_accepted(site):
    site.write("data/shops/CA.csv", "id,v\n1,1\n")
    site.recipe(MEMBERS)
    site.built()
    site.write("data/shops/WA.csv", "id,v\n1,many\n")
    report = site.rebuild()
    (failed,) = [s for s in report["sources"] if s["outcome"] == "failed"]
    assert failed["name"] == "shops[state=WA]" and failed["error"]["code"] in ("schema-drift", "bad-value")
    assert "data/shops/WA.csv" in failed["error"]["place"] and "accept" in failed["error"]["hint"]
    assert site.states() == {"clean[state=CA]": "fresh", "clean[state=WA]": "blocked"}
    site.project.accept("shops")
    assert json.loads((site.root / "schemas/shops.json").read_text())["columns"]["v"] == "string"
    site.built()
    assert site.load("clean[state=WA]")["v"].to_list() == ["many"] and site.load("clean[state=CA]")["v"].to_list() == [
        "1"
    ]


def test_a_family_without_members_has_no_schema_to_accept(site):
    site.write("data/shops/CA.csv", "id,v\n1,1\n")
    site.recipe(MEMBERS)
    site.built()
    (site.root / "data/shops/CA.csv").unlink()
    with pytest.raises(BuilderError) as caught:
        site.project.accept("shops")
    assert (caught.value.code, caught.value.place) == ("source-missing", "data/shops/{state}.csv")
    assert json.loads((site.root / "schemas/shops.json").read_text())["columns"]["v"] == "int64"


def test_a_committed_pin_decides_and_its_change_is_a_change(site):
    site.write("schemas/src.json", '{"columns": {"id": "string", "x": "Int64"}, "key": ["id"]}')
    site.write("data/a.csv", "id,x\n1,2\n")
    source(site, "data/a.csv")
    site.built()
    assert site.load("copy")["id"].to_list() == ["1"] and str(site.load("copy")["x"].dtype) == "Int64"
    site.write("schemas/src.json", '{"columns": {"id": "string", "x": "float64"}, "key": ["id"]}')
    assert site.ran() == {"copy"} and str(site.load("copy")["x"].dtype) == "float64"


def test_a_pinned_column_that_went_missing_is_drift(site):
    site.write("data/a.csv", "id,x\n1,2\n")
    source(site, "data/a.csv")
    site.built()
    site.write("data/a.csv", "id,y\n1,2\n")
    (failed,) = site.rebuild()["sources"]
    assert failed["error"]["code"] == "schema-drift" and "x" in failed["error"]["message"] + json.dumps(
        failed["error"]["facts"]
    )
    site.write("data/a.csv", "x,id\n2,1\n")
    assert site.ran() == set()


@pytest.mark.parametrize("text", ["{", "[]", '{"columns": {"id": "integer"}, "key": []}'])
def test_a_broken_pin_is_a_broken_project(site, text):
    site.write("data/a.csv", "id,x\n1,2\n")
    site.write("schemas/src.json", text)
    source(site, "data/a.csv")
    done = site.command("status", "--json")
    assert done.returncode == 2 and json.loads(done.stdout)["error"]["place"].startswith("schemas/src.json")


WRITER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
    db.execute(f'DROP TRIGGER "{name}"')  # they call functions of GDAL
db.execute("PRAGMA journal_mode = WAL")
for line in sys.stdin:
    db.execute(line)
    print("done", flush=True)
"""


@contextmanager
def writing(file, *statements):
    """A program that has a GeoPackage open and has committed these statements."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdin is not None and writer.stdout is not None
        for statement in statements:
            writer.stdin.write(statement + "\n")
            writer.stdin.flush()
            assert writer.stdout.readline() == "done\n"
        yield


@pytest.mark.parametrize("path", ["data/g.gpkg", "data/*.gpkg", "link/g.gpkg", "link/g.db"])
def test_a_geopackage_that_another_program_writes_has_what_is_in_its_log(site, path):
    """What was committed last stands in a file beside it, until the other program closes it; not beside a link."""
    (site.root / "data").mkdir()
    for at, name in enumerate("gh"):
        PLACES.assign(id=PLACES["id"] + 10 * at).to_file(site.root / f"data/{name}.gpkg", layer="places")
    if path.startswith("link"):
        (site.root / "link").mkdir()
        (site.root / path).symlink_to(site.root / "data/g.gpkg")
    source(site, path, 'key="id", format="gpkg"')
    site.built()
    with writing(site.root / "data/g.gpkg", "UPDATE places SET name = 'new' WHERE id = 2"):
        assert (site.root / "data/g.gpkg-wal").stat().st_size
        assert site.states()["copy"] == "stale"
        site.built()
        assert site.load("copy").set_index("id")["name"][[1, 2]].tolist() == ["a", "new"]
        assert site.states()["copy"] == "fresh"
    site.built()
    assert site.load("copy").set_index("id")["name"][2] == "new"
    assert site.states()["copy"] == "fresh"


def test_geopackages_that_are_alike_but_for_their_logs_are_told_apart(site):
    (site.root / "data").mkdir()
    one, other = (site.root / f"data/{name}.gpkg" for name in "gh")
    PLACES.to_file(one, layer="places")
    with writing(one):
        pass
    shutil.copyfile(one, other)
    source(site, "data/*.gpkg", "", PASS.replace("key='id'", ""))
    change = "UPDATE places SET name = '{}' WHERE id = 2"
    with writing(one, change.format("g")), writing(other, change.format("h")):
        assert one.read_bytes() == other.read_bytes()
        site.built()
        assert site.load("copy")["name"].tolist() == ["g", "a", "h", "a"]


def test_an_open_geopackage_that_is_not_taken_in_is_one_file_to_read(site):
    (site.root / "data").mkdir()
    PLACES.to_file(site.root / "data/g.gpkg", layer="places")
    read = "def names(src: b.Files): return geopandas.read_file(src.path)[['id', 'name']]"
    source(site, "data/g.gpkg", 'format="file"', f"import geopandas\n@b.recipe(key='id')\n{read}")
    site.built()
    with writing(site.root / "data/g.gpkg", "UPDATE places SET name = 'new' WHERE id = 2"):
        assert site.states()["names"] == "stale"
        site.built()
        assert site.load("names")["name"].tolist() == ["a", "new"]


def test_a_log_that_comes_while_a_geopackage_is_read_moves_the_source(site, monkeypatch):
    """What it holds is not what was sensed, and would be taken for that."""
    (site.root / "data").mkdir()
    PLACES.to_file(site.root / "data/g.gpkg", layer="places")
    source(site, "data/g.gpkg")
    with ExitStack() as stack:
        layer = vectors._layer

        def late(*given):
            stack.enter_context(writing(site.root / "data/g.gpkg", "UPDATE places SET name = 'new' WHERE id = 2"))
            return layer(*given)

        situation = site.project.situation()
        monkeypatch.setattr(vectors, "_layer", late)
        assert situation.sources["src"].problem is None
        report = site.rebuild()
    assert report["sources"][0]["error"]["code"] == "source-moved"
    monkeypatch.undo()
    site.built()
    assert site.load("copy").set_index("id")["name"][2] == "new"
