"""What changes a recipe's fingerprint, and what does not."""

from __future__ import annotations

import ast
import difflib
import dis
import os
import random
import shutil
import statistics
import subprocess
import sys
import textwrap
import time
import types
from pathlib import Path

import pytest

HELPERS = """
    from .deep import scale
    LIMIT = 3

    def normalise(x):
        return scale(x) + LIMIT

    def unused(x):
        return x
"""
DEEP = """
    FACTOR = 2

    def scale(x):
        return x * FACTOR
"""
CLEAN = """
    from . import helpers
    from .helpers import normalise as norm

    def make(threshold):
        def inner(x, low=1, *, high=9):
            return x > threshold
        return inner

    bound = make(5)

    def f(x, size=3):
        return norm(x) + helpers.LIMIT + size + bound(x)
"""
PROJECT = {"clean.py": CLEAN, "helpers.py": HELPERS, "deep.py": DEEP}


def edited(path: str, old: str, new: str) -> dict[str, str]:
    text = textwrap.dedent(PROJECT[path])
    assert old in text
    return {**PROJECT, path: text.replace(old, new)}


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("clean.py", "    return norm(x)", "    # a comment\n    return norm(x)"),
        ("clean.py", "    return norm(x)", '    """A docstring."""\n    return norm(x)'),
        ("clean.py", "    return norm(x)", "    pass\n    return norm(x)"),
        ("clean.py", "def f(", "\n\n\n\ndef f("),
        ("clean.py", "size=3", "size = 1 + 2"),
        ("clean.py", "norm(x) + helpers.LIMIT", "(norm(x)\n        + (helpers . LIMIT))"),
        ("clean.py", "bound = make(5)", "bound = make(4 + 1)"),
        ("helpers.py", "LIMIT = 3", "LIMIT = 1 + 2"),
        ("helpers.py", "    return x\n", "    return x + 1\n"),
        ("helpers.py", "def unused(x):\n    return x\n", ""),
        ("helpers.py", "LIMIT = 3", "LIMIT = 3\nOTHER = object()"),
        ("deep.py", "def scale(x):", 'def scale(x):\n    "doc"'),
    ],
)
def test_what_a_reader_would_not_call_a_change_is_none(print_of, path, old, new) -> None:
    assert print_of(edited(path, old, new)) == print_of(PROJECT)


@pytest.mark.parametrize(
    ("path", "old", "new", "subject"),
    [
        ("clean.py", "+ size +", "- size +", "f"),
        ("clean.py", "size=3", "size=4", "default:size"),
        ("clean.py", "size=3", "size=3.0", "default:size"),
        ("clean.py", "make(5)", "make(6)", "clean.bound"),
        ("clean.py", "low=1", "low=2", "clean.bound"),
        ("clean.py", "high=9", "high=8", "clean.bound"),
        ("clean.py", "x > threshold", "x >= threshold", "clean.bound"),
        ("helpers.py", "LIMIT = 3", "LIMIT = 4", "helpers.LIMIT"),
        ("helpers.py", "scale(x) + LIMIT", "scale(x) - LIMIT", "helpers.normalise"),
        ("deep.py", "x * FACTOR", "FACTOR * x", "deep.scale"),
        ("deep.py", "FACTOR = 2", "FACTOR = 2.0", "deep.FACTOR"),
        ("deep.py", "FACTOR = 2", "", "deep.FACTOR"),
    ],
)
def test_a_change_counts_under_the_subject_that_changed(print_of, path, old, new, subject) -> None:
    before, after = print_of(PROJECT), print_of(edited(path, old, new))
    assert before.digest != after.digest
    assert {s for s in dict(before.items) if dict(before.items)[s] != dict(after.items).get(s)} == {subject}


def test_subjects_name_all_that_is_reached_and_nothing_else(print_of) -> None:
    assert [s for s, _ in print_of(PROJECT).items] == [
        "clean.bound",
        "deep.FACTOR",
        "deep.scale",
        "default:size",
        "f",
        "helpers.LIMIT",
        "helpers.normalise",
    ]


def test_rewriting_every_file_from_its_syntax_tree_changes_nothing(print_of) -> None:
    rewritten = {path: ast.unparse(ast.parse(textwrap.dedent(text))) for path, text in PROJECT.items()}
    assert print_of(rewritten) == print_of(PROJECT)


