"""From declarations to members and edges: every form of ``each=`` and ``inputs=``, and what each mistake is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import date
from typing import Any

import pytest

import builder.graph.expand as expand
from builder.digests import digest_of
from builder.graph.declare import Grain, Lookup, Place, Read, RecipeDecl, SourceDecl
from builder.graph.graph import Edge, Graph, RecipeNode

Refused = Callable[..., AbstractContextManager[Any]]

SHOPS = [(("state", "CA"),), (("state", "WA"),)]
DAYS = [(("state", "CA"), ("day", "1")), (("state", "CA"), ("day", "2")), (("state", "WA"), ("day", "1"))]
lines: Iterator[int] = iter(range(1, 10_000))


def source(name: str) -> SourceDecl:
    return SourceDecl(name, "data/x.csv", Place("recipes/s.py", next(lines)), format="csv")


def recipe(name: str, function: Callable[..., Any] = lambda: None, **keywords: Any) -> RecipeDecl:
    return RecipeDecl(name, function, Place("recipes/r.py", next(lines)), **keywords)


def expanded(*declarations: SourceDecl | RecipeDecl, lanes: dict[str, int] | None = None, **listed: Any) -> Graph:
    """The graph of these, beside a plain source and two families of sources."""
    common = [source("airports"), source("shops[state={state}]"), source("days[state={state},day={day}]")]
    found = {"shops": SHOPS, "days": DAYS} | listed
    expansion = expand.Expansion([*common, *declarations], found, lanes or {"db": 2})
    return expansion.graph(
        lambda d: RecipeNode(d.name, str(d.place), digest_of("code", d.name), (), "", outputs=d.outputs)
    )


def edges_of(decl: RecipeDecl, *others: SourceDecl | RecipeDecl, member: str = "") -> dict[str, Edge]:
    """The edges of a recipe's step (or of that member), by parameter."""
    step = expanded(*others, decl).steps[decl.name + member]
    return {e.parameter: e for e in step.edges}


# -- each= -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("each", "members"),
    [
        (None, ["m"]),
        ({"a": [1, 2]}, ["m[a=1]", "m[a=2]"]),
        (
            {"a": ["x", "y"], "b": [True, False]},
            ["m[a=x,b=true]", "m[a=x,b=false]", "m[a=y,b=true]", "m[a=y,b=false]"],
        ),
        ({"d": [date(2026, 1, 2)]}, ["m[d=2026-01-02]"]),
        ({"a": range(2)}, ["m[a=0]", "m[a=1]"]),
        ([{"a": 1, "b": "x"}, {"a": 3, "b": "y"}], ["m[a=1,b=x]", "m[a=3,b=y]"]),
        ("shops", ["m[state=CA]", "m[state=WA]"]),
        ("days", ["m[state=CA,day=1]", "m[state=CA,day=2]", "m[state=WA,day=1]"]),
        (["shops", {"k": [1, 2]}], ["m[state=CA,k=1]", "m[state=CA,k=2]", "m[state=WA,k=1]", "m[state=WA,k=2]"]),
        ([{"k": [1]}, [{"z": "p"}, {"z": "q"}]], ["m[k=1,z=p]", "m[k=1,z=q]"]),
        ([], []),
        ({"a": []}, []),
        ("airports", ["m"]),
    ],
)
def test_each_makes_these_members_in_this_order(each: Any, members: list[str]) -> None:
    assert list(expanded(recipe("m", lambda **_: None, each=each)).targets) == members


def test_a_recipe_follows_the_members_of_another_recipe() -> None:
    first = recipe("first", lambda state: None, each="shops")
    second = recipe("second", lambda first, state: None, each="first", inputs={"first": "first[state={state}]"})
    made = expanded(second, first)
    assert list(made.targets) == ["first[state=CA]", "first[state=WA]", "second[state=CA]", "second[state=WA]"]
    assert made.steps["second[state=WA]"].reads == ("first[state=WA]",)


def test_a_family_without_files_has_no_members_and_a_gather_of_it_reads_nothing() -> None:
    made = expanded(
        recipe("m", lambda state: None, each="shops"),
        recipe("all", lambda parts: None, inputs={"parts": "m[*]"}),
        shops=[],
    )
    assert list(made.targets) == ["all"]
    assert made.steps["all"].edges == (Edge("parts", "gather", ()),)


