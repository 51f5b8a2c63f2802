"""The expanded graph of a project, from its recipes or, when nothing they depend on changed, from a cache.

Decides when recipes must be loaded again: when a recipe file, a file, folder or variable they read while loading, the
members of a family, the lanes, or the versions of Python, builder and its transforms differ. The cache is JSON; a lost
one costs a load, never a wrong answer.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from builder.authoring.variables import variable_digest
from builder.digests import Digest, digest_of
from builder.errors import error
from builder.graph.declare import Place, RecipeDecl, SourceDecl
from builder.graph.graph import Graph, RecipeNode
from builder.names import Params, parse_reference, value_json, value_text
from builder.nouns import dataclass
from builder.transforms.versions import VERSIONS, versions_of
from builder.version import VERSION

CACHE_FORMAT = 4
"""Counts up when the cache holds other fields, or when what it held was not right."""

Members = Mapping[str, tuple[Params, ...]]
ListMembers = Callable[[Iterable[SourceDecl]], Members]
DigestsOf = Callable[[Iterable[str]], Mapping[str, str]]
HasStood = Callable[[str, int], bool]


@dataclass(frozen=True, slots=True)
class Templates:
    """A project's sources as declared, its expanded graph, and the digest of its recipe files."""

    sources: Mapping[str, SourceDecl]
    graph: Graph
    bundle: Digest
    listed: tuple[str, ...] = ()
    """Folders that the recipes listed while they loaded."""
    has_variables: bool = False
    """Whether they read the process's environment."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the caller knows of the project and can find out for the cache.

    ``installed`` is the digest of the installed libraries, whose constants a recipe may have captured. ``digests``
    gives the content digest of files by path as recorded (relative to the project, or absolute), without those that are
    not there; ``members`` lists the families of sources. ``has_stood`` tells whether a file or folder surely is as it
    was at a time (ns).
    """

    project: Path
    recipes: Path
    store: Path
    lanes: Mapping[str, int]
    installed: str
    digests: DigestsOf
    members: ListMembers
    has_stood: HasStood


def recipe_files(folder: Path) -> list[str]:
    """The Python files of a recipes folder, relative to it, in order."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".") and f != "__pycache__"]
        inside = os.path.relpath(root, folder)
        found += [n if inside == "." else f"{inside}/{n}" for n in names if n.endswith(".py") and not n.startswith(".")]
    return sorted(found)


def listing_digest(folder: str) -> str:
    """The digest of a folder's entries; empty where there is no such folder."""
    try:
        return digest_of("listing", *sorted(os.listdir(folder)))
    except OSError:
        return ""


def from_cache(cached: Any, around: Surroundings) -> Templates | None:
    """The templates of a cached graph; None where something it depends on changed."""
    if not isinstance(cached, dict) or cached.get("made_by") != _made_by(around):
        return None
    if cached["recipes"] != recipe_files(around.recipes):
        return None
    found = around.digests(cached["files"])
    if any(found.get(path, "") != digest for path, digest in cached["files"].items()):
        return None
    if any(listing_digest(folder) != digest for folder, digest in cached["listed"].items()):
        return None
    if any(variable_digest(os.environ.get(name)) != digest for name, digest in cached["variables"].items()):
        return None
    sources = {base: _source_from_json(s) for base, s in cached["sources"].items()}
    families = [s for s in sources.values() if parse_reference(s.name).bracketed]
    if _members_json(around.members(families)) != cached["members"]:
        return None
    if not (around.store / "bundles" / f"{cached['bundle']}.zip").exists():
        return None
    graph, bundle = Graph.from_json(cached["graph"]), Digest(cached["bundle"])
    return Templates(sources, graph, bundle, tuple(cached["listed"]), bool(cached["variables"]))


