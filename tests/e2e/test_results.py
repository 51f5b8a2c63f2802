"""What a recipe may return, how it is kept, and what a check may refuse."""

import io
import json
from datetime import date
from decimal import Decimal

import geopandas as gpd
import pandas as pd
import pytest

ROWS = 'b.source("a", "data/a.csv", key="id")\n'


@pytest.fixture
def rows(site):
    """A project with one keyed source of three rows."""
    site.write("data/a.csv", "id,g,x\n3,b,1.5\n1,a,\n2,b,2.5\n")
    return site


def only_error(report):
    (failed,) = [t for t in report["targets"] if t["outcome"] == "failed"]
    return failed["error"]


# -- tables ------------------------------------------------------------------------------------------------------------


def test_named_index_levels_become_columns_and_an_unnamed_index_is_dropped(rows):
    rows.recipe(
        ROWS
        + """
@b.recipe(key=["g", "id"])
def named(a: pd.DataFrame):
    return a.set_index(["g", "id"])

@b.recipe
def unnamed(a: pd.DataFrame):
    return a.set_index(pd.Index([7, 8, 9]))

@b.recipe(key="g")
def grouped(a: pd.DataFrame):
    return a.groupby("g")[["x"]].sum()
"""
    )
    rows.built()
    named = rows.load("named")
    assert named[["g", "id"]].values.tolist() == [["a", 1], ["b", 2], ["b", 3]] and list(named.index) == [0, 1, 2]
    assert list(rows.load("unnamed").columns) == ["id", "g", "x"]
    assert rows.load("grouped").to_dict("list") == {"g": ["a", "b"], "x": [0.0, 4.0]}


def test_tables_of_every_kind_say_the_same(rows):
    rows.recipe(
        ROWS
        + """
import dask.dataframe as dd
import pyarrow as pa

@b.recipe(key="id")
def as_pandas(a: pd.DataFrame):
    return a

@b.recipe(key="id")
def as_arrow(a: pa.Table):
    return a

@b.recipe(key="id")
def as_dask(a: pd.DataFrame):
    return dd.from_pandas(a.iloc[::-1].reset_index(drop=True), npartitions=3)

@b.recipe(key="id")
def as_lazy(a: dd.DataFrame):
    return a
"""
    )
    rows.built()
    digests = rows.digests()
    assert len({digests[n] for n in ("as_pandas", "as_arrow", "as_dask", "as_lazy")}) == 1
    assert rows.load("as_dask")["id"].to_list() == [1, 2, 3]


def test_a_dask_result_keeps_the_order_of_an_unkeyed_table_and_spans_its_partitions(site):
    site.recipe("""
    import dask.dataframe as dd

    @b.recipe
    def f():
        frame = pd.DataFrame({"n": range(100, 0, -1), "s": [None] * 50 + ["x"] * 50})
        return dd.from_pandas(frame, npartitions=7, sort=False)

    @b.recipe
    def none():
        return dd.from_pandas(pd.DataFrame({"n": [1, 2]}), npartitions=2).query("n > 5")
    """)
    site.built()
    assert site.load("f")["n"].to_list() == list(range(100, 0, -1))
    assert site.load("f")["s"].isna().sum() == 50
    assert len(site.load("none")) == 0 and list(site.load("none").columns) == ["n"]


def test_a_geodataframe_keeps_its_crs(site):
    site.recipe("""
    import geopandas as gpd
    from shapely.geometry import Point

    @b.recipe(key="id")
    def places():
        return gpd.GeoDataFrame({"id": [2, 1]}, geometry=[Point(2, 0), Point(1, 0)], crs="EPSG:3857")

    @b.recipe
    def after(places):
        return [type(places).__name__, str(places.crs), places.geometry.x.to_list()]
    """)
    site.built()
    assert site.load("after") == ["GeoDataFrame", "EPSG:3857", [1.0, 2.0]]
    found = (
        gpd.read_parquet(site.project.path("places"))
        if (site.root / "out/places.parquet").exists()
        else site.load("places")
    )
    assert found.crs == "EPSG:3857" and found["id"].to_list() == [1, 2]


