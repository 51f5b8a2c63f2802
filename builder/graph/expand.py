"""From declarations and the listing of sources to the members of every family and their edges.

Decides which targets there are and what each reads. Pure: the listing comes in, nothing is opened.
"""

from __future__ import annotations

import difflib
import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from builder.digests import Scalar
from builder.errors import error
from builder.graph.declare import Input, Lookup, Read, RecipeDecl, SourceDecl
from builder.graph.grains import check_grain
from builder.graph.graph import Edge, Graph, RecipeNode, SourceNode, Step
from builder.names import (
    PARAMETER,
    Params,
    Reference,
    check_name,
    check_value,
    filled,
    member_name,
    parse_reference,
    value_from_text,
    value_text,
)
from builder.sizes import parse_bytes


class Expansion:
    """The families of a project, expanded once each, in the order they need each other."""

    def __init__(
        self,
        declarations: Iterable[SourceDecl | RecipeDecl],
        listed: Mapping[str, Iterable[Params]],
        lanes: Mapping[str, int],
    ) -> None:
        self.sources: dict[str, SourceDecl] = {}
        self.recipes: dict[str, RecipeDecl] = {}
        self.lanes = lanes
        self._places: dict[str, str] = {}
        for decl in declarations:
            self._claim(decl)
        self.listed = {base: tuple(members) for base, members in listed.items()}
        self._members: dict[str, tuple[Params, ...]] = {}
        self._common: dict[str, set[str]] = {}
        self._by_values: dict[tuple[str, tuple[str, ...]], dict[tuple[str, ...], list[Params]]] = {}
        self._open: list[str] = []

    def _claim(self, decl: SourceDecl | RecipeDecl) -> None:
        """Note a declaration under its base name; one namespace for sources and recipes."""
        base = parse_reference(decl.name).base
        if base in self._places:
            raise error(
                "duplicate-name",
                f"'{base}' is declared twice",
                place=str(decl.place),
                facts=[("first", self._places[base]), ("again", str(decl.place))],
                hint="sources and recipes share one namespace: rename one of them",
            )
        self._places[base] = str(decl.place)
        if isinstance(decl, SourceDecl):
            self.sources[base] = decl
        else:
            self.recipes[base] = decl

    def graph(self, node: Callable[[RecipeDecl], RecipeNode]) -> Graph:
        """The whole graph; `node` gives what planning needs to know of a recipe.

        Raises
        ------
        GraphError
            ``unknown-input``, ``duplicate-name``, ``unknown-lane``, ``cycle``.
        ConfigError
            ``recipe-declaration``.
        """
        sources = [
            SourceNode(member_name(base, params), base, params)
            for base in self.sources
            for params in self.members(base, str(self.sources[base].place))
        ]
        steps: dict[str, Step] = {}
        for decl in self.recipes.values():
            for params in self.members(decl.name, str(decl.place)):
                step = self._step(decl, params)
                if step.name in steps:
                    raise error(
                        "duplicate-name",
                        f"'{step.name}' is made twice by one recipe",
                        place=str(decl.place),
                        facts=[("first", str(decl.place)), ("again", str(decl.place))],
                        hint="each= gives the same values twice",
                    )
                steps[step.name] = step
        return Graph.build(sources, [node(d) for d in self.recipes.values()], steps.values())

    # -- members ---------------------------------------------------------------------------------------------------

    def members(self, base: str, place: str) -> tuple[Params, ...]:
        """The parameters of each member of a source or recipe; one empty tuple where it is no family."""
        if base in self._members:
            return self._members[base]
        if base in self.sources:
            is_family = parse_reference(self.sources[base].name).bracketed
            found = tuple(self.listed.get(base, ())) if is_family else ((),)
        else:
            if base in self._open:
                path = " → ".join([*self._open[self._open.index(base) :], base])
                raise error(
                    "cycle",
                    f"families need each other: {path}",
                    place=place,
                    hint="let one each= give its values itself",
                )
            self._open.append(base)
            found = tuple(self._each(self.recipes[base]))
            self._open.pop()
        self._members[base] = found
        return found

    def _each(self, decl: RecipeDecl) -> Iterable[Params]:
        """The members that ``each=`` gives, in its order."""
        if decl.each is None:
            return [()]
        place = str(decl.place)
        each = decl.each
        if isinstance(each, list) and all(isinstance(e, Mapping) and not _is_product(e) for e in each):
            return [_params(e, place) for e in each]
        axes = each if isinstance(each, (list, tuple)) else [each]
        products = [self._axis(axis, decl) for axis in axes]
        members = [tuple(p for params in combination for p in params) for combination in itertools.product(*products)]
        for names in ([name for name, _ in member] for member in members):
            twice = next((n for n in names if names.count(n) > 1), None)
            if twice is not None:
                raise error(
                    "recipe-declaration",
                    f"each= of recipe '{decl.name}' gives the parameter '{twice}' twice",
                    place=place,
                    hint="let each item of the list give parameters of its own",
                )
        return members

    def _axis(self, axis: Any, decl: RecipeDecl) -> list[Params]:
        """The members along one item of ``each=``: a family's name or a dict of lists."""
        place = str(decl.place)
        if isinstance(axis, str):
            base, _, _ = axis.partition(".")
            if base not in self._places:
                raise self._unknown(axis, f"each= of recipe '{decl.name}'", place)
            return list(self.members(base, place))
        if isinstance(axis, Mapping):
            keys = [check_name(str(k), "parameter", place) for k in axis]
            for key in keys:
                if isinstance(axis[key], str) or not isinstance(axis[key], Iterable):
                    raise error(
                        "recipe-declaration",
                        f"each= of recipe '{decl.name}' gives {axis[key]!r} for '{key}'",
                        place=place,
                        hint='give a list of values: each={"state": ["CA", "WA"]}',
                    )
            values = [[check_value(v, k, place) for v in axis[k]] for k in keys]
            return [tuple(zip(keys, row, strict=True)) for row in itertools.product(*values)]
        if isinstance(axis, list) and all(isinstance(e, Mapping) for e in axis):
            return [_params(e, place) for e in axis]
        raise error(
            "recipe-declaration",
            f"each= of recipe '{decl.name}' has {axis!r}",
            place=place,
            hint="give a dict of lists, a list of dicts, a family's name, or a list of these",
        )

    # -- steps -----------------------------------------------------------------------------------------------------

    def _step(self, decl: RecipeDecl, params: Params) -> Step:
        """One member of a recipe as a step."""
        name = member_name(decl.name, params)
        outputs = decl.outputs or ("",)
        edges = tuple(self._edges(decl, params))
        check_grain(decl, edges)
        targets = tuple(member_name(f"{decl.name}.{o}" if o else decl.name, params) for o in outputs)
        values = dict(params)
        return Step(
            name=name,
            recipe=decl.name,
            params=params,
            edges=edges,
            targets=targets,
            lanes=self._lanes(decl, values),
            slots=_positive(_of(decl.slots, values, "slots", decl), "slots", decl),
            memory_bytes=_memory(decl, values),
            needs=_needs(_of(decl.needs, values, "needs", decl), decl),
            retries=decl.retries,
            timeout_s=_timeout(_of(decl.timeout, values, "timeout", decl), decl),
            priority=decl.priority,
        )

    def _lanes(self, decl: RecipeDecl, values: Mapping[str, Scalar]) -> tuple[tuple[str, int], ...]:
        """Lanes and how much of each; all must be known and large enough."""
        lane = _of(decl.lane, values, "lane", decl)
        lanes = {} if lane is None else {lane: 1} if isinstance(lane, str) else lane
        if not isinstance(lanes, Mapping):
            raise error(
                "recipe-declaration",
                f"lane of recipe '{decl.name}' is {lane!r}",
                place=str(decl.place),
                hint='lane="db" or lane={"db": 2}',
            )
        for name, count in lanes.items():
            if name not in self.lanes:
                raise error(
                    "unknown-lane",
                    f"recipe '{decl.name}' runs in lane '{name}', which has no capacity",
                    place=str(decl.place),
                    facts=_near(str(name), self.lanes),
                    hint=f"add {name} = 1 under [lanes] in builder.toml",
                )
            if not isinstance(count, int) or not 1 <= count <= self.lanes[name]:
                raise error(
                    "recipe-declaration",
                    f"recipe '{decl.name}' takes {count} of lane '{name}', whose capacity is {self.lanes[name]}",
                    place=str(decl.place),
                    hint="take no more than the lane has",
                )
        return tuple(sorted(lanes.items()))

    def _edges(self, decl: RecipeDecl, params: Params) -> Iterable[Edge]:
        """What each parameter of the function reads."""
        values = dict(params)
        given = _of(decl.inputs, values, "inputs", decl) if decl.inputs is not None else {}
        if not isinstance(given, Mapping):
            raise error(
                "recipe-declaration",
                f"inputs= of recipe '{decl.name}' gave {given!r}",
                place=str(decl.place),
                hint="return a dict from parameter names to references",
            )
        signature = inspect.signature(decl.function)
        _check_signature(decl, signature, values, given)
        for parameter in signature.parameters.values():
            name = parameter.name
            if name in given:
                yield self._edge(name, given[name], decl, params)
            elif parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                for extra in (k for k in given if k not in signature.parameters):
                    yield self._edge(extra, given[extra], decl, params)
            elif name not in values and parameter.default is parameter.empty:
                yield self._edge(name, name, decl, params)

    def _edge(self, parameter: str, given: Input, decl: RecipeDecl, params: Params) -> Edge:
        """One parameter's edge."""
        if isinstance(given, list):
            edges = [self._edge(parameter, item, decl, params) for item in given]
            if any(e.columns is not None or e.where or e.on for e in edges):
                raise error(
                    "recipe-declaration",
                    f"input '{parameter}' of recipe '{decl.name}' has b.read in a list",
                    place=str(decl.place),
                    hint="give b.read as an input of its own",
                )
            return Edge(parameter, "list", tuple(dict.fromkeys(n for e in edges for n in e.names)))
        if isinstance(given, Read):
            edge = self._edge(parameter, given.ref, decl, params)
            where = tuple((c, _value_filled(v, dict(params))) for c, v in given.where)
            return Edge(parameter, edge.shape, edge.names, given.columns, where)
        if isinstance(given, Lookup):
            edge = self._edge(parameter, given.ref, decl, params)
            return Edge(parameter, edge.shape, edge.names, on=given.on)
        if not isinstance(given, str):
            raise error(
                "recipe-declaration",
                f"input '{parameter}' of recipe '{decl.name}' is {given!r}",
                place=str(decl.place),
                hint="give a reference, a list of references, or b.read(…)",
            )
        return self._resolve(parameter, given, decl, params)

    def _resolve(self, parameter: str, text: str, decl: RecipeDecl, params: Params) -> Edge:
        """The datasets that a written reference means for one member."""
        place = str(decl.place)
        values = dict(params)
        reference = parse_reference(text, place)
        name = filled(reference.base, values)
        base, _, output = name.partition(".")
        who = f"recipe '{decl.name}'"
        if base not in self._places:
            raise self._unknown(name, who, place)
        if base in self.recipes:
            outputs = self.recipes[base].outputs
            if (output or outputs) and output not in outputs:
                raise self._unknown(name, who, place, outputs=[f"{base}.{o}" for o in outputs] or [base])
        elif output:
            raise self._unknown(name, who, place)
        members = self.members(base, place)
        chosen = _matching(reference, self._candidates(base, members, reference, values), values)
        if reference.rest:
            return Edge(parameter, "gather", tuple(member_name(name, m) for m in chosen))
        if len(chosen) != 1:
            known = [member_name(name, m) for m in members]
            wanted = name + (
                "[" + ",".join(f"{k}={filled(v, values)}" for k, v in reference.fixed) + "]"
                if reference.bracketed
                else ""
            )
            hint = f"'{name}' is a family: read one member, or all with {name}[*]" if not reference.bracketed else None
            raise self._unknown(wanted, who, place, outputs=known, hint=hint)
        return Edge(parameter, "one", (member_name(name, chosen[0]),))

    def _candidates(
        self, base: str, members: tuple[Params, ...], reference: Reference, values: Mapping[str, Scalar]
    ) -> Iterable[Params]:
        """The few members that a reference can mean, so that no reference walks its whole family."""
        if reference.bracketed:
            wanted = {k: value_from_text(filled(v, values)) for k, v in reference.fixed}
        else:
            if base not in self._common:
                self._common[base] = set.intersection(*({k for k, _ in m} for m in members)) if members else set()
            wanted = {k: value_from_text(value_text(values[k])) for k in self._common[base] if k in values}
        keys = tuple(sorted(wanted))
        if (base, keys) not in self._by_values:
            found: dict[tuple[str, ...], list[Params]] = {}
            for member in members:
                have = {k: value_from_text(value_text(v)) for k, v in member}
                if all(k in have for k in keys):
                    found.setdefault(tuple(have[k] for k in keys), []).append(member)
            self._by_values[base, keys] = found
        return self._by_values[base, keys].get(tuple(wanted[k] for k in keys), ())

    def _unknown(
        self, name: str, who: str, place: str, outputs: Iterable[str] | None = None, hint: str | None = None
    ) -> Exception:
        """The error for a reference that names nothing."""
        names = (
            list(outputs)
            if outputs is not None
            else [
                f"{n}.{o}" if o else n
                for n in self._places
                for o in (getattr(self.recipes.get(n), "outputs", ()) or ("",))
            ]
        )
        return error(
            "unknown-input",
            f"{who} reads '{name}', which is neither a source nor a target",
            place=place,
            facts=_near(name, names),
            hint=hint or "mend the name, or declare it with b.source or @b.recipe",
        )


