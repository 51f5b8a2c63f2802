"""Text columns as dtypes, held against Python's own readings of the same text."""

import datetime as dt
import re
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.formats.convert import Misfit, Survey, typed

UTC = dt.UTC


def one(text, dtype, lenient=False):
    return typed(pa.array([text], pa.string()), dtype, lenient=lenient)[0].as_py()


def dtype_of(*texts):
    survey = Survey()
    survey.add(pa.array(texts, pa.string()))
    return survey.dtype()


INTEGER = re.compile(r"(0|-?[1-9][0-9]*)")
FLOAT = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def expected_number(text):
    """What the grammar says of a text: int64, float64 or neither, and the value."""
    is_int = bool(INTEGER.fullmatch(text)) and -(2**63) <= int(text) < 2**63
    is_float = bool(FLOAT.fullmatch(text)) and abs(float(text)) != float("inf")
    if re.fullmatch(r"-?[0-9]+", text) and abs(int(text)) > 2**53:
        is_float = False
    return is_int, is_float


numbers = st.one_of(
    st.integers(-(2**65), 2**65).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str),
    st.text("0123456789.eE+-", max_size=12),
    st.sampled_from(
        ["", "-", ".", "-.", "1e", "00", "-0", "0.", ".5", "1e308", "1.7976931348623157e308", "1e309", "nan"]
    ),
)


@settings(max_examples=600, deadline=None)
@given(numbers)
def test_numbers_are_what_the_grammar_and_python_say(text):
    is_int, is_float = expected_number(text)
    for dtype, fits, read in (("int64", is_int, int), ("float64", is_float, float)):
        if fits:
            assert one(text, dtype) == read(text)
        else:
            with pytest.raises(Misfit) as caught:
                one(text, dtype)
            assert (caught.value.row, caught.value.value) == (0, text)
    assert dtype_of(text) == ("int64" if is_int else "float64" if is_float else "string")


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
def test_floats_come_back_to_the_bit(values):
    texts = pa.array([repr(v) for v in values])
    assert [v.hex() for v in typed(texts, "float64", lenient=False).to_pylist()] == [v.hex() for v in values]


@settings(deadline=None)
@given(st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30)), st.integers(-1439, 1439))
def test_instants_are_what_python_reads(moment, minutes):
    zone = dt.timezone(dt.timedelta(minutes=minutes))
    expected = moment.replace(tzinfo=zone).astimezone(UTC)
    text = moment.replace(tzinfo=zone).isoformat()
    assert one(text, "timestamp") == expected
    assert one(text.replace("T", " "), "timestamp") == expected
    assert one(moment.isoformat() + "Z", "timestamp") == moment.replace(tzinfo=UTC)
    assert one(moment.isoformat(), "timestamp") == moment.replace(tzinfo=UTC)
    assert dtype_of(text) == "timestamp"


@settings(deadline=None)
@given(st.text("0123456789-", min_size=8, max_size=11) | st.dates().map(str))
def test_dates_are_what_python_reads(text):
    try:
        expected = dt.date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text) else None
    except ValueError:
        expected = None
    if expected is None:
        with pytest.raises(Misfit):
            one(text, "date")
    else:
        assert one(text, "date") == expected
        assert dtype_of(text) == "date"


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-30T10:00",
        "2024-02-29T24:00",
        "2024-02-29T10:60",
        "2024-02-29T10:00:60",
        "2024-02-29T10",
        "2024-02-29T10:00:",
        "2024-02-29T10:00:00.",
        "2024-02-29T10:00:00.1234567",
        "2024-02-29T10:00z",
        "2024-02-29T10:00+1",
        "2024-02-29T10:00+01:",
        "2024-02-29T10:00+01:0",
        "2024-02-29T10:00+25:00",
        "2024-02-29x10:00",
        "2024-02-29T10:00Z ",
        "2024-02-29",
    ],
)
def test_what_is_no_instant_is_refused(text):
    with pytest.raises(Misfit):
        one(text, "timestamp")
    assert dtype_of(text) in ("string", "date")


def test_zone_hours_alone_and_zeros_below_a_microsecond_pass():
    assert one("2024-02-29T10:00+01", "timestamp") == dt.datetime(2024, 2, 29, 9, tzinfo=UTC)
    assert one("2024-02-29T10:00:00.123456000", "timestamp").microsecond == 123456


