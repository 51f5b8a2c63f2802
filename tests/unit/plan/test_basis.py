"""What an update may start from: only content that changed, in inputs that a rule can follow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from builder.digests import Digest, digest_of
from builder.graph.declare import Grain
from builder.graph.graph import Edge, RecipeNode, Step
from builder.plan.basis import Basis, basis_of
from builder.plan.keys import Field

EDGES = (
    Edge("shops", "one", ("shops",)),
    Edge("cities", "one", ("cities",), on="city"),
    Edge("rates", "one", ("rates",)),
)
STEP = Step("r", "r", (), EDGES, ("r",))
RECIPE = RecipeNode("r", "recipes/a.py:1", digest_of("code"), (), "", grain=Grain("rows", "shops"))
FIELDS: list[Field] = [
    ("recipe", "r", "code"),
    ("environment", "pandas", "2.2"),
    ("recipe", "input shops", "one *"),
    ("source", "shops", "s1"),
    ("recipe", "input cities", "one * on city"),
    ("upstream", "cities", "c1"),
    ("recipe", "input rates", "one *"),
    ("upstream", "rates", "r1"),
]


class Traces:
    def __init__(self, fields: list[Field] | None) -> None:
        self.known = fields

    def built_key(self, step: str) -> Digest | None:
        return None if self.known is None else Digest("k")

    def fields(self, key: Digest) -> list[Field]:
        assert self.known is not None
        return self.known

    def made_by(self, key: Digest) -> str:
        return ""


def now(**values: str) -> list[Field]:
    return [(kind, subject, values.get(subject, value)) for kind, subject, value in FIELDS]


def basis(fields: list[Field], recipe: RecipeNode = RECIPE, step: Step = STEP, before: Any = FIELDS) -> Basis | str:
    return basis_of(step, recipe, fields, Traces(before))  # type: ignore[arg-type]


def test_rows_of_the_main_input_and_of_what_is_looked_up_can_be_followed():
    assert basis(now(shops="s2")) == Basis(Digest("k"), "rows", ("shops",), "shops")
    assert basis(now(shops="s2", cities="c2")) == Basis(Digest("k"), "rows", ("shops", "cities"), "shops")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (now(rates="r2"), "'rates' changed, which every row may depend on"),
        (now(shops="s2", r="other"), "its code changed"),
        (now(shops="s2", pandas="3.0"), "the environment changed"),
        (now(), "nothing that it reads changed"),
        ([*now(shops="s2"), ("project", "a.yaml", "d")], "it reads other inputs than before"),
    ],
)
def test_what_cannot_be_followed_is_said(fields, said):
    assert basis(fields) == said


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (replace(RECIPE, grain=Grain()), "its rows may depend on all of its input"),
        (replace(RECIPE, policy="full"), 'its policy is "full"'),
        (replace(RECIPE, pure=False), "it is no function of its inputs"),
        (replace(RECIPE, grain=Grain("rows", "none")), "its rows go by no single table"),
    ],
)
def test_a_recipe_may_rule_updates_out(recipe, said):
    assert basis(now(shops="s2"), recipe) == said


def test_what_was_never_built_has_no_basis():
    assert basis(now(shops="s2"), before=None) == "it was not built before"


def test_an_own_update_hears_of_every_change():
    recipe = replace(RECIPE, grain=Grain(), update="f")
    assert basis(now(rates="r2"), recipe) == Basis(Digest("k"), "update", ("rates",))


def test_regions_are_followed_by_the_rule_of_points_and_regions_alone():
    step = Step("r", "r", (), (Edge("points", "one", ("shops",)), Edge("regions", "one", ("rates",))), ("r",))
    fields = [f for f in FIELDS if f[1] in ("r", "shops", "rates")]
    changed = [(k, s, "new" if s == "rates" else v) for k, s, v in fields]
    for kind, is_followed in (("spatial", True), ("rows", False)):
        found = basis(changed, replace(RECIPE, grain=Grain(kind, "points")), step, fields)  # type: ignore[arg-type]
        assert isinstance(found, Basis) == is_followed
