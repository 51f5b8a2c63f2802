"""Reports as values: root causes, folding, and the fields of their JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from builder.compile.bounds import Bounds
from builder.compile.predict import Choice
from builder.compile.schedule import Schedule, Slot
from builder.errors import error
from builder.plan.keys import key_of, step_fields
from builder.plan.plan import Plan, Version, make_plan, source_fields
from builder.plan.verdict import Reason, State
from builder.report.values import (
    Explanation,
    PlanReport,
    SourceStatus,
    Status,
    TargetStatus,
    Updates,
    folded,
    root_causes,
    updates_of,
)


@pytest.mark.parametrize(
    ("names", "families", "shown"),
    [
        ([], {}, []),
        (["a", "b"], {"a": 1, "b": 1}, ["a", "b"]),
        (["m[k=1]", "m[k=2]"], {"m": 2}, ["m[k=1]", "m[k=2]"]),
        (["m[k=1]", "m[k=2]", "m[k=3]"], {"m": 3}, ["m[*] (3)"]),
        (["m[k=1]", "x", "m[k=2]", "m[k=3]"], {"m": 9, "x": 1}, ["m[…] (3 of 9)", "x"]),
        (["m[k=1]", "m[k=2]", "m[k=3]"], {}, ["m[…] (3 of 3)"]),
    ],
)
def test_members_are_folded_into_their_family(names: list[str], families: dict[str, int], shown: list[str]) -> None:
    assert folded(names, families) == shown


def built(world: Any, memory: Any, manifest_of: Any) -> None:
    """Remember all of a world as built."""
    situation, versions = world.situation, {}
    for name, sensed in situation.sources.items():
        fields = source_fields(name, situation)
        memory.commit(name, key_of(fields), fields, {name: manifest_of(name)})
        versions[name] = Version(sensed.content)
    for step in situation.graph.steps.values():
        fields = step_fields(step, situation, lambda n, c, known=versions: known[n].digest)
        outputs = {t: manifest_of(t) for t in step.targets}
        memory.commit(step.name, key_of(fields), fields, outputs)
        versions |= {t: Version(m.digest) for t, m in outputs.items()}


def test_all_behind_a_changed_source_has_it_as_its_root(world: Any, remembered: Any, manifest_of: Any) -> None:
    made = world("s -> a; a t -> b; b -> c; t -> d", {"s": "1", "t": "1"})
    built(made, remembered, manifest_of)
    made.contents["s"] = "2"
    roots = root_causes(make_plan(made.situation, remembered))
    assert roots == {"a": (("source", "s"),), "b": (("source", "s"),), "c": (("source", "s"),)}


def test_two_causes_are_told_nearest_first(world: Any, remembered: Any, manifest_of: Any) -> None:
    made = world("s -> a; a t -> b", {"s": "1", "t": "1"})
    built(made, remembered, manifest_of)
    made.contents |= {"s": "2", "t": "2"}
    assert root_causes(make_plan(made.situation, remembered))["b"] == (("source", "t"),)
    made.contents["t"] = "1"
    made.options["recipes"] = {"a": {"version": "2"}}
    assert root_causes(make_plan(made.situation, remembered))["b"] == (("recipe", "a"), ("source", "s"))


def test_what_was_never_built_and_what_failed_are_roots_themselves(world: Any, remembered: Any) -> None:
    made = world("s -> a; a -> b", {"s": "1"})
    assert root_causes(make_plan(made.situation, remembered))["b"] == (("missing", "never built"),)
    remembered.failures["a"] = None
    assert root_causes(make_plan(made.situation, remembered)) == {"a": (("failed", "a"),), "b": (("failed", "a"),)}


def test_the_environment_is_one_root_for_all(world: Any, remembered: Any, manifest_of: Any) -> None:
    made = world("s -> a; a -> b", {"s": "1"})
    built(made, remembered, manifest_of)
    made.environment["python"] = "3.12"
    assert set(root_causes(make_plan(made.situation, remembered)).values()) == {(("environment", "python"),)}


def status(**changes: Any) -> Status:
    source = SourceStatus("s", "changed", 2, 30, ("a changed",), "data/*.csv")
    target = TargetStatus(
        "m[k=7]", "m", (("k", 7),), State.STALE, (Reason("source", "s", "changed", "x", "y"),), 1.5, (("db", 1),)
    )
    return Status(
        **{
            "project": "p",
            "sensed_s": 0.12345,
            "sources": (source,),
            "targets": (target,),
            "predicted_s": 1.5,
            "workers": 2,
        }
        | changes
    )


def test_the_json_of_a_status_has_the_fields_that_scripts_read() -> None:
    found = json.loads(json.dumps(status().to_json()))
    assert (found["format"], found["project"], found["sensed_s"], found["predicted_s"]) == (1, "p", 0.1235, 1.5)
    (source,), (target,) = found["sources"], found["targets"]
    assert source == {
        "name": "s", "state": "changed", "files": 2, "bytes": 30, "reasons": ["a changed"], "rows": None,
        "rows_before": None, "rows_changed": None, "rows_added": None, "rows_removed": None, "error": None,
    }  # fmt: skip
    assert found["updates"] is None
    assert target == {
        "name": "m[k=7]", "recipe": "m", "params": {"k": 7}, "state": "stale", "predicted_s": 1.5, "lanes": {"db": 1},
        "reasons": [{"kind": "source", "subject": "s", "detail": "changed"}],
    }  # fmt: skip
    assert found["totals"] == {
        "targets": 1, "fresh": 0, "stale": 1, "pending": 0, "missing": 0, "blocked": 0, "failed": 0,
    }  # fmt: skip


def test_the_json_of_a_status_tells_the_rows_that_changed_and_what_updates_save() -> None:
    source = SourceStatus(
        "s", "changed", 1, 30, (), "data/s.csv", rows=12_579, rows_before=12_573, difference=(59, 53, 72)
    )
    found = status(sources=(source,), updates=Updates(9, 12, 1.23456, None)).to_json()
    assert {k: v for k, v in found["sources"][0].items() if k.startswith("rows")} == {
        "rows": 12_579, "rows_before": 12_573, "rows_changed": 184, "rows_added": 59, "rows_removed": 53,
    }  # fmt: skip
    assert found["updates"] == {"steps": 9, "of": 12, "update_s": 1.2346, "full_s": None}


def slot(name: str, action: str, choice: Choice | None = None, kind: str = "target") -> Slot:
    return Slot(name, kind, action, (), 1.0, 1.0, 0.0, 1.0, None, choice)


def test_updates_are_counted_among_the_steps_that_run() -> None:
    slots = [slot("s", "run", kind="intake"), slot("old", "restore"), slot("plain", "run")]
    assert updates_of(Schedule(tuple(slots), 2, 1.0)) is None
    slots += [slot("whole", "run", Choice(False, 7.0, 5.0, 9))]
    assert updates_of(Schedule(tuple(slots), 2, 1.0)) == Updates(0, 2, 0.0, 0.0)
    slots += [slot("a", "update", Choice(True, 0.25, 3.0, 9)), slot("b", "update", Choice(True, 0.5, 4.0, 9))]
    assert updates_of(Schedule(tuple(slots), 2, 1.0)) == Updates(2, 4, 0.75, 7.0)
    slots += [slot("c", "update", Choice(True, 0.5, None, 9))]
    assert updates_of(Schedule(tuple(slots), 2, 1.0)) == Updates(3, 5, 1.25, None)


def test_a_status_is_fresh_when_nothing_is_to_be_done() -> None:
    assert status(targets=()).is_fresh
    assert not status().is_fresh
    assert not status(targets=(), retired=("x",)).is_fresh and not status(targets=(), unpublished=1).is_fresh


@pytest.fixture
def report(world: Any, remembered: Any) -> PlanReport:
    """A plan of a step with two outputs behind a source."""
    made = world("s -> split", {"s": "1"}, {"outputs": {"split": ("good", "bad")}})
    plan: Plan = make_plan(made.situation, remembered)
    slots = (
        Slot("s", "intake", "run", (), 0.5, 2.0, 0.0, 0.5),
        Slot("split", "target", "run", (("db", 1),), 1.5, 1.5, 0.5, 2.0),
    )
    return PlanReport(plan, Schedule(slots, 2, 2.0, Bounds(2.0, 1.0, {"db": 1.5}, 2.0, "critical path")), "token")


def test_the_json_of_a_plan_has_an_entry_per_target(report: PlanReport) -> None:
    found = json.loads(json.dumps(report.to_json()))
    assert [(s["kind"], s["name"], s["step"]) for s in found["steps"]] == [
        ("intake", "s", "s"), ("target", "split.good", "split"), ("target", "split.bad", "split"),
    ]  # fmt: skip
    assert found["steps"][1]["reasons"] == [{"kind": "missing", "subject": "split", "detail": "never built"}]
    assert found["steps"][0]["reasons"] == [{"kind": "source", "subject": "s", "detail": "new"}]
    assert {k: found["steps"][1][k] for k in ("action", "predicted_s", "lanes", "priority", "start_s", "finish_s")} == {
        "action": "run", "predicted_s": 1.5, "lanes": {"db": 1}, "priority": 1.5, "start_s": 0.5, "finish_s": 2.0,
    }  # fmt: skip
    assert found["bounds"] == {"critical_path_s": 2.0, "work_s": 1.0, "lanes": {"db": 1.5}, "largest_s": 2.0}
    assert (found["bottleneck"], found["predicted_s"]) == ("critical path", 2.0)
    assert found["ready"] == {"split.good": 2.0, "split.bad": 2.0}
    assert (found["sources"], found["updates"]) == ([], None)


def test_the_json_of_a_plan_tells_the_rows_that_changed_and_what_updates_save(report: PlanReport) -> None:
    slots = (slot("split", "update", Choice(True, 0.25, 3.0, 9)),)
    source = SourceStatus("s", "changed", 1, 30, (), "data/s.csv", rows=9, rows_before=8, difference=(2, 1, 3))
    found = replace(report, schedule=Schedule(slots, 2, 1.0), sources=(source,)).to_json()
    assert found["updates"] == {"steps": 1, "of": 1, "update_s": 0.25, "full_s": 3.0}
    assert [(s["name"], s["rows_changed"], s["rows_added"], s["rows_removed"]) for s in found["sources"]] == [
        ("s", 6, 2, 1)
    ]


def test_the_json_of_an_explanation_has_values_before_and_after() -> None:
    cause = error("recipe-error", "'a' failed", target="a")
    made = Explanation(
        "a", State.FAILED, (Reason("source", "s", "changed", "1", "2"),), ("b",), (("s", None),), error=cause
    )
    found = json.loads(json.dumps(made.to_json()))
    assert (found["format"], found["name"], found["state"]) == (1, "a", "failed")
    assert found["reasons"] == [{"kind": "source", "subject": "s", "detail": "changed", "before": "1", "after": "2"}]
    assert (found["waits_for"], found["inputs"]) == (["b"], [{"name": "s", "digest": None}])
    assert found["error"]["code"] == "recipe-error"