@pytest.mark.parametrize(
    ("text", "truth"), [("true", True), ("TRUE", True), ("True", True), ("false", False), ("False", False)]
)
def test_bools_have_three_spellings(text, truth):
    assert one(text, "bool") is truth
    assert dtype_of(text) == "bool"


@pytest.mark.parametrize("text", ["tRUE", "TRue", "t", "yes", "1", "truex", "falsE", "", "fALSE", "FALSe"])
def test_other_words_are_no_bools(text):
    with pytest.raises(Misfit):
        one(text, "bool")


@pytest.mark.parametrize(
    ("text", "dtype", "value"),
    [
        ("007", "int64", 7),
        ("+7", "int64", 7),
        (" 7\t", "int64", 7),
        ("-0", "int64", 0),
        ("0000000000000000000000012", "int64", 12),
        ("007.5", "float64", 7.5),
        ("+7.5", "float64", 7.5),
        (" inf ", "float64", float("inf")),
        ("-Infinity", "float64", -float("inf")),
        ("9007199254740993", "float64", 9007199254740992.0),
        ("1", "bool", True),
        ("0", "boolean", False),
        (" 2024-01-02 ", "date", dt.date(2024, 1, 2)),
        ("2024-01-02", "timestamp", dt.datetime(2024, 1, 2, tzinfo=UTC)),
        ("1.50", "decimal(10,2)", Decimal("1.50")),
        ("x", "binary", b"x"),
    ],
)
def test_declared_columns_are_read_leniently(text, dtype, value):
    assert one(text, dtype, lenient=True) == value


def test_nan_is_a_float_only_where_float_is_declared():
    assert str(one("NaN", "float64", lenient=True)) == "nan"
    assert dtype_of("NaN") == "string"


@pytest.mark.parametrize(
    ("text", "dtype"),
    [
        ("0x1F", "int64"),
        ("1.0", "int64"),
        ("1,5", "float64"),
        ("9223372036854775808", "int64"),
        ("1.555", "decimal(10,2)"),
        ("x", "decimal(10,2)"),
        ("infinit", "float64"),
        ("", "float64"),
    ],
)
def test_lenient_is_not_careless(text, dtype):
    with pytest.raises(Misfit) as caught:
        one(text, dtype, lenient=True)
    assert caught.value.value == text


@pytest.mark.parametrize(
    ("texts", "dtype"),
    [
        (["1", "2"], "int64"),
        (["1", None], "Int64"),
        (["1", "2.5"], "float64"),
        (["02170", "10"], "string"),
        (["true", None], "boolean"),
        (["true", "1"], "string"),
        ([None, None], "string"),
        ([], "string"),
        (["2024-01-01", "2024-01-01T00:00"], "string"),
        (["9007199254740993", "1.5"], "string"),
        (["9007199254740993"], "int64"),
        (["1e999"], "string"),
        (["inf"], "string"),
        (["", "1"], "string"),
        ([None, "2024-01-01"], "date"),
        (["12345678901234567890"], "string"),
    ],
)
def test_the_narrowest_dtype_that_fits_all_is_inferred(texts, dtype):
    assert dtype_of(*texts) == dtype


@settings(deadline=None)
@given(
    st.lists(st.none() | st.sampled_from(["1", "-3", "2.5", "true", "x", "2024-01-01", "007"]), max_size=12),
    st.integers(0, 12),
)
def test_inference_never_depends_on_chunks(texts, at):
    parts = Survey()
    for chunk in (texts[:at], texts[at:]):
        parts.add(pa.array(chunk, pa.string()))
    assert parts.dtype() == dtype_of(*texts)


def test_nulls_stay_and_slices_count_from_their_own_start():
    texts = pa.array(["9", None, "1", None, "x", "3"])
    assert typed(texts.slice(1, 3), "Int64", lenient=False).to_pylist() == [None, 1, None]
    with pytest.raises(Misfit) as caught:
        typed(texts.slice(1), "Int64", lenient=False)
    assert (caught.value.row, caught.value.value) == (3, "x")
    with pytest.raises(Misfit) as caught:
        typed(texts, "int64", lenient=False)
    assert (caught.value.row, caught.value.value) == (1, None)


@pytest.mark.parametrize(
    "dtype", ["int64", "float64", "bool", "date", "timestamp", "string", "binary", "decimal(5,2)", "geometry"]
)
def test_no_rows_give_a_column_of_the_dtype(dtype):
    assert len(typed(pa.array([], pa.string()), dtype, lenient=True)) == 0
