"""The schedule of a plan: predicted times, a start and an end for each step, and what bounds the whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from builder.compile.schedule import RESTORE_S, Schedule, make_schedule, predictions
from builder.plan.keys import key_of, step_fields
from builder.plan.plan import Plan, Version, make_plan, source_fields

DIAMOND = "s -> a; a -> b c; b c -> d"
COSTS = {"s": 0.0, "a": 1.0, "b": 2.0, "c": 3.0, "d": 1.0}


@pytest.fixture
def planned(world: Any, remembered: Any) -> Callable[..., Plan]:
    """The plan of an empty store."""
    return lambda text=DIAMOND, contents=None, **options: make_plan(
        world(text, contents or {"s": "1"}, options).situation, remembered
    )


def spans(schedule: Schedule) -> dict[str, tuple[float | None, float | None]]:
    return {s.name: (s.start_s, s.finish_s) for s in schedule.slots}


def test_a_step_takes_what_it_took_last_else_the_median_of_its_recipe_else_of_the_project(
    planned: Callable[..., Plan],
) -> None:
    plan = planned("s -> m[k=1] m[k=2] m[k=3] m[k=4] other")
    history = {"m[k=1]": 1.0, "m[k=2]": 3.0, "m[k=3]": 9.0, "s": 40.0}
    found = predictions(plan, history)
    assert (found["m[k=1]"], found["m[k=4]"], found["s"]) == (1.0, 3.0, 40.0)
    assert found["other"] == pytest.approx(6.0)
    assert set(predictions(plan, {}).values()) == {None}


def test_a_restore_is_predicted_as_a_restore(world: Any, remembered: Any, manifest_of: Any) -> None:
    made = world("s -> a", {"s": "1"})
    for content in ("1", "2"):
        made.contents["s"] = content
        situation = made.situation
        remembered.commit(
            "s", key_of(source_fields("s", situation)), source_fields("s", situation), {"s": manifest_of("s" + content)}
        )
        version = Version(situation.sources["s"].content)
        fields = step_fields(situation.graph.steps["a"], situation, lambda n, c, v=version: v.digest)
        remembered.commit("a", key_of(fields), fields, {"a": manifest_of("a" + content)})
    made.contents["s"] = "1"
    assert predictions(make_plan(made.situation, remembered), {"a": 50.0}) == {"s": RESTORE_S, "a": RESTORE_S}


def test_steps_start_when_what_they_read_is_there_and_a_worker_is_free(planned: Callable[..., Plan]) -> None:
    two = make_schedule(planned(), COSTS, {}, 2)
    assert spans(two) == {"s": (0.0, 0.0), "a": (0.0, 1.0), "c": (1.0, 4.0), "b": (1.0, 3.0), "d": (4.0, 5.0)}
    assert (two.predicted_s, two.critical_path_s, two.work_s, two.bottleneck) == (5.0, 5.0, 3.5, "critical path")
    one = make_schedule(planned(), COSTS, {}, 1)
    assert (one.predicted_s, one.work_s, one.bottleneck) == (7.0, 7.0, "work")
    assert [s.name for s in one.slots] == ["s", "a", "c", "b", "d"]


def test_priority_is_the_longest_predicted_way_to_the_end(planned: Callable[..., Plan]) -> None:
    made = {s.name: s.priority for s in make_schedule(planned(), COSTS, {}, 2).slots}
    assert made == {"s": 5.0, "a": 5.0, "b": 3.0, "c": 4.0, "d": 1.0}


def test_a_lane_holds_back_what_has_no_room_in_it(planned: Callable[..., Plan]) -> None:
    taken = {n: {"lanes": (("db", 1),)} for n in ("x", "y", "z")}
    made = make_schedule(
        planned("s -> x y z free", **taken), dict.fromkeys(["x", "y", "z", "free"], 2.0) | {"s": 0.0}, {"db": 1}, 4
    )
    starts = sorted(s or 0.0 for n, (s, _) in spans(made).items() if n in taken)
    assert starts == [0.0, 2.0, 4.0] and spans(made)["free"] == (0.0, 2.0)
    assert (made.predicted_s, made.lanes_s, made.bottleneck) == (6.0, {"db": 6.0}, "lane db")
    assert {s.name: s.lanes for s in made.slots}["x"] == (("db", 1),)


def test_no_schedule_beats_its_bounds(planned: Callable[..., Plan]) -> None:
    for workers in (1, 2, 3, 8):
        made = make_schedule(planned(), COSTS, {"db": 1}, workers)
        bounds = [made.critical_path_s, made.work_s, *made.lanes_s.values()]
        assert all((made.predicted_s or 0.0) >= (bound or 0.0) - 1e-9 for bound in bounds)


def test_without_any_history_there_is_an_order_and_no_times(planned: Callable[..., Plan]) -> None:
    made = make_schedule(planned(), {}, {}, 2)
    assert (made.predicted_s, made.critical_path_s, made.bottleneck) == (None, None, "")
    assert {s.start_s for s in made.slots} == {None}
    order = [s.name for s in made.slots]
    assert order.index("a") < min(order.index("b"), order.index("c")) and order[-1] == "d"


def test_an_empty_plan_has_an_empty_schedule(planned: Callable[..., Plan], world: Any, remembered: Any) -> None:
    made = make_schedule(make_plan(world("", {}).situation, remembered), {}, {"db": 1}, 2)
    assert (made.slots, made.predicted_s, made.bottleneck) == ((), 0.0, "")


def test_intakes_and_targets_are_told_apart_with_their_action(planned: Callable[..., Plan]) -> None:
    made = {s.name: (s.kind, s.action) for s in make_schedule(planned("s -> a"), {}, {}, 1).slots}
    assert made == {"s": ("intake", "run"), "a": ("target", "run")}
