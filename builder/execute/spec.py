"""What travels between the driver and a worker: specs out, records back, as JSON.

Decides the wire format. A worker gets paths and manifests, never data; it sends back digests, sizes and costs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from builder.digests import Digest
from builder.names import Params, value_from_json, value_json
from builder.nouns import dataclass, field
from builder.sources import SourceFile
from builder.store.manifest import Manifest
from builder.tables.schema import Schema


@dataclass(frozen=True, slots=True)
class IntakeSpec:
    """Take one version of a table source in: parse, check, digest, write in parts.

    ``columns`` are the declared dtypes; ``pinned`` is the schema that an earlier version fixed (None: infer the
    undeclared columns from all of this version). ``pin_shown`` names the pin's file for messages. ``base`` is the last
    version, from which this one may be made, and ``read_apart`` the columns that a reader depends on alone. With
    ``is_inference`` only the schema is found, over the files of all members of a family; nothing is written.
    """

    source: str
    format: str
    files: tuple[SourceFile, ...]
    key: tuple[str, ...] = ()
    columns: tuple[tuple[str, str], ...] = ()
    pinned: Schema | None = None
    pin_shown: str = ""
    crs: str | None = None
    layer: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    null: tuple[str, ...] | None = None
    file_column: str | None = None
    is_inference: bool = False
    base: Manifest | None = None
    read_apart: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A plain mapping that `from_json` reads."""
        value = {name: getattr(self, name) for name in self.__slots__}
        value["files"] = [f.to_json() for f in self.files]
        value["base"] = self.base and self.base.to_json()
        value["pinned"] = self.pinned and self.pinned.to_json()
        return value

    @staticmethod
    def from_json(value: dict[str, Any]) -> IntakeSpec:
        """The spec that `to_json` wrote."""
        value = dict(value)
        value["files"] = tuple(SourceFile.from_json(f) for f in value["files"])
        value["pinned"] = value["pinned"] and Schema.from_json(value["pinned"])
        value["columns"] = tuple((c, d) for c, d in value["columns"])
        value["key"] = tuple(value["key"])
        value["read_apart"] = tuple(value["read_apart"])
        value["null"] = None if value["null"] is None else tuple(value["null"])
        value["base"] = value["base"] and Manifest.from_json(value["base"])
        return IntakeSpec(**value)


@dataclass(frozen=True, slots=True)
class Item:
    """One dataset that a recipe reads: a manifest for what the store holds, files for a source of files."""

    name: str
    params: Params = ()
    manifest: Manifest | None = None
    files: tuple[SourceFile, ...] | None = None

    def to_json(self) -> dict[str, Any]:
        """A plain mapping that `from_json` reads."""
        return {
            "name": self.name,
            "params": [[k, value_json(v)] for k, v in self.params],
            "manifest": self.manifest and self.manifest.to_json(),
            "files": None if self.files is None else [f.to_json() for f in self.files],
        }

    @staticmethod
    def from_json(value: dict[str, Any]) -> Item:
        """The item that `to_json` wrote."""
        manifest, files = value["manifest"], value["files"]
        return Item(
            value["name"],
            tuple((k, value_from_json(v)) for k, v in value["params"]),
            manifest and Manifest.from_json(manifest),
            None if files is None else tuple(SourceFile.from_json(f) for f in files),
        )


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What arrives for one parameter of a recipe's function.

    ``shape``: ``one`` (a single dataset), ``gather`` (members of a family, one table or a lazy mapping) or ``list``
    (a mapping from full name to value). ``on`` is the column of the main input whose values name its
    rows, for a lookup.
    """

    parameter: str
    shape: str
    items: tuple[Item, ...]
    columns: tuple[str, ...] | None = None
    where: tuple[tuple[str, Any], ...] = ()
    on: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A plain mapping that `from_json` reads."""
        return {
            "parameter": self.parameter,
            "shape": self.shape,
            "items": [i.to_json() for i in self.items],
            "columns": self.columns,
            "where": [[k, v if v is None else value_json(v)] for k, v in self.where],
            "on": self.on,
        }

    @staticmethod
    def from_json(value: dict[str, Any]) -> InputSpec:
        """The input that `to_json` wrote."""
        return InputSpec(
            value["parameter"],
            value["shape"],
            tuple(Item.from_json(i) for i in value["items"]),
            None if value["columns"] is None else tuple(value["columns"]),
            tuple((k, v if v is None else value_from_json(v)) for k, v in value["where"]),
            value["on"],
        )


