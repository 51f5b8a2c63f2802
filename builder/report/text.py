"""Reports as text for a terminal: the cause first, what follows indented under it, one closing line."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from builder.errors import BuilderError
from builder.plan.verdict import Reason, State
from builder.report.targets import TargetStatus, names_of, stale_among
from builder.report.values import Explanation, SourceStatus, Status, Updates, folded
from builder.sizes import bytes_text, count_text, seconds_text

if TYPE_CHECKING:
    from builder.execute.report import Run

WIDTH = 110
MOST_INPUTS = 8
MOST_UPDATED = 12
NOT_FRESH = (State.STALE, State.MISSING, State.PENDING, State.FAILED, State.BLOCKED)


def families_of(names: Iterable[str]) -> dict[str, int]:
    """How many members each family has among these names."""
    counts: dict[str, int] = {}
    for name in names:
        base = name.partition("[")[0]
        counts[base] = counts.get(base, 0) + 1
    return counts


def about(predicted_s: float | None, workers: int) -> str:
    """The predicted time as a phrase; empty where nothing was ever measured."""
    if predicted_s is None:
        return ""
    return f"about {seconds_text(predicted_s)} on {count_text(workers, 'worker')}"


def status_text(status: Status) -> str:
    """The status: a headline, then each root cause with what follows from it."""
    changed = [s for s in status.sources if s.state != "unchanged"]
    stale = list(stale_among(status.targets))
    if not stale and not changed and not status.retired and not status.unpublished:
        sources = count_text(len(status.sources), "source")
        return (
            f"{status.project} · all {count_text(len(status.targets), 'target')} fresh · "
            f"{sources} unchanged, looked at in {seconds_text(status.sensed_s)}"
        )
    lines = [_headline(status, changed, stale)]
    families = families_of(names_of(status.targets))
    left = {t.name: t for t in stale}
    by_root: dict[tuple[str, str], list[TargetStatus]] = {}
    for target in stale:
        if target.roots:
            by_root.setdefault(target.roots[0], []).append(target)
    width = max((len(s.name) for s in changed), default=0)
    for source in changed:
        lines += [_source_line(source, width)]
        if source.problem is not None:
            lines += ["    " + line for line in source.problem.render().splitlines()]
        lines += _consequences(by_root.pop(("source", source.name), []), families, left)
    for root, members in by_root.items():
        lines.append("  " + _cause(root, members))
        lines += _consequences(members, families, left)
    if left:
        lines += _consequences(list(left.values()), families, left)
    if status.retired:
        gone = ", ".join(folded(list(status.retired), {}))
        lines.append(f"  gone from the project, and from out/ with the next rebuild: {gone}")
    if status.unpublished:
        lines.append(
            f"  {count_text(status.unpublished, 'published file')} in out/ missing or changed there; rebuild restores"
        )
    if updates_text(status.updates):
        lines.append(f"  as updates  {updates_text(status.updates)}")
    if status.paused_since is not None:
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(status.paused_since))
        lines.append(f"  paused since {since}: no step starts before builder resume")
    lines.append("  builder explain NAME says why; builder rebuild brings all up to date")
    return "\n".join(lines)


def _headline(status: Status, changed: list[SourceStatus], stale: list[TargetStatus]) -> str:
    """The first line: what changed, how much is not fresh, how long it would take."""
    is_new = changed and all(s.state == "new" for s in changed)
    word = "new" if is_new else "changed"
    parts = [
        status.project,
        f"{len(changed)} of {count_text(len(status.sources), 'source')} {word}",
        f"{len(stale):,} of {count_text(len(status.targets), 'target')} not fresh",
        about(status.predicted_s, status.workers),
    ]
    return " · ".join(p for p in parts if p)


def _source_line(source: SourceStatus, width: int) -> str:
    """One source with its state and what became of its files."""
    reasons = [r.removesuffix(" changed") for r in source.reasons]
    what = ", ".join(reasons[:3]) + (" …" if len(reasons) > 3 else "")
    if source.state == "new" or not source.reasons:
        what = source.shown + (f", {bytes_text(source.bytes)}" if source.bytes else "")
    if source.rows_before is not None and source.rows is not None:
        what = f"{source.shown}  {source.rows_before:,} → {count_text(source.rows, 'row')}"
        what += "" if source.difference is None else f" · {change_text(source.rows, source.difference)}"
    return f"  {source.name:<{width}}  {source.state:<8} {what}".rstrip()


def change_text(rows: int, difference: tuple[int, int, int]) -> str:
    """How many of a table's rows changed, and how: what all reports say of a source."""
    if not any(difference):
        return f"none of {count_text(rows, 'row')} changed"
    return f"{sum(difference):,} of {count_text(rows, 'row')} changed{_difference_text(difference)}"


