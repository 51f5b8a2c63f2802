"""What a recipe may see: each numbered line of the contract's list, as properties of what really arrives.

The recipes here write down everything they can see of an input: columns, dtypes, index, values. Storage in one part or
many, the order of rows in a file, chunks, workers and hash seeds must leave that, and every digest, as it is.
"""

import datetime as dt
import gzip
import json
import math
import os
import py_compile
import random
import string
from decimal import Decimal
from pathlib import Path
from textwrap import dedent

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import builder as b

SEEN = """
def seen(frame):
    import pandas as pd

    return {
        "type": type(frame).__name__,
        "columns": list(frame.columns),
        "dtypes": [str(d) for d in frame.dtypes],
        "index": repr(frame.index),
        "names": [repr(frame.index.name), repr(frame.columns.name)],
        "attrs": repr(frame.attrs),
        "rows": [[repr(v) for v in row] for row in zip(*(frame[c] for c in frame))],
    }
"""
RECIPE = """
from ._seen import seen

table = b.source("table", "data/table.csv", key={key!r}, columns={columns!r})


@b.recipe
def arrived(table: pd.DataFrame) -> dict:
    return seen(table)


@b.recipe(key={key!r})
def copied(table: pd.DataFrame) -> pd.DataFrame:
    return table.sample(frac=1, random_state=5){keep_order}


@b.recipe
def arrived_again(copied: pd.DataFrame) -> dict:
    return seen(copied)
"""
COLUMNS = {"k": "string", "n": "Int64", "x": "float64", "t": "timestamp"}


def write_seen(site):
    site.write("recipes/_seen.py", SEEN)


def in_parts(patch, rows):
    """Let tables be written in parts of so many rows, sorted in runs of a few hundred bytes, parsed in small blocks."""
    patch.setattr("builder.tables.write.PART_ROWS", rows)
    patch.setattr("builder.tables.write.RUN_BYTES", 200 if rows < 100 else 1 << 20)
    patch.setattr("builder.formats.text.BLOCK_BYTES", 512 if rows < 100 else 1 << 20)


def parts_of(site, name):
    ledger = site.project.ledger()
    manifest = ledger.manifest(ledger.currents()[name].manifest_id)
    ledger.close()
    return len(manifest.parts)


def csv_of(rows, header):
    return "\n".join([",".join(header), *(",".join("" if v is None else str(v) for v in row) for row in rows)]) + "\n"


def random_rows(seed, count):
    """Rows with nulls, negative zeros, NaN and instants in several zones, keyed by a text of any length."""
    chance = random.Random(seed)
    keys = {"".join(chance.choices(string.ascii_letters + "äß€", k=chance.randint(1, 5))) for _ in range(count * 3)}
    return [
        [
            key, chance.choice([None, 0, -7, 2**62, chance.randint(-9, 9)]),
            chance.choice(["", "-0.0", "0", "1e300", "nan", repr(chance.random())]),
            chance.choice(["", "2024-03-01T12:00:00Z", "2024-03-01T13:00:00+01:00", "1969-12-31T23:59:59.999999Z"]),
        ]
        for key in sorted(keys)[:count]
    ]  # fmt: skip


# -- 1: order, index, canonical values ---------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("key", ["k", None])
def test_storage_in_1_3_or_50_parts_and_any_order_of_rows_look_the_same(site, monkeypatch, seed, key):
    rows = random_rows(seed, 150)
    random.Random(seed).shuffle(rows)
    write_seen(site)
    site.recipe(RECIPE.format(key=key, columns=COLUMNS, keep_order="" if key else ".sort_index()"))
    looks = []
    for part_rows, parts in ((1 << 20, {1}), (50, {3}), (3, {50})):
        if key is not None:
            random.Random(part_rows).shuffle(rows)
        site.write("data/table.csv", csv_of(rows, COLUMNS))
        with monkeypatch.context() as patch:
            in_parts(patch, part_rows)
            site.built(all=True)
            site.built(all=True)
        if part_rows != 1 << 20 and key is None:
            assert parts_of(site, "copied") in parts
        looks.append((site.digests(), *(site.load(n) for n in ("arrived", "arrived_again"))))
        fresh = b.open(site.root)
        assert fresh.rebuild(inline=True).outcome == "nothing"
        for path in (".builder", "out"):
            (site.root / path).rename(site.root / f"{path}-{part_rows}")
    assert looks[0] == looks[1] == looks[2]
    arrived = looks[0][1]
    assert arrived["columns"] == list(COLUMNS)
    assert arrived["index"] == "RangeIndex(start=0, stop=150, step=1)"
    assert (arrived["names"], arrived["attrs"]) == (["None", "None"], "{}")
    keys = [row[0] for row in arrived["rows"]]
    expected = [repr(str(r[0])) for r in (rows if key is None else sorted(rows, key=lambda r: r[0].encode()))]
    assert keys == expected
    assert looks[0][2]["rows"] == arrived["rows"]


