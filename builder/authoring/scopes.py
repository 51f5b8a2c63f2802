"""Which names a piece of Python takes from its module, and which attributes of them it follows.

Decides what is local and what is not, by Python's rules of scope. Never looks at values.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from builder.authoring.canonical import children

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(frozen=True, slots=True, order=True)
class Import:
    """Where an import takes a name from: ``from {level dots}{module} import {name}``; no name: the module itself."""

    level: int
    module: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Use:
    """A name of the module and the attributes that follow it: ``helpers.x.y`` is ``("helpers", "x", "y")``.

    ``origin`` says where the name comes from where an import inside of the code bound it.
    """

    chain: tuple[str, ...]
    origin: Import | None = None

    @property
    def order(self) -> tuple[tuple[str, ...], Import]:
        """What uses are sorted by."""
        return self.chain, self.origin or Import(-1, "")


@dataclass(slots=True)
class _Scope:
    is_class: bool = False
    bound: set[str] = field(default_factory=set)
    imports: dict[str, set[Import]] = field(default_factory=dict)
    outer: set[str] = field(default_factory=set)
    """Names declared global."""
    enclosing: set[str] = field(default_factory=set)
    """Names declared nonlocal."""
    first_bound: dict[str, int] = field(default_factory=dict)
    """In a class: the statement that first binds a name; before it, the name is the module's."""


def uses(node: ast.AST, skip: Collection[ast.AST] = ()) -> tuple[Use, ...]:
    """Every use of a name that the code does not bind itself, sorted; for a module, its own names too.

    Built-in names and those of enclosing functions are among them. Nodes in `skip` do not count.
    """
    visitor = _Uses(frozenset(map(id, skip)))
    visitor.visit(node)
    return tuple(sorted(visitor.found, key=lambda use: use.order))


def has_star_import(tree: ast.Module) -> bool:
    """Whether ``from … import *`` stands in the module; Python allows it outside of functions and classes only."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*":
            return True
        if not isinstance(node, (*_FUNCTIONS, ast.ClassDef, ast.expr)):
            waiting += children(node)
    return False


def module_imports(tree: ast.Module) -> dict[str, set[Import]]:
    """The names that imports outside of functions and classes bind in the module, with their possible origins."""
    return _scope_of(tree.body).imports


def module_names(tree: ast.Module) -> frozenset[str]:
    """The names that the module's own code binds at its top level."""
    return frozenset(_scope_of(tree.body).bound)


class _Uses(ast.NodeVisitor):
    def __init__(self, skip: frozenset[int]) -> None:
        self.skip = skip
        self.scopes: list[_Scope] = []
        self.found: set[Use] = set()
        self.statement = 0

    def visit(self, node: ast.AST) -> None:
        if id(node) not in self.skip:
            super().visit(node)

    def generic_visit(self, node: ast.AST) -> None:
        for child in children(node):
            self.visit(child)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load) or any(node.id in s.outer for s in self.scopes[-1:]):
            self._use((node.id,))

    def visit_Attribute(self, node: ast.Attribute) -> None:
        attributes: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            attributes.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            self._use((inner.id, *reversed(attributes)))
        else:
            self.visit(inner)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._visit_all(node.decorator_list)
        self._visit_defaults(node.args)
        self._visit_all(a.annotation for a in _arguments(node.args) if a.annotation is not None)
        if node.returns is not None:
            self.visit(node.returns)
        self._inside(_function_scope(node.args, node.body), node.body)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._visit_defaults(node.args)
        self._inside(_function_scope(node.args, [node.body]), [node.body])

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._visit_all([*node.decorator_list, *node.bases, *node.keywords])
        scope = _scope_of(node.body)
        scope.is_class = True
        scope.bound |= {"__module__", "__qualname__"}
        self.scopes.append(scope)
        outside, self.statement = self.statement, 0
        for index, statement in enumerate(node.body):
            self.statement = index
            self.visit(statement)
        self.statement = outside
        self.scopes.pop()

    def _visit_comprehension(self, node: ast.AST) -> None:
        generators: list[ast.comprehension] = node.generators  # type: ignore[attr-defined]
        self.visit(generators[0].iter)  # evaluated outside
        scope = _Scope()
        for generator in generators:
            _bind(generator.target, scope)
        self.scopes.append(scope)
        for index, generator in enumerate(generators):
            self._visit_all([generator.target, *generator.ifs] + ([generator.iter] if index else []))
        for name in ("key", "value", "elt"):
            part = getattr(node, name, None)
            if part is not None:
                self.visit(part)
        self.scopes.pop()

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _visit_comprehension

    def _visit_defaults(self, arguments: ast.arguments) -> None:
        self._visit_all([*arguments.defaults, *(d for d in arguments.kw_defaults if d is not None)])

    def _visit_all(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)

    def _inside(self, scope: _Scope, body: Iterable[ast.AST]) -> None:
        self.scopes.append(scope)
        self._visit_all(body)
        self.scopes.pop()

    def _use(self, chain: tuple[str, ...]) -> None:
        name = chain[0]
        for depth, scope in enumerate(reversed(self.scopes)):
            if name in scope.outer:
                break
            if name in scope.enclosing or (scope.is_class and depth > 0):
                continue
            if scope.is_class and scope.first_bound.get(name, -1) >= self.statement:
                continue
            if name in scope.bound:
                self.found.update(Use(chain, origin) for origin in scope.imports.get(name, ()))
                return
        self.found.add(Use(chain))


