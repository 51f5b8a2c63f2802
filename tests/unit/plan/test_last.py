"""A look that starts from the last one finds what a look from nothing finds; a note that is not its own is no note."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builder.digests import digest_of
from builder.errors import error
from builder.graph.graph import Edge, Graph, Step
from builder.nouns import replace
from builder.plan.keys import key_of, step_fields
from builder.plan.last import LastLook, stamp_of
from builder.plan.plan import Plan, Version, look_of, make_plan, source_fields

STAMP = digest_of("stamp")
SOURCES = ("s", "t", "u")
MISSING = error("source-missing", "no file")
CONTENTS = st.sampled_from(["1", "1", "2", "3", MISSING])


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A graph of up to nine steps over three sources."""
    clauses = []
    for number in range(draw(st.integers(1, 9))):
        before = [*SOURCES, *(f"n{i}" for i in range(number))]
        needs = draw(st.lists(st.sampled_from(before), max_size=4))
        clauses.append(f"{' '.join(needs)} -> n{number}" if needs else f"n{number}")
    return "; ".join(clauses)


def with_columns(graph: Graph, chosen: set[str]) -> Graph:
    """The graph with the inputs of these steps read by columns."""

    def step(found: Step) -> Step:
        edges = tuple(Edge(e.parameter, e.shape, e.names, ("a",), (("b", 1),)) for e in found.edges)
        return replace(found, edges=edges) if found.name in chosen else found

    return Graph.build(graph.sources.values(), graph.recipes.values(), map(step, graph.steps.values()))


class Shop:
    """A world, its memory, and builds of some of its steps."""

    def __init__(self, world: Any, memory: Any, manifest_of: Any, draw: Any, text: str) -> None:
        impure = draw(st.sets(st.sampled_from([f"n{i}" for i in range(9)]), max_size=1))
        options = {"recipes": {name: {"pure": False} for name in impure}}
        contents = dict.fromkeys(SOURCES, "1")
        self.world = world(text, contents, options, tables=frozenset({"t"}))
        self.memory = memory
        self.manifest_of = manifest_of
        self.by_columns = draw(st.sets(st.sampled_from([f"n{i}" for i in range(9)])))
        self.constant = draw(st.sets(st.sampled_from([f"n{i}" for i in range(9)])))

    @property
    def situation(self) -> Any:
        found = self.world.situation
        return replace(found, graph=with_columns(found.graph, self.by_columns))

    def build(self, skipped: set[str]) -> None:
        """Build what can be built, but for these sources and steps."""
        situation, versions = self.situation, dict[str, Version]()
        for name, sensed in situation.sources.items():
            if sensed.problem is None and name not in skipped:
                fields = source_fields(name, situation)
                manifest = self.manifest_of(sensed.files[0].digest)
                self.memory.commit(name, key_of(fields), fields, {name: manifest})
                versions[name] = Version(manifest.digest if situation.is_table(name) else sensed.content)
        for step in situation.graph.steps.values():
            if step.name not in skipped and all(n in versions for n in step.reads):
                fields = step_fields(step, situation, lambda n, c: versions[n].digest)
                text = "constant" if step.name in self.constant else key_of(fields)
                manifest = self.manifest_of(f"{step.name} {text}")
                self.memory.commit(step.name, key_of(fields), fields, {step.name: manifest})
                versions[step.name] = Version(manifest.digest)

    def fail(self, name: str, is_known: bool) -> None:
        """Let the last attempt at a step or source have failed."""
        self.memory.failures[name] = self.memory.built.get(name) if is_known else None


