"""Part ``days`` of ``increments.py``: what a store grows by while a source changes day after day, and reading it then.

Each day 5 % of the rows of a CSV of 20 columns change, anywhere in it; the source and a recipe by rows behind it are
brought up to date. What is written is every file of the store that is new or has grown: tables, line index and ledger.
It is held against the changed rows' share of the bytes of both tables as they were written first.

The recipe's table is read whole, in three columns, and by 500 keys, beside the same reads of one plain Parquet file of
the same rows: after the last day, and after the day on which it lay in the most layers, the last one before these were
merged. After both days the tables have the digests of a build from nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from increments import Line, as_contender, measure
from intake import make_csv

SHARE = 0.05
READ_LIMIT = 1.2
FEW_COLUMNS = ("id", "count0", "text3")
KEYS = 500
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
    fresh = path.with_suffix(".fresh")  # the file of an earlier day may be linked to
    csv.write_csv(table, fresh, csv.WriteOptions(quoting_style="none"))
    fresh.replace(path)
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
    manifest = ledger.manifest(currents["named"].manifest_id)
    ledger.close()
    return {
        "layers": len(manifest.layers),
        "written": sum(size - before.get(name, 0) for name, size in after.items() if size > before.get(name, 0)),
        "bytes": sum(current.bytes or 0 for current in currents.values()),
        "digests": {name: str(current.digest) for name, current in currents.items()},
        "rows": [sum(found.difference or ()) for found in (*run.sources, *run.targets)],
    }


def read(folder: str, store: str) -> dict[str, Any]:
    """CPU seconds of each kind of read of a version over those of a plain file of the same rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from builder.tables.read import read_table

    pa.set_cpu_count(1)
    project = _project(folder, store)
    ledger = project.ledger()
    manifest = ledger.manifest(ledger.currents()["named"].manifest_id)
    ledger.close()
    where, plain = Path(folder) / store, Path(folder) / "plain.parquet"
    pq.write_table(read_table(where, manifest), plain)
    found = {}
    for kind, (own, others) in _reads(where, manifest, plain).items():
        rows = own()
        assert all(other().equals(rows) for other in others), f"{kind}: the plain file has other rows"
        own_s, *others_s = _least_s([own, *others])
        found[kind] = own_s / min(others_s)
    return {"layers": len(manifest.layers), "ratios": found}


Read = Callable[[], Any]


