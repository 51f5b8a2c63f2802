"""CRSs as text."""

from __future__ import annotations

import pyproj
import pytest

from builder.errors import BuilderError
from builder.tables.crs import canonical_crs, crs_json


@pytest.mark.parametrize(
    "value",
    ["EPSG:4326", "epsg:4326", "OGC:CRS84", "urn:ogc:def:crs:OGC:1.3:CRS84", 4326, pyproj.CRS(4326)],
)
def test_crs84_and_4326_are_one(value: object) -> None:
    assert canonical_crs(value) == "EPSG:4326"


def test_esri_wkt_of_a_registered_crs_is_its_number() -> None:
    assert canonical_crs(pyproj.CRS(4269).to_wkt("WKT1_ESRI")) == "EPSG:4269"
    assert canonical_crs(crs_json("EPSG:32633")) == "EPSG:32633"


def test_an_unregistered_crs_is_wkt_and_stays_so() -> None:
    text = canonical_crs("+proj=aea +lat_1=29.5 +lat_2=45.5 +lon_0=-96")
    assert text is not None and text.startswith("PROJCRS[")
    assert canonical_crs(text) == text


def test_no_crs_is_none_and_nonsense_is_refused() -> None:
    assert canonical_crs(None) is None
    with pytest.raises(BuilderError) as caught:
        canonical_crs("EPSG:nowhere", "a.gpkg")
    assert (caught.value.code, caught.value.place) == ("crs-missing", "a.gpkg")
