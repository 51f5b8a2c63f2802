"""Frozen classes made from their annotations, as `dataclasses` makes them, without what those cost at start-up.

Decides nothing that `dataclasses` decides otherwise: construction, equality, hash, repr, pickling, `replace`, `fields`
and matching are the same, and so are the words, so that type checkers know them. A look at a project that changed
nothing spent a third of its time on importing `dataclasses` and on compiling six functions for each of its classes.
Here one function is compiled, when a class is first called; modules that such a look imports take theirs from here.
Never makes a class that can be changed, and never one that inherits fields.
"""

from __future__ import annotations

from operator import attrgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass as dataclass
    from dataclasses import field as field
    from dataclasses import replace as replace
    from typing import Any
else:

    def dataclass(cls=None, /, *, frozen=False, slots=False, eq=True, repr=True):  # noqa: D103
        if cls is None:
            return lambda cls: _made(cls, frozen, slots, eq, repr)
        return _made(cls, frozen, slots, eq, repr)

    def field(**says):  # noqa: D103
        return _Field(**says)

    def replace(noun, /, **changes):  # noqa: D103
        cls = noun.__class__
        return cls(**{n: getattr(noun, n) for n in cls.__match_args__ if n not in changes}, **changes)


_NONE = object()


class _Field:
    """What a class says of one field beyond its annotation."""

    __slots__ = ("compare", "default", "default_factory", "init", "repr")

    def __init__(
        self,
        *,
        default: Any = _NONE,
        default_factory: Any = _NONE,
        init: bool = True,
        repr: bool = True,
        compare: bool = True,
    ) -> None:
        self.default = default
        self.default_factory = default_factory
        self.init = init
        self.repr = repr
        self.compare = compare


def _made(cls: type, frozen: bool, slots: bool, eq: bool, repr: bool) -> type:
    """The class with the methods of its fields."""
    if not frozen:
        raise TypeError(f"{cls.__name__} is not frozen; dataclasses makes what can be changed")
    fields = {}
    for name in cls.__annotations__:
        says = cls.__dict__.get(name, _NONE)
        fields[name] = says if isinstance(says, _Field) else _Field(default=says)
    shown = tuple(n for n, f in fields.items() if f.repr)
    compared = tuple(n for n, f in fields.items() if f.compare)
    members: dict[str, Any] = {
        "__match_args__": tuple(n for n, f in fields.items() if f.init),
        "__dataclass_fields__": _Fields(fields),
        "__signature__": _Signature(fields),
        "__setattr__": _refuse_set,
        "__delattr__": _refuse_delete,
    }
    if repr and "__repr__" not in cls.__dict__:
        members["__repr__"] = _repr_of(shown)
    if eq:
        members["__eq__"], members["__hash__"] = _equality_of(compared)
    made = _slotted(cls, fields) if slots else cls
    for name, says in () if slots else fields.items():
        if isinstance(cls.__dict__.get(name), _Field):
            delattr(cls, name)
            if says.default is not _NONE:
                members[name] = says.default
    for name, member in members.items():
        setattr(made, name, member)
    made.__init__ = _first_init(made, fields)  # type: ignore[misc]
    return made


def _slotted(cls: type, fields: dict[str, _Field]) -> type:
    """The class again, with a slot per field and no room for anything else."""
    members = {n: m for n, m in cls.__dict__.items() if n not in fields and n not in ("__dict__", "__weakref__")}
    members |= {"__qualname__": cls.__qualname__, "__slots__": tuple(fields)}
    members |= {"__getstate__": _state, "__setstate__": _set_state}
    return type(cls)(cls.__name__, cls.__bases__, members)


def _first_init(cls: Any, fields: dict[str, _Field]) -> Callable[..., None]:
    """An ``__init__`` that puts the compiled one in its own place when the first instance is made."""

    def __init__(self: Any, *args: Any, **named: Any) -> None:  # noqa: N807
        cls.__init__ = _compiled_init(cls, fields)
        cls.__init__(self, *args, **named)

    return __init__


