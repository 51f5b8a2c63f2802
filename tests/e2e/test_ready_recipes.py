"""The ready-made recipes in whole builds: their rows, keys and families, and what makes them stale."""

from __future__ import annotations

import json
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from pandas.testing import assert_frame_equal

from builder.compile import choice
from builder.execute import indexes
from builder.tables import write
from builder.transforms import versions

POINTS = """
icao,name,x,y
A,first,0.5,0.5
B,second,1.5,0.5
C,border,1.0,0.5
D,outside,9.0,9.0
E,both,0.9,1.8
"""
BOXES = {"10": (0, 0, 1, 2), "9": (1, 0, 2, 2), "8": (0.8, 1.5, 1.2, 2.5)}
SOURCES = """
b.source("points", "data/points.csv", key="icao", columns={"icao": "string", "x": "float64", "y": "float64"})
b.source("regions", "data/regions.geojson", key="id")
"""
ASSIGN = """
b.assign_regions("placed", points="points", regions="regions", lon="x", lat="y", region_id="id")
"""


def geojson(boxes: dict[str, tuple[float, ...]], **columns: str) -> str:
    """Boxes as a file; each has its id and these properties."""
    features = [
        {
            "type": "Feature",
            "properties": {"id": name, **columns},
            "geometry": shapely.geometry.mapping(shapely.box(*box)),
        }
        for name, box in boxes.items()
    ]
    return json.dumps({"type": "FeatureCollection", "features": features})


@pytest.fixture
def place(site: Any) -> Any:
    """Five points and three boxes, of which one overlaps the others."""
    site.write("data/points.csv", POINTS.lstrip())
    site.write("data/regions.geojson", geojson(BOXES, colour="red"))
    return site


