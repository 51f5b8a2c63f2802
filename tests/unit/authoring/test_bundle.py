"""Recipe files as one value."""

from __future__ import annotations

import io
import os
import zipfile

import pytest

from builder.authoring import bundle as bundles
from builder.authoring.bundle import Bundle, read_bundle
from builder.errors import StoreError


def write(folder, files) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content if isinstance(content, bytes) else content.encode())


def test_only_python_files_that_are_not_hidden_are_read_in_order(tmp_path) -> None:
    write(
        tmp_path,
        {"b.py": "b", "a.py": "a", "sub/c.py": "c", "x.yaml": "", ".h.py": "", ".g/d.py": "", "__pycache__/e.py": ""},
    )
    assert read_bundle(tmp_path).files == (("a.py", "a"), ("b.py", "b"), ("sub/c.py", "c"))


def test_a_missing_folder_is_an_empty_bundle(tmp_path) -> None:
    assert read_bundle(tmp_path / "none").files == ()


def test_files_are_text_in_the_encoding_they_declare(tmp_path) -> None:
    latin = "# -*- coding: latin-1 -*-\nx = 'é'\n"
    write(tmp_path, {"a.py": latin.encode("latin-1"), "b.py": b"\xef\xbb\xbfy = '\xc3\xa9'\r\n"})
    assert read_bundle(tmp_path).files == (("a.py", latin), ("b.py", "y = 'é'\n"))


@pytest.mark.parametrize("content", [b"x = '\xe9'\n", b"# coding: klingon\n"])
def test_a_file_in_another_encoding_is_refused_by_name(tmp_path, content) -> None:
    write(tmp_path, {"recipes/a.py": content})
    with pytest.raises(Exception) as caught:
        read_bundle(tmp_path / "recipes")
    assert (caught.value.code, caught.value.place) == ("recipe-syntax", "recipes/a.py")
    assert caught.value.hint


def test_a_file_that_leads_nowhere_is_refused_by_name(tmp_path) -> None:
    (tmp_path / "recipes").mkdir()
    os.symlink("gone.py", tmp_path / "recipes" / "a.py")
    with pytest.raises(Exception) as caught:
        read_bundle(tmp_path / "recipes")
    assert (caught.value.code, caught.value.place) == ("recipe-syntax", "recipes/a.py")


def test_the_digest_follows_names_and_text() -> None:
    files = [(("a.py", "x"),), (("a.py", "y"),), (("b.py", "x"),), (("a.py", "x"), ("b.py", "")), ()]
    assert len({Bundle(f).digest for f in files}) == len(files)
    assert Bundle(files[0]).digest == Bundle((("a.py", "x"),)).digest


def test_a_zip_gives_the_bundle_back_and_is_the_same_each_time() -> None:
    bundle = Bundle((("a.py", "x = 'é\udcff'"), ("sub/b.py", "y" * 5000)))
    assert Bundle.from_zip(bundle.to_zip()) == bundle
    assert bundle.to_zip() == Bundle(bundle.files).to_zip()
    assert len(bundle.to_zip()) < 1000


def zipped(*names: str, content: str = "x") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "name", ["../a.py", "/a.py", "a/../../b.py", "a\\b.py", "c:a.py", "a.txt", "a//b.py", "./a.py"]
)
def test_a_zip_with_a_hostile_name_is_refused(name) -> None:
    with pytest.raises(StoreError) as caught:
        Bundle.from_zip(zipped("ok.py", name))
    assert caught.value.code == "store-damaged"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_damaged_doubled_and_oversized_zips_are_refused(monkeypatch) -> None:
    good = Bundle((("a.py", "x = 1\n" * 100),)).to_zip()
    for content in (b"", b"PK", good[:-30], good[:40] + b"????" + good[44:], zipped("a.py", "a.py")):
        with pytest.raises(StoreError):
            Bundle.from_zip(content)
    monkeypatch.setattr(bundles, "MAX_BYTES", 1000)
    with pytest.raises(StoreError):
        Bundle.from_zip(zipped("a.py", "b.py", content="x" * 600))
