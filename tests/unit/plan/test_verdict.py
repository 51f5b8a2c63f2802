"""The verdict on one step: every state with its reasons and what is to be done."""

from __future__ import annotations

from typing import Any

import pytest

from builder.plan.keys import UNKNOWN, Field, key_of
from builder.plan.verdict import Action, State, Verdict, judge

BASE: list[Field] = [
    ("recipe", "clean", "code1"),
    ("environment", "python", "3.11"),
    ("source", "raw", "d1"),
    ("upstream", "other(a,b)", "d2"),
]


def now(**changed: str | None) -> list[Field]:
    """The fields with another value for these subjects (their first word); None takes a field away."""
    fields = [(k, s, changed.get(s.partition("(")[0], v)) for k, s, v in BASE]
    return [(k, s, v) for k, s, v in fields if v is not None]


@pytest.fixture
def built(remembered: Any, manifest_of: Any) -> Any:
    """Finished work: ``clean`` with the outputs ``x`` and ``y`` under the base fields."""
    remembered.commit("clean", key_of(BASE), BASE, {"x": manifest_of("x1"), "y": manifest_of("y1")})
    return remembered


def verdict(traces: Any, fields: list[Field], **options: Any) -> Verdict:
    return judge("clean", ("x", "y"), fields, traces, **options)


def told(found: Verdict) -> list[tuple[str, str, str]]:
    return [(r.kind, r.subject, r.detail) for r in found.reasons]


def test_the_same_key_with_whole_outputs_is_fresh(built: Any) -> None:
    found = verdict(built, BASE)
    assert (found.state, found.action, found.reasons) == (State.FRESH, Action.NONE, ())
    assert found.key == key_of(BASE)
    assert found.outputs is not None and set(found.outputs) == {"x", "y"}


def test_what_was_never_built_is_missing(remembered: Any) -> None:
    found = verdict(remembered, BASE)
    assert (found.state, found.action, found.outputs) == (State.MISSING, Action.RUN, None)
    assert told(found) == [("missing", "clean", "never built")]


def test_what_was_never_built_is_missing_too_while_its_inputs_are_unknown(remembered: Any) -> None:
    found = verdict(remembered, now(other=UNKNOWN))
    assert (found.state, found.key) == (State.MISSING, None)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (now(clean="code2"), ("recipe", "clean", "changed")),
        (now(python="3.12"), ("environment", "python", "changed")),
        (now(raw="d9"), ("source", "raw", "changed")),
        (now(other="d9"), ("upstream", "other(a,b)", "changed")),
        (now(raw=None), ("source", "raw", "is gone")),
        ([*BASE, ("source", "more", "d")], ("source", "more", "is new")),
        ([*BASE, ("source", "more", UNKNOWN)], ("source", "more", "is a new input")),
        ([BASE[0], BASE[1], BASE[3], BASE[2]], ("recipe", "clean", "the order of its inputs changed")),
    ],
)
def test_whatever_differs_from_the_last_build_makes_it_stale_and_is_the_reason(
    built: Any, fields: list[Field], reason: tuple[str, str, str]
) -> None:
    found = verdict(built, fields)
    assert (found.state, found.action) == (State.STALE, Action.RUN)
    assert told(found) == [reason]


def test_a_reason_holds_the_values_before_and_after(built: Any) -> None:
    (reason,) = verdict(built, now(raw="d9")).reasons
    assert (reason.before, reason.after) == ("d1", "d9")


def test_several_changes_are_several_reasons(built: Any) -> None:
    assert [s for _, s, _ in told(verdict(built, now(raw="d9", python="3.12")))] == ["python", "raw"]


def test_an_unknown_upstream_alone_is_pending(built: Any) -> None:
    found = verdict(built, now(other=UNKNOWN))
    assert (found.state, found.action, found.key) == (State.PENDING, Action.RUN, None)
    assert told(found) == [("upstream", "other(a,b)", "may change")]


def test_an_unknown_upstream_and_a_change_is_stale_with_the_change_alone(built: Any) -> None:
    found = verdict(built, now(other=UNKNOWN, clean="code2"))
    assert found.state is State.STALE
    assert told(found) == [("recipe", "clean", "changed")]


def test_a_source_whose_bytes_changed_makes_its_readers_stale_before_it_is_read(built: Any) -> None:
    found = verdict(built, now(raw=UNKNOWN), changed=frozenset({"raw"}))
    assert found.state is State.STALE
    assert told(found) == [("source", "raw", "changed")]


