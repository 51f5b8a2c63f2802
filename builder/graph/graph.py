"""The expanded graph: sources and steps with their edges, checked as a whole.

Decides what depends on what. Holds no function of a recipe, so that it can be kept as JSON between two commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from typing import Any

from builder.digests import Digest
from builder.errors import error
from builder.graph.declare import WHOLE, Grain
from builder.lazy import Lazy
from builder.names import Params, value_from_json, value_json
from builder.nouns import dataclass, field

CLUSTER = "cluster"
"""What a step needs that wants its Dask collections computed on all the slots it takes; no worker has to have it."""


@dataclass(frozen=True, slots=True)
class Edge:
    """What one parameter of a step reads: the datasets by full name, how they arrive, and what of them is read."""

    parameter: str
    shape: str
    names: tuple[str, ...]
    columns: tuple[str, ...] | None = None
    where: tuple[tuple[str, Any], ...] = ()
    on: str | None = None

    def to_json(self) -> list[Any]:
        """A plain list that `from_json` reads."""
        where = [[k, v if v is None else value_json(v)] for k, v in self.where]
        return [self.parameter, self.shape, list(self.names), self.columns and list(self.columns), where, self.on]

    @staticmethod
    def from_json(value: list[Any]) -> Edge:
        """The edge that `to_json` wrote."""
        parameter, shape, names, columns, where, on = value
        pairs = tuple((k, v if v is None else value_from_json(v)) for k, v in where)
        return Edge(parameter, shape, tuple(names), None if columns is None else tuple(columns), pairs, on)


@dataclass(frozen=True, slots=True)
class RecipeNode:
    """What a recipe's steps share, as far as planning needs it.

    ``fingerprint`` covers its code, ``items`` the pieces of it by subject, ``declared`` the digest of its output's
    key and columns.
    """

    name: str
    place: str
    fingerprint: Digest
    items: tuple[tuple[str, str], ...]
    declared: str
    environment: tuple[str, ...] = ()
    version: str = ""
    outputs: tuple[str, ...] = ()
    publish: bool | None = None
    pure: bool = True
    grain: Grain = WHOLE
    policy: str = "auto"
    update: str = ""
    """The fingerprint of its own update; empty where it has none."""

    @property
    def rule_text(self) -> str:
        """What its updates go by, as its author says: the fingerprint of its own update, else its grain as text."""
        return self.update or self.grain.text

    @property
    def in_pieces(self) -> str:
        """What a full run in pieces goes by: its grain, also where it has an own update."""
        return f"pieces {self.grain.text}"

    @property
    def bases(self) -> tuple[str, ...]:
        """What outputs may have been made by that its updates start from; empty for a full run in one."""
        return "", self.rule_text, self.in_pieces, f"{self.in_pieces}\n{self.rule_text}"

    @property
    def made_by(self) -> tuple[str, ...]:
        """What its outputs may have been made by: its own update may have come beside its grain since."""
        return (*self.bases, self.grain.text)

    def updated(self, was_by: str) -> str:
        """What outputs are made by after an update of ones that were made by one of `bases`."""
        return self.rule_text if was_by in ("", self.rule_text) else self.bases[-1]

    def to_json(self) -> list[Any]:
        """A plain list that `from_json` reads."""
        return [
            self.name,
            self.place,
            self.fingerprint,
            [list(i) for i in self.items],
            self.declared,
            list(self.environment),
            self.version,
            list(self.outputs),
            self.publish,
            self.pure,
            [self.grain.kind, self.grain.of, list(self.grain.by)],
            self.policy,
            self.update,
        ]

    @staticmethod
    def from_json(value: list[Any]) -> RecipeNode:
        """The recipe that `to_json` wrote."""
        name, place, fingerprint, items, declared, environment, version, outputs, publish, pure, *rest = value
        (kind, of, by), policy, update = rest
        return RecipeNode(
            name,
            place,
            Digest(fingerprint),
            tuple((s, d) for s, d in items),
            declared,
            tuple(environment),
            version,
            tuple(outputs),
            publish,
            pure,
            Grain(kind, of, tuple(by)),
            policy,
            update,
        )


@dataclass(frozen=True, slots=True)
class Step:
    """One run of a recipe: its parameters, what it reads, the targets it makes, the scarce resources it takes."""

    name: str
    recipe: str
    params: Params
    edges: tuple[Edge, ...]
    targets: tuple[str, ...]
    lanes: tuple[tuple[str, int], ...] = ()
    slots: int = 1
    memory_bytes: int = 0
    needs: tuple[str, ...] = ()
    retries: int = 0
    timeout_s: float | None = None
    priority: int = 0

    @property
    def is_on_cluster(self) -> bool:
        """Whether its Dask collections run on all the slots it takes."""
        return CLUSTER in self.needs

    @property
    def abilities(self) -> frozenset[str]:
        """What a worker must have to run it."""
        return frozenset(self.needs) - {CLUSTER}

    @property
    def reads(self) -> tuple[str, ...]:
        """Full names of all it reads, in order, each once."""
        if len(self.edges) == 1:
            return self.edges[0].names
        return tuple(dict.fromkeys(n for e in self.edges for n in e.names))

    def to_json(self) -> list[Any]:
        """A plain list that `from_json` reads."""
        return [
            self.name,
            self.recipe,
            [[k, value_json(v)] for k, v in self.params],
            [e.to_json() for e in self.edges],
            list(self.targets),
            [list(x) for x in self.lanes],
            self.slots,
            self.memory_bytes,
            list(self.needs),
            self.retries,
            self.timeout_s,
            self.priority,
        ]

    @staticmethod
    def from_json(value: list[Any]) -> Step:
        """The step that `to_json` wrote."""
        name, recipe, params, edges, targets, lanes, slots, memory, needs, retries, timeout, priority = value
        return Step(
            name,
            recipe,
            tuple((k, value_from_json(v)) for k, v in params),
            tuple(Edge.from_json(e) for e in edges),
            tuple(targets),
            tuple((n, c) for n, c in lanes),
            slots,
            memory,
            tuple(needs),
            retries,
            timeout,
            priority,
        )


@dataclass(frozen=True, slots=True)
class SourceNode:
    """One source or one member of a family of sources."""

    name: str
    base: str
    params: Params = ()

    def to_json(self) -> list[Any]:
        """A plain list that `from_json` reads."""
        return [self.name, self.base, [[k, value_json(v)] for k, v in self.params]]

    @staticmethod
    def from_json(value: list[Any]) -> SourceNode:
        """The source that `to_json` wrote."""
        return SourceNode(value[0], value[1], tuple((k, value_from_json(v)) for k, v in value[2]))


class KeptSteps(Lazy[Step]):
    """The steps of a graph that was kept as JSON, each made from its row when it is first asked for."""

    __slots__ = ("rows",)

    def __init__(self, rows: Iterable[list[Any]]) -> None:
        self.rows: dict[str, list[Any]] = {row[0]: row for row in rows}
        super().__init__(self.rows, lambda name: Step.from_json(self.rows[name]))


@dataclass(frozen=True)
class Graph:
    """Sources and steps in topological order; steps by name, and the step that makes each target."""

    sources: Mapping[str, SourceNode]
    recipes: Mapping[str, RecipeNode]
    steps: Mapping[str, Step]
    maker: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def build(sources: Iterable[SourceNode], recipes: Iterable[RecipeNode], steps: Iterable[Step]) -> Graph:
        """The graph of these nodes, its steps in topological order.

        Raises
        ------
        GraphError
            ``cycle`` with its path.
        """
        by_name = {s.name: s for s in steps}
        maker = {t: s.name for s in by_name.values() for t in s.targets}
        recipe_map = {r.name: r for r in recipes}
        ordered = {name: by_name[name] for name in _topological(by_name, maker, recipe_map)}
        return Graph({s.name: s for s in sources}, recipe_map, ordered, maker)

    @property
    def targets(self) -> Iterable[str]:
        """Names of all targets, in topological order."""
        if isinstance(self.steps, KeptSteps):
            return self.maker  # made from the same rows
        return (t for s in self.steps.values() for t in s.targets)

    def step_of(self, target: str) -> Step:
        """The step that makes a target; KeyError for a source or an unknown name."""
        return self.steps[self.maker[target]]

    def _ways(self) -> Iterator[tuple[str, Iterable[str], Iterable[str]]]:
        """Each step with the names it reads, in which one may stand twice, and its targets; makes no step."""
        if isinstance(self.steps, KeptSteps):
            for row in self.steps.rows.values():
                edges = row[3]
                reads = edges[0][2] if len(edges) == 1 else [n for edge in edges for n in edge[2]]
                yield row[0], reads, row[4]
        else:
            for step in self.steps.values():
                yield step.name, step.reads, step.targets

    @cached_property
    def leaves(self) -> frozenset[str]:
        """Targets that no step reads."""
        read: set[str] = set()
        for _, reads, _ in self._ways():
            read.update(reads)
        return frozenset(t for t in self.targets if t not in read)

    @cached_property
    def readers(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the steps that read a source or target directly."""
        found: dict[str, dict[str, None]] = {}
        for step, reads, _ in self._ways():
            for name in reads:
                found.setdefault(name, {})[step] = None
        return {n: tuple(s) for n, s in found.items()}

    def cone(self, names: Iterable[str], steps: Iterable[str] = ()) -> list[str]:
        """In topological order: these steps, and all that need one of these sources or targets, directly or not."""
        hot, wanted = set(names), set(steps)
        found = []
        for step, reads, targets in self._ways():
            if step in wanted or not hot.isdisjoint(reads):
                hot.update(targets)
                found.append(step)
        return found

    def upstream(self, steps: Iterable[str]) -> set[str]:
        """Names of these steps and of all steps they need."""
        found: set[str] = set()
        todo = list(steps)
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo += [self.maker[n] for n in self.steps[name].reads if n in self.maker]
        return found

    def downstream(self, names: Iterable[str]) -> set[str]:
        """Names of the steps that need one of these sources or targets, directly or not."""
        found: set[str] = set()
        todo = list(names)
        while todo:
            for step in self.readers.get(todo.pop(), ()):
                if step not in found:
                    found.add(step)
                    todo += self.steps[step].targets
        return found

    def to_json(self) -> dict[str, Any]:
        """A plain mapping that `from_json` reads."""
        return {
            "sources": [s.to_json() for s in self.sources.values()],
            "recipes": [r.to_json() for r in self.recipes.values()],
            "steps": [s.to_json() for s in self.steps.values()],
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Graph:
        """The graph that `to_json` wrote; its order is taken as it stands."""
        steps = KeptSteps(value["steps"])
        sources = [SourceNode.from_json(s) for s in value["sources"]]
        recipes = [RecipeNode.from_json(r) for r in value["recipes"]]
        maker = {t: row[0] for row in steps.rows.values() for t in row[4]}
        return Graph({s.name: s for s in sources}, {r.name: r for r in recipes}, steps, maker)


def _topological(steps: Mapping[str, Step], maker: Mapping[str, str], recipes: Mapping[str, RecipeNode]) -> list[str]:
    """Step names so that each stands behind all it reads; declaration order among equals. Linear in the edges."""
    needs = {s.name: {maker[n] for n in s.reads if n in maker} for s in steps.values()}
    waiting = {name: len(upstream) for name, upstream in needs.items()}
    readers: dict[str, list[str]] = {}
    for name, upstream in needs.items():
        for need in upstream:
            readers.setdefault(need, []).append(name)
    order = [name for name, count in waiting.items() if count == 0]
    for name in order:
        for reader in readers.get(name, ()):
            waiting[reader] -= 1
            if waiting[reader] == 0:
                order.append(reader)
    if len(order) < len(steps):
        _raise_cycle({n: needs[n] for n, count in waiting.items() if count}, steps, recipes)
    return order


def _raise_cycle(needs: Mapping[str, set[str]], steps: Mapping[str, Step], recipes: Mapping[str, RecipeNode]) -> None:
    """Raise the error that shows one cycle among steps that wait for each other."""
    seen: dict[str, int] = {}
    path: list[str] = []
    name = min(needs)
    while name not in seen:
        seen[name] = len(path)
        path.append(name)
        name = min(n for n in needs[name] if n in needs)
    cycle = [*path[seen[name] :], name]
    facts = [(n, f"{recipes[steps[n].recipe].place} reads {m}") for n, m in pairwise(cycle)]
    raise error(
        "cycle",
        "recipes need each other: " + " → ".join(cycle),
        place=recipes[steps[cycle[0]].recipe].place,
        facts=facts,
        hint="let one of them read something that does not need it",
    )
