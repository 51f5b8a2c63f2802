"""Invalid geometry made valid, and the report of it."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from shapely import Polygon

from builder.errors import BuilderError
from builder.transforms.repairing import repair

BOX = shapely.box(0, 0, 2, 2)
BOW_TIE = Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
SPIKE = Polygon([(0, 0), (1, 1), (2, 2)])
HOLE_OUT = Polygon([(0, 0), (4, 0), (4, 4), (0, 4)], [[(1, 1), (9, 1), (9, 2)]])
TWICE = shapely.MultiPolygon([BOX, shapely.box(1, 1, 3, 3)])
SHAPES = [BOX, BOW_TIE, None, Polygon(), SPIKE, HOLE_OUT, TWICE]


def regions(shapes=SHAPES) -> gpd.GeoDataFrame:
    ids = [f"r{i}" for i in range(len(shapes))]
    return gpd.GeoDataFrame({"id": ids, "n": range(len(shapes))}, geometry=list(shapes), crs=4326)


@pytest.mark.parametrize("method", ["structure", "linework"])
def test_every_row_stays_and_is_valid_null_or_empty(method) -> None:
    before = regions().set_axis(list("abcdefg"))
    after, _ = repair(before, method=method)
    pd.testing.assert_frame_equal(pd.DataFrame(before.drop(columns="geometry")), after.drop(columns="geometry"))
    shapes = after.geometry.array
    assert (shapely.is_valid(shapes) | shapely.is_missing(shapes)).all() and after.crs == 4326
    assert set(after.geom_type.dropna()) <= {"Polygon", "MultiPolygon"}
    assert shapes[0] is BOX and shapes[2] is None and shapes[3].is_empty


def test_the_report_has_what_changed_and_what_collapsed() -> None:
    report = repair(regions().set_axis(list("abcdefg")), region_id="id").report
    assert report.index.tolist() == list("bcdefg") and report["id"].tolist() == [f"r{i}" for i in range(1, 7)]
    outcomes = ["repaired", "null", "empty", "collapsed", "repaired", "repaired"]
    assert report["outcome"].tolist() == outcomes
    assert report["reason"].isna().tolist() == [False, True, True, False, False, False]
    assert report.loc["b", "reason"] == "Self-intersection[1 1]"
    assert report["parts_before"].tolist() == [1, 0, 0, 1, 1, 2]
    assert report["parts_after"].tolist() == [2, 0, 0, 0, 1, 1]
    assert report.loc[["b", "d", "e", "g"], "area_after"].tolist() == [2.0, 0.0, 0.0, 7.0]
    assert report.loc["g", "area_before"] == 8.0 and np.isnan(report.loc["c", "area_after"])
    dtypes = ["string", "string", "float64", "float64", "int64", "int64"]
    assert [str(dtype) for dtype in report.dtypes[1:]] == dtypes


def test_methods_are_geos_own() -> None:
    structure, linework = (repair(regions(), method=m).regions.geometry for m in ("structure", "linework"))
    for row in (1, 5, 6):
        shape = SHAPES[row]
        assert structure[row].equals(shapely.make_valid(shape, method="structure", keep_collapsed=False))
        parts = shapely.get_parts(shapely.make_valid(shape, method="linework"))
        assert linework[row].area == pytest.approx(shapely.area(parts).sum())
    assert structure[5].area < linework[5].area  # ground where the hole reaches out


def test_lines_left_by_linework_are_dropped() -> None:
    tail = Polygon([(0, 0), (2, 0), (2, 2), (5, 2), (2, 2), (0, 2)])
    assert shapely.make_valid(tail, method="linework").geom_type == "GeometryCollection"
    assert repair(regions([tail]), method="linework").regions.geometry[0].equals(BOX)


def test_an_edge_passed_twice_is_mended_where_geos_alone_leaves_an_invalid_shape() -> None:
    shape = Polygon([(0, 1), (0, 0), (1, 2), (0, 1), (0, 2), (1, 2)])
    after = repair(regions([shape])).regions.geometry[0]
    assert after.equals(Polygon([(0, 0), (1, 2), (0, 2)]))


def test_valid_regions_have_an_empty_report_of_the_same_dtypes() -> None:
    some, none = repair(regions()).report, repair(regions([BOX])).report
    assert len(none) == 0 and none.dtypes.equals(some.dtypes)
    assert len(repair(regions([])).report) == 0


def test_rows_are_repaired_one_by_one() -> None:
    whole = repair(regions())
    order = [6, 5, 4, 3, 2, 1, 0]
    parts = [repair(regions().iloc[[row]]) for row in order]
    mixed = pd.concat([part.regions for part in parts]).sort_index()
    assert shapely.equals_exact(mixed.geometry.array, whole.regions.geometry.array)[[0, 1, 3, 4, 5, 6]].all()
    reports = pd.concat([part.report for part in parts]).sort_index()
    pd.testing.assert_frame_equal(reports, whole.report)


def test_points_lines_and_z_that_are_valid_stay() -> None:
    shapes = [shapely.Point(1, 2), shapely.LineString([(0, 0), (1, 1)]), shapely.force_3d(BOX, 5)]
    after = repair(regions(shapes)).regions.geometry.array
    assert all(one is other for one, other in zip(shapes, after))
    mended = repair(regions([shapely.force_3d(BOW_TIE, 5)])).regions.geometry.array
    assert set(shapely.get_coordinates(mended, include_z=True)[:, 2]) == {5.0}


def test_the_name_of_the_geometry_stays() -> None:
    after = repair(regions([BOW_TIE]).rename_geometry("shape")).regions
    assert after.geometry.name == "shape" and list(after.columns) == ["id", "n", "shape"]


@pytest.mark.parametrize(
    ("shape", "what"),
    [
        (Polygon([(0, 0), (1, np.inf), (2, 2)]), "not finite"),
        (shapely.LineString([(0, 0), (0, 0)]), "no polygons"),
        (shapely.GeometryCollection([BOW_TIE]), "no polygons"),
    ],
)
def test_what_no_method_can_mend_is_refused(shape, what) -> None:
    with pytest.raises(BuilderError, match=what) as caught:
        repair(regions([BOX, shape]))
    assert caught.value.code == "bad-geometry" and dict(caught.value.facts)["rows"] == "1"


def test_nan_coordinates_are_refused() -> None:
    shape = shapely.transform(BOX, lambda xy: np.where((np.arange(5) == 1)[:, None], np.nan, xy))
    with pytest.raises(BuilderError, match="not finite"):
        repair(regions([shape]))


@pytest.mark.parametrize(("code", "kwargs"), [("recipe-declaration", {"method": "buffer"}), ("bad-value", {"region_id": "fips"})])  # fmt: skip  # noqa: E501
def test_wrong_arguments_are_refused(code, kwargs) -> None:
    with pytest.raises(BuilderError) as caught:
        repair(regions(), **kwargs)
    assert caught.value.code == code


def test_a_frame_without_geometry_is_refused() -> None:
    with pytest.raises(BuilderError) as caught:
        repair(pd.DataFrame({"id": [1]}))
    assert caught.value.code == "bad-geometry"
