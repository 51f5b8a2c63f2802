"""How much each step of a plan will read, and the seconds that this predicts. Pure.

Decides what a dataset that is still to be built will hold: what it holds now, grown as its step's own input has grown
since. A source that is to be taken in grows as its files have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol

from builder.compile.predict import MOST_SCALED, Choice, Forecast, History, Measured, median
from builder.lazy import Lazy
from builder.nouns import dataclass, replace
from builder.plan.plan import Plan
from builder.plan.verdict import Action

NO_WAYS: Mapping[str, Choice] = {}
RESTORE_S = 0.005
MOST_OWN = 3
MOST_LIKE = 32


class Held(Protocol):
    """What the store holds of one dataset."""

    @property
    def bytes(self) -> int:
        """The size of its parts."""

    @property
    def rows(self) -> int:
        """How many rows it has; 0 for what is no table."""


class Seen(Protocol):
    """What one attempt read and took."""

    @property
    def step(self) -> str:
        """The step, or the source."""

    @property
    def wall_s(self) -> float:
        """Its seconds."""

    @property
    def bytes_in(self) -> int:
        """The bytes it read."""

    @property
    def rows_in(self) -> int:
        """The rows it read."""


class Past(Protocol):
    """What a ledger tells of attempts that came to an output."""

    def samples(self, recipes: Iterable[str], most: int = ...) -> Mapping[str, Sequence[Seen]]:
        """The latest of each recipe or source."""

    def last(self, steps: Iterable[str], most: int = ...) -> Mapping[str, Sequence[Seen]]:
        """The latest of each step."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Bytes and rows of something; zeros where they are not known."""

    bytes: int = 0
    rows: int = 0

    def times(self, ratio: float) -> Amount:
        """This much, grown."""
        return Amount(round(self.bytes * ratio), round(self.rows * ratio))


def forecasts(
    plan: Plan, past: Past, held: Mapping[str, Held], ways: Mapping[str, Choice] = NO_WAYS
) -> dict[str, Forecast | None]:
    """The forecast for each intake and step of a plan, in its order, from all that a ledger tells.

    `held` is what the store has of each dataset now, `ways` the choice of each step that may be updated.
    """
    return predictions(plan, recall_history(plan, past), held, ways)


def recall_history(plan: Plan, past: Past) -> History:
    """What was measured of the steps and intakes of a plan, and of the like of those that never ran."""
    recipe_of = _recipe_of(plan)
    steps = {n: _measured(seen) for n, seen in past.last(recipe_of, MOST_OWN).items() if seen}
    unknown = dict.fromkeys(recipe for name, recipe in recipe_of.items() if name not in steps)
    recipes = {r: _measured(seen) for r, seen in past.samples(unknown, MOST_LIKE).items() if seen}
    others: Mapping[str, Sequence[Seen]] = {}
    if unknown and not steps and not recipes:
        others = past.samples(plan.situation.graph.recipes, MOST_LIKE)
    latest = {name: seen[0].wall_s for name, seen in steps.items()}
    for seen in (*recipes.values(), *others.values()):
        for sample in seen:
            latest.setdefault(sample.step, sample.wall_s)
    return History(steps, recipes, median(latest.values()) if latest else None)


def _measured(seen: Sequence[Seen]) -> list[Measured]:
    return [Measured(s.wall_s, s.bytes_in, s.rows_in, s.step) for s in seen]


def _recipe_of(plan: Plan) -> dict[str, str]:
    """The recipe, or source, that each intake and step of a plan belongs to."""
    graph = plan.situation.graph
    found = {name: graph.sources[name].base for name in plan.intakes}
    return found | {name: graph.steps[name].recipe for name in plan.steps}


def predictions(
    plan: Plan, history: History, held: Mapping[str, Held], ways: Mapping[str, Choice] = NO_WAYS
) -> dict[str, Forecast | None]:
    """The forecast for each intake and step of a plan, in its order; None where nothing was ever measured."""
    graph = plan.situation.graph
    amounts = Lazy(held, partial(_held_now, plan, held))
    found: dict[str, Forecast | None] = {}
    for name, recipe in _recipe_of(plan).items():
        is_source = name in graph.sources
        action = plan.sources[name].action if is_source else plan.verdicts[name].action
        if action is Action.RESTORE:
            found[name] = Forecast(RESTORE_S, RESTORE_S, RESTORE_S)
            continue
        if is_source:
            read = Amount(plan.situation.sources[name].bytes)
            outputs: tuple[str, ...] = (name,)
        else:
            read = _sum(amounts, (n for edge in graph.steps[name].edges for n in edge.names))
            outputs = graph.steps[name].targets
        found[name] = chosen(history.predict(name, recipe, read.bytes, read.rows), ways.get(name))
        growth = _growth(history.steps.get(name, ()), read)
        if growth != 1.0:
            for output in outputs:
                if output in amounts:
                    amounts.add(output, amounts[output].times(growth))
    return found


def chosen(forecast: Forecast | None, choice: Choice | None) -> Forecast | None:
    """The forecast of the way that is chosen; as it is where there is no choice, or the way was never measured."""
    if choice is None:
        return forecast
    seconds = choice.update_s if choice.is_update else choice.full_s
    if seconds is None:
        return forecast and replace(forecast, choice=choice)
    return Forecast(seconds, seconds, seconds, choice)


def _held_now(plan: Plan, held: Mapping[str, Held], name: str) -> Amount:
    """What a dataset holds; a source that is read as files, those that are there now, for nothing takes it in."""
    situation = plan.situation
    if name in situation.sources and not situation.is_table(name):
        return Amount(situation.sources[name].bytes)
    return Amount(held[name].bytes, held[name].rows)


def _sum(amounts: Mapping[str, Amount], names: Iterable[str]) -> Amount:
    """All of these together; unknown where one of them is."""
    size, rows = 0, 0
    for name in names:
        amount = amounts.get(name)
        if amount is None:
            return Amount()
        size += amount.bytes
        rows += amount.rows
    return Amount(size, rows)


def _growth(seen: Sequence[Measured], read: Amount) -> float:
    """How much more a step reads now than last time, within bounds; 1 where that is not known."""
    if not seen or not seen[0].bytes_in or not read.bytes:
        return 1.0
    return min(MOST_SCALED, max(1 / MOST_SCALED, read.bytes / seen[0].bytes_in))