def test_a_version_in_parts_in_any_order_reads_the_same(site, monkeypatch):
    """A keyed version whose rows were written in another order has the same digest, and arrives sorted."""
    site.write("data/table.csv", csv_of([[f"k{n:02}", n] for n in range(30)], ["k", "n"]))
    write_seen(site)
    site.recipe(RECIPE.format(key="k", columns={"k": "string", "n": "Int64"}, keep_order=""))
    with monkeypatch.context() as patch:
        in_parts(patch, 3)
        site.built()
    assert parts_of(site, "table") >= 3
    digest = site.digests()["table"]
    site.write("data/table.csv", csv_of([[f"k{n:02}", n] for n in reversed(range(30))], ["k", "n"]))
    with monkeypatch.context() as patch:
        in_parts(patch, 4)
        assert site.built()["outcome"] == "nothing"
    assert site.digests()["table"] == digest
    assert [r[0] for r in site.load("arrived")["rows"]] == [repr(f"k{n:02}") for n in range(30)]


def test_what_a_digest_does_not_tell_apart_arrives_in_one_form(site):
    write_seen(site)
    site.recipe("""
        from ._seen import seen
        WHICH = 0

        @b.recipe(key="k")
        def made() -> pd.DataFrame:
            import numpy as np
            zero = [0.0, -0.0][WHICH]
            nan = [np.nan, -np.float64(np.nan)][WHICH]
            zone = ["UTC", "America/New_York"][WHICH]
            unit = ["us", "ns"][WHICH]
            instants = pd.Series(pd.to_datetime([0, 86_400_000_000], unit="us", utc=True)).dt.tz_convert(zone)
            text = [pd.Series(["a", "b"]), pd.Series(["a", "b"], dtype="category")][WHICH]
            frame = pd.DataFrame({"k": [1, 2], "x": [zero, nan], "t": instants.dt.as_unit(unit), "s": text})
            return frame if WHICH == 0 else frame.iloc[::-1].set_index("k")

        @b.recipe
        def arrived(made: pd.DataFrame) -> dict:
            return seen(made)
    """)
    site.built()
    first = site.load("arrived")
    main = site.root / "recipes/main.py"
    main.write_text(main.read_text().replace("WHICH = 0", "WHICH = 1"))
    assert site.outcomes() == {"made": "unchanged"}
    site.built(all=True)
    assert site.load("arrived") == first
    assert first["rows"][0][1] == "0.0"
    assert first["dtypes"] == ["int64", "float64", "datetime64[us, UTC]", "string"]


# -- 2: dtypes ---------------------------------------------------------------------------------------------------------

SEEN_AS = {
    "int64": "int64", "Int64": "Int64", "bool": "bool", "boolean": "boolean", "float64": "float64", "string": "string",
    "date": "date32[day][pyarrow]", "timestamp": "datetime64[us, UTC]", "decimal(9,2)": "decimal128(9, 2)[pyarrow]",
}  # fmt: skip
TEXTS = {
    "int64": ["1", "-5"], "Int64": ["1", ""], "bool": ["true", "false"], "boolean": ["true", ""], "float64": ["1", ""],
    "string": ["a", ""], "date": ["2024-02-29", ""], "timestamp": ["2024-02-29T00:00:00Z", ""],
    "decimal(9,2)": ["1.5", ""],
}  # fmt: skip


@pytest.mark.parametrize("how", ["values", "one row", "nulls", "no rows"])
def test_the_dtype_depends_on_the_schema_alone(site, how):
    names = {dtype: f"c{n}" for n, dtype in enumerate(TEXTS)}
    first, second = ([texts[i] for texts in TEXTS.values()] for i in (0, 1))
    nulls = ["" if dtype not in ("int64", "bool") else TEXTS[dtype][0] for dtype in TEXTS]
    rows = {"values": [first, second], "one row": [first], "nulls": [nulls, nulls], "no rows": []}[how]
    lines = [",".join(["k", *names.values()]), *(",".join([str(n), *row]) for n, row in enumerate(rows))]
    site.write("data/table.csv", "\n".join(lines) + "\n")
    write_seen(site)
    site.recipe(RECIPE.format(key="k", columns={"k": "int64"} | {c: d for d, c in names.items()}, keep_order=""))
    site.built()
    for name in ("arrived", "arrived_again"):
        found = site.load(name)
        assert dict(zip(found["columns"], found["dtypes"])) == {"k": "int64"} | {
            c: SEEN_AS[d] for d, c in names.items()
        }
    assert [str(d) for d in site.load("table").dtypes] == ["int64", *SEEN_AS.values()]


