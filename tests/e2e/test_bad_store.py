"""A store that is damaged, full, read-only, taken or too new: nothing wrong is read, and the way out told works."""

import errno
import fcntl
import json
import os
import random
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from builder.errors import BuilderError
from builder.store import disk
from builder.store.manifest import Manifest


def part_of(root: Path, name: str) -> Path:
    """The first part of a target's present version."""
    query = "SELECT body FROM manifests JOIN current ON current.manifest = manifests.id WHERE name = ?"
    db = sqlite3.connect(root / ".builder/ledger.sqlite")
    (body,) = db.execute(query, (name,)).fetchone()
    db.close()
    return root / ".builder" / Manifest.from_json(json.loads(body)).parts[0].path


def overwrite(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)


pytestmark = pytest.mark.usefixtures("in_files")

# -- parts -------------------------------------------------------------------------------------------------------------


def _remove(path: Path) -> None:
    path.unlink()


def _truncate(path: Path) -> None:
    overwrite(path, path.read_bytes()[:50])


def _flip(path: Path) -> None:
    """Flip a bit of a table's first column, or of any other file's last byte."""
    if path.suffix == ".arrow":
        _flip_column(path, 0)
        return
    content = bytearray(path.read_bytes())
    content[-1] ^= 16
    overwrite(path, bytes(content))


def _flip_column(path: Path, number: int) -> None:
    """Flip a bit of the first byte of a column's values."""
    content = bytearray(path.read_bytes())
    values = pa.ipc.open_file(pa.py_buffer(bytes(content))).get_batch(0).column(number).buffers()[-1]
    content[content.index(values.to_pybytes())] ^= 16
    overwrite(path, bytes(content))


def _cut_end(path: Path) -> None:
    overwrite(path, path.read_bytes()[:-16])


def _flip_hash(path: Path) -> None:
    """Flip a bit of a row hash, which stands in a table's last column."""
    _flip_column(path, -1)


@pytest.mark.parametrize("name", ["t", "plain", "words"])
@pytest.mark.parametrize("damage", [_remove, _truncate, _flip, _cut_end, _flip_hash])
def test_fsck_finds_a_damaged_part_and_repair_mends_it(lay: Any, site: Any, damage: Any, name: str) -> None:
    more = """
@b.recipe
def plain(s: pd.DataFrame): return s[["n", "name"]]

@b.recipe
def words(s: pd.DataFrame): return b"words " * 100
"""
    halves = lay(more)
    before = site.load(name)
    if name == "words" and damage is _flip_hash:
        pytest.skip("bytes have no row hashes")
    assert halves.run("fsck", code=0)["problems"] == []
    part = part_of(site.root, name)
    damage(part)
    (found,) = halves.run("fsck", code=1)["problems"]
    assert found["place"] == part.relative_to(site.root / ".builder").as_posix() and not found["repaired"]
    halves.stands() if name != "t" else None
    (mended,) = halves.run("fsck", "--repair", "--inline", code=0)["problems"]
    assert mended["repaired"]
    assert halves.run("fsck", code=0)["problems"] == []
    now = site.load(name)
    assert now == before if name == "words" else now.equals(before)
    assert set(site.states().values()) == {"fresh"}


def test_fsck_tells_of_what_cannot_be_mended_until_its_source_is(halves: Any) -> None:
    good = (halves.root / "data" / "s.csv").read_text()
    halves.site.write("data/s.csv", good + good.splitlines()[-1] + "\n")
    part_of(halves.root, "t").unlink()
    halves.run("fsck", "--repair", "--inline", code=0)
    assert halves.run("fsck", code=0)["problems"] == []
    (halves.root / "out" / "t.parquet").unlink()
    (found,) = halves.run("fsck", "--repair", "--inline", code=1)["problems"]
    assert (found["problem"], found["place"], found["repaired"]) == ("published file missing", "out/t.parquet", False)
    halves.site.write("data/s.csv", good)
    halves.site.built()
    assert halves.run("fsck", code=0)["problems"] == []
    pd.testing.assert_frame_equal(halves.site.load("t"), halves.loaded["t"])


def test_no_flipped_bit_of_a_part_is_ever_read_as_another_value(halves: Any) -> None:
    part = part_of(halves.root, "t")
    sound = part.read_bytes()
    before = halves.site.load("t")
    rng = random.Random(7)
    for _ in range(60):
        content = bytearray(sound)
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        overwrite(part, bytes(content))
        try:
            pd.testing.assert_frame_equal(halves.site.load("t"), before)
        except BuilderError as refused:
            assert refused.code == "store-damaged", refused
            assert "fsck --repair" in (refused.hint or "")