def _compiled_init(cls: Any, fields: dict[str, _Field]) -> Callable[..., None]:
    """The ``__init__`` that sets these fields in order."""
    known: dict[str, Any] = {"_none": _NONE}
    heads, lines = ["self"], []
    has_slots = "__slots__" in cls.__dict__
    if not has_slots:
        lines.append("own = self.__dict__")
    for name, says in fields.items():
        value = name
        if says.default_factory is not _NONE:
            known[f"_make_{name}"] = says.default_factory
            value = f"_make_{name}() if {name} is _none else {name}" if says.init else f"_make_{name}()"
            default = "=_none"
        elif says.default is not _NONE:
            known[f"_default_{name}"] = says.default
            value, default = (name if says.init else f"_default_{name}"), f"=_default_{name}"
        else:
            default = ""
        if says.init:
            heads.append(name + default)
        if has_slots:
            known[f"_set_{name}"] = cls.__dict__[name].__set__
            lines.append(f"_set_{name}(self, {value})")
        else:
            lines.append(f"own[{name!r}] = {value}")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    body = "\n ".join(lines or ["pass"])
    exec(f"def __init__({', '.join(heads)}):\n {body}", known)
    init: Callable[..., None] = known["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    return init


def _repr_of(names: tuple[str, ...]) -> Callable[[Any], str]:
    def __repr__(self: Any) -> str:  # noqa: N807
        return f"{self.__class__.__qualname__}({', '.join(f'{n}={getattr(self, n)!r}' for n in names)})"

    return __repr__


def _equality_of(names: tuple[str, ...]) -> tuple[Callable[[Any, Any], Any], Callable[[Any], int]]:
    values: Callable[[Any], Any] = attrgetter(*names) if names else lambda noun: ()

    def __eq__(self: Any, other: Any) -> Any:  # noqa: N807
        return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

    def __hash__(self: Any) -> int:  # noqa: N807
        return hash(values(self))

    return __eq__, __hash__


def _state(self: Any) -> list[Any]:
    return [getattr(self, name) for name in self.__slots__]


def _set_state(self: Any, state: list[Any]) -> None:
    for name, value in zip(self.__slots__, state, strict=True):
        object.__setattr__(self, name, value)


def _refuse_set(self: Any, name: str, value: Any) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_delete(self: Any, name: str) -> None:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot delete field {name!r}")


class _Fields:
    """The fields as `dataclasses` describes them, for `dataclasses.fields`, `replace` and `asdict`; made when asked."""

    def __init__(self, fields: dict[str, _Field]) -> None:
        self.fields = fields
        self.made: dict[str, Any] | None = None

    def __get__(self, noun: Any, cls: type) -> dict[str, Any]:
        if self.made is None:
            import dataclasses

            rows = [(name, cls.__annotations__[name], _told(says)) for name, says in self.fields.items()]
            like: Any = dataclasses.make_dataclass(cls.__name__, rows, frozen=True)
            self.made = dict(like.__dataclass_fields__)
        return self.made


class _Signature:
    """How the class is called, for `help` and notebooks; made when asked."""

    def __init__(self, fields: dict[str, _Field]) -> None:
        self.fields = fields

    def __get__(self, noun: Any, cls: type) -> Any:
        import inspect

        found = inspect.signature(_compiled_init(cls, self.fields))
        return found.replace(parameters=list(found.parameters.values())[1:])


def _told(says: _Field) -> Any:
    """A field's description in the words of `dataclasses`."""
    import dataclasses

    default = {} if says.default is _NONE else {"default": says.default}
    factory = {} if says.default_factory is _NONE else {"default_factory": says.default_factory}
    return dataclasses.field(init=says.init, repr=says.repr, compare=says.compare, **default, **factory)