@pytest.mark.parametrize("dtype", ["int64", "bool"])
def test_int64_and_bool_refuse_nulls(site, dtype):
    site.write("data/table.csv", f"k,v\n1,{TEXTS[dtype][0]}\n2,\n")
    write_seen(site)
    site.recipe(RECIPE.format(key="k", columns={"k": "int64", "v": dtype}, keep_order=""))
    problem = site.rebuild()["sources"][0]["error"]
    assert problem["code"] == "bad-value"
    assert "v" in str(problem["facts"]) and "3" in str((problem["place"], problem["facts"]))


def test_the_dtype_of_an_integer_that_may_be_null_is_the_same_in_a_part_without_nulls(site, monkeypatch):
    in_parts(monkeypatch, 4)
    site.write("data/table.csv", csv_of([[n, n if n < 90 else None] for n in range(100)], ["k", "v"]))
    site.recipe("""
        import dask.dataframe as dd
        table = b.source("table", "data/table.csv", key="k")

        @b.recipe
        def dtypes(table: dd.DataFrame) -> dict:
            frames = [p.compute() for p in table.partitions]
            dtypes = sorted({str(f["v"].dtype) for f in frames})
            return {"parts": len(frames), "dtypes": dtypes, "n": sum(map(len, frames))}
    """)
    site.built()
    found = site.load("dtypes")
    assert found["parts"] > 3
    assert (found["dtypes"], found["n"]) == (["Int64"], 100)


# -- 3: nulls of CSV ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("null", "expected"),
    [
        (None, ["<NA>", "''", "'NA'", "'null'", "'-'", "'NaN'"]),
        (["NA", "-"], ["''", "''", "<NA>", "'null'", "<NA>", "'NaN'"]),
        (["", "null"], ["<NA>", "''", "'NA'", "<NA>", "'-'", "'NaN'"]),
    ],
)
def test_an_empty_field_is_null_quotes_make_it_text_and_na_is_text(site, null, expected):
    site.write("data/table.csv", 'k,v\n1,\n2,""\n3,NA\n4,null\n5,-\n6,NaN\n')
    write_seen(site)
    recipe = RECIPE.format(key="k", columns={"k": "int64", "v": "string"}, keep_order="")
    site.recipe(recipe.replace("key='k', columns", f"null={null!r}, key='k', columns"))
    site.built()
    assert [row[1] for row in site.load("arrived")["rows"]] == expected


# -- 4: pins -----------------------------------------------------------------------------------------------------------


def test_columns_are_inferred_from_the_whole_first_version_and_pinned(site, monkeypatch):
    in_parts(monkeypatch, 50)
    rows = [[n, n, n, "true"] for n in range(2000)] + [[2000, "1.5", "late", ""]]
    site.write("data/table.csv", csv_of(rows, ["k", "x", "s", "f"]))
    write_seen(site)
    site.recipe(RECIPE.format(key="k", columns={}, keep_order=""))
    site.built()
    assert site.load("arrived")["dtypes"] == ["int64", "float64", "string", "boolean"]
    pinned = json.loads((site.root / "schemas/table.json").read_text())
    assert list(pinned["columns"]) == ["k", "x", "s", "f"] or [c["name"] for c in pinned["columns"]] == [
        "k",
        "x",
        "s",
        "f",
    ]
    site.write("data/table.csv", csv_of([[1, 7, 8, "false"]], ["k", "x", "s", "f"]))
    site.built()
    found = site.load("arrived")
    assert found["dtypes"] == ["int64", "float64", "string", "boolean"]
    assert [row[:3] for row in found["rows"]] == [["1", "7.0", "'8'"]]


def test_drift_is_an_error_until_it_is_accepted(site):
    site.write("data/table.csv", "k,v\n1,5\n2,6\n")
    write_seen(site)
    site.recipe(RECIPE.format(key="k", columns={}, keep_order=""))
    site.built()
    before = site.load("arrived")
    site.write("data/table.csv", "k,v\n1,5\n2,six\n")
    report = site.rebuild()
    problem = report["sources"][0]["error"]
    assert problem["code"] == "schema-drift"
    assert {"v", "six", "3"} <= {w.strip("'") for _, v in problem["facts"] for w in str(v).split()} | {
        str(problem["place"]).rpartition(":")[2]
    }
    assert "accept" in problem["hint"]
    assert {t["outcome"] for t in report["targets"]} == {"blocked"}
    assert site.load("arrived") == before
    site.project.accept("table")
    site.built()
    assert site.load("arrived")["dtypes"] == ["int64", "string"]


