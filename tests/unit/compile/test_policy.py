"""The scheduling policy: rank, lanes, places, packs."""

from __future__ import annotations

import random

import pytest

from builder.compile.policy import PACK_S, Job, Place, Policy, by_depth, first_in_first_out


def job(name: str, depth_s: float = 1.0, predicted_s: float = 1.0, **rest: object) -> Job:
    return Job(name, int(rest.pop("order", 0)), predicted_s, depth_s, **rest)  # type: ignore[arg-type]


def policy(places: int = 1, lanes: dict[str, int] | None = None, **rest: object) -> Policy:
    made = Policy(lanes or {}, **rest)  # type: ignore[arg-type]
    for number in range(places):
        made.join(Place(f"w{number}"))
    return made


def started(made: Policy) -> list[str]:
    """Names of all that starts now, in order."""
    names = []
    while (start := made.choose()) is not None:
        names += [j.name for j in start.jobs]
    return names


def test_the_longest_way_to_the_end_goes_first() -> None:
    made = policy(places=3)
    for name, depth in (("short", 1.0), ("long", 9.0), ("middle", 5.0)):
        made.offer(job(name, depth))
    assert started(made) == ["long", "middle", "short"]


def test_priority_beats_depth_and_first_beats_priority() -> None:
    made = policy(places=3)
    made.offer(job("deep", 9.0))
    made.offer(job("urgent", 1.0, priority=1))
    made.offer(job("wanted", 1.0, is_first=True))
    assert started(made) == ["wanted", "urgent", "deep"]


def test_declaration_order_decides_among_equals() -> None:
    made = policy(places=3)
    for order, name in enumerate("cab"):
        made.offer(job(name, order=order))
    assert started(made) == ["c", "a", "b"]


def test_first_in_first_out_knows_only_the_order_of_offers() -> None:
    made = policy(places=3, rank=first_in_first_out)
    made.offer(job("short", 1.0))
    made.offer(job("long", 9.0))
    assert started(made) == ["short", "long"]


def test_a_place_runs_one_start_at_a_time() -> None:
    made = policy(places=1)
    made.offer(job("a", 2.0))
    made.offer(job("b"))
    assert started(made) == ["a"]
    made.end(["a"])
    assert started(made) == ["b"]


def test_a_lane_is_never_over_its_capacity() -> None:
    made = policy(places=9, lanes={"db": 2})
    for name in "abc":
        made.offer(job(name, lanes=(("db", 1),)))
    made.offer(job("free", 0.1))
    assert started(made) == ["a", "b", "free"]
    made.end(["b"])
    assert started(made) == ["c"]


def test_a_job_that_waits_for_two_of_a_lane_is_not_overtaken_for_ever() -> None:
    made = policy(places=9, lanes={"db": 2})
    made.offer(job("small", 1.0, lanes=(("db", 1),)))
    assert started(made) == ["small"]
    made.offer(job("big", 9.0, lanes=(("db", 2),)))
    made.offer(job("next", 1.0, lanes=(("db", 1),)))
    assert started(made) == []
    made.end(["small"])
    assert started(made) == ["big"]


def test_a_job_of_several_slots_collects_idle_places() -> None:
    made = policy(places=2)
    made.offer(job("a", 9.0))
    assert started(made) == ["a"]
    made.offer(job("wide", 5.0, slots=2))
    made.offer(job("b", 1.0))
    assert started(made) == []
    made.end(["a"])
    assert started(made) == ["wide"]


def test_more_slots_than_there_are_places_takes_all_of_them() -> None:
    made = policy(places=2)
    made.offer(job("wide", slots=8))
    start = made.choose()
    assert start is not None and set(start.places) == {"w0", "w1"}


def test_abilities_are_respected_and_spared() -> None:
    made = Policy({})
    made.join(Place("gpu", abilities=frozenset({"gpu"})))
    made.join(Place("plain"))
    made.offer(job("any", 9.0))
    made.offer(job("trains", 1.0, needs=frozenset({"gpu"})))
    places = {}
    while (start := made.choose()) is not None:
        places[start.jobs[0].name] = start.places
    assert places == {"any": ("plain",), "trains": ("gpu",)}
    assert not made.can_ever_run(job("x", needs=frozenset({"tpu"})))


def test_memory_is_admitted_by_place_and_beyond_every_place_alone() -> None:
    made = Policy({})
    made.join(Place("small", memory_bytes=2))
    made.join(Place("large", memory_bytes=8))
    made.offer(job("heavy", 9.0, memory_bytes=5))
    start = made.choose()
    assert start is not None and start.places == ("large",)
    made.offer(job("giant", 5.0, memory_bytes=50))
    assert started(made) == []
    made.end(["heavy"])
    start = made.choose()
    assert start is not None and set(start.places) == {"small", "large"}


def test_tiny_jobs_travel_packed_in_fair_shares() -> None:
    made = policy(places=2)
    for order in range(10):
        made.offer(job(f"t{order}", predicted_s=0.001, order=order))
    first, second = made.choose(), made.choose()
    assert first is not None and second is not None and made.choose() is None
    assert [len(first.jobs), len(second.jobs)] == [5, 3]
    made.end([j.name for j in first.jobs])
    made.end([j.name for j in second.jobs])
    assert made.ready == 2


def test_what_is_wanted_first_does_not_travel_with_the_others() -> None:
    made = policy(places=1)
    for order in range(6):
        made.offer(job(f"t{order}", predicted_s=0.001, order=order, is_first=order in (2, 3)))
    start = made.choose()
    assert start is not None and [j.name for j in start.jobs] == ["t2", "t3"]


