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

from increments import Line, alternating, forked
from intake import make_csv
from tessellation import regions

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
    "regions": {"one region": 0.03, "three regions": 0.05, "300 regions": 0.15, "5 % of the points": 0.10},
}
WARM_ROWS = 5_000
REGIONS_MOST = 30_000
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
    """Points spread over 30,000 regions (fewer where the points are few), and these.

    Regions change as in a revision: a corner moves, and with it the three borders that meet there, so that three
    regions change, and nowhere is a gap or an overlap; 100 corners are 300 regions. Where one region changes, its
    neighbours keep their sides of the borders.
    """
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
    write_regions(folder / "regions.parquet", min(REGIONS_MOST, max(rows // 100, 9)), case)


def write_regions(path: Path, count: int, case: str = "") -> None:
    """So many regions that share their borders, of which one or 300 changed."""
    corners = {"one region": 1, "three regions": 1, "300 regions": 100}.get(case, 0)
    found = regions(count, [(corners, 8)] if corners else [])
    if case == "one region":
        before = regions(count)
        one = (found.geometry.to_wkb() != before.geometry.to_wkb()).to_numpy().argmax()
        before.loc[one, "geometry"] = found.geometry[one]
        found = before
    found.to_parquet(path)


PARTS = {
    "rows": Part(ROWS, make_rows),
    "counters": Part(COUNTERS, make_records),
    "regions": Part(REGIONS, make_points),
}


# -- builds ------------------------------------------------------------------------------------------------------------


def make(part: str, folder: Path, rows: int, case: str) -> None:
    """Write a project's sources; in a process of its own, whose memory does not count."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    PARTS[part].make(folder / "data", rows, case)


def build(folder: Path, store: str, mode: str) -> dict[str, Any]:
    """Bring a project up to date in this process; what its steps took, and the digest of each target."""
    from dataclasses import replace

    import builder as b
    from builder.compile import choice
    from builder.project import Project

    choice.always = mode == "update"
    config = replace(b.open(folder).config, store=folder / store, out=folder / f"{store}-out")
    project = Project(config)
    run = project.rebuild(inline=True)
    assert run.outcome == "built", str(run)
    ledger = project.ledger()
    digests = {name: str(current.digest) for name, current in ledger.currents().items()}
    ledger.close()
    cpu_s = sum(t.cpu_s for t in run.targets)
    return {
        "steps_s": cpu_s,
        "digests": digests,
        "vias": sorted({str(t.via) for t in run.targets}),
        "changed": sum(sum(s.difference or ()) for s in run.sources),
        "tested": sum(t.tested or 0 for t in run.targets),
    }


def run(name: str, folder: Path, options: argparse.Namespace) -> tuple[str, dict[str, dict[str, Any]], list[Line]]:
    """The costs of the steps of a part, brought up to date and from nothing."""
    if options.rows > WARM_ROWS:
        _measured(name, folder / "warm", WARM_ROWS, 1)  # compiles what is compiled once for a machine
    costs, lines = _measured(name, folder / "real", options.rows, options.repeat)
    return f"{name}: {options.rows:,} rows; CPU of the steps, up to date over from nothing", costs, lines


def _measured(name: str, folder: Path, rows: int, repeat: int) -> tuple[dict[str, dict[str, Any]], list[Line]]:
    costs, lines = {}, []
    (folder / "recipes").mkdir(parents=True)
    (folder / "recipes/main.py").write_text(PARTS[name].recipes)
    (folder / "builder.toml").write_text('name = "steps"\npublish = []\n')
    forked(make, part=name, folder=folder, rows=rows, case="")
    costs["first build"] = forked(build, folder=folder, store="first", mode="auto")
    for case, limit in CASES[name].items():
        shutil.rmtree(folder / "data")
        forked(make, part=name, folder=folder, rows=rows, case=case)
        runs = {
            "up to date": partial(_up_to_date, folder, "update" if limit < 1 else "auto"),
            "from nothing": partial(_from_nothing, folder),
        }
        found, clean = alternating(runs, repeat, "steps_s").values()
        assert found["digests"] == clean["digests"], f"{name}, {case}: other digests than from nothing"
        costs |= {f"{case}: up to date": found, f"{case}: from nothing": clean}
        counts = f"{found['changed']:,} rows of sources changed, {found['tested']:,} looked at"
        note = f"same digests; {', '.join(found['vias'])}; {counts}"
        lines.append(Line(f"{name}, {case} changed", found["steps_s"] / clean["steps_s"], limit, note))
        for label, cost in ((f"{case}: up to date", found), (f"{case}: from nothing", clean)):
            costs[label]["cpu_s"] = cost["steps_s"]
    costs["first build"]["cpu_s"] = costs["first build"]["steps_s"]
    return costs, lines


def _up_to_date(folder: Path, mode: str) -> dict[str, Any]:
    shutil.rmtree(folder / "store", ignore_errors=True)
    shutil.copytree(folder / "first", folder / "store")
    return forked(build, folder=folder, store="store", mode=mode)


def _from_nothing(folder: Path) -> dict[str, Any]:
    shutil.rmtree(folder / "anew", ignore_errors=True)
    return forked(build, folder=folder, store="anew", mode="auto")


Runs = Mapping[str, Callable[..., Any]]
RUNS: Runs = {name: partial(run, name) for name in PARTS}
