"""Borders smoothed, simplified and compared: builder against shapely, geopandas and shapelysmooth.

    python benchmarks/transforms.py [--data DIR] [--repeat 3] [--only CASE]

smooth      10,000 polygons with 1.5 million vertices, the first of the set t30k: Chaikin twice, Taubin, and the buffer
            method by 1 km as it is mostly written, out and in, which rounds bays alone, and with the way in and out
            that rounds spits too; builder's answers are valid and, for Chaikin, shapelysmooth's
coverage    Chaikin twice on 30,000 regions, shared borders kept: the result is a valid coverage of the same area
simplify    30,000 regions to 1 km, shared borders kept: shapely's rule with a tolerance in degrees comes nearest
adjacency   30,000 regions: which meet, and along what length; geopandas' spatial join by `touches` tells which

All run in turns in one process, on one thread; CPU seconds of the best turn, and of the worst. A first turn of each of
builder's, on few regions, loads and compiles and is not timed. What takes long runs once (`x1`).
"""

from __future__ import annotations

import argparse
import os
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from reference_regions import Lacking, default_folder, regions_of

from builder import transforms as t

SMOOTHED = 10_000
WARM = 50
KM_DEG = 1000 / 111_195


@dataclass(frozen=True)
class Run:
    """One tool's way, what must be true of its answer, and whether it runs more than once."""

    tool: str
    call: Callable[[], Any]
    check: Callable[[Any], str] = lambda answer: ""
    is_quick: bool = True


def smooth(regions: gpd.GeoDataFrame) -> list[Run]:
    """The methods that look at each region alone."""
    few = regions.iloc[:SMOOTHED]
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


def coverage(regions: gpd.GeoDataFrame) -> list[Run]:
    """Shared borders smoothed."""

    def check(answer: Any) -> str:
        shapes = answer.geometry.to_numpy()
        area = shapely.area(shapes).sum() / shapely.area(regions.geometry.to_numpy()).sum() - 1
        assert shapely.is_valid(shapes).all() and shapely.coverage_is_valid(shapes) and abs(area) <= 1e-9
        return f"a valid coverage; area {area:+.1e}; {shapely.get_num_coordinates(shapes).sum():,} vertices"

    shapes = regions.geometry.to_numpy()
    return [
        Run("builder coverage", lambda: t.smooth_regions(regions, method="coverage"), check),
        Run("shapely is it one?", lambda: shapely.is_valid(shapes).all() and shapely.coverage_is_valid(shapes)),
    ]


def simplify(regions: gpd.GeoDataFrame) -> list[Run]:
    """Shared borders simplified."""
    shapes = regions.geometry.to_numpy()

    def check(answer: Any) -> str:
        found = np.asarray(getattr(answer, "geometry", answer))
        assert shapely.coverage_is_valid(found)
        return f"a valid coverage; {shapely.get_num_coordinates(found).sum():,} vertices"

    return [
        Run("builder", lambda: t.simplify_regions(regions, 1000.0), check),
        Run("shapely", lambda: shapely.coverage_simplify(shapes, KM_DEG, simplify_boundary=False), check),
    ]


def adjacency(regions: gpd.GeoDataFrame) -> list[Run]:
    """Which regions meet."""

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


CASES: dict[str, Callable[[gpd.GeoDataFrame], list[Run]]] = {
    "smooth": smooth,
    "coverage": coverage,
    "simplify": simplify,
    "adjacency": adjacency,
}


def valid(answer: Any) -> str:
    assert answer.geometry.is_valid.all()
    return "all valid"


def invalid(answer: Any) -> str:
    return f"{int((~shapely.is_valid(np.array(answer))).sum())} invalid"


def warm(regions: gpd.GeoDataFrame) -> None:
    for run in (run for case in CASES.values() for run in case(regions.iloc[:WARM])):
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
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", choices=CASES)
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)  # geopandas: areas in degrees
    try:
        regions = regions_of("t30k", options.data)
    except Lacking as reason:
        raise SystemExit(f"no regions: {reason}") from None
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {versions()}")
    warm(regions)
    for case in CASES if options.only is None else [options.only]:
        show(case, CASES[case](regions), options.repeat)


if __name__ == "__main__":
    main()