def test_a_pin_is_part_of_the_situation(site):
    site.write("data/table.csv", "k,v\n1,5\n2,6\n")
    write_seen(site)
    site.recipe(RECIPE.format(key="k", columns={}, keep_order=""))
    site.built()
    pin = site.root / "schemas/table.json"
    pin.write_text(pin.read_text().replace("int64", "float64", 2).replace("float64", "int64", 1))
    site.built()
    assert site.load("arrived")["dtypes"] == ["int64", "float64"]
    pin.unlink()
    site.built()
    assert site.load("arrived")["dtypes"] == ["int64", "int64"]


# -- 5: CRS ------------------------------------------------------------------------------------------------------------

SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [0, 1], [1, 1], [1, 0], [0, 0]]]}
GEO = """
import geopandas as gpd

left = b.source("left", "data/left.geojson", key="id"{left})
right = b.source("right", "data/right.geojson", key="id"{right})


@b.recipe
def joined(left: gpd.GeoDataFrame, right: gpd.GeoDataFrame) -> dict:
    return {{"left": left.crs.to_string(), "right": right.crs.to_string(), "n": len(left.sjoin(right))}}
"""


def geojson(crs=None):
    features = [{"type": "Feature", "properties": {"id": 1}, "geometry": SQUARE}]
    named = {"crs": {"type": "name", "properties": {"name": crs}}} if crs else {}
    return json.dumps({"type": "FeatureCollection", **named, "features": features})


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (None, None, None),
        (None, "urn:ogc:def:crs:OGC:1.3:CRS84", None),
        ("urn:ogc:def:crs:EPSG::4326", "urn:ogc:def:crs:OGC:1.3:CRS84", None),
        ("urn:ogc:def:crs:EPSG::32633", "urn:ogc:def:crs:EPSG::32633", None),
        ("urn:ogc:def:crs:EPSG::32633", None, "crs-mismatch"),
    ],
)
def test_crs84_and_epsg_4326_are_one_and_any_other_difference_is_an_error(site, left, right, expected):
    site.write("data/left.geojson", geojson(left))
    site.write("data/right.geojson", geojson(right))
    site.recipe(GEO.format(left="", right=""))
    report = site.rebuild()
    problem = report["targets"][0]["error"]
    assert (problem and problem["code"]) == expected
    if expected is None:
        found = site.load("joined")
        assert found["left"] == found["right"]
        assert found["n"] == 1


def test_a_missing_crs_is_an_error_where_it_matters_and_a_declared_one_mends_it(site):
    import geopandas as gpd
    import shapely

    bare = gpd.GeoDataFrame({"id": [1]}, geometry=[shapely.box(0, 0, 1, 1)], crs=None)
    (site.root / "data").mkdir()
    bare.to_parquet(site.root / "data/left.parquet")
    site.write("data/right.geojson", geojson())
    recipe = GEO.replace("data/left.geojson", "data/left.parquet")
    site.recipe(recipe.format(left="", right=""))
    report = site.rebuild()
    codes = {r["error"]["code"] for r in (*report["sources"], *report["targets"]) if r["error"]}
    assert codes == {"crs-missing"}
    site.recipe(recipe.format(left=', crs="EPSG:4326"', right=""))
    site.built()
    assert site.load("joined")["n"] == 1


# -- 6: what recipes open ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reading",
    [
        "open(FILE).read()", "FILE.read_text()", "pd.read_csv(FILE).to_json()", "__import__('os').listdir(FILE.parent)",
        "__import__('json').load(FILE.open())",
    ],
)  # fmt: skip
def test_a_recipe_that_opens_a_file_of_the_project_that_is_no_input_fails(site, reading):
    site.write("data/hidden.csv", "a\n1\n")
    site.recipe(f"""
        from pathlib import Path
        FILE = Path(__file__).parent.parent / "data" / "hidden.csv"

        @b.recipe
        def sly() -> dict:
            try:
                return {{"found": {reading}}}
            except Exception:
                return {{"found": None}}

        @b.recipe
        def honest() -> dict:
            return {{}}
    """)
    outcomes = {t["name"]: (t["outcome"], t["error"] and t["error"]["code"]) for t in site.rebuild()["targets"]}
    assert outcomes == {"sly": ("failed", "undeclared-read"), "honest": ("built", None)}


def test_a_file_that_is_an_input_may_be_opened(site):
    site.write("data/notes/a.txt", "text")
    site.recipe("""
        notes = b.source("notes", "data/notes/*.txt")

        @b.recipe
        def read(notes: b.Files) -> dict:
            return {name: path.read_text() for name, path in notes.items()}
    """)
    site.built()
    assert site.load("read") == {"a.txt": "text"}


