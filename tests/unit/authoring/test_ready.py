"""The declarations of ready-made recipes: what they read, what names their rows, and what is refused."""

from __future__ import annotations

import inspect

import pytest

from builder.authoring import ready, ready_checks
from builder.authoring.prints import recipe_print
from builder.authoring.ready_call import INDEX, ReadyCall
from builder.errors import BuilderError
from builder.graph.declare import Grain, RecipeDecl
from builder.graph.expand import Expansion
from builder.graph.graph import Edge, RecipeNode
from builder.tables.schema import GEOMETRY
from builder.transforms import versions

SOURCES = """
import builder as b
b.source("points", "data/points.csv", key="icao")
b.source("plain", "data/plain.csv")
b.source("regions", "data/regions.geojson", key="id")
b.source("shops[state={state}]", "data/shops/{state}.csv", key=["id", "day"])
b.source("codes", "data/codes.csv", key="code")
"""
ASSIGN = 'lon="x", lat="y", region_id="id"'
SHOPS = (("state", "CA"),), (("state", "WA"),)


@pytest.fixture
def declared(load_files):
    """The declarations, by name, of these lines behind `SOURCES`."""

    def made(lines: str) -> dict[str, RecipeDecl]:
        loaded = load_files({"main.py": SOURCES + lines})
        return {d.name: d for d in loaded.declarations}

    return made


@pytest.fixture
def refused(declared):
    """The error of these lines: a declaration's, with its place."""

    def made(lines: str) -> BuilderError:
        with pytest.raises(BuilderError) as caught:
            declared(lines)
        assert caught.value.code == "recipe-declaration"
        assert caught.value.place and caught.value.place.startswith("recipes/main.py:")
        assert caught.value.hint
        return caught.value

    return made


def edges(declared: dict[str, RecipeDecl], name: str) -> dict[str, Edge]:
    """What a target reads, by parameter."""
    expansion = Expansion(declared.values(), {"shops": SHOPS}, {})
    graph = expansion.graph(lambda d: RecipeNode(d.name, str(d.place), "", (), "", outputs=d.outputs))
    return {e.parameter: e for e in graph.steps[name].edges}


def test_points_keep_their_key_and_only_needed_columns_are_read(declared) -> None:
    found = declared(f'b.assign_regions("a", points="points", regions="regions", {ASSIGN}, keep=["name"])')
    assert found["a"].key == ("icao",)
    assert {p: (e.names, e.columns) for p, e in edges(found, "a").items()} == {
        "points": (("points",), ("icao", "name", "x", "y")),
        "regions": (("regions",), ("id", GEOMETRY)),
    }


def test_with_all_ties_the_regions_id_is_part_of_the_key(declared) -> None:
    found = declared(f'b.assign_regions("a", points="points", regions="regions", {ASSIGN}, ties="all")')
    assert found["a"].key == ("icao", "id")
    assert edges(found, "a")["points"].columns == ("icao", "x", "y")


@pytest.mark.parametrize(
    ("points", "key"),
    [
        ("plain", ()),
        ("shops[state=CA]", ("id", "day")),
        ("shops[*]", ("state", "id", "day")),
        ("clean.good", ("icao",)),
        ("later", ("n", "m")),
        ("chained", ("icao",)),
        ("counted", ("kind",)),
    ],
)
def test_the_key_is_that_of_the_points_wherever_they_are_declared(declared, points, key) -> None:
    found = declared(
        f"""
b.assign_regions("a", points="{points}", regions="regions", lon="x", lat="y", region_id={{"region": "id"}})
b.assign_regions("chained", points="points", regions="regions", lon="x", lat="y", region_id="id", keep=["x", "y"])
b.count_by("counted", of="points", by="kind")
@b.recipe(key="icao", outputs=("good", "bad"))
def clean(points): ...
@b.recipe(key=["n", "m"])
def later(points): ...
"""
    )
    assert found["a"].key == key
    read = edges(found, "a")["points"].columns
    assert set(key) - {"state"} <= set(read) and len(set(read)) == len(read) and "state" not in read


