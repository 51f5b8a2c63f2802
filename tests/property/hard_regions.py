"""Regions and points that exact assignment must get right, seeded: what rounding, ties and odd shapes make hard.

Decides which sets there are and which points are asked of each; `differing` names the pairs on which an index and
shapely disagree. Never looks into an index.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon

Floats = NDArray[np.float64]
Regions = NDArray[np.object_]
Pairs = NDArray[np.int64]
Rng = np.random.Generator

POINTS_OF_A_KIND = 150
NEAR = 1e-12
NEXT_TO_ZERO = 2.0**-70
"""Of the largest coordinate: shapely computes with 106 bits and is wrong, or disagrees with itself, far below."""


@dataclass(frozen=True)
class HardSet:
    """Regions, and points to ask of them."""

    regions: Regions
    lon: Floats
    lat: Floats


def _array(regions: Any) -> Regions:
    found = np.empty(len(regions), object)
    found[:] = regions
    return found


# -- pairs ------------------------------------------------------------------------------------------------------------


def ordered(point: Any, region: Any) -> Pairs:
    """Pairs of the position of a point and of a region, a row each, sorted."""
    point, region = (np.asarray(side).astype(np.int64) for side in (point, region))
    order = np.lexsort((region, point))
    return np.column_stack([point[order], region[order]])


def differing(one: Pairs, other: Pairs) -> Pairs:
    """The pairs that only one of two answers has."""
    keys = np.setxor1d(*(pairs[:, 0] << 32 | pairs[:, 1] for pairs in (one, other)))
    return np.column_stack([keys >> 32, keys & (1 << 32) - 1])


def pairs_of_prepared(regions: Regions, lon: Floats, lat: Floats, predicate: str) -> Pairs:
    """The pairs that shapely finds: the regions, prepared, ask a tree of the points."""
    asked = {"within": "contains", "intersects": "intersects"}[predicate]
    region, point = shapely.STRtree(shapely.points(lon, lat)).query(regions, predicate=asked)
    return ordered(point, region)


def pairs_of_tree(regions: Regions, lon: Floats, lat: Floats, predicate: str) -> Pairs:
    """The pairs that shapely finds when the points ask a tree of the regions."""
    return ordered(*shapely.STRtree(regions).query(shapely.points(lon, lat), predicate=predicate))


def pairs_by_force(regions: Regions, lon: Floats, lat: Floats, predicate: str) -> Pairs:
    """The pairs that shapely finds by asking every region of every point."""
    return ordered(*np.nonzero(getattr(shapely, predicate)(shapely.points(lon, lat)[:, None], regions[None, :])))


def pairs_of_index(index: Any, lon: Floats, lat: Floats, predicate: str, threads: int = 1) -> Pairs:
    """The pairs of an index, which must come sorted and once each."""
    pairs = np.column_stack(index.pairs(lon, lat, predicate=predicate, threads=threads)).astype(np.int64)
    assert (np.diff(pairs[:, 0] << 32 | pairs[:, 1]) > 0).all(), "pairs are not sorted, or not once each"
    return pairs


# -- points ------------------------------------------------------------------------------------------------------------


def edges_of(regions: Regions) -> tuple[Floats, Floats]:
    """Both ends of every edge of every ring."""
    rings = shapely.get_rings(shapely.get_parts(regions))
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    is_edge = ring[1:] == ring[:-1]
    return xy[:-1][is_edge], xy[1:][is_edge]


def hard_points(regions: Regions, rng: Rng, most: int = POINTS_OF_A_KIND) -> Floats:
    """Points, a row each, of every kind that is hard for these regions, at most `most` of a kind."""
    start, end = edges_of(regions)
    some = rng.choice(len(start), most) if len(start) > most else np.arange(len(start))
    a, b = start[some], end[some]
    other = rng.permutation(len(a))
    middle = a + (b - a) / 2
    along = a + (b - a) * rng.random((len(a), 1))
    length = np.hypot(*(b - a).T)[:, None]
    with np.errstate(invalid="ignore"):
        normal = np.nan_to_num((b - a)[:, ::-1] * (1, -1) / length)
    low, high = shapely.total_bounds(regions).reshape(2, 2)
    spread = rng.random((most, 2))
    return np.vstack(
        [
            a,
            middle,
            along,
            *(at + sign * NEAR * normal for at in (a, middle, along) for sign in (1, -1)),
            *(nudged(at, dx, dy) for at in (a, middle, along) for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1))),
            np.column_stack([a[other, 0], a[:, 1]]),  # the longitude of one vertex, the latitude of another
            np.column_stack([low[0] + spread[: len(a), 0] * (high - low)[0], a[: len(spread), 1]]),
            np.column_stack([a[: len(spread), 0], low[1] + spread[: len(a), 1] * (high - low)[1]]),
            low + spread * (high - low),
            low + (spread * 1.5 - 0.25) * (high - low),
            [(x, y) for x in (low[0], high[0]) for y in (low[1], high[1])],
            [(nx, ny) for nx in (-180.0, 0.0, -0.0, 180.0) for ny in (-90.0, 0.0, -0.0, 90.0)],
        ]
    )


def nudged(points: Floats, dx: int, dy: int) -> Floats:
    """These points moved to the next double in x and y, up or down or not at all; from 0 by little."""
    moved, from_zero = points.copy(), NEXT_TO_ZERO * np.abs(points).max()
    for axis, direction in enumerate((dx, dy)):
        if direction:
            at = points[:, axis]
            moved[:, axis] = np.where(at == 0, direction * from_zero, np.nextafter(at, np.inf * direction))
    return moved


# -- regions -----------------------------------------------------------------------------------------------------------


def circle(x: float, y: float, radius: float, corners: int, turn: float = 0.0) -> Floats:
    """The corners of a regular polygon."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False) + turn
    return np.column_stack([x + radius * np.cos(angle), y + radius * np.sin(angle)])


