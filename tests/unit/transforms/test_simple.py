"""Rings that are certainly simple: never one that GEOS calls invalid, and all that are ordinary."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import shapely

from builder.errors import BuilderError
from builder.transforms import rings as rings_module
from builder.transforms.rings import read_rings
from builder.transforms.simple import simple_rings

SQUARE = [(0, 0), (4, 0), (4, 4), (0, 4)]


def is_simple(*rings: object) -> list[bool]:
    arrays = [np.array(ring, float) for ring in rings]
    return simple_rings(np.concatenate(arrays), np.cumsum([0, *map(len, arrays)])).tolist()


@pytest.mark.parametrize(
    "ring",
    [
        SQUARE,
        [(0, 0), (1, 0), (0, 1)],
        [(0, 0), (2, 0), (4, 0), (4, 4), (0, 4)],  # a corner on a straight side
        [(0, 0), (4, 0), (4, 4), (2, 1e-9), (0, 4)],  # all but touching
        [(t.real, t.imag) for t in np.exp(2j * np.pi * np.arange(500) / 500)],
    ],
)
def test_ordinary_rings_are_simple_in_either_direction(ring) -> None:
    assert is_simple(ring, ring[::-1], ring[2:] + ring[:2]) == [True] * 3


@pytest.mark.parametrize(
    "ring",
    [
        [(0, 0), (2, 2), (2, 0), (0, 2)],  # a bow tie
        [(0, 0), (4, 0), (4, 4), (2, 0), (0, 4)],  # a corner touches an edge
        [(0, 0), (4, 0), (4, 4), (9, 9), (4, 4.0000001), (0, 4), (4, 0)],  # a corner twice
        [(0, 0), (4, 0), (2, 0), (2, 4)],  # an edge runs back
        [(0, 0), (1, 0)],
        [(0, 0), (np.nan, 1), (1, 1), (1, 2)],
        [(0, 0), (1, np.inf), (1, 1)],
        [(0, 0), (1e-200, 0), (0, 1e-200)],  # products vanish: nothing is certain
    ],
)
def test_other_rings_are_not(ring) -> None:
    assert is_simple(ring, SQUARE, ring[::-1]) == [False, True, False]


def test_what_is_simple_is_valid_for_geos() -> None:
    rng = np.random.default_rng(5)
    rings = []
    for n in rng.integers(3, 60, 3000):
        turn = np.sort(rng.uniform(0, 2 * np.pi, n))
        ring = np.column_stack((np.cos(turn), np.sin(turn))) * rng.uniform(0.3, 1, n)[:, None]
        ring = ring + rng.choice([0, 0.01, 0.05]) * rng.normal(size=(n, 2))
        ring = np.round(ring, rng.choice([1, 2, 12]))  # on a grid corners meet corners and edges
        rings.append(ring[(ring != np.roll(ring, -1, axis=0)).any(axis=1)])
    rings = [ring for ring in rings if len(ring) >= 3]
    found = np.array(is_simple(*rings))
    valid = shapely.is_valid([shapely.Polygon(ring) for ring in rings])
    assert not (found & ~valid).any()
    assert 500 < valid.sum() < len(valid) - 500 and found.sum() > 0.95 * valid.sum()


def test_regions_that_are_not_certain_go_to_geos(monkeypatch) -> None:
    monkeypatch.setattr(rings_module, "_MANY_CORNERS", 0)
    donut = shapely.box(0, 0, 4, 4) - shapely.box(1, 1, 2, 2)
    parts = shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(5, 0, 6, 1)])
    good = gpd.GeoDataFrame(geometry=[shapely.Polygon(SQUARE), donut, None, parts])
    assert len(read_rings(good, "gdf").held) == 3
    inside = shapely.MultiPolygon([shapely.box(0, 0, 4, 4), shapely.box(1, 1, 2, 2)])  # simple rings, not valid
    with pytest.raises(BuilderError) as caught:
        read_rings(gpd.GeoDataFrame(geometry=[shapely.Polygon(SQUARE), inside]), "gdf")
    assert caught.value.code == "bad-geometry" and "row 1" in str(caught.value.facts)
