"""The graph keeps its order, knows who needs whom, survives JSON, and shows the path of a cycle."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.digests import digest_of
from builder.errors import BuilderError
from builder.graph.graph import Edge, Graph, RecipeNode, SourceNode, Step

Make = Callable[..., Graph]


@st.composite
def acyclic(draw: st.DrawFn) -> dict[str, list[str]]:
    """Step -> what it needs, in any order of declaration; ``s0`` and ``s1`` are sources."""
    count = draw(st.integers(1, 12))
    needs = {
        f"n{i}": draw(st.lists(st.sampled_from(["s0", "s1", *(f"n{j}" for j in range(i))]), max_size=4, unique=True))
        for i in range(count)
    }
    return {n: needs[n] for n in draw(st.permutations(list(needs)))}


def built(needs: dict[str, list[str]]) -> Graph:
    recipes = [RecipeNode(n, "recipes/main.py:1", digest_of("code", n), (), "") for n in needs]
    steps = [Step(n, n, (), (Edge("p", "list", tuple(needs[n])),), (n,)) for n in needs]
    return Graph.build([SourceNode("s0", "s0"), SourceNode("s1", "s1")], recipes, steps)


def closure(needs: dict[str, list[str]], start: set[str]) -> set[str]:
    """By repeated union, the slow way."""
    found = set(start)
    while True:
        more = found | {m for n in found for m in needs.get(n, []) if m in needs}
        if more == found:
            return found
        found = more


@settings(max_examples=80, deadline=None)
@given(acyclic())
def test_every_step_stands_behind_all_it_reads(needs: dict[str, list[str]]) -> None:
    graph = built(needs)
    order = {n: i for i, n in enumerate(graph.steps)}
    assert order.keys() == needs.keys()
    assert all(order[m] < order[n] for n in needs for m in needs[n] if m in needs)


@settings(max_examples=80, deadline=None)
@given(acyclic())
def test_upstream_and_downstream_are_closures_and_mirror_each_other(needs: dict[str, list[str]]) -> None:
    graph = built(needs)
    for name in needs:
        assert graph.upstream([name]) == closure(needs, {name})
        assert graph.downstream([name]) == {m for m in needs if m != name and name in closure(needs, {m})}
    for source in ("s0", "s1"):
        assert graph.downstream([source]) == {m for m in needs if any(source in needs[n] for n in closure(needs, {m}))}
    read = {m for n in needs for m in needs[n]}
    assert graph.leaves == needs.keys() - read


@settings(max_examples=30, deadline=None)
@given(acyclic())
def test_json_keeps_the_whole_graph(needs: dict[str, list[str]]) -> None:
    graph = built(needs)
    assert Graph.from_json(json.loads(json.dumps(graph.to_json()))) == graph


def test_json_keeps_every_field() -> None:
    day = (("day", date(2026, 2, 28)), ("on", True), ("n", 7), ("s", "7"))
    edge = Edge("p", "gather", ("a[day=2026-02-28]",), ("x", "y"), (("k", day[0][1]), ("e", None)), "id")
    step = Step("s", "r", day, (edge,), ("r.x", "r.y"), (("db", 2),), 3, 1000, ("gpu",), 2, 1.5, -1)
    recipe = RecipeNode("r", "f:1", digest_of("x"), (("f", "d"),), "decl", ("shapely",), "2", ("x", "y"), False, False)
    graph = Graph.build([SourceNode("a[day=2026-02-28]", "a", day[:1])], [recipe], [step])
    again = Graph.from_json(json.loads(json.dumps(graph.to_json())))
    assert again == graph
    assert again.steps["s"].params == day and isinstance(again.steps["s"].params[1][1], bool)
    assert again.maker == {"r.x": "s", "r.y": "s"}


def test_columns_of_none_and_of_nothing_stay_apart_in_json() -> None:
    for columns in (None, ()):
        edge = Edge("p", "one", ("a",), columns)
        assert Edge.from_json(json.loads(json.dumps(edge.to_json()))) == edge


def test_declaration_order_holds_among_equals(graph: Make) -> None:
    assert list(graph("c; a; b; a -> z; c -> y").steps) == ["c", "a", "b", "y", "z"]


def test_several_outputs_are_targets_of_one_step(graph: Make) -> None:
    made = graph("a -> split; split.good -> use; split.bad -> look", "a", outputs={"split": ("good", "bad")})
    assert list(made.targets) == ["split.good", "split.bad", "use", "look"]
    assert made.step_of("split.bad").name == "split"
    assert made.upstream(["look"]) == {"look", "split"}
    assert made.downstream(["split.good"]) == {"use"}
    assert made.leaves == {"use", "look"}


def test_reads_name_each_dataset_once_in_order(graph: Make) -> None:
    assert graph("b a b -> z").steps["z"].reads == ("b", "a")


@pytest.mark.parametrize(
    ("text", "cycle"),
    [
        ("a -> b; b -> a", "a → b → a"),
        ("a -> a", "a → a"),
        ("x -> a; a -> b; b -> c; c -> a; c -> tail", "a → c → b → a"),
    ],
)
def test_a_cycle_is_shown_with_its_path_and_places(graph: Make, text: str, cycle: str) -> None:
    with pytest.raises(BuilderError) as caught:
        graph(text)
    assert (caught.value.code, caught.value.exit_code) == ("cycle", 2)
    assert caught.value.message.endswith(cycle)
    assert len(caught.value.facts) == cycle.count("→")
    assert caught.value.place == "recipes/main.py:7" and caught.value.hint


def test_a_long_chain_needs_no_deep_stack() -> None:
    needs: dict[str, list[str]] = {f"n{i}": [f"n{i - 1}"] if i else [] for i in range(3000)}
    graph = built(needs)
    assert len(graph.upstream(["n2999"])) == 3000
    assert len(graph.downstream(["n0"])) == 2999


def test_the_step_of_a_source_is_no_step(graph: Make) -> None:
    made: Any = graph("a -> b", "a")
    with pytest.raises(KeyError):
        made.step_of("a")
