"""The laws of smoothing, simplification and adjacency on jagged coverages, against GEOS."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jagged import jagged_coverage

from builder.transforms.adjacent import adjacency
from builder.transforms.simplify import simplify_regions
from builder.transforms.smooth import smooth_regions

COVERAGES = st.builds(
    jagged_coverage,
    seed=st.integers(0, 2**32 - 1),
    points=st.integers(5, 200),
    regions=st.integers(1, 10),
    squash=st.sampled_from([1.0, 1.0, 1e-6, 1e-11]),
    grid=st.sampled_from([0, 0, 3, 8]),
)
METHODS = [
    {"method": "chaikin", "iterations": 1},
    {"method": "chaikin", "iterations": 4, "tolerance_m": 3000.0},
    {"method": "taubin", "iterations": 20},
    {"method": "buffer", "distance_m": 9000.0},
]
LAWS = settings(max_examples=60, deadline=None, derandomize=True, database=None)


def coverage(frame) -> gpd.GeoDataFrame:
    assume(frame is not None)
    return frame


def is_valid_coverage(frame: gpd.GeoDataFrame) -> bool:
    return bool(frame.is_valid.all() and shapely.coverage_is_valid(frame.geometry.values))


def area(frame: gpd.GeoDataFrame) -> float:
    return float(shapely.area(frame.geometry.values).sum())


def shuffled(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    return frame.iloc[np.random.default_rng(len(frame)).permutation(len(frame))]


@given(COVERAGES, st.sampled_from(METHODS))
@LAWS
def test_each_region_alone_stays_valid_and_parts_equal_the_whole(frame, options) -> None:
    frame = coverage(frame)
    whole = smooth_regions(frame, **options)
    assert whole.is_valid.all() and not whole.is_empty.any()
    parts = pd.concat([smooth_regions(frame.iloc[[i]], **options) for i in range(len(frame))])
    pd.testing.assert_frame_equal(whole, parts)
    again = smooth_regions(shuffled(frame), **options).sort_index()
    assert (shapely.to_wkb(again.geometry.values) == shapely.to_wkb(whole.geometry.values)).all()


@given(COVERAGES, st.integers(1, 4), st.sampled_from([None, 2000.0]))
@LAWS
def test_a_smooth_coverage_is_a_coverage_of_the_same_area_in_any_order(frame, iterations, tolerance_m) -> None:
    frame = coverage(frame)
    smooth = smooth_regions(frame, method="coverage", iterations=iterations, tolerance_m=tolerance_m)
    assert is_valid_coverage(smooth)
    assert area(smooth) == pytest.approx(area(frame), rel=1e-9, abs=1e-12)
    again = smooth_regions(shuffled(frame), method="coverage", iterations=iterations, tolerance_m=tolerance_m)
    assert (shapely.to_wkb(again.sort_index().geometry.values) == shapely.to_wkb(smooth.geometry.values)).all()


@given(COVERAGES, st.sampled_from([500.0, 20_000.0, 1e6]), st.booleans())
@LAWS
def test_a_simple_coverage_is_a_coverage_with_the_same_meetings_in_any_order(frame, tolerance_m, outer) -> None:
    frame = coverage(frame)
    simple = simplify_regions(frame, tolerance_m, outer=outer)
    assert is_valid_coverage(simple)
    if not outer:
        assert area(simple) == pytest.approx(area(frame), rel=1e-9, abs=1e-12)
    assert (shapely.get_num_interior_rings(simple.geometry.explode().values).sum()) == (
        shapely.get_num_interior_rings(frame.geometry.explode().values).sum()
    )
    again = simplify_regions(shuffled(frame), tolerance_m, outer=outer).sort_index()
    assert (shapely.to_wkb(again.geometry.values) == shapely.to_wkb(simple.geometry.values)).all()


@given(COVERAGES, st.booleans())
@LAWS
def test_adjacency_is_what_geos_says_of_each_pair(frame, is_scattered) -> None:
    frame = coverage(frame)
    if is_scattered:  # no coverage any more: some regions twice as large, so that they overlap
        frame.loc[::2, "geometry"] = frame.geometry[::2].scale(2, 2)
    found = adjacency(frame)
    shapes = frame.geometry.values
    one, other = np.triu_indices(len(frame), 1)
    does_meet = shapely.intersects(shapes[one], shapes[other])
    one, other = one[does_meet], other[does_meet]
    lines = shapely.length(shapely.intersection(shapely.boundary(shapes[one]), shapely.boundary(shapes[other]))) > 0
    kind = np.where(shapely.touches(shapes[one], shapes[other]), np.where(lines, "edge", "corner"), "overlap")
    ids = frame["id"].to_numpy()
    assert list(zip(found["left"], found["right"], found["kind"])) == list(zip(ids[one], ids[other], kind))
    pd.testing.assert_frame_equal(adjacency(shuffled(frame)), found)
