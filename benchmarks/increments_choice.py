"""Part ``choice`` of ``increments.py``: whether the way that a step goes is the cheaper one.

Changes of steps of each rule, at two sizes, one after the other in one store, which learns from each. For each change
the project is brought up to date on copies of the store, in turn: by an update, whole, and as it chooses. A chosen run
does the same as one that was told to go that way, so each way counts with the least CPU of its step in all runs that
went it; what a choice costs is that of its way over the better one's. All have the digest of a build from nothing.
Audits are off: one update in a hundred is followed by a full run on purpose, which is not a choice.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from increments import Line, forked

HEAD = """
import builder as b
import pandas as pd

b.source("big", "data/big.parquet", key="id")
"""
BY_ROWS = """
@b.recipe(key="id", grain=b.rows("big"))
def step(big: pd.DataFrame):
    return big.assign(text=big["text"].str.upper(), ratio=big["amount"] / (1 + big["kind"]))
"""
LOOKUP = """
b.source("kinds", "data/kinds.parquet", key="kind")

@b.recipe(key="id", grain=b.rows("big"), inputs={"big": "big", "kinds": b.lookup("kinds", on="kind")})
def step(big: pd.DataFrame, kinds: pd.DataFrame):
    return big.merge(kinds, on="kind", how="left")
"""
BY_GROUPS = """
@b.recipe(key="kind", grain=b.groups("kind", "big"), columns={"kind": "int64", "amount": "int64"})
def step(big: pd.DataFrame):
    return big.groupby("kind", as_index=False)["amount"].max()
"""
FOLD = """
b.count_by("step", of="big", by=["kind"], counts="n", sums={"total": "amount"})
"""
SPATIAL = """
b.source("regions", "data/regions.parquet", key="rid")
b.assign_regions("step", points="big", regions="regions", lon="lon", lat="lat", region_id={"region": "rid"})
"""
OWN = """
def rated(big):
    return big.assign(text=big["text"].str.upper(), ratio=big["amount"] / (1 + big["kind"]))

@b.recipe(key="id")
def step(big: pd.DataFrame):
    return rated(big)

@step.update
def step_update(previous, deltas):
    change = deltas["big"]
    return b.Delta(upserts=rated(change.upserts), deleted=change.deleted)
"""
SHARES = {50: (0.05, 0.3), 10: (0.01, 0.1, 0.6)}
"""Of how many times fewer rows than ``--rows`` which shares change, one after the other."""
WAYS = ("update", "full", "auto")
REPEAT = 2
NEAR_S = 0.05
REGRET = 1.15


# -- data --------------------------------------------------------------------------------------------------------------


def make(folder: Path, rows: int) -> None:
    """Write all sources as they are first."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng, kinds = np.random.default_rng(1), _kinds(rows)
    table = {
        "id": np.arange(rows),
        "kind": rng.integers(0, kinds, rows),
        "amount": rng.integers(0, 10**6, rows),
        "lon": rng.uniform(-120, -70, rows),
        "lat": rng.uniform(25, 50, rows),
        "text": pa.array([f"place {i:05d}" for i in range(1000)]).take(pa.array(rng.integers(0, 1000, rows))),
    }
    (folder / "data").mkdir()
    pq.write_table(pa.table(table), folder / "data/big.parquet")
    pq.write_table(pa.table({"kind": np.arange(kinds), "rate": rng.random(kinds)}), folder / "data/kinds.parquet")
    change_regions(folder, rows, [])


