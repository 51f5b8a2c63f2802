"""Part ``real`` of ``increments.py``: the example through real releases of its sources, one after the other.

Counties of 2019 become those of 2023, a list of airports that of a month later, places those of the next release. After
each the targets have the digests of a build from nothing. CPU counts for the steps.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from increments import Line, as_contender, measure

RELEASES = {"counties": "counties.geojson.gz", "airports": "airports.csv.gz", "places": "places.csv.gz"}
AIRPORTS = 12_573


def make(folder: str) -> None:
    """Lay the example out with the counties of 2019; those of 2023 are then a later release like the others."""
    from builder.scaffold import init

    init(folder, "airports")
    counties = RELEASES["counties"]
    shutil.move(Path(folder) / "data" / counties, Path(folder) / "later" / counties)
    shutil.copy(Path(folder) / "earlier" / counties, Path(folder) / "data" / counties)


def build(folder: str, store: str) -> dict[str, Any]:
    """Bring the example up to date in this process; the differences, the rows looked at, and each target's digest."""
    from dataclasses import replace

    import builder as b
    from builder.compile import choice
    from builder.project import Project

    choice.always = True
    project = Project(replace(b.open(folder).config, store=Path(folder) / store, out=Path(folder) / f"{store}-out"))
    run = project.rebuild(inline=True)
    assert run.outcome == "built", str(run)
    ledger = project.ledger()
    digests = {name: str(current.digest) for name, current in ledger.currents().items()}
    ledger.close()
    return {
        "cpu_s": sum(target.cpu_s for target in run.targets),
        "digests": digests,
        "difference": {target.name: target.difference for target in run.targets},
        "tested": {target.name: target.tested for target in run.targets},
        "via": {target.name: target.via for target in run.targets},
    }


def run(folder: Path, _: argparse.Namespace) -> tuple[str, dict[str, dict[str, Any]], list[Line]]:
    """What each release did to the tables by rows, and how many of the points were asked again."""
    root = folder / "example"
    _child("make", folder=root)
    costs = {"first build": _child("build", folder=root, store="store")}
    for name, file in RELEASES.items():
        shutil.copy(root / "later" / file, root / "data" / file)
        costs[name] = found = _child("build", folder=root, store="store")
        costs[f"{name}, from nothing"] = clean = _child("build", folder=root, store=f"anew-{name}")
        assert found["digests"] == clean["digests"], f"{name}: other digests than from nothing"
    counties, airports, places = (costs[name] for name in RELEASES)
    assert counties["difference"]["airport_counties"] == [0, 0, 117], counties["difference"]
    assert airports["difference"]["clean_airports.good"] == [59, 53, 72], airports["difference"]
    assert airports["via"]["clean_airports.good"] == "rows", airports["via"]
    by_rows = airports["tested"]["clean_airports.good"] + airports["difference"]["clean_airports.good"][1]
    lines = [
        Line("real, counties: airports that change their county", 117, 117, "exactly; same digests"),
        Line("real, counties: airports asked", counties["tested"]["airport_counties"] / AIRPORTS, 0.25),
        Line("real, airports: rows in the recipe by rows", by_rows, 184, "exactly; same digests"),
        Line("real, airports: reassigned", airports["difference"]["airport_counties"][2], 0),
        Line("real, places: asked", places["tested"]["place_counties"], 127, "same digests"),
    ]
    return "real: the example through three releases; CPU of the steps", costs, lines


def _child(contender: str, **arguments: Any) -> dict[str, Any]:
    return measure(__file__, contender, arguments)


RUNS = {"real": run}

if __name__ == "__main__":
    as_contender({"make": make, "build": build})
