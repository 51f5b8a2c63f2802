"""A build key holds all an output depends on and nothing else; its explanation is made of the same fields."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.digests import Digest, digest_of
from builder.graph.declare import Place, SourceDecl
from builder.graph.graph import Edge, Graph, RecipeNode, SourceNode, Step
from builder.plan.keys import UNKNOWN, Field, intake_fields, is_known, key_of, step_fields
from builder.situation import Sensed, Situation
from builder.sources import SourceFile
from builder.tables.schema import Column, Schema

TEXT = st.text(st.characters(codec="utf-8") | st.sampled_from("\0\udc80"), max_size=4)
FIELDS = st.lists(st.tuples(TEXT, TEXT, TEXT), max_size=4)

RECIPE = RecipeNode("clean", "recipes/a.py:1", digest_of("code"), (), digest_of("declared"), ("shapely",), "2")
EDGE = Edge("shops", "one", ("raw",))
STEP = Step("clean[n=1]", "clean", (("n", 1),), (EDGE,), ("clean[n=1]",))


@settings(max_examples=300, deadline=None)
@given(FIELDS, FIELDS)
def test_two_lists_of_fields_share_a_key_only_when_equal(one: list[Field], other: list[Field]) -> None:
    assert (key_of(one) == key_of(other)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([("a", "b", "c")], [("a", "b\0c", "")]),
        ([("a", "", "\0")], [("a", "\0", "")]),
        ([("", "", "")], []),
        ([("1 1 1", "a", "b")], [("", "1 1 1\0a", "b")]),
    ],
)
def test_fields_do_not_run_into_each_other(one: list[Field], other: list[Field]) -> None:
    assert key_of(one) != key_of(other)


def situation(recipe: RecipeNode = RECIPE, step: Step = STEP, **changes: Any) -> Situation:
    graph = Graph.build([SourceNode("raw", "raw")], [recipe], [step])
    made = Situation(
        graph, {}, {}, {"python": "3.11", "shapely": "2.1"}, (), {}, digest_of("b"), project_environment=("python",)
    )
    return replace(made, **changes)


def fields_of(recipe: RecipeNode = RECIPE, step: Step = STEP, content: str = "d1", **changes: Any) -> list[Field]:
    return step_fields(step, situation(recipe, step, **changes), lambda name, columns: f"{content}{columns or ''}")


def key(**changes: Any) -> Digest:
    return key_of(fields_of(**changes))


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"recipe": replace(RECIPE, fingerprint=digest_of("other"))}, "recipe"),
        ({"recipe": replace(RECIPE, declared=digest_of("other"))}, "recipe"),
        ({"recipe": replace(RECIPE, version="3")}, "version"),
        ({"recipe": replace(RECIPE, environment=())}, "environment"),
        ({"environment": {"python": "3.12", "shapely": "2.1"}}, "environment"),
        ({"environment": {"python": "3.11", "shapely": "2.2"}}, "environment"),
        ({"depends": (("metadata/a.yaml", "x"),)}, "project"),
        ({"step": replace(STEP, params=(("n", 2),))}, "parameter"),
        ({"step": replace(STEP, params=(("n", "1"),))}, "parameter"),
        ({"step": replace(STEP, params=(("n", True),))}, "parameter"),
        ({"step": replace(STEP, edges=(replace(EDGE, shape="list"),))}, "recipe"),
        ({"step": replace(STEP, edges=(replace(EDGE, parameter="other"),))}, "recipe"),
        ({"step": replace(STEP, edges=(replace(EDGE, on="id"),))}, "recipe"),
        ({"step": replace(STEP, edges=(replace(EDGE, columns=("a",)),))}, "source"),
        ({"step": replace(STEP, edges=(replace(EDGE, where=(("a", 1),)),))}, "recipe"),
        ({"step": replace(STEP, edges=(EDGE, replace(EDGE, parameter="p2")))}, "recipe"),
        ({"content": "d2"}, "source"),
    ],
)
def test_whatever_an_output_depends_on_changes_the_key(changed: dict[str, Any], kind: str) -> None:
    assert key(**changed) != key()
    differ = set(fields_of(**changed)) ^ set(fields_of())
    assert kind in {k for k, _, _ in differ}


@pytest.mark.parametrize(
    "changed",
    [
        {"recipe": replace(RECIPE, place="elsewhere:99")},
        {"recipe": replace(RECIPE, publish=True)},
        {"recipe": replace(RECIPE, items=(("f", "d"),))},
        {"step": replace(STEP, lanes=(("db", 1),), slots=4, memory_bytes=10, needs=("gpu",))},
        {"step": replace(STEP, retries=3, timeout_s=1.0, priority=9)},
        {"environment": {"python": "3.11", "shapely": "2.1", "numpy": "2.0"}},
        {"sensed_s": 9.0},
        {"bundle": digest_of("other bundle")},
    ],
)
def test_places_lanes_and_times_are_no_fields(changed: dict[str, Any]) -> None:
    assert key(**changed) == key()


def test_columns_read_ask_for_the_digest_of_these_and_of_those_filtered_by() -> None:
    asked: list[Any] = []
    edge = replace(EDGE, columns=("b", "a"), where=(("c", 1), ("a", 2)))
    step = replace(STEP, edges=(edge,))
    found = step_fields(step, situation(step=step), lambda n, c: asked.append((n, c)) or "d")  # type: ignore[func-returns-value]
    assert asked == [("raw", ("b", "a", "c"))]
    assert ("source", "raw(b,a,c)", "d") in found


def test_the_order_of_columns_counts() -> None:
    one, other = (replace(STEP, edges=(replace(EDGE, columns=c),)) for c in (("a", "b"), ("b", "a")))
    assert key(step=one) != key(step=other)


def test_a_parameters_type_counts() -> None:
    values = ["a", "1", 1, True, date(2026, 1, 1), "2026-01-01", "true", "True"]
    assert len({key(step=replace(STEP, params=(("n", v),))) for v in values}) == len(values)


def test_a_recipe_is_explained_the_same_whichever_step_came_first() -> None:
    made = situation()
    first = step_fields(STEP, made, lambda n, c: "d1")
    assert step_fields(STEP, made, lambda n, c: "d1") == first == fields_of()


def test_a_key_is_known_when_every_digest_is() -> None:
    assert is_known(fields_of())
    assert not is_known(fields_of(content=UNKNOWN))
    assert is_known([("source", "?", "x"), ("parameter", "p", "str:?")])


FILE = SourceFile("a.csv", "/data/a.csv", "data/a.csv", 10, digest_of("a"))
DECL = SourceDecl("raw", "data/a.csv", Place("recipes/a.py", 1), key=("id",), format="csv")
SENSED = Sensed("raw", "raw", (FILE,), digest_of("content"))
PIN = Schema((Column("id", "string"),), ("id",))


def intake(sensed: Sensed = SENSED, declaration: SourceDecl = DECL, pin: Schema | None = PIN) -> Digest:
    return key_of(intake_fields(sensed, declaration, pin))


def test_an_intake_depends_on_names_contents_declaration_and_schema() -> None:
    others = [
        intake(replace(SENSED, files=(replace(FILE, name="b.csv"),))),
        intake(replace(SENSED, files=(replace(FILE, digest=digest_of("b")),))),
        intake(replace(SENSED, files=(FILE, replace(FILE, name="b.csv")))),
        intake(declaration=replace(DECL, key=("id", "n"))),
        intake(declaration=replace(DECL, delimiter=";")),
        intake(declaration=replace(DECL, null=())),
        intake(pin=None),
        intake(pin=replace(PIN, columns=(Column("id", "int64"),))),
    ]
    assert len({intake(), *others}) == len(others) + 1


def test_an_intake_does_not_depend_on_places_sizes_and_tokens() -> None:
    moved = replace(FILE, path="/elsewhere/a.csv", shown="x", bytes=11, token=(1, 2, 3, 4, 5))
    assert intake(replace(SENSED, files=(moved,))) == intake()
    assert intake(declaration=replace(DECL, place=Place("z.py", 5), path="other/*.csv", name="raw2")) == intake()
