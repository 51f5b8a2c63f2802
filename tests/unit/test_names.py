"""Names are checked, and their way into brackets and paths loses nothing and lets nothing out."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import PurePosixPath
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from builder.digests import Scalar
from builder.errors import BuilderError
from builder.names import (
    Reference,
    check_name,
    check_value,
    member_name,
    parse_reference,
    path_segment,
    value_from_json,
    value_from_text,
    value_json,
    value_text,
)

ANY_TEXT = st.text(st.characters(), max_size=20)
SCALARS = st.one_of(ANY_TEXT, st.integers(), st.booleans(), st.dates())
HOSTILE = [
    "",
    ".",
    "..",
    "../x",
    "/etc/passwd",
    "a/b",
    "a\0b",
    "a\\b",
    "%",
    "%2E",
    "%2e%2e",
    "x" * 300,
    "é" * 200,
    "\n",
]


@pytest.mark.parametrize("name", ["a", "clean_shops", "_x", "a-b", "größe", "名前", "a" * 200])
def test_legal_names_pass(name: str) -> None:
    assert check_name(name, "recipe") == name


@pytest.mark.parametrize(
    "name", [*HOSTILE, "1a", "a b", "a[b]", "a.b", "-a", "nul", "a" * 201, "é" * 101, "a\n", None, 3]
)
def test_illegal_names_are_refused(name: str) -> None:
    with pytest.raises(BuilderError) as caught:
        check_name(name, "recipe", "recipes/a.py:3")
    assert (caught.value.code, caught.value.place) == ("recipe-declaration", "recipes/a.py:3")
    assert len(caught.value.message) < 150


@given(SCALARS)
def test_a_value_comes_back_from_json_with_its_type(value: Scalar) -> None:
    back = value_from_json(value_json(value))
    assert back == value
    assert type(back) is type(value)


@given(ANY_TEXT)
@example("")
@example("%")
@example("*")
@example("{state}")
@example(" a ")
@example("a]b=c,d[e")
def test_a_text_comes_back_from_a_name(value: str) -> None:
    written = value_text(value)
    assert value_from_text(written) == value
    assert written
    assert not set(written) & set("[],={}*\n\0")


@given(st.lists(st.tuples(st.sampled_from(["state", "year", "k"]), ANY_TEXT), min_size=1, max_size=3))
def test_the_name_of_a_member_reads_back_as_its_parameters(params: list[tuple[str, str]]) -> None:
    parsed = parse_reference(member_name("clean.good", tuple(params)))
    assert (parsed.base, parsed.rest, parsed.bracketed) == ("clean.good", False, True)
    assert [(k, value_from_text(v)) for k, v in parsed.fixed] == params


def test_members_are_named_in_declaration_order() -> None:
    params = (("state", "CA"), ("year", 2024), ("new", True), ("day", date(2024, 1, 31)))
    assert member_name("clean", params) == "clean[state=CA,year=2024,new=true,day=2024-01-31]"
    assert member_name("clean", ()) == "clean"


def test_references_are_read() -> None:
    assert parse_reference("a.b") == Reference("a.b")
    assert parse_reference("a[*]") == Reference("a", (), True, True)
    assert parse_reference("a[k={v},*]") == Reference("a", (("k", "{v}"),), True, True)
    assert parse_reference("a[k=x=y]").fixed == (("k", "x=y"),)


@pytest.mark.parametrize("text", ["a[", "a[k=1", "a[k]", "a[=1]", "a[]", "a[k=1]]x"])
def test_broken_references_are_refused(text: str) -> None:
    with pytest.raises(BuilderError) as caught:
        parse_reference(text, "recipes/a.py:3")
    assert (caught.value.code, caught.value.place) == ("recipe-declaration", "recipes/a.py:3")


@pytest.mark.parametrize("value", [1.5, None, b"x", datetime(2024, 1, 31), [1], {"a": 1}])
def test_other_types_are_no_parameters(value: object) -> None:
    with pytest.raises(BuilderError, match=type(value).__name__):
        check_value(value, "state")


@given(st.text(st.characters(), max_size=120))
@example("")
@example("..")
@example("\0")
def test_a_path_segment_is_one_safe_name(text: str) -> None:
    segment = path_segment(text)
    assert PurePosixPath("folder", segment).parts == ("folder", segment)
    assert segment not in ("", ".", "..")
    assert segment.isascii()
    assert segment.isprintable()
    assert len(segment) <= 200
    assert not set(segment) & set('/\\:*?"<>|\0')


@given(st.text(st.characters(), max_size=20), st.text(st.characters(), max_size=20))
@example("%", "")
@example("%2E", ".")
def test_two_texts_never_share_a_segment(one: str, two: str) -> None:
    assert (path_segment(one) == path_segment(two)) == (one == two)


@pytest.mark.parametrize("text", HOSTILE)
def test_short_segments_decode_to_their_text(text: str) -> None:
    segment = path_segment(text)
    if len(segment) < 200 and text:
        assert unquote(segment) == text


def test_a_long_text_shares_its_segment_with_nothing() -> None:
    long = "x" * 300
    segments = {path_segment(t) for t in (long, "x" * 301, "x" * 200, path_segment(long), long + "y")}
    assert len(segments) == 5
