"""Recipes that compute Dask collections: on their own slot, or on all the slots that they ask for."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

RECIPES = """
    import os
    import dask
    import dask.dataframe as dd

    s = b.source("s", "data/s.csv", key="id")

    class Own:
        "A class of the recipes: the workers that help must know it."
        def __init__(self, n):
            self.n = n

    def double(part):
        with open(f"{HERE}/{os.getpid()}", "a") as file:
            file.write("x")
        return part.assign(n=part["n"] * Own(2).n)

    @b.recipe(key="id", slots=SLOTS, needs=NEEDS)
    def t(s: dd.DataFrame):
        print("ran in", os.getpid())
        spread = s.compute()
        parts = dd.from_pandas(spread, npartitions=4).map_partitions(double, meta=spread.iloc[:0])
        total = parts["n"].sum().compute()
        return parts.compute().assign(total=total)
"""


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    (tmp_path / "marks").mkdir()
    return tmp_path / "marks"


def lay(site: Any, marks: Path, slots: int, needs: tuple[str, ...]) -> None:
    site.write("data/s.csv", "id,n\n" + "".join(f"{i},{i}\n" for i in range(20)))
    text = RECIPES.replace("{HERE}", str(marks)).replace("SLOTS", str(slots)).replace("NEEDS", repr(needs))
    site.recipe(text)


def expected() -> pd.DataFrame:
    return pd.DataFrame({"id": range(20), "n": [2 * i for i in range(20)], "total": 380})


def check(site: Any) -> None:
    found = site.load("t")
    pd.testing.assert_frame_equal(found.astype("int64"), expected().astype("int64"))


def test_collections_are_computed_in_the_process_of_their_step(site: Any, marks: Path) -> None:
    lay(site, marks, 1, ())
    site.built(inline=False, workers=2)
    check(site)
    assert {p.name for p in marks.iterdir()} == {site.project.log("t").split()[-1]}


def test_collections_of_a_step_that_needs_the_cluster_run_on_the_slots_it_takes(site: Any, marks: Path) -> None:
    lay(site, marks, 3, ("cluster",))
    site.built(inline=False, workers=3)
    check(site)
    own = site.project.log("t").split()[-1]
    helpers = {p.name for p in marks.iterdir()}
    assert len(helpers) == 2 and own not in helpers


def test_a_step_that_needs_the_cluster_gives_the_same_in_this_process(site: Any, marks: Path) -> None:
    lay(site, marks, 3, ("cluster",))
    site.built(inline=True)
    check(site)


def test_a_helper_that_dies_is_told_as_a_death_and_tried_once_more(site: Any, marks: Path) -> None:
    site.recipe(
        f"""
        import os
        import dask

        def part(i):
            if not os.path.exists("{marks}/died"):
                open("{marks}/died", "w").close()
                os._exit(3)
            return i

        @b.recipe(slots=2, needs=("cluster",))
        def t():
            return {{"sum": dask.delayed(sum)([dask.delayed(part)(i) for i in range(4)]).compute()}}
        """
    )
    (target,) = site.built(inline=False, workers=2)["targets"]
    assert target["outcome"] == "built" and site.load("t") == {"sum": 6}
    outcomes = [row[0] for row in site.project.ledger().rows("SELECT outcome FROM attempts ORDER BY rowid")]
    assert outcomes == ["worker-died", "done"]