def test_a_damaged_part_fails_its_reader_with_the_way_out(halves: Any) -> None:
    _truncate(part_of(halves.root, "s"))
    halves.site.recipe(halves.recipes.replace("    return s\n", "    return s[s.n > 10]\n"))
    error = halves.breaks("t")
    assert error["code"] == "store-damaged" and "fsck --repair" in error["hint"]
    halves.run("fsck", "--repair", "--inline", code=0)
    assert len(halves.site.load("t")) == 2


KINDS = """
@b.recipe
def listed(s: pd.DataFrame):
    return {"n": s["n"].tolist() * 1000}
@b.recipe
def packed(s: pd.DataFrame):
    return b"ab" * 5000 + str(s["n"].sum()).encode()
@b.recipe
def filed(s: pd.DataFrame):
    path = b.workspace() / "made.txt"
    path.write_text("word " * 2000)
    return path
@b.recipe(key="name", publish=True)
def sizes(listed, packed, filed):
    sums = [sum(listed["n"]), sum(packed), sum(filed.read_bytes())]
    return pd.DataFrame({"name": ["listed", "packed", "filed"], "size": sums, "more": MORE})
"""


@pytest.mark.parametrize("damage", [_remove, _cut_end, _flip])
@pytest.mark.parametrize("name", ["listed", "packed", "filed"])
def test_a_damaged_part_that_is_no_table_is_neither_read_nor_published(site: Any, name: str, damage: Any) -> None:
    site.write("data/s.csv", "id,n\n1,1\n2,2\n")
    source = 'b.source("s", "data/s.csv", key="id")\n'
    site.recipe(source + KINDS.replace("MORE", "0").replace("@b.recipe\n", "@b.recipe(publish=True)\n"))
    site.built()
    standing = {p: p.read_bytes() for p in site.project.config.out.iterdir() if p.stem == name}
    sizes = site.load("sizes")["size"].tolist()
    damage(part_of(site.root, name))
    site.recipe(source + KINDS.replace("MORE", "1").replace("@b.recipe\n", "@b.recipe(publish=True)\n"))
    (published,) = standing
    published.unlink()
    report = site.rebuild()
    failed = next(t for t in report["targets"] if t["name"] == "sizes")["error"]
    assert (failed["code"], failed["hint"]) == ("store-damaged", "builder fsck --repair")
    assert not published.exists()
    with pytest.raises(BuilderError, match="store"):
        site.load(name)
    assert not all(was_mended for *_, was_mended in site.project.fsck().problems)
    site.project.fsck(repair=True, inline=True)
    assert {p: p.read_bytes() for p in standing} == standing
    assert site.load("sizes")["size"].tolist() == sizes
    assert set(site.states().values()) == {"fresh"}


def test_an_old_part_that_is_damaged_does_not_fail_what_replaces_it(halves: Any) -> None:
    """It was to be counted alone how many rows differ from it."""
    _truncate(part_of(halves.root, "t"))
    halves.site.recipe(halves.recipes.replace("    return s\n", "    return s[s.n > 10]\n"))
    report = halves.site.built()
    done = next(t for t in report["targets"] if t["name"] == "t")
    assert (done["outcome"], done["rows_changed"]) == ("built", None)
    assert len(halves.site.load("t")) == 2


def test_a_part_that_is_gone_is_a_miss_when_its_output_is_wanted_back(halves: Any) -> None:
    halves.site.write("data/s.csv", "id,n,name\n9,9,Z\n")
    old = part_of(halves.root, "u")
    halves.site.built()
    old.unlink()
    halves.mended()
    pd.testing.assert_frame_equal(halves.site.load("u"), halves.loaded["u"])


# -- the ledger --------------------------------------------------------------------------------------------------------


def _cut_ledger(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:3000])


def _garbage_ledger(path: Path) -> None:
    path.write_bytes(b"garbage" * 1000)


def _garbage_pages(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:8192] + random.Random(1).randbytes(len(content) - 8192))


def _folder_for_ledger(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [_cut_ledger, _garbage_ledger, _garbage_pages, _folder_for_ledger])
def test_a_ledger_that_cannot_be_read_is_set_aside_by_repair(halves: Any, damage: Any) -> None:
    ledger = halves.root / ".builder/ledger.sqlite"
    damage(ledger)
    for command in (("status",), ("rebuild", "--inline"), ("show", "t"), ("gc",)):
        error = halves.run(*command, code=1)["error"]
        assert (error["code"], error["place"]) == ("store-damaged", str(ledger))
        assert "fsck --repair" in error["hint"]
    assert {p: c for p, (c, _) in halves.out().items()} == {p: c for p, (c, _) in halves.standing.items()}
    assert halves.run("fsck", code=1)["problems"][0]["place"] == "ledger.sqlite"
    assert halves.run("fsck", "--repair", "--inline", code=0)["problems"][0]["repaired"]
    assert halves.run("rebuild", "--inline", code=0)["outcome"] == "nothing"
    for name, before in halves.loaded.items():
        pd.testing.assert_frame_equal(halves.site.load(name), before)
    assert [p.name for p in (halves.root / ".builder").iterdir() if "damaged" in p.name]