def change_column(folder: Path, file: str, column: str, share: float, seed: int) -> None:
    """Give a share of a file's rows a value of one column that is larger by one; a longitude moves by a degree."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    path, rng = folder / f"data/{file}.parquet", np.random.default_rng(seed)
    table = pq.read_table(path)
    values = table.column(column).to_numpy().copy()
    at = rng.choice(len(values), max(1, int(len(values) * share)), replace=False)
    values[at] += 1
    pq.write_table(table.set_column(table.column_names.index(column), column, pa.array(values)), path)


def change_regions(folder: Path, rows: int, shares: list[float]) -> None:
    """The regions after in each change the borders of a share of them, or of as many as there are apart, have moved."""
    from tessellation import regions

    count = max(9, rows // 500)
    changes = [(max(1, int(count * share / 3)), seed) for seed, share in enumerate(shares)]
    regions(count, changes).to_parquet(folder / "data/regions.parquet")


def _kinds(rows: int) -> int:
    return max(10, rows // 50)


@dataclass(frozen=True)
class Kind:
    """A step of some rule, and what changes of its sources: a file and a column of it, or the borders of regions."""

    recipe: str
    file: str = "big"
    column: str = "amount"


KINDS = {
    "rows": Kind(BY_ROWS),
    "lookup": Kind(LOOKUP, "kinds", "rate"),
    "groups": Kind(BY_GROUPS),
    "fold": Kind(FOLD),
    "points": Kind(SPATIAL, column="lon"),
    "regions": Kind(SPATIAL, "regions"),
    "own update": Kind(OWN),
}


# -- builds ------------------------------------------------------------------------------------------------------------


def build(folder: Path, store: str, way: str) -> dict[str, Any]:
    """Bring the project up to date in one of the ways; the way, the seconds of its step, and its digest."""
    from dataclasses import replace

    import builder as b
    from builder.compile import choice
    from builder.execute import ways
    from builder.project import Project

    ways.AUDITED = 1 << 60
    choice.always = way == "update"
    config = replace(b.open(folder).config, store=folder / store, out=folder / f"{store}-out")
    project = Project(config)
    run = project.rebuild(inline=True, all=way == "full")
    assert run.outcome == "built", str(run)
    (step,) = run.targets
    ledger = project.ledger()
    digest = str(ledger.currents()["step"].digest)
    ledger.close()
    return {"via": str(step.via), "step_s": step.cpu_s, "digest": digest}


def run(folder: Path, options: argparse.Namespace) -> tuple[str, dict[str, dict[str, Any]], list[Line]]:
    """What each choice cost."""
    regrets = []
    for name, kind in KINDS.items():
        for fewer, shares in SHARES.items():
            place = folder / f"{name}-{fewer}"
            (place / "recipes").mkdir(parents=True)
            (place / "recipes/main.py").write_text(HEAD + kind.recipe)
            (place / "builder.toml").write_text('name = "choice"\npublish = []\n')
            rows = options.rows // fewer
            forked(make, folder=place, rows=rows)
            forked(build, folder=place, store="store", way="auto")
            for number, share in enumerate(shares):
                if kind.file == "regions":
                    forked(change_regions, folder=place, rows=rows, shares=list(shares[: number + 1]))
                else:
                    what = {"file": kind.file, "column": kind.column, "share": share, "seed": number}
                    forked(change_column, folder=place, **what)
                regrets.append(_case(place, f"{name}, {rows:,} rows, {share:.1%} changed"))
            shutil.rmtree(place)
    regrets.sort()
    worst = regrets[int(0.95 * len(regrets))]
    title = f"choice: {len(regrets)} changes; CPU of the chosen way's step over the better one's"
    note = f"less than {NEAR_S:g} s more counts as none; same digests; the most: {regrets[-1]:.2f}"
    return title, {}, [Line("95 % of the choices within", worst, REGRET, note)]


def _case(place: Path, label: str) -> float:
    """What a choice took over what the better way did; the store goes on as it was chosen."""
    digest = forked(build, folder=place, store="anew", way="auto")["digest"]
    shutil.rmtree(place / "anew")
    took: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(REPEAT):
        for way in WAYS:
            shutil.rmtree(place / "copy", ignore_errors=True)
            shutil.copytree(place / "store", place / "copy")
            found = forked(build, folder=place, store="copy", way=way)
            assert found["digest"] == digest, f"{label}: {way} has another digest than a build from nothing"
            took[way].append(found)
    shutil.rmtree(place / "store")
    (place / "copy").rename(place / "store")  # the last one is as it was chosen
    assert {found["via"] for found in took["full"]} == {"full"}, f"{label}: a full run was an update"
    chosen = [found["via"] for found in took["auto"]]
    assert len(set(chosen)) == 1, f"{label}: it chose {' and '.join(chosen)} from the same store"
    by_way: dict[str, list[float]] = {}
    for found in (found for way in WAYS for found in took[way]):
        by_way.setdefault(found["via"], []).append(found["step_s"])
    least = {via: min(seconds) for via, seconds in by_way.items()}
    more_s = least[chosen[0]] - min(least.values())
    regret = 1.0 if more_s <= NEAR_S else least[chosen[0]] / min(least.values())
    own_s = min(found["step_s"] for found in took["auto"])
    both = ", ".join(f"{via} {seconds:.3f} s" for via, seconds in sorted(least.items()))
    print(f"{label + ':':<44} {chosen[0]:<8} {own_s:6.3f} s ({both}) {regret:.2f}", flush=True)
    return regret


RUNS: dict[str, Callable[..., Any]] = {"choice": run}