def rows(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    """The rows of a table; null is None."""
    return [tuple(None if v is pd.NA else v for v in row) for row in frame.itertuples(index=False)]


# -- rows and keys ---------------------------------------------------------------------------------------------------


def test_each_point_gets_the_lowest_region_that_it_lies_within(place) -> None:
    place.recipe(SOURCES + ASSIGN)
    place.built()
    placed = place.load("placed")
    assert list(placed.columns) == ["icao", "id"]
    assert rows(placed) == [("A", "10"), ("B", "9"), ("C", None), ("D", None), ("E", "10")]
    assert place.project.show("placed").to_json()["key"] == ["icao"]


def test_a_point_on_a_border_intersects_the_regions_on_both_sides(place) -> None:
    place.recipe(SOURCES + ASSIGN.replace("lon=", 'predicate="intersects", lon='))
    place.built()
    assert rows(place.load("placed")) == [("A", "10"), ("B", "9"), ("C", "10"), ("D", None), ("E", "10")]


def test_with_all_ties_there_is_a_row_for_each_pair(place) -> None:
    place.recipe(SOURCES + ASSIGN.replace("lon=", 'ties="all", keep="name", lon='))
    place.built()
    placed = place.load("placed")
    assert list(placed.columns) == ["icao", "name", "id"]
    pairs = [("A", "first", "10"), ("B", "second", "9"), ("E", "both", "10"), ("E", "both", "8")]
    assert [r for r in rows(placed) if r[2]] == pairs
    assert place.project.show("placed").to_json()["key"] == ["icao", "id"]


def test_unkeyed_points_stay_unkeyed_and_in_order(place) -> None:
    place.recipe((SOURCES + ASSIGN).replace('key="icao", ', "").replace("lon=", 'keep="name", lon='))
    place.built()
    assert place.load("placed")["name"].tolist() == ["first", "second", "border", "outside", "both"]
    assert place.project.show("placed").to_json()["key"] == []


def test_a_region_id_gets_another_name(place) -> None:
    place.recipe(SOURCES + ASSIGN.replace('region_id="id"', 'region_id={"box": "id"}'))
    place.built()
    assert place.load("placed")["box"].isna().tolist() == [False, False, True, True, False]


def test_a_count_follows_an_assignment(place) -> None:
    place.recipe(SOURCES + ASSIGN + 'b.count_by("counts", of="placed", by=["id"], counts="n")\n')
    place.built()
    counts = place.load("counts")
    assert list(counts.columns) == ["id", "n"]
    assert rows(counts) == [("10", 2), ("9", 1)]
    assert place.project.show("counts").to_json()["key"] == ["id"]


def test_sums_and_a_taxonomy_count_every_level(site) -> None:
    site.write("data/sales.csv", "id,kind,amount\n1,apple,3\n2,pear,4\n3,apple,5\n4,bolt,6\n5,,7\n")
    site.write("data/kinds.csv", "code,parent,extra\nall,,x\nfruit,all,x\napple,fruit,x\npear,fruit,x\nbolt,all,x\n")
    site.recipe("""
    b.source("sales", "data/sales.csv", key="id", columns={"amount": "int64"})
    b.source("kinds", "data/kinds.csv", key="code")
    b.count_by("totals", of="sales", by="kind", counts="sold", sums={"worth": "amount"}, taxonomy="kinds")
    """)
    site.built()
    assert rows(site.load("totals")) == [
        ("all", 4, 18), ("apple", 2, 8), ("bolt", 1, 6), ("fruit", 3, 12), ("pear", 1, 4)
    ]  # fmt: skip


def test_smoothed_regions_keep_rows_columns_and_key(place) -> None:
    place.recipe(SOURCES + 'b.smooth_regions("smooth", regions="regions", iterations=1)\n')
    place.built()
    smooth = place.load("smooth")
    assert isinstance(smooth, gpd.GeoDataFrame)
    assert smooth["id"].tolist() == ["10", "8", "9"] and smooth["colour"].tolist() == ["red"] * 3
    assert all(len(shape.exterior.coords) == 9 for shape in smooth.geometry)
    assert place.project.show("smooth").to_json()["key"] == ["id"]


SHOPS = """
id,shop,lon,lat
1,a,0,0
2,a,1,0
3,a,1,1
4,a,0,1
5,b,5,5
6,b,6,5
7,b,6,6
8,,9,9
"""


def test_inferred_regions_are_keyed_by_their_label(site) -> None:
    site.write("data/shops.csv", SHOPS.lstrip())
    site.write("data/land.geojson", geojson({"1": (0, 0, 5.5, 9)}))
    site.recipe("""
    b.source("shops", "data/shops.csv", key="id", columns={"lon": "float64", "lat": "float64"})
    b.source("land", "data/land.geojson", key="id")
    b.infer_regions("hulls", points="shops", by="shop", method="convex")
    b.infer_regions("cells", points="shops", by=["shop"], method="voronoi", outline="land")
    b.infer_regions("dense", points="shops", by="shop", method="clusters", radius_m=120_000, min_points=3)
    b.infer_regions("united", points="dense", by="shop", method="dissolve")
    """)
    site.built()
    hulls = site.load("hulls")
    assert hulls["shop"].tolist() == ["a", "b"] and shapely.area(hulls.geometry.array).tolist() == [1.0, 0.5]
    assert hulls.crs == "EPSG:4326"
    assert site.project.show("hulls").to_json()["key"] == ["shop"]
    assert site.load("cells").total_bounds.tolist() == [0, 0, 5.5, 9]
    assert rows(site.load("dense")[["shop", "cluster"]]) == [("a", 0), ("b", 0)]
    assert site.project.show("dense").to_json()["key"] == ["shop", "cluster"]
    assert shapely.area(site.load("united").geometry.array).round(9).tolist() == [1.0, 0.5]
    assert "unlabelled rows: 1" in site.main("log", "hulls").stdout


# -- families and references -----------------------------------------------------------------------------------------


def test_a_family_fills_every_text(place) -> None:
    place.write("data/a.geojson", geojson({"1": (0, 0, 2, 2)}).replace('"id"', '"a_id"'))
    place.write("data/b.geojson", geojson({"1": (0, 0, 1, 2), "2": (1, 0, 2, 2)}).replace('"id"', '"b_id"'))
    place.recipe(
        SOURCES
        + """
b.source("a_boxes", "data/a.geojson")
b.source("b_boxes", "data/b.geojson")
b.assign_regions("placed", each={"set": ["a", "b"]}, points="points", regions="{set}_boxes", lon="x", lat="y",
                 region_id={"in_{set}": "{set}_id"}, ties="all")
b.count_by("counts", each="placed", of="placed[set={set}]", by="in_{set}", counts="n_{set}")
b.count_by("lone", of="placed[set=b]", by=["in_b"])
"""
    )
    place.built()
    assert list(place.load("placed[set=a]").columns) == ["icao", "in_a"]
    assert rows(place.load("counts[set=a]")) == [("1", 4)]
    assert rows(place.load("counts[set=b]")) == rows(place.load("lone")) == [("1", 2), ("2", 1)]
    assert list(place.load("counts[set=b]").columns) == ["in_b", "n_b"]
    assert place.project.show("counts[set=b]").to_json()["key"] == ["in_b"]


def test_a_member_may_count_by_the_very_column_that_it_sums(site) -> None:
    site.write("data/sold.csv", "id,shop,size\n1,a,2\n2,b,2\n3,a,5\n")
    site.recipe(
        """
b.source("sold", "data/sold.csv", key="id")
b.count_by("by", of="sold", by=["{what}"], each={"what": ["shop", "size"]}, sums={"total": "size"}, counts="n")
"""
    )
    site.built()
    assert rows(site.load("by[what=shop]")) == [("a", 2, 7), ("b", 1, 2)]
    assert rows(site.load("by[what=size]")) == [(2, 2, 4), (5, 1, 5)]


def test_points_may_be_a_whole_family(site) -> None:
    site.write("data/regions.geojson", geojson(BOXES))
    for state, x in (("CA", 0.5), ("WA", 1.5)):
        site.write(f"data/shops/{state}.csv", f"id,x,y\n1,{x},0.5\n2,9,9\n")
    site.recipe("""
    b.source("shops[state={state}]", "data/shops/{state}.csv", key="id")
    b.source("regions", "data/regions.geojson", key="id")
    b.assign_regions("placed", points="shops[*]", regions="regions", lon="x", lat="y", region_id={"box": "id"})
    b.count_by("counts", of="placed", by=["state"])
    """)
    site.built()
    assert rows(site.load("placed")) == [("CA", 1, "10"), ("CA", 2, None), ("WA", 1, "9"), ("WA", 2, None)]
    assert site.project.show("placed").to_json()["key"] == ["state", "id"]
    assert rows(site.load("counts")) == [("CA", 2), ("WA", 2)]


def test_regions_have_their_geometry_by_any_name(place) -> None:
    boxes = gpd.GeoDataFrame({"nr": [1]}, geometry=[shapely.box(0, 0, 2, 2)], crs="EPSG:4326")
    boxes.rename_geometry("outline").to_parquet(place.root / "data/boxes.parquet")
    place.recipe(
        SOURCES
        + """
b.source("boxes", "data/boxes.parquet", key="nr")
b.assign_regions("placed", points="points", regions="boxes", lon="x", lat="y", region_id="nr")
"""
    )
    place.built()
    assert place.load("placed")["nr"].astype("Int64").isna().tolist() == [False, False, False, True, False]


# -- what makes it stale ---------------------------------------------------------------------------------------------


def test_only_the_columns_that_are_read_count(place) -> None:
    place.recipe(SOURCES + ASSIGN + 'b.count_by("counts", of="points", by="y")\n')
    place.built()
    place.write("data/regions.geojson", geojson(BOXES, colour="blue"))
    place.write("data/points.csv", POINTS.lstrip().replace("first", "renamed"))
    assert place.ran() == set()
    place.write("data/regions.geojson", geojson(BOXES | {"7": (8, 8, 10, 10)}, colour="blue"))
    assert place.ran() == {"placed"}
    assert dict(rows(place.load("placed")))["D"] == "7"
    place.write("data/points.csv", POINTS.lstrip().replace("A,first,0.5,0.5", "A,first,1.7,0.5"))
    assert place.ran() == {"placed"}
    assert dict(rows(place.load("placed")))["A"] == "9"


def test_a_new_version_of_a_transform_makes_stale_exactly_what_reaches_it(place, monkeypatch) -> None:
    place.recipe(
        SOURCES
        + ASSIGN
        + """
b.count_by("counts", of="placed", by="id")
@b.recipe
def own(points):
    from builder import transforms as t
    return {"n": len(t.count_by(points, ["name"]))}
@b.recipe
def plain(points):
    return {"n": len(points)}
"""
    )
    place.built()
    monkeypatch.setitem(versions.VERSIONS, "count_by", 9)
    reasons = {t["name"]: t["reasons"] for t in place.project.status().to_json()["targets"] if t["state"] != "fresh"}
    assert set(reasons) == {"counts", "own"}
    assert reasons["counts"] == [{"kind": "recipe", "subject": "counts", "detail": "changed"}]
    explained = place.project.explain("counts").to_json()["reasons"]
    assert "transforms.count_by@9" in json.dumps(explained)
    monkeypatch.setitem(versions.VERSIONS, "RegionIndex", 9)
    states = {n: s for n, s in place.states().items() if s != "fresh"}
    assert states == {"placed": "stale", "counts": "stale", "own": "stale"}


def test_a_changed_declaration_runs_again_and_a_moved_one_does_not(place) -> None:
    place.recipe(SOURCES + ASSIGN)
    place.built()
    place.recipe(SOURCES + "\n\n# the same\n" + ASSIGN.replace(", ", ",  "))
    assert place.ran() == set()
    place.recipe(SOURCES + ASSIGN.replace("lon=", 'predicate="intersects", lon='))
    assert place.ran() == {"placed"}


def test_a_rebuild_from_nothing_gives_the_same(place) -> None:
    place.recipe(SOURCES + ASSIGN + 'b.count_by("counts", of="placed", by="id")\n')
    place.built()
    found = place.project.verify().to_json()["targets"]
    assert {t["name"]: t["equal"] for t in found} == {"placed": True, "counts": True}


# -- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipes", "code", "word"),
    [
        (SOURCES + ASSIGN.replace('lon="x"', 'lon="lon"'), "recipe-error", "'lon'"),
        (SOURCES + ASSIGN.replace('region_id="id"', 'region_id="fips"'), "recipe-error", "'fips'"),
        (
            SOURCES + 'b.assign_regions("placed", points="points", regions="points", lon="x", lat="y", '
            'region_id={"o": "icao"})\n',
            "recipe-error", "geometry",
        ),
        (SOURCES + 'b.count_by("placed", of="points", by="kind")\n', "recipe-error", "'kind'"),
        (SOURCES + 'b.count_by("placed", of="points", by="name", sums={"s": "x"})\n', "bad-value", "'x'"),
    ],
)  # fmt: skip
def test_data_that_do_not_fit_fail_with_their_place(place, recipes, code, word) -> None:
    place.recipe(recipes)
    report = place.rebuild()
    (failed,) = [t["error"] for t in report["targets"]]
    assert failed["code"] == code and word in failed["message"]
    assert failed["place"].startswith("recipes/main.py:") and failed["hint"], failed


