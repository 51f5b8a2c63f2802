"""The driver on a runner whose attempts end when the test says so, on a clock that the test moves."""

from __future__ import annotations

import cProfile
import gc
import pstats
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from builder.compile.policy import Place, Policy
from builder.digests import digest_of
from builder.errors import BuilderError, error
from builder.execute.attempt import disk_crash
from builder.execute.crew import WITHOUT_WORKER_S
from builder.execute.driver import Driver
from builder.execute.lookout import Running
from builder.execute.runner import Ended, RunnerLost
from builder.execute.spec import AttemptRecord, AttemptSpec, Output, RecipeSpec
from builder.execute.work import Workplace
from builder.plan.plan import make_plan
from builder.store import disk
from builder.store.commits import Committer
from builder.store.ledger import Ledger
from builder.store.manifest import Layer, Manifest, Part
from builder.store.recall import Recall

DIAMOND = "s -> a; a -> b c; b c -> d"


@dataclass
class Theatre:
    """A runner in memory: attempts last as long as `costs_s` says, on the theatre's own clock, and end in that order.

    `crew` says who is there at a time, where it is not `slots` all along.
    `results` gives the content of a target (default: what it read and its name); `faults` the errors of a step's
    attempts in turn, None for one that goes well; `hangs` steps that end only when they are killed; `losses` steps
    with each of which all is lost once, in turn.
    """

    slots: int = 1
    now_s: float = 0.0
    costs_s: dict[str, float] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)
    faults: dict[str, list[BuilderError | None]] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    hangs: set[str] = field(default_factory=set)
    parts: Path | None = None
    started: list[str] = field(default_factory=list)
    specs: dict[str, AttemptSpec] = field(default_factory=dict)
    spans: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    ends_s: dict[str, float] = field(default_factory=dict)
    killed: dict[str, tuple[str, str]] = field(default_factory=dict)
    on_start: Callable[[str], None] = lambda step: None
    on_end: Callable[[str], None] = lambda step: None
    echo: bool = False
    is_closed: bool = False
    packs: list[list[str]] = field(default_factory=list)
    where: dict[str, str] = field(default_factory=dict)
    losses: list[str] = field(default_factory=list)
    misses: int = 0
    crew: Callable[[float], list[Place]] | None = None

    def places(self) -> list[Place]:
        if self.crew is not None:
            return self.crew(self.now_s)
        return [Place(str(number)) for number in range(self.slots)]

    def is_begun(self, attempt: str) -> bool:
        return True

    def follow(self, policy: Policy) -> None:
        """Its size is fixed."""

    def start(self, specs: Sequence[AttemptSpec], place: str) -> None:
        self.packs.append([spec.step for spec in specs])
        for spec in specs:
            self.where[spec.step] = place
            self._start(spec)

    def _start(self, spec: AttemptSpec) -> None:
        assert spec.id not in self.specs, "an attempt's id is its own"
        self.specs[spec.id] = spec
        self.started.append(spec.step)
        self.ends_s[spec.id] = float("inf") if spec.step in self.hangs else self.now_s + self.costs_s.get(spec.step, 1)
        self.spans.setdefault(spec.step, []).append((self.now_s, self.ends_s[spec.id]))
        self.on_start(spec.step)

    def wait(self, timeout_s: float | None) -> list[Ended]:
        under_way = {self.specs[i].step for i in self.ends_s}
        if self.losses and self.losses[0] in under_way:
            raise RunnerLost(f"lost with {self.losses.pop(0)}")
        until_s = self.now_s + (timeout_s or 0.0)
        first_s = min(self.ends_s.values(), default=float("inf"))
        self.now_s = max(self.now_s, min(first_s, until_s) if timeout_s is not None else first_s)
        ids = [i for i, end_s in self.ends_s.items() if end_s <= self.now_s]
        ended = [self._ended(i) for i in ids]
        return [e for e in ended for _ in range(2 if self.echo else 1)]

    def _ended(self, identity: str) -> Ended:
        del self.ends_s[identity]
        spec = self.specs[identity]
        self.on_end(spec.step)
        faults = self.faults.get(spec.step, [])
        fault = faults.pop(0) if faults else None
        if identity in self.killed:
            fault = error(*self.killed[identity])
        is_lost = spec.step in self.lost or identity in self.killed
        if fault is not None:
            return Ended(identity, AttemptRecord(identity, error=fault.to_json(), wall_s=1.0), is_lost)
        assert isinstance(spec.work, RecipeSpec)
        read = "+".join(
            i.manifest.digest if i.manifest else i.files[0].digest for w in spec.work.inputs for i in w.items
        )  # type: ignore[index]
        outputs = tuple(Output(t, self._manifest(self.results.get(t, t + read))) for _, t in spec.work.outputs)
        return Ended(identity, AttemptRecord(identity, outputs, wall_s=self.costs_s.get(spec.step, 1)))

    def _manifest(self, content: str) -> Manifest:
        parts: tuple[Part, ...] = ()
        if self.parts is not None:
            path = self.parts / "parts" / f"{len(list((self.parts / 'parts').glob('*')))}.bin"
            path.write_text(content)
            parts = (Part(f"parts/{path.name}", 0, len(content)),)
        return Manifest("bytes", digest_of("output", content), (Layer(parts),), bytes=len(content))

    def kill(self, attempt: str, code: str, message: str) -> None:
        if self.misses:
            self.misses -= 1
            return
        self.killed[attempt] = (code, message)
        self.ends_s[attempt] = self.now_s

    def close(self) -> None:
        self.is_closed = True
        self.ends_s.clear()


