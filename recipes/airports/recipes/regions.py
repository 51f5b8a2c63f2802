"""Which county and which state each airport and each place lies in."""

from __future__ import annotations

import geopandas as gpd
import pandas as pd

import builder as b

from ._geo import assign_within

POSITIONS = b.read("clean_airports.good", columns=["icao", "lat", "lon"])


@b.recipe(key="icao", publish=True, inputs={"airports": POSITIONS, "counties": "clean_counties.good"})
def airport_counties(airports: pd.DataFrame, counties: gpd.GeoDataFrame) -> pd.DataFrame:
    """The county of each airport, null where it lies in none."""
    county = assign_within(airports, counties, lon="lon", lat="lat")
    return pd.DataFrame({"icao": airports["icao"], "county": county})


@b.recipe(key="icao", inputs={"airports": POSITIONS, "states": "clean_states.good"})
def airport_states(airports: pd.DataFrame, states: gpd.GeoDataFrame) -> pd.DataFrame:
    """The state of each airport, null where it lies in none."""
    state = assign_within(airports, states, lon="lon", lat="lat")
    return pd.DataFrame({"icao": airports["icao"], "state": state})


@b.recipe(key="geonameid", inputs={"counties": "clean_counties.good"})
def place_counties(places: pd.DataFrame, counties: gpd.GeoDataFrame) -> pd.DataFrame:
    """The county of each place and how many people live there."""
    county = assign_within(places, counties, lon="longitude", lat="latitude")
    return places[["geonameid", "population"]].assign(county=county)
