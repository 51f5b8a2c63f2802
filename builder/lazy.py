"""Mappings whose values are made when they are first asked for.

Decides nothing. A look at a project needs a few of thousands of steps, verdicts and versions; to make them all would be
most of its time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, TypeVar

V = TypeVar("V")


class Lazy(Mapping[str, V]):
    """Values by name, each made once.

    Parameters
    ----------
    names
        All names, in order; a lookup in them is quick. A dict where any will be added.
    make
        Gives the value of a name.
    made
        Values that are known already.
    """

    __slots__ = ("_make", "_names", "made")

    def __init__(self, names: Collection[str], make: Callable[[str], V], made: dict[str, V] | None = None) -> None:
        self._names = names
        self._make = make
        self.made = {} if made is None else made

    def __getitem__(self, name: str) -> V:
        made = self.made
        if name in made:
            return made[name]
        if name not in self._names:
            raise KeyError(name)
        value = made[name] = self._make(name)
        return value

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a name; `default` where there is none."""
        if name in self.made:
            return self.made[name]
        return self[name] if name in self._names else default

    def add(self, name: str, value: V) -> None:
        """Put a value that is known now in its place; a new name comes last."""
        self.made[name] = value
        if isinstance(self._names, dict):
            self._names[name] = None

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
