"""Parts ``rows``, ``counters``, ``regions`` of ``increments.py``: steps of whole builds, up to date or from nothing.

A project is built, its source changes, and it is brought up to date; beside it the changed source is built from
nothing. What counts is the CPU of the steps (the sum of ``cpu_s``); ``intake`` times taking the source in. Digests
are those of the build from nothing.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from increments import Line, alternating, as_contender, measure
from intake import make_csv

ROWS = """
import builder as b
import pandas as pd

b.source("big", "data/big.csv", key="id")

@b.recipe(key="id", grain=b.rows("big"))
def named(big: pd.DataFrame):
    return big.assign(text0=big["text0"].str.upper())

@b.recipe(key="id", grain=b.rows("named"))
def scaled(named: pd.DataFrame):
    return named.assign(measure0=named["measure0"] * 2.5, measure1=named["measure1"].abs())

@b.recipe(key="id", grain=b.rows("scaled"))
def dated(scaled: pd.DataFrame):
    return scaled.assign(count1=scaled["count1"] + scaled["moment"].dt.year)

@b.recipe(key="id", grain=b.rows("dated"))
def chosen(dated: pd.DataFrame):
    return dated[dated["count0"] % 10 != 3]

@b.recipe(key="id", grain=b.rows("chosen"), publish=False)
def joined(chosen: pd.DataFrame):
    return chosen.assign(text1=chosen["text1"] + " " + chosen["text2"])
"""
COUNTERS = """
import builder as b

b.source("records", "data/records.parquet", key="id")
b.count_by("counters", of="records", by=["place", "kind"], counts="n", sums={"total": "amount"}, publish=False)
"""
REGIONS = """
import builder as b

b.source("points", "data/points.parquet", key="id")
b.source("regions", "data/regions.parquet", key="rid")
b.assign_regions("placed", points="points", regions="regions", lon="lon", lat="lat", region_id={"region": "rid"})
"""
CASES = {
    "rows": {"5 %": 0.10, "0.1 %": 0.03},
    "counters": {"5 %": 0.7, "1 %": 0.4, "50 %": 1.1},
    "regions": {"one region": 0.03, "300 regions": 0.15, "5 % of the points": 0.10},
}
SHARES = {"5 %": 0.05, "0.1 %": 0.001, "1 %": 0.01, "50 %": 0.5}


@dataclass(frozen=True)
class Part:
    """A project and how its source is made, as it is first and with a change."""

    recipes: str
    make: Callable[[Path, int, str], None]


# -- data --------------------------------------------------------------------------------------------------------------


def make_rows(folder: Path, rows: int, case: str) -> None:
    """The CSV of ``intake.py``, with a share of its rows changed."""
    make_csv(folder / "big.csv", rows, False, SHARES.get(case, 0.0))


def make_records(folder: Path, rows: int, case: str) -> None:
    """Records of 40,000 places and 5 kinds, of which a share has another place, kind and amount."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(3)
    places, kinds = rng.integers(0, 40_000, rows), rng.integers(0, 5, rows)
    amounts = rng.integers(0, 10**6, rows)
    other = np.random.default_rng(4)
    at = other.choice(rows, int(rows * SHARES.get(case, 0.0)), replace=False)
    places[at], kinds[at], amounts[at] = other.permutation(places[at]), other.integers(0, 5, len(at)), amounts[at] + 1
    words = pa.array([f"place {i:05d}" for i in range(40_000)]), pa.array(["shop", "school", "park", "bank", "pier"])
    columns = {"id": np.arange(rows), "place": words[0].take(pa.array(places)), "kind": words[1].take(pa.array(kinds))}
    pq.write_table(pa.table(columns | {"amount": amounts}), folder / "records.parquet")


