"""Small outputs lie in the ledger and nobody can tell: out/, loads, restores, differences, repair are as with files."""

from __future__ import annotations

import base64
import errno
import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from builder.errors import BuilderError
from builder.execute.attempt import disk_crash
from builder.store import disk
from builder.store.lock import is_held

RECIPES = """
b.source("s", "data/s.csv", key="id")

@b.recipe(key="id", publish=True)
def rows(s: pd.DataFrame): return s[s.n > 1]

@b.recipe(publish=True)
def words(rows): return b"words of " + str(len(rows)).encode()

@b.recipe(publish=True)
def facts(rows, words): return {"rows": len(rows), "words": words.decode()}

@b.recipe(publish=True)
def page(facts):
    path = b.workspace() / "page.html"
    path.write_text(str(facts["rows"]))
    return path

@b.recipe(publish=True)
def pages(page):
    for name in ("a", "b/c"):
        path = b.workspace() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name + page.read_text() + page.name)
    return b.workspace()

@b.recipe(publish=True)
def names(pages: b.Files): return {n: p.read_text() for n, p in pages.items()}

@b.recipe(each=[{"k": 1}, {"k": 2}], key="id")
def part(rows: pd.DataFrame, k): return rows.assign(n=rows.n * k)

@b.recipe(inputs={"parts": "part[*]"}, publish=True)
def together(parts: pd.DataFrame): return parts

@b.recipe(publish=True)
def big(rows): return b"x" * 5000 + str(len(rows)).encode()
"""
DATA = "id,n\n1,1\n2,2\n3,3\n"


@pytest.fixture
def small(site: Any) -> Any:
    """A project of small outputs, and a large one, built."""
    site.recipe(RECIPES)
    site.write("data/s.csv", DATA)
    site.built()
    return site


def parts(site: Any) -> list[str]:
    """Files of parts."""
    return sorted(p.suffix for p in (site.root / ".builder/parts").rglob("*") if p.is_file())


def out(site: Any) -> dict[str, bytes]:
    return {
        p.relative_to(site.root / "out").as_posix(): p.read_bytes()
        for p in (site.root / "out").rglob("*")
        if p.is_file()
    }


def spoil(site: Any, name: str) -> str:
    """Change the last byte of a target's only part, in the ledger; the part's name."""
    db = sqlite3.connect(site.root / ".builder/ledger.sqlite", isolation_level=None)
    query = "SELECT id, body FROM manifests JOIN current ON current.manifest = manifests.id WHERE name = ?"
    number, body = db.execute(query, (name,)).fetchone()
    manifest = json.loads(body)
    (part,) = manifest["layers"][0]["upserts"]
    content = base64.b64decode(part[5])
    part[5] = base64.b64encode(content[:-1] + bytes([content[-1] ^ 1])).decode()
    db.execute("UPDATE manifests SET body = ? WHERE id = ?", (json.dumps(manifest), number))
    db.close()
    return str(part[0])


def loaded(site: Any) -> dict[str, Any]:
    """What each target loads as, in plain values."""
    return {
        "rows": site.load("rows").to_dict("list"),
        "words": site.load("words"),
        "facts": site.load("facts"),
        "page": site.load("page").read_text(),
        "pages": {n: p.read_text() for n, p in site.load("pages").items()},
        "names": site.load("names"),
        "together": site.load("together").to_dict("list"),
    }


EXPECTED = {
    "rows": {"id": [2, 3], "n": [2, 3]},
    "words": b"words of 2",
    "facts": {"rows": 2, "words": "words of 2"},
    "page": "2",
    "pages": {"a": "a2page.html", "b/c": "b/c2page.html"},
    "names": {"a": "a2page.html", "b/c": "b/c2page.html"},
    "together": {"k": [1, 1, 2, 2], "id": [2, 3, 2, 3], "n": [2, 3, 4, 6]},
}


def test_only_large_outputs_get_files(small: Any) -> None:
    assert parts(small) == [".bin"]
    assert loaded(small) == EXPECTED


