"""Versions of libraries are found as Python would find them, without importing any."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from builder.errors import BuilderError
from builder.sense.environment import library_versions, major_minor


@pytest.mark.parametrize(
    ("version", "counted"),
    [
        ("2026.8.0", "2026.8"),
        ("1.0.11", "1.0"),
        ("0.13.0rc1", "0.13"),
        ("2.0b1", "2.0"),
        ("2026", "2026"),
        ("1!4.2.1", "1!4.2"),
        ("3.1.0+local.5", "3.1"),
        ("unknown", "unknown"),
    ],
)
def test_major_and_minor_count(version: str, counted: str) -> None:
    assert major_minor(version) == counted


def test_every_installed_distribution_has_the_version_that_the_standard_library_finds() -> None:
    expected: dict[str, str] = {}
    for found in importlib.metadata.distributions():
        expected.setdefault(found.metadata["Name"], major_minor(found.version))
    assert len(expected) > 20
    assert library_versions(expected) == expected


def test_python_is_the_interpreter() -> None:
    assert library_versions(["python"], path=[]) == {"python": ".".join(map(str, sys.version_info[:2]))}


def test_the_first_folder_on_the_path_wins(tmp_path: Path) -> None:
    for folder, version in (("one", "1.5.0"), ("two", "2.5.0")):
        (tmp_path / folder / f"demo-{version}.dist-info").mkdir(parents=True)
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    assert library_versions(["demo"], path=[one, two]) == {"demo": "1.5"}
    assert library_versions(["demo"], path=[str(tmp_path / "gone"), two, one]) == {"demo": "2.5"}


def test_the_newer_of_two_in_one_folder_wins(tmp_path: Path) -> None:
    for version in ("1.9.0", "1.10.0"):
        (tmp_path / f"demo-{version}.dist-info").mkdir()
    assert library_versions(["demo"], path=[str(tmp_path)]) == {"demo": "1.10"}


def test_names_are_compared_as_pip_does(tmp_path: Path) -> None:
    (tmp_path / "Foo_Bar.Baz-3.4.dist-info").mkdir()
    assert library_versions(["foo-bar-baz", "FOO.BAR_BAZ"], path=[str(tmp_path)]) == {
        "foo-bar-baz": "3.4",
        "FOO.BAR_BAZ": "3.4",
    }


def test_older_kinds_of_metadata_are_read(tmp_path: Path) -> None:
    (tmp_path / "old-1.2-py3.11.egg-info").write_text("Version: 1.2\n")
    (tmp_path / "linked.egg-info").mkdir()
    (tmp_path / "linked.egg-info" / "PKG-INFO").write_text("Name: linked\nVersion: 7.8.9\n")
    assert library_versions(["old", "linked"], path=[str(tmp_path)]) == {"old": "1.2", "linked": "7.8"}


def test_a_library_that_is_not_installed_is_an_error_with_the_nearest_names() -> None:
    with pytest.raises(BuilderError) as caught:
        library_versions(["python", "pandsa"])
    assert (caught.value.code, caught.value.exit_code) == ("config", 2)
    assert "'pandsa'" in caught.value.message
    assert "pandas" in str(caught.value.hint)


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from builder.sense.environment import library_versions; library_versions(['python', 'pandas']); "
        "sys.exit(any(m in sys.modules for m in ('pandas', 'importlib.metadata', 'email')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
