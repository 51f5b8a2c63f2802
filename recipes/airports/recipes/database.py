"""The counters for programs that speak SQL."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pandas as pd

import builder as b


@b.recipe(lane="database")
def airport_database(county_people: pd.DataFrame, state_counts: pd.DataFrame, kind_counts: pd.DataFrame) -> Path:
    """A SQLite file with the counters; the lane lets one step at a time near it, as for a shared database."""
    path = b.workspace() / "airports.sqlite"
    with sqlite3.connect(path) as database:
        county_people.to_sql("counties", database, index=False)
        state_counts.to_sql("states", database, index=False)
        kind_counts.to_sql("kinds", database, index=False)
    database.close()
    return path
