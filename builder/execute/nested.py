"""Dask collections inside of recipes: where their tasks run.

Decides that: in the recipe's own process, one after the other; or, for a step that ``needs=("cluster",)``, on the
workers whose slots it was given, and on no other. Tasks travel as opaque bytes with the digest of the recipes they come
from, so that the scheduler unpickles nothing of a project.
"""

from __future__ import annotations

import pickle
import secrets
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from builder.digests import Digest
from builder.errors import error
from builder.execute.spec import AttemptSpec

HINT = "give the step more slots or the workers more memory; builder log TARGET shows what it printed"


@dataclass(frozen=True, slots=True)
class Home:
    """Where the recipes of a step come from; what `execute.call` needs to load them."""

    store: str
    recipes: str
    project: str
    bundle: Digest


@contextmanager
def placed(spec: AttemptSpec, bundle: Digest) -> Iterator[None]:
    """Collections that are computed inside run on the step's slots; a Dask client of the surroundings is left alone."""
    if "dask" not in sys.modules:
        yield  # a recipe that imports it later has no client to meet; it runs in threads of this process
        return
    import dask

    compute: Any = "synchronous"
    if spec.helpers and not spec.is_spread:
        from distributed import get_client

        client = get_client()  # the worker's own; it makes itself Dask's default when it is made, so it must be before
        compute = partial(_compute, client, Home(spec.store, spec.recipes, spec.project, bundle), spec.helpers)
    with dask.config.set(scheduler=compute):
        yield


def _compute(client: Any, home: Home, helpers: Sequence[str], graph: Any, keys: Any, **_: Any) -> Any:
    """The values of `keys`, with every task of the graph run on one of the helpers.

    Raises
    ------
    LaneError
        ``worker-died``: a helper died over one of the tasks.
    """
    from dask._task_spec import convert_legacy_graph
    from dask.core import flatten
    from distributed.scheduler import KilledWorker

    nodes = convert_legacy_graph(dict(graph.__dask_graph__() if hasattr(graph, "__dask_graph__") else graph))
    wanted = set(flatten([keys]))
    submit = partial(client.submit, pure=False, retries=0, workers=list(helpers), allow_other_workers=False, priority=1)
    futures = _submitted(nodes, wanted, partial(submit, run_node, home))
    try:
        values = {key: future.result() for key, future in futures.items()}
    except KilledWorker as cause:
        raise error("worker-died", "a worker died that helped with its collections", hint=HINT) from cause
    return _shaped(keys, values)


def _submitted(nodes: Mapping[Any, Any], wanted: Collection[Any], submit: Callable[..., Any]) -> dict[Any, Any]:
    """Futures of the wanted tasks; those of all others are let go as soon as all that read them are on their way."""
    from dask.core import toposort
    from distributed.protocol.pickle import dumps

    needs = {key: [n for n in node.dependencies if n in nodes] for key, node in nodes.items()}
    readers = dict.fromkeys(nodes, 0)
    for key in nodes:
        for need in needs[key]:
            readers[need] += 1
    run = secrets.token_hex(6)
    futures: dict[Any, Any] = {}
    for number, key in enumerate(toposort(dict(nodes), dependencies={k: set(v) for k, v in needs.items()})):
        name = f"part-{run}-{number}"
        futures[key] = submit(dumps(nodes[key]), needs[key], [futures[n] for n in needs[key]], key=name)
        for need in needs[key]:
            readers[need] -= 1
            if not readers[need] and need not in wanted:
                del futures[need]
    return {key: futures[key] for key in wanted}


def _shaped(keys: Any, values: Mapping[Any, Any]) -> Any:
    """Values in the nesting of lists that `keys` has."""
    return [_shaped(key, values) for key in keys] if isinstance(keys, list) else values[keys]


def run_node(home: Home, node: bytes, names: Sequence[Any], values: Sequence[Any]) -> Any:
    """The value of one task of a collection, after the recipes that it comes from were loaded here."""
    from builder.authoring.guard import suspended
    from builder.execute.call import load_recipes

    load_recipes(home.store, home.recipes, home.project, home.bundle)
    task = pickle.loads(node)
    with suspended():
        return task(dict(zip(names, values, strict=True)))
