"""Names and values that would be paths: nothing is written outside ``out/`` and the store, and no two values meet."""

from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd
import pytest

from builder.errors import BuilderError

NAMES = [
    "../x",
    "/abs",
    "a\0b",
    "x" * 300,
    "é" * 101,
    "CON",
    "nul",
    "a\nb",
    "50%",
    "",
    ".",
    "..",
    "a.b",
    "a b",
    "a[b",
    "-x",
    "1a",
]
VALUES = [
    "../../x",
    "/abs",
    "..",
    ".",
    "",
    "a\0b",
    "a\nb",
    "CON",
    "50%",
    "%",
    "%2F",
    "/",
    "%252F",
    "über",
    "日本",
    "e\u0301",
    "é",
    "a,b",
    "a=b",
    "a]b",
    "a[b",
    "*",
    "?",
    "{v}",
    " a",
    "a ",
    "A",
    "a",
    "\udcff",
    "true",
    "1",
    "x" * 300,
    "x" * 299 + "y",
    "é" * 200,
    "é" * 199 + "è",
    "~",
    "$HOME",
    "`id`",
    "a\\b",
    "a:b",
    "\u202eabc",
]


def everything(folder: Path) -> set[str]:
    """Every path below a folder."""
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*")}


def outside(site: Any) -> set[str]:
    """What lies in the project's folder and its parent, but for ``out/`` and the store."""
    parent = site.root.parent
    kept = (f"{site.root.name}/out", f"{site.root.name}/.builder")
    return {p for p in everything(parent) if not p.startswith(kept)}