def test_values_read_while_loading_are_compared_by_value(site):
    site.write("settings.json", json.dumps({"a": [1, {"b": 2.5}], "c": "x"}))
    site.recipe("""
        import json
        from pathlib import Path
        SETTINGS = json.loads((Path(__file__).parent.parent / "settings.json").read_text())
        A, C = SETTINGS["a"], SETTINGS["c"]

        @b.recipe
        def first() -> dict:
            return {"a": A}

        @b.recipe
        def second() -> dict:
            return {"c": C}
    """)
    assert site.ran() == {"first", "second"}
    site.write("settings.json", json.dumps({"c": "x", "a": [1, {"b": 2.5}]}, indent=4))
    assert site.built()["outcome"] == "nothing"
    site.write("settings.json", json.dumps({"a": [1, {"b": 2.75}], "c": "x"}))
    assert site.ran() == {"first"}
    assert site.load("first") == {"a": [1, {"b": 2.75}]}


def test_modules_are_compiled_from_source_never_from_pyc(site):
    site.recipe("""
        from . import _helper

        @b.recipe
        def value() -> dict:
            return {"v": _helper.VALUE}
    """)
    helper = site.write("recipes/_helper.py", "VALUE = 1\n")
    stamp = helper.stat().st_mtime_ns
    stale = site.write("stale.py", "VALUE = 2\n")

    os.utime(stale, ns=(stamp, stamp))
    folder = site.root / "recipes/__pycache__"
    folder.mkdir()
    for tag in ("cpython-311", "cpython-312", "cpython-313"):
        py_compile.compile(str(stale), cfile=str(folder / f"_helper.{tag}.pyc"), dfile=str(helper))
    site.built()
    assert site.load("value") == {"v": 1}
    assert sorted(p.name for p in folder.iterdir()) == [f"_helper.cpython-31{n}.pyc" for n in (1, 2, 3)]


# -- 8: recipes that are no functions ----------------------------------------------------------------------------------


def test_another_digest_under_the_same_key_warns_wins_and_dependents_are_decided_anew(site):
    site.recipe("""
        import random

        @b.recipe
        def dice() -> dict:
            return {"n": random.SystemRandom().getrandbits(64)}

        @b.recipe
        def parity(dice) -> dict:
            return {"n": dice["n"]}

        @b.recipe
        def steady() -> dict:
            return {}
    """)
    assert site.built()["warnings"] == []
    first = site.load("dice")
    report = site.built(targets=["dice"], all=True)
    assert [w["code"] for w in report["warnings"]] == ["not-deterministic"]
    assert "dice" in report["warnings"][0]["message"]
    second = site.load("dice")
    assert second != first
    assert site.states() == {"dice": "fresh", "parity": "stale", "steady": "fresh"}
    assert site.outcomes() == {"parity": "built"}
    assert site.load("parity") == second


# -- 9: files that went ------------------------------------------------------------------------------------------------


def test_a_deleted_member_leaves_out_not_the_store_and_the_run_says_so(site):
    for state in ("CA", "WA"):
        site.write(f"data/{state}.csv", "id\n1\n")
    site.recipe("""
        shops = b.source("shops[state={state}]", "data/{state}.csv", key="id")

        @b.recipe(each="shops", inputs={"shops": "shops[state={state}]"}, key="id")
        def clean(shops: pd.DataFrame, state) -> pd.DataFrame:
            return shops
    """)
    site.built()
    (site.root / "data/WA.csv").unlink()
    said = site.command("rebuild", "--inline")
    assert said.returncode == 0
    assert "clean[state=WA]" in said.stdout
    assert [p.parent.name for p in (site.root / "out").rglob("*.parquet")] == ["state=CA"]
    site.write("data/WA.csv", "id\n1\n")
    assert site.outcomes() == {"clean[state=WA]": "restored"}


def test_a_missing_plain_source_is_an_error_with_its_path(site):
    site.recipe("""
        one = b.source("one", "data/one.csv", key="id")

        @b.recipe
        def n(one: pd.DataFrame) -> dict:
            return {"n": len(one)}
    """)
    report = site.rebuild()
    problem = report["sources"][0]["error"] if report["sources"] else report["targets"][0]["error"]
    assert problem["code"] == "source-missing"
    assert "data/one.csv" in problem["message"] + str(problem["place"])


# -- 10: parameters ----------------------------------------------------------------------------------------------------


