"""The ready-made recipes: the public transforms declared as recipes, with every keyword of `recipe`.

Decides what each of them reads, which of its rows depend on which (its grain), and which declarations cannot be. Never
imports a transform: `authoring.ready_call` does, where the recipe runs. What names an output's rows is found when all
declarations are known, by `authoring.ready_keys`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from builder.authoring.api import Recipe
from builder.authoring.ready_checks import Check, checked, declare
from builder.graph.declare import WHOLE, Grain, Reading, ReadyMade
from builder.tables.schema import GEOMETRY

SMOOTHING = {
    "chaikin": ("iterations", "tolerance_m"),
    "taubin": ("iterations",),
    "buffer": ("distance_m",),
    "coverage": ("iterations", "tolerance_m"),
}
"""The options of each method of smoothing."""

INFERENCE = {
    "concave": ("ratio", "holes", "without_area"),
    "convex": ("without_area",),
    "voronoi": ("outline", "without_area"),
    "clusters": ("ratio", "holes", "algorithm", "radius_m", "min_points", "without_area"),
    "dissolve": ("union",),
}
"""The options of each method of inference."""

_CHOICES = {
    "algorithm": ("dbscan", "hdbscan"),
    "union": ("auto", "coverage", "unary"),
    "without_area": ("empty", "error"),
}


@checked
def assign_regions(
    name: str,
    *,
    points: str,
    regions: str,
    lon: str,
    lat: str,
    region_id: str | Mapping[str, str],
    keep: str | Iterable[str] = (),
    predicate: str = "within",
    ties: str = "lowest",
    crs: str = "EPSG:4326",
    **keywords: Any,
) -> Recipe:
    """A recipe that gives each point the region it lies in: the points' key, `keep`, and the region's id.

    One row per point, null where it lies in no region; keyed as the points are. With ``ties="all"`` one row per pair
    of a point and a region that holds it, keyed by the points' key and the region's id. Only these columns of the
    inputs are read, and count. See `builder.transforms.assign_regions` for what lies in what.

    Parameters
    ----------
    name
        The recipe's name. Every text here may use ``{param}`` of a family.
    points, regions
        References to a table of points and to one of regions.
    lon, lat
        Columns of the points.
    region_id
        The regions' column that names them, or ``{new: column}`` where it is to have another name in the output.
    keep
        Further columns of the points.
    predicate
        ``within``: a point on a border lies in no region; ``intersects``: in each that it touches.
    ties
        Of several regions the one with the ``lowest`` id, or ``all``.
    crs
        What `lon` and `lat` are in; it has to be the regions' CRS.
    **keywords
        Those of `recipe`. ``key=`` names the points' rows where their own key cannot be known.

    Raises
    ------
    ConfigError
        ``recipe-declaration`` for keywords that cannot be.
    """
    check = Check("assign_regions", name)
    region = check.renamed("region_id", {region_id: region_id} if isinstance(region_id, str) else region_id)
    if len(region) != 1:
        raise check.wrong("region_id", region_id, 'give one column, or one with its new name: {"county": "id"}')
    ((new, column),) = region.items()
    kept = check.columns("keep", keep, may_be_empty=True)
    options: dict[str, Any] = {
        "lon": check.column("lon", lon),
        "lat": check.column("lat", lat),
        "region_id": new,
        "id_column": column,
        "keep": kept,
        "predicate": check.choice("predicate", predicate, ("within", "intersects")),
        "ties": check.choice("ties", ties, ("lowest", "all")),
        "crs": check.column("crs", crs),
    }
    if ties not in ("lowest", "all"):
        raise check.wrong("ties", ties, "it decides what names the rows, so it is the same for all members")
    inputs = {
        "points": Reading(check.reference("points", points), (*kept, lon, lat), True),
        "regions": Reading(check.reference("regions", regions), (column, GEOMETRY)),
    }
    made = ReadyMade("assign_regions", inputs, options, "points", (new,) if ties == "all" else ())
    return declare(name, made, Grain("spatial", "points"), keywords)


@checked
def count_by(
    name: str,
    *,
    of: str,
    by: str | Iterable[str],
    counts: str = "n",
    sums: Mapping[str, str] | None = None,
    taxonomy: str | None = None,
    taxonomy_on: str | None = None,
    **keywords: Any,
) -> Recipe:
    """A recipe that counts, and sums, the rows of each group: `by`, `counts`, `sums`; keyed by `by`.

    Rows with a null in `by` are left out. Only these columns are read, and count. See `builder.transforms.count_by`.

    Parameters
    ----------
    name
        The recipe's name. Every text here may use ``{param}`` of a family.
    of
        A reference to the table whose rows are counted.
    by
        The columns that make a group.
    counts
        The column to put the number of rows in.
    sums
        ``{new: column}``: sums of whole numbers or decimals, exact.
    taxonomy
        A reference to a table with the columns ``code`` and ``parent`` (null at a root): every level is counted.
    taxonomy_on
        The column of `by` that holds the codes; not needed where there is only one.
    **keywords
        Those of `recipe`.

    Raises
    ------
    ConfigError
        ``recipe-declaration`` for keywords that cannot be.
    """
    check = Check("count_by", name)
    groups = check.columns("by", by)
    totals = check.renamed("sums", sums or {})
    new = [*groups, check.column("counts", counts), *totals]
    twice = next((c for c in new if new.count(c) > 1), None)
    if twice is not None:
        raise check.wrong("sums" if twice in totals else "counts", twice, "each column of the output has its own name")
    inputs = {"of": Reading(check.reference("of", of), tuple(dict.fromkeys((*groups, *totals.values()))))}
    options: dict[str, Any] = {"by": groups, "counts": counts, "sums": totals}
    if taxonomy is not None:
        inputs["taxonomy"] = Reading(check.reference("taxonomy", taxonomy), ("code", "parent"))
        options["taxonomy_on"] = groups[0] if taxonomy_on is None else check.column("taxonomy_on", taxonomy_on)
        if options["taxonomy_on"] not in groups or (taxonomy_on is None and len(groups) > 1):
            raise check.wrong("taxonomy_on", taxonomy_on, "name the column of by= that holds the taxonomy's codes")
    elif taxonomy_on is not None:
        raise check.wrong("taxonomy_on", taxonomy_on, "it goes with taxonomy=, a table of code and parent")
    return declare(name, ReadyMade("count_by", inputs, options, None, groups), Grain("fold", "of"), keywords)


@checked
def smooth_regions(
    name: str,
    *,
    regions: str,
    method: str = "chaikin",
    iterations: int | str | None = None,
    tolerance_m: float | str | None = None,
    distance_m: float | str | None = None,
    keep: str | Iterable[str] | None = None,
    **keywords: Any,
) -> Recipe:
    """A recipe that gives the same regions with smoother borders; keyed as the regions are.

    See `builder.transforms.smooth_regions` for what each method does, and what its options are.

    Parameters
    ----------
    name
        The recipe's name. Every text here may use ``{param}`` of a family.
    regions
        A reference to a table of regions.
    method
        ``chaikin``, ``taubin``, ``buffer``, or ``coverage``, which keeps shared borders shared.
    iterations, tolerance_m, distance_m
        The method's options.
    keep
        Only these columns, beside the key and the geometry; by default all.
    **keywords
        Those of `recipe`. ``key=`` names the regions' rows where their own key cannot be known.

    Raises
    ------
    ConfigError
        ``recipe-declaration`` for keywords that cannot be.
    """
    check = Check("smooth_regions", name)
    given = {"iterations": iterations, "tolerance_m": tolerance_m, "distance_m": distance_m}
    options: dict[str, Any] = {"method": check.choice("method", method, SMOOTHING)}
    options |= check.numbers(given, method, SMOOTHING)
    if method == "buffer" and distance_m is None:
        raise check.wrong("distance_m", distance_m, "buffer goes out and in by a distance in metres")
    columns = None if keep is None else (*check.columns("keep", keep, may_be_empty=True), GEOMETRY)
    inputs = {"regions": Reading(check.reference("regions", regions), columns, True)}
    is_by_row = method in SMOOTHING and method != "coverage"
    grain = Grain("rows", "regions") if is_by_row else WHOLE
    return declare(name, ReadyMade("smooth_regions", inputs, options, "regions"), grain, keywords)


@checked
def infer_regions(
    name: str,
    *,
    points: str,
    by: str | Iterable[str],
    method: str = "concave",
    lon: str = "lon",
    lat: str = "lat",
    crs: str = "EPSG:4326",
    ratio: float | str | None = None,
    holes: bool | None = None,
    outline: str | None = None,
    algorithm: str | None = None,
    radius_m: float | str | None = None,
    min_points: int | str | None = None,
    union: str | None = None,
    without_area: str | None = None,
    **keywords: Any,
) -> Recipe:
    """A recipe that gives one region for each label, from the points that have it: `by` and `geometry`; keyed by `by`.

    With ``clusters`` one for each cluster of a label, keyed by `by` and `cluster`. Only these columns are read, and
    count. See `builder.transforms.infer_regions` for what each method does, and what its options are.

    Parameters
    ----------
    name
        The recipe's name. Every text here, but `method`, may use ``{param}`` of a family.
    points
        A reference to a table of points; for ``dissolve`` one of regions.
    by
        The columns of the label.
    method
        ``concave``, ``convex``, ``voronoi``, ``clusters`` or ``dissolve``.
    lon, lat, crs
        The columns of the coordinates, and what they are in; not used by ``dissolve``.
    outline
        A reference to a table of regions, to which ``voronoi`` is clipped.
    ratio, holes, algorithm, radius_m, min_points, union, without_area
        The method's options.
    **keywords
        Those of `recipe`.

    Raises
    ------
    ConfigError
        ``recipe-declaration`` for keywords that cannot be.
    """
    check = Check("infer_regions", name)
    if method not in INFERENCE:
        raise check.wrong("method", method, f"it is one of {', '.join(INFERENCE)}, the same for all members")
    labels = check.columns("by", by)
    numbers = check.numbers({"ratio": ratio, "radius_m": radius_m, "min_points": min_points}, method, INFERENCE)
    words = {"algorithm": algorithm, "union": union, "without_area": without_area, "outline": outline, "holes": holes}
    check.belong(words, method, INFERENCE)
    options: dict[str, Any] = {"by": labels, "method": method, **numbers}
    for word, among in _CHOICES.items():
        if words[word] is not None:
            options[word] = check.choice(word, words[word], among)
    if holes is not None:
        options["holes"] = check.choice("holes", holes, (True, False))
    if method == "clusters" and algorithm in (None, "dbscan") and radius_m is None:
        raise check.wrong("radius_m", radius_m, "clusters by dbscan need the distance of neighbours, in metres")
    columns: tuple[str, ...] = (*labels, GEOMETRY)
    if method != "dissolve":
        options |= {"lon": check.column("lon", lon), "lat": check.column("lat", lat), "crs": check.column("crs", crs)}
        columns = tuple(dict.fromkeys((*labels, lon, lat)))
    inputs = {"points": Reading(check.reference("points", points), columns)}
    if outline is not None:
        inputs["outline"] = Reading(check.reference("outline", outline), (GEOMETRY,))
    key = (*labels, "cluster") if method == "clusters" else labels
    grain = WHOLE if method == "voronoi" else Grain("groups", "points", labels)
    return declare(name, ReadyMade("infer_regions", inputs, options, None, key), grain, keywords)
