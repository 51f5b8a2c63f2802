"""What stands in ``out/``: which targets, where, readable by any other tool, and apart from the store."""

import json
import os

import geopandas as gpd
import pandas as pd
import pytest

from builder.errors import BuilderError

CHAIN = """
b.source("a", "data/a.csv", key="id")

@b.recipe(key="id"{first})
def first(a):
    return a

@b.recipe(key="id"{second})
def second(first):
    return first

@b.recipe{third}
def third(second):
    return {{"n": len(second)}}
"""


def files(site):
    """Every file below ``out/``."""
    out = site.root / "out"
    return sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()) if out.exists() else []


def chain(site, first="", second="", third=""):
    site.write("data/a.csv", "id,x\n1,2\n2,3\n")
    site.recipe(CHAIN.format(first=first, second=second, third=third))


@pytest.mark.parametrize(
    ("setting", "keywords", "expected"),
    [
        ("", {}, ["third.json"]),
        ('publish = "leaves"', {}, ["third.json"]),
        ('publish = "all"', {}, ["first.parquet", "second.parquet", "third.json"]),
        ('publish = ["first", "th*"]', {}, ["first.parquet", "third.json"]),
        ('publish = ["+second"]', {}, ["first.parquet", "second.parquet"]),
        ("", {"first": ", publish=True", "third": "(publish=False)"}, ["first.parquet"]),
        ('publish = "all"', {"second": ", publish=False"}, ["first.parquet", "third.json"]),
        ("publish = []", {}, []),
    ],
)
def test_what_is_published(site, setting, keywords, expected):
    site.write("builder.toml", setting + "\n")
    chain(site, **keywords)
    site.built()
    assert files(site) == expected


def test_a_change_of_what_is_published_needs_no_recipe(site):
    chain(site)
    site.built()
    site.write("builder.toml", 'publish = "all"\n')
    report = site.built()
    assert report["targets"] == [] and files(site) == ["first.parquet", "second.parquet", "third.json"]
    site.write("builder.toml", 'publish = ["second"]\n')
    assert site.built()["targets"] == [] and files(site) == ["second.parquet"]
    assert site.load("third") == {"n": 2}


def test_out_may_lie_elsewhere(site):
    site.write("builder.toml", 'out = "public/files"\nstore = "state/store"\n')
    chain(site)
    site.built()
    assert json.loads((site.root / "public/files/third.json").read_text()) == {"n": 2}
    assert (site.root / "state/store").is_dir() and not (site.root / ".builder").exists() and files(site) == []


FAMILY = """
b.source("shops[state={state}]", "data/shops/{state}.csv", key="id")

@b.recipe(each=["shops", {"year": [2023, 2024]}], key="id", inputs={"shops": "shops[state={state}]"})
def clean(shops, state, year):
    return shops.assign(size=shops["size"] + year)
"""


def test_a_family_is_a_hive_dataset_that_is_read_whole(site):
    for n, state in enumerate(("CA", "New York")):
        site.write(f"data/shops/{state}.csv", f"id,size\n{n}x,{n}\n{n}y,{n}\n")
    site.recipe(FAMILY)
    site.built()
    assert files(site) == [
        f"clean/state={state}/year={year}/part-0.parquet" for state in ("CA", "New York") for year in (2023, 2024)
    ]
    found = pd.read_parquet(site.root / "out/clean")
    found["state"] = found["state"].astype(str)
    found["year"] = found["year"].astype(int)
    assert sorted(found[["id", "size", "state", "year"]].values.tolist()) == sorted(
        [f"{n}{x}", n + year, state, year]
        for n, state in enumerate(("CA", "New York")) for x in "xy" for year in (2023, 2024)
    )  # fmt: skip
    assert site.project.path("clean") == site.root / "out/clean"
    assert pd.read_parquet(site.project.path("clean[year=2024,state=CA]"))["size"].to_list() == [2024, 2024]


def test_a_column_named_like_a_parameter_does_not_stand_twice_in_a_hive_dataset(site):
    site.recipe("""
    @b.recipe(each={"state": ["CA", "WA"]}, key="id")
    def part(state):
        return pd.DataFrame({"id": [1, 2], "state": state})
    """)
    site.built()
    found = pd.read_parquet(site.root / "out/part")
    assert sorted(zip(found["id"], found["state"].astype(str), strict=True)) == [
        (1, "CA"),
        (1, "WA"),
        (2, "CA"),
        (2, "WA"),
    ]
    assert list(site.load("part[state=CA]").columns) == ["id", "state"]