def _arguments(arguments: ast.arguments) -> list[ast.arg]:
    found = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return found + [a for a in (arguments.vararg, arguments.kwarg) if a is not None]


def _function_scope(arguments: ast.arguments, body: Iterable[ast.AST]) -> _Scope:
    scope = _scope_of(body)
    scope.bound |= {a.arg for a in _arguments(arguments)}
    return scope


def _scope_of(body: Iterable[ast.AST]) -> _Scope:
    scope = _Scope()
    for index, node in enumerate(body):
        before = set(scope.bound)
        _bind(node, scope)
        scope.first_bound |= dict.fromkeys(scope.bound - before, index)
    scope.bound -= scope.outer | scope.enclosing
    return scope


def _bind(node: ast.AST, scope: _Scope) -> None:
    """Note every name that `node` binds in the scope that it stands in."""
    if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
        scope.bound.add(node.name)
    elif isinstance(node, ast.Name):
        if not isinstance(node.ctx, ast.Load):
            scope.bound.add(node.id)
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        for name, origin in _imported(node):
            scope.bound.add(name)
            scope.imports.setdefault(name, set()).add(origin)
    elif isinstance(node, ast.Global):
        scope.outer.update(node.names)
    elif isinstance(node, ast.Nonlocal):
        scope.enclosing.update(node.names)
    elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
        scope.bound.add(node.name)
    elif isinstance(node, ast.MatchMapping) and node.rest:
        scope.bound.add(node.rest)
    for child in _children_in_scope(node):
        _bind(child, scope)


def _children_in_scope(node: ast.AST) -> Iterator[ast.AST]:
    if isinstance(node, _FUNCTIONS):
        yield from (*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults))
    elif isinstance(node, ast.Lambda):
        yield from (*node.args.defaults, *filter(None, node.args.kw_defaults))
    elif isinstance(node, ast.ClassDef):
        yield from (*node.decorator_list, *node.bases)
    elif isinstance(node, _COMPREHENSIONS):
        # only := binds outside of a comprehension
        yield from _walrus_targets(node)
    elif not isinstance(node, (ast.Name, ast.Constant)):
        yield from children(node)


def _walrus_targets(node: ast.AST) -> Iterator[ast.AST]:
    for child in children(node):
        if isinstance(child, ast.NamedExpr):
            yield child.target
        yield from _walrus_targets(child)


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, Import]]:
    for alias in node.names:
        if isinstance(node, ast.ImportFrom):
            if alias.name != "*":
                yield alias.asname or alias.name, Import(node.level, node.module or "", alias.name)
        elif alias.asname:
            yield alias.asname, Import(0, alias.name)
        else:
            top = alias.name.partition(".")[0]
            yield top, Import(0, top)
