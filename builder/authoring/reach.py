"""What one name of the project stands for, and which other names that reaches.

Decides what counts as the project's own, what as a library's, and when a whole module counts. Never gathers what one
recipe reaches: `authoring.fingerprint` does.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import importlib.util
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, NamedTuple

from builder.authoring.canonical import canonical_digest
from builder.authoring.definitions import absolute, captured, class_values, is_own, methods, unwrapped
from builder.authoring.guard import watching_on
from builder.authoring.load import Loaded
from builder.authoring.scopes import Import, Use, uses
from builder.authoring.values import Opaque, Writer, qualified_name
from builder.authoring.views import View, Views
from builder.digests import Digest, Hasher, digest_of
from builder.errors import BuilderError
from builder.graph.declare import Place
from builder.transforms.versions import VERSIONS, versions_of

_DYNAMIC = frozenset(
    {"getattr", "setattr", "delattr", "eval", "exec", "compile", "globals", "locals", "vars", "__import__"}
)
_ABOUT_MODULE = frozenset({"__file__", "__name__", "__package__", "__path__", "__doc__", "__debug__"})
_DYNAMIC_MODULE = frozenset({"__builtins__", "__loader__", "__spec__", "__dict__"})
_MISSING = object()
_TRANSFORMS = "builder.transforms"


class Ref(NamedTuple):
    """A name of a first-party module by the module's full name; no name: the whole module; no module: a version."""

    module: str
    name: str


@dataclass(slots=True)
class Described:
    """What a reference stands for: its subject for people, its own digest, and what it reaches."""

    subject: str
    digest: Digest
    refs: set[Ref] = field(default_factory=set)


class Descriptions:
    """What is known of one loaded project: each reached name is described once, for all its recipes."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.views = Views(loaded)
        self._described: dict[Ref, Described] = {}
        folder, project = str(loaded.folder), str(loaded.project)
        texts = ((loaded.package, "<recipes>"), (folder, "<recipes>"), (project, "<project>"))
        self._texts = texts + tuple((ascii(old)[1:-1], new) for old, new in texts if ascii(old)[1:-1] != old)

    def shown(self, text: str) -> str:
        """A text without the private name of the package and without where the project lies."""
        for old, new in self._texts:
            if old in text:
                text = text.replace(old, new)
        return text

    def described(self, ref: Ref) -> Described:
        """The item of one name, whole module or version."""
        if ref not in self._described:
            self._described[ref] = self._describe(ref)
        return self._described[ref]

    def _describe(self, ref: Ref) -> Described:
        view = self.views.by_name(ref.module)
        if view is None:
            return Described(ref.name, digest_of("version", ref.name))
        if not ref.name:
            return self._whole(view)
        described = Described(f"{view.label}.{ref.name}", digest_of("missing"))
        value = vars(view.module).get(ref.name, _MISSING)
        if value is not _MISSING:
            described.digest = self.value(value, view, described.refs, at=ref)
        elif "__getattr__" in vars(view.module):
            described.refs.add(Ref(view.name, ""))
        return described

    def _whole(self, view: View) -> Described:
        described = Described(f"module:{view.label}", digest_of("module"))
        hasher = Hasher("module").text(canonical_digest(view.tree))
        walk = Walk(self, view, described.refs)
        writer = Writer(hasher, walk.reach, self.shown)
        for use in (*uses(view.tree), *(Use((name,)) for name in sorted(view.names))):
            walk.use(use, writer)
        described.digest = hasher.digest()
        return described

    def value(self, value: Any, view: View | None, refs: set[Ref], at: Ref | None = None) -> Digest:
        """The digest of a value that stands in `view`, under the name `at`; what it reaches is added to `refs`."""
        hasher = Hasher("item")
        walk = Walk(self, view, refs, at)
        try:
            Writer(hasher, walk.reach, self.shown).write(value)
        except Opaque:
            if view is not None:
                refs.add(Ref(view.name, ""))
            return digest_of("opaque", self.shown(qualified_name(type(value))))
        return hasher.digest()

    def code(self, function: FunctionType, view: View, refs: set[Ref]) -> Digest:
        """The digest of a function's own code, without what it captures."""
        hasher = Hasher("item")
        walk = Walk(self, view, refs)
        walk.code(function, Writer(hasher, walk.reach, self.shown))
        return hasher.digest()

    def home(self, value: Any) -> Ref | None:
        """The reference to a function or class that is defined at the top of a module, and still found there."""
        home = self.views.home(value)
        return Ref(home[0].name, home[1]) if home else None


