"""Which points lie in which regions: builder's index against geopandas, shapely, DuckDB and SedonaDB, pair by pair.

    python benchmarks/regions.py queries [--sets t30k,counties,t100k,tz,t5k] [--peers NAME,…] [--points 1000000]
    python benchmarks/regions.py sorted  [--sets t30k] [--points 10000000]
    python benchmarks/regions.py snapped [--sets eighths,tenths,units,boxes] [--side 150] [--points 1000000]
    python benchmarks/regions.py threads [--sets t30k] [--points 10000000]
    python benchmarks/regions.py build   [--sets t30k,t100k]
    python benchmarks/regions.py exact   [--seeds 20] [--most 1000] [--sets donuts,…]
    … [--data DIR] [--repeat 3] [--limit 120] [--json FILE]

Every peer has a process of its own and they take turns; CPU seconds count all threads of a process, and all are told
to use one. What is made before and what is timed stands beside each line. After the last turn the pairs of all are
compared. Sets and peers that are not installed are left out, with a sentence. Exits 1 where builder's pairs differ from
shapely's.

queries  a million points in random order within regions: million points per CPU second, best and spread of the turns
sorted   ten million points, so many that builder sorts them first, against a tree of the points
snapped  corners and points on one lattice, so that points lie on vertices and edges
threads  two threads and one: wall and CPU seconds
build    an index in a fresh process: CPU seconds, peak memory, size; opening it and asking a thousand points
exact    the hard sets of tests/property under further seeds with more points of each kind, or such points of other sets
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import shapely

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "property"))

from hard_regions import (
    SETS,
    HardSet,
    coverage,
    differing,
    hard_points,
    hard_set,
    pairs_of_index,
    pairs_of_prepared,
    quads,
)
from reference_regions import Lacking, default_folder, points_for, points_of, regions_of
from region_peers import PEERS, Asked, Floats, Peer, Took, stopwatch

PACKAGES = ("numpy", "numba", "shapely", "geopandas", "duckdb", "sedonadb")
SHAPELY = ("STRtree", "geopandas", "STRtree xy", "STRtree boxes")
"""Who says what is right, the first that takes part."""
Load = Callable[[], tuple[Any, Floats]]


@dataclass(frozen=True)
class Line:
    """What one peer took, turn by turn (None past the limit), and how many of its pairs are wrong."""

    ready: Took
    turns: list[Took | None]
    differing: int | None

    @property
    def best_s(self) -> float | None:
        """The CPU seconds of its best turn."""
        return min((t.cpu_s for t in self.turns if t), default=None)

    @property
    def worst_s(self) -> float | None:
        """The CPU seconds of its worst turn."""
        return max((t.cpu_s for t in self.turns if t), default=None)


# -- what is asked -----------------------------------------------------------------------------------------------------


def reference(name: str, points: str, count: int, folder: Path) -> tuple[Any, Floats]:
    """A reference set and its first points."""
    return regions_of(name, folder), points_of(points, folder)[:count]


def lattice(side: int, count: int, steps: int) -> tuple[Any, Floats]:
    """A coverage of quadrilaterals with corners on a lattice of `steps` to a unit, and points of that lattice."""
    rng = np.random.default_rng(side)
    regions = coverage(np.round(quads(side, side, rng) * steps) / steps)
    frame = gpd.GeoDataFrame({"rid": np.arange(len(regions), dtype=np.int32)}, geometry=regions, crs="EPSG:3857")
    return frame, rng.integers(0, side * steps + 1, (count, 2)) / steps


def boxes(side: int, count: int) -> tuple[Any, Floats]:
    """Overlapping boxes with whole corners, and random points with whole and half coordinates."""
    rng = np.random.default_rng(side)
    x, y = rng.integers(0, 4 * side, (2, side * side))
    w, h = rng.integers(1, 9, (2, side * side))
    regions = shapely.box(x, y, x + w, y + h)
    frame = gpd.GeoDataFrame({"rid": np.arange(len(regions), dtype=np.int32)}, geometry=regions, crs="EPSG:3857")
    return frame, rng.integers(0, 8 * side, (count, 2)) / 2


def take_turns(load: Load, peers: Sequence[Peer], repeat: int, limit_s: float) -> dict[str, Line]:
    """Every peer's times, the peers asked in turns, and its differing pairs."""
    asked = [Asked(peer, load) for peer in peers]
    turns: dict[str, list[Took | None]] = {a.name: [] for a in asked}
    for _ in range(repeat):
        for a in asked:
            if None not in turns[a.name]:
                turns[a.name].append(a.ask(limit_s))
    pairs = {a.name: a.pairs() for a in asked if None not in turns[a.name]}
    right = next((pairs[name] for name in SHAPELY if name in pairs), None)
    lines = {}
    for a in asked:
        wrong = None
        if right is not None and a.name in pairs:
            wrong = max(len(differing(pairs[a.name], right)), abs(len(pairs[a.name]) - len(right)))  # repeats count
        lines[a.name] = Line(a.ready, turns[a.name], wrong)
        a.close()
    return lines


