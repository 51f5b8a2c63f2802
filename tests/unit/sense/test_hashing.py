"""Files are read when their tokens leave a doubt, and refused when they change under the hash."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from blake3 import blake3

from builder.digests import Digest
from builder.errors import BuilderError
from builder.sense.hashing import FileVersion, Sensed, hash_file, hash_files, sense_files
from builder.sense.tokens import Token, token_of

LATER_NS = 3_000_000_000
# From the test vectors of BLAKE3's authors.
EMPTY = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
ABC = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"


class Kept:
    """A cache in memory."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[Token, Digest, int]] = {}

    def get(self, path: str) -> tuple[Token, Digest, int] | None:
        return self.found.get(path)

    def put(self, path: str, token: Token, digest: Digest, sensed_at_ns: int) -> None:
        self.found[path] = (token, digest, sensed_at_ns)


def changed_ns(*paths: Path) -> int:
    """The last change of the files, as the file system's own clock has it."""
    return max(max(p.stat().st_mtime_ns, p.stat().st_ctime_ns) for p in paths)


def version(sensed: dict[str, Sensed], path: Path) -> FileVersion:
    found = sensed[str(path)]
    assert isinstance(found, FileVersion), found
    return found


def refusal(sensed: dict[str, Sensed], path: Path) -> BuilderError:
    found = sensed[str(path)]
    assert isinstance(found, BuilderError), found
    return found


def test_digests_are_blake3(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "abc").write_bytes(b"abc")
    big = os.urandom(1 << 20) * 9 + b"tail"
    (tmp_path / "big").write_bytes(big)
    pieces: list[int] = []
    assert hash_file(tmp_path / "empty") == EMPTY
    assert hash_file(tmp_path / "abc") == ABC
    assert hash_file(tmp_path / "big", pieces.append) == blake3(big).hexdigest()
    assert sum(pieces) == len(big)


def test_many_files_are_hashed_with_progress_to_the_end(tmp_path: Path) -> None:
    files = {tmp_path / f"f{i}": bytes([i]) * (i * 100_000) for i in range(40)}
    for path, content in files.items():
        path.write_bytes(content)
    steps: list[tuple[int, int]] = []
    sensed = hash_files([str(p) for p in files], progress=lambda done, total: steps.append((done, total)))
    assert {p: version(sensed, p).digest for p in files} == {p: blake3(c).hexdigest() for p, c in files.items()}
    total = sum(map(len, files.values()))
    assert steps[-1] == (total, total)
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_what_cannot_be_read_is_an_error_of_its_own_file_only(tmp_path: Path) -> None:
    good, folder, pipe, circle = (tmp_path / n for n in ("good", "folder", "pipe", "circle"))
    good.write_bytes(b"abc")
    folder.mkdir()
    os.mkfifo(pipe)
    circle.symlink_to("circle")
    sensed = hash_files([str(p) for p in (good, folder, pipe, circle, tmp_path / "gone")], root=tmp_path)
    assert version(sensed, good).digest == ABC
    assert str(tmp_path / "gone") not in sensed
    for path in (folder, pipe, circle):
        refused = refusal(sensed, path)
        assert (refused.code, refused.place) == ("source-unreadable", path.name)
        assert f"'{path.name}'" in refused.message
        assert refused.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_unreadable(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"x")
    file.chmod(0)
    assert refusal(hash_files([str(file)]), file).code == "source-unreadable"


def test_an_unchanged_settled_file_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"abc")
    kept, now = Kept(), changed_ns(file) + LATER_NS
    first = version(sense_files([str(file)], kept, now), file)
    again = version(sense_files([str(file)], kept, now + 1), file)
    assert (first.was_read, again.was_read) == (True, False)
    assert first.digest == again.digest == ABC


def test_a_file_sensed_within_two_seconds_of_its_change_is_read_again_until_it_settles(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"abc")
    kept, changed = Kept(), changed_ns(file)
    reads = [
        version(sense_files([str(file)], kept, changed + after), file).was_read for after in (0, LATER_NS, LATER_NS)
    ]
    assert reads == [True, True, False]


