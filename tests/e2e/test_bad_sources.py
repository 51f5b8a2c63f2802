"""A source that cannot be taken in: the error names file, line, column and value; the old output stays."""

import gzip
import os
from pathlib import Path
from typing import Any

import pytest

from builder.errors import CODES

S = "id,n,name\n1,10,Ann\n2,20,Bob\n3,30,Cid\n"

CASES: dict[str, tuple[str | bytes, str, str, dict[str, str], str]] = {
    "a short row": (S + "4,40\n", "bad-row", "data/s.csv:5", {"line": "5", "expected": "3 fields"}, "correct the row"),
    "a long row": (S + "4,40,D,x\n", "bad-row", "data/s.csv:5", {"found": "4 fields"}, "correct the row"),
    "a quote left open": (S + '4,40,"D\n5,50,E\n', "bad-row", "data/s.csv:5", {"line": "5"}, "close the quote"),
    "a name twice in the header": ("id,n,n\n1,2,3\n", "bad-row", "data/s.csv:1", {"columns": "id, n, n"}, "name"),
    "text for a number": (
        S + "4,forty,D\n",
        "schema-drift",
        "data/s.csv:5",
        {"column": "n", "value": "'forty'", "dtype": "int64", "pinned in": "schemas/s.json"},
        "builder accept s",
    ),
    "a number too large": (
        S + f"4,{1 << 64},D\n",
        "schema-drift",
        "data/s.csv:5",
        {"column": "n"},
        "correct the value",
    ),
    "a null where there was none": (S + "4,,D\n", "schema-drift", "data/s.csv:5", {"value": "null"}, '"n": "Int64"'),
    "a null key": (S + ",40,D\n", "key-null", "data/s.csv:5", {"column": "id"}, "give every row a key"),
    "a key twice": (
        S + "3,40,D\n1,1,x\n",
        "key-duplicate",
        "data/s.csv:2",
        {"id 1": "data/s.csv:2, data/s.csv:6", "id 3": "data/s.csv:4, data/s.csv:5"},
        "drop or merge",
    ),
    "another encoding": (
        (S + "4,40,D").encode() + b"\xe9\n",
        "bad-encoding",
        "data/s.csv:5",
        {"byte": "0xe9"},
        "latin-1",
    ),
    "another encoding of all": (S.encode("utf-16"), "bad-encoding", "data/s.csv:1", {"encoding": "utf-8"}, "encoding="),
    "0 bytes": (b"", "source-empty", "data/s.csv", {}, "header"),
    "a new column": ("id,n,name,z\n1,2,A,3\n", "schema-drift", "data/s.csv", {"new": "z"}, "builder accept s"),
    "a lost column": ("id,n\n1,2\n", "schema-drift", "data/s.csv", {"missing": "name"}, "builder accept s"),
    "a renamed column": ("id,m,name\n1,2,A\n", "schema-drift", "data/s.csv", {"new": "m", "missing": "n"}, "accept"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_table_is_refused_with_its_place_and_harms_nothing_else(halves: Any, case: str) -> None:
    content, code, place, facts, hint = CASES[case]
    halves.site.write("data/s.csv", content)
    error = halves.breaks("s", own_process=case == "text for a number")
    assert (error["code"], error["place"]) == (code, place)
    assert facts.items() <= dict(error["facts"]).items()
    assert hint in error["hint"]
    assert "'s'" in error["message"] or error["target"] == "s"
    halves.mended()


def _gone(path: Path) -> None:
    path.unlink()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _circle(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere.csv")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("wreck", "code"),
    [
        (_gone, "source-missing"),
        (_folder, "source-missing"),
        (_dangling, "source-missing"),
        (_circle, "source-unreadable"),
        (_pipe, "source-unreadable"),
    ],
)
def test_a_file_that_is_not_there_or_no_file_is_told(halves: Any, wreck: Any, code: str) -> None:
    wreck(halves.root / "data/s.csv")
    error = halves.breaks("s")
    assert (error["code"], error["place"]) == (code, "data/s.csv")
    halves.mended()


def test_accept_takes_a_drifted_schema_in(halves: Any) -> None:
    halves.site.write("data/s.csv", "id,n,name,z\n1,2,A,3\n")
    assert halves.breaks("s")["code"] == "schema-drift"
    assert halves.run("accept", "s", code=0)["changes"] == [{"column": "z", "before": None, "after": "int64"}]
    halves.site.built()
    assert list(halves.site.load("u").columns) == ["id", "n", "name", "z"]


# -- other formats, and what is declared -------------------------------------------------------------------------------

SQUARE = '{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1],[0,0]]]}'


def feature(number: int, geometry: str = SQUARE) -> str:
    return f'{{"type":"Feature","properties":{{"id":{number}}},"geometry":{geometry}}}'


def collection(*features: str, crs: str = "") -> str:
    head = f'"crs":{{"type":"name","properties":{{"name":"{crs}"}}}},' if crs else ""
    return f'{{"type":"FeatureCollection",{head}"features":[\n' + ",\n".join(features) + "\n]}"


MORE: dict[str, tuple[str, str, str | bytes, str | bytes, str, str, dict[str, str]]] = {
    # options of b.source, the file, what is good, what is bad, the code, the place, some facts
    "a value that does not fit its declared dtype": (
        'columns={"n": "float64"}',
        "x.csv",
        "id,n\n1,2.5\n",
        "id,n\n1,2.5\n2,many\n",
        "bad-value",
        "data/x.csv:3",
        {"column": "n", "value": "'many'", "dtype": "float64"},
    ),
    "a day that is none": (
        'columns={"n": "date"}',
        "x.csv",
        "id,n\n1,2024-02-29\n",
        "id,n\n1,2023-02-29\n",
        "bad-value",
        "data/x.csv:2",
        {"column": "n", "value": "'2023-02-29'"},
    ),
    "GeoJSON cut short": (
        "",
        "x.geojson",
        collection(feature(1)),
        collection(feature(1))[:-5],
        "source-unreadable",
        "data/x.geojson:2",
        {},
    ),
    "GeoJSON that is no collection": (
        "",
        "x.geojson",
        collection(feature(1)),
        '{"type":"Topology"}',
        "source-unreadable",
        "data/x.geojson:1",
        {"reason": "line 1: the document's type is 'Topology', not 'FeatureCollection'"},
    ),
    "a ring of two points": (
        "",
        "x.geojson",
        collection(feature(1)),
        collection(feature(1), feature(2, '{"type":"Polygon","coordinates":[[[0,0],[1,1]]]}')),
        "bad-geometry",
        "data/x.geojson:3",
        {"column": "geometry"},
    ),
    "a geometry of no known type": (
        "",
        "x.geojson",
        collection(feature(1)),
        collection(feature(1), feature(2, '{"type":"Blob","coordinates":[1,2]}')),
        "bad-geometry",
        "data/x.geojson:3",
        {"reason": "'Blob' is no type of geometry"},
    ),
    "another CRS than before": (
        "",
        "x.geojson",
        collection(feature(1)),
        collection(feature(1), crs="urn:ogc:def:crs:EPSG::32633"),
        "crs-mismatch",
        "data/x.geojson",
        {},
    ),
    "a gzip that is cut": (
        "",
        "x.csv.gz",
        gzip.compress(b"id,n\n1,2\n" * 1),
        gzip.compress(b"id,n\n" + b"1,2\n" * 99)[:-9],
        "source-unreadable",
        "data/x.csv.gz",
        {},
    ),
    "Parquet that is none": (
        'format="parquet"',
        "x.parquet",
        b"",
        b"PAR1 nothing",
        "source-unreadable",
        "data/x.parquet",
        {},
    ),
    "a line that is no JSON": (
        "",
        "x.jsonl",
        '{"id":1}\n',
        '{"id":1}\n{"id":\n',
        "source-unreadable",
        "data/x.jsonl:2",
        {},
    ),
}


@pytest.mark.parametrize("case", MORE)
def test_a_bad_file_of_another_kind_is_refused_as_well(lay: Any, site: Any, case: str) -> None:
    options, name, good, bad, code, place, facts = MORE[case]
    if name.endswith(".parquet"):
        import io

        import pandas as pd

        buffer = io.BytesIO()
        pd.DataFrame({"id": [1], "n": [2]}).to_parquet(buffer)
        good = buffer.getvalue()
    source = f'b.source("x", "data/{name}", key="id"{", " + options if options else ""})\n'
    halves = lay(f"\n{source}\n@b.recipe(key='id')\ndef y(x): return x\n", **{f"data/{name}": good})
    site.write(f"data/{name}", bad)
    error = halves.breaks("x")
    assert (error["code"], error["place"].partition(",")[0].split(" ")[0]) == (code, place), error
    assert facts.items() <= dict(error["facts"]).items()
    site.write(f"data/{name}", good)
    halves.mended(None)


def test_inputs_in_two_crss_are_refused_before_the_recipe_runs(lay: Any, site: Any) -> None:
    both = """
p = b.source("p", "data/p.geojson", key="id")
q = b.source("q", "data/q.geojson", key="id")

@b.recipe(key="id")
def near(p, q): return p
"""
    halves = lay(both, **{"data/p.geojson": collection(feature(1)), "data/q.geojson": collection(feature(1))})
    site.recipe(halves.recipes.replace('"data/q.geojson", key="id"', '"data/q.geojson", key="id", crs="EPSG:32633"'))
    site.write("data/g.csv", "id,v\n1,5\n")
    report = halves.run("rebuild", "--inline", code=1)
    error = next(r["error"] for r in (*report["sources"], *report["targets"]) if r["error"])
    assert error["code"] == "crs-mismatch"
    assert "EPSG:32633" in str(error["facts"])
    halves.stands(but=("other",))
    site.recipe(halves.recipes)
    halves.mended(None)


def test_a_source_that_moves_while_it_is_read_never_enters_half(lay: Any, site: Any) -> None:
    moving = """
f = b.source("f", "data/f.txt", format="file")

@b.recipe
def reads(f: b.Files) -> bytes:
    import pathlib, os
    text = f.path.read_bytes()
    if text != b"calm":
        pathlib.Path(os.environ["MOVED"]).write_bytes(b"moved under the recipe")
    return text
"""
    halves = lay(moving, **{"data/f.txt": "calm"})
    site.write("data/f.txt", "stirred")
    error = halves.breaks("reads", env={"MOVED": str(site.root / "data/f.txt")})
    assert (error["code"], error["place"]) == ("source-moved", "data/f.txt")
    assert site.load("reads") == b"calm"
    halves.mended("data/f.txt", "calm")


def test_every_code_of_a_source_is_in_the_closed_set() -> None:
    assert {c[1] for c in CASES.values()} | {m[4] for m in MORE.values()} <= set(CODES)