@pytest.mark.parametrize(
    ("each", "words"),
    [
        ({"a": "xy"}, ["'xy'", "'a'"]),
        ({"a": 5}, ["5"]),
        ({"a": [1.5]}, ["1.5", "float"]),
        ({"a b": [1]}, ["'a b'"]),
        ([{"a": [1]}, 5], ["5"]),
        (7, ["7"]),
        ([{"a": [1]}, {"a": [2]}], ["'a' twice"]),
        (["shops", {"state": ["CA"]}], ["'state' twice"]),
    ],
)
def test_a_wrong_each_is_refused(refused: Refused, each: Any, words: list[str]) -> None:
    with refused("recipe-declaration", "recipes/r.py", *words):
        expanded(recipe("m", lambda **_: None, each=each))


def test_each_of_an_unknown_family_tells_the_nearest(refused: Refused) -> None:
    with refused("unknown-input", "'shop'", "nearest", "shops"):
        expanded(recipe("m", lambda state: None, each="shop"))


def test_families_that_need_each_other_are_a_cycle(refused: Refused) -> None:
    with refused("cycle", "a → b → a"):
        expanded(recipe("a", lambda x: None, each="b"), recipe("b", lambda x: None, each="a"))


def test_the_same_member_twice_is_refused(refused: Refused) -> None:
    with refused("duplicate-name", "'m[a=1]'", "each="):
        expanded(recipe("m", lambda a: None, each={"a": [1, 1]}))


# -- names -------------------------------------------------------------------------------------------------------------


def test_two_declarations_of_one_name_show_both_places(refused: Refused) -> None:
    first, again = source("roads"), recipe("roads")
    with refused("duplicate-name", "'roads'", str(first.place), str(again.place)):
        expanded(first, again)


def test_several_outputs_become_targets_with_the_members_parameters() -> None:
    made = expanded(recipe("split", lambda state: None, each="shops", outputs=("good", "bad")))
    assert list(made.targets) == [f"split.{o}[state={s}]" for s in ("CA", "WA") for o in ("good", "bad")]
    assert set(made.steps) == {"split[state=CA]", "split[state=WA]"}


# -- inputs= -----------------------------------------------------------------------------------------------------------


def test_parameters_without_a_default_are_inputs_of_their_name() -> None:
    assert edges_of(recipe("m", lambda airports, limit=3: None)) == {"airports": Edge("airports", "one", ("airports",))}


def test_a_parameter_of_each_is_no_input() -> None:
    found = edges_of(recipe("m", lambda airports, state: None, each="shops"), member="[state=CA]")
    assert set(found) == {"airports"}


def test_a_default_gives_way_to_inputs() -> None:
    assert edges_of(recipe("m", lambda a=None: None, inputs={"a": "airports"}))["a"].names == ("airports",)


def test_a_bare_family_name_means_the_member_with_the_steps_own_values() -> None:
    found = edges_of(recipe("m", lambda shops, state: None, each="shops"), member="[state=WA]")
    assert found["shops"] == Edge("shops", "one", ("shops[state=WA]",))


@pytest.mark.parametrize(
    ("reference", "shape", "names"),
    [
        ("airports", "one", ["airports"]),
        ("shops[state=CA]", "one", ["shops[state=CA]"]),
        ("shops[state={state}]", "one", ["shops[state=WA]"]),
        ("shops[*]", "gather", ["shops[state=CA]", "shops[state=WA]"]),
        ("days[state={state},*]", "gather", ["days[state=WA,day=1]"]),
        ("days[state=CA,*]", "gather", ["days[state=CA,day=1]", "days[state=CA,day=2]"]),
        ("days[day=2,state=CA]", "one", ["days[state=CA,day=2]"]),
        (["airports", "shops[*]"], "list", ["airports", "shops[state=CA]", "shops[state=WA]"]),
        (["airports", "airports"], "list", ["airports"]),
        ([], "list", []),
        ("days[state=NV,*]", "gather", []),
    ],
)
def test_a_reference_means_these_datasets(reference: Any, shape: str, names: list[str]) -> None:
    decl = recipe("m", lambda x, state: None, each="shops", inputs={"x": reference})
    assert edges_of(decl, member="[state=WA]")["x"] == Edge("x", shape, tuple(names))


