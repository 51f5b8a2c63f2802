"""Graphs, situations and finished work written in a few words, for tests of what is pure.

graph("a -> b c; b -> d", sources="a")      b and c read a, d reads b
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from builder.digests import Digest, digest_of
from builder.errors import BuilderError
from builder.graph.declare import Place, SourceDecl
from builder.graph.graph import Edge, Graph, RecipeNode, SourceNode, Step
from builder.names import Params, parse_reference
from builder.plan.keys import Field
from builder.situation import Sensed, Situation
from builder.sources import SourceFile
from builder.store.manifest import Layer, Manifest, Part

AT = Place("recipes/main.py", 7)


def params_of(name: str) -> Params:
    """The parameters in a full name, all as texts."""
    return parse_reference(name).fixed


def make_graph(
    text: str,
    sources: str = "",
    outputs: Mapping[str, tuple[str, ...]] | None = None,
    recipes: Mapping[str, Mapping[str, Any]] | None = None,
    **steps: Mapping[str, Any],
) -> Graph:
    """The graph of ``need -> reader reader; …``; names alone are steps that read nothing.

    `outputs` gives a recipe several outputs, `recipes` further fields of a recipe, further keywords those of a step.
    """
    made, reads = outputs or {}, dict[str, list[str]]()
    for clause in filter(None, (c.strip() for c in text.split(";"))):
        left, arrow, right = clause.partition("->")
        for reader in (right if arrow else left).split():
            reads.setdefault(reader, []).extend(left.split() if arrow else [])
        for need in left.split():
            if need not in sources.split() and need.partition(".")[0] not in {n.partition("[")[0] for n in made}:
                reads.setdefault(need, [])
    found, nodes = [], {}
    for name, needs in reads.items():
        base, _, brackets = name.partition("[")
        several = made.get(base, ())
        more = (recipes or {}).get(base, {})
        nodes[base] = RecipeNode(
            base, f"{AT}", digest_of("code", base), (), digest_of("declared", base), **({"outputs": several} | more)
        )
        targets = tuple(f"{base}.{o}" + (f"[{brackets}" if brackets else "") for o in several) or (name,)
        edges = tuple(Edge(f"p{i}", "one", (n,)) for i, n in enumerate(needs))
        found.append(Step(name, base, params_of(name), edges, targets, **steps.get(name, {})))
    sourced = [SourceNode(n, n.partition("[")[0], params_of(n)) for n in sources.split()]
    return Graph.build(sourced, nodes.values(), found)


@pytest.fixture
def graph() -> Callable[..., Graph]:
    """`make_graph`."""
    return make_graph


def source_file(name: str, content: str) -> SourceFile:
    """A file with this content, nowhere on a disk."""
    return SourceFile(name, f"/{name}", f"data/{name}", len(content), digest_of("content", content))


@dataclass
class World:
    """Sources with contents, a graph, and the situation and plan that follow; contents change by assignment.

    A source whose content is an error has that problem.
    """

    text: str
    contents: dict[str, str | BuilderError] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    tables: frozenset[str] = frozenset()
    environment: dict[str, str] = field(default_factory=lambda: {"python": "3.11"})
    depends: tuple[tuple[str, str], ...] = ()

    @property
    def graph(self) -> Graph:
        """The graph now."""
        return make_graph(self.text, " ".join(self.contents), **self.options)

    @property
    def situation(self) -> Situation:
        """The situation now."""
        graph, sensed, declared = self.graph, {}, {}
        for name, content in self.contents.items():
            base = graph.sources[name].base
            declared[base] = SourceDecl(name, f"data/{base}", AT, format="csv" if base in self.tables else "file")
            if isinstance(content, BuilderError):
                sensed[name] = Sensed(name, base, problem=content)
            else:
                file = source_file(base, content)
                sensed[name] = Sensed(name, base, (file,), digest_of("files", file.digest))
        return Situation(
            graph, declared, sensed, dict(self.environment), self.depends, {}, digest_of("bundle"),
            project_environment=("python",),
        )  # fmt: skip


@pytest.fixture
def world() -> type[World]:
    """`World`."""
    return World


def bytes_manifest(content: str, path: str = "") -> Manifest:
    """The manifest of an output of bytes, of one part where a path is given."""
    digest = digest_of("output", content)
    parts = (Part(path, 0, len(content), "", digest_of("bytes", content)),) if path else ()
    return Manifest("bytes", digest, (Layer(parts),), bytes=len(content))


@pytest.fixture
def manifest_of() -> Callable[..., Manifest]:
    """`bytes_manifest`."""
    return bytes_manifest


@dataclass
class Remembered:
    """What planning asks of finished work, kept in dicts: an in-memory twin of `store.recall.Recall`."""

    keys: dict[Digest, list[Field]] = field(default_factory=dict)
    traces: dict[Digest, dict[str, tuple[int, Digest]]] = field(default_factory=dict)
    built: dict[str, Digest] = field(default_factory=dict)
    by_step: dict[str, set[str]] = field(default_factory=dict)
    failures: dict[str, Digest | None] = field(default_factory=dict)
    manifests: list[Manifest] = field(default_factory=list)

    def commit(self, step: str, key: Digest, fields: list[Field], outputs: Mapping[str, Manifest]) -> None:
        """Remember that a step was built under a key."""
        trace = {}
        for name, manifest in outputs.items():
            self.manifests.append(manifest)
            trace[name] = (len(self.manifests) - 1, manifest.digest)
            self.built[name] = key
        self.keys[key], self.traces[key] = fields, trace
        self.by_step[step] = set(outputs)
        self.failures.pop(step, None)

    def built_key(self, step: str) -> Digest | None:
        keys = {self.built[t] for t in self.by_step.get(step, ()) if t in self.built}
        return keys.pop() if len(keys) == 1 else None

    def fields(self, key: Digest) -> list[Field]:
        return self.keys.get(key, [])

    def present(self, step: str, key: Digest) -> dict[str, tuple[int, Digest]]:
        names = self.by_step.get(step, ())
        return {t: v for t, v in self.trace(key).items() if t in names and self.built.get(t) == key}

    def trace(self, key: Digest) -> dict[str, tuple[int, Digest]]:
        return self.traces.get(key, {})

    def made_by(self, key: Digest) -> str:
        return ""

    def failed_key(self, step: str) -> Digest | bool | None:
        return self.failures.get(step, False)

    def manifest(self, number: int) -> Manifest:
        return self.manifests[number]

    def current_key(self, name: str) -> Digest | None:
        return self.built.get(name)

    def expect(self, steps: Iterable[str]) -> None:
        pass


@pytest.fixture
def remembered() -> Remembered:
    """Nothing built yet."""
    return Remembered()


@pytest.fixture
def refused() -> Callable[..., Any]:
    """A context that expects an error of this code, with a hint and an exit code that fits; gives the caught error."""
    from contextlib import contextmanager

    @contextmanager
    def expected(code: str, *words: str) -> Any:
        with pytest.raises(BuilderError) as caught:
            yield caught
        found = caught.value
        assert found.code == code, found
        text = found.render()
        assert all(w in text for w in words), text

    return expected
