"""One family of targets for the states, and the report that gathers it."""

from __future__ import annotations

import pandas as pd

import builder as b

from ._states import STATES


@b.recipe(
    each={"state": list(STATES)},
    key="icao",
    grain=b.rows("airports"),
    publish=True,
    inputs={
        "airports": b.read("clean_airports.good", columns=["icao", "name", "city", "elevation"]),
        "airport_states": b.lookup("airport_states", on="icao"),
        "airport_kinds": b.lookup("airport_kinds", on="icao"),
    },
)
def state_airports(
    airports: pd.DataFrame, airport_states: pd.DataFrame, airport_kinds: pd.DataFrame, state: str
) -> pd.DataFrame:
    """The airports of one state with their kind and elevation in feet."""
    inside = airport_states.loc[airport_states["state"] == STATES[state], ["icao"]]
    return inside.merge(airports, on="icao").merge(airport_kinds, on="icao")


@b.recipe(each={"state": list(STATES)}, inputs={"airports": "state_airports[state={state}]"})
def state_summary(airports: pd.DataFrame, state: str) -> dict[str, object]:
    """How many airports of which kind one state has, and its highest one."""
    kinds = airports["kind"].value_counts()
    ranked = airports.dropna(subset=["elevation"]).sort_values(["elevation", "icao"], ascending=[False, True])
    highest = [{"icao": a.icao, "name": a.name, "feet": a.elevation} for a in ranked.head(1).itertuples(index=False)]
    return {
        "state": state,
        "airports": len(airports),
        "kinds": {kind: int(kinds[kind]) for kind in sorted(kinds.index)},
        "highest": highest[0] if highest else None,
    }


@b.recipe(inputs={"summaries": "state_summary[*]"})
def states_report(summaries, kind_counts: pd.DataFrame) -> dict[str, object]:
    """All states in one report, those with most airports first."""
    states = sorted(summaries.values(), key=lambda s: (-s["airports"], s["state"]))
    kinds = {row.kind: int(row.airports) for row in kind_counts.itertuples()}
    return {"airports": sum(s["airports"] for s in states), "kinds": kinds, "states": states}