def from_recipes(around: Surroundings) -> tuple[Templates, dict[str, Any] | None]:
    """The templates of a project's recipes, loaded now, and what to keep in the cache.

    None is to be kept where what they read while loading may have changed meanwhile: what they took from it is not
    known to be what stands there now.

    Raises
    ------
    ConfigError, GraphError
        Whatever is wrong with the recipes.
    """
    from builder.authoring.load import load, read_bundle
    from builder.graph.expand import Expansion

    if not around.recipes.is_dir():
        shown = os.path.relpath(around.recipes, around.project)
        raise error(
            "config",
            f"the recipes folder '{shown}' is not there",
            place=shown,
            hint='put it back, or name it in builder.toml: recipes = "…"',
        )
    before = around.digests(_recipe_paths(around))
    bundle = read_bundle(around.recipes)
    began_ns = time.time_ns()
    loaded = load(bundle, around.recipes, around.project)
    sources = {parse_reference(d.name).base: d for d in loaded.declarations if isinstance(d, SourceDecl)}
    members = around.members([s for s in sources.values() if parse_reference(s.name).bracketed])
    expansion = Expansion(loaded.declarations, members, around.lanes)
    graph = expansion.graph(lambda decl: recipe_node(decl, loaded))
    files = {**before, **around.digests(loaded.opened)}
    cached = {
        "made_by": _made_by(around),
        "recipes": recipe_files(around.recipes),
        "files": {path: files.get(path, "") for path in (*_recipe_paths(around), *loaded.opened)},
        "listed": {folder: listing_digest(folder) for folder in loaded.listed},
        "variables": dict(loaded.watch.variables),
        "sources": {base: _source_to_json(s) for base, s in sources.items()},
        "members": _members_json(members),
        "bundle": bundle.digest,
        "graph": graph.to_json(),
    }
    read = [os.path.join(around.project, path) for path in (*loaded.opened, *loaded.listed)]
    has_stood = all(around.has_stood(path, began_ns) for path in read)
    keep_bundle(around.store, bundle.digest, bundle.to_zip())
    listed, has_variables = tuple(cached["listed"]), bool(cached["variables"])
    return Templates(sources, graph, bundle.digest, listed, has_variables), cached if has_stood else None


def keep_bundle(store: Path, digest: Digest, content: bytes) -> None:
    """Lay the recipe files where workers find them, by digest."""
    from builder.errors import BuilderError
    from builder.store.disk import write_whole

    path = store / "bundles" / f"{digest}.zip"
    if not path.exists():
        try:
            write_whole(path, content)
        except BuilderError:  # a report on a store that cannot be written; a rebuild says so itself
            return


def recipe_node(decl: RecipeDecl, loaded: Any) -> RecipeNode:
    """What planning needs of a recipe: its fingerprint, and its output's declaration."""
    from builder.authoring.fingerprint import fingerprint
    from builder.authoring.prints import recipe_print

    found = recipe_print(decl, loaded)
    grain_free = [f"{c}={d}" for c, d in decl.columns]
    return RecipeNode(
        name=decl.name,
        place=str(decl.place),
        fingerprint=found.digest,
        items=tuple((s, str(d)) for s, d in found.items),
        declared=digest_of("declared", *decl.key, "columns", *grain_free, "outputs", *decl.outputs),
        environment=decl.environment,
        version="" if decl.version is None else value_text(decl.version),
        outputs=decl.outputs,
        publish=decl.publish,
        pure=decl.pure,
        grain=decl.grain,
        policy=decl.policy,
        update="" if decl.update is None else fingerprint(decl.update, loaded).digest,
    )


def _recipe_paths(around: Surroundings) -> list[str]:
    """Paths of the recipe files as the cache records them."""
    return [str(around.recipes / path) for path in recipe_files(around.recipes)]


def _made_by(around: Surroundings) -> list[Any]:
    """What a cached graph depends on besides files."""
    return [
        VERSION,
        CACHE_FORMAT,
        around.installed,
        list(sys.version_info[:3]),
        [list(lane) for lane in sorted(around.lanes.items())],
        list(versions_of(VERSIONS)),
    ]


def _members_json(members: Members) -> dict[str, Any]:
    return {b: [[[k, value_json(v)] for k, v in params] for params in found] for b, found in sorted(members.items())}


def _source_to_json(source: SourceDecl) -> dict[str, Any]:
    value: dict[str, Any] = {name: getattr(source, name) for name in SourceDecl.__match_args__}
    return {**value, "place": [source.place.file, source.place.line]}


def _source_from_json(value: Mapping[str, Any]) -> SourceDecl:
    null = value["null"]
    return SourceDecl(
        **{
            **value,
            "place": Place(*value["place"]),
            "key": tuple(value["key"]),
            "columns": tuple((c, d) for c, d in value["columns"]),
            "null": None if null is None else tuple(null),
        }
    )
