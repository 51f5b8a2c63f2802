"""Whether a table is as promised."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from builder.errors import BuilderError
from builder.transforms import Rule, check_quality, require_quality

FRAME = pd.DataFrame(
    {
        "id": [1, 2, 2, 3, 3],
        "state": pd.array(["WA", "or", None, "CA", ""], dtype="string"),
        "lat": [47.0, -91.0, np.nan, 95.5, 90.0],
        "people": pd.array([1, 0, None, -5, 7], dtype="Int64"),
        "day": [dt.date(2020, 1, 1), None, dt.date(2021, 1, 1), dt.date(2019, 1, 1), dt.date(2020, 6, 1)],
        "when": pd.to_datetime(["2020-01-01", None, "2021-01-01", "2019-01-01", "2020-06-01"], utc=True),
        "price": [Decimal("1.50"), Decimal("2.25"), None, Decimal("0.10"), Decimal("9.99")],
    },
    index=[0, 0, 0, 1, 1],
)
STATES = pd.DataFrame({"code": ["WA", "CA", None], "n": [1, 2, 3]})


def outcome(rule: Rule, frame: pd.DataFrame = FRAME, **rest: Any) -> tuple[int, str]:
    report = check_quality(frame, [rule], **rest)
    return int(report["failed"].iloc[0]), report["examples"].iloc[0]


@pytest.mark.parametrize(
    ("rule", "failed", "examples"),
    [
        (Rule.not_null("id"), 0, "[]"),
        (Rule.not_null("state"), 1, "[null]"),
        (Rule.not_null("state", "day"), 2, '[["or", null], [null, "2021-01-01"]]'),
        (Rule.unique("id"), 4, "[2, 3]"),
        (Rule.unique("state"), 0, "[]"),
        (Rule.unique("id", "people"), 0, "[]"),
        (Rule.in_range("lat", -90, 90), 2, "[-91.0, 95.5]"),
        (Rule.in_range("lat", low=-91.0), 0, "[]"),
        (Rule.in_range("people", 0.5, 6.5), 3, "[-5, 0, 7]"),
        (Rule.in_range("people", -float("inf"), 2**70), 0, "[]"),
        (Rule.in_range("people", 2**63), 4, "[-5, 0, 1]"),
        (Rule.in_range("price", "0.10", Decimal("2.2")), 2, '["2.25", "9.99"]'),
        (Rule.in_range("price", 0.5), 1, '["0.10"]'),
        (Rule.in_range("day", "2020-01-01", dt.date(2020, 12, 31)), 2, '["2019-01-01", "2021-01-01"]'),
        (Rule.in_range("when", "2020-01-01"), 1, '["2019-01-01 00:00:00.000000Z"]'),
        (Rule.in_range("state", "A", "Z"), 2, '["", "or"]'),
        (Rule.one_of("state", ["WA", "CA", None]), 2, '["", "or"]'),
        (Rule.one_of("id", {1, 2}), 2, "[3]"),
        (Rule.one_of("lat", [47, 90, 95.5]), 1, "[-91.0]"),
        (Rule.one_of("people", []), 4, "[-5, 0, 1]"),
        (Rule.matches("state", "[A-Z]{2}"), 2, '["", "or"]'),
        (Rule.matches("state", "W|C|or|.A|"), 0, "[]"),
        (Rule.references("state", STATES, "code"), 2, '["", "or"]'),
        (Rule.references(["state", "id"], STATES, ["code", "n"]), 3, '[["", 3], ["CA", 3], ["or", 2]]'),
        (Rule.row_count(5, 5), 0, "[]"),
        (Rule.row_count(6), 1, "[5]"),
        (Rule.row_count(high=4), 1, "[5]"),
    ],
    ids=lambda value: value.text if isinstance(value, Rule) else "",
)
def test_a_rule_counts_the_rows_that_break_it(rule: Rule, failed: int, examples: str) -> None:
    assert outcome(rule) == (failed, examples)
    assert outcome(rule, FRAME.iloc[[3, 1, 4, 0, 2]]) == (failed, examples)


def test_the_report_has_stated_columns_and_dtypes() -> None:
    report = check_quality(FRAME, [Rule.unique("id", "state"), Rule.row_count(9), Rule.one_of("state", ["WA"])])
    assert {name: str(dtype) for name, dtype in report.dtypes.items()} == {
        "rule": "string", "column": "string", "rows": "int64", "failed": "int64", "share": "float64", "passed": "bool",
        "examples": "string",
    }  # fmt: skip
    assert report["column"].tolist() == ["id, state", "", "state"]
    assert report["rule"].tolist() == ["unique", "row_count(9, inf)", "one_of(1 values)"]
    assert report["share"].tolist() == [0, 1, 3 / 5] and report["passed"].tolist() == [True, False, False]


def test_examples_are_keys_where_a_key_is_named() -> None:
    assert outcome(Rule.not_null("state"), key="id") == (1, "[2]")
    assert outcome(Rule.in_range("lat", -90, 90), key=["day", "id"]) == (2, '[["2019-01-01", 3], [null, 2]]')


def test_an_empty_table_breaks_only_the_number_of_rows() -> None:
    rules = [
        Rule.not_null("id"),
        Rule.unique("id"),
        Rule.matches("state", "x"),
        Rule.in_range("lat", 0),
        Rule.row_count(1),
    ]
    report = check_quality(FRAME[:0], rules)
    assert report["failed"].tolist() == [0, 0, 0, 0, 1] and report["share"].isna().tolist() == [True] * 4 + [False]
    assert len(check_quality(FRAME, [])) == 0


def test_a_match_is_of_the_whole_text() -> None:
    frame = pd.DataFrame({"x": ["ab", "ab\n", "xab", "abx"]})
    assert outcome(Rule.matches("x", "ab"), frame)[0] == 3


def test_integers_beyond_what_floats_tell_apart_are_compared_exactly() -> None:
    frame = pd.DataFrame({"x": [2**53, 2**53 + 1]})
    assert outcome(Rule.in_range("x", high=2**53), frame) == (1, str([2**53 + 1]))


def test_counts_of_parts_add_up() -> None:
    rules = [Rule.not_null("state"), Rule.in_range("lat", -90, 90), Rule.references("state", STATES, "code")]
    parts = [check_quality(part, rules)["failed"] for part in (FRAME[:2], FRAME[2:])]
    assert (parts[0] + parts[1]).tolist() == check_quality(FRAME, rules)["failed"].tolist()


def test_a_table_that_keeps_its_rules_passes_a_check() -> None:
    assert require_quality(FRAME, [Rule.not_null("id"), Rule.row_count(1, 10)]) is None


def test_a_table_that_breaks_rules_fails_a_check_with_each_of_them() -> None:
    with pytest.raises(BuilderError) as caught:
        require_quality(FRAME, [Rule.unique("id"), Rule.not_null("id"), Rule.row_count(9)], key="id")
    assert caught.value.code == "check-failed" and caught.value.message == "the table breaks 2 of 3 rules"
    assert caught.value.facts == (("id unique", "4 failed: [2, 3]"), ("row_count(9, inf)", "1 failed: [5]"))


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Rule.not_null(), "not_null"),
        (lambda: Rule.not_null(3), "not_null"),
        (lambda: Rule.unique(), "unique"),
        (lambda: Rule.in_range("lat"), "no bound"),
        (lambda: Rule.one_of("state", "WA"), "list of values"),
        (lambda: Rule.matches("state", "[A-"), "no regular expression"),
        (lambda: Rule.matches("state", 3), "no regular expression"),
        (lambda: Rule.references(["id", "state"], STATES, "code"), "as many columns"),
        (lambda: Rule.row_count(5, 4), "row_count"),
        (lambda: Rule.row_count("5"), "row_count"),
        (lambda: check_quality(FRAME, [lambda frame: True]), "no rule"),
        (lambda: check_quality(FRAME, [Rule.in_range("people", "a")]), "'people'"),
        (lambda: check_quality(FRAME, [Rule.in_range("state", 1)]), "'state'"),
        (lambda: check_quality(FRAME, [Rule.in_range("when", "never")]), "'never'"),
        (lambda: check_quality(FRAME, [Rule.in_range("price", "x")]), "'x'"),
        (lambda: check_quality(FRAME, [Rule.one_of("state", [1])]), "with text"),
        (lambda: check_quality(FRAME, [Rule.one_of("id", [1.5])]), "with integer"),
    ],
)
def test_a_wrong_rule_is_told(make: Any, word: str) -> None:
    with pytest.raises(BuilderError) as caught:
        make()
    assert caught.value.code == "recipe-declaration" and word in str(caught.value)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: check_quality(FRAME, [Rule.not_null("stat")]), "did you mean 'state'?"),
        (lambda: check_quality(FRAME, [], key="idd"), "'idd'"),
        (lambda: check_quality(FRAME, [Rule.matches("id", "1")]), "not text"),
        (lambda: Rule.references("state", STATES, "cod"), "'cod'"),
        (lambda: check_quality(FRAME, [Rule.references("state", STATES, "n")]), "text with integer"),
    ],
)
def test_a_column_that_does_not_fit_is_told(make: Any, word: str) -> None:
    with pytest.raises(BuilderError) as caught:
        make()
    assert caught.value.code == "bad-value" and word in str(caught.value)