@dataclass(frozen=True, slots=True)
class RecipeSpec:
    """Run one step of a recipe: the recipe by name in a bundle of sources by digest, its parameters and its inputs."""

    recipe: str
    bundle: Digest
    fingerprint: Digest
    params: Params
    inputs: tuple[InputSpec, ...]
    outputs: tuple[tuple[str, str], ...]
    """Pairs of the output's name in the recipe (``""``: the only one) and the target's name."""

    def to_json(self) -> dict[str, Any]:
        """A plain mapping that `from_json` reads."""
        return {
            "recipe": self.recipe,
            "bundle": self.bundle,
            "fingerprint": self.fingerprint,
            "params": [[k, value_json(v)] for k, v in self.params],
            "inputs": [i.to_json() for i in self.inputs],
            "outputs": [list(o) for o in self.outputs],
        }

    @staticmethod
    def from_json(value: dict[str, Any]) -> RecipeSpec:
        """The spec that `to_json` wrote."""
        return RecipeSpec(
            value["recipe"],
            Digest(value["bundle"]),
            Digest(value["fingerprint"]),
            tuple((k, value_from_json(v)) for k, v in value["params"]),
            tuple(InputSpec.from_json(i) for i in value["inputs"]),
            tuple((o, t) for o, t in value["outputs"]),
        )


