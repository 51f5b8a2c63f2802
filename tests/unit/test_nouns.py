"""Nouns are what `dataclasses` would make of the same class, however they are made, compared, shown, sent, changed."""

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
from functools import cached_property
from typing import Any

import pytest

from builder import nouns

FORMS = [
    {"frozen": True},
    {"frozen": True, "slots": True},
    {"frozen": True, "eq": False},
    {"frozen": True, "repr": False},
    {"frozen": True, "slots": True, "eq": False, "repr": False},
]


def made(words, form):
    """The same class, made with the words of a module."""

    class Version:
        """A version."""

        name: str
        size: int = 7
        tags: tuple = ()
        extra: dict = words.field(default_factory=dict)
        kept: list = words.field(default_factory=list, init=False, repr=False, compare=False)

        def double(self):
            return self.size * 2

    return words.dataclass(**form)(Version)


def pair(form):
    return made(nouns, form), made(dataclasses, form)


def shown(noun) -> str:
    return repr(noun).replace("test_nouns.", "") if "object at" not in repr(noun) else "by identity"


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_construction_defaults_and_repr_are_those_of_dataclasses(form):
    for arguments, named in [(("a",), {}), (("a", 1), {"extra": {1: 2}}), ((), {"size": 3, "name": "b"})]:
        mine, theirs = (cls(*arguments, **named) for cls in pair(form))
        assert [getattr(mine, f) for f in ("name", "size", "tags", "extra", "kept")] == [
            getattr(theirs, f) for f in ("name", "size", "tags", "extra", "kept")
        ]
        assert shown(mine) == shown(theirs)
        assert mine.double() == theirs.double()
        assert hasattr(mine, "__dict__") == hasattr(theirs, "__dict__")


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_equality_is_that_of_dataclasses(form):
    for cls in pair(form):
        one, same, other = cls("a", 1), cls("a", 1), cls("a", 2)
        one.kept.append(1)
        assert (one == same) is form.get("eq", True)
        assert one != other and one != "a" and one == one
    mine, theirs = pair(form)
    assert mine("a") != theirs("a")


def test_equal_nouns_have_equal_hashes_and_what_cannot_be_hashed_refuses():
    cls, _ = pair({"frozen": True, "slots": True})
    with pytest.raises(TypeError):
        hash(cls("a"))
    assert hash(cls("a", extra=())) == hash(cls("a", extra=()))
    assert len({cls("a", extra=()), cls("a", extra=()), cls("b", extra=())}) == 2


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_nothing_can_be_changed(form):
    for noun in (cls("a") for cls in pair(form)):
        with pytest.raises(dataclasses.FrozenInstanceError):
            noun.size = 1
        with pytest.raises(dataclasses.FrozenInstanceError):
            del noun.size
        assert noun.size == 7


@pytest.mark.parametrize("arguments", [(), (1, 2, 3, 4, 5)])
def test_wrong_calls_are_refused(arguments):
    for cls in pair({"frozen": True, "slots": True}):
        for _ in range(2):  # before and after its first instance
            with pytest.raises(TypeError):
                cls(*arguments)
            with pytest.raises(TypeError):
                cls("a", unknown=1)
            cls("a")


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_either_replace_and_what_asks_for_fields_work(form):
    mine, theirs = pair(form)
    for change in (nouns.replace, dataclasses.replace):
        noun = change(mine("a", 1, extra={3: 4}), size=9)
        assert (noun.name, noun.size, noun.extra) == ("a", 9, {3: 4})
    told = [[(f.name, f.init, f.repr, f.compare) for f in dataclasses.fields(c)] for c in (mine, theirs)]
    assert told[0] == told[1]
    assert dataclasses.asdict(mine("a")) == dataclasses.asdict(theirs("a"))
    assert dataclasses.is_dataclass(mine)
    assert mine.__match_args__ == theirs.__match_args__
    assert list(inspect.signature(mine).parameters) == list(inspect.signature(theirs).parameters)


@nouns.dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: Any = None


@nouns.dataclass(frozen=True)
class Area:
    points: tuple

    def __post_init__(self):
        if not self.points:
            raise ValueError("no points")

    @cached_property
    def count(self):
        return len(self.points)


@pytest.mark.parametrize("noun", [Point(1), Point(1, {"a": Point(2)}), Area((Point(1), Point(2)))], ids=repr)
def test_nouns_travel_and_are_copied(noun):
    for again in (pickle.loads(pickle.dumps(noun)), copy.copy(noun), copy.deepcopy(noun)):
        assert again == noun and type(again) is type(noun)


def test_checks_and_cached_properties_work():
    with pytest.raises(ValueError, match="no points"):
        Area(())
    area = Area((1, 2))
    assert area.count == 2 == area.__dict__["count"]
    assert nouns.replace(area, points=(1,)).count == 1


def test_what_can_be_changed_is_not_made_here():
    with pytest.raises(TypeError, match="frozen"):
        nouns.dataclass(type("Open", (), {}))


def test_nouns_do_not_import_what_they_stand_for():
    slow = {"dataclasses", "inspect", "click", "difflib", "textwrap", "uuid", "threading"}
    code = f"import sys, builder.project, builder.commands; print(*sorted({slow!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
