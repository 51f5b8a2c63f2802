"""What names the rows of a ready-made recipe: the keys of what it reads, known once everything is declared.

Decides the key of each ready-made recipe and which columns it reads. A key stands in a source's or a recipe's
declaration, so nothing is opened. Never decides what a reference means for one member: `graph.expand` does.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from builder.authoring.ready_call import ReadyCall
from builder.errors import BuilderError, error
from builder.graph.declare import Reading, ReadyMade, RecipeDecl, SourceDecl
from builder.names import PARAMETER, parse_reference
from builder.nouns import replace

Declaration = SourceDecl | RecipeDecl


def resolved(declarations: Iterable[Declaration]) -> tuple[Declaration, ...]:
    """The declarations in their order, each ready-made recipe with its key and with what it reads.

    Raises
    ------
    ConfigError
        ``recipe-declaration``: a key that is not known or cannot be, a ``{param}`` that is no parameter.
    """
    declared = tuple(declarations)
    keys = _Keys(declared)
    return tuple(keys.resolved(d, d.ready_made) if isinstance(d, RecipeDecl) and d.ready_made else d for d in declared)


class _Keys:
    """The keys and parameters of a project's sources and recipes, by their declarations."""

    def __init__(self, declared: Iterable[Declaration]) -> None:
        self._known: dict[str, Declaration] = {}
        for decl in declared:  # the graph refuses a name that stands twice
            self._known.setdefault(parse_reference(decl.name).base, decl)
        self._open: list[str] = []

    def resolved(self, decl: RecipeDecl, made: ReadyMade) -> RecipeDecl:
        """A ready-made recipe with its key, its inputs and its function."""
        self._check_parameters(decl, made)
        key = self.key(decl)
        reads = {name: self._columns(reading, key, made) for name, reading in made.inputs.items()}
        _check_region(decl, made, reads)
        call = ReadyCall(decl.name, made, key, reads)
        return replace(decl, key=key, function=call, inputs=call.inputs)

    def _columns(self, reading: Reading, key: tuple[str, ...], made: ReadyMade) -> tuple[str, ...] | None:
        """The columns to be read of one input; the parameters of a whole family come with it in any case."""
        if reading.columns is None:
            return None
        named = [k for k in key if k not in made.by] if reading.is_keyed else []
        leading = self._leading(reading.ref)
        return tuple(c for c in dict.fromkeys((*named, *reading.columns)) if c not in leading)

    def key(self, decl: Declaration) -> tuple[str, ...]:
        """The key of a declared source or recipe."""
        made = decl.ready_made if isinstance(decl, RecipeDecl) else None
        if made is None or decl.name in self._open:  # the graph refuses recipes that need each other
            return decl.key
        if made.keyed_as is None:
            if decl.key and set(decl.key) != set(made.by):
                hint = f"leave key= out: the rows are named by {', '.join(made.by)}"
                raise _wrong(decl, f"key= of '{decl.name}' is {', '.join(decl.key)}", hint)
            return decl.key or made.by
        ref = made.inputs[made.keyed_as].ref
        self._open.append(decl.name)
        upstream = decl.key or self._key_of(ref, decl)
        self._open.pop()
        if made.by and not upstream:
            hint = f"declare the key of '{ref}', or say it here with key="
            raise _wrong(decl, f"'{decl.name}' has rows that nothing names: '{ref}' has no key", hint)
        return (*upstream, *(c for c in made.by if c not in upstream))

    def _key_of(self, ref: str, asker: Declaration) -> tuple[str, ...]:
        """The key of what a reference leads to; none where the graph will refuse it."""
        reference = parse_reference(ref, str(asker.place))
        base = reference.base.partition(".")[0]
        fixed = dict(reference.fixed)
        keys = set()
        for decl in self._meant(base):
            key = tuple(PARAMETER.sub(lambda m: fixed.get(m[1], m[0]), k) for k in self.key(decl))
            keys.add((*self._leading(ref), *(k for k in key if k not in self._leading(ref))) if key else key)
        if len(keys) > 1:
            shown = "; ".join(sorted(", ".join(k) or "none" for k in keys))
            raise _wrong(
                asker, f"'{ref}' of '{asker.name}' means tables of different keys: {shown}", "say it with key="
            )
        return keys.pop() if keys else ()

    def _meant(self, base: str) -> list[Declaration]:
        """The declarations that a base name, which may hold ``{param}``, can mean."""
        if not PARAMETER.search(base):
            return [self._known[base]] if base in self._known else []
        pattern = re.compile(".+".join(re.escape(text) for text in PARAMETER.split(base)[::2]))
        return [decl for name, decl in self._known.items() if pattern.fullmatch(name)]

    def _leading(self, ref: str) -> tuple[str, ...]:
        """The parameters that stand before the columns of what a reference gathers."""
        reference = parse_reference(ref)
        if not reference.rest:
            return ()
        return tuple(
            dict.fromkeys(p for d in self._meant(reference.base.partition(".")[0]) for p in self.parameters(d))
        )

    def parameters(self, decl: Declaration) -> tuple[str, ...]:
        """The parameters of the members of a source or recipe, in order."""
        if isinstance(decl, SourceDecl):
            return tuple(name for name, _ in parse_reference(decl.name).fixed)
        if decl.name in self._open:
            return ()
        self._open.append(decl.name)
        found = tuple(dict.fromkeys(self._named_by(decl.each)))
        self._open.pop()
        return found

    def _named_by(self, each: Any) -> Iterator[str]:
        """The parameters that a value of ``each=`` names; what is wrong in it, the graph refuses."""
        if isinstance(each, str):
            base = each.partition(".")[0]
            yield from self.parameters(self._known[base]) if base in self._known else ()
        elif isinstance(each, Mapping):
            yield from map(str, each)
        elif isinstance(each, (list, tuple)):
            for item in each:
                yield from self._named_by(item)

    def _check_parameters(self, decl: RecipeDecl, made: ReadyMade) -> None:
        """Refuse a ``{param}`` that is none of the recipe's, and a parameter with the name of an input."""
        known = self.parameters(decl)
        taken = next((p for p in known if p in made.inputs), None)
        if taken is not None:
            raise _wrong(
                decl, f"the parameter '{taken}' of '{decl.name}' has the name of an input", "rename it in each="
            )
        refs = [reading.ref for reading in made.inputs.values()]
        for name in PARAMETER.findall("\0".join((*_texts(made.options), *refs, *decl.key))):
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = (
                    f"did you mean {{{near[0]}}}?" if near else f"it has {', '.join(known) or 'none: each= gives them'}"
                )
                raise _wrong(decl, f"'{decl.name}' has no parameter '{name}', which {{{name}}} asks for", hint)


def _check_region(decl: RecipeDecl, made: ReadyMade, reads: Mapping[str, tuple[str, ...] | None]) -> None:
    """Refuse a region's id that would have the name of a column of the points."""
    new = made.options.get("region_id")
    kept = {*decl.key, *made.options.get("keep", ()), *(reads.get("points") or ())}
    kept -= {made.options.get(w) for w in ("lon", "lat")} - set(made.options.get("keep", ()))
    if new in kept - set(made.by):
        raise _wrong(
            decl,
            f"'{decl.name}' would have two columns '{new}': of the points, and the region's id",
            f'name the region\'s: region_id={{"region": "{made.options["id_column"]}"}}',
        )


def _texts(value: Any) -> Iterator[str]:
    """Every text in a value of options."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for pair in value.items():
            yield from _texts(pair)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _wrong(decl: Declaration, message: str, hint: str) -> BuilderError:
    return error("recipe-declaration", message, place=str(decl.place), hint=hint)