def _is_product(mapping: Mapping[str, Any]) -> bool:
    """Whether a dict of ``each=`` holds lists of values rather than values."""
    return any(isinstance(v, Iterable) and not isinstance(v, (str, bytes)) for v in mapping.values())


def _params(mapping: Mapping[str, Any], place: str) -> Params:
    return tuple((check_name(str(k), "parameter", place), check_value(v, str(k), place)) for k, v in mapping.items())


def _value_filled(value: Any, values: Mapping[str, Scalar]) -> Any:
    """A value of ``where=`` for one member: a parameter alone keeps its type."""
    if not isinstance(value, str):
        return value
    alone = PARAMETER.fullmatch(value)
    return values[alone[1]] if alone and alone[1] in values else filled(value, values)


def _matching(reference: Reference, members: Iterable[Params], values: Mapping[str, Scalar]) -> list[Params]:
    """Members that agree with the reference; a bare name means the member with this step's own values."""
    if not reference.bracketed:
        return [m for m in members if all(k in values and values[k] == v for k, v in m)]
    wanted = {k: value_from_text(filled(v, values)) for k, v in reference.fixed}
    texts = ((m, {k: value_from_text(value_text(v)) for k, v in m}) for m in members)
    return [
        m
        for m, have in texts
        if all(have.get(k) == v for k, v in wanted.items()) and (reference.rest or len(have) == len(wanted))
    ]


