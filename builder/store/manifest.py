"""Manifests: what an output consists of, as plain values.

Decides the digest of an output from its pieces. Never opens a part; imports no table library.

A keyed table is a set of cells. Each cell gives 128 bits of (key, column, value); a column's digest is their sum over
the rows, a row's hash their sum over the columns, both mod 2^128; so a changed row is folded into every digest by one
subtraction and one addition, and neither the order of rows nor the layout of parts counts. A table's digest is the
digest of its schema, its number of rows and the sum of its row hashes. The columns' digests are known of a version that
was written whole, and go on where somebody reads a column alone.
"""

from __future__ import annotations

import builtins
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from builder.digests import Digest, Hasher
from builder.nouns import dataclass, field, replace
from builder.tables.schema import Schema

Kind = Literal["table", "json", "bytes", "figure", "file", "files"]


@dataclass(frozen=True, slots=True)
class Part:
    """One immutable file of the store, or a small one's bytes.

    ``path`` is relative to the store, ``name`` the file's name inside an output of several files. ``digest`` is that of
    the file's bytes; of a table's part, that of the checksums of its columns (`tables.batches`).

    A part with ``content`` lies in no file: it travels with its manifest. Its ``path`` is a fresh name all the same,
    and ``digest`` is that of the content.
    """

    path: str
    rows: int
    bytes: int
    name: str = ""
    digest: str = ""
    content: builtins.bytes | None = None

    def to_json(self) -> list[Any]:
        """A plain list that `from_json` reads."""
        value = [self.path, self.rows, self.bytes, self.name, self.digest]
        if self.content is not None:
            value.append(b2a_base64(self.content, newline=False).decode())
        return value

    @staticmethod
    def from_json(value: list[Any]) -> Part:
        """The part that `to_json` wrote."""
        if len(value) < 6:
            return Part(*value)
        path, rows, size, name, digest, content = value
        return Part(path, rows, size, name, digest, a2b_base64(content))


