"""Taking a CSV in, beside plain pyarrow reading the same file and writing it as Parquet.

    python benchmarks/intake.py [--rows 10000000] [--dir FOLDER] [--shuffled] [--repeat 1]

Makes a seeded CSV of 20 columns (about 200 bytes a row), then runs each contender in a process of its own, on one core,
and prints rows/s, MB/s, CPU seconds and peak memory. The result is checked after timing: rows, sums, schema. What a
changed file costs is in ``benchmarks/increments.py intake``.
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
from pathlib import Path
from typing import Any

COLUMNS = 20
CHUNK_ROWS = 500_000
SEED = 20260803


def make_csv(path: Path, rows: int, shuffled: bool, changed: float = 0.0) -> None:
    """Write the CSV: a key, six integers, six decimals, five texts, a date and an instant.

    A share of `changed` rows, scattered, differs from the file without: of 20 of them 18 have other values in four
    columns, one is gone, one is new.
    """
    import numpy as np
    import pyarrow as pa
    from pyarrow import csv

    rng = np.random.default_rng(SEED)
    keys = np.arange(10_000_000, 10_000_000 + rows)
    if shuffled:
        rng.shuffle(keys)
    words = np.array([f"place {i:05d} {'abcdefgh'[: i % 8]}" for i in range(50_000)])
    other = np.random.default_rng(SEED + 1)
    with open(path, "wb") as out:
        for start in range(0, rows, CHUNK_ROWS):
            n = min(CHUNK_ROWS, rows - start)
            columns: dict[str, Any] = {"id": keys[start : start + n]}
            columns |= {f"count{i}": rng.integers(0, 10 ** (2 + i), n) for i in range(6)}
            columns |= {f"measure{i}": np.round(rng.normal(0, 100, n), i + 1) for i in range(6)}
            columns |= {f"text{i}": words[rng.integers(0, len(words), n)] for i in range(5)}
            columns["day"] = np.datetime64("2000-01-01") + rng.integers(0, 9000, n)
            columns["moment"] = np.datetime64("2000-01-01T00:00:00") + rng.integers(0, 10**9, n)
            if changed:
                columns = _changed(columns, other, changed)
            options = csv.WriteOptions(include_header=start == 0, quoting_style="none")
            csv.write_csv(pa.table(columns), out, options)


def _changed(columns: dict[str, Any], rng: Any, share: float) -> dict[str, Any]:
    """The columns with a share of the rows changed, gone and new; keys of new rows are below all others."""
    import numpy as np

    n = len(columns["id"])
    at = np.sort(rng.choice(n, int(n * share), replace=False))
    updated, new, gone = at[at % 20 < 18], at[at % 20 == 18], at[at % 20 == 19]
    result = {name: values.copy() for name, values in columns.items()}
    for name in ("count0", "count5", "measure1"):
        result[name][updated] += 1
    result["text3"][updated] = columns["text3"][updated[::-1]]
    result = {name: np.insert(values, new, values[new]) for name, values in result.items()}
    result["id"][new + np.arange(len(new))] *= -1
    return {name: np.delete(values, gone + np.searchsorted(new, gone)) for name, values in result.items()}


def plain(path: Path, folder: Path, rows: int) -> None:
    """Read with pyarrow as it infers, write one Parquet file, both on one thread."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import csv

    pa.set_cpu_count(1)
    options = csv.ReadOptions(use_threads=False, block_size=4 << 20)
    parse = csv.ParseOptions(newlines_in_values=True)
    parquet = folder / "plain.parquet"
    pending: list[pa.RecordBatch] = []
    with (
        csv.open_csv(path, read_options=options, parse_options=parse) as reader,
        pq.ParquetWriter(parquet, reader.schema, compression="zstd", compression_level=1) as writer,
    ):
        for batch in reader:
            pending.append(batch)
            if sum(b.num_rows for b in pending) >= 128 << 10:
                writer.write_table(pa.Table.from_batches(pending))
                pending.clear()
        if pending:
            writer.write_table(pa.Table.from_batches(pending))
    assert pq.read_metadata(parquet).num_rows == rows


