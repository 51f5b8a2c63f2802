"""Reads of the process environment are noted by name and digest, and `os.environ` is itself again afterwards."""

import os

import pytest

from builder.authoring.variables import noting, variable_digest


@pytest.fixture
def noted(monkeypatch):
    monkeypatch.setenv("IS_SET", "value")
    monkeypatch.delenv("IS_NOT", raising=False)
    return {}


@pytest.mark.parametrize(
    "read",
    [os.environ.get, os.getenv, lambda name: name in os.environ, lambda name: os.environ.setdefault(name, "value")],
    ids=["get", "getenv", "in", "setdefault"],
)
def test_every_way_to_read_is_noted(noted, read):
    with noting(lambda name, digest, frame: noted.setdefault(name, digest)):
        read("IS_SET")
        read("IS_NOT")
    assert {name: noted[name] for name in ("IS_SET", "IS_NOT")} == {"IS_SET": variable_digest("value"), "IS_NOT": ""}


def test_a_copy_reads_all(noted):
    with noting(lambda name, digest, frame: noted.setdefault(name, digest)):
        copied = dict(os.environ)
    assert noted == {name: variable_digest(value) for name, value in copied.items()}


def test_reads_are_noted_only_inside_and_by_every_block(noted):
    plain, outer = type(os.environ), []
    with noting(lambda name, digest, frame: outer.append(name)):
        with noting(lambda name, digest, frame: noted.setdefault(name, digest)), pytest.raises(KeyError):
            os.environ["IS_NOT"]
        os.environ["IS_SET"]
    os.environ["IS_SET"]
    assert (set(noted), outer) == ({"IS_NOT"}, ["IS_NOT", "IS_SET"])
    assert type(os.environ) is plain


def test_a_digest_tells_values_apart_and_unset_from_empty():
    assert len({variable_digest(v) for v in (None, "", "a", "b")}) == 4
    assert "secret" not in variable_digest("secret")
