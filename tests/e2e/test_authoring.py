"""How recipes are written: families, inputs, defaults, loops, and what each annotation makes arrive."""

import json
from datetime import date

import pytest

from builder.errors import BuilderError

SHOPS = 'shops = b.source("shops[state={state}]", "data/shops/{state}.csv", key="id")\n'
POINTS = {
    "type": "FeatureCollection",
    "features": [
        {"type": "Feature", "properties": {"id": n}, "geometry": {"type": "Point", "coordinates": [n, n + 0.5]}}
        for n in (2, 1)
    ],
}


def shops(site, *states):
    for n, state in enumerate(states):
        site.write(f"data/shops/{state}.csv", f"id,size\n{state}-b,{n + 1}\n{state}-a,{n + 10}\n")


def targets(site):
    return [t["name"] for t in site.project.status().to_json()["targets"]]


# -- families ----------------------------------------------------------------------------------------------------------


def test_a_capture_makes_one_member_per_file(site):
    shops(site, "WA", "CA")
    site.recipe(
        SHOPS
        + """
@b.recipe(each="shops", inputs={"shops": "shops[state={state}]"}, key="id")
def clean(shops, state, min_size=3):
    return shops[shops["size"] >= min_size].assign(state=state)
"""
    )
    site.built()
    assert targets(site) == ["clean[state=CA]", "clean[state=WA]"]
    assert site.load("clean[state=WA]").to_dict("list") == {"id": ["WA-a"], "size": [10], "state": ["WA"]}
    assert site.load("clean[state=CA]").to_dict("list") == {"id": ["CA-a"], "size": [11], "state": ["CA"]}


def test_a_bare_name_of_a_family_is_the_member_with_the_steps_own_parameters(site):
    shops(site, "WA", "CA")
    site.recipe(
        SHOPS
        + """
@b.recipe(each="shops")
def clean(shops, state):
    return {state: shops["id"].to_list()}

@b.recipe(each="clean")
def after(clean, state):
    return [state, clean]
"""
    )
    site.built()
    assert site.load("after[state=WA]") == ["WA", {"WA": ["WA-a", "WA-b"]}]


def test_two_captures_make_members_of_both(site):
    for state, year in (("CA", 2023), ("CA", 2024), ("WA", 2024)):
        site.write(f"data/{year}/{state}.csv", f"id\n{state}{year}\n")
    site.recipe("""
    b.source("sales[state={state},year={year}]", "data/{year}/{state}.csv", key="id")

    @b.recipe(each="sales")
    def one(sales, state, year):
        return [state, year, sales["id"].item()]

    @b.recipe(each={"state": ["CA", "WA"]}, inputs={"years": "one[state={state},*]"})
    def per_state(years, state):
        return {k: v for k, v in years.items()}
    """)
    site.built()
    assert site.load("one[state=CA,year=2023]") == ["CA", "2023", "CA2023"]
    assert site.load("per_state[state=CA]") == {
        "one[state=CA,year=2023]": ["CA", "2023", "CA2023"],
        "one[state=CA,year=2024]": ["CA", "2024", "CA2024"],
    }
    assert list(site.load("per_state[state=WA]")) == ["one[state=WA,year=2024]"]


def test_parameters_stand_in_declaration_order_of_the_name(site):
    site.write("data/2024/CA.csv", "id\n1\n")
    site.recipe('b.source("sales[state={state},year={year}]", "data/{year}/{state}.csv", key="id")\n'
                '@b.recipe(each="sales")\ndef one(sales, year, state):\n    return [state, year]\n')  # fmt: skip
    site.built()
    assert targets(site) == ["one[state=CA,year=2024]"]
    assert site.load("one[state=CA,year=2024]") == ["CA", "2024"]


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        ('{"state": ["CA", "WA"], "year": [2023, 2024]}',
         ["f[state=CA,year=2023]", "f[state=CA,year=2024]", "f[state=WA,year=2023]", "f[state=WA,year=2024]"]),
        ('[{"state": "CA", "year": 1}, {"state": "WA", "year": 2}]', ["f[state=CA,year=1]", "f[state=WA,year=2]"]),
        ('["shops", {"year": [1, 2]}]',
         ["f[state=CA,year=1]", "f[state=CA,year=2]", "f[state=WA,year=1]", "f[state=WA,year=2]"]),
        ('[{"state": ["CA"]}, {"year": [1, 2]}]', ["f[state=CA,year=1]", "f[state=CA,year=2]"]),
        ('[[{"state": "CA"}, {"state": "OR"}], {"year": [1, 2]}]',
         ["f[state=CA,year=1]", "f[state=CA,year=2]", "f[state=OR,year=1]", "f[state=OR,year=2]"]),
        ('{"state": ("CA",), "year": range(2)}', ["f[state=CA,year=0]", "f[state=CA,year=1]"]),
    ],
)  # fmt: skip
def test_each_in_all_its_forms(site, each, expected):
    shops(site, "WA", "CA")
    site.recipe(SHOPS + f"@b.recipe(each={each})\ndef f(state, year):\n    return [state, year]\n")
    report = site.built(targets=["f"])
    assert sorted(t["name"] for t in report["targets"]) == sorted(expected)
    assert targets(site) == expected
    for name in expected:
        assert [str(v) for v in site.load(name)] == [p.partition("=")[2] for p in name[2:-1].split(",")]