PAIRS = {
    "constant in an f-string": ("def f(x): return f'{x}a'", "def f(x): return f'{x}b'"),
    "format of an f-string": ("def f(x): return f'{x:3}'", "def f(x): return f'{x:4}'"),
    "match": (
        "def f(x):\n  match x:\n    case {'a': 1, **rest}: return rest",
        "def f(x):\n  match x:\n    case {'a': 2, **rest}: return rest",
    ),
    "async": ("async def f(x): return x", "def f(x): return x"),
    "walrus": ("def f(x): return (y := x)", "def f(x): return (y := -x)"),
    "int is not float": ("def f(x): return 1", "def f(x): return 1.0"),
    "int is not bool": ("def f(x): return 1", "def f(x): return True"),
    "text is not bytes": ("def f(x): return 'a'", "def f(x): return b'a'"),
    "minus zero": ("Z = 0.0\ndef f(x): return Z", "Z = -0.0\ndef f(x): return Z"),
    "annotation": ("def f(x: int): return x", "def f(x: str): return x"),
    "decorator": (
        "import functools\n@functools.lru_cache\ndef g(x): return x\ndef f(x): return g(x)",
        "import functools\ndef g(x): return x\ndef f(x): return g(x)",
    ),
    "decorated helper": (
        "import functools\n@functools.lru_cache\ndef g(x): return x\ndef f(x): return g(x)",
        "import functools\n@functools.lru_cache\ndef g(x): return -x\ndef f(x): return g(x)",
    ),
    "own wrapper": (
        "def w(g):\n  def inner(x): return g(x)\n  return inner\n@w\ndef g(x): return x\ndef f(x): return g(x)",
        "def w(g):\n  def inner(x): return -g(x)\n  return inner\n@w\ndef g(x): return x\ndef f(x): return g(x)",
    ),
    "what a wrapper wraps": (
        "def w(g):\n  def inner(x): return g(x)\n  return inner\n@w\ndef g(x): return x\ndef f(x): return g(x)",
        "def w(g):\n  def inner(x): return g(x)\n  return inner\n@w\ndef g(x): return 1\ndef f(x): return g(x)",
    ),
    "argument of a decorator": (
        "def w(n):\n  def outer(g):\n    def inner(x): return g(x) + n\n    return inner\n  return outer\n"
        "@w(1)\ndef f(x): return x",
        "def w(n):\n  def outer(g):\n    def inner(x): return g(x) + n\n    return inner\n  return outer\n"
        "@w(2)\ndef f(x): return x",
    ),
    "method": (
        "class C:\n  def m(self): return 1\ndef f(x): return C().m()",
        "class C:\n  def m(self): return 2\ndef f(x): return C().m()",
    ),
    "base class": (
        "class B:\n  def m(self): return 1\nclass C(B): pass\ndef f(x): return C().m()",
        "class B:\n  def m(self): return 2\nclass C(B): pass\ndef f(x): return C().m()",
    ),
    "what a method reaches": (
        "K = 1\nclass C:\n  def m(self): return K\nc = C()\ndef f(x): return c.m()",
        "K = 2\nclass C:\n  def m(self): return K\nc = C()\ndef f(x): return c.m()",
    ),
    "attribute of an instance": (
        "class C:\n  def __init__(self, v): self.v = v\nc = C(1)\ndef f(x): return c.v",
        "class C:\n  def __init__(self, v): self.v = v\nc = C(2)\ndef f(x): return c.v",
    ),
    "slot of an instance": (
        "class C:\n  __slots__ = ('v',)\n  def __init__(self, v): self.v = v\nc = C(1)\ndef f(x): return c.v",
        "class C:\n  __slots__ = ('v',)\n  def __init__(self, v): self.v = v\nc = C(2)\ndef f(x): return c.v",
    ),
    "computed class attribute": (
        "import json\nclass C:\n  v = json.loads('1')\ndef f(x): return C.v",
        "import json\nK = '2'\nclass C:\n  v = json.loads(K)\ndef f(x): return C.v",
    ),
    "enum": (
        "from enum import Enum\nclass E(Enum):\n  A = 1\ndef f(x): return E.A",
        "from enum import Enum\nclass E(Enum):\n  A = 2\ndef f(x): return E.A",
    ),
    "dataclass field": (
        "from dataclasses import dataclass\n@dataclass(frozen=True, slots=True)\nclass P:\n  a: int = 1\n"
        "def f(x): return P()",
        "from dataclasses import dataclass\n@dataclass(frozen=True, slots=True)\nclass P:\n  a: int = 2\n"
        "def f(x): return P()",
    ),
    "named tuple": (
        "from collections import namedtuple\nP = namedtuple('P', 'a b')\ndef f(x): return P(1, 2)",
        "from collections import namedtuple\nP = namedtuple('P', 'b a')\ndef f(x): return P(1, 2)",
    ),
    "partial": (
        "from functools import partial\ndef g(a, b): return a\nh = partial(g, 1)\ndef f(x): return h(x)",
        "from functools import partial\ndef g(a, b): return a\nh = partial(g, 2)\ndef f(x): return h(x)",
    ),
    "function in a dict": (
        "def g(x): return 1\nT = {'g': g}\ndef f(x): return T['g'](x)",
        "def g(x): return 2\nT = {'g': g}\ndef f(x): return T['g'](x)",
    ),
    "lambda in a list": (
        "T = [lambda x: 1, lambda x: 2]\ndef f(x): return T[0](x)",
        "T = [lambda x: 2, lambda x: 1]\ndef f(x): return T[0](x)",
    ),
    "lambda as default": ("def f(x, g=lambda y: 1): return g(x)", "def f(x, g=lambda y: 2): return g(x)"),
    "order of a dict": ("D = {1: 1, 2: 2}\ndef f(x): return D", "D = {2: 2, 1: 1}\ndef f(x): return D"),
    "library function": (
        "from math import sin as g\ndef f(x): return g(x)",
        "from math import cos as g\ndef f(x): return g(x)",
    ),
    "library module": ("import math as m\ndef f(x): return m.pi", "import cmath as m\ndef f(x): return m.pi"),
    "which helper a name stands for": (
        "def a(x): return 1\ndef b(x): return 2\ng, h = a, b\ndef f(x): return g(x) - h(x)",
        "def a(x): return 1\ndef b(x): return 2\ng, h = b, a\ndef f(x): return g(x) - h(x)",
    ),
    "nested function": (
        "K = 1\ndef f(x):\n  def g():\n    return [K for _ in x]\n  return g()",
        "K = 2\ndef f(x):\n  def g():\n    return [K for _ in x]\n  return g()",
    ),
    "class inside a function": (
        "K = 1\ndef f(x):\n  class C:\n    k = K\n  return C.k",
        "K = 2\ndef f(x):\n  class C:\n    k = K\n  return C.k",
    ),
    "global statement": (
        "K = 1\ndef f(x):\n  global K\n  K += x\n  return K",
        "K = 2\ndef f(x):\n  global K\n  K += x\n  return K",
    ),
    "getattr widens to the module": (
        "import math\ndef f(x): return getattr(math, x)\ndef other(): return 1",
        "import math\ndef f(x): return getattr(math, x)\ndef other(): return 2",
    ),
    "eval widens to the module's values": (
        "import json\nK = json.loads('[1]')\ndef f(x): return eval(x)",
        "import json\nK = json.loads('[ 1 ]') + [2]\nK.pop()\nK.append(3)\ndef f(x): return eval(x)",
    ),
    "star import widens": (
        "from math import *\ndef f(x): return sin(x)\ndef other(): return 1",
        "from math import *\ndef f(x): return sin(x)\ndef other(): return 2",
    ),
    "a lock widens": (
        "import threading\nL = threading.Lock()\ndef f(x): return L\nother = 1",
        "import threading\nL = threading.Lock()\ndef f(x): return L\nother = 2",
    ),
    "a name that is missing": ("def f(x): return later", "later = 1\ndef f(x): return later"),
    "function attribute": (
        "def g(x): return g.k\ng.k = 1\ndef f(x): return g(x)",
        "def g(x): return g.k\ng.k = 2\ndef f(x): return g(x)",
    ),
    "context manager": (
        "from contextlib import contextmanager\n@contextmanager\ndef g():\n  yield 1\ndef f(x): return g()",
        "from contextlib import contextmanager\n@contextmanager\ndef g():\n  yield 2\ndef f(x): return g()",
    ),
    "single dispatch": (
        "from functools import singledispatch\n@singledispatch\ndef g(x): return 1\n"
        "@g.register\ndef _(x: int): return 1\ndef f(x): return g(x)",
        "from functools import singledispatch\n@singledispatch\ndef g(x): return 1\n"
        "@g.register\ndef _(x: int): return 2\ndef f(x): return g(x)",
    ),
    "numpy array": (
        "import numpy as np\nA = np.array([1, 2])\ndef f(x): return A",
        "import numpy as np\nA = np.array([1, 3])\ndef f(x): return A",
    ),
    "closure of a method": (
        "def make(k):\n  class C:\n    def m(self): return k\n  return C\nC = make(1)\ndef f(x): return C().m()",
        "def make(k):\n  class C:\n    def m(self): return k\n  return C\nC = make(2)\ndef f(x): return C().m()",
    ),
    "default of a method": (
        "import json\nclass C:\n  def m(self, k=json.loads('1')): return k\ndef f(x): return C().m()",
        "import json\nloads = json.loads\njson.loads = lambda t: 2\n"
        "class C:\n  def m(self, k=json.loads('1')): return k\n"
        "json.loads = loads\ndef f(x): return C().m()",
    ),
    "property made by a function": (
        "def p(k): return property(lambda self: k)\nclass C:\n  m = p(1)\ndef f(x): return C().m",
        "def p(k): return property(lambda self: k)\nclass C:\n  m = p(2)\ndef f(x): return C().m",
    ),
    "class made by a call": (
        "C = type('C', (), {'m': lambda self: 1})\ndef f(x): return C().m()",
        "C = type('C', (), {'m': lambda self: 2})\ndef f(x): return C().m()",
    ),
    "compiled helper": (
        "import numba\n@numba.njit\ndef g(x): return x + 1\ndef f(x): return g(x)",
        "import numba\n@numba.njit\ndef g(x): return x + 2\ndef f(x): return g(x)",
    ),
    "vectorised helper": (
        "import numpy as np\ng = np.vectorize(lambda x: x + 1)\ndef f(x): return g(x)",
        "import numpy as np\ng = np.vectorize(lambda x: x + 2)\ndef f(x): return g(x)",
    ),
    "helper as a ufunc": (
        "import numpy as np\ndef g(x): return x + 1\nh = np.frompyfunc(g, 1, 1)\ndef f(x): return h(x)",
        "import numpy as np\ndef g(x): return x + 2\nh = np.frompyfunc(g, 1, 1)\ndef f(x): return h(x)",
    ),
    "own values of a module reached by its dict": (
        "import sys\nK = 1\ndef f(x): return sys.modules[__name__].K",
        "import sys\nK = 2\ndef f(x): return sys.modules[__name__].K",
    ),
    "async comprehension": (
        "K = 1\nasync def f(x): return [y async for y in x if y > K]",
        "K = 2\nasync def f(x): return [y async for y in x if y > K]",
    ),
    "exception that is caught": (
        "class E(Exception): pass\ndef f(x):\n  try: pass\n  except E: pass",
        "class E(ValueError): pass\ndef f(x):\n  try: pass\n  except E: pass",
    ),
    "value of a table": (
        "import pandas as pd\nT = pd.DataFrame({'a': [1]})\ndef f(x): return x.merge(T)",
        "import pandas as pd\nT = pd.DataFrame({'a': [2]})\ndef f(x): return x.merge(T)",
    ),
    "bound method": (
        "class C:\n  def __init__(self, v): self.v = v\n  def m(self): return self.v\ng = C(1).m\ndef f(x): return g()",
        "class C:\n  def __init__(self, v): self.v = v\n  def m(self): return self.v\ng = C(2).m\ndef f(x): return g()",
    ),
}


