"""Sources in a folder of their own, and what taking them in gives."""

import gzip
import os
from pathlib import Path

import pytest
from blake3 import blake3

from builder.digests import Digest
from builder.errors import BuilderError
from builder.execute.spec import IntakeSpec
from builder.formats.intake import take_in
from builder.formats.kinds import kind_of
from builder.sources import SourceFile
from builder.store.parts import PartFolder
from builder.tables.read import read_table


def sensed(path: Path) -> SourceFile:
    """A file as sensing gives it."""
    stat = os.stat(path)
    token = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev)
    digest = Digest(blake3(path.read_bytes()).hexdigest())
    return SourceFile(path.name, str(path), f"data/{path.name}", stat.st_size, digest, token)


class Source:
    """A source's folder: write files, then take them in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "data"
        self.folder.mkdir()
        self.store = folder / "store"
        self.scratch = folder / "scratch"

    def write(self, name: str, content: str | bytes) -> Path:
        """A file with this content, packed where its name ends in .gz."""
        raw = content.encode() if isinstance(content, str) else content
        path = self.folder / name
        path.write_bytes(gzip.compress(raw, mtime=0) if name.endswith(".gz") else raw)
        return path

    def spec(self, *names: str, **rest) -> IntakeSpec:
        """The spec of these files, or of all in name order."""
        paths = [self.folder / n for n in names] or sorted(self.folder.iterdir())
        kind = rest.pop("format", kind_of(paths[0].name)[0])
        return IntakeSpec("shops", kind, tuple(sensed(p) for p in paths), pin_shown="schemas/shops.json", **rest)

    def take(self, *names: str, **rest):
        """(table, schema, manifest) of these files."""
        taken = take_in(self.spec(*names, **rest), PartFolder(self.store), self.scratch)
        return read_table(self.store, taken.manifest), taken.schema, taken.manifest

    def rows(self, *names: str, **rest) -> dict:
        """The columns of these files as lists."""
        return self.take(*names, **rest)[0].to_pydict()

    def dtypes(self, *names: str, **rest) -> dict:
        """The dtypes of these files' columns."""
        return {c.name: c.dtype for c in self.take(*names, **rest)[1].columns}

    def error(self, *names: str, **rest) -> BuilderError:
        """The error that taking these files in gives; it leaves nothing behind that counts."""
        with pytest.raises(BuilderError) as caught:
            self.take(*names, **rest)
        assert caught.value.target == "shops"
        assert caught.value.hint
        return caught.value


@pytest.fixture
def source(tmp_path):
    return Source(tmp_path)
