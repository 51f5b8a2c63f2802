"""Regions from labelled points."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import shapely

from builder.errors import BuilderError
from builder.transforms.infer import infer_regions

OPTIONS = {"concave": {}, "convex": {}, "voronoi": {}, "clusters": {"radius_m": 20_000}}


def points(n: int = 600, seed: int = 4) -> pd.DataFrame:
    """Labelled points with repeated places, several labels at some, and rows without one."""
    rng = np.random.default_rng(seed)
    xy = np.round(rng.normal(size=(n, 2)), 1 + seed % 2)
    state = pd.array(rng.choice(["b", "a", "ü", None], n), dtype="string")
    return pd.DataFrame({"state": state, "zone": np.round(xy[:, 0]).astype(int), "lon": xy[:, 0], "lat": xy[:, 1]})


def same(left: gpd.GeoDataFrame, right: gpd.GeoDataFrame) -> bool:
    pd.testing.assert_frame_equal(left.drop(columns="geometry"), right.drop(columns="geometry"))
    assert left.attrs == right.attrs
    return bool(shapely.equals_exact(left.geometry.array, right.geometry.array).all())


def fails(code: str, *args: object, **kwargs: object) -> BuilderError:
    with pytest.raises(BuilderError) as caught:
        infer_regions(*args, **kwargs)  # type: ignore[arg-type]
    assert caught.value.code == code
    return caught.value


@pytest.mark.parametrize("method", OPTIONS)
@pytest.mark.parametrize("by", ["state", ["state", "zone"], []])
@pytest.mark.parametrize("seed", [4, 5])
def test_the_order_of_rows_and_their_index_change_nothing(method, by, seed) -> None:
    df = points(seed=seed)
    whole = infer_regions(df, by=by, method=method, **OPTIONS[method])
    mixed = df.sample(frac=1, random_state=seed).set_axis(np.arange(len(df)) // 3)
    assert same(whole, infer_regions(mixed, by=by, method=method, **OPTIONS[method]))
    assert whole.crs == "EPSG:4326" and whole.index.equals(pd.RangeIndex(len(whole)))
    assert whole.is_valid.all()


@pytest.mark.parametrize("method", ["concave", "convex", "clusters"])
def test_labels_in_parts_give_the_rows_of_the_whole(method) -> None:
    df = points().dropna()
    whole = infer_regions(df, by="state", method=method, **OPTIONS[method])
    parts = [infer_regions(part, by="state", method=method, **OPTIONS[method]) for _, part in df.groupby("state")]
    joined = pd.concat(parts, ignore_index=True)
    assert whole.geometry.geom_equals_exact(joined.geometry, 0).all()
    assert whole["state"].tolist() == joined["state"].tolist()


@pytest.mark.parametrize("method", OPTIONS)
def test_rows_without_a_label_are_left_out_and_counted(method) -> None:
    df = points()
    regions = infer_regions(df, by="state", method=method, **OPTIONS[method])
    assert regions.attrs["unlabelled_rows"] == df["state"].isna().sum() > 0
    without = infer_regions(df.dropna(), by="state", method=method, **OPTIONS[method])
    assert without.geometry.geom_equals_exact(regions.geometry, 0).all()


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (["b", None, "a"], "string"),
        ([2, None, 1], "Int64"),
        ([2.5, None, -1.0], "float64"),
        ([Decimal("2.10"), None, Decimal("1.05")], pd.ArrowDtype(pa.decimal128(9, 2))),
        ([dt.date(2020, 2, 1), None, dt.date(2020, 1, 1)], pd.ArrowDtype(pa.date32())),
        ([True, None, False], "boolean"),
        (["b", None, "a"], "category"),
        (["b", None, "a"], object),
    ],
)
def test_labels_keep_their_dtype_and_are_sorted(values, dtype) -> None:
    df = pd.DataFrame({"k": pd.Series(values, dtype=dtype).repeat(3).reset_index(drop=True), "lon": 0.0, "lat": 0.0})
    df["lon"], df["lat"] = np.tile([0.0, 1, 1], 3), np.tile([0.0, 0, 1], 3)
    regions = infer_regions(df, by="k", method="convex")
    assert regions["k"].dtype == df["k"].dtype
    assert regions["k"].tolist() == [values[2], values[0]]


def test_minus_zero_is_zero_in_labels_and_coordinates() -> None:
    df = pd.DataFrame({"k": [-0.0, 0.0, 0.0], "lon": [-0.0, 1, 0], "lat": [0.0, 1, 1]})
    regions = infer_regions(df, by="k", method="convex")
    assert len(regions) == 1 and not np.signbit(regions["k"]).any()
    assert not np.signbit(shapely.get_coordinates(regions.geometry.array)).any()


@pytest.mark.parametrize("method", OPTIONS)
def test_an_empty_frame_gives_no_rows_with_the_same_columns(method) -> None:
    regions = infer_regions(points()[:0], by="state", method=method, **OPTIONS[method])
    assert len(regions) == 0 and isinstance(regions, gpd.GeoDataFrame)
    assert list(regions.columns) == ["state", *(["cluster"] if method == "clusters" else []), "geometry"]
    full = infer_regions(points(), by="state", method=method, **OPTIONS[method])
    assert regions.dtypes.equals(full.dtypes)


@pytest.mark.parametrize("method", ["concave", "convex"])
@pytest.mark.parametrize("xy", [[(3, 4)], [(3, 4)] * 5, [(3, 4), (5, 6)], [(0, 0), (1, 1), (2, 2), (1, 1)]])
def test_a_label_without_an_area_gets_an_empty_polygon_or_an_error(method, xy) -> None:
    df = pd.DataFrame(xy, columns=["lon", "lat"]).assign(k="thin")
    df = pd.concat([df, pd.DataFrame({"lon": [0.0, 1, 1], "lat": [0.0, 0, 1], "k": "wide"})])
    regions = infer_regions(df, by="k", method=method)
    assert regions.geometry.is_empty.tolist() == [True, False]
    assert regions.geometry.geom_type.tolist() == ["Polygon", "Polygon"]
    assert regions.attrs["empty_regions"] == 1
    problem = fails("bad-geometry", df, by="k", method=method, without_area="error")
    assert dict(problem.facts)["labels"] == "thin"


@pytest.mark.parametrize("bad", [np.nan, np.inf, 181.0, -200.0])
@pytest.mark.parametrize("method", OPTIONS)
def test_an_impossible_position_is_refused_with_its_rows(method, bad) -> None:
    df = points().assign(state="a").set_axis([f"r{i}" for i in range(600)])
    df.loc["r7", "lon"] = bad
    problem = fails("bad-value", df, by="state", method=method, **OPTIONS[method])
    assert dict(problem.facts)["rows"] == "r7" and "split_coordinates" in str(problem.hint)


def test_an_impossible_position_of_a_row_without_label_has_no_part() -> None:
    df = pd.DataFrame({"k": ["a", "a", "a", None], "lon": [0.0, 1, 1, np.nan], "lat": [0.0, 0, 1, 99]})
    assert infer_regions(df, by="k", method="convex").attrs["unlabelled_rows"] == 1


def test_a_planar_crs_has_no_globe() -> None:
    df = pd.DataFrame({"k": "a", "x": [500_000.0, 500_100, 500_100], "y": [5e6, 5e6, 5e6 + 100]})
    regions = infer_regions(df, by="k", method="convex", lon="x", lat="y", crs=32633)
    assert regions.crs.to_epsg() == 32633 and regions.geometry.iloc[0].area == 5_000
    assert fails("bad-value", df.assign(x=np.inf), by="k", method="convex", lon="x", lat="y", crs=32633)


@pytest.mark.parametrize(
    ("code", "kwargs"),
    [
        ("recipe-declaration", {"by": "state", "method": "hexagon"}),
        ("recipe-declaration", {"by": "state", "method": "convex", "ratio": 0.1}),
        ("recipe-declaration", {"by": "state", "method": "concave", "ratio": 1.1}),
        ("recipe-declaration", {"by": "state", "method": "concave", "ratio": float("nan")}),
        ("recipe-declaration", {"by": "state", "without_area": "drop"}),
        ("recipe-declaration", {"by": "state", "method": "clusters"}),
        ("recipe-declaration", {"by": "state", "method": "clusters", "radius_m": 0}),
        ("recipe-declaration", {"by": "state", "method": "clusters", "radius_m": 5.0, "min_points": 0}),
        ("recipe-declaration", {"by": "state", "method": "clusters", "algorithm": "hdbscan", "radius_m": 5.0}),
        ("recipe-declaration", {"by": "state", "method": "clusters", "algorithm": "optics", "radius_m": 5.0}),
        ("recipe-declaration", {"by": ["state", "state"]}),
        ("recipe-declaration", {"by": [1]}),
        ("recipe-declaration", {"by": 1}),
        ("bad-value", {"by": "stat"}),
        ("bad-value", {"by": "state", "lon": "longitude"}),
        ("bad-value", {"by": "zone", "lon": "state"}),
        ("crs-missing", {"by": "state", "crs": "EPSG:nowhere"}),
        ("crs-missing", {"by": "state", "crs": None}),
    ],
)
def test_wrong_arguments_are_refused(code, kwargs) -> None:
    fails(code, points(), **kwargs)


@pytest.mark.parametrize("reserved", ["geometry", "cluster"])
def test_a_label_column_named_as_the_results_own_is_refused(reserved) -> None:
    df = points().rename(columns={"state": reserved})
    fails("recipe-declaration", df, by=reserved, method="clusters", radius_m=10.0)


def test_labels_without_an_order_are_refused() -> None:
    df = pd.DataFrame({"k": pd.Series(["a", 1, (2,)], dtype=object), "lon": 0.0, "lat": 0.0})
    fails("bad-value", df, by="k")


def test_dissolve_unites_polygons_in_their_crs() -> None:
    squares = [shapely.box(0, 0, 1, 1), shapely.box(1, 0, 2, 1), shapely.Polygon()]
    regions = gpd.GeoDataFrame({"k": ["a", "a", "b"]}, geometry=squares, crs=3857)
    united = infer_regions(regions, by="k", method="dissolve")
    assert united.crs == 3857 and united.geometry.iloc[0].equals(shapely.box(0, 0, 2, 1))
    assert united.attrs["empty_regions"] == 1
    assert fails("bad-geometry", regions, by="k", method="dissolve", without_area="error")
