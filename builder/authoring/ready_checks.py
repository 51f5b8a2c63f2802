"""What all ready-made recipes have in common: how their words are called, and what a keyword's value may be.

Decides how a wrong declaration is told, where it stands. Never knows what a transform does.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from builder.authoring.api import NO_DOT, Recipe, has_dot, place_of_call, recipe
from builder.authoring.ready_call import ReadyCall
from builder.errors import BuilderError, error
from builder.graph.declare import Grain, Place, ReadyMade
from builder.names import PARAMETER

KEYWORDS = frozenset(inspect.signature(recipe).parameters) - {"function", "name"}
"""The keywords of `recipe`, which ready-made recipes take too."""

_OWN = {
    "inputs": "a ready-made recipe names its inputs itself: points=, regions=, of=",
    "outputs": "a ready-made recipe has one output",
    "grain": 'a ready-made recipe knows how its rows depend on its inputs; policy="full" always runs it whole',
}


def checked(word: Callable[..., Recipe]) -> Callable[..., Recipe]:
    """The word after the check that it is called with keywords it has, and with all that it needs."""
    signature = inspect.signature(word)
    named = word.__name__
    own = [name for name, p in signature.parameters.items() if p.kind is not p.VAR_KEYWORD]

    @functools.wraps(word)
    def called(*args: Any, **keywords: Any) -> Recipe:
        place = place_of_call()
        for name in keywords:
            if name in _OWN:
                raise error("recipe-declaration", f"b.{named} has {name}=", place=str(place), hint=_OWN[name])
            if name not in own and name not in KEYWORDS:
                near = difflib.get_close_matches(name, [*own, *sorted(KEYWORDS)], n=1)
                hint = f"did you mean {near[0]}=?" if near else f"it has {', '.join(own[1:])} and those of b.recipe"
                raise error("recipe-declaration", f"b.{named} has no keyword '{name}'", place=str(place), hint=hint)
        try:
            signature.bind(*args, **keywords)
        except TypeError as cause:
            needed = [n for n in own[1:] if signature.parameters[n].default is inspect.Parameter.empty]
            hint = f"b.{named}(name, {', '.join(f'{n}=…' for n in needed)})"
            raise error("recipe-declaration", f"b.{named}: {cause}", place=str(place), hint=hint) from None
        return word(*args, **keywords)

    return called


class Check:
    """Refuses what is wrong in one declaration, where it stands."""

    def __init__(self, word: str, name: object) -> None:
        self.place: Place = place_of_call()
        self.who = f"b.{word} ('{name}')"

    def wrong(self, keyword: str, value: object, hint: str) -> BuilderError:
        """The error for a keyword's value."""
        return error("recipe-declaration", f"{keyword}= of {self.who} is {value!r}", place=str(self.place), hint=hint)

    def reference(self, keyword: str, value: object) -> str:
        """A reference: a text, or a recipe that was declared before."""
        if isinstance(value, Recipe):
            return value.name
        if isinstance(value, str) and value:
            return value
        raise self.wrong(keyword, value, "give the name of a source or target")

    def column(self, keyword: str, value: object) -> str:
        """A column's name."""
        if isinstance(value, str) and value:
            return value
        raise self.wrong(keyword, value, "give a column's name")

    def columns(self, keyword: str, value: object, *, may_be_empty: bool = False) -> tuple[str, ...]:
        """Columns' names, each once."""
        given = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else (None,)
        names = tuple(c for c in given if isinstance(c, str) and c)
        if len(names) < len(given) or len(set(names)) < len(names) or not (names or may_be_empty):
            raise self.wrong(keyword, value, "give a list of columns, each once")
        if keyword == "by" and has_dot(names):
            raise self.wrong(keyword, value, NO_DOT)
        return names

    def renamed(self, keyword: str, value: object) -> dict[str, str]:
        """Columns by the name they get, from a mapping ``{new: column}``."""
        if not isinstance(value, Mapping) or not all(isinstance(t, str) and t for kv in value.items() for t in kv):
            raise self.wrong(keyword, value, 'give a mapping from new columns to columns: {"people": "population"}')
        if keyword == "region_id" and has_dot((*value, *value.values())):
            raise self.wrong(keyword, value, NO_DOT)
        return dict(value)

    def numbers(
        self, given: Mapping[str, object], method: str, methods: Mapping[str, Collection[str]]
    ) -> dict[str, Any]:
        """The options that were given, each a number of 0 or more or a parameter alone, and of this method."""
        found = {keyword: value for keyword, value in given.items() if value is not None}
        for keyword, value in found.items():
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf
            if not is_number and not (isinstance(value, str) and PARAMETER.fullmatch(value)):
                raise self.wrong(keyword, value, "give a number of 0 or more")
        self.belong(found, method, methods)
        return found

    def belong(self, given: Mapping[str, object], method: str, methods: Mapping[str, Collection[str]]) -> None:
        """Refuse an option that the method does not have; of a method that is not known yet none."""
        for keyword, value in given.items():
            if value is not None and keyword not in methods.get(method, given):
                fitting = [m for m, options in methods.items() if keyword in options]
                raise self.wrong(keyword, value, f"it goes with method={' or '.join(map(repr, fitting))}")

    def choice(self, keyword: str, value: object, among: Collection[object]) -> object:
        """One of several values, or a text with a ``{param}`` that will be one."""
        if value in among or (isinstance(value, str) and PARAMETER.search(value)):
            return value
        raise self.wrong(keyword, value, "it is one of " + ", ".join(map(str, among)))


def declare(name: str, made: ReadyMade, grain: Grain, keywords: Mapping[str, Any]) -> Recipe:
    """The recipe over a transform, after registering it."""
    declared: Recipe = recipe(name=name, grain=grain, **keywords)(ReadyCall(name, made))
    object.__setattr__(declared.decl, "ready_made", made)
    return declared
