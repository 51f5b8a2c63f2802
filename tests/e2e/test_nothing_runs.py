"""What changes nothing runs nothing: no recipe is called, the outcome is ``nothing``, and all stays fresh.

Each claim has its twin in test_what_runs.py, where a real change of the same kind runs exactly what depends on it.
"""

import csv
import gzip
import io
import json
import os
import random
import shutil
import time

import pandas as pd
import pytest

import builder as b

ROWS = [[f"o{n:03}", random.Random(n).choice(["north", "south"]), str(n), f'the "{n}", then'] for n in range(120)]
HEADER = ["id", "region", "amount", "note"]

RECIPE = '''
"""Orders and what they sum up to."""

from ._sums import summed

RATE = 3

orders = b.source("orders", "data/orders.csv.gz", key="id")


@b.recipe(key="id", inputs={"orders": b.read("orders", columns=["id", "region", "amount"])})
def priced(orders: pd.DataFrame) -> pd.DataFrame:
    """Orders with a price."""
    # the rate is the month's
    return orders.assign(price=orders["amount"] * RATE)


@b.recipe(key="region")
def by_region(priced: pd.DataFrame) -> pd.DataFrame:
    return summed(priced, "region")


@b.recipe
def report(by_region: pd.DataFrame) -> dict:
    return {"regions": by_region["region"].to_list()}
'''
SUMS = '''
def summed(frame, by):
    """Sums of every group."""
    return frame.groupby(by, as_index=False)[["amount", "price"]].sum()


def unused(frame):
    return frame.head(1)
'''


def csv_text(rows, header=HEADER, **dialect):
    text = io.StringIO()
    csv.writer(text, lineterminator=dialect.pop("lineterminator", "\n"), **dialect).writerows([header, *rows])
    return text.getvalue()


def zipped(rows, header=HEADER, level=6, **dialect):
    return gzip.compress(csv_text(rows, header, **dialect).encode(), level, mtime=0)


@pytest.fixture
def shop(site):
    """A built project over a keyed, compressed CSV."""
    site.write("data/orders.csv.gz", zipped(ROWS))
    site.recipe(RECIPE)
    site.write("recipes/_sums.py", SUMS)
    report = site.built()
    assert {t["name"]: t["outcome"] for t in report["targets"]} == dict.fromkeys(
        ("priced", "by_region", "report"), "built"
    )
    assert site.built()["outcome"] == "nothing"
    return site


def nothing_runs(site, sources=None):
    """A rebuild that calls no recipe; `sources` are those it takes in, and how."""
    before = site.digests()
    report = site.built()
    assert (report["outcome"], report["targets"]) == ("nothing", [])
    assert {s["name"]: s["outcome"] for s in report["sources"]} == (sources or {})
    assert report["totals"]["fresh"] == sum(report["totals"].values()) == len(site.states())
    assert set(site.states().values()) == {"fresh"}
    assert site.digests().keys() == before.keys()
    assert site.project.load("report") == {"regions": ["north", "south"]}
    again = site.built()
    assert (again["outcome"], again["sources"], again["targets"]) == ("nothing", [], [])


# -- sources -----------------------------------------------------------------------------------------------------------


def test_nothing_runs_after_a_touch(shop):
    os.utime(shop.root / "data/orders.csv.gz", (time.time() + 60, time.time() + 60))
    assert {s["name"]: s["state"] for s in shop.project.status().to_json()["sources"]} == {"orders": "unchanged"}
    nothing_runs(shop)


def test_nothing_runs_after_the_same_content_was_written_again(shop):
    shop.write("data/orders.csv.gz", zipped(ROWS))
    nothing_runs(shop)


def test_nothing_runs_after_the_same_content_came_by_rename(shop):
    shop.write("data/new", zipped(ROWS)).rename(shop.root / "data/orders.csv.gz")
    nothing_runs(shop)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(zipped(random.Random(1).sample(ROWS, len(ROWS))), id="sorted otherwise"),
        pytest.param(zipped(ROWS, level=1), id="compressed otherwise"),
        pytest.param(zipped(ROWS, quoting=csv.QUOTE_ALL), id="quoted otherwise"),
        pytest.param(zipped(ROWS, lineterminator="\r\n"), id="with other line ends"),
        pytest.param(gzip.compress(b"\xef\xbb\xbf" + csv_text(ROWS).encode()), id="with a byte order mark"),
    ],
)
def test_a_source_that_says_the_same_otherwise_is_taken_in_and_found_equal(shop, content):
    digest = shop.digests()["orders"]
    shop.write("data/orders.csv.gz", content)
    status = shop.project.status().to_json()
    assert {s["name"]: s["state"] for s in status["sources"]} == {"orders": "changed"}
    assert {t["name"]: t["state"] for t in status["targets"]} == {
        "priced": "stale", "by_region": "pending", "report": "pending"
    }  # fmt: skip
    nothing_runs(shop, {"orders": "unchanged"})
    assert shop.digests()["orders"] == digest


