"""Geometries whose CRSs are missing or differ, from real files."""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import pytest
from shapely.geometry import Point


def lay(site: Any, crs: str | None) -> None:
    """Two sources of points, the second with this CRS, and a recipe that reads both."""
    (site.root / "data").mkdir()
    points = {"id": [1, 2], "geometry": [Point(0, 1), Point(2, 3)]}
    gpd.GeoDataFrame(points, crs="EPSG:4326").to_parquet(site.root / "data/known.parquet")
    gpd.GeoDataFrame(points, crs=crs).to_parquet(site.root / "data/other.parquet")
    site.recipe(
        """
        import geopandas as gpd

        b.source("known", "data/known.parquet", key="id")
        b.source("other", "data/other.parquet", key="id")

        @b.recipe
        def both(known: gpd.GeoDataFrame, other: gpd.GeoDataFrame):
            return {"rows": len(known) + len(other)}

        @b.recipe
        def one(other):
            return {"rows": len(other)}
        """
    )


@pytest.mark.parametrize(("crs", "code"), [(None, "crs-missing"), ("EPSG:3857", "crs-mismatch")])
def test_two_crss_at_one_recipe_are_refused_and_one_alone_is_not(site: Any, crs: str | None, code: str) -> None:
    lay(site, crs)
    targets = {t["name"]: t for t in site.rebuild()["targets"]}
    assert targets["one"]["outcome"] == "built"
    problem = targets["both"]["error"]
    assert problem["code"] == code and problem["place"].startswith("recipes/main.py:") and problem["hint"]
    assert dict(problem["facts"]) == {"known": "EPSG:4326", "other": crs or "no CRS"}


def test_lon_lat_has_two_names_and_is_one_crs(site: Any) -> None:
    lay(site, "OGC:CRS84")
    assert site.outcomes() == {"both": "built", "one": "built"}
