"""A look that starts from what the last one found says what a look from nothing says, whatever happened in between."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import builder as b
from builder.project import LOOK_FILE

RECIPES = """
import builder as b
import pandas as pd

LIMIT = 5

b.source("orders", "data/orders.csv", key="id")
b.source("shops[state={state}]", "shops/{state}.csv", key="id")
b.source("notes", "notes", format="file")

@b.recipe(key="id")
def large(orders: pd.DataFrame):
    return orders[orders["amount"] > LIMIT]

@b.recipe(inputs={"orders": b.read("orders", columns=["id"])})
def count(orders: pd.DataFrame):
    return {"n": len(orders)}

@b.recipe(each="shops", inputs={"shops": "shops[state={state}]"}, key="id")
def clean(shops: pd.DataFrame, state):
    if (shops["x"] < 0).any():
        raise ValueError("below zero")
    return shops

@b.recipe(inputs={"parts": "clean[*]"})
def together(parts: pd.DataFrame, large: pd.DataFrame):
    return {"rows": len(parts), "large": len(large)}

@b.recipe
def names(notes: b.Files):
    return sorted(notes)

@b.recipe
def report(names, together):
    return [names, together]
"""
ORDERS = "id,amount\n1,10\n2,3\n"


@pytest.fixture
def shop(site: Any) -> Any:
    """A built project that was looked at."""
    site.write("builder.toml", 'name = "shop"\nenvironment = ["python"]\ndepends = ["meta/*.yaml"]\n')
    site.write("meta/a.yaml", "a: 1")
    site.write("data/orders.csv", ORDERS)
    site.write("shops/CA.csv", "id,x\n1,1\n")
    site.write("shops/WA.csv", "id,x\n1,2\n")
    site.write("notes/a.txt", "a")
    site.recipe(RECIPES)
    site.built()
    assert site.project.status().is_fresh
    assert look_file(site).exists()
    return site


def look_file(site: Any) -> Path:
    return Path(site.root, ".builder", LOOK_FILE)


def said(site: Any) -> list[dict[str, Any]]:
    """All that reports say of the project."""
    project = b.open(site.root)
    status, plan = project.status().to_json(), project.plan().to_json()
    status.pop("sensed_s")
    explained = [project.explain(name).to_json() for name in ("large", "together") if name in str(status)]
    return [status, plan, *explained]


def same_from_nothing(site: Any) -> list[dict[str, Any]]:
    """What reports say, after checking that they say it without any note of an earlier look too."""
    from_last = said(site)
    look_file(site).unlink(missing_ok=True)
    assert said(site) == from_last
    return from_last


def states(site: Any) -> dict[str, str]:
    return {t["name"]: t["state"] for t in same_from_nothing(site)[0]["targets"]}


def write(path: str, text: str) -> Callable[[Any], object]:
    return lambda site: site.write(path, text)


def rebuilt(*edits: Callable[[Any], object]) -> Callable[[Any], object]:
    def act(site: Any) -> None:
        for edit in edits:
            edit(site)
        site.rebuild()

    return act


EDITS: dict[str, Callable[[Any], object]] = {
    "nothing": lambda site: None,
    "a table's rows": write("data/orders.csv", "id,amount\n1,10\n2,30\n"),
    "a table said otherwise": write("data/orders.csv", "id,amount\n2,3\n1,10\n"),
    "a broken table": write("data/orders.csv", "id,amount\n1,ten\n"),
    "a deleted source": lambda site: (site.root / "data/orders.csv").unlink(),
    "a member's rows": write("shops/CA.csv", "id,x\n1,5\n"),
    "a new member": write("shops/OR.csv", "id,x\n1,1\n"),
    "a deleted member": lambda site: (site.root / "shops/CA.csv").unlink(),
    "a note": write("notes/a.txt", "b"),
    "one more note": write("notes/b.txt", "b"),
    "all sources": lambda site: [
        site.write(p, t) for p, t in [("data/orders.csv", "id,amount\n9,9\n"), ("shops/CA.csv", "id,x\n9,9\n")]
    ],
    "a recipe": lambda site: site.recipe(RECIPES.replace("LIMIT = 5", "LIMIT = 2")),
    "a recipe less": lambda site: site.recipe(RECIPES.replace("@b.recipe\ndef report", "def report")),
    "a file of depends": write("meta/a.yaml", "a: 2"),
    "the environment": write("builder.toml", 'name = "shop"\ndepends = ["meta/*.yaml"]\n'),
    "a pin": lambda site: (site.root / "schemas/orders.json").unlink(),
    "what was taken in, not yet built on": lambda site: [
        site.write("data/orders.csv", "id,amount\n1,10\n3,30\n"),
        site.project.read_sources(inline=True),
    ],
    "a rebuild of a change": rebuilt(write("data/orders.csv", "id,amount\n1,10\n2,30\n")),
    "a rebuild with a failure": rebuilt(write("shops/CA.csv", "id,x\n1,-1\n")),
    "a rebuild of one target": lambda site: [
        site.write("shops/CA.csv", "id,x\n1,7\n"), site.rebuild(["clean[state=CA]"])
    ],
    "all built again": lambda site: site.rebuild(all=True),
    "a lost ledger": lambda site: (site.root / ".builder/ledger.sqlite").unlink(),
    "gc": lambda site: site.project.gc(keep=1),
}  # fmt: skip


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_look_says_the_same_with_and_without_the_last_one(shop: Any, edit: Callable[[Any], object]) -> None:
    edit(shop)
    same_from_nothing(shop)
    shop.write("data/orders.csv", ORDERS)
    shop.write("shops/CA.csv", "id,x\n1,1\n")
    shop.write("notes/a.txt", "a")
    same_from_nothing(shop)


def test_a_change_is_seen_from_the_last_look(shop: Any) -> None:
    shop.write("data/orders.csv", "id,amount\n1,10\n2,30\n")
    found = states(shop)
    assert found["names"] == "fresh"
    assert (found["large"], found["together"], found["report"]) == ("stale", "pending", "pending")
    assert (found["clean[state=CA]"], found["clean[state=WA]"]) == ("fresh", "fresh")


def test_a_change_between_two_looks_is_seen_though_the_first_wrote_no_new_note(shop: Any) -> None:
    before = look_file(shop).read_bytes()
    shop.write("shops/CA.csv", "id,x\n1,5\n")
    assert shop.states()["clean[state=CA]"] == "stale"
    assert look_file(shop).read_bytes() == before
    shop.write("shops/CA.csv", "id,x\n1,1\n")
    shop.write("shops/WA.csv", "id,x\n1,1\n")
    found = states(shop)
    assert (found["clean[state=CA]"], found["clean[state=WA]"]) == ("fresh", "stale")


def test_a_pointer_changed_by_another_hand_is_seen(shop: Any) -> None:
    with sqlite3.connect(shop.root / ".builder/ledger.sqlite") as db:
        db.execute("UPDATE current SET key = 'x' WHERE name = 'clean[state=CA]'")
    db.close()
    assert states(shop)["clean[state=CA]"] != "fresh"


def test_the_note_of_another_project_or_time_is_not_taken(shop: Any) -> None:
    old = look_file(shop).read_bytes()
    shop.write("data/orders.csv", "id,amount\n1,10\n2,30\n")
    shop.built()
    shop.write("data/orders.csv", ORDERS)
    expected = states(shop)
    look_file(shop).write_bytes(old)
    assert shop.states() == expected


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"stamp": 1}', b"\xff" * 9, b"[" * 99999], ids=repr)
def test_a_broken_note_costs_nothing_but_time(shop: Any, content: bytes) -> None:
    look_file(shop).write_bytes(content)
    shop.write("shops/CA.csv", "id,x\n1,5\n")
    assert states(shop)["clean[state=CA]"] == "stale"


def test_a_note_edited_to_call_all_fresh_is_not_believed(shop: Any) -> None:
    shop.write("shops/CA.csv", "id,x\n1,5\n")
    shop.rebuild(["names"])
    look_file(shop).unlink()
    assert shop.states()["clean[state=CA]"] == "stale"
    value = json.loads(look_file(shop).read_bytes())
    assert "clean[state=CA]" in value["unsettled"]
    value["unsettled"] = []
    look_file(shop).write_text(json.dumps(value))
    assert shop.states()["clean[state=CA]"] == "stale"


def test_a_store_that_cannot_be_written_is_looked_at_all_the_same(shop: Any) -> None:
    look_file(shop).unlink()
    look_file(shop).mkdir()
    shop.write("shops/CA.csv", "id,x\n1,5\n")
    assert shop.states()["clean[state=CA]"] == "stale"
    assert os.listdir(look_file(shop)) == []
