"""What the ledger knows, as planning asks for it: read once per command, then answered from memory."""

from __future__ import annotations

from builder.digests import Digest
from builder.store.ledger import Current, Failure, Field, Ledger
from builder.store.manifest import Manifest


class Recall:
    """Answers planning's questions from a ledger; `reload` after commits of others."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.reload()

    def reload(self) -> None:
        """Read all pointers and failures again."""
        self.currents: dict[str, Current] = self.ledger.currents()
        self.failures: dict[str, Failure] = self.ledger.failures()
        self._by_step: dict[str, dict[str, Current]] = {}
        for current in self.currents.values():
            self._by_step.setdefault(current.step, {})[current.name] = current

    def built_key(self, step: str) -> Digest | None:
        """The key under which all present outputs of a step were built; None where they differ or there are none."""
        keys = {c.key for c in self._by_step.get(step, {}).values()}
        return keys.pop() if len(keys) == 1 else None

    def current_key(self, name: str) -> Digest | None:
        """The key of the present version of one source or target."""
        current = self.currents.get(name)
        return None if current is None else current.key

    def trace(self, key: Digest) -> dict[str, tuple[int, Digest]]:
        """Manifest and digest of each output built under a key."""
        return self.ledger.trace(key)

    def present(self, step: str, key: Digest) -> dict[str, tuple[int, Digest]]:
        """Manifest and digest of each present output of a step that was built under this key."""
        found = self._by_step.get(step, {})
        return {c.name: (c.manifest_id, c.digest) for c in found.values() if c.key == key}

    def fields(self, key: Digest) -> list[Field]:
        """The fields behind a key."""
        return self.ledger.fields(key)

    def failed_key(self, step: str) -> Digest | bool | None:
        """The key at which a step failed last; False where it did not."""
        failure = self.failures.get(step)
        return False if failure is None else failure.key

    def manifest(self, number: int) -> Manifest:
        """A manifest by its number."""
        return self.ledger.manifest(number)
