"""Random chains of edits, kills and rebuilds: every result equals a build from nothing, digest for digest.

The long form of ``tests/property/test_chains.py``: ``python benchmarks/chains.py --chains 5000 --workers 2``. With
``--share 0.5`` half of the rebuilds are compared, and each chain's last: what is wrong stays until its inputs change.
One chain again, as a failure prints it: ``python benchmarks/chains.py --seed 17 --length 9 --skip 2,3``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "property"))

from playing import run_chain, shrink
from scales import at_small_scale


def one(
    seed: int, length: int, skipped: frozenset[int] = frozenset(), shrinks: bool = True, share: float = 1.0
) -> tuple[str, dict[str, int]]:
    """What a chain broke, as text (empty where nothing), and what happened in it."""
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory(prefix="chain-") as folder, at_small_scale():
        failure = run_chain(seed, length, Path(folder) / "c", skipped, counts, share)
        if failure is None:
            return "", counts
        if shrinks:
            failure = shrink(failure, Path(folder) / "c")
    return f"{failure}\n{failure.trace}", counts


def main() -> int:
    """0 where every chain keeps the laws, 1 otherwise."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--chains", type=int, default=200)
    words.add_argument("--length", type=int, default=15)
    words.add_argument("--first", type=int, default=0, help="seed of the first chain")
    words.add_argument("--seed", type=int, help="run this chain alone")
    words.add_argument("--skip", default="", help="edits to leave out, by number")
    words.add_argument("--share", type=float, default=1.0, help="how many of the rebuilds are compared")
    words.add_argument("--workers", type=int, default=1)
    words.add_argument("--no-shrink", action="store_true")
    given = words.parse_args()
    if given.seed is not None:
        skipped = frozenset(int(n) for n in given.skip.split(",") if n)
        text, counts = one(given.seed, given.length, skipped, False)
        print(text or f"every law held: {json.dumps(counts)}")
        return int(bool(text))
    began = time.perf_counter()
    seeds = range(given.first, given.first + given.chains)
    totals: dict[str, int] = {}
    broken = 0
    with ProcessPoolExecutor(given.workers, mp_context=get_context("spawn")) as pool:
        play = partial(one, length=given.length, shrinks=not given.no_shrink, share=given.share)
        for seed, found in zip(seeds, pool.map(play, seeds), strict=True):
            text, counts = found
            broken += bool(text)
            totals = {
                k: totals.get(k, 0) + counts.get(k, 0) for k in (*totals, *(k for k in counts if k not in totals))
            }
            if text:
                print(f"\nseed {seed}: {text}", flush=True)
            if (done := seed - given.first + 1) % 50 == 0:
                print(f"{done} chains, {broken} broken", file=sys.stderr, flush=True)
    spent_s = time.perf_counter() - began
    print(f"{given.chains} chains of {given.length}: {broken} broken; {json.dumps(totals)}; {spent_s:.0f} s")
    return int(broken > 0)


if __name__ == "__main__":
    raise SystemExit(main())
