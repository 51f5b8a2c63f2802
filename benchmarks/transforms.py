"""Regions smoothed, simplified, compared, inferred and dissolved: builder against shapely, geopandas and shapelysmooth.

    python benchmarks/transforms.py [--data DIR] [--points 372000] [--repeat 3] [--only CASE]

smooth      10,000 polygons with 1.5 million vertices, the first of the set t30k: Chaikin twice, Taubin, and the buffer
            method by 1 km as it is mostly written, out and in, which rounds bays alone, and with the way in and out
            that rounds spits too; builder's answers are valid and, for Chaikin, shapelysmooth's
coverage    Chaikin twice on 30,000 regions, shared borders kept: the result is a valid coverage of the same area
simplify    30,000 regions to 1 km, shared borders kept: shapely's rule with a tolerance in degrees comes nearest
adjacency   30,000 regions: which meet, and along what length; geopandas' spatial join by `touches` tells which
convex, concave, voronoi
            one region for each of some 10,000 labels of points (the set p1m); of some 1,000 for voronoi
dissolve    30,000 regions to some 160 squares

For the last four shapely gets arrays: the labels as numbers already, and what is labelled sorted by them; it makes its
geometries and calls the one function that does it, for all labels at once. builder gets the frame as it is, and checks,
groups and sorts it too. geopandas is what many write. Answers are compared.

All run in turns in one process, on one thread; CPU seconds of the best turn, and of the worst. A first turn of each of
builder's, on few regions or points, loads and compiles and is not timed. What takes long runs once (`x1`).
"""

from __future__ import annotations

import argparse
import os
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from reference_regions import Lacking, default_folder, points_of, regions_of

from builder import transforms as t

SMOOTHED = 10_000
WARM_REGIONS, WARM_POINTS = 50, 2_000
KM_DEG = 1000 / 111_195


@dataclass(frozen=True)
class Sets:
    """Regions of the set t30k, and points of the set p1m with the square of 0.4° that they lie in as text."""

    regions: gpd.GeoDataFrame
    points: pd.DataFrame


@dataclass(frozen=True)
class Run:
    """One tool's way, what must be true of its answer, and whether it runs more than once."""

    tool: str
    call: Callable[[], Any]
    check: Callable[[Any], str] = lambda answer: ""
    is_quick: bool = True


def smooth(sets: Sets) -> list[Run]:
    """The methods that look at each region alone."""
    few = sets.regions.iloc[:SMOOTHED]
    shapes = few.geometry.to_numpy()
    runs = [
        Run("builder chaikin", lambda: t.smooth_regions(few), valid),
        Run("builder taubin", lambda: t.smooth_regions(few, method="taubin", iterations=5), valid),
    ]
    if find_spec("shapelysmooth"):
        from shapelysmooth import chaikin_smooth, taubin_smooth

        def chaikin() -> Any:
            return [chaikin_smooth(shape, 2) for shape in shapes]

        def same(answer: Any) -> str:
            ours = t.smooth_regions(few).geometry.to_numpy()
            apart = shapely.area(shapely.symmetric_difference(ours[:500], np.array(answer[:500]))).max()
            assert apart < 1e-12, "shapelysmooth has another answer"
            return f"{int((~shapely.is_valid(np.array(answer))).sum())} invalid"

        runs += [
            Run("shapelysmooth chaikin", chaikin, same),
            Run("shapelysmooth taubin", lambda: [taubin_smooth(shape, 0.5, -0.53, 5) for shape in shapes], invalid),
        ]
    else:
        print("shapelysmooth is not installed: left out")

    def buffered(*steps: float) -> Any:
        found = shapes
        for step in steps:
            found = shapely.buffer(found, step * KM_DEG, quad_segs=16)
        return found

    return [
        *runs,
        Run("buffer out, in", lambda: buffered(1, -1), invalid, is_quick=False),
        Run("buffer out, in 2x, out", lambda: buffered(1, -2, 1), invalid, is_quick=False),
    ]


