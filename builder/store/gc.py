"""Garbage collection: what no kept version needs leaves the store.

Decides what is alive: the present version of everything, the last versions of each target, the last complete build.
Holds the store's lock, so no attempt of this builder is writing meanwhile. The ledger forgets first; files go after,
so that a kill leaves only orphans for the next collection.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from builder.store import disk, epochs
from builder.store.commits import Committer
from builder.store.indexes import FOLDER, possible_indexes
from builder.store.ledger import Ledger
from builder.store.lock import is_held
from builder.store.parts import BESIDE

ASIDE = "verify-"
"""What begins the name of a folder beside the store's own, in which a verification builds from nothing."""

_YOUNG_S = 3600.0


def collect(ledger: Ledger, committer: Committer, store: Path, keep: int, *, is_dry: bool) -> tuple[list[str], int]:
    """Paths (relative to the store) and bytes of what was removed, or would be with `is_dry`.

    A part that lies in the ledger is named like the others; the ledger uses its room again and does not shrink.
    """
    alive = _alive_manifests(ledger, keep)
    parts: set[str] = set()
    indexes: set[Path] = set()
    gone: list[int] = []
    inside: list[tuple[str, int]] = []
    for number, manifest in ledger.manifests():
        if number in alive:
            parts.update(p.path for p in manifest.files)
            indexes.update(possible_indexes(store, manifest))
        else:
            gone.append(number)
            inside += [(p.path, p.bytes) for p in manifest.parts if p.content is not None]
    needed = parts | {p + BESIDE for p in parts}
    dead = [p for p in _files(store / "parts") if p.relative_to(store).as_posix() not in needed]
    dead += [*_abandoned(store), *_files(store / "views"), *_old_bundles(store), *_old_copies(ledger, store)]
    dead += [p for p in _files(store / FOLDER) if p not in indexes]
    dead += _leftovers(store)
    dead += [p for p in _files(store / "logs") if p.parent.name not in _kept_runs(ledger, keep)]
    aside = list(_left_aside(store))
    dead += [p for folder in aside for p in _files(folder)]
    size = sum(p.lstat().st_size for p in dead) + sum(length for _, length in inside)
    if not is_dry:
        committer.forgotten(gone, with_keys=True)
        for path in (*dead, *aside):
            disk.remove(path)
    return sorted([*(p.relative_to(store).as_posix() for p in dead), *(path for path, _ in inside)]), size


def _alive_manifests(ledger: Ledger, keep: int) -> set[int]:
    """Numbers of the manifests that some kept version names."""
    alive = {r[0] for r in ledger.rows("SELECT manifest FROM current")}
    query = """SELECT manifest FROM (
        SELECT manifest, row_number() OVER (PARTITION BY name ORDER BY run DESC) AS age FROM versions
        WHERE manifest IS NOT NULL
    ) WHERE age <= ?"""
    alive |= {r[0] for r in ledger.rows(query, keep)}
    complete = ledger.complete_run()
    if complete is not None:
        alive |= ledger.manifests_at(complete)
    return alive


def _files(folder: Path) -> Iterator[Path]:
    """All files below a folder."""
    return (p for p in folder.rglob("*") if p.is_file() or p.is_symlink())


def _abandoned(store: Path) -> Iterator[Path]:
    """What attempts left behind; the epoch they must belong to stays, so that no late one begins.

    What a presence file says is of a process that may still be at work: it stays, with what lies in its folder, until
    the next rebuild has proved it over (`execute.presence`).
    """
    scratch = store / "scratch"
    present = list(scratch.glob("*" + epochs.PRESENCE))
    stays = {scratch / epochs.FILE, *present, *(p.with_suffix("") for p in present)}
    return (p for p in _files(scratch) if stays.isdisjoint((p, *p.parents)))


def _old_bundles(store: Path) -> Iterator[Path]:
    """Packed recipes that the cached graph does not name."""
    from builder.sense.cache import read_json

    cached = read_json(store / "graph.json")
    current = cached.get("bundle") if isinstance(cached, dict) else None
    return (p for p in (store / "bundles").glob("*.zip") if p.stem != current)


def _old_copies(ledger: Ledger, store: Path) -> Iterator[Path]:
    """Private copies of remote objects that no present version of a source was made from."""
    keys = {r[0] for r in ledger.rows("SELECT key FROM current")}
    needed = {v[:40] for key in keys for k, _, v in ledger.fields(key) if k == "source"}
    return (p for p in (store / "remote").glob("*") if p.name[:40] not in needed)


def _leftovers(store: Path) -> Iterator[Path]:
    """Unfinished files of processes that died; a young one may be a report's, which takes no lock."""
    limit_s = time.time() - _YOUNG_S
    return (p for f in (store, store / "bundles") for p in f.glob(".*.tmp") if p.stat().st_mtime < limit_s)


def _left_aside(store: Path) -> Iterator[Path]:
    """Folders of verifications that died; one that goes on holds its folder's lock, but for its first moment."""
    limit_s = time.time() - _YOUNG_S
    return (p for p in store.glob(ASIDE + "*") if p.stat().st_mtime < limit_s and not is_held(p))


def _kept_runs(ledger: Ledger, keep: int) -> set[str]:
    """Names of the runs whose logs stay: the last ones, and those of present versions."""
    last = [f"r{r[0]}" for r in ledger.rows("SELECT id FROM runs ORDER BY id DESC LIMIT ?", max(keep, 20))]
    return {*last, *(f"r{r[0]}" for r in ledger.rows("SELECT DISTINCT run FROM current"))}