def test_a_categorical_column_is_its_values(rows):
    rows.recipe(ROWS + '@b.recipe(key="id")\ndef f(a):\n    return a.astype({"g": "category"})\n')
    rows.built()
    assert rows.project.show("f").to_json()["columns"] == {"id": "int64", "g": "string", "x": "float64"}


def test_declared_columns_are_the_output_schema(rows):
    rows.recipe(
        ROWS
        + """
@b.recipe(key="id", columns={"g": "string", "id": "Int64", "x": "decimal(6,2)", "on": "boolean"})
def f(a: pd.DataFrame):
    from decimal import Decimal

    return a.assign(on=[True, None, False], x=[None, Decimal("2.5"), Decimal("1.50")])
"""
    )
    rows.built()
    shown = rows.project.show("f").to_json()
    assert shown["columns"] == {"g": "string", "id": "Int64", "x": "decimal(6,2)", "on": "boolean"}
    assert shown["key"] == ["id"]
    assert rows.load("f")["x"].to_list() == [pd.NA, Decimal("2.50"), Decimal("1.50")]


@pytest.mark.parametrize(
    ("columns", "word"),
    [('{"id": "int64"}', "'g'"), ('{"id": "int64", "g": "string", "x": "float64", "y": "string"}', "'y'")],
)
def test_a_result_with_other_columns_than_declared_is_refused(rows, columns, word):
    rows.recipe(ROWS + f'@b.recipe(key="id", columns={columns})\ndef f(a):\n    return a\n')
    said = only_error(rows.rebuild())
    assert said["code"] == "result-type" and word in said["message"] and said["place"].startswith("recipes/main.py")


@pytest.mark.parametrize(
    ("column", "dtype", "code"),
    [
        ("g", "int64", "result-type"),
        ("x", "int64", "bad-value"),
        ("big", "int64", "bad-value"),
        ("on", "bool", "bad-value"),
    ],
)
def test_a_value_that_its_declared_dtype_cannot_hold_is_refused(rows, column, dtype, code):
    rows.recipe(
        ROWS
        + f"""
@b.recipe(columns={{"{column}": "{dtype}"}})
def f(a: pd.DataFrame):
    return a.assign(big=1e30, on=pd.array([True, None, False], "boolean"))[["{column}"]]
"""
    )
    said = only_error(rows.rebuild())
    assert said["code"] == code and f"'{column}'" in said["message"], said
    assert said["place"].startswith("recipes/main.py") and said["hint"], said


@pytest.mark.parametrize(
    ("returned", "code", "word"),
    [
        ('pd.concat([a, a])', "key-duplicate", "1"),
        ('a.assign(id=[1, None, 2])', "key-null", "id"),
        ('a.drop(columns="id")', "result-type", "id"),
    ],
)  # fmt: skip
def test_the_key_of_a_result_is_checked(rows, returned, code, word):
    rows.recipe(ROWS + f'@b.recipe(key="id")\ndef f(a: pd.DataFrame):\n    return {returned}\n')
    said = only_error(rows.rebuild())
    assert said["code"] == code and word in json.dumps(said) and said["place"], said


# -- other values ------------------------------------------------------------------------------------------------------


def test_json_values_come_back_as_they_were(site):
    site.recipe("""
    import numpy as np

    @b.recipe
    def as_dict():
        return {"b": [1, 2.5, None, True, "é"], "a": {"z": {}, "y": []}}

    @b.recipe
    def as_list():
        return [{"n": np.int64(3)}, np.float64(0.5), np.bool_(True)]

    @b.recipe
    def empty():
        return {}
    """)
    site.built()
    assert site.load("as_dict") == {"a": {"z": {}, "y": []}, "b": [1, 2.5, None, True, "é"]}
    assert site.load("as_list") == [{"n": 3}, 0.5, True]
    assert site.load("empty") == {}
    assert json.loads((site.root / "out/as_dict.json").read_text("utf-8")) == site.load("as_dict")


