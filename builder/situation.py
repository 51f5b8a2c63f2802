"""The situation: what sensing found, as plain values. Planning reads nothing else of the world."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from builder.digests import Digest
from builder.errors import BuilderError
from builder.nouns import dataclass, field

if TYPE_CHECKING:
    from builder.graph.declare import SourceDecl
    from builder.graph.graph import Graph
    from builder.sources import SourceFile
    from builder.tables.schema import Schema


@dataclass(frozen=True, slots=True)
class Sensed:
    """One source as it is now: its files with their digests, or the problem that stands in the way.

    ``content`` is the digest of names and contents; None where there is a problem.
    """

    name: str
    base: str
    files: tuple[SourceFile, ...] = ()
    content: Digest | None = None
    problem: BuilderError | None = None

    @property
    def bytes(self) -> int:
        """The size of all files together."""
        return sum(f.bytes for f in self.files)


@dataclass(frozen=True)
class Situation:
    """Everything that staleness depends on, pinned for one run.

    ``graph_digest`` is that of the file which the graph was kept in; empty where it was made anew.
    """

    graph: Graph
    declarations: Mapping[str, SourceDecl]
    sources: Mapping[str, Sensed]
    environment: Mapping[str, str]
    depends: tuple[tuple[str, str], ...]
    pins: Mapping[str, Schema]
    bundle: Digest
    sensed_s: float = 0.0
    project_environment: tuple[str, ...] = field(default=())
    graph_digest: str = ""
    recipe_fields: dict[str, list[tuple[str, str, str]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """What `plan.keys` keeps: the fields that all keys of a recipe begin with. A changed copy starts with none."""

    def is_table(self, name: str) -> bool:
        """Whether a source is taken in as a table."""
        return self.declarations[self.graph.sources[name].base].is_table
