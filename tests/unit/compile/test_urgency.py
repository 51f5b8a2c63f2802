"""Urgency with queues counted: never worse than the longest way, and best where a lane has to start early."""

import random

import pytest

from builder.compile.policy import Job, Place
from builder.compile.simulate import simulate
from builder.compile.urgency import with_queues


def network(edges, seconds, lane_of=()):
    """Jobs in the order of `seconds`, with the longest way to the end, and who waits for whom."""
    readers = {name: [b for a, b in edges if a == name] for name in seconds}
    depth_s = {}
    for name in reversed(list(seconds)):
        depth_s[name] = seconds[name] + max((depth_s[r] for r in readers[name]), default=0.0)
    jobs = [
        Job(name, order, s, depth_s[name], lanes=((lane_of[name], 1),) if name in lane_of else ())
        for order, (name, s) in enumerate(seconds.items())
    ]
    return jobs, readers


def finish_s(jobs, readers, lanes, workers):
    waits = {job.name: sum(job.name in r for r in readers.values()) for job in jobs}
    places = [Place(str(n)) for n in range(workers)]
    return max(t.finish_s for t in simulate(jobs, readers, waits, lanes, places).values())


def feeding(lane_jobs=6, others=3):
    """Short jobs that feed a lane of one, beside a few long ones that nobody waits for."""
    seconds = {f"long{n}": 4.0 for n in range(others)}
    seconds |= {f"feed{n}": 1.0 for n in range(lane_jobs)} | {f"lane{n}": 2.0 for n in range(lane_jobs)}
    edges = [(f"feed{n}", f"lane{n}") for n in range(lane_jobs)]
    return (*network(edges, seconds, {f"lane{n}": "db" for n in range(lane_jobs)}), {"db": 1})


def test_a_lane_is_fed_before_longer_ways_that_no_lane_is_on():
    jobs, readers, lanes = feeding()
    places = [Place("a"), Place("b")]
    ranked = with_queues(jobs, readers, lanes, places)
    assert finish_s(jobs, readers, lanes, 2) > finish_s(ranked, readers, lanes, 2)
    assert finish_s(ranked, readers, lanes, 2) >= 1.0 + 6 * 2.0  # the lane's own work after what feeds it


def test_only_the_ranks_change():
    jobs, readers, lanes = feeding()
    ranked = with_queues(jobs, readers, lanes, [Place("a"), Place("b")])
    same = [(j.name, j.order, j.predicted_s, j.lanes) for j in ranked]
    assert same == [(j.name, j.order, j.predicted_s, j.lanes) for j in jobs]


def test_without_lanes_the_longest_way_stands():
    jobs, readers = network([("a", "b")], {"a": 1.0, "b": 2.0, "c": 5.0})
    assert with_queues(jobs, readers, {}, [Place("w")]) == tuple(jobs)


@pytest.mark.parametrize("seed", range(30))
def test_the_finish_is_never_later_than_with_the_longest_way_alone(seed):
    chance = random.Random(seed)
    seconds = {f"n{n}": chance.lognormvariate(0, 0.7) for n in range(60)}
    edges = {(f"n{chance.randrange(n)}", f"n{n}") for n in range(10, 60) for _ in range(2)}
    lane_of = {name: chance.choice("xy") for name in seconds if chance.random() < 0.5}
    jobs, readers = network(sorted(edges), seconds, lane_of)
    lanes = {"x": 1, "y": 2}
    places = [Place(str(n)) for n in range(4)]
    ranked = with_queues(jobs, readers, lanes, places)
    assert finish_s(ranked, readers, lanes, 4) <= finish_s(jobs, readers, lanes, 4)