def make_points(folder: Path, rows: int, case: str) -> None:
    """Points spread over the regions of a Voronoi diagram of 30,000 cells with ragged borders, and those regions."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(5)
    lon, lat = rng.uniform(-120, -70, rows), rng.uniform(25, 50, rows)
    ids = np.arange(rows)
    if case.endswith("points"):
        at = np.random.default_rng(6).choice(rows, rows // 20, replace=False)
        lon[at] += 0.01
    pq.write_table(pa.table({"id": ids, "lon": lon, "lat": lat}), folder / "points.parquet")
    write_regions(folder / "regions.parquet", {"one region": 1, "300 regions": 300}.get(case, 0))


def write_regions(path: Path, changed: int) -> None:
    """30,000 regions that share borders of some 150 vertices; of some one vertex in a spike of their own is moved."""
    import geopandas as gpd
    import numpy as np
    import shapely

    rng = np.random.default_rng(7)
    sites = np.column_stack([rng.uniform(-120, -70, 30_000), rng.uniform(25, 50, 30_000)])
    cells = shapely.get_parts(shapely.voronoi_polygons(shapely.multipoints(sites)))
    cells = shapely.segmentize(shapely.clip_by_rect(cells, -120, 25, -70, 50), 0.008)
    chosen = np.random.default_rng(8).choice(len(cells), changed, replace=False)
    for k in chosen:
        x, y = cells[k].centroid.coords[0]
        cells[k] = cells[k].difference(shapely.box(x, y, x + 0.02, y + 0.02))
    gpd.GeoDataFrame({"rid": np.arange(len(cells))}, geometry=cells, crs="EPSG:4326").to_parquet(path)


PARTS = {
    "rows": Part(ROWS, make_rows),
    "counters": Part(COUNTERS, make_records),
    "regions": Part(REGIONS, make_points),
}


# -- builds ------------------------------------------------------------------------------------------------------------


def make(part: str, folder: str, rows: str, case: str) -> None:
    """Write a project's sources; in a process of its own, whose memory does not count."""
    target = Path(folder) / "data"
    target.mkdir(parents=True, exist_ok=True)
    PARTS[part].make(target, int(rows), case)


def build(folder: str, store: str, mode: str) -> dict[str, Any]:
    """Bring a project up to date in this process; what its steps took, and the digest of each target."""
    from dataclasses import replace

    import builder as b
    from builder.compile import choice
    from builder.project import Project

    choice.always = mode == "update"
    config = replace(b.open(folder).config, store=Path(folder) / store, out=Path(folder) / f"{store}-out")
    project = Project(config)
    run = project.rebuild(inline=True)
    assert run.outcome == "built", str(run)
    ledger = project.ledger()
    digests = {name: str(current.digest) for name, current in ledger.currents().items()}
    ledger.close()
    cpu_s = sum(t.cpu_s for t in run.targets)
    vias = sorted({str(t.via) for t in run.targets})
    return {"steps_s": cpu_s, "digests": digests, "vias": vias, "tested": sum(t.tested or 0 for t in run.targets)}


def run(name: str, folder: Path, options: argparse.Namespace) -> tuple[str, dict[str, dict[str, Any]], list[Line]]:
    """The costs of the steps of a part, brought up to date and from nothing."""
    _measured(name, folder / "warm", 5_000, 1)
    costs, lines = _measured(name, folder / "real", options.rows, options.repeat)
    return f"{name}: {options.rows:,} rows; CPU of the steps, up to date over from nothing", costs, lines


def _measured(name: str, folder: Path, rows: int, repeat: int) -> tuple[dict[str, dict[str, Any]], list[Line]]:
    costs, lines = {}, []
    (folder / "recipes").mkdir(parents=True)
    (folder / "recipes/main.py").write_text(PARTS[name].recipes)
    (folder / "builder.toml").write_text('name = "steps"\npublish = []\n')
    _child("make", part=name, folder=folder, rows=rows, case="")
    costs["first build"] = _child("build", folder=folder, store="first", mode="auto")
    for case, limit in CASES[name].items():
        shutil.rmtree(folder / "data")
        _child("make", part=name, folder=folder, rows=rows, case=case)
        runs = {
            "up to date": partial(_up_to_date, folder, "update" if limit < 1 else "auto"),
            "from nothing": partial(_from_nothing, folder),
        }
        found, clean = alternating(runs, repeat, "steps_s").values()
        assert found["digests"] == clean["digests"], f"{name}, {case}: other digests than from nothing"
        costs |= {f"{case}: up to date": found, f"{case}: from nothing": clean}
        note = f"same digests; {', '.join(found['vias'])}; {found['tested']:,} rows looked at"
        lines.append(Line(f"{name}, {case} changed", found["steps_s"] / clean["steps_s"], limit, note))
        for label, cost in ((f"{case}: up to date", found), (f"{case}: from nothing", clean)):
            costs[label]["cpu_s"] = cost["steps_s"]
    costs["first build"]["cpu_s"] = costs["first build"]["steps_s"]
    return costs, lines


def _up_to_date(folder: Path, mode: str) -> dict[str, Any]:
    shutil.rmtree(folder / "store", ignore_errors=True)
    shutil.copytree(folder / "first", folder / "store")
    return _child("build", folder=folder, store="store", mode=mode)


def _from_nothing(folder: Path) -> dict[str, Any]:
    shutil.rmtree(folder / "anew", ignore_errors=True)
    return _child("build", folder=folder, store="anew", mode="auto")


def _child(contender: str, **arguments: Any) -> dict[str, Any]:
    return measure(__file__, contender, arguments)


Runs = Mapping[str, Callable[..., Any]]
RUNS: Runs = {name: partial(run, name) for name in PARTS}

if __name__ == "__main__":
    as_contender({"make": make, "build": build})
