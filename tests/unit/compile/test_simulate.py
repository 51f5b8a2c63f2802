"""The simulator against schedules worked out by hand."""

from __future__ import annotations

import random

import pytest

from builder.compile.policy import Job, Place, first_in_first_out
from builder.compile.simulate import simulate


def network(text: str) -> tuple[list[Job], dict[str, list[str]], dict[str, int]]:
    """Jobs from lines such as ``a 2 <- b c @db``: seconds, what it waits for, its lane."""
    rows = []
    for line in text.strip().splitlines():
        left, _, needs = line.partition("<-")
        name, seconds, *lane = left.split()
        rows.append((name, float(seconds), needs.split(), [lane_name[1:] for lane_name in lane]))
    readers: dict[str, list[str]] = {name: [] for name, *_ in rows}
    for name, _, needs, _ in rows:
        for need in needs:
            readers[need].append(name)
    depth: dict[str, float] = {}
    for name, seconds, _, _ in reversed(rows):
        depth[name] = seconds + max((depth[r] for r in readers[name]), default=0.0)
    jobs = [
        Job(name, n, seconds, depth[name], lanes=tuple((lane, 1) for lane in lanes))
        for n, (name, seconds, _, lanes) in enumerate(rows)
    ]
    return jobs, readers, {name: len(needs) for name, _, needs, _ in rows}


def places(count: int) -> list[Place]:
    return [Place(str(n)) for n in range(count)]


def test_a_chain_takes_the_sum_of_its_parts() -> None:
    times = simulate(*network("a 1\nb 2 <- a\nc 3 <- b"), {}, places(4))
    assert [(times[n].start_s, times[n].finish_s) for n in "abc"] == [(0, 1), (1, 3), (3, 6)]


def test_the_long_way_first_saves_time_against_first_in_first_out() -> None:
    jobs, readers, waits = network("x 2\ny 2\na 1\nb 4 <- a")
    best = simulate(jobs, readers, waits, {}, places(2))
    naive = simulate(jobs, readers, waits, {}, places(2), rank=first_in_first_out)
    assert max(t.finish_s for t in best.values()) == 5
    assert max(t.finish_s for t in naive.values()) == 7


def test_a_lane_makes_its_jobs_wait_for_each_other() -> None:
    times = simulate(*network("a 2 @db\nb 2 @db\nc 1"), {"db": 1}, places(3))
    assert (times["a"].start_s, times["b"].start_s, times["c"].start_s) == (0, 2, 0)


def test_overhead_is_paid_per_start() -> None:
    times = simulate(*network("a 1\nb 1 <- a"), {}, places(1), overhead_s=0.5)
    assert times["b"].finish_s == 3


@pytest.mark.parametrize("seed", range(10))
def test_no_schedule_beats_its_bounds_or_breaks_an_edge(seed: int) -> None:
    random_ = random.Random(seed)
    lines = []
    for n in range(60):
        needs = " ".join(f"j{random_.randrange(n)}" for _ in range(random_.randint(0, 3))) if n else ""
        needs = " ".join(dict.fromkeys(needs.split()))
        lines.append(f"j{n} {random_.lognormvariate(0, 1):.3f} {'@db' if random_.random() < 0.2 else ''} <- {needs}")
    jobs, readers, waits = network("\n".join(lines))
    times = simulate(jobs, readers, waits, {"db": 2}, places(3))
    assert len(times) == 60
    for name, following in readers.items():
        assert all(times[f].start_s >= times[name].finish_s - 1e-9 for f in following)
    finish = max(t.finish_s for t in times.values())
    lane_s = sum(j.predicted_s for j in jobs if j.lanes) / 2
    assert finish >= max(max(j.depth_s for j in jobs), sum(j.predicted_s for j in jobs) / 3, lane_s) - 1e-9
    events = sorted({t.start_s for t in times.values()})
    assert all(sum(t.start_s <= e < t.finish_s for t in times.values()) <= 3 for e in events)