def coverage(sets: Sets) -> list[Run]:
    """Shared borders smoothed."""
    regions = sets.regions
    shapes = regions.geometry.to_numpy()

    def check(answer: Any) -> str:
        found = answer.geometry.to_numpy()
        area = shapely.area(found).sum() / shapely.area(shapes).sum() - 1
        assert shapely.is_valid(found).all() and shapely.coverage_is_valid(found) and abs(area) <= 1e-9
        return f"a valid coverage; area {area:+.1e}; {shapely.get_num_coordinates(found).sum():,} vertices"

    return [
        Run("builder coverage", lambda: t.smooth_regions(regions, method="coverage"), check),
        Run("shapely is it one?", lambda: shapely.is_valid(shapes).all() and shapely.coverage_is_valid(shapes)),
    ]


def simplify(sets: Sets) -> list[Run]:
    """Shared borders simplified."""
    regions = sets.regions
    shapes = regions.geometry.to_numpy()

    def check(answer: Any) -> str:
        found = np.asarray(getattr(answer, "geometry", answer))
        assert shapely.coverage_is_valid(found)
        return f"a valid coverage; {shapely.get_num_coordinates(found).sum():,} vertices"

    return [
        Run("builder", lambda: t.simplify_regions(regions, 1000.0), check),
        Run("shapely", lambda: shapely.coverage_simplify(shapes, KM_DEG, simplify_boundary=False), check),
    ]


def adjacency(sets: Sets) -> list[Run]:
    """Which regions meet."""
    regions = sets.regions

    def by_geopandas() -> Any:
        one, other = regions.sindex.query(regions.geometry, predicate="touches")
        return one[one < other], other[one < other]

    def check(answer: Any) -> str:
        ours = t.adjacency(regions, region_id="rid")
        order = np.lexsort((answer[1], answer[0]))
        rid = regions["rid"].to_numpy()
        assert (rid[answer[0][order]] == ours["left"]).all() and (rid[answer[1][order]] == ours["right"]).all()
        return "the same pairs, without lengths"

    return [
        Run("builder", lambda: t.adjacency(regions, region_id="rid"), lambda found: f"{len(found):,} pairs"),
        Run("geopandas touches", by_geopandas, check, is_quick=False),
    ]


def hulls(sets: Sets, method: str, **options: Any) -> list[Run]:
    """One hull a label."""
    df = sets.points
    codes = df.groupby("label").ngroup().to_numpy()
    order = np.argsort(codes, kind="stable")
    xy, codes = df[["lon", "lat"]].to_numpy()[order], codes[order]
    call = {"convex": shapely.convex_hull, "concave": lambda g: shapely.concave_hull(g, **options)}[method]

    def by_geopandas() -> Any:
        spots = gpd.GeoDataFrame(df[["label"]], geometry=gpd.points_from_xy(df["lon"], df["lat"]), crs=4326)
        united = spots.dissolve("label").geometry
        return united.convex_hull if method == "convex" else united.concave_hull(**options)

    return against_builder(
        lambda: t.infer_regions(df, by="label", method=method, **options),
        {"shapely": lambda: call(shapely.multipoints(xy, indices=codes)), "geopandas": by_geopandas},
    )


def voronoi(sets: Sets) -> list[Run]:
    """The cells of each of fewer labels, united and clipped to one outline."""
    df = sets.points
    df = df.assign(label=(np.floor(df["lon"]) * 1000 + np.floor(df["lat"])).astype(int))
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

    return against_builder(
        lambda: t.infer_regions(df, by="label", method="voronoi", outline=outline), {"shapely": direct}
    )


def dissolve(sets: Sets) -> list[Run]:
    """Regions of a coverage united by the square that they lie in."""
    middle = shapely.get_coordinates(shapely.centroid(sets.regions.geometry.array))
    square = np.floor((middle - (-125, 24)) / (3.3, 2.9)).astype(int)
    regions = sets.regions.assign(square=square[:, 0] * 9 + square[:, 1])
    codes = np.unique(regions["square"], return_inverse=True)[1]
    order = np.argsort(codes, kind="stable")
    shapes, codes = regions.geometry.to_numpy()[order], codes[order]

    def direct() -> Any:
        return shapely.coverage_union_all(shapely.geometrycollections(shapes, indices=codes)[:, np.newaxis], axis=1)

    return against_builder(
        lambda: t.dissolve(regions, "square"),
        {"shapely": direct, "geopandas": lambda: regions.dissolve("square", method="coverage")},
    )


