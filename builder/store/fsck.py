"""Checking the store: parts against what the ledger says of them.

Decides what is damaged. A damaged part is forgotten with every trace that needs it, so that the next rebuild makes it
anew.
"""

from __future__ import annotations

import time
from pathlib import Path

from builder.store import disk
from builder.store.commits import Committer
from builder.store.ledger import FILE, Ledger
from builder.store.manifest import Manifest, Part
from builder.store.parts import is_whole


def damaged_parts(ledger: Ledger, store: Path) -> list[tuple[str, str]]:
    """(problem, path relative to the store) of every part that is missing or not as it was written."""
    found: dict[str, str] = {}
    for _, manifest in ledger.manifests():
        first_row = 0
        for part in manifest.parts:
            if part.path not in found:
                problem = _problem(store, manifest, part, first_row)
                if problem:
                    found[part.path] = problem
            first_row += part.rows
    return [(problem, path) for path, problem in found.items()]


def _problem(store: Path, manifest: Manifest, part: Part, first_row: int) -> str:
    """What is wrong with a part whose rows begin at `first_row` of its version; empty where nothing is."""
    if part.content is not None:
        return "" if is_whole(part) else "part has other bytes"
    path = store / part.path
    beside = store / (part.path + ".rows")
    if not path.is_file() or (manifest.kind == "table" and not beside.is_file()):
        return "part missing"
    size = path.stat().st_size + (beside.stat().st_size if manifest.kind == "table" else 0)
    if size != part.bytes:
        return "part has another size"
    if manifest.kind != "table":
        from builder.sense.hashing import hash_file

        return "" if hash_file(str(path)) == part.digest else "part has other bytes"
    from builder.tables.check import is_sound

    assert manifest.schema is not None
    return "" if is_sound(path, beside, manifest.schema, first_row) else "part has other rows"


def forget(ledger: Ledger, committer: Committer, paths: list[str]) -> None:
    """Forget every output that needs one of these parts, and remove the parts."""
    broken = set(paths)
    numbers = [n for n, manifest in ledger.manifests() if any(p.path in broken for p in manifest.parts)]
    committer.forgotten(numbers)
    for path in paths:
        if path.startswith("parts/"):
            disk.remove(ledger.store / path)
            disk.remove(ledger.store / (path + ".rows"))


def set_ledger_aside(store: Path) -> None:
    """Rename a ledger that cannot be read, so that an empty one takes its place; parts become orphans for gc."""
    suffix = time.strftime("%Y%m%d-%H%M%S")
    for name in (FILE, FILE + "-wal", FILE + "-shm"):
        if (store / name).exists():
            disk.replace(store / name, store / f"{name}.damaged-{suffix}")
