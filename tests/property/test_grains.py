"""Each grain by itself: after any edits of its sources an updated table is what a build from nothing gives.

``test_chains.py`` mixes all of it, with edits of recipes, with kills and failures. Here the recipes stay as they are,
the tables are larger, and each recipe has to be brought up to date time and again.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edits
import pytest
from laws import BAD, claim
from making import free_ids, make_row
from scales import at_small_scale, limited, limits_of
from worlds import Csv, Regions, Source, World

from builder.compile import choice
from builder.execute import ways
from builder.nouns import replace
from builder.project import Project
from builder.project import open as open_project
from builder.store.ledger import Ledger

SEEDS = 2
STEPS = 12

FEW_ROWS = [edits.insert_row, edits.delete_row, edits.move_vertex, edits.move_key, *[edits.change_cells] * 2]
ALL_ROWS = [
    *[edits.change_all, edits.empty_table, edits.sort_rows, edits.respell, edits.duplicate_key, edits.break_csv],
    *[edits.revert_data] * 3,
]

PLACES = """
    @b.recipe(inputs={"t": "points"}, key="id", grain=b.rows("t"))
    def places(t: pd.DataFrame):
        x, y = t["id"] * 7 % 11 / 2, t["a"].fillna(4).to_numpy(float)
        return pd.DataFrame({"id": t["id"], "b": t["b"], "x": x, "y": y, "n": t["a"].fillna(0).astype("int64")})
"""

SMOOTH = """
    b.smooth_regions("chaikin", regions="regions", iterations=1)
    b.smooth_regions("tolerant", regions="regions", tolerance_m=0.3, keep=["b"])
    b.smooth_regions("taubin", regions="chaikin", iterations=3)
    b.smooth_regions("buffer", regions="regions", method="buffer", distance_m=0.25)
    b.smooth_regions("taubin_of_family", regions="parts[k={k}]", method="taubin", each="parts")
"""

INFER = (
    PLACES
    + """
    words = {"by": ["b"], "lon": "x", "lat": "y", "crs": "EPSG:3857"}
    b.infer_regions("convex", points="places", method="convex", **words)
    b.infer_regions("concave", points="places", method="concave", ratio=0.4, **words)
    b.infer_regions("clusters", points="places", method="clusters", radius_m=3, min_points=2, **words)
    b.infer_regions("by_two", points="places", method="convex", **(words | {"by": ["b", "n"]}))
    b.infer_regions("dissolve", points="regions", by=["b"], method="dissolve")
    b.smooth_regions("smooth", regions="convex", iterations=1)
"""
)

COUNT = (
    PLACES
    + """
    @b.recipe(inputs={"t": "points"}, key="code")
    def codes(t: pd.DataFrame):
        found = sorted(t["b"].dropna().unique())
        return pd.DataFrame({"code": found, "parent": [None, *found[:-1]]}, dtype="string")

    b.count_by("counts", of="points", by=["b"], sums={"total": "a"})
    b.count_by("levels", of="points", by=["b"], sums={"total": "a"}, taxonomy="codes")
    b.assign_regions("lowest", points="places", regions="regions", lon="x", lat="y", region_id={"r": "id"},
                     crs="EPSG:3857", keep=["b"])
    b.assign_regions("all", points="places", regions="regions", lon="x", lat="y", region_id={"r": "id"},
                     crs="EPSG:3857", ties="all", predicate="intersects")
    b.count_by("placed", of="lowest", by=["r", "b"])

    @b.recipe(inputs={"t": "points"}, key="b", grain=b.groups("b", "t"), columns={"b": "string", "top": "Int64"})
    def largest(t: pd.DataFrame):
        return t.dropna(subset="b").groupby("b", as_index=False)["a"].max().rename(columns={"a": "top"})