@pytest.mark.parametrize("value", ["a/b", "..", "a=b", "ü ß", "50%", "x" * 300, "a,b", "a\\b", " ", "A:B*?"])
def test_hostile_values_stay_inside_out_and_are_told_apart(site, value):
    site.recipe(f"""
    @b.recipe(each={{"v": [{value!r}, "other"]}})
    def f(v):
        return pd.DataFrame({{"v2": [v]}})
    """)
    site.built()
    found = files(site)
    assert len(found) == 2 and all(
        p.startswith("f/v=") and p.endswith("/part-0.parquet") and p.count("/") == 2 for p in found
    )
    assert all(len(os.fsencode(part)) <= 255 for p in found for part in p.split("/"))
    assert sorted(pd.read_parquet(site.root / "out/f")["v2"]) == sorted([value, "other"])
    names = [t["name"] for t in site.project.status().to_json()["targets"]]
    assert {site.load(n)["v2"].item() for n in names} == {value, "other"}
    assert site.built()["outcome"] == "nothing"


def test_values_are_percent_encoded_as_readers_decode_them(site):
    site.recipe("""
    @b.recipe(each={"v": ["a/b", "50%", "ü", "a=b", "x[1],*?", " ", ""]})
    def f(v):
        return pd.DataFrame({"same": [v]})
    """)
    site.built()
    found = pd.read_parquet(site.root / "out/f")
    assert len(found) == 7 and found["v"].astype(str).to_list() == found["same"].to_list()


@pytest.mark.parametrize(
    ("kind", "returned", "ending"),
    [("json", '{"s": state}', ".json"), ("bytes", "state.encode()", ".bin"), ("file", "note(state)", ".txt")],
)
def test_members_that_are_no_tables_lie_by_their_values_too(site, kind, returned, ending):
    site.recipe(f"""
    def note(text):
        path = b.workspace() / "note.txt"
        path.write_text(text)
        return path

    @b.recipe(each={{"state": ["CA", "WA"]}})
    def f(state):
        return {returned}
    """)
    site.built()
    assert files(site) == [f"f/state=CA/part-0{ending}", f"f/state=WA/part-0{ending}"]
    assert "CA" in (site.root / f"out/f/state=CA/part-0{ending}").read_text()


def test_geometries_are_geoparquet_with_their_crs(site):
    site.recipe("""
    import geopandas as gpd
    from shapely.geometry import Point, Polygon

    @b.recipe(key="id")
    def metric():
        return gpd.GeoDataFrame({"id": [2, 1]}, geometry=[Point(2, 3), None], crs="EPSG:3857")

    @b.recipe(each={"n": [1, 2]}, key="id")
    def lonlat(n):
        return gpd.GeoDataFrame({"id": [n]}, geometry=[Point(n, 3).buffer(1)], crs="OGC:CRS84")
    """)
    site.built()
    metric = gpd.read_parquet(site.root / "out/metric.parquet")
    assert metric.crs == "EPSG:3857" and metric["id"].to_list() == [1, 2]
    assert metric.geometry[1].coords[0] == (2.0, 3.0) and metric.geometry[0] is None
    lonlat = gpd.read_parquet(site.root / "out/lonlat")
    assert lonlat.crs is not None and lonlat.crs.to_epsg(min_confidence=20) in (4326, None) and len(lonlat) == 2
    assert lonlat.geometry.bounds["minx"].round(6).to_list() == [0.0, 1.0]


def test_published_tables_hold_the_recipes_columns_and_no_more(site):
    chain(site, second=", publish=True")
    site.built()
    found = pd.read_parquet(site.root / "out/second.parquet")
    assert found.to_dict("list") == {"id": [1, 2], "x": [2, 3]} and list(found.index) == [0, 1]


