"""How many workers the ready work can use: by its time, lanes, slots and abilities."""

from collections.abc import Iterable
from typing import Any

import pytest

from builder.compile.policy import Job, Place, Policy
from builder.execute.scaling import WORTH_S, demand


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
