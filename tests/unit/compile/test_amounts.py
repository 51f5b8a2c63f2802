"""What steps will read, and the forecasts that follow; a ledger of a few lines stands behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from builder.compile.amounts import RESTORE_S, Amount, forecasts, predictions, recall_history
from builder.compile.predict import FIXED_S, Forecast, History, Measured
from builder.plan.keys import key_of, step_fields
from builder.plan.plan import Plan, Version, make_plan, source_fields


@dataclass
class Past:
    """Attempts in the order they ended: (step, recipe, measured)."""

    attempts: list[tuple[str, str, Measured]] = field(default_factory=list)

    def samples(self, recipes: Iterable[str], most: int = 20) -> dict[str, list[Measured]]:
        return {r: [m for _, own, m in reversed(self.attempts) if own == r][:most] for r in recipes}

    def last(self, steps: Iterable[str], most: int = 3) -> dict[str, list[Measured]]:
        return {s: [m for own, _, m in reversed(self.attempts) if own == s][:most] for s in steps}


@pytest.fixture
def planned(world: Any, remembered: Any) -> Callable[..., Plan]:
    """The plan of an empty store; the source is a table."""
    return lambda text, contents=None, tables=frozenset("s"): make_plan(
        world(text, contents or {"s": "12345"}, tables=tables).situation, remembered
    )


def test_a_step_takes_what_it_took_last_else_the_median_of_its_recipe_else_of_the_project(
    planned: Callable[..., Plan],
) -> None:
    plan = planned("s -> m[k=1] m[k=2] m[k=3] m[k=4] other")
    took = {"m[k=1]": 1.0, "m[k=2]": 3.0, "m[k=3]": 9.0, "s": 40.0}
    past = Past([(name, name[0], Measured(s, step=name)) for name, s in took.items()])
    found = forecasts(plan, past, {})
    assert [found[n] and found[n].s for n in ("m[k=1]", "m[k=4]", "s", "other")] == [1.0, 3.0, 40.0, 6.0]
    assert list(found) == [*plan.intakes, *plan.steps]
    assert set(forecasts(plan, Past(), {}).values()) == {None}


def test_a_project_that_plans_only_what_never_ran_goes_by_its_other_recipes(
    world: Any, remembered: Any, manifest_of: Any
) -> None:
    made = world("s -> old new", {"s": "1"})
    commit(remembered, made, manifest_of, "old")
    plan = make_plan(made.situation, remembered)
    assert plan.steps == ("new",)
    assert forecasts(plan, Past([("old", "old", Measured(4.0))]), {})["new"] == Forecast(4.0, 4.0, 4.0)


def test_times_are_the_last_three_of_a_step(planned: Callable[..., Plan]) -> None:
    past = Past([("a", "a", Measured(float(s))) for s in (90, 1, 3, 2)])
    assert [m.wall_s for m in recall_history(planned("s -> a"), past).steps["a"]] == [2.0, 3.0, 1.0]


def test_a_source_is_taken_in_in_proportion_to_its_files(planned: Callable[..., Plan]) -> None:
    history = History.of({"s": [Measured(1.0 + FIXED_S, 10)] * 2})
    assert predictions(planned("s -> a"), history, {})["s"].s == pytest.approx(0.5 + FIXED_S), "5 bytes now"


def test_growth_is_handed_down_to_what_is_still_to_be_built(planned: Callable[..., Plan]) -> None:
    seen = {
        "s": [Measured(1.0, 10)],
        "a": [Measured(1.0 + FIXED_S, 100)] * 2,
        "b": [Measured(1.0 + FIXED_S, 50)] * 2,
        "c": [Measured(1.0 + FIXED_S, 24)] * 2,
    }
    held = {"s": Amount(100), "a": Amount(50), "b": Amount(24)}
    found = predictions(planned("s -> a; a -> b; b -> c"), History.of(seen), held)
    assert [round(found[n].s - FIXED_S, 6) for n in "abc"] == [0.5, 0.5, 0.5], "the source has half its bytes"


def test_a_source_of_files_is_read_as_it_is_now(planned: Callable[..., Plan]) -> None:
    history = History.of({"a": [Measured(1.0 + FIXED_S, 10)] * 2})
    found = predictions(planned("s -> a", tables=frozenset()), history, {"s": Amount(10)})
    assert found["a"].s == pytest.approx(0.5 + FIXED_S), "5 bytes now"


def test_where_one_input_is_not_known_nothing_is_scaled(planned: Callable[..., Plan]) -> None:
    found = predictions(planned("s a -> b; s -> a"), History.of({"b": [Measured(2.0, 100)]}), {"s": Amount(400)})
    assert found["b"] == Forecast(2.0, 2.0, 2.0)


def test_a_restore_is_predicted_as_a_restore(world: Any, remembered: Any, manifest_of: Any) -> None:
    made = world("s -> a", {"s": "1"})
    for content in ("1", "2"):
        made.contents["s"] = content
        commit(remembered, made, manifest_of, "a")
    made.contents["s"] = "1"
    found = predictions(make_plan(made.situation, remembered), History.of({"a": [Measured(50.0)]}), {})
    assert {name: f.s for name, f in found.items()} == {"s": RESTORE_S, "a": RESTORE_S}


def commit(remembered: Any, made: Any, manifest_of: Any, step: str) -> None:
    """Remember the source's present content, and a step that read it."""
    situation, content = made.situation, made.contents["s"]
    fields = source_fields("s", situation)
    remembered.commit("s", key_of(fields), fields, {"s": manifest_of("s" + content)})
    version = Version(situation.sources["s"].content)
    fields = step_fields(situation.graph.steps[step], situation, lambda n, c: version.digest)
    remembered.commit(step, key_of(fields), fields, {step: manifest_of(step + content)})
