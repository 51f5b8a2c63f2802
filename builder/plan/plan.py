"""The plan: a verdict on every target and the steps to bring the wanted ones up to date. Pure.

Decides with what is known before anything runs: what is fresh, what must run, what can be restored, and what waits
for a digest. Linear in steps and edges.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping
from functools import cached_property, partial
from typing import Protocol

from builder.digests import Digest
from builder.graph.graph import Graph, Step
from builder.lazy import Lazy
from builder.nouns import dataclass
from builder.plan.keys import UNKNOWN, Field, columns_read, intake_fields, key_of, step_fields, subject_of
from builder.plan.last import LastLook
from builder.plan.verdict import Action, Reason, State, Traces, Verdict, judge, may_change
from builder.situation import Situation
from builder.store.manifest import Manifest, read_digest

NOTHING: frozenset[str] = frozenset()


class Memory(Traces, Protocol):
    """What planning needs to know of finished work."""

    def manifest(self, number: int) -> Manifest:
        """A manifest by its number."""

    def current_key(self, name: str) -> Digest | None:
        """The key of the present version of a source."""

    def expect(self, steps: Iterable[str]) -> None:
        """Hear which steps will be judged, in this order."""


@dataclass(frozen=True, slots=True)
class Version:
    """A known version of a dataset: its digest, and its manifest's number where the store holds it."""

    digest: Digest
    manifest: int | None = None


@dataclass(frozen=True, slots=True)
class SourceVerdict:
    """A source's state (new, unchanged, changed, missing), the reasons, and what to do to know its content."""

    state: str
    action: Action
    reasons: tuple[str, ...] = ()
    key: Digest | None = None
    outputs: Mapping[str, tuple[int, Digest]] | None = None


@dataclass(frozen=True)
class Plan:
    """Verdicts by step, sources' verdicts, and the steps to do, in topological order."""

    situation: Situation
    verdicts: Mapping[str, Verdict]
    sources: Mapping[str, SourceVerdict]
    versions: Mapping[str, Version]
    intakes: tuple[str, ...]
    steps: tuple[str, ...]
    is_forced: bool = False

    @cached_property
    def not_fresh(self) -> Mapping[str, Verdict]:
        """The verdicts on steps that are not fresh, in topological order."""
        judged = self.verdicts.made if isinstance(self.verdicts, Lazy) else self.verdicts
        return {name: verdict for name, verdict in judged.items() if verdict.state is not State.FRESH}

    def verdict_of(self, target: str) -> Verdict:
        """The verdict on the step that makes a target."""
        return self.verdicts[self.situation.graph.maker[target]]


def digest_of_read(versions: Mapping[str, Version], memory: Memory, name: str, columns: tuple[str, ...] | None) -> str:
    """The digest of what is read of a dataset; `UNKNOWN` where its version is not known, or the sum of a column is not.

    A column that is not there counts as the whole table: the reader's own error says so.
    """
    version = versions.get(name)
    if version is None:
        return UNKNOWN
    if columns is None or version.manifest is None:
        return version.digest
    try:
        return read_digest(memory.manifest(version.manifest), columns) or UNKNOWN
    except KeyError:
        return version.digest


def source_verdict(name: str, situation: Situation, memory: Memory) -> SourceVerdict:
    """The verdict on one source."""
    sensed = situation.sources[name]
    before = memory.current_key(name)
    if sensed.problem is not None:
        return SourceVerdict("missing", Action.RUN, (sensed.problem.message,))
    fields = source_fields(name, situation)
    key = key_of(fields)
    trace = memory.present(name, key) if key == before else memory.trace(key)
    if key == before and trace:
        return SourceVerdict("unchanged", Action.NONE, (), key, trace)
    state = "new" if before is None else "changed"
    reasons = (
        ()
        if before is None
        else tuple(_source_reasons(memory.fields(before), fields, {f.name: f.shown for f in sensed.files}))
    )
    if trace:
        return SourceVerdict(state, Action.RESTORE, reasons, key, trace)
    return SourceVerdict(state, Action.RUN, reasons, key)


def source_fields(name: str, situation: Situation) -> list[Field]:
    """The fields of a source's key: of its intake for a table, of its files otherwise."""
    sensed = situation.sources[name]
    declaration = situation.declarations[sensed.base]
    pin = situation.pins.get(sensed.base) if declaration.is_table else None
    return intake_fields(sensed, declaration, pin)


def _source_reasons(old: list[Field], new: list[Field], shown: Mapping[str, str]) -> Iterable[str]:
    """What became of a source's files and schema, for people; `shown` has the paths of its present files."""
    before = {s: v for k, s, v in old if k == "source"}
    after = {s: v for k, s, v in new if k == "source"}
    yield from (f"{shown[f]} changed" for f in after if f in before and before[f] != after[f])
    yield from (f"{shown[f]} is new" for f in after if f not in before)
    yield from (f"{f} is gone" for f in before if f not in after)
    rest = {(k, s): v for k, s, v in old if k != "source"}
    if any(rest.get((k, s)) != v for k, s, v in new if k == "recipe"):
        yield "its declaration changed"
    if any(rest.get((k, s)) != v for k, s, v in new if k == "schema"):
        yield "its schema changed"