def test_a_family_takes_the_key_of_the_member_it_reads(declared) -> None:
    found = declared(
        """
b.assign_regions("a", each="shops", points="shops[state={state}]", regions="regions", lon="{state}_x", lat="y",
                 region_id={"id{state}": "{state}"}, ties="all", keep="n{state}")
b.count_by("n", each="shops", of="a[state={state}]", by=["id{state}", "day"], sums={"n_{state}": "n{state}"})
"""
    )
    assert found["a"].key == ("id", "day", "id{state}")
    assert found["a"].of_member((("state", "CA"),)).key == ("id", "day", "idCA")
    assert edges(found, "a[state=CA]")["points"].columns == ("id", "day", "nCA", "CA_x", "y")
    assert edges(found, "n[state=WA]")["of"].columns == ("idWA", "day", "nWA")
    assert found["n"].of_member((("state", "WA"),)).key == ("idWA", "day")


def test_the_key_of_a_family_with_a_parameter_in_it_follows_the_reference(declared) -> None:
    found = declared(
        """
b.assign_regions("a", each={"set": ["p", "q"]}, points="points", regions="regions", lon="x", lat="y",
                 region_id={"{set}_id": "id"}, ties="all")
b.assign_regions("c", points="a[set=p]", regions="regions", lon="x", lat="y", region_id="id")
b.assign_regions("d", each={"kind": ["p", "q"]}, points="a[set={kind}]", regions="regions", lon="x", lat="y",
                 region_id="id")
"""
    )
    assert found["a"].key == ("icao", "{set}_id")
    assert found["c"].key == ("icao", "p_id")
    assert found["d"].key == ("icao", "{kind}_id")


def test_a_base_name_with_a_parameter_means_all_that_fit_it(declared, refused) -> None:
    two = """
@b.recipe(key="id")
def north_points(points): ...
@b.recipe(key="{key}")
def south_points(points): ...
b.assign_regions("a", each={"side": ["north", "south"]}, points="{side}_points", regions="regions",
                 lon="x", lat="y", region_id={"region": "id"})
"""
    assert declared(two.replace("{key}", "id"))["a"].key == ("id",)
    said = refused(two.replace("{key}", "other"))
    assert "different keys: id; other" in said.message and "key=" in said.hint


def test_a_reference_may_be_what_an_earlier_declaration_gave(declared) -> None:
    found = declared(
        f'a = b.assign_regions("a", points="points", regions="regions", {ASSIGN})\nb.count_by("n", of=a, by=["id"])\n'
    )
    assert edges(found, "n")["of"].names == ("a",)


def test_an_own_key_names_points_that_have_none(declared) -> None:
    found = declared(f'b.assign_regions("a", points="plain", regions="regions", {ASSIGN}, ties="all", key="nr")')
    assert found["a"].key == ("nr", "id")
    assert edges(found, "a")["points"].columns == ("nr", "x", "y")


def test_counters_read_their_groups_sums_and_taxonomy(declared) -> None:
    found = declared(
        'b.count_by("n", of="points", by=["kind", "state"], sums={"people": "pop"}, '
        'taxonomy="codes", taxonomy_on="kind")'
    )
    assert found["n"].key == ("kind", "state")
    assert {p: e.columns for p, e in edges(found, "n").items()} == {
        "of": ("kind", "state", "pop"),
        "taxonomy": ("code", "parent"),
    }


def test_smoothed_regions_have_all_columns_or_those_to_keep(declared) -> None:
    found = declared(
        'b.smooth_regions("a", regions="regions")\nb.smooth_regions("c", regions="regions", keep=["name"])'
    )
    assert (found["a"].key, edges(found, "a")["regions"].columns) == (("id",), None)
    assert (found["c"].key, edges(found, "c")["regions"].columns) == (("id",), ("id", "name", GEOMETRY))


