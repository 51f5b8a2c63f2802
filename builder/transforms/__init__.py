"""Free functions on frames and arrays: regions, geometry, counters, records. They know nothing of builds.

``from builder import transforms as t``: names are loaded when they are first used, so that this import costs nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from builder.transforms.adjacent import adjacency
    from builder.transforms.antimeridian import split_antimeridian
    from builder.transforms.assign import assign_regions
    from builder.transforms.coordinates import split_coordinates
    from builder.transforms.count import Counters, count_by, fold_counts, merge_counts
    from builder.transforms.crs import to_crs
    from builder.transforms.dissolving import dissolve
    from builder.transforms.duplicates import deduplicate
    from builder.transforms.infer import infer_regions
    from builder.transforms.normalising import normalise
    from builder.transforms.outlying import outliers
    from builder.transforms.profiling import profile
    from builder.transforms.quality import check_quality, require_quality
    from builder.transforms.reconciling import reconcile
    from builder.transforms.region_changes import changed_boxes, near
    from builder.transforms.region_index import RegionIndex
    from builder.transforms.repairing import repair
    from builder.transforms.rules import Rule
    from builder.transforms.simplify import simplify_regions
    from builder.transforms.smooth import smooth_regions
    from builder.transforms.text_formats import patterns

_HOMES = {
    "Counters": "builder.transforms.count",
    "RegionIndex": "builder.transforms.region_index",
    "Rule": "builder.transforms.rules",
    "adjacency": "builder.transforms.adjacent",
    "assign_regions": "builder.transforms.assign",
    "changed_boxes": "builder.transforms.region_changes",
    "check_quality": "builder.transforms.quality",
    "count_by": "builder.transforms.count",
    "deduplicate": "builder.transforms.duplicates",
    "dissolve": "builder.transforms.dissolving",
    "fold_counts": "builder.transforms.count",
    "infer_regions": "builder.transforms.infer",
    "merge_counts": "builder.transforms.count",
    "near": "builder.transforms.region_changes",
    "normalise": "builder.transforms.normalising",
    "outliers": "builder.transforms.outlying",
    "patterns": "builder.transforms.text_formats",
    "profile": "builder.transforms.profiling",
    "reconcile": "builder.transforms.reconciling",
    "repair": "builder.transforms.repairing",
    "require_quality": "builder.transforms.quality",
    "simplify_regions": "builder.transforms.simplify",
    "smooth_regions": "builder.transforms.smooth",
    "split_antimeridian": "builder.transforms.antimeridian",
    "split_coordinates": "builder.transforms.coordinates",
    "to_crs": "builder.transforms.crs",
}

__all__ = [
    "Counters",
    "RegionIndex",
    "Rule",
    "adjacency",
    "assign_regions",
    "changed_boxes",
    "check_quality",
    "count_by",
    "deduplicate",
    "dissolve",
    "fold_counts",
    "infer_regions",
    "merge_counts",
    "near",
    "normalise",
    "outliers",
    "patterns",
    "profile",
    "reconcile",
    "repair",
    "require_quality",
    "simplify_regions",
    "smooth_regions",
    "split_antimeridian",
    "split_coordinates",
    "to_crs",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
