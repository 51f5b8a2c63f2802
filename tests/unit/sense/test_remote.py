"""Remote objects are listed as files are, read only when their version may have changed, and appear whole."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from blake3 import blake3

from builder.digests import Digest
from builder.errors import BuilderError
from builder.sense.remote import RemoteVersion, copy_path, fetch, list_remote, sense_remote


class Kept:
    """A cache in memory."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[str, Digest, int]] = {}

    def get(self, url: str) -> tuple[str, Digest, int] | None:
        return self.found.get(url)

    def put(self, url: str, token: str, digest: Digest, size: int) -> None:
        self.found[url] = (token, digest, size)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[tuple[fsspec.AbstractFileSystem, str]]:
    """The memory file system, and a URL of its own folder in it."""
    system, folder = fsspec.filesystem("memory"), f"/{tmp_path.name}"
    yield system, f"memory://{tmp_path.name}"
    if system.exists(folder):
        system.rm(folder, recursive=True)


def put(system: fsspec.AbstractFileSystem, url: str, content: bytes) -> None:
    system.pipe(url, content)


def always(url: str, digest: object) -> bool:
    return True


def version(found: dict[str, RemoteVersion | BuilderError], url: str) -> RemoteVersion:
    got = found[url]
    assert isinstance(got, RemoteVersion), got
    return got


def test_patterns_list_as_they_do_for_files(memory: tuple[fsspec.AbstractFileSystem, str]) -> None:
    system, base = memory
    for name in ("shops/WA.csv", "shops/CA.csv", "shops/.x.csv", "shops/a.txt", "shops/deep/x.csv"):
        put(system, f"{base}/{name}", name.encode())
    found = list_remote(f"{base}/shops/{{state}}.csv")
    assert [(f.url, f.name, f.captures, f.size) for f in found] == [
        (f"{base}/shops/CA.csv", "CA.csv", (("state", "CA"),), 12),
        (f"{base}/shops/WA.csv", "WA.csv", (("state", "WA"),), 12),
    ]
    assert all(f.token for f in found)
    assert [f.name for f in list_remote(f"{base}/shops/**/*.csv")] == ["CA.csv", "WA.csv", "deep/x.csv"]
    assert [f.name for f in list_remote(f"{base}/shops")] == ["CA.csv", "WA.csv", "a.txt", "deep/x.csv"]
    assert [(f.url, f.name) for f in list_remote(f"{base}/shops/a.txt")] == [(f"{base}/shops/a.txt", "a.txt")]
    assert list_remote(f"{base}/shops/gone.csv") == list_remote(f"{base}/gone/*.csv") == []


def test_an_object_is_fetched_whole_with_its_digest(
    memory: tuple[fsspec.AbstractFileSystem, str], tmp_path: Path
) -> None:
    system, base = memory
    content = bytes(range(256)) * 50_000
    put(system, f"{base}/a.bin", content)
    digest, size = fetch(f"{base}/a.bin", tmp_path / "copies" / "a")
    assert (digest, size) == (blake3(content).hexdigest(), len(content))
    assert (tmp_path / "copies" / "a").read_bytes() == content
    assert [p.name for p in (tmp_path / "copies").iterdir()] == ["a"]


def test_a_missing_object_is_an_error_that_leaves_the_old_copy(
    memory: tuple[fsspec.AbstractFileSystem, str], tmp_path: Path
) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(BuilderError) as caught:
        fetch(f"{memory[1]}/gone.csv", tmp_path / "a")
    assert (caught.value.code, caught.value.place) == ("source-missing", f"{memory[1]}/gone.csv")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_an_unknown_scheme_is_unreadable_with_a_remedy(tmp_path: Path) -> None:
    for act in (lambda: list_remote("nosuch://a/*.csv"), lambda: fetch("nosuch://a", tmp_path / "a")):
        with pytest.raises(BuilderError) as caught:
            act()
        assert caught.value.code == "source-unreadable"
        assert "install" in str(caught.value.hint)


def test_the_same_version_token_reads_nothing(memory: tuple[fsspec.AbstractFileSystem, str], tmp_path: Path) -> None:
    system, base = memory
    put(system, f"{base}/a.csv", b"one")
    put(system, f"{base}/b.csv", b"two")
    kept = Kept()
    first = sense_remote(list_remote(f"{base}/*.csv"), kept, always, tmp_path)
    again = sense_remote(list_remote(f"{base}/*.csv"), kept, always, tmp_path)
    put(system, f"{base}/b.csv", b"TWO")
    third = sense_remote(list_remote(f"{base}/*.csv"), kept, always, tmp_path)
    a, b = f"{base}/a.csv", f"{base}/b.csv"
    assert [version(first, u).was_read for u in (a, b)] == [True, True]
    assert [version(again, u).was_read for u in (a, b)] == [False, False]
    assert [version(third, u).was_read for u in (a, b)] == [False, True]
    assert version(again, a).digest == blake3(b"one").hexdigest()
    assert version(third, b).digest == blake3(b"TWO").hexdigest()
    assert copy_path(tmp_path, b, version(third, b).digest).read_bytes() == b"TWO"
    assert copy_path(tmp_path, b, version(first, b).digest).read_bytes() == b"two"


def test_content_that_is_no_longer_held_is_read_again(
    memory: tuple[fsspec.AbstractFileSystem, str], tmp_path: Path
) -> None:
    system, base = memory
    put(system, f"{base}/a.csv", b"one")
    kept = Kept()
    sense_remote(list_remote(f"{base}/a.csv"), kept, always, tmp_path)
    found = sense_remote(list_remote(f"{base}/a.csv"), kept, lambda url, digest: False, tmp_path)
    assert version(found, f"{base}/a.csv").was_read


