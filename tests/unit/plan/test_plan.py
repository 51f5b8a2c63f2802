"""The plan: verdicts over a whole graph, what is to be taken in and done, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from builder.digests import digest_of
from builder.errors import error
from builder.plan.keys import key_of, step_fields
from builder.plan.plan import Plan, Version, digest_of_read, make_plan, source_fields
from builder.plan.verdict import Action, State
from builder.store.manifest import Manifest, table_digest
from builder.tables.schema import Column, Schema

TEXT = "airports -> clean; clean counties -> joined; joined -> report; counties -> map"


class Bench:
    """A world and the memory of what was built in it; building makes the output from the inputs' digests."""

    def __init__(self, world: Any, memory: Any, manifest_of: Callable[..., Manifest]) -> None:
        self.world = world
        self.memory = memory
        self.manifest_of = manifest_of
        self.constant: set[str] = set()

    def plan(self, wanted: list[str] | None = None, **options: Any) -> Plan:
        return make_plan(self.world.situation, self.memory, wanted, **options)

    def build(self) -> None:
        """Bring all up to date, as an executor without failures would."""
        situation = self.world.situation
        versions = {}
        for name, sensed in situation.sources.items():
            fields = source_fields(name, situation)
            content = sensed.files[0].digest
            manifest = self.manifest_of(content)
            self.memory.commit(name, key_of(fields), fields, {name: manifest})
            is_table = situation.is_table(name)
            versions[name] = Version(manifest.digest if is_table else sensed.content, 0)
        for step in situation.graph.steps.values():
            fields = step_fields(step, situation, lambda n, c, known=versions: known[n].digest)
            key = key_of(fields)
            text = "constant" if step.name in self.constant else key
            outputs = {t: self.manifest_of(f"{t}{text}") for t in step.targets}
            self.memory.commit(step.name, key, fields, outputs)
            versions |= {t: Version(m.digest, 0) for t, m in outputs.items()}

    def states(self, **options: Any) -> dict[str, str]:
        found = self.plan(**options)
        return {t: found.verdict_of(t).state.value for t in found.situation.graph.targets}


@pytest.fixture
def bench(world: Any, remembered: Any, manifest_of: Any) -> Bench:
    """Two sources of files, four steps."""
    return Bench(world(TEXT, {"airports": "a1", "counties": "c1"}), remembered, manifest_of)


@pytest.fixture
def tables(world: Any, remembered: Any, manifest_of: Any) -> Bench:
    """The same with the airports as a table."""
    made = world(TEXT, {"airports": "a1", "counties": "c1"}, tables=frozenset({"airports"}))
    return Bench(made, remembered, manifest_of)


def test_in_an_empty_store_all_is_missing_and_planned_in_order(bench: Bench) -> None:
    made = bench.plan()
    assert set(bench.states().values()) == {"missing"}
    assert made.intakes == ("airports", "counties")
    assert made.steps == ("clean", "map", "joined", "report")
    assert {v.state for v in made.sources.values()} == {"new"}


def test_after_a_build_nothing_is_planned(bench: Bench) -> None:
    bench.build()
    made = bench.plan()
    assert (made.steps, made.intakes) == ((), ())
    assert set(bench.states().values()) == {"fresh"}


def test_a_changed_source_makes_its_readers_stale_and_all_behind_them_pending(bench: Bench) -> None:
    bench.build()
    bench.world.contents["airports"] = "a2"
    assert bench.states() == {"clean": "stale", "joined": "pending", "report": "pending", "map": "fresh"}
    made = bench.plan()
    assert made.steps == ("clean", "joined", "report")
    assert made.intakes == ("airports",)
    assert made.sources["airports"].reasons == ("data/airports changed",)


def test_a_table_not_taken_in_yet_makes_its_readers_stale_too(tables: Bench) -> None:
    tables.build()
    tables.world.contents["airports"] = "a2"
    made = tables.plan()
    assert made.verdicts["clean"].state is State.STALE and made.verdicts["clean"].key is None
    assert "airports" not in made.versions
    assert (made.intakes, made.sources["airports"].action) == (("airports",), Action.RUN)


def test_a_reverted_source_is_restored_with_all_that_came_of_it(tables: Bench) -> None:
    tables.build()
    tables.world.contents["airports"] = "a2"
    tables.build()
    tables.world.contents["airports"] = "a1"
    made = tables.plan()
    assert made.sources["airports"].action is Action.RESTORE
    assert {n: v.action for n, v in made.verdicts.items()} == {
        "clean": Action.RESTORE,
        "joined": Action.RESTORE,
        "report": Action.RESTORE,
        "map": Action.NONE,
    }


def test_a_restored_output_equal_to_the_present_one_leaves_its_readers_fresh(bench: Bench) -> None:
    bench.constant = {"clean"}
    bench.build()
    bench.world.contents["airports"] = "a2"
    bench.build()
    bench.world.contents["airports"] = "a1"
    assert bench.states() == {"clean": "stale", "joined": "fresh", "report": "fresh", "map": "fresh"}


def test_only_what_the_wanted_targets_need_is_planned(bench: Bench) -> None:
    made = bench.plan(["map"])
    assert (made.steps, made.intakes) == (("map",), ("counties",))
    assert bench.plan([]).steps == () and bench.plan([]).intakes == ()


