"""The hull of the points of each label.

Decides how points become hulls, all labels in one call of GEOS, and what a label without an area gets. Never looks at
columns: labels are numbers here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import shapely

from builder.transforms.antimeridian import TURN_DEG, cut_at_seam
from builder.transforms.coordinates import Floats
from builder.transforms.polygons import NO_REGION, Shapes

Codes = npt.NDArray[np.int64]

_LEAST_POINTS = 3  # fewer have no area


def hulls(
    x: Floats, y: Floats, codes: Codes, count: int, *, ratio: float | None, holes: bool = False, in_degrees: bool
) -> Shapes:
    """The hull of each label's points; an empty polygon where they lie on one line or are fewer than three.

    A hull depends on its own label's points alone, neither on their order nor on how often one is repeated.

    Parameters
    ----------
    x, y, codes
        The points and the number of each one's label.
    count
        How many labels there are.
    ratio
        The length ratio of the concave hull; None for the convex hull.
    holes
        Whether a concave hull may have holes.
    in_degrees
        Whether a label whose points lie closer together across the antimeridian is hulled across it and split at ±180.
    """
    result = np.full(count, NO_REGION, object)
    order = np.argsort(codes, kind="stable")
    order = order[(np.bincount(codes, minlength=count) >= _LEAST_POINTS)[codes[order]]]
    x, y, codes = x[order], y[order], codes[order]
    if not len(codes):
        return result
    first = np.append(0, np.flatnonzero(np.diff(codes)) + 1)
    across = _labels_across(x, first) if in_degrees else {}
    run_on = x.copy() if across else x
    for label, west_of in across.items():
        of_label = slice(first[label], first[label + 1] if label + 1 < len(first) else None)
        run_on[of_label] += TURN_DEG * (x[of_label] <= west_of)
    shapes = _hulls(run_on, y, codes, first, ratio, holes)
    for label in across:
        of_label = slice(first[label], first[label + 1] if label + 1 < len(first) else None)
        if shapes[label].geom_type == "Polygon":
            shapes[label] = cut_at_seam(shapes[label], np.column_stack([x[of_label], y[of_label]]))
    is_region = shapely.get_dimensions(shapes) == 2
    result[codes[first[is_region]]] = shapes[is_region]
    return result


def _hulls(x: Floats, y: Floats, codes: Codes, first: Codes, ratio: float | None, holes: bool) -> Shapes:
    if ratio is not None:
        order = np.lexsort((y, x, codes))  # where distances tie, the concave hull takes the first
        x, y = x[order], y[order]
    owner = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(codes))))
    # A line's hull is its vertices', and a line is made many times faster than a multipoint.
    lines = shapely.linestrings(np.column_stack([x, y]), indices=owner)
    if ratio is None:
        return np.asarray(shapely.convex_hull(lines), object)
    return np.asarray(shapely.concave_hull(lines, ratio=ratio, allow_holes=holes), object)


def _labels_across(x: Floats, first: Codes) -> dict[int, float]:
    """The labels whose widest gap in longitude does not hold the antimeridian, and the longitude at its western end."""
    west, east = np.minimum.reduceat(x, first), np.maximum.reduceat(x, first)
    found = {}
    for label in np.flatnonzero(east - west > TURN_DEG / 2):
        lon = np.unique(x[first[label] : first[label + 1] if label + 1 < len(first) else None])
        gaps = np.diff(lon)
        widest = int(np.argmax(gaps))
        if gaps[widest] > TURN_DEG - (lon[-1] - lon[0]):
            found[int(label)] = float(lon[widest])
    return found