def test_a_manifest_that_is_no_json_is_damage_not_a_crash(halves: Any) -> None:
    db = sqlite3.connect(halves.root / ".builder/ledger.sqlite")
    with db:
        db.execute("UPDATE manifests SET body = '{'")
    db.close()
    assert halves.run("show", "t", code=1)["error"]["code"] == "store-damaged"
    assert halves.run("fsck", code=1)["problems"]
    halves.run("fsck", "--repair", "--inline", code=0)
    assert halves.site.load("t").equals(halves.loaded["t"])


def test_a_repair_that_cannot_rebuild_says_so(halves: Any) -> None:
    _truncate(part_of(halves.root, "t"))
    (halves.root / "out/t.parquet").unlink()
    halves.site.recipe(halves.recipes.replace("    return s\n", "    raise ValueError('not today')\n"))
    problems = halves.run("fsck", "--repair", "--inline", code=1)["problems"]
    assert {p["problem"]: p["repaired"] for p in problems} == {
        "part has another size": True,
        "published file missing": False,
    }


def test_a_store_of_a_newer_builder_is_left_alone(halves: Any) -> None:
    ledger = halves.root / ".builder/ledger.sqlite"
    db = sqlite3.connect(ledger)
    with db:
        db.execute("UPDATE meta SET value = '99' WHERE name = 'version'")
    db.close()
    before = ledger.read_bytes()
    for command in (
        ("rebuild", "--inline"),
        ("status",),
        ("show", "t"),
        ("fsck", "--repair"),
        ("gc",),
        ("verify", "--inline"),
    ):
        error = halves.run(*command, code=2)["error"]
        assert error["code"] == "store-version" and "newer builder" in error["hint"]
    assert ledger.read_bytes() == before
    assert halves.out() == halves.standing


def test_caches_that_hold_garbage_cost_a_look_and_nothing_else(halves: Any) -> None:
    for name in ("sense.json", "graph.json"):
        (halves.root / ".builder" / name).write_bytes(b'{"garbage')
    assert halves.run("rebuild", "--inline", code=0)["outcome"] == "nothing"
    for bundle in (halves.root / ".builder/bundles").iterdir():
        overwrite(bundle, b"no zip")
    halves.site.write("data/s.csv", "id,n,name\n9,9,Z\n")
    assert halves.run("rebuild", "--inline", code=0)["outcome"] == "built"


@pytest.mark.parametrize("content", ["{", "[]", '{"columns": 3}'])
def test_a_pinned_schema_that_cannot_be_read_is_told(halves: Any, content: str) -> None:
    pin = (halves.root / "schemas/s.json").read_text()
    halves.site.write("schemas/s.json", content)
    error = halves.refuses()
    assert error["code"] == "config" and error["place"].startswith("schemas/s.json")
    halves.site.write("schemas/s.json", pin)
    assert halves.run("rebuild", "--inline", code=0)["outcome"] == "nothing"


# -- two builders ------------------------------------------------------------------------------------------------------


