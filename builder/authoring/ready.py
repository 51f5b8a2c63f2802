"""Ready-made recipes over the transforms: their declarations are checked, running them is not available yet."""

from __future__ import annotations

from typing import Any

from builder.errors import not_available
from builder.names import check_name


def _refuse(word: str, name: str) -> Any:
    from builder.authoring.api import _place

    place = str(_place())
    check_name(name, "recipe", place)
    raise not_available(f"b.{word} (recipe '{name}')", place)


def assign_regions(name: str, **_: Any) -> Any:
    """Declare a recipe that gives each point the region it lies in; not available yet."""
    return _refuse("assign_regions", name)


def count_by(name: str, **_: Any) -> Any:
    """Declare a recipe that counts and sums by columns; not available yet."""
    return _refuse("count_by", name)


def smooth_regions(name: str, **_: Any) -> Any:
    """Declare a recipe that smooths regions; not available yet."""
    return _refuse("smooth_regions", name)


def infer_regions(name: str, **_: Any) -> Any:
    """Declare a recipe that infers regions from points; not available yet."""
    return _refuse("infer_regions", name)