def source_text(source: SourceStatus) -> str:
    """What became of a source's rows, as far as that was counted; empty where nothing is known."""
    if source.rows is None or source.rows_before is None:
        return ""
    if source.difference is None:
        return f"{source.rows_before:,} → {count_text(source.rows, 'row')}"
    return change_text(source.rows, source.difference)


def updates_text(updates: Updates | None) -> str:
    """How many steps are updates and what that saves, as a phrase; empty where none is known to be one."""
    if updates is None or not updates.steps:
        return ""
    said = f"{updates.steps:,} of {count_text(updates.of, 'step')}"
    if updates.update_s is None or updates.full_s is None:
        return said
    return f"{said}, about {seconds_text(updates.update_s)} of work instead of {seconds_text(updates.full_s)}"


def _cause(root: tuple[str, str], members: list[TargetStatus]) -> str:
    """A root cause that is no changed source, in words."""
    kind, subject = root
    if kind == "missing":
        return subject
    if kind == "failed":
        return f"{subject}  failed last time"
    detail = next((r.detail for t in members for r in t.reasons if r.kind == kind or kind == "recipe"), "changed")
    name = {"recipe": f"recipe {subject}", "environment": f"library {subject}", "project": subject}.get(kind, subject)
    return f"{name}  {detail}"


def _consequences(targets: list[TargetStatus], families: dict[str, int], left: dict[str, TargetStatus]) -> list[str]:
    """Targets under their cause, a line per state; they leave `left`."""
    lines = []
    for state in NOT_FRESH:
        names = [t.name for t in targets if t.state is state]
        if names:
            tail = " … may prove fresh" if state is State.PENDING else ""
            lines += wrapped(f"    {state.value:<8} ", ", ".join(folded(names, families)) + tail)
    for target in targets:
        left.pop(target.name, None)
    return lines


def wrapped(label: str, text: str) -> list[str]:
    """A label and a long text, wrapped under itself."""
    import textwrap  # most looks have nothing to wrap

    return textwrap.wrap(text, WIDTH, initial_indent=label, subsequent_indent=" " * len(label), break_on_hyphens=False)


def reason_text(reason: Reason) -> str:
    """A reason in a few words."""
    if reason.kind in ("missing", "forced", "failed"):
        return reason.detail
    return f"{reason.subject} {reason.detail}"


def explanation_text(explanation: Explanation) -> str:
    """Why a target is as it is, with the values before and after."""
    lines = [f"{explanation.name} is {explanation.state.value}"]
    if explanation.members > 1:
        which = "the first of those" if explanation.members_stale else "the first"
        count = f"{explanation.members_stale:,} of {count_text(explanation.members, 'target')} not fresh"
        lines.insert(0, f"{count}; this is {which}")
    if explanation.recipe:
        lines[-1] += f"  ({explanation.recipe}, {explanation.place})"
    for reason in explanation.reasons:
        lines.append(f"  {reason.kind:<11} {reason_text(reason)}")
        if reason.before or reason.after:
            lines.append(f"              {_short(reason.before)} → {_short(reason.after)}")
    if explanation.error is not None:
        lines += ["  " + line for line in explanation.error.render().splitlines()]
    if explanation.waits_for:
        lines += wrapped("  waits for   ", ", ".join(folded(list(explanation.waits_for), {})))
    if explanation.chain:
        lines += wrapped("  because     ", " → ".join(explanation.chain))
    if explanation.state is State.FRESH:
        lines.append("  every field of its build key is as it was when it was built")
    lines += _inputs_text(explanation.inputs)
    return "\n".join(lines)


