"""An order that goes through a graph from one side to the other, so that neighbours come near each other. Pure.

Decides where to begin the search for a schedule. Jobs that feed the same ones should be done together: what they feed
can then start while the rest is still to do. The breadth-first levels from a job far out give such an order (George
and Liu 1979, "An implementation of a pseudoperipheral node finder", on the orders of Cuthill and McKee).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

HOPS = 2
"""How often the farthest job is looked for anew; more finds one that is hardly farther."""


def sweep(
    names: Sequence[str], readers: Mapping[str, Sequence[str]], needs: Mapping[str, Sequence[str]]
) -> dict[str, int]:
    """The level of each name, counted from a far side; parts of the graph that are not joined follow one another."""
    found: dict[str, int] = {}
    base = 0
    for name in names:
        if name in found:
            continue
        levels = {name: 0}
        for _ in range(1 + HOPS):
            levels = _levels(next(reversed(levels)), readers, needs)
        found |= {n: base + level for n, level in levels.items()}
        base += 1 + max(levels.values())
    return found


def _levels(start: str, readers: Mapping[str, Sequence[str]], needs: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """How many steps each name that can be reached lies from the start, nearest first; edges count both ways."""
    levels = {start: 0}
    queue = [start]
    for name in queue:
        level = levels[name] + 1
        for side in (needs, readers):
            for other in side.get(name, ()):
                if other not in levels:
                    levels[other] = level
                    queue.append(other)
    return levels
