"""Texts as they are compared."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.errors import BuilderError
from builder.transforms import normalise
from builder.transforms.normalising import _folded


def one(text: str) -> str:
    return normalise(pd.Series([text], dtype="string")).iloc[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Bar Harbor", "bar harbor"),
        ("  two\t words \n", "two words"),
        ("St. Mary's—by-the-Sea", "st marys by the sea"),
        ("O’Hare", "ohare"),
        ("Łódź", "lodz"),
        ("Ærøskøbing", "aeroskobing"),
        ("STRASSE Straße", "strasse strasse"),
        ("Ｋ１２", "k12"),
        ("ﬁeld", "field"),
        ("İstanbul ısı", "istanbul isi"),
        ("Ὀδυσσεύς ΟΔΥΣΣΕΥΣ", "οδυσσευσ οδυσσευσ"),
        ("Nguyễn Văn", "nguyen van"),
        ("cafe\u0301 caf\u00e9", "cafe cafe"),
        ("soft\u00adhyphen\u200b", "softhyphen"),
        ("a_b+c#d", "a b c d"),
        ("...", ""),
        ("", ""),
        ("कि ガ 한국", "कि ガ 한국"),
        ("½ x²", "1 2 x2"),
    ],
)
def test_a_text_is_compared_as(text: str, expected: str) -> None:
    assert one(text) == expected


def test_null_stays_null_and_index_name_and_order_stay() -> None:
    given_series = pd.Series(["B", None, "É"], index=[7, 7, 3], name="town")
    expected = pd.Series(["b", None, "e"], index=[7, 7, 3], name="town", dtype="string[pyarrow]")
    pd.testing.assert_series_equal(normalise(given_series), expected)


@pytest.mark.parametrize(
    "values",
    [
        pd.Series(["A b", None], dtype=object),
        pd.Series(["A b", None], dtype="str"),
        pd.Series(["A b", None], dtype="string"),
        pd.Series(["A b", None], dtype="category"),
        pd.Series(["A b", None], dtype=pd.ArrowDtype(pa.string())),
    ],
    ids=lambda s: str(s.dtype),
)
def test_any_dtype_of_text_is_taken(values: pd.Series) -> None:
    assert normalise(values).tolist() == ["a b", pd.NA]


def test_no_texts_give_none() -> None:
    assert normalise(pd.Series([], dtype="string")).tolist() == []
    assert normalise(pd.Series([None, None], dtype=object)).isna().all()


@pytest.mark.parametrize("values", [[1, 2], ["a", 1], [b"a"], [["a"]]])
def test_what_is_not_text_is_refused(values: list) -> None:
    with pytest.raises(BuilderError) as caught:
        normalise(pd.Series(values, dtype=object, name="town"))
    assert caught.value.code == "bad-value" and "'town'" in caught.value.message


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=12))
def test_twice_is_once(text: str) -> None:
    assert one(one(text)) == one(text)


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(max_codepoint=127), max_size=12))
def test_ascii_goes_the_quick_way_to_the_same_text(text: str) -> None:
    assert one(text) == _folded(text)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=12))
def test_case_and_composition_do_not_count(text: str) -> None:
    import unicodedata

    assert one(unicodedata.normalize("NFD", text)) == one(unicodedata.normalize("NFC", text)) == one(text)
