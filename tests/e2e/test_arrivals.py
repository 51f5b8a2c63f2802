"""What a recipe may see: order, index, dtypes and values are the schema's, whatever the file's or the chunk's luck."""

import json

import pandas as pd
import pytest


def describe(site, csv, extra='key="id"', annotation="pd.DataFrame"):
    """Rows, index, columns and dtypes as a recipe saw them."""
    site.write("data/a.csv", csv)
    site.recipe(f"""
    import dask.dataframe as dd
    import pyarrow as pa

    b.source("a", "data/a.csv", {extra})

    @b.recipe
    def seen(a: {annotation}):
        index = [int(i) for i in a.index]
        rows = [[None if pd.isna(v) else str(v) for v in row] for row in a.itertuples(index=False)]
        dtypes = {{c: str(t) for c, t in a.dtypes.items()}}
        kind = type(a.index).__name__
        return {{"index": index, "columns": list(a.columns), "kind": kind, "dtypes": dtypes, "rows": rows}}
    """)
    site.built()
    return site.load("seen")


def test_a_keyed_table_arrives_sorted_with_a_fresh_index(site):
    found = describe(site, "x,id\na,10\nb,9\nc,-1\n")
    assert found["rows"] == [["c", "-1"], ["b", "9"], ["a", "10"]]
    assert (found["index"], found["kind"], found["columns"]) == ([0, 1, 2], "RangeIndex", ["x", "id"])


def test_text_keys_are_sorted_by_their_characters(site):
    found = describe(site, "id\nb\nÄ\nA\na\nZ\n")
    assert [r[0] for r in found["rows"]] == sorted(["b", "Ä", "A", "a", "Z"])


def test_a_key_of_several_columns_sorts_by_each(site):
    found = describe(site, "p,q\n2,a\n1,b\n1,a\n", 'key=["p", "q"]')
    assert found["rows"] == [["1", "a"], ["1", "b"], ["2", "a"]]


def test_an_unkeyed_table_arrives_in_file_order(site):
    found = describe(site, "id\n3\n1\n2\n", "")
    assert [r[0] for r in found["rows"]] == ["3", "1", "2"] and found["index"] == [0, 1, 2]


def test_the_dtype_of_a_column_does_not_hang_on_where_its_odd_value_stands(site):
    rows = [f"{n},{n}" for n in range(30_000)]
    plain = describe(site, "id,v\n" + "\n".join(rows) + "\n")["dtypes"]
    rows[-1] = "29999,"
    (site.root / "schemas/a.json").unlink()
    with_null = describe(site, "id,v\n" + "\n".join(rows) + "\n")["dtypes"]
    rows[-1] = "29999,x"
    (site.root / "schemas/a.json").unlink()
    with_text = describe(site, "id,v\n" + "\n".join(rows) + "\n")["dtypes"]
    assert (plain["v"], with_null["v"]) == ("int64", "Int64") and with_text["v"].startswith("str")


def test_a_nullable_column_stays_nullable_without_a_null(site):
    extra = 'key="id", columns={"id": "int64", "n": "Int64", "on": "boolean"}'
    for csv in ("id,n,on\n1,2,true\n", "id,n,on\n1,,\n", "id,n,on\n"):
        assert describe(site, csv, extra)["dtypes"] == {"id": "int64", "n": "Int64", "on": "boolean"}


@pytest.mark.parametrize(("dtype", "column"), [("int64", "n"), ("bool", "n")])
def test_what_allows_no_null_refuses_it_with_its_line(site, dtype, column):
    site.write("data/a.csv", "id,n\n1,1\n2,\n" if dtype == "int64" else "id,n\n1,true\n2,\n")
    site.recipe(
        f'b.source("a", "data/a.csv", key="id", columns={{"n": "{dtype}"}})\n@b.recipe\ndef f(a):\n    return []\n'
    )
    (failed,) = site.rebuild()["sources"]
    assert failed["error"]["code"] == "bad-value" and failed["error"]["place"] == "data/a.csv:3", failed["error"]
    assert column in json.dumps(failed["error"]["facts"]) + failed["error"]["message"]


