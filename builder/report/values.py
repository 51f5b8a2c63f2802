"""Reports as values: what `status`, `plan` and `explain` say, with their JSON.

Decides which facts are told. `report.text` and `report.html` decide how.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from builder.compile.predict import Choice
from builder.errors import BuilderError
from builder.names import value_json
from builder.nouns import dataclass
from builder.plan.plan import Plan
from builder.plan.verdict import Reason, State
from builder.report.targets import TargetStatus, stale_among

if TYPE_CHECKING:
    from builder.compile.bounds import Bounds
    from builder.compile.schedule import Schedule


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """How one source stands: new, unchanged, changed or missing.

    ``rows`` are those of its present version, ``rows_before`` those of the one that its readers saw or that was taken
    in last, ``difference`` the rows added, removed and changed between them; None where that is not known.
    """

    name: str
    state: str
    files: int
    bytes: int
    reasons: tuple[str, ...]
    shown: str
    rows: int | None = None
    problem: BuilderError | None = None
    rows_before: int | None = None
    difference: tuple[int, int, int] | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields of the reports' JSON."""
        added, removed, _ = self.difference or (None, None, None)
        return {
            "name": self.name,
            "state": self.state,
            "files": self.files,
            "bytes": self.bytes,
            "reasons": list(self.reasons),
            "rows": self.rows,
            "rows_before": self.rows_before,
            "rows_changed": None if self.difference is None else sum(self.difference),
            "rows_added": added,
            "rows_removed": removed,
            "error": self.problem and self.problem.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Updates:
    """How many of the steps to run are brought up to date from what changed.

    ``update_s`` is their work in predicted seconds, ``full_s`` what they would take whole; None where one of them was
    never measured.
    """

    steps: int
    of: int
    update_s: float | None
    full_s: float | None

    def to_json(self) -> dict[str, Any]:
        """The fields of the reports' JSON."""
        times = {"update_s": self.update_s, "full_s": self.full_s}
        return {"steps": self.steps, "of": self.of} | {n: None if s is None else round(s, 4) for n, s in times.items()}


def updates_of(schedule: Schedule) -> Updates | None:
    """The updates of a schedule; None where of no step it is known which way it goes."""
    runs = [s for s in schedule.slots if s.kind == "target" and s.action in ("run", "update")]
    if all(s.choice is None or s.choice.rows is None for s in runs):
        return None
    chosen = [s.choice for s in runs if s.choice is not None and s.choice.is_update]
    return Updates(len(chosen), len(runs), _sum(c.update_s for c in chosen), _sum(c.full_s for c in chosen))


def _sum(seconds: Iterable[float | None]) -> float | None:
    """All of these together; None where one of them is not known."""
    total = 0.0
    for s in seconds:
        if s is None:
            return None
        total += s
    return total


@dataclass(frozen=True, repr=False)
class Status:
    """How the whole project stands."""

    project: str
    sensed_s: float
    sources: tuple[SourceStatus, ...]
    targets: Sequence[TargetStatus]
    predicted_s: float | None
    workers: int
    unpublished: int = 0
    retired: tuple[str, ...] = ()
    paused_since: float | None = None
    """Since when no step may start, in seconds since the epoch; None: steps may."""
    updates: Updates | None = None

    @property
    def totals(self) -> dict[str, int]:
        """How many targets stand how."""
        counts = {"targets": len(self.targets)} | dict.fromkeys((s.value for s in State), 0)
        stale = stale_among(self.targets)
        for target in stale:
            counts[target.state.value] += 1
        return counts | {State.FRESH.value: len(self.targets) - len(stale)}

    @property
    def is_fresh(self) -> bool:
        """Whether nothing is to be done."""
        return not (stale_among(self.targets) or self.unpublished or self.retired)

    def to_json(self) -> dict[str, Any]:
        """The document that ``builder status --json`` prints."""
        return {
            "format": 1,
            "project": self.project,
            "sensed_s": round(self.sensed_s, 4),
            "sources": [s.to_json() for s in self.sources],
            "targets": [
                {
                    "name": t.name,
                    "recipe": t.recipe,
                    "params": {k: value_json(v)[1] for k, v in t.params},
                    "state": t.state.value,
                    "reasons": [r.to_json() for r in t.reasons],
                    "predicted_s": t.predicted_s,
                    "lanes": dict(t.lanes),
                }
                for t in self.targets
            ],
            "totals": self.totals,
            "predicted_s": self.predicted_s,
            "updates": self.updates and self.updates.to_json(),
            "unpublished": self.unpublished,
            "retired": list(self.retired),
            "paused_since": self.paused_since,
        }

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        from builder.report.text import status_text

        return status_text(self)

    def _repr_html_(self) -> str:
        from builder.report.html import status_html

        return status_html(self)


@dataclass(frozen=True, repr=False)
class PlanReport:
    """What a rebuild would do, in order, with the schedule where times are known."""

    plan: Plan
    schedule: Schedule
    token: str
    targets: tuple[str, ...] | None = None
    published: frozenset[str] = frozenset()
    first: tuple[str, ...] = ()
    sources: tuple[SourceStatus, ...] = ()
    """Those that changed, as far as the plan's steps or intakes are about them."""

    def to_json(self) -> dict[str, Any]:
        """The document that ``builder plan --json`` prints; one entry per target, those of one step share ``step``."""
        graph = self.plan.situation.graph
        steps = []
        ready: dict[str, float | None] = {}
        for slot in self.schedule.slots:
            reasons: list[dict[str, str]]
            if slot.kind == "intake":
                names: tuple[str, ...] = (slot.name,)
                found = self.plan.sources[slot.name]
                reasons = [
                    {"kind": "source", "subject": slot.name, "detail": d} for d in found.reasons or (found.state,)
                ]
            else:
                names = graph.steps[slot.name].targets
                reasons = [r.to_json() for r in self.plan.verdicts[slot.name].reasons]
            for name in names:
                steps.append(
                    {
                        "kind": slot.kind,
                        "name": name,
                        "step": slot.name,
                        "action": slot.action,
                        **_choice(slot.choice),
                        "reasons": reasons,
                        "predicted_s": slot.predicted_s,
                        "likely_s": slot.likely_s,
                        "lanes": dict(slot.lanes),
                        "priority": slot.priority,
                        "start_s": slot.start_s,
                        "finish_s": slot.finish_s,
                    }
                )
                if slot.kind == "target":
                    ready[name] = slot.finish_s
        schedule, updates = self.schedule, updates_of(self.schedule)
        return {
            "format": 1,
            "steps": steps,
            "sources": [s.to_json() for s in self.sources],
            "predicted_s": schedule.predicted_s,
            "updates": updates and updates.to_json(),
            "workers": schedule.workers,
            "bounds": _bounds(schedule.bounds),
            "bottleneck": schedule.bounds.bottleneck if schedule.bounds else "",
            "first": None
            if schedule.first_s is None
            else {
                "targets": list(self.first),
                "ready_s": round(schedule.first_s, 4),
                "bounds": _bounds(schedule.first_bounds),
            },
            "ready": ready,
            "targets": None if self.targets is None else list(self.targets),
            "all": self.plan.is_forced,
            "situation": self.token,
        }

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        from builder.report.timetable import plan_text

        return plan_text(self)

    def _repr_html_(self) -> str:
        from builder.report.html import plan_html

        return plan_html(self)


@dataclass(frozen=True, repr=False)
class Explanation:
    """Why a target is as it is: its reasons with the values before and after, and what it waits for."""

    name: str
    state: State
    reasons: tuple[Reason, ...]
    waits_for: tuple[str, ...]
    inputs: tuple[tuple[str, str | None], ...]
    chain: tuple[str, ...] = ()
    error: BuilderError | None = None
    recipe: str = ""
    place: str = ""
    members: int = 1
    members_stale: int = 0

    def to_json(self) -> dict[str, Any]:
        """The document that ``builder explain --json`` prints."""
        return {
            "format": 1,
            "name": self.name,
            "state": self.state.value,
            "reasons": [r.to_json() | {"before": r.before, "after": r.after} for r in self.reasons],
            "waits_for": list(self.waits_for),
            "inputs": [{"name": n, "digest": d} for n, d in self.inputs],
            "error": self.error and self.error.to_json(),
            "members": self.members,
            "members_stale": self.members_stale,
        }

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        from builder.report.text import explanation_text

        return explanation_text(self)

    def _repr_html_(self) -> str:
        from builder.report.html import preformatted

        return preformatted(str(self))


def _choice(choice: Choice | None) -> dict[str, Any]:
    """The predicted seconds of an update and of a full run, where a step may go either way."""
    if choice is None:
        return {}
    rounded = {"update_s": choice.update_s, "full_s": choice.full_s}
    seconds = {n: None if s is None else round(s, 4) for n, s in rounded.items()}
    return seconds | {"rows_changed": choice.rows, "why": choice.why}


def _bounds(bounds: Bounds | None) -> dict[str, Any]:
    """Lower bounds as JSON; nulls where nothing was ever measured."""
    if bounds is None:
        return {"critical_path_s": None, "work_s": None, "lanes": {}, "largest_s": None}
    return {
        "critical_path_s": round(bounds.critical_path_s, 4),
        "work_s": round(bounds.work_s, 4),
        "lanes": {lane: round(s, 4) for lane, s in bounds.lanes_s.items()},
        "largest_s": round(bounds.largest_s, 4),
    }


def root_causes(plan: Plan) -> dict[str, tuple[tuple[str, str], ...]]:
    """The causes at the root of each step that is not fresh: pairs of a kind and a subject, nearest first."""
    graph = plan.situation.graph
    roots: dict[str, tuple[tuple[str, str], ...]] = {}
    for name, verdict in plan.not_fresh.items():
        found: dict[tuple[str, str], None] = {}
        for reason in verdict.reasons:
            subject = reason.subject.partition("(")[0]
            if reason.kind == "upstream" and graph.maker.get(subject) in roots:
                found |= dict.fromkeys(roots[graph.maker[subject]])
            elif reason.kind == "upstream" and subject in graph.sources:
                found[("source", subject)] = None
            elif reason.kind in ("recipe", "version", "parameter"):
                found[("recipe", graph.steps[name].recipe)] = None
            elif reason.kind == "missing":
                found[("missing", reason.detail)] = None
            elif subject in graph.sources:
                found[("source", subject)] = None
            else:
                found[(reason.kind, subject)] = None
        roots[name] = tuple(found)
    return roots


def folded(names: list[str], families: Mapping[str, int]) -> list[str]:
    """Names for people: a family's members stand as ``name[*] (54)``, a few of them by name."""
    by_base: dict[str, list[str]] = {}
    for name in names:
        by_base.setdefault(name.partition("[")[0], []).append(name)
    shown = []
    for base, members in by_base.items():
        if len(members) <= 2 or members == [base]:
            shown += members
        elif len(members) == families.get(base):
            shown.append(f"{base}[*] ({len(members)})")
        else:
            shown.append(f"{base}[…] ({len(members)} of {families.get(base, len(members))})")
    return shown