DECLARED = {
    "recipe": "@b.recipe(name={0!r})\ndef q(): return {{}}\n",
    "source": "b.source({0!r}, 'd.csv')\n",
    "output": "@b.recipe(outputs=({0!r}, 'b'))\ndef q(): return {{}}\n",
    "parameter": "@b.recipe(each={{{0!r}: ['a']}})\ndef q(**k): return {{}}\n",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("what", DECLARED)
def test_a_name_that_could_be_a_path_is_refused(site: Any, what: str, name: str) -> None:
    site.recipe(DECLARED[what].format(name))
    before = outside(site)
    with pytest.raises(BuilderError) as refused:
        site.rebuild()
    assert refused.value.code == "recipe-declaration"
    assert refused.value.place and refused.value.place.startswith("recipes/main.py:")
    assert refused.value.hint
    assert len(str(refused.value)) < 400
    assert outside(site) == before


def test_names_of_settings_are_checked_as_well(site: Any) -> None:
    for table in ("lanes", "sets"):
        site.write("builder.toml", f'[{table}]\n"../x" = {1 if table == "lanes" else ["t"]}\n')
        done = site.command("status", "--json")
        assert done.returncode == 2 and "builder.toml:2" in done.stdout


def test_values_never_leave_out_and_come_back_as_they_were(site: Any) -> None:
    site.recipe(
        f"VALUES = {VALUES!r}\n\n@b.recipe(each={{'v': VALUES}})\ndef q(v): return {{'v': [ord(c) for c in v]}}\n"
    )
    before = outside(site)
    site.built()
    assert outside(site) == before
    status = site.project.status().to_json()
    assert [t["params"]["v"] for t in status["targets"]] == VALUES
    family = site.load("q")
    got = {"".join(map(chr, family[t["name"]]["v"])) for t in status["targets"]}
    assert got == set(VALUES)
    files = [p for p in (site.root / "out").rglob("*") if p.is_file()]
    assert len(files) == len(VALUES), "no two values share a file"
    assert all(len(part.encode()) <= 255 for p in files for part in p.parts)
    assert {p.name for p in files} == {"part-0.json"}
    for target in status["targets"]:
        assert site.project.rebuild([target["name"]], inline=True).outcome == "nothing"


def test_a_partition_folder_holds_its_value_percent_encoded_once(site: Any) -> None:
    short = [v for v in VALUES if v and len(v) < 50 and v.isprintable()]
    site.recipe(
        f"VALUES = {short!r}\n\n@b.recipe(each={{'v': VALUES}})\n"
        "def q(v): return pd.DataFrame({'length': [len(v)]})\n"
    )
    site.built()
    found = {unquote(p.name.removeprefix("v=")) for p in (site.root / "out/q").iterdir()}
    assert found == set(short)
    read = pd.read_parquet(site.root / "out/q")
    assert {str(v) for v in read["v"]} == set(short), "other tools take the encoding back by themselves"
    assert all(len(str(v)) == n for v, n in zip(read["v"], read["length"], strict=True))


FILES = [
    "a b",
    "50%",
    "über",
    "a=b",
    "a,b",
    "x" * 200,
    "CON",
    "-",
    "a\nb",
    "[x]",
    "{n}",
    "*",
    "?",
    "%2F",
    "日本",
    "a'b",
    'a"b',
]


def test_file_names_found_in_a_family_are_values_like_any(site: Any) -> None:
    site.recipe(
        "f = b.source('f[n={n}]', 'data/{n}.csv', key='id')\n\n"
        "@b.recipe(each='f', key='id')\ndef q(f: pd.DataFrame): return f\n\n"
        "@b.recipe(inputs={'parts': 'q[*]'})\ndef together(parts: pd.DataFrame): return parts\n"
    )
    for number, name in enumerate(FILES):
        site.write(f"data/{name}.csv", f"id\n{number}\n")
    before = outside(site)
    site.built()
    assert outside(site) - before == {f"{site.root.name}/schemas", f"{site.root.name}/schemas/f.json"}
    frame = site.load("together")
    assert dict(zip(frame["n"], frame["id"], strict=True)) == {n: i for i, n in enumerate(FILES)}
    (site.root / "data/*.csv").unlink()
    report = site.built()
    assert set(report["retired"]) == {"f[n=%2A]", "q[n=%2A]"}
    assert set(site.load("together")["n"]) == set(FILES) - {"*"}


def test_files_that_a_recipe_makes_keep_their_names_below_its_folder(site: Any) -> None:
    names = ["CON", "a b", "50%", "x" * 200, "über", "..x", "a\nb", ".hidden", "sub/deep"]
    site.recipe(
        f"NAMES = {names!r}\n\n@b.recipe\ndef q():\n    for n in NAMES:\n        p = b.workspace() / n\n"
        "        p.parent.mkdir(exist_ok=True)\n        p.write_text(n)\n    return b.workspace()\n"
    )
    before = outside(site)
    site.built()
    assert outside(site) == before
    assert {n: p.read_text() for n, p in site.load("q").items()} == {n: n for n in names}
    texts = sorted(p.read_text() for p in (site.root / "out/q").rglob("*") if p.is_file())
    assert texts == sorted(names)


@pytest.mark.parametrize("link", ["/etc/hostname", "../../../../etc/hostname"])
def test_a_link_in_a_workspace_is_no_way_out(site: Any, link: str) -> None:
    site.recipe(f"@b.recipe\ndef q():\n    (b.workspace() / 'x').symlink_to({link!r})\n    return b.workspace()\n")
    report = site.rebuild()
    assert report["targets"][0]["error"]["code"] == "result-type"


def test_a_link_in_place_of_a_published_file_is_replaced_not_followed(site: Any) -> None:
    site.recipe("N = 1\n@b.recipe\ndef q(): return {'n': N}\n")
    site.built()
    mine = site.write("mine.json", "mine")
    (site.root / "out/q.json").unlink()
    (site.root / "out/q.json").symlink_to(mine)
    site.recipe("N = 2\n@b.recipe\ndef q(): return {'n': N}\n")
    site.built()
    assert mine.read_text() == "mine"
    assert not (site.root / "out/q.json").is_symlink()