def print_lines(title: str, lines: dict[str, Line], count: int) -> None:
    """The table of one set: rates, and how many times builder's fastest is as fast."""
    own = [line.best_s for name, line in lines.items() if name.startswith("builder") and line.best_s]
    print(f"\n{title}")
    head = ("M points/CPU s", "best CPU s", "worst", "builder is", "differing", "ready CPU s")
    print(f"{'':<16}" + "".join(f"{h:>15}" for h in head) + "   timed")
    for name, line in lines.items():
        if line.best_s is None:
            print(f"{name:<16}{'past the limit':>15}{'':>60}{line.ready.cpu_s:>15.2f}   {PEERS[name].timed}")
            continue
        ratio = f"{line.best_s / min(own):.1f}×" if own else ""
        cells = (f"{count / 1e6 / line.best_s:.2f}", f"{line.best_s:.3f}", f"{line.worst_s:.3f}", ratio,
                 "?" if line.differing is None else f"{line.differing:,}", f"{line.ready.cpu_s:.2f}")  # fmt: skip
        print(f"{name:<16}" + "".join(f"{c:>15}" for c in cells) + f"   {PEERS[name].timed}")


def asked_of(name: str, options: argparse.Namespace, points: str = "") -> tuple[str, Load, int] | None:
    """The title of a set with its points, what loads it, and their number; None, with a sentence, where it lacks."""
    try:
        frame, asked = reference(name, points or points_for(name), options.points, options.data)
    except Lacking as lacking:
        print(f"\n{name} is left out: {lacking}")
        return None
    vertices = shapely.get_num_coordinates(frame.geometry.to_numpy()).sum()
    title = f"{name}: {len(frame):,} regions, {vertices:,} vertices; {len(asked):,} points in random order, within"
    return title, partial(reference, name, points or points_for(name), options.points, options.data), len(asked)


# -- commands ----------------------------------------------------------------------------------------------------------


def queries(options: argparse.Namespace) -> dict[str, Any]:
    """Print the table of each set."""
    record = {}
    for name in options.sets or ("t30k", "counties", "t100k", "tz", "t5k"):
        if found := asked_of(name, options):
            title, load, count = found
            record[name] = take_turns(load, options.peers, options.repeat, options.limit)
            print_lines(title, record[name], count)
    return record


def sorted_points(options: argparse.Namespace) -> dict[str, Any]:
    """Print the table of many points."""
    record = {}
    peers = [p for p in options.peers if p.name in ("builder pairs", "builder assign", "STRtree", "STRtree xy")]
    for name in options.sets or ("t30k",):
        if found := asked_of(name, options, "w1m" if name == "tz" else "p10m"):
            title, load, count = found
            record[name] = take_turns(load, peers, options.repeat, options.limit)
            print_lines(title, record[name], count)
    return record


def snapped(options: argparse.Namespace) -> dict[str, Any]:
    """Print the tables of lattices."""
    side, count = options.side, options.points
    asks: dict[str, tuple[str, Load]] = {
        "eighths": ("corners and points on eighths", partial(lattice, side, count, 8)),
        "tenths": ("corners and points on tenths", partial(lattice, side, count, 10)),
        "units": ("a grid of unit squares, whole points", partial(lattice, side, count, 1)),
        "boxes": ("overlapping boxes with whole corners, whole and half points", partial(boxes, side, count)),
    }
    record = {}
    for name in options.sets or asks:
        title, load = asks[name]
        record[name] = take_turns(load, options.peers, options.repeat, options.limit)
        print_lines(f"{name}: {title}; {side * side:,} regions; {count:,} points, within", record[name], count)
    return record