def quads(columns: int, rows: int, rng: Rng, jitter: float = 0.3) -> Floats:
    """The corners of a grid of unit squares, moved at random: ``(rows + 1, columns + 1, 2)``."""
    x, y = np.meshgrid(np.arange(columns + 1.0), np.arange(rows + 1.0))
    return np.stack([x, y], axis=-1) + rng.uniform(-jitter, jitter, (rows + 1, columns + 1, 2))


def coverage(corner: Floats) -> Regions:
    """The quadrilaterals between these corners: neighbours share their border exactly."""
    rows, columns = corner.shape[0] - 1, corner.shape[1] - 1
    return _array(
        [
            Polygon([corner[r, c], corner[r, c + 1], corner[r + 1, c + 1], corner[r + 1, c]])
            for r in range(rows)
            for c in range(columns)
        ]
    )


def boxes(rng: Rng, count: int, extent: int, largest: int) -> Regions:
    """Boxes with whole corners, wherever they fall."""
    x, y = rng.integers(0, extent, (2, count))
    w, h = rng.integers(1, largest + 1, (2, count))
    return shapely.box(x, y, x + w, y + h)


def shared_borders(rng: Rng) -> Regions:
    return coverage(quads(12, 9, rng) * (0.7, 0.3) + (-100.0, 30.0))