def test_a_value_agrees_with_a_name_by_its_text() -> None:
    decl = recipe("m", lambda x, n: None, each={"n": [1, 2]}, inputs={"x": "days[state=CA,day={n}]"})
    assert edges_of(decl, member="[n=2]")["x"].names == ("days[state=CA,day=2]",)


def test_the_base_of_a_reference_may_use_a_parameter() -> None:
    decl = recipe("m", lambda x, which: None, each={"which": ["airports"]}, inputs={"x": "{which}"})
    assert edges_of(decl, member="[which=airports]")["x"].names == ("airports",)


def test_inputs_may_be_a_function_of_the_parameters() -> None:
    decl = recipe("m", lambda x, state: None, each="shops", inputs=lambda state: {"x": f"shops[state={state}]"})
    assert edges_of(decl, member="[state=CA]")["x"].names == ("shops[state=CA]",)


def test_read_keeps_columns_in_order_and_fills_values() -> None:
    read = Read("airports", ("lon", "lat"), (("state", "{state}"), ("kind", "x-{state}"), ("n", 3), ("e", None)))
    decl = recipe("m", lambda x, state: None, each="shops", inputs={"x": read})
    where = (("state", "WA"), ("kind", "x-WA"), ("n", 3), ("e", None))
    assert edges_of(decl, member="[state=WA]")["x"] == Edge("x", "one", ("airports",), ("lon", "lat"), where)


def test_a_parameter_alone_keeps_its_type_in_where() -> None:
    decl = recipe("m", lambda x, n: None, each={"n": [7]}, inputs={"x": Read("airports", None, (("n", "{n}"),))})
    assert edges_of(decl, member="[n=7]")["x"].where == (("n", 7),)


def test_lookup_is_an_edge_with_its_column() -> None:
    decl = recipe(
        "m",
        lambda a, s: None,
        grain=Grain("rows", "a"),
        inputs={"a": "airports", "s": Lookup("days[state=CA,day=1]", "id")},
    )
    assert edges_of(decl)["s"].on == "id"


def test_outputs_are_read_by_their_dotted_names() -> None:
    split = recipe("split", lambda: None, outputs=("good", "bad"))
    assert edges_of(recipe("m", lambda x: None, inputs={"x": "split.bad"}), split)["x"].names == ("split.bad",)


def test_extra_inputs_go_to_a_function_that_takes_any() -> None:
    found = edges_of(recipe("m", lambda **tables: None, inputs={"a": "airports", "b": "shops[*]"}))
    assert set(found) == {"a", "b"}


@pytest.mark.parametrize(
    ("inputs", "code", "words"),
    [
        ({"x": "airprots"}, "unknown-input", ["'airprots'", "airports"]),
        ({"x": "shops"}, "unknown-input", ["family", "shops[*]"]),
        ({"x": "shops[state=NV]"}, "unknown-input", ["'shops[state=NV]'", "shops[state=CA]"]),
        ({"x": "days[state=CA]"}, "unknown-input", ["days"]),
        ({"x": "airports.good"}, "unknown-input", ["'airports.good'"]),
        ({"x": "split"}, "unknown-input", ["split.good"]),
        ({"x": "split.goods"}, "unknown-input", ["split.good"]),
        ({"x": "shops[state=CA"}, "recipe-declaration", ["closing ]"]),
        ({"x": "shops[CA]"}, "recipe-declaration", ["'CA'"]),
        ({"x": 5}, "recipe-declaration", ["'x'", "5"]),
        ({"x": [Read("airports", ("a",))]}, "recipe-declaration", ["list"]),
        ({"x": Lookup("airports", "id")}, "recipe-declaration", ["b.lookup"]),
        ({"x": "airports", "y": "airports"}, "recipe-declaration", ["'y'", "does not take"]),
        (lambda: 5, "recipe-declaration", ["5"]),
        (lambda: 1 / 0, "recipe-declaration", ["ZeroDivisionError"]),
        (lambda state: {}, "recipe-declaration", ["TypeError"]),
    ],
)
def test_a_wrong_input_is_refused(refused: Refused, inputs: Any, code: str, words: list[str]) -> None:
    split = recipe("split", lambda: None, outputs=("good", "bad"))
    with refused(code, "recipes/r.py", *words):
        expanded(split, recipe("m", lambda x: None, inputs=inputs))