def _reads(store: Path, manifest: Any, plain: Path) -> dict[str, tuple[Read, list[Read]]]:
    """Each kind of read of a version, and the ways to do the same with a plain file, of which the best counts."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    from builder.tables.among import rows_among
    from builder.tables.read import read_table

    every = manifest.schema.names
    ids = pq.read_table(plain, columns=["id"]).column("id").to_numpy()
    keys = pa.array(np.random.default_rng(9).choice(ids, min(KEYS, len(ids)), replace=False))
    among = [("id", "in", keys.to_pylist())]

    def filtered() -> Any:
        return ds.dataset(plain).to_table(filter=ds.field("id").isin(keys), use_threads=False)

    parquet = partial(pq.read_table, plain, use_threads=False)
    return {
        "whole": (partial(read_table, store, manifest), [parquet]),
        f"{len(FEW_COLUMNS)} columns": (
            partial(read_table, store, manifest, FEW_COLUMNS),
            [partial(parquet, columns=list(FEW_COLUMNS))],
        ),
        f"by {len(keys)} keys": (
            partial(rows_among, store, manifest, pa.table({"id": keys}), every),
            [partial(parquet, filters=among), filtered],
        ),
        "by one key": (
            partial(read_table, store, manifest, None, (("id", keys[0].as_py()),)),
            [partial(parquet, filters=[("id", "==", keys[0].as_py())])],
        ),
    }


def run(folder: Path, options: argparse.Namespace) -> tuple[str, dict[str, dict[str, Any]], list[Line]]:
    """The bytes of a day and of all days, and what reading costs after them."""
    (folder / "now/recipes").mkdir(parents=True)
    (folder / "now/recipes/main.py").write_text(RECIPES)
    (folder / "now/builder.toml").write_text('name = "days"\npublish = []\n')
    _child("make", folder=folder / "now", rows=options.rows)
    costs = {"first build": _child("build", folder=folder / "now", store="store")}
    ratios, layers = [], [1]
    deepest = 0
    for day in range(1, options.days + 1):
        changed = _child("change", folder=folder / "now", day=day)["changed"]
        found = costs[f"day {day}"] = _child("build", folder=folder / "now", store="store")
        assert found["rows"] == [changed, changed], f"day {day}: {found['rows']} rows changed and not {changed}"
        ratios.append(found["written"] / (costs["first build"]["bytes"] * changed / options.rows))
        layers.append(found["layers"])
        if layers[day] >= layers[deepest]:
            deepest = day
            _keep(folder / "now", folder / "deepest")
    every = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    lines = [
        Line("days, written on a day: the median", sorted(ratios)[options.days // 2], 1.5, every),
        Line("days, written on the first day", ratios[0], 1.5),
        Line(f"days, written in {options.days} days", sum(ratios) / options.days, 4, "same digests"),
    ]
    for day, place in dict([(deepest, folder / "deepest"), (options.days, folder / "now")]).items():
        lines += _reading(place, day, costs, costs[f"day {day}"]["digests"])
    shown = ("first build", "day 1", f"day {deepest}", f"day {options.days}")
    title = (
        f"days: {options.rows:,} rows, 5 % changed on each of {options.days} days; bytes over those of the changed rows"
    )
    title += f"; layers after each day: {', '.join(map(str, layers[1:]))}"
    return title, {name: cost for name, cost in costs.items() if name in shown or "," in name}, lines


def _reading(place: Path, day: int, costs: dict[str, dict[str, Any]], digests: dict[str, str]) -> list[Line]:
    """What reading costs after a day, whose tables are those of a build from nothing."""
    clean = costs[f"day {day}, from nothing"] = _child("build", folder=place, store="anew")
    assert clean["digests"] == digests, f"day {day}: other digests than from nothing"
    shutil.rmtree(place / "anew")
    found = costs[f"day {day}, reading"] = _child("read", folder=place, store="store")
    note = f"same digests; {found['layers']} layers, over one plain file"
    return [Line(f"days, read {kind} after {day}", r, READ_LIMIT, note) for kind, r in found["ratios"].items()]


def _keep(project: Path, target: Path) -> None:
    """Keep a project as it is now; only its ledger is ever written again, all other files are linked to."""

    def link_or_copy(source: str, copy: str) -> str:
        if "ledger" in Path(source).name:
            return str(shutil.copy2(source, copy))
        os.link(source, copy)
        return copy

    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(project, target, copy_function=link_or_copy)


def _project(folder: str, store: str) -> Any:
    from dataclasses import replace

    import builder as b
    from builder.project import Project

    return Project(replace(b.open(folder).config, store=Path(folder) / store, out=Path(folder) / f"{store}-out"))


def _sizes(store: Path) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in store.rglob("*") if path.is_file()}


def _least_s(works: list[Read]) -> list[float]:
    """The least CPU seconds of each, of five runs, in which they take turns."""
    spent: list[list[float]] = [[] for _ in works]
    for _ in range(5):
        for work, of_it in zip(works, spent, strict=True):
            began = time.process_time()
            work()
            of_it.append(time.process_time() - began)
    return [min(of_it) for of_it in spent]


def _child(contender: str, **arguments: Any) -> dict[str, Any]:
    return measure(__file__, contender, arguments)


RUNS = {"days": run}

if __name__ == "__main__":
    as_contender({"make": make, "change": change, "build": build, "read": read})
