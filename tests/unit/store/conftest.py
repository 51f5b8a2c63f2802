"""A store with a ledger that can be written to in a few words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from builder.digests import Digest, digest_bytes, digest_of
from builder.store.commits import Commit, Committer
from builder.store.ledger import Ledger
from builder.store.manifest import Layer, Manifest, Part
from builder.store.parts import PartFolder
from builder.store.recall import Recall


def key(text: str) -> Digest:
    return digest_of("test key", text)


@dataclass
class Shop:
    """A store, its ledger, and the builder that holds it."""

    store: Path
    ledger: Ledger
    committer: Committer
    run: int = 0

    def manifest(self, content: str, name: str = "") -> Manifest:
        """An output of bytes that lies in the store."""
        relative, path = PartFolder(self.store).fresh(".bin")
        path.write_bytes(content.encode())
        size = PartFolder(self.store).seal(path)
        part = Part(relative, 0, size, name, digest_bytes(content.encode()))
        return Manifest("bytes", digest_of("output", content), (Layer((part,)),), bytes=size)

    def begin(self) -> int:
        """A new run."""
        self.run = self.committer.begin_run(float(self.run))
        return self.run

    def build(self, step: str, inputs: str, **contents: str) -> Digest:
        """Commit a step built from these inputs, with these outputs by target (none: one of the step's name)."""
        if not self.run:
            self.begin()
        outputs = {n: self.manifest(c) for n, c in (contents or {step: f"{step} of {inputs}"}).items()}
        fields = [("source", "s", inputs), ("recipe", step, "code")]
        made = Commit(step, key(step + inputs), fields, outputs, wall_s=1.5)
        self.committer.built(self.run, 100.0, made)
        return made.key

    @property
    def recall(self) -> Recall:
        """What planning sees now."""
        return Recall(self.ledger)

    def parts(self) -> set[str]:
        """Paths of all files that lie in the store as parts."""
        return {p.relative_to(self.store).as_posix() for p in (self.store / "parts").rglob("*") if p.is_file()}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """An empty store under epoch 1."""
    store = tmp_path / "store"
    ledger = Ledger.open(store, create=True)
    yield Shop(store, ledger, Committer.take(ledger))
    ledger.close()


@pytest.fixture
def key_of() -> Callable[[str], Digest]:
    """The key that `Shop.build` commits under."""
    return key


@pytest.fixture(autouse=True)
def _quiet_disk() -> Iterator[Any]:
    """No test leaves its hook behind."""
    from builder.store import disk

    yield
    disk.on_write = None
