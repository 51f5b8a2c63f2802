"""Build keys: the one writer whose fields are both hashed and shown.

Decides what an output depends on. A key's digest and its explanation come from the same fields, so they cannot drift
apart. Grain, layout, lanes, paths and times are no fields: a full and an incremental build share one key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from builder.digests import Digest, Hasher, digest_of
from builder.graph.declare import SourceDecl
from builder.graph.graph import Edge, Step
from builder.names import value_text
from builder.situation import Sensed, Situation
from builder.tables.schema import Schema

Field = tuple[str, str, str]
UNKNOWN = "?"
INTAKE_VERSION = "1"

DigestOf = Callable[[str, tuple[str, ...] | None], str]
"""Gives the digest of what is read of a dataset, by name and columns (None: all); `UNKNOWN` where it is not known."""


def key_of(fields: list[Field]) -> Digest:
    """The build key that these fields make."""
    hasher = Hasher("key")
    for kind, subject, value in fields:
        hasher.text(kind).text(subject).text(value)
    return hasher.digest()


def is_known(fields: list[Field]) -> bool:
    """Whether every input of a step is known, so that its key is."""
    return all(value != UNKNOWN for _, _, value in fields)


def step_fields(step: Step, situation: Situation, digest_of_read: DigestOf) -> list[Field]:
    """The fields of a step's key, in order."""
    return list(_step_fields(step, situation, digest_of_read))


def _step_fields(step: Step, situation: Situation, digest_of_read: DigestOf) -> Iterator[Field]:
    recipe = situation.graph.recipes[step.recipe]
    yield "recipe", recipe.name, recipe.fingerprint
    yield "recipe", "declaration", recipe.declared
    if recipe.version:
        yield "version", recipe.name, recipe.version
    for library in dict.fromkeys((*situation.project_environment, *recipe.environment)):
        yield "environment", library, situation.environment[library]
    for path, digest in situation.depends:
        yield "project", path, digest
    for name, value in step.params:
        yield "parameter", name, f"{type(value).__name__}:{value_text(value)}"
    for edge in step.edges:
        yield "recipe", f"input {edge.parameter}", _shape(edge)
        for name in edge.names:
            kind = "source" if name in situation.graph.sources else "upstream"
            columns = (
                None if edge.columns is None else tuple(dict.fromkeys((*edge.columns, *(c for c, _ in edge.where))))
            )
            yield kind, name if columns is None else f"{name}({','.join(columns)})", digest_of_read(name, columns)


def _shape(edge: Edge) -> str:
    """How an input arrives and what of it is read, as text."""
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
    bare = replace(declaration, place=None, path="", name="")  # type: ignore[arg-type]
    return digest_of("source", repr(bare))
