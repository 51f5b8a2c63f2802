"""Python values as digests: what a recipe captures, compared by value and never by how it was made.

Decides when two values are the same. The same in every process and for every hash seed. Never pickles, and never
decides what a function, class or module of the project stands for: the caller's `Reach` does.
"""

from __future__ import annotations

import copyreg
import functools
import logging
import re
import sys
import types
import warnings
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import PurePath
from typing import Any
from uuid import UUID

from builder.authoring.frames import library_value
from builder.digests import Digest, Hasher

Reach = Callable[[Any, "Writer"], bool]
"""Writes what stands for a function, class, module or wrapper of the project; False where the value is none."""

_PLAIN = (str, int, float, bool, type(None))
_ENTANGLED = 10_000
_CODE = (types.CodeType, types.FrameType, types.TracebackType, types.GeneratorType, types.CoroutineType)
_NAMED = (
    *(types.MemberDescriptorType, types.GetSetDescriptorType, types.MethodDescriptorType),
    *(types.WrapperDescriptorType, types.ClassMethodDescriptorType, types.BuiltinFunctionType, types.MethodWrapperType),
)


class Opaque(Exception):
    """A value that cannot be compared by value, such as a lock, an open file or a generator."""


def by_name(value: Any, writer: Writer) -> bool:
    """The `Reach` for which nothing belongs to a project: functions, classes and modules count by name alone."""
    return False


def hash_value(value: Any, hasher: Hasher, reach: Reach = by_name, shown: Callable[[str], str] = str) -> None:
    """Add what `value` is to `hasher`. `shown` spells every text, so that a project's folder need not count.

    Order counts in lists and mappings, not in sets. Types count: 1, 1.0 and True differ, as do 0.0 and -0.0.

    Raises
    ------
    Opaque
        Some part of the value has no content to compare.
    """
    Writer(hasher, reach, shown).write(value)


class Writer:
    """Writes values into a hasher, cycles as the number of steps back up; `reach` may write through it too."""

    def __init__(self, hasher: Hasher, reach: Reach, shown: Callable[[str], str]) -> None:
        self.hasher = hasher
        self._reach = reach
        self._shown = shown
        self._open: dict[int, int] = {}
        self._known: dict[int, tuple[Any, Digest]] = {}  # holds the value, so that its id is not used again
        self._lowest = sys.maxsize
        self._again = 0
        self._seen: dict[int, Any] = {}

    def text(self, *fields: str) -> None:
        """Add texts as they are."""
        for field in fields:
            self.hasher.text(field)

    def spelled(self, text: str) -> None:
        """Add a text as the caller shows it."""
        self.hasher.text(self._shown(text))

    def write(self, value: Any) -> None:
        """Add one value."""
        kind = type(value)
        if kind is str:
            self.text("str")
            self.spelled(value)
        elif kind is int:
            self.text("int", hex(value))
        elif kind in _PLAIN or kind is complex:
            self.text(kind.__name__, repr(value))
        elif kind is bytes or kind is bytearray:
            self.text(kind.__name__)
            self.hasher.bytes(bytes(value))
        elif value is Ellipsis or value is NotImplemented:
            self.text(repr(value))
        else:
            self._compound(value)

    def _compound(self, value: Any) -> None:
        """Add a value that may hold others: by the digest of its own, so that a part shared equals a part repeated."""
        key = id(value)
        if key in self._known:
            self.text("value", self._known[key][1])
            return
        if key in self._open:
            depth = self._open[key]
            self._lowest = min(self._lowest, depth)
            self.text("cycle", str(len(self._open) - depth))
            return
        if key in self._seen:
            self._again += 1
            if self._again > _ENTANGLED:
                raise Opaque("too many cycles")
        outer, lowest, depth = self.hasher, self._lowest, len(self._open)
        self.hasher, self._lowest, self._open[key] = Hasher("value"), sys.maxsize, depth
        try:
            self._content(value)
            digest, reached = self.hasher.digest(), self._lowest
        except RecursionError:
            raise Opaque(f"a {type(value).__name__} nested too deeply") from None
        finally:
            self.hasher, self._lowest = outer, min(lowest, self._lowest)
            del self._open[key]
        if reached >= depth:
            self._known[key] = (value, digest)
            self._lowest = lowest
        else:
            self._seen[key] = value
        self.text("value", digest)

    def _content(self, value: Any) -> None:
        writer = _BY_TYPE.get(type(value))
        if writer is not None:
            writer(self, value)
        elif self._reach(value, self) or library_value(value, self):
            return
        elif isinstance(value, Enum):
            self.text("enum", value.name)
            self.write(type(value))
            self.write(value._value_)
        elif isinstance(value, PurePath):
            self.text("path")
            self.spelled(value.as_posix())
        elif isinstance(value, logging.Logger):
            self.text("logger")
            self.spelled(value.name)
        elif isinstance(value, (types.FunctionType, type, types.ModuleType, *_NAMED)):
            self._named(value)
        else:
            self._structure(value)

    def sequence(self, name: str, items: Iterable[Any]) -> None:
        """Add values in order under the name of their kind."""
        values = list(items)
        self.text(name, str(len(values)))
        if len(values) > 8 and set(map(type, values)) <= set(_PLAIN):
            try:
                self.text("plain")
                self.spelled(ascii(values))
                return
            except ValueError:  # an int of more digits than Python writes
                pass
        for value in values:
            self.write(value)

    def mapping(self, name: str, value: Any) -> None:
        """Add the keys and values of a mapping in its order."""
        self.text(name)
        self.sequence("keys", value.keys())
        self.sequence("values", value.values())

    def unordered(self, name: str, items: Iterable[Any]) -> None:
        """Add values whose order is an accident, in the order of their digests."""
        digests = []
        outer = self.hasher
        for item in items:
            self.hasher = Hasher("element")
            self.write(item)
            digests.append(self.hasher.digest())
        self.hasher = outer
        self.text(name, str(len(digests)), *sorted(digests))

    def fields(self, name: str, *values: Any) -> None:
        """Add the parts of a value under the name of its kind."""
        self.text(name)
        for value in values:
            self.write(value)

    def _named(self, value: Any) -> None:
        owner = getattr(value, "__self__", None)
        if owner is not None and not isinstance(owner, (types.ModuleType, type)):
            self.fields("method", owner, value.__name__)
            return
        self.text("named")
        self.spelled(qualified_name(value))

    def _structure(self, value: Any) -> None:
        """Add an object by what pickle and copy would take of it."""
        reduced = _reduced(value)
        self.text("object")
        if isinstance(reduced, str):
            module = str(getattr(value, "__module__", None) or type(value).__module__)
            if getattr(sys.modules.get(module), reduced, None) is not value:
                raise Opaque(f"a {type(value).__name__} that has no name")
            self.spelled(f"{module}.{reduced}")
            return
        make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
        self.write(make)
        self.write(arguments)
        self.write(state)
        self.sequence("items", items or ())
        self.sequence("pairs", pairs or ())


