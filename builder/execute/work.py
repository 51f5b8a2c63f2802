"""From nodes of the plan to attempts: where files lie, what travels, what it is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from builder.digests import digest_of
from builder.execute.contents import set_apart
from builder.execute.spec import AttemptSpec, InputSpec, IntakeSpec, Item, RecipeSpec, SumsSpec, UpdateSpec, Work
from builder.graph.graph import Step
from builder.names import path_segment
from builder.plan.plan import Version
from builder.sense.pins import pin_path
from builder.situation import Situation
from builder.store.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Workplace:
    """The folders of a project, absolute."""

    project: Path
    recipes: Path
    store: Path
    out: Path

    def attempt(self, step: str, identity: str, run: int, work: Work, previous: Mapping[str, Manifest]) -> AttemptSpec:
        """An attempt's spec with its log and scratch folder."""
        number = identity.rsplit("-", 1)[-1]
        store = str(self.store)
        return AttemptSpec(
            id=identity,
            step=step,
            project=str(self.project),
            recipes=str(self.recipes),
            store=store,
            log=f"{store}/logs/r{run}/{path_segment(step)}.{number}.log",
            scratch=f"{store}/scratch/{digest_of('scratch', identity)[:24]}",
            work=work,
            previous=dict(previous),
        )


def intake_spec(situation: Situation, name: str, project: Path) -> IntakeSpec:
    """What a worker needs to take a table source in."""
    sensed = situation.sources[name]
    declared = situation.declarations[sensed.base]
    return IntakeSpec(
        source=name,
        format=declared.format,
        files=sensed.files,
        key=declared.key,
        columns=declared.columns,
        pinned=situation.pins.get(sensed.base),
        pin_shown=pin_path(project, sensed.base).relative_to(project).as_posix(),
        crs=declared.crs,
        layer=declared.layer,
        delimiter=declared.delimiter,
        encoding=declared.encoding,
        null=declared.null,
        file_column=declared.file_column,
    )


def intake_attempt(
    place: Workplace,
    situation: Situation,
    name: str,
    identity: str,
    run: int,
    previous: Mapping[str, Manifest],
    read_apart: tuple[str, ...],
) -> AttemptSpec:
    """The attempt that takes a source in."""
    base = previous.get(name)
    base = base if base is not None and base.total else None  # of an older format it is nothing to go on from
    spec = replace(intake_spec(situation, name, place.project), base=base, read_apart=read_apart)
    return place.attempt(name, identity, run, spec, previous)


def pin_attempt(place: Workplace, situation: Situation, base: str, identity: str, run: int) -> AttemptSpec:
    """The attempt that finds the schema of a family over the files of all its members."""
    members = [n for n, s in situation.sources.items() if s.base == base and s.problem is None]
    files = tuple(f for n in members for f in situation.sources[n].files)
    spec = replace(intake_spec(situation, members[0], place.project), source=base, files=files, is_inference=True)
    return place.attempt(f"schema of {base}", identity, run, spec, {})


def sums_attempt(
    place: Workplace, name: str, manifest: Manifest, columns: tuple[str, ...], identity: str, run: int
) -> AttemptSpec:
    """The attempt that sums columns of a table."""
    return place.attempt(f"columns of {name}", identity, run, SumsSpec(manifest, columns), {})


def recipe_attempt(
    place: Workplace,
    situation: Situation,
    step: Step,
    identity: str,
    run: int,
    version: Callable[[str], Version],
    manifest: Callable[[int], Manifest],
    previous: Mapping[str, Manifest],
    update: UpdateSpec | None,
) -> AttemptSpec:
    """The attempt that runs a step of a recipe, or brings it up to date."""
    graph = situation.graph
    recipe = graph.recipes[step.recipe]

    def item(name: str) -> Item:
        if name in graph.sources and not situation.is_table(name):
            return Item(name, graph.sources[name].params, files=situation.sources[name].files)
        params = graph.sources[name].params if name in graph.sources else graph.step_of(name).params
        number = version(name).manifest
        assert number is not None
        return Item(name, params, manifest(number))

    inputs = tuple(
        InputSpec(e.parameter, e.shape, tuple(item(n) for n in e.names), e.columns, e.where, e.on) for e in step.edges
    )
    outputs = tuple(zip(recipe.outputs or ("",), step.targets, strict=True))
    work = RecipeSpec(step.recipe, situation.bundle, recipe.fingerprint, step.params, inputs, outputs)
    return set_apart(replace(place.attempt(step.name, identity, run, work, previous), update=update))