def _near(name: str, known: Iterable[str]) -> list[tuple[str, str]]:
    """A fact with the names nearest to `name`, none where nothing is near."""
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return [("nearest", ", ".join(near))] if near else []


def _of(value: Any, values: Mapping[str, Scalar], what: str, decl: RecipeDecl) -> Any:
    """A keyword's value for one member: what it is, or what the function gives for the parameters."""
    if not callable(value):
        return value
    try:
        return value(**values)
    except Exception as cause:
        raise error(
            "recipe-declaration",
            f"the function given as {what}= of recipe '{decl.name}' raised {type(cause).__name__}: {cause}",
            place=str(decl.place),
            facts=[("parameters", ", ".join(f"{k}={value_text(v)}" for k, v in values.items()) or "none")],
            hint="it gets each parameter of each= by keyword, and may use nothing else",
        ) from cause


def _check_signature(
    decl: RecipeDecl, signature: inspect.Signature, values: Mapping[str, Scalar], given: Mapping[str, Any]
) -> None:
    """Refuse inputs that the function cannot take."""
    kinds = {p.kind for p in signature.parameters.values()}
    if inspect.Parameter.VAR_KEYWORD in kinds:
        return
    extra = [k for k in given if k not in signature.parameters]
    both = [k for k in given if k in values]
    if extra or both:
        what = f"inputs= names '{(extra or both)[0]}'"
        why = "which the function does not take" if extra else "which is also a parameter of each="
        raise error(
            "recipe-declaration",
            f"recipe '{decl.name}': {what}, {why}",
            place=str(decl.place),
            facts=_near((extra or both)[0], signature.parameters),
            hint="keys of inputs= are parameter names of the function",
        )


