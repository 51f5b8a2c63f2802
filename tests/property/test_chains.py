"""After any sequence of edits, kills and retries a rebuild equals a build from nothing, digest for digest.

Here the last rebuild of a chain and a third of the others are compared: what is wrong stays so until its inputs change.
``benchmarks/chains.py`` plays many more chains, compares each rebuild, and replays the one that a failure here prints.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from playing import run_chain, shrink
from scales import at_small_scale

CHAINS = 200
GROUP = 10
LENGTH = 20
COMPARED = 0.35


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory where there is one: a chain makes and removes thousands of small files."""
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(prefix="chain-", dir=memory if memory.is_dir() else None) as made,
        at_small_scale(),
    ):
        yield Path(made) / "chain"


@pytest.mark.parametrize("first", range(0, CHAINS, GROUP))
def test_whatever_happened_before_a_rebuild_equals_a_build_from_nothing(first: int, folder: Path) -> None:
    counts: Counter[str] = Counter()
    for seed in range(first, first + GROUP):
        failure = run_chain(seed, LENGTH, folder, counts=counts, share=COMPARED)
        if failure is not None:
            failure = shrink(failure, folder)
            pytest.fail(f"{failure}\n{failure.trace}", pytrace=False)
    # Chains in which nothing happens would prove nothing.
    assert counts["builds from nothing"] >= GROUP * LENGTH // 5
    assert all(counts[what] for what in ("built", "updated", "unchanged", "restored", "kills")), counts
    assert counts["by lines"] + counts["in pieces"] > 0, counts
    assert counts["failed"] + counts["blocked"] > 0, counts
