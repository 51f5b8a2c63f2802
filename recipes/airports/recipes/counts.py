"""Counters: airports per county, per state and per kind."""

from __future__ import annotations

import pandas as pd

import builder as b


@b.recipe(key="id", publish=True, inputs={"counties": b.read("clean_counties.good", columns=["id", "name"])})
def county_counts(airport_counties: pd.DataFrame, counties: pd.DataFrame) -> pd.DataFrame:
    """Airports in each county, 0 where there is none."""
    return _count(airport_counties["county"], counties)


@b.recipe(key="id", publish=True, inputs={"states": b.read("clean_states.good", columns=["id", "name"])})
def state_counts(airport_states: pd.DataFrame, states: pd.DataFrame) -> pd.DataFrame:
    """Airports in each state, 0 where there is none."""
    return _count(airport_states["state"], states)


@b.recipe(key="kind", publish=True)
def kind_counts(airport_kinds: pd.DataFrame) -> pd.DataFrame:
    """Airports of each kind."""
    return airport_kinds.groupby("kind").size().rename("airports").reset_index()


@b.recipe(key="id")
def county_people(county_counts: pd.DataFrame, place_counties: pd.DataFrame) -> pd.DataFrame:
    """People in the places of each county, and how many of them share one airport; null where there is no airport."""
    people = place_counties.groupby("county")["population"].sum()
    result = county_counts.assign(people=county_counts["id"].map(people).fillna(0).astype("int64"))
    airports = result["airports"].where(result["airports"] > 0)
    return result.assign(people_per_airport=(result["people"] / airports).round(1).astype("float64"))


def _count(region: pd.Series, regions: pd.DataFrame) -> pd.DataFrame:
    found = regions["id"].map(region.value_counts())
    return regions[["id", "name"]].assign(airports=found.fillna(0).astype("int64"))
