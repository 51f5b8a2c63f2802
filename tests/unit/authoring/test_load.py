"""Recipes loaded from a bundle's text."""

from __future__ import annotations

import inspect
import sys
import traceback

import pytest

from builder.authoring.bundle import Bundle, read_bundle
from builder.authoring.load import load, load_cached
from builder.authoring.registry import is_collecting, register
from builder.errors import BuilderError
from builder.graph.declare import Place, SourceDecl


def names(loaded) -> list[str]:
    return [name.partition(".")[2] for name in loaded.modules]


def of(loaded, module: str) -> dict:
    return vars(loaded.modules[f"{loaded.package}.{module}"])


def refused(load_files, files) -> BuilderError:
    with pytest.raises(BuilderError) as caught:
        load_files(files)
    return caught.value


def test_files_run_in_name_order_and_helpers_where_they_are_imported(load_files) -> None:
    loaded = load_files(
        {
            "b.py": "from ._helper import K\nfrom .sub.deep import D",
            "a.py": "",
            "_helper.py": "K = 1",
            "_unused.py": "1 / 0",
            "sub/deep.py": "from .. import a\nfrom ..pack import P\nD = a",
            "pack/__init__.py": "from .inner import P",
            "pack/inner.py": "P = 2",
            "sub/not_loaded.py": "1 / 0",
        }
    )
    assert names(loaded) == ["", "a", "b", "_helper", "sub", "sub.deep", "pack", "pack.inner"]
    assert of(loaded, "b")["D"] is loaded.modules[f"{loaded.package}.a"]


def test_a_module_knows_its_own_file(load_files, tmp_path) -> None:
    (tmp_path / "recipes" / "sub").mkdir(parents=True)
    (tmp_path / "recipes" / "sub" / "x.yaml").write_text("k")
    loaded = load_files(
        {
            "sub/a.py": "from pathlib import Path\nT = (Path(__file__).parent / 'x.yaml').read_text()",
            "b.py": "from .sub.a import T",
        }
    )
    assert of(loaded, "b")["T"] == "k"
    assert loaded.opened == ("recipes/sub/x.yaml",)


def test_the_text_of_the_bundle_runs_whatever_is_on_the_disk(tmp_path) -> None:
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "a.py").write_text("K = 'disk'")
    (folder / "extra.py").write_text("")
    loaded = load(Bundle((("a.py", "K = 'bundle'"),)), folder, tmp_path)
    assert of(loaded, "a")["K"] == "bundle"
    with pytest.raises(ModuleNotFoundError):
        __import__(f"{loaded.package}.extra")
    assert not (folder / "__pycache__").exists()


def test_loading_again_gives_fresh_modules_and_a_cached_load_the_same(load_files, tmp_path) -> None:
    first = load_files({"a.py": "K = []"})
    second = load(first.bundle, first.folder, tmp_path)
    assert first.package == second.package
    assert of(first, "a")["K"] is not of(second, "a")["K"]
    assert sys.modules[second.package + ".a"] is second.modules[second.package + ".a"]
    assert load_cached(first.bundle, first.folder, tmp_path) is load_cached(first.bundle, first.folder, tmp_path)


def test_two_projects_with_the_same_files_are_kept_apart(tmp_path) -> None:
    bundle = Bundle((("a.py", ""),))
    assert load(bundle, tmp_path / "x", tmp_path / "x").package != load(bundle, tmp_path / "y", tmp_path / "y").package


def test_imports_inside_functions_work_after_a_newer_version_was_loaded(load_files) -> None:
    old = load_files({"a.py": "def f():\n    from .late import K\n    return K", "late.py": "K = 1"})
    load_files({"a.py": "def f():\n    from .late import K\n    return K", "late.py": "K = 2"})
    assert of(old, "a")["f"]() == 1


def test_declarations_are_collected_in_order(load_files) -> None:
    text = """
        from builder.authoring.registry import register
        from builder.graph.declare import Place, SourceDecl
        register(SourceDecl("{0}1", "p", Place("a", 1)))
        register(SourceDecl("{0}2", "p", Place("a", 1)))
    """
    loaded = load_files({"b.py": text.format("b"), "a.py": text.format("a")})
    assert [d.name for d in loaded.declarations] == ["a1", "a2", "b1", "b2"]
    assert not is_collecting()


def test_declaring_outside_of_loading_is_refused() -> None:
    with pytest.raises(BuilderError) as caught:
        register(SourceDecl("s", "p", Place("a.py", 3)))
    assert (caught.value.code, caught.value.place) == ("recipe-declaration", "a.py:3")


@pytest.mark.parametrize("text", ["x = 1\ndef f(:\n  pass\n", "x = 1\nreturn 2\n", "x = 1\n  y = 2\n"])
def test_what_is_not_python_is_refused_with_its_line(load_files, text) -> None:
    found = refused(load_files, {"a.py": text})
    assert (found.code, found.place) == ("recipe-syntax", "recipes/a.py:2")
    assert found.facts == (("line", text.splitlines()[1].strip()),)
    assert found.hint and "recipes/a.py" in found.message


