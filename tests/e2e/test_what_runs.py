"""A change runs exactly the targets that depend on it: named one by one, for all that a recipe can depend on.

Each test knows the whole set of targets that may run; one more is as wrong as one less.
"""

import shutil
from textwrap import dedent

import pytest

import builder as b
from builder.sense import tokens

FILES = {
    "main.py": """
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
    """,
    "_first.py": """
        from ._second import two_away

        BESIDE = 100


        def one_away(values):
            return two_away(values) + 1


        def beside(values):
            return values + BESIDE
    """,
    "_second.py": """
        STEP = 5


        def two_away(values):
            return values + STEP


        def nobody_calls(values):
            return values
    """,
}
EVERY = {"helped", "floored", "added", "scaled", "through_module", "words", "helped_sum", "all_sum"}


def write_recipes(site, files):
    for name, text in files.items():
        site.write(
            f"recipes/{name}",
            ("import builder as b\nimport pandas as pd\n" if name == "main.py" else "") + dedent(text),
        )


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
    ids=["constant two calls away", "helper two calls away", "helper", "constant of a module", "constant",
         "value in a dict",
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
    text = (
        FILES["main.py"]
        .replace("def floored", "def lifted")
        .replace("floored:", "lifted:")
        .replace('floored["v"]', 'lifted["v"]')
    )
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
    text = FILES["main.py"].replace(
        '@b.recipe(key="n")\n        def scaled', '@b.recipe(key="n", version=2)\n        def scaled'
    )
    write_recipes(sums, FILES | {"main.py": text})
    reasons = sums.project.explain("scaled").to_json()["reasons"]
    assert [r["kind"] for r in reasons] == ["version"]


# -- what counts for all -----------------------------------------------------------------------------------------------


def test_depends_runs_all(sums):
    sums.write("metadata/units.yaml", "m: 1\n")
    sums.write("builder.toml", 'depends = ["metadata/*.yaml"]\n')
    assert sums.outcomes() == dict.fromkeys(EVERY, "unchanged")
    sums.write("metadata/units.yaml", "m: 2\n")
    reasons = {t["name"]: t["reasons"] for t in sums.project.status().to_json()["targets"]}
    assert {(r["kind"], r["subject"]) for found in reasons.values() for r in found} == {
        ("project", "metadata/units.yaml")
    }
    assert sums.ran() == EVERY


def test_a_new_file_that_depends_names_runs_all_and_its_removal_restores(sums):
    sums.write("builder.toml", 'depends = ["metadata/*.yaml"]\n')
    assert sums.built()["outcome"] == "nothing"
    file = sums.write("metadata/units.yaml", "m: 1\n")
    assert sums.ran() == EVERY
    file.unlink()
    assert sums.outcomes() == dict.fromkeys(EVERY, "restored")


def install(site, version):
    """A distribution ``ruler`` of this version, and nothing but its metadata."""
    shutil.rmtree(site.root / "libs", ignore_errors=True)
    site.write(f"libs/ruler-{version}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: ruler\nVersion: {version}\n")


def ran_by_command(site):
    """The targets that the installed command ran where ``ruler`` is installed."""
    report = site.command_json("rebuild", "--inline", env={"PYTHONPATH": str(site.root / "libs")})
    assert report.get("outcome") in ("built", "nothing"), report
    return {t["name"]: t["outcome"] for t in report["targets"]}


def test_a_declared_librarys_version_runs_the_recipes_that_declare_it(sums):
    text = FILES["main.py"].replace(
        '@b.recipe(key="n")\n        def added', '@b.recipe(key="n", environment=("ruler",))\n        def added'
    )
    write_recipes(sums, FILES | {"main.py": text})
    install(sums, "1.2.0")
    assert ran_by_command(sums) == {"added": "unchanged"}
    install(sums, "1.2.9")
    assert ran_by_command(sums) == {}
    install(sums, "1.3.0")
    assert ran_by_command(sums) == {"added": "unchanged"}
    install(sums, "1.2.1")
    assert ran_by_command(sums) == {"added": "restored"}


def test_a_version_in_the_projects_environment_runs_all(sums):
    sums.write("builder.toml", 'environment = ["python", "ruler"]\n')
    install(sums, "3.0")
    assert ran_by_command(sums) == dict.fromkeys(EVERY, "unchanged")
    install(sums, "3.1")
    assert ran_by_command(sums) == dict.fromkeys(EVERY, "unchanged")
    explained = sums.command_json("explain", "added", env={"PYTHONPATH": str(sums.root / "libs")})
    assert (explained["state"], explained["reasons"]) == ("fresh", [])
    install(sums, "3.2")
    explained = sums.command_json("explain", "added", env={"PYTHONPATH": str(sums.root / "libs")})
    assert [(r["kind"], r["subject"], r["before"], r["after"]) for r in explained["reasons"]] == [
        ("environment", "ruler", "3.1", "3.2")
    ]


# -- parameters and families -------------------------------------------------------------------------------------------

FAMILY = """
    YEARS = [2023, 2024]
    shops = b.source("shops[state={state}]", "data/shops/{state}.csv", key="id")

    @b.recipe(each="shops", inputs={"shops": "shops[state={state}]"}, key="id")
    def clean(shops: pd.DataFrame, state) -> pd.DataFrame:
        return shops.assign(state=state)

    @b.recipe(each="shops", inputs={"clean": "clean[state={state}]"})
    def summary(clean: pd.DataFrame, state) -> dict:
        return {"sold": int(clean["sold"].sum())}

    @b.recipe(inputs={"parts": "clean[*]"}, key=["state", "id"])
    def all_shops(parts: pd.DataFrame) -> pd.DataFrame:
        return parts

    @b.recipe(each=["shops", {"year": YEARS}], inputs={"clean": "clean[state={state}]"})
    def forecast(clean: pd.DataFrame, state, year) -> dict:
        return {"sold": int(clean["sold"].sum()) * (year - 2020)}

    @b.recipe(each={"year": YEARS}, inputs={"forecasts": "forecast[year={year},*]"})
    def outlook(forecasts, year) -> dict:
        return {"sold": sum(f["sold"] for f in forecasts.values())}

    @b.recipe
    def alone() -> dict:
        return {"n": 1}
"""


def of(state):
    """The targets that belong to one state alone."""
    return {f"clean[state={state}]", f"summary[state={state}]", f"forecast[state={state},year=2023]",
            f"forecast[state={state},year=2024]"}  # fmt: skip


GATHERS = {"all_shops", "outlook[year=2023]", "outlook[year=2024]"}


@pytest.fixture
def shops(site):
    site.write("data/shops/CA.csv", "id,sold\n1,5\n2,6\n")
    site.write("data/shops/WA.csv", "id,sold\n1,7\n")
    site.recipe(FAMILY)
    assert site.ran() == of("CA") | of("WA") | GATHERS | {"alone"}
    return site


def test_a_new_member_runs_its_own_targets_and_the_gathers(shops):
    shops.write("data/shops/OR.csv", "id,sold\n9,1\n")
    assert shops.ran() == of("OR") | GATHERS
    assert (shops.root / "out/all_shops.parquet").exists()
    assert shops.load("all_shops")["state"].to_list() == ["CA", "CA", "OR", "WA"]


def test_a_changed_member_runs_its_own_targets_and_the_gathers(shops):
    shops.write("data/shops/WA.csv", "id,sold\n1,8\n")
    assert shops.ran() == of("WA") | GATHERS


def test_a_deleted_member_runs_the_gathers_and_leaves_out(shops):
    kept = (shops.root / "data/shops/WA.csv").read_bytes()
    (shops.root / "data/shops/WA.csv").unlink()
    report = shops.built()
    assert {t["name"] for t in report["targets"]} == GATHERS
    assert set(report["retired"]) == of("WA") | {"shops[state=WA]"}
    assert not (shops.root / "out/summary/state=WA").exists()
    assert not list(shops.root.glob("out/**/*WA*"))
    assert (report["outcome"], of("WA") & set(shops.states())) == ("built", set())
    assert shops.built()["outcome"] == "nothing"
    shops.write("data/shops/WA.csv", kept)
    assert shops.outcomes() == dict.fromkeys(of("WA") | GATHERS, "restored")
    assert shops.load("all_shops")["state"].to_list() == ["CA", "CA", "WA"]


def test_a_renamed_member_is_one_gone_and_one_new(shops):
    (shops.root / "data/shops/WA.csv").rename(shops.root / "data/shops/UT.csv")
    report = shops.built()
    assert {t["name"] for t in report["targets"]} == of("UT") | GATHERS
    assert set(report["retired"]) == of("WA") | {"shops[state=WA]"}


def test_the_last_member_deleted_leaves_the_gathers_to_run(shops):
    for name in ("CA", "WA"):
        (shops.root / f"data/shops/{name}.csv").unlink()
    shops.recipe(FAMILY.replace('key=["state", "id"])', ")"))  # no members: no columns
    assert shops.ran() == GATHERS
    assert shops.load("outlook[year=2023]") == {"sold": 0}


def test_a_new_value_of_a_parameter_runs_its_members(shops):
    shops.recipe(FAMILY.replace("[2023, 2024]", "[2023, 2024, 2025]"))
    assert shops.ran() == {"forecast[state=CA,year=2025]", "forecast[state=WA,year=2025]", "outlook[year=2025]"}


def test_a_deleted_value_of_a_parameter_runs_nothing_and_retires_its_members(shops):
    shops.recipe(FAMILY.replace("[2023, 2024]", "[2024]"))
    report = shops.built()
    assert report["targets"] == []
    assert set(report["retired"]) == {
        "forecast[state=CA,year=2023]",
        "forecast[state=WA,year=2023]",
        "outlook[year=2023]",
    }
    assert shops.built()["outcome"] == "nothing"
    shops.recipe(FAMILY)
    assert set(shops.outcomes().values()) == {"restored"}


def test_another_value_of_a_parameter_is_another_target(shops):
    shops.recipe(FAMILY.replace("[2023, 2024]", "[2023, 2030]"))
    assert shops.ran() == {"forecast[state=CA,year=2030]", "forecast[state=WA,year=2030]", "outlook[year=2030]"}


def test_values_in_another_order_run_nothing(shops):
    shops.recipe(FAMILY.replace("[2023, 2024]", "[2024, 2023]"))
    assert shops.built()["outcome"] == "nothing"


def test_a_member_whose_change_comes_out_equal_stops_there(shops):
    shops.write("data/shops/CA.csv", "id,sold,note\n1,5,a\n2,6,b\n")
    shops.write("data/shops/WA.csv", "id,sold,note\n1,7,c\n")
    shops.project.accept("shops")
    shops.recipe(FAMILY.replace("shops.assign(state=state)", 'shops[["id", "sold"]].assign(state=state)'))
    assert shops.outcomes() == {"clean[state=CA]": "unchanged", "clean[state=WA]": "unchanged"}


# -- sources of many files ---------------------------------------------------------------------------------------------


@pytest.fixture
def days(site):
    for day in (1, 2, 3):
        site.write(f"data/days/{day}.csv", f"id,sold\n{day},{day * 10}\n")
        site.write(f"data/notes/{day}.txt", f"note {day}\n")
    site.recipe("""
        days = b.source("days", "data/days/*.csv", key="id")
        notes = b.source("notes", "data/notes/*.txt")

        @b.recipe
        def total(days: pd.DataFrame) -> dict:
            return {"sold": int(days["sold"].sum())}

        @b.recipe
        def texts(notes: b.Files) -> dict:
            return {name: path.read_text() for name, path in notes.items()}
    """)
    assert site.ran() == {"total", "texts"}
    return site


def test_a_deleted_file_of_a_source_of_many_runs_what_reads_it(days):
    (days.root / "data/days/2.csv").unlink()
    assert days.ran() == {"total"}
    assert days.load("total") == {"sold": 40}
    (days.root / "data/notes/3.txt").unlink()
    assert days.ran() == {"texts"}
    assert days.load("texts") == {"1.txt": "note 1\n", "2.txt": "note 2\n"}


def test_a_new_or_renamed_file_of_a_source_of_many_runs_what_reads_it(days):
    days.write("data/days/4.csv", "id,sold\n4,1\n")
    assert days.ran() == {"total"}
    (days.root / "data/notes/1.txt").rename(days.root / "data/notes/9.txt")
    assert days.ran() == {"texts"}  # names relative to the source are content


def test_a_renamed_file_of_a_keyed_table_of_many_is_found_equal(days):
    (days.root / "data/days/1.csv").rename(days.root / "data/days/9.csv")
    report = days.built()
    assert (report["outcome"], report["targets"]) == ("nothing", [])
    assert {s["name"]: s["outcome"] for s in report["sources"]} == {"days": "unchanged"}


def test_a_deleted_plain_source_fails_and_its_old_output_stays(days):
    days.write("data/one.txt", "x")
    days.recipe("""
        one = b.source("one", "data/one.txt")

        @b.recipe
        def length(one: b.Files) -> dict:
            return {"bytes": sum(p.stat().st_size for p in one.values())}
    """, "more.py")  # fmt: skip
    assert days.ran() == {"length"}
    (days.root / "data/one.txt").unlink()
    report = days.rebuild()
    assert report["outcome"] == "failed"
    assert {t["name"]: t["outcome"] for t in report["targets"]} == {"length": "blocked"}
    assert days.load("length") == {"bytes": 1}
    assert (days.root / "out/length.json").exists()


# -- runs that were asked for ------------------------------------------------------------------------------------------


def test_all_runs_all_again_and_finds_it_unchanged(sums):
    assert sums.outcomes(all=True) == dict.fromkeys(EVERY, "unchanged")


def test_a_recipe_that_is_not_pure_runs_each_time_and_what_follows_only_when_it_differs(site):
    site.recipe("""
        import itertools
        from pathlib import Path

        @b.recipe(pure=False)
        def now() -> dict:
            return {"now": 1}

        @b.recipe
        def after(now) -> dict:
            return now
    """)
    assert site.ran() == {"now", "after"}
    assert site.outcomes() == {"now": "unchanged"}


def test_a_failed_target_runs_again_and_what_waits_for_it(site):
    site.write("data/n.csv", "id,v\n1,x\n")
    site.recipe("""
        n = b.source("n", "data/n.csv", key="id", columns={"id": "int64", "v": "string"})

        @b.recipe
        def strict(n: pd.DataFrame) -> dict:
            return {"v": [int(v) for v in n["v"]]}

        @b.recipe
        def after(strict) -> dict:
            return strict

        @b.recipe
        def beside() -> dict:
            return {}
    """)
    assert site.outcomes() == {"strict": "failed", "after": "blocked", "beside": "built"}
    assert site.states() == {"strict": "failed", "after": "blocked", "beside": "fresh"}
    assert site.outcomes() == {"strict": "failed", "after": "blocked"}
    site.write("data/n.csv", "id,v\n1,5\n")
    assert site.outcomes() == {"strict": "built", "after": "built"}
    assert b.open(site.root).load("after") == {"v": [5]}


def test_a_target_alone_runs_what_it_needs_and_no_more(shops):
    shops.write("data/shops/CA.csv", "id,sold\n1,5\n2,7\n")
    shops.write("data/shops/WA.csv", "id,sold\n1,9\n")
    assert shops.ran(targets=["summary[state=WA]"]) == {"clean[state=WA]", "summary[state=WA]"}
    assert shops.ran() == of("CA") | (of("WA") - {"clean[state=WA]", "summary[state=WA]"}) | GATHERS


# -- what recipes read while they load ---------------------------------------------------------------------------------


@pytest.fixture
def moded(site, monkeypatch):
    """A project whose recipes take a variable of the environment, one of them by a helper imported where it runs."""
    monkeypatch.setattr(tokens, "SETTLE_NS", 0)  # else nothing is kept of recipes that read a file this young
    monkeypatch.setenv("SHOP_MODE", "first mode")
    site.write("settings.json", '{"rate": 1}')
    site.write(
        "recipes/_late.py",
        """
        import json
        import os
        from pathlib import Path

        RATE = json.loads((Path(__file__).parent.parent / "settings.json").read_text())["rate"]
        LATE = os.getenv("SHOP_MODE")
        """,
    )
    site.recipe("""
        import os

        MODE = os.environ["SHOP_MODE"]
        NAMES = sorted(name for name in os.environ if name.startswith("SHOP_"))

        @b.recipe
        def mode() -> dict:
            return {"length": len(MODE)}

        @b.recipe
        def late() -> dict:
            from ._late import LATE, RATE
            return {"length": len(LATE), "rate": RATE}

        @b.recipe
        def alone() -> dict:
            return {}
    """)
    assert site.ran() == {"mode", "late", "alone"}
    assert site.built()["outcome"] == "nothing"
    return site


def test_a_variable_read_while_loading_runs_what_captures_it(moded, monkeypatch):
    monkeypatch.setenv("SHOP_MODE", "another mode")
    assert moded.ran() == {"mode", "late"}
    assert moded.load("mode") == {"length": 12}
    monkeypatch.setenv("SHOP_OTHER", "nobody reads it")
    assert moded.built()["outcome"] == "nothing"
    monkeypatch.setenv("SHOP_MODE", "first mode")
    assert moded.outcomes() == {"mode": "restored", "late": "restored"}


def test_a_file_read_by_a_helper_that_is_imported_where_it_runs_runs_its_recipe(moded):
    moded.write("settings.json", '{"rate": 2}')
    assert moded.ran() == {"late"}
    assert moded.load("late")["rate"] == 2


def test_the_store_does_not_keep_the_value_of_a_variable(moded):
    files = [p for p in (moded.root / ".builder").rglob("*") if p.is_file()]
    assert any(b"SHOP_MODE" in p.read_bytes() for p in files)
    assert not any(b"first mode" in p.read_bytes() for p in files)


def test_rows_of_an_unkeyed_source_in_another_order_run_what_reads_it(site):
    site.write("data/lines.csv", "v\n1\n2\n")
    site.recipe("""
        lines = b.source("lines", "data/lines.csv")

        @b.recipe
        def first(lines: pd.DataFrame) -> dict:
            return {"v": int(lines["v"][0])}
    """)
    assert site.ran() == {"first"}
    site.write("data/lines.csv", "v\n2\n1\n")
    assert site.ran() == {"first"}
    assert site.load("first") == {"v": 2}