def test_a_value_is_part_of_the_name_and_arrives_as_it_was_written(site):
    site.recipe("""
        import datetime as dt

        @b.recipe(each=[{"v": 1}, {"v": "one"}, {"v": True}, {"v": dt.date(2024, 2, 29)}])
        def typed(v) -> dict:
            return {"type": type(v).__name__, "repr": repr(v)}
    """)
    site.built()
    found = {name: site.load(name) for name in site.states()}
    assert {v["repr"] for v in found.values()} == {"1", "'one'", "True", "datetime.date(2024, 2, 29)"}
    assert len(found) == 4


def test_inputs_functions_get_each_parameter_by_keyword_and_lists_map_full_names(site):
    site.recipe("""
        @b.recipe(each={"state": ["CA", "WA"], "year": [2023, 2024]})
        def part(state, year) -> dict:
            return {"state": state, "year": year}

        def reads(*, year, state):
            return {"parts": [f"part[state={state},year={y}]" for y in range(2023, year + 1)]}

        @b.recipe(each={"state": ["CA", "WA"], "year": [2023, 2024]}, inputs=reads)
        def so_far(parts, state, year) -> dict:
            return {"names": list(parts), "years": [p["year"] for p in parts.values()], "n": len(parts)}
    """)
    site.built()
    assert site.load("so_far[state=WA,year=2024]") == {
        "names": ["part[state=WA,year=2023]", "part[state=WA,year=2024]"], "years": [2023, 2024], "n": 2,
    }  # fmt: skip


def test_a_default_that_nothing_names_stays_and_counts(site):
    site.recipe("""
        @b.recipe(each={"state": ["CA"]})
        def kept(state, least=3) -> dict:
            return {"least": least}
    """)
    site.built()
    assert site.load("kept[state=CA]") == {"least": 3}
    main = site.root / "recipes/main.py"
    main.write_text(main.read_text().replace("least=3", "least=4"))
    assert site.outcomes() == {"kept[state=CA]": "built"}


# -- 11: failures ------------------------------------------------------------------------------------------------------


def test_a_failed_target_stays_failed_and_its_dependents_blocked_until_it_is_built(site):
    site.write("data/n.txt", "x")
    recipe = """
        n = b.source("n", "data/n.txt")

        @b.recipe
        def strict(n: b.Files) -> dict:
            return {"v": int(next(iter(n.values())).read_text())}

        @b.recipe
        def after(strict) -> dict:
            return strict
    """
    site.recipe(recipe)
    assert set(site.states().values()) == {"missing"}
    for _ in range(2):
        assert site.outcomes() == {"strict": "failed", "after": "blocked"}
        assert site.states() == {"strict": "failed", "after": "blocked"}
    site.write("data/n.txt", "5")
    assert site.outcomes() == {"strict": "built", "after": "built"}
    site.write("data/n.txt", "y")
    assert site.outcomes() == {"strict": "failed", "after": "blocked"}
    assert site.load("after") == {"v": 5}
    site.write("data/n.txt", "5")
    assert site.built()["totals"]["failed"] == 0
    assert set(site.states().values()) == {"fresh"}


# -- 12: no rows -------------------------------------------------------------------------------------------------------


def test_a_table_of_no_rows_is_a_table(site):
    site.write("data/table.csv", "k,v\n")
    (site.root / "data/other.parquet").parent.mkdir(exist_ok=True)
    pq.write_table(
        pa.table({"k": pa.array([], pa.int64()), "v": pa.array([], pa.string())}), site.root / "data/other.parquet"
    )
    write_seen(site)
    site.recipe(
        RECIPE.format(key="k", columns={"k": "int64", "v": "string"}, keep_order="")
        + dedent("""
        other = b.source("other", "data/other.parquet", key="k")

        @b.recipe
        def arrived_other(other: pd.DataFrame) -> dict:
            return seen(other)
    """)
    )
    site.built()
    assert site.load("arrived")["rows"] == site.load("arrived_other")["rows"] == []
    assert site.load("arrived")["dtypes"][1] == site.load("arrived_other")["dtypes"][1] == "string"
    assert (
        len(pd.read_parquet(site.root / "out/copied.parquet") if (site.root / "out/copied.parquet").exists() else [])
        == 0
    )


@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz"])
def test_a_file_of_no_bytes_is_an_error(site, name):
    site.write(f"data/{name}", gzip.compress(b"") if name.endswith("gz") else b"")
    write_seen(site)
    site.recipe(RECIPE.format(key="k", columns={"k": "int64"}, keep_order="").replace("data/table.csv", f"data/{name}"))
    assert [s["error"]["code"] for s in site.rebuild()["sources"]] == ["source-empty"]


# -- 13: checks, and loading without recipes ---------------------------------------------------------------------------


