"""Coverages: regions that share their borders vertex for vertex and nowhere overlap.

Decides which frames are coverages, and which corners lie inside of a border shared by two regions. Never moves a
corner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from builder.errors import error
from builder.transforms.columns import some_of
from builder.transforms.compiling import njit
from builder.transforms.rings import Bools, Floats, Ints, Rings


@dataclass(frozen=True, slots=True)
class Nodes:
    """The places of a coverage's corners, each once.

    Parameters
    ----------
    of_corner
        The node of each corner.
    one, other
        For each node with two neighbours, both of them.
    visits
        How many rings pass each node; 0 for a junction, where more than two borders meet.
    """

    of_corner: Ints
    one: Ints
    other: Ints
    visits: Ints


@dataclass(frozen=True, slots=True)
class InnerCorners:
    """Corners with their nodes, and whether each lies inside of a border shared by two regions."""

    nodes: Nodes
    is_shared: Bools

    def on_both_sides(self, flags: Bools) -> Bools:
        """True for the corners whose copies are all flagged."""
        every = np.ones(len(self.nodes.visits), bool)
        every[self.nodes.of_corner[~flags]] = False
        return every[self.nodes.of_corner]


def check_coverage(gdf: Any, shape: Rings, what: str) -> None:
    """Refuse regions that overlap, or whose shared borders do not match vertex for vertex.

    Raises
    ------
    BuilderError
        ``bad-geometry`` with the first rows concerned.
    """
    regions = shape.geometries[shape.held]
    if shapely.coverage_is_valid(regions):
        return
    wrong = shapely.coverage_invalid_edges(regions)
    rows = gdf.index[shape.held[~(shapely.is_missing(wrong) | shapely.is_empty(wrong))]]
    raise error(
        "bad-geometry",
        f"'{what}' is no valid coverage: regions overlap, or their borders do not match vertex for vertex",
        facts=[("rows", some_of(rows))],
        hint="clean it first (shapely.coverage_clean), or take a method that looks at each region alone",
    )


def inner_corners(shape: Rings) -> InnerCorners:
    """The corners of a valid coverage that lie inside of a border shared by two regions."""
    nodes = nodes_of(shape)
    return InnerCorners(nodes, nodes.visits[nodes.of_corner] == 2)


def nodes_of(shape: Rings) -> Nodes:
    """The nodes of regions, numbered as they come."""
    of_corner, count = number_places(shape.xy)
    one, other = np.full(count, -1, np.int64), np.full(count, -1, np.int64)
    visits = np.zeros(count, np.int64)
    _fill_neighbours(of_corner, shape.rings, one, other, visits)
    return Nodes(of_corner, one, other, visits)


def number_places(xy: Floats) -> tuple[Ints, int]:
    """A number for the place of each corner, the same for the same place, and how many there are."""
    size = max(16, 1 << (2 * len(xy) - 1).bit_length())
    table, first, of_corner = np.full(size, -1, np.int32), np.empty(len(xy), np.int32), np.empty(len(xy), np.int64)
    words = xy.view(np.uint64)
    return of_corner, int(_number_places(xy, words, np.uint64(size - 1), table, first, of_corner))


@njit(cache=True, nogil=True, error_model="numpy")
def _number_places(xy, words, mask, table, first, of_corner):  # type: ignore[no-untyped-def]
    """How many places there are; their numbers are put into `of_corner`, by a hash table with linear probing."""
    count = 0
    for i in range(len(xy)):
        x, y = xy[i, 0], xy[i, 1]
        mixed = np.uint64(0) if x == 0 else words[i, 0] * np.uint64(0x9E3779B97F4A7C15)  # -0.0 is 0.0
        mixed ^= mixed >> np.uint64(29)
        mixed += np.uint64(0) if y == 0 else words[i, 1]
        mixed *= np.uint64(0xBF58476D1CE4E5B9)
        at = (mixed ^ (mixed >> np.uint64(32))) & mask
        while table[at] >= 0:
            j = first[table[at]]
            if xy[j, 0] == x and xy[j, 1] == y:
                break
            at = (at + np.uint64(1)) & mask
        if table[at] < 0:
            table[at] = count
            first[count] = i
            count += 1
        of_corner[i] = table[at]
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _fill_neighbours(of_corner, rings, one, other, visits):  # type: ignore[no-untyped-def]
    """The two neighbours of each node and how many rings pass it; 0 visits where there are other neighbours too."""
    for r in range(len(rings) - 1):
        begin, end = rings[r], rings[r + 1]
        for i in range(begin, end):
            node = of_corner[i]
            a = of_corner[i - 1 if i > begin else end - 1]
            b = of_corner[i + 1 if i + 1 < end else begin]
            if one[node] < 0:
                one[node], other[node] = a, b
                visits[node] = 1
            elif (one[node] == a and other[node] == b) or (one[node] == b and other[node] == a):
                visits[node] += visits[node] > 0
            else:
                visits[node] = 0


def rings_of_nodes(nodes: Nodes, rings: Ints) -> tuple[Ints, Ints]:
    """The first and the last ring that passes each node."""
    ring_of_corner = np.repeat(np.arange(len(rings) - 1), np.diff(rings))
    last = np.empty(len(nodes.visits), np.int64)
    last[nodes.of_corner] = ring_of_corner
    first = np.empty(len(nodes.visits), np.int64)
    first[nodes.of_corner[::-1]] = ring_of_corner[::-1]
    return first, last
