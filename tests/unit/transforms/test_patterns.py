"""The formats of texts."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import BuilderError
from builder.transforms import patterns


def formats(texts: list[str | None], **rest: Any) -> dict[str, int]:
    table = patterns(pd.Series(texts, dtype="string"), **rest)
    return dict(zip(table["pattern"], table["count"]))


@pytest.mark.parametrize(
    ("text", "pattern", "collapsed"),
    [
        ("WA-0451", "AA-9999", "A-9"),
        ("O'Hare 12", "A'Aaaa 99", "A'Aa 9"),
        ("", "", ""),
        ("\t--", "\t--", "\t--"),
        ("Łódź٣", "Aaaa9", "Aa9"),
        ("東京", "aa", "a"),
        ("e\u0301a", "aa", "a"),
        ("ǅ½₂", "A½₂", "A½₂"),
        ("😀a", "😀a", "😀a"),
    ],
)
def test_the_format_of_a_text(text: str, pattern: str, collapsed: str) -> None:
    assert formats([text]) == {pattern: 1}
    assert formats([text], collapse=True) == {collapsed: 1}


def test_formats_come_by_count_and_then_by_pattern() -> None:
    table = patterns(pd.DataFrame({"x": ["b1", "a2", "C", "D", "9", None, "a2"]}, index=[1] * 7), "x")
    assert table.values.tolist() == [
        ["a9", 3, 0.5, '["a2", "b1"]'],
        ["A", 2, 2 / 6, '["C", "D"]'],
        ["9", 1, 1 / 6, '["9"]'],
    ]
    assert [str(d) for d in table.dtypes] == ["string", "int64", "float64", "string"]


def test_only_the_most_frequent_are_listed_and_three_lowest_examples() -> None:
    table = patterns(pd.Series(["e", "d", "c", "b", "a", "A", "1", "1"]), most=2)
    assert table["pattern"].tolist() == ["a", "9"] and table["examples"].iloc[0] == '["a", "b", "c"]'


@pytest.mark.parametrize("texts", [[], [None, None]])
def test_no_texts_have_no_formats(texts: list[None]) -> None:
    assert formats(texts) == {}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.none() | st.text(max_size=6), max_size=8), st.randoms(use_true_random=False))
def test_each_text_is_judged_by_itself(texts: list[str | None], random: Any) -> None:
    import unicodedata

    def letter(c: str) -> str:
        category = unicodedata.category(c)
        if category.startswith("M"):
            return ""
        return {"Lu": "A", "Lt": "A", "Nd": "9"}.get(category, "a" if category.startswith("L") else c)

    expected: dict[str, int] = {}
    for text in texts:
        if text is not None:
            pattern = "".join(map(letter, text))
            expected[pattern] = expected.get(pattern, 0) + 1
    assert formats(texts) == expected
    shuffled = random.sample(texts, len(texts))
    assert patterns(pd.Series(shuffled, dtype="string")).equals(patterns(pd.Series(texts, dtype="string")))


@pytest.mark.parametrize(
    ("arguments", "rest", "code"),
    [
        ((pd.DataFrame({"x": ["a"]}),), {}, "recipe-declaration"),
        ((pd.DataFrame({"x": ["a"]}), "y"), {}, "bad-value"),
        ((pd.DataFrame({"x": [1]}), "x"), {}, "bad-value"),
        ((pd.Series([1]),), {}, "bad-value"),
        ((pd.Series(["a"]),), {"most": 0}, "recipe-declaration"),
    ],
)
def test_wrong_arguments_are_told(arguments: tuple[Any, ...], rest: dict[str, Any], code: str) -> None:
    with pytest.raises(BuilderError) as caught:
        patterns(*arguments, **rest)
    assert caught.value.code == code
