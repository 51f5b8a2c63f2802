"""The Python face: open, look, rebuild, load versions and families, and views for notebooks."""

import subprocess
import sys

import pandas as pd
import pytest

import builder as b
from builder.errors import BuilderError

RECIPE = """
b.source("shops[state={state}]", "data/shops/{state}.csv", key="id")
b.source("raw", "data/raw.bin")

@b.recipe(each="shops", key="id")
def clean(shops, state):
    return shops

@b.recipe(inputs={"parts": "clean[*]"})
def total(parts):
    return {"n": sum(len(p) for p in parts.values())}

@b.recipe
def size(raw):
    return [raw.path.stat().st_size]
"""


@pytest.fixture
def shops(site):
    for state in ("CA", "WA"):
        site.write(f"data/shops/{state}.csv", "id,size\n1,2\n")
    site.write("data/raw.bin", b"abc")
    site.recipe(RECIPE)
    return site


def test_open_imports_nothing_heavy(shops):
    code = (
        "import builder as b, sys; p = b.open('.'); p.status(); "
        "print([m for m in ('pandas', 'numpy', 'pyarrow', 'dask', 'distributed', 'geopandas') if m in sys.modules])"
    )
    shops.project.status()
    shops.built()
    done = subprocess.run([sys.executable, "-c", code], cwd=shops.root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_open_finds_the_project_upwards_and_takes_paths(shops):
    assert b.open(str(shops.root)).config.root == b.open(shops.root / "data").config.root == shops.root
    with pytest.raises(BuilderError) as caught:
        b.open(shops.root / "nowhere")
    assert caught.value.code == "config"


def test_rebuild_gives_a_run_with_what_it_did(shops):
    run = shops.project.rebuild(["clean"], inline=True)
    assert run.outcome == "built" and [t.name for t in run.targets] == ["clean[state=CA]", "clean[state=WA]"]
    run = b.open(shops.root).rebuild(inline=True)
    assert {t.name for t in run.targets} == {"total", "size"}
    assert "2" in str(run) and run.totals["fresh"] == 2
    assert b.open(shops.root).rebuild("total", inline=True).outcome == "nothing"


def test_rebuild_on_workers(shops):
    run = shops.project.rebuild(["total"], workers=1)
    assert run.outcome == "built" and shops.load("total") == {"n": 2}


def test_load_of_a_family_is_a_mapping_by_full_name(shops):
    shops.built()
    found = shops.project.load("clean")
    assert list(found) == ["clean[state=CA]", "clean[state=WA]"] == list(shops.project.load("clean[*]"))
    assert found["clean[state=WA]"].to_dict("list") == {"id": [1], "size": [2]}
    assert list(shops.project.load("shops")) == ["shops[state=CA]", "shops[state=WA]"]


def test_load_of_a_family_with_one_member_is_a_mapping_still(shops):
    (shops.root / "data/shops/WA.csv").unlink()
    shops.built()
    assert list(shops.project.load("clean")) == ["clean[state=CA]"]


def test_load_of_what_was_never_built_says_so(shops):
    for name in ("total", "nothing"):
        with pytest.raises(BuilderError) as caught:
            shops.project.load(name)
        assert (caught.value.code, caught.value.exit_code) == ("unknown-target", 2) and caught.value.hint


def test_load_of_an_earlier_run_and_of_the_last_complete_build(shops):
    first = shops.built()["run"]
    shops.write("data/shops/CA.csv", "id,size\n1,2\n2,3\n")
    second = shops.built(targets=["clean"])["run"]
    project = shops.project
    assert len(project.load("clean[state=CA]")) == 2 == len(project.load("clean[state=CA]", run=second))
    assert len(project.load("clean[state=CA]", run=first)) == 1
    assert len(project.load("clean[state=CA]", run="complete")) == 1
    assert {len(f) for f in project.load("clean", run="complete").values()} == {1}
    assert project.load("total", run="complete") == {"n": 2} == project.load("total", run=second)
    shops.built()
    assert project.load("total", run="complete") == {"n": 3} == project.load("total")
    assert len(project.load("clean[state=CA]", run="complete")) == 2
    for wrong in ("r99", "nonsense"):
        with pytest.raises(BuilderError):
            project.load("total", run=wrong)


def test_the_last_complete_build_stays_while_something_fails(shops):
    shops.built()
    shops.write("data/shops/CA.csv", "id,size\n1,2\n2,3\n")
    shops.recipe(RECIPE.replace('return {"n"', 'raise ValueError("no")\n    return {"n"'))
    assert shops.rebuild()["outcome"] == "failed"
    assert len(shops.project.load("clean[state=CA]")) == 2
    assert len(shops.project.load("clean[state=CA]", run="complete")) == 1
    assert shops.project.load("total", run="complete") == {"n": 2} == shops.project.load("total")


def test_there_may_be_no_complete_build_yet(shops):
    shops.built(targets=["size"])
    with pytest.raises(BuilderError) as caught:
        shops.project.load("size", run="complete")
    assert "complete" in caught.value.message


@pytest.mark.parametrize("broken", ["def f(:\n", "import no_such_module_at_all\n", "raise SystemExit(3)\n"])
def test_what_was_built_can_be_read_while_recipes_are_broken(shops, broken):
    shops.built()
    shops.write("recipes/broken.py", broken)
    project = shops.project
    with pytest.raises(BuilderError) as caught:
        project.status()
    assert caught.value.exit_code == 2 and "recipes/broken.py" in str(caught.value.place)
    assert project.load("total") == {"n": 2} and len(project.load("clean")) == 2
    assert project.path("total") == shops.root / "out/total.json"
    assert project.show("total").to_json()["name"] == "total"
    assert project.diff("clean[state=CA]").added == 1
    assert len(project.history().to_json()["runs"]) == 1
    assert "clean" in project.log("clean[state=CA]")
    assert project.load("clean", run="complete")["clean[state=CA]"]["id"].to_list() == [1]


def test_what_was_built_can_be_read_without_the_recipes_folder(shops):
    import shutil

    shops.write("builder.toml", "")
    shops.built()
    shutil.rmtree(shops.root / "recipes")
    assert shops.project.load("total") == {"n": 2}


def test_plan_explain_and_status_are_values(shops):
    project = shops.project
    assert project.status().totals["missing"] == 4 and project.status(["total"]).totals["targets"] == 1
    assert {s["name"] for s in project.plan("total").to_json()["steps"]} >= {"total", "clean[state=CA]"}
    assert project.explain("total").to_json()["state"] == "missing"
    shops.built()
    assert project.status().is_fresh and project.explain("total").state.value == "fresh"


def test_views_of_notebooks_say_what_the_text_says(shops):
    project = shops.project
    before = [project.status(), project.plan(), project.explain("total"), project.graph()]
    run = project.rebuild(inline=True)
    shops.write("data/shops/CA.csv", "id,size\n1,3\n")
    between = [project.status(), project.plan(), project.explain("clean[state=CA]"), project.graph(["total"])]
    project.rebuild(inline=True)
    after = [project.status(), project.plan(), project.explain("total"), project.graph(), project.show("total")]
    after += [project.show("clean[state=CA]"), project.diff("clean[state=CA]"), project.history()]
    for value in (*before, *between, run, *after):
        assert str(value).strip() and "<" in value._repr_html_() and value.to_json()["format"] == 1, type(value)
        assert "object at 0x" not in repr(value)
    assert "clean" in between[0]._repr_html_() and "clean" in between[1]._repr_html_()


def test_views_do_not_let_data_become_markup(site):
    site.recipe(
        '@b.recipe(each={"v": ["<script>alert(1)</script>"]})\n'
        'def f(v):\n    return pd.DataFrame({"<b>x</b>": ["<i>"]})\n'
    )
    project = site.project
    (name,) = (t.name for t in project.status().targets)
    run = project.rebuild(inline=True)
    for value in (
        project.status(),
        run,
        project.plan(all=True),
        project.explain(name),
        project.show(name),
        project.diff(name),
        project.graph(),
    ):
        shown = value._repr_html_()
        assert "<script>alert" not in shown and "<i>" not in shown and "<b>x" not in shown, type(value)


def test_several_projects_live_in_one_process(tmp_path, site):
    site.recipe("from ._shared import VALUE\n@b.recipe\ndef f():\n    return [VALUE]\n")
    site.write("recipes/_shared.py", "VALUE = 1\n")
    other = type(site)(tmp_path / "other")
    other.recipe("from ._shared import VALUE\n@b.recipe\ndef f():\n    return [VALUE]\n")
    other.write("recipes/_shared.py", "VALUE = 2\n")
    site.built()
    other.built()
    assert (site.load("f"), other.load("f")) == ([1], [2])
    other.write("recipes/_shared.py", "VALUE = 3\n")
    assert (other.ran(), site.ran()) == ({"f"}, set())


def test_accept_verify_gc_and_fsck_are_methods(shops):
    shops.built()
    assert shops.project.verify(["total"], inline=True).is_equal
    assert shops.project.gc(keep=1, dry_run=True).to_json()["removed"] == []
    assert shops.project.fsck().to_json()["problems"] == []
    assert shops.project.accept("shops").to_json()["format"] == 1


def test_loaded_frames_belong_to_the_caller(shops):
    shops.built()
    frame = shops.load("clean[state=CA]")
    frame.loc[0, "size"] = 99
    assert shops.load("clean[state=CA]")["size"].to_list() == [2] and isinstance(frame, pd.DataFrame)


def test_graph_knows_its_formats(shops):
    graph = shops.project.graph(["+total"])
    assert graph.to_dot().startswith("digraph") and "size" not in graph.to_dot()
    assert {n["name"] for n in graph.to_json()["nodes"]} >= {"total", "clean[state=CA]", "shops[state=CA]"}
