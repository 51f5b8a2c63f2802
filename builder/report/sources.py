"""How sources stand: what became of their files, and of their rows where that was counted.

Decides which source counts as changed: one whose bytes differ from what was taken in, or whose present version its
readers have not seen yet. Its rows are compared with the version that they saw.
"""

from __future__ import annotations

from collections.abc import Collection

from builder.plan.keys import columns_read, subject_of
from builder.plan.plan import Plan
from builder.report.values import SourceStatus
from builder.store.manifest import Manifest, read_digest
from builder.store.recall import Recall

Read = tuple[tuple[str, ...] | None, str]
"""What a reader saw of a source: the columns (None: all), and their digest."""

UNCHANGED = (0, 0, 0)


def source_statuses(plan: Plan, recall: Recall) -> tuple[SourceStatus, ...]:
    """How each source stands."""
    seen = _seen(plan)
    return tuple(_source(name, plan, recall, seen.get(name, ())) for name in plan.situation.graph.sources)


def sources_changed(plan: Plan, recall: Recall) -> tuple[SourceStatus, ...]:
    """How the sources stand that give a plan its work: those to take in, and those that its steps have not seen."""
    graph, seen = plan.situation.graph, _seen(plan)
    read = {name for step in plan.steps for name in graph.steps[step].reads} if seen else set()
    intakes = set(plan.intakes)
    names = [n for n in graph.sources if n in intakes or (n in seen and n in read)]
    found = (_source(name, plan, recall, seen.get(name, ())) for name in names)
    return tuple(s for s in found if s.state != "unchanged")


def _source(name: str, plan: Plan, recall: Recall, seen: Collection[Read]) -> SourceStatus:
    """How one source stands; `seen` is what stale readers saw of it."""
    sensed, verdict = plan.situation.sources[name], plan.sources[name]
    shown = sensed.files[0].shown if len(sensed.files) == 1 else plan.situation.declarations[sensed.base].path
    problem = sensed.problem
    if problem is None and name in recall.failures and recall.failures[name].key == verdict.key:
        problem = recall.failures[name].error
    state, rows, rows_before, difference = _rows(name, plan, recall, seen)
    return SourceStatus(
        name, state, len(sensed.files), sensed.bytes, verdict.reasons, shown, rows, problem, rows_before, difference
    )


def _rows(
    name: str, plan: Plan, recall: Recall, seen: Collection[Read]
) -> tuple[str, int | None, int | None, tuple[int, int, int] | None]:
    """The state of a source, its rows now and before, and what differs; None for each that is not known."""
    verdict, current = plan.sources[name], recall.currents.get(name)
    if current is None:
        return verdict.state, None, None, None
    if not plan.situation.is_table(name):
        return "changed" if seen else verdict.state, None, None, None
    if verdict.state != "unchanged":
        version = plan.versions.get(name)
        if version is None or version.manifest is None:
            return verdict.state, None, current.rows, None
        rows = recall.manifest(version.manifest).rows
        return verdict.state, rows, current.rows, recall.ledger.difference(current.digest, version.digest)
    if not seen:
        return verdict.state, current.rows, current.rows, UNCHANGED
    before = _version_seen(name, seen, recall)
    if before is None:
        return "changed", current.rows, None, None
    return "changed", current.rows, before.rows, recall.ledger.difference(before.digest, current.digest)


def _seen(plan: Plan) -> dict[str, dict[Read, None]]:
    """What readers saw of each source that makes them stale, where that is known."""
    graph = plan.situation.graph
    found: dict[str, dict[Read, None]] = {}
    for name, verdict in plan.not_fresh.items():
        before = {r.subject: r.before for r in verdict.reasons if r.kind == "source" and r.before is not None}
        for edge in graph.steps[name].edges if before else ():
            columns = columns_read(edge)
            for source in edge.names:
                digest = before.get(subject_of(source, columns))
                if digest is not None:
                    found.setdefault(source, {})[columns, digest] = None
    return found


def _version_seen(name: str, seen: Collection[Read], recall: Recall) -> Manifest | None:
    """The latest version that is, to one of its readers, the one that it saw; None where the store has none."""
    for _, number in reversed(recall.ledger.versions(name)):
        if number is not None and any(_is_as_seen(recall.manifest(number), *read) for read in seen):
            return recall.manifest(number)
    return None


def _is_as_seen(manifest: Manifest, columns: tuple[str, ...] | None, digest: str) -> bool:
    """Whether these columns of a version have this digest."""
    try:
        return read_digest(manifest, columns) == digest
    except KeyError:
        return False