def test_regions_that_cannot_be_used_are_told_with_the_recipe(place) -> None:
    bowtie = geojson(BOXES).replace("[[0.0, 0.0], ", "[[0.0, 0.0], ")
    features = json.loads(bowtie)
    features["features"][0]["geometry"]["coordinates"] = [[[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]]
    place.write("data/regions.geojson", json.dumps(features))
    place.recipe(SOURCES + ASSIGN)
    (failed,) = [t["error"] for t in place.rebuild()["targets"]]
    assert failed["code"] == "bad-geometry" and failed["place"].startswith("recipes/main.py:")


@pytest.mark.parametrize("ids", ["text", "date"])
def test_a_region_and_points_in_all_regions_change_though_these_lie_in_several_parts(place, monkeypatch, ids):
    """Where more than 128 MB of regions change; an index that is kept has their ids in as many pieces."""
    monkeypatch.setattr(choice, "always", True)
    monkeypatch.setattr(indexes, "KEPT_FROM_VERTICES", 0)
    monkeypatch.setattr(write, "PART_ROWS", 2)
    boxes: dict[str, tuple[float, ...]] = {f"2024-01-0{i}": (i * 2, 0, i * 2 + 1, 1) for i in range(1, 5)}
    points = [f"p{i},{2 + i % 40 / 5},{i % 7 / 7}" for i in range(200)]
    head = "icao,x,y\n"
    place.write("data/regions.geojson", geojson(boxes))
    place.write("data/points.csv", head + "\n".join(points))
    dtype = {"text": "string", "date": "date"}[ids]
    place.recipe(SOURCES.replace('key="id")', f'key="id", columns={{"id": "{dtype}"}})') + ASSIGN)
    place.built()
    boxes["2024-01-04"] = (8, 0, 9, 0.5)
    place.write("data/regions.geojson", geojson(boxes))
    place.write("data/points.csv", head + "\n".join([*points[100:], *(f"{p}1" for p in points[:100])]))
    (done,) = place.built()["targets"]
    assert done["via"] == "spatial"
    found = place.load("placed").set_index("icao")["id"]
    frame = pd.read_csv(place.root / "data/points.csv")
    for icao, x, y in frame.itertuples(index=False):
        inside = [name for name, (a, b, c, d) in boxes.items() if a < x < c and b < y < d]
        assert ([] if pd.isna(found[icao]) else [str(found[icao])]) == inside


# -- indexes that are kept -------------------------------------------------------------------------------------------


@pytest.fixture
def kept(place, monkeypatch) -> Any:
    """The project built with an index kept in its store, and how many indexes were built since."""
    from builder.transforms import RegionIndex

    monkeypatch.setattr(indexes, "KEPT_FROM_VERTICES", 0)
    place.made = []
    made = RegionIndex.__init__

    def noted(self: Any, regions: Any, *args: Any, **options: Any) -> None:
        if isinstance(regions, gpd.GeoDataFrame):  # others warm up
            place.made.append(len(regions))
        made(self, regions, *args, **options)

    monkeypatch.setattr(RegionIndex, "__init__", noted)
    place.recipe(SOURCES + ASSIGN)
    place.built()
    (place.index,) = (place.root / ".builder/cache/regions").glob("*")
    assert place.index.suffix == ".idx" and place.made == [3]
    return place


def test_another_step_opens_the_index_that_one_built(kept) -> None:
    before = kept.load("placed")
    kept.write("data/points.csv", POINTS.lstrip() + "F,new,1.5,1.5\n")
    assert kept.ran() == {"placed"}
    assert kept.made == [3]
    assert_frame_equal(kept.load("placed").iloc[:5], before)
    assert dict(rows(kept.load("placed")))["F"] == "9"


@pytest.mark.parametrize("harm", ["gone", "empty", "torn", "other", "folder"])
def test_an_index_that_cannot_be_used_is_built_again(kept, harm) -> None:
    content = kept.index.read_bytes()
    kept.index.unlink()
    if harm == "folder":
        kept.index.mkdir()
    elif harm != "gone":
        damaged = {"empty": b"", "torn": content[: len(content) // 2], "other": bytes(len(content))}[harm]
        kept.index.write_bytes(damaged)
    kept.write("data/points.csv", POINTS.lstrip() + "F,new,1.5,1.5\n")
    assert kept.ran() == {"placed"}
    assert len(kept.made) == 2
    assert dict(rows(kept.load("placed"))) == {"A": "10", "B": "9", "C": None, "D": None, "E": "10", "F": "9"}


def test_other_regions_have_another_index_and_collection_takes_what_no_version_needs(kept) -> None:
    kept.write("data/regions.geojson", geojson(BOXES | {"7": (8, 8, 10, 10)}, colour="red"))
    kept.built(all=True)
    assert len(kept.made) == 2
    folder = kept.index.parent
    (new,) = set(folder.iterdir()) - {kept.index}
    kept.project.gc(keep=1)
    assert set(folder.iterdir()) == {new}
    assert kept.ran() == set()


def test_an_update_notes_which_index_it_went_by_and_collection_leaves_both(kept, monkeypatch) -> None:
    monkeypatch.setattr(choice, "always", True)
    folder = kept.index.parent
    for box in ((8, 8, 10, 10), (8, 8, 10, 9.5)):
        kept.write("data/regions.geojson", geojson(BOXES | {"7": box}, colour="red"))
        assert kept.built()["targets"][0]["via"] == "spatial"
        kept.project.gc(keep=1)
        assert {p.suffix for p in folder.iterdir()} == {".idx", ".like"}
        assert kept.index in folder.iterdir()
    assert rows(kept.load("placed"))[3] == ("D", "7")


def test_an_index_does_not_count_other_columns_of_the_regions(kept) -> None:
    kept.write("data/regions.geojson", geojson(BOXES, colour="blue"))
    kept.write("data/points.csv", POINTS.lstrip() + "F,new,1.5,1.5\n")
    kept.built()
    assert kept.made == [3]


def test_a_store_without_room_for_an_index_builds_all_the_same(place, monkeypatch) -> None:
    from builder.store import disk

    def full(operation: str, path: Any) -> None:
        if "cache" in str(path) and operation in ("mkdir", "write"):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(indexes, "KEPT_FROM_VERTICES", 0)
    monkeypatch.setattr(disk, "on_write", full)
    place.recipe(SOURCES + ASSIGN)
    place.built()
    assert place.load("placed")["id"].notna().sum() == 3
    assert not list((place.root / ".builder").rglob("*.idx"))


def test_few_regions_leave_no_index(place) -> None:
    place.recipe(SOURCES + ASSIGN)
    place.built()
    assert not (place.root / ".builder/cache").exists()


def test_declaring_imports_nothing_heavy(site) -> None:
    site.write("data/points.csv", POINTS.lstrip())
    site.write("data/regions.geojson", geojson(BOXES))
    site.write("recipes/main.py", "import builder as b\n" + SOURCES + ASSIGN)
    import subprocess
    import sys

    code = (
        "import sys, builder; builder.open('.').plan();"
        "print(*{'numpy','pandas','pyarrow','numba','geopandas','shapely','dask','scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=site.root, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_on_workers_the_answers_are_the_same(place) -> None:
    generator = np.random.default_rng(4)
    xy = generator.uniform(-1, 3, (500, 2))
    points = pd.DataFrame({"icao": [f"p{i:03}" for i in range(500)], "name": "n", "x": xy[:, 0], "y": xy[:, 1]})
    place.write("data/points.csv", points.to_csv(index=False))
    place.recipe(SOURCES + ASSIGN + 'b.count_by("counts", of="placed", by="id")\n')
    place.built(inline=False, workers=2)
    boxes = gpd.GeoSeries({n: shapely.box(*box) for n, box in BOXES.items()})
    spots = gpd.points_from_xy(points["x"], points["y"])
    inside = [sorted(boxes.index[boxes.contains(spot)]) for spot in spots]
    assert place.load("placed")["id"].astype(object).where(lambda s: s.notna(), None).tolist() == [
        found[0] if found else None for found in inside
    ]
