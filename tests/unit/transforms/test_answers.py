"""What each public transform answers on small fixed tables, by its version: another answer needs another version.

A version that stays where answers change would leave what was built with the old ones fresh.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from builder import transforms as t
from builder.transforms.versions import VERSIONS

ANSWERS = {
    "Counters": (1, "974b4c3a5d09"),
    "RegionIndex": (1, "dc9e95c5f52a"),
    "Rule": (1, "60041a78b776"),
    "adjacency": (1, "dab78f9307a9"),
    "assign_regions": (1, "06c60ae946c2"),
    "changed_boxes": (1, "c1028345e2b1"),
    "check_quality": (1, "60041a78b776"),
    "count_by": (1, "f267889ec9cc"),
    "deduplicate": (1, "5e5a0d690452"),
    "dissolve": (1, "bedf294067c8"),
    "fold_counts": (1, "79a02393fbcf"),
    "infer_regions": (1, "6e3550dc6d08"),
    "merge_counts": (1, "74292d4cb74d"),
    "near": (1, "a45fa8cf4698"),
    "normalise": (1, "7c015c39a4a9"),
    "outliers": (1, "1bd88a72fb32"),
    "patterns": (1, "b24b8c0e269a"),
    "profile": (1, "62174f3e0b28"),
    "reconcile": (1, "a07df24e3b45"),
    "repair": (1, "9b6cd947b35a"),
    "require_quality": (1, "dc937b598926"),
    "simplify_regions": (1, "fecbec40599b"),
    "smooth_regions": (1, "9fd1f91ad6c5"),
    "split_antimeridian": (1, "f02842424d4f"),
    "split_coordinates": (1, "79321e577f12"),
    "to_crs": (1, "b5e18e28fc02"),
}


def regions() -> gpd.GeoDataFrame:
    """Nine ragged regions that share borders, one that overlaps them, an empty and a missing one."""
    corners = np.random.default_rng(7).uniform(-0.3, 0.3, (4, 4, 2)) + np.stack(np.meshgrid(range(4), range(4)), 2)
    cells = [
        shapely.Polygon([corners[i, j], corners[i, j + 1], corners[i + 1, j + 1], corners[i + 1, j]])
        for i in range(3)
        for j in range(3)
    ]
    return coverage(cells, over=shapely.box(0.5, 0.5, 2.5, 2.2))


def coverage(cells: list[Any], over: Any = None) -> gpd.GeoDataFrame:
    shapes = cells if over is None else [*cells, over, shapely.Polygon(), None]
    kind = [("odd", "even")[n % 2] for n in range(len(shapes))]
    return gpd.GeoDataFrame({"id": [f"r{n:02}" for n in range(len(shapes))], "kind": kind}, geometry=shapes, crs=4326)


def cells() -> gpd.GeoDataFrame:
    """The nine that share borders."""
    return regions().iloc[:9]


def points() -> pd.DataFrame:
    """Sixty points, on borders and outside too, with labels."""
    generator = np.random.default_rng(3)
    xy = np.vstack([generator.uniform(-0.5, 3.5, (50, 2)), shapely.get_coordinates(cells().geometry.iloc[4])[:4]])
    table = pd.DataFrame(xy, columns=["lon", "lat"])
    table["shop"] = np.where(table.index % 9 == 8, None, np.array(["a", "b", "c"])[table.index % 3])
    return table.assign(n=generator.integers(0, 9, len(table)), nr=range(len(table)))


def records() -> pd.DataFrame:
    """Names that are alike, and numbers of which one stands out."""
    names = ["Łódź Airport", "Lodz  airport", "Bar Harbor Arpt", "Bar Harbor Airport", None, "", "O'Hare Int’l"]
    return pd.DataFrame({"id": range(7), "name": names, "feet": [12.0, 15, 11, 14, 900, None, 13]})


def bow_ties() -> gpd.GeoDataFrame:
    """Regions that are not valid."""
    twisted = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    spiked = shapely.Polygon([(0, 0), (2, 0), (2, 2), (2, 3), (2, 2), (0, 2)])
    return gpd.GeoDataFrame({"id": [1, 2, 3]}, geometry=[twisted, spiked, shapely.Polygon()], crs="EPSG:4326")


def counters() -> Any:
    found = t.Counters(["shop"], sums={"sum": "n"})
    found.add(points())
    found.subtract(points()[:7])
    return found.result()


def index() -> Any:
    found = t.RegionIndex(regions())
    asked = points()["lon"], points()["lat"]
    return [found.assign(*asked), *found.pairs(*asked), found.assign(*asked, predicate="intersects")]


TAXONOMY = pd.DataFrame({"code": ["all", "a", "b", "c", "d"], "parent": [None, "all", "d", "d", "all"]})
RULES = [t.Rule.not_null("name"), t.Rule.in_range("feet", 0, 20), t.Rule.unique("id")]


def parts_of(frame: pd.DataFrame) -> list[pd.DataFrame]:
    return [t.count_by(frame[:20], ["shop"]), t.count_by(frame[20:], ["shop"])]


CASES: dict[str, Callable[[], Any]] = {
    "Counters": counters,
    "RegionIndex": index,
    "Rule": lambda: t.check_quality(records(), RULES),
    "adjacency": lambda: t.adjacency(cells()),
    "assign_regions": lambda: [
        t.assign_regions(points(), regions(), lon="lon", lat="lat", region_id="id", predicate=predicate, ties=ties)
        for predicate in ("within", "intersects")
        for ties in ("lowest", "all")
    ],
    "changed_boxes": lambda: t.changed_boxes(cells().geometry, cells().geometry[::-1]),
    "check_quality": lambda: t.check_quality(records(), RULES),
    "count_by": lambda: t.count_by(points(), ["shop"], sums={"sum": "n"}, taxonomy=TAXONOMY),
    "deduplicate": lambda: [
        t.deduplicate(records(), by="name", how=how, order_by="id") for how in ("exact", "normalised", "fuzzy")
    ],
    "dissolve": lambda: [t.dissolve(cells(), "kind", union=union) for union in ("coverage", "unary")],
    "fold_counts": lambda: t.fold_counts(*parts_of(points()), t.count_by(points()[:3], ["shop"]), by=["shop"]),
    "infer_regions": lambda: [
        *(t.infer_regions(points(), by="shop", method=method) for method in ("concave", "convex", "voronoi")),
        t.infer_regions(points(), by="shop", method="clusters", radius_m=70_000, min_points=3),
        t.infer_regions(cells(), by="kind", method="dissolve"),
    ],
    "merge_counts": lambda: t.merge_counts(parts_of(points()), ["shop"]),
    "near": lambda: t.near([[0.5, 0.5, 2.5, 2.2], [9.0, 9.0, 9.5, 9.5]], points()["lon"], points()["lat"]),
    "normalise": lambda: t.normalise(records()["name"]),
    "outliers": lambda: [t.outliers(records(), "feet", method=method) for method in ("iqr", "mad")],
    "patterns": lambda: t.patterns(pd.Series(["WA-0451", "OR-7", "or-71", None, "CA-12"])),
    "profile": lambda: t.profile(records()),
    "reconcile": lambda: t.reconcile(
        records()[:3], records()[3:].rename(columns={"id": "ref"}), left_key="id", right_key="ref", on="name"
    ),
    "repair": lambda: [t.repair(bow_ties(), method=method) for method in ("structure", "linework")],
    "require_quality": lambda: t.require_quality(records(), [t.Rule.unique("id")]),
    "simplify_regions": lambda: t.simplify_regions(t.smooth_regions(cells(), method="coverage"), 5_000.0),
    "smooth_regions": lambda: [
        *(t.smooth_regions(cells(), method=method) for method in ("chaikin", "taubin", "coverage")),
        t.smooth_regions(cells(), method="buffer", distance_m=4_000.0),
    ],
    "split_antimeridian": lambda: t.split_antimeridian(
        gpd.GeoDataFrame(geometry=[shapely.box(-179, -20, 177, -16), None], crs="EPSG:4326")
    ),
    "split_coordinates": lambda: t.split_coordinates(
        pd.DataFrame({"lon": [-122.3, 47.6, None, 200, np.inf], "lat": [47.6, -122.3, 51.0, 0, 1]})
    ),
    "to_crs": lambda: t.to_crs(cells(), "EPSG:32631"),
}


def said(value: Any) -> str:
    """A result as text, numbers to 9 digits and rings in a normal form, so that no library's last digit counts."""
    if isinstance(value, pd.DataFrame):
        columns = [f"{name}:{said(value.iloc[:, at])}" for at, name in enumerate(value.columns)]
        return f"[{' '.join(columns)} {said(dict(value.attrs))}]"
    if isinstance(value, pd.Series):
        return f"{value.dtype}({' '.join(map(said, value.tolist()))})"
    if isinstance(value, shapely.Geometry):
        return shapely.normalize(shapely.set_precision(value, 1e-6, mode="pointwise")).wkt
    if isinstance(value, (float, np.floating)):
        return f"{value:.9g}"
    if isinstance(value, dict):
        return said([said(pair) for pair in value.items()])
    if isinstance(value, (list, tuple, np.ndarray)):
        return f"[{' '.join(map(said, value))}]"
    if hasattr(type(value), "__dataclass_fields__"):
        return said([getattr(value, name) for name in type(value).__dataclass_fields__])
    return str(value)


def test_every_public_transform_has_an_answer_here() -> None:
    assert sorted(CASES) == sorted(ANSWERS) == sorted(VERSIONS)


@pytest.mark.parametrize("name", sorted(CASES))
def test_another_answer_needs_another_version(name: str) -> None:
    found = VERSIONS[name], hashlib.sha256(said(CASES[name]()).encode()).hexdigest()[:12]
    assert found == ANSWERS[name], f"another result: count VERSIONS['{name}'] up; another version: put {found} here"
