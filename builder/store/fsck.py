"""Checking the store: parts against what the ledger says of them.

Decides what is damaged. A damaged part is forgotten with every trace that needs it, so that the next rebuild makes it
anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from builder.store import disk
from builder.store.commits import Committer
from builder.store.ledger import FILE, Ledger
from builder.store.manifest import Manifest, Part
from builder.store.parts import BESIDE, files_of, is_whole
from builder.tables.schema import Schema


def damaged_parts(ledger: Ledger, store: Path) -> list[tuple[str, str]]:
    """(problem, path relative to the store) of every part that is missing or not as it was written."""
    found: dict[str, str] = {}
    for _, manifest in ledger.manifests():
        for part, check in _checks(store, manifest):
            if part.path not in found:
                problem = check()
                if problem:
                    found[part.path] = problem
    return [(problem, path) for path, problem in found.items()]


def _checks(store: Path, manifest: Manifest) -> Iterator[tuple[Part, Callable[[], str]]]:
    """Each part of a version with what says what is wrong with it; empty where nothing is."""
    if manifest.schema is None:
        yield from ((part, partial(_file_problem, store, part)) for part in manifest.parts)
        return
    for layer in (*manifest.layers, *((manifest.delta,) if manifest.delta else ())):
        first_row = 0
        for part in layer.upserts:
            yield part, partial(_table_problem, store, part, manifest.schema, first_row)
            first_row += part.rows
        yield from ((part, partial(_table_problem, store, part, None)) for part in layer.deletes)
    yield from ((part, partial(_table_problem, store, part, None)) for part in manifest.index)


def _lying_problem(paths: Sequence[Path], part: Part) -> str:
    """What is wrong with a part that lies in these files, before a look at what they hold."""
    if part.content is not None:
        return "" if is_whole(part) else "part has other bytes"
    if not all(path.is_file() for path in paths):
        return "part missing"
    return "" if sum(path.stat().st_size for path in paths) == part.bytes else "part has another size"


def _file_problem(store: Path, part: Part) -> str:
    from builder.sense.hashing import hash_file

    problem = _lying_problem([store / part.path], part)
    if problem or part.content is not None:
        return problem
    return "" if hash_file(str(store / part.path)) == part.digest else "part has other bytes"


def _table_problem(store: Path, part: Part, schema: Schema | None, first_row: int = 0) -> str:
    """What is wrong with a part of rows; without a schema, with one whose columns alone are checked."""
    from builder.tables.check import is_intact, is_sound

    problem = _lying_problem(files_of(store, part), part)
    if problem:
        return problem
    is_good = is_intact(store, part) if schema is None else is_sound(store, part, schema, first_row)
    return "" if is_good else "part has other rows"


def forget(ledger: Ledger, committer: Committer, paths: list[str]) -> None:
    """Forget every output that needs one of these parts, and remove the parts."""
    broken = set(paths)
    numbers = [n for n, manifest in ledger.manifests() if any(p.path in broken for p in manifest.parts)]
    committer.forgotten(numbers)
    for path in paths:
        if path.startswith("parts/"):
            disk.remove(ledger.store / path)
            disk.remove(ledger.store / (path + BESIDE))


def set_ledger_aside(store: Path) -> None:
    """Rename a ledger that cannot be read, so that an empty one takes its place; parts become orphans for gc."""
    suffix = time.strftime("%Y%m%d-%H%M%S")
    for name in (FILE, FILE + "-wal", FILE + "-shm"):
        if (store / name).exists():
            disk.replace(store / name, store / f"{name}.damaged-{suffix}")