def test_a_pack_is_bounded_in_time_and_holds_no_lane_job() -> None:
    made = policy(places=1, lanes={"db": 9})
    for order in range(40):
        made.offer(job(f"t{order}", predicted_s=0.04, order=order))
    start = made.choose()
    assert start is not None and sum(j.predicted_s for j in start.jobs) <= PACK_S
    lanes = policy(places=1, lanes={"db": 9})
    for order in range(5):
        lanes.offer(job(f"t{order}", predicted_s=0.001, order=order, lanes=(("db", 1),)))
    alone = lanes.choose()
    assert alone is not None and len(alone.jobs) == 1


def test_a_place_that_left_is_not_used_again() -> None:
    made = policy(places=1)
    made.offer(job("a"))
    assert started(made) == ["a"]
    made.leave("w0")
    made.end(["a"])
    made.offer(job("b"))
    assert started(made) == []
    made.join(Place("w1"))
    assert started(made) == ["b"]


@pytest.mark.parametrize("seed", range(20))
def test_every_job_starts_once_and_nothing_is_ever_over_capacity(seed: int) -> None:
    random_ = random.Random(seed)
    lanes = {"a": 1, "b": 3}
    made = policy(places=4, lanes=lanes)
    jobs = {
        f"j{n}": job(
            f"j{n}",
            random_.random(),
            random_.choice([0.01, 1.0]),
            order=n,
            slots=random_.choice([1, 1, 1, 3]),
            lanes=tuple((lane, random_.randint(1, lanes[lane])) for lane in lanes if random_.random() < 0.3),
        )
        for n in range(60)
    }
    waiting = list(jobs.values())
    running: list[tuple[str, ...]] = []
    seen: list[str] = []
    while waiting or made.ready or running:
        for _ in range(random_.randint(0, 5)):
            if waiting:
                made.offer(waiting.pop())
        while (start := made.choose()) is not None:
            running.append(tuple(j.name for j in start.jobs))
            seen += running[-1]
        for lane, capacity in lanes.items():
            used = sum(dict(jobs[n].lanes).get(lane, 0) for names in running for n in names)
            assert used <= capacity and used + made.room[lane] == capacity
        assert sum(min(jobs[names[0]].slots, 4) for names in running) <= 4
        if running:
            made.end(running.pop(random_.randrange(len(running))))
    assert sorted(seen) == sorted(jobs)
    assert by_depth(jobs["j0"]) == by_depth(jobs["j0"])


def test_more_slots_than_places_that_are_able_takes_all_that_are() -> None:
    made = Policy({})
    made.join(Place("gpu", abilities=frozenset({"gpu"})))
    made.join(Place("plain"))
    made.offer(job("wide", slots=2, needs=frozenset({"gpu"})))
    start = made.choose()
    assert start is not None and start.places == ("gpu",)


def test_a_job_beyond_the_memory_of_those_able_runs_alone_on_one_of_them() -> None:
    made = Policy({})
    made.join(Place("large", memory_bytes=9))
    made.join(Place("gpu", memory_bytes=4, abilities=frozenset({"gpu"})))
    made.offer(job("heavy", memory_bytes=6, needs=frozenset({"gpu"})))
    start = made.choose()
    assert start is not None and start.places == ("gpu", "large")


def test_a_job_that_wants_all_is_not_overtaken_for_ever() -> None:
    made = policy(places=2)
    made.offer(job("a", 9.0))
    assert started(made) == ["a"]
    made.offer(job("giant", 5.0, is_alone=True))
    made.offer(job("small", 1.0))
    assert started(made) == []
    made.end(["a"])
    assert started(made) == ["giant"]


def test_a_job_that_nobody_can_run_holds_nobody_up() -> None:
    made = policy(places=1, lanes={"db": 2})
    made.offer(job("small", 9.0, lanes=(("db", 1),)))
    assert started(made) == ["small"]
    made.offer(job("far", 8.0, lanes=(("db", 2),), needs=frozenset({"gpu"}), slots=2))
    made.join(Place("w1"))
    made.offer(job("next", 1.0, lanes=(("db", 1),)))
    assert started(made) == ["next"]


def test_a_worker_that_comes_counts_at_once() -> None:
    made = policy(places=1)
    made.offer(job("trains", needs=frozenset({"gpu"})))
    assert started(made) == []
    made.join(Place("gpu", abilities=frozenset({"gpu"})))
    assert started(made) == ["trains"]


def test_a_job_that_can_use_more_slots_gets_those_that_nothing_else_is_ready_for() -> None:
    made = policy(places=4)
    made.offer(job("large", 5.0, most_slots=9))
    made.offer(job("other", 1.0))
    first, second = made.choose(), made.choose()
    assert first is not None
    assert second is not None
    assert (first.jobs[0].name, len(first.places), second.places) == ("large", 3, ("w3",))
    assert (first.is_spread, second.is_spread) == (True, False)
    made.end(["large"])
    made.end(["other"])
    assert made.idle_count == 4


def test_a_job_that_can_use_more_slots_takes_none_that_do_not_fit_and_none_beyond_its_pieces() -> None:
    made = policy(places=3)
    made.join(Place("small", memory_bytes=10))
    made.offer(job("large", most_slots=9, memory_bytes=20))
    start = made.choose()
    assert start is not None
    assert sorted(start.places) == ["w0", "w1", "w2"]
    made.end(["large"])
    made.offer(job("two", most_slots=2))
    start = made.choose()
    assert start is not None
    assert len(start.places) == 2


def test_a_job_that_has_all_places_to_itself_is_not_spread_over_them() -> None:
    made = policy(places=2)
    made.join(Place("gpu", abilities=frozenset({"gpu"})))
    for alone in (job("again", most_slots=9, is_alone=True), job("able", most_slots=9, needs=frozenset({"gpu"}))):
        made.offer(alone)
        start = made.choose()
        assert start is not None
        assert not start.is_spread
        made.end([alone.name])
