"""A recipe's whole fingerprint: its function, its check and its own update, piece by piece."""

from __future__ import annotations

import json
from typing import Any

from builder.authoring.fingerprint import Fingerprint, fingerprint
from builder.digests import Hasher, digest_of
from builder.graph.declare import ReadyMade, RecipeDecl
from builder.transforms.versions import versions_of


def recipe_print(decl: RecipeDecl, loaded: Any) -> Fingerprint:
    """The fingerprint of a recipe: the function's, joined with its check's where it has one.

    A check counts, for it decides what may become an output. An update rule does not: by law it changes no result.
    """
    made = _ready_print(decl.ready_made) if decl.ready_made else fingerprint(decl.function, loaded)
    if decl.check is None or not callable(decl.check):
        return made
    check = fingerprint(decl.check, loaded)
    items = (*made.items, *((f"check:{s}", d) for s, d in check.items))
    hasher = Hasher("recipe")
    for subject, digest in items:
        hasher.text(subject).text(digest)
    return Fingerprint(hasher.digest(), items)


def _ready_print(made: ReadyMade) -> Fingerprint:
    """The fingerprint of a ready-made recipe: what it asks for, and the versions of the transforms that do it."""
    asked = digest_of("ready-made", made.transform, json.dumps(made.options), *made.by)
    versions = [f"transforms.{version}" for version in versions_of([made.transform])]
    items = tuple(sorted([(f"b.{made.transform}", asked), *((v, digest_of("version", v)) for v in versions)]))
    return Fingerprint(digest_of("fingerprint", *(text for item in items for text in item)), items)