def test_values_keep_their_type(site):
    site.recipe("""
    from datetime import date

    @b.recipe(each=[{"v": True}, {"v": 1}, {"v": "one"}, {"v": date(2024, 2, 29)}])
    def typed(v):
        return [type(v).__name__, str(v)]
    """)
    site.built()
    found = {k: site.load(k) for k in targets(site)}
    assert sorted(found.values()) == [["bool", "True"], ["date", "2024-02-29"], ["int", "1"], ["str", "one"]]
    shown = {t["name"]: t["params"]["v"] for t in site.command_json("status")["targets"]}
    assert shown["typed[v=1]"] == 1 and shown["typed[v=true]"] is True and shown["typed[v=one]"] == "one"
    assert shown["typed[v=2024-02-29]"] == "2024-02-29"


def test_values_of_other_types_are_refused(site):
    site.recipe('@b.recipe(each={"v": [1.5]})\ndef f(v):\n    return []\n')
    with pytest.raises(BuilderError) as caught:
        site.project.status()
    assert caught.value.code == "recipe-declaration" and "'v'" in caught.value.message + str(caught.value.render())


def test_the_same_member_twice_is_refused(site):
    site.recipe('@b.recipe(each={"v": [1, 1]})\ndef f(v):\n    return []\n')
    with pytest.raises(BuilderError) as caught:
        site.project.status()
    assert caught.value.code == "duplicate-name"


def test_recipes_may_be_made_in_a_loop(site):
    site.write("data/a.csv", "id\n1\n2\n")
    site.recipe("""
    b.source("a", "data/a.csv", key="id")
    for factor in (2, 3):
        @b.recipe(name=f"times_{factor}")
        def times(a, factor=factor):
            return (a["id"] * factor).to_list()

    def make(power):
        @b.recipe(name=f"power_{power}", inputs={"rows": "a"})
        def inner(rows):
            return (rows["id"] ** power).to_list()

    for power in (1, 2):
        make(power)
    """)
    site.built()
    assert {n: site.load(n) for n in targets(site)} == {
        "times_2": [2, 4], "times_3": [3, 6], "power_1": [1, 2], "power_2": [1, 4]
    }  # fmt: skip


# -- inputs ------------------------------------------------------------------------------------------------------------


def test_a_parameter_with_a_default_that_nothing_names_keeps_it(site):
    site.write("data/a.csv", "id\n1\n")
    site.recipe("""
    b.source("a", "data/a.csv", key="id")

    @b.recipe
    def f(a, limit=3, *, b=None, a2=(1, 2)):
        return [limit, b, list(a2)]
    """)
    site.built()
    assert site.load("f") == [3, None, [1, 2]]


def test_a_parameter_named_like_a_source_keeps_its_default(site):
    site.write("data/a.csv", "id\n1\n")
    site.recipe("""
    b.source("a", "data/a.csv", key="id")

    @b.recipe
    def f(a=7):
        return [a]

    @b.recipe(inputs={"a": "a"})
    def g(a=7):
        return a["id"].to_list()
    """)
    site.built()
    assert (site.load("f"), site.load("g")) == ([7], [1])