@dataclass
class Heard:
    """An observer that keeps what it hears."""

    events: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def event(self, kind: str, name: str, **facts: Any) -> None:
        self.events.append((kind, name, facts))

    def of(self, kind: str) -> list[str]:
        return [n for k, n, _ in self.events if k == kind]


class Stage:
    """A world of sources of files, a real ledger, and rebuilds on a `Theatre`."""

    def __init__(self, world: Any, store: Path) -> None:
        self.world = world
        self.store = store
        (store / "parts").mkdir(parents=True)
        self.ledger = Ledger.open(store, create=True)
        self.theatre = Theatre()
        self.heard = Heard()
        self.published: list[str] = []
        self.driver: Driver
        self.lanes: dict[str, int] = {}

    def rebuild(self, wanted: list[str] | None = None, *, is_forced: bool = False, **options: Any) -> dict[str, str]:
        """Bring all up to date; outcomes by target."""
        situation, recall = self.world.situation, Recall(self.ledger)
        plan = make_plan(situation, recall, wanted, is_forced=is_forced)
        committer = options.pop("committer", None) or Committer.take(self.ledger)
        run = committer.begin_run(0.0)
        self.theatre.started, self.theatre.spans, self.theatre.specs, self.theatre.packs = [], {}, {}, []
        self.published, self.heard = [], Heard()
        self.driver = Driver(
            plan, recall, committer, run, Workplace(self.store, self.store, self.store, self.store),
            lambda: self.theatre, lanes=self.lanes, publish=lambda *names: self.published.extend(names),
            observer=self.heard, clock=lambda: self.theatre.now_s, **options,
        )  # fmt: skip
        self.driver.execute()
        return {t.name: t.outcome for t in self.driver.outcomes.targets}

    @property
    def started(self) -> list[str]:
        """Steps in the order their attempts started, in the last rebuild."""
        return self.theatre.started

    def states(self) -> dict[str, str]:
        plan = make_plan(self.world.situation, Recall(self.ledger))
        return {t: plan.verdict_of(t).state.value for t in plan.situation.graph.targets}

    def most_at_once(self, steps: set[str], weight: dict[str, int] | None = None) -> int:
        """The largest weight of these steps that ran at one time."""
        spans = [(s, e, (weight or {}).get(n, 1)) for n, ss in self.theatre.spans.items() if n in steps for s, e in ss]
        return max((sum(w for s, e, w in spans if s <= at < e) for at, _, _ in spans), default=0)


