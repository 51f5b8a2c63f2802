"""Declarations: what a project's recipes say, as plain values, before families are expanded.

Decides the shape of sources, recipes and references. Never resolves a name: `graph.expand` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from builder.digests import Scalar
from builder.names import Params, filled, plain_text
from builder.nouns import dataclass, replace

Publish = bool | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is declared: a file relative to the project and a line."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class SourceDecl:
    """An input that nobody builds; `name` and `path` of a family hold ``{capture}``s."""

    name: str
    path: str
    place: Place
    key: tuple[str, ...] = ()
    columns: tuple[tuple[str, str], ...] = ()
    format: str = "file"
    crs: str | None = None
    layer: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    null: tuple[str, ...] | None = None
    file_column: str | None = None

    @property
    def is_table(self) -> bool:
        """Whether it is taken in as a table; else its files arrive as they are."""
        return self.format != "file"


@dataclass(frozen=True, slots=True)
class Read:
    """A reference with what is read of it: only these columns, only rows where each column has the value."""

    ref: str
    columns: tuple[str, ...] | None = None
    where: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Lookup:
    """A reference that a row recipe looks up row by row, by this column."""

    ref: str
    on: str


Input = str | Read | Lookup | list[str]


@dataclass(frozen=True, slots=True)
class Grain:
    """How output rows depend on input rows."""

    kind: Literal["whole", "rows", "groups", "fold", "spatial"] = "whole"
    of: str | None = None
    by: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The grain as one text: a build that proved one says nothing of another."""
        return " ".join((self.kind, self.of or "", *self.by))


WHOLE = Grain()


@dataclass(frozen=True, slots=True)
class Reading:
    """What a ready-made recipe reads of one input: these columns (None: all), and with `is_keyed` its key's."""

    ref: str
    columns: tuple[str, ...] | None
    is_keyed: bool = False


@dataclass(frozen=True, slots=True)
class ReadyMade:
    """A public transform as a recipe; each text in it may hold ``{param}``.

    ``options`` are what the transform is called with beside its inputs. The rows of the output are named by the key of
    the input ``keyed_as`` (None: of none) and by the columns ``by``.
    """

    transform: str
    inputs: Mapping[str, Reading]
    options: Mapping[str, Any]
    keyed_as: str | None = None
    by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class RecipeDecl:
    """A recipe as declared: the function and every keyword of `builder.recipe`.

    ``inputs``, ``lane``, ``slots``, ``memory``, ``needs`` and ``timeout`` may be functions of the parameters.
    """

    name: str
    function: Callable[..., Any]
    place: Place
    key: tuple[str, ...] = ()
    columns: tuple[tuple[str, str], ...] = ()
    outputs: tuple[str, ...] = ()
    grain: Grain = WHOLE
    each: Any = None
    inputs: Mapping[str, Input] | Callable[..., Mapping[str, Input]] | None = None
    lane: Any = None
    slots: Any = 1
    memory: Any = None
    needs: Any = ()
    retries: int = 0
    timeout: Any = None
    priority: int = 0
    environment: tuple[str, ...] = ()
    version: Scalar | None = None
    check: Any = None
    publish: Publish = None
    pure: bool = True
    policy: str = "auto"
    update: Callable[..., Any] | None = None
    ready_made: ReadyMade | None = None

    def of_member(self, params: Params) -> RecipeDecl:
        """The declaration as it is for one member: the columns that a ready-made recipe declares have their names."""
        if self.ready_made is None or not params:
            return self
        values = dict(params)
        columns = tuple((filled(c, values, plain_text), d) for c, d in self.columns)
        key, by = (tuple(filled(c, values, plain_text) for c in names) for names in (self.key, self.grain.by))
        return replace(self, key=key, columns=columns, grain=replace(self.grain, by=by))


@dataclass(frozen=True, slots=True)
class Delta:
    """What an own update returns: rows to put in place of those with the same keys, and keys of rows to drop."""

    upserts: Any
    deleted: Any = None


class _Full:
    """The answer of an own update that wants a full run."""

    def __repr__(self) -> str:
        return "FULL"


FULL = _Full()