def test_inputs_may_be_a_function_of_the_parameters(site):
    site.write("data/base.csv", "id\n1\n")
    site.recipe("""
    b.source("base", "data/base.csv", key="id")

    def previous(year):
        return {"before": "chain[year={year}]".format(year=year - 1) if year > 2022 else "base"}

    @b.recipe(each={"year": [2022, 2023, 2024]}, inputs=previous)
    def chain(before, year):
        return [year, before if isinstance(before, list) else len(before)]
    """)
    site.built()
    assert site.load("chain[year=2024]") == [2024, [2023, [2022, 1]]]


def test_a_list_of_references_arrives_as_a_mapping_by_full_name(site):
    shops(site, "CA", "WA")
    site.write("data/a.csv", "id\nx\n")
    site.recipe(
        SHOPS
        + """
b.source("a", "data/a.csv", key="id")

@b.recipe(inputs={"many": ["a", "shops[state=WA]", "shops[*]"]})
def f(many):
    return {name: table["id"].to_list() for name, table in many.items()}

@b.recipe(inputs={"many": ["a", "shops[*]"]})
def g(many: pd.DataFrame):
    return [type(many["a"]).__name__, len(many), "a" in many]
"""
    )
    site.built()
    assert site.load("f") == {
        "a": ["x"], "shops[state=WA]": ["WA-a", "WA-b"], "shops[state=CA]": ["CA-a", "CA-b"]
    }  # fmt: skip
    assert site.load("g") == ["DataFrame", 3, True]


def test_read_of_columns_gives_just_them_in_the_order_asked_for(site):
    site.write("data/a.csv", "id,x,y\n2,5,b\n1,6,a\n")
    site.recipe("""
    b.source("a", "data/a.csv", key="id")

    @b.recipe(inputs={"t": b.read("a", columns=["y", "id"])})
    def f(t):
        return {"columns": list(t.columns), "rows": t.values.tolist()}

    @b.recipe(inputs={"t": b.read("a", columns="y")})
    def g(t):
        return {"columns": list(t.columns), "rows": t["y"].to_list()}
    """)
    site.built()
    assert site.load("f") == {"columns": ["y", "id"], "rows": [["a", 1], ["b", 2]]}
    assert site.load("g") == {"columns": ["y"], "rows": ["a", "b"]}
    site.write("data/a.csv", "id,x,y\n2,50,b\n1,6,a\n")
    assert site.ran() == set()


def test_read_of_a_column_that_is_not_there_says_so(site):
    site.write("data/a.csv", "id,x\n1,2\n")
    site.recipe("""
    b.source("a", "data/a.csv", key="id")

    @b.recipe(inputs={"t": b.read("a", columns=["xx"])})
    def f(t):
        return []
    """)
    (target,) = site.rebuild()["targets"]
    assert target["outcome"] == "failed"
    assert "'xx'" in target["error"]["message"] and target["error"]["code"] != "internal", target["error"]


def test_a_read_of_some_rows_is_filtered_or_not_available_yet(site):
    site.write("data/a.csv", "id,x,y\n1,a,7\n2,b,8\n3,a,7\n")
    site.recipe("""
    import dask.dataframe as dd
    import pyarrow as pa

    b.source("a", "data/a.csv", key="id")

    @b.recipe(each={"x": ["a", "b"]}, inputs={"t": b.read("a", where={"x": "{x}"})})
    def f(t, x):
        return t["id"].to_list()

    @b.recipe(each={"y": [7, 8]}, inputs={"t": b.read("a", columns=["id"], where={"y": "{y}"})})
    def g(t: pa.Table, y):
        return [t.column_names, t["id"].to_pylist()]

    @b.recipe(inputs={"t": b.read("a", where={"x": "a", "y": 7})})
    def h(t: dd.DataFrame):
        return t.compute()["id"].to_list()
    """)
    site.built()
    assert (site.load("f[x=a]"), site.load("f[x=b]")) == ([1, 3], [2])
    assert (site.load("g[y=7]"), site.load("g[y=8]"), site.load("h")) == ([["id"], [1, 3]], [["id"], [2]], [1, 3])
    site.write("data/a.csv", "id,x,y\n1,a,7\n2,b,8\n3,a,7\n4,b,7\n")
    site.built()
    assert (site.load("f[x=a]"), site.load("f[x=b]")) == ([1, 3], [2, 4])
    assert (site.load("g[y=7]"), site.load("g[y=8]"), site.load("h")) == ([["id"], [1, 3, 4]], [["id"], [2]], [1, 3])


