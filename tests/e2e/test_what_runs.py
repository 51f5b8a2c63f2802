"""A change runs exactly the targets that depend on it: named one by one, for every kind of thing that a recipe depends on.

Each test knows the whole set of targets that may run; one more is as wrong as one less.
"""

import shutil
from textwrap import dedent

import pytest

import builder as b

FILES = {
    "main.py": '''
        from . import _first
        from ._first import one_away

        FLOOR = 2
        WORDS = {"a": "alpha", "b": "beta"}


        def make_adder(amount):
            def add(value):
                return value + amount
            return add


        add = make_adder(10)
        numbers = b.source("numbers", "data/numbers.csv", key="n")


        @b.recipe(key="n")
        def helped(numbers: pd.DataFrame) -> pd.DataFrame:
            return numbers.assign(v=one_away(numbers["v"]))


        @b.recipe(key="n")
        def floored(numbers: pd.DataFrame) -> pd.DataFrame:
            return numbers[numbers["n"] >= FLOOR]


        @b.recipe(key="n")
        def added(numbers: pd.DataFrame) -> pd.DataFrame:
            return numbers.assign(v=add(numbers["v"]))


        @b.recipe(key="n")
        def scaled(numbers: pd.DataFrame, scale=3) -> pd.DataFrame:
            return numbers.assign(v=numbers["v"] * scale)


        @b.recipe(key="n")
        def through_module(numbers: pd.DataFrame) -> pd.DataFrame:
            return numbers.assign(v=_first.beside(numbers["v"]))


        @b.recipe(inputs={"number": b.read("numbers", columns=["n"])})
        def words(number: pd.DataFrame) -> dict:
            return {"words": [WORDS.get(k, "") for k in "ab"], "n": len(number)}


        @b.recipe
        def helped_sum(helped: pd.DataFrame) -> dict:
            return {"v": int(helped["v"].sum())}


        @b.recipe
        def all_sum(helped_sum, floored: pd.DataFrame) -> dict:
            return {"helped": helped_sum["v"], "floored": int(floored["v"].sum())}
    ''',
    "_first.py": '''
        from ._second import two_away

        BESIDE = 100


        def one_away(values):
            return two_away(values) + 1


        def beside(values):
            return values + BESIDE
    ''',
    "_second.py": '''
        STEP = 5


        def two_away(values):
            return values + STEP


        def nobody_calls(values):
            return values
    ''',
}
EVERY = {"helped", "floored", "added", "scaled", "through_module", "words", "helped_sum", "all_sum"}


def write_recipes(site, files):
    for name, text in files.items():
        site.write(f"recipes/{name}", ("import builder as b\nimport pandas as pd\n" if name == "main.py" else "") + dedent(text))


@pytest.fixture
def sums(site):
    site.write("data/numbers.csv", "n,v\n1,10\n2,20\n3,30\n")
    write_recipes(site, FILES)
    assert site.ran() == EVERY
    return site


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("_second.py", "STEP = 5", "STEP = 6", {"helped", "helped_sum", "all_sum"}),
        ("_second.py", "values + STEP", "values - STEP", {"helped", "helped_sum", "all_sum"}),
        ("_first.py", "two_away(values) + 1", "two_away(values) + 2", {"helped", "helped_sum", "all_sum"}),
        ("_first.py", "BESIDE = 100", "BESIDE = 101", {"through_module"}),
        ("main.py", "FLOOR = 2", "FLOOR = 3", {"floored", "all_sum"}),
        ("main.py", '"alpha"', '"aleph"', {"words"}),
        ("main.py", "make_adder(10)", "make_adder(11)", {"added"}),
        ("main.py", "return value + amount", "return value - amount", {"added"}),
        ("main.py", "scale=3", "scale=4", {"scaled"}),
        ("main.py", "numbers[numbers[\"n\"] >= FLOOR]", "numbers[numbers[\"n\"] > FLOOR]", {"floored", "all_sum"}),
    ],
    ids=["constant two calls away", "helper two calls away", "helper", "constant of a module", "constant", "value in a dict",
         "closure value", "closure code", "default argument", "the recipe"],
)  # fmt: skip
def test_a_change_runs_what_reaches_it(sums, file, old, new, expected):
    assert old in FILES[file]
    write_recipes(sums, FILES | {file: FILES[file].replace(old, new)})
    not_fresh = {name for name, state in sums.states().items() if state != "fresh"}
    assert sums.ran() == expected
    assert not_fresh == expected
    assert sums.built()["outcome"] == "nothing"
    write_recipes(sums, FILES)
    assert set(sums.outcomes().values()) == {"restored"}