def test_inferred_regions_read_labels_and_positions_or_geometries(declared) -> None:
    found = declared(
        """
b.infer_regions("a", points="points", by=["k", "l"], lon="x", lat="y")
b.infer_regions("c", points="points", by="k", method="clusters", radius_m=100)
b.infer_regions("d", points="regions", by="k", method="dissolve")
b.infer_regions("v", points="points", by="k", method="voronoi", outline="regions")
"""
    )
    assert [found[name].key for name in "acdv"] == [("k", "l"), ("k", "cluster"), ("k",), ("k",)]
    assert edges(found, "a")["points"].columns == ("k", "l", "x", "y")
    assert edges(found, "c")["points"].columns == ("k", "lon", "lat")
    assert edges(found, "d")["points"].columns == ("k", GEOMETRY)
    assert edges(found, "v")["outline"].columns == (GEOMETRY,)


def test_every_keyword_of_a_recipe_is_taken(declared) -> None:
    line = (
        f'b.assign_regions("a", points="points", regions="regions", {ASSIGN}, key="icao", '
        'columns={"icao": "string", "id": "string"}, each={"k": [1]}, slots=2, memory="1 GB", needs=("gpu",), '
        'retries=3, timeout=5, priority=7, environment=("shapely",), version=2, check=len, publish=True, pure=False, '
        'policy="full", lane="db")'
    )
    taken = declared(line)["a"]
    assert (taken.columns, taken.each, taken.slots) == ((("icao", "string"), ("id", "string")), {"k": [1]}, 2)
    assert (taken.retries, taken.timeout, taken.priority, taken.version) == (3, 5, 7, 2)
    assert (taken.check, taken.publish, taken.pure, taken.policy) == (len, True, False, "full")
    assert (taken.memory, taken.needs, taken.lane, taken.environment) == ("1 GB", ("gpu",), "db", ("shapely",))
    refusable = {"inputs", "outputs", "grain"}
    assert refusable | {k for k in ready_checks.KEYWORDS if f"{k}=" in line} == ready_checks.KEYWORDS


@pytest.mark.parametrize(
    ("line", "grain"),
    [
        (f'b.assign_regions("a", points="points", regions="regions", {ASSIGN})', Grain("spatial", "points")),
        ('b.count_by("a", of="points", by="kind")', Grain("fold", "of")),
        ('b.smooth_regions("a", regions="regions")', Grain("rows", "regions")),
        ('b.smooth_regions("a", regions="regions", method="buffer", distance_m=5)', Grain("rows", "regions")),
        ('b.smooth_regions("a", regions="regions", method="coverage")', Grain("whole")),
        ('b.smooth_regions("a", regions="regions", method="{m}", each={"m": ["taubin"]})', Grain("whole")),
        ('b.infer_regions("a", points="points", by=["k"])', Grain("groups", "points", ("k",))),
        ('b.infer_regions("a", points="regions", by="k", method="dissolve")', Grain("groups", "points", ("k",))),
        ('b.infer_regions("a", points="points", by="k", method="voronoi")', Grain("whole")),
    ],
)
def test_a_declaration_says_how_rows_depend_on_rows(declared, line, grain) -> None:
    assert declared(line)["a"].grain == grain


ALL = f'b.assign_regions("a", points="points", regions="regions", {ASSIGN}'


