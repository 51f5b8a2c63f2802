"""Sizes, counts and durations: read as people write them, written as people read them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import BuilderError
from builder.sizes import bytes_text, count_text, parse_bytes, seconds_text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4 GB", 4_000_000_000), ("4GB", 4_000_000_000), ("512 MiB", 512 << 20), ("1.5 kB", 1500), ("0", 0),
        (" 7 ", 7), (7, 7), ("2 tb", 2 * 10**12), ("1 TiB", 1 << 40), ("3 b", 3), ("1g", 10**9), ("1 KiB", 1024),
    ],
)  # fmt: skip
def test_sizes_are_read(text: str | int, size: int) -> None:
    assert parse_bytes(text, "memory") == size


@pytest.mark.parametrize("text", ["", "GB", "4 XB", "-1", "1e3", "1,5 GB", "4 G B", "inf", True])
def test_other_texts_are_refused_with_a_remedy(text: str) -> None:
    with pytest.raises(BuilderError) as caught:
        parse_bytes(text, "memory of recipe 'm'", "recipes/m.py:3")
    assert (caught.value.code, caught.value.place) == ("recipe-declaration", "recipes/m.py:3")
    assert "memory of recipe 'm'" in caught.value.message and caught.value.hint


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (4200, "4.2 kB"), (99_400, "99.4 kB"), (100_000, "100 kB"),
        (999_600, "1.0 MB"), (1_100_000_000, "1.1 GB"), (10**13, "10.0 TB"), (10**15, "1,000 TB"),
    ],
)  # fmt: skip
def test_sizes_are_written(size: int, text: str) -> None:
    assert bytes_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ms"), (0.04, "40 ms"), (0.9994, "999 ms"), (0.9996, "1.0 s"), (3.2, "3.2 s"), (9.94, "9.9 s"),
        (9.96, "10 s"), (99.4, "99 s"), (99.6, "2 min"), (720, "12 min"), (3540, "59 min"), (3599, "1 h 0 min"),
        (18_600, "5 h 10 min"), (126_000, "35 h 0 min"),
    ],
)  # fmt: skip
def test_durations_are_written(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


@pytest.mark.parametrize(
    ("count", "words", "text"),
    [
        (0, ("row",), "0 rows"),
        (1, ("row",), "1 row"),
        (12_573, ("row",), "12,573 rows"),
        (2, ("library", "libraries"), "2 libraries"),
        (1, ("library", "libraries"), "1 library"),
    ],
)
def test_counts_have_their_noun(count: int, words: tuple[str, ...], text: str) -> None:
    assert count_text(count, *words) == text


@given(st.integers(0, 10**15))
def test_a_written_size_is_near_and_short(size: int) -> None:
    text = bytes_text(size)
    assert re.fullmatch(r"[\d,]+(\.\d)? (B|kB|MB|GB|TB)", text) and len(text) <= 8
    assert abs(parse_bytes(text.replace(",", ""), "x") - size) <= 0.06 * size


@given(st.floats(0, 1e6))
def test_longer_is_never_written_as_shorter_by_more_than_rounding(seconds: float) -> None:
    units = {"ms": 0.001, "s": 1, "min": 60, "h": 3600}
    words = seconds_text(seconds).split()
    value = sum(float(n) * units[u] for n, u in zip(words[::2], words[1::2], strict=True))
    assert abs(value - seconds) <= max(0.06 * seconds, 0.0006) or abs(value - seconds) <= 31