def test_an_input_that_is_also_a_parameter_is_refused(refused: Refused) -> None:
    with refused("recipe-declaration", "'state'", "each="):
        expanded(recipe("m", lambda state: None, each="shops", inputs={"state": "airports"}))


def test_a_cycle_of_recipes_shows_its_path(refused: Refused) -> None:
    with refused("cycle", "→", "recipes/r.py"):
        expanded(recipe("a", lambda b: None), recipe("b", lambda a: None))


def test_a_grain_of_no_input_is_refused(refused: Refused) -> None:
    with refused("recipe-declaration", "'roads'", "airports"):
        expanded(recipe("m", lambda airports: None, grain=Grain("rows", "roads")))


# -- resources ---------------------------------------------------------------------------------------------------------


def test_resources_may_be_functions_of_the_parameters() -> None:
    decl = recipe(
        "m", lambda n: None, each={"n": [1, 2]}, lane=lambda n: {"db": n}, slots=lambda n: n + 1,
        memory=lambda n: f"{n} kB", needs=lambda n: {"gpu", "big"}, timeout=lambda n: n * 10, retries=2, priority=5,
    )  # fmt: skip
    step = expanded(decl).steps["m[n=2]"]
    assert (step.lanes, step.slots, step.memory_bytes) == ((("db", 2),), 3, 2000)
    assert (step.needs, step.timeout_s, step.retries, step.priority) == (("big", "gpu"), 20.0, 2, 5)


def test_a_lane_by_name_takes_one_of_it() -> None:
    assert expanded(recipe("m", lane="db")).steps["m"].lanes == (("db", 1),)


@pytest.mark.parametrize(
    ("keywords", "code", "words"),
    [
        ({"lane": "bd"}, "unknown-lane", ["'bd'", "nearest", "db"]),
        ({"lane": {"db": 3}}, "recipe-declaration", ["3", "capacity is 2"]),
        ({"lane": {"db": 0}}, "recipe-declaration", ["0"]),
        ({"lane": {"db": 1.5}}, "recipe-declaration", ["1.5"]),
        ({"lane": {5: 1}}, "unknown-lane", ["'5'"]),
        ({"lane": 5}, "recipe-declaration", ["5"]),
        ({"slots": 0}, "recipe-declaration", ["slots", "0"]),
        ({"slots": "2"}, "recipe-declaration", ["slots", "'2'"]),
        ({"memory": "4 XB"}, "recipe-declaration", ["'4 XB'"]),
        ({"needs": 5}, "recipe-declaration", ["needs", "5"]),
        ({"needs": [""]}, "recipe-declaration", ["needs"]),
        ({"timeout": 0}, "recipe-declaration", ["timeout", "0"]),
        ({"timeout": "1"}, "recipe-declaration", ["timeout"]),
        ({"lane": lambda: 1 / 0}, "recipe-declaration", ["lane=", "ZeroDivisionError"]),
    ],
)
def test_a_wrong_resource_is_refused(refused: Refused, keywords: dict[str, Any], code: str, words: list[str]) -> None:
    with refused(code, "'m'", "recipes/r.py", *words):
        expanded(recipe("m", **keywords))


def test_a_large_gather_of_a_large_family_costs_linear_time(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = 0
    matching = expand._matching

    def counted(reference: Any, members: Any, values: Any) -> Any:
        nonlocal seen
        members = list(members)
        seen += len(members)
        return matching(reference, members, values)

    monkeypatch.setattr(expand, "_matching", counted)
    many = [(("state", f"s{i}"),) for i in range(400)]
    decl = recipe("m", lambda shops, state: None, each="shops", inputs={"shops": "shops[state={state}]"})
    assert len(expanded(decl, shops=many).steps) == 400
    assert seen == 400
