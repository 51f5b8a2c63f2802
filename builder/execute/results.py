"""What a recipe returned becomes outputs in the store.

Decides the kind of an output from the type of the value, and its canonical bytes. Never publishes.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from builder.digests import digest_bytes
from builder.errors import BuilderError, error
from builder.graph.declare import RecipeDecl
from builder.store import disk
from builder.store.manifest import Kind, Layer, Manifest, Part, files_digest
from builder.store.parts import PartFolder, inlined

HINT = "return a frame, a pyarrow Table, dict, list, bytes, a matplotlib figure, or a Path in b.workspace()"


class Results:
    """Writes the outputs of one attempt."""

    def __init__(self, decl: RecipeDecl, step: str, folder: PartFolder, scratch: Path, workspace: Path) -> None:
        self.decl = decl
        self.step = step
        self.folder = folder
        self.scratch = scratch
        self.workspace = workspace

    def split(self, value: Any) -> dict[str, Any]:
        """The value of each output by its name; ``""`` names the only one."""
        outputs = self.decl.outputs
        if not outputs:
            return {"": value}
        if not isinstance(value, Mapping) or set(value) != set(outputs):
            got = sorted(map(str, value)) if isinstance(value, Mapping) else type(value).__name__
            raise self._wrong(f"returned {got} in place of its outputs", f"return a dict with {', '.join(outputs)}")
        return {o: value[o] for o in outputs}

    def write(self, value: Any) -> Manifest:
        """The manifest of one output, after writing its parts."""
        if _is_frame(value):
            return self._table(value)
        if self.decl.key or self.decl.columns:
            raise self._wrong(f"returned {_type_name(value)}, but declares key= or columns=", "return a table")
        if isinstance(value, (dict, list)):
            return self._single("json", self._json(value), ".json")
        if isinstance(value, (bytes, bytearray)):
            return self._single("bytes", bytes(value), ".bin")
        if hasattr(value, "savefig"):
            return self._single("figure", _png(value), ".png")
        if isinstance(value, os.PathLike):
            return self._path(Path(value))
        raise self._wrong(f"returned {_type_name(value)}", HINT)

    def _wrong(self, what: str, hint: str) -> BuilderError:
        place = str(self.decl.place)
        return error("result-type", f"'{self.step}' {what}", place=place, hint=hint, target=self.step)

    def _table(self, value: Any) -> Manifest:
        from builder.tables.frames import from_result
        from builder.tables.write import TableWriter, write_table

        decl, place = self.decl, str(self.decl.place)
        if not type(value).__module__.startswith("dask"):
            table, schema = from_result(value, decl.key, decl.columns, recipe=self.step, place=place)
            return write_table(table, schema, self.folder, scratch=self.scratch)
        import dask

        from builder.tables.arrow import conform

        writer = None
        with dask.config.set(scheduler="synchronous"):
            for partition in value.partitions:
                table, found = from_result(partition.compute(), decl.key, decl.columns, recipe=self.step, place=place)
                if writer is None:
                    schema = found
                    writer = TableWriter(self.folder, schema, scratch=self.scratch)
                writer.append(conform(table.select(schema.names), schema, place=place))
        assert writer is not None
        return writer.finish()

    def _single(self, kind: Kind, content: bytes, suffix: str) -> Manifest:
        """An output of one file with this content."""
        part = inlined(content) if self.folder.is_small(len(content)) else self._written(content, suffix)
        return Manifest(kind, files_digest(kind, [("", part.digest)]), (Layer((part,)),), bytes=part.bytes)

    def _written(self, content: bytes, suffix: str) -> Part:
        """A part with this content in a file of its own."""
        relative, path = self.folder.fresh(suffix)
        disk.before("write", path)
        with disk.writing(path):
            path.write_bytes(content)
        return Part(relative, 0, self.folder.seal(path), "", digest_bytes(content))

    def _json(self, value: Any) -> bytes:
        """A JSON value as canonical bytes: keys sorted, so that the order of insertion does not count."""
        try:
            text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1, default=_scalar)
            return text.encode() + b"\n"
        except (TypeError, ValueError) as cause:
            raise self._wrong(
                f"returned a {type(value).__name__} that JSON cannot hold: {cause}",
                "use dicts with text keys, lists, texts, finite numbers, booleans and None",
            ) from cause

    def _path(self, path: Path) -> Manifest:
        """A file or folder that was written in the workspace, moved into the store."""
        root = self.workspace.resolve()
        resolved = (self.workspace / path).resolve()
        if not resolved.exists() or (resolved != root and root not in resolved.parents):
            raise self._wrong(f"returned the path {str(path)!r}, which is not in b.workspace()", HINT)
        found = [self.workspace / path] if resolved.is_file() else sorted(resolved.rglob("*"))
        if any(p.is_symlink() or (root not in p.resolve().parents) for p in found):
            raise self._wrong("wrote a link in its workspace", "write plain files")
        files = [p for p in found if p.is_file()]
        kind: Kind = "file" if resolved.is_file() else "files"
        is_small = self.folder.is_small(sum(p.stat().st_size for p in files))
        take = _read if is_small else self._moved
        parts = [take(p, p.name if kind == "file" else p.relative_to(resolved).as_posix()) for p in files]
        digest = files_digest(kind, [(p.name, p.digest) for p in parts])
        return Manifest(kind, digest, (Layer(tuple(parts)),), bytes=sum(p.bytes for p in parts))

    def _moved(self, path: Path, name: str) -> Part:
        """One file of the workspace as a part."""
        from builder.sense.hashing import hash_file

        relative, target = self.folder.fresh("".join(Path(name).suffixes[-1:])[:16])
        digest = hash_file(str(path))
        disk.replace(path, target)
        return Part(relative, 0, self.folder.seal(target), name, digest)


def _read(path: Path, name: str) -> Part:
    """One small file of the workspace as a part that has its bytes with it."""
    return inlined(path.read_bytes(), name=name)


def _is_frame(value: Any) -> bool:
    """Whether a value is a table of any of the kinds a recipe may return."""
    return any(
        c.__module__.split(".")[0] in ("pandas", "geopandas", "pyarrow", "dask")
        and c.__name__ in ("DataFrame", "Table")
        for c in type(value).__mro__
    )


def _type_name(value: Any) -> str:
    return "nothing" if value is None else f"a value of type {type(value).__name__}"


def _scalar(value: Any) -> Any:
    """A numpy scalar as the Python number it holds."""
    if type(value).__module__ == "numpy" and hasattr(value, "item") and getattr(value, "shape", None) == ():
        return value.item()
    raise TypeError(f"{type(value).__name__} is not JSON")


def _png(figure: Any) -> bytes:
    """A matplotlib figure as PNG without the date or version of who drew it, so that equal figures give equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
