"""Counting 20 M records into 2 M counters over a taxonomy of 5 levels: builder, pandas, polars and duckdb.

    python benchmarks/counters.py [--rows 20000000] [--repeats 3] [--threads 1] [--only CASE]

Every tool gets the same columns in memory in its own frame (pandas: NumPy integers and Arrow-backed text; polars: a
DataFrame; duckdb: a table in an in-memory database) and gives the counters in it. The peers are written as an expert
would: the records are grouped once, then the small table of counters is rolled up, level by level or by a join with all
ancestors. A tool with several ways takes part with each of them, and its best counts. Each run is a process of its own;
reading the columns and a first run on 100,000 rows, which loads and compiles, are not timed. CPU seconds are those of
all threads of the process, user and system. All answers are compared row for row after timing; builder's are also in
order, the others' need not be.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

LEVELS = (1, 6, 36, 216, 1296)
WIDE_LEVELS = (1, 20, 400, 8_000, 2_000_000)
CASES = {
    "pairs": "region (1..n) × kind (text), counts",
    "sums": "region (1..n) × kind (text), counts and a sum of integers",
    "scattered": "region (60-bit ids) × kind (integer), few kinds a region, counts",
    "codes": "kind (text) alone, of a taxonomy of 2 M codes, counts",
}
WAYS = {
    "builder": ("count_by",),
    "pandas": ("groupby", "factorize"),
    "polars": ("group_by", "packed"),
    "duckdb": ("levels", "ancestors"),
}
WARM_ROWS = 100_000


# -- the records -------------------------------------------------------------------------------------------------------


def make_taxonomy(case: str) -> pd.DataFrame:
    """Equally many children a node of a level, under one root; codes are paths, or integers that tell nothing."""
    paths, parents = ["1"], [None]
    level = ["1"]
    for size in levels_of(case)[1:]:
        below = [f"{up}.{i}" for up in level for i in range(1, 1 + size // len(level))]
        paths, parents = paths + below, parents + [p.rpartition(".")[0] for p in below]
        level = below
    if case != "scattered":
        return pd.DataFrame({"code": pd.Series(paths, dtype="str"), "parent": pd.Series(parents, dtype="str")})
    numbers = dict(zip(paths, np.random.default_rng(3).permutation(10_000)[: len(paths)].tolist()))
    codes = pd.Series([numbers[p] for p in paths], dtype="int64")
    return pd.DataFrame({"code": codes, "parent": pd.array([numbers.get(p) for p in parents], dtype="Int64")})


def levels_of(case: str) -> tuple[int, ...]:
    return WIDE_LEVELS if case == "codes" else LEVELS


def make_records(case: str, rows: int) -> pa.Table:
    """Seeded records; popular regions and kinds have more of them."""
    rng = np.random.default_rng(7)
    last = levels_of(case)[-1]
    leaves = make_taxonomy(case)["code"].to_numpy()[-last:]
    if case == "codes":
        return pa.table({"kind": pa.array(leaves).take(pa.array((rng.random(rows) ** 1.3 * last).astype(np.int64)))})
    regions = max(2, rows * 64 // 1_000_000) if case != "scattered" else max(2, rows * 3_500 // 1_000_000)
    region = (rng.random(rows) ** 1.3 * regions).astype(np.int64)
    kind = (rng.random(rows) ** 1.3 * last).astype(np.int64)
    if case == "scattered":  # ten kinds a region
        kind = (region * 7919 + (rng.random(rows) * 10).astype(np.int64) * 127) % last
        region = rng.integers(1 << 59, 1 << 60, regions)[region]
    columns = {"region": pa.array(region), "kind": pa.array(leaves).take(pa.array(kind))}
    if case == "sums":
        columns["amount"] = pa.array(rng.integers(-1_000_000, 1_000_000, rows))
    return pa.table(columns)


# -- the tools ---------------------------------------------------------------------------------------------------------


def with_builder(records: pa.Table, taxonomy: pd.DataFrame, way: str) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    from builder.transforms.count import count_by

    frame = in_pandas(records)
    sums = {"total": "amount"} if "amount" in frame else None

    def run() -> Any:
        return count_by(frame, by_of(frame), sums=sums, taxonomy=taxonomy, taxonomy_on="kind")

    return run, lambda found: found


def by_of(frame: Any) -> list[str]:
    return [name for name in ("region", "kind") if name in list(frame.columns)]


def in_pandas(records: pa.Table) -> pd.DataFrame:
    return records.to_pandas()


def with_pandas(records: pa.Table, taxonomy: pd.DataFrame, way: str) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    frame = in_pandas(records)
    by, depth = by_of(frame), len(LEVELS)
    has_sums = "amount" in frame
    values = ["n", "total"] if has_sums else ["n"]

    def grouped() -> pd.DataFrame:
        groups = frame.groupby(by, sort=False)
        if not has_sums:
            return groups.size().rename("n").reset_index()
        return groups["amount"].agg(n="size", total="sum").reset_index()

    def factorized() -> pd.DataFrame:
        kind, kinds = pd.factorize(frame["kind"])
        if by == ["kind"]:
            return pd.DataFrame({"kind": kinds, "n": np.bincount(kind)})
        region, regions = pd.factorize(frame["region"])
        key, size = region * len(kinds) + kind, len(regions) * len(kinds)
        if size <= 4 * len(frame) and not has_sums:
            counts = np.bincount(key, minlength=size)
            keys = np.flatnonzero(counts)
            found: dict[str, Any] = {"n": counts[keys]}
        elif has_sums:
            table = pd.DataFrame({"key": key, "amount": frame["amount"]}).groupby("key", sort=False)["amount"]
            totals = table.agg(n="size", total="sum")
            keys, found = totals.index.to_numpy(), {name: totals[name].to_numpy() for name in values}
        else:
            totals = pd.Series(key).value_counts(sort=False)
            keys, found = totals.index.to_numpy(), {"n": totals.to_numpy()}
        return pd.DataFrame(
            {"region": regions.take(keys // len(kinds)), "kind": kinds.take(keys % len(kinds)), **found}
        )

    def run() -> Any:
        level = grouped() if way == "groupby" else factorized()
        # The roll-up works on positions in the taxonomy, and the codes are put back at the end.
        codes = pd.Index(taxonomy["code"])
        parents = codes.get_indexer(taxonomy["parent"])
        level["kind"] = codes.get_indexer(level["kind"])
        levels = [level]
        for _ in range(1, depth):
            level = level.assign(kind=parents[level["kind"].to_numpy()])
            level = level.groupby(by, sort=False)[values].sum().reset_index()
            levels.append(level)
        found = pd.concat(levels, ignore_index=True)
        found["kind"] = codes.take(found["kind"])
        return found

    return run, lambda found: found


def with_polars(records: pa.Table, taxonomy: pd.DataFrame, way: str) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    import polars as pl

    frame = pl.from_arrow(records)
    tree = pl.from_pandas(taxonomy.reset_index(names="node"))
    tree = tree.join(tree.select(parent="code", up="node"), on="parent", how="left")
    sums = [pl.col("amount").sum().alias("total")] if "amount" in frame.columns else []
    values = ["n", "total"] if sums else ["n"]

    by = by_of(frame)
    others = by[:-1]
    agg = [pl.len().cast(pl.Int64).alias("n"), *sums]

    def grouped() -> Any:
        found = frame.group_by(by).agg(*agg)
        return found.join(tree.select(kind="code", node="node"), on="kind").drop("kind")

    def packed() -> Any:
        nodes = pl.col("kind").replace_strict(tree["code"], tree["node"], return_dtype=pl.Int64)
        if frame.schema["kind"] == pl.String:
            nodes = pl.col("kind").cast(pl.Enum(tree["code"])).to_physical().cast(pl.Int64)
        low, span = (frame["region"].min(), frame["region"].max() - frame["region"].min() + 1) if others else (0, 1)
        if not others or span * len(tree) >= 1 << 62:
            return frame.lazy().with_columns(node=nodes).group_by(*others, "node").agg(*agg).collect()
        key = (pl.col("region") - low) * len(tree) + nodes
        found = frame.lazy().group_by(key.alias("key")).agg(*agg).collect()
        pair = (pl.col("key") // len(tree) + low).alias("region"), (pl.col("key") % len(tree)).alias("node")
        return found.with_columns(*pair).drop("key")

    def run() -> Any:
        level = (grouped() if way == "group_by" else packed()).select(*others, "node", *values)
        levels = [level]
        for _ in LEVELS[1:]:
            up = level.join(tree.select("node", "up"), on="node").select(*others, pl.col("up").alias("node"), *values)
            level = up.group_by(*others, "node").agg(pl.col(values).sum())
            levels.append(level)
        every = pl.concat(levels)
        return every.join(tree.select("node", kind="code"), on="node").drop("node")

    return run, lambda found: found.to_arrow().to_pandas()


def with_duckdb(records: pa.Table, taxonomy: pd.DataFrame, way: str) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    import duckdb

    base = duckdb.connect(config={"threads": int(os.environ["COUNTERS_THREADS"])})
    base.register("given", records)
    base.register("tree_given", pa.Table.from_pandas(taxonomy, preserve_index=False))
    base.execute("create table records as select * from given; create table tree as select * from tree_given")
    has_sums = "amount" in records.column_names
    leaf = ", count(*)::bigint as n" + (", sum(amount)::bigint as total" if has_sums else "")
    more = ", sum(n)::bigint as n" + (", sum(total)::bigint as total" if has_sums else "")
    region = "region, " if "region" in records.column_names else ""
    leaves = f"select {region}kind{leaf} from records group by all"
    if way == "levels":
        steps = [f"l0 as materialized ({leaves})"]
        steps += [
            f"l{i} as materialized (select {region}parent as kind{more} "
            f"from l{i - 1} join tree on kind = code group by all)"
            for i in range(1, len(LEVELS))
        ]
        query = f"with {', '.join(steps)} " + " union all ".join(f"select * from l{i}" for i in range(len(LEVELS)))
    else:
        query = (
            "with recursive up as (select code, code as ancestor from tree union all "
            "select up.code, tree.parent from up join tree on up.ancestor = tree.code where tree.parent is not null), "
            f"leaves as materialized ({leaves}) "
            f"select {region}ancestor as kind{more} from leaves join up on kind = code group by all"
        )

    def run() -> Any:
        base.execute(f"create or replace temp table found as {query}")
        return base.table("found")

    return run, lambda found: found.to_arrow_table().to_pandas()


TOOLS = {"builder": with_builder, "pandas": with_pandas, "polars": with_polars, "duckdb": with_duckdb}


# -- measuring ---------------------------------------------------------------------------------------------------------


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def run_child(folder: Path, case: str, tool: str, way: str) -> None:
    """One measured run: its CPU and wall seconds on stdout, its answer in a file."""
    records = pq.read_table(folder / f"{case}.parquet")
    taxonomy = make_taxonomy(case)
    warm, _ = TOOLS[tool](records.slice(0, WARM_ROWS), taxonomy, way)
    warm()
    run, framed = TOOLS[tool](records, taxonomy, way)
    del records
    wall, cpu = time.perf_counter(), cpu_s()
    found = run()
    measured = {"cpu_s": cpu_s() - cpu, "wall_s": time.perf_counter() - wall}
    answer = framed(found)
    answer = answer.sort_values(by_of(answer), ignore_index=True)
    if tool == "builder":
        assert answer.equals(found), "builder's rows are out of order"
    answer[sorted(answer.columns)].to_parquet(folder / f"{case}-{tool}-{way}.parquet")
    print(json.dumps(measured | {"peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


def measure(folder: Path, case: str, tool: str, way: str, threads: int) -> dict[str, float]:
    environment = os.environ | {"COUNTERS_THREADS": str(threads)}
    for name in ("POLARS_MAX_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "ARROW_NUM_THREADS"):
        environment[name] = str(threads)
    command = [sys.executable, __file__, "--child", str(folder), case, tool, way]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{tool} {way} failed on {case}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(folder: Path, case: str, ways: list[tuple[str, str]]) -> int:
    """The number of counters, after all answers proved equal."""
    ours = pd.read_parquet(folder / f"{case}-builder-count_by.parquet")
    for tool, way in ways:
        other = pd.read_parquet(folder / f"{case}-{tool}-{way}.parquet")
        for name in ours.columns:
            same = len(ours) == len(other) and (ours[name].to_numpy() == other[name].to_numpy()).all()
            assert same, f"{tool} {way} differs from builder on {case} in {name}"
    return len(ours)


def run_case(folder: Path, case: str, rows: int, repeats: int, threads: int) -> None:
    pq.write_table(make_records(case, rows), folder / f"{case}.parquet")
    ways = [(tool, way) for tool in TOOLS if tool == "builder" or find_spec(tool) for way in WAYS[tool]]
    runs: dict[tuple[str, str], list[dict[str, float]]] = {pair: [] for pair in ways}
    for _ in range(repeats):  # by turns: a load on the machine meets all of them
        for tool, way in ways:
            runs[tool, way].append(measure(folder, case, tool, way, threads))
    counters = compare(folder, case, ways)
    print(f"\n{case}: {CASES[case]}; {rows:,} records, {counters:,} counters, all answers equal")
    print(f"{'tool':<9}{'way':<12}{'CPU s best':>11}{'worst':>8}{'wall s':>8}{'peak GB':>9}{'times builder':>15}")
    ours = min(r["cpu_s"] for r in runs["builder", "count_by"])
    for (tool, way), found in runs.items():
        best, worst = min(r["cpu_s"] for r in found), max(r["cpu_s"] for r in found)
        wall, peak = min(r["wall_s"] for r in found), max(r["peak_bytes"] for r in found) / 1e9
        print(f"{tool:<9}{way:<12}{best:>11.2f}{worst:>8.2f}{wall:>8.2f}{peak:>9.2f}{best / ours:>15.2f}")
    peers = [min(r["cpu_s"] for r in found) for (tool, _), found in runs.items() if tool != "builder"]
    if peers:
        print(f"builder / best peer: {ours / min(peers):.2f} (aim: at most 1.2)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=CASES)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        run_child(Path(args.child[0]), *args.child[1:])
        return
    print(
        f"{platform.platform()}, Python {platform.python_version()}, {args.threads} thread(s), "
        f"load {os.getloadavg()[0]:.1f}"
    )
    for name in ("pandas", "polars", "duckdb", "pyarrow", "numba"):
        try:
            print(f"{name} {version(name)}", end="  ")
        except PackageNotFoundError:
            print(f"{name} is not installed and skipped", end="  ")
    print()
    with tempfile.TemporaryDirectory() as folder:
        for case in [args.only] if args.only else CASES:
            run_case(Path(folder), case, args.rows, args.repeats, args.threads)


if __name__ == "__main__":
    main()