def test_writing_into_a_published_file_does_no_harm_to_the_store(site):
    site.write("builder.toml", 'publish = "all"\n')
    chain(site)
    site.built()
    for name in ("second.parquet", "third.json"):
        path = site.root / "out" / name
        assert path.stat().st_nlink == 1
        os.chmod(path, 0o644)
        with path.open("r+b") as file:
            file.write(b"garbage")
    assert site.load("second").to_dict("list") == {"id": [1, 2], "x": [2, 3]} and site.load("third") == {"n": 2}
    report = site.built()
    assert report["targets"] == [] and sorted(report["published"]) == ["second", "third"]
    assert pd.read_parquet(site.root / "out/second.parquet")["x"].to_list() == [2, 3]
    assert json.loads((site.root / "out/third.json").read_text()) == {"n": 2}
    assert not site.project.fsck().problems


def test_a_published_file_that_was_removed_comes_back_without_a_recipe(site):
    chain(site)
    site.built()
    (site.root / "out/third.json").unlink()
    status = site.command_json("status")
    assert status["totals"]["fresh"] == 3
    assert site.built()["targets"] == [] and files(site) == ["third.json"]
    assert site.built()["outcome"] == "nothing"


def test_a_retired_target_leaves_out_but_not_the_store(site):
    for state in ("CA", "WA"):
        site.write(f"data/shops/{state}.csv", "id,size\n1,2\n")
    site.recipe(FAMILY.replace("[2023, 2024]", "[2024]"))
    first = site.built()["run"]
    (site.root / "data/shops/WA.csv").unlink()
    report = site.built()
    assert files(site) == ["clean/state=CA/year=2024/part-0.parquet"]
    assert "clean[state=WA,year=2024]" in report["retired"]
    assert site.project.load("clean[state=WA,year=2024]", run=first)["size"].to_list() == [2026]
    site.write("data/shops/WA.csv", "id,size\n1,2\n")
    report = site.built()
    assert {t["name"]: t["outcome"] for t in report["targets"]} == {"clean[state=WA,year=2024]": "restored"}
    assert len(files(site)) == 2


def test_a_retired_recipe_leaves_out_with_its_folder(site):
    site.recipe('@b.recipe(each={"n": [1]})\ndef f(n):\n    return [n]\n\n@b.recipe\ndef g():\n    return []\n')
    site.built()
    site.recipe("@b.recipe\ndef g():\n    return []\n")
    site.built()
    assert files(site) == ["g.json"] and not (site.root / "out/f").exists()


def test_a_target_that_becomes_another_kind_leaves_one_file(site):
    site.recipe("@b.recipe\ndef f():\n    return [1]\n")
    site.built()
    site.recipe('@b.recipe\ndef f():\n    return pd.DataFrame({"n": [1]})\n')
    site.built()
    assert files(site) == ["f.parquet"]
    site.recipe('@b.recipe\ndef f():\n    (b.workspace() / "x.txt").write_text("x")\n    return b.workspace()\n')
    site.built()
    assert files(site) == ["f/x.txt"]
    site.recipe("@b.recipe\ndef f():\n    return b'1'\n")
    site.built()
    assert files(site) == ["f.bin"]


def test_files_of_others_in_out_stay(site):
    chain(site)
    site.write("out/notes/mine.txt", "mine")
    site.built()
    site.recipe("@b.recipe\ndef g():\n    return []\n")
    site.built()
    assert files(site) == ["g.json", "notes/mine.txt"]


def test_an_output_that_lies_in_the_place_of_anothers_is_refused_or_told_apart(site):
    site.recipe("""
    @b.recipe(outputs=("a", "b"))
    def f():
        return {"a": [1], "b": [2]}

    @b.recipe
    def F():
        return [3]
    """)
    site.built()
    assert {p: json.loads((site.root / "out" / p).read_text()) for p in files(site)} == {
        "F.json": [3], "f.a.json": [1], "f.b.json": [2]
    }  # fmt: skip


def test_a_target_that_is_not_published_has_no_path(site):
    chain(site)
    site.built()
    with pytest.raises(BuilderError) as caught:
        site.project.path("first")
    assert caught.value.code == "unknown-target" and "publish" in caught.value.hint
    assert site.project.path("third") == site.root / "out/third.json"


def test_a_large_table_is_one_file_in_order_of_its_key(site):
    site.recipe("""
    @b.recipe(key="id")
    def f():
        return pd.DataFrame({"id": range(300_000, 0, -1)})
    """)
    site.built()
    found = pd.read_parquet(site.root / "out/f.parquet")
    assert found["id"].to_list() == list(range(1, 300_001))
