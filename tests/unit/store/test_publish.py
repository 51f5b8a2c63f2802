"""What stands in ``out/``: where, whole, apart from the store, and in step with the present versions."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from concurrent.futures import wait
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from builder.digests import digest_of
from builder.errors import BuilderError
from builder.names import Params
from builder.store.commits import Commit
from builder.store.lock import locked
from builder.store.manifest import Layer, Manifest
from builder.store.parts import PartFolder
from builder.store.publish import Publisher, file_token, published_path, published_targets
from builder.tables import merge
from builder.tables.schema import Column, Schema
from builder.tables.write import write_table

Make = Callable[..., Any]
TEXT = "s -> a; a -> b c; s -> m[k=1] m[k=2]"


@pytest.mark.parametrize(
    ("publish", "says", "expected"),
    [
        ("leaves", {}, {"b", "c", "m[k=1]", "m[k=2]"}),
        ("all", {}, {"a", "b", "c", "m[k=1]", "m[k=2]"}),
        (("a",), {}, {"a"}),
        ((), {}, set()),
        ("leaves", {"a": True, "m": False}, {"a", "b", "c"}),
        ((), {"m": True}, {"m[k=1]", "m[k=2]"}),
        ("all", {"m": False, "b": False}, {"a", "c"}),
    ],
)
def test_the_project_says_what_is_published_unless_the_recipe_does(
    graph: Make, publish: Any, says: dict[str, bool], expected: set[str]
) -> None:
    made = graph(TEXT, "s", recipes={n: {"publish": v} for n, v in says.items()})
    chosen = publish if isinstance(publish, tuple) else ()
    assert published_targets(made, publish, chosen) == expected


@pytest.mark.parametrize(
    ("base", "params", "kind", "path"),
    [
        ("a", (), "table", "a.parquet"),
        ("a", (), "json", "a.json"),
        ("a", (), "figure", "a.png"),
        ("a", (), "bytes", "a.bin"),
        ("a", (), "files", "a"),
        ("a.good", (), "table", "a.good.parquet"),
        ("a", (("state", "CA"), ("year", 24)), "table", "a/state=CA/year=24/part-0.parquet"),
        ("a", (("d", date(2026, 1, 2)), ("on", True)), "json", "a/d=2026-01-02/on=true/part-0.json"),
        ("a", (("p", "../x/y"),), "table", "a/p=..%2Fx%2Fy/part-0.parquet"),
        ("a", (("p", ".."),), "files", "a/p=../part-0"),
    ],
)
def test_where_a_target_lies(base: str, params: Params, kind: Any, path: str) -> None:
    found = published_path("full name", base, params, Manifest(kind, digest_of("x"), ()))
    assert found == path
    assert all(segment not in ("", ".", "..") for segment in found.split("/"))


def test_a_single_file_keeps_its_ending(manifest_of: Make) -> None:
    made = manifest_of("x", "parts/1")
    part = replace(made.parts[0], name="report.tar.gz")
    assert published_path("a", "a", (), Manifest("file", made.digest, (Layer((part,)),))) == "a.gz"


class Window:
    """A store, its ``out/``, and a publisher of every target of a graph."""

    def __init__(self, shop: Any, out: Path, graph: Any) -> None:
        self.shop, self.out, self.graph = shop, out, graph

    def publisher(self) -> Publisher:
        names = frozenset(self.graph.targets)
        return Publisher(self.shop.store, self.out, self.graph, names, self.shop.recall, self.shop.committer)

    def publish(self, *names: str) -> Publisher:
        made = self.publisher()
        made.publish(*names)
        return made

    def put(self, name: str, manifest: Manifest) -> None:
        """Make this the present version of a target."""
        fields = [("source", "s", manifest.digest)]
        key = digest_of("k", name, manifest.digest)
        self.shop.committer.built(self.shop.begin(), 0.0, Commit(name, key, fields, {name: manifest}))

    def files(self) -> dict[str, bytes]:
        found = (p for p in self.out.rglob("*") if p.is_file())
        return {p.relative_to(self.out).as_posix(): p.read_bytes() for p in found}


@pytest.fixture
def window(shop: Any, tmp_path: Path, graph: Make) -> Window:
    """Nothing published yet."""
    return Window(shop, tmp_path / "out", graph(TEXT, "s"))


def test_a_target_is_published_once_per_version(window: Window) -> None:
    window.put("a", window.shop.manifest("one"))
    assert window.publish("a").done == ["a"]
    assert window.files() == {"a.bin": b"one"}
    assert window.publish("a").done == []
    window.put("a", window.shop.manifest("two"))
    assert window.publish("a").done == ["a"] and window.files() == {"a.bin": b"two"}


def test_what_is_not_published_or_not_built_is_left_out(window: Window) -> None:
    window.put("z", window.shop.manifest("not of this graph"))
    made = window.publish("z", "a")
    assert (made.done, made.problems, window.files()) == ([], {}, {})


@pytest.mark.parametrize("harm", ["removed", "changed"])
def test_a_file_that_was_removed_or_changed_is_mended(window: Window, harm: str) -> None:
    window.put("a", window.shop.manifest("one"))
    window.publish("a")
    if harm == "removed":
        (window.out / "a.bin").unlink()
    else:
        (window.out / "a.bin").write_bytes(b"mine")
    assert window.publisher().is_due("a", window.shop.ledger.current("a").digest)
    window.publish("a")
    assert window.files() == {"a.bin": b"one"}


def test_writing_into_a_published_file_leaves_the_store_as_it_was(window: Window) -> None:
    made = window.shop.manifest("one")
    window.put("a", made)
    window.publish("a")
    with open(window.out / "a.bin", "r+b") as file:
        file.write(b"XXX")
    assert (window.shop.store / made.parts[0].path).read_bytes() == b"one"
    assert not os.path.samefile(window.out / "a.bin", window.shop.store / made.parts[0].path)


def folder_of(shop: Any, files: dict[str, str]) -> Manifest:
    parts = tuple(shop.manifest(content, name).parts[0] for name, content in files.items())
    return Manifest("files", digest_of("folder", *files, *files.values()), (Layer(parts),))


def test_a_folder_is_replaced_as_a_whole(window: Window) -> None:
    window.put("a", folder_of(window.shop, {"x.txt": "1", "sub/y.txt": "2"}))
    window.publish("a")
    assert window.files() == {"a/x.txt": b"1", "a/sub/y.txt": b"2"}
    window.put("a", folder_of(window.shop, {"z.txt": "3"}))
    made = window.publish("a")
    made.sweep()
    assert window.files() == {"a/z.txt": b"3"}


def test_a_change_inside_a_published_folder_is_seen(window: Window) -> None:
    window.put("a", folder_of(window.shop, {"sub/y.txt": "2"}))
    window.publish("a")
    (window.out / "a" / "sub" / "y.txt").write_text("3")
    assert window.publish("a").done == ["a"]
    assert window.files()["a/sub/y.txt"] == b"2"


def test_another_kind_of_output_leaves_no_old_file(window: Window) -> None:
    window.put("a", window.shop.manifest("one"))
    window.publish("a")
    window.put("a", folder_of(window.shop, {"x.txt": "1"}))
    made = window.publish("a")
    made.sweep()
    assert window.files() == {"a/x.txt": b"1"}


def test_withdrawn_members_take_their_empty_folders_along(window: Window) -> None:
    for name in ("m[k=1]", "m[k=2]"):
        window.put(name, window.shop.manifest(name))
    made = window.publish("m[k=1]", "m[k=2]")
    assert set(window.files()) == {"m/k=1/part-0.bin", "m/k=2/part-0.bin"}
    assert made.withdraw(["m[k=1]", "m[k=1]", "never"]) == ["m[k=1]"]
    assert set(window.files()) == {"m/k=2/part-0.bin"} and not (window.out / "m" / "k=1").exists()
    made.withdraw(["m[k=2]"])
    made.sweep()
    assert window.out.exists() and list(window.out.iterdir()) == []
    assert window.shop.ledger.published() == {}


def test_a_builder_whose_lock_was_taken_removes_nothing(window: Window) -> None:
    window.put("a", window.shop.manifest("one"))
    made = window.publish("a")
    with locked(window.shop.store):
        (window.shop.store / "lock").unlink()  # another builder has put its own there
        with pytest.raises(BuilderError) as caught:
            made.withdraw(["a"])
        assert caught.value.code == "locked" and window.files() == {"a.bin": b"one"}


def test_a_lost_part_is_a_problem_of_its_target_alone(window: Window) -> None:
    lost = window.shop.manifest("lost")
    window.put("a", lost)
    window.put("b", window.shop.manifest("kept"))
    (window.shop.store / lost.parts[0].path).unlink()
    made = window.publish("a", "b")
    assert set(made.problems) == {"a"} and made.done == ["b"]
    assert (made.problems["a"].code, made.problems["a"].target) == ("store-damaged", "a")
    assert window.files() == {"b.bin": b"kept"}


def test_what_cannot_be_written_is_a_problem_and_the_old_file_stays(window: Window) -> None:
    window.put("a", window.shop.manifest("one"))
    window.out.write_text("a file where the folder belongs")
    made = window.publish("a")
    assert made.problems["a"].code == "store-read-only" and made.done == []
    assert window.out.read_text().startswith("a file")


SCHEMA = Schema((Column("k", "string"), Column("v", "int64")))


def table(shop: Any, parts: int = 1) -> Manifest:
    made = [
        write_table(
            pa.table({"k": pa.array(["1", "1"]), "v": pa.array([i, i + 10], pa.int64())}), SCHEMA,
            PartFolder(shop.store), scratch=shop.store / "scratch",
        ) for i in range(parts)
    ]  # fmt: skip
    return replace(made[0], layers=(Layer(tuple(p for m in made for p in m.parts)),), rows=2 * parts)


@pytest.mark.parametrize("value", ["CA", "../x", 'a"b', "%", "50%", "a=b", "é ü", "a%22b", "x" * 150])
def test_readers_of_hive_folders_get_each_value_back(window: Window, tmp_path: Path, value: str) -> None:
    path = tmp_path / "hive" / published_path("f", "f", (("p", value),), table(window.shop))
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"v": [1]}), path)
    assert pq.read_table(tmp_path / "hive" / "f")["p"].to_pylist() == [value]


@pytest.mark.parametrize("parts", [1, 3])
def test_a_table_of_any_number_of_parts_is_one_plain_file(window: Window, parts: int) -> None:
    window.put("a", table(window.shop, parts))
    window.publish("a")
    found = pq.read_table(window.out / "a.parquet")
    assert found.column_names == ["k", "v"]
    assert found["v"].to_pylist() == [v for i in range(parts) for v in (i, i + 10)]


def test_a_members_file_lacks_the_column_that_its_folder_names(window: Window) -> None:
    window.put("m[k=1]", table(window.shop))
    window.publish("m[k=1]")
    assert pq.ParquetFile(window.out / "m/k=1/part-0.parquet").schema_arrow.names == ["v"]
    whole = pq.read_table(window.out / "m")
    assert set(whole.column_names) == {"k", "v"} and whole.num_rows == 2


def test_the_token_of_what_is_gone_is_empty(tmp_path: Path) -> None:
    assert file_token(tmp_path / "none") == ""
    (tmp_path / "d").mkdir()
    assert file_token(tmp_path / "d") != ""


def test_a_large_table_is_written_aside_and_stands_when_it_is_whole(
    window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builder.store.publish.ASIDE_BYTES", 0)
    begun, go = threading.Event(), threading.Event()
    real = merge.write_plain

    def slowly(*args: Any, **rest: Any) -> None:
        begun.set()
        assert go.wait(20)
        real(*args, **rest)

    window.put("a", window.shop.manifest("of another kind"))
    window.publish("a")
    monkeypatch.setattr(merge, "write_plain", slowly)
    window.put("a", table(window.shop))
    window.put("b", window.shop.manifest("small"))
    made = window.publish("a", "b")
    assert begun.wait(20)
    made.publish()
    assert made.done == ["b"]
    assert set(window.files()) == {"a.bin", "b.bin"}
    go.set()
    wait([one.future for one in made._writing])
    made.publish()
    assert made.done == ["b", "a"]
    assert pq.read_table(window.out / "a.parquet")["v"].to_pylist() == [0, 10]
    assert set(window.files()) == {"a.parquet", "b.bin"}
    assert window.publish("a").done == []
    made.close()


def test_a_large_table_that_cannot_be_written_is_a_problem_and_the_old_file_stays(
    window: Window, monkeypatch: pytest.MonkeyPatch
) -> None:
    window.put("a", table(window.shop))
    window.publish("a")
    before = window.files()
    monkeypatch.setattr("builder.store.publish.ASIDE_BYTES", 0)

    def full(*args: Any, **rest: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(merge, "write_plain", full)
    window.put("a", replace(table(window.shop, 2), digest=digest_of("another")))
    made = window.publish("a")
    made.settle()
    made.sweep()
    assert (made.problems["a"].code, made.done) == ("store-full", [])
    assert window.files() == before