def test_a_change_that_comes_out_equal_stops_there(sums):
    write_recipes(sums, FILES | {"_second.py": FILES["_second.py"].replace("values + STEP", "STEP + values")})
    report = sums.built()
    assert {t["name"]: t["outcome"] for t in report["targets"]} == {"helped": "unchanged"}
    assert (report["outcome"], report["totals"]["fresh"]) == ("built", 7)


def test_a_changed_row_runs_what_reads_its_columns(sums):
    sums.write("data/numbers.csv", "n,v\n1,10\n2,20\n3,31\n")
    assert sums.ran() == EVERY - {"words"}


def test_a_new_row_runs_what_reads_the_table(sums):
    sums.write("data/numbers.csv", "n,v\n1,10\n2,20\n3,30\n4,0\n")
    assert sums.ran() == EVERY


def test_a_renamed_recipe_runs_under_its_new_name_and_what_reads_it(sums):
    text = FILES["main.py"].replace("def floored", "def lifted").replace("floored:", "lifted:").replace('floored["v"]', 'lifted["v"]')
    write_recipes(sums, FILES | {"main.py": text})
    assert sums.ran() == {"lifted", "all_sum"}
    assert "floored" not in sums.states()
    assert not (sums.root / "out/floored.parquet").exists()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('@b.recipe(key="n")\n        def scaled', '@b.recipe(key="n", version=2)\n        def scaled', {"scaled"}),
        ('@b.recipe(key="n")\n        def helped', '@b.recipe(key="n", version="b")\n        def helped', {"helped"}),
        ('@b.recipe(key="n")\n        def scaled', "@b.recipe\n        def scaled", {"scaled"}),
        ('@b.recipe(key="n")\n        def scaled',
         '@b.recipe(key="n", columns={"n": "int64", "v": "float64"})\n        def scaled', {"scaled"}),
    ],
    ids=["version", "version, same output", "key", "columns"],
)  # fmt: skip
def test_a_changed_declaration_runs_its_recipe(sums, old, new, expected):
    assert old in FILES["main.py"]
    write_recipes(sums, FILES | {"main.py": FILES["main.py"].replace(old, new)})
    assert sums.ran() == expected
    assert sums.built()["outcome"] == "nothing"


def test_a_read_of_other_columns_runs_its_recipe(sums):
    write_recipes(sums, FILES | {"main.py": FILES["main.py"].replace('columns=["n"]', 'columns=["n", "v"]')})
    assert sums.ran() == {"words"}


def test_version_is_the_reason_that_explain_gives(sums):
    text = FILES["main.py"].replace('@b.recipe(key="n")\n        def scaled', '@b.recipe(key="n", version=2)\n        def scaled')
    write_recipes(sums, FILES | {"main.py": text})
    reasons = sums.project.explain("scaled").to_json()["reasons"]
    assert [r["kind"] for r in reasons] == ["version"]


# -- what counts for all -----------------------------------------------------------------------------------------------


def test_depends_runs_all(sums):
    sums.write("metadata/units.yaml", "m: 1\n")
    sums.write("builder.toml", 'depends = ["metadata/*.yaml"]\n')
    assert sums.ran() == {"helped", "floored", "added", "scaled", "through_module", "words"}  # all come out unchanged
    sums.write("metadata/units.yaml", "m: 2\n")
    reasons = {t["name"]: t["reasons"] for t in sums.project.status().to_json()["targets"]}
    assert {(r["kind"], r["subject"]) for found in reasons.values() for r in found} == {("project", "metadata/units.yaml")}
    assert sums.ran() == EVERY