def threads(options: argparse.Namespace) -> dict[str, Any]:
    """Print how much faster two threads are than one."""
    record: dict[str, Any] = {}
    for name in options.sets or ("t30k",):
        if not (found := asked_of(name, options, "w1m" if name == "tz" else "p10m")):
            continue
        title, load, count = found
        print(f"\n{title}\n{'':<18}{'best wall s':>12}{'CPU s':>8}{'M points/s':>12}{'against one thread':>20}")
        asked = {n: Asked(PEERS["builder assign"], load, n) for n in (1, 2)}
        turns = {n: [] for n in asked}
        for _ in range(options.repeat):
            for n, a in asked.items():
                turns[n].append(a.ask(options.limit))
        for n, a in asked.items():
            best = min(filter(None, turns[n]), key=lambda t: t.wall_s)
            one_s = min(t.wall_s for t in turns[1] if t)
            speed = f"{count / 1e6 / best.wall_s:>12.1f}{one_s / best.wall_s:>19.2f}×"
            print(f"{n} thread{'s' * (n > 1):<11}{best.wall_s:>12.3f}{best.cpu_s:>8.3f}{speed}")
            record[f"{name}, {n}"] = turns[n]
            a.close()
    return record


def build(options: argparse.Namespace) -> dict[str, Any]:
    """Print what an index takes to build, keep and open."""
    record: dict[str, Any] = {}
    print("\nCPU seconds and memory of fresh processes, one thread; the regions' own memory is in the peak")
    columns = ("build CPU s", "worst", "peak MB", "regions MB", "index MB", "save CPU s", "open CPU s",
               "open + 1,000", "1,000 calls", "first kernels")  # fmt: skip
    print(f"{'':<10}" + "".join(f"{c:>14}" for c in columns))
    for name in options.sets or ("t30k", "t100k"):
        if not (found := asked_of(name, options)):
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index"
            built = [_fresh(_build_once, found[1], path) for _ in range(options.repeat)]
            opened = [_fresh(_open_once, found[1], path) for _ in range(options.repeat)]
        best = {key: min(b[key] for b in built) for key in built[0]}
        best |= {key: min(o[key] for o in opened) for key in opened[0]}
        cells = (f"{best['build_s']:.2f}", f"{max(b['build_s'] for b in built):.2f}", f"{best['peak'] / 1e6:,.0f}",
                 f"{best['before'] / 1e6:,.0f}", f"{best['size'] / 1e6:,.0f}", f"{best['save_s']:.2f}",
                 *(f"{best[key]:.4f}" for key in ("open_s", "thousand_s", "calls_s", "first_s")))  # fmt: skip
        print(f"{name:<10}" + "".join(f"{c:>14}" for c in cells))
        record[name] = {"built": built, "opened": opened}
    return record