def test_references_fill_in_parameters(site):
    shops(site, "CA", "WA")
    site.recipe(
        SHOPS
        + """
@b.recipe(
    each=[{"a": "CA", "b": "WA"}],
    inputs={"x": "shops[state={a}]", "y": b.read("shops[state={b}]", columns=["id"])},
)
def pair(x, y, a, b):
    return [x["id"].to_list(), y.values.tolist()]

@b.recipe(each={"kind": ["left", "right"]}, inputs={"x": "{kind}_part"})
def chosen(x, kind):
    return x

@b.recipe
def left_part():
    return ["l"]

@b.recipe
def right_part():
    return ["r"]
"""
    )
    site.built()
    assert site.load("pair[a=CA,b=WA]") == [["CA-a", "CA-b"], [["WA-a"], ["WA-b"]]]
    assert (site.load("chosen[kind=left]"), site.load("chosen[kind=right]")) == (["l"], ["r"])


# -- gathers -----------------------------------------------------------------------------------------------------------

GATHER = (
    SHOPS
    + """
@b.recipe(each="shops", key="id")
def clean(shops, state):
    return shops
"""
)


def test_a_gather_with_an_annotation_is_one_table_with_the_parameters_first(site):
    shops(site, "WA", "CA")
    site.recipe(
        GATHER
        + """
import pyarrow as pa
import dask.dataframe as dd

@b.recipe(inputs={"parts": "clean[*]"})
def all_pd(parts: pd.DataFrame):
    assert list(parts.columns) == ["state", "id", "size"] and list(parts.index) == [0, 1, 2, 3]
    return parts

@b.recipe(inputs={"parts": "clean[*]"})
def all_pa(parts: pa.Table):
    assert isinstance(parts, pa.Table)
    return parts

@b.recipe(inputs={"parts": "clean[*]"})
def all_dd(parts: dd.DataFrame):
    assert isinstance(parts, dd.DataFrame)
    return parts.compute()

@b.recipe(inputs={"parts": b.read("clean[*]", columns=["id"])})
def ids(parts: pd.DataFrame):
    return parts
"""
    )
    site.built()
    rows = {"state": ["CA", "CA", "WA", "WA"], "id": ["CA-a", "CA-b", "WA-a", "WA-b"], "size": [11, 2, 10, 1]}
    for name in ("all_pd", "all_pa", "all_dd"):
        assert site.load(name).to_dict("list") == rows, name
    assert site.load("ids").to_dict("list") == {k: rows[k] for k in ("state", "id")}


def test_a_gather_without_annotation_is_a_lazy_mapping(site):
    shops(site, "WA", "CA")
    site.recipe(
        GATHER
        + """
@b.recipe(inputs={"parts": "clean[*]"})
def f(parts):
    assert not isinstance(parts, dict)
    return {name: len(part) for name, part in parts.items()}
"""
    )
    site.built()
    assert site.load("f") == {"clean[state=CA]": 2, "clean[state=WA]": 2}


def test_a_gather_keeps_the_type_of_its_parameters(site):
    site.recipe("""
    from datetime import date

    DAYS = [date(2024, 1, 2), date(2024, 1, 3)]

    @b.recipe(each=[{"year": 2023, "on": True, "day": DAYS[0]}, {"year": 2024, "on": False, "day": DAYS[1]}])
    def part(year, on, day):
        return pd.DataFrame({"v": [year]})

    @b.recipe(inputs={"parts": "part[*]"})
    def f(parts: pd.DataFrame):
        return parts
    """)
    site.built()
    found = site.load("f")
    assert found[["year", "on", "v"]].to_dict("list") == {"year": [2023, 2024], "on": [True, False], "v": [2023, 2024]}
    assert found["day"].to_list() == [date(2024, 1, 2), date(2024, 1, 3)]


def test_a_gather_of_a_family_without_members_is_empty(site):
    site.write("data/shops/.keep", "")
    site.recipe(
        SHOPS
        + """
@b.recipe(inputs={"parts": "shops[*]"})
def f(parts):
    return [len(parts)]
"""
    )
    site.built()
    assert site.load("f") == [0]


