"""Part ``example`` of ``increments.py``: the shipped example at a hundred times its points, against a plain script.

The script does what each step does with the same functions, one after the other: it reads the columns that the step
reads from Parquet, calls the function, and writes Parquet, JSON or a picture. It knows of no digest, no store and no
run before. What counts is the CPU of the steps; taking the sources in is timed by ``intake``.

The files of the script are plain ones that any tool reads, the builder's own are those of its store. So three figures
are told: the steps alone; the steps and the publishing of what the example publishes; the steps and the publishing of
every target, each of which the script writes. Publishing is counted in the driver, in turn with the steps.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from increments import Line, alternating, as_contender, measure

LIMIT = 1.10
JITTER = 0.2
"""Degrees, at most, that a copy of a point lies from it."""


def make(folder: str, times: str) -> None:
    """Lay the example out, with so many copies of each airport and place around where it is."""
    from builder.scaffold import init

    init(folder, "airports")
    for name, key, lon, lat in (("airports", "icao", "lon", "lat"), ("places", "geonameid", "longitude", "latitude")):
        _multiply(Path(folder) / f"data/{name}.csv.gz", key, lon, lat, int(times))


def _multiply(path: Path, key: str, lon: str, lat: str, times: int) -> None:
    import numpy as np
    import pandas as pd

    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    rng = np.random.default_rng(1)
    copies = table.loc[table.index.repeat(times)].reset_index(drop=True)
    number = pd.Series(np.tile(np.arange(times), len(table))).astype(str).str.zfill(3)
    copies[key] = copies[key] + (number if copies[key].str.isdigit().all() else "-" + number)
    for column in (lon, lat):
        moved = copies[column].astype(float) + rng.uniform(-JITTER, JITTER, len(copies))
        copies[column] = moved.round(6).astype(str)
    copies.sort_values(key).to_csv(path, index=False)


def build(folder: str, store: str) -> dict[str, Any]:
    """Build all from nothing; the CPU seconds of its steps, and of publishing what is published, or every target."""
    from dataclasses import replace

    import builder as b
    from builder.project import Project
    from builder.store import publish
    from builder.store.published import published_targets

    config = b.open(folder).config
    chosen = config.publish
    project = Project(replace(config, store=Path(folder) / store, out=Path(folder) / f"{store}-out", publish="all"))
    graph = project.situation().graph
    spent = _count_publishing(publish)
    run = project.rebuild(inline=True)
    assert run.outcome == "built", str(run)
    assert set(run.published) == set(graph.targets) == set(spent), "not every target was published"
    usual = published_targets(graph, chosen, () if isinstance(chosen, str) else chosen)
    published = {"published_s": sum(spent[name] for name in usual), "all_published_s": sum(spent.values())}
    return _spent({graph.maker[t.name]: t.cpu_s for t in run.targets}) | published | {"files": [len(usual), len(spent)]}


def _count_publishing(publish: Any) -> dict[str, float]:
    """The CPU seconds that each target's file in ``out/`` takes from now on: one by one, between the steps."""
    publish.ASIDE_BYTES = 1 << 60  # a thread would run beside steps, whose CPU is that of the process
    spent: dict[str, float] = {}
    put, note = publish.Publisher._put, publish.Publisher._note

    def counting(function: Callable[..., Any], publisher: Any, given: Any, names: Sequence[str]) -> Any:
        began_s = time.process_time()
        result = function(publisher, given)
        for name in names:
            spent[name] = spent.get(name, 0.0) + (time.process_time() - began_s) / len(names)
        return result

    publish.Publisher._put = lambda self, name: counting(put, self, name, [name])
    publish.Publisher._note = lambda self, written: counting(note, self, written, [row[0] for row in written])
    return spent


def plain(folder: str, store: str) -> dict[str, Any]:
    """Do what the steps do, without a build; `store` has the sources as they were taken in."""
    from dataclasses import replace

    import builder as b
    from builder.authoring.bundle import read_bundle
    from builder.authoring.load import load_cached
    from builder.authoring.ready_call import ReadyCall
    from builder.graph.declare import RecipeDecl
    from builder.project import Project

    root = Path(folder)
    project = Project(replace(b.open(folder).config, store=root / store, out=root / f"{store}-out"))
    graph = project.situation().graph
    recipes = root / "recipes"
    loaded = load_cached(read_bundle(recipes), recipes, root)
    declared = {d.name: d for d in loaded.declarations if isinstance(d, RecipeDecl)}
    script = Script(root / "plain")
    for name in graph.sources:
        script.write(name, project.load(name))
    costs = {}
    for decl in declared.values():
        if isinstance(decl.function, ReadyCall):
            decl.function.warm()  # as a worker does before it counts
    for step in graph.steps.values():
        began_s = time.process_time()
        script.run(step, declared[step.recipe].of_member(step.params))
        costs[step.name] = time.process_time() - began_s
    return _spent(costs)