def test_a_rewrite_of_the_same_size_within_one_clock_tick_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"abc")
    kept, now = Kept(), changed_ns(file)
    sense_files([str(file)], kept, now)
    file.write_bytes(b"abd")
    # The worst case: the file system gives the new content the very token of the old one.
    token = token_of(file)
    assert token is not None
    kept.put(str(file), token, kept.found[str(file)][1], now)
    assert version(sense_files([str(file)], kept, now), file).digest == blake3(b"abd").hexdigest()


def test_touching_a_file_reads_it_and_finds_the_same_content(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"abc")
    kept = Kept()
    sense_files([str(file)], kept, changed_ns(file) + LATER_NS)
    os.utime(file, ns=(1, 1))
    touched = version(sense_files([str(file)], kept, changed_ns(file) + LATER_NS), file)
    assert (touched.was_read, touched.digest) == (True, ABC)


def test_only_the_changed_file_of_many_is_read(tmp_path: Path) -> None:
    files = [tmp_path / f"f{i}" for i in range(20)]
    for i, file in enumerate(files):
        file.write_text(str(i))
    paths, kept = [str(f) for f in files], Kept()
    sense_files(paths, kept, changed_ns(*files) + LATER_NS)
    files[7].write_text("new")
    steps: list[tuple[int, int]] = []
    sensed = sense_files(paths, kept, changed_ns(*files) + LATER_NS, lambda *step: steps.append(step))
    assert [f for f in files if version(sensed, f).was_read] == [files[7]]
    assert steps == [(3, 3)]


def test_a_file_that_moves_once_under_the_hash_is_read_once_more(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"first")

    def write_once(done: int, total: int) -> None:
        if file.read_bytes() == b"first":
            file.write_bytes(b"second one")

    sensed = version(hash_files([str(file)], write_once), file)
    assert sensed.digest == blake3(b"second one").hexdigest()
    assert sensed.token == token_of(file)


def test_a_file_that_keeps_moving_is_refused_and_never_cached(tmp_path: Path) -> None:
    file, still = tmp_path / "a", tmp_path / "b"
    file.write_bytes(b"x")
    still.write_bytes(b"abc")
    kept = Kept()

    def append(done: int, total: int) -> None:
        with file.open("ab") as out:
            out.write(b"more")

    sensed = sense_files([str(file), str(still)], kept, changed_ns(file, still), append, tmp_path)
    refused = refusal(sensed, file)
    assert (refused.code, refused.place, refused.exit_code) == ("source-moved", "a", 1)
    assert version(sensed, still).digest == ABC
    assert list(kept.found) == [str(still)]


def test_a_file_truncated_under_the_hash_does_not_kill_the_process(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(bytes(16 << 20))

    def truncate(done: int, total: int) -> None:
        if file.stat().st_size > 10:
            os.truncate(file, 10)

    assert version(hash_files([str(file)], truncate), file).digest == blake3(bytes(10)).hexdigest()


def test_a_file_that_vanishes_under_the_hash_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"x")
    assert hash_files([str(file)], lambda done, total: file.unlink(missing_ok=True)) == {}


def test_a_link_that_is_pointed_elsewhere_is_a_change(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"1")
    (tmp_path / "two").write_bytes(b"2")
    link, kept = tmp_path / "link", Kept()
    link.symlink_to("one")
    now = changed_ns(tmp_path / "one", tmp_path / "two") + LATER_NS
    before = version(sense_files([str(link)], kept, now), link)
    link.unlink()
    link.symlink_to("two")
    after = version(sense_files([str(link)], kept, now), link)
    assert (before.digest, after.digest) == (blake3(b"1").hexdigest(), blake3(b"2").hexdigest())


def test_progress_is_never_called_by_two_threads_at_once(tmp_path: Path) -> None:
    for i in range(60):
        (tmp_path / f"f{i}").write_bytes(bytes(5000))
    inside = threading.Lock()
    overlaps: list[int] = []

    def progress(done: int, total: int) -> None:
        if not inside.acquire(blocking=False):
            overlaps.append(done)
            return
        inside.release()

    hash_files([str(p) for p in tmp_path.iterdir()], progress, threads=4)
    assert not overlaps