"""
)

READS = """
    DTYPES = {"id": "int64", "a": "Int64", "z": "string"}

    @b.recipe(inputs={"t": b.read("points", where={"c": 0.5})}, key="id", grain=b.rows("t"))
    def some(t: pd.DataFrame):
        return t.assign(a=t["a"] + 1)

    @b.recipe(inputs={"t": b.read("points", columns=["id", "a"], where={"b": "oak"})}, key="id", grain=b.rows("t"),
              columns={"id": "int64", "a": "Int64"})
    def narrow(t: pd.DataFrame):
        return t

    @b.recipe(inputs={"t": b.read("points", columns=["a"], where={"b": None})})
    def nameless(t: pd.DataFrame):
        return {"rows": len(t), "total": int(t["a"].sum())}

    @b.recipe(inputs={"t": b.read("points", where={"b": "elm"})}, key="id")
    def elms(t: pd.DataFrame):
        return t

    @b.recipe(inputs={"t": "points", "u": b.lookup("side", on="a")}, key="id", grain=b.rows("t"), columns=DTYPES)
    def by_number(t: pd.DataFrame, u: pd.DataFrame):
        u = u[["id", "b"]].rename(columns={"id": "a", "b": "z"}).astype({"a": "Int64"})
        return t[["id", "a"]].merge(u, on="a", how="left")

    @b.recipe(inputs={"t": b.read("points", where={"b": "ash"}), "u": b.lookup("side", on="id")}, key="id",
              grain=b.rows("t"), columns=DTYPES)
    def by_key(t: pd.DataFrame, u: pd.DataFrame):
        return t[["id", "a"]].merge(u[["id", "b"]].rename(columns={"b": "z"}), on="id")
"""

OWN = """
    @b.recipe(inputs={"t": "points"}, key="b", columns={"b": "string", "n": "int64", "total": "Int64"})
    def totals(t: pd.DataFrame):
        t = t.dropna(subset="b")
        return t.groupby("b", as_index=False).agg(n=("id", "size"), total=("a", "sum"))

    @totals.update
    def totals_update(previous, deltas):
        change = deltas["t"]
        new, old = totals(change.upserts), totals(change.old(["id", "a", "b"]))
        old = old.assign(n=-old["n"], total=-old["total"])
        after = pd.concat([previous, new, old]).groupby("b", as_index=False).sum()
        return b.Delta(after[after["n"] > 0], after[after["n"] == 0])

    @b.recipe(inputs={"t": b.read("points", where={"c": 2.25})}, key="id", columns={"id": "int64", "a": "Int64"})
    def some(t: pd.DataFrame):
        return t[["id", "a"]]

    @some.update
    def some_update(previous, deltas):
        change = deltas["t"]
        return b.FULL if len(change.upserts) > 5 else b.Delta(some(change.upserts), change.deleted)

    @b.recipe(inputs={"t": "points"}, key="id", outputs=("low", "high"), columns={"id": "int64", "a": "Int64"})
    def halves(t: pd.DataFrame):
        t, is_low = t[["id", "a"]], t["a"].fillna(0) < 10
        return {"low": t[is_low], "high": t[~is_low]}

    @halves.update
    def halves_update(previous, deltas):
        made, change = halves(deltas["t"].upserts), deltas["t"]
        gone = pd.concat([change.deleted, change.upserts[["id"]]])
        return {name: b.Delta(rows, gone) for name, rows in made.items()}