@pytest.mark.parametrize(("check", "is_good"), [
    ("lambda v: None", True), ("lambda v: True", True), ("lambda v: False", False), ("lambda v: 1 / 0", False),
])  # fmt: skip
def test_a_check_that_raises_or_returns_false_fails(site, check, is_good):
    site.recipe(f"""
        CHECK = {check}

        @b.recipe(check=CHECK)
        def checked() -> dict:
            return {{"n": 1}}
    """)
    report = site.rebuild()["targets"][0]
    assert (report["outcome"], report["error"] and report["error"]["code"]) == (
        ("built", None) if is_good else ("failed", "check-failed")
    )
    assert (site.root / "out/checked.json").exists() == is_good


def test_what_was_built_loads_while_recipes_cannot_be_imported(site):
    site.recipe("""
        @b.recipe(key="k")
        def table() -> pd.DataFrame:
            return pd.DataFrame({"k": [2, 1]})
    """)
    site.built()
    site.recipe("import nothing_of_this_name\n")
    assert site.load("table")["k"].to_list() == [1, 2]
    site.recipe("def (:\n")
    assert site.load("table")["k"].to_list() == [1, 2]


# -- the same digest, whatever the path --------------------------------------------------------------------------------

CHUNKED = """
    import dask.dataframe as dd
    import pyarrow as pa

    ROWS = 100
    HOW = "whole"

    @b.recipe(key="k")
    def made():
        frame = pd.DataFrame({
            "k": range(ROWS), "v": pd.array([None if n % 7 == 0 else n for n in range(ROWS)], dtype="Int64"),
            "s": [f"text {n % 5}" for n in range(ROWS)], "x": [n / 3 for n in range(ROWS)],
        }).astype({"s": "string"})
        if HOW == "concat":
            return pd.concat([frame.iloc[n:n + 7] for n in range(0, ROWS, 7)])
        if HOW == "reversed":
            return frame.iloc[::-1]
        if HOW == "arrow":
            pieces = [frame.iloc[n:n + 9] for n in range(0, ROWS, 9)]
            return pa.concat_tables([pa.Table.from_pandas(p, preserve_index=False) for p in pieces])
        if HOW == "dask":
            return dd.from_pandas(frame, npartitions=6)
        if HOW == "category":
            return frame.astype({"s": "category"})
        if HOW == "index":
            return frame.set_index("k")
        return frame
"""


@pytest.mark.parametrize("columns", [None, {"k": "int64", "v": "Int64", "s": "string", "x": "float64"}])
def test_chunks_and_kinds_of_frames_give_one_digest(site, columns):
    digests = {}
    kinds = ["whole", "concat", "reversed", "dask", "category", "index"]
    for how in kinds + ["arrow"] * (columns is not None):  # Arrow's integers are nullable unless declared otherwise
        declared = f'@b.recipe(key="k", columns={columns!r})'
        site.recipe(dedent(CHUNKED).replace('HOW = "whole"', f'HOW = "{how}"').replace('@b.recipe(key="k")', declared))
        site.built()
        digests[how] = site.digests()["made"]
    assert digests == dict.fromkeys(digests, digests["whole"])


HASHED = """
    WORDS = frozenset({"alpha", "beta", "gamma", "delta"})
    NUMBERS = {"b": {3, 1, 2}, "a": {"x", "y", "z"}}
    rows = b.source("rows", "data/rows.csv", key="k")

    @b.recipe(key="k")
    def kept(rows: pd.DataFrame) -> pd.DataFrame:
        return rows[rows["k"].isin(WORDS)]

    @b.recipe
    def listed() -> dict:
        return {"n": sorted(NUMBERS["a"]), "set": {k: 1 for k in NUMBERS["a"]}}

    @b.recipe(each={"word": sorted(WORDS)}, environment=("pandas", "numpy"))
    def one(word, others=frozenset({"p", "q", "r"})) -> dict:
        return {"word": word, "n": len(others)}
"""


def test_hash_seeds_change_no_key_and_no_digest(site):
    site.write("data/rows.csv", "k,v\nalpha,1\nbeta,2\nother,3\n")
    site.recipe(HASHED)
    looks = []
    for seed in ("0", "1", "77"):
        report = site.command_json("rebuild", "--inline", env={"PYTHONHASHSEED": seed})
        assert report["outcome"] == ("built" if seed == "0" else "nothing")
        (site.root / "recipes/_more.py").write_text(f"SEED = {seed}\n")  # loads the recipes again
        looks.append(site.digests())
    assert looks[0] == looks[1] == looks[2]
    report = site.command_json("rebuild", "--inline", "--all", env={"PYTHONHASHSEED": "4242"})
    assert {t["outcome"] for t in report["targets"]} == {"unchanged"}


