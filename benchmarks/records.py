"""Bringing two record sets together and describing a table, beside what pandas and rapidfuzz give by hand.

    python benchmarks/records.py [--records 60000] [--rows 5000000] [--repeat 3]

Makes seeded records: places with a state, a second set with other spellings and misspellings of most of them; and a
table of eight columns. Each contender does the whole work; CPU seconds on one thread, the least of the repeats and the
spread; answers are compared after timing.
"""

from __future__ import annotations

import argparse
import platform
import time
import unicodedata
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import rapidfuzz
from rapidfuzz import fuzz

from builder.transforms import profile, reconcile

SEED = 20260803
STATES = [f"S{n:02}" for n in range(50)]
THRESHOLD = 0.9


def make_records(count: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two sets: 60 % as they are, 20 % spelt another way, 20 % with two letters changed over; one in ten is missing."""
    rng = np.random.default_rng(SEED)
    syllables = np.array(
        ["bar", "lin", "mo", "ra", "ton", "vel", "sé", "ka", "dor", "ny", "field", "port", "lake", "nor"]
    )
    names = [" ".join("".join(rng.choice(syllables, 3)).title() for _ in range(2)) for _ in range(count)]
    left = pd.DataFrame({"id": np.arange(count), "name": names, "st": rng.choice(STATES, count)})
    right = left.sample(frac=0.9, random_state=SEED).rename(columns={"id": "ref"})
    kinds = rng.choice(3, len(right), p=[0.6, 0.2, 0.2])
    right["name"] = [_respelt(n, k, int(at)) for n, k, at in zip(right["name"], kinds, rng.integers(1, 9, len(right)))]
    return left, right.assign(ref=right["ref"] + 1_000_000)


def _respelt(name: str, kind: int, at: int) -> str:
    if kind == 1:
        return name.upper().replace(" ", "-")
    return name if kind == 0 else name[:at] + name[at + 1] + name[at] + name[at + 2 :]


def by_hand(left: pd.DataFrame, right: pd.DataFrame) -> set[tuple[int, int]]:
    """Exact and normalised merges, then the scores of all pairs of a state, greedily."""

    def normal(text: str) -> str:
        bare = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
        return " ".join("".join(c if c.isalnum() else " " for c in bare).split())

    found: set[tuple[int, int]] = set()
    left, right = left.sort_values("id"), right.sort_values("ref")
    for column in ("name", "normal"):
        if column == "normal":
            left = left.assign(normal=left["name"].map(normal))
            right = right.assign(normal=right["name"].map(normal))
        keys = [column, "st"]
        one = left.assign(nth=left.groupby(keys).cumcount())
        other = right.assign(nth=right.groupby(keys).cumcount())
        pairs = one.merge(other, on=[*keys, "nth"])
        found |= set(zip(pairs["id"], pairs["ref"]))
        left, right = left[~left["id"].isin(pairs["id"])], right[~right["ref"].isin(pairs["ref"])]
    pairs = left.merge(right, on="st")
    pairs["score"] = [fuzz.token_sort_ratio(a, b) / 100 for a, b in zip(pairs["normal_x"], pairs["normal_y"])]
    pairs = pairs[pairs["score"] >= THRESHOLD].sort_values(["score", "id", "ref"], ascending=[False, True, True])
    used: tuple[set[int], set[int]] = set(), set()
    for one_id, other_id in zip(pairs["id"], pairs["ref"]):
        if one_id not in used[0] and other_id not in used[1]:
            used[0].add(one_id)
            used[1].add(other_id)
            found.add((one_id, other_id))
    return found


def ours(left: pd.DataFrame, right: pd.DataFrame) -> set[tuple[int, int]]:
    found = reconcile(left, right, left_key="id", right_key="ref", on="name", block="st", threshold=THRESHOLD).matched
    return set(zip(found["left_id"], found["right_ref"]))


def make_table(rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(SEED)
    names = np.array([f"Place {i}" for i in range(20_000)], object)
    return pd.DataFrame(
        {
            "id": rng.permutation(rows),
            "code": pd.array(np.char.add("K", rng.integers(0, 10**7, rows).astype(str)), dtype="string[pyarrow]"),
            "name": pd.array(names[rng.integers(0, len(names), rows)], dtype="string[pyarrow]"),
            "lon": rng.uniform(-180, 180, rows),
            "lat": np.round(rng.uniform(-90, 90, rows), 4),
            "count": pd.array(rng.poisson(30, rows), dtype="Int64"),
            "flag": rng.random(rows) < 0.3,
            "when": pd.Timestamp("2020-01-01", tz="UTC") + pd.to_timedelta(rng.integers(0, 10**8, rows), unit="s"),
        }
    )


def described(frame: pd.DataFrame) -> dict[str, tuple[int, int, Any]]:
    """What pandas tells of each column: nulls, distinct values, extremes, quantiles, frequent values, lengths."""
    found = {}
    for name in frame:
        series = frame[name]
        counts = series.value_counts()
        if series.dtype == "string":
            series.str.len().agg(["min", "max", "mean"])
            (series.str.strip() == "").sum()
        elif series.dtype != bool:
            series.quantile([0.05, 0.25, 0.5, 0.75, 0.95], interpolation="lower")
            series.mean()
        found[str(name)] = (int(series.isna().sum()), len(counts), (series.min(), series.max()))
    return found


def told(frame: pd.DataFrame) -> dict[str, tuple[int, int, Any]]:
    table = profile(frame)
    return {row.column: (row.nulls, row.distinct, (row.min, row.max)) for row in table.itertuples()}


def timed(make: Callable[[], Any], repeat: int) -> tuple[Any, list[float]]:
    """The answer, and CPU seconds of each repeat; one that is not counted comes first where there are several."""
    answer, seconds = None, []
    for n in range(repeat + (repeat > 1)):
        start = time.process_time()
        answer = make()
        if n or repeat == 1:
            seconds.append(time.process_time() - start)
    return answer, seconds


def show(label: str, seconds: list[float], of: list[float]) -> None:
    ratio = min(of) / min(seconds)
    print(f"  {label:<28} {min(seconds):8.2f} s  (to {max(seconds):.2f})   {ratio:6.1f}×")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=60_000)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    pa.set_cpu_count(1)
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, pandas {pd.__version__},")
    print(f"pyarrow {pa.__version__}, rapidfuzz {rapidfuzz.__version__}; CPU seconds, least (and most)\n")

    left, right = make_records(options.records)
    (hand, hand_s), (mine, mine_s) = (timed(lambda f=f: f(left, right), options.repeat) for f in (by_hand, ours))
    assert mine == hand, f"{len(mine ^ hand)} pairs differ"
    print(
        f"reconcile {len(left):,} with {len(right):,} records in {len(STATES)} blocks: {len(mine):,} matches, 0 differ"
    )
    show("pandas and rapidfuzz by hand", hand_s, hand_s)
    show("reconcile", mine_s, hand_s)

    frame = make_table(options.rows)
    (hand, hand_s), (mine, mine_s) = (timed(lambda f=f: f(frame), options.repeat) for f in (described, told))
    assert {n: v[:2] for n, v in hand.items()} == {n: v[:2] for n, v in mine.items()}
    assert all(str(hand[n][2][0]) == mine[n][2][0] for n in ("id", "code", "name", "lon", "lat", "count"))
    print(f"\nprofile of {options.rows:,} rows in {frame.shape[1]} columns: nulls, distinct values and extremes agree")
    show("pandas by hand", hand_s, hand_s)
    show("profile", mine_s, hand_s)


if __name__ == "__main__":
    main()
