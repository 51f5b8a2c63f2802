"""Counters: airports per county, per state and per kind."""

from __future__ import annotations

import pandas as pd

import builder as b
from builder import transforms as t

kind_counts = b.count_by("kind_counts", of="airport_kinds", by=["kind"], counts="airports", publish=True)


@b.recipe(key="id", publish=True, inputs={"counties": b.read("clean_counties.good", columns=["id", "name"])})
def county_counts(airport_counties: pd.DataFrame, counties: pd.DataFrame) -> pd.DataFrame:
    """Airports in each county, 0 where there is none."""
    return _count(airport_counties, "county", counties)


@b.recipe(key="id", publish=True, inputs={"states": b.read("clean_states.good", columns=["id", "name"])})
def state_counts(airport_states: pd.DataFrame, states: pd.DataFrame) -> pd.DataFrame:
    """Airports in each state, 0 where there is none."""
    return _count(airport_states, "state", states)


@b.recipe(key="id")
def county_people(county_counts: pd.DataFrame, place_counties: pd.DataFrame) -> pd.DataFrame:
    """People in the places of each county, and how many of them share one airport; null where there is no airport."""
    people = t.count_by(place_counties, ["county"], sums={"people": "population"}).set_index("county")["people"]
    result = county_counts.assign(people=county_counts["id"].map(people).fillna(0).astype("int64"))
    airports = result["airports"].where(result["airports"] > 0)
    return result.assign(people_per_airport=(result["people"] / airports).round(1).astype("float64"))


def _count(assigned: pd.DataFrame, region: str, regions: pd.DataFrame) -> pd.DataFrame:
    found = t.count_by(assigned, [region], counts="airports").set_index(region)["airports"]
    return regions[["id", "name"]].assign(airports=regions["id"].map(found).fillna(0).astype("int64"))