def _positive(value: Any, what: str, decl: RecipeDecl) -> int:
    if isinstance(value, int) and value >= 1:
        return value
    raise error(
        "recipe-declaration",
        f"{what} of recipe '{decl.name}' is {value!r}",
        place=str(decl.place),
        hint="give a whole number of 1 or more",
    )


def _memory(decl: RecipeDecl, values: Mapping[str, Scalar]) -> int:
    memory = _of(decl.memory, values, "memory", decl)
    return 0 if memory is None else parse_bytes(memory, f"memory of recipe '{decl.name}'", str(decl.place))


def _needs(value: Any, decl: RecipeDecl) -> tuple[str, ...]:
    found = (value,) if isinstance(value, str) else () if value is None else value
    if isinstance(found, (list, tuple, set, frozenset)) and all(isinstance(n, str) and n for n in found):
        return tuple(sorted(found) if isinstance(found, (set, frozenset)) else found)
    raise error(
        "recipe-declaration",
        f"needs of recipe '{decl.name}' is {value!r}",
        place=str(decl.place),
        hint='give abilities of a worker: needs=("gpu",)',
    )


def _timeout(value: Any, decl: RecipeDecl) -> float | None:
    if value is None or (isinstance(value, (int, float)) and value > 0):
        return None if value is None else float(value)
    raise error(
        "recipe-declaration",
        f"timeout of recipe '{decl.name}' is {value!r}",
        place=str(decl.place),
        hint="give seconds",
    )