def test_the_command_says_nothing_and_prints_what_it_took_in(shop):
    shop.write("data/orders.csv.gz", zipped(ROWS[::-1], level=9))
    report = shop.command_json("rebuild")
    assert (report["outcome"], report["targets"]) == ("nothing", [])
    assert [(s["name"], s["outcome"], s["rows"]) for s in report["sources"]] == [("orders", "unchanged", 120)]
    assert report["totals"] == {
        "built": 0,
        "updated": 0,
        "unchanged": 0,
        "restored": 0,
        "failed": 0,
        "blocked": 0,
        "fresh": 3,
    }


def test_nothing_runs_after_a_change_in_a_column_that_no_recipe_reads(shop):
    shop.write("data/orders.csv.gz", zipped([[*r[:3], "rewritten"] for r in ROWS]))
    report = shop.built()
    assert (report["outcome"], report["targets"]) == ("nothing", [])
    assert [(s["name"], s["outcome"], s["rows_changed"]) for s in report["sources"]] == [("orders", "updated", 120)]
    assert set(shop.project.load("orders")["note"]) == {"rewritten"}
    nothing_runs(shop)


def test_nothing_runs_after_a_column_that_no_recipe_reads_was_added(shop):
    shop.write("data/orders.csv.gz", zipped([[*r, "x"] for r in ROWS], [*HEADER, "more"]))
    report = shop.rebuild()
    assert [s["error"]["code"] for s in report["sources"]] == ["schema-drift"]
    shop.project.accept("orders")
    nothing_runs(shop, {"orders": "read"})


PLAIN = [[r[0], r[1], int(r[2]), r[3]] for r in ROWS]


def as_parquet():
    sink = io.BytesIO()
    pd.DataFrame(PLAIN[::-1], columns=HEADER).to_parquet(sink)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("path", "content", "dialect"),
    [
        ("orders.csv.gz", zipped([[r[3], r[2], r[0], r[1]] for r in ROWS], ["note", "amount", "id", "region"]), ""),
        ("orders.csv.gz", zipped(ROWS, delimiter=";"), ', delimiter=";"'),
        ("orders.csv.gz", gzip.compress(csv_text(ROWS).encode("utf-16")), ', encoding="utf-16"'),
        ("renamed.csv.gz", zipped(ROWS), ""),
        ("orders.csv", csv_text(ROWS), ""),
        ("orders.tsv", csv_text(ROWS, delimiter="\t"), ""),
        ("orders.parquet", as_parquet(), ""),
        ("orders.jsonl", "\n".join(json.dumps(dict(zip(HEADER, r))) for r in PLAIN), ""),
    ],
    ids=["columns in other order", "delimiter", "encoding", "renamed", "unpacked", "tsv", "parquet", "jsonl"],
)
def test_the_same_table_in_another_file_dialect_or_format_is_found_equal(shop, path, content, dialect):
    (shop.root / "data/orders.csv.gz").unlink()
    shop.write(f"data/{path}", content)
    shop.recipe(RECIPE.replace('"data/orders.csv.gz", key="id"', f'"data/{path}", key="id"{dialect}'))
    nothing_runs(shop, {"orders": "unchanged"})


def test_nothing_runs_after_the_pinned_columns_were_declared(shop):
    columns = {"id": "string", "region": "string", "amount": "int64", "note": "string"}
    shop.recipe(RECIPE.replace('.csv.gz", key="id"', f'.csv.gz", key="id", columns={columns}'))
    nothing_runs(shop, {"orders": "unchanged"})


def test_nothing_runs_after_the_pin_was_lost_and_it_is_written_again(shop):
    pin = shop.root / "schemas/orders.json"
    text = pin.read_text()
    pin.unlink()
    nothing_runs(shop, {"orders": "unchanged"})
    assert pin.read_text() == text


def test_nothing_runs_after_a_file_that_no_source_names_came(shop):
    shop.write("data/other.csv", "id\n1\n")
    nothing_runs(shop)


