"""What a recipe returned becomes an output of the kind of its type, with canonical bytes, or is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.digests import digest_bytes
from builder.errors import BuilderError
from builder.execute.results import Results
from builder.graph.declare import Place, RecipeDecl
from builder.store.manifest import Manifest
from builder.store.parts import PartFolder


class Desk:
    """Writes results of one recipe into a store of the test's own."""

    def __init__(self, root: Path) -> None:
        self.store, self.workspace = root / "store", root / "workspace"
        self.workspace.mkdir()
        (root / "scratch").mkdir()
        self.root = root

    def results(self, **declared: Any) -> Results:
        decl = RecipeDecl("m", lambda: None, Place("recipes/m.py", 3), **declared)
        return Results(decl, "m[k=1]", PartFolder(self.store), self.root / "scratch", self.workspace)

    def write(self, value: Any, **declared: Any) -> Manifest:
        return self.results(**declared).write(value)

    def content(self, manifest: Manifest) -> bytes:
        (part,) = manifest.parts
        path = self.store / part.path
        assert path.stat().st_size == part.bytes and path.stat().st_mode & 0o777 == 0o444
        return path.read_bytes()

    def refused(self, value: Any, **declared: Any) -> str:
        with pytest.raises(BuilderError) as caught:
            self.write(value, **declared)
        assert (caught.value.code, caught.value.target) == ("result-type", "m[k=1]")
        assert caught.value.place == "recipes/m.py:3" and caught.value.hint
        return caught.value.message


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """An empty store and workspace."""
    return Desk(tmp_path)


@pytest.mark.parametrize("value", [{"b": [1, None, True], "a": "ü"}, [], {}, [1.5, "x"], {"n": np.int64(3)}])
def test_dicts_and_lists_are_json(desk: Desk, value: Any) -> None:
    made = desk.write(value)
    assert made.kind == "json"
    assert json.loads(desk.content(made)) == value
    assert made.parts[0].digest == digest_bytes(desk.content(made))


def test_the_order_of_a_dicts_keys_does_not_count(desk: Desk) -> None:
    assert desk.write({"a": 1, "b": 2}).digest == desk.write({"b": 2, "a": 1}).digest
    assert desk.write([1, 2]).digest != desk.write([2, 1]).digest


@pytest.mark.parametrize(
    "value", [{"x": float("nan")}, [float("inf")], [{1, 2}], {"x": object()}, [b"bytes"], ["\udc80"]]
)
def test_what_json_cannot_hold_is_refused(desk: Desk, value: Any) -> None:
    assert "JSON cannot hold" in desk.refused(value)
    assert not list((desk.store / "parts").rglob("*.json"))


def test_bytes_are_kept_as_they_are(desk: Desk) -> None:
    for value in (b"", b"\0\xff", bytearray(b"x")):
        made = desk.write(value)
        assert (made.kind, desk.content(made)) == ("bytes", bytes(value))


def test_the_kind_counts_in_the_digest(desk: Desk) -> None:
    assert desk.write(b"[]\n").digest != desk.write([]).digest


def test_a_figure_is_png_and_equal_figures_have_equal_bytes(desk: Desk) -> None:
    from matplotlib.figure import Figure

    def drawn() -> Figure:
        figure = Figure(figsize=(1, 1))
        figure.subplots().plot([1, 2])
        return figure

    one, other = desk.write(drawn()), desk.write(drawn())
    assert one.kind == "figure" and one.digest == other.digest
    assert desk.content(one).startswith(b"\x89PNG")


FRAME = pd.DataFrame({"id": ["a", "b"], "n": [1, 2]})


ARROW = pa.table(FRAME, pa.schema([pa.field("id", pa.string()), pa.field("n", pa.int64(), nullable=False)]))


@pytest.mark.parametrize("value", [FRAME, ARROW, FRAME.set_index("id")])
def test_frames_of_any_kind_are_the_same_table(desk: Desk, value: Any) -> None:
    made = desk.write(value, key=("id",))
    assert (made.kind, made.rows) == ("table", 2)
    assert made.schema is not None and (made.schema.names, made.schema.key) == (("id", "n"), ("id",))
    assert made.digest == desk.write(FRAME, key=("id",)).digest


def test_a_dask_frame_is_written_partition_by_partition(desk: Desk) -> None:
    import dask.dataframe as dd

    parts = dd.from_pandas(FRAME, npartitions=2)
    assert desk.write(parts, key=("id",)).digest == desk.write(FRAME, key=("id",)).digest


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "nothing"),
        (7, "int"),
        ("text", "str"),
        (FRAME["n"], "Series"),
        (np.array([1]), "ndarray"),
        ((1,), "tuple"),
    ],
)
def test_other_values_are_refused_by_their_type(desk: Desk, value: Any, words: str) -> None:
    assert words in desk.refused(value)


@pytest.mark.parametrize("declared", [{"key": ("id",)}, {"columns": (("id", "string"),)}])
def test_a_recipe_that_declares_a_table_must_return_one(desk: Desk, declared: dict[str, Any]) -> None:
    assert "key= or columns=" in desk.refused({"a": 1}, **declared)


# -- files in the workspace --------------------------------------------------------------------------------------------


def test_a_file_of_the_workspace_moves_into_the_store(desk: Desk) -> None:
    (desk.workspace / "a.tar.gz").write_bytes(b"x")
    made = desk.write(desk.workspace / "a.tar.gz")
    assert (made.kind, made.parts[0].name, desk.content(made)) == ("file", "a.tar.gz", b"x")
    assert made.parts[0].path.endswith(".gz") and not (desk.workspace / "a.tar.gz").exists()


