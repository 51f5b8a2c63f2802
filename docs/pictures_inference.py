"""Draws what the transforms of inference and repair do, before and after, into docs/pictures/.

python docs/pictures_inference.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import geopandas as gpd
import matplotlib as mpl
import numpy as np
import pandas as pd
import shapely
from matplotlib import pyplot as plt

from builder import transforms as t

FOLDER = Path(__file__).resolve().parent / "pictures"
COLOURS = ["#4C78A8", "#F58518", "#54A24B", "#B279A2", "#9D755D", "#72B7B2"]
EDGE = "#333333"
BAD = "#D62728"


def labelled() -> pd.DataFrame:
    """Three towns' customers: two round, one bent, a few far off."""
    rng = np.random.default_rng(8)
    angle = rng.uniform(0, np.pi * 1.2, 150)
    bend = np.column_stack([2.2 + 1.1 * np.cos(angle), 0.6 + 1.1 * np.sin(angle)]) + rng.normal(0, 0.09, (150, 2))
    towns = [rng.normal((0, 0), 0.32, (90, 2)), bend, rng.normal((0.4, 2.1), (0.5, 0.25), (90, 2))]
    far = rng.uniform((-1, -0.8), (3.6, 2.8), (9, 2))
    xy = np.concatenate([*towns, far])
    labels = np.concatenate([np.repeat(["a", "b", "c"], [90, 150, 90]), rng.choice(["a", "b", "c"], 9)])
    return pd.DataFrame({"town": labels, "lon": xy[:, 0], "lat": xy[:, 1]})


def panels(name: str, titles: list[str], width: float = 3.2, height: float = 3.0) -> list[Any]:
    """A row of plots of equal scale without axes."""
    _, axes = plt.subplots(1, len(titles), figsize=(width * len(titles), height), num=name, layout="constrained")
    for axis, title in zip(axes, titles):
        axis.set_title(title, fontsize=10)
        axis.set_axis_off()
        axis.set_aspect("equal")
    return list(axes)


def fill(axis: Any, shapes: Any, colours: list[str], **style: Any) -> None:
    """The polygons, each in its colour."""
    for shape, colour in zip(shapes, colours):
        if shape is not None and not shape.is_empty:
            series = gpd.GeoSeries([shape])
            series.plot(ax=axis, **({"color": colour, "edgecolor": EDGE, "linewidth": 0.8, "alpha": 0.55} | style))
    axis.set_aspect("equal")


def dots(axis: Any, df: pd.DataFrame, size: float = 5) -> None:
    """The points in their labels' colours."""
    axis.scatter(df["lon"], df["lat"], s=size, c=[COLOURS["abc".index(k)] for k in df["town"]], linewidths=0)


def infer_regions() -> None:
    """The points of three labels and what each method makes of them."""
    df = labelled()
    methods: dict[str, dict[str, Any]] = {
        "concave": {"ratio": 0.12},
        "convex": {},
        "voronoi": {},
        "clusters": {"radius_m": 22_000, "min_points": 6, "ratio": 0.2},
    }
    before, *after = panels("infer_regions", ["points", *methods])
    dots(before, df)
    for axis, (method, options) in zip(after, methods.items()):
        regions = t.infer_regions(df, by="town", method=method, **options)
        fill(axis, regions.geometry, [COLOURS["abc".index(k)] for k in regions["town"]])
        dots(axis, df, size=1.5)


