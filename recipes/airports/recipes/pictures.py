"""A map of the lower 48 states and a chart of all."""

from __future__ import annotations

import geopandas as gpd
import pandas as pd
import shapely
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.path import Path as Outline

import builder as b

from ._geo import project
from ._states import LOWER_48

INK, QUIET, PAPER = "#1d2733", "#6b7785", "#ffffff"
STEPS = [0, 1, 3, 6, 11, 21, 1000]
STEP_LABELS = ["none", "1–2", "3–5", "6–10", "11–20", "21 or more"]
STEP_COLOURS = ["#eef1f3", "#cfe3e6", "#94c7cb", "#4f9fab", "#22728a", "#0c3f5c"]
KIND_COLOURS = {
    "airport": "#22728a",
    "field": "#6fb3a2",
    "airpark": "#d9a441",
    "strip": "#c8603f",
    "other": "#a9b2bb",
}


@b.recipe(inputs={"counties": "clean_counties.good", "states": "clean_states.good"}, environment=("matplotlib",))
def airport_map(county_counts: pd.DataFrame, counties: gpd.GeoDataFrame, states: gpd.GeoDataFrame) -> Figure:
    """Airports per county in the lower 48 states."""
    shown = counties[counties["id"].str[:2].isin(LOWER_48)]
    counts = shown["id"].map(county_counts.set_index("id")["airports"]).to_numpy("int64")
    borders = project(states.geometry[states["id"].isin(LOWER_48)])

    figure = Figure(figsize=(11, 7.2), dpi=150, facecolor=PAPER)
    axes = figure.add_axes((0.02, 0.02, 0.96, 0.86))
    axes.add_collection(_filled(project(shown.geometry), counts))
    lines = [line.coords for line in shapely.get_parts(shapely.boundary(shapely.get_parts(borders)))]
    axes.add_collection(LineCollection(lines, colors=PAPER, linewidths=0.9))
    axes.set_aspect("equal")
    axes.autoscale_view()
    axes.set_axis_off()
    _title(
        figure, "Where the airports are", f"{counts.sum():,} airports, heliports and strips of the lower 48 by county"
    )
    _legend(axes, STEP_LABELS, STEP_COLOURS, title="in a county", loc="lower left", bbox_to_anchor=(0.02, 0.02))
    return figure


@b.recipe(inputs={"parts": "state_airports[*]"}, environment=("matplotlib",))
def state_chart(parts: pd.DataFrame) -> Figure:
    """The 25 states with most airports, by kind."""
    kind = parts["kind"].where(parts["kind"].isin(KIND_COLOURS.keys()), "other")
    table = pd.crosstab(parts["state"], kind).reindex(columns=list(KIND_COLOURS), fill_value=0)
    totals = table.sum(axis=1).sort_values(ascending=False, kind="stable").head(25)[::-1]

    figure = Figure(figsize=(9, 8.4), dpi=150, facecolor=PAPER)
    axes = figure.add_axes((0.07, 0.04, 0.9, 0.83))
    left = pd.Series(0, index=totals.index)
    for label, colour in KIND_COLOURS.items():
        width = table.loc[totals.index, label]
        axes.barh(totals.index, width, left=left, color=colour, height=0.74)
        left = left + width
    for position, total in enumerate(totals):
        axes.text(total + totals.max() * 0.008, position, f"{total:,}", va="center", fontsize=9, color=INK)
    axes.tick_params(length=0, labelsize=9.5, labelcolor=INK)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    axes.margins(y=0.01)
    _title(figure, "States with most airports", "by what the airport's name says it is")
    _legend(axes, list(KIND_COLOURS), list(KIND_COLOURS.values()), loc="lower right")
    return figure


def _filled(shapes, counts) -> PathCollection:
    outlines = []
    for shape in shapes:
        rings = shapely.get_rings(shapely.get_parts(shape))
        outlines.append(Outline.make_compound_path(*(Outline(ring.coords, closed=True) for ring in rings)))
    norm = BoundaryNorm(STEPS, len(STEP_COLOURS))
    return PathCollection(
        outlines, array=counts, cmap=ListedColormap(STEP_COLOURS), norm=norm, edgecolors=PAPER, linewidths=0.15
    )


def _title(figure: Figure, title: str, subtitle: str) -> None:
    figure.text(0.035, 0.945, title, fontsize=19, fontweight="bold", color=INK)
    figure.text(0.035, 0.908, subtitle, fontsize=11, color=QUIET)


def _legend(axes, labels: list[str], colours: list[str], **place) -> None:
    handles = [Patch(facecolor=colour, label=label) for label, colour in zip(labels, colours)]
    legend = axes.legend(handles=handles, frameon=False, fontsize=9.5, labelcolor=INK, alignment="left", **place)
    legend.get_title().set(color=QUIET, fontsize=9.5)
