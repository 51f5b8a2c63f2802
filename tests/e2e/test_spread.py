"""A full run of a large table goes over all idle workers, and comes out as in one."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pandas as pd
import pytest

COUNT = 2_300_000
RECIPES = """
import os

b.source("big", "data/big.parquet", key="id")

@b.recipe(key="id", grain=b.rows("big"))
def doubled(big: pd.DataFrame):
    print("by", os.getpid())
    return big.assign(x=big["x"] * 2)[["id", "x"]]

@b.recipe(key=["x", "id"], grain=b.rows("big"))
def turned(big: pd.DataFrame):
    return big.assign(x=-big["id"] % 7)[["x", "id"]]

b.count_by("counts", of="big", by=["kind"], sums={"total": "x"})
"""


@pytest.fixture
def large(site: Any) -> Any:
    """A project with a table of three parts."""
    rng = np.random.default_rng(1)
    site.table = pd.DataFrame(
        {"id": np.arange(COUNT), "kind": rng.integers(0, 50, COUNT), "x": rng.integers(0, 99, COUNT)}
    )
    (site.root / "data").mkdir()
    site.table.to_parquet(site.root / "data/big.parquet")
    site.write("builder.toml", 'name = "large"\npublish = []\n')
    site.recipe(RECIPES)
    return site


def test_pieces_on_all_workers_make_the_same_tables(large: Any) -> None:
    for target in ("doubled", "turned", "counts"):  # one after the other: two that are ready at once are not spread
        large.built(targets=[target], inline=False)
    log = "".join(p.read_text() for p in (large.root / ".builder/logs").rglob("doubled.*.log"))
    assert len(set(log.split())) == 3, log  # "by" and two processes
    assert not large.project.fsck().problems
    found = large.load("doubled")
    assert found["x"].to_numpy().tolist() == (large.table["x"] * 2).tolist()
    counted = large.load("counts").set_index("kind")
    assert counted["total"].tolist() == large.table.groupby("kind")["x"].sum().tolist()
    spread = large.digests()
    shutil.rmtree(large.root / ".builder")
    large.built()
    assert large.digests() == spread


def test_a_change_of_few_rows_stays_with_one_worker_and_layers_are_read_in_spans(large: Any) -> None:
    large.built()
    table = large.table
    table.loc[::50_000, "x"] += 1
    table = pd.concat([table.drop(index=range(7, COUNT, 90_000)), table.tail(1).assign(id=COUNT + 5)])
    table.to_parquet(large.root / "data/big.parquet")
    done = large.built(inline=False)
    assert {t["via"] for t in done["targets"]} == {"rows", "fold"}
    large.recipe(RECIPES.replace("* 2", "* 3"))
    large.built(targets=["doubled"], inline=False)
    log = max((large.root / ".builder/logs").rglob("doubled.*.log"), key=lambda p: p.stat().st_mtime).read_text()
    assert len(set(log.split())) == 3, log
    assert large.load("doubled")["x"].to_numpy().tolist() == (table["x"] * 3).tolist()


def test_pieces_that_have_no_rows_are_left_out(large: Any) -> None:
    large.built()
    kept = large.table[large.table["id"] >= 1_100_000]  # none of the first of three parts
    kept.to_parquet(large.root / "data/big.parquet")
    large.built(inline=False)
    large.recipe(RECIPES.replace("* 2", "* 3").replace('by=["kind"]', 'by=["kind"], counts="all"'))
    for target in ("doubled", "counts"):
        large.built(targets=[target], inline=False)
    log = max((large.root / ".builder/logs").rglob("doubled.*.log"), key=lambda p: p.stat().st_mtime).read_text()
    assert "runs" not in log
    assert large.load("doubled")["x"].to_numpy().tolist() == (kept["x"] * 3).tolist()
    assert large.load("counts")["all"].tolist() == kept.groupby("kind").size().tolist()


def test_a_step_that_holds_a_lane_runs_on_one_worker(large: Any) -> None:
    large.write("builder.toml", 'name = "large"\npublish = []\n[lanes]\ndb = 1\n')
    large.recipe(RECIPES.replace('key="id", grain', 'key="id", lane="db", grain'))
    large.built(targets=["doubled"], inline=False)
    log = "".join(p.read_text() for p in (large.root / ".builder/logs").rglob("doubled.*.log"))
    assert len(set(log.split())) == 2, log  # "by" and one process


DYING = """
import os

b.source("big", "data/big.parquet", key="id")

@b.recipe(key="id", grain=b.rows("big"))
def doubled(big: pd.DataFrame):
    if "-" in b.workspace().parent.name:  # a piece on another worker than the step's own
        {ends}
    return big.assign(x=big["x"] * 2)[["id", "x"]]
"""


@pytest.mark.parametrize("ends", ["os._exit(3)", 'raise ValueError("on a helper")'])
def test_a_piece_that_fails_on_a_helper_is_done_by_the_steps_own_worker(large: Any, ends: str) -> None:
    large.recipe(DYING.replace("{ends}", ends))
    large.built(inline=False)
    assert large.load("doubled")["x"].to_numpy().tolist() == (large.table["x"] * 2).tolist()
    kept = {p for p in (large.root / ".builder/parts").rglob("*") if p.is_file()}
    large.project.gc()
    assert {p for p in (large.root / ".builder/parts").rglob("*") if p.is_file()} == kept


def test_an_error_of_a_recipe_is_told_as_in_one(large: Any) -> None:
    large.recipe(DYING.replace("{ends}", "pass").replace("return big", 'raise ValueError("never"); return big'))
    (target,) = large.rebuild(inline=False)["targets"]
    assert target["error"]["code"] == "recipe-error"
    assert "never" in target["error"]["message"]
    assert not (large.root / ".builder/parts").exists() or not large.project.fsck().problems