def dissolve() -> None:
    """Regions of a coverage and the unions of three labels."""
    rng = np.random.default_rng(3)
    xy = rng.uniform(0, 6, (60, 2))
    cells = t.infer_regions(
        pd.DataFrame({"id": range(60), "lon": xy[:, 0], "lat": xy[:, 1]}),
        by="id", method="voronoi", outline=shapely.box(0, 0, 6, 6),
    )  # fmt: skip
    cells["k"] = (xy[:, 0] // 2.1).astype(int)
    before, after = panels("dissolve", ["regions with a label", "dissolve"])
    fill(before, cells.geometry, [COLOURS[k] for k in cells["k"]])
    fill(after, t.dissolve(cells, "k").geometry, COLOURS)


def repair() -> None:
    """Polygons that cross themselves, and what is left of them by either method."""
    shapes = [
        shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)]),
        shapely.Polygon([(3, 0), (5, 0), (5, 2), (3, 2)], [[(3.5, 0.5), (5.8, 0.8), (5.8, 1.4)]]),
        shapely.MultiPolygon([shapely.box(6.5, 0, 8, 1.5), shapely.box(7.2, 0.6, 8.7, 2)]),
    ]
    regions = gpd.GeoDataFrame(geometry=shapes, crs=4326)
    before, *after = panels("repair", ["invalid", "structure", "linework"], width=4.2, height=1.5)
    for shape in shapes:
        for ring in shapely.get_rings(shapely.get_parts(shape)):
            before.plot(*shapely.get_coordinates(ring).T, color=BAD, linewidth=1.4)
    for axis, method in zip(after, ("structure", "linework")):
        fill(axis, t.repair(regions, method=method).regions.geometry, COLOURS)
    for axis in (before, *after):
        axis.set(xlim=(-0.2, 9), ylim=(-0.2, 2.2))


def split_antimeridian() -> None:
    """An island and a polar cap as drawn, and split."""
    island = shapely.Polygon([(150, -10), (172, 12), (-165, 8), (-150, -15), (176, -30)])
    lon = (np.arange(0, 360, 15) + 187) % 360 - 180.0
    cap = shapely.Polygon(np.column_stack([lon, 66 + 6 * np.sin(np.radians(3 * lon))]))
    regions = gpd.GeoDataFrame(geometry=[island, cap], crs=4326)
    before, after = panels("split_antimeridian", ["as drawn", "split_antimeridian"], width=4.4, height=2.4)
    for shape in regions.geometry:
        before.plot(*shapely.get_coordinates(shape).T, color=BAD, linewidth=1.4)
    fill(after, t.split_antimeridian(regions).geometry, COLOURS)
    for axis in (before, after):
        axis.plot([-180, 180, 180, -180, -180], [-90, -90, 90, 90, -90], color="#999999", linewidth=0.8)
        axis.set(xlim=(-186, 186), ylim=(-96, 96))


def split_coordinates() -> None:
    """Positions of which some are impossible, and the two frames."""
    rng = np.random.default_rng(5)
    df = pd.DataFrame({"lon": rng.normal(-100, 22, 80), "lat": rng.normal(39, 9, 80)})
    df.loc[::9, ["lon", "lat"]] = df.loc[::9, ["lat", "lon"]].to_numpy()
    df.loc[::17, "lon"] -= 140
    good, rejects = t.split_coordinates(df)
    before, after = panels("split_coordinates", ["rows", "good, and rejects by reason"], width=4.4, height=2.8)
    before.scatter(df["lon"], df["lat"], s=9, color=COLOURS[0], linewidths=0)
    after.scatter(good["lon"], good["lat"], s=9, color=COLOURS[0], linewidths=0, label="good")
    for colour, (reason, rows) in zip((BAD, COLOURS[1], COLOURS[3]), rejects.groupby("reason")):
        after.scatter(rows["lon"], rows["lat"], s=14, marker="x", color=colour, label=reason)
    after.legend(fontsize=7, loc="lower left", frameon=False)
    for axis in (before, after):
        axis.plot([-180, 180, 180, -180, -180], [-90, -90, 90, 90, -90], color="#999999", linewidth=0.8)
        axis.set(xlim=(-290, 186), ylim=(-170, 96))


PICTURES: tuple[Callable[[], None], ...] = (
    infer_regions, dissolve, repair, split_antimeridian, split_coordinates
)  # fmt: skip


def write(pictures: Iterable[Callable[[], None]]) -> None:
    """Write a file for each picture, by the name of the function that draws it."""
    mpl.use("agg")
    FOLDER.mkdir(exist_ok=True)
    for draw in pictures:
        draw()
        plt.figure(draw.__name__).savefig(FOLDER / f"{draw.__name__}.png", dpi=110)
        plt.close()


if __name__ == "__main__":
    write(PICTURES)
