"""Regions inferred from points and dissolved from regions, against the best direct calls of shapely.

    python benchmarks/transforms_inference.py [--data DIR] [--points 372000] [--repeat 5] [--only CASE]

Points lie in some 10,000 labelled squares; regions to dissolve are 30,000 in some 160 squares (the sets p1m and t30k of
benchmarks/regions.py). The peer gets arrays: the labels as numbers already, and the points sorted by them; it makes its
geometries and calls the one function of shapely that does it, for all labels at once. builder gets the frame as it is,
and checks, groups and sorts it too. geopandas is what many write. All run in turns in one process, on one thread; CPU
seconds of the best turn, and the spread. Answers are compared after timing.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from reference_regions import Lacking, default_folder, points_of, regions_of

from builder import transforms as t

Run = Callable[[], Any]


def labelled_points(data: Path, count: int) -> pd.DataFrame:
    """Points in random order with the square of 0.4° that they lie in as text."""
    try:
        xy = points_of("p1m", data)[:count]
    except Lacking:
        rng = np.random.default_rng(1)
        centres = rng.uniform((-120, 26), (-70, 48), (400, 2))
        xy = np.round(centres[rng.integers(0, 400, count)] + rng.normal(size=(count, 2)) * 1.5, 6)
    label = (np.floor(xy[:, 0] / 0.4) * 1000 + np.floor(xy[:, 1] / 0.4)).astype(int)
    return pd.DataFrame({"label": pd.Series(label).astype("string"), "lon": xy[:, 0], "lat": xy[:, 1]})


def hulls(df: pd.DataFrame, method: str, **options: Any) -> dict[str, Run]:
    """One hull a label."""
    codes = df.groupby("label").ngroup().to_numpy()
    order = np.argsort(codes, kind="stable")
    xy, codes = df[["lon", "lat"]].to_numpy()[order], codes[order]
    call = {"convex": shapely.convex_hull, "concave": lambda g: shapely.concave_hull(g, **options)}[method]

    def by_geopandas() -> Any:
        spots = gpd.GeoDataFrame(df[["label"]], geometry=gpd.points_from_xy(df["lon"], df["lat"]), crs=4326)
        united = spots.dissolve("label").geometry
        return (united.convex_hull if method == "convex" else united.concave_hull(**options)).to_numpy()

    return {
        "builder": lambda: t.infer_regions(df, by="label", method=method, **options).geometry.to_numpy(),
        "shapely": lambda: call(shapely.multipoints(xy, indices=codes)),
        "geopandas": by_geopandas,
    }


def voronoi(df: pd.DataFrame) -> dict[str, Run]:
    """The cells of each of fewer labels, united and clipped to one outline."""
    square = (np.floor(df["lon"]) * 1000 + np.floor(df["lat"])).astype(int)
    df = df.assign(label=square)
    distinct = df.drop_duplicates(["lon", "lat"])
    codes = distinct.groupby("label").ngroup().to_numpy()
    order = np.argsort(codes, kind="stable")
    xy, codes = distinct[["lon", "lat"]].to_numpy()[order], codes[order]
    west, south, east, north = *xy.min(axis=0), *xy.max(axis=0)
    outline = shapely.box(west - 1, south - 1, east + 1, north + 1)

    def direct() -> Any:
        cells = shapely.get_parts(shapely.voronoi_polygons(shapely.multipoints(xy), extend_to=outline, ordered=True))
        groups = shapely.geometrycollections(cells, indices=codes)
        return shapely.intersection(shapely.coverage_union_all(groups[:, np.newaxis], axis=1), outline)

    call = lambda: t.infer_regions(df, by="label", method="voronoi", outline=outline).geometry.to_numpy()  # noqa: E731
    return {"builder": call, "shapely": direct}


def dissolved(data: Path) -> dict[str, Run]:
    """Regions of a coverage united by the square that they lie in."""
    regions = regions_of("t30k", data)
    middle = shapely.get_coordinates(shapely.centroid(regions.geometry.array))
    square = np.floor((middle - (-125, 24)) / (3.3, 2.9)).astype(int)
    regions = regions.assign(square=square[:, 0] * 9 + square[:, 1])
    codes = np.unique(regions["square"], return_inverse=True)[1]
    order = np.argsort(codes, kind="stable")
    shapes, codes = regions.geometry.to_numpy()[order], codes[order]

    def direct() -> Any:
        return shapely.coverage_union_all(shapely.geometrycollections(shapes, indices=codes)[:, np.newaxis], axis=1)

    return {
        "builder": lambda: t.dissolve(regions, "square").geometry.to_numpy(),
        "shapely": direct,
        "geopandas": lambda: regions.dissolve("square", method="coverage").geometry.to_numpy(),
    }


def timed(runs: dict[str, Run], repeat: int) -> dict[str, list[float]]:
    """CPU seconds of each, turn by turn; a first turn of each is not counted."""
    answers = {name: run() for name, run in runs.items()}
    took: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeat):
        for name, run in runs.items():
            start = time.process_time()
            run()
            took[name].append(time.process_time() - start)
    mine = answers.pop("builder")
    for name, theirs in answers.items():
        spare = shapely.area(shapely.symmetric_difference(mine, only_areas(theirs))).sum()
        assert len(mine) == len(theirs) and spare <= 1e-9 * shapely.area(mine).sum(), f"{name} has another answer"
    return took


def only_areas(shapes: Any) -> Any:
    """The shapes, an empty polygon for points and lines."""
    return np.where(shapely.get_dimensions(shapes) == 2, shapes, shapely.Polygon())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default=None)
    parser.add_argument("--points", type=int, default=372_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", choices=("convex", "concave", "voronoi", "dissolve"))
    asked = parser.parse_args()
    data = Path(asked.data) if asked.data else default_folder()
    df = labelled_points(data, asked.points)
    cases: dict[str, Callable[[], dict[str, Run]]] = {
        "convex": lambda: hulls(df, "convex"),
        "concave": lambda: hulls(df, "concave", ratio=0.3),
        "voronoi": lambda: voronoi(df),
        "dissolve": lambda: dissolved(data),
    }
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{machine}, Python {platform.python_version()}")
    print(", ".join(f"{name} {version(name)}" for name in ("shapely", "geopandas", "numpy")), shapely.geos_version)
    print(f"{len(df):,} points, {df['label'].nunique():,} labels; CPU seconds, best of {asked.repeat}, spread")
    for case, runs_of in cases.items():
        if asked.only not in (None, case):
            continue
        try:
            took = timed(runs_of(), asked.repeat)
        except Lacking as reason:
            print(f"{case:<9} left out: {reason}")
            continue
        ratio = min(took["builder"]) / min(took["shapely"])
        cells = [f"{name} {min(s):6.3f} … {max(s):6.3f}" for name, s in took.items()]
        print(f"{case:<9} {'   '.join(cells)}   builder/shapely {ratio:.2f}")


if __name__ == "__main__":
    main()
