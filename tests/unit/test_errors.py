"""Errors carry a stable code, an exit code, facts and a remedy, and survive every way they travel."""

from __future__ import annotations

import pickle

import pytest

from builder.errors import CODES, BuilderError, error, from_json, not_available

USAGE = {
    "config", "recipe-syntax", "recipe-declaration", "cycle", "duplicate-name", "unknown-input", "unknown-lane",
    "unknown-target", "plan-moved", "locked", "store-version", "no-cluster",
}  # fmt: skip
FAILED = {
    "source-missing", "source-unreadable", "source-moved", "source-empty", "schema-drift", "bad-row", "bad-value",
    "bad-encoding", "bad-geometry", "crs-missing", "crs-mismatch", "key-null", "key-duplicate", "recipe-error",
    "result-type", "check-failed", "undeclared-read", "timed-out", "out-of-memory", "worker-died", "no-worker",
    "store-read-only", "store-full", "store-damaged", "not-a-row-recipe", "not-deterministic",
}  # fmt: skip


def full() -> BuilderError:
    return error(
        "crs-mismatch",
        "inputs of 'roads' differ",
        place="recipes/a.py:41",
        facts=[("roads", "EPSG:4326"), ("basin", "EPSG:32633\nfrom b.gpkg")],
        hint="reproject one",
        target="roads",
    )


def test_the_codes_are_the_closed_set_with_its_exit_codes() -> None:
    assert {code for code, (_, exit_code) in CODES.items() if exit_code == 2} == USAGE
    assert {code for code, (_, exit_code) in CODES.items() if exit_code == 1} == FAILED
    assert {code for code, (_, exit_code) in CODES.items() if exit_code == 3} == {"internal"}


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_makes_an_error_of_its_group(code: str) -> None:
    made = error(code, "'x' is wrong", hint="mend it")
    assert type(made) is CODES[code][0]
    assert (made.code, made.exit_code) == (code, CODES[code][1])
    assert made.render() == f"error[{code}]: 'x' is wrong\n  hint  mend it"


def test_there_are_eight_groups() -> None:
    assert {kind.group for kind, _ in CODES.values()} == {
        "config", "graph", "source", "recipe", "data", "store", "lane", "internal",
    }  # fmt: skip


def test_an_unknown_code_is_refused() -> None:
    with pytest.raises(ValueError, match="no-such"):
        BuilderError("no-such", "x")
    with pytest.raises(KeyError):
        error("no-such", "x")


def test_the_text_aligns_facts_and_ends_with_the_hint() -> None:
    assert str(full()).splitlines() == [
        "error[crs-mismatch]: inputs of 'roads' differ",
        "  at     recipes/a.py:41",
        "  roads  EPSG:4326",
        "  basin  EPSG:32633",
        "         from b.gpkg",
        "  hint   reproject one",
    ]


@pytest.mark.parametrize("made", [full(), error("internal", "x")])
def test_an_error_survives_json_and_pickle(made: BuilderError) -> None:
    for twin in (from_json(made.to_json()), pickle.loads(pickle.dumps(made))):
        assert type(twin) is type(made)
        assert twin.to_json() == made.to_json()
        assert twin.render() == made.render()


def test_an_error_is_said_of_the_first_target_that_claims_it() -> None:
    made = error("internal", "x")
    assert made.about("a").about("b").target == "a"


def test_what_comes_later_says_so() -> None:
    later = not_available("lookup", "recipes/a.py:3")
    assert (later.code, later.place) == ("recipe-declaration", "recipes/a.py:3")
    assert "not available yet" in later.message
