"""Selections: which steps a TARGET on the command line means.

``name`` a source, target, recipe or family · ``name[k=v]`` members, parameters in any order · ``*`` and ``?`` match ·
``+name`` adds what it needs · ``name+`` adds what needs it · a set of the project stands for its list.
A family without members selects nothing; so does a member that a list names and that is gone: members come and go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from builder.errors import BuilderError, error
from builder.graph.graph import Graph
from builder.names import Params, parse_reference, value_from_text, value_text


def select(
    graph: Graph, wanted: Iterable[str], sets: Mapping[str, tuple[str, ...]], *, is_listed: bool = False
) -> list[str]:
    """Names of the targets that the selections mean, in topological order, each once.

    `is_listed`: they stand in the project's settings, where a member may be gone for now.

    Raises
    ------
    ConfigError
        ``unknown-target`` for a selection that names nothing, with the nearest names.
    """
    chosen: set[str] = set()
    for text in wanted:
        chosen |= _one(graph, text, sets, (), is_listed)
    return [t for t in graph.targets if t in chosen]


def _one(
    graph: Graph, text: str, sets: Mapping[str, tuple[str, ...]], within: tuple[str, ...], is_listed: bool
) -> set[str]:
    """Sources and targets that one selection means."""
    before, name, after = text.startswith("+"), text.strip("+"), text.endswith("+")
    if name in sets:
        if name in within:
            raise error(
                "config",
                f"the set '{name}' contains itself: {' → '.join([*within[within.index(name) :], name])}",
                place="[sets]",
                hint="let one of these sets name targets",
            )
        found = set().union(*(_one(graph, t, sets, (*within, name), True) for t in sets[name]))
    else:
        found = _named(graph, name)
        if not found and not _may_be_none(graph, name, is_listed=is_listed):
            raise _unknown(graph, text, sets)
    steps: set[str] = set()
    if before:
        steps |= graph.upstream({graph.maker[n] for n in found if n in graph.maker})
    if after:
        steps |= graph.downstream(found)
    return found | {t for s in steps for t in graph.steps[s].targets}


def _named(graph: Graph, name: str) -> set[str]:
    """Sources and targets that a name without ``+`` matches."""
    try:
        reference = parse_reference(name)
    except BuilderError:  # brackets that cannot be read name nothing
        return set()
    pattern = re.compile(_glob(reference.base))
    wanted = {k: re.compile(_glob(v), re.DOTALL) for k, v in reference.fixed}

    def matches(base: str, params: Params) -> bool:
        if not pattern.fullmatch(base):
            return False
        have = {k: value_from_text(value_text(v)) for k, v in params}
        return all(k in have and v.fullmatch(have[k]) for k, v in wanted.items())

    found = {s.name for s in graph.sources.values() if matches(s.base, s.params)}
    for step in graph.steps.values():
        outputs = graph.recipes[step.recipe].outputs
        for target, output in zip(step.targets, outputs or ("",), strict=True):
            bases = {step.recipe, f"{step.recipe}.{output}" if output else step.recipe}
            if any(matches(base, step.params) for base in bases):
                found.add(target)
    return found


def _glob(text: str) -> str:
    """A regular expression for a name in which only ``*`` and ``?`` have a meaning; percent-encoded they have none."""
    pieces = re.split("([*?])", text)
    return "".join(".*" if p == "*" else "." if p == "?" else re.escape(value_from_text(p)) for p in pieces)


def _may_be_none(graph: Graph, name: str, *, is_listed: bool) -> bool:
    """Whether a name that matches nothing is a family without members, or, in a list, a member that is gone."""
    recipe = name.partition("[")[0].partition(".")[0]
    return recipe in graph.recipes and (is_listed or all(s.recipe != recipe for s in graph.steps.values()))


def _unknown(graph: Graph, text: str, sets: Mapping[str, tuple[str, ...]]) -> Exception:
    known = [*graph.targets, *graph.recipes, *graph.sources, *sets]
    from difflib import get_close_matches

    near = get_close_matches(text.strip("+"), known, n=3, cutoff=0.5)
    return error(
        "unknown-target",
        f"no target, source or set is called '{text}'",
        place=text,
        facts=[("nearest", ", ".join(dict.fromkeys(near)))] if near else [],
        hint="builder status lists all; quote names with brackets in the shell",
    )
