"""Lower bounds: small ones worked out by hand, and against the best of all orders where those can be tried."""

from __future__ import annotations

import random
from itertools import permutations

import pytest

from builder.compile.bounds import Bounds, lower_bounds
from builder.compile.policy import Job, Place, Rank
from builder.compile.simulate import simulate


def jobs_of(*rows: tuple[str, float, str, str], slots: int = 1) -> tuple[list[Job], dict[str, list[str]]]:
    """Jobs from (name, seconds, needs, lanes); needs and lanes are names apart by spaces."""
    readers: dict[str, list[str]] = {name: [] for name, *_ in rows}
    for name, _, needs, _ in rows:
        for need in needs.split():
            readers[need].append(name)
    jobs = [
        Job(name, n, s, 0.0, lanes=tuple((lane, 1) for lane in lanes.split()), slots=slots)
        for n, (name, s, _, lanes) in enumerate(rows)
    ]
    return jobs, readers


def test_no_jobs_have_no_bounds() -> None:
    assert lower_bounds([], {}, {"db": 1}, 4) == Bounds(lanes_s={"db": 0.0})


def test_a_chain_is_bound_by_its_length() -> None:
    found = lower_bounds(*jobs_of(("a", 1.0, "", ""), ("b", 2.0, "a", ""), ("c", 3.0, "b", "")), {}, 4)
    assert (found.critical_path_s, found.work_s, found.largest_s, found.bottleneck) == (6.0, 1.5, 6.0, "critical path")


def test_work_is_spread_over_the_workers() -> None:
    found = lower_bounds(*jobs_of(*((f"j{n}", 1.0, "", "") for n in range(8))), {}, 2)
    assert (found.work_s, found.largest_s, found.bottleneck) == (4.0, 4.0, "work")


def test_a_job_takes_as_many_workers_as_there_are_at_most() -> None:
    jobs, readers = jobs_of(("a", 1.0, "", ""), ("b", 1.0, "", ""), slots=8)
    assert lower_bounds(jobs, readers, {}, 2).work_s == 2.0


def test_a_lane_cannot_begin_before_what_feeds_it_nor_end_with_the_run() -> None:
    rows = [("feed", 3.0, "", ""), *((f"q{n}", 2.0, "feed", "db") for n in range(4)), ("end", 1.0, "q0 q1 q2 q3", "")]
    found = lower_bounds(*jobs_of(*rows), {"db": 1}, 9)
    assert found.lanes_s == {"db": 8.0}
    assert (found.largest_s, found.bottleneck) == (3.0 + 8.0 + 1.0, "lane db")


def test_a_late_part_of_a_lane_can_bind_more_than_the_whole() -> None:
    rows = [("early", 1.0, "", "db"), ("feed", 9.0, "", ""), *((f"q{n}", 2.0, "feed", "db") for n in range(3))]
    assert lower_bounds(*jobs_of(*rows), {"db": 1}, 9).largest_s == 9.0 + 6.0


def test_a_lane_of_two_idles_as_long_as_its_second_unit_has_to_wait() -> None:
    rows = [("f", 4.0, "", ""), ("a", 5.0, "", "db"), ("b", 5.0, "f", "db"), ("c", 5.0, "f", "db")]
    assert lower_bounds(*jobs_of(*rows), {"db": 2}, 9).largest_s == pytest.approx((0.0 + 4.0 + 15.0) / 2)


@pytest.mark.parametrize("seed", range(40))
def test_no_order_of_the_steps_beats_a_bound(seed: int) -> None:
    chance = random.Random(seed)
    rows = []
    for n in range(6):
        needs = " ".join(sorted({f"j{chance.randrange(n)}" for _ in range(chance.randint(0, 2))})) if n else ""
        rows.append((f"j{n}", float(chance.randint(1, 9)), needs, chance.choice(["", "x", "x", "y"])))
    jobs, readers = jobs_of(*rows)
    waits = {name: sum(name in r for r in readers.values()) for name in readers}
    lanes, places = {"x": 1, "y": 2}, [Place("a"), Place("b")]
    bound_s = lower_bounds(jobs, readers, lanes, len(places)).largest_s
    best_s = float("inf")
    for order in permutations(range(len(jobs))):

        def rank(job: Job, order: tuple[int, ...] = order) -> Rank:
            return (order[job.order],)

        times = simulate(jobs, readers, waits, lanes, places, rank)
        best_s = min(best_s, max(t.finish_s for t in times.values()))
    assert best_s >= bound_s - 1e-9
