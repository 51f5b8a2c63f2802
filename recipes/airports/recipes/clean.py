"""Rows that can be trusted, and beside them the rejects with their reasons."""

from __future__ import annotations

import geopandas as gpd
import pandas as pd

import builder as b
from builder import transforms as t

KINDS = {
    "heliport": "heliport|helipad",
    "seaplane base": "seaplane",
    "strip": r"\b(?:air)?strip\b|landing strip",
    "airpark": r"\bair ?park\b",
    "field": r"\b(?:air)?field\b",
    "airport": r"\bairport\b",
}


@b.recipe(key="icao", grain=b.rows("airports"), outputs=("good", "rejects"))
def clean_airports(airports: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Airports with a name and a possible position; the others as rejects."""
    placed, lost = t.split_coordinates(airports.drop(columns="country"))
    is_named = placed["name"].fillna("").str.strip() != ""
    unnamed = placed[~is_named].assign(reason=pd.array(["no name"] * int((~is_named).sum()), dtype="string"))
    return {"good": placed[is_named], "rejects": pd.concat([lost, unnamed])}


@b.recipe(key="id", grain=b.rows("counties"), outputs=("good", "rejects"))
def clean_counties(counties: gpd.GeoDataFrame) -> dict[str, gpd.GeoDataFrame]:
    """Counties as valid polygons; those without an area as rejects."""
    return _valid_regions(counties)


@b.recipe(key="id", grain=b.rows("states"), outputs=("good", "rejects"))
def clean_states(states: gpd.GeoDataFrame) -> dict[str, gpd.GeoDataFrame]:
    """States as valid polygons; those without an area as rejects."""
    return _valid_regions(states)


@b.recipe(
    key="icao",
    grain=b.rows("airports"),
    inputs={"airports": b.read("clean_airports.good", columns=["icao", "name"])},
)
def airport_kinds(airports: pd.DataFrame) -> pd.DataFrame:
    """What each airport's name says it is: the first of `KINDS` that it mentions, else `other`."""
    name = airports["name"].str.lower()
    kind = pd.Series("other", index=airports.index, dtype="string")
    for label, pattern in reversed(KINDS.items()):
        kind[name.str.contains(pattern, regex=True)] = label
    return pd.DataFrame({"icao": airports["icao"], "kind": kind})


def _valid_regions(regions: gpd.GeoDataFrame) -> dict[str, gpd.GeoDataFrame]:
    repaired, _ = t.repair(regions)
    is_empty = repaired.geometry.isna() | repaired.geometry.is_empty
    reason = pd.Series("empty polygon", index=regions.index[is_empty], dtype="string")
    return {"good": repaired[~is_empty], "rejects": repaired[is_empty].assign(reason=reason)}
