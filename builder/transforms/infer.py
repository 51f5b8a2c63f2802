"""Regions from labelled points: one function, five methods.

Decides which method takes which options, which rows have part, and what the result says of the others. Never decides a
shape: that is `hulls`, `voronoi`, `clusters` and `dissolving`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from builder.errors import error
from builder.transforms.clusters import cluster_points
from builder.transforms.columns import some_of
from builder.transforms.coordinates import Floats, check_coordinates, read_coordinates
from builder.transforms.crs import in_degrees, parse_crs
from builder.transforms.dissolving import dissolve, label_frame
from builder.transforms.hulls import hulls
from builder.transforms.labels import Labels, column_names, label_rows
from builder.transforms.polygons import Shapes
from builder.transforms.voronoi import outline_of, voronoi_regions

Method = Literal["concave", "convex", "voronoi", "clusters", "dissolve"]
Codes = npt.NDArray[np.int64]

_OPTIONS: dict[str, dict[str, Any]] = {
    "concave": {"ratio": 0.3, "holes": False},
    "convex": {},
    "voronoi": {"outline": None},
    "clusters": {"algorithm": "dbscan", "radius_m": None, "min_points": 5, "ratio": 0.3, "holes": False},
    "dissolve": {"union": "auto"},
}


def infer_regions(
    df: pd.DataFrame,
    *,
    by: str | Sequence[str],
    method: Method = "concave",
    lon: str = "lon",
    lat: str = "lat",
    crs: Any = "EPSG:4326",
    without_area: Literal["empty", "error"] = "empty",
    **options: Any,
) -> Any:
    """One region for each label: the area that the points with the same values in `by` mark out.

    A GeoDataFrame with the columns of `by` in their dtypes and `geometry` (polygons and multipolygons), sorted by the
    labels, with a fresh RangeIndex, in `crs`. The order of `df` and its index change nothing, nor do repeated points
    but where they are counted. Except for ``voronoi``, each label's region depends on its own rows alone.

    ========== ============================================ ===========================================================
    method     region of a label                            options, with their defaults
    ========== ============================================ ===========================================================
    concave    concave hull of its points                   ``ratio=0.3``: longest edge, 0 (tight) to 1 (convex);
                                                            ``holes=False``
    convex     convex hull of its points
    voronoi    all that lies nearer to its points than to   ``outline=None``: a polygon, GeoSeries or GeoDataFrame that
               any other label's, within an outline         regions are clipped to; else the points' convex hull, grown
    clusters   one row for each dense cluster, with a       ``radius_m`` (for ``dbscan``, must be given),
               column `cluster` (int64, from 0): the        ``min_points=5``, ``algorithm="dbscan"`` or ``"hdbscan"``,
               concave hull of its points                   ``ratio``, ``holes``
    dissolve   union of its polygons; `df` is a             ``union="auto"``: see `dissolve`
               GeoDataFrame, without `lon`, `lat`, `crs`
    ========== ============================================ ===========================================================

    - Rows with a null in `by` are left out and counted.
    - A null, infinite or impossible coordinate is an error: set such rows apart first, with `split_coordinates`.
    - A label with fewer than three distinct points, or all on one line, has no area: an empty polygon, counted, or with
      ``without_area="error"`` an error.
    - A hull is taken across the antimeridian where its label's points lie closer together that way, and split at ±180.
      No hull reaches over a pole. Voronoi cells are planar, and end at ±180 unless `outline` does before.
    - Where a place has rows of several labels, its Voronoi cell is the most frequent one's, of those the lowest's.
    - In degrees, distances of clusters are in metres on the sphere of 6,371,008.8 m; else in the CRS's unit. Clusters
      are numbered within a label by their westernmost, then southernmost point. Points in none are noise.
    - Edges are straight in lon/lat.

    ``attrs``: ``unlabelled_rows`` and ``empty_regions``; of clusters ``noise_rows`` and ``labels_without_cluster`` too;
    of dissolve those of `dissolve`.

    Parameters
    ----------
    df
        A frame of points; without rows the result has none.
    by
        The columns of the label; without any, all rows have one.
    method
        See above.
    lon, lat
        The columns of the coordinates, x and y in `crs`.
    crs
        What the coordinates are in.
    without_area
        What a label without an area gets.
    **options
        Those of the method.

    Raises
    ------
    BuilderError
        ``recipe-declaration``: a method or an option that is not known, or not possible; ``bad-value``: a missing
        column, one that is not numeric, an impossible position; ``bad-geometry``: a label without an area, where that
        is refused, points too close together for Voronoi cells, an outline that is no valid polygon; ``crs-missing``,
        ``crs-mismatch``: an unknown `crs`, an outline in another.

    References
    ----------
    Concave hulls: M. Duckham et al., 2008, in the form of GEOS. Clusters: Ester et al., 1996 (DBSCAN), Campello et al.,
    2013 (HDBSCAN), by scikit-learn (the extra ``clusters``).

    Examples
    --------
    >>> df = pd.DataFrame({"shop": ["a"] * 4 + ["b"], "lon": [0.0, 2, 2, 0, 5], "lat": [0.0, 0, 2, 2, 5]})
    >>> regions = infer_regions(df, by="shop", method="convex")
    >>> regions["shop"].tolist(), [shape.area for shape in regions.geometry], regions.attrs["empty_regions"]
    (['a', 'b'], [4.0, 0.0], 1)
    """
    chosen = _options(method, options)
    if without_area not in ("empty", "error"):
        raise error("recipe-declaration", f"without_area={without_area!r} is not known", hint="one of empty, error")
    if method == "dissolve":
        regions = dissolve(df, by, **chosen)
        if without_area == "error":
            _check_area(label_rows(df, column_names(by, ()), "df"), regions.geometry.array)
        return regions
    names = column_names(by, ("geometry", "cluster") if method == "clusters" else ("geometry",))
    target = parse_crs(crs)
    labels = label_rows(df, names, "df")
    x, y, _ = read_coordinates(df, lon, lat, "df")
    used = labels.codes >= 0
    x, y, codes = x[used], y[used], labels.codes[used]
    degrees = in_degrees(target)
    check_coordinates(x, y, df.index[used], in_degrees=degrees, what="df")
    counts: dict[str, int] = {}
    if method == "voronoi":
        shapes = voronoi_regions(x, y, labels, codes, outline_of(chosen["outline"], target, x, y))
    elif method == "clusters":
        labels, shapes, counts = _clusters(x, y, labels, codes, chosen, degrees)
    else:
        hull = chosen if method == "concave" else {"ratio": None}
        shapes = hulls(x, y, codes, len(labels.frame), in_degrees=degrees, **hull)
    if without_area == "error":
        _check_area(labels, shapes)
    return label_frame(labels, shapes, target, counts)


def _clusters(
    x: Floats, y: Floats, labels: Labels, codes: Codes, chosen: dict[str, Any], degrees: bool
) -> tuple[Labels, Shapes, dict[str, int]]:
    of_clusters = {name: chosen[name] for name in ("algorithm", "min_points", "radius_m")}
    found = cluster_points(x, y, codes, in_degrees=degrees, **of_clusters)
    held = found >= 0
    pairs, numbers = np.unique(np.column_stack([codes[held], found[held]]), axis=0, return_inverse=True)
    numbers = numbers.reshape(-1)
    shapes = hulls(
        x[held], y[held], numbers, len(pairs), ratio=chosen["ratio"], holes=chosen["holes"], in_degrees=degrees
    )
    frame = labels.frame.iloc[pairs[:, 0]].reset_index(drop=True).assign(cluster=pairs[:, 1])
    without = len(labels.frame) - len(np.unique(pairs[:, 0]))
    counts = {"noise_rows": int((~held).sum()), "labels_without_cluster": without}
    return replace(labels, frame=frame), shapes, counts


def _options(method: str, given: dict[str, Any]) -> dict[str, Any]:
    if method not in _OPTIONS:
        raise error("recipe-declaration", f"method={method!r} is not known", hint="one of " + ", ".join(_OPTIONS))
    known = _OPTIONS[method]
    wrong = [name for name in given if name not in known]
    if wrong:
        hint = f"its options: {', '.join(known)}" if known else "it takes no options"
        raise error("recipe-declaration", f"method '{method}' has no option '{wrong[0]}'", hint=hint)
    chosen = known | given
    problem = _problem(chosen)
    if problem:
        raise error("recipe-declaration", problem, facts=[(k, repr(v)) for k, v in chosen.items() if k != "outline"])
    return chosen


def _problem(chosen: dict[str, Any]) -> str | None:
    """What is not possible about a method's options."""
    ratio = chosen.get("ratio", 0.0)
    if not (isinstance(ratio, (int, float)) and 0 <= ratio <= 1):
        return "'ratio' lies from 0 to 1"
    if "algorithm" not in chosen:
        return None
    if chosen["algorithm"] not in ("dbscan", "hdbscan"):
        return "'algorithm' is dbscan or hdbscan"
    if not isinstance(chosen["min_points"], int) or chosen["min_points"] < (chosen["algorithm"] == "hdbscan") + 1:
        return "'min_points' is a whole number, at least 1 for dbscan and 2 for hdbscan"
    if chosen["algorithm"] == "hdbscan":
        return "'radius_m' belongs to dbscan" if chosen["radius_m"] is not None else None
    radius = chosen["radius_m"]
    is_radius = isinstance(radius, (int, float)) and 0 < radius < np.inf
    return None if is_radius else "'radius_m' is a distance greater than 0, and must be given for dbscan"


def _check_area(labels: Labels, shapes: Shapes) -> None:
    bare = np.flatnonzero(shapely.is_empty(shapes))
    if len(bare):
        raise error(
            "bad-geometry",
            f"{len(bare):,} labels have no area",
            facts=[("labels", some_of(labels.names(bare)))],
            hint="without_area='empty' gives them an empty polygon",
        )
