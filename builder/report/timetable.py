"""A plan as text: what changed; a timetable of what is done, why and when; when targets are ready; what bounds it.

Decides what stands together: a recipe's steps with the same reason, or all with the same reason where that is too long.
"""

from __future__ import annotations

from builder.compile.choice import SLOWER
from builder.compile.predict import Choice
from builder.compile.schedule import Slot
from builder.nouns import dataclass, field
from builder.plan.verdict import State
from builder.report.text import about, families_of, reason_text, source_text, updates_text, wrapped
from builder.report.values import PlanReport, folded, updates_of
from builder.sizes import count_text, seconds_text

MOST_ROWS = 30
MOST_READY = 12
MOST_SOURCES = 12
SEEN_S = 0.05


@dataclass(frozen=True, slots=True)
class Row:
    """Steps, or sources to take in, that stand in one line: when the first starts and the last ends.

    ``choices`` are those of steps that may go either way, where both times are predicted.
    """

    word: str
    why: str
    names: list[str] = field(default_factory=list)
    lanes: dict[str, None] = field(default_factory=dict)
    starts_s: list[float] = field(default_factory=list)
    ends_s: list[float] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many rows updates of all these steps would look at."""
        return sum(c.rows or 0 for c in self.choices)

    @property
    def update_s(self) -> float:
        """Predicted seconds of all these steps as updates."""
        return sum(c.update_s or 0.0 for c in self.choices)

    @property
    def full_s(self) -> float:
        """Predicted seconds of all these steps whole."""
        return sum(c.full_s or 0.0 for c in self.choices)


def plan_text(report: PlanReport) -> str:
    """The plan: what is taken in, restored and run, when and why, the time it should take and what binds it."""
    schedule = report.schedule
    if not schedule.slots:
        return closing(report)
    families = families_of(report.plan.situation.graph.targets)
    found = rows(report)
    lines = sources_said(report) + _start_lines(found) + [line for row in found for line in _row_lines(row, families)]
    lines = [*lines, *_ready_lines(report, families), *_bound_lines(report)]
    updates = updates_text(updates_of(schedule))
    return "\n".join([*lines, *([f"  as updates  {updates}"] if updates else []), closing(report)])


def sources_said(report: PlanReport) -> list[str]:
    """How many rows of each changed source changed, where that was counted."""
    found = [f"  {s.name}: {said}" for s in report.sources if (said := source_text(s))]
    left = len(found) - MOST_SOURCES
    return [*found[:MOST_SOURCES], f"  … {left:,} more sources"] if left > 1 else found


def rows(report: PlanReport) -> list[Row]:
    """The lines of the timetable, in the order in which their first steps start; not too many where that can be."""
    found = _grouped(report, by_recipe=True)
    return found if len(found) <= MOST_ROWS else _grouped(report, by_recipe=False)


def _grouped(report: PlanReport, *, by_recipe: bool) -> list[Row]:
    """Steps with the same reason and the same way, of one recipe or of any."""
    graph = report.plan.situation.graph
    found: dict[tuple[str, str, str, bool], Row] = {}
    for slot in report.schedule.slots:
        is_step = slot.kind == "target"
        word = slot.action if is_step or slot.action == "restore" else "read"
        why = (_why(report, slot.name) + _why_whole(report, slot)) if is_step else ""
        recipe = (graph.steps[slot.name].recipe if is_step else slot.name.partition("[")[0]) if by_recipe else ""
        choice = _measured(slot.choice)
        row = found.setdefault((word, why, recipe, choice is not None), Row(word, why))
        row.names.append(slot.name)
        row.lanes.update(dict.fromkeys(lane for lane, _ in slot.lanes))
        if choice is not None:
            row.choices.append(choice)
        if slot.start_s is not None and slot.finish_s is not None:
            row.starts_s.append(slot.start_s)
            row.ends_s.append(slot.finish_s)
    return list(found.values())


def _measured(choice: Choice | None) -> Choice | None:
    """A choice of which both times are predicted."""
    return None if choice is None or choice.update_s is None or choice.full_s is None else choice


def _start_lines(found: list[Row]) -> list[str]:
    """How long the workers take to come, where that is to be seen at all."""
    began_s = min((s for row in found for s in row.starts_s), default=0.0)
    return _row_lines(Row("start", "", ["workers"], {}, [0.0], [began_s]), {}) if began_s >= SEEN_S else []


def _why(report: PlanReport, step: str) -> str:
    """Why a step is in the plan, in a few words."""
    verdict = report.plan.verdicts[step]
    if verdict.state is State.PENDING:
        return "if its inputs change"
    return reason_text(verdict.reasons[0]) if verdict.reasons else ""


def _why_whole(report: PlanReport, slot: Slot) -> str:
    """Why a step runs whole that might have been updated, where neither its reason nor its times say so; or fails."""
    if slot.choice is not None and slot.choice.is_refused:
        return f"; fails, for it cannot be updated: {slot.choice.why}; builder rebuild --all {slot.name} runs it whole"
    if slot.choice is None or slot.choice.why in ("", SLOWER):
        return ""
    reasons = report.plan.verdicts[slot.name].reasons
    return f"; whole, for {slot.choice.why}" if {r.kind for r in reasons} <= {"source", "upstream"} else ""


def _ways(row: Row) -> str:
    """What updates and full runs should take, where steps may go either way."""
    if not row.choices:
        return ""
    way = "an update" if len(row.choices) == 1 else "updates"
    most = "at most " if any(c.is_most for c in row.choices) else ""
    return f"{most}{count_text(row.rows, 'row')} to look at, {at(row.update_s)} as {way}, {at(row.full_s)} whole"


def _row_lines(row: Row, families: dict[str, int]) -> list[str]:
    """One line of the timetable, wrapped."""
    when = f"{at(min(row.starts_s)):>7} – {at(max(row.ends_s)):<7} " if row.starts_s else ""
    why = "; ".join(filter(None, (row.why, _ways(row))))
    said = ", ".join(folded(row.names, families)) + (f"  ({why})" if why else "")
    said += "".join(f"  lane {lane}" for lane in row.lanes)
    return wrapped(f"  {when}{row.word:<8} ", said)


def at(seconds: float) -> str:
    """A time of the timetable."""
    return "0 s" if seconds < 0.0005 else seconds_text(seconds)


def _ready_lines(report: PlanReport, families: dict[str, int]) -> list[str]:
    """When the published targets are ready, the first ones first; families as a whole."""
    graph, ready = report.plan.situation.graph, dict[str, list[float]]()
    members: dict[str, list[str]] = {}
    for slot in report.schedule.slots:
        if slot.kind == "target" and slot.finish_s is not None:
            for target in graph.steps[slot.name].targets:
                if target in report.published:
                    base = target.partition("[")[0]
                    ready.setdefault(base, []).append(slot.finish_s)
                    members.setdefault(base, []).append(target)
    order = sorted(ready, key=lambda base: max(ready[base]))
    said = [f"{', '.join(folded(members[base], families))} {at(max(ready[base]))}" for base in order]
    if len(said) > MOST_READY:
        said = [*said[: MOST_READY - 1], f"… the last of {len(said)} {said[-1]}"]
    lines = wrapped("  ready    ", " · ".join(said)) if said else []
    schedule = report.schedule
    if schedule.first_s is not None and schedule.first_bounds is not None:
        bound = f"no earlier than {at(schedule.first_bounds.largest_s)} in any order"
        names = ", ".join(folded(list(report.first), families))
        lines += wrapped("  first    ", f"{names} ready after {at(schedule.first_s)} ({bound})")
    return lines


def _bound_lines(report: PlanReport) -> list[str]:
    """What no order of the steps can beat."""
    bounds, workers = report.schedule.bounds, report.schedule.workers
    if bounds is None:
        return []
    said = [
        f"critical path {at(bounds.critical_path_s)}",
        f"work on {count_text(workers, 'worker')} {at(bounds.work_s)}",
    ]
    said += [f"lane {lane} {at(s)}" for lane, s in bounds.lanes_s.items() if s]
    return wrapped("  bounds   ", " · ".join(said))


def closing(report: PlanReport) -> str:
    """The last line: how many steps, how long, what binds."""
    schedule = report.schedule
    if not schedule.slots:
        return "nothing to do: all is fresh"
    runs = sum(s.action in ("run", "update") and s.kind == "target" for s in schedule.slots)
    restores = sum(s.action == "restore" and s.kind == "target" for s in schedule.slots)
    reads = sum(s.kind == "intake" for s in schedule.slots)
    said = f"{count_text(runs, 'step')} to run, {restores} to restore, {count_text(reads, 'source')} to take in"
    if schedule.predicted_s is not None and schedule.bounds is not None:
        said += f" · {about(schedule.predicted_s, schedule.workers)} · bound by {schedule.bounds.bottleneck}"
    return said