@dataclass(frozen=True, slots=True)
class Layer:
    """Rows put in by one update: parts of upserts in key order with disjoint ranges, and parts of deleted keys."""

    upserts: tuple[Part, ...]
    deletes: tuple[Part, ...] = ()

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its parts, upserts first."""
        return (*self.upserts, *self.deletes)

    @property
    def rows(self) -> int:
        """How many rows and keys it holds."""
        return sum(p.rows for p in self.parts)

    def to_json(self) -> dict[str, Any]:
        """A plain mapping that `from_json` reads."""
        return {"upserts": [p.to_json() for p in self.upserts], "deletes": [p.to_json() for p in self.deletes]}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Layer:
        """The layer that `to_json` wrote."""
        return Layer(
            tuple(Part.from_json(p) for p in value["upserts"]), tuple(Part.from_json(p) for p in value["deletes"])
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """One version of an output.

    Tables have ``schema``, ``total`` (the sum of their row hashes, 32 hex digits), ``columns`` (column -> the sum of
    its cells' hashes), ``nulls`` (column -> how many; NaN is one) and one or more ``layers``, oldest first. A table
    that was made by an update names the version it was made from in ``base``, and knows the sums of those columns that
    somebody reads apart from others; what was put in is the last layer, or ``delta`` where layers were merged since.
    ``index`` are Arrow parts beside the table, of whoever wrote it.

    All else is one layer of files: ``json``, ``bytes``, ``figure`` and ``file`` have one part, ``files`` any number,
    by ``name``.
    """

    kind: Kind
    digest: Digest
    layers: tuple[Layer, ...]
    rows: int = 0
    bytes: int = 0
    schema: Schema | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    base: Digest | None = None
    nulls: Mapping[str, int] = field(default_factory=dict)
    delta: Layer | None = None
    index: tuple[Part, ...] = ()
    total: str = ""

    @property
    def parts(self) -> tuple[Part, ...]:
        """Every part: those of every layer, then those that no reader of the table needs."""
        return (
            *(p for layer in self.layers for p in layer.parts),
            *(self.delta.parts if self.delta else ()),
            *self.index,
        )

    def split(self) -> list[Manifest]:
        """One table per part, in key order, where there is one layer; else the whole as one."""
        if len(self.layers) != 1:
            return [self]
        alone = replace(self, delta=None, index=())
        return [replace(alone, layers=(Layer((p,)),), rows=p.rows) for p in self.layers[0].upserts]

    @property
    def files(self) -> tuple[Part, ...]:
        """The parts that lie in files of their own."""
        return tuple(p for p in self.parts if p.content is None)

    def without_rows(self) -> Manifest:
        """A table of this schema with no rows."""
        return replace(self, layers=(), rows=0, delta=None, index=())

    def to_json(self) -> dict[str, Any]:
        """A plain mapping that `from_json` reads."""
        value: dict[str, Any] = {
            "kind": self.kind,
            "digest": self.digest,
            "layers": [layer.to_json() for layer in self.layers],
            "rows": self.rows,
            "bytes": self.bytes,
        }
        if self.schema is not None:
            value |= {"schema": self.schema.to_json(), "columns": dict(self.columns), "base": self.base}
            value["total"] = self.total
        if self.nulls:
            value["nulls"] = {name: count for name, count in self.nulls.items() if count}
        if self.delta is not None:
            value["delta"] = self.delta.to_json()
        if self.index:
            value["index"] = [p.to_json() for p in self.index]
        return value

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Manifest:
        """The manifest that `to_json` wrote."""
        schema = None if value.get("schema") is None else Schema.from_json(value["schema"])
        nulls = value.get("nulls")
        return Manifest(
            kind=value["kind"],
            digest=Digest(value["digest"]),
            layers=tuple(Layer.from_json(layer) for layer in value["layers"]),
            rows=value["rows"],
            bytes=value["bytes"],
            schema=schema,
            columns=value.get("columns", {}),
            base=None if value.get("base") is None else Digest(value["base"]),
            nulls={} if schema is None or nulls is None else dict.fromkeys(schema.names, 0) | nulls,
            delta=None if value.get("delta") is None else Layer.from_json(value["delta"]),
            index=tuple(Part.from_json(p) for p in value.get("index", ())),
            total=value.get("total", ""),
        )


def layers_between(old: Manifest, new: Manifest) -> tuple[Layer, ...] | None:
    """Layers that hold all that leads from one version to another, as far as manifests tell; None: they do not."""
    if old.digest == new.digest:
        return ()
    count = len(old.layers)
    if [[p.path for p in la.parts] for la in new.layers[:count]] == [[p.path for p in la.parts] for la in old.layers]:
        return new.layers[count:]
    if new.base == old.digest:
        return new.layers[-1:] if new.delta is None else (new.delta,)
    return None


def table_digest(schema: Schema, rows: int, total: str) -> Digest:
    """The digest of a table, by the sum of its row hashes."""
    return Hasher("table").text(schema.digest()).number(rows).text(total).digest()


def sum_text(value: int) -> str:
    """A sum of hashes, mod 2^128, as 32 hex digits."""
    return f"{value % (1 << 128):032x}"


def empty_table(schema: Schema) -> Manifest:
    """A table of no rows, which needs no part."""
    none = sum_text(0)
    columns, nulls = dict.fromkeys(schema.names, none), dict.fromkeys(schema.names, 0)
    digest = table_digest(schema, 0, none)
    return Manifest("table", digest, (), schema=schema, columns=columns, nulls=nulls, total=none)


def read_digest(manifest: Manifest, names: Iterable[str] | None) -> Digest | None:
    """What a reader of these columns depends on; None as names: of all of them, or of an output that is no table.

    None where the sum of one of these columns is not known: they are `unsummed`.

    Raises
    ------
    KeyError
        A column that the table does not have.
    """
    if names is None or manifest.schema is None:
        return manifest.digest
    schema = manifest.schema.select(manifest.schema.named(names))
    if schema == manifest.schema:
        return manifest.digest
    hasher = Hasher("columns").text(schema.digest()).number(manifest.rows)
    for name in schema.names:
        if name not in manifest.columns:
            return None
        hasher.text(manifest.columns[name])
    return hasher.digest()


def unsummed(manifest: Manifest, names: Iterable[str]) -> tuple[str, ...]:
    """Columns among these whose sum is not known.

    Raises
    ------
    KeyError
        A column that the table does not have.
    """
    assert manifest.schema is not None
    return tuple(name for name in manifest.schema.named(names) if name not in manifest.columns)


def files_digest(kind: Kind, files: Iterable[tuple[str, str]]) -> Digest:
    """The digest of an output of files, from pairs of a name relative to the output and the content's digest."""
    hasher = Hasher(kind)
    for name, digest in sorted(files):
        hasher.text(name).text(digest)
    return hasher.digest()