@pytest.mark.parametrize(
    ("line", "word"),
    [
        (ALL + ', predicat="within")', "no keyword 'predicat'"),
        (ALL + ', predicate="contains")', "predicate= of b.assign_regions ('a') is 'contains'"),
        (ALL + ', ties="first")', "ties="),
        (ALL + ', ties="{t}", each={"t": ["all"]})', "ties="),
        (ALL + ", keep=3)", "keep="),
        (ALL + ', keep=["u", "u"])', "keep="),
        (ALL + ', inputs={"points": "x"})', "inputs="),
        (ALL + ', outputs=("a", "b"))', "outputs="),
        (ALL + ', grain=b.rows("points"))', "grain="),
        (ALL + ', keep="n{stat}", each={"state": ["CA"]})', "no parameter 'stat'"),
        (ALL + ', keep="n{state}")', "no parameter 'state'"),
        (ALL + ', each={"points": [1]})', "has the name of an input"),
        ('b.assign_regions("a", regions="regions", points="points", lon="x", lat="y")', "'region_id'"),
        ('b.assign_regions("a", "points", regions="regions", lon="x", lat="y", region_id="id")', "positional"),
        ('b.assign_regions("a/b", points="points", regions="regions", lon="x", lat="y", region_id="id")', "legal name"),
        ('b.assign_regions("a", points="", regions="regions", lon="x", lat="y", region_id="id")', "points="),
        ('b.assign_regions("a", points="points", regions=7, lon="x", lat="y", region_id="id")', "regions="),
        ('b.assign_regions("a", points="points", regions="regions", lon=1, lat="y", region_id="id")', "lon="),
        (
            'b.assign_regions("a", points="points", regions="regions", lon="x", lat="y", region_id="icao")',
            "two columns",
        ),
        ('b.assign_regions("a", points="points", regions="regions", lon="x", lat="y", region_id={})', "region_id="),
        (
            'b.assign_regions("a", points="plain", regions="regions", lon="x", lat="y", region_id="id", ties="all")',
            "nothing names",
        ),
        ('b.count_by("a", of="points")', "'by'"),
        ('b.count_by("a", of="points", by=[])', "by="),
        ('b.count_by("a", of="points", by=["k", "k"])', "by="),
        ('b.count_by("a", of="points", by=["n"])', "counts="),
        ('b.count_by("a", of="points", by=["k"], sums={"k": "x"})', "sums="),
        ('b.count_by("a", of="points", by=["k"], sums=["x"])', "sums="),
        ('b.count_by("a", of="points", by=["k"], counts=None)', "counts="),
        ('b.count_by("a", of="points", by=["k"], sums={"n": "x"})', "sums="),
        ('b.count_by("a", of="points", by=["k"], key="other")', "key="),
        ('b.count_by("a", of="points", by=["k", "l"], taxonomy="codes")', "taxonomy_on="),
        ('b.count_by("a", of="points", by=["k"], taxonomy_on="k")', "taxonomy_on="),
        ('b.smooth_regions("a")', "'regions'"),
        ('b.smooth_regions("a", regions="regions", method="spline")', "method="),
        ('b.smooth_regions("a", regions="regions", method="buffer")', "distance_m="),
        ('b.smooth_regions("a", regions="regions", distance_m=3)', "distance_m="),
        ('b.smooth_regions("a", regions="regions", method="taubin", tolerance_m=3)', "tolerance_m="),
        ('b.smooth_regions("a", regions="regions", iterations=-1)', "iterations="),
        ('b.smooth_regions("a", regions="regions", iterations=True)', "iterations="),
        ('b.smooth_regions("a", regions="regions", tolerance_m=float("nan"))', "tolerance_m="),
        ('b.smooth_regions("a", regions="regions", smoothness=2)', "no keyword 'smoothness'"),
        ('b.infer_regions("a", points="points")', "'by'"),
        ('b.infer_regions("a", points="points", by=[])', "by="),
        ('b.infer_regions("a", points="points", by="k", method="star")', "method="),
        ('b.infer_regions("a", points="points", by="k", method="{m}", each={"m": ["convex"]})', "method="),
        ('b.infer_regions("a", points="points", by="k", method="convex", ratio=0.5)', "ratio="),
        ('b.infer_regions("a", points="points", by="k", method="convex", outline="regions")', "outline="),
        ('b.infer_regions("a", points="points", by="k", method="concave", holes="yes")', "holes="),
        ('b.infer_regions("a", points="points", by="k", method="clusters")', "radius_m="),
        ('b.infer_regions("a", points="points", by="k", method="clusters", algorithm="kmeans")', "algorithm="),
        ('b.infer_regions("a", points="points", by="k", method="dissolve", union="all")', "union="),
        ('b.infer_regions("a", points="points", by="k", without_area="drop")', "without_area="),
        ('b.infer_regions("a", points="points", by="k", key="icao")', "key="),
    ],
)
def test_what_cannot_be_is_refused_where_it_stands(refused, line, word) -> None:
    assert word in refused(f"\n{line}\n").message


