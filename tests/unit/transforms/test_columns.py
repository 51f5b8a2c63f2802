"""What transforms ask of columns, and rows by label."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from builder.errors import BuilderError
from builder.transforms.columns import check_columns, some_of
from builder.transforms.labels import column_names, label_rows


def test_a_missing_column_is_named_with_the_nearest() -> None:
    with pytest.raises(BuilderError) as caught:
        check_columns(pd.DataFrame({"lon": [1], "lat": [2]}), ["lon", "latt"], "points")
    assert caught.value.code == "bad-value" and "'lat'" in str(caught.value.hint)
    with pytest.raises(BuilderError, match="2 columns"):
        check_columns(pd.DataFrame([[1, 2]], columns=["a", "a"]), ["a"], "points")


def test_names_are_cut_short() -> None:
    assert some_of([]) == "" and some_of([1, 2]) == "1, 2" and some_of(range(9)) == "0, 1, 2, 3, 4 and 4 more"


def test_labels_are_sorted_column_by_column_and_nulls_have_none() -> None:
    df = pd.DataFrame({"a": ["b", "a", None, "b", "a"], "n": pd.array([2, 1, 1, 1, None], dtype="Int64")})
    labels = label_rows(df, ["a", "n"], "df")
    assert labels.codes.tolist() == [2, 0, -1, 1, -1] and labels.unlabelled == 2
    assert labels.frame.values.tolist() == [["a", 1], ["b", 1], ["b", 2]]
    assert labels.frame.dtypes.equals(df.dtypes) and labels.names(np.array([2])) == ["b 2"]


def test_text_is_sorted_by_code_point() -> None:
    for dtype in ("string", object, "str"):
        frame = pd.DataFrame({"a": pd.Series(["é", "z", "Z", "𝄞", "\uffff"], dtype=dtype)})
        assert label_rows(frame, ["a"], "df").frame["a"].tolist() == ["Z", "z", "é", "\uffff", "𝄞"]


def test_no_columns_are_one_label() -> None:
    assert label_rows(pd.DataFrame({"a": [1, 2]}), [], "df").codes.tolist() == [0, 0]
    assert len(label_rows(pd.DataFrame({"a": []}), [], "df").frame) == 0


def test_names_of_labels_are_checked() -> None:
    assert column_names("a", ("geometry",)) == ["a"] and column_names(("a", "b"), ()) == ["a", "b"]
    for by in (["a", "a"], ["geometry"], [None], 3):
        with pytest.raises(BuilderError) as caught:
            column_names(by, ("geometry",))
        assert caught.value.code == "recipe-declaration"