def _spent(costs: Mapping[str, float]) -> dict[str, Any]:
    """The CPU seconds of all steps, and of the slowest."""
    slowest = sorted(costs.items(), key=lambda item: -item[1])[:6]
    return {"steps_s": sum(costs.values()), "slowest": {name: round(s, 2) for name, s in slowest}}


class Script:
    """Tables and other values in files, read and written as a script would."""

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder = folder
        self.paths: dict[str, Path] = {}
        self.indexes: dict[str, Any] = {}

    def run(self, step: Any, decl: Any) -> None:
        """One step: read, call, write."""
        import inspect

        from builder.execute import workspace

        annotations = {n: str(p.annotation) for n, p in inspect.signature(decl.function).parameters.items()}
        arrived = {e.parameter: self.arrived(e, annotations.get(e.parameter, ""), decl) for e in step.edges}
        given = {k: v for k, v in step.params if k in annotations or "parameters" in annotations}
        workspace.enter(self.folder)
        try:
            value = decl.function(**arrived, **given)
        finally:
            workspace.leave()
        for output, target in zip(decl.outputs or ("",), step.targets, strict=True):
            self.write(target, value[output] if output else value)

    def arrived(self, edge: Any, annotation: str, decl: Any) -> Any:
        """What a parameter gets."""
        import pandas as pd

        if edge.shape == "one":
            if "RegionIndex" in annotation:
                return self.index(edge.names[0], decl)
            return self.read(edge.names[0], edge.columns)
        if "DataFrame" not in annotation:
            return {name: self.read(name, edge.columns) for name in edge.names}
        members = {name: name.partition("[")[2].rstrip("]").partition("=") for name in edge.names}
        return pd.concat([self.read(n, edge.columns).assign(**{k: v}) for n, (k, _, v) in members.items()])

    def index(self, name: str, decl: Any) -> Any:
        """The index of some regions, made once."""
        from builder.transforms import RegionIndex

        if name not in self.indexes:
            self.indexes[name] = RegionIndex(self.read(name, None), decl.function.column("id_column", {}), threads=1)
        return self.indexes[name]

    def read(self, name: str, columns: tuple[str, ...] | None) -> Any:
        """A value as it was written."""
        import geopandas as gpd
        import pandas as pd
        import pyarrow.parquet as pq

        path = self.paths[name]
        if path.suffix == ".json":
            return json.loads(path.read_text())
        if path.suffix != ".parquet":
            return path
        schema = pq.read_schema(path)
        wanted = None if columns is None else [c for c in columns if c in schema.names]
        is_geo = b"geo" in (schema.metadata or {}) and (wanted is None or "geometry" in wanted)
        return (gpd if is_geo else pd).read_parquet(path, columns=wanted)

    def write(self, name: str, value: Any) -> None:
        """A value in a file of its own."""
        path = self.folder / f"{len(self.paths):05d}"
        if hasattr(value, "to_parquet"):
            path = path.with_suffix(".parquet")
            value.to_parquet(path, index=False)
        elif hasattr(value, "savefig"):
            path = path.with_suffix(".png")
            value.savefig(path)
        elif isinstance(value, (dict, list)):
            path = path.with_suffix(".json")
            path.write_text(json.dumps(value))
        else:
            path = Path(value)
        self.paths[name] = path


def run(folder: Path, options: argparse.Namespace) -> tuple[str, dict[str, dict[str, Any]], list[Line]]:
    """The CPU of a clean build's steps over that of the plain script."""
    small, real = folder / "small", folder / "real"
    for place, times in ((small, 1), (real, options.times)):
        _child("make", folder=place, times=times)
        _child("build", folder=place, store="first")
        _child("plain", folder=place, store="first")  # what is compiled once is compiled
    runs: dict[str, Callable[[], dict[str, Any]]] = {
        "plain script": partial(_child, "plain", folder=real, store="first"),
        "clean build": partial(_again, real),
    }
    costs = alternating(runs, options.repeat, "steps_s")
    for cost in costs.values():
        cost["cpu_s"] = cost["steps_s"]
    clean, plain_s = costs["clean build"], costs["plain script"]["steps_s"]
    usual, every = clean["files"]
    lines = [
        Line("the example, from nothing: steps", clean["steps_s"] / plain_s, LIMIT, _slowest(costs)),
        Line(f"… and its {usual} published files", (clean["steps_s"] + clean["published_s"]) / plain_s, LIMIT),
        Line(f"… and all {every} targets published", (clean["steps_s"] + clean["all_published_s"]) / plain_s, LIMIT),
    ]
    return f"example: {options.times} times its points; CPU of a clean build over a plain script's", costs, lines


def _again(folder: Path) -> dict[str, Any]:
    shutil.rmtree(folder / "again", ignore_errors=True)
    return _child("build", folder=folder, store="again")


def _slowest(costs: Mapping[str, Mapping[str, Any]]) -> str:
    return "; ".join(f"{name}: {cost['slowest']}" for name, cost in costs.items())


def _child(contender: str, **arguments: Any) -> dict[str, Any]:
    return measure(__file__, contender, arguments)


RUNS = {"example": run}

if __name__ == "__main__":
    as_contender({"make": make, "build": build, "plain": plain})
