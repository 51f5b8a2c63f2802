"""Predicted seconds of steps, from what they and their like took before. Pure.

Decides in this order: the step's own last times; those of its recipe's steps with the most parameters in common; the
project's median. Each time is scaled to what the step would read now. None where nothing was ever measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from builder.nouns import dataclass, field

ENOUGH_SEEN = 8
MOST_SEEN = 32
FIXED_S = 0.01
"""What a step costs however little it reads; only the rest is scaled."""
COLD_S = 0.1
"""What of a step's only time may have gone into imports and caches of a process that had just begun."""
MOST_SCALED = 10.0
LOW, HIGH = 0.1, 0.9


def median(values: Iterable[float]) -> float:
    """The middle of some values, at least one; between the two in the middle of an even number.

    That of `statistics` takes more time to import than most plans take to make.
    """
    found = sorted(values)
    at = len(found) // 2
    return found[at] if len(found) % 2 else (found[at - 1] + found[at]) / 2


@dataclass(frozen=True, slots=True)
class Measured:
    """What one attempt took, and how much it read; zeros where that is not known."""

    wall_s: float
    bytes_in: int = 0
    rows_in: int = 0
    step: str = ""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Predicted seconds: the middle of what was seen, and the range that eight of ten like it stayed in."""

    s: float
    low_s: float
    high_s: float
    choice: Choice | None = None
    """The update and the full run that it was chosen from, where both can be."""


@dataclass(frozen=True, slots=True)
class Choice:
    """An update or a full run, with the predicted seconds of both; None where nothing was ever measured.

    ``rows`` is how many rows of the input an update has to look at, with `is_most` at most; None where there can be no
    update. ``why`` says why a step runs whole, empty for an update; `is_refused`: its policy lets it fail instead.
    """

    is_update: bool
    update_s: float | None
    full_s: float | None
    rows: int | None
    why: str = ""
    is_most: bool = False
    is_refused: bool = False


@dataclass(frozen=True, slots=True)
class Pace:
    """What a run costs beside its steps: seconds until the first can start, and around each hand-over to a worker."""

    startup_s: float = 0.0
    overhead_s: float = 0.0


@dataclass(frozen=True)
class History:
    """What was measured: the last times of each step, latest first, and those of each recipe or source."""

    steps: Mapping[str, Sequence[Measured]] = field(default_factory=dict)
    recipes: Mapping[str, Sequence[Measured]] = field(default_factory=dict)
    typical_s: float | None = None

    @classmethod
    def of(cls, steps: Mapping[str, Sequence[Measured]], recipe_of: Mapping[str, str] | None = None) -> History:
        """The history that these times make; a step's recipe is told, or the part of its name before the brackets."""
        recipes: dict[str, list[Measured]] = {}
        for name, seen in steps.items():
            like = recipes.setdefault((recipe_of or {}).get(name, name.partition("[")[0]), [])
            like += [Measured(m.wall_s, m.bytes_in, m.rows_in, name) for m in seen[:1]]
        latest = [seen[0].wall_s for seen in steps.values() if seen]
        return cls(steps, recipes, median(latest) if latest else None)

    def predict(self, step: str, recipe: str, bytes_in: int = 0, rows_in: int = 0) -> Forecast | None:
        """The forecast for a step; `bytes_in` and `rows_in` where it is known what it will read, else 0."""
        seen = self.steps.get(step) or nearest(step, self.recipes.get(recipe, ()))
        if seen:
            fixed_s = COLD_S if len(seen) == 1 else FIXED_S
            return _forecast([scaled(m, bytes_in, rows_in, fixed_s) for m in seen])
        return None if self.typical_s is None else _forecast([self.typical_s])


class Experience:
    """What the steps of this very run took so far, for those of which nothing is known."""

    def __init__(self) -> None:
        self._recipes: dict[str, list[float]] = {}
        self._all: list[float] = []

    def add(self, recipe: str, wall_s: float) -> None:
        """Note a step's time; the last ones of each recipe are kept."""
        for seen in (self._recipes.setdefault(recipe, []), self._all):
            seen.append(wall_s)
            if len(seen) > MOST_SEEN:
                del seen[0]

    def of(self, recipe: str) -> float | None:
        """The largest recent time of a recipe's steps, or the median of all; None where too few were seen.

        Between steps of one recipe the largest is taken: a long step that is packed with tiny ones holds them up.
        """
        own = self._recipes.get(recipe)
        if own:
            return max(own)
        return median(self._all) if len(self._all) >= ENOUGH_SEEN else None


def nearest(step: str, like: Sequence[Measured]) -> Sequence[Measured]:
    """Those whose names share the most parameters with a step's; all of them where none is nearer than the others."""
    if len(like) < 2 or "[" not in step:
        return like
    own = _parameters(step)
    shared = [len(own & _parameters(m.step)) for m in like]
    most = max(shared)
    return [m for m, n in zip(like, shared, strict=True) if n == most]


def _parameters(step: str) -> set[str]:
    """The parameters in a step's name, each as it stands there."""
    return set(step.partition("[")[2].rstrip("]").split(","))


def scaled(measured: Measured, bytes_in: int = 0, rows_in: int = 0, fixed_s: float = FIXED_S) -> float:
    """A measured time for another amount of input: beyond the fixed cost it grows with the bytes, or else the rows.

    At most tenfold, either way; unchanged where either amount is not known.
    """
    before, now = (measured.bytes_in, bytes_in) if measured.bytes_in and bytes_in else (measured.rows_in, rows_in)
    if not before or not now or measured.wall_s <= fixed_s:
        return measured.wall_s
    ratio = min(MOST_SCALED, max(1 / MOST_SCALED, now / before))
    return fixed_s + (measured.wall_s - fixed_s) * ratio


def _forecast(seconds: Iterable[float]) -> Forecast:
    """The forecast from at least one time."""
    ordered = sorted(seconds)
    if len(ordered) == 1:
        return Forecast(ordered[0], ordered[0], ordered[0])
    return Forecast(median(ordered), _quantile(ordered, LOW), _quantile(ordered, HIGH))


def _quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which this share of sorted ones lies, between neighbours in proportion."""
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)