@pytest.fixture
def stage(world: Any, tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Makes stages from the text of a graph over the source ``s``; keywords are those of steps."""
    made: list[Stage] = []

    def make(text: str = DIAMOND, contents: dict[str, Any] | None = None, **options: Any) -> Stage:
        made.append(Stage(world(text, contents or {"s": "1"}, options), tmp_path / f"store{len(made)}"))
        return made[-1]

    yield make
    for one in made:
        one.ledger.close()


def fails(code: str = "recipe-error") -> BuilderError:
    return error(code, "'it' went wrong", hint="mend it")


# -- what runs, and in which order -------------------------------------------------------------------------------------


def test_all_is_built_in_topological_order_and_then_nothing_runs(stage: Callable[..., Stage]) -> None:
    it = stage()
    assert it.rebuild() == {"a": "built", "b": "built", "c": "built", "d": "built"}
    assert it.started == ["a", "b", "c", "d"] and it.published == ["a", "b", "c", "d"]
    assert it.theatre.is_closed
    assert it.rebuild() == {} and it.started == []


def test_no_runner_is_made_where_nothing_has_to_run(stage: Callable[..., Stage]) -> None:
    it = stage("s -> a")
    it.rebuild()
    it.world.contents["s"] = "2"
    it.rebuild()
    it.world.contents["s"] = "1"
    it.theatre = None  # type: ignore[assignment]
    situation, recall = it.world.situation, Recall(it.ledger)
    committer = Committer.take(it.ledger)
    driver = Driver(
        make_plan(situation, recall), recall, committer, committer.begin_run(0.0),
        Workplace(it.store, it.store, it.store, it.store), lambda: pytest.fail("a runner was made"),
        lanes={}, publish=lambda *names: None, observer=Heard(),
    )  # fmt: skip
    driver.execute()
    assert [t.outcome for t in driver.outcomes.targets] == ["restored"]


def test_the_longest_way_to_the_end_goes_first(stage: Callable[..., Stage]) -> None:
    it = stage("s -> short long; long -> l2; l2 -> l3; short -> end")
    it.rebuild()
    assert it.started.index("long") < it.started.index("short")
    it.theatre.costs_s = {"short": 100, "end": 100}
    it.rebuild(is_forced=True)
    it.rebuild(is_forced=True)
    assert it.started[0] == "short"


def test_a_higher_priority_goes_before_a_longer_way(stage: Callable[..., Stage]) -> None:
    it = stage("s -> plain urgent; plain -> p2; p2 -> p3", urgent={"priority": 1})
    it.rebuild()
    assert it.started[0] == "urgent"


def test_what_is_wanted_first_goes_before_any_priority(stage: Callable[..., Stage]) -> None:
    it = stage("s -> x y z", x={"priority": 9})
    it.rebuild(first=frozenset({"z"}))
    assert it.started[0] == "z"


def test_declaration_order_decides_among_equals(stage: Callable[..., Stage]) -> None:
    it = stage("s -> c a b")
    it.rebuild()
    assert it.started == ["c", "a", "b"]


def test_as_many_run_at_once_as_there_are_slots(stage: Callable[..., Stage]) -> None:
    it = stage("s -> " + " ".join(f"t{i}" for i in range(10)))
    it.theatre.slots = 3
    it.rebuild()
    assert it.most_at_once({f"t{i}" for i in range(10)}) == 3
    assert it.theatre.now_s == pytest.approx(4.0)


def test_steps_are_ready_the_moment_what_they_read_is_committed(stage: Callable[..., Stage]) -> None:
    it = stage("s -> fast slow; fast -> after")
    it.theatre.slots = 2
    it.theatre.costs_s = {"slow": 9.0}
    it.rebuild()
    assert it.theatre.spans["after"] == [(1.0, 2.0)]


def test_a_lane_is_never_over_its_capacity_and_others_pass_by(stage: Callable[..., Stage]) -> None:
    lanes = {f"q{i}": {"lanes": (("db", 1),)} for i in range(5)} | {"wide": {"lanes": (("db", 2), ("net", 1))}}
    it = stage("s -> q0 q1 q2 q3 q4 wide free1 free2", **lanes)
    it.lanes = {"db": 2, "net": 1}
    it.theatre.slots = 4
    assert set(it.rebuild().values()) == {"built"}
    weight = dict.fromkeys(lanes, 1) | {"wide": 2}
    assert it.most_at_once(set(lanes), weight) == 2
    assert it.theatre.spans["free1"][0][0] == 0.0 and it.theatre.spans["free2"][0][0] == 0.0


def test_a_lane_is_given_back_after_a_failure(stage: Callable[..., Stage]) -> None:
    it = stage("s -> x y", x={"lanes": (("db", 1),)}, y={"lanes": (("db", 1),)})
    it.lanes = {"db": 1}
    it.theatre.slots = 2
    it.theatre.faults = {"x": [fails()]}
    assert it.rebuild() == {"x": "failed", "y": "built"}


def test_slots_are_never_over_their_number_and_a_wide_step_gets_its_turn(stage: Callable[..., Stage]) -> None:
    names = [f"n{i}" for i in range(8)]
    it = stage("s -> " + " ".join([*names[:4], "wide", *names[4:]]), wide={"slots": 2})
    it.theatre.slots = 2
    it.theatre.costs_s = {n: 1.0 + i / 10 for i, n in enumerate(names)}
    assert set(it.rebuild().values()) == {"built"}
    assert it.most_at_once({*names, "wide"}, {"wide": 2}) == 2
    assert it.started.index("wide") < len(names)


def test_a_step_wider_than_the_cluster_takes_all_of_it(stage: Callable[..., Stage]) -> None:
    it = stage("s -> wide a b", wide={"slots": 64})
    it.theatre.slots = 2
    assert set(it.rebuild().values()) == {"built"}
    assert it.most_at_once({"wide", "a", "b"}, {"wide": 2}) == 2


# -- staleness while running -------------------------------------------------------------------------------------------


def test_an_equal_output_cuts_off_early(stage: Callable[..., Stage]) -> None:
    it = stage()
    it.theatre.results = {"a": "always"}
    it.rebuild()
    it.world.contents["s"] = "2"
    assert it.rebuild() == {"a": "unchanged"}
    assert it.started == ["a"]
    assert set(it.states().values()) == {"fresh"}


def test_a_cut_off_behind_one_input_does_not_hide_a_change_in_another(stage: Callable[..., Stage]) -> None:
    it = stage("s -> a b; a b -> c; a -> d")
    it.theatre.results = {"a": "always"}
    it.rebuild()
    it.world.contents["s"] = "2"
    assert it.rebuild() == {"a": "unchanged", "b": "built", "c": "built"}


def test_a_reverted_source_restores_all_and_runs_nothing(stage: Callable[..., Stage]) -> None:
    it = stage()
    it.rebuild()
    first = {n: c.digest for n, c in it.ledger.currents().items()}
    it.world.contents["s"] = "2"
    it.rebuild()
    it.world.contents["s"] = "1"
    assert it.rebuild() == dict.fromkeys("abcd", "restored")
    assert it.started == [] and it.published == ["a", "b", "c", "d"]
    assert {n: c.digest for n, c in it.ledger.currents().items()} == first


def test_what_cannot_be_restored_whole_runs(stage: Callable[..., Stage]) -> None:
    it = stage("s -> a; a -> b")
    it.theatre.parts = it.store
    it.rebuild()
    lost = it.ledger.manifest(it.ledger.currents()["a"].manifest_id).parts[0].path
    it.world.contents["s"] = "2"
    it.rebuild()
    it.world.contents["s"] = "1"
    (it.store / lost).unlink()
    assert it.rebuild() == {"a": "built", "b": "restored"}


def test_the_new_part_of_an_equal_output_is_removed_again(stage: Callable[..., Stage]) -> None:
    it = stage("s -> a")
    it.theatre.parts = it.store
    it.theatre.results = {"a": "always"}
    it.rebuild()
    before = set((it.store / "parts").iterdir())
    it.world.contents["s"] = "2"
    it.rebuild()
    assert set((it.store / "parts").iterdir()) == before
    assert it.ledger.current("a").manifest_id == it.ledger.versions("a")[0][1]  # type: ignore[union-attr]


def commits(it: Stage, **options: Any) -> tuple[list[str], dict[str, str]]:
    """The names of the store's operations in a rebuild, and its outcomes."""
    seen: list[str] = []
    disk.on_write = lambda operation, path: seen.append(operation)
    try:
        return seen, it.rebuild(**options)
    finally:
        disk.on_write = None


def test_what_ends_in_one_turn_is_committed_together(stage: Callable[..., Stage]) -> None:
    it = stage("s -> a; s -> b; s -> c; a b c -> d")
    it.theatre.slots = 3
    seen, outcomes = commits(it)
    assert outcomes == dict.fromkeys("abcd", "built")
    # The take-over and the run's begin; the note of the source; a, b and c; d.
    assert seen.count("commit") == 5
    assert it.published == ["a", "b", "c", "d"] and it.heard.of("target") == ["a", "b", "c", "d"]
    assert {n: c.run for n, c in it.ledger.currents().items()} == dict.fromkeys(("s", *"abcd"), 1)


def test_restores_that_follow_on_each_other_are_committed_together(stage: Callable[..., Stage]) -> None:
    it = stage()
    it.rebuild()
    it.world.contents["s"] = "2"
    it.rebuild()
    it.world.contents["s"] = "1"
    seen, outcomes = commits(it)
    assert outcomes == dict.fromkeys("abcd", "restored") and seen.count("commit") == 3
    assert it.published == ["a", "b", "c", "d"]


def test_a_failure_beside_finished_steps_takes_none_of_them_along(stage: Callable[..., Stage]) -> None:
    it = stage("s -> a; s -> b; s -> c; a b c -> d")
    it.theatre.slots = 3
    it.theatre.faults = {"b": [fails()]}
    assert it.rebuild() == {"a": "built", "b": "failed", "c": "built", "d": "blocked"}
    assert {"a", "c"} <= set(it.ledger.currents()) and set(it.ledger.failures()) == {"b"}


def test_an_attempt_that_is_heard_of_twice_in_one_turn_is_committed_once(stage: Callable[..., Stage]) -> None:
    it = stage("s -> a; s -> b; a b -> d")
    it.theatre.slots, it.theatre.echo = 2, True
    assert it.rebuild() == dict.fromkeys("abd", "built")
    assert [len(it.ledger.logs(n)) for n in "abd"] == [1, 1, 1]


def test_a_kill_at_any_commit_of_a_group_leaves_whole_steps_and_the_next_run_goes_on(
    stage: Callable[..., Stage],
) -> None:
    counts = set()
    for number in range(1, 6):
        it = stage("s -> a; s -> b; s -> c; a b c -> d")
        it.theatre.slots = 3
        left = [number]

        def kill(operation: str, path: Path, left: list[int] = left) -> None:
            left[0] -= operation == "commit"
            if left[0] == 0:
                raise disk_crash

        disk.on_write = kill
        with pytest.raises(disk_crash):
            it.rebuild()
        disk.on_write = None
        built = set(it.ledger.currents()) & set("abcd")
        counts.add(len(built))
        for name in built:
            current = it.ledger.current(name)
            assert it.ledger.trace(current.key)[name] == (current.manifest_id, current.digest)
        assert set(it.rebuild()) == set("abcd") - built
        assert set(it.started) == set("abcd") - built
    assert counts == {0, 3}


def test_attempts_tell_what_they_read_and_wrote(stage: Callable[..., Stage]) -> None:
    it = stage("s -> a; a -> b")
    it.theatre.parts = it.store
    it.theatre.results = {"a": "five!", "b": "twelve bytes"}
    it.theatre.faults = {"b": [fails("source-moved")]}
    it.rebuild()
    size = it.ledger.current("s").bytes
    columns = "step, recipe, outcome, bytes_in, rows_in, bytes_out, rows_out"
    assert it.ledger.rows(f"SELECT {columns} FROM attempts ORDER BY id") == [
        ("a", "a", "done", size, 0, 5, 0),
        ("b", "b", "source-moved", 5, 0, 0, 0),
    ]
    it.rebuild()
    assert it.ledger.samples(["b"])["b"][0].bytes_in == 5
    assert it.ledger.rows(f"SELECT {columns} FROM attempts ORDER BY id DESC LIMIT 1") == [
        ("b", "b", "done", 5, 0, 12, 0)
    ]


def test_forcing_runs_all_again_and_finds_it_unchanged(stage: Callable[..., Stage]) -> None:
    it = stage()
    it.rebuild()
    assert it.rebuild(is_forced=True) == dict.fromkeys("abcd", "unchanged")
    assert it.rebuild(["b"], is_forced=True) == dict.fromkeys("ab", "unchanged")


def test_an_impure_recipe_runs_each_time_and_its_readers_only_when_it_differs(stage: Callable[..., Stage]) -> None:
    it = stage("s -> now; now -> after", recipes={"now": {"pure": False}})
    it.theatre.results = {"now": "12:00"}
    it.rebuild()
    assert it.rebuild() == {"now": "unchanged"}
    it.theatre.results = {"now": "12:01"}
    assert it.rebuild() == {"now": "built", "after": "built"}
    assert it.driver.outcomes.warnings == []


def test_a_recipe_that_gives_another_output_for_the_same_key_is_warned_of_and_the_new_one_wins(
    stage: Callable[..., Stage],
) -> None:
    it = stage("s -> dice; dice -> after")
    it.theatre.results = {"dice": "1"}
    it.rebuild()
    it.theatre.results = {"dice": "6"}
    assert it.rebuild(is_forced=True)["after"] == "built"
    ((code, text),) = it.driver.outcomes.warnings
    assert code == "not-deterministic" and "'dice'" in text
    assert it.ledger.current("dice").digest == digest_of("output", "6")  # type: ignore[union-attr]
    assert it.rebuild() == {}


def test_several_outputs_are_committed_together_and_read_apart(stage: Callable[..., Stage]) -> None:
    it = stage("s -> split; split.good -> use; split.bad -> look", outputs={"split": ("good", "bad")})
    it.theatre.results = {"split.good": "same"}
    names = {"split.good", "split.bad", "use", "look"}
    assert it.rebuild() == dict.fromkeys(names, "built")
    it.world.contents["s"] = "2"
    it.theatre.results |= {"split.bad": "other"}
    assert it.rebuild() == {"split.good": "unchanged", "split.bad": "built", "look": "built"}


# -- failures ----------------------------------------------------------------------------------------------------------


def test_a_failure_blocks_what_needs_it_and_nothing_else(stage: Callable[..., Stage]) -> None:
    it = stage("s -> bad fine; bad -> behind; behind fine -> last; fine -> more")
    it.theatre.faults = {"bad": [fails()]}
    expected = {"bad": "failed", "fine": "built", "behind": "blocked", "last": "blocked", "more": "built"}
    assert it.rebuild() == expected
    assert it.states() == {"bad": "failed", "fine": "fresh", "behind": "blocked", "last": "blocked", "more": "fresh"}
    blocked = next(t for t in it.driver.outcomes.targets if t.name == "last")
    assert [(r.kind, r.subject) for r in blocked.reasons] == [("upstream", "bad")]
    failed = next(t for t in it.driver.outcomes.targets if t.name == "bad").error
    assert failed is not None and (failed.target, failed.place) == ("bad", "recipes/main.py:7")


def test_the_next_rebuild_tries_a_failure_again_and_goes_on_behind_it(stage: Callable[..., Stage]) -> None:
    it = stage("s -> bad; bad -> behind; s -> fine")
    it.theatre.faults = {"bad": [fails()]}
    it.rebuild()
    assert it.rebuild() == {"bad": "built", "behind": "built"}
    assert it.ledger.failures() == {}


def test_a_failure_leaves_the_old_output_in_place(stage: Callable[..., Stage]) -> None:
    it = stage("s -> a")
    it.rebuild()
    before = it.ledger.current("a")
    it.world.contents["s"] = "2"
    it.theatre.faults = {"a": [fails()]}
    assert it.rebuild() == {"a": "failed"}
    assert it.ledger.current("a") == before and it.published == []


def test_a_failure_is_forgotten_when_the_source_is_back(stage: Callable[..., Stage]) -> None:
    it = stage("s -> a; a -> b")
    it.rebuild()
    it.world.contents["s"] = "2"
    it.theatre.faults = {"a": [fails()]}
    it.rebuild()
    it.world.contents["s"] = "1"
    assert set(it.states().values()) == {"fresh"}


def test_a_source_with_a_problem_fails_and_blocks_its_readers(stage: Callable[..., Stage]) -> None:
    it = stage("s -> a; o -> b", {"s": error("source-missing", "'s' is not there", hint="put it"), "o": "1"})
    assert it.rebuild() == {"a": "blocked", "b": "built"}
    (source,) = it.driver.outcomes.sources
    assert (source.name, source.outcome) == ("s", "failed")


@pytest.mark.parametrize(("retries", "faults", "outcome"), [(0, 1, "failed"), (1, 1, "built"), (2, 3, "failed")])
def test_a_failed_attempt_is_tried_again_as_often_as_allowed(
    stage: Callable[..., Stage], retries: int, faults: int, outcome: str
) -> None:
    it = stage("s -> a", a={"retries": retries})
    it.theatre.faults = {"a": [fails() for _ in range(faults)]}
    assert it.rebuild() == {"a": outcome}
    attempts = min(retries, faults) + 1
    assert it.started == ["a"] * attempts
    assert [(n, o) for _, n, o, _ in it.ledger.logs("a")] == [
        (i + 1, "recipe-error" if i < faults else "done") for i in range(attempts)
    ]
    assert len({spec.log for spec in it.theatre.specs.values()}) == attempts


def test_what_failed_in_a_pack_is_tried_again_when_the_pack_is_over(stage: Callable[..., Stage]) -> None:
    """Its place is taken until then: another that is idle must not run it, nor that one be given away twice."""
    names = [f"t{i}" for i in range(6)]
    it = stage("s -> " + " ".join(names), t0={"retries": 1})
    it.theatre.slots = 2
    it.theatre.costs_s = dict.fromkeys(names, 0.001)
    it.rebuild()
    it.theatre.costs_s |= {"t1": 5.0}  # t0 fails and is told while t1, of its pack, goes on and the other place is idle
    it.theatre.faults = {"t0": [fails()]}
    assert set(it.rebuild(is_forced=True).values()) == {"unchanged"}
    assert it.theatre.packs[0][:2] == ["t0", "t1"]
    (first, second), (slow,) = it.theatre.spans["t0"], it.theatre.spans["t1"]
    assert first[1] < slow[1] <= second[0]
    assert it.driver.policy.idle_count == 2 and not it.driver.policy.started


def test_a_lost_attempt_is_tried_once_more_without_retries(stage: Callable[..., Stage]) -> None:
    it = stage("s -> a b")
    it.theatre.lost = {"a", "b"}
    it.theatre.faults = {"a": [fails("worker-died")], "b": [fails("worker-died"), fails("worker-died")]}
    assert it.rebuild() == {"a": "built", "b": "failed"}
    assert sorted(it.started) == ["a", "a", "b", "b"]


def test_an_attempt_that_used_up_memory_is_tried_once_more_alone(stage: Callable[..., Stage]) -> None:
    it = stage("s -> a b c")
    it.theatre.slots = 3
    it.theatre.costs_s = {"a": 1, "b": 5, "c": 3}
    it.theatre.lost = {"a"}
    it.theatre.faults = {"a": [fails("out-of-memory"), None]}
    assert it.rebuild() == {"a": "built", "b": "built", "c": "built"}
    assert it.theatre.spans["a"][1][0] == 5, "when the others are done"
    it.theatre.faults = {"a": [fails("out-of-memory"), fails("out-of-memory")]}
    assert it.rebuild(["a"], is_forced=True) == {"a": "failed"}


def test_a_step_over_its_time_is_killed_and_fails(stage: Callable[..., Stage]) -> None:
    it = stage("s -> slow fine; slow -> behind", slow={"timeout_s": 5.0})
    it.theatre.slots = 2
    it.theatre.hangs = {"slow"}
    assert it.rebuild() == {"slow": "failed", "behind": "blocked", "fine": "built"}
    (identity,) = it.theatre.killed
    assert it.theatre.specs[identity].step == "slow"
    assert 5.0 <= it.theatre.now_s < 6.0
    found = next(t for t in it.driver.outcomes.targets if t.name == "slow").error
    assert found is not None and found.code == "timed-out" and "5 s" in found.message


def test_a_step_within_its_time_is_not_killed(stage: Callable[..., Stage]) -> None:
    it = stage("s -> slow", slow={"timeout_s": 5.0})
    it.theatre.costs_s = {"slow": 4.9}
    assert it.rebuild() == {"slow": "built"} and it.theatre.killed == {}


def test_each_attempt_has_its_own_time(stage: Callable[..., Stage]) -> None:
    it = stage("s -> slow", slow={"timeout_s": 5.0, "retries": 1})
    it.theatre.hangs = {"slow"}
    assert it.rebuild() == {"slow": "failed"}
    assert len(it.theatre.killed) == 2 and 10.0 <= it.theatre.now_s < 12.0


def test_a_kill_that_misses_is_tried_again(stage: Callable[..., Stage]) -> None:
    it = stage("s -> slow", slow={"timeout_s": 5.0})
    it.theatre.hangs, it.theatre.misses = {"slow"}, 2
    assert it.rebuild() == {"slow": "failed"}
    assert 9.0 <= it.theatre.now_s < 12.0


# -- stopping ----------------------------------------------------------------------------------------------------------


def test_fail_fast_starts_nothing_more_but_commits_what_runs(stage: Callable[..., Stage]) -> None:
    it = stage("s -> bad slow later; slow -> behind")
    it.theatre.slots = 2
    it.theatre.costs_s = {"slow": 9.0}
    it.theatre.faults = {"bad": [fails()]}
    assert it.rebuild(is_fail_fast=True) == {"bad": "failed", "slow": "built"}
    assert set(it.started) == {"bad", "slow"} and it.theatre.is_closed
    assert it.states()["slow"] == "fresh"


def test_one_interrupt_lets_what_runs_end_and_starts_nothing_more(stage: Callable[..., Stage]) -> None:
    it = stage("s -> a; a -> b; b -> c")
    it.theatre.on_start = lambda step: it.driver.stop() if step == "b" else None
    assert it.rebuild() == {"a": "built", "b": "built"}
    assert it.driver.is_interrupted and it.theatre.is_closed
    it.theatre.on_start = lambda step: None
    assert it.rebuild() == {"c": "built"}
    assert not it.driver.is_interrupted


def test_two_interrupts_give_up_what_runs_and_lose_nothing_finished(stage: Callable[..., Stage]) -> None:
    it = stage("s -> a h; a -> b")
    it.theatre.slots = 2
    it.theatre.hangs = {"h"}

    def stop_twice(step: str) -> None:
        if step == "b":
            it.driver.stop()
            it.driver.stop()

    it.theatre.on_start = stop_twice
    assert it.rebuild() == {"a": "built"}
    assert it.driver.is_interrupted and it.theatre.is_closed
    it.theatre = Theatre()
    assert set(it.rebuild()) == {"b", "h"}


def test_a_failure_while_stopping_is_not_tried_again(stage: Callable[..., Stage]) -> None:
    it = stage("s -> a", a={"retries": 5})
    it.theatre.faults = {"a": [fails(), fails()]}
    it.theatre.on_start = lambda step: it.driver.stop()
    assert it.rebuild() == {"a": "failed"} and it.started == ["a"]


# -- commits -----------------------------------------------------------------------------------------------------------


def test_an_end_that_is_heard_twice_is_committed_once(stage: Callable[..., Stage]) -> None:
    it = stage()
    it.theatre.echo = True
    assert it.rebuild() == dict.fromkeys("abcd", "built")
    assert [len(it.ledger.logs(n)) for n in "abcd"] == [1, 1, 1, 1]
    assert [len(it.ledger.versions(n)) for n in "abcd"] == [1, 1, 1, 1]


def test_a_builder_whose_epoch_has_passed_commits_nothing(stage: Callable[..., Stage]) -> None:
    it = stage("s -> a; a -> b")
    it.theatre.on_end = lambda step: Committer.take(it.ledger) if step == "b" else None  # type: ignore[arg-type,return-value]
    with pytest.raises(BuilderError) as caught:
        it.rebuild()
    assert caught.value.code == "locked"
    assert set(it.ledger.currents()) == {"s", "a"}
    assert it.theatre.is_closed


def test_an_attempt_gets_its_inputs_by_reference_and_its_last_version(stage: Callable[..., Stage]) -> None:
    it = stage("s -> a; a s -> b")
    it.rebuild()
    before = it.ledger.currents()
    it.world.contents["s"] = "2"
    it.rebuild()
    spec = next(s for s in it.theatre.specs.values() if s.step == "b")
    assert isinstance(spec.work, RecipeSpec)
    (a,), (s,) = (i.items for i in spec.work.inputs)
    assert a.manifest is not None and a.manifest.digest == it.ledger.currents()["a"].digest != before["a"].digest
    assert s.manifest is None and s.files is not None and s.files[0].digest == digest_of("content", "2")
    assert spec.previous["b"].digest == before["b"].digest


def test_the_ledger_keeps_what_each_step_took(stage: Callable[..., Stage]) -> None:
    it = stage("s -> a")
    it.theatre.costs_s = {"a": 2.5}
    it.rebuild()
    cost = it.ledger.cost(it.ledger.currents()["a"].key)
    assert cost is not None and (cost.via, cost.run, cost.wall_s) == ("full", 1, 2.5)
    assert it.ledger.history_s() == {"a": 2.5}


# -- what is told ------------------------------------------------------------------------------------------------------


def test_every_node_ends_once_whatever_became_of_it(stage: Callable[..., Stage]) -> None:
    it = stage("s -> a bad; bad -> behind", a={"retries": 1})
    it.theatre.faults = {"a": [fails()], "bad": [fails()]}
    it.rebuild()
    assert sorted(it.heard.of("ended")) == ["a", "bad", "behind", "s"]
    total = next(facts for kind, _, facts in it.heard.events if kind == "total")
    assert total == {"steps": 3, "intakes": 1}
    assert it.heard.of("retried") == ["a"]
    assert {n: f["error"] for k, n, f in it.heard.events if k == "ended"} == {
        "a": None,
        "bad": "recipe-error",
        "behind": None,
        "s": None,
    }


def test_a_long_chain_that_is_restored_needs_no_deep_stack(stage: Callable[..., Stage]) -> None:
    count = 400
    it = stage("s -> n0; " + "; ".join(f"n{i} -> n{i + 1}" for i in range(count)))
    it.rebuild()
    it.world.contents["s"] = "2"
    it.theatre.results = {"n0": "n0" + digest_of("content", "1")}
    assert it.rebuild() == {"n0": "unchanged"}


# -- workers that come and go ------------------------------------------------------------------------------------------


def test_workers_that_join_get_work_at_once(stage: Callable[..., Stage]) -> None:
    it = stage("s -> " + " ".join(f"t{i}" for i in range(7)))
    it.theatre.on_end = lambda step: setattr(it.theatre, "slots", 3)
    assert set(it.rebuild().values()) == {"built"}
    assert it.theatre.now_s == pytest.approx(3.0), "one alone, then three at a time"


def test_a_worker_that_left_gets_nothing_more_and_what_it_ran_runs_elsewhere(stage: Callable[..., Stage]) -> None:
    it = stage("s -> " + " ".join(f"t{i}" for i in range(6)))
    it.theatre.slots = 2
    it.theatre.lost = {"t1"}
    it.theatre.faults = {"t1": [fails("worker-died"), None]}
    it.theatre.on_end = lambda step: setattr(it.theatre, "slots", 1)
    assert set(it.rebuild().values()) == {"built"}
    assert it.theatre.where["t1"] == "0" and it.started.count("t1") == 2
    assert {step for step, place in it.theatre.where.items() if place == "1"} == set()


GPU = frozenset({"gpu"})


def with_gpu(is_here: Callable[[float], bool]) -> Callable[[float], list[Place]]:
    """A worker that is always there, and one with an ability at some times alone."""
    return lambda now_s: [Place("plain")] + [Place("able", abilities=GPU)] * is_here(now_s)


def test_the_only_worker_with_an_ability_may_restart(stage: Callable[..., Stage]) -> None:
    it = stage("s -> a b c", a={"needs": ("gpu",)}, b={"needs": ("gpu",)})
    it.theatre.crew = with_gpu(lambda now_s: not 1.0 <= now_s < 6.0)
    assert it.rebuild() == dict.fromkeys("abc", "built")
    assert it.theatre.spans["b"][0][0] == pytest.approx(6.0, abs=0.5)


def test_what_waits_for_an_ability_that_does_not_come_back_fails_after_the_wait(stage: Callable[..., Stage]) -> None:
    it = stage("s -> a b c", a={"needs": ("gpu",)}, b={"needs": ("gpu",)})
    it.theatre.crew = with_gpu(lambda now_s: now_s < 1.0)
    assert it.rebuild() == {"a": "built", "b": "failed", "c": "built"}
    assert it.driver.outcomes.failed["b"].code == "no-worker"
    assert it.theatre.now_s == pytest.approx(1.0 + WITHOUT_WORKER_S, abs=2.0)


def test_an_ability_that_was_never_there_fails_a_step_at_once(stage: Callable[..., Stage]) -> None:
    it = stage("s -> a b", a={"needs": ("gpu",)})
    assert it.rebuild() == {"a": "failed", "b": "built"}
    assert it.theatre.now_s == 1.0


def test_after_a_pause_workers_have_the_whole_wait_to_come(stage: Callable[..., Stage]) -> None:
    it = stage("s -> a b")
    it.theatre.crew = lambda now_s: [] if 100.0 <= now_s < 103.0 else [Place("0")]
    assert it.rebuild(is_paused=lambda: 1.0 <= it.theatre.now_s < 100.0) == {"a": "built", "b": "built"}


def test_a_pause_is_no_time_in_which_nobody_came(stage: Callable[..., Stage]) -> None:
    it = stage("s -> a b")
    it.theatre.crew = lambda now_s: [] if 1.0 <= now_s < 103.0 else [Place("0")]
    assert it.rebuild(is_paused=lambda: 2.0 <= it.theatre.now_s < 100.0) == {"a": "built", "b": "built"}


def test_without_any_worker_for_the_whole_wait_what_is_ready_fails(stage: Callable[..., Stage]) -> None:
    for wait_s, expected_s in ((0.0, WITHOUT_WORKER_S), (90.0, 90.0)):
        it = stage("s -> a b")
        it.theatre.crew = lambda now_s: [Place("0")] if now_s < 1.0 else []
        assert it.rebuild(wait_s=wait_s) == {"a": "built", "b": "failed"}
        assert it.theatre.now_s == pytest.approx(1.0 + expected_s, abs=2.0)


def test_a_lost_cluster_is_replaced_and_counts_against_no_step(stage: Callable[..., Stage]) -> None:
    it = stage("s -> a b; a b -> c")
    it.theatre.slots, it.theatre.losses = 2, ["a", "c"]
    assert it.rebuild() == dict.fromkeys("abc", "built")
    assert [it.started.count(n) for n in "abc"] == [2, 2, 2]
    assert [n for n, *_ in it.heard.events if n == "retried"] == []
    assert [[(number, outcome) for _, number, outcome, _ in it.ledger.logs(n)] for n in "abc"] == [[(1, "done")]] * 3
    assert it.ledger.epoch() == 3, "what began before a loss can never commit"


def test_a_cluster_that_is_lost_again_and_again_ends_the_run(stage: Callable[..., Stage]) -> None:
    it = stage("s -> a; a -> b")
    it.theatre.losses = ["b"] * 9
    with pytest.raises(BuilderError) as caught:
        it.rebuild()
    assert caught.value.code == "no-cluster" and it.started.count("b") == 4
    assert set(it.ledger.currents()) == {"s", "a"}


# -- cost --------------------------------------------------------------------------------------------------------------


def test_steps_of_which_nothing_is_known_are_packed_once_a_few_were_seen(stage: Callable[..., Stage]) -> None:
    names = [f"t{i}" for i in range(100)]
    it = stage("s -> " + " ".join(names))
    it.theatre.costs_s = dict.fromkeys(names, 0.001)
    assert set(it.rebuild().values()) == {"built"}
    assert [len(pack) for pack in it.theatre.packs[:8]] == [1] * 8
    assert len(it.theatre.packs) < 12


def layers(width: int, depth: int) -> str:
    """Steps in layers; each reads two of the layer before."""
    edges = ["s -> " + " ".join(f"l0n{i}" for i in range(width))]
    for layer in range(1, depth):
        edges += [f"l{layer - 1}n{i} l{layer - 1}n{(i + 1) % width} -> l{layer}n{i}" for i in range(width)]
    return "; ".join(edges)


def test_the_work_per_step_does_not_grow_with_the_graph(stage: Callable[..., Stage]) -> None:
    calls = []
    for depth in (10, 10, 40):  # the first imports and warms up
        it = stage(layers(10, depth))
        it.theatre.slots = 10
        it.theatre.costs_s = {
            f"l{layer}n{i}": 0.06 for layer in range(depth) for i in range(10)
        }  # alone, and over soon
        profile = cProfile.Profile()
        profile.runcall(it.rebuild)
        rows: Any = pstats.Stats(profile)
        of_graph = sum(row[1] for place, row in rows.stats.items() if "execute/" in place[0] or "compile/" in place[0])
        calls.append(of_graph / (10 * depth))
    assert calls[2] < 1.2 * calls[1], calls


def test_nothing_is_kept_of_what_is_done_but_what_the_report_needs(stage: Callable[..., Stage]) -> None:
    it = stage(layers(10, 10))
    it.theatre.slots = 4
    it.rebuild()
    it.theatre.specs.clear()
    gc.collect()
    kept = [o for o in gc.get_objects() if isinstance(o, (AttemptSpec, AttemptRecord, Running))]
    assert kept == []
    assert all(node.is_done and node.verdict is None and not node.fields for node in it.driver.nodes.values())
    assert not it.driver.policy.started and not it.driver.policy.ready
