"""How many workers the ready work can use: by its time, lanes, slots and abilities."""

from collections.abc import Iterable
from typing import Any

import pytest

from builder.compile.policy import Job, Place, Policy
from builder.execute import scaling
from builder.execute.scaling import WORTH_S, Scaling, demand


def policy_with(jobs: Iterable[Job], places: Iterable[Place] = (), **lanes: int) -> Policy:
    made = Policy(lanes)
    for place in places:
        made.join(place)
    for job in jobs:
        made.offer(job)
    return made


def jobs(count: int, seconds: float = 60.0, **options: Any) -> list[Job]:
    return [Job(f"j{i}", i, seconds, seconds, **options) for i in range(count)]


@pytest.mark.parametrize(
    ("ready", "lanes", "expected"),
    [
        ([], {}, 0),
        (jobs(7), {}, 7),
        (jobs(7, lanes=(("db", 1),)), {"db": 3}, 3),
        (jobs(7, lanes=(("db", 2),)), {"db": 3}, 1),
        (jobs(2, slots=4), {}, 8),
        (jobs(1000, seconds=WORTH_S / 100), {}, 10),
        (jobs(1, seconds=0.001, slots=4), {}, 4),
        (jobs(3, seconds=0.001), {}, 1),
    ],
)
def test_the_demand_is_what_could_run_at_once_and_is_worth_a_worker(
    ready: list[Job], lanes: dict[str, int], expected: int
) -> None:
    assert demand(policy_with(ready, **lanes)) == expected


def test_what_runs_counts_and_what_no_worker_can_run_does_not() -> None:
    policy = policy_with([*jobs(1), *jobs(5, needs=frozenset({"gpu"}))], [Place("a"), Place("b")])
    assert policy.choose() is not None
    assert demand(policy) == 1
    policy.join(Place("c", abilities=frozenset({"gpu"})))
    assert demand(policy) == 6


class Slow:
    """A cluster that notes what it is asked for; `fault` is what `scale` raises."""

    def __init__(self) -> None:
        self.worker_spec: dict[int, None] = {}
        self.asked: list[int] = []
        self.fault: Exception | None = None

    def scale(self, count: int) -> None:
        if self.fault is not None:
            raise self.fault
        self.asked.append(count)
        self.worker_spec.update(dict.fromkeys(range(count)))


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    monkeypatch.setattr(scaling, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(scaling, "IDLE_S", 0.0)
    return Slow()


def test_workers_that_were_lost_are_asked_for_again(slow: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    clock_s = iter((0.0, 1.0, 2.0, 12.0, 21.0, 22.0, 30.0, 42.0))
    monkeypatch.setattr(scaling.time, "monotonic", lambda: next(clock_s))
    it = Scaling(slow, None, 3, lambda name, finding: None)
    policy = policy_with(jobs(7))
    for _ in range(2):
        it.follow(policy, ["a", "b", "c"])
    assert slow.asked == [3]
    for _ in range(3):
        it.follow(policy, ["a"])
    assert slow.asked == [3], "who only comes late is not asked for twice"
    for _ in range(3):
        it.follow(policy, ["a"])
    assert slow.asked == [3, 3, 3]


def test_the_last_workers_are_not_given_back_for_those_that_were_lost(slow: Slow) -> None:
    it = Scaling(slow, None, 4, lambda name, finding: None)
    slow.scale(4)
    policy = policy_with([], [Place("a")])
    for _ in range(3):
        it.follow(policy, ["a"])
    assert slow.asked == [4] and policy.places


def test_a_cluster_that_cannot_grow_is_told_once_and_asked_again(slow: Slow) -> None:
    told: list[tuple[str, str]] = []
    it = Scaling(slow, None, 3, lambda name, finding: told.append((name, finding)))
    slow.fault = OSError("no queue")
    for _ in range(3):
        it.follow(policy_with(jobs(7)), ["a"])
    assert told == [("the cluster", "its size cannot be changed: OSError: no queue")]
    slow.fault = None
    it.follow(policy_with(jobs(7)), ["a"])
    assert slow.asked == [3]
