"""Part ``intake`` of ``increments.py``: a CSV whose rows changed a little, against pyarrow read and Parquet write.

Both read the same file and write one copy of its rows: the script a Parquet file, the intake what the store keeps of
the source, with its key order, its digests and the index of its lines. A source is not published, so there is no
further file to count. CPU is that of the whole process, start-up included, on one thread.
"""

from __future__ import annotations

import argparse
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from increments import Line, alternating, as_contender, measure
from intake import COLUMNS, make_csv

CHANGES = {"5 %": (0.05, 0.35), "0.1 %": (0.001, 0.28)}
FULL = {"in key order": (False, 1.25), "shuffled": (True, 1.7)}


def plain(source: str, folder: str, rows: str) -> None:
    """Read with pyarrow, write one Parquet file, on one thread."""
    from intake import plain as read_and_write

    Path(folder).mkdir(exist_ok=True)
    read_and_write(Path(source), Path(folder), int(rows))


def make(target: str, rows: str, is_shuffled: str, share: str = "0") -> None:
    """Write a file; in a process of its own, whose memory does not count for those that read it."""
    make_csv(Path(target), int(rows), is_shuffled == "True", float(share))


def take(source: str, folder: str, base: str = "", keep: str = "") -> dict[str, Any]:
    """Take the file in, from a last version where there is one; `keep`: a file for the manifest."""
    import pyarrow as pa

    from builder.digests import Digest
    from builder.execute.spec import IntakeSpec
    from builder.formats.intake import take_in
    from builder.sources import SourceFile
    from builder.store.manifest import Manifest
    from builder.store.parts import PartFolder
    from builder.tables.schema import Schema

    pa.set_cpu_count(1)
    path, pin = Path(source), Path(folder) / "pin.json"
    file = SourceFile("big.csv", source, "big.csv", path.stat().st_size, Digest(path.name))  # sensing is not timed here
    pinned = Schema.from_json(json.loads(pin.read_text())) if pin.exists() else None
    last = Manifest.from_json(json.loads(Path(base).read_text())) if base else None
    spec = IntakeSpec("big", "csv", (file,), key=("id",), pinned=pinned, base=last)
    parts = PartFolder(Path(folder) / "store")
    taken = take_in(spec, parts, Path(folder) / "scratch")
    if keep:
        pin.write_text(json.dumps(taken.schema.to_json()))
        Path(keep).write_text(json.dumps(taken.manifest.to_json()))
    else:
        parts.discard()
    return {"digest": taken.manifest.digest, "via": taken.via, "rows": taken.manifest.rows}


def run(folder: Path, options: argparse.Namespace) -> tuple[str, dict[str, dict[str, Any]], list[Line]]:
    """The costs of all contenders, and the ratios that count."""
    for warm_rows in (2_000, options.rows):
        costs, lines = _measured(folder / str(warm_rows), warm_rows, 1 if warm_rows < options.rows else options.repeat)
    title = (
        f"intake: {options.rows:,} rows, {COLUMNS} columns; CPU of taking the file into the store over that of plain"
        " pyarrow reading it and writing one Parquet file; a source is not published"
    )
    return title, costs, lines


def _measured(folder: Path, rows: int, repeat: int) -> tuple[dict[str, dict[str, Any]], list[Line]]:
    costs: dict[str, dict[str, Any]] = {}
    lines: list[Line] = []
    for order, (is_shuffled, full_limit) in FULL.items():
        place = folder / order
        place.mkdir(parents=True)
        base, manifest = place / "base.csv", place / "base.json"
        _child("make", target=base, rows=rows, is_shuffled=is_shuffled)
        runs = {"plain": partial(_child, "plain", source=base, folder=place / "plain", rows=rows)}
        _child("take", source=base, folder=place, keep=manifest)
        runs["full"] = partial(_child, "take", source=base, folder=place)
        digests = {}
        for name, (share, _) in CHANGES.items():
            changed = place / f"{share}.csv"
            _child("make", target=changed, rows=rows, is_shuffled=is_shuffled, share=share)
            runs[name] = partial(_child, "take", source=changed, folder=place, base=manifest)
            digests[name] = _child("take", source=changed, folder=place)["digest"]
        found = alternating(runs, repeat)
        for name, digest in digests.items():
            assert found[name]["digest"] == digest, f"{name}, {order}: another digest than a full intake's"
            assert rows < 100_000 or found[name]["via"] == "lines", found[name]
        costs |= {f"{order}: {name}": cost for name, cost in found.items()}
        once = found["plain"]["cpu_s"]
        lines.append(Line(f"full intake, {order}", found["full"]["cpu_s"] / once, full_limit))
        for name, (_, limit) in CHANGES.items():
            lines.append(
                Line(f"{name} of the rows changed, {order}", found[name]["cpu_s"] / once, limit, "same digest")
            )
        shutil.rmtree(place)
    return costs, lines


def _child(contender: str, **arguments: Any) -> dict[str, Any]:
    return measure(__file__, contender, arguments)


if __name__ == "__main__":
    as_contender({"make": make, "plain": plain, "take": take})
