"""Where a project begins, what its settings may hold, and what each mistake is answered with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from builder.config import ENVIRONMENT, find_project, line_of, read_config
from builder.errors import BuilderError

FULL = """\
name = "airports"
recipes = "pipeline"
store = "state"
out = "published"
publish = ["clean", "report"]
environment = ["python", "shapely"]
depends = ["metadata/*.yaml"]

[lanes]
database = 1
"web" = 4

[sets]
daily = ["airports+", "*[state=WA]"]

[cluster]
workers = 2
scheduler = "tcp://host:8786"
"""


def refusal(root: Path, text: str, file: str = "builder.toml") -> BuilderError:
    (root / file).write_text(text)
    with pytest.raises(BuilderError) as caught:
        read_config(root)
    assert caught.value.code == "config"
    assert caught.value.exit_code == 2
    assert caught.value.hint
    return caught.value


def test_an_empty_file_gives_every_default(tmp_path: Path) -> None:
    (tmp_path / "builder.toml").write_text("")
    config = read_config(tmp_path)
    root = tmp_path.resolve()
    assert (config.root, config.name, config.file) == (root, tmp_path.name, "builder.toml")
    assert (config.recipes, config.store, config.out) == (root / "recipes", root / ".builder", root / "out")
    assert config.publish == "leaves"
    assert config.environment == ENVIRONMENT == ("python", "pandas", "geopandas", "shapely", "pyarrow")
    assert (config.depends, dict(config.lanes), dict(config.sets)) == ((), {}, {})
    assert (config.workers, config.scheduler) == (None, "")


def test_every_key_is_read(tmp_path: Path) -> None:
    (tmp_path / "builder.toml").write_text(FULL)
    config = read_config(tmp_path)
    root = tmp_path.resolve()
    assert config.name == "airports"
    assert (config.recipes, config.store, config.out) == (root / "pipeline", root / "state", root / "published")
    assert config.publish == ("clean", "report")
    assert config.environment == ("python", "shapely")
    assert config.depends == ("metadata/*.yaml",)
    assert dict(config.lanes) == {"database": 1, "web": 4}
    assert dict(config.sets) == {"daily": ("airports+", "*[state=WA]")}
    assert (config.workers, config.scheduler) == (2, "tcp://host:8786")


def test_pyproject_holds_the_same_settings_under_tool_builder(tmp_path: Path) -> None:
    inside = FULL.replace("[lanes]", "[tool.builder.lanes]").replace("[sets]", "[tool.builder.sets]")
    inside = inside.replace("[cluster]", "[tool.builder.cluster]")
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'other'\n[tool.builder]\n" + inside)
    config = read_config(tmp_path)
    (tmp_path / "builder.toml").write_text(FULL)
    alone = read_config(tmp_path)
    assert config.file == "pyproject.toml"
    assert alone.file == "builder.toml"
    fields = ("name", "recipes", "store", "out", "publish", "environment", "depends", "lanes", "sets", "workers")
    assert all(getattr(config, f) == getattr(alone, f) for f in fields)


def test_a_windows_file_with_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "builder.toml").write_bytes(b'\xef\xbb\xbfname = "x"\r\n[cluster]\r\nworkers = 3\r\n')
    config = read_config(tmp_path)
    assert (config.name, config.workers) == ("x", 3)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('name = "x"\nrecipe = "r"\n', 2, "'recipe'"),
        ("name = 3\n", 1, "'name'"),
        ('name = ""\n', 1, "'name'"),
        ('# a\n\nout = ["a"]\n', 3, "'out'"),
        ('publish = "all of them"\n', 1, "'publish'"),
        ('publish = ["a", 1]\n', 1, "'publish'"),
        ('environment = "pandas"\n', 1, "'environment'"),
        ("depends = [1]\n", 1, "'depends'"),
        ("[lanes]\ndb = 0\n", 2, "'db'"),
        ("[lanes]\na = 1\ndb = true\n", 3, "'db'"),
        ("[lanes]\ndb = 1.5\n", 2, "'db'"),
        ("[lanes]\n'a b' = 1\n", 2, "'a b'"),
        ("lanes = 3\n", 1, "'lanes'"),
        ("[sets]\ndaily = 'x'\n", 2, "'daily'"),
        ("[cluster]\nworkers = 0\n", 2, "'workers'"),
        ("[cluster]\nworkers = true\n", 2, "'workers'"),
        ("[cluster]\nworker = 2\n", 2, "'worker'"),
        ("[cluster]\nscheduler = 'host:8786'\n", 2, "'scheduler'"),
        ("[cluster]\nwait = -1\n", 2, "'wait'"),
        ("[cluster]\nwait = 'long'\n", 2, "'wait'"),
        ("[cluster]\nca = 7\n", 2, "'ca'"),
        ("[cluster]\nfactory = 'clusters'\n", 2, "'factory'"),
        ("[cluster]\nfactory = '../clusters.py:make'\n", 2, "'factory'"),
        ("[cluster]\nfactory = 'clusters.py:make'\nscheduler = 'tcp://h:1'\n", 2, "exclude each other"),
        ('store = "../elsewhere"\n', 1, "'store'"),
        ('recipes = "a/../../b"\n', 1, "'recipes'"),
        ('out = "."\n', 1, "'out'"),
        ('store = "."\n', 1, "'store'"),
        ('name = "x"\nout = ".builder/out"\n', 2, "'out'"),
        ('name = "x"\nstore = "out/state"\n', 2, "'store'"),
        ('out = "recipes"\n', 1, "'out'"),
        ('store = "recipes/s"\n', 1, "'store'"),
        ("a = 1\nb = \n", 2, "TOML"),
    ],
)
def test_each_mistake_names_its_key_and_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    refused = refusal(tmp_path, text)
    assert refused.place == f"builder.toml:{line}"
    assert words in refused.message


def test_an_unknown_key_is_answered_with_the_nearest(tmp_path: Path) -> None:
    assert "recipes" in str(refusal(tmp_path, 'recipe = "r"').hint)
    assert "workers" in str(refusal(tmp_path, "[cluster]\nworker = 2").hint)
    assert "depends" in str(refusal(tmp_path, "zzz = 2").hint)


def test_mistakes_in_pyproject_point_into_pyproject(tmp_path: Path) -> None:
    refused = refusal(tmp_path, "[project]\nname='p'\n[tool.builder]\nout = 3\n", "pyproject.toml")
    assert refused.place == "pyproject.toml:4"
    refused = refusal(tmp_path, "[tool]\nbuilder = 3\n", "pyproject.toml")
    assert refused.place == "pyproject.toml:2"


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "builder.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(BuilderError) as caught:
        read_config(tmp_path)
    assert (caught.value.code, caught.value.place) == ("config", "builder.toml")


def test_absolute_folders_may_lie_outside(tmp_path: Path) -> None:
    project = tmp_path / "p"
    project.mkdir()
    (project / "builder.toml").write_text(f'store = "{tmp_path}/shared"\nout = "{tmp_path}/pub"\n')
    config = read_config(project)
    assert (config.store, config.out) == (tmp_path / "shared", tmp_path / "pub")
    (project / "builder.toml").write_text(f'store = "{tmp_path}"\n')
    with pytest.raises(BuilderError, match="'store' is the project's own folder or one above"):
        read_config(project)


def test_folders_that_overlap_through_a_link_are_refused(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "published").symlink_to("state", target_is_directory=True)
    refused = refusal(tmp_path, 'store = "state"\nout = "published"\n')
    assert "overlap" in refused.message


@pytest.mark.parametrize("marker", ["builder.toml", "pyproject.toml", "recipes"])
def test_a_project_is_found_from_below(tmp_path: Path, marker: str) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    if marker == "recipes":
        (tmp_path / marker).mkdir()
    else:
        (tmp_path / marker).write_text("[tool.builder]\n" if marker == "pyproject.toml" else "")
    assert find_project(deep) == find_project(tmp_path) == tmp_path.resolve()


def test_another_tools_pyproject_is_no_project(tmp_path: Path) -> None:
    (tmp_path / "builder.toml").write_text("")
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "pyproject.toml").write_text("[project]\nname = 'builder'\n[tool.ruff]\n")
    assert find_project(inner) == tmp_path.resolve()


def test_a_bare_folder_inside_a_project_is_a_project_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "builder.toml").write_text("")
    (tmp_path / "inner" / "recipes").mkdir(parents=True)
    assert find_project(tmp_path / "inner" / "recipes") == (tmp_path / "inner").resolve()


def test_recipes_of_a_configured_project_do_not_make_their_folder_a_project(tmp_path: Path) -> None:
    (tmp_path / "builder.toml").write_text('recipes = "pipeline/recipes"')
    (tmp_path / "pipeline" / "recipes").mkdir(parents=True)
    assert find_project(tmp_path / "pipeline") == tmp_path.resolve()


def test_no_project_is_an_error_that_says_how_to_make_one() -> None:
    with pytest.raises(BuilderError) as caught:
        find_project(Path("/"))
    assert caught.value.code == "config"
    assert "builder init" in str(caught.value.hint)


def test_lines_are_found_whatever_way_the_key_is_written() -> None:
    text = 'lanes.db = 1\n[sets]\n"daily" = []\n[ cluster ]\nworkers=2\n'
    assert line_of(text, ("lanes", "db")) == 1
    assert line_of(text, ("sets", "daily")) == 3
    assert line_of(text, ("cluster", "workers")) == 5
    assert line_of(text, ("sets", "weekly")) == 2
    assert line_of(text, ("name",)) is None


def test_importing_the_settings_imports_no_toml() -> None:
    code = "import sys, builder.config; sys.exit('tomllib' in sys.modules or 'difflib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={**os.environ}, check=False).returncode == 0


def test_certificates_are_found_from_the_project_and_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    (tmp_path / "builder.toml").write_text(
        "[cluster]\nca = 'tls/ca.pem'\ncert = '/etc/cert.pem'\nkey = '~/key.pem'\nwait = 2.5\n"
    )
    config = read_config(tmp_path)
    assert config.ca == tmp_path.resolve() / "tls/ca.pem"
    assert (config.cert, config.key) == (Path("/etc/cert.pem"), Path("/home/somebody/key.pem"))
    assert config.wait_s == 2.5