def test_small_inputs_that_do_not_travel_arrive_the_same_and_leave_nothing(
    small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = small.digests()
    monkeypatch.setattr("builder.execute.contents.MOST_CARRIED_BYTES", 0)
    apart = []
    monkeypatch.setattr(
        disk, "on_write", lambda operation, path: apart.append(path.name) if operation == "write" else 0
    )
    shutil.rmtree(small.root / ".builder")
    small.built()
    assert apart.count("contents") == 10  # one for each step: all read what is small
    assert small.digests() == digests and loaded(small) == EXPECTED
    assert {p.name for p in (small.root / ".builder/scratch").rglob("*")} <= {"epoch"}


def test_digests_and_published_files_are_those_of_outputs_in_files(small: Any, request: Any) -> None:
    digests, published = small.digests(), out(small)
    request.getfixturevalue("in_files")
    for folder in (".builder", "out"):
        (small.root / folder).rename(small.root.parent / f"{folder}-small")
    small.built()
    assert len(parts(small)) > 10
    assert small.digests() == digests and out(small) == published and loaded(small) == EXPECTED
    assert pd.read_parquet(small.root / "out/rows.parquet")["n"].to_list() == [2, 3]


def test_outputs_in_files_and_small_ones_live_side_by_side(small: Any, request: Any) -> None:
    request.getfixturevalue("in_files")
    small.write("data/s.csv", DATA + "4,4\n")
    small.built()
    assert small.load("words") == b"words of 3" and len(parts(small)) > 5
    small.write("data/s.csv", DATA)
    assert set(small.outcomes().values()) == {"restored"}
    assert loaded(small) == EXPECTED
    assert small.project.fsck().is_sound


def test_workers_in_processes_of_their_own_get_small_inputs(small: Any) -> None:
    small.write("data/s.csv", DATA + "4,4\n")
    assert small.built(inline=False, workers=2)["totals"]["built"] == 10
    assert small.load("facts") == {"rows": 3, "words": "words of 3"}
    assert small.load("names") == {"a": "a3page.html", "b/c": "b/c3page.html"}
    assert parts(small) == [".bin", ".bin"]


def test_small_outputs_are_restored_compared_and_loaded_by_run(small: Any) -> None:
    first = small.project.history().to_json()["runs"][-1]["run"]
    before = out(small)
    small.write("data/s.csv", DATA + "4,4\n")
    small.built()
    assert small.project.diff("rows").to_json()["added"] == 1
    assert small.project.load("words", run=first) == b"words of 2" and small.load("words") == b"words of 3"
    small.write("data/s.csv", DATA)
    assert set(small.outcomes().values()) == {"restored"}
    assert out(small) == before and loaded(small) == EXPECTED


def test_verify_finds_small_outputs_equal(small: Any) -> None:
    assert small.project.verify(inline=True).is_equal


def test_a_verification_holds_its_folder_while_it_goes_on(small: Any) -> None:
    seen = []

    class Looking:
        def event(self, kind: str, name: str, **facts: Any) -> None:
            seen.extend(is_held(folder) for folder in (small.root / ".builder").glob("verify-*"))

    assert small.project.verify(inline=True, observer=Looking()).is_equal
    assert seen and all(seen) and list((small.root / ".builder").glob("verify-*")) == []


def test_gc_names_and_forgets_small_outputs_and_what_stays_loads(small: Any) -> None:
    small.write("data/s.csv", DATA + "4,4\n")
    small.built()
    removed = small.project.gc(keep=1).to_json()["removed"]
    assert sum(p.startswith("inline/") for p in removed) == 11
    assert small.project.gc(keep=1).to_json()["removed"] == []
    assert small.load("words") == b"words of 3" and small.built()["outcome"] == "nothing"
    with pytest.raises(BuilderError):
        small.project.load("words", run="r1")


@pytest.mark.parametrize("name", ["rows", "words", "facts", "page", "s"])
def test_a_spoiled_small_output_is_never_read_and_is_found_and_mended(small: Any, name: str) -> None:
    before = out(small)
    place = spoil(small, name)
    with pytest.raises(BuilderError) as caught:
        found = small.load(name)
        found.read_text()
    assert caught.value.code == "store-damaged" and "fsck --repair" in (caught.value.hint or "")
    (found,) = small.project.fsck().to_json()["problems"]
    assert (found["problem"], found["place"]) == ("part has other bytes", place)
    assert out(small) == before
    (mended,) = small.project.fsck(repair=True, inline=True).to_json()["problems"]
    assert mended["repaired"] and small.project.fsck().is_sound
    assert loaded(small) == EXPECTED and out(small) == before
    assert small.built()["outcome"] == "nothing"


def test_a_reader_of_a_spoiled_small_input_fails_and_the_others_go_on(small: Any) -> None:
    spoil(small, "rows")
    small.recipe(RECIPES.replace('b"words of "', 'b"more words of "'))
    outcomes = small.outcomes()
    assert outcomes["words"] == "failed"
    (error,) = {t["error"]["code"] for t in small.rebuild()["targets"] if t["error"]}
    assert error == "store-damaged"
    small.project.fsck(repair=True, inline=True)
    assert small.load("words") == b"more words of 2"


def test_a_published_small_output_that_somebody_changed_is_put_right(small: Any) -> None:
    before = out(small)
    (small.root / "out/words.bin").write_bytes(b"mine")
    (small.root / "out/facts.json").unlink()
    small.rebuild()
    assert out(small) == before


def test_a_kill_at_each_write_leaves_small_outputs_whole(small: Any) -> None:
    for number in range(1, 200):
        small.write("data/s.csv", DATA + f"{number + 10},{number + 10}\n")
        left = [number]

        def kill(operation: str, path: Path, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] <= 0:
                raise disk_crash

        disk.on_write = kill
        try:
            small.rebuild()
            break
        except disk_crash:
            pass
        finally:
            disk.on_write = None
        assert small.load("rows")["id"].to_list()[:2] == [2, 3]
        assert small.load("facts")["words"].startswith("words of")
        if number % 5 == 0:
            small.built()
            assert small.load("facts") == {"rows": 3, "words": "words of 3"}
            assert small.project.fsck().is_sound
    assert number > 20 and left[0] > 0, "the last write was reached"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_fails_at_any_write_leaves_small_outputs_whole(small: Any, code: int) -> None:
    for number in range(100):
        small.write("data/s.csv", DATA + f"{number + 10},{number + 10}\n")
        left = [number]

        def full(operation: str, path: Path, left: list[int] = left) -> None:
            left[0] -= operation not in ("remove", "committed")
            if left[0] < 0 and operation not in ("remove", "committed"):
                raise disk.store_error(OSError(code, os.strerror(code)), path)

        disk.on_write = full
        try:
            report = small.rebuild()
        except BuilderError as refused:
            assert refused.code in ("store-full", "store-read-only")
        finally:
            disk.on_write = None
        if left[0] >= 0:
            break
        assert small.load("facts")["words"].startswith("words of")
    assert number > 10 and report["outcome"] == "built", "the last write was reached"
    assert small.load("rows")["id"].to_list() == [2, 3, number + 10] and small.project.fsck().is_sound


def test_the_ledger_tells_what_each_attempt_read_and_wrote(small: Any) -> None:
    ledger = small.project.ledger()
    sizes = {n: (c.bytes, c.rows) for n, c in ledger.currents().items()}
    query = "SELECT step, recipe, bytes_in, rows_in, bytes_out, rows_out FROM attempts"
    found = {r[0]: r[1:] for r in ledger.rows(query)}
    assert found["s"] == ("s", len(DATA), 0, *sizes["s"])
    assert found["rows"] == ("rows", *sizes["s"], *sizes["rows"])
    assert found["part[k=2]"] == ("part", *sizes["rows"], *sizes["part[k=2]"])
    both = [sizes["part[k=1]"], sizes["part[k=2]"]]
    assert found["together"][1:3] == (sum(b for b, _ in both), 4)
    assert found["big"][3] == 5001
    samples = ledger.samples(["part", "s"])
    assert [(s.step, s.bytes_in, s.rows_in) for s in samples["part"]] == [
        ("part[k=2]", *sizes["rows"]),
        ("part[k=1]", *sizes["rows"]),
    ]
    assert all(s.wall_s > 0 for s in (*samples["part"], *samples["s"]))
    ledger.close()
