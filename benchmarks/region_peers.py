"""Who is asked which points lie within which regions, each as an expert asks, in a process of its own.

Decides what is prepared and what is timed; says so in `Peer.timed`. A process keeps its regions and points in the form
it likes best and is then asked in turns, so that the load of the machine falls on all alike. CPU seconds are those of
the whole process, whatever its threads; each is told to use one.

The points of a question are new each time: a tree of points is made within the timed part. An index, a tree or a table
of regions is made before. What shapely prepares of a region is made in the first turn that needs it, and ready in the
next: so of its ways the first turn is the worst, and the best is that of a process that asks again and again.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "property"))

from hard_regions import ordered

Floats = NDArray[np.float64]
Pairs = tuple[NDArray[Any], NDArray[Any]]
"""Positions of points, and of the regions they are in."""
Ask = Callable[[], Pairs]
Turn = Callable[[], Ask]
"""What makes ready for a question that is then timed."""

ONE_THREAD = dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Peer:
    """One way to ask: what the timed part holds, the packages it needs, and how its process makes ready."""

    name: str
    timed: str
    modules: tuple[str, ...]
    ready: Callable[[Any, Floats, int], Turn]

    def lacks(self) -> str:
        """The packages that are missing, if any."""
        return " and ".join(m for m in self.modules if find_spec(m) is None)


@dataclass(frozen=True)
class Took:
    """What one question took."""

    cpu_s: float
    wall_s: float


# -- builder -----------------------------------------------------------------------------------------------------------


def builder_pairs(frame: Any, points: Floats, threads: int) -> Turn:
    from builder.transforms.region_index import RegionIndex

    index, (lon, lat) = RegionIndex(frame, region_id="rid", threads=threads), _columns(points)
    index.pairs(lon[:1000], lat[:1000], threads=threads)
    return lambda: lambda: index.pairs(lon, lat, threads=threads)


def builder_assign(frame: Any, points: Floats, threads: int) -> Turn:
    from builder.transforms.region_index import RegionIndex

    index, (lon, lat) = RegionIndex(frame, region_id="rid", threads=threads), _columns(points)
    index.assign(lon[:1000], lat[:1000], threads=threads)

    def ask() -> Pairs:
        region = index.assign(lon, lat, threads=threads)
        return np.nonzero(region >= 0)[0], region[region >= 0]

    return lambda: ask


def _columns(points: Floats) -> tuple[Floats, Floats]:
    return np.ascontiguousarray(points[:, 0]), np.ascontiguousarray(points[:, 1])


# -- peers -------------------------------------------------------------------------------------------------------------


def geopandas_sjoin(frame: Any, points: Floats, threads: int) -> Turn:
    import geopandas as gpd

    def turn() -> Ask:
        asking = gpd.GeoDataFrame(geometry=gpd.points_from_xy(*points.T), crs=frame.crs)

        def ask() -> Pairs:
            joined = gpd.sjoin(asking, frame, predicate="within")
            return joined.index.to_numpy(), joined["rid"].to_numpy()

        return ask

    return turn


def tree_of_points(frame: Any, points: Floats, threads: int) -> Turn:
    regions, asking = frame.geometry.to_numpy(), shapely.points(points)
    shapely.prepare(regions)

    def ask() -> Pairs:
        region, point = shapely.STRtree(asking).query(regions, predicate="contains")
        return point, region

    return lambda: ask


def tree_of_points_by_box(frame: Any, points: Floats, threads: int) -> Turn:
    regions, asking = frame.geometry.to_numpy(), shapely.points(points)
    shapely.prepare(regions)

    def ask() -> Pairs:
        region, point = shapely.STRtree(asking).query(regions)
        inside = shapely.contains_xy(regions[region], points[point, 0], points[point, 1])
        return point[inside], region[inside]

    return lambda: ask


def tree_of_boxes(frame: Any, points: Floats, threads: int) -> Turn:
    regions, asking = frame.geometry.to_numpy(), shapely.points(points)
    shapely.prepare(regions)
    tree = shapely.STRtree(shapely.box(*shapely.bounds(regions).T))

    def ask() -> Pairs:
        point, region = tree.query(asking)
        order = np.argsort(region, kind="stable")  # so that each prepared region is asked in one go
        point, region = point[order], region[order]
        inside = shapely.contains_xy(regions[region], points[point, 0], points[point, 1])
        return point[inside], region[inside]

    return lambda: ask


def duckdb_join(frame: Any, points: Floats, threads: int) -> Turn:
    import duckdb
    import pyarrow as pa

    base = duckdb.connect()
    base.execute(f"SET threads={threads}")
    base.execute(f"LOAD {_duckdb_spatial()}")
    base.register("point", pa.table({"i": np.arange(len(points)), "x": points[:, 0], "y": points[:, 1]}))
    base.register(
        "region", pa.table({"rid": frame["rid"].to_numpy(), "wkb": shapely.to_wkb(frame.geometry.to_numpy())})
    )
    base.execute("CREATE TABLE points AS SELECT i, ST_Point(x, y) AS geom FROM point")
    base.execute("CREATE TABLE regions AS SELECT rid, ST_GeomFromWKB(wkb) AS geom FROM region")
    query = "SELECT i, rid FROM points JOIN regions ON ST_Within(points.geom, regions.geom)"
    plan = base.execute(f"EXPLAIN {query}").fetchall()[0][1]
    if "SPATIAL_JOIN" not in plan:
        raise RuntimeError(f"DuckDB does not plan a SPATIAL_JOIN:\n{plan}")

    def ask() -> Pairs:
        found = base.execute(query).fetchnumpy()
        return found["i"], found["rid"]

    return lambda: ask


def _duckdb_spatial() -> str:
    """The spatial extension: the file in the package duckdb_extension_spatial, or the one that DuckDB installed."""
    if (spec := find_spec("duckdb_extension_spatial")) and spec.origin:
        files = sorted(Path(spec.origin).parent.rglob("spatial.duckdb_extension"))
        if files:
            return f"'{files[-1]}'"
    return "spatial"


def sedona_join(frame: Any, points: Floats, threads: int) -> Turn:
    import geopandas as gpd
    import pyarrow as pa
    import sedonadb

    base = sedonadb.connect()

    def table(query: str) -> pa.Table:
        return pa.table(base.sql(query))

    for setting in (
        f"datafusion.execution.target_partitions = {threads}",
        "sedona.spatial_join.execution_mode = 'prepare_build'",
        "sedona.spatial_join.tg.index_type = 'natural'",  # of its libraries, indexes and modes the fastest here
    ):
        table(f"SET {setting}")
    asking = gpd.GeoDataFrame({"i": np.arange(len(points))}, geometry=gpd.points_from_xy(*points.T), crs=frame.crs)
    base.create_data_frame(asking).to_memtable().to_view("points")
    base.create_data_frame(frame).to_memtable().to_view("regions")
    query = "SELECT i, rid FROM regions JOIN points ON ST_Contains(regions.geometry, points.geometry)"

    def ask() -> Pairs:
        found = table(query)
        return found["i"].to_numpy(), found["rid"].to_numpy()

    return lambda: ask


_POINTS_TREE = "the tree of the points is made within; regions prepared before"
PEERS = {
    peer.name: peer
    for peer in (
        Peer("builder pairs", "index before", (), builder_pairs),
        Peer("builder assign", "index before", (), builder_assign),
        Peer("geopandas", "sjoin within of ready frames; it makes its tree within", (), geopandas_sjoin),
        Peer("STRtree", f"the regions ask contains; {_POINTS_TREE}", (), tree_of_points),
        Peer("STRtree boxes", "the boxes of regions, then contains_xy; tree and prepared before", (), tree_of_boxes),
        Peer("STRtree xy", f"the regions' boxes ask, then contains_xy; {_POINTS_TREE}", (), tree_of_points_by_box),
        Peer("DuckDB", "SPATIAL_JOIN of tables in memory, to numpy", ("duckdb",), duckdb_join),
        Peer("SedonaDB", "join of tables in memory, build side prepared, to Arrow", ("sedonadb",), sedona_join),
    )
}


# -- a process each ----------------------------------------------------------------------------------------------------


class Asked:
    """A process that has made ready and is asked in turns."""

    def __init__(self, peer: Peer, load: Callable[[], tuple[Any, Floats]], threads: int = 1) -> None:
        self.name = peer.name
        os.environ.update(ONE_THREAD | {"NUMBA_NUM_THREADS": str(threads)})
        mine, theirs = (context := get_context("spawn")).Pipe()
        self._process = context.Process(target=_serve, args=(theirs, peer.name, load, threads), daemon=True)
        self._process.start()
        theirs.close()
        self._pipe = mine
        self.ready = self._answer()

    def ask(self, limit_s: float) -> Took | None:
        """What one more question took; None past the limit of wall seconds, after which the process is no more."""
        self._pipe.send("ask")
        if self._pipe.poll(limit_s):
            return self._answer()
        self._process.kill()
        return None

    def pairs(self) -> NDArray[np.int64]:
        """The sorted pairs of the last question, a row each."""
        self._pipe.send("pairs")
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(60)

    def _answer(self) -> Any:
        try:
            answer = self._pipe.recv()
        except EOFError:
            answer = f"{self.name}: its process died"
        if isinstance(answer, str):
            raise SystemExit(answer)
        return answer


def _serve(pipe: Connection, name: str, load: Callable[[], tuple[Any, Floats]], threads: int) -> None:
    """Make ready, then answer until nobody asks any more."""
    try:
        frame, points = load()
        with stopwatch() as took:
            turn = PEERS[name].ready(frame, points, threads)
        pipe.send(took())
        pairs: Pairs = np.empty(0, np.int64), np.empty(0, np.int64)
        while True:
            if pipe.recv() == "pairs":
                pipe.send(ordered(*pairs))
                continue
            ask = turn()
            with stopwatch() as took:
                pairs = ask()
            pipe.send(took())
    except EOFError:
        return
    except Exception as failure:
        pipe.send(f"{name}: {type(failure).__name__}: {failure}")


@contextmanager
def stopwatch() -> Iterator[Callable[[], Took]]:
    """CPU seconds of this process, with all its threads, and wall seconds, of the block."""
    took: list[Took] = []
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    yield lambda: took[0]
    took.append(Took(time.process_time() - cpu_s, time.perf_counter() - wall_s))
