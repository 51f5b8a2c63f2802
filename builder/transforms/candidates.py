"""Which pairs of records are worth comparing: those of one code, and those that lie near each other.

Decides pairs by equal codes and by great-circle distance, all of them and no others. Never scores texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from builder.errors import error
from builder.transforms.values import Positions, number_values

EARTH_M = 6_371_008.8  # mean radius (IUGG)
MOST_PAIRS = 2_000_000  # of one piece, so that memory stays in bounds
_FINEST = 2.0 / (1 << 20)  # side of the smallest cell, in radii: about 12 m


def equal_pairs(left: Positions, right: Positions) -> tuple[Positions, Positions]:
    """All pairs of rows with one code, by left row and then by right row; a code below 0 pairs with nothing."""
    order, start, count = _runs(left, right)
    return _expanded(order, start, count, 0, len(left))


def equal_pair_pieces(left: Positions, right: Positions) -> Iterator[tuple[Positions, Positions]]:
    """`equal_pairs` in pieces of about `MOST_PAIRS`."""
    order, start, count = _runs(left, right)
    for begin, end in _pieces(count):
        yield _expanded(order, start, count, begin, end)


def _runs(left: Positions, right: Positions) -> tuple[Positions, Positions, Positions]:
    """The right rows sorted by code, and for each left row where those of its code start and how many they are."""
    order = np.argsort(right, kind="stable")
    codes = right[order]
    start = np.searchsorted(codes, left, "left")
    count = np.searchsorted(codes, left, "right") - start
    count[left < 0] = 0
    return order, start, count


def _pieces(count: Positions) -> Iterator[tuple[int, int]]:
    """Ranges of rows with at most `MOST_PAIRS` pairs each, or one row."""
    ends = np.cumsum(count)
    begin, done = 0, 0
    while begin < len(count):
        end = max(int(np.searchsorted(ends, done + MOST_PAIRS, "right")), begin + 1)
        yield begin, end
        begin, done = end, int(ends[end - 1])


def _expanded(
    order: Positions, start: Positions, count: Positions, begin: int, end: int
) -> tuple[Positions, Positions]:
    start, count = start[begin:end], count[begin:end]
    one = np.repeat(np.arange(begin, end, dtype=np.int64), count)
    within = np.arange(len(one), dtype=np.int64) - np.repeat(np.cumsum(count) - count, count)
    return one, order[np.repeat(start, count) + within]


@dataclass(frozen=True, slots=True)
class Nearness:
    """Points of two sides on the unit sphere, NaN where a coordinate is null, and how far apart a pair may be.

    Points fall into cubic cells at least as wide as the distance, so that a pair lies in one cell or in two neighbours.
    Cells of space know no poles and no antimeridian.
    """

    left: npt.NDArray[np.float64]
    right: npt.NDArray[np.float64]
    chord: float

    def pieces(self, left_codes: Positions, right_codes: Positions) -> Iterator[tuple[Positions, Positions]]:
        """All near pairs of one code, in pieces; within a piece in no order."""
        side = max(self.chord, _FINEST)
        left_ok = np.flatnonzero((left_codes >= 0) & ~np.isnan(self.left[:, 0]))
        right_ok = np.flatnonzero((right_codes >= 0) & ~np.isnan(self.right[:, 0]))
        if not len(left_ok) or not len(right_ok):
            return
        width = int(right_codes.max()) + 1
        cells, right_cell = np.unique(_cell_ids(_cells(self.right[right_ok], side)), return_inverse=True)
        right_keys = right_cell * width + right_codes[right_ok]
        order = np.argsort(right_keys, kind="stable")
        sorted_keys, targets = right_keys[order], right_ok[order]
        is_shared = left_codes[left_ok] < width
        left_ok = left_ok[is_shared]
        corner = _cells(self.left[left_ok], side)
        for offset in np.ndindex(3, 3, 3):
            wanted = _cell_ids(corner + (np.array(offset) - 1))
            at = np.minimum(np.searchsorted(cells, wanted), len(cells) - 1)
            is_held = cells[at] == wanted
            keys = np.where(is_held, at * width + left_codes[left_ok], -1)
            start = np.searchsorted(sorted_keys, keys, "left")
            count = np.searchsorted(sorted_keys, keys, "right") - start
            for begin, end in _pieces(count):
                one, other = _expanded(targets, start, count, begin, end)
                one = left_ok[one]
                is_near = ((self.left[one] - self.right[other]) ** 2).sum(axis=1) <= self.chord**2
                yield one[is_near], other[is_near]


def _cells(points: npt.NDArray[np.float64], side: float) -> Positions:
    return np.floor((points + 1.0) / side).astype(np.int64) + 1  # neighbours below the first stay above 0


def _cell_ids(cells: Positions) -> Positions:
    return (cells[:, 0] << 42) | (cells[:, 1] << 21) | cells[:, 2]


def nearness(
    left: pd.DataFrame, right: pd.DataFrame, lon: tuple[str, str], lat: tuple[str, str], within_m: Any
) -> Nearness:
    """Which rows of two frames lie within a distance of each other, by their longitudes and latitudes in degrees.

    Raises
    ------
    BuilderError
        ``recipe-declaration`` where the distance is not a number of metres above 0; ``bad-value`` where a coordinate is
        infinite or out of its range.
    """
    if isinstance(within_m, bool) or not isinstance(within_m, int | float) or not 0 < within_m < float("inf"):
        raise error(
            "recipe-declaration", f"'within_m' is {within_m!r}", hint="give metres above 0: within them, a pair is near"
        )
    is_all = within_m >= np.pi * EARTH_M
    chord = 3.0 if is_all else 2.0 * float(np.sin(within_m / (2.0 * EARTH_M)))
    return Nearness(_on_sphere(left, lon[0], lat[0]), _on_sphere(right, lon[1], lat[1]), chord)


def _on_sphere(frame: pd.DataFrame, lon: str, lat: str) -> npt.NDArray[np.float64]:
    angles = []
    for name, most in ((lon, 180.0), (lat, 90.0)):
        degrees = number_values(frame[name], name)
        is_wrong = np.abs(degrees) > most
        if is_wrong.any():
            raise error(
                "bad-value",
                f"column '{name}' has {int(is_wrong.sum())} impossible coordinates",
                facts=[("values", ", ".join(repr(float(v)) for v in np.unique(degrees[is_wrong])[:3]))],
                hint=f"degrees lie between -{most:g} and {most:g}: split the others off first",
            )
        angles.append(np.radians(degrees))
    x, y = angles
    return np.column_stack((np.cos(y) * np.cos(x), np.cos(y) * np.sin(x), np.sin(y) + 0.0 * x))
