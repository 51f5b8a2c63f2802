"""Selections: which steps a TARGET on the command line means.

``name`` a source, target, recipe or family · ``name[k=v]`` members, parameters in any order · ``*`` and ``?`` match ·
``+name`` adds what it needs · ``name+`` adds what needs it · a set of the project stands for its list.
Never raises for an empty family: it selects nothing.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from builder.errors import error
from builder.graph.graph import Graph
from builder.names import Params, parse_reference, value_from_text, value_text


def select(graph: Graph, wanted: Iterable[str], sets: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Names of the targets that the selections mean, in topological order, each once.

    Raises
    ------
    ConfigError
        ``unknown-target`` for a selection that names nothing, with the nearest names.
    """
    chosen: set[str] = set()
    for text in wanted:
        chosen |= _one(graph, text, sets, ())
    return [t for t in graph.targets if t in chosen]


def _one(graph: Graph, text: str, sets: Mapping[str, tuple[str, ...]], within: tuple[str, ...]) -> set[str]:
    """Targets that one selection means."""
    if text in sets:
        if text in within:
            raise error(
                "config",
                f"the set '{text}' contains itself: {' → '.join([*within[within.index(text) :], text])}",
                place="[sets]",
                hint="let one of these sets name targets",
            )
        return set().union(*(_one(graph, t, sets, (*within, text)) for t in sets[text]))
    before, name, after = text.startswith("+"), text.strip("+"), text.endswith("+")
    sources, targets = _named(graph, name)
    if not sources and not targets and not _is_empty_family(graph, name):
        raise _unknown(graph, text, sets)
    found = set(targets)
    if before:
        steps = graph.upstream({graph.maker[t] for t in targets})
        found |= {t for s in steps for t in graph.steps[s].targets}
    if after:
        found |= {t for s in graph.downstream({*sources, *targets}) for t in graph.steps[s].targets}
    return found


def _named(graph: Graph, name: str) -> tuple[list[str], list[str]]:
    """Sources and targets that a name without ``+`` matches."""
    try:
        reference = parse_reference(name)
    except Exception:
        return [], []
    pattern = re.compile(_glob(reference.base))
    wanted = {k: value_from_text(v) for k, v in reference.fixed}

    def matches(base: str, params: Params) -> bool:
        if not pattern.fullmatch(base):
            return False
        have = {k: value_from_text(value_text(v)) for k, v in params}
        return all(k in have and fnmatchcase(have[k], v) for k, v in wanted.items())

    sources = [s.name for s in graph.sources.values() if matches(s.base, s.params)]
    targets = []
    for step in graph.steps.values():
        outputs = graph.recipes[step.recipe].outputs
        for target, output in zip(step.targets, outputs or ("",), strict=True):
            bases = {step.recipe, f"{step.recipe}.{output}" if output else step.recipe}
            if any(matches(base, step.params) for base in bases):
                targets.append(target)
    return sources, targets


def _glob(text: str) -> str:
    """A regular expression for a name in which only ``*`` and ``?`` have a meaning."""
    return "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in text)


def _is_empty_family(graph: Graph, name: str) -> bool:
    """Whether a name is a recipe that has no members at present."""
    return parse_reference(name).base.partition(".")[0] in graph.recipes


def _unknown(graph: Graph, text: str, sets: Mapping[str, tuple[str, ...]]) -> Exception:
    known = [*graph.targets, *graph.recipes, *graph.sources, *sets]
    near = difflib.get_close_matches(text.strip("+"), known, n=3, cutoff=0.5)
    return error(
        "unknown-target",
        f"no target, source or set is called '{text}'",
        place=text,
        facts=[("nearest", ", ".join(dict.fromkeys(near)))] if near else [],
        hint="builder status lists all; quote names with brackets in the shell",
    )