def make_plan(
    situation: Situation,
    memory: Memory,
    wanted: Iterable[str] | None = None,
    *,
    is_forced: bool = False,
    last: LastLook | None = None,
) -> Plan:
    """The plan that brings the wanted targets (None: all) up to date.

    `last` is a look whose stamp is that of this situation and memory: what it found fresh, and what needs no source
    that moved since, is not judged again.
    """
    graph = situation.graph
    sources = {name: source_verdict(name, situation, memory) for name in graph.sources}
    known = _source_versions(situation, sources)
    redo: Collection[str] = graph.steps
    moved: Collection[str] = graph.sources
    if last is not None and not is_forced:
        moved = frozenset(last.moved(version_texts(graph, known)))
        redo = dict.fromkeys(graph.cone(moved, last.unsettled))
    memory.expect(redo)
    verdicts, versions = _kept(redo, known, graph, memory)
    steps = None if wanted is None else graph.upstream({graph.maker[t] for t in wanted})
    forced = NOTHING if not is_forced else frozenset(graph.steps if steps is None else steps)
    broken = _broken(situation, memory, sources)
    changed = frozenset(n for n, v in sources.items() if v.action is Action.RUN and v.state in ("changed", "new"))
    read = partial(digest_of_read, versions, memory)
    for name in redo:
        step = graph.steps[name]
        blocked = frozenset(broken.intersection(step.reads)) if broken else NOTHING
        verdict = None
        if redo is not graph.steps and not blocked and last is not None and name not in last.unsettled:
            verdict = _waiting(step, graph, memory, versions, moved, redo)
        if verdict is None:
            verdict = judge(
                name,
                step.targets,
                step_fields(step, situation, read),
                memory,
                changed=changed,
                blocked=blocked,
                is_forced=name in forced,
                is_pure=graph.recipes[step.recipe].pure,
                made_by=graph.recipes[step.recipe].made_by,
            )
        verdicts.made[name] = verdict
        if verdict.outputs is not None:
            for target in step.targets:
                number, digest = verdict.outputs[target]
                versions.add(target, Version(digest, number))
        elif verdict.state in (State.FAILED, State.BLOCKED):
            broken |= set(step.targets)
    todo = tuple(s for s in redo if (steps is None or s in steps) and verdicts[s].action is not Action.NONE)
    needed = None if steps is None else {n for s in steps for n in graph.steps[s].reads}
    intakes = tuple(n for n, v in sources.items() if v.action is not Action.NONE and (needed is None or n in needed))
    return Plan(situation, verdicts, sources, versions, intakes, todo, is_forced)


def _kept(
    redo: Collection[str], known: dict[str, Version], graph: Graph, memory: Memory
) -> tuple[Lazy[Verdict], Lazy[Version]]:
    """The verdicts and versions of all steps but those to be judged anew: fresh as they were built."""

    def verdict(name: str) -> Verdict:
        key = memory.built_key(name)
        return Verdict(State.FRESH, Action.NONE, (), key, None if key is None else memory.present(name, key))

    verdicts = Lazy(graph.steps, verdict)

    def version(name: str) -> Version:
        outputs = verdicts[graph.maker[name]].outputs
        if outputs is None or name not in outputs:
            raise KeyError(name)
        return Version(outputs[name][1], outputs[name][0])

    kept = () if redo is graph.steps else [t for t, step in graph.maker.items() if step not in redo]
    return verdicts, Lazy(dict.fromkeys((*known, *kept)), version, known)


def _broken(situation: Situation, memory: Memory, sources: Mapping[str, SourceVerdict]) -> set[str]:
    """The sources that cannot be had: with a problem, or with content that failed to be taken in."""
    broken = {n for n, s in situation.sources.items() if s.problem is not None}
    unread = (n for n, v in sources.items() if v.action is Action.RUN and v.state in ("changed", "new"))
    return broken | {n for n in unread if memory.failed_key(n) == sources[n].key}


def _waiting(
    step: Step,
    graph: Graph,
    memory: Memory,
    versions: Lazy[Version],
    moved: Container[str],
    redo: Container[str],
) -> Verdict | None:
    """The verdict on a step that was fresh, where all that is new is that upstreams may change; None where not.

    It is what `judge` would say, for no field of its key but those is another.
    """
    if memory.failed_key(step.name) is not False:
        return None
    reasons = []
    for edge in step.edges:
        columns = columns_read(edge)
        for name in edge.names:
            if name in moved:
                return None
            if graph.maker.get(name) in redo:
                if name in versions:
                    return None
                reasons.append(may_change(subject_of(name, columns)))
    return Verdict(State.PENDING, Action.RUN, tuple(reasons)) if reasons else None


def look_of(plan: Plan, stamp: Digest) -> LastLook:
    """What this look found, for the next one; `plan` is of the whole graph, and not forced."""
    return LastLook(stamp, version_texts(plan.situation.graph, plan.versions), frozenset(plan.not_fresh))


def version_texts(graph: Graph, versions: Mapping[str, Version]) -> dict[str, str]:
    """The version of each source as text; empty where its content is not known."""
    found = ((name, versions.get(name)) for name in graph.sources)
    return {name: "" if v is None else f"{v.digest} {v.manifest}" for name, v in found}


def _source_versions(situation: Situation, sources: Mapping[str, SourceVerdict]) -> dict[str, Version]:
    """Versions of the sources whose content is known: files always, tables where this version was taken in before."""
    versions: dict[str, Version] = {}
    for name, verdict in sources.items():
        content = situation.sources[name].content
        if not situation.is_table(name):
            if content is not None:
                versions[name] = Version(content)
        elif verdict.outputs is not None:
            number, digest = verdict.outputs[name]
            versions[name] = Version(digest, number)
    return versions


__all__ = ["Action", "Memory", "Plan", "Reason", "SourceVerdict", "State", "Version", "make_plan", "source_verdict"]
