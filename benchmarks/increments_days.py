"""Part ``days`` of ``increments.py``: what a store grows by while a source changes day after day, and reading it then.

Each day 5 % of the rows of a CSV of 20 columns change, anywhere in it; the source and a recipe by rows behind it are
brought up to date. What is written is every file of the store that is new or has grown: tables, line index and ledger.
It is held against the changed rows' share of the bytes of both tables as they were written first. On the last day both
tables have the digests of a build from nothing, and are read whole beside one plain Parquet file of the same rows.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from increments import Line, as_contender, measure
from intake import make_csv

SHARE = 0.05
RECIPES = """
import builder as b
import pandas as pd

b.source("big", "data/big.csv", key="id")

@b.recipe(key="id", grain=b.rows("big"))
def named(big: pd.DataFrame):
    return big.assign(text0=big["text0"].str.upper())
"""


def make(folder: str, rows: str) -> None:
    """Write the CSV of the first day."""
    target = Path(folder) / "data/big.csv"
    target.parent.mkdir()
    make_csv(target, int(rows), False)


def change(folder: str, day: str) -> dict[str, Any]:
    """Change rows of the CSV: the number of a day in one column, a text in another."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import csv

    path = Path(folder) / "data/big.csv"
    table = csv.read_csv(path, convert_options=csv.ConvertOptions(column_types={"moment": pa.string()}))
    rng = np.random.default_rng(int(day))
    at = np.zeros(table.num_rows, bool)
    at[rng.choice(table.num_rows, int(table.num_rows * SHARE), replace=False)] = True
    for name, value in (("count0", pa.scalar(1_000 + int(day))), ("text3", pa.scalar(f"day {int(day):05d}"))):
        changed = pc.if_else(pa.array(at), value, table.column(name))
        table = table.set_column(table.column_names.index(name), name, changed)
    csv.write_csv(table, path, csv.WriteOptions(quoting_style="none"))
    return {"changed": int(at.sum())}


def build(folder: str, store: str) -> dict[str, Any]:
    """Bring the project up to date in this process: bytes written to the store and of its tables, digests, counts."""
    from builder.compile import choice

    choice.always = True
    project = _project(folder, store)
    before = _sizes(Path(folder) / store)
    run = project.rebuild(inline=True)
    assert run.outcome == "built", str(run)
    after = _sizes(Path(folder) / store)
    ledger = project.ledger()
    currents = ledger.currents()
    ledger.close()
    return {
        "written": sum(size - before.get(name, 0) for name, size in after.items() if size > before.get(name, 0)),
        "bytes": sum(current.bytes or 0 for current in currents.values()),
        "digests": {name: str(current.digest) for name, current in currents.items()},
        "rows": [sum(found.difference or ()) for found in (*run.sources, *run.targets)],
    }


def read(folder: str, store: str) -> dict[str, Any]:
    """CPU seconds of reading a version of many layers, and a plain file of the same rows; the least of three each."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from builder.store.recall import Recall
    from builder.tables.read import read_table

    pa.set_cpu_count(1)
    project = _project(folder, store)
    ledger = project.ledger()
    manifest = Recall(ledger).manifest(ledger.currents()["named"].manifest_id)
    ledger.close()
    where, plain = Path(folder) / store, Path(folder) / "plain.parquet"
    pq.write_table(read_table(where, manifest), plain)
    assert pq.read_table(plain).equals(read_table(where, manifest)), "the plain file has other rows"
    return {
        "layers": len(manifest.layers),
        "layered_s": _least_s(partial(read_table, where, manifest)),
        "plain_s": _least_s(partial(pq.read_table, plain, use_threads=False)),
    }


def run(folder: Path, options: argparse.Namespace) -> tuple[str, dict[str, dict[str, Any]], list[Line]]:
    """The bytes of a day and of all days, and what reading costs after them."""
    (folder / "recipes").mkdir()
    (folder / "recipes/main.py").write_text(RECIPES)
    (folder / "builder.toml").write_text('name = "days"\npublish = []\n')
    _child("make", folder=folder, rows=options.rows)
    costs = {"first build": _child("build", folder=folder, store="store")}
    found: dict[str, Any] = {}
    ratios = []
    for day in range(1, options.days + 1):
        changed = _child("change", folder=folder, day=day)["changed"]
        found = costs[f"day {day}"] = _child("build", folder=folder, store="store")
        assert found["rows"] == [changed, changed], f"day {day}: {found['rows']} rows changed and not {changed}"
        ratios.append(found["written"] / (costs["first build"]["bytes"] * changed / options.rows))
    clean = costs["last day, from nothing"] = _child("build", folder=folder, store="anew")
    assert clean["digests"] == found["digests"], "other digests than from nothing"
    costs["reading"] = _child("read", folder=folder, store="store")
    reading = costs["reading"]["layered_s"] / costs["reading"]["plain_s"]
    every = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    title = f"days: {options.rows:,} rows, 5 % changed on each of {options.days} days"
    return (
        f"{title}; bytes over those of the changed rows",
        {
            name: costs[name]
            for name in ("first build", "day 1", f"day {options.days}", "last day, from nothing", "reading")
        },
        [
            Line("days, written on a day: the median", sorted(ratios)[options.days // 2], 1.5, every),
            Line("days, written on the first day", ratios[0], 1.5),
            Line(f"days, written in {options.days} days", sum(ratios) / options.days, 4, "same digests"),
            Line(
                f"days, reading after {options.days}",
                reading,
                1.2,
                f"{costs['reading']['layers']} layers, one plain file",
            ),
        ],
    )


def _project(folder: str, store: str) -> Any:
    from dataclasses import replace

    import builder as b
    from builder.project import Project

    return Project(replace(b.open(folder).config, store=Path(folder) / store, out=Path(folder) / f"{store}-out"))


def _sizes(store: Path) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in store.rglob("*") if path.is_file()}


def _least_s(work: Callable[[], object]) -> float:
    spent = []
    for _ in range(3):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return min(spent)


def _child(contender: str, **arguments: Any) -> dict[str, Any]:
    return measure(__file__, contender, arguments)


RUNS = {"days": run}

if __name__ == "__main__":
    as_contender({"make": make, "change": change, "build": build, "read": read})