# -- what arrives ------------------------------------------------------------------------------------------------------


def test_the_annotation_says_what_arrives(site):
    site.write("data/a.csv", "id,x\n2,b\n1,a\n")
    site.write("data/p.geojson", json.dumps(POINTS))
    site.recipe("""
    import geopandas as gpd
    import pyarrow as pa
    import dask.dataframe as dd
    import dask.dataframe

    b.source("a", "data/a.csv", key="id")
    b.source("p", "data/p.geojson", key="id")

    def say(value):
        return f"{type(value).__module__.split('.')[0]}.{type(value).__name__}"

    @b.recipe
    def kinds(a, p):
        return [say(a), say(p)]

    @b.recipe
    def a_pd(a: pd.DataFrame, p: pd.DataFrame):
        return [say(a), say(p), list(a.index), list(a.columns), a["id"].to_list()]

    @b.recipe
    def p_gpd(p: gpd.GeoDataFrame):
        return [say(p), str(p.crs), p.geometry.x.to_list()]

    @b.recipe
    def a_pa(a: pa.Table, p: pa.Table):
        return [say(a), a.column_names, a["id"].to_pylist(), p.column_names]

    @b.recipe
    def a_dd(a: dd.DataFrame):
        return [say(a), a.compute()["x"].to_list()]

    @b.recipe
    def a_dd_long(a: "dask.dataframe.DataFrame"):
        return [say(a), a.compute()["x"].to_list()]
    """)
    site.built()
    assert site.load("kinds") == ["pandas.DataFrame", "geopandas.GeoDataFrame"]
    assert site.load("a_pd") == ["pandas.DataFrame", "pandas.DataFrame", [0, 1], ["id", "x"], [1, 2]]
    assert site.load("p_gpd") == ["geopandas.GeoDataFrame", "EPSG:4326", [1.0, 2.0]]
    assert site.load("a_pa") == ["pyarrow.Table", ["id", "x"], [1, 2], ["id", "geometry"]]
    assert site.load("a_dd") == site.load("a_dd_long") == ["dask.DataFrame", ["a", "b"]]


def test_annotations_as_text_are_understood(site):
    site.write("data/a.csv", "id\n1\n")
    site.write(
        "recipes/main.py",
        """
    from __future__ import annotations
    import builder as b
    import pyarrow as pa
    import pandas

    b.source("a", "data/a.csv", key="id")

    @b.recipe
    def f(a: pa.Table) -> list:
        return [type(a).__name__]

    @b.recipe
    def g(a: pandas.DataFrame) -> list:
        return [type(a).__name__]
    """,
    )
    site.built()
    assert (site.load("f"), site.load("g")) == (["Table"], ["DataFrame"])


def test_files_arrive_by_their_names_relative_to_the_source(site):
    site.write("data/raw/a.bin", b"one")
    site.write("data/raw/sub/b.bin", b"two")
    site.write("notes.txt", "hello")
    site.recipe("""
    b.source("raw", "data/raw/", format="file")
    b.source("notes", "notes.txt")

    @b.recipe
    def f(raw: b.Files, notes: b.Files):
        return [{name: path.read_bytes().decode() for name, path in raw.items()}, list(notes), notes.path.read_text()]

    @b.recipe
    def g(raw, notes):
        return [sorted(raw), type(notes).__name__]
    """)
    site.built()
    assert site.load("f") == [{"a.bin": "one", "sub/b.bin": "two"}, ["notes.txt"], "hello"]
    assert site.load("g") == [["a.bin", "sub/b.bin"], "Files"]


def test_without_annotation_what_the_upstream_returned_arrives(site):
    site.recipe("""
    @b.recipe
    def as_json():
        return {"a": [1, 2.5, None, "x", True]}

    @b.recipe
    def as_bytes():
        return b"\\x00\\xff"

    @b.recipe
    def as_path():
        path = b.workspace() / "note.txt"
        path.write_text("said")
        return path

    @b.recipe
    def as_folder():
        folder = b.workspace() / "many"
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "a.txt").write_text("A")
        (folder / "b.txt").write_text("B")
        return folder

    @b.recipe
    def f(as_json, as_bytes, as_path, as_folder):
        files = {k: v.read_text() for k, v in as_folder.items()}
        return [as_json, list(as_bytes), as_path.name, as_path.read_text(), files]
    """)
    site.built()
    assert site.load("f") == [
        {"a": [1, 2.5, None, "x", True]}, [0, 255], "note.txt", "said", {"b.txt": "B", "deep/a.txt": "A"}
    ]  # fmt: skip
    assert site.load("as_path").read_text() == "said" and site.load("as_path").name == "note.txt"