@pytest.mark.parametrize(
    "returned",
    ["None", "3", '"text"', "{1, 2}", '[float("nan")]', '{"a": object()}', "(1, 2)", "lambda: 1", 'pd.Series([1])'],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused_with_what_can(site, returned):
    site.recipe(f"@b.recipe\ndef f():\n    return {returned}\n")
    said = only_error(site.rebuild())
    assert said["code"] == "result-type" and said["place"] == "recipes/main.py:4" and said["hint"], said


def test_a_dict_with_keys_that_are_no_text_never_changes_in_silence(site):
    site.recipe("@b.recipe\ndef f():\n    return {1: 'a'}\n")
    report = site.rebuild()
    if report["outcome"] == "built":
        assert site.load("f") in ({1: "a"}, {"1": "a"})
    site.recipe("@b.recipe\ndef f():\n    return {1: 'a', '1': 'b'}\n")
    assert site.rebuild()["outcome"] == "failed"


def test_bytes_and_files_come_back_as_they_were(site):
    site.recipe("""
    @b.recipe
    def as_bytes():
        return bytes(range(256))

    @b.recipe
    def as_file():
        path = b.workspace() / "Länge 1.tar.gz"
        path.write_bytes(b"zip")
        return path

    @b.recipe
    def as_folder():
        folder = b.workspace() / "site"
        (folder / "css").mkdir(parents=True)
        (folder / "index.html").write_text("<p>")
        (folder / "css" / "a.css").write_text("p{}")
        return folder

    @b.recipe
    def whole_workspace():
        (b.workspace() / "a.txt").write_text("a")
        return b.workspace()
    """)
    site.built()
    assert site.load("as_bytes") == bytes(range(256)) == (site.root / "out/as_bytes.bin").read_bytes()
    assert site.load("as_file").read_bytes() == b"zip" and site.load("as_file").name == "Länge 1.tar.gz"
    assert (site.root / "out/as_file.gz").read_bytes() == b"zip"
    assert {k: v.read_text() for k, v in site.load("as_folder").items()} == {"css/a.css": "p{}", "index.html": "<p>"}
    assert (site.root / "out/as_folder/css/a.css").read_text() == "p{}"
    assert list(site.load("whole_workspace")) == ["a.txt"]


@pytest.mark.parametrize("path", ['b.workspace() / "missing"', 'Path("/etc/hostname")', 'b.workspace() / ".." / "x"'])
def test_a_path_that_is_not_in_the_workspace_is_refused(site, path):
    site.recipe(f"from pathlib import Path\n@b.recipe\ndef f():\n    return {path}\n")
    assert only_error(site.rebuild())["code"] == "result-type"


FIGURE = """
@b.recipe
def chart(values):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1))
    figure.subplots().plot(values)
    return figure

@b.recipe
def values():
    return [3, 1, 2]
"""


def test_a_figure_is_a_picture_with_the_same_bytes_each_time(site):
    from PIL import Image

    site.recipe(FIGURE)
    site.built()
    first = (site.root / "out/chart.png").read_bytes()
    assert Image.open(io.BytesIO(first)).format == "PNG" and site.load("chart") == first
    assert {t["name"]: t["outcome"] for t in site.built(all=True)["targets"]}["chart"] == "unchanged"
    assert site.project.verify(["chart"], inline=True).is_equal


def test_a_figure_of_pyplot_is_a_picture_too(site):
    site.recipe("""
    @b.recipe
    def chart():
        import matplotlib
        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots()
        axes.bar([1, 2], [3, 4])
        return figure
    """)
    site.built()
    assert site.load("chart").startswith(b"\x89PNG")


# -- several outputs ---------------------------------------------------------------------------------------------------

OUTPUTS = (
    ROWS
    + """
@b.recipe(outputs=("good", "rejects"), publish=True)
def split(a: pd.DataFrame):
    return {"good": a[a["x"].notna()], "rejects": {"ids": a.loc[a["x"].isna(), "id"].to_list()}}

@b.recipe(inputs={"good": "split.good"})
def report(good):
    return good["id"].to_list()

@b.recipe(inputs={"rejects": "split.rejects"})
def other(rejects):
    return rejects
"""
)


def test_each_output_is_a_target_of_its_own(rows):
    rows.recipe(OUTPUTS)
    rows.built()
    assert rows.load("split.good")["id"].to_list() == [2, 3]
    assert rows.load("report") == [2, 3]
    assert rows.load("split.rejects") == {"ids": [1]} == rows.load("other")
    assert (rows.root / "out/split.good.parquet").exists() and (rows.root / "out/split.rejects.json").exists()
    rows.write("data/a.csv", "id,g,x\n3,b,1.5\n1,a,\n2,b,2.5\n4,a,1\n")
    report = {t["name"]: t["outcome"] for t in rows.built()["targets"]}
    assert report["split.good"] == "built" and report["split.rejects"] == "unchanged" and "other" not in report


def test_several_outputs_of_a_family(rows):
    rows.recipe(
        ROWS
        + """
@b.recipe(each={"g": ["a", "b"]}, outputs=("rows", "count"))
def part(a: pd.DataFrame, g):
    own = a[a["g"] == g]
    return {"rows": own, "count": {"n": len(own)}}

@b.recipe(inputs={"parts": "part.rows[*]"})
def together(parts: pd.DataFrame):
    return {"g": parts["g"].to_list(), "id": parts["id"].to_list()}

@b.recipe(each="part", inputs={"count": "part.count[g={g}]"})
def counted(count, g):
    return count
"""
    )
    report = rows.rebuild()
    if report["outcome"] == "failed":  # both the parameter and a column of the member are called g
        rows.recipe(
            (rows.root / "recipes/main.py")
            .read_text()
            .partition("pandas as pd\n\n")[2]
            .replace('"rows": own,', '"rows": own.drop(columns="g"),')
        )
        rows.built()
    assert rows.load("together") == {"g": ["a", "b", "b"], "id": [1, 2, 3]}
    assert rows.load("part.count[g=b]") == {"n": 2} == rows.load("counted[g=b]")


@pytest.mark.parametrize("returned", ['{"good": []}', '{"good": [], "bad": []}', "[]"])
def test_outputs_that_differ_from_the_declared_are_refused(site, returned):
    site.recipe(f'@b.recipe(outputs=("good", "rejects"))\ndef f():\n    return {returned}\n')
    report = site.rebuild()
    assert {t["error"]["code"] for t in report["targets"]} == {"result-type"}
    assert {t["name"] for t in report["targets"]} == {"f.good", "f.rejects"}


# -- checks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "check",
    [
        "def check(frame):\n    assert (frame['id'] < 3).all(), 'id too large'",
        "def check(frame):\n    return bool((frame['id'] < 3).all())",
        "import pandera.pandas as pa\ncheck = pa.DataFrameSchema({'id': pa.Column(int, pa.Check.lt(3))})",
    ],
)
def test_an_output_that_fails_its_check_is_not_published_and_the_old_one_stays(site, check):
    if "pandera" in check:
        pytest.importorskip("pandera")
    site.write("data/a.csv", "id\n1\n2\n")
    site.recipe(ROWS + check + "\n@b.recipe(key='id', check=check)\ndef f(a: pd.DataFrame):\n    return a\n")
    site.built()
    before = (site.root / "out/f.parquet").read_bytes()
    site.write("data/a.csv", "id\n1\n2\n3\n")
    report = site.rebuild()
    said = only_error(report)
    assert (said["code"], report["outcome"], said["place"].partition(":")[0]) == (
        "check-failed",
        "failed",
        "recipes/main.py",
    )
    assert (site.root / "out/f.parquet").read_bytes() == before and site.load("f")["id"].to_list() == [1, 2]
    assert site.states() == {"f": "failed"}
    site.write("data/a.csv", "id\n2\n1\n")
    assert site.ran() == set()
    assert site.states() == {"f": "fresh"}