def test_one_or_two_workers_on_dask_agree_with_the_inline_runner(site, monkeypatch):
    monkeypatch.setenv("FOR_RECIPES", "seen")
    site.write("data/rows.csv", csv_of([[f"w{n}", n] for n in range(50)], ["k", "v"]))
    site.write("data/days/1.csv", "id\n1\n")
    site.write("data/days/2.csv", "id\n2\n")
    site.recipe(
        HASHED
        + """
    import os
    days = b.source("days[day={day}]", "data/days/{day}.csv", key="id")

    @b.recipe
    def surroundings() -> dict:
        return {"env": os.environ.get("FOR_RECIPES")}

    @b.recipe(inputs={"parts": "days[*]"})
    def gathered(parts: pd.DataFrame) -> dict:
        return {"n": len(parts), "columns": list(parts.columns)}
    """
    )
    looks = []
    for options in ({}, {"inline": False, "workers": 1}, {"inline": False, "workers": 2}):
        site.built(**options)
        looks.append((site.digests(), site.load("surroundings"), site.load("gathered")))
        (site.root / ".builder").rename(site.root / f".builder-{len(looks)}")
    assert looks[0] == looks[1] == looks[2]
    assert looks[0][1:] == ({"env": "seen"}, {"n": 2, "columns": ["day", "id"]})


# -- random tables -----------------------------------------------------------------------------------------------------

CELLS = {
    "Int64": st.none() | st.integers(-(2**63), 2**63 - 1),
    "float64": st.none() | st.floats(allow_nan=True, allow_infinity=True),
    "string": st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=6),
    "boolean": st.none() | st.booleans(),
    "date": st.none() | st.dates(dt.date(1, 1, 1)),
    "timestamp": st.none() | st.datetimes(dt.datetime(1677, 9, 22), dt.datetime(2262, 4, 11)),
    "decimal(9,2)": st.none() | st.integers(-(10**9) + 1, 10**9 - 1).map(lambda n: Decimal(n).scaleb(-2)),
}
TABLES = st.lists(st.tuples(*CELLS.values()), max_size=12)


def text_of(value):
    """A cell as a CSV field; the empty text is quoted, for null is not."""
    if value is None:
        return ""
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dt.datetime):
        return value.isoformat() + "Z"
    if isinstance(value, float):
        return repr(value)
    return str(value) if not isinstance(value, dt.date) else value.isoformat().rjust(10, "0")


def is_same(seen, written):
    if written is None or (isinstance(written, float) and math.isnan(written)):
        return seen is None or seen is pd.NA or seen is pd.NaT or (isinstance(seen, float) and math.isnan(seen))
    if isinstance(written, dt.datetime):
        return seen == pd.Timestamp(written, tz="UTC")
    return seen == written and not (isinstance(seen, float) and seen == 0 and math.copysign(1, seen) < 0)


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(rows=TABLES, order=st.randoms(use_true_random=False), part_rows=st.integers(1, 5))
def test_any_table_arrives_as_it_was_written_whatever_the_order_and_parts(tmp_path_factory, rows, order, part_rows):
    root = tmp_path_factory.mktemp("any")
    names = [f"c{n}" for n in range(len(CELLS))]
    columns = {"k": "int64"} | dict(zip(names, CELLS))
    lines = [",".join([str(n), *map(text_of, row)]) for n, row in enumerate(rows)]
    (root / "recipes").mkdir()
    (root / "data").mkdir()
    (root / "recipes/main.py").write_text(
        f"import builder as b\nimport pandas as pd\nb.source('table', 'data/table.csv', key='k', columns={columns!r})\n"
        "@b.recipe(key='k')\ndef copied(table: pd.DataFrame):\n    return table\n"
    )
    digests = set()
    for turn in range(2):
        if turn:
            order.shuffle(lines)
        (root / "data/table.csv").write_text("\n".join([",".join(columns), *lines]) + "\n", newline="")
        with pytest.MonkeyPatch.context() as patch:
            in_parts(patch, part_rows if turn else 1 << 20)
            run = b.open(root).rebuild(inline=True, all=True)
        assert not run.errors, [e.render() for e in run.errors]
        ledger = b.open(root).ledger()
        digests.add(tuple(str(ledger.currents()[n].digest) for n in ("table", "copied")))
        ledger.close()
        frame = b.open(root).load("copied")
        assert frame["k"].to_list() == list(range(len(rows)))
        for name, cells in zip(names, zip(*rows)):
            assert all(map(is_same, frame[name], cells)), (name, list(frame[name]), cells)
        Path(root / ".builder").rename(root / f".builder-{turn}")
    assert len(digests) == 1
