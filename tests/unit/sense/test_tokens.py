"""Tokens tell states of a file apart, and say when they may be trusted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from builder.digests import EMPTY_FILE
from builder.errors import BuilderError
from builder.sense.tokens import SETTLE_NS, Token, has_stood, is_settled, token_of
from builder.sources import SourceFile

SECOND = 1_000_000_000


def test_a_token_is_what_stat_says(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"12345")
    found = file.stat()
    expected = (5, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev)
    assert token_of(file) == token_of(str(file)) == expected


def test_a_rewrite_with_restored_times_changes_the_token(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"one")
    before = token_of(file)
    assert before is not None
    other = tmp_path / "b"
    other.write_bytes(b"two")
    os.utime(other, ns=(before.mtime_ns, before.mtime_ns))
    other.replace(file)
    after = token_of(file)
    assert after is not None
    assert after.mtime_ns == before.mtime_ns
    assert after != before


def test_a_link_has_the_token_of_its_target(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "link").symlink_to("a")
    assert token_of(tmp_path / "link") == token_of(tmp_path / "a")


def test_what_is_not_there_has_no_token(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "nowhere").symlink_to("gone")
    for name in ("gone", "file/below", "nowhere", "x" * 300):
        assert token_of(tmp_path / name) is None


def test_links_in_a_circle_and_impossible_names_are_errors(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for name in ("a", "nul\0byte"):
        with pytest.raises(BuilderError) as caught:
            token_of(tmp_path / name)
        assert caught.value.code == "source-unreadable"


@pytest.mark.parametrize(
    ("mtime_s", "ctime_s", "is_trusted"),
    [(10, 10, True), (18, 18, True), (19, 10, False), (10, 19, False), (20, 20, False), (99, 10, False)],
)
def test_a_token_is_trusted_when_both_times_lie_two_seconds_back(mtime_s: int, ctime_s: int, is_trusted: bool) -> None:
    token = Token(1, mtime_s * SECOND, ctime_s * SECOND, 1, 1)
    assert SETTLE_NS == 2 * SECOND
    assert is_settled(token, 20 * SECOND) is is_trusted


def test_a_token_survives_the_wire(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"")
    token = token_of(file)
    sent = SourceFile("a", str(file), "a", 0, EMPTY_FILE, token)
    received = SourceFile.from_json(sent.to_json())
    assert received.token == token


def test_what_is_there_has_stood_since_it_settled(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.touch()
    settled_ns = file.stat().st_ctime_ns + SETTLE_NS
    assert has_stood(str(file), settled_ns) and not has_stood(str(file), settled_ns - 1)


def test_what_is_not_there_was_not_before_the_folder_above_settled(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.touch()
    file.unlink()
    settled_ns = tmp_path.stat().st_ctime_ns + SETTLE_NS
    for path in (file, tmp_path / "no/such/folder"):
        assert has_stood(str(path), settled_ns) and not has_stood(str(path), settled_ns - 1)
    assert has_stood("", 0)
