"""A make for data that works at the depth of the record.

``import builder as b``: the words recipes are written in (`source`, `recipe`, `read`, …), and `open` for everything
else. Names are loaded when they are first used, so that importing this package costs nothing.
"""

from __future__ import annotations

from builder.version import VERSION as __version__

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing itself is not imported: it would be most of what a sealed look costs
    from typing import Any

    from builder.authoring.api import groups, lookup, read, recipe, rows, source
    from builder.authoring.ready import assign_regions, count_by, infer_regions, smooth_regions
    from builder.errors import BuilderError
    from builder.execute.workspace import Files, workspace
    from builder.graph.declare import FULL, Delta
    from builder.project import Project, open
    from builder.scaffold import init

_HOMES = {
    **dict.fromkeys(("groups", "lookup", "read", "recipe", "rows", "source"), "builder.authoring.api"),
    **dict.fromkeys(("assign_regions", "count_by", "infer_regions", "smooth_regions"), "builder.authoring.ready"),
    **dict.fromkeys(("FULL", "Delta"), "builder.graph.declare"),
    "BuilderError": "builder.errors",
    **dict.fromkeys(("Files", "workspace"), "builder.execute.workspace"),
    **dict.fromkeys(("Project", "open"), "builder.project"),
    "init": "builder.scaffold",
}

__all__ = [
    "FULL",
    "BuilderError",
    "Delta",
    "Files",
    "Project",
    "__version__",
    "assign_regions",
    "count_by",
    "groups",
    "infer_regions",
    "init",
    "lookup",
    "open",
    "read",
    "recipe",
    "rows",
    "smooth_regions",
    "source",
    "workspace",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'builder' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
