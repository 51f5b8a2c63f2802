"""Draws what the transforms of points, counters and records do into docs/pictures/.

python docs/pictures_records.py
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import shapely
from matplotlib import pyplot as plt
from pictures import jagged_cells
from pictures_inference import BAD, COLOURS, EDGE, fill, panels, write

from builder import transforms as t

GREY = "#9A9A9A"
KINDS = pd.DataFrame(
    {"code": ["all", "air", "sea", "jet", "prop"], "parent": [None, "all", "all", "air", "air"]}, dtype="string"
)
PLACES = {"all": (1.5, 2), "air": (0.75, 1), "sea": (2.5, 1), "jet": (0.2, 0), "prop": (1.3, 0)}


def assign_regions() -> None:
    """Points in the colour of the region that holds them; on a border and where regions overlap."""
    cells = jagged_cells().reset_index(drop=True)
    cells["id"] = np.arange(len(cells))
    west, south, east, north = cells.total_bounds
    rng = np.random.default_rng(2)
    points = pd.DataFrame({"lon": rng.uniform(west - 0.02, east + 0.02, 260), "lat": rng.uniform(south, north, 260)})
    corners = shapely.get_coordinates(cells.geometry.iloc[len(cells) // 2])
    points = pd.concat([points, pd.DataFrame(corners, columns=["lon", "lat"])], ignore_index=True)
    before, within, intersects = panels("assign_regions", ["points and regions", "within", "intersects"])
    for axis in (before, within, intersects):
        fill(axis, cells.geometry, ["none"] * len(cells), facecolor="none", alpha=1)
    before.scatter(points["lon"], points["lat"], s=7, c=EDGE, linewidths=0)
    for axis, predicate in ((within, "within"), (intersects, "intersects")):
        found = t.assign_regions(points, cells, keep=[], predicate=predicate)["id"]
        colours = [BAD if pd.isna(i) else COLOURS[int(i) % len(COLOURS)] for i in found]
        axis.scatter(points["lon"], points["lat"], s=9, c=colours, linewidths=0)


def count_by() -> None:
    """Records, and the counters of each level of a taxonomy."""
    records = pd.DataFrame({"kind": ["jet"] * 4 + ["prop"] * 7 + ["sea"] * 3 + ["air"] * 2 + [None]})
    plain, rolled = panels("count_by", ["count_by(records, …)", "with taxonomy="])
    for axis, taxonomy in ((plain, None), (rolled, KINDS)):
        counted = t.count_by(records, ["kind"], taxonomy=taxonomy).set_index("kind")["n"]
        for code, parent in KINDS.itertuples(index=False):
            x, y = PLACES[code]
            if not pd.isna(parent):
                axis.plot([x, PLACES[parent][0]], [y, PLACES[parent][1]], color=GREY, linewidth=0.8, zorder=0)
            size = counted.get(code, 0)
            axis.scatter(x, y, s=500, color=COLOURS[0] if size else "white", edgecolor=GREY, alpha=1)
            axis.text(x, y, str(size or ""), ha="center", va="center", fontsize=9, color="white")
            axis.text(x, y - 0.36, code, ha="center", va="center", fontsize=8)
        axis.set_aspect("auto")
        axis.set_xlim(-0.3, 3)
        axis.set_ylim(-0.6, 2.4)


def reconcile() -> None:
    """Two lists of names, and how each pair was matched."""
    ours = pd.DataFrame({"id": range(5), "name": ["Bar Harbor", "Łódź", "O'Hare Intl", "Bangor Airport", "Ely"]})
    theirs = pd.DataFrame({"id": range(5), "name": ["LODZ", "Bar Harbor", "Bangor Airprt", "Ohare Int’l", "Reno"]})
    found = t.reconcile(ours, theirs, left_key="id", right_key="id", on="name", threshold=0.8).matched
    _, axis = plt.subplots(figsize=(6, 2.4), num="reconcile", layout="constrained")
    axis.set_axis_off()
    for x, table, side in ((0, ours, "right"), (1, theirs, "left")):
        for row, name in enumerate(table["name"]):
            axis.text(x, -row, f" {name} ", ha=side, va="center", fontsize=9)
    ways = {"exact": COLOURS[2], "normalised": COLOURS[0], "fuzzy": COLOURS[1]}
    for match in found.itertuples():
        axis.plot([0.02, 0.98], [-match.left_id, -match.right_id], color=ways[match.how], linewidth=1.6)
    for at, (way, colour) in enumerate(ways.items()):
        axis.text(2.1, -at, way, color=colour, fontsize=9, va="center")
    axis.set_xlim(-0.9, 2.7)
    axis.set_ylim(-4.5, 0.5)


PICTURES: tuple[Callable[[], None], ...] = (assign_regions, count_by, reconcile)


if __name__ == "__main__":
    write(PICTURES)
