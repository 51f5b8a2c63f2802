"""A recipe's whole fingerprint: its function, its check and its own update, piece by piece."""

from __future__ import annotations

from typing import Any

from builder.authoring.fingerprint import Fingerprint, fingerprint
from builder.digests import Hasher
from builder.graph.declare import RecipeDecl


def recipe_print(decl: RecipeDecl, loaded: Any) -> Fingerprint:
    """The fingerprint of a recipe: the function's, joined with its check's where it has one.

    A check counts, for it decides what may become an output. An update rule does not: by law it changes no result.
    """
    made = fingerprint(decl.function, loaded)
    if decl.check is None or not callable(decl.check):
        return made
    check = fingerprint(decl.check, loaded)
    items = (*made.items, *((f"check:{s}", d) for s, d in check.items))
    hasher = Hasher("recipe")
    for subject, digest in items:
        hasher.text(subject).text(digest)
    return Fingerprint(hasher.digest(), items)