@pytest.mark.parametrize("claim", PAIRS)
def test_it_changes_with(print_of, claim) -> None:
    before, after = PAIRS[claim]
    assert print_of(before).digest != print_of(after).digest


@pytest.mark.parametrize("claim", PAIRS)
def test_it_is_the_same_when_loaded_again(print_of, claim) -> None:
    for text in PAIRS[claim]:
        assert print_of(text) == print_of("\n\n# moved\n" + text)


SAME = {
    "a name that a parameter hides": ("x = 1\ndef f(x): return x", "x = 2\ndef f(x): return x"),
    "a name that an assignment hides": (
        "K = 1\ndef f(x):\n  K = x\n  return K",
        "K = 2\ndef f(x):\n  K = x\n  return K",
    ),
    "a name that a comprehension hides": (
        "k = 1\ndef f(x): return [k for k in x]",
        "k = 2\ndef f(x): return [k for k in x]",
    ),
    "a name that an exception hides": (
        "e = 1\ndef f(x):\n  try: pass\n  except Exception as e: return e",
        "e = 2\ndef f(x):\n  try: pass\n  except Exception as e: return e",
    ),
    "a name that a pattern hides": (
        "rest = 1\ndef f(x):\n  match x:\n    case [1, *rest]: return rest",
        "rest = 2\ndef f(x):\n  match x:\n    case [1, *rest]: return rest",
    ),
    "a name that a class hides from itself": (
        "k = 1\ndef f(x):\n  class C:\n    k = 3\n    j = k\n  return C",
        "k = 2\ndef f(x):\n  class C:\n    k = 3\n    j = k\n  return C",
    ),
    "the order of definitions": (
        "def a(): return 1\ndef b(): return 2\ndef f(x): return a() + b()",
        "def b(): return 2\ndef f(x): return a() + b()\ndef a(): return 1",
    ),
    "the order of a set": ("S = {'a', 'b', 'c'}\ndef f(x): return S", "S = {'c', 'b', 'a'}\ndef f(x): return S"),
    "how a constant is made": (
        "D = {'a': [1, 2]}\ndef f(x): return D",
        "import json\nD = json.loads('{\"a\": [1, 2]}')\ndef f(x): return D",
    ),
    "a shared part or an equal one": (
        "p = [1]\nL = [p, p]\ndef f(x): return L",
        "L = [[1], [1]]\ndef f(x): return L",
    ),
    "the line of a source": (
        "from builder.authoring.api import source\ns = source('s', 's.csv')\ndef f(x): return s",
        "from builder.authoring.api import source\n\n\ns = source('s', 's.csv')\ndef f(x): return s",
    ),
    "the keywords of a recipe": (
        "import builder.authoring.api as b\n@b.recipe\ndef f(x): return 1",
        "import builder.authoring.api as b\n@b.recipe(lane='db', key='id')\ndef f(x): return 1",
    ),
    "a recipe's own update": (
        "import builder.authoring.api as b\n@b.recipe\ndef f(x): return 1",
        "import builder.authoring.api as b\n@b.recipe\ndef f(x): return 1\n"
        "@f.update\ndef g(previous, deltas): return 2",
    ),
    "another entry of what is read while loading": (
        "import json\nC = json.loads('{\"a\": 1}')\nK = C['a']\ndef f(x): return K",
        "import json\nC = json.loads('{\"a\": 1, \"b\": 2}')\nK = C['a']\ndef f(x): return K",
    ),
}