class Walk:
    """Writes one item: the code, and the values in it, of one place of the project; notes which names it reaches."""

    def __init__(self, state: Descriptions, view: View | None, refs: set[Ref], at: Ref | None = None) -> None:
        self.state = state
        self.view = view
        self.refs = refs
        self.at = at

    def reach(self, value: Any, writer: Writer) -> bool:
        """Write what stands for a part of the project's code; False where `value` is none. See `values.Reach`."""
        value = unwrapped(value)
        if isinstance(value, Place):  # where a source stands in its file is no part of what it is
            writer.text("place")
        elif (transform := self._version(value)) is not None:
            writer.text("transform", transform)
        elif isinstance(value, ModuleType):
            view = self.state.views.by_name(value.__name__)
            if view is None:
                return False
            self._whole(view, writer)
        elif isinstance(value, FunctionType):
            return self._function(value, writer)
        elif isinstance(value, type):
            return self._class(value, writer)
        elif "__wrapped__" in getattr(value, "__dict__", ()):
            writer.fields("wrapper", type(value), value.__wrapped__)
        else:
            return False
        return True

    def _version(self, value: Any) -> str | None:
        """The public transform that a value is, after noting its version; None for anything else."""
        if not isinstance(value, (FunctionType, type)) or value.__name__ not in VERSIONS:
            return None
        if not value.__module__.startswith(f"{_TRANSFORMS}."):
            return None
        self._note_versions([value.__name__])
        return value.__name__

    def _note_versions(self, names: Iterable[str]) -> None:
        self.refs.update(Ref("", f"transforms.{version}") for version in versions_of(names))

    def _whole(self, view: View, writer: Writer) -> None:
        self.refs.add(Ref(view.name, ""))
        writer.text("module", view.label)

    def _refer(self, ref: Ref, writer: Writer) -> None:
        """Write the name of another item; in one's own module without the module, so that a move changes less."""
        self.refs.add(ref)
        view = self.state.views.by_name(ref.module)
        label = "" if view is self.view or view is None else view.label
        writer.text("ref", f"{label}.{ref.name}")

    def _function(self, function: FunctionType, writer: Writer) -> bool:
        view = self.state.views.of_function(function)
        home = self.state.home(function)
        if view is None:
            return self._foreign_function(function, writer)
        if home is not None and home != self.at:
            self._refer(home, writer)
            return True
        Walk(self.state, view, self.refs).code(function, writer)
        for kind, name, value in captured(function):
            writer.fields(f"{kind}:{name}", value)
        return True

    def _foreign_function(self, function: FunctionType, writer: Writer) -> bool:
        """A library's function counts by name; one that a library made around the project's code by what it holds."""
        generated = self.state.views.by_name(function.__globals__.get("__name__"))
        if generated is not None:  # its text is not that of the module: exec, or a class decorator
            self._whole(generated, writer)
            return True
        if self._is_importable(function):
            return False
        writer.text("closure of", qualified_name(function.__code__), function.__code__.co_filename.rsplit("/", 1)[-1])
        for kind, name, value in captured(function):
            writer.fields(f"{kind}:{name}", value)
        return True

    def _class(self, cls: type, writer: Writer) -> bool:
        view = self.state.views.by_name(cls.__module__)
        home = self.state.home(cls)
        if view is None:
            return False
        if home is not None and home != self.at:
            self._refer(home, writer)
            return True
        walk = Walk(self.state, view, self.refs)
        nodes = view.class_nodes(cls)
        free = {n for f in vars(cls).values() if isinstance(f, FunctionType) for n in f.__code__.co_freevars}
        for node in nodes:
            walk.definition(node, (), free, writer)
        writer.fields("bases", *cls.__bases__)
        for name, value in class_values(cls, nodes):
            writer.fields(name, value)
        for name, method in methods(cls):
            if nodes and self.state.views.of_function(method) is view:
                for kind, key, value in captured(method):
                    writer.fields(f"{name}:{kind}:{key}", value)
        return True

    def code(self, function: FunctionType, writer: Writer) -> None:
        """Write a function's code, without builder's decorators and its defaults, whose values count instead."""
        view = self.view
        node = view.function_node(function.__code__) if view else None
        if view is None:
            return
        if node is None:
            self._whole(view, writer)
            return
        skip: list[ast.AST] = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
        if not isinstance(node, ast.Lambda):
            skip += [d for d in node.decorator_list if self._declares(d)]
        self.definition(node, skip, set(function.__code__.co_freevars), writer)

    def definition(self, node: ast.AST, skip: list[ast.AST] | tuple[()], free: set[str], writer: Writer) -> None:
        """Write a syntax tree and what its names stand for; `free` are those of enclosing functions."""
        writer.text("code", canonical_digest(node, skip))
        for use in uses(node, skip):
            if use.origin is not None or use.chain[0] not in free:
                self.use(use, writer)
        if self.view is not None and self.view.has_star:
            self._whole(self.view, writer)

    def _declares(self, decorator: ast.expr) -> bool:
        """Whether a decorator is ``recipe`` of builder, or ``update`` of one of its recipes."""
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        names = vars(self.view.module) if self.view else {}
        if isinstance(target, ast.Name):
            value = names.get(target.id)
            return getattr(value, "__name__", "") == "recipe" and is_own(value)
        if not isinstance(target, ast.Attribute) or not isinstance(target.value, ast.Name):
            return False
        value = names.get(target.value.id)
        if isinstance(value, ModuleType):
            return target.attr == "recipe" and value.__name__.partition(".")[0] == "builder"
        return target.attr == "update" and (unwrapped(value) is not value or isinstance(value, FunctionType))

    def use(self, use: Use, writer: Writer) -> None:
        """Write what one use of a name stands for."""
        if use.origin is not None:
            self._imported(use.origin, use.chain, writer)
        elif self.view is not None:
            self._follow(self.view, use.chain, writer)

    def _follow(self, view: View, chain: tuple[str, ...], writer: Writer) -> None:
        """Write what ``name.attribute…`` stands for in a first-party module."""
        name, rest = chain[0], chain[1:]
        value = vars(view.module).get(name, _MISSING)
        if name in _DYNAMIC_MODULE:
            self._whole(view, writer)
        elif name in _ABOUT_MODULE:
            writer.text(name)
        elif value is _MISSING and view is self.view and hasattr(builtins, name):
            if name in _DYNAMIC:
                self._whole(view, writer)
        elif value is _MISSING:
            self._missing(view, chain, writer)
        elif isinstance(value, ModuleType):
            self._module(value, rest, chain, writer)
        elif self._is_library(view, name, value):
            self._library(name, value, writer)
        else:
            self._refer(self.state.home(value) or self._origin(view, name, value), writer)

    def _missing(self, view: View, chain: tuple[str, ...], writer: Writer) -> None:
        """A module of a package that nothing has imported yet, or a name that is not there."""
        inner = self._import(f"{view.name}.{chain[0]}", is_relative=True) if view.is_package else None
        if inner is not None:
            self._module(inner, chain[1:], chain, writer)
        else:
            self._refer(Ref(view.name, chain[0]), writer)

    def _library(self, name: str, value: Any, writer: Writer) -> None:
        transform = self._version(value)
        if transform is not None:  # in which module it lies does not count
            writer.text("transform", name, transform)
            return
        library = qualified_name(value if hasattr(value, "__name__") else type(value))
        writer.text("library", name, library)
        module, _, last = library.partition(".")
        if self.view is not None and (module == "importlib" or (module == "builtins" and last in _DYNAMIC)):
            self._whole(self.view, writer)

    def _module(self, module: ModuleType, rest: tuple[str, ...], chain: tuple[str, ...], writer: Writer) -> None:
        view = self.state.views.by_name(module.__name__)
        if view is not None:
            if rest:
                self._follow(view, rest, writer)
            else:
                self._whole(view, writer)
            return
        if self._is_folder(module):
            self._in_folder(module, rest, writer)
            return
        top = module.__name__.partition(".")[0]
        writer.text("library", chain[0], module.__name__)
        is_dynamic = top == "importlib" or (top == "builtins" and (not rest or rest[0] in _DYNAMIC))
        if self.view is not None and (is_dynamic or (top == "sys" and rest[:1] == ("modules",))):
            self._whole(self.view, writer)
        elif top == "builder":
            self._transforms_along(".".join((module.__name__, *rest)))

    def _is_folder(self, module: ModuleType) -> bool:
        return module.__name__.partition(".")[0] == self.state.loaded.package

    def _in_folder(self, module: ModuleType, rest: tuple[str, ...], writer: Writer) -> None:
        """A folder of recipes without ``__init__.py``: it holds nothing but its modules."""
        inner = vars(module).get(rest[0]) if rest else None
        if rest and inner is None:
            inner = self._import(f"{module.__name__}.{rest[0]}", is_relative=True)
        if isinstance(inner, ModuleType):
            self._module(inner, rest[1:], rest, writer)
            return
        for name in sorted(self.state.loaded.sources):
            view = self.state.views.by_name(name) if name.startswith(module.__name__ + ".") else None
            if view is not None:
                self._whole(view, writer)

    def _transforms_along(self, path: str) -> None:
        """Note the version of the public transform that ``t.repair`` leads to; of all where it leads to none.

        By name alone: to look at the attribute would import what the recipe needs only where it runs.
        """
        if path == _TRANSFORMS or path.startswith(f"{_TRANSFORMS}."):
            named = next((word for word in path.split(".")[2:] if word in VERSIONS), None)
            self._note_versions(VERSIONS if named is None else [named])

    def _is_importable(self, function: FunctionType) -> bool:
        """Whether a library's function is found by its name, and so is no closure around the project's code."""
        if self.state.views.by_name(function.__module__) is not None:
            return False  # functools.wraps gave it the name of what it wraps
        found: Any = sys.modules.get(function.__module__ or "")
        for part in function.__qualname__.split("."):
            found = getattr(found, "__dict__", {}).get(part)
        return getattr(found, "__func__", found) is function

    def _is_library(self, view: View, name: str, value: Any) -> bool:
        """Whether a value counts by name: a library's function or class, or anything imported from a library."""
        if is_own(value) and unwrapped(value) is not value:
            return False
        for origin in view.imports.get(name, ()):
            module = sys.modules.get(origin.module) if origin.level == 0 and origin.name else None
            if (
                module is not None
                and self.state.views.by_name(module.__name__) is None
                and vars(module).get(origin.name, _MISSING) is value
            ):
                return self.state.home(value) is None
        if isinstance(value, type):
            return self.state.views.by_name(value.__module__) is None
        if isinstance(value, FunctionType):
            home = self.state.views.by_name(value.__globals__.get("__name__"))
            return home is None and self._is_importable(value)
        return isinstance(value, BuiltinFunctionType) and isinstance(value.__self__, ModuleType)

    def _origin(self, view: View, name: str, value: Any) -> Ref:
        """Where a value was imported from, if it is still the same there; else the name at hand."""
        for origin in view.imports.get(name, ()):
            module = sys.modules.get(absolute(view.module, origin))
            source = self.state.views.by_name(module.__name__) if module else None
            if source is not None and origin.name and vars(source.module).get(origin.name, _MISSING) is value:
                return Ref(source.name, origin.name)
        return Ref(view.name, name)

    def _imported(self, origin: Import, chain: tuple[str, ...], writer: Writer) -> None:
        """Write what a name stands for that an import inside of a function takes from a module."""
        if self.view is None:
            return
        module = self._import(absolute(self.view.module, origin), is_relative=origin.level > 0)
        if module is None:
            return
        if not origin.name:
            self._module(module, chain[1:], chain, writer)
            return
        if origin.level and origin.name not in vars(module):
            self._import(f"{module.__name__}.{origin.name}", is_relative=True)
        self._module(module, (origin.name, *chain[1:]), chain, writer)

    def _import(self, name: str, *, is_relative: bool) -> ModuleType | None:
        """A first-party module, imported now; of a library only what is loaded, and builder's own."""
        if name in sys.modules:
            return sys.modules[name]
        top = name.partition(".")[0]
        if not is_relative and top != "builder":
            spec = None if top in sys.modules or top in sys.stdlib_module_names else importlib.util.find_spec(top)
            if spec is None or not self.state.views.owns(spec.origin):
                return None
        try:
            with watching_on(self.state.loaded.watch):
                return importlib.import_module(name)
        except BuilderError:
            raise
        except Exception:  # it will fail again where the recipe runs, and there with its place
            return None
