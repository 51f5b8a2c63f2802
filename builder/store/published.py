"""What belongs in ``out/``, and whether a file that was put there was touched since.

Decides which targets are published. Never writes: `store.publish` does.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from builder.digests import digest_of
from builder.graph.graph import Graph


def published_targets(graph: Graph, publish: str | tuple[str, ...], chosen: Iterable[str] = ()) -> frozenset[str]:
    """The targets that belong in ``out/``: as the project says, unless the recipe says otherwise.

    `chosen` are the targets that a list in the project's settings selects.
    """
    wanted = (
        graph.leaves if publish == "leaves" else frozenset(graph.targets) if publish == "all" else frozenset(chosen)
    )
    if all(recipe.publish is None for recipe in graph.recipes.values()):
        return frozenset(t for t in wanted if t in graph.maker)
    found = set()
    for step in graph.steps.values():
        says = graph.recipes[step.recipe].publish
        found |= {t for t in step.targets if (t in wanted if says is None else says)}
    return frozenset(found)


def is_standing(known: tuple[str, str, str] | None, digest: str, out: str) -> bool:
    """Whether a target's file stands in ``out/`` with this digest; `known` is what the ledger says of it."""
    return known is not None and known[0] == digest and known[2] == file_token(os.path.join(out, known[1]))


def file_token(path: str | os.PathLike[str]) -> str:
    """What tells whether a published file, or any in a published folder, was touched: sizes and times; empty: gone."""
    try:
        found = os.stat(path)
        if not stat.S_ISDIR(found.st_mode):
            return f"{found.st_size}:{found.st_mtime_ns}"
        inside = sorted((p.relative_to(path).as_posix(), p.stat()) for p in Path(path).rglob("*") if p.is_file())
    except OSError:
        return ""
    return digest_of("folder", *(f"{name}:{f.st_size}:{f.st_mtime_ns}" for name, f in inside))
