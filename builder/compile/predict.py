"""Predicted seconds of steps, from what they and their like took before. Pure.

Decides in this order: the step's own last time, scaled by the bytes it reads now; its recipe's median time per byte,
or median time; the project's median. None where nothing was ever measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

ENOUGH_SEEN = 8
MOST_SEEN = 32
FIXED_S = 0.01
"""What a step costs however little it reads; only the rest is scaled."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a step took when it was last built, and how many bytes it read then."""

    wall_s: float
    bytes_in: int = 0


@dataclass(frozen=True)
class History:
    """What was measured, by step, with the recipe (or source) that each step belongs to."""

    steps: Mapping[str, Measured]
    recipe_of: Mapping[str, str] = field(default_factory=dict)

    def predictor(self) -> Predictor:
        """The predictor that this history makes."""
        by_recipe: dict[str, list[Measured]] = {}
        for name, measured in self.steps.items():
            by_recipe.setdefault(self.recipe_of.get(name, name.partition("[")[0]), []).append(measured)
        typical = median(m.wall_s for m in self.steps.values()) if self.steps else None
        return Predictor(self.steps, by_recipe, typical)


@dataclass(frozen=True)
class Predictor:
    """Gives the predicted seconds of one step after the other."""

    steps: Mapping[str, Measured]
    by_recipe: Mapping[str, list[Measured]]
    typical_s: float | None

    def predict(self, step: str, recipe: str, bytes_in: int | None = None) -> float | None:
        """Predicted seconds of a step; `bytes_in` where it is known what it will read."""
        own = self.steps.get(step)
        if own is not None:
            return scaled(own, bytes_in)
        like = self.by_recipe.get(recipe)
        if not like:
            return self.typical_s
        if bytes_in and all(m.bytes_in for m in like):
            return median(scaled(m, bytes_in) for m in like)
        return median(m.wall_s for m in like)


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


def scaled(measured: Measured, bytes_in: int | None) -> float:
    """A measured time for another amount of input: beyond the fixed cost it grows with the bytes, at most tenfold."""
    if not bytes_in or not measured.bytes_in or measured.wall_s <= FIXED_S:
        return measured.wall_s
    ratio = min(10.0, max(0.1, bytes_in / measured.bytes_in))
    return FIXED_S + (measured.wall_s - FIXED_S) * ratio
