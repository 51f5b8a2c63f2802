"""A recipe's fingerprint: everything of the project's own code and values that its function reaches.

Decides what counts as a change of a recipe. Code counts as its syntax tree, without comments, docstrings and layout;
what a name stands for counts by value; libraries by name alone. Where code is dynamic, or a value cannot be compared,
the whole module counts. Never runs a recipe.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from builder.authoring.definitions import captured, unwrapped
from builder.authoring.load import Loaded
from builder.authoring.reach import Descriptions, Ref
from builder.authoring.views import View, Views
from builder.digests import Digest, digest_of


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The digest of all that a recipe's function reaches, and its items: pairs of a subject and a digest, by subject.

    Subjects: ``clean_airports`` the function itself, ``default:min_size``, ``closure:threshold``,
    ``helpers.normalise``, ``helpers.LIMIT``, ``module:helpers`` where a module counts whole,
    ``transforms.assign_regions@1``.
    """

    digest: Digest
    items: tuple[tuple[str, Digest], ...]


def fingerprint(function: Callable[..., Any], loaded: Loaded) -> Fingerprint:
    """What `function` is, and all that it reaches in the project; the same in every process and for every hash seed.

    A helper that the function imports where it runs is imported now.
    """
    function = unwrapped(function)
    if "descriptions" not in loaded.described:
        loaded.described["descriptions"] = Descriptions(loaded)
    state: Descriptions = loaded.described["descriptions"]
    items, refs = _root_items(function, state)
    done: set[Ref] = {home} if (home := state.home(function)) else set()
    waiting = sorted(refs - done)
    while waiting:
        ref = waiting.pop()
        if ref not in done:
            done.add(ref)
            described = state.described(ref)
            items[described.subject] = described.digest
            waiting.extend(described.refs - done)
    ordered = tuple(sorted(items.items()))
    return Fingerprint(digest_of("fingerprint", *(text for item in ordered for text in item)), ordered)


def _root_items(function: Callable[..., Any], state: Descriptions) -> tuple[dict[str, Digest], set[Ref]]:
    """The items of the function itself: its code, each default and each closure cell."""
    refs: set[Ref] = set()
    name = getattr(function, "__qualname__", type(function).__name__)
    view = state.views.of_function(function) if isinstance(function, FunctionType) else None
    if view is None or not isinstance(function, FunctionType):
        return {name: state.value(function, _innermost_view(function, state.views), refs)}, refs
    items = {name: state.code(function, view, refs)}
    for kind, key, value in captured(function):
        items[f"{kind}:{key}"] = state.value(value, view, refs)
    return items, refs


def _innermost_view(function: Any, views: Views) -> View | None:
    """The module of the user's function inside of what a library's decorators made of it."""
    inner = inspect.unwrap(function) if callable(function) else function
    return views.of_function(inner) if isinstance(inner, FunctionType) else None
