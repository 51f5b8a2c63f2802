"""How targets stand, one by one and all together.

Decides nothing: a plan's verdicts are told. Of thousands of targets most are fresh, and few reports tell of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from builder.names import Params
from builder.nouns import dataclass
from builder.plan.verdict import Reason, State


@dataclass(frozen=True, slots=True)
class TargetStatus:
    """How one target stands, and why."""

    name: str
    recipe: str
    params: Params
    state: State
    reasons: tuple[Reason, ...]
    predicted_s: float | None
    lanes: tuple[tuple[str, int], ...]
    roots: tuple[tuple[str, str], ...] = ()


class Targets(Sequence[TargetStatus]):
    """How these targets stand, in their order, each told when it is asked for.

    Parameters
    ----------
    names
        All of them.
    stale
        Those among them that are not fresh, in the same order.
    tell
        Says how a target stands.
    """

    def __init__(self, names: Sequence[str], stale: Sequence[str], tell: Callable[[str], TargetStatus]) -> None:
        self.names = names
        self.stale = tuple(map(tell, stale))
        self._tell = tell

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, at: Any) -> Any:
        return tuple(map(self._tell, self.names[at])) if isinstance(at, slice) else self._tell(self.names[at])

    def __iter__(self) -> Iterator[TargetStatus]:
        return map(self._tell, self.names)


def names_of(targets: Sequence[TargetStatus]) -> Sequence[str]:
    """The names of targets."""
    return targets.names if isinstance(targets, Targets) else [t.name for t in targets]


def stale_among(targets: Sequence[TargetStatus]) -> Sequence[TargetStatus]:
    """The targets that are not fresh."""
    return targets.stale if isinstance(targets, Targets) else [t for t in targets if t.state is not State.FRESH]
