"""Which names code takes from its module, against Python's own symbol tables."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import shutil
import symtable
import textwrap
import typing
from pathlib import Path

import pytest

from builder.authoring.scopes import Import, Use, has_star_import, module_imports, module_names, uses


def globals_by_symtable(table: symtable.SymbolTable) -> set[str]:
    """Names that the scopes below the module read from it, as the compiler sees it."""
    names = set()
    for child in table.get_children():
        for symbol in child.get_symbols():
            if symbol.is_global() and (symbol.is_referenced() or symbol.is_assigned()):
                names.add(symbol.get_name())
        names |= globals_by_symtable(child)
    return names


@pytest.mark.parametrize("module", [dataclasses, inspect, shutil, typing])
def test_every_function_of_a_library_uses_the_names_that_the_compiler_says(module) -> None:
    text = Path(module.__file__).read_text()
    tables = {(t.get_name(), t.get_lineno()): t for t in symtable.symtable(text, "x", "exec").get_children()}
    checked = 0
    for node in ast.parse(text).body:
        if not isinstance(node, ast.FunctionDef):
            continue
        table = tables.get((node.name, node.lineno)) or tables[node.name, node.decorator_list[0].lineno]
        skip = [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]
        skip += [a.annotation for a in ast.walk(node.args) if isinstance(a, ast.arg) and a.annotation]
        skip += [node.returns] if node.returns else []
        used = [s for s in table.get_symbols() if s.is_referenced() or s.is_assigned()]
        expected = {s.get_name() for s in used if s.is_global()}
        found = {use.chain[0] for use in uses(node, skip) if use.origin is None}
        assert found == expected | globals_by_symtable(table), node.name
        checked += 1
    assert checked >= 20


def chains(text: str) -> set[str]:
    return {".".join(use.chain) for use in uses(ast.parse(textwrap.dedent(text)).body[0])}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def f(a, *b, c=d, **e): return a, b, c, e, g", {"d", "g"}),
        ("def f(x: t) -> r: y: s = 1", {"t", "r", "s"}),
        ("@deco(k)\ndef f(): pass", {"deco", "k"}),
        ("def f(): return a.b.c, a.b, (a.b)().c", {"a.b.c", "a.b"}),
        ("def f(): return g().h.i, s[0].j", {"g", "s"}),
        ("def f(): x = 1; return lambda: x + y", {"y"}),
        ("def f():\n  def g(): nonlocal x; x = z\n  x = 1", {"z"}),
        ("def f():\n  global x\n  x = 1", {"x"}),
        ("def f():\n  global x\n  del x", {"x"}),
        ("def f(): return [x for x in y if x != z]", {"y", "z"}),
        ("def f(): return [w for x in y for w in x]", {"y"}),
        ("def f(): return {k: v for k, v in d}, [k]", {"d", "k"}),
        ("def f(): return [(last := x) for x in y], last", {"y"}),
        ("def f():\n  with a as b: return b", {"a"}),
        ("def f():\n  for i, (j, *k) in a: return i, j, k", {"a"}),
        ("def f():\n  try: pass\n  except (A, B) as e: return e", {"A", "B"}),
        (
            "def f(x):\n  match x:\n    case P(a=q, b=[r, *s]) | {'k': q, **s}: return q, r, s\n    case m.K: pass",
            {"P", "m.K"},
        ),
        (
            "def f(x):\n  class C(B, metaclass=M):\n    a = a\n    b = a\n    def m(self): return a, super()",
            {"B", "M", "a", "super"},
        ),
        ("class C:\n  k = 1\n  j = k\n  def m(self, d=k): return k", {"k"}),
        ("class C:\n  def m(self): return __class__", {"__class__"}),
        ("def f(): a.b = c; a[d] = 1; a.e += 1", {"a", "a.b", "a.e", "c", "d"}),
        ("def f(): import os.path; return os.path.join", {"os.path.join"}),
        ("async def f():\n  async with a as b, c: await b\n  async for d in e: yield d", {"a", "c", "e"}),
        ("def f(): return f'{a!r:>{b}}'", {"a", "b"}),
    ],
)
def test_names_follow_the_rules_of_scope(text, expected) -> None:
    assert chains(text) == expected


def test_imports_inside_say_where_a_name_comes_from() -> None:
    lines = ["from .. import h as k", "from .m import g", "import a.b", "import c.d as e", "return k.x, g, a.b, e"]
    text = "def f():\n  " + "\n  ".join(lines)
    assert set(uses(ast.parse(text).body[0])) == {
        Use(("k", "x"), Import(2, "", "h")),
        Use(("g",), Import(1, "m", "g")),
        Use(("a", "b"), Import(0, "a")),
        Use(("e",), Import(0, "c.d")),
    }


def test_an_import_on_two_branches_has_two_origins() -> None:
    text = "def f():\n  try:\n    from .fast import g\n  except ImportError:\n    from .slow import g\n  return g"
    found = [use for use in uses(ast.parse(text).body[0]) if use.chain == ("g",)]
    assert {use.origin for use in found} == {Import(1, "fast", "g"), Import(1, "slow", "g")}


def test_the_top_of_a_module_is_told_apart_from_what_is_inside() -> None:
    tree = ast.parse("import a.b\nfrom .c import d as e\nx = [y for y in z]\ndef f(): import inner\nif t: w = 1")
    assert module_names(tree) == {"a", "e", "x", "f", "w"}
    assert module_imports(tree) == {"a": {Import(0, "a")}, "e": {Import(1, "c", "d")}}


def test_a_star_import_is_seen_anywhere() -> None:
    assert has_star_import(ast.parse("if 1:\n  from a import *"))
    assert not has_star_import(ast.parse("from a import b"))
