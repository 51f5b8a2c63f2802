"""Chains from their seeds: what one broke, and the shortest form of it."""

from __future__ import annotations

import shutil
import traceback
from dataclasses import dataclass
from pathlib import Path

from laws import BrokenLawError, Chain

from builder.compile import choice
from builder.execute import attempt
from builder.store import disk
from builder.store.parts import INLINE_BYTES


@dataclass(frozen=True)
class Failure:
    """A chain that broke a law."""

    seed: int
    length: int
    skipped: frozenset[int]
    law: str
    edits: tuple[str, ...]
    trace: str

    def __str__(self) -> str:
        skipped = f" --skip {','.join(map(str, sorted(self.skipped)))}" if self.skipped else ""
        lines = [f"  {e}" for e in self.edits]
        replay = f"replay: python benchmarks/chains.py --seed {self.seed} --length {self.length}{skipped}"
        return "\n".join([self.law, *lines, replay])


def run_chain(
    seed: int,
    length: int,
    folder: Path,
    skipped: frozenset[int] = frozenset(),
    counts: dict[str, int] | None = None,
    share: float = 1.0,
) -> Failure | None:
    """The failure of one chain, of whose rebuilds this `share` is compared; None where every law held."""
    chain = Chain(seed, folder, skipped, share, counts={} if counts is None else counts)
    try:
        chain.play(length)
    except Exception as caught:
        is_law = isinstance(caught, BrokenLawError)
        law = str(caught) if is_law else f"{type(caught).__name__}: {caught}"
        done = max((int(s.split(":")[0]) + 1 for s in chain.said if s[0].isdigit()), default=0)
        skipped = frozenset(s for s in skipped if s < done)
        return Failure(seed, done, skipped, law, tuple(chain.said), "" if is_law else traceback.format_exc())
    finally:
        disk.on_write = None
        attempt.INLINE_BYTES = INLINE_BYTES
        choice.always = False
        shutil.rmtree(folder, ignore_errors=True)
    return None


def shrink(failure: Failure, folder: Path) -> Failure:
    """The failure with every edit left out that it does not need."""
    for number in range(failure.length - 1, -1, -1):
        if number in failure.skipped or number >= failure.length:
            continue
        smaller = run_chain(failure.seed, failure.length, folder, failure.skipped | {number})
        if smaller is not None:
            failure = smaller
    return failure