# -- recipes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("    # the rate is the month's\n", "", id="comment away"),
        pytest.param("RATE = 3", "RATE = 3  # euro", id="comment beside a constant"),
        pytest.param('    """Orders with a price."""\n', '    """Each order with its price."""\n', id="docstring"),
        pytest.param('    """Orders with a price."""\n', "", id="docstring away"),
        pytest.param('"""Orders and what they sum up to."""', '"""Other words."""', id="module docstring"),
        pytest.param("    return orders.assign(price=orders[\"amount\"] * RATE)",
                     "    return orders.assign(\n        price=(\n            orders['amount']*RATE\n        ),\n    )",
                     id="formatting"),
        pytest.param("RATE = 3", "OTHER = 9\nRATE = 3", id="constant that nothing uses"),
        pytest.param("RATE = 3", "\n\n\nRATE = 3", id="lines"),
        pytest.param('(key="region")', '(key="region", retries=2, priority=3, timeout=60)', id="how it runs"),
    ],
)  # fmt: skip
def test_nothing_runs_after_a_change_in_a_recipe_that_changes_nothing(shop, old, new):
    assert old in RECIPE
    shop.recipe(RECIPE.replace(old, new))
    nothing_runs(shop)


def test_nothing_runs_after_recipes_came_in_another_order(shop):
    head, *recipes = RECIPE.split("\n\n\n")
    shop.recipe("\n\n\n".join([head, *recipes[::-1]]))
    nothing_runs(shop)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("frame.head(1)", "frame.head(2)", id="unused helper changed"),
        pytest.param("def unused(frame):\n    return frame.head(1)\n", "", id="unused helper away"),
        pytest.param("def unused", "def another():\n    return 5\n\n\ndef unused", id="unused helper more"),
        pytest.param('"""Sums of every group."""', '"""Sums."""', id="docstring of a helper"),
    ],
)
def test_nothing_runs_after_a_change_in_what_no_recipe_reaches(shop, old, new):
    assert old in SUMS
    shop.write("recipes/_sums.py", SUMS.replace(old, new))
    nothing_runs(shop)


def test_nothing_runs_after_a_recipe_file_that_holds_no_recipe_came(shop):
    shop.write("recipes/_later.py", "VALUE = 1\n")
    nothing_runs(shop)


def test_nothing_runs_after_a_new_entry_in_a_file_read_while_loading_that_no_recipe_captures(site):
    recipe = """
        import json
        from pathlib import Path

        SETTINGS = json.loads((Path(__file__).parent.parent / "settings.json").read_text())
        LIMIT = SETTINGS["limit"]

        @b.recipe
        def limited() -> dict:
            return {"limit": LIMIT}

        @b.recipe(each={"state": sorted(SETTINGS["states"])})
        def one(state) -> dict:
            return {"state": state}
    """
    site.recipe(recipe)
    site.write("settings.json", '{"limit": 5, "states": ["CA", "WA"]}')
    assert site.ran() == {"limited", "one[state=CA]", "one[state=WA]"}
    site.write("settings.json", '{"limit": 5, "states": ["WA", "CA"], "colour": "red"}')
    report = site.built()
    assert (report["outcome"], report["targets"], report["sources"]) == ("nothing", [], [])
    site.write("settings.json", '{"limit": 6, "states": ["CA", "WA"], "colour": "red"}')
    assert site.ran() == {"limited"}


# -- the project -------------------------------------------------------------------------------------------------------


def test_nothing_runs_after_the_project_was_moved(shop, tmp_path):
    moved = tmp_path / "moved"
    shop.root.rename(moved)
    shop.root = moved
    nothing_runs(shop)


def test_nothing_runs_after_settings_that_no_output_depends_on(shop):
    shop.write("builder.toml", 'name = "other"\n[lanes]\ndatabase = 1\n[cluster]\nworkers = 1\n')
    nothing_runs(shop)


def test_nothing_runs_when_other_targets_are_published(shop):
    def published():
        return {p.name for p in (shop.root / "out").iterdir()}

    assert published() == {"report.json"}
    for setting, expected in (('"all"', {"priced.parquet", "by_region.parquet", "report.json"}), ("[]", set())):
        shop.write("builder.toml", f"publish = {setting}\n")
        nothing_runs(shop)
        assert published() == expected


def test_nothing_runs_when_out_was_lost_and_it_is_published_again(shop):
    report = shop.root / "out/report.json"
    before = report.read_bytes()
    shutil.rmtree(shop.root / "out")
    nothing_runs(shop)
    assert report.read_bytes() == before
    report.chmod(0o644)
    report.write_bytes(b"scribble")
    nothing_runs(shop)
    assert report.read_bytes() == before


def test_nothing_runs_with_a_lost_cache_of_the_graph(shop):
    kept = {"ledger.sqlite", "parts", "lock"}
    for file in (shop.root / ".builder").iterdir():
        if file.name.split("-")[0] not in kept and file.is_file():
            file.unlink()
    nothing_runs(shop)


def test_a_rebuild_with_nothing_to_do_opens_no_run(shop):
    runs = len(shop.project.history().to_json()["runs"])
    shop.built()
    assert len(b.open(shop.root).history().to_json()["runs"]) == runs