def _inputs_text(inputs: tuple[tuple[str, str | None], ...]) -> list[str]:
    """What a target reads, with digests; a long list is folded by family."""
    if len(inputs) > MOST_INPUTS:
        return wrapped("  reads       ", ", ".join(folded([n for n, _ in inputs], families_of(n for n, _ in inputs))))
    width = max((len(n) for n, _ in inputs), default=0)
    return [f"  reads       {n:<{width}}  {_short(d) if d else 'not known yet'}" for n, d in inputs]


def _short(value: str | None) -> str:
    """A digest cut for people; other values as they are."""
    if value is None:
        return "none"
    return value[:12] if len(value) == 64 and all(c in "0123456789abcdef" for c in value) else value


def run_text(run: Run) -> str:
    """What a rebuild did: changed sources, outcomes, failures, one closing line."""
    lines = sources_run_text(run)
    families = families_of(t.name for t in run.targets)
    for outcome in ("built", "updated", "unchanged", "restored"):
        names = [t.name for t in run.targets if t.outcome == outcome]
        if names:
            lines += wrapped(f"  {outcome:<9} ", ", ".join(folded(names, families)))
        if outcome == "updated":
            lines += _updated_text(run)
    if run.retired:
        lines += wrapped("  gone      ", ", ".join(folded(list(run.retired), {})) + " (no longer part of the project)")
    lines += [f"  warning[{code}]: {text}" for code, text in run.warnings]
    blocked = [t.name for t in run.targets if t.outcome == "blocked"]
    for cause, others in error_groups(run):
        lines.append(cause.render())
        if others:
            lines += wrapped("  the same  ", ", ".join(folded(others, families)))
    if blocked:
        lines += wrapped("  blocked   ", ", ".join(folded(blocked, families)))
    return "\n".join([*lines, closing_text(run)])


def sources_run_text(run: Run) -> list[str]:
    """What became of the sources that a run took in, a line each; the failed ones have their errors."""
    found = [s for s in run.sources if s.outcome != "failed"]
    return [f"  {s.name}: {s.outcome}" + _rows_text(s.rows, s.difference) for s in found]


def _updated_text(run: Run) -> list[str]:
    """What updates changed and looked at, target by target, but for members of families."""
    found = [t for t in run.targets if t.outcome == "updated" and "[" not in t.name and t.rows is not None]
    lines = []
    for target in found[:MOST_UPDATED]:
        tested = "" if target.tested is None else f", {count_text(target.tested, 'row')} looked at"
        lines.append(f"    {target.name}{_rows_text(target.rows, target.difference)}{tested}")
    left = len(found) - MOST_UPDATED
    return [*lines, f"    … {left} more"] if left > 0 else lines


def unique_errors(run: Run) -> list[BuilderError]:
    """The errors of a run, each once: outputs of one step share theirs."""
    return list({(e.code, e.target, e.message): e for e in run.errors}.values())


def error_groups(run: Run) -> list[tuple[BuilderError, list[str]]]:
    """Each error with the names of the others that say the same of the same place."""
    groups: dict[tuple[str, str | None], list[BuilderError]] = {}
    for cause in unique_errors(run):
        groups.setdefault((cause.code, cause.place), []).append(cause)
    return [(found[0], [e.target or "" for e in found[1:]]) for found in groups.values()]


def _rows_text(rows: int | None, difference: tuple[int, int, int] | None) -> str:
    """Rows and what changed among them, as a phrase."""
    if rows is None:
        return ""
    if difference is None or difference == (rows, 0, 0):
        return f" · {count_text(rows, 'row')}"
    if difference == (0, 0, 0):
        return f" · {count_text(rows, 'row')}, none changed"
    return f" · {change_text(rows, difference)}"


def _difference_text(difference: tuple[int, int, int]) -> str:
    """Rows added, removed and changed, in brackets; empty where there are none."""
    said = [f"{n:,} {word}" for n, word in zip(difference, ("added", "removed", "changed"), strict=True) if n]
    return f" ({', '.join(said)})" if said else ""


def closing_text(run: Run) -> str:
    """The last line of a run."""
    if run.outcome == "nothing":
        said = f"nothing to do: {count_text(run.fresh, 'target')} fresh"
        return f"{run.project} · {said} · {seconds_text(run.wall_s)}"
    totals = run.totals
    said = ", ".join(f"{totals[k]:,} {k}" for k in totals if totals[k]) or "nothing done"
    return f"{run.project} · {run.name} {run.outcome} · {said} · {seconds_text(run.wall_s)}"
