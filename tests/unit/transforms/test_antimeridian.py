"""Regions across the antimeridian."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from shapely import Polygon, box

from builder.errors import BuilderError
from builder.transforms.antimeridian import split_antimeridian


def split(*shapes, crs=4326) -> list:
    return list(split_antimeridian(gpd.GeoDataFrame(geometry=list(shapes), crs=crs)).geometry)


def with_vertex(shape, value):
    """The shape with this in place of its second vertex."""
    return shapely.transform(shape, lambda xy: np.where((np.arange(len(xy)) == 1)[:, None], value, xy))


def ring(lat, shift=0, n=12) -> list[tuple[float, float]]:
    """Vertices once round the globe near a latitude."""
    lon = (np.linspace(-180, 180, n, endpoint=False) + 7 + shift + 180) % 360 - 180
    return list(zip(lon.tolist(), [lat + 0.25 * (i % 2) for i in range(n)]))


SEAM = box(170, 0, 180, 5) | box(-180, 0, -170, 5)
STEPS = [(170, 0), (180, 0), (-180, 0), (-170, 0), (-170, 5), (170, 5)]
ACROSS = {
    "short way": (box(-170, 0, 170, 5), SEAM),
    "to the pole": (box(-170, 80, 170, 90), box(170, 80, 180, 90) | box(-180, 80, -170, 90)),
    "beyond 180": (box(170, 0, 190, 5), SEAM),
    "beyond -180": (box(-190, 0, -170, 5), SEAM),
    "all beyond": (box(190, 0, 200, 5), box(-170, 0, -160, 5)),
    "steps on the seam": (Polygon(STEPS), SEAM),
    "hole": (
        Polygon([(170, 0), (-170, 0), (-170, 5), (170, 5)], [[(179, 1), (-179, 1), (-179, 2), (179, 2)]]),
        SEAM - box(179, 1, 180, 2) - box(-180, 1, -179, 2),
    ),
    "hole at one side": (
        Polygon([(170, 0), (-170, 0), (-170, 5), (170, 5)], [[(-178, 1), (-179, 1), (-179, 2), (-178, 2)]]),
        SEAM - box(-179, 1, -178, 2),
    ),
    "one part of two": (shapely.MultiPolygon([box(-170, 0, 170, 5), box(0, 0, 1, 1)]), SEAM | box(0, 0, 1, 1)),
}


@pytest.mark.parametrize(("drawn", "expected"), ACROSS.values(), ids=ACROSS)
def test_a_region_across_is_split_at_180(drawn, expected) -> None:
    (found,) = split(drawn)
    assert found.is_valid and found.equals(expected)


@pytest.mark.parametrize(
    "drawn",
    [
        box(-180, -90, 180, 90),
        box(-180, -85, 180, 85),
        box(-180, 60, 180, 90),
        Polygon([(-180, -90), (180, -90), (180, -70), (0, -75), (-180, -70)]),
        box(-180, -90, 180, 0),
        box(178, 0, 180, 5),
        box(-180, 0, -179, 5) | box(178, 0, 180, 5),
        box(-90, 0, 90, 5),
    ],
    ids=["globe", "Mercator's globe", "cap", "Antarctica", "half", "ends at 180", "split already", "180 wide"],
)
def test_what_lies_within_180_as_drawn_stays_so(drawn) -> None:
    (found,) = split(drawn)
    assert found.equals(drawn)


@pytest.mark.parametrize(("lat", "pole"), [(70, 90), (10, 90), (-70, -90), (-10, -90)])
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("shift", [0, 95, -7])
def test_a_ring_round_the_globe_encloses_the_pole_of_its_side(lat, pole, backwards, shift) -> None:
    vertices = ring(lat, shift)
    (found,) = split(Polygon(vertices[::-1] if backwards else vertices))
    assert found.is_valid and found.bounds[0] == -180 and found.bounds[2] == 180
    assert (found.bounds[3] if pole > 0 else found.bounds[1]) == pole
    assert found.area == pytest.approx(360 * (90 - abs(lat + 0.125)), rel=1e-9)
    assert set(vertices) <= set(map(tuple, shapely.get_coordinates(found).tolist()))


def test_a_hole_round_the_globe_leaves_a_band() -> None:
    (found,) = split(Polygon(ring(60), [ring(80)]))
    assert found.is_valid and found.area == pytest.approx(360 * 20) and found.bounds == (-180, 60, 180, 80.25)


def test_vertices_stay_to_the_last_bit_so_that_shared_borders_stay_shared() -> None:
    rng = np.random.default_rng(3)
    lat = np.sort(rng.uniform(-10, 10, 40))
    lon = 179.9 + rng.uniform(-0.05, 0.05, 40)
    border = list(zip(lon.tolist(), lat.tolist()))
    west = Polygon([*border, (178.123456789, 10.1), (178.987654321, -10.1)])
    across = Polygon([*border, (-178.123456789, 10.1), (-178.987654321, -10.1)])
    found = split(west, across)
    assert found[0] is west
    known = {*shapely.get_coordinates(across)[:, 0].tolist(), 180.0, -180.0}
    assert set(shapely.get_coordinates(found[1])[:, 0].tolist()) <= known
    assert shapely.coverage_is_valid(found)


def test_null_empty_order_columns_and_crs_stay() -> None:
    shapes = [None, box(-179, 0, 178, 5), Polygon(), box(0, 0, 1, 1)]
    regions = gpd.GeoDataFrame(
        {"id": list("abcd"), "shape": shapes}, geometry="shape", crs="OGC:CRS84", index=[3, 1, 1, 0]
    )
    after = split_antimeridian(regions)
    assert after.geometry.iloc[0] is None and after.geometry.iloc[2].is_empty and after.geometry.iloc[3] is shapes[3]
    pd.testing.assert_series_equal(after["id"], regions["id"])
    assert after.crs == regions.crs and after.geometry.name == "shape"
    one_by_one = pd.concat([split_antimeridian(regions.iloc[[i]]) for i in range(4)])
    assert one_by_one.geometry.iloc[1].equals_exact(after.geometry.iloc[1], 0)
    assert len(split_antimeridian(regions[:0])) == 0


@pytest.mark.parametrize(
    ("shape", "crs", "code"),
    [
        (box(0, 0, 1, 1), None, "crs-missing"),
        (box(0, 0, 1, 1), 3857, "crs-mismatch"),
        (shapely.Point(0, 0), 4326, "bad-geometry"),
        (shapely.LineString([(170, 0), (-170, 0)]), 4326, "bad-geometry"),
        (box(0, 0, 1, 91), 4326, "bad-geometry"),
        (box(0, 0, 361, 1), 4326, "bad-geometry"),
        (with_vertex(box(0, 0, 1, 1), np.nan), 4326, "bad-geometry"),
        (Polygon([(179, 0), (-179, 2), (-179, 0), (179, 2)]), 4326, "bad-geometry"),
    ],
)
def test_what_cannot_be_split_is_refused(shape, crs, code) -> None:
    with pytest.raises(BuilderError) as caught:
        split(shape, crs=crs)
    assert caught.value.code == code
