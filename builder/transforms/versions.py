"""The version of each public transform's algorithm, and which other public transforms it is made of.

Decides when what a transform made before is stale: its version counts up when any input may give another result than
before, also through a module that it shares. Speed and messages do not count. Never imports a transform, so that a
recipe's fingerprint costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

VERSIONS = {
    "Counters": 1,
    "RegionIndex": 1,
    "Rule": 1,
    "adjacency": 1,
    "assign_regions": 1,
    "changed_boxes": 1,
    "check_quality": 1,
    "count_by": 1,
    "deduplicate": 1,
    "dissolve": 1,
    "fold_counts": 1,
    "infer_regions": 1,
    "merge_counts": 1,
    "near": 1,
    "normalise": 1,
    "outliers": 1,
    "patterns": 1,
    "profile": 1,
    "reconcile": 1,
    "repair": 1,
    "require_quality": 1,
    "simplify_regions": 1,
    "smooth_regions": 1,
    "split_antimeridian": 1,
    "split_coordinates": 1,
    "to_crs": 1,
}

USES: dict[str, tuple[str, ...]] = {
    "assign_regions": ("RegionIndex",),
    "check_quality": ("Rule",),
    "infer_regions": ("dissolve",),
    "require_quality": ("Rule",),
}


def versions_of(names: Iterable[str]) -> tuple[str, ...]:
    """``name@version`` of these transforms, and of those that they are made of, in order.

    >>> versions_of(["assign_regions"]) == tuple(f"{n}@{VERSIONS[n]}" for n in ("RegionIndex", "assign_regions"))
    True
    """
    todo, found = list(names), set()
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += USES.get(name, ())
    return tuple(f"{name}@{VERSIONS[name]}" for name in sorted(found))