def test_a_relative_path_is_one_of_the_workspace(desk: Desk) -> None:
    (desk.workspace / "a").write_bytes(b"x")
    assert desk.content(desk.write(Path("a"))) == b"x"


def folder(desk: Desk, name: str, files: dict[str, str]) -> Path:
    for path, content in files.items():
        target = desk.workspace / name / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    return desk.workspace / name


def test_a_folder_is_files_with_their_relative_names(desk: Desk) -> None:
    made = desk.write(folder(desk, "d", {"b.txt": "1", "sub/a.txt": "2"}))
    assert made.kind == "files"
    assert {p.name: (desk.store / p.path).read_text() for p in made.parts} == {"b.txt": "1", "sub/a.txt": "2"}


def test_names_inside_a_folder_count_and_the_folders_own_does_not(desk: Desk) -> None:
    one = desk.write(folder(desk, "d1", {"x": "1", "y": "2"})).digest
    assert desk.write(folder(desk, "d2", {"y": "2", "x": "1"})).digest == one
    assert desk.write(folder(desk, "d3", {"x": "2", "y": "1"})).digest != one
    assert desk.write(folder(desk, "d4", {"x": "1", "z": "2"})).digest != one


def test_the_workspace_itself_may_be_the_result(desk: Desk) -> None:
    folder(desk, ".", {"x": "1"})
    assert [p.name for p in desk.write(desk.workspace).parts] == ["x"]


def test_paths_outside_of_the_workspace_are_refused(desk: Desk) -> None:
    (desk.root / "outside").write_text("x")
    (desk.workspace / "link").symlink_to(desk.root / "outside")
    for path in (desk.root / "outside", Path("../outside"), desk.workspace / "missing", desk.workspace / "link"):
        assert "not in b.workspace()" in desk.refused(path)
    assert (desk.root / "outside").exists()


def test_links_in_a_folder_are_refused(desk: Desk) -> None:
    (desk.root / "outside").write_text("secret")
    (folder(desk, "d", {"x": "1"}) / "link").symlink_to(desk.root / "outside")
    assert "link" in desk.refused(desk.workspace / "d")


# -- several outputs ---------------------------------------------------------------------------------------------------


def test_a_single_output_has_no_name(desk: Desk) -> None:
    assert desk.results().split({"good": 1}) == {"": {"good": 1}}


def test_several_outputs_are_split_in_the_declared_order(desk: Desk) -> None:
    made = desk.results(outputs=("good", "bad")).split({"bad": 2, "good": 1})
    assert list(made.items()) == [("good", 1), ("bad", 2)]


@pytest.mark.parametrize("value", [{"good": 1}, {"good": 1, "bad": 2, "more": 3}, [1, 2], None, FRAME])
def test_other_than_the_declared_outputs_is_refused(desk: Desk, value: Any) -> None:
    with pytest.raises(BuilderError) as caught:
        desk.results(outputs=("good", "bad")).split(value)
    assert caught.value.code == "result-type" and "good, bad" in (caught.value.hint or "")


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.lists(JSON, max_size=3))
def test_json_values_come_back_as_they_were(value: list[Any]) -> None:
    make: Callable[..., Any] = Results._json
    decl = RecipeDecl("m", lambda: None, Place("r.py", 1))
    assert json.loads(make(Results(decl, "m", None, None, None), value)) == value  # type: ignore[arg-type]


# -- small outputs -----------------------------------------------------------------------------------------------------


class SmallDesk(Desk):
    """A desk whose small outputs need no file."""

    def results(self, **declared: Any) -> Results:
        made = super().results(**declared)
        made.folder = PartFolder(self.store, 100)
        return made


@pytest.fixture
def small(tmp_path: Path) -> SmallDesk:
    root = tmp_path / "small"
    root.mkdir()
    return SmallDesk(root)


@pytest.mark.parametrize("value", [b"", b"x" * 100, {"a": [1, "ä"]}, []])
def test_a_small_value_has_the_digest_it_has_in_a_file(desk: Desk, small: SmallDesk, value: Any) -> None:
    here, there = small.write(value), desk.write(value)
    assert (here.kind, here.digest, here.bytes) == (there.kind, there.digest, there.bytes)
    assert here.files == () and not (small.store / "parts").exists()
    assert here.parts[0].content == desk.content(there) and here.parts[0].digest == there.parts[0].digest


def test_a_value_over_the_bound_gets_a_file(small: SmallDesk) -> None:
    made = small.write(b"x" * 101)
    assert made.files == made.parts and small.content(made) == b"x" * 101


def test_a_small_file_and_a_small_folder_have_the_digests_they_have_in_files(desk: Desk, small: SmallDesk) -> None:
    for one in (desk, small):
        (one.workspace / "folder/sub").mkdir(parents=True)
        for name, content in {"a.txt": "one", "folder/b.txt": "two", "folder/sub/c": ""}.items():
            (one.workspace / name).write_text(content)
    for path in ("a.txt", "folder"):
        here, there = (one.write(one.workspace / path) for one in (small, desk))
        assert (here.kind, here.digest, here.bytes) == (there.kind, there.digest, there.bytes)
        assert [(p.name, p.digest) for p in here.parts] == [(p.name, p.digest) for p in there.parts]
        assert here.files == ()


def test_the_files_of_a_folder_are_small_together_or_not_at_all(small: SmallDesk) -> None:
    for number in range(3):
        (small.workspace / f"{number}").write_bytes(b"x" * 40)
    made = small.write(small.workspace)
    assert made.files == made.parts and len(made.files) == 3
