"""Part ``large`` of ``increments.py``: what a worker holds at most while tables larger than it go through.

A CSV of 20 columns is taken in, given two columns row by row, assigned to 30,000 regions and counted, over the workers
of this machine; then 5 % of its rows change and all is brought up to date. Each worker's peak is the largest of its
life, with everything it imports.
"""

from __future__ import annotations

import argparse
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from increments import Line, as_contender, measure
from increments_steps import write_regions
from intake import make_csv

LIMIT_GB = 2.0
RECIPES = """
import builder as b
import pandas as pd

b.source("big", "data/big.csv", key="id")
b.source("regions", "data/regions.parquet", key="rid")

@b.recipe(key="id", grain=b.rows("big"))
def located(big: pd.DataFrame):
    return big.assign(lon=big["count3"] / 2_000 - 120, lat=big["count4"] / 40_000 + 25)

b.assign_regions(
    "placed", points="located", regions="regions", lon="lon", lat="lat", region_id={"region": "rid"}, keep=["count0"]
)
b.count_by("counters", of="placed", by=["region", "count0"], counts="n")
"""


def make(folder: str, rows: str, share: str) -> None:
    """Write the CSV, with a share of its rows changed, and the regions."""
    data = Path(folder) / "data"
    data.mkdir(exist_ok=True)
    make_csv(data / "big.csv", int(rows), False, float(share))
    if not (data / "regions.parquet").exists():
        write_regions(data / "regions.parquet", 30_000)


def build(folder: str, store: str) -> dict[str, Any]:
    """Bring the project up to date over workers; the digest of each target."""
    from dataclasses import replace

    import builder as b
    from builder.project import Project

    config = replace(b.open(folder).config, store=Path(folder) / store, out=Path(folder) / f"{store}-out")
    project = Project(config)
    run = project.rebuild()
    assert run.outcome == "built", str(run)
    ledger = project.ledger()
    digests = {name: str(current.digest) for name, current in ledger.currents().items()}
    ledger.close()
    return {"digests": digests, "vias": {t.name: t.via for t in run.targets}}


def run(folder: Path, options: argparse.Namespace) -> tuple[str, dict[str, dict[str, Any]], list[Line]]:
    """The peaks of a build from nothing and of an update, whose results are those of a build from nothing."""
    rows = 4 * options.rows
    (folder / "recipes").mkdir()
    (folder / "recipes/main.py").write_text(RECIPES)
    (folder / "builder.toml").write_text('name = "large"\npublish = []\n')
    _child("make", folder=folder, rows=rows, share=0)
    costs = {"from nothing": _child("build", folder=folder, store="store")}
    _child("make", folder=folder, rows=rows, share=0.05)
    costs["5 % changed"] = _child("build", folder=folder, store="store")
    costs["5 % changed, from nothing"] = _child("build", folder=folder, store="anew")
    shutil.rmtree(folder / "anew")
    same = [costs[case]["digests"] for case in ("5 % changed", "5 % changed, from nothing")]
    assert same[0] == same[1], "other digests than from nothing"
    lines = [Line(f"large, {case}: GB", cost["peak_bytes"] / 1e9, LIMIT_GB) for case, cost in costs.items()]
    lines[1] = Line(lines[1].label, lines[1].value, LIMIT_GB, f"same digests; {costs['5 % changed']['vias']}")
    return f"large: {rows:,} rows; the largest process of each build", costs, lines


def _child(contender: str, **arguments: Any) -> dict[str, Any]:
    return measure(__file__, contender, arguments)


RUNS = {"large": partial(run)}

if __name__ == "__main__":
    as_contender({"make": make, "build": build})