def ragged_borders(rng: Rng) -> Regions:
    corner = quads(40, 30, rng)
    parts = coverage(corner)
    group = (np.arange(len(parts)) // 40 // 6) * 5 + (np.arange(len(parts)) % 40) // 8
    return _array([shapely.coverage_union_all(parts[group == g]) for g in np.unique(group)])


def donuts(rng: Rng) -> Regions:
    made = []
    for x, y, radius in zip(rng.uniform(-3, 3, 300), rng.uniform(-2, 2, 300), rng.uniform(0.3, 2.5, 300)):
        corners = int(rng.integers(5, 40))
        made.append(Polygon(circle(x, y, radius, corners), [circle(x, y, radius * rng.uniform(0.2, 0.7), corners)]))
    return _array(made)


def integer_boxes(rng: Rng) -> Regions:
    return boxes(rng, 250, 40, 8)


def unit_grid(rng: Rng) -> Regions:
    return coverage(quads(20, 20, rng, jitter=0))


def snapped_to_eighths(rng: Rng) -> Regions:
    return coverage(np.round(quads(14, 14, rng) * 8) / 8)


def snapped_to_tenths(rng: Rng) -> Regions:
    return coverage(np.round(quads(14, 14, rng), 1) + 0.1)


def snapped_to_integers(rng: Rng) -> Regions:
    return coverage(np.round(quads(14, 14, rng) * 5))


def slivers(rng: Rng) -> Regions:
    made = []
    for width in 10.0 ** -np.arange(3, 15):
        a, b = rng.uniform(-1, 1, (2, 2))
        across = np.array([a[1] - b[1], b[0] - a[0]]) * width
        made += [Polygon([a, b, b + across]), Polygon([a, b, b + across, a + across])]
    return _array([m for m in made if m.is_valid and m.area > 0])


def nested(rng: Rng) -> Regions:
    radii = np.linspace(10, 0.5, 20)
    rings = [circle(0.1, 0.2, radius, 17, radius) for radius in radii]
    return _array([Polygon(outer, [inner]) for outer, inner in pairwise(rings)] + [Polygon(rings[-1])])


def one_region(rng: Rng) -> Regions:
    return _array([Polygon(circle(0, 0, 0.4, 23) * rng.uniform(0.7, 1, (23, 1)) + (-87.6, 41.8))])


def one_triangle(rng: Rng) -> Regions:
    return _array([Polygon([(0, 0), (1, 0), (0, 1)])])


def world_and_specks(rng: Rng) -> Regions:
    specks = shapely.box(*(at := rng.uniform((-179, -89), (179, 89), (150, 2))).T, *(at + 1e-3).T)
    return _array([shapely.box(-180, -90, 180, 90), *specks, shapely.box(-180, -90, 0, 90)])


def one_spot(rng: Rng) -> Regions:
    return _array([Polygon(circle(5, 5, radius, 12, radius)) for radius in rng.uniform(0.5, 3, 200)])


def wedges(rng: Rng) -> Regions:
    rim = circle(0.3, 0.7, 2.0, 180)
    return _array([Polygon([(0.3, 0.7), a, b]) for a, b in zip(rim, np.roll(rim, -1, axis=0))])


def checkerboard(rng: Rng) -> Regions:
    parts = coverage(quads(12, 12, rng))
    black = (np.arange(144) // 12 + np.arange(144) % 12) % 2 == 0
    return _array([MultiPolygon(list(parts[black])), MultiPolygon(list(parts[~black]))])


def scattered_parts(rng: Rng) -> Regions:
    parts = coverage(quads(16, 16, rng))
    owner = np.arange(256) % 11 * 3 % 7  # a part touches none of its own region's, but at points
    return _array([shapely.union_all(parts[owner == o]) for o in range(7)])


def repeated_regions(rng: Rng) -> Regions:
    parts = coverage(quads(6, 6, rng))
    return _array([*parts, *parts[::-1], *parts[::2], *shapely.reverse(parts[::3])])


def collinear_vertices(rng: Rng) -> Regions:
    return shapely.segmentize(coverage(quads(6, 6, rng)), 0.07)


def straight_collinear_vertices(rng: Rng) -> Regions:
    return shapely.segmentize(boxes(rng, 40, 16, 6), 0.25)


def repeated_vertices(rng: Rng) -> Regions:
    return _array([Polygon(np.repeat(shapely.get_coordinates(p), 3, axis=0)) for p in coverage(quads(6, 6, rng))])


def touching_holes(rng: Rng) -> Regions:
    """Holes that touch their shell, or each other, in a point."""
    shell = [(0, 0), (8, 0), (8, 8), (0, 8)]
    made = [
        Polygon(shell, [[(0, 4), (2, 3), (2, 5)], [(2, 3), (4, 1), (4, 4)], [(8, 8), (6, 7), (7, 6)]]),
        Polygon([(2, 3), (4, 1), (4, 4)]),
        Polygon([(0, 4), (2, 3), (2, 5)]),
    ]
    assert shapely.is_valid(made).all()
    return _array(made)


def combs(rng: Rng) -> Regions:
    """Spikes whose tips, and valleys, lie at one latitude; two combs that interlock."""
    x = np.arange(81) / 10
    teeth = np.column_stack([x, np.where(np.arange(81) % 2, 3.0, 1.0)])
    return _array([Polygon([*teeth, (8, 0), (0, 0)]), Polygon([*teeth, (8, 4), (0, 4)])])


def steps(rng: Rng) -> Regions:
    """Stairs: every edge is level or upright."""
    at = np.repeat(np.arange(60) / 7, 2)
    top = at[-1]
    stairs = np.column_stack([at[1:], at[:-1]])
    below = Polygon([*stairs, (top + 1, top), (top + 1, -1.0), (0.0, -1.0)])
    return _array([below, Polygon([*stairs, (-1.0, top), (-1.0, 0.0)])])


def spiral(rng: Rng) -> Regions:
    turn = np.linspace(0, 30 * np.pi, 1500)
    outer = np.column_stack([turn * np.cos(turn), turn * np.sin(turn)])
    inner = np.column_stack([(turn + 2) * np.cos(turn), (turn + 2) * np.sin(turn)])
    return _array([Polygon([*outer, *inner[::-1]])])


def coarse_and_fine(rng: Rng) -> Regions:
    """Nearly all regions in a millionth of the extent."""
    return _array([*coverage(quads(20, 20, rng) * 1e-7 + (12.0, 41.0)), shapely.box(-170, -60, 170, 70)])


def far_from_zero(rng: Rng) -> Regions:
    """Regions that are a few hundred doubles wide."""
    corner = quads(8, 8, rng) * 2.0**-20 + (1e8, -3e7)
    return coverage(corner)


def flat(rng: Rng) -> Regions:
    return coverage(quads(20, 6, rng) * (10.0, 1e-9))


def huge(rng: Rng) -> Regions:
    return coverage(np.round(quads(8, 8, rng) * 7) * 1e15)


def negative_zero(rng: Rng) -> Regions:
    return _array(
        [
            Polygon([(-0.0, -0.0), (1, 0.0), (1, 1), (0.0, 1)]),
            Polygon([(0.0, 0.0), (-1, -0.0), (-1, -1), (-0.0, -1)]),
            Polygon([(0.0, -0.0), (-0.0, 1), (-1, 1), (-1, 0.0)]),
        ]
    )


def poles_and_antimeridian(rng: Rng) -> Regions:
    caps = shapely.box(-180, [80, -90], 180, [90, -80])
    split = MultiPolygon([shapely.box(175, 20, 180, 30), shapely.box(-180, 20, -175, 30)])
    return _array([*caps, shapely.box(170, -10, 180, 10), split])


# -- where shapely itself is wrong in places ---------------------------------------------------


def tiny(rng: Rng) -> Regions:
    return coverage(quads(6, 6, rng) * 1e-300)


def subnormal(rng: Rng) -> Regions:
    return coverage(np.round(quads(6, 6, rng) * 9) * 5e-324)


def next_to_zero(rng: Rng) -> Regions:
    least = 5e-324
    corner = np.round(quads(8, 8, rng) - 4, 1)
    near = np.where(corner == 0, rng.choice([-least, 0, least, 1e-90, -1e-200], corner.shape), corner)
    made = coverage(near)
    return made[shapely.is_valid(made)]


def enormous(rng: Rng) -> Regions:
    return coverage(quads(5, 5, rng) * 1e200)


SETS: dict[str, Callable[[Rng], Regions]] = {
    make.__name__: make
    for make in (
        shared_borders, ragged_borders, donuts, integer_boxes, unit_grid, snapped_to_eighths, snapped_to_tenths,
        snapped_to_integers, slivers, nested, one_region, one_triangle, world_and_specks, one_spot, wedges,
        checkerboard, scattered_parts, repeated_regions, collinear_vertices, straight_collinear_vertices,
        repeated_vertices, touching_holes, combs, steps, spiral, coarse_and_fine, far_from_zero, flat, huge,
        negative_zero, poles_and_antimeridian,
    )
}  # fmt: skip
"""The sets by name, all of them valid."""

BEYOND: dict[str, Callable[[Rng], Regions]] = {
    make.__name__: make for make in (next_to_zero, tiny, subnormal, enormous)
}
"""Sets for whose coordinates shapely's arithmetic is too coarse, or whose products underflow or overflow."""


def hard_set(name: str, seed: int = 0, most: int = POINTS_OF_A_KIND) -> HardSet:
    """The set of this name, its points in random order; a larger `most` asks more points of each kind."""
    rng = np.random.default_rng([seed, *name.encode()])
    regions = (SETS | BEYOND)[name](rng)
    points = rng.permutation(hard_points(regions, rng, most))
    return HardSet(regions, np.ascontiguousarray(points[:, 0]), np.ascontiguousarray(points[:, 1]))


def large_region(vertices: int, rng: Rng) -> Polygon:
    """One ragged polygon of this many vertices."""
    angle = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    radius = 10 + np.sin(7 * angle) + 0.4 * np.sin(500 * angle) + rng.uniform(0, 1e-4, vertices)
    return Polygon(np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]))


def grid_points(regions: Regions, divisions: int) -> Floats:
    """Points on the lines that cut the extent into so many columns and rows, as an index might."""
    x0, y0, x1, y1 = shapely.total_bounds(regions)
    k = np.arange(divisions + 1)
    return np.stack(np.meshgrid(x0 + k * ((x1 - x0) / divisions), y0 + k * ((y1 - y0) / divisions)), -1).reshape(-1, 2)
