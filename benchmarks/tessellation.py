"""Regions without gaps or overlaps for benchmarks, and real changes of their borders.

The cells of a Voronoi diagram, whose corners are moved: all rings that meet in a corner move with it, so that the
regions share their borders before and after. Seeded; equal arguments give equal regions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

WEST, SOUTH, EAST, NORTH = -120.0, 25.0, -70.0, 50.0
PIECES = 25
"""The side of a square as large as a region over the longest piece of border: about 100 vertices a ring."""
MOVED = 0.2
"""How far a corner moves, of the way to the middle of one of its regions."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Tessellation:
    """Corners, and each region as a ring of them: `corner` and `region` say, in order, which stands in whose ring."""

    xy: npt.NDArray[np.float64]
    corner: Ints
    region: Ints

    @staticmethod
    def of(count: int) -> Tessellation:
        """The cells of so many points, cut by a box."""
        rng = np.random.default_rng(7)
        sites = np.column_stack([rng.uniform(WEST, EAST, count), rng.uniform(SOUTH, NORTH, count)])
        cells = shapely.get_parts(shapely.voronoi_polygons(shapely.multipoints(sites)))
        xy, region = shapely.get_coordinates(shapely.clip_by_rect(cells, WEST, SOUTH, EAST, NORTH), return_index=True)
        is_end = np.append(region[1:] != region[:-1], True)  # a ring ends where it began
        corners, corner = np.unique(xy[~is_end].round(9), axis=0, return_inverse=True)
        return Tessellation(corners, corner.ravel(), region[~is_end])

    def polygons(self, xy: npt.NDArray[np.float64] | None = None, pieces: float = 0.0) -> Any:
        """The regions; with `pieces`, a vertex at least every so many degrees, the same on both sides of a border."""
        xy = self.xy if xy is None else xy
        one, other = self.corner, self.corner[self._following()]
        lengths = np.hypot(*(xy[other] - xy[one]).T)
        counts = np.maximum(1, np.ceil(lengths / pieces)).astype(int) if pieces else np.ones(len(one), int)
        edge = np.repeat(np.arange(len(one)), counts)
        nth = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
        is_forward = (one < other)[edge]  # from the lower corner, so that both sides have the same vertices
        low, high = np.minimum(one, other)[edge], np.maximum(one, other)[edge]
        share = np.where(is_forward, nth, counts[edge] - nth) / counts[edge]
        points = np.where((nth == 0)[:, None], xy[one[edge]], xy[low] + (xy[high] - xy[low]) * share[:, None])
        return shapely.polygons(shapely.linearrings(points, indices=self.region[edge]))

    def moved(self, count: int, seed: int) -> Tessellation:
        """The regions after so many corners have moved, or as many as there are, of which no two meet in a region."""
        meeting = self._meeting()
        apart = _apart(meeting, np.random.default_rng(seed).permutation(len(meeting)), 2 * count)
        corners, regions = meeting[apart, 0], meeting[apart, 1:]
        middles = shapely.get_coordinates(shapely.centroid(self.polygons()))[regions[:, 0]]
        trial = self.xy.copy()
        trial[corners] += MOVED * (middles - trial[corners])
        is_good = shapely.is_valid(self.polygons(trial))[regions].all(axis=1)
        chosen = corners[is_good][:count]
        xy = self.xy.copy()
        xy[chosen] = trial[chosen]
        return Tessellation(xy, self.corner, self.region)

    def _following(self) -> Ints:
        """The position of the corner that follows in the same ring."""
        at = np.arange(len(self.region))
        first = np.searchsorted(self.region, self.region)
        return np.where(np.append(self.region[1:] != self.region[:-1], True), first, at + 1)

    def _meeting(self) -> Ints:
        """Each corner in which three regions meet, with these."""
        order = np.argsort(self.corner, kind="stable")
        _, starts, counts = np.unique(self.corner[order], return_index=True, return_counts=True)
        starts = starts[counts == 3]
        return np.column_stack([self.corner[order][starts], *(self.region[order][starts + n] for n in range(3))])


def _apart(meeting: Ints, order: Ints, most: int) -> list[int]:
    """Some of these corners, of which no two meet in a region."""
    taken: set[int] = set()
    found: list[int] = []
    for at in order.tolist():
        regions = meeting[at, 1:].tolist()
        if len(found) < most and taken.isdisjoint(regions):
            taken.update(regions)
            found.append(at)
    return found


def regions(count: int, changes: Sequence[tuple[int, int]] = ()) -> Any:
    """So many regions as a frame with an id; after changes, each of so many corners and a seed, one after the other."""
    import geopandas as gpd

    found = Tessellation.of(count)
    for corners, seed in changes:
        found = found.moved(corners, seed)
    side = ((EAST - WEST) * (NORTH - SOUTH) / count) ** 0.5
    shapes = found.polygons(pieces=side / PIECES)
    return gpd.GeoDataFrame({"rid": np.arange(len(shapes))}, geometry=shapes, crs="EPSG:4326")