def test_an_annotation_that_asks_for_a_table_of_what_is_none_says_so(site):
    site.recipe("""
    @b.recipe
    def as_json():
        return {"a": 1}

    @b.recipe
    def f(as_json: pd.DataFrame):
        return []
    """)
    failed = [t for t in site.rebuild()["targets"] if t["outcome"] == "failed"]
    assert [(t["name"], t["error"]["code"]) for t in failed] == [("f", "recipe-error")]
    assert "as_json" in failed[0]["error"]["message"] and failed[0]["error"]["hint"]


# -- what comes later --------------------------------------------------------------------------------------------------


def test_rows_and_groups_give_what_the_whole_table_gives(site):
    site.write("data/a.csv", "id,g,x\n3,b,1\n1,a,2\n2,b,3\n")
    site.recipe("""
    b.source("a", "data/a.csv", key="id")

    @b.recipe(key="id", grain=b.rows("a"))
    def double(a: pd.DataFrame):
        return a.assign(x=a["x"] * 2)

    @b.recipe(key="g", grain=b.groups("g", "double"))
    def sums(double: pd.DataFrame):
        return double.groupby("g", as_index=False)["x"].sum()

    @b.recipe(key="g", grain=b.groups(["g"], of="double"), policy="auto")
    def tops(double):
        return double.groupby("g", as_index=False)["x"].max()
    """)
    site.built()
    assert site.load("double").to_dict("list") == {"id": [1, 2, 3], "g": ["a", "b", "b"], "x": [4, 6, 2]}
    assert site.load("sums").to_dict("list") == {"g": ["a", "b"], "x": [4, 8]}
    site.write("data/a.csv", "id,g,x\n3,b,10\n1,a,2\n4,c,7\n")
    site.built()
    assert site.load("double").to_dict("list") == {"id": [1, 3, 4], "g": ["a", "b", "c"], "x": [4, 20, 14]}
    assert site.load("sums").to_dict("list") == {"g": ["a", "b", "c"], "x": [4, 20, 14]}
    assert site.load("tops").to_dict("list") == {"g": ["a", "b", "c"], "x": [4, 20, 14]}


def test_an_own_update_is_accepted_and_never_makes_a_wrong_answer(site):
    site.write("data/a.csv", "id,x\n1,2\n")
    site.recipe("""
    b.source("a", "data/a.csv", key="id")

    @b.recipe(key="id")
    def f(a: pd.DataFrame):
        return a

    @f.update
    def _(previous, deltas):
        return b.FULL
    """)
    site.built()
    site.write("data/a.csv", "id,x\n1,2\n2,3\n")
    site.built()
    assert site.load("f").to_dict("list") == {"id": [1, 2], "x": [2, 3]}


@pytest.mark.parametrize("grain", ["", 'grain=b.rows("a"), '])
def test_policy_full_runs_whole(site, grain):
    site.write("data/a.csv", "id,x\n1,2\n")
    site.recipe(
        f'b.source("a", "data/a.csv", key="id")\n@b.recipe(key="id", {grain}policy="full")\ndef f(a):\n    return a\n'
    )
    site.built()
    site.write("data/a.csv", "id,x\n1,3\n")
    (target,) = site.built()["targets"]
    assert (target["outcome"], target["via"], target["rows_changed"]) == ("built", "full", 1)


def test_a_lookup_arrives_as_its_table_in_a_row_recipe(site):
    site.write("data/a.csv", "id,g\n1,a\n2,b\n")
    site.write("data/names.csv", "g,name\na,Anna\nb,Bert\n")
    site.recipe("""
    b.source("a", "data/a.csv", key="id")
    b.source("names", "data/names.csv", key="g")

    @b.recipe(key="id", grain=b.rows("a"), inputs={"a": "a", "side": b.lookup("names", on="g")})
    def named(a: pd.DataFrame, side: pd.DataFrame):
        return a.merge(side, on="g")
    """)
    site.built()
    assert site.load("named")["name"].to_list() == ["Anna", "Bert"]
    site.write("data/names.csv", "g,name\na,Anna\nb,Berta\n")
    site.built()
    assert site.load("named")["name"].to_list() == ["Anna", "Berta"]