def test_a_schema_object_with_validate_checks(site):
    site.write("data/a.csv", "id\n1\n2\n")
    site.recipe(
        ROWS
        + """
class Schema:
    def __init__(self, most):
        self.most = most

    def validate(self, frame):
        if frame["id"].max() > self.most:
            raise ValueError("too large")
        return frame

@b.recipe(key="id", check=Schema(5))
def f(a):
    return a

@b.recipe(key="id", check=Schema(1))
def g(a):
    return a
"""
    )
    report = site.rebuild()
    assert {t["name"]: t["outcome"] for t in report["targets"]} == {"f": "built", "g": "failed"}
    assert "too large" in json.dumps(only_error(report))


def test_a_changed_check_is_applied_to_what_stands(site):
    site.write("data/a.csv", "id\n1\n2\n")
    text = ROWS + "@b.recipe(key='id', check=lambda f: len(f) < LIMIT)\ndef f(a):\n    return a\n"
    site.recipe("LIMIT = 5\n" + text)
    site.built()
    site.recipe("LIMIT = 1\n" + text)
    assert only_error(site.rebuild())["code"] == "check-failed"


# -- dtypes ------------------------------------------------------------------------------------------------------------


def test_every_dtype_arrives_as_its_schema_says(site):
    site.recipe("""
    import geopandas as gpd
    from datetime import date, datetime, timezone
    from decimal import Decimal
    from shapely.geometry import Point

    COLUMNS = {
        "id": "int64", "n": "Int64", "on": "bool", "maybe": "boolean", "x": "float64", "s": "string", "d": "date",
        "t": "timestamp", "m": "decimal(10,2)", "raw": "binary", "geometry": "geometry",
    }

    @b.recipe(key="id", columns=COLUMNS)
    def every():
        frame = pd.DataFrame({
            "id": [2, 1], "n": pd.array([None, 2**60], "Int64"), "on": [True, False],
            "maybe": pd.array([None, True], "boolean"), "x": [float("nan"), -0.0], "s": [None, ""],
            "d": [date(2024, 2, 29), None],
            "t": [pd.Timestamp("2024-01-01 12:00", tz="Europe/Vienna"), pd.NaT],
            "m": [Decimal("1.5"), None], "raw": [b"\\x00", None],
        })
        return gpd.GeoDataFrame(frame, geometry=[Point(0, 0), None], crs=4326)

    @b.recipe
    def seen(every):
        return {c: str(t) for c, t in every.dtypes.items()}
    """)
    site.built()
    found = site.load("every")
    assert site.load("seen") == {c: str(t) for c, t in found.dtypes.items()}
    assert found["id"].to_list() == [1, 2]
    assert found["n"].to_list() == [2**60, pd.NA] and str(found["n"].dtype) == "Int64"
    assert str(found["on"].dtype) == "bool" and found["on"].to_list() == [False, True]
    assert (str(found["maybe"].dtype) == "boolean" and found["maybe"][0] is True) or bool(found["maybe"][0])
    assert str(found["x"].dtype) == "float64" and str(found["x"][0]) == "0.0"
    assert found["s"][0] == "" and pd.isna(found["s"][1]) and str(found["s"].dtype).startswith("str")
    assert found["d"][1] == date(2024, 2, 29) and pd.isna(found["d"][0])
    assert str(found["t"].dtype) == "datetime64[us, UTC]" and found["t"][1] == pd.Timestamp(
        "2024-01-01 11:00", tz="UTC"
    )
    assert found["m"][1] == Decimal("1.50") and found["raw"][1] == b"\x00"
    assert found.geometry[1].x == 0.0 and found.geometry[0] is None and found.crs == "EPSG:4326"