"""


@dataclass
class Written(World):
    """A world whose recipes are written out."""

    text: str = ""

    def _main(self) -> str:
        head = ["import builder as b", "import pandas as pd", "", *(s.code() for s in self.sources.values())]
        return "\n".join([*head, textwrap.dedent(self.text)])


def made_world(text: str, rng: random.Random) -> Written:
    """Points, a table beside them, and regions alone and in two parts: as far as the recipes read them."""
    world = Written({}, {}, publish="all", text=text)
    sizes = {"points": 30, "side": 12, "regions": 8, "parts": 4}
    for name, count in ((n, c) for n, c in sizes.items() if f'"{n}' in text):
        is_table, kind = name in ("points", "side"), "family" if name == "parts" else "one"
        source = Source(name, kind, is_table, True, True, is_regions=not is_table)
        for member in [""] if kind == "one" else ["u", "v"]:
            source.files[member] = (Csv if is_table else Regions)([])
            rows = [make_row(source, rng, n) for n in free_ids(source, rng, count)]
            source.files[member].rows = rows
        world.sources[name] = source
    return world


class Life:
    """A project through its edits; every version is compared with a build from nothing."""

    def __init__(self, root: Path, text: str, seed: int) -> None:
        self.rng = random.Random(f"{seed} {len(text)}")
        self.root = root
        self.site = edits.Site(root / "project", made_world(text, self.rng))
        self.site.root.mkdir()
        self.site.world.write(self.site.root)
        self.ways: Counter[tuple[str, str | None]] = Counter()
        self.said: list[str] = []

    def step(self) -> None:
        """One edit or a few, or the way back from what is ill, and a rebuild."""
        if edits.is_ill(self.site.world) and self.rng.random() < 0.7:
            self.said.append(edits.mend_all(self.site))
        else:
            self.site.keep()
            chosen = self.rng.choices(FEW_ROWS, k=self.rng.choice([1, 3, 8]))
            for edit in chosen if self.rng.random() < 0.75 else [self.rng.choice(ALL_ROWS)]:
                self.said.append(str(edit(self.site, self.rng)))
        self.site.world.write(self.site.root)
        self.prove()

    def prove(self) -> None:
        """A rebuild, and the same from nothing at the usual sizes: the same digests, or both fail."""
        project = open_project(self.site.root)
        run = project.rebuild(inline=True)
        self.ways.update((t.name.partition("[")[0], t.via) for t in run.targets if t.outcome not in BAD)
        with limited():
            anew = Project(replace(project.config, store=self.root / "anew/store", out=self.root / "anew/out"))
            clean = anew.rebuild(inline=True)
        expected: dict[str, Any] = {t.name: None for t in clean.targets if t.outcome in BAD}
        expected |= self.digests(self.root / "anew/store")
        here = self.digests(self.site.root / ".builder")
        states = {t.name: t.state.value for t in project.status().targets}
        for name, digest in expected.items():
            if digest is None:
                claim(states[name] in BAD, f"{name} is {states[name]}, and fails from nothing; {self.said}")
            else:
                claim(here[name] == digest, f"{name} is {here.get(name)}, from nothing {digest}; {self.said}")
        shutil.rmtree(self.root / "anew")

    def digests(self, store: Path) -> dict[str, Any]:
        """The digest of each target that is built."""
        ledger = Ledger.open(store)
        found = {c.name: str(c.digest) for c in ledger.currents().values()}
        ledger.close()
        return found


def live(root: Path, text: str, seed: int) -> Counter[tuple[str, str | None]]:
    """The ways that the recipes of a project went through one chain of edits."""
    with at_small_scale(), limited(limits_of(seed)):
        life = Life(root, text, seed)
        life.prove()
        for _ in range(STEPS):
            life.step()
    return life.ways


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory where there is one, for these are thousands of small files."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="grains-", dir=memory if memory.is_dir() else None) as made:
        yield Path(made)


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Updates wherever they are allowed, and no audit that would stand in for them."""
    monkeypatch.setattr(choice, "always", True)
    monkeypatch.setattr(ways, "AUDITED", 1 << 40)


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        (SMOOTH, "rows: chaikin tolerant taubin buffer taubin_of_family"),
        (INFER, "groups: convex concave clusters by_two dissolve"),
        (COUNT, "fold: counts levels; spatial: lowest all; groups: largest"),
        (READS, "rows: some narrow elms by_number by_key"),
        (OWN, "update: totals some halves.low halves.high"),
    ],
    ids=["smooth", "infer", "count", "reads", "own"],
)
def test_an_updated_table_is_what_a_build_from_nothing_gives(folder: Path, text: str, rules: str) -> None:
    ways: Counter[tuple[str, str | None]] = Counter()
    for seed in range(SEEDS):
        root = folder / str(seed)
        root.mkdir()
        ways += live(root, text, seed)
    for rule, names in (part.split(": ") for part in rules.split("; ")):
        for name in names.split():
            assert ways[name, rule] >= 2 * SEEDS, (name, ways)
