"""The grid of an index, made from the regions' rings on several threads.

Decides the size of the grid and how its making is shared out: edges by ranges of vertices, cells by bands of rows. The
grid is the same whatever the number of threads. `region_build` holds the loops and says what the arrays mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any, TypeVar

import numpy as np

from builder.errors import error
from builder.transforms.region_build import bin_edges, build_rows, move_band
from builder.transforms.region_edges import LANES
from builder.transforms.region_rings import RegionRings

T = TypeVar("T")
R = TypeVar("R")

_MIN_CELLS, _MAX_CELLS = 64, 1 << 21
_CELLS_PER_REGION, _VERTICES_PER_CELL = 9, 16
_BOUGHT_CELLS, _CELLS_PER_EDGE = 5e6, (1.0, 8.0)  # more cells are quicker to ask, slower to make, and larger
_BANDS = 16  # a band's arrays are a small part of the whole
_MAX_WORDS = 2**31 - 3 - LANES

Frame = tuple[float, float, float, float, float, float, int, int]


@dataclass(frozen=True, slots=True)
class RegionGrid:
    """Which regions are where: corner, cells' width and height, their inverses, columns and rows; then the arrays."""

    frame: Frame
    top: np.ndarray
    cells: np.ndarray
    words: np.ndarray


def each(function: Callable[[T], R], items: Iterable[T], threads: int) -> list[R]:
    """The results of a function over items, in their order, on some threads."""
    if threads <= 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))


def build_grid(rings: RegionRings, threads: int) -> RegionGrid:
    """The grid over all edges of the regions."""
    if len(rings.xy) == 0:
        return RegionGrid((0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1, 1), np.ones(2, np.int64), *_nothing())
    frame = _frame_of(rings)
    starts, entries = _binned(rings, frame, threads)
    top = np.empty(len(starts), np.int64)  # and one past the grid, for points outside of it
    n, m = frame[6:]
    share = ceil(m / max(8 * threads, _BANDS))
    bands = [(first, min(first + share, m)) for first in range(0, m, share)]
    bits = rings.xy.view(np.uint64)
    magnitude = max(abs(bound) for bound in rings.bounds)
    least, most = _CELLS_PER_EDGE
    limits = (rings.region_count, min(max(_BOUGHT_CELLS / len(rings.xy), least), most), magnitude)

    def build(band: tuple[int, int]) -> Any:
        return build_rows(rings.xy, bits, rings.region, starts, entries, frame, band, limits, top)

    built = each(build, bands, threads)
    cells, words = _joined(built, bands, n, top, threads)
    top[-1] = (len(cells) - 1) << 8 | 1
    return RegionGrid(frame, top, cells, words)


def _nothing() -> tuple[np.ndarray, np.ndarray]:
    return np.full(1, -1, np.int32), np.empty(0, np.int64)


def _frame_of(rings: RegionRings) -> Frame:
    """A grid of about square cells, a hair larger than the regions and at no round numbers."""
    west, south, east, north = rings.bounds
    width, height = east - west, north - south
    wanted = max(_CELLS_PER_REGION * rings.region_count, len(rings.xy) / _VERTICES_PER_CELL)
    wanted = min(max(wanted, _MIN_CELLS), _MAX_CELLS)
    n = round(min(max(sqrt(wanted * width / height), 1), wanted))
    m = round(min(max(wanted / n, 1), wanted))
    slack = 1e-12 * max(abs(west), abs(east), abs(south), abs(north))
    cell_width = width / n * 1.000003137 + slack
    cell_height = height / m * 1.000003271 + slack
    corner = west - cell_width * 1.234567e-6 - slack, south - cell_height * 1.345678e-6 - slack
    return (*corner, cell_width, cell_height, 1.0 / cell_width, 1.0 / cell_height, n, m)


def _binned(rings: RegionRings, frame: Frame, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """The edges of each top cell, by the cell and then the edge."""
    vertices = len(rings.xy)
    cuts = np.linspace(0, vertices, max(threads, 1) + 1).astype(np.int64)
    counts = np.zeros((len(cuts) - 1, frame[6] * frame[7]), np.int64)
    none = np.empty(0, np.int32)

    def count(t: int) -> None:
        bin_edges(rings.xy, rings.region, cuts[t], cuts[t + 1], frame, counts[t], none)

    each(count, range(len(counts)), threads)
    starts = np.concatenate([[0], np.cumsum(counts.sum(axis=0))])
    entries = np.empty(starts[-1], np.int32)
    places = np.cumsum(counts, axis=0) - counts + starts[:-1]

    def fill(t: int) -> None:
        bin_edges(rings.xy, rings.region, cuts[t], cuts[t + 1], frame, places[t], entries)

    each(fill, range(len(counts)), threads)
    return starts, entries


def _joined(
    built: list[Any], bands: list[tuple[int, int]], n: int, top: np.ndarray, threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """All bands' cells and words, end to end; the bands are let go on the way."""
    cell_ends = np.cumsum([len(cells) for cells, _, _ in built])
    word_ends = np.cumsum([len(words) for _, words, _ in built])
    if word_ends[-1] > _MAX_WORDS:
        raise error(
            "bad-geometry",
            "the regions are too many for one index",
            facts=[("index", f"{word_ends[-1] * 8 / 1e9:.1f} GB"), ("limit", f"{_MAX_WORDS * 8 / 1e9:.1f} GB")],
            hint="make an index of each part of the regions",
        )
    cells, words = np.empty(cell_ends[-1] + 1, np.int32), np.empty(word_ends[-1] + LANES, np.int64)
    cells[-1] = -1  # what is outside of the grid
    words[-LANES:] = 0  # empty records: edges are read in fours

    def move(k: int) -> None:
        band_cells, band_words, nodes = built[k]
        built[k] = None
        first, stop = bands[k]
        cell, word = int(cell_ends[k]) - len(band_cells), int(word_ends[k]) - len(band_words)
        move_band(band_cells, band_words, nodes, top[first * n : stop * n], cell, word)
        cells[cell : cell + len(band_cells)] = band_cells
        words[word : word + len(band_words)] = band_words

    each(move, range(len(bands)), threads)
    return cells, words