def against_builder(ours: Callable[[], Any], peers: dict[str, Callable[[], Any]]) -> list[Run]:
    """Builder's way and those of peers, whose regions must be the same in the same order."""

    def same(answer: Any) -> str:
        mine, theirs = ours().geometry.to_numpy(), np.asarray(getattr(answer, "geometry", answer))
        theirs = np.where(shapely.get_dimensions(theirs) == 2, theirs, shapely.Polygon())
        spare = shapely.area(shapely.symmetric_difference(mine, theirs)).sum()
        assert len(mine) == len(theirs) and spare <= 1e-9 * shapely.area(mine).sum(), "another answer"
        return "the same regions"

    runs = [Run("builder", ours, lambda found: f"{len(found):,} regions")]
    return runs + [Run(name, call, same) for name, call in peers.items()]


CASES: dict[str, Callable[[Sets], list[Run]]] = {
    "smooth": smooth,
    "coverage": coverage,
    "simplify": simplify,
    "adjacency": adjacency,
    "convex": lambda sets: hulls(sets, "convex"),
    "concave": lambda sets: hulls(sets, "concave", ratio=0.3),
    "voronoi": voronoi,
    "dissolve": dissolve,
}


def valid(answer: Any) -> str:
    assert answer.geometry.is_valid.all()
    return "all valid"


def invalid(answer: Any) -> str:
    return f"{int((~shapely.is_valid(np.array(answer))).sum())} invalid"


def read_sets(data: Path, points: int) -> Sets:
    xy = points_of("p1m", data)[:points]
    label = (np.floor(xy[:, 0] / 0.4) * 1000 + np.floor(xy[:, 1] / 0.4)).astype(int)
    labelled = pd.DataFrame({"label": pd.Series(label).astype("string"), "lon": xy[:, 0], "lat": xy[:, 1]})
    return Sets(regions_of("t30k", data), labelled)


def warm(sets: Sets, cases: list[str]) -> None:
    few = replace(sets, regions=sets.regions.iloc[:WARM_REGIONS], points=sets.points.iloc[:WARM_POINTS])
    for run in (run for case in cases for run in CASES[case](few)):
        if run.tool.startswith("builder"):
            run.call()


def show(case: str, runs: list[Run], repeat: int) -> None:
    """Time the runs in turns, check each answer, and print the table."""
    took: dict[str, list[float]] = {run.tool: [] for run in runs}
    said: dict[str, str] = {}
    for turn in range(repeat):
        for run in runs if turn == 0 else [run for run in runs if run.is_quick]:
            start = time.process_time()
            answer = run.call()
            took[run.tool].append(time.process_time() - start)
            said[run.tool] = said.get(run.tool) or run.check(answer)
    ours = min(took[runs[0].tool])
    print(f"\n{case:<24}{'CPU s':>8}{'worst':>8}{'ratio':>8}")
    for tool, s in took.items():
        once = " x1" if len(s) == 1 else ""
        print(f"{tool:<24}{min(s):>8.2f}{max(s):>8.2f}{min(s) / ours:>8.1f}  {said[tool]}{once}")


def versions() -> str:
    found = []
    for name in ("shapely", "geopandas", "numpy", "numba", "shapelysmooth"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} –")
    return ", ".join([*found, f"GEOS {shapely.geos_version_string}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=default_folder(), metavar="DIR")
    parser.add_argument("--points", type=int, default=372_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", choices=CASES)
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)  # geopandas: areas in degrees
    try:
        sets = read_sets(options.data, options.points)
    except Lacking as reason:
        raise SystemExit(f"no regions or points: {reason}") from None
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {versions()}")
    cases = list(CASES) if options.only is None else [options.only]
    warm(sets, cases)
    for case in cases:
        show(case, CASES[case](sets), options.repeat)


if __name__ == "__main__":
    main()
