"""CRSs of frames and the way from one to another."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import pytest
import shapely

from builder.errors import BuilderError
from builder.transforms.crs import check_degrees, check_same_crs, in_degrees, is_lon_lat, to_crs


def frame(*shapes, crs="EPSG:4326") -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"n": range(len(shapes))}, geometry=list(shapes), crs=crs)


def fails(code, call, *args) -> BuilderError:
    with pytest.raises(BuilderError) as caught:
        call(*args)
    assert caught.value.code == code
    return caught.value


@pytest.mark.parametrize("target", [32633, "EPSG:3857", "EPSG:3035", "EPSG:2193", "ESRI:102008"])
def test_x_is_east_and_y_is_north_whatever_the_authority_says(target) -> None:
    shapes = [shapely.Point(15, 50), shapely.box(14, 49, 16, 51)]
    moved = to_crs(frame(*shapes), target)
    way = pyproj.Transformer.from_crs("EPSG:4326", target, always_xy=True)
    expected = np.column_stack(way.transform(*shapely.get_coordinates(shapes).T))
    assert shapely.get_coordinates(moved.geometry.array) == pytest.approx(expected, rel=1e-12)
    back = to_crs(moved, "EPSG:4326")
    assert shapely.get_coordinates(back.geometry.array) == pytest.approx(shapely.get_coordinates(shapes), abs=1e-7)


def test_crs84_and_4326_are_one_and_no_coordinate_changes() -> None:
    before = frame(shapely.Point(0.1, 0.2), None, shapely.Polygon())
    after = to_crs(before, "OGC:CRS84")
    assert after.crs.to_string() == "OGC:CRS84" and before.crs == "EPSG:4326"
    assert after.geometry.iloc[0].equals_exact(before.geometry.iloc[0], 0) and after.geometry.iloc[1] is None
    assert is_lon_lat(after.crs) and check_same_crs(before, after, ("a", "b")) == before.crs


def test_rows_index_columns_null_and_empty_stay() -> None:
    before = frame(None, shapely.Point(1, 2), shapely.Polygon()).set_axis([5, 5, 1]).rename_geometry("spot")
    after = to_crs(before, 3857)
    pd.testing.assert_series_equal(after["n"], before["n"])
    assert after.geometry.name == "spot" and after.crs.to_epsg() == 3857
    assert after.geometry.iloc[0] is None and after.geometry.iloc[2].is_empty
    assert to_crs(before[:0], 3857).crs.to_epsg() == 3857


@pytest.mark.parametrize("shape", [shapely.Point(0, 90), shapely.Point(0, -90)])
def test_a_pole_has_no_place_in_mercator(shape) -> None:
    far = abs(to_crs(frame(shape), 3857).geometry.iloc[0].y)
    assert far > 2e8  # PROJ's answer is finite: the docstring says so


@pytest.mark.parametrize("target", [3857, "OGC:CRS84"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_coordinates_that_are_not_finite_are_refused_with_their_rows(bad, target) -> None:
    line = shapely.transform(shapely.LineString([(0, 0), (1, 1)]), lambda xy: np.where(xy == 1, bad, xy))
    problem = fails("bad-value", to_crs, frame(shapely.Point(1, 1), line), target)
    assert dict(problem.facts)["rows"] == "1"


def test_a_latitude_beyond_the_pole_is_refused() -> None:
    problem = fails("bad-value", to_crs, frame(shapely.Point(10, 95), shapely.Point(1, 1)), 3857)
    assert dict(problem.facts)["rows"] == "0"


def test_a_missing_an_unknown_and_an_unreachable_crs_are_refused() -> None:
    fails("crs-missing", to_crs, frame(shapely.Point(1, 1), crs=None), 3857)
    fails("crs-missing", to_crs, frame(shapely.Point(1, 1)), "EPSG:nowhere")
    fails("crs-missing", to_crs, frame(shapely.Point(1, 1)), None)
    moon = 'GEOGCRS["Moon",DATUM["Moon",ELLIPSOID["Moon",1737400,0]],CS[ellipsoidal,2],AXIS["lat",north],AXIS["lon",east],ANGLEUNIT["degree",0.0174532925199433]]'  # noqa: E501
    local = 'LOCAL_CS["site",UNIT["metre",1]]'
    for other in (moon, local):
        try:
            to_crs(frame(shapely.Point(1, 1)), other)
        except BuilderError as problem:
            assert problem.code in ("crs-mismatch", "crs-missing")


def test_degrees_are_told_from_other_units() -> None:
    assert in_degrees(pyproj.CRS(4326)) and in_degrees(pyproj.CRS(4269))
    assert not in_degrees(pyproj.CRS(3857)) and not in_degrees(pyproj.CRS(4807))  # grads
    fails("crs-mismatch", check_degrees, frame(shapely.Point(1, 1), crs=4807), "regions")
    fails("crs-missing", check_degrees, frame(shapely.Point(1, 1), crs=None), "regions")


def test_two_frames_in_different_crss_are_refused_with_both() -> None:
    problem = fails("crs-mismatch", check_same_crs, frame(crs=4326), frame(crs=3857), ("points", "regions"))
    assert dict(problem.facts) == {"points": "EPSG:4326", "regions": "EPSG:3857"}
