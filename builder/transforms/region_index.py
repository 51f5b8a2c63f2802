"""An index of regions that answers, exactly, which regions hold which points.

Decides what an index promises: answers equal to shapely's `within` and `intersects`, one region by a rule or all of
them, on any number of threads. Regions are planar in the coordinates as they are stored: edges are straight in lon
and lat, and one that crosses the antimeridian has to be cut there (`t.split_antimeridian`). Never reprojects, never
repairs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import pandas as pd

from builder.errors import error
from builder.transforms.region_build import most_regions
from builder.transforms.region_checks import Checks, fixed
from builder.transforms.region_file import IndexParts, read_index, unreadable, write_index
from builder.transforms.region_grid import RegionGrid, build_grid, each
from builder.transforms.region_query import find_all, find_lowest
from builder.transforms.region_rings import (
    check_kinds,
    check_valid,
    digest_regions,
    ids_and_geometries,
    order_of_ids,
    rings_of,
)

Predicate = Literal["within", "intersects"]
PREDICATES = ("within", "intersects")
_CHUNK_ROWS = 1 << 18  # what a thread takes at a time


class RegionIndex:
    """Which regions hold a point: exact, quick to ask, on several threads, in a file that opens at once.

    Parameters
    ----------
    regions
        A GeoDataFrame of valid polygons and multipolygons, or an array of them; in any CRS. A null or empty geometry
        holds nothing. Regions may overlap, touch, and have holes.
    region_id
        The column of ids: unique, never null. Of an array, ids are the positions.
    threads
        How many threads build; all processors by default. The index is the same whatever their number.

    Raises
    ------
    BuilderError
        ``bad-geometry`` for an invalid polygon or what is none, with ids; ``key-null``, ``key-duplicate``,
        ``bad-value`` for ids; ``result-type`` for what holds no geometries.

    Notes
    -----
    A two-level grid, deeper where edges crowd, whose cells know the regions at a corner and the edges inside. Memory
    is about 40 bytes a vertex. Lon and lat are x and y: an index knows no globe, so -180 and 180 are far apart, and a
    pole is a line of points.

    Examples
    --------
    >>> import shapely
    >>> index = RegionIndex(shapely.box([0, 1], 0, [1, 2], 1))
    >>> index.assign([0.5, 1.5, 1.0, 9.0], [0.5, 0.5, 0.5, 0.5])
    array([ 0,  1, -1, -1], dtype=int32)
    >>> index.assign([1.0], [0.5], predicate="intersects")
    array([0], dtype=int32)
    """

    __slots__ = ("__weakref__", "_checks", "_grid", "_most", "_order", "_path", "crs", "digest", "ids")

    def __init__(self, regions: Any, region_id: str = "id", *, threads: int | None = None) -> None:
        threads = threads or available_processors()
        ids, geometries, crs = ids_and_geometries(regions, region_id)
        order = order_of_ids(ids)
        check_kinds(ids, geometries)
        check_valid(ids, geometries, partial(each, threads=threads))
        rings = rings_of(geometries[order])
        digest = digest_regions(ids, order, rings)
        grid = build_grid(rings, threads)
        most = int(most_regions(grid.words))
        self._fill(IndexParts(grid, order.astype(np.int32), ids, crs, digest, most))

    def _fill(self, parts: IndexParts, checks: Checks | None = None, path: Any = None) -> None:
        grid = parts.grid
        self._grid = RegionGrid(grid.frame, fixed(grid.top), fixed(grid.cells), fixed(grid.words))
        self.ids: pd.Series = parts.ids
        self.crs: Any = parts.crs
        self.digest: str = parts.digest
        is_sorted = bool((parts.order == np.arange(len(parts.order))).all())
        self._order = fixed(parts.order[:0] if is_sorted else parts.order)
        self._most = parts.most
        self._checks = checks  # None where nothing is left to compare
        self._path = path

    def _parts(self) -> IndexParts:
        order = self._order if len(self._order) else np.arange(len(self), dtype=np.int32)
        return IndexParts(self._grid, order, self.ids, self.crs, self.digest, self._most)

    def __reduce__(self) -> tuple[Callable[[IndexParts], RegionIndex], tuple[IndexParts]]:
        self.check()
        return _index_of, (self._parts(),)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, verify: bool = True) -> RegionIndex:
        """The index that `save` wrote, mapped into memory: processes that open it share it.

        Parameters
        ----------
        path
            The file.
        verify
            Whether to compare each block of the content with its checksum before the first answer that reads it, which
            then raises ``source-unreadable``. The header, sizes and ids are always checked, here; `check` does the rest
            at once.

        Raises
        ------
        BuilderError
            ``source-missing``; ``source-unreadable`` for a file that is damaged, cut short, or of another version.
        """
        parts, checks = read_index(path)
        index = cls.__new__(cls)
        index._fill(parts, checks if verify else None, path)
        return index

    def check(self) -> None:
        """Compare all of an opened index with its checksums, as far as no answer has done so.

        Raises
        ------
        BuilderError
            ``source-unreadable`` for a file that is damaged.
        """
        if self._checks is not None:
            if not self._checks.are_whole():
                raise unreadable(self._path)
            self._checks = None

    def _check_for(self, lon: np.ndarray, lat: np.ndarray) -> None:
        """Compare what answers for these points read; all of it in order, which is quicker, where that may be much."""
        if self._checks is None:
            return
        if self._checks.may_be_all(len(lon)):
            self.check()
        elif not self._checks.are_whole_for(lon, lat, self._arrays()):
            raise unreadable(self._path)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to a file, whole or not at all; the same regions give the same bytes."""
        self.check()
        write_index(path, self._parts())

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"<RegionIndex of {len(self):,} regions, {self.nbytes / 1e6:,.1f} MB>"

    @property
    def nbytes(self) -> int:
        """The bytes of the index's arrays."""
        return sum(a.nbytes for a in (self._grid.top, self._grid.cells, self._grid.words, self._order))

    def assign(
        self, lon: Any, lat: Any, *, predicate: Predicate = "within", ties: str = "lowest", threads: int = 1
    ) -> np.ndarray:
        """The position of the region that holds each point, int32, -1 where none does.

        Parameters
        ----------
        lon, lat
            Coordinates, float64, in the CRS of the regions. NaN, infinite and far-off ones are in no region.
        predicate
            "within": inside and not on the border. "intersects": the border counts.
        ties
            "lowest": where several regions hold a point, the one with the lowest id.
        threads
            How many threads share the points. The answer is the same.

        Raises
        ------
        BuilderError
            ``bad-value`` where lon and lat are no equal rows of numbers; ``recipe-declaration`` for another word.

        Examples
        --------
        >>> import shapely
        >>> RegionIndex([shapely.box(0, 0, 2, 2), None]).assign([1.0, float("nan")], [1.0, 1.0])
        array([ 0, -1], dtype=int32)
        """
        if ties != "lowest":
            raise error(
                "recipe-declaration", f"ties='{ties}' is no rule of one region", hint='use "lowest", or ask for pairs'
            )
        lon, lat = coordinates(lon, lat)
        self._check_for(lon, lat)
        out = np.empty(len(lon), np.int32)

        def find(rows: slice) -> None:
            find_lowest(lon[rows], lat[rows], self._arrays(), is_border(predicate), self._most, out[rows])
            if len(self._order):
                held = out[rows] >= 0
                out[rows][held] = self._order[out[rows][held]]

        self._each_chunk(find, len(lon), threads)
        return out

    def pairs(
        self, lon: Any, lat: Any, *, predicate: Predicate = "within", threads: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Positions of points, int64, and of regions that hold them, int32: by the point, then the region.

        Parameters as in `assign`. A point in no region is in no pair.

        Examples
        --------
        >>> import shapely
        >>> index = RegionIndex([shapely.box(0, 0, 2, 2), shapely.box(1, 0, 3, 2)])
        >>> index.pairs([1.5, 9.0], [1.0, 1.0])
        (array([0, 0]), array([0, 1], dtype=int32))
        """
        return self._pairs(lon, lat, predicate, threads, self._order)

    def pairs_by_id(self, lon: Any, lat: Any, predicate: Predicate, threads: int) -> tuple[np.ndarray, np.ndarray]:
        """The same as `pairs`, but by the point and then the region's id."""
        points, ranks = self._pairs(lon, lat, predicate, threads, self._order[:0])
        return points, self._order[ranks] if len(self._order) else ranks

    def _pairs(
        self, lon: Any, lat: Any, predicate: str, threads: int, order: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        lon, lat = coordinates(lon, lat)
        self._check_for(lon, lat)
        points, regions = np.empty(len(lon), np.int64), np.empty(len(lon), np.int32)

        def find(rows: slice) -> tuple[np.ndarray, np.ndarray]:
            pairs = points[rows], regions[rows]  # room for one region a point
            while True:
                ask = lon[rows], lat[rows], self._arrays(), is_border(predicate), self._most, order, rows.start
                count = find_all(*ask, *pairs)
                if count <= len(pairs[0]):
                    return pairs[0][:count], pairs[1][:count]
                pairs = np.empty(count, np.int64), np.empty(count, np.int32)

        parts = self._each_chunk(find, len(lon), threads)
        if sum(len(p) for p, _ in parts) == len(lon) and all(p.base is points for p, _ in parts):
            return points, regions
        return np.concatenate([points[:0], *(p for p, _ in parts)]), np.concatenate(
            [regions[:0], *(r for _, r in parts)]
        )

    def _arrays(self) -> tuple[Any, ...]:
        return self._grid.frame, self._grid.top, self._grid.cells, self._grid.words

    def _each_chunk(self, find: Callable[[slice], Any], rows: int, threads: int) -> list[Any]:
        chunks = [slice(a, min(a + _CHUNK_ROWS, rows)) for a in range(0, rows, _CHUNK_ROWS)]
        return each(find, chunks, min(threads, len(chunks)))


def _index_of(parts: IndexParts) -> RegionIndex:
    """The index of these parts, for another process."""
    index = RegionIndex.__new__(RegionIndex)
    index._fill(parts)
    return index


def coordinates(lon: Any, lat: Any) -> tuple[np.ndarray, np.ndarray]:
    """Two rows of float64 of one length, which cannot be written to; a null is NaN."""
    try:
        pair = [_numbers(v) for v in (lon, lat)]
    except (TypeError, ValueError) as cause:
        raise error(
            "bad-value", "'lon' and 'lat' are not all numbers", hint="parse them first, for example with pd.to_numeric"
        ) from cause
    if pair[0].ndim != 1 or pair[0].shape != pair[1].shape:
        raise error("bad-value", f"'lon' and 'lat' are of different shapes: {pair[0].shape} and {pair[1].shape}")
    return fixed(pair[0]), fixed(pair[1])


def _numbers(values: Any) -> np.ndarray:
    """Float64 from numbers, with null as NaN; texts are not parsed."""
    if isinstance(values, pd.Series):
        if not pd.api.types.is_numeric_dtype(values.dtype) and values.dtype != object:
            raise TypeError(values.dtype)
        values = values.to_numpy(object if values.dtype == object else np.float64, na_value=np.nan)
    array = np.asarray(values)
    if array.dtype.kind not in "biufO" or (array.dtype == object and any(isinstance(v, (str, bytes)) for v in array)):
        raise TypeError(array.dtype)
    return np.asarray(array, np.float64, order="C")


def is_border(predicate: str) -> bool:
    """Whether a point on a border counts as held."""
    if predicate not in PREDICATES:
        raise error("recipe-declaration", f"predicate '{predicate}' is none of {', '.join(PREDICATES)}")
    return predicate == "intersects"


def available_processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def warm(*, has_pairs: bool = True) -> None:
    """Compile or load the loops of the index, so that no later call waits for them: for a worker's start.

    Parameters
    ----------
    has_pairs
        Those of `RegionIndex.pairs` too.
    """
    import geopandas
    import shapely

    regions = geopandas.GeoSeries(shapely.box([0, 1], 0, [1, 2], 1), crs="EPSG:4326")
    index = RegionIndex(regions, threads=1)
    index.assign([0.5], [0.5])
    if has_pairs:
        index.pairs([0.5], [0.5])
    with TemporaryDirectory() as folder:
        index.save(Path(folder) / "index")
        if (checks := RegionIndex.open(Path(folder) / "index")._checks) is not None:
            checks.are_whole_for(*coordinates([0.5], [0.5]), index._arrays())
            checks.are_whole()
