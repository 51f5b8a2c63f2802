"""Taxonomies: what is read of a table, and what is no taxonomy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from builder.transforms.taxonomy import read_taxonomy


def table(**parents: Any) -> pd.DataFrame:
    return pd.DataFrame({"code": list(parents), "parent": list(parents.values())}, dtype="str")


def test_parents_and_depths_are_those_of_the_table() -> None:
    found = read_taxonomy(table(c="b", b="a", a=None, z=None))
    assert found.codes.to_pylist() == ["a", "b", "c", "z"]
    assert found.tree.parents.tolist() == [-1, 0, 1, -1]
    assert found.tree.depths.tolist() == [0, 1, 2, 0]


def test_children_stand_before_parents() -> None:
    rng = np.random.default_rng(1)
    parents = [int(rng.integers(-1, max(i, 1))) if i else -1 for i in range(500)]
    names = rng.permutation(500)
    found = read_taxonomy(
        pd.DataFrame({"code": names, "parent": pd.array([names[p] if p >= 0 else None for p in parents], "Int64")})
    )
    place = np.argsort(found.tree.deepest_first)
    depths = {}
    for i, p in enumerate(parents):
        depths[names[i]] = depths[names[p]] + 1 if p >= 0 else 0
    assert found.tree.depths.tolist() == [depths[c] for c in found.codes.to_pylist()]
    assert all(place[i] < place[p] for i, p in enumerate(found.tree.parents) if p >= 0)


@pytest.mark.parametrize("parent", [[np.nan, 1.0], pd.array([None, 1], "Int32"), pd.Series([None, 1], dtype=object)])
def test_parents_that_nulls_made_floats_are_integers(parent: Any) -> None:
    assert read_taxonomy(pd.DataFrame({"code": [1, 2], "parent": parent})).tree.parents.tolist() == [-1, 0]


def test_all_roots_and_an_empty_table_are_taxonomies() -> None:
    assert read_taxonomy(table(a=None, b=None)).tree.depths.tolist() == [0, 0]
    assert len(read_taxonomy(table()).codes) == 0
    assert read_taxonomy(pd.DataFrame({"code": [5], "parent": [None]})).tree.parents.tolist() == [-1]


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        (pd.DataFrame({"code": ["a"]}), "bad-value", ["'taxonomy' has no column 'parent'"]),
        (pd.DataFrame({"code": ["a", None, None], "parent": None}), "key-null", ["2 rows", "1, 2"]),
        (pd.DataFrame({"code": ["a", "b", "a"], "parent": None}), "key-duplicate", ["'a'"]),
        (table(a=None, b="x", c="y", d="x"), "bad-value", ["parents that are not among", "'x', 'y'"]),
        (table(a="a"), "bad-value", ["cycle", "a -> a"]),
        (table(r=None, q="c", b="c", c="a", a="b"), "bad-value", ["cycle", "a -> b"]),
        (pd.DataFrame({"code": [1, 2], "parent": ["1", None]}), "bad-value", ["different types", "int64"]),
        (pd.DataFrame({"code": [1, 2], "parent": [0.5, None]}), "bad-value", ["different types"]),
        (pd.DataFrame({"code": [[1]], "parent": [None]}), "bad-value", ["'code' of 'taxonomy'"]),
    ],
)
def test_what_is_no_taxonomy_is_refused(given: pd.DataFrame, code: str, words: list[str], refused: Any) -> None:
    with refused(code, *words, "hint"):
        read_taxonomy(given)


def test_a_long_cycle_is_shown_in_part(refused: Any) -> None:
    ring = pd.DataFrame({"code": range(1000), "parent": [*range(1, 1000), 0]})
    with refused("bad-value", "cycle", " -> …"):
        read_taxonomy(ring)


def test_one_long_chain_is_read_in_no_time() -> None:
    rows = 200_000
    found = read_taxonomy(pd.DataFrame({"code": range(rows), "parent": pd.array([None, *range(rows - 1)], "Int64")}))
    assert found.tree.depths.tolist() == list(range(rows))
