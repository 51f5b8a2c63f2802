"""Build keys: the one writer whose fields are both hashed and shown.

Decides what an output depends on. A key's digest and its explanation come from the same fields, so they cannot drift
apart. Grain, layout, lanes, paths and times are no fields: a full and an incremental build share one key.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import chain
from typing import Any

from builder.digests import Digest, digest_bytes, digest_of
from builder.graph.declare import SourceDecl
from builder.graph.graph import Edge, Graph, Step
from builder.names import value_text
from builder.situation import Sensed, Situation
from builder.sources import INTAKE_VERSION
from builder.tables.schema import Schema

Field = tuple[str, str, str]
UNKNOWN = "?"
DIGEST_VERSION = "2"
"""Of what the digest of a table is made: outputs of another one are built anew."""

DigestOf = Callable[[str, tuple[str, ...] | None], str]
"""Gives the digest of what is read of a dataset, by name and columns (None: all); `UNKNOWN` where it is not known."""


def key_of(fields: list[Field]) -> Digest:
    """The build key that these fields make.

    No two lists of fields share their bytes: NUL parts the texts; where one holds a NUL, their lengths stand before.
    Hashed in one piece, for every look at a project makes all keys.
    """
    texts = list(chain.from_iterable(fields))
    framed = "\0".join(texts)
    domain = "key\0"
    if framed.count("\0") >= len(texts):
        domain = f"key {' '.join(str(len(t)) for t in texts)}\0"
    return digest_bytes((domain + framed).encode("utf-8", "surrogatepass"))


def is_known(fields: list[Field]) -> bool:
    """Whether every input of a step is known, so that its key is."""
    return UNKNOWN not in [value for _, _, value in fields]


def step_fields(step: Step, situation: Situation, digest_of_read: DigestOf) -> list[Field]:
    """The fields of a step's key, in order."""
    fields = list(_recipe_fields(step.recipe, situation))
    for name, value in step.params:
        fields.append(("parameter", name, f"{type(value).__name__}:{value_text(value)}"))
    sources = situation.graph.sources
    for edge in step.edges:
        fields.append(("recipe", f"input {edge.parameter}", _shape(edge)))
        columns = columns_read(edge)
        for name in edge.names:
            kind = "source" if name in sources else "upstream"
            fields.append((kind, subject_of(name, columns), digest_of_read(name, columns)))
    return fields


def columns_read(edge: Edge) -> tuple[str, ...] | None:
    """The columns that an edge depends on, each once; None: all."""
    return None if edge.columns is None else tuple(dict.fromkeys((*edge.columns, *(c for c, _ in edge.where))))


def read_apart(graph: Graph) -> dict[str, tuple[str, ...]]:
    """For each dataset that some step reads in part, the columns that are read so, in order."""
    found: dict[str, set[str]] = {}
    for step in graph.steps.values():
        for edge in step.edges:
            for name in edge.names if edge.columns is not None else ():
                found.setdefault(name, set()).update(columns_read(edge) or ())
    return {name: tuple(sorted(columns)) for name, columns in found.items()}


def subject_of(name: str, columns: tuple[str, ...] | None) -> str:
    """What is read of a dataset, as fields and reasons name it."""
    return name if columns is None else f"{name}({','.join(columns)})"


def _recipe_fields(name: str, situation: Situation) -> list[Field]:
    """What the keys of all steps of a recipe begin with; made once per situation."""
    if name not in situation.recipe_fields:
        recipe = situation.graph.recipes[name]
        fields = [("recipe", recipe.name, recipe.fingerprint), ("recipe", "declaration", recipe.declared)]
        fields.append(("recipe", "digests", DIGEST_VERSION))
        if recipe.version:
            fields.append(("version", recipe.name, recipe.version))
        for library in dict.fromkeys((*situation.project_environment, *recipe.environment)):
            fields.append(("environment", library, situation.environment[library]))
        fields += [("project", path, digest) for path, digest in situation.depends]
        situation.recipe_fields[name] = fields
    return situation.recipe_fields[name]


def _shape(edge: Edge) -> str:
    """How an input arrives and what of it is read, as text."""
    if edge.columns is None and not edge.where and not edge.on:
        return f"{edge.shape} *"
    parts = [edge.shape, "*" if edge.columns is None else ",".join(edge.columns)]
    parts += [f"{c}={v!r}" for c, v in edge.where]
    if edge.on:
        parts.append(f"on {edge.on}")
    return " ".join(parts)


def intake_fields(sensed: Sensed, declaration: SourceDecl, pin: Schema | None) -> list[Field]:
    """The fields of the key under which a version of a table source is taken in."""
    fields = [("source", f.name, str(f.digest)) for f in sensed.files]
    fields.append(("recipe", "declaration", _declared(declaration)))
    fields.append(("recipe", "intake", INTAKE_VERSION))
    fields.append(("schema", sensed.base, "" if pin is None else pin.digest()))
    return fields


def _declared(declaration: SourceDecl) -> str:
    """The digest of what a declaration says of the content; its place and path do not count."""
    return _declared_digest(tuple(getattr(declaration, name) for name in _SAYS))


@cache
def _declared_digest(says: tuple[Any, ...]) -> str:
    """The digest of a declaration that says this; most sources of a project say the same."""
    bare = SourceDecl(name="", path="", place=None, **dict(zip(_SAYS, says, strict=True)))  # type: ignore[arg-type]
    return digest_of("source", repr(bare))


_SAYS = tuple(name for name in SourceDecl.__match_args__ if name not in ("name", "path", "place"))
