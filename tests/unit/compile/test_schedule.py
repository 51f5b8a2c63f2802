"""The schedule of a plan: predicted times, a start and an end for each step, and what bounds the whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from builder.compile.amounts import predictions
from builder.compile.predict import History, Measured
from builder.compile.schedule import Schedule, make_schedule
from builder.plan.plan import Plan, make_plan

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


def make(
    plan: Plan, seconds: Mapping[str, float], lanes: Mapping[str, int], workers: int, first: tuple[str, ...] = ()
) -> Schedule:
    """The schedule where each of these names was seen to take this long."""
    found = predictions(plan, History.of({n: [Measured(s)] for n, s in seconds.items()}), {})
    return make_schedule(plan, found, lanes, workers, frozenset(first))


def test_steps_start_when_what_they_read_is_there_and_a_worker_is_free(planned: Callable[..., Plan]) -> None:
    two = make(planned(), COSTS, {}, 2)
    assert spans(two) == {"s": (0.0, 0.0), "a": (0.0, 1.0), "c": (1.0, 4.0), "b": (1.0, 3.0), "d": (4.0, 5.0)}
    assert (two.predicted_s, two.bounds.critical_path_s, two.bounds.work_s, two.bounds.bottleneck) == (
        5.0,
        5.0,
        3.5,
        "critical path",
    )
    one = make(planned(), COSTS, {}, 1)
    assert (one.predicted_s, one.bounds.work_s, one.bounds.bottleneck) == (7.0, 7.0, "work")
    assert [s.name for s in one.slots] == ["s", "a", "c", "b", "d"]


def test_priority_is_the_longest_predicted_way_to_the_end(planned: Callable[..., Plan]) -> None:
    made = {s.name: s.priority for s in make(planned(), COSTS, {}, 2).slots}
    assert made == {"s": 5.0, "a": 5.0, "b": 3.0, "c": 4.0, "d": 1.0}


def test_a_lane_holds_back_what_has_no_room_in_it(planned: Callable[..., Plan]) -> None:
    taken = {n: {"lanes": (("db", 1),)} for n in ("x", "y", "z")}
    made = make(
        planned("s -> x y z free", **taken), dict.fromkeys(["x", "y", "z", "free"], 2.0) | {"s": 0.0}, {"db": 1}, 4
    )
    starts = sorted(s or 0.0 for n, (s, _) in spans(made).items() if n in taken)
    assert starts == [0.0, 2.0, 4.0] and spans(made)["free"] == (0.0, 2.0)
    assert (made.predicted_s, made.bounds.lanes_s, made.bounds.bottleneck) == (6.0, {"db": 6.0}, "lane db")
    assert {s.name: s.lanes for s in made.slots}["x"] == (("db", 1),)


def test_no_schedule_beats_its_bounds(planned: Callable[..., Plan]) -> None:
    for workers in (1, 2, 3, 8):
        made = make(planned(), COSTS, {"db": 1}, workers)
        assert made.bounds is not None
        bounds = [made.bounds.critical_path_s, made.bounds.work_s, *made.bounds.lanes_s.values(), made.bounds.largest_s]
        assert all((made.predicted_s or 0.0) >= (bound or 0.0) - 1e-9 for bound in bounds)


def test_without_any_history_there_is_an_order_and_no_times(planned: Callable[..., Plan]) -> None:
    made = make(planned(), {}, {}, 2)
    assert (made.predicted_s, made.bounds) == (None, None)
    assert {s.start_s for s in made.slots} == {None}
    order = [s.name for s in made.slots]
    assert order.index("a") < min(order.index("b"), order.index("c")) and order[-1] == "d"


def test_an_empty_plan_has_an_empty_schedule(planned: Callable[..., Plan], world: Any, remembered: Any) -> None:
    made = make(make_plan(world("", {}).situation, remembered), {}, {"db": 1}, 2)
    assert (made.slots, made.predicted_s, made.bounds.bottleneck) == ((), 0.0, "")


def test_intakes_and_targets_are_told_apart_with_their_action(planned: Callable[..., Plan]) -> None:
    made = {s.name: (s.kind, s.action) for s in make(planned("s -> a"), {}, {}, 1).slots}
    assert made == {"s": ("intake", "run"), "a": ("target", "run")}


def test_what_is_wanted_first_goes_first_and_has_bounds_of_its_own(planned: Callable[..., Plan]) -> None:
    plan = planned("s -> a x y z; a -> wanted")
    costs = {"s": 0.0, "a": 1.0, "wanted": 1.0, "x": 9.0, "y": 9.0, "z": 9.0}
    made = make(plan, costs, {}, 2, first=("s", "a", "wanted"))
    assert spans(made)["wanted"] == (1.0, 2.0)
    assert made.first_s == 2.0 and made.first_bounds is not None and made.first_bounds.largest_s == 2.0
    plain = make(plan, costs, {}, 2)
    assert (plain.first_s, plain.first_bounds) == (None, None) and (spans(plain)["wanted"][1] or 0) > 2.0


def test_a_long_way_behind_the_wanted_ones_does_not_hold_them_up(planned: Callable[..., Plan]) -> None:
    plan = planned("s -> a b; a -> wanted; b -> wanted late; late -> later")
    costs = {"s": 0.0, "a": 2.0, "b": 1.0, "wanted": 1.0, "late": 9.0, "later": 9.0}
    made = make(plan, costs, {}, 1, first=("s", "a", "b", "wanted"))
    assert [s.name for s in made.slots] == ["s", "a", "b", "wanted", "late", "later"]