@pytest.mark.parametrize("claim", SAME)
def test_it_does_not_change_with(print_of, claim) -> None:
    before, after = SAME[claim]
    assert print_of(before) == print_of(after)


def test_a_recipe_used_by_another_counts_as_its_function(print_of) -> None:
    text = "import builder.authoring.api as b\n@b.recipe(retries={r})\ndef g(x): return {k}\n"
    text += "@b.recipe\ndef f(x): return g(x)"
    assert print_of(text.format(k=1, r=0)) == print_of(text.format(k=1, r=1))
    assert print_of(text.format(k=1, r=0)).digest != print_of(text.format(k=2, r=0)).digest
    assert [s for s, _ in print_of(text.format(k=1, r=0)).items] == ["clean.g", "f"]


def test_recipes_made_in_a_loop_differ_by_what_they_captured(load_files) -> None:
    from builder.authoring.fingerprint import fingerprint

    loaded = load_files(
        {
            "clean.py": """
            import builder.authoring.api as b
            made = {}
            for name, k in (("p", 1), ("q", 2), ("r", 1)):
                def one(x, k=k):
                    return k

                made[name] = b.recipe(one, name=name)
            for name, k in (("s", 1), ("t", 2)):
                made[name] = b.recipe(name=name)(lambda x, k=k: k)
            pair = (lambda x: 1, lambda x: [1], lambda: (lambda: 1))
            """
        }
    )
    prints = {d.name: fingerprint(d.function, loaded) for d in loaded.declarations}
    assert prints["p"] == prints["r"]
    assert len({prints[n].digest for n in "pqst"}) == 4
    pair = vars(loaded.modules[loaded.package + ".clean"])["pair"]
    lambdas = [*pair, pair[2]()]
    assert len({fingerprint(g, loaded).digest for g in lambdas}) == 4


