"""What each form of a TARGET means."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import BuilderError
from builder.graph.graph import Edge, Graph, RecipeNode, SourceNode, Step
from builder.graph.select import select

Make = Callable[..., Graph]

SHOPS = """
    shops[state=CA] -> clean[state=CA,year=24]; shops[state=WA] -> clean[state=WA,year=24];
    shops[state=WA] -> clean[state=WA,year=25];
    clean[state=CA,year=24] clean[state=WA,year=24] clean[state=WA,year=25] -> all;
    airports -> split; split.good all -> report; split.bad -> look
"""
SETS = {
    "daily": ("look", "clean[state=CA]"),
    "both": ("daily", "report"),
    "gone": ("clean[state=NV]", "look"),
    "loop": ("pool",),
    "pool": ("loop",),
    "sources": ("airports",),
}
CLEAN = ["clean[state=CA,year=24]", "clean[state=WA,year=24]", "clean[state=WA,year=25]"]


@pytest.fixture
def shops(graph: Make) -> Graph:
    """Families, several outputs, a gather."""
    return graph(SHOPS, "shops[state=CA] shops[state=WA] airports", outputs={"split": ("good", "bad")})


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("report", ["report"]),
        ("clean", CLEAN),
        ("clean[*]", CLEAN),
        ("clean[state=CA,year=24]", CLEAN[:1]),
        ("clean[year=24,state=CA]", CLEAN[:1]),
        ("clean[state=WA]", CLEAN[1:]),
        ("clean[year=24]", CLEAN[:2]),
        ("clean[state=WA,*]", CLEAN[1:]),
        ("clean[state=?A]", CLEAN),
        ("clean[state=C*]", CLEAN[:1]),
        ("*[state=WA]", CLEAN[1:]),
        ("cl*", CLEAN),
        ("cl?an", CLEAN),
        ("split", ["split.good", "split.bad"]),
        ("split.bad", ["split.bad"]),
        ("split.*", ["split.good", "split.bad"]),
        ("re*", ["report"]),
        ("+all", [*CLEAN, "all"]),
        ("all+", ["all", "report"]),
        ("+split.good+", ["split.good", "split.bad", "report"]),
        ("split.bad+", ["split.bad", "look"]),
        ("airports", []),
        ("airports+", ["split.good", "split.bad", "look", "report"]),
        ("shops[state=CA]+", [CLEAN[0], "all", "report"]),
        ("shops+", [*CLEAN, "all", "report"]),
        ("daily", [CLEAN[0], "look"]),
        ("both", [CLEAN[0], "report", "look"]),
        ("daily+", [CLEAN[0], "all", "look", "report"]),
        ("+daily", ["split.good", "split.bad", CLEAN[0], "look"]),
        ("sources+", ["split.good", "split.bad", "look", "report"]),
        ("gone", ["look"]),
    ],
)
def test_a_selection_means_these_targets(shops: Graph, text: str, means: list[str]) -> None:
    found = select(shops, [text], SETS)
    assert set(found) == set(means) and len(found) == len(means)


def test_what_is_selected_stands_in_topological_order_each_once(shops: Graph) -> None:
    found = select(shops, ["report", "+report", "clean", "*"], {})
    order = list(shops.targets)
    assert found == order


def test_an_empty_wish_selects_nothing(shops: Graph) -> None:
    assert select(shops, [], SETS) == []


def test_a_family_without_members_selects_nothing(graph: Make) -> None:
    made = graph("a", recipes={})
    empty = Graph(made.sources, {**made.recipes, "later": made.recipes["a"]}, made.steps, made.maker)
    assert select(empty, ["later", "later[state=CA]", "later+"], {}) == []


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("reprot", "report"),
        ("clean[state=NV]", "clean[state=CA,year=24]"),
        ("clean[state=WA", "clean"),
        ("split.worse", "split"),
        ("+dayly", "daily"),
    ],
)
def test_a_selection_that_names_nothing_is_answered_with_the_nearest(shops: Graph, text: str, nearest: str) -> None:
    with pytest.raises(BuilderError) as caught:
        select(shops, [text], SETS)
    assert (caught.value.code, caught.value.exit_code) == ("unknown-target", 2)
    assert f"'{text}'" in caught.value.message
    assert nearest in dict(caught.value.facts)["nearest"]


def test_a_pattern_that_matches_nothing_is_refused_though_a_dot_is_no_wildcard(shops: Graph) -> None:
    for text in ("zz*", "r.port", "[state=WA]", ""):
        with pytest.raises(BuilderError) as caught:
            select(shops, [text], SETS)
        assert caught.value.code == "unknown-target"


def test_settings_may_name_a_member_that_is_gone_but_no_unknown_recipe(shops: Graph) -> None:
    assert select(shops, ["clean[state=NV]", "look"], {}, is_listed=True) == ["look"]
    with pytest.raises(BuilderError):
        select(shops, ["cleen[state=CA]"], {}, is_listed=True)


def test_a_set_that_contains_itself_is_refused_with_its_path(shops: Graph) -> None:
    with pytest.raises(BuilderError) as caught:
        select(shops, ["loop"], SETS)
    assert caught.value.code == "config"
    assert "loop → pool → loop" in caught.value.message


def test_a_set_goes_before_a_target_of_its_name(shops: Graph) -> None:
    assert select(shops, ["report"], {"report": ("look",)}) == ["look"]


VALUES = st.text(st.characters(codec="utf-8"), max_size=8)


@settings(max_examples=100, deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=5, unique=True))
def test_every_member_is_selected_by_its_own_full_name_alone(values: list[str]) -> None:
    from builder.names import member_name

    names = [member_name("m", (("v", v),)) for v in values]
    steps = [Step(n, "m", (("v", v),), (Edge("p", "one", ("s",)),), (n,)) for n, v in zip(names, values, strict=True)]
    made = Graph.build([SourceNode("s", "s")], [RecipeNode("m", "f:1", steps[0].recipe, (), "")], steps)  # type: ignore[arg-type]
    for name in names:
        assert select(made, [name], {}) == [name]