def test_forcing_covers_the_wanted_targets_and_their_needs_alone(bench: Bench) -> None:
    bench.build()
    made = bench.plan(["joined"], is_forced=True)
    assert made.steps == ("clean", "joined") and made.is_forced
    assert made.verdicts["report"].state is State.PENDING and made.verdicts["map"].state is State.FRESH


def test_a_source_with_a_problem_blocks_what_needs_it(bench: Bench) -> None:
    bench.build()
    bench.world.contents["airports"] = error("source-missing", "'airports' is not there")
    assert bench.states() == {"clean": "blocked", "joined": "blocked", "report": "blocked", "map": "fresh"}
    found = bench.plan().sources["airports"]
    assert (found.state, found.action, found.reasons) == ("missing", Action.RUN, ("'airports' is not there",))


def test_what_is_behind_a_failure_is_blocked_until_the_failure_is_gone(bench: Bench) -> None:
    bench.build()
    bench.world.contents["airports"] = "a2"
    bench.memory.failures["clean"] = None
    assert bench.states() == {"clean": "failed", "joined": "blocked", "report": "blocked", "map": "fresh"}
    assert bench.plan().steps == ("clean", "joined", "report")
    bench.build()
    assert set(bench.states().values()) == {"fresh"}


def test_a_source_version_that_failed_blocks_its_readers_and_another_version_does_not(tables: Bench) -> None:
    tables.build()
    tables.world.contents["airports"] = "bad"
    tables.memory.failures["airports"] = tables.plan().sources["airports"].key
    assert tables.states()["clean"] == "blocked"
    tables.world.contents["airports"] = "a3"
    assert tables.states()["clean"] == "stale"


def test_an_impure_recipe_runs_each_time_and_leaves_its_readers_pending(
    world: Any, remembered: Any, manifest_of: Any
) -> None:
    made = world("a -> now; now -> b", {"a": "1"}, options={"recipes": {"now": {"pure": False}}})
    bench = Bench(made, remembered, manifest_of)
    bench.build()
    assert bench.states() == {"now": "stale", "b": "pending"}


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        (lambda w: w.environment.update(python="3.12"), {"clean", "joined", "report", "map"}),
        (lambda w: setattr(w, "depends", (("metadata/a.yaml", "d"),)), {"clean", "joined", "report", "map"}),
        (lambda w: w.options.update(recipes={"map": {"version": "2"}}), {"map"}),
    ],
)
def test_what_counts_for_a_recipe_makes_its_steps_stale(
    bench: Bench, change: Callable[[Any], None], stale: set[str]
) -> None:
    bench.build()
    change(bench.world)
    assert {t for t, s in bench.states().items() if s == "stale"} == stale


def test_a_new_member_is_missing_while_the_others_stay_fresh(world: Any, remembered: Any, manifest_of: Any) -> None:
    made = world("s[k=1] -> m[k=1]; m[k=1] -> all", {"s[k=1]": "1"})
    bench = Bench(made, remembered, manifest_of)
    bench.build()
    made.text = "s[k=1] -> m[k=1]; s[k=2] -> m[k=2]; m[k=1] m[k=2] -> all"
    made.contents["s[k=2]"] = "2"
    assert bench.states() == {"m[k=1]": "fresh", "m[k=2]": "missing", "all": "stale"}


def test_the_reasons_of_a_source_of_files_name_them_as_people_do(bench: Bench) -> None:
    bench.build()
    airports = bench.plan().sources["airports"]
    assert (airports.state, airports.reasons) == ("unchanged", ())
    bench.world.contents["airports"] = "a2"
    assert bench.plan().sources["airports"].reasons == ("data/airports changed",)


SCHEMA = Schema((Column("a", "int64"), Column("b", "string")))
COLUMNS = {"a": "0" * 32, "b": "1" * 32}
TABLE = Manifest("table", table_digest(SCHEMA, 3, "2" * 32), (), 3, 0, SCHEMA, COLUMNS, total="2" * 32)


def test_a_reader_of_columns_depends_on_their_digests_alone(remembered: Any) -> None:
    remembered.manifests.append(TABLE)
    versions = {"t": Version(TABLE.digest, 0)}
    expected = digest_of_read(versions, remembered, "t", ("a",))
    assert expected != TABLE.digest
    changed = Manifest("table", digest_of("x"), (), 3, 0, SCHEMA, COLUMNS | {"b": "2" * 32})
    remembered.manifests.append(changed)
    assert digest_of_read({"t": Version(changed.digest, 1)}, remembered, "t", ("a",)) == expected
    assert digest_of_read({"t": Version(changed.digest, 1)}, remembered, "t", ("b",)) != digest_of_read(
        versions, remembered, "t", ("b",)
    )


def test_a_column_that_is_not_there_counts_as_the_whole_table(remembered: Any) -> None:
    remembered.manifests.append(TABLE)
    assert digest_of_read({"t": Version(TABLE.digest, 0)}, remembered, "t", ("z",)) == TABLE.digest


def test_what_is_not_known_is_a_question_mark(remembered: Any) -> None:
    assert digest_of_read({}, remembered, "t", None) == "?"