def test_columns_of_a_changed_source_are_known_by_its_name(remembered: Any, manifest_of: Any) -> None:
    fields = [("source", "raw(a,b)", "d1")]
    remembered.commit("clean", key_of(fields), fields, {"x": manifest_of("x"), "y": manifest_of("y")})
    found = verdict(remembered, [("source", "raw(a,b)", UNKNOWN)], changed=frozenset({"raw"}))
    assert told(found) == [("source", "raw(a,b)", "changed")]


def test_a_key_built_before_is_restored_with_the_change_as_reason(built: Any, manifest_of: Any) -> None:
    later = now(raw="d9")
    built.commit("clean", key_of(later), later, {"x": manifest_of("x2"), "y": manifest_of("y2")})
    found = verdict(built, BASE)
    assert (found.state, found.action) == (State.STALE, Action.RESTORE)
    assert told(found) == [("source", "raw", "changed")]
    assert found.outputs is not None
    assert {n: d for n, (_, d) in found.outputs.items()} == {
        "x": manifest_of("x1").digest,
        "y": manifest_of("y1").digest,
    }


def test_what_left_the_project_and_came_back_is_restored_with_one_reason(built: Any) -> None:
    built.built.clear()
    built.by_step.clear()
    found = verdict(built, BASE)
    assert (found.state, found.action) == (State.STALE, Action.RESTORE)
    assert told(found) == [("missing", "clean", "not among the present outputs; the store has it")]


@pytest.mark.parametrize("is_current", [True, False])
def test_a_trace_that_lacks_an_output_is_no_hit(built: Any, is_current: bool, manifest_of: Any) -> None:
    del built.traces[key_of(BASE)]["y"]
    if not is_current:
        later = now(raw="d9")
        built.commit("clean", key_of(later), later, {"x": manifest_of("x2"), "y": manifest_of("y2")})
    found = verdict(built, BASE)
    assert (found.state, found.action) == (State.STALE, Action.RUN)
    assert told(found) == [
        ("missing", "clean", "its outputs are not whole") if is_current else ("source", "raw", "changed")
    ]


def test_a_new_output_of_the_same_key_is_no_hit(built: Any) -> None:
    found = judge("clean", ("x", "y", "z"), BASE, built)
    assert (found.state, found.action) == (State.STALE, Action.RUN)


def test_a_step_behind_a_failure_is_blocked_and_names_it(built: Any) -> None:
    found = verdict(built, now(other=UNKNOWN), blocked=frozenset({"other", "b"}))
    assert (found.state, found.action) == (State.BLOCKED, Action.RUN)
    assert told(found) == [("upstream", "b", "cannot be had"), ("upstream", "other", "cannot be had")]


def test_what_failed_stays_failed_whatever_it_failed_at(built: Any) -> None:
    for failed_at in (None, key_of(now(clean="code2")), key_of(now(clean="code3"))):
        built.failures["clean"] = failed_at
        found = verdict(built, now(clean="code2"))
        assert (found.state, found.action) == (State.FAILED, Action.RUN)
        assert told(found) == [("failed", "clean", "its last attempt failed")]


def test_a_failure_does_not_count_where_the_inputs_are_back_at_what_was_built(built: Any) -> None:
    built.failures["clean"] = key_of(now(clean="code2"))
    assert verdict(built, BASE).state is State.FRESH


def test_blocked_goes_before_failed(built: Any) -> None:
    built.failures["clean"] = None
    assert verdict(built, now(other=UNKNOWN), blocked=frozenset({"other"})).state is State.BLOCKED


def test_forced_runs_what_is_fresh(built: Any) -> None:
    found = verdict(built, BASE, is_forced=True)
    assert (found.state, found.action, found.key) == (State.STALE, Action.RUN, key_of(BASE))
    assert told(found) == [("forced", "clean", "asked for with --all")]


def test_a_recipe_that_is_no_function_runs_always(built: Any) -> None:
    found = verdict(built, BASE, is_pure=False)
    assert (found.state, found.action) == (State.STALE, Action.RUN)
    assert "pure=False" in found.reasons[0].detail


def test_what_must_run_anyway_is_still_told_missing_failed_or_blocked(remembered: Any, built: Any) -> None:
    for options in ({"is_pure": False}, {"is_forced": True}):
        built.failures["clean"] = None
        assert verdict(built, BASE, **options).state is State.FAILED
        assert verdict(built, BASE, blocked=frozenset({"raw"}), **options).state is State.BLOCKED
        assert judge("new", ("n",), BASE, remembered, **options).state is State.MISSING
        del built.failures["clean"]


def test_reasons_show_no_values_in_reports(built: Any) -> None:
    (reason,) = verdict(built, now(raw="d9")).reasons
    assert reason.to_json() == {"kind": "source", "subject": "raw", "detail": "changed"}
