"""The outlook: what a run tells of its rest, against runs worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from builder.compile.policy import Job, Place, Policy
from builder.compile.predict import ENOUGH_SEEN, Experience, Pace
from builder.execute.nodes import Kind, Node
from builder.execute.outlook import EVERY_S, SHARE, Outlook


def nodes_of(text: str, lanes: Mapping[str, str] = {}, guesses: str = "") -> dict[str, Node]:
    """Nodes from ``a 2; b 3 a``: seconds, and what each waits for."""
    nodes: dict[str, Node] = {}
    for order, clause in enumerate(text.split(";")):
        name, seconds, *needs = clause.split()
        own = ((lanes[name], 1),) if name in lanes else ()
        nodes[name] = Node(name, name, Kind.SOURCE, Job(name, order, float(seconds), 0.0, lanes=own), waits=len(needs))
        nodes[name].is_guess = name in guesses.split()
        for need in needs:
            nodes[need].readers.append(name)
    return nodes


class Run:
    """A run of such nodes, with what it told."""

    def __init__(self, nodes: dict[str, Node], places: int = 2, lanes: Mapping[str, int] = {}) -> None:
        self.told: list[dict[str, Any]] = []
        self.policy = Policy(lanes)
        for number in range(places):
            self.policy.join(Place(str(number)))
        self.cpu_s = 0.0
        self.experience = Experience()
        self.outlook = Outlook(
            nodes, self.policy, lanes, self.experience, self.tell, Pace(), 0.0, lambda: self.cpu_s
        )  # fmt: skip

    def tell(self, kind: str, name: str, **facts: Any) -> None:
        assert (kind, name) == ("progress", "")
        self.told.append(facts)


def left_s(nodes: dict[str, Node], running: Mapping[str, float] = {}, **options: Any) -> float | None:
    run = Run(nodes, **options)
    return run.outlook.left_s([n for n in nodes.values() if not n.is_done], running)


def test_the_rest_takes_as_long_as_its_simulation() -> None:
    assert left_s(nodes_of("a 2; b 3 a; c 4")) == 5.0
    assert left_s(nodes_of("a 2; b 3 a; c 4"), places=1) == 9.0


def test_what_is_done_is_left_out() -> None:
    nodes = nodes_of("a 2; b 3 a; c 4")
    nodes["a"].is_done, nodes["b"].waits = True, 0
    assert left_s(nodes) == 4.0


def test_what_runs_needs_the_rest_of_its_time_and_keeps_its_lane() -> None:
    nodes = nodes_of("a 9; b 9", {"a": "db", "b": "db"})
    assert left_s(nodes, {"b": 6.0}, lanes={"db": 1}) == 3.0 + 9.0


def test_what_has_run_too_long_needs_a_share_of_that_more() -> None:
    assert left_s(nodes_of("a 2"), {"a": 50.0}) == pytest.approx(5.0)


def test_nobody_can_tell_while_a_step_is_not_known_until_its_like_was_seen() -> None:
    run = Run(nodes_of("a 1; b 1", guesses="b"))
    nodes = list(run.outlook.nodes.values())
    assert run.outlook.left_s(nodes, {}) is None
    for _ in range(ENOUGH_SEEN):
        run.experience.add("other", 7.0)
    assert run.outlook.left_s(nodes, {}) == 7.0


def test_nothing_is_told_before_there_are_workers() -> None:
    run = Run(nodes_of("a 2"), places=0)
    run.outlook.look(0.0, ())
    assert run.told == []


def test_the_queues_of_the_lanes_are_told() -> None:
    run = Run(nodes_of("a 2; b 2; c 2", dict.fromkeys("abc", "db")), lanes={"db": 1, "free": 3})
    for node in run.outlook.nodes.values():
        run.policy.offer(node.job)
    assert run.policy.choose() is not None
    run.outlook.look(0.0, ())
    assert run.told == [{
        "done": 0, "left": 3, "running": 0, "left_s": 6.0,
        "lanes": {"db": {"capacity": 1, "taken": 1, "queued": 2}, "free": {"capacity": 3, "taken": 0, "queued": 0}},
    }]  # fmt: skip


def test_a_look_is_seldom_and_the_dearer_it_is_the_more_seldom() -> None:
    run = Run(nodes_of("a 2"))
    costs = iter([0.0, 0.001, 0.0, 0.5, 0.0, 0.0])
    run.outlook.cpu = lambda: next(costs)
    for now_s in (0.0, EVERY_S / 2, EVERY_S):
        run.outlook.look(now_s, ())
    assert len(run.told) == 2
    for now_s in (2 * EVERY_S, EVERY_S + 0.5 / SHARE - 0.1):
        run.outlook.look(now_s, ())
    assert len(run.told) == 2
    run.outlook.look(EVERY_S + 0.5 / SHARE, ())
    assert len(run.told) == 3


def test_the_pace_is_measured_once_enough_was_seen() -> None:
    run = Run(nodes_of("a 2"))
    run.outlook.started(1.5)
    run.outlook.started(9.0)
    for _ in range(ENOUGH_SEEN - 1):
        run.outlook.ended(0.03)
    assert run.outlook.measured() is None
    run.outlook.ended(0.03)
    assert run.outlook.measured() == Pace(1.5, pytest.approx(0.03))
