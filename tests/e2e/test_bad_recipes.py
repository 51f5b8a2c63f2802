"""Recipes that cannot be declared, loaded or run, and wrong calls: each error says where and what to do."""

import json
import textwrap
from typing import Any

import pytest

RECIPES_LINE = 19  # the first line after the recipes of the fixture

REFUSED: dict[str, tuple[str, str, str, dict[str, str], str]] = {
    # code added at the end, error code, words of the message, facts, words of the hint
    "no Python": ("def broken(:\n", "recipe-syntax", "is not Python", {"line": "def broken(:"}, "mend the line"),
    "fails while it loads": ("1/0\n", "recipe-declaration", "ZeroDivisionError", {}, "only declare"),
    "leaves while it loads": ("import sys; sys.exit(0)\n", "recipe-declaration", "SystemExit", {}, "only declare"),
    "a library that is not there": (
        "import nosuchthing\n",
        "recipe-declaration",
        "nosuchthing",
        {},
        "install nosuchthing",
    ),
    "an unknown keyword": (
        "@b.recipe(kee='x')\ndef q(s): return s\n",
        "recipe-declaration",
        "'kee'",
        {},
        "only declare",
    ),
    "a key that is a number": (
        "@b.recipe(key=3)\ndef q(s): return s\n",
        "recipe-declaration",
        "key= is 3",
        {},
        "list of texts",
    ),
    "an unknown dtype": (
        "@b.recipe(columns={'a': 'int7'})\ndef q(s): return s\n",
        "recipe-declaration",
        "'int7'",
        {},
        "int64",
    ),
    "an unknown format": ("b.source('z', 'z.x', format='xls')\n", "recipe-declaration", "'xls'", {}, "parquet"),
    "captures that differ": ("b.source('z[a={a}]', 'z.csv')\n", "recipe-declaration", "captures", {}, "{capture}"),
    "a decorator on no function": ("b.recipe()(3)\n", "recipe-declaration", "no function", {}, "decorate a function"),
    "a check that is none": ("@b.recipe(check=3)\ndef q(s): return s\n", "recipe-declaration", "check", {}, "pandera"),
    "inputs= that raises": (
        "@b.recipe(inputs=lambda: 1/0)\ndef q(x): return 1\n",
        "recipe-declaration",
        "inputs=",
        {},
        "by keyword",
    ),
    "lane= that raises": (
        "@b.recipe(lane=lambda: {}['x'])\ndef q(s): return 1\n",
        "recipe-declaration",
        "lane=",
        {},
        "by keyword",
    ),
    "a timeout in words": (
        "@b.recipe(timeout='soon')\ndef q(s): return 1\n",
        "recipe-declaration",
        "timeout",
        {},
        "seconds",
    ),
    "a size in no unit": ("@b.recipe(memory='4 XB')\ndef q(s): return 1\n", "recipe-declaration", "memory", {}, "4 GB"),
    "no slot": ("@b.recipe(slots=0)\ndef q(s): return 1\n", "recipe-declaration", "slots", {}, "1 or more"),
    "a parameter that is a float": (
        "@b.recipe(each={'a': [1.5]})\ndef q(a): return 1\n",
        "recipe-declaration",
        "1.5",
        {},
        "str, int",
    ),
    "values of each= that are no list": (
        "@b.recipe(each={'a': 'CA'})\ndef q(a): return 1\n",
        "recipe-declaration",
        "'CA'",
        {},
        "list",
    ),
    "a cycle": (
        "@b.recipe\ndef p(q): return q\n@b.recipe\ndef q(r): return r\n@b.recipe\ndef r(p): return p\n",
        "cycle",
        "p → q → r → p",
        {"q": "recipes/main.py:21 reads r"},
        "let one of them",
    ),
    "a recipe that reads itself": ("@b.recipe\ndef p(p): return p\n", "cycle", "p → p", {}, "let one of them"),
    "families that need each other": (
        "@b.recipe(each='q')\ndef p(): return 1\n@b.recipe(each='p')\ndef q(): return 1\n",
        "cycle",
        "p → q → p",
        {},
        "each=",
    ),
    "a name twice": (
        "@b.recipe\ndef t(s): return s\n",
        "duplicate-name",
        "'t' is declared twice",
        {"first": "recipes/main.py:8", "again": f"recipes/main.py:{RECIPES_LINE}"},
        "rename",
    ),
    "a member twice": (
        "@b.recipe(each={'a': [1, 1]})\ndef w(a): return {}\n",
        "duplicate-name",
        "'w[a=1]'",
        {},
        "twice",
    ),
    "an unknown input": (
        "@b.recipe\ndef q(othr): return 1\n",
        "unknown-input",
        "'othr'",
        {"nearest": "other"},
        "mend the name",
    ),
    "an unknown member": (
        "@b.recipe(each={'a': [1, 2]})\ndef w(a): return {}\n@b.recipe(inputs={'x': 'w[a=3]'})\ndef q(x): return 1\n",
        "unknown-input",
        "'w[a=3]'",
        {},
        "mend the name",
    ),
    "an unknown lane": (
        "@b.recipe(lane='db')\ndef q(s): return 1\n",
        "unknown-lane",
        "'db'",
        {},
        "db = 1 under [lanes]",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_recipes_that_cannot_be_are_refused_before_anything_runs(halves: Any, case: str) -> None:
    code, wanted, words, facts, hint = REFUSED[case]
    halves.site.recipe(halves.recipes + code)
    error = halves.refuses(own_process=case == "a cycle")
    assert error["code"] == wanted, error
    assert words in error["message"], error
    assert facts.items() <= dict(error["facts"]).items(), error
    assert hint in error["hint"], error
    assert error["place"].startswith("recipes/main.py:"), error
    assert halves.run("status", code=2)["error"]["code"] == wanted
    assert halves.run("show", "t", code=0)["rows"] == 3, "what was built can be read while recipes cannot"
    halves.site.recipe(halves.recipes)
    halves.mended(None)


def test_a_recipe_file_in_another_encoding_is_told(halves: Any) -> None:
    halves.site.write("recipes/main.py", ("# é\n" + halves.recipes).encode("latin-1"))
    error = halves.refuses()
    assert (error["code"], error["place"]) == ("recipe-syntax", "recipes/main.py")
    assert "UTF-8" in error["hint"]


def test_a_lost_recipes_folder_is_an_error_not_an_empty_project(halves: Any) -> None:
    (halves.root / "recipes").rename(halves.root / "elsewhere")
    error = halves.refuses()
    assert (error["code"], error["place"]) == ("config", "recipes")
    (halves.root / "elsewhere").rename(halves.root / "recipes")
    assert halves.run("rebuild", "--inline", code=0)["outcome"] == "nothing"


def test_the_last_recipe_file_taken_away_withdraws_all_from_out(halves: Any) -> None:
    (halves.root / "recipes/main.py").unlink()
    report = halves.run("rebuild", "--inline", code=0)
    assert set(report["retired"]) >= {"t", "u", "other"}
    assert halves.out() == {}
    halves.site.recipe(halves.recipes)
    assert {t["outcome"] for t in halves.run("rebuild", "--inline", code=0)["targets"]} == {"restored"}


# -- recipes that run and fail -----------------------------------------------------------------------------------------

FAILING: dict[str, tuple[str, str, str, str, dict[str, str]]] = {
    # options of the recipe, its body, error code, words of the message, facts
    "it raises": (
        "key='id'",
        "raise ValueError('no good: 3')",
        "recipe-error",
        "'t' raised ValueError: no good: 3",
        {"line": "raise ValueError('no good: 3')"},
    ),
    "it leaves": ("key='id'", "raise SystemExit(0)", "recipe-error", "SystemExit", {}),
    "it runs out of memory": ("key='id'", "raise MemoryError", "out-of-memory", "'t'", {}),
    "nothing": ("", "return None", "result-type", "returned nothing", {}),
    "a number": ("", "return 3", "result-type", "type int", {}),
    "no table but a key": ("key='id'", "return {}", "result-type", "key=", {}),
    "a path elsewhere": ("", "import pathlib; return pathlib.Path('/etc/hosts')", "result-type", "b.workspace()", {}),
    "NaN in JSON": ("", "return {'x': float('nan')}", "result-type", "JSON", {}),
    "a dict that holds itself": ("", "x = {}; x['x'] = x; return x", "result-type", "JSON", {}),
    "no key column": ("key='id'", "return s[['n']]", "result-type", "'id'", {"columns": "n"}),
    "a key twice": ("key='id'", "return pd.concat([s, s])", "key-duplicate", "3 values", {"id 1": "row 0, row 3"}),
    "a null key": (
        "key='id'",
        "return s.assign(id=s.id.astype('Int64').where(s.id > 1))",
        "key-null",
        "'id'",
        {"rows": "row 0"},
    ),
    "a column twice": ("", "return pd.concat([s, s], axis=1)", "result-type", "twice", {}),
    "mixed types": ("", "return s.assign(z=[1, 'a', None])", "result-type", "'z' holds both int and str", {}),
    "objects": ("", "return s.assign(z=[{1}, {2}, {3}])", "result-type", "'z'", {}),
    "a column without a text for a name": (
        "",
        "return s.assign(**{'z': 1}).rename(columns={'z': 3})",
        "result-type",
        "3",
        {},
    ),
    "another dtype than declared": (
        "columns={'id': 'int64', 'n': 'string', 'name': 'string'}",
        "return s",
        "result-type",
        "'n' is declared string",
        {},
    ),
    "a declared column missing": (
        "columns={'id': 'int64', 'z': 'string'}",
        "return s[['id']]",
        "result-type",
        "'z'",
        {"returned": "id"},
    ),
    "a null where none may be": (
        "columns={'id': 'int64', 'n': 'int64'}",
        "return s[['id']].assign(n=s.n.astype('Int64').where(s.n > 10))",
        "bad-value",
        "'n'",
        {"row": "0", "value": "null"},
    ),
    "an undeclared read": ("key='id'", "open('data/g.csv'); return s", "undeclared-read", "'data/g.csv'", {}),
    "an undeclared read, swallowed": (
        "key='id'",
        "\n    try:\n        open('data/g.csv')\n    except Exception:\n        pass\n    return s",
        "undeclared-read",
        "'data/g.csv'",
        {},
    ),
    "a check that says no": (
        "key='id', check=lambda f: len(f) > 100",
        "return s",
        "check-failed",
        "'t'",
        {"check": "it returned False"},
    ),
    "a check that says no as numpy does": (
        "key='id', check=lambda f: f['n'].sum() > 100",
        "return s",
        "check-failed",
        "'t'",
        {"check": "it returned False"},
    ),
    "a check that raises": (
        "key='id', check=too_few",
        "return s",
        "check-failed",
        "'t'",
        {"check": "AssertionError: only 3"},
    ),
    "a pandera schema": ("key='id', check=schema()", "return s", "check-failed", "'t'", {}),
}

HEAD = """
def too_few(frame):
    assert len(frame) > 100, f"only {len(frame)}"

def schema():
    import pandera.pandas as pa
    return pa.DataFrameSchema({"n": pa.Column(int, pa.Check.lt(25))})

"""


@pytest.mark.parametrize("case", FAILING)
def test_a_recipe_that_fails_says_where_and_harms_nothing_else(halves: Any, case: str) -> None:
    options, body, code, words, facts = FAILING[case]
    old = '@b.recipe(key="id")\ndef t(s: pd.DataFrame):\n    return s\n'
    assert old in halves.recipes
    new = f"@b.recipe({options})\ndef t(s: pd.DataFrame):\n    {body}\n"
    halves.site.recipe(HEAD + halves.recipes.replace(old, new))
    error = halves.breaks("t")
    assert error["code"] == code, error
    assert words in error["message"], error
    assert facts.items() <= dict(error["facts"]).items(), error
    assert error["target"] == "t"
    halves.site.recipe(halves.recipes)
    halves.mended(None)


def test_what_a_failing_recipe_printed_is_in_its_log(halves: Any) -> None:
    halves.site.recipe(halves.recipes.replace("    return s\n", "    print('half way')\n    return 1 / 0\n"))
    assert halves.breaks("t")["place"] == "recipes/main.py:11"
    log = halves.run("log", "t", code=0)["log"]
    assert "half way" in log and "ZeroDivisionError" in log


def test_a_column_that_the_input_does_not_have_fails_the_reader_alone(halves: Any) -> None:
    halves.site.recipe(halves.recipes + "\n@b.recipe(inputs={'x': b.read('s', columns=['zz'])})\ndef p(x): return x\n")
    error = halves.breaks("p")
    assert error["code"] == "recipe-error"
    assert dict(error["facts"]) == {"column": "zz", "s has": "id, n, name"}


def test_an_error_names_its_target_in_words_where_the_message_does_not(halves: Any) -> None:
    halves.site.recipe(halves.recipes.replace("    return s\n", "    return pd.concat([s, s])\n"))
    done = halves.command("rebuild", "--inline")
    assert done[0] == 1
    assert "  of    t\n" in done[1]


def test_outputs_of_one_family_that_fail_alike_are_told_once(halves: Any) -> None:
    many = "\n@b.recipe(each={'a': list(range(30))})\ndef bad(s, a):\n    raise ValueError('broken')\n"
    halves.site.recipe(halves.recipes + many)
    code, text, _ = halves.command("rebuild", "--inline")
    assert code == 1
    assert text.count("raised ValueError: broken") == 1
    assert "bad[…] (29 of 30)" in text


def test_a_recipe_that_is_no_function_of_its_inputs_is_a_warning(halves: Any) -> None:
    halves.site.recipe(
        halves.recipes + "\nimport itertools, time\n@b.recipe\ndef clock():\n    return {'t': time.time()}\n"
    )
    halves.site.built()
    report = halves.run("rebuild", "--inline", "--all", code=0)
    assert [w["code"] for w in report["warnings"]] == ["not-deterministic"]
    assert "'clock'" in report["warnings"][0]["message"]


def test_a_recipe_over_its_time_is_killed_and_told(halves: Any) -> None:
    slow = "@b.recipe(key='id', timeout=1.0)\ndef t(s: pd.DataFrame):\n    import time; time.sleep(120)\n"
    old = '@b.recipe(key="id")\ndef t(s: pd.DataFrame):\n    return s\n'
    halves.site.recipe(halves.recipes.replace(old, slow))
    error = halves.breaks("t", "rebuild", "-j", "1", own_process=True)
    assert (error["code"], error["place"]) == ("timed-out", "recipes/main.py:8")
    halves.site.recipe(halves.recipes)
    halves.mended(None)


def test_a_worker_that_dies_twice_is_told_and_the_rest_goes_on(halves: Any) -> None:
    dying = "    import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n"
    halves.site.recipe(halves.recipes.replace("    return s\n", dying))
    error = halves.breaks("t", "rebuild", "-j", "1", own_process=True)
    assert (error["code"], error["place"]) == ("worker-died", "recipes/main.py:8")
    halves.site.recipe(halves.recipes)
    halves.mended(None)


# -- wrong calls -------------------------------------------------------------------------------------------------------

CALLS: dict[str, tuple[tuple[str, ...], str, str, str]] = {
    "an unknown option": (("rebuild", "--bogus"), "config", "--bogus", "builder rebuild --help"),
    "an unknown command": (("rebild",), "config", "rebuild", "--help"),
    "a target missing": (("explain",), "config", "TARGET", "builder explain --help"),
    "no workers": (("rebuild", "-j", "0"), "config", "-j", "builder rebuild --help"),
    "two modes": (("rebuild", "--changed", "--all"), "config", "exclude", "--help"),
    "a folder that is not there": (("status", "-C", "nowhere"), "config", "'nowhere'", "folder"),
    "a file for a folder": (("status", "-C", "builder.toml"), "config", "'builder.toml'", "folder"),
    "no version to keep": (("gc", "--keep", "0"), "config", "--keep", "--keep 1"),
    "an unknown target": (("rebuild", "oter"), "unknown-target", "'oter'", "builder status"),
    "no member that matches": (("rebuild", "*[state=WA]"), "unknown-target", "'*[state=WA]'", "quote names"),
    "an unknown first target": (("rebuild", "--first", "oter"), "unknown-target", "'oter'", "builder status"),
    "a source to explain": (("explain", "s"), "unknown-target", "'s' is a source", "builder status"),
    "an unknown target to show": (("show", "oter"), "unknown-target", "'oter'", "builder status"),
    "an unknown target to diff": (("diff", "oter"), "unknown-target", "'oter'", "builder status"),
    "an unknown run": (("diff", "t", "r99"), "unknown-target", "r99", "builder history"),
    "a word for a run": (("diff", "t", "soon"), "unknown-target", "'soon'", "builder history"),
    "an unknown log": (("log", "oter"), "unknown-target", "'oter'", "builder status"),
    "a target to accept": (("accept", "t"), "unknown-target", "'t'", "source"),
    "a plan that is not there": (("rebuild", "--plan", "p.json"), "config", "'p.json'", "builder plan --out"),
    "a plan to nowhere": (("plan", "--out", "data/s.csv/p.json"), "config", "'data/s.csv/p.json'", "folder"),
    "an example that is none": (("init", "new", "--example", "moon"), "config", "'moon'", "one of these"),
    "a project in a full folder": (("init", "."), "config", "'.'", "new folder"),
    "a scheduler that is none": (
        ("rebuild", "--all", "--scheduler", "nonsense"),
        "no-cluster",
        "nonsense",
        "dask scheduler",
    ),
    "a scheduler that is not there": (
        ("rebuild", "--all", "--scheduler", "tcp://127.0.0.1:1"),
        "no-cluster",
        "127.0.0.1:1",
        "dask",
    ),
}


@pytest.mark.parametrize("case", CALLS)
def test_a_wrong_call_is_refused(halves: Any, case: str) -> None:
    args, code, words, hint = CALLS[case]
    error = halves.refuses(*args, own_process=case in ("an unknown option", "a folder that is not there"))
    assert error["code"] == code, error
    assert words in error["message"], error
    assert hint in error["hint"], error


def test_a_folder_that_is_no_project_is_refused(tmp_path: Any, site: Any) -> None:
    (site.root / "recipes").rmdir()
    done = site.command("status", "--json")
    assert done.returncode == 2
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "config" and "builder init" in error["hint"]


PLANS = {"no JSON": "{nope", "a list": "[1]", "another document": '{"format": 1}'}


@pytest.mark.parametrize("case", PLANS)
def test_a_plan_file_that_is_none_is_refused(halves: Any, case: str) -> None:
    halves.site.write("p.json", PLANS[case])
    error = halves.refuses("rebuild", "--inline", "--plan", "p.json")
    assert (error["code"], error["place"]) == ("config", "p.json")
    assert "builder plan --out" in error["hint"]


def test_a_plan_whose_world_has_moved_is_refused(halves: Any) -> None:
    halves.run("plan", "--out", "p.json", code=0)
    halves.site.write("data/s.csv", "id,n,name\n9,9,Z\n")
    error = halves.refuses("rebuild", "--inline", "--plan", "p.json")
    assert (error["code"], error["place"]) == ("plan-moved", "p.json")


SETTINGS: dict[str, tuple[str, str, str]] = {
    # content, place, words of message or hint
    "no TOML": ("name = \n", "builder.toml:1", "not TOML"),
    "an unknown key": ("nam = 'x'\n", "builder.toml:1", "'nam'"),
    "a number for a text": ("name = 3\n", "builder.toml:1", "'name' is 3"),
    "a lane in words": ("[lanes]\ndb = 'x'\n", "builder.toml:2", "'db' is 'x'"),
    "no workers": ("[cluster]\nworkers = 0\n", "builder.toml:2", "'workers' is 0"),
    "folders that overlap": ("out = 'recipes'\n", "builder.toml:1", "overlap"),
    "a folder outside": ("out = '../out'\n", "builder.toml:1", "outside"),
    "a library that is not there": ("environment = ['nosuchlib']\n", "builder.toml", "'nosuchlib'"),
    "a table for a list": ("[publish]\n", "builder.toml:1", "'publish'"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_wrong_settings_are_refused_at_their_line(halves: Any, case: str) -> None:
    content, place, words = SETTINGS[case]
    halves.site.write("builder.toml", textwrap.dedent(content))
    error = halves.run("rebuild", "--inline", code=2)["error"]
    assert (error["code"], error["place"]) == ("config", place), error
    assert words in error["message"] and error["hint"]
    halves.site.write("builder.toml", 'publish = "all"\n')
    halves.stands()


def test_a_set_that_contains_itself_is_told_with_its_way(halves: Any) -> None:
    halves.site.write("builder.toml", 'publish = "all"\n[sets]\nd = ["e"]\ne = ["d"]\n')
    error = halves.refuses("rebuild", "d")
    assert error["code"] == "config" and "d → e → d" in error["message"]


def test_a_failure_of_builder_itself_exits_3_with_one_document(halves: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from builder.project import Project

    monkeypatch.setattr(Project, "status", lambda *a, **k: 1 / 0)
    code, printed, said = halves.command("status", "--json")
    assert code == 3
    assert json.loads(printed)["error"]["code"] == "internal"
    assert "ZeroDivisionError" in said