@dataclass(frozen=True, slots=True)
class UpdateSpec:
    """How a step is brought up to date from what changed: the rule, and the versions that it was built from before.

    ``before`` has an earlier manifest for each input that changed, by the dataset's name; ``read_apart`` has, for each
    target, the columns that a reader depends on alone. With ``is_audited`` a full
    run follows, to compare.
    """

    rule: str
    before: Mapping[str, Manifest]
    is_audited: bool = False
    read_apart: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A plain mapping that `from_json` reads."""
        before = {n: m.to_json() for n, m in self.before.items()}
        apart = {n: list(columns) for n, columns in self.read_apart.items()}
        return {"rule": self.rule, "before": before, "is_audited": self.is_audited, "read_apart": apart}

    @staticmethod
    def from_json(value: dict[str, Any]) -> UpdateSpec:
        """The update that `to_json` wrote."""
        before = {n: Manifest.from_json(m) for n, m in value["before"].items()}
        apart = {n: tuple(columns) for n, columns in value["read_apart"].items()}
        return UpdateSpec(value["rule"], before, value["is_audited"], apart)


@dataclass(frozen=True, slots=True)
class SumsSpec:
    """The work of summing columns of a table, of which its manifest does not know the sums."""

    manifest: Manifest
    columns: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """A plain mapping that `from_json` reads."""
        return {"manifest": self.manifest.to_json(), "columns": list(self.columns)}

    @staticmethod
    def from_json(value: dict[str, Any]) -> SumsSpec:
        """The work that `to_json` wrote."""
        return SumsSpec(Manifest.from_json(value["manifest"]), tuple(value["columns"]))


Work = IntakeSpec | RecipeSpec | SumsSpec
_WORKS: dict[str, type[IntakeSpec] | type[RecipeSpec] | type[SumsSpec]] = {
    "intake": IntakeSpec,
    "recipe": RecipeSpec,
    "sums": SumsSpec,
}


@dataclass(frozen=True, slots=True)
class AttemptSpec:
    """One execution of a step: the work, and where the store, the project, the log and the scratch space are.

    ``previous`` maps a target (or the source) to the manifest of its last version, to count the changed rows.
    ``helpers`` are further workers whose slots it was given: for its Dask collections, or with ``is_spread`` for pieces
    of a table that it goes through. With ``is_set_apart`` the bytes
    of small inputs lie in its scratch folder (`execute.contents`). With an ``update`` the outputs are made from those
    of ``previous`` and from what changed; what the rule cannot follow runs whole all the same.
    """

    id: str
    step: str
    project: str
    recipes: str
    store: str
    log: str
    scratch: str
    work: Work
    previous: dict[str, Manifest] = field(default_factory=dict)
    helpers: tuple[str, ...] = ()
    is_spread: bool = False
    is_set_apart: bool = False
    update: UpdateSpec | None = None

    @property
    def epoch(self) -> int:
        """The epoch of the builder that made it, from its id (``STEP-EPOCH-RUN-NUMBER``); 0 where that names none."""
        words = self.id.rsplit("-", 3)[1:]
        return int(words[0]) if len(words) == 3 and all(map(str.isdecimal, words)) else 0

    def to_bytes(self) -> bytes:
        """The spec as UTF-8 JSON."""
        value = {n: getattr(self, n) for n in ("id", "step", "project", "recipes", "store", "log", "scratch")}
        value["kind"] = next(kind for kind, made in _WORKS.items() if isinstance(self.work, made))
        value["work"] = self.work.to_json()
        value["previous"] = {n: m.to_json() for n, m in self.previous.items()}
        value["helpers"] = self.helpers
        value["is_spread"] = self.is_spread
        value["is_set_apart"] = self.is_set_apart
        value["update"] = self.update and self.update.to_json()
        return json.dumps(value).encode()

    @staticmethod
    def from_bytes(raw: bytes) -> AttemptSpec:
        """The spec that `to_bytes` wrote."""
        value = json.loads(raw)
        kind = value.pop("kind")
        work = value.pop("work")
        previous = {n: Manifest.from_json(m) for n, m in value.pop("previous").items()}
        spec = _WORKS[kind].from_json(work)
        helpers = tuple(value.pop("helpers"))
        update = value.pop("update")
        update = update and UpdateSpec.from_json(update)
        return AttemptSpec(**value, work=spec, previous=previous, helpers=helpers, update=update)


@dataclass(frozen=True, slots=True)
class Output:
    """One output of an attempt: the target (or source), its manifest, and what differs from its last version.

    ``via`` is the rule that made it, and ``tested`` counts the rows that it looked at. ``is_audited``: a full run
    followed, to compare; ``refuted`` names the rule by which it came out otherwise than by that: this is the latter.
    ``in_pieces``: a full run made it, or confirmed it, that went by the grain.
    """

    name: str
    manifest: Manifest
    difference: tuple[int, int, int] | None = None
    """(added, removed, changed) rows against the last version; None where it has no rows, or nobody counted."""
    via: str = "full"
    tested: int | None = None
    refuted: str = ""
    is_audited: bool = False
    in_pieces: bool = False

    def to_json(self) -> dict[str, Any]:
        """A plain mapping that `from_json` reads."""
        names = ("name", "difference", "via", "tested", "refuted", "is_audited", "in_pieces")
        value = {n: getattr(self, n) for n in names}
        return {**value, "manifest": self.manifest.to_json()}

    @staticmethod
    def from_json(value: dict[str, Any]) -> Output:
        """The output that `to_json` wrote."""
        difference = value["difference"] and tuple(value["difference"])
        manifest = Manifest.from_json(value["manifest"])
        rest = (value[n] for n in ("via", "tested", "refuted", "is_audited", "in_pieces"))
        return Output(value["name"], manifest, difference, *rest)


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """What an attempt sends back: outputs or an error (`BuilderError.to_json`), and what it cost."""

    id: str
    outputs: tuple[Output, ...] = ()
    error: dict[str, Any] | None = None
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_rss_bytes: int = 0

    def to_bytes(self) -> bytes:
        """The record as UTF-8 JSON."""
        value = {n: getattr(self, n) for n in ("id", "error", "wall_s", "cpu_s", "peak_rss_bytes")}
        value["outputs"] = [o.to_json() for o in self.outputs]
        return json.dumps(value).encode()

    @staticmethod
    def from_bytes(raw: bytes) -> AttemptRecord:
        """The record that `to_bytes` wrote."""
        value = json.loads(raw)
        value["outputs"] = tuple(Output.from_json(o) for o in value["outputs"])
        return AttemptRecord(**value)
