"""What the ledger knows, as planning asks for it: read once per command, then answered from memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from builder.digests import Digest
from builder.lazy import Lazy
from builder.store.ledger import Ledger
from builder.store.manifest import Manifest
from builder.store.records import Current, Failure, Field

_AHEAD = 250
"""How many keys are read at once where the fields behind one of them are asked for."""

_MOST_TRACES = 4096


class Recall:
    """Answers planning's questions from a ledger; `reload` after commits of others."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._steps: list[str] = []
        self.reload()

    def reload(self) -> None:
        """Read all pointers and failures again."""
        self._rows: dict[str, tuple[Any, ...]] = {row[0]: row for row in self.ledger.current_rows()}
        self.currents: Mapping[str, Current] = Lazy(self._rows, lambda name: Current.of(self._rows[name]))
        self.failures: dict[str, Failure] = self.ledger.failures()
        self._made_by = self.ledger.all_made_by()
        self._keys = {row[2] for row in self._rows.values()}
        self._by_step: dict[str, list[tuple[Any, ...]]] = {}
        for row in self._rows.values():
            self._by_step.setdefault(row[1], []).append(row)
        self._fields: dict[str, str | None] = {}
        self._place: dict[str, int] = {}
        self._traces: dict[str, dict[str, tuple[int, Digest]]] = {}

    @property
    def text(self) -> str:
        """All that planning may learn of present versions and failures, as one text: equal texts, equal answers."""
        lines = [f"{r[0]}\0{r[1]}\0{r[2]}\0{r[3]}\0{r[4]}" for r in self._rows.values()]
        failures = (f"{f.step}\0{f.key}" for f in self.failures.values())
        return "\n".join((*lines, "", *failures, "", *(f"{key}\0{made_by}" for key, made_by in self._made_by.items())))

    def expect(self, steps: Iterable[str]) -> None:
        """Hear that these steps will be judged in this order, so that their fields are not read one by one."""
        self._steps = list(steps)
        self._place = {}

    def built_key(self, step: str) -> Digest | None:
        """The key under which all present outputs of a step were built; None where they differ or there are none."""
        rows = self._by_step.get(step)
        if not rows or (len(rows) > 1 and len({row[2] for row in rows}) > 1):
            return None
        return Digest(rows[0][2])

    def current_key(self, name: str) -> Digest | None:
        """The key of the present version of one source or target."""
        row = self._rows.get(name)
        return None if row is None else Digest(row[2])

    def trace(self, key: Digest) -> dict[str, tuple[int, Digest]]:
        """Manifest and digest of each output built under a key before this command; asked for again and again."""
        found = self._traces.get(key)
        if found is None:
            found = self._traces[key] = self.ledger.trace(key)
            if len(self._traces) > _MOST_TRACES:
                del self._traces[next(iter(self._traces))]
        return found

    def forget_traces(self) -> None:
        """Hear that the ledger may have lost traces that were asked for before."""
        self._traces.clear()

    def present(self, step: str, key: Digest) -> dict[str, tuple[int, Digest]]:
        """Manifest and digest of each present output of a step that was built under this key."""
        return {row[0]: (row[3], Digest(row[4])) for row in self._by_step.get(step, ()) if row[2] == key}

    def fields(self, key: Digest) -> list[Field]:
        """The fields behind a key."""
        if key not in self._fields:
            self._read_ahead(key)
        return self.ledger.fields_from(self._fields.pop(key))

    def _read_ahead(self, key: Digest) -> None:
        """Read the fields behind a key, and with them those behind the keys of the steps that are judged next."""
        if not self._place:
            self._place = {rows[0][2]: at for at, s in enumerate(self._steps) if (rows := self._by_step.get(s))}
        keys = [str(key)]
        at = self._place.get(key)
        if at is not None:
            following = (rows[0][2] for s in self._steps[at + 1 : at + _AHEAD] if (rows := self._by_step.get(s)))
            keys += [k for k in following if k not in self._fields]
        self._fields |= {**dict.fromkeys(keys), **self.ledger.field_texts(keys)}

    def made_by(self, key: Digest) -> str:
        """By what outputs were made under a key, one of `RecipeNode.made_by`."""
        return self._made_by.get(key, "") if key in self._keys else self.ledger.made_by(key)

    def failed_key(self, step: str) -> Digest | bool | None:
        """The key at which a step failed last; False where it did not."""
        failure = self.failures.get(step)
        return False if failure is None else failure.key

    def manifest(self, number: int) -> Manifest:
        """A manifest by its number."""
        return self.ledger.manifest(number)