def test_ready_made_recipes_that_need_each_other_are_left_to_the_graph(declared) -> None:
    found = declared(
        'b.assign_regions("a", points="c", regions="regions", lon="x", lat="y", region_id="id")\n'
        'b.assign_regions("c", points="a", regions="regions", lon="x", lat="y", region_id="id")\n'
    )
    with pytest.raises(BuilderError) as caught:
        edges(found, "a")
    assert caught.value.code == "cycle"


def test_an_unknown_input_is_told_by_the_graph(declared) -> None:
    found = declared('b.count_by("n", of="pionts", by=["k"])')
    with pytest.raises(BuilderError) as caught:
        edges(found, "n")
    assert caught.value.code == "unknown-input"
    assert dict(caught.value.facts)["nearest"].startswith("points")


def test_the_function_declares_its_inputs_to_who_calls_it(declared) -> None:
    function = declared(ALL + ")")["a"].function
    assert isinstance(function, ReadyCall)
    annotations = {n: p.annotation for n, p in inspect.signature(function).parameters.items()}
    assert annotations["points"] == "pd.DataFrame" and annotations["regions"] == INDEX


def test_the_options_of_each_method_are_those_of_the_transforms() -> None:
    from builder.transforms import infer, smooth

    common = {"without_area"}
    known = {m: set(options) | (common if m != "dissolve" else set()) for m, options in infer._OPTIONS.items()}
    assert {m: set(options) for m, options in ready.INFERENCE.items()} == known
    assert set(ready.SMOOTHING) == set(smooth._METHODS)
    taken = set(inspect.signature(smooth.smooth_regions).parameters) - {"gdf", "method", "report"}
    assert taken == {option for options in ready.SMOOTHING.values() for option in options}


def print_items(load_files, lines: str) -> dict[str, str]:
    loaded = load_files({"main.py": SOURCES + lines})
    decl = next(d for d in loaded.declarations if d.name == "a")
    return dict(recipe_print(decl, loaded).items)


def test_versions_of_the_transform_and_of_what_it_uses_are_in_the_fingerprint(load_files, monkeypatch) -> None:
    before = print_items(load_files, ALL + ")")
    assert {"b.assign_regions", "transforms.assign_regions@1", "transforms.RegionIndex@1"} == set(before)
    counted = print_items(load_files, 'b.count_by("a", of="points", by="kind")')
    monkeypatch.setitem(versions.VERSIONS, "RegionIndex", 2)
    after = print_items(load_files, ALL + ")")
    assert set(after) - set(before) == {"transforms.RegionIndex@2"}
    assert print_items(load_files, 'b.count_by("a", of="points", by="kind")') == counted


@pytest.mark.parametrize("other", ['lon="xx"', 'keep=["u"]', 'predicate="intersects"', 'ties="all"'])
def test_what_a_declaration_asks_for_is_in_the_fingerprint(load_files, other) -> None:
    word = other.partition("=")[0]
    line = ALL.replace('lon="x"', other) + ")" if word == "lon" else f"{ALL}, {other})"
    assert print_items(load_files, line)["b.assign_regions"] != print_items(load_files, ALL + ")")["b.assign_regions"]


def test_where_a_declaration_stands_is_not_in_the_fingerprint(load_files) -> None:
    assert print_items(load_files, "\n\n" + ALL + ", priority=3)") == print_items(load_files, ALL + ")")
