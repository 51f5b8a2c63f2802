"""The plan: a verdict on every target and the steps to bring the wanted ones up to date. Pure.

Decides with what is known before anything runs: what is fresh, what must run, what can be restored, and what waits
for a digest. Linear in steps and edges.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from builder.digests import Digest
from builder.plan.keys import UNKNOWN, Field, intake_fields, key_of, step_fields
from builder.plan.verdict import Action, Reason, State, Traces, Verdict, judge
from builder.situation import Situation
from builder.store.manifest import Manifest, read_digest

NOTHING: frozenset[str] = frozenset()


class Memory(Traces, Protocol):
    """What planning needs to know of finished work."""

    def manifest(self, number: int) -> Manifest:
        """A manifest by its number."""

    def current_key(self, name: str) -> Digest | None:
        """The key of the present version of a source."""


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

    def verdict_of(self, target: str) -> Verdict:
        """The verdict on the step that makes a target."""
        return self.verdicts[self.situation.graph.maker[target]]


def digest_of_read(versions: Mapping[str, Version], memory: Memory, name: str, columns: tuple[str, ...] | None) -> str:
    """The digest of what is read of a dataset; `UNKNOWN` where its version is not known.

    A column that is not there counts as the whole table: the reader's own error says so.
    """
    version = versions.get(name)
    if version is None:
        return UNKNOWN
    if columns is None or version.manifest is None:
        return version.digest
    try:
        return read_digest(memory.manifest(version.manifest), columns)
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
    situation: Situation, memory: Memory, wanted: Iterable[str] | None = None, *, is_forced: bool = False
) -> Plan:
    """The plan that brings the wanted targets (None: all) up to date."""
    graph = situation.graph
    sources = {name: source_verdict(name, situation, memory) for name in graph.sources}
    versions = _source_versions(situation, sources)
    steps = set(graph.steps) if wanted is None else graph.upstream({graph.maker[t] for t in wanted})
    changed = frozenset(n for n, v in sources.items() if v.action is Action.RUN and v.state in ("changed", "new"))
    broken = {n for n, s in situation.sources.items() if s.problem is not None}
    broken |= {n for n in changed if memory.failed_key(n) == sources[n].key}
    verdicts: dict[str, Verdict] = {}
    for step in graph.steps.values():
        verdict = judge(
            step.name,
            step.targets,
            step_fields(step, situation, partial(digest_of_read, versions, memory)),
            memory,
            changed=changed,
            blocked=frozenset(broken.intersection(step.reads)) if broken else NOTHING,
            is_forced=is_forced and step.name in steps,
            is_pure=graph.recipes[step.recipe].pure,
        )
        verdicts[step.name] = verdict
        if verdict.outputs is not None:
            for target in step.targets:
                number, digest = verdict.outputs[target]
                versions[target] = Version(digest, number)
        elif verdict.state in (State.FAILED, State.BLOCKED):
            broken |= set(step.targets)
    todo = tuple(s for s in graph.steps if s in steps and verdicts[s].action is not Action.NONE)
    read = {n for s in steps for n in graph.steps[s].reads if n in graph.sources}
    needed = read if wanted is not None else set(graph.sources)
    intakes = tuple(n for n, v in sources.items() if n in needed and v.action is not Action.NONE)
    return Plan(situation, verdicts, sources, versions, intakes, todo, is_forced)


def _source_versions(situation: Situation, sources: Mapping[str, SourceVerdict]) -> dict[str, Version]:
    """Versions of the sources whose content is known: files always, tables where this version was taken in before."""
    versions = {}
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
