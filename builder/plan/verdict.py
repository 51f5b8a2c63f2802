"""The verdict on one step: fresh or not, why, and what to do.

One pure function, called in planning with what is known then, and again in execution when an upstream's digest arrives.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Protocol

from builder.digests import Digest
from builder.nouns import dataclass
from builder.plan.keys import UNKNOWN, Field, is_known, key_of


class State(StrEnum):
    """How a target stands."""

    FRESH = "fresh"
    STALE = "stale"
    PENDING = "pending"
    MISSING = "missing"
    BLOCKED = "blocked"
    FAILED = "failed"


class Action(StrEnum):
    """What is to be done for a step."""

    NONE = "none"
    RUN = "run"
    RESTORE = "restore"


@dataclass(frozen=True, slots=True)
class Reason:
    """One cause of a verdict: its kind, what it is about, and what happened to it."""

    kind: str
    subject: str
    detail: str
    before: str | None = None
    after: str | None = None

    def to_json(self) -> dict[str, str]:
        """The fields that reports show."""
        return {"kind": self.kind, "subject": self.subject, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A step's state, the reasons for it, what to do, and the key and outputs as far as they are known."""

    state: State
    action: Action
    reasons: tuple[Reason, ...] = ()
    key: Digest | None = None
    outputs: Mapping[str, tuple[int, Digest]] | None = None


class Traces(Protocol):
    """What a verdict needs to know of finished work."""

    def built_key(self, step: str) -> Digest | None:
        """The key under which all present outputs of a step were built."""

    def fields(self, key: Digest) -> list[Field]:
        """The fields behind a key."""

    def present(self, step: str, key: Digest) -> Mapping[str, tuple[int, Digest]]:
        """The present outputs of a step that were built under this key, by target."""

    def trace(self, key: Digest) -> Mapping[str, tuple[int, Digest]]:
        """All outputs ever built under a key, by target."""

    def failed_key(self, step: str) -> Digest | bool | None:
        """The key at which a step failed last: False where it did not, None where the key was not known."""

    def made_by(self, key: Digest) -> str:
        """By what outputs were made under a key, one of `RecipeNode.made_by`."""


def judge(
    step: str,
    targets: tuple[str, ...],
    fields: list[Field],
    traces: Traces,
    *,
    changed: frozenset[str] = frozenset(),
    blocked: frozenset[str] = frozenset(),
    is_forced: bool = False,
    is_pure: bool = True,
    made_by: tuple[str, ...] = ("",),
) -> Verdict:
    """The verdict on a step whose key has these fields.

    Parameters
    ----------
    changed
        Sources among the inputs whose bytes changed and whose content is not known yet.
    blocked
        Inputs that cannot be had: failed, or behind a failure.
    is_forced, is_pure
        A step that is forced, or not a function of its inputs, runs whatever its key.
    made_by
        What the recipe's outputs may have been made by: what was made by something else does not count.
    """
    key = key_of(fields) if is_known(fields) else None
    built = traces.built_key(step)
    outputs: Mapping[str, tuple[int, Digest]] = {}
    if key is not None:
        outputs = traces.present(step, key) if key == built else traces.trace(key)
    was_by = traces.made_by(key) if key is not None and outputs else ""
    is_outdated = was_by not in made_by
    if is_outdated:
        outputs = {}
    is_whole = outputs.keys() >= set(targets)
    has_failed = traces.failed_key(step) is not False
    must_run = is_forced or not is_pure
    if key is not None and is_whole and not must_run:
        if key == built:
            return Verdict(State.FRESH, Action.NONE, (), key, outputs)
        if built is None:
            reasons: tuple[Reason, ...] = (Reason("missing", step, "not among the present outputs; the store has it"),)
        else:
            reasons = _reasons(step, traces.fields(built), fields, changed)
        return Verdict(State.STALE, Action.RESTORE, reasons, key, outputs)
    if must_run:
        why = "asked for with --all" if is_forced else "declared pure=False: it runs on every rebuild"
        # What was never built stays missing and what failed stays failed, whatever else makes it run.
        state = State.FAILED if has_failed else State.MISSING if built is None else State.STALE
        return Verdict(State.BLOCKED if blocked else state, Action.RUN, (Reason("forced", step, why),), key)
    if blocked:
        return Verdict(State.BLOCKED, Action.RUN, _because(blocked, "cannot be had"), key)
    if has_failed:
        return Verdict(State.FAILED, Action.RUN, (Reason("failed", step, "its last attempt failed"),), key)
    if built is None:
        return Verdict(State.MISSING, Action.RUN, (Reason("missing", step, "never built"),), key)
    if key == built and is_outdated:
        return Verdict(State.STALE, Action.RUN, (Reason("update", step, other_rule(was_by)),), key)
    if key == built:
        return Verdict(State.STALE, Action.RUN, (Reason("missing", step, "its outputs are not whole"),), key)
    reasons = _reasons(step, traces.fields(built), fields, changed)
    state = State.STALE if reasons else State.PENDING
    if not reasons:
        reasons = tuple(may_change(s) for k, s, v in fields if v == UNKNOWN)
    return Verdict(state, Action.RUN, reasons, key)


def other_rule(was_by: str) -> str:
    """Why what was made by this does not count, where a recipe's outputs are made by something else now."""
    if " " not in was_by:
        return "its own update changed"
    return "its grain changed" if " " in was_by.rpartition("\n")[2] else "its grain or its own update changed"


@lru_cache(maxsize=1 << 14)
def may_change(subject: str) -> Reason:
    """The reason of a step that waits for this input, which may prove unchanged."""
    return Reason("upstream", subject, "may change")


def _because(names: frozenset[str], detail: str) -> tuple[Reason, ...]:
    return tuple(Reason("upstream", n, detail) for n in sorted(names))


def _reasons(step: str, old: list[Field], new: list[Field], changed: frozenset[str]) -> tuple[Reason, ...]:
    """What differs between the fields a step was built from and those of now; unknown digests are no difference."""
    before = {(k, s): v for k, s, v in old}
    after = {(k, s): v for k, s, v in new}
    reasons = []
    for (kind, subject), value in after.items():
        was = before.get((kind, subject))
        if value == UNKNOWN:
            if subject.partition("(")[0] in changed and kind == "source":
                reasons.append(Reason(kind, subject, "changed", was))
            elif was is None:
                reasons.append(Reason(kind, subject, "is a new input"))
        elif was is None:
            reasons.append(Reason(kind, subject, "is new", None, value))
        elif was != value:
            reasons.append(Reason(kind, subject, "changed", was, value))
    reasons += [Reason(k, s, "is gone", v, None) for (k, s), v in before.items() if (k, s) not in after]
    if not reasons and is_known(new):
        reasons.append(Reason("recipe", step, "the order of its inputs changed"))
    return tuple(reasons)