def intake(path: Path, folder: Path, rows: int, pinned: bool) -> None:
    """Take the file in; with `pinned` against the schema of an earlier version, else its dtypes are inferred."""
    import pyarrow as pa

    from builder.digests import Digest
    from builder.execute.spec import IntakeSpec
    from builder.formats.intake import take_in
    from builder.sources import SourceFile
    from builder.store.parts import PartFolder
    from builder.tables.schema import Schema

    pa.set_cpu_count(1)
    size = path.stat().st_size
    file = SourceFile(path.name, str(path), path.name, size, Digest("0" * 64))  # no token: sensing is not timed here
    pin = folder / "pin.json"
    spec = IntakeSpec(
        "big", "csv", (file,), key=("id",), pinned=Schema.from_json(json.loads(pin.read_text())) if pinned else None
    )
    taken = take_in(spec, PartFolder(folder / "store"), folder / "scratch")
    manifest, schema = taken.manifest, taken.schema
    pin.write_text(json.dumps(schema.to_json()))
    assert (manifest.rows, len(schema.columns)) == (rows, COLUMNS)
    assert [c.dtype for c in schema.columns[-2:]] == ["date", "timestamp"]


def measure(contender: str, path: Path, folder: Path, rows: int) -> dict[str, float]:
    """What one run in a process of its own took, after a small one that fills the caches of compiled code."""
    command = [
        sys.executable,
        __file__,
        "--run",
        contender,
        "--rows",
        str(rows),
        "--dir",
        str(folder),
        "--csv",
        str(path),
    ]
    started = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    wall_s = time.perf_counter() - started
    return {"wall_s": wall_s, **json.loads(done.stdout.splitlines()[-1])}


def run(contender: str, path: Path, folder: Path, rows: int) -> None:
    """One contender in this process; prints its own cost."""
    if contender == "plain":
        plain(path, folder, rows)
    else:
        intake(path, folder, rows, contender == "pinned")
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"cpu_s": usage.ru_utime + usage.ru_stime, "peak_bytes": usage.ru_maxrss * 1024}))


def main() -> None:
    """Parse the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--dir", type=Path, default=None, help="where the files go; a temporary folder if not given")
    parser.add_argument("--shuffled", action="store_true", help="keys in random order, so that intake has to sort")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--csv", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run(options.run, options.csv, options.dir, options.rows)
        return
    with tempfile.TemporaryDirectory(dir=options.dir) as name:
        report(Path(name), options)


def report(folder: Path, options: argparse.Namespace) -> None:
    """Make the file, run every contender, print the table."""
    import pyarrow as pa

    path, small = folder / "big.csv", folder / "small.csv"
    make_csv(small, 1000, options.shuffled)
    make_csv(path, options.rows, options.shuffled)
    size = path.stat().st_size
    order = "shuffled keys" if options.shuffled else "keys in order"
    print(f"{options.rows:,} rows, {COLUMNS} columns, {size / 1e9:.2f} GB, {order}")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, pyarrow {pa.__version__}")
    print(f"{'':<28}{'wall s':>8}{'CPU s':>8}{'rows/s':>12}{'MB/s':>8}{'peak MB':>9}{'CPU ratio':>10}")
    base_s = 0.0
    for contender, label in (
        ("plain", "pyarrow read + write"),
        ("inferred", "intake, dtypes inferred"),
        ("pinned", "intake, schema pinned"),
    ):
        measure(contender, small, folder, 1000)
        runs = [measure(contender, path, folder, options.rows) for _ in range(options.repeat)]
        best = min(runs, key=lambda r: r["cpu_s"])
        base_s = base_s or best["cpu_s"]
        print(
            f"{label:<28}{best['wall_s']:>8.1f}{best['cpu_s']:>8.1f}{options.rows / best['wall_s']:>12,.0f}"
            f"{size / best['wall_s'] / 1e6:>8.0f}{best['peak_bytes'] / 1e6:>9.0f}{best['cpu_s'] / base_s:>10.2f}"
        )


if __name__ == "__main__":
    main()
