"""Part ``choice`` of ``increments.py``: whether the way that a step goes is the cheaper one.

Thirty changes of three kinds of steps at two sizes, one after the other in one store, which learns from each. Beside
the way that was chosen both ways are measured on copies of the store: what a choice costs is its time over the better.
"""

from __future__ import annotations

import argparse
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from increments import Line, as_contender, measure

STEPS = {
    "rows": (
        '@b.recipe(key="id", grain=b.rows("big"))\n'
        "def step(big: pd.DataFrame):\n"
        '    return big.assign(text0=big["text0"].str.upper(), ratio=big["amount"] / (1 + big["kind"]))\n'
    ),
    "groups": (
        '@b.recipe(key="kind", grain=b.groups("kind", "big"), columns={"kind": "int64", "amount": "int64"})\n'
        "def step(big: pd.DataFrame):\n"
        '    return big.groupby("kind", as_index=False)["amount"].max()\n'
    ),
    "fold": 'b.count_by("step", of="big", by=["kind"], counts="n", sums={"total": "amount"})\n',
}
RECIPES = """
import builder as b
import pandas as pd

b.source("big", "data/big.parquet", key="id")

"""
SHARES = (0.001, 0.01, 0.05, 0.2, 0.6)
NEAR_S = 0.05
REGRET = 1.15


def make(folder: str, rows: str, share: str, seed: str) -> None:
    """Write the source; a share of its rows, another for each seed, has another amount."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng, count = np.random.default_rng(1), int(rows)
    amounts, kinds = rng.integers(0, 10**6, count), rng.integers(0, max(10, count // 50), count)
    other = np.random.default_rng(int(seed))
    at = other.choice(count, int(count * float(share)), replace=False)
    amounts[at] = other.integers(0, 10**6, len(at))
    texts = pa.array([f"place {i:05d}" for i in range(1000)]).take(pa.array(rng.integers(0, 1000, count)))
    table = pa.table({"id": np.arange(count), "kind": kinds, "amount": amounts, "text0": texts})
    (Path(folder) / "data").mkdir(exist_ok=True)
    pq.write_table(table, Path(folder) / "data/big.parquet")


def build(folder: str, store: str, mode: str) -> dict[str, Any]:
    """Bring the project up to date in one of the ways; the way, and the seconds of its step."""
    from dataclasses import replace

    import builder as b
    from builder.compile import choice
    from builder.execute import ways
    from builder.project import Project

    ways.AUDITED = 1 << 60
    choice.always = mode == "update"
    config = replace(b.open(folder).config, store=Path(folder) / store, out=Path(folder) / f"{store}-out")
    run = Project(config).rebuild(inline=True, all=mode == "full")
    (step,) = run.targets
    return {"via": step.via, "step_s": step.wall_s}


def run(folder: Path, options: argparse.Namespace) -> tuple[str, dict[str, dict[str, Any]], list[Line]]:
    """The regret of each choice."""
    regrets = []
    for kind, recipe in STEPS.items():
        for rows in (options.rows // 50, options.rows // 5):
            place = folder / f"{kind}-{rows}"
            (place / "recipes").mkdir(parents=True)
            (place / "recipes/main.py").write_text(RECIPES + recipe)
            (place / "builder.toml").write_text('name = "choice"\npublish = []\n')
            for seed, share in enumerate((0.0, *SHARES)):
                _child("make", folder=place, rows=rows, share=share, seed=seed)
                label = f"{kind}, {rows:,} rows, {share:.1%} changed"
                if seed:
                    regrets.append(_case(place, label))
                else:
                    _child("build", folder=place, store="store", mode="auto")
    regrets.sort()
    worst = regrets[int(0.95 * len(regrets))]
    title = f"choice: {len(regrets)} changes; what each took beyond the better way (at most {NEAR_S:g} s count as none)"
    return title, {}, [Line("95 % of the choices within", worst, REGRET)]


def _case(place: Path, label: str) -> float:
    """What a choice took over what the better way did."""
    took = {}
    for mode in ("update", "full"):
        runs = []
        for _ in range(2):
            shutil.rmtree(place / "copy", ignore_errors=True)
            shutil.copytree(place / "store", place / "copy")
            runs.append(_child("build", folder=place, store="copy", mode=mode))
        took[mode] = min(runs, key=lambda found: float(found["step_s"]))
    chosen = _child("build", folder=place, store="store", mode="auto")["via"]
    update_s, full_s = took["update"]["step_s"], took["full"]["step_s"]
    better_s = min(update_s, full_s)
    chosen_s = full_s if chosen == "full" else update_s
    print(f"{label}: {'whole' if chosen == 'full' else 'update'} (update {update_s:.3f} s, whole {full_s:.3f} s)")
    return 1.0 if chosen_s - better_s <= NEAR_S else float(chosen_s / better_s)


def _child(contender: str, **arguments: Any) -> dict[str, Any]:
    return measure(__file__, contender, arguments)


RUNS = {"choice": partial(run)}

if __name__ == "__main__":
    as_contender({"make": make, "build": build})