def told(plan: Plan) -> dict[str, Any]:
    """All that a plan says."""
    return {
        "verdicts": dict(plan.verdicts.items()),
        "versions": dict(plan.versions.items()),
        "sources": dict(plan.sources),
        "not fresh": list(plan.not_fresh.items()),
        "rest": (plan.steps, plan.intakes),
    }


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), text=texts())
def test_a_look_from_the_last_one_finds_what_a_look_from_nothing_finds(
    data: Any, text: str, world: Any, remembered: Any, manifest_of: Any
) -> None:
    draw = data.draw
    shop = Shop(world, type(remembered)(), manifest_of, draw, text)
    names = [*SOURCES, *shop.world.graph.steps]
    for _ in range(draw(st.integers(0, 3))):
        shop.world.contents.update({name: draw(CONTENTS) for name in SOURCES})
        shop.build(draw(st.sets(st.sampled_from(names), max_size=2)))
    for name in draw(st.sets(st.sampled_from(names), max_size=2)):
        shop.fail(name, draw(st.booleans()))
    look = look_of(make_plan(shop.situation, shop.memory), STAMP)
    kept = LastLook.from_json(json.loads(json.dumps(look.to_json())), STAMP)
    assert kept == look
    for _ in range(2):
        shop.world.contents.update({name: draw(CONTENTS) for name in SOURCES})
        wanted = draw(st.none() | st.sets(st.sampled_from(list(shop.world.graph.steps))))
        is_forced = draw(st.booleans()) and draw(st.booleans())
        again = [
            make_plan(shop.situation, shop.memory, wanted, is_forced=is_forced, last=last) for last in (None, kept)
        ]
        assert told(again[1]) == told(again[0])


def test_only_the_cone_of_a_changed_source_is_judged(world: Any, remembered: Any, manifest_of: Any) -> None:
    shop = world("s -> a b; a -> c; t -> d; d -> e", {"s": "1", "t": "1"})
    plan = make_plan(shop.situation, remembered)
    for step in plan.situation.graph.steps.values():
        fields = step_fields(step, shop.situation, lambda n, c: remembered.built.get(n) or _content(shop, n))
        remembered.commit(step.name, key_of(fields), fields, {step.name: _digested(manifest_of, key_of(fields))})
    look = look_of(make_plan(shop.situation, remembered), STAMP)
    assert look.unsettled == frozenset()
    shop.contents["t"] = "2"
    found = make_plan(shop.situation, remembered, last=look)
    assert set(found.verdicts.made) == {"d", "e"}  # type: ignore[attr-defined]
    assert list(found.steps) == ["d", "e"] and len(found.verdicts) == 5


def _content(shop: Any, name: str) -> str:
    return str(shop.situation.sources[name].content)


def _digested(manifest_of: Any, key: str) -> Any:
    return replace(manifest_of(key), digest=key)


DAMAGE = {
    "no mapping": lambda v: [],
    "nothing": lambda v: None,
    "another stamp": lambda v: {**v, "stamp": digest_of("other")},
    "a changed version": lambda v: {**v, "versions": {**v["versions"], "s": "x"}},
    "a step less": lambda v: {**v, "unsettled": v["unsettled"][1:]},
    "a step more": lambda v: {**v, "unsettled": [*v["unsettled"], "b"]},
    "versions as a list": lambda v: {**v, "versions": ["s"]},
    "numbers": lambda v: {**v, "unsettled": [1, 2]},
    "no check": lambda v: {k: w for k, w in v.items() if k != "check"},
    "no versions": lambda v: {k: w for k, w in v.items() if k != "versions"},
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_note_that_is_not_as_it_was_written_is_none(damage: Any) -> None:
    look = LastLook(STAMP, {"s": "1", "t": ""}, frozenset({"a"}))
    assert LastLook.from_json(look.to_json(), STAMP) == look
    assert LastLook.from_json(damage(look.to_json()), STAMP) is None


def test_the_stamp_is_of_all_that_verdicts_depend_on_but_the_sources(world: Any) -> None:
    made = world("s -> a", {"s": "1"})
    base = replace(made.situation, graph_digest="g")
    found = [
        stamp_of(base, "memory"),
        stamp_of(base, "other memory"),
        stamp_of(replace(base, graph_digest="h"), "memory"),
        stamp_of(replace(base, environment={"python": "3.12"}), "memory"),
        stamp_of(replace(base, environment={"python": "3.11", "x": "1"}), "memory"),
        stamp_of(replace(base, depends=(("a.yaml", "1"),)), "memory"),
        stamp_of(replace(base, depends=(("a.yaml", "2"),)), "memory"),
        stamp_of(replace(base, project_environment=()), "memory"),
    ]
    assert None not in found and len(set(found)) == len(found)
    made.contents["s"] = "2"
    assert stamp_of(replace(made.situation, graph_digest="g"), "memory") == found[0]


def test_a_graph_that_was_not_kept_has_no_stamp(world: Any) -> None:
    assert stamp_of(world("s -> a", {"s": "1"}).situation, "memory") is None
