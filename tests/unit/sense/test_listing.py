"""A pattern lists exactly the files it names, in one order, whatever lies beside them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import BuilderError
from builder.sense.listing import _FILE, Match, companions, list_pattern, prefix_of
from builder.sense.patterns import join, parse_pattern


def tree(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")
    return root


def paths(root: Path, pattern: str) -> list[str]:
    return [m.path for m in list_pattern(root, pattern)]


def test_a_star_matches_within_one_segment_in_name_order(tmp_path: Path) -> None:
    tree(tmp_path, "d/b.csv", "d/a.csv", "d/a.txt", "d/sub/c.csv", "d/é.csv", "d/B.csv", "d/a-1.csv")
    assert paths(tmp_path, "d/*.csv") == ["d/B.csv", "d/a-1.csv", "d/a.csv", "d/b.csv", "d/é.csv"]
    assert paths(tmp_path, "d/a*.csv") == ["d/a-1.csv", "d/a.csv"]
    assert paths(tmp_path, "*/*/*") == ["d/sub/c.csv"]


def test_two_stars_match_any_folders_and_none(tmp_path: Path) -> None:
    tree(tmp_path, "d/x.csv", "d/a/x.csv", "d/a/b/x.csv", "d/a/b/y.csv", "x.csv")
    assert paths(tmp_path, "d/**/x.csv") == ["d/a/b/x.csv", "d/a/x.csv", "d/x.csv"]
    assert paths(tmp_path, "**/**/y.csv") == ["d/a/b/y.csv"]
    assert paths(tmp_path, "d/a/**") == ["d/a/b/x.csv", "d/a/b/y.csv", "d/a/x.csv"]


def test_captures_come_in_the_order_of_the_pattern(tmp_path: Path) -> None:
    tree(tmp_path, "shops/CA.csv", "shops/WA.csv", "shops/.csv", "shops/OR.txt")
    assert list_pattern(tmp_path, "shops/{state}.csv") == [
        Match("shops/CA.csv", (("state", "CA"),), "CA.csv"),
        Match("shops/WA.csv", (("state", "WA"),), "WA.csv"),
    ]
    tree(tmp_path, "y/2024/CA-west.csv")
    found = list_pattern(tmp_path, "y/{year}/{state}-{side}.csv")
    assert found == [Match("y/2024/CA-west.csv", (("year", "2024"), ("state", "CA"), ("side", "west")), "CA-west.csv")]


def test_a_capture_that_occurs_twice_agrees_with_itself(tmp_path: Path) -> None:
    tree(tmp_path, "d/WA/WA.csv", "d/WA/CA.csv", "d/x-y-z/x-y.csv", "d/aa.csv", "d/ab.csv")
    assert paths(tmp_path, "d/{s}/{s}.csv") == ["d/WA/WA.csv"]
    assert list_pattern(tmp_path, "d/{a}-{b}/{a}.csv")[0].captures == (("a", "x-y"), ("b", "z"))
    assert paths(tmp_path, "d/{c}{c}.csv") == ["d/aa.csv"]


def test_names_are_relative_to_what_is_fixed_for_one_member(tmp_path: Path) -> None:
    tree(tmp_path, "d/WA/a.csv", "d/WA/b.csv", "d/WA/deep/c.csv")
    assert [m.name for m in list_pattern(tmp_path, "d/{state}/*.csv")] == ["a.csv", "b.csv"]
    assert [m.name for m in list_pattern(tmp_path, "d/*/*.csv")] == ["WA/a.csv", "WA/b.csv"]
    assert [m.name for m in list_pattern(tmp_path, "d/WA/**")] == ["a.csv", "b.csv", "deep/c.csv"]
    assert [m.name for m in list_pattern(tmp_path, str(tmp_path / "d/WA/*.csv"))] == ["a.csv", "b.csv"]
    assert prefix_of("d/{state}/*.csv") == "d/{state}"
    assert prefix_of("a.csv") == ""
    assert prefix_of("/data/x/a.csv") == "/data/x"
    assert prefix_of("/*.csv") == "/"


def test_a_plain_path_gives_one_match_or_none(tmp_path: Path) -> None:
    tree(tmp_path, "d/a.csv", "d/.hidden")
    assert list_pattern(tmp_path, "d/a.csv") == [Match("d/a.csv", (), "a.csv")]
    assert list_pattern(tmp_path, "./d//a.csv") == [Match("d/a.csv", (), "a.csv")]
    assert list_pattern(tmp_path, "d/.hidden") == [Match("d/.hidden", (), ".hidden")]
    for missing in ("d/b.csv", "d/a.csv/below", "gone/*.csv", "x" * 300):
        assert list_pattern(tmp_path, missing) == []


def test_a_plain_folder_gives_all_files_below_it(tmp_path: Path) -> None:
    tree(tmp_path, "d/b", "d/sub/a", "d/.git/config", "d/.hidden", "e")
    for written in ("d", "d/"):
        assert list_pattern(tmp_path, written) == [Match("d/b", (), "b"), Match("d/sub/a", (), "sub/a")]


def test_hidden_names_match_only_a_pattern_that_says_the_dot(tmp_path: Path) -> None:
    tree(tmp_path, "d/.a.csv", "d/b.csv", "d/.cache/c.csv")
    assert paths(tmp_path, "d/*.csv") == ["d/b.csv"]
    assert paths(tmp_path, "d/{n}.csv") == ["d/b.csv"]
    assert paths(tmp_path, "d/.*.csv") == ["d/.a.csv"]
    assert paths(tmp_path, "**/*.csv") == ["d/b.csv"]
    assert paths(tmp_path, "d/.cache/*") == ["d/.cache/c.csv"]


def test_absolute_and_parent_paths_are_as_written(tmp_path: Path) -> None:
    tree(tmp_path, "outside/a.csv", "project/data/x")
    project = tmp_path / "project"
    assert paths(project, "../outside/*.csv") == ["../outside/a.csv"]
    assert paths(project, f"{tmp_path}/outside/*.csv") == [f"{tmp_path}/outside/a.csv"]
    assert paths(project, f"file://{tmp_path}/outside/*.csv") == [f"{tmp_path}/outside/a.csv"]


def test_names_with_meaning_elsewhere_are_plain_text(tmp_path: Path) -> None:
    tree(tmp_path, "d/a[1]?.csv", "d/a1x.csv", "d/line\nbreak.csv", "d/x+y.csv")
    assert paths(tmp_path, "d/a[1]?.csv") == ["d/a[1]?.csv"]
    assert paths(tmp_path, "d/a[1]*.csv") == ["d/a[1]?.csv"]
    assert paths(tmp_path, "d/x+*.csv") == ["d/x+y.csv"]
    assert paths(tmp_path, "d/line*.csv") == ["d/line\nbreak.csv"]


def test_names_that_are_not_unicode_are_kept_apart(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path)
    for name in (b"\xff.csv", b"\xfe.csv"):
        with open(os.path.join(folder, name), "wb"):
            pass
    found = list_pattern(tmp_path, "{n}.csv")
    assert [os.fsencode(m.path) for m in found] == [b"\xfe.csv", b"\xff.csv"]
    assert [dict(m.captures)["n"] for m in found] == ["\udcfe", "\udcff"]


def test_links_are_followed_and_circles_are_not(tmp_path: Path) -> None:
    tree(tmp_path, "real/a.csv", "d/b.csv")
    (tmp_path / "d/linked").symlink_to("../real", target_is_directory=True)
    (tmp_path / "d/self").symlink_to(".", target_is_directory=True)
    (tmp_path / "real/up").symlink_to("../d", target_is_directory=True)
    (tmp_path / "d/file.csv").symlink_to("../real/a.csv")
    (tmp_path / "d/nowhere.csv").symlink_to("gone")
    (tmp_path / "d/circle.csv").symlink_to("circle.csv")
    assert paths(tmp_path, "d/**/*.csv") == ["d/b.csv", "d/file.csv", "d/linked/a.csv"]
    assert paths(tmp_path, "d/*.csv") == ["d/b.csv", "d/file.csv"]


def test_folders_that_cannot_match_are_never_listed(tmp_path: Path) -> None:
    tree(tmp_path, "d/a/x.csv", "big/deep/x.csv")
    listed: list[str] = []
    real = os.scandir

    def scandir(path: str) -> object:
        listed.append(os.path.relpath(path, tmp_path))
        return real(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        assert paths(tmp_path, "d/*/*.csv") == ["d/a/x.csv"]
        assert paths(tmp_path, "d/a/x.csv") == ["d/a/x.csv"]
    assert listed == ["d", "d/a"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list everything")
def test_a_folder_that_may_not_be_listed_is_an_error(tmp_path: Path) -> None:
    tree(tmp_path, "d/a.csv")
    (tmp_path / "d").chmod(0)
    with pytest.raises(BuilderError) as caught:
        list_pattern(tmp_path, "d/*.csv")
    assert caught.value.code == "source-unreadable"


@pytest.mark.parametrize(
    "pattern", ["", "/", "d/{}.csv", "d/{a b}.csv", "d/{a.csv", "d/a}.csv", "d/a**", "a\0b", "{a{b}}"]
)
def test_a_pattern_that_cannot_be_read_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(BuilderError) as caught:
        list_pattern(tmp_path, pattern)
    assert (caught.value.code, caught.value.exit_code) == ("recipe-declaration", 2)


def test_a_shapefile_has_companions(tmp_path: Path) -> None:
    tree(tmp_path, "s/a.shp", "s/a.dbf", "s/a.shx", "s/a.PRJ", "s/b.dbf", "s/a.txt")
    root = str(tmp_path / "s")
    assert companions(f"{root}/a.shp") == [f"{root}/a.PRJ", f"{root}/a.dbf", f"{root}/a.shx"]
    assert companions(f"{root}/b.csv") == []


def test_a_log_beside_a_geopackage_is_a_companion_where_it_holds_something(tmp_path: Path) -> None:
    tree(tmp_path, "a.gpkg", "a.gpkg-wal")
    looked: set[str] = set()
    (tmp_path / "a.gpkg-wal").write_bytes(b"")
    assert companions(f"{tmp_path}/a.gpkg", looked) == []
    (tmp_path / "a.gpkg-wal").write_bytes(b"frames")
    assert companions(f"{tmp_path}/a.gpkg") == [f"{tmp_path}/a.gpkg-wal"]
    assert looked == {f"{tmp_path}/a.gpkg-wal"}


NAMES = st.sampled_from(["a", "b", "ab", "ba", "aab"])
FILES = st.sets(st.lists(NAMES, min_size=1, max_size=4).map("/".join), min_size=1, max_size=12)
PATTERNS = st.lists(st.sampled_from(["*", "a*", "*b", "a", "ab", "*a*", "**"]), min_size=1, max_size=4).map("/".join)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(files=FILES, pattern=PATTERNS)
def test_stars_list_what_pathlib_lists(tmp_path_factory: pytest.TempPathFactory, files: set[str], pattern: str) -> None:
    root = tmp_path_factory.mktemp("tree")
    for file in files:
        # A name that is a folder already cannot be a file too.
        try:
            tree(root, file)
        except OSError:
            continue
    wanted = pattern + "/*" if pattern.split("/")[-1] == "**" else pattern
    if "*" not in pattern and (root / pattern).is_dir():
        wanted = pattern + "/**/*"
    expected = sorted({p.relative_to(root).as_posix() for p in root.glob(wanted) if p.is_file()})
    assert paths(root, pattern) == expected


PIECES = ["a", "b c", ".x", ".", "..", "/", "//", "file:", "file://", "*", "{s}", "\n", "é"]


@given(st.lists(st.sampled_from(PIECES), max_size=7))
def test_a_pattern_that_is_listed_without_parsing_is_its_own_path(pieces: list[str]) -> None:
    pattern = "".join(pieces)
    if _FILE.fullmatch(pattern):
        parsed = parse_pattern(pattern)
        assert parsed.is_plain
        assert (join(parsed.segments), parsed.segments[-1]) == (pattern, pattern.rpartition("/")[2])