def test_an_object_that_changed_after_its_listing_keeps_no_token(
    memory: tuple[fsspec.AbstractFileSystem, str], tmp_path: Path
) -> None:
    system, base = memory
    put(system, f"{base}/a.csv", b"old")
    listed = list_remote(f"{base}/a.csv")
    put(system, f"{base}/a.csv", b"new")
    kept = Kept()
    found = version(sense_remote(listed, kept, always, tmp_path), f"{base}/a.csv")
    assert (found.digest, found.token) == (blake3(b"new").hexdigest(), None)
    assert kept.found == {}


def test_an_object_that_moves_under_the_download_is_read_once_more_then_refused(
    memory: tuple[fsspec.AbstractFileSystem, str], tmp_path: Path
) -> None:
    system, base = memory
    url = f"{base}/a.csv"
    put(system, url, b"first")
    steps = iter([b"second"])

    def once(size: int) -> None:
        if content := next(steps, None):
            put(system, url, content)

    found = version(sense_remote(list_remote(url), Kept(), always, tmp_path, once), url)
    assert found.digest == blake3(b"second").hexdigest()

    refused = sense_remote(list_remote(url), Kept(), always, tmp_path, lambda size: put(system, url, b"x" * size))[url]
    assert isinstance(refused, BuilderError)
    assert refused.code == "source-moved"
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".tmp")]


def test_an_object_that_vanished_since_its_listing_is_left_out(
    memory: tuple[fsspec.AbstractFileSystem, str], tmp_path: Path
) -> None:
    system, base = memory
    put(system, f"{base}/a.csv", b"x")
    listed = list_remote(f"{base}/a.csv")
    system.rm(f"{base}/a.csv")
    assert sense_remote(listed, Kept(), always, tmp_path) == {}


def test_copies_are_named_by_content_with_the_ending_of_the_format() -> None:
    digest, folder = Digest("ab" * 32), Path("copies")
    assert copy_path(folder, "s3://b/x.csv.gz?sig=../..", digest).name == "ab" * 20 + ".csv.gz"
    assert copy_path(folder, "https://h/", digest).name == "ab" * 20
    assert copy_path(folder, "s3://b/.hidden", digest).name == "ab" * 20
    assert copy_path(folder, "zip://in/x.csv::https://h/a.zip", digest).name == "ab" * 20 + ".csv"
    assert copy_path(folder, "s3://b/x.csv%00\0..\\", digest).parent == folder


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `content`; with an ETag where `etag` is set."""

    content = b""
    etag: str | None = None
    downloads = 0

    def do_GET(self) -> None:
        kind = type(self)
        if "gone" in self.path or "denied" in self.path:
            self.send_error(404 if "gone" in self.path else 403)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(kind.content)))
        if kind.etag:
            self.send_header("ETag", kind.etag)
        self.end_headers()
        if self.command == "GET":
            kind.downloads += 1
            self.wfile.write(kind.content)

    do_HEAD = do_GET  # noqa: N815 — the name is http.server's

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[tuple[type[Server], str]]:
    """A web server on this machine, and its address."""
    pytest.importorskip("aiohttp")
    kind = type("Served", (Server,), {})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), kind) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield kind, f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


def test_a_web_server_with_etags_is_asked_and_not_read(server: tuple[type[Server], str], tmp_path: Path) -> None:
    kind, base = server
    kind.content, kind.etag = b"one", '"v1"'
    url, kept = f"{base}/data/a.csv?token=secret", Kept()
    listed = list_remote(url)
    assert [(f.url, f.name) for f in listed] == [(url, "a.csv")]
    assert version(sense_remote(listed, kept, always, tmp_path), url).digest == blake3(b"one").hexdigest()
    before = kind.downloads
    assert not version(sense_remote(list_remote(url), kept, always, tmp_path), url).was_read
    assert kind.downloads == before
    kind.content, kind.etag = b"two", '"v2"'
    assert version(sense_remote(list_remote(url), kept, always, tmp_path), url).digest == blake3(b"two").hexdigest()


def test_a_web_server_without_tokens_is_read_each_time(server: tuple[type[Server], str], tmp_path: Path) -> None:
    kind, base = server
    kind.content = b"one"
    url, kept = f"{base}/a.csv", Kept()
    sense_remote(list_remote(url), kept, always, tmp_path)
    kind.content = b"two"
    found = version(sense_remote(list_remote(url), kept, always, tmp_path), url)
    assert (found.was_read, found.digest) == (True, blake3(b"two").hexdigest())
    assert kept.found == {}


def test_web_errors_name_the_url_without_its_secrets(server: tuple[type[Server], str], tmp_path: Path) -> None:
    _, base = server
    assert list_remote(f"{base}/gone.csv?token=secret") == []
    for path, code in (("gone.csv", "source-missing"), ("denied.csv", "source-unreadable")):
        with pytest.raises(BuilderError) as caught:
            fetch(f"{base}/{path}?token=secret", tmp_path / "a")
        assert caught.value.code == code
        assert "secret" not in caught.value.render()
        assert path in caught.value.render()


def test_a_server_that_does_not_answer_is_not_taken_for_a_missing_object(server: tuple[type[Server], str]) -> None:
    port = int(server[1].rsplit(":", 1)[1])
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = server[1].replace(str(port), str(closed.getsockname()[1]))
        for url in (f"{server[1]}/denied.csv", f"{server[1]}/denied/*.csv", f"{dead}/a.csv"):
            with pytest.raises(BuilderError) as caught:
                list_remote(url)
            assert caught.value.code == "source-unreadable"