def test_what_a_digest_does_not_tell_apart_arrives_in_one_form(site):
    site.recipe("""
    @b.recipe(each={"n": [1, 2]})
    def made(n):
        zones = ["UTC", "Asia/Tokyo"]
        t = pd.Timestamp("2024-01-01 12:00", tz="UTC").tz_convert(zones[n - 1])
        return pd.DataFrame({"zero": [0.0 if n == 1 else -0.0], "t": [t]})

    @b.recipe(each="made")
    def seen(made, n):
        return {"zero": str(made["zero"][0]), "t": str(made["t"][0]), "dtype": str(made["t"].dtype)}
    """)
    site.built()
    digests = site.digests()
    assert digests["made[n=1]"] == digests["made[n=2]"]
    assert site.load("seen[n=1]") == site.load("seen[n=2]") == {
        "zero": "0.0", "t": "2024-01-01 12:00:00+00:00", "dtype": "datetime64[us, UTC]"
    }  # fmt: skip


def test_changing_an_input_in_place_harms_nobody(site):
    site.write("data/a.csv", "id,x,y\n1,2,5\n2,3,5\n")
    site.recipe("""
    b.source("a", "data/a.csv", key="id")

    @b.recipe(key="id", priority=9)
    def spoils(a: pd.DataFrame):
        a["x"] = 0
        del a["y"]
        return a

    @b.recipe(key="id")
    def reads(a: pd.DataFrame):
        return a
    """)
    site.built()
    assert site.load("reads").to_dict("list") == {"id": [1, 2], "x": [2, 3], "y": [5, 5]}
    assert site.load("spoils").to_dict("list") == {"id": [1, 2], "x": [0, 0]}


def test_a_recipe_that_opens_a_project_file_that_is_no_input_fails(site):
    site.write("data/a.csv", "id\n1\n")
    site.write("data/side.txt", "secret")
    site.recipe("""
    b.source("a", "data/a.csv", key="id")
    from pathlib import Path

    @b.recipe
    def f(a):
        return [Path(ROOT, "data/side.txt").read_text()]

    ROOT = str(Path(__file__).parent.parent)
    """)
    (failed,) = [t for t in site.rebuild()["targets"] if t["error"]]
    assert failed["error"]["code"] == "undeclared-read" and "data/side.txt" in json.dumps(failed["error"])


def test_the_process_environment_reaches_recipes(site, monkeypatch):
    monkeypatch.setenv("CONTRACT_WORD", "said")
    site.recipe('import os\n@b.recipe\ndef f():\n    return [os.environ.get("CONTRACT_WORD")]\n')
    site.built()
    assert site.load("f") == ["said"]


def test_the_process_environment_reaches_embedded_workers(site):
    site.recipe('import os\n@b.recipe\ndef f():\n    return [os.environ.get("CONTRACT_WORD")]\n')
    done = site.command("rebuild", "-j", "1", env={"CONTRACT_WORD": "said"})
    assert done.returncode == 0, done.stderr
    assert site.load("f") == ["said"]


def test_a_repeat_that_gives_another_output_is_told_and_wins(site):
    site.recipe("""
    import os

    @b.recipe
    def random():
        return list(os.urandom(8))

    @b.recipe
    def after(random):
        return random
    """)
    site.built()
    before = site.load("after")
    report = site.rebuild(all=True)
    assert report["outcome"] == "built" and "not-deterministic" in {w["code"] for w in report["warnings"]}
    assert site.load("after") == site.load("random") != before
    assert site.rebuild()["outcome"] == "nothing"


def test_a_column_that_a_recipe_adds_may_have_any_dtype_of_pandas(site):
    site.recipe("""
    import numpy as np

    @b.recipe
    def f():
        return pd.DataFrame({
            "i8": np.array([1, 2], "int8"), "u4": np.array([1, 2], "uint32"), "f4": np.array([0.5, np.nan], "float32"),
            "obj": ["a", None], "cat": pd.Categorical(["x", None]), "when": pd.to_datetime(["2024-01-01", None]),
        })
    """)
    site.built()
    found = site.load("f")
    assert {c: str(t) for c, t in found.dtypes.items()}["i8"] == "int64" and found["f4"][0] == 0.5
    assert found["when"][0] in (pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-01-01"))
    assert [None if pd.isna(v) else v for v in found["cat"]] == ["x", None]
