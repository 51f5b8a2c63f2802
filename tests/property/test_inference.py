"""Laws of inferred regions, whatever the points."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.transforms.antimeridian import split_antimeridian
from builder.transforms.coordinates import split_coordinates
from builder.transforms.dissolving import dissolve
from builder.transforms.infer import infer_regions
from builder.transforms.repairing import repair

# Few distinct values, so that places repeat, distances tie and points fall on lines and circles.
SNAPPED = st.sampled_from([-3.0, -1.0, -0.5, -0.0, 0.0, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0])
DEGREES = st.one_of(SNAPPED, st.floats(-80, 80).map(lambda v: round(v, 6)))
WIDE = st.one_of(DEGREES, st.sampled_from([179.5, -179.5, 180.0, -180.0, 178.0]))
LABEL = st.sampled_from(["a", "b", "c", None])
METHODS = {"concave": {"ratio": 0.2}, "convex": {}, "clusters": {"radius_m": 60_000, "min_points": 2}}


def rows(x, y=DEGREES):
    frame = lambda cells: pd.DataFrame(cells, columns=["k", "lon", "lat"]).astype({"k": "string", "lon": float, "lat": float})  # fmt: skip  # noqa: E501, E731
    return st.lists(st.tuples(LABEL, x, y), max_size=40).map(frame)


def same(one: gpd.GeoDataFrame, other: gpd.GeoDataFrame) -> bool:
    pd.testing.assert_frame_equal(one.drop(columns="geometry"), other.drop(columns="geometry"))
    return bool(shapely.equals_exact(one.geometry.array, other.geometry.array).all())


@settings(max_examples=100, deadline=None)
@given(rows(WIDE), st.sampled_from(sorted(METHODS)), st.randoms(use_true_random=False))
def test_hulls_are_valid_hold_their_points_and_know_no_order(df, method, random) -> None:
    regions = infer_regions(df, by="k", method=method, **METHODS[method])
    order = random.sample(range(len(df)), len(df))
    assert same(regions, infer_regions(df.iloc[order], by="k", method=method, **METHODS[method]))
    assert regions.is_valid.all() and (len(regions) == 0 or abs(regions.geometry.bounds[["minx", "maxx"]]).max().max() <= 180 or regions.geometry.is_empty.all())  # fmt: skip  # noqa: E501
    for row in regions.itertuples():
        if method != "clusters" and not row.geometry.is_empty:
            mine = df[df["k"] == row.k]
            on_seam = mine["lon"].abs() == 180  # may lie on the other side's edge
            assert row.geometry.buffer(1e-9).covers(shapely.points(mine["lon"], mine["lat"])[~on_seam]).all()


@settings(max_examples=100, deadline=None)
@given(rows(WIDE))
def test_labels_alone_give_the_rows_of_the_whole(df) -> None:
    df = df.dropna()
    whole = infer_regions(df, by="k", ratio=0.2)
    parts = [infer_regions(part, by="k", ratio=0.2) for _, part in df.groupby("k")]
    assert len(parts) == len(whole) and (not parts or same(whole, pd.concat(parts, ignore_index=True)))


@settings(max_examples=100, deadline=None)
@given(rows(DEGREES), st.randoms(use_true_random=False))
def test_voronoi_regions_share_out_the_outline(df, random) -> None:
    outline = shapely.box(-81, -81, 81, 81)
    regions = infer_regions(df, by="k", method="voronoi", outline=outline)
    order = random.sample(range(len(df)), len(df))
    assert same(regions, infer_regions(df.iloc[order], by="k", method="voronoi", outline=outline))
    shapes = regions.geometry.array
    assert regions.is_valid.all() and (len(regions) == 0 or shapely.coverage_is_valid(shapes))
    assert len(regions) == 0 or abs(shapely.area(shapes).sum() / outline.area - 1) < 1e-12


BOX = st.tuples(*(st.integers(0, 5) for _ in range(2)), *(st.integers(1, 3) for _ in range(2)))


@settings(max_examples=120, deadline=None)
@given(st.lists(st.tuples(BOX, st.integers(0, 3), st.booleans()), min_size=1, max_size=25))
def test_dissolve_is_the_unary_union_whatever_way_it_takes(boxes) -> None:
    shapes = [shapely.box(x, y, x + w, y + h) for (x, y, w, h), _, _ in boxes]
    shapes = [shapely.segmentize(s, 1.0) if cut else s for s, (_, _, cut) in zip(shapes, boxes)]
    regions = gpd.GeoDataFrame({"k": [k for _, k, _ in boxes]}, geometry=shapes, crs=4326)
    united = dissolve(regions, "k")
    assert united.is_valid.all()
    for k, shape in zip(united["k"], united.geometry):
        assert shape.symmetric_difference(shapely.union_all(np.array(shapes, object)[regions["k"] == k])).area == 0


RING = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=8)


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.one_of(st.none(), RING.map(shapely.Polygon)), max_size=6), st.sampled_from(["structure", "linework"])
)
def test_repair_leaves_no_invalid_row_and_reports_each_that_it_touched(shapes, method) -> None:
    before = gpd.GeoDataFrame(geometry=shapes, crs=4326)
    after, report = repair(before, method=method)
    found = after.geometry.array
    assert (shapely.is_valid(found) | shapely.is_missing(found)).all() and len(after) == len(before)
    touched = [i for i, s in enumerate(shapes) if s is None or s.is_empty or not s.is_valid]
    assert report.index.tolist() == touched
    assert all(found[i] is shapes[i] for i in range(len(shapes)) if i not in touched)


@settings(max_examples=120, deadline=None)
@given(st.integers(-1800, 1799), st.integers(1, 1700), st.integers(-899, 850), st.integers(1, 40), st.integers(0, 2))
def test_splitting_a_box_gives_its_two_sides_however_it_is_drawn(west, width, south, height, drawn) -> None:
    x0, x1, y0, y1 = west / 10, (west + width) / 10, south / 10, (south + height) / 10
    turned = [x1 - 360 if x1 > 180 else x1, x1, x1][drawn]
    shape = shapely.box(min(x0, turned), y0, max(x0, turned), y1)
    (found,) = split_antimeridian(gpd.GeoDataFrame(geometry=[shape], crs=4326)).geometry
    sides = [shapely.box(x0, y0, min(x1, 180), y1)] + ([shapely.box(-180, y0, x1 - 360, y1)] if x1 > 180 else [])
    assert found.is_valid and found.symmetric_difference(shapely.union_all(sides)).area < 1e-9


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(*(st.one_of(st.none(), st.floats(), st.floats(-200, 200)) for _ in range(2))), max_size=30))
def test_every_row_is_possible_or_rejected_and_the_possible_ones_are_accepted_everywhere(cells) -> None:
    df = pd.DataFrame(cells, columns=["lon", "lat"], dtype=float).assign(k="a")
    good, rejects = split_coordinates(df)
    assert sorted([*good.index, *rejects.index]) == list(df.index)
    assert good["lon"].between(-180, 180).all() and good["lat"].between(-90, 90).all()
    assert (rejects["lon"].between(-180, 180) & rejects["lat"].between(-90, 90)).sum() == 0
    infer_regions(good, by="k", method="convex")