def qualified_name(value: Any) -> str:
    """The dotted name by which a function, class or module is imported."""
    if isinstance(value, types.ModuleType):
        return value.__name__
    owner = getattr(value, "__objclass__", None)
    module = getattr(value, "__module__", None) or getattr(owner, "__module__", None) or "builtins"
    return f"{module}.{getattr(value, '__qualname__', None) or getattr(value, '__name__', type(value).__name__)}"


def _reduced(value: Any) -> Any:
    if isinstance(value, _CODE):
        raise Opaque(f"a {type(value).__name__}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some types warn that they will not be copied for ever
            reducer = copyreg.dispatch_table.get(type(value))
            return reducer(value) if reducer else value.__reduce_ex__(4)
    except RecursionError:
        raise
    except Exception as cause:  # whatever a type raises to say that it has no content of its own
        raise Opaque(f"a {type(value).__name__}: {cause}") from cause


def _datetime(writer: Writer, value: datetime | time) -> None:
    writer.text(type(value).__name__, value.replace(tzinfo=None).isoformat(), str(value.fold))
    writer.write(value.tzinfo)


def _partial(writer: Writer, value: functools.partial[Any]) -> None:
    writer.fields("partial", value.func, value.args, value.keywords, value.__dict__)


def _method(writer: Writer, value: types.MethodType) -> None:
    writer.fields("method", value.__self__, value.__func__)


def _property(writer: Writer, value: property) -> None:
    writer.fields("property", value.fget, value.fset, value.fdel)


_BY_TYPE: dict[type, Callable[[Writer, Any], None]] = {
    list: lambda w, v: w.sequence("list", v),
    tuple: lambda w, v: w.sequence("tuple", v),
    dict: lambda w, v: w.mapping("dict", v),
    set: lambda w, v: w.unordered("set", v),
    frozenset: lambda w, v: w.unordered("frozenset", v),
    types.MappingProxyType: lambda w, v: w.mapping("mappingproxy", v),
    types.SimpleNamespace: lambda w, v: w.mapping("namespace", vars(v)),
    type({}.keys()): lambda w, v: w.unordered("keys", v),
    type({}.values()): lambda w, v: w.sequence("values", v),
    type({}.items()): lambda w, v: w.unordered("items", v),
    date: lambda w, v: w.text("date", v.isoformat()),
    datetime: _datetime,
    time: _datetime,
    timedelta: lambda w, v: w.text("timedelta", str(v.days), str(v.seconds), str(v.microseconds)),
    Decimal: lambda w, v: w.text("decimal", str(v)),
    Fraction: lambda w, v: w.fields("fraction", v.numerator, v.denominator),
    UUID: lambda w, v: w.text("uuid", v.hex),
    range: lambda w, v: w.fields("range", v.start, v.stop, v.step),
    slice: lambda w, v: w.fields("slice", v.start, v.stop, v.step),
    memoryview: lambda w, v: w.fields("memoryview", v.format, v.shape, v.tobytes()),
    re.Pattern: lambda w, v: w.fields("pattern", v.pattern, v.flags),
    functools.partial: _partial,
    types.MethodType: _method,
    property: _property,
    classmethod: lambda w, v: w.fields("classmethod", v.__func__),
    staticmethod: lambda w, v: w.fields("staticmethod", v.__func__),
}