# -- keywords ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "word"),
    [
        ('policy="never"', "policy"),
        ("retries=-1", "retries"),
        ("slots=0", "slots"),
        ('memory="4 bananas"', "memory"),
        ("timeout=-2", "timeout"),
        ('outputs=("a",)', "outputs"),
        ('outputs=("a", "a")', "outputs"),
        ('columns={"id": "integer"}', "integer"),
        ("columns=['id']", "columns"),
        ("key=[1]", "key"),
        ("version=1.5", "version"),
        ('grain="rows"', "grain"),
        ('publish="yes"', "publish"),
        ("inputs=['a']", "inputs"),
        ('inputs={"zzz": "a"}', "zzz"),
        ('each={"p": "CA"}', "each"),
        ('name="a/b"', "a/b"),
        ('name="../up"', "../up"),
        ('lane={"database": 3}', "database"),
        ('priority="high"', "priority"),
        ("needs=5", "needs"),
        ('grain=b.rows("zzz")', "zzz"),
        ('grain=b.groups("id", of="zzz")', "zzz"),
        ('inputs={"a": b.lookup("a", on="id")}', "b.lookup"),
    ],
)
def test_keywords_that_cannot_be_are_refused_with_their_place(site, keywords, word):
    site.write("builder.toml", "[lanes]\ndatabase = 1\n")
    site.write("data/a.csv", "id\n1\n")
    site.recipe(f'b.source("a", "data/a.csv", key="id")\n@b.recipe({keywords})\ndef f(a):\n    return a\n')
    with pytest.raises(BuilderError) as caught:
        site.project.status()
    found = caught.value
    assert (found.code, found.exit_code) == ("recipe-declaration", 2), found.render()
    assert word in found.message and found.place and found.place.startswith("recipes/main.py:") and found.hint, (
        found.render()
    )


def test_resources_may_be_functions_of_the_parameters(site):
    site.write("builder.toml", "[lanes]\ndatabase = 2\nnet = 1\n")
    site.recipe("""
    @b.recipe(each={"n": [1, 2]}, lane=lambda n: {"database": n}, slots=lambda n: 1, memory=lambda n: f"{n} MB",
              needs=lambda n: (), timeout=lambda n: n * 100, retries=1, priority=3, pure=True)
    def f(n):
        return [n]

    @b.recipe(lane="net", memory="1 MB", needs=())
    def g():
        return [0]
    """)
    site.built()
    lanes = {t["name"]: t["lanes"] for t in site.command_json("status")["targets"]}
    assert lanes == {"f[n=1]": {"database": 1}, "f[n=2]": {"database": 2}, "g": {"net": 1}}
    assert (site.load("f[n=2]"), site.load("g")) == ([2], [0])


def test_an_unknown_lane_says_what_to_add(site):
    site.recipe('@b.recipe(lane="database")\ndef f():\n    return []\n')
    with pytest.raises(BuilderError) as caught:
        site.project.status()
    assert caught.value.code == "unknown-lane" and "[lanes]" in caught.value.hint


def test_a_recipe_is_still_the_function_it_was(site):
    site.recipe("""
    @b.recipe
    def double(x=2):
        "Twice."
        return [x * 2]

    @b.recipe
    def use(double):
        return double

    assert double(4) == [8] and double.__doc__ == "Twice."
    """)
    site.built()
    assert site.load("use") == [4]


def test_a_recipe_without_inputs_runs_once(site):
    site.recipe("@b.recipe\ndef f():\n    return [1]\n")
    assert site.ran() == {"f"}
    assert site.ran() == set()


def test_keyword_arguments_take_what_inputs_name(site):
    site.write("data/a.csv", "id\n1\n")
    site.recipe("""
    b.source("a", "data/a.csv", key="id")

    @b.recipe(each={"n": [5]}, inputs={"x": "a", "y": "a"})
    def f(x, **rest):
        return [len(x), sorted(rest), rest["n"]]
    """)
    site.built()
    assert site.load("f[n=5]") == [1, ["n", "y"], 5]
