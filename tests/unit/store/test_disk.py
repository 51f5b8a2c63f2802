"""Files appear whole or not at all, and what a disk refuses becomes an error with a remedy."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from builder.errors import BuilderError
from builder.execute.attempt import disk_crash
from builder.store import disk


@pytest.mark.parametrize(
    ("number", "code", "exit_code"),
    [
        (errno.ENOSPC, "store-full", 1),
        (errno.EDQUOT, "store-full", 1),
        (errno.EROFS, "store-read-only", 1),
        (errno.EACCES, "store-read-only", 1),
        (errno.EPERM, "store-read-only", 1),
        (errno.ENOTDIR, "store-read-only", 1),
        (errno.EISDIR, "store-read-only", 1),
        (errno.EIO, "store-damaged", 1),
        (errno.EBADF, "internal", 3),
    ],
)
def test_each_refusal_has_its_code_and_remedy(tmp_path: Path, number: int, code: str, exit_code: int) -> None:
    with pytest.raises(BuilderError) as caught, disk.writing(tmp_path / "f"):
        raise OSError(number, os.strerror(number))
    found = caught.value
    assert (found.code, found.exit_code, found.place) == (code, exit_code, str(tmp_path / "f"))
    assert found.hint and isinstance(found.__cause__, OSError)


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder" / "f.json"
    disk.write_whole(path, b"one")
    disk.write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["f.json"]


def test_a_kill_between_any_two_operations_shows_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    stops = 0
    while True:
        left = stops

        def kill(operation: str, at: Path) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise disk_crash

        disk.on_write = kill
        try:
            disk.write_whole(path, b"new")
            break
        except disk_crash:
            stops += 1
            assert path.read_bytes() == b"old"
        finally:
            disk.on_write = None
    assert path.read_bytes() == b"new" and stops >= 2


def test_a_refused_write_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    with pytest.raises(BuilderError):
        disk.write_whole(tmp_path / "f", b"content")
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_names_beside_are_hidden_fresh_and_short_enough(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250)
    one, other = disk.beside(path), disk.beside(path)
    assert one != other and one.parent == path.parent
    assert one.name.startswith(".") and len(one.name.encode()) < 255


def test_removing_takes_files_folders_and_nothing(tmp_path: Path) -> None:
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "deep" / "f").write_text("x")
    (tmp_path / "file").write_text("x")
    for name in ("folder", "file", "nothing"):
        disk.remove(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_removing_a_link_leaves_what_it_points_at(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "f").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    disk.remove(tmp_path / "link")
    assert (tmp_path / "target" / "f").read_text() == "x" and not (tmp_path / "link").is_symlink()


def test_every_change_is_announced_before_it_happens(tmp_path: Path) -> None:
    told: list[tuple[str, bool]] = []
    disk.on_write = lambda operation, path: told.append((operation, path.exists()))
    disk.write_whole(tmp_path / "a" / "f", b"x")
    disk.remove(tmp_path / "a")
    disk.on_write = None
    assert [o for o, _ in told if o != "sync"] == ["mkdir", "write", "rename", "remove"]
    assert dict(told) | {"sync": True} == {
        "mkdir": False, "write": False, "sync": True, "rename": False, "remove": True,
    }  # fmt: skip


def test_a_folder_where_a_file_stands_is_told(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with pytest.raises(BuilderError) as caught:
        disk.make_folder(tmp_path / "f" / "below")
    assert caught.value.code == "store-read-only" and "a file stands" in (caught.value.hint or "")