def _fresh(function: Callable[..., dict[str, float]], load: Load, path: Path) -> dict[str, float]:
    """What a function gives in a process of its own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(function, (load, path))


def _build_once(load: Load, path: Path) -> dict[str, float]:
    from builder.transforms.region_index import RegionIndex

    frame, _ = load()
    RegionIndex(frame.iloc[:2], region_id="rid", threads=1).assign(np.zeros(1), np.zeros(1))  # kernels are loaded
    gc.collect()
    pa.default_memory_pool().release_unused()  # what reading the file left behind
    before = _peak_bytes(reset=True)
    with stopwatch() as took:
        index = RegionIndex(frame, region_id="rid", threads=1)
    peak = _peak_bytes()
    with stopwatch() as saving:
        index.save(path)
    files = [path] if path.is_file() else list(path.rglob("*"))
    size = sum(f.stat().st_size for f in files)
    return {"build_s": took().cpu_s, "before": before, "peak": peak, "size": size, "save_s": saving().cpu_s}


def _open_once(load: Load, path: Path) -> dict[str, float]:
    from builder.transforms.region_index import RegionIndex

    _, points = load()
    lon, lat = np.ascontiguousarray(points[:1000].T)
    with stopwatch() as first:
        RegionIndex.open(path).assign(lon, lat)
    with stopwatch() as opening:
        index = RegionIndex.open(path)
    with stopwatch() as asking:
        index.assign(lon, lat)
    with stopwatch() as calling:
        for k in range(len(lon)):
            index.assign(lon[k : k + 1], lat[k : k + 1])
    opened_s = opening().cpu_s
    return {"first_s": first().cpu_s, "open_s": opened_s, "thousand_s": opened_s + asking().cpu_s,
            "calls_s": calling().cpu_s}  # fmt: skip


def _peak_bytes(reset: bool = False) -> int:
    """The peak of resident memory, counted anew from a reset on."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def exact(options: argparse.Namespace) -> dict[str, Any]:
    """Print the differing pairs of each hard set, over all seeds."""
    from builder.transforms.region_index import RegionIndex

    record: dict[str, Any] = {}
    print(f"\n{'set':<30}{'points':>12}{'pairs':>12}{'differing':>12}")
    for name in options.sets or SETS:
        asked = pairs = wrong = 0
        for seed in range(1, options.seeds + 1):
            found = hard_set(name, seed, options.most) if name in SETS else _hard_reference(name, seed, options)
            index = RegionIndex(found.regions)
            for predicate in ("within", "intersects"):
                theirs = pairs_of_prepared(found.regions, found.lon, found.lat, predicate)
                off = differing(theirs, pairs_of_index(index, found.lon, found.lat, predicate))
                if len(off):
                    print(f"{name}, seed {seed}, {predicate}: {off[:3].tolist()} …")
                asked, pairs, wrong = asked + len(found.lon), pairs + len(theirs), wrong + len(off)
        print(f"{name:<30}{asked:>12,}{pairs:>12,}{wrong:>12,}", flush=True)
        record[name] = {"points": asked, "pairs": pairs, "differing": wrong}
    return record


def _hard_reference(name: str, seed: int, options: argparse.Namespace) -> HardSet:
    """The regions of a reference set with hard points."""
    regions = regions_of(name, options.data).geometry.to_numpy()
    points = hard_points(regions, np.random.default_rng(seed), options.most)
    return HardSet(regions, *np.ascontiguousarray(points.T))


# -- the run -----------------------------------------------------------------------------------------------------------

COMMANDS = {
    "queries": (queries, 1_000_000),
    "sorted": (sorted_points, 10_000_000),
    "snapped": (snapped, 1_000_000),
    "threads": (threads, 10_000_000),
    "build": (build, 1_000),
    "exact": (exact, 0),
}


def machine() -> str:
    """The machine and the versions of all that runs."""
    lines = [f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {platform.platform()}"]
    lines += [f"Python {platform.python_version()}", f"GEOS {shapely.geos_version_string}"]
    for package in PACKAGES:
        try:
            lines.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return " · ".join(lines)


def chosen(names: str) -> list[Peer]:
    """The peers of these names that are installed; the others are told."""
    peers = []
    for name in names.split(",") if names else PEERS:
        if name not in PEERS:
            raise SystemExit(f"no such peer: {name}; there are {', '.join(PEERS)}")
        if missing := PEERS[name].lacks():
            print(f"{name} is left out: {missing} not installed")
        else:
            peers.append(PEERS[name])
    return peers


def differing_in(record: Any) -> int:
    """The differing pairs of builder in all that was printed."""
    if isinstance(record, Line):
        return 0
    if isinstance(record, dict):
        own = [v.differing or 0 for k, v in record.items() if isinstance(v, Line) and k == "builder pairs"]
        return sum(own) + sum(map(differing_in, record.values())) + (record.get("differing") or 0)
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--data", type=Path, default=default_folder(), metavar="DIR")
    parser.add_argument("--sets", type=lambda text: text.split(","))
    parser.add_argument("--peers", default="", help="names with commas between")
    parser.add_argument("--points", type=int)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--limit", type=float, default=120.0, help="wall seconds after which a peer is given up")
    parser.add_argument("--side", type=int, default=150, help="regions along a side of a lattice")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--most", type=int, default=1000, help="points of a kind")
    parser.add_argument("--json", type=Path, help="a file for all figures")
    options = parser.parse_args()
    print(machine())
    function, points = COMMANDS[options.command]
    options.points = options.points or points
    options.peers = chosen(options.peers)
    record = function(options)
    if options.json:
        options.json.write_text(json.dumps(record, indent=1, default=asdict))
    sys.exit(1 if differing_in(record) else 0)


if __name__ == "__main__":
    main()
