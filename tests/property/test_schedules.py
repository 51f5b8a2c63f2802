"""The simulator on any jobs: never over a lane, a place, a memory or an ability, never before what a job waits for,
never under a bound, every job once; and the executor's first choice is the simulator's."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.compile.bounds import lower_bounds
from builder.compile.policy import Job, Place, Policy
from builder.compile.simulate import Times, simulate
from builder.compile.sweep import sweep
from builder.compile.urgency import with_queues

LANES = {"x": 1, "y": 3}
NOWHERE = 1e-9


@st.composite
def loads(draw: st.DrawFn) -> tuple[list[Job], dict[str, list[str]]]:
    """Some jobs in topological order, and who waits for each."""
    jobs: list[Job] = []
    readers: dict[str, list[str]] = {}
    for order in range(draw(st.integers(0, 14))):
        name = f"j{order}"
        readers[name] = []
        for need in draw(st.sets(st.integers(0, order - 1), max_size=3)) if order else ():
            readers[f"j{need}"].append(name)
        jobs.append(
            Job(
                name,
                order,
                draw(st.sampled_from([0.0, 0.01, 0.04, 0.3, 1.0, 2.5, 9.0])),
                draw(st.floats(0, 50)),
                draw(st.booleans()),
                draw(st.integers(-1, 1)),
                draw(st.sampled_from([(), (), (("x", 1),), (("y", 1),), (("y", 2),), (("x", 1), ("y", 3))])),
                draw(st.integers(1, 3)),
                draw(st.sampled_from([0, 0, 3, 6, 20])),
                draw(st.sampled_from([frozenset[str](), frozenset({"gpu"})])),
                draw(st.integers(0, 9)) == 0,
            )
        )
    return jobs, readers


PLACES = st.lists(
    st.sampled_from([(0, ""), (4, ""), (8, "gpu"), (8, "")]), min_size=0, max_size=4
).map(lambda kinds: [
    Place("w", 8, frozenset({"gpu"})), *(Place(f"w{n}", m, frozenset(a.split())) for n, (m, a) in enumerate(kinds)),
])  # fmt: skip


def played(
    jobs: Sequence[Job], readers: dict[str, list[str]], places: list[Place]
) -> tuple[dict[str, Times], dict[str, tuple[Job, tuple[str, ...]]]]:
    """The simulated run, and the places of each job."""
    kept: dict[str, tuple[Job, tuple[str, ...]]] = {}
    own = Policy.choose

    def choose(self: Policy) -> object:
        start = own(self)
        if start is not None:
            kept.update({job.name: (job, start.places) for job in start.jobs})
        return start

    waits = {job.name: sum(job.name in r for r in readers.values()) for job in jobs}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Policy, "choose", choose)
        return simulate(jobs, readers, waits, LANES, places), kept


@settings(max_examples=150, deadline=None)
@given(loads(), PLACES)
def test_a_simulated_run_keeps_every_limit(load: tuple[list[Job], dict[str, list[str]]], places: list[Place]) -> None:
    jobs, readers = load
    times, kept = played(jobs, readers, places)
    assert set(times) == {job.name for job in jobs}, "every job runs, and the run comes to an end"
    assert sorted(t.order for t in times.values()) == list(range(len(jobs)))
    for name, following in readers.items():
        assert all(times[f].start_s >= times[name].finish_s - NOWHERE for f in following)
    by_name = {place.name: place for place in places}
    moments = {t.start_s for t in times.values()}
    for at_s in moments:
        now = [kept[n] for n, t in times.items() if t.start_s <= at_s < t.finish_s - NOWHERE]
        for lane, capacity in LANES.items():
            assert sum(dict(job.lanes).get(lane, 0) for job, _ in now) <= capacity
        starts = {(names, times[job.name].start_s) for job, names in now}
        taken = [name for names, _ in starts for name in names]
        assert len(taken) == len(set(taken)), "a place runs one start at a time"

    for job, names in kept.values():
        able = [p for p in places if job.needs <= p.abilities]
        fitting = [p for p in able if not p.memory_bytes or p.memory_bytes >= job.memory_bytes]
        assert by_name[names[0]] in able, "the first place is where it runs"
        if job.is_alone or not fitting:
            assert len(names) == len(places)
        else:
            assert len(names) == min(job.slots, len(fitting)) and all(by_name[n] in fitting for n in names)


@settings(max_examples=150, deadline=None)
@given(loads(), st.integers(1, 4))
def test_no_simulated_run_beats_a_bound(load: tuple[list[Job], dict[str, list[str]]], workers: int) -> None:
    jobs, readers = load
    times, _ = played(jobs, readers, [Place(str(n), 0, frozenset({"gpu"})) for n in range(workers)])
    bounds = lower_bounds(jobs, readers, LANES, workers)
    assert max((t.finish_s for t in times.values()), default=0.0) >= bounds.largest_s - NOWHERE
    parts = [bounds.critical_path_s, bounds.work_s, *bounds.lanes_s.values()]
    assert bounds.largest_s >= max(parts) - NOWHERE


@settings(max_examples=60, deadline=None)
@given(loads(), PLACES)
def test_a_search_for_a_better_order_changes_ranks_alone_and_is_never_worse(
    load: tuple[list[Job], dict[str, list[str]]], places: list[Place]
) -> None:
    jobs, readers = [j for j in load[0]], load[1]
    found = with_queues(jobs, readers, LANES, places)
    assert [(j.name, j.order, j.lanes, j.predicted_s, j.is_first) for j in found] == [
        (j.name, j.order, j.lanes, j.predicted_s, j.is_first) for j in jobs
    ]
    if not any(job.is_first for job in jobs) or all(job.is_first for job in jobs):
        before, after = (
            max((t.finish_s for t in played(x, readers, places)[0].values()), default=0.0) for x in (jobs, found)
        )
        assert after <= before + NOWHERE


@settings(max_examples=60, deadline=None)
@given(loads())
def test_a_sweep_reaches_every_job_and_neighbours_lie_a_level_apart(
    load: tuple[list[Job], dict[str, list[str]]],
) -> None:
    jobs, readers = load
    needs: dict[str, list[str]] = {job.name: [] for job in jobs}
    for name, following in readers.items():
        for reader in following:
            needs[reader].append(name)
    levels = sweep([job.name for job in jobs], readers, needs)
    assert set(levels) == set(needs)
    assert all(abs(levels[name] - levels[reader]) <= 1 for name, following in readers.items() for reader in following)