def test_a_second_builder_is_refused_while_reports_go_on(halves: Any) -> None:
    with open(halves.root / ".builder/lock", "r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        halves.site.write("data/s.csv", "id,n,name\n9,9,Z\n")
        for command in (("rebuild", "--inline"), ("accept", "s"), ("gc",), ("status", "--read")):
            error = halves.refuses(*command)
            assert error["code"] == "locked" and "builder status works" in error["hint"]
        status = halves.run("status", code=0)
        assert {t["name"]: t["state"] for t in status["targets"]}["t"] == "stale"
        assert halves.run("show", "t", code=0)["rows"] == 3
        assert halves.run("fsck", code=0)["problems"] == []
    assert halves.run("rebuild", "--inline", code=0)["outcome"] == "built"


# -- full and read-only disks ------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(site: Any) -> Iterator[Path]:
    """A file system of 3 MB where the store belongs."""
    store = site.root / ".builder"
    store.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "builder-test", str(store)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("mounting a small disk is not permitted here")
    yield store
    subprocess.run(["umount", "-l", str(store)], check=True)


def test_a_full_disk_fails_what_does_not_fit_and_the_rest_stands(small_disk: Path, lay: Any, site: Any) -> None:
    halves = lay()
    rng = random.Random(3)
    rows = "".join(f"{i},{i},{rng.randbytes(40).hex()}\n" for i in range(60_000))
    site.write("data/s.csv", "id,n,name\n" + rows)
    report = halves.run("rebuild", "--inline", code=1)
    found = report.get("error") or next(s["error"] for s in report["sources"] if s["error"])
    assert found["code"] == "store-full" and found["place"] and "builder gc" in found["hint"]
    halves.stands(but=("other",))
    halves.mended()
    assert halves.run("fsck", code=0)["problems"] == []


def test_a_recipe_that_fills_the_disk_is_told_so(small_disk: Path, lay: Any, site: Any) -> None:
    halves = lay()
    big = "    (b.workspace() / 'x').write_bytes(bytes(8 << 20)); return s\n"
    site.recipe(halves.recipes.replace("    return s\n", big))
    assert halves.breaks("t")["code"] == "store-full"


def test_a_read_only_store_can_be_looked_at_and_is_not_written(small_disk: Path, lay: Any, site: Any) -> None:
    halves = lay()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    site.write("data/s.csv", "id,n,name\n9,9,Z\n")
    error = halves.run("rebuild", "--inline", code=1)["error"]
    assert error["code"] == "store-read-only" and error["place"] and "write access" in error["hint"]
    assert halves.run("verify", "--inline", code=1)["error"]["code"] == "store-read-only"
    assert {t["name"]: t["state"] for t in halves.run("status", code=0)["targets"]}["t"] == "stale"
    assert halves.run("show", "t", code=0)["rows"] == 3
    halves.stands()
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert halves.run("rebuild", "--inline", code=0)["outcome"] == "built"


def test_a_file_where_the_store_belongs_is_told(site: Any) -> None:
    site.recipe("@b.recipe\ndef a(): return {}\n")
    site.write(".builder", "a file")
    done = site.command("rebuild", "--inline", "--json")
    error = json.loads(done.stdout)["error"]
    assert done.returncode == 1
    assert (error["code"], error["place"]) == ("store-read-only", str(site.root / ".builder"))
    assert "a file stands where a folder belongs" in error["hint"]


def test_a_file_where_out_belongs_fails_publishing_and_builds_all_the_same(halves: Any) -> None:
    for path in (halves.root / "out").iterdir():
        path.unlink()
    (halves.root / "out").rmdir()
    halves.site.write("out", "a file")
    halves.site.write("data/g.csv", "id,v\n1,6\n")
    report = halves.run("rebuild", "--inline", code=1)
    assert {t["name"]: t["outcome"] for t in report["targets"]}["other"] == "built"
    assert {e["target"] for e in report["unpublished"]} == {"t", "u", "other"}
    assert {e["code"] for e in report["unpublished"]} == {"store-read-only"}
    assert len(halves.site.load("other")) == 1
    status = halves.run("status", code=0)
    assert status["unpublished"] == 3
    (halves.root / "out").unlink()
    assert halves.run("rebuild", "--inline", code=0)["outcome"] == "nothing"
    assert set(halves.out()) == set(halves.standing)


def _fails_at(number: int, code: int) -> Callable[[str, Path], None]:
    """Raises the error of a disk at the n-th operation and at all after it, as a full disk does."""
    left = [number]

    def before(operation: str, path: Path) -> None:
        if operation in ("remove", "committed"):
            return  # a full disk lets go of files, and what is committed is
        left[0] -= 1
        if left[0] < 0:
            raise disk.store_error(OSError(code, os.strerror(code)), path)

    return before


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "store-full"), (errno.EROFS, "store-read-only")])
def test_a_disk_that_fails_at_any_write_leaves_a_store_that_goes_on(
    halves: Any, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    contents = ["id,n,name\n9,9,Z\n", "id,n,name\n1,10,Ann\n2,20,Bob\n3,30,Cid\n"]
    seen = set()
    for at in range(60):
        halves.site.write("data/s.csv", contents[at % 2] + f"{at + 100},1,x\n")
        monkeypatch.setattr(disk, "on_write", _fails_at(at, number))
        left, printed, said = halves.command("rebuild", "--inline", "--json")
        monkeypatch.setattr(disk, "on_write", None)
        assert "Traceback" not in said
        json.loads(printed)
        seen.add(left)
        if left == 0:
            break
        assert code in printed
        for name in ("t", "u"):
            assert len(halves.site.load(name)) in (2, 3, 4)
        report = halves.site.built()
        assert set(halves.site.states().values()) == {"fresh"}, (at, report)
        ids = sorted(pd.read_parquet(halves.root / "out/u.parquet")["id"])
        assert ids == sorted(halves.site.load("u")["id"]) and at + 100 in ids
    assert seen == {0, 1}, "the last write was reached"
    assert halves.run("fsck", code=0)["problems"] == []
    assert not list((halves.root / "out").rglob(".*")), "no half file is left in out/"
