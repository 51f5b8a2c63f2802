"""From steps to attempts: where an attempt's files lie, and what travels with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from builder.digests import digest_of
from builder.errors import error
from builder.execute.spec import AttemptSpec, IntakeSpec, RecipeSpec
from builder.execute.work import Workplace, intake_attempt, pin_attempt, recipe_attempt
from builder.plan.plan import Version
from builder.tables.schema import Column, Schema

PLACE = Workplace(Path("/p"), Path("/p/recipes"), Path("/p/.builder"), Path("/p/out"))
TEXT = "s t[k=1] -> m[k=1]; m[k=1] -> split"


@pytest.fixture
def situation(world: Any) -> Any:
    """A source of files, a family of tables, two steps."""
    made = world(TEXT, {"s": "1", "t[k=1]": "2", "t[k=2]": "3"}, {"outputs": {"split": ("good", "bad")}})
    made.tables = frozenset({"t"})
    return made.situation


def test_an_attempts_files_lie_in_the_store_under_safe_names(situation: Any) -> None:
    step = situation.graph.steps["m[k=1]"]
    spec = PLACE.attempt("../m[k=a/b]", "id-7-1-3", 5, RecipeSpec("m", digest_of("b"), digest_of("f"), (), (), ()), {})
    assert spec.log.startswith("/p/.builder/logs/r5/") and spec.log.endswith(".3.log")
    assert "/" not in spec.log.removeprefix("/p/.builder/logs/r5/")
    assert Path(spec.scratch).parent == Path("/p/.builder/scratch")
    assert (spec.project, spec.recipes, spec.store) == ("/p", "/p/recipes", "/p/.builder")
    assert step.name == "m[k=1]"


def test_two_attempts_share_no_scratch_and_no_log(situation: Any) -> None:
    one, other = (intake_attempt(PLACE, situation, "t[k=1]", f"t-1-1-{n}", 1, {}, ()) for n in (1, 2))
    assert one.scratch != other.scratch and one.log != other.log


def test_an_intake_carries_the_files_the_declaration_and_the_pin(situation: Any) -> None:
    work = intake_attempt(PLACE, situation, "t[k=2]", "i-1-1-1", 1, {}, ()).work
    assert isinstance(work, IntakeSpec)
    assert (work.source, work.format, work.pinned, work.pin_shown) == ("t[k=2]", "csv", None, "schemas/t.json")
    assert work.files == situation.sources["t[k=2]"].files and not work.is_inference
    pin = Schema((Column("a", "int64"),))
    pinned = intake_attempt(
        PLACE, type(situation)(**{**_fields(situation), "pins": {"t": pin}}), "t[k=2]", "i-1-1-1", 1, {}, ()
    )
    assert isinstance(pinned.work, IntakeSpec) and pinned.work.pinned == pin


def _fields(situation: Any) -> dict[str, Any]:
    names = ("graph", "declarations", "sources", "environment", "depends", "pins", "bundle")
    return {n: getattr(situation, n) for n in names}


def test_a_schema_is_found_over_all_members_that_can_be_read(situation: Any) -> None:
    work = pin_attempt(PLACE, situation, "t", "schema of t-1-1-1", 1).work
    assert isinstance(work, IntakeSpec) and work.is_inference and work.source == "t"
    assert work.files == situation.sources["t[k=1]"].files + situation.sources["t[k=2]"].files


def test_members_with_a_problem_take_no_part_in_the_schema(world: Any) -> None:
    made = world("t[k=1] t[k=2] -> m", {"t[k=1]": error("source-empty", "'t' is empty"), "t[k=2]": "3"})
    made.tables = frozenset({"t"})
    work = pin_attempt(PLACE, made.situation, "t", "schema of t-1-1-1", 1).work
    assert isinstance(work, IntakeSpec)
    assert work.files == made.situation.sources["t[k=2]"].files


def test_a_recipes_inputs_travel_by_reference(situation: Any, manifest_of: Any) -> None:
    step = situation.graph.steps["m[k=1]"]
    table = manifest_of("table")
    spec = recipe_attempt(
        PLACE, situation, step, "m-1-1-1", 1, {"t[k=1]": Version(table.digest, 4)}.__getitem__, {4: table}.__getitem__,
        {"m[k=1]": table}, None,
    )  # fmt: skip
    assert isinstance(spec.work, RecipeSpec)
    files, item = (i.items[0] for i in spec.work.inputs)
    assert (files.name, files.manifest, files.files) == ("s", None, situation.sources["s"].files)
    assert (item.name, item.manifest, item.params) == ("t[k=1]", table, (("k", "1"),))
    assert (spec.work.bundle, spec.work.params, spec.work.outputs) == (
        situation.bundle,
        (("k", "1"),),
        (("", "m[k=1]"),),
    )
    assert AttemptSpec.from_bytes(spec.to_bytes()) == spec


def test_several_outputs_are_named_in_the_recipe_and_in_the_graph(situation: Any, manifest_of: Any) -> None:
    made = manifest_of("m")
    step = situation.graph.steps["split"]
    spec = recipe_attempt(
        PLACE, situation, step, "x-1-1-1", 1, lambda n: Version(made.digest, 1), lambda n: made, {}, None
    )
    assert isinstance(spec.work, RecipeSpec)
    assert spec.work.outputs == (("good", "split.good"), ("bad", "split.bad"))