def test_closures_of_the_recipe_itself_have_a_subject_each(print_of) -> None:
    text = "def make(low):\n  step = [low]\n  def f(x): return x + low + step[0]\n  return f\nf = make({})"
    before, after = print_of(text.format(1)), print_of(text.format(2))
    assert [s for s, _ in before.items] == ["closure:low", "closure:step", "make.<locals>.f"]
    assert sum(x == y for x, y in zip(before.items, after.items, strict=True)) == 1


def test_helpers_that_call_each_other_are_each_counted_once(print_of) -> None:
    text = "def a(x): return b(x)\ndef b(x): return a(x) + {}\ndef f(x): return a(x) and f(x)"
    assert [s for s, _ in print_of(text.format(1)).items] == ["clean.a", "clean.b", "f"]
    assert print_of(text.format(1)).digest != print_of(text.format(2)).digest


def test_values_that_hold_each_other_end(print_of) -> None:
    text = "a = [{}]\nb = {{'a': a}}\na.append(b)\ndef f(x): return a"
    assert print_of(text.format(1)) == print_of("\n" + text.format(1))
    assert print_of(text.format(1)).digest != print_of(text.format(2)).digest


@pytest.mark.parametrize("line", ["from .late import g", "from . import late; g = late.g", "from .sub.late import g"])
def test_a_helper_imported_inside_the_function_counts(print_of, line) -> None:
    def made(k: int):
        late = f"def g(x): return {k}\ndef unused(): return {k}"
        return print_of({"clean.py": f"def f(x):\n    {line}\n    return g(x)", "late.py": late, "sub/late.py": late})

    if "g = late.g" not in line:
        assert any(s.endswith("late.g") for s, _ in made(1).items)
    assert made(1) == made(1)
    assert made(1).digest != made(2).digest


