"""Sensing: what the world looks like now. The only phase that looks at sources.

Decides nothing about staleness; gives a `Situation` that a whole run is pinned to.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from builder.authoring.templates import Surroundings, Templates, from_cache, from_recipes
from builder.config import Config
from builder.digests import Digest, digest_bytes, digest_of
from builder.errors import BuilderError, error
from builder.graph.declare import SourceDecl
from builder.graph.graph import SourceNode
from builder.names import Params, member_name, parse_reference
from builder.nouns import dataclass
from builder.sense.cache import SenseCache, parsed, read_bytes, write_json
from builder.sense.environment import installed_digest, library_versions
from builder.sense.hashing import FileVersion, Progress, sense_files
from builder.sense.listing import companions, list_pattern
from builder.sense.pins import pin_path, read_pin
from builder.sense.tokens import Token, has_stood
from builder.sense.urls import is_remote, shown_url
from builder.situation import Sensed, Situation
from builder.sources import LOG_ENDING, SourceFile
from builder.tables.schema import Schema

if TYPE_CHECKING:  # at run time only where a source is remote
    from builder.sense.remote import RemoteFile, RemoteVersion


@dataclass(frozen=True, slots=True)
class Listed:
    """One file of a source as listed: its name in the source, and where it is."""

    name: str
    path: str
    shown: str
    remote: RemoteFile | None = None


class Sensor:
    """Senses one project; keeps what it listed, so that each pattern is listed once."""

    def __init__(self, config: Config, progress: Progress | None = None, now_ns: int | None = None) -> None:
        self.config = config
        self.root = str(config.root)
        self.progress = progress
        self.now_ns = time.time_ns() if now_ns is None else now_ns
        self.cache = SenseCache(self.config.store / "sense.json")
        self._listed: dict[str, dict[Params, list[Listed]]] = {}
        self._versions: dict[str, FileVersion | BuilderError] = {}
        self._asked: set[str] = set()
        self.looked: set[str] = set()
        self.is_sealable = True
        self.graph_digest = ""

    def situation(self) -> Situation:
        """The situation now.

        Raises
        ------
        ConfigError, GraphError
            Whatever is wrong with the project; problems of sources stand in the situation instead.
        """
        began = time.perf_counter()
        templates = self._templates()
        sources = self._sources(templates)
        libraries = dict.fromkeys(self.config.environment, self.config.file or "builder.toml")
        libraries |= {e: str(r.place) for r in templates.graph.recipes.values() for e in r.environment}
        situation = Situation(
            graph=templates.graph,
            declarations=templates.sources,
            sources=sources,
            environment=library_versions(libraries, places=libraries),
            depends=tuple(self._depends()),
            pins=self._pins(templates),
            bundle=templates.bundle,
            sensed_s=time.perf_counter() - began,
            project_environment=tuple(self.config.environment),
            graph_digest=self.graph_digest,
        )
        self.cache.save(self._versions)
        return situation

    # -- the graph -------------------------------------------------------------------------------------------------

    def _templates(self) -> Templates:
        config = self.config
        around = Surroundings(
            config.root,
            config.recipes,
            config.store,
            config.lanes,
            installed_digest(),
            self._digests,
            self._members,
            has_stood,
        )
        path = config.store / "graph.json"
        content = read_bytes(path)
        templates = from_cache(parsed(content), around)
        if templates is not None:
            self.graph_digest = digest_bytes(content or b"")
        else:
            templates, cached = from_recipes(around)
            self.is_sealable = self.is_sealable and cached is not None
            if cached is not None and config.store.is_dir():
                write_json(path, cached)
        self.looked.update(templates.listed)
        self.is_sealable = self.is_sealable and not templates.has_variables
        return templates

    def tokens(self) -> dict[str, Token | None]:
        """The tokens under which files were sensed, by absolute path; None for those that were not there.

        Files that could not be read are left out: they are in `looked`.
        """
        found = ((p, self._versions.get(p)) for p in self._asked)
        return {p: v.token if v else None for p, v in found if not isinstance(v, BuilderError)}

    def _digests(self, paths: Iterable[str]) -> Mapping[str, str]:
        """Content digests of files by path, relative to the project or absolute; those not there are left out."""
        by_path = {os.path.join(self.config.root, p): p for p in paths}
        found = self._sense(by_path)
        return {p: found[full].digest for full, p in by_path.items() if isinstance(found.get(full), FileVersion)}  # type: ignore[union-attr]

    def _members(self, families: Iterable[SourceDecl]) -> dict[str, tuple[Params, ...]]:
        """The members of families of sources, in the order of their values."""
        return {parse_reference(s.name).base: tuple(self._listing(s)) for s in families}

    # -- files -----------------------------------------------------------------------------------------------------

    def _sense(self, paths: Iterable[str]) -> Mapping[str, FileVersion | BuilderError]:
        """Versions of local files, each sensed once per situation."""
        missing = [p for p in paths if p not in self._versions]
        if missing:
            found = sense_files(missing, self.cache, self.now_ns, self.progress, self.config.root)
            self._versions |= found
            self._asked.update(missing)
            self.looked.update(p for p, version in found.items() if isinstance(version, BuilderError))
        return self._versions

    def _listing(self, source: SourceDecl) -> dict[Params, list[Listed]]:
        """The files of each member of a source, members in the order of their values, files in name order."""
        reference = parse_reference(source.name)
        base = reference.base
        if base not in self._listed:
            order = [k for k, _ in reference.fixed]
            members: dict[Params, list[Listed]] = {}
            for captures, listed in self._list(source):
                values = dict(captures)
                members.setdefault(tuple((k, values[k]) for k in order), []).append(listed)
            self._listed[base] = dict(sorted(members.items()))
        return self._listed[base]

    def _list(self, source: SourceDecl) -> Iterable[tuple[Params, Listed]]:
        pattern = source.path
        if is_remote(pattern):
            from builder.sense.remote import list_remote

            self.is_sealable = False
            for found in list_remote(pattern):
                yield tuple(found.captures), Listed(found.name, found.url, shown_url(found.url), found)
            return
        matches = list_pattern(self.config.root, pattern, self.looked)
        listed = {m.path for m in matches}
        for match in matches:
            path = os.path.join(self.root, match.path)
            yield match.captures, Listed(match.name, path, match.path)
            for extra in companions(path, self.looked, is_geopackage=source.format == "gpkg"):
                own = os.path.basename(path) + LOG_ENDING if extra.endswith(LOG_ENDING) else os.path.basename(extra)
                shown = os.path.join(os.path.dirname(match.path), own)
                if shown not in listed:
                    yield tuple(match.captures), Listed(os.path.join(os.path.dirname(match.name), own), extra, shown)

    # -- sources ---------------------------------------------------------------------------------------------------

    def _sources(self, templates: Templates) -> dict[str, Sensed]:
        """Every source with its files and their digests, or its problem."""
        listed: dict[str, list[Listed] | BuilderError] = {}
        for node in templates.graph.sources.values():
            try:
                listed[node.name] = self._listing(templates.sources[node.base]).get(node.params, [])
            except BuilderError as cause:
                if cause.exit_code == 2:
                    raise
                listed[node.name] = cause
        files = [f for found in listed.values() if isinstance(found, list) for f in found]
        self._sense([f.path for f in files if f.remote is None])
        remote = self._remote([f.remote for f in files if f.remote is not None])
        return {
            node.name: self._sensed(node, templates.sources[node.base], listed[node.name], remote)
            for node in templates.graph.sources.values()
        }

    def _remote(self, files: list[RemoteFile]) -> Mapping[str, RemoteVersion | BuilderError]:
        """Versions of remote objects; what had to be read lies in the store as a private copy."""
        if not files:
            return {}
        from builder.sense.remote import copy_path, sense_remote

        folder = self.config.store / "remote"

        def is_held(url: str, digest: Digest) -> bool:
            return copy_path(folder, url, digest).exists()

        return sense_remote(files, self.cache.remote, is_held, folder)

    def _sensed(
        self,
        node: SourceNode,
        source: SourceDecl,
        listed: list[Listed] | BuilderError,
        remote: Mapping[str, RemoteVersion | BuilderError],
    ) -> Sensed:
        """One source with the versions of its files."""
        name, base = node.name, node.base
        if isinstance(listed, BuilderError):
            return Sensed(name, base, problem=listed.about(name))
        files = []
        for item in listed:
            version = remote.get(item.path) if item.remote else self._versions.get(item.path)
            if isinstance(version, BuilderError):
                return Sensed(name, base, problem=version.about(name))
            if isinstance(version, FileVersion):
                token = version.token
                files.append(SourceFile(item.name, item.path, item.shown, token[0], version.digest, version.token))
            elif version is not None:
                from builder.sense.remote import copy_path

                path = str(copy_path(self.config.store / "remote", item.path, version.digest))
                files.append(SourceFile(item.name, path, item.shown, version.size, version.digest))
        if not files:
            return Sensed(name, base, problem=missing_source(name, source))
        content = digest_of("files", *(text for file in files for text in (file.name, file.digest)))
        return Sensed(name, base, tuple(files), content)

    # -- the rest --------------------------------------------------------------------------------------------------

    def _depends(self) -> list[tuple[str, str]]:
        """Files that count for every recipe, with their digests."""
        paths = sorted(
            {m.path for pattern in self.config.depends for m in list_pattern(self.config.root, pattern, self.looked)}
        )
        digests = self._digests(paths)
        return [(p, digests[p]) for p in paths if p in digests]

    def _pins(self, templates: Templates) -> dict[str, Schema]:
        """The pinned schemas of table sources that have one."""
        tables = [base for base, s in templates.sources.items() if s.is_table]
        found = ((base, read_pin(self.config.root, base)) for base in tables)
        self.looked.update(str(pin_path(self.config.root, base)) for base in tables)
        return {base: pin for base, pin in found if pin is not None}


def missing_source(name: str, source: SourceDecl) -> BuilderError:
    """The error of a source that has no file."""
    shown = shown_url(source.path) if is_remote(source.path) else source.path
    return error(
        "source-missing",
        f"source '{name}' has no file",
        place=shown,
        facts=[("declared", str(source.place))],
        hint="put the file there, or mend the path in b.source",
        target=name,
    )


def source_members(sensor: Sensor, source: SourceDecl) -> list[str]:
    """Full names of the members of a source, in order."""
    return [member_name(parse_reference(source.name).base, params) for params in sensor._listing(source)]
