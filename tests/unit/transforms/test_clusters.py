"""Dense clusters of points, in metres."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
import shapely
from sklearn.cluster import DBSCAN

from builder.errors import BuilderError
from builder.transforms.clusters import EARTH_RADIUS_M, cluster_points
from builder.transforms.infer import infer_regions

METRES_PER_DEGREE = EARTH_RADIUS_M * np.pi / 180


def found(x, y, codes=None, *, algorithm="dbscan", min_points=3, radius_m=1000.0, in_degrees=True) -> np.ndarray:
    x, y = np.asarray(x, float), np.asarray(y, float)
    codes = np.zeros(len(x), np.int64) if codes is None else codes
    options = {"algorithm": algorithm, "min_points": min_points, "in_degrees": in_degrees}
    return cluster_points(x, y, codes, radius_m=radius_m if algorithm == "dbscan" else None, **options)


def blobs(seed=2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-1, 1, (6, 2)).repeat(60, axis=0)
    xy = np.r_[centres + rng.normal(size=centres.shape) * 0.01, rng.uniform(-1, 1, (80, 2))] + (20, 60)
    return np.round(xy[:, 0], 3), np.round(xy[:, 1], 3)


@pytest.mark.parametrize("radius_m", [300.0, 900.0, 5000.0])
def test_clusters_are_those_of_haversine_dbscan(radius_m) -> None:
    x, y = blobs()
    mine = found(x, y, radius_m=radius_m, min_points=5)
    peer = DBSCAN(eps=radius_m / EARTH_RADIUS_M, min_samples=5, metric="haversine", algorithm="ball_tree")
    theirs = peer.fit(np.radians(np.column_stack([y, x])))
    core = theirs.core_sample_indices_
    assert ((mine == -1) == (theirs.labels_ == -1)).all() and mine.max() == theirs.labels_.max() > 0
    assert len(set(zip(mine[core], theirs.labels_[core]))) == mine.max() + 1


@pytest.mark.parametrize("algorithm", ["dbscan", "hdbscan"])
def test_numbers_go_from_west_to_east_whatever_the_order_of_rows(algorithm) -> None:
    x, y = blobs()
    mine = found(x, y, algorithm=algorithm, min_points=10, radius_m=800.0)
    order = np.random.default_rng(5).permutation(len(x))
    assert (found(x[order], y[order], algorithm=algorithm, min_points=10, radius_m=800.0) == mine[order]).all()
    western = [x[mine == k].min() for k in range(mine.max() + 1)]
    assert len(western) > 2 and western == sorted(western)


def test_a_radius_is_in_metres_at_every_latitude() -> None:
    for lat in (0, 60, 89):
        step = 999 / METRES_PER_DEGREE / np.cos(np.radians(lat))
        assert found([0, step, 2 * step], [lat] * 3).tolist() == [0, 0, 0]
        assert found([0, 1.003 * step, 2.006 * step], [lat] * 3).tolist() == [-1, -1, -1]


def test_clusters_reach_across_the_antimeridian_and_the_pole() -> None:
    step = 900 / METRES_PER_DEGREE
    assert found([180 - step / 2, -180 + step / 2, 180], [0, 0, 0]).tolist() == [0, 0, 0]
    assert found([0, 90, 180, -90], [90 - step / 2] * 4).tolist() == [0, 0, 0, 0]
    df = pd.DataFrame({"k": "a", "lon": [179.999, -179.999, 179.999, -179.999], "lat": [0, 0, 0.002, 0.002]})
    region = infer_regions(df, by="k", method="clusters", radius_m=500.0, min_points=2).geometry.iloc[0]
    assert region.geom_type == "MultiPolygon" and region.area == pytest.approx(0.002 * 0.002)


def test_repeated_points_count_each_time() -> None:
    assert found([0, 0, 0, 9], [0, 0, 0, 9]).tolist() == [0, 0, 0, -1]


def test_labels_are_clustered_apart() -> None:
    assert found([0] * 4, [0] * 4, np.array([1, 0, 1, 1])).tolist() == [0, -1, 0, 0]


def test_a_planar_radius_is_in_the_units_of_the_plane() -> None:
    assert found([0, 900, 1800, 2900], [0] * 4, in_degrees=False).tolist() == [0, 0, 0, -1]


def test_a_radius_beyond_the_globe_takes_all() -> None:
    assert found([0, 180, 90, -90], [0, 0, 90, -90], radius_m=1e9).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("n", [0, 1, 2, 3, 30])
@pytest.mark.parametrize("algorithm", ["dbscan", "hdbscan"])
def test_few_points_and_points_in_one_place_are_no_trouble(algorithm, n) -> None:
    labels = found([5.0] * n, [6.0] * n, algorithm=algorithm, min_points=3)
    assert set(labels) <= {-1, 0}


def test_noise_and_labels_without_clusters_are_counted() -> None:
    spots = [(0, 0), (0, 0.001), (0.001, 0), (5, 5), (0, 0)]
    df = pd.DataFrame(spots, columns=["lon", "lat"]).assign(k=["a"] * 4 + ["b"])
    regions = infer_regions(df, by="k", method="clusters", radius_m=200.0, min_points=3)
    assert regions[["k", "cluster"]].values.tolist() == [["a", 0]] and regions["cluster"].dtype == "int64"
    assert regions.attrs == {
        "unlabelled_rows": 0, "empty_regions": 0, "noise_rows": 2, "labels_without_cluster": 1
    }  # fmt: skip


def test_a_clusters_region_is_the_hull_of_its_points() -> None:
    x, y = blobs()
    df = pd.DataFrame({"k": "a", "lon": x, "lat": y})
    regions = infer_regions(df, by="k", method="clusters", radius_m=900.0, min_points=5, ratio=1.0)
    labels = found(x, y, radius_m=900.0, min_points=5)
    for row in regions.itertuples():
        assert row.geometry.equals(shapely.MultiPoint(np.column_stack([x, y])[labels == row.cluster]).convex_hull)


def test_without_scikit_learn_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    with pytest.raises(BuilderError, match="scikit-learn") as caught:
        found([0, 1], [0, 1])
    assert "builder[clusters]" in str(caught.value.hint)