def test_a_submodule_is_found_whoever_imports_it_first(print_of) -> None:
    for init in ({}, {"sub/__init__.py": ""}):
        files = {"clean.py": "from . import sub\ndef f(x): return sub.deep.K", "sub/deep.py": "K = 1", **init}
        assert [s for s, _ in print_of(files).items] == ["f", "sub.deep.K"]


def test_an_expression_that_can_be_written_twice_is_found_by_its_column(print_of) -> None:
    text = "T = [lambda x: (x, {}), lambda x: (x, {}), lambda: (lambda: {})]\ng = T[{}]\ndef f(x): return g(x)"
    digests = {print_of(text.format(a, b, c, i)).digest for a, b, c, i in ((1, 2, 3, 0), (1, 2, 3, 1), (1, 2, 3, 2))}
    assert len(digests) == 3
    assert print_of(text.format(1, 2, 3, 0)) == print_of(text.format(1, 5, 6, 0))
    assert print_of(text.format(1, 2, 3, 1)) == print_of(text.format(5, 2, 6, 1))


def test_a_helper_module_handed_on_counts_whole(print_of) -> None:
    def made(unused: int):
        return print_of(
            {
                "clean.py": "from . import helpers\ndef f(x): return x(helpers)",
                "helpers.py": f"def other(): return {unused}",
            }
        )

    assert "module:helpers" in dict(made(1).items)
    assert made(1).digest != made(2).digest


def test_packages_with_and_without_init_are_followed(print_of) -> None:
    for init in ({}, {"sub/__init__.py": ""}):

        def made(k: int, init=init):
            return print_of(
                {
                    "clean.py": "from . import sub\nfrom .sub import deep\ndef f(x): return sub.deep.K",
                    "sub/deep.py": f"K = {k}\nJ = {k}",
                    **init,
                }
            )

        assert [s for s, _ in made(1).items] == ["f", "sub.deep.K"]
        assert made(1).digest != made(2).digest


def test_a_function_moved_to_another_line_or_module_has_the_same_item(print_of) -> None:
    here = dict(print_of("def g(x): return x + 1\ndef f(x): return g(x)").items)
    there = dict(
        print_of(
            {"clean.py": "from .other import g\ndef f(x): return g(x)", "other.py": "\n\ndef g(x): return x + 1"}
        ).items
    )
    assert here["clean.g"] == there["other.g"]


ON_DEMAND = (
    "from builder import transforms as t\ndef f(x): return t.repair(x)",
    "import builder as b, builder.transforms\ndef f(x): return b.transforms.repair(x)",
    "import builder.transforms\ndef f(x): return builder.transforms.repair(x)",
    "def f(x):\n  from builder import transforms as t\n  return t.repair(x)",
    "def f(x):\n  from builder.transforms import repair as g\n  return g(x)",
    "from builder import transforms as t\ndef g(x): return t.repair(x)\ndef f(x): return g(x)",
)
LOADED = (
    "from builder.transforms import repair\ndef f(x): return repair(x)",
    "from builder.transforms import repair\ndef g(): return repair()\ndef f(x): return g(x)",
    "from builder.transforms import repair\ndef f(x, g=repair): return g(x)",
    "from builder.transforms import repair\nSTEPS = [repair]\ndef f(x): return STEPS[0](x)",
)