def test_a_null_byte_and_endless_nesting_are_refused_too(load_files) -> None:
    for text in ("x = '\0'", "x = " + "(" * 5000 + ")" * 5000, "x = " + "-" * 200_000 + "1"):
        found = refused(load_files, {"a.py": text})
        assert found.code == "recipe-syntax" and found.place and found.place.startswith("recipes/a.py")


def test_an_exception_while_loading_names_the_innermost_line_of_the_project(load_files) -> None:
    found = refused(
        load_files,
        {"a.py": "from .helpers import g\n\ng()", "helpers.py": "import json\ndef g():\n    return json.loads('{')"},
    )
    assert (found.code, found.place) == ("recipe-declaration", "recipes/helpers.py:3")
    assert "recipes/a.py" in found.message and "JSONDecodeError" in found.message
    assert type(found.__cause__).__name__ == "JSONDecodeError"


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("import helpers", "from . import helpers"),
        ("import no_such_library.part", "install no_such_library"),
        ("raise SystemExit(0)", "declare"),
    ],
)
def test_the_hint_fits_the_failure(load_files, line, hint) -> None:
    found = refused(load_files, {"a.py": line, "helpers.py": ""})
    assert found.code == "recipe-declaration" and found.place == "recipes/a.py:1"
    assert hint in found.hint


def test_errors_of_builder_pass_through_and_get_their_place(load_files) -> None:
    text = "from builder.errors import error\n\nraise error('recipe-declaration', 'x', place={!r})"
    assert refused(load_files, {"a.py": text.format(None)}).place == "recipes/a.py:3"
    assert refused(load_files, {"a.py": text.format("there:1")}).place == "there:1"


def test_a_keyboard_interrupt_is_not_an_error_of_the_recipes(load_files) -> None:
    with pytest.raises(KeyboardInterrupt):
        load_files({"a.py": "raise KeyboardInterrupt"})
    assert not is_collecting()


@pytest.mark.parametrize("files", [{"a.b.py": ""}, {"a.py": "", "a/__init__.py": ""}, {"sub/x.y.py": ""}])
def test_files_that_cannot_be_imported_are_refused(load_files, files) -> None:
    found = refused(load_files, files)
    assert found.code == "recipe-declaration" and found.hint == "rename the file"


def test_tracebacks_and_inspect_show_the_text_that_ran(load_files, tmp_path) -> None:
    loaded = load_files({"a.py": "def f():\n    raise ValueError('here')  # a mark\n"})
    (tmp_path / "recipes" / "a.py").write_text("something else\n" * 5)
    try:
        of(loaded, "a")["f"]()
    except ValueError:
        assert "raise ValueError('here')  # a mark" in traceback.format_exc()
    assert inspect.getsource(of(loaded, "a")["f"]).startswith("def f():")


def test_what_is_opened_and_listed_while_loading_is_told(load_files, tmp_path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside.txt"
    outside.write_text("x")
    for path in ("data/one/t.csv", "data/two/t.csv", "meta.yaml", "conf/a.yaml"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
    loaded = load_files(
        {
            "a.py": f"""
            import glob, os, pathlib
            root = pathlib.Path(__file__).parents[1]
            (root / "meta.yaml").read_text()
            open({str(outside)!r}).close()
            open(root / "written.txt", "w").close()
            try:
                (root / "not-there.yaml").read_text()
            except FileNotFoundError:
                pass
            os.listdir(root / "conf")
            FOUND = sorted(glob.glob(str(root / "data/*/t.csv")))
            """
        }
    )
    assert loaded.opened == (str(outside), "meta.yaml", "not-there.yaml")
    assert loaded.listed == tuple(sorted(str(tmp_path / p) for p in ("conf", "data", "data/one", "data/two")))
    assert len(of(loaded, "a")["FOUND"]) == 2


def test_importing_libraries_counts_as_no_read(load_files) -> None:
    for name in [m for m in sys.modules if m.partition(".")[0] in ("wsgiref", "plistlib", "tzdata")]:
        del sys.modules[name]
    assert load_files({"a.py": "import plistlib, wsgiref.validate, pandas, matplotlib.pyplot"}).opened == ()


def test_an_empty_bundle_loads_to_nothing(tmp_path) -> None:
    loaded = load(read_bundle(tmp_path / "none"), tmp_path / "none", tmp_path)
    assert (loaded.modules, loaded.declarations, loaded.opened) == ({}, (), ())


def test_the_hook_before_runs_once_and_first(tmp_path) -> None:
    order: list[str] = []
    sys.modules["_order_of_test"] = order  # type: ignore[assignment]
    text = "import _order_of_test\n_order_of_test.append(__name__)"
    load(Bundle((("a.py", text), ("b.py", text))), tmp_path, tmp_path, before=lambda: order.append("before"))
    del sys.modules["_order_of_test"]
    assert order[0] == "before" and len(order) == 3
