"""Draws what the transforms of borders do, before and after, into docs/pictures/.

python docs/pictures.py
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from pictures_inference import BAD, COLOURS, EDGE, fill, panels, write

from builder import transforms as t

TEAL, ORANGE = COLOURS[5], COLOURS[1]


def star() -> gpd.GeoDataFrame:
    """A region with bays, spits and a lake."""
    rng = np.random.default_rng(4)
    turn = np.linspace(0, 2 * np.pi, 34, endpoint=False)
    far = 1 + 0.28 * np.sin(3 * turn) + rng.uniform(-0.16, 0.16, len(turn))
    shell = np.column_stack((far * np.cos(turn), far * np.sin(turn))) * 0.1
    turn = np.linspace(0, 2 * np.pi, 22, endpoint=False)
    lake = 0.1 * np.column_stack((0.32 * np.cos(turn), 0.26 * np.sin(turn)))
    lake[::2] *= 0.8
    return gpd.GeoDataFrame(geometry=[shapely.Polygon(shell, [lake])], crs=4326)


def wavy_line(start: Any, end: Any, rng: np.random.Generator, corners: int = 7) -> np.ndarray:
    """A jagged way from one place to another."""
    share = np.linspace(0, 1, corners + 2)[:, None]
    along = np.subtract(end, start)
    aside = rng.uniform(-0.17, 0.17, len(share)) * np.hypot(*along)
    aside[[0, -1]] = 0
    return np.asarray(start) + share * along + aside[:, None] * np.array([-along[1], along[0]]) / np.hypot(*along)


def jagged_cells() -> gpd.GeoDataFrame:
    """Nine regions with jagged borders between them, in a rectangle."""
    rng = np.random.default_rng(12)
    node = np.stack(np.meshgrid(np.arange(4.0), np.arange(4.0)), axis=2)
    node[1:3, 1:3] += rng.uniform(-0.12, 0.12, (2, 2, 2))
    down = [[wavy_line(node[r, c], node[r + 1, c], rng) for c in (1, 2)] for r in range(3)]
    across = [[wavy_line(node[r, c], node[r, c + 1], rng) for c in range(3)] for r in (1, 2)]
    ways = [shapely.LineString(way) for ways in (*down, *across) for way in ways]
    pieces = shapely.polygonize([shapely.node(shapely.MultiLineString([*ways, shapely.box(0, 0, 3, 3).exterior]))])
    cells = [piece for piece in shapely.get_parts(pieces) if piece.area > 0.3]
    return gpd.GeoDataFrame({"id": range(len(cells))}, geometry=cells, crs=4326)


def outline(axis: Any, shapes: Any, **style: Any) -> None:
    """The borders alone."""
    gpd.GeoSeries(list(shapes)).boundary.plot(ax=axis, **({"color": BAD, "linewidth": 0.7} | style))


def smooth_regions() -> None:
    """One region, and what each method makes of it, over its former border."""
    region = star()
    methods: dict[str, dict[str, Any]] = {
        "chaikin": {},
        "taubin": {},
        "buffer": {"distance_m": 1500.0},
    }
    before, *after = panels("smooth_regions", ["before", *methods], width=2.6, height=2.8)
    fill(before, region.geometry, [TEAL])
    for axis, (method, options) in zip(after, methods.items()):
        fill(axis, t.smooth_regions(region, method=method, **options).geometry, [TEAL])
        outline(axis, region.geometry)


def smooth_coverage() -> None:
    """Neighbours smoothed each alone, which tears them apart, and as a coverage."""
    cells = jagged_cells()
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(cells))]
    before, alone, together = panels("smooth_coverage", ["before", "chaikin: each alone", "coverage: borders shared"])
    fill(before, cells.geometry, colours)
    for axis, method in ((alone, "chaikin"), (together, "coverage")):
        smooth = t.smooth_regions(cells, method=method, iterations=3).geometry
        fill(axis, smooth, colours)
        torn = shapely.difference(shapely.box(0, 0, 3, 3), shapely.union_all(smooth.to_numpy()))
        if torn.area > 1e-9:
            fill(axis, [torn], [BAD], alpha=1.0, linewidth=0)
        axis.set(xlim=before.get_xlim(), ylim=before.get_ylim())


def simplify_regions() -> None:
    """A coverage with fewer and fewer vertices."""
    cells = jagged_cells()
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(cells))]
    titles = ["before", "simplify_regions, 15 km", "30 km"]
    for axis, title, tolerance_m in zip(panels("simplify_regions", titles), titles, (None, 15_000.0, 30_000.0)):
        shown = cells if tolerance_m is None else t.simplify_regions(cells, tolerance_m)
        fill(axis, shown.geometry, colours)
        xy = shapely.get_coordinates(shown.geometry.to_numpy())
        axis.scatter(*xy.T, s=4, color=EDGE, linewidths=0, zorder=3)
        axis.set_title(f"{title}: {len(np.unique(xy, axis=0))} vertices", fontsize=10)


def adjacency() -> None:
    """Regions, and a line for each pair that meets."""
    cells = jagged_cells()
    cells = cells[cells.index != len(cells) // 2].reset_index(drop=True)
    square = gpd.GeoDataFrame({"id": [99]}, geometry=[shapely.box(3, 3, 3.8, 3.8)], crs=4326)
    cells = gpd.pd.concat([cells, square], ignore_index=True)
    meetings = t.adjacency(cells)
    before, after = panels("adjacency", ["regions", "adjacency: edge, and corner dashed"], width=3.6, height=3.4)
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(cells))]
    middle = dict(zip(cells["id"], shapely.get_coordinates(shapely.point_on_surface(cells.geometry.to_numpy()))))
    for axis in (before, after):
        fill(axis, cells.geometry, colours, alpha=0.55 if axis is before else 0.25)
    for row in meetings.itertuples():
        ends = np.array([middle[row.left], middle[row.right]])
        is_edge = row.kind == "edge"
        after.plot(*ends.T, color=EDGE if is_edge else BAD, linewidth=1.4, linestyle="-" if is_edge else "--")
    after.scatter(*np.array(list(middle.values())).T, s=22, color=EDGE, zorder=3)


PICTURES: tuple[Callable[[], None], ...] = (smooth_regions, smooth_coverage, simplify_regions, adjacency)


if __name__ == "__main__":
    write(PICTURES)