@pytest.fixture
def transforms(monkeypatch):
    """Two transforms, the second made of the first, in a module that notes whether it was imported."""
    from builder import transforms
    from builder.transforms import versions

    module = types.ModuleType("builder.transforms.mending")
    exec("def repair(x): ...\nclass Grid: ...", vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    looked = []
    monkeypatch.setattr(transforms, "__getattr__", lambda name: looked.append(name) or getattr(module, name))
    for name in ("repair", "Grid"):
        monkeypatch.delitem(vars(transforms), name, raising=False)
    monkeypatch.setattr(versions, "VERSIONS", versions.VERSIONS)
    for name in list(versions.VERSIONS):
        monkeypatch.delitem(versions.VERSIONS, name)
    monkeypatch.setitem(versions.VERSIONS, "repair", 1)
    monkeypatch.setitem(versions.VERSIONS, "Grid", 1)
    monkeypatch.setattr(versions, "USES", versions.USES)
    monkeypatch.setitem(versions.USES, "repair", ("Grid",))
    return types.SimpleNamespace(versions=versions.VERSIONS, looked=looked)


@pytest.mark.parametrize("text", [*ON_DEMAND, *LOADED])
def test_the_version_of_a_public_transform_is_an_item_with_those_it_is_made_of(print_of, transforms, text) -> None:
    before = print_of(text)
    assert {"transforms.repair@1", "transforms.Grid@1"} <= set(dict(before.items))
    transforms.versions["Grid"] = 2
    after = print_of(text)
    assert {s for s, _ in after.items} - {s for s, _ in before.items} == {"transforms.Grid@2"}
    assert after.digest != before.digest


@pytest.mark.parametrize("text", ON_DEMAND)
def test_the_version_of_a_transform_is_known_without_importing_it(print_of, transforms, text) -> None:
    print_of(text)
    assert transforms.looked == []


@pytest.mark.parametrize(
    "text",
    [
        "from builder import transforms as t\ndef g(x): return t.Grid(x)\ndef f(x): return x",
        "import builder as b\ndef f(x): return b.read(x)",
        "from builder.errors import error\ndef repair(x): return error(x)\ndef f(x): return repair(x)",
    ],
)
def test_what_reaches_no_transform_has_no_version_of_one(print_of, transforms, text) -> None:
    assert [s for s, _ in print_of(text).items if s.startswith("transforms.")] == []


def test_a_transform_chosen_as_it_runs_has_the_versions_of_all(print_of, transforms) -> None:
    for text in (
        "from builder import transforms as t\ndef f(x, name): return getattr(t, name)(x)",
        "from builder import transforms as t\ndef g(m, x): return m.repair(x)\ndef f(x): return g(t, x)",
    ):
        assert {"transforms.repair@1", "transforms.Grid@1"} <= set(dict(print_of(text).items)), text


def test_where_the_project_lies_does_not_count(tmp_path) -> None:
    from builder.authoring.fingerprint import fingerprint
    from builder.authoring.load import load, read_bundle

    text = (
        "import logging\nfrom pathlib import Path\nHERE = Path(__file__).parent\nTEXT = [str(HERE)] * 20\n"
        "log = logging.getLogger(__name__)\ndef f(x): return HERE, TEXT, log, __file__\n"
    )
    prints = []
    for place in ("one", "zwei ü"):
        folder = tmp_path / place / "recipes"
        folder.mkdir(parents=True)
        (folder / "clean.py").write_text(text)
        loaded = load(read_bundle(folder), folder, tmp_path / place)
        prints.append(fingerprint(vars(loaded.modules[loaded.package + ".clean"])["f"], loaded))
    assert prints[0] == prints[1]


def test_code_of_the_project_outside_of_recipes_counts(load_files, tmp_path, monkeypatch) -> None:
    from builder.authoring.fingerprint import fingerprint

    monkeypatch.syspath_prepend(str(tmp_path))
    digests = set()
    for k in (1, 2):
        sys.modules.pop("beside_recipes", None)
        files = {
            "clean.py": "import beside_recipes\ndef f(x): return beside_recipes.g(x)",
            "/beside_recipes.py": f"def g(x):\n    return {k * 1000}\n",
        }
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        loaded = load_files(files)
        made = fingerprint(vars(loaded.modules[loaded.package + ".clean"])["f"], loaded)
        assert "beside_recipes.g" in dict(made.items)
        assert loaded.opened == ("beside_recipes.py",)
        digests.add(made.digest)
    assert len(digests) == 2
    sys.modules.pop("beside_recipes", None)


def reached_by_bytecode(functions: dict[str, types.FunctionType]) -> dict[str, set[str]]:
    """For each function the functions of its module that its code can come to, as the compiled code says."""

    def direct(code: types.CodeType) -> set[str]:
        names = {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
        return names.union(*(direct(c) for c in code.co_consts if isinstance(c, types.CodeType)))

    reached = {name: {name} for name in functions}
    edges = {name: direct(f.__code__) & set(functions) for name, f in functions.items()}
    for _ in functions:
        reached = {name: found.union(*(edges[n] for n in found)) for name, found in reached.items()}
    return reached


@pytest.mark.parametrize("library", [shutil, statistics, difflib])
def test_a_changed_function_changes_just_those_that_the_compiled_code_says(load_files, library) -> None:
    from builder.authoring.fingerprint import fingerprint

    def made(tree: ast.Module):
        loaded = load_files({"lib.py": ast.unparse(tree)})
        values = vars(loaded.modules[loaded.package + ".lib"])
        functions = {k: v for k, v in values.items() if isinstance(v, types.FunctionType) and v.__name__ == k}
        functions = {k: v for k, v in functions.items() if v.__code__.co_filename.endswith("lib.py")}
        return functions, {k: fingerprint(v, loaded) for k, v in functions.items()}

    text = Path(library.__file__).read_text()
    functions, before = made(ast.parse(text))
    reached = reached_by_bytecode(functions)
    dynamic = {k for k, p in before.items() if any(s.startswith("module:") for s, _ in p.items)}
    through_values = {k for k in before if not {s[4:] for s, _ in before[k].items if s[4:] in functions} <= reached[k]}
    for name in random.Random(7).sample(sorted(functions), 4):
        tree = ast.parse(text)
        node = next(n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == name)
        node.body.insert(1, ast.parse("_changed = 1").body[0])
        _, after = made(tree)
        changed = {k for k in before if before[k].digest != after[k].digest}
        expected = {k for k in functions if name in reached[k]}
        assert expected <= changed, name
        assert changed - expected <= dynamic | through_values, name


SCRIPT = """
import sys
from pathlib import Path
from builder.authoring.load import load, read_bundle
from builder.authoring.fingerprint import fingerprint
project = Path(sys.argv[1])
loaded = load(read_bundle(project / "recipes"), project / "recipes", project)
for name, module in sorted(loaded.modules.items()):
    for key, value in sorted(vars(module).items()):
        if key == "f":
            print(name, key, fingerprint(value, loaded).digest)
"""


def test_the_hash_seed_of_python_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    for number, (before, _) in enumerate(PAIRS.values()):
        (tmp_path / "recipes" / f"m{number}.py").write_text(before)
    extra = "S = {'a', 'b', ('c', 1), frozenset('xyz')}\nD = {k: {k} for k in 'abc'}\ndef f(x): return S, D, {'p', 'q'}"
    (tmp_path / "recipes" / "n.py").write_text(extra)
    outs = set()
    for seed in ("1", "77"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(tmp_path)], env=env, capture_output=True, text=True, check=True
        )
        outs.add(run.stdout)
    assert len(outs) == 1
    assert outs.pop().count("\n") == len(PAIRS) + 1


def test_a_hundred_recipes_take_a_fraction_of_a_second(load_files) -> None:
    from builder.authoring.fingerprint import fingerprint

    body = "\n".join(f"    x = norm(x) + helpers.LIMIT + {i} if x else [y for y in x]" for i in range(8))
    text = "from . import helpers\nfrom .helpers import normalise as norm\n" + "\n".join(
        f"def f{i}(x, k={i}):\n{body}\n    return x" for i in range(100)
    )
    loaded = load_files({**PROJECT, "clean.py": text})
    functions = [v for k, v in vars(loaded.modules[loaded.package + ".clean"]).items() if k.startswith("f")]
    start = time.process_time()
    prints = {fingerprint(f, loaded).digest for f in functions}
    assert len(prints) == 100
    assert time.process_time() - start < 0.6
