"""Counters: what comes out by dtype, what is refused and how, and what adds up."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import shapely

from builder.transforms.count import Counters, count_by, fold_counts, merge_counts

KINDS = pd.DataFrame({"code": ["all", "air", "sea", "jet"], "parent": [None, "all", "all", "air"]})
ROWS = pd.DataFrame({"state": [2, 1, 2, 2], "kind": ["jet", "sea", "air", "jet"], "seats": [10, 3, 4, 20]})
MONEY = pd.ArrowDtype(pa.decimal128(9, 2))


def rows_of(frame: pd.DataFrame) -> list[tuple[Any, ...]]:
    return list(frame.itertuples(index=False, name=None))


def test_every_level_of_a_taxonomy_is_counted() -> None:
    found = count_by(ROWS, ["state", "kind"], sums={"total": "seats"}, taxonomy=KINDS, taxonomy_on="kind")
    assert list(found.columns) == ["state", "kind", "n", "total"]
    assert rows_of(found) == [
        (1, "all", 1, 3),
        (1, "sea", 1, 3),
        (2, "air", 3, 34),
        (2, "all", 3, 34),
        (2, "jet", 2, 30),
    ]


def test_the_taxonomy_may_stand_first_in_by() -> None:
    found = count_by(ROWS, ["kind", "state"], taxonomy=KINDS, taxonomy_on="kind")
    assert rows_of(found)[:3] == [("air", 2, 3), ("all", 1, 1), ("all", 2, 3)]


def test_records_may_stand_at_any_level() -> None:
    found = count_by(pd.DataFrame({"kind": ["all", "jet", "air"]}), ["kind"], taxonomy=KINDS)
    assert rows_of(found) == [("air", 2), ("all", 3), ("jet", 1)]


def test_a_chain_of_two_thousand_levels_is_counted() -> None:
    chain = pd.DataFrame({"code": range(2000), "parent": pd.array([None, *range(1999)], "Int64")})
    found = count_by(pd.DataFrame({"c": [1999, 1000, 1000]}), ["c"], taxonomy=chain)
    assert found["n"].tolist() == [3] * 1001 + [1] * 999


def test_rows_with_a_null_are_left_out_and_told() -> None:
    table = pd.DataFrame({"a": [1.5, np.nan, 1.5, 1.5], "b": pd.Series(["x", "x", None, "x"], dtype="str")})
    found = count_by(table, ["a", "b"])
    assert (rows_of(found), found.attrs) == ([(1.5, "x", 2)], {"left_out": 2})


def test_the_index_is_fresh_and_the_input_untouched() -> None:
    table = ROWS.set_index(pd.Index([5, 5, 6, 7], name="key"))
    before = table.copy(deep=True)
    found = count_by(table, ["state"])
    assert isinstance(found.index, pd.RangeIndex) and found.index.name is None
    pd.testing.assert_frame_equal(table, before)


DAY, INSTANT = dt.date(2024, 2, 29), pd.Timestamp("2024-02-29T12:00:00.000001")
COLUMNS = {  # two rows of one value and, where the dtype has them, a null -> the dtype that comes out
    "int8": (pd.Series([-7, -7], dtype="int8"), "int8"),
    "uint64": (pd.Series([2**64 - 1, 2**64 - 1], dtype="uint64"), "uint64"),
    "Int16": (pd.Series([3, 3, None], dtype="Int16"), "Int16"),
    "float32": (pd.Series([0.5, 0.5, np.nan], dtype="float32"), "float32"),
    "zero": (pd.Series([0.0, -0.0]), "float64"),
    "Float64": (pd.Series([0.1, 0.1, None], dtype="Float64"), "Float64"),
    "bool": (pd.Series([True, True]), "bool"),
    "boolean": (pd.Series([True, True, None], dtype="boolean"), "boolean"),
    "str": (pd.Series(["é", "é", None], dtype="str"), "str"),
    "string": (pd.Series(["é", "é", None], dtype="string"), "string"),
    "python text": (pd.Series(["é", "é", None], dtype=pd.StringDtype("python")), "string"),
    "arrow text": (pd.Series(["é", "é", None], dtype=pd.ArrowDtype(pa.string())), "string[pyarrow]"),
    "objects": (pd.Series(["é", "é", None], dtype=object), "str"),
    "whole objects": (pd.Series([4, 4, None], dtype=object), "Int64"),
    "true objects": (pd.Series([True, True, None], dtype=object), "boolean"),
    "day objects": (pd.Series([DAY, DAY, None], dtype=object), "date32[day][pyarrow]"),
    "bytes": (pd.Series([b"\0\xff", b"\0\xff", None], dtype=object), "binary[pyarrow]"),
    "category": (pd.Series(["é", "é", None], dtype=pd.CategoricalDtype(pd.Index(["z", "é"], dtype="str"))), "str"),
    "whole category": (pd.Series([9, 9], dtype="category"), "int64"),
    "dictionary": (
        pd.Series(["é", "é", None], dtype=pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string()))),
        "string[pyarrow]",
    ),
    "instant": (pd.Series([INSTANT, INSTANT, None], dtype="datetime64[us]"), "datetime64[us]"),
    "zoned": (
        pd.Series([INSTANT, INSTANT, None], dtype="datetime64[us]").dt.tz_localize("Europe/Paris"),
        "datetime64[us, Europe/Paris]",
    ),
    "date": (pd.Series([DAY, DAY, None], dtype=pd.ArrowDtype(pa.date32())), "date32[day][pyarrow]"),
    "decimal": (pd.Series([Decimal("1.50")] * 2 + [None], dtype=MONEY), "decimal128(9, 2)[pyarrow]"),
    "only nulls": (pd.Series([None, None], dtype=object), "str"),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_counted_by_keep_their_dtype_and_values(name: str) -> None:
    column, dtype = COLUMNS[name]
    found = count_by(pd.DataFrame({"c": column}), ["c"])
    assert str(found["c"].dtype) == dtype
    assert found.attrs["left_out"] == column.isna().sum()
    if name != "only nulls":
        assert (found["c"].tolist(), found["n"].tolist()) == ([column[0]], [2])


@pytest.mark.parametrize("name", COLUMNS)
def test_no_rows_give_no_counters_of_the_same_dtypes(name: str) -> None:
    column, dtype = COLUMNS[name]
    found = count_by(pd.DataFrame({"c": column, "v": 1})[:0], ["c"], sums={"s": "v"})
    expected = "str" if column.dtype == object else dtype  # no value tells the kind of an object
    assert [str(d) for d in found.dtypes] == [expected, "int64", "int64"]
    assert (len(found), found.attrs) == (0, {"left_out": 0})


@pytest.mark.parametrize("rows", [0, 3])
def test_a_table_without_known_codes_gives_no_counters(rows: int) -> None:
    table = pd.DataFrame({"kind": pd.Series([None] * rows, dtype="str")})
    assert count_by(table, ["kind"], taxonomy=KINDS).attrs["left_out"] == rows
    assert len(count_by(table, ["kind"], taxonomy=KINDS[:0])) == 0


REFUSED = {
    "durations": pd.Series([pd.Timedelta(1)]),
    "periods": pd.Series(pd.period_range("2024", periods=1)),
    "lists": pd.Series([[1]]),
    "mixed": pd.Series([1, "a"], dtype=object),
    "object floats": pd.Series([1.5, None], dtype=object),
    "object decimals": pd.Series([Decimal("1.5")]),
    "complex": pd.Series([1j]),
    "sparse": pd.Series(pd.arrays.SparseArray([1, 1])),
    "intervals": pd.Series(pd.interval_range(0, 1)),
    "surrogates": pd.Series(["\ud800"], dtype=object),
    "huge": pd.Series([2**70], dtype=object),
    "geometry": geopandas.GeoSeries([shapely.Point(0, 0)]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_exact_order_is_refused(name: str, refused: Any) -> None:
    with refused("bad-value", "column 'c' of 'table' cannot be counted by", "hint"):
        count_by(pd.DataFrame({"c": REFUSED[name]}), ["c"])


# -- sums --------------------------------------------------------------------------------------------------------------


def summed(column: pd.Series, by: list[Any] | None = None) -> Any:
    return count_by(pd.DataFrame({"k": by or [0] * len(column), "v": column}), ["k"], sums={"s": "v"})["s"]


def test_sums_of_integers_are_exact_at_the_edges_of_int64() -> None:
    low, high = -(2**63), 2**63 - 1
    assert summed(pd.Series([high, low, high, 1])).tolist() == [high]
    assert summed(pd.Series([low, low, high, 1])).tolist() == [low]
    assert summed(pd.Series([2**63 - 1], dtype="uint64")).tolist() == [high]


@pytest.mark.parametrize("values", [[2**63 - 1, 1], [-(2**63), -1]])
def test_a_sum_that_int64_cannot_hold_is_an_error(values: list[int], refused: Any) -> None:
    with refused("bad-value", "'s' does not fit int64", "k=7", str(sum(values)), "decimal"):
        summed(pd.Series([*values, 5]), [7, 7, 0])


def test_a_sum_beyond_int64_on_the_way_does_no_harm_in_parts() -> None:
    counters = Counters(["k"], sums={"s": "v"})
    for values in ([2**63 - 1, 2**63 - 1], [-(2**63) + 1, -(2**63) + 1], [5, 6]):
        counters.add(pd.DataFrame({"k": [0, 0], "v": values}))
    assert counters.result()["s"].tolist() == [11]


def test_nulls_add_nothing_to_a_sum_and_count_all_the_same() -> None:
    table = pd.DataFrame({"k": ["a", "a", "b"], "v": pd.Series([None, 5, None], dtype="Int64")})
    assert rows_of(count_by(table, ["k"], sums={"s": "v"})) == [("a", 2, 5), ("b", 1, 0)]


def test_sums_of_decimals_keep_their_scale_at_38_digits() -> None:
    found = summed(pd.Series([Decimal("0.10"), Decimal("0.20"), None], dtype=MONEY))
    assert (str(found.dtype), found.tolist()) == ("decimal128(38, 2)[pyarrow]", [Decimal("0.30")])


def test_a_decimal_sum_beyond_38_digits_is_an_error_and_one_within_is_not(refused: Any) -> None:
    wide = pd.ArrowDtype(pa.decimal128(38, 0))
    most, least = Decimal("9" * 38), Decimal("-" + "9" * 38)
    assert summed(pd.Series([most, most, least], dtype=wide)).tolist() == [most]
    assert summed(pd.Series([least, None, least, most], dtype=wide)).tolist() == [least]
    with refused("bad-value", "'s' does not fit decimal(38,0)", "k=0"):
        summed(pd.Series([most, Decimal(1)], dtype=wide))


@pytest.mark.parametrize("dtype", ["float64", "Float32", "double[pyarrow]", "bool", "str", "object", "datetime64[ns]"])
def test_what_cannot_be_summed_exactly_is_refused(dtype: str, refused: Any) -> None:
    with refused("bad-value", "column 'v' of 'table' cannot be summed exactly", "decimal128"):
        summed(pd.Series([1, 0]).astype(dtype))


@pytest.mark.parametrize("dtype", ["float64", "Float32", "double[pyarrow]"])
def test_the_hint_for_floats_says_why(dtype: str, refused: Any) -> None:
    with refused("bad-value", "depends on the order of the rows"):
        summed(pd.Series([0.5], dtype=dtype))


@pytest.mark.parametrize("zeros", [[0.0, -0.0], [-0.0, 0.0], [-0.0]])
def test_minus_zero_is_zero(zeros: list[float]) -> None:
    found = count_by(pd.DataFrame({"z": zeros}), ["z"])
    assert (str(found["z"][0]), found["n"].tolist()) == ("0.0", [len(zeros)])


# -- arguments ---------------------------------------------------------------------------------------------------------


def test_one_column_may_be_named_without_a_list() -> None:
    assert rows_of(count_by(ROWS, "state")) == [(1, 1), (2, 3)]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ({"by": []}, "recipe-declaration", "'by' names no column"),
        ({"by": ["state", "state"]}, "recipe-declaration", "two columns 'state'"),
        ({"by": ["state"], "counts": "state"}, "recipe-declaration", "two columns 'state'"),
        ({"by": ["state"], "sums": {"n": "seats"}}, "recipe-declaration", "two columns 'n'"),
        ({"by": ["stat"]}, "bad-value", "did you mean 'state'?"),
        ({"by": ["state"], "sums": {"s": "seat"}}, "bad-value", "did you mean 'seats'?"),
        ({"by": ["state", "kind"], "taxonomy": KINDS}, "recipe-declaration", "which column of 'by' holds the codes"),
        ({"by": ["state"], "taxonomy": KINDS, "taxonomy_on": "kind"}, "recipe-declaration", "taxonomy_on"),
        ({"by": ["kind"], "taxonomy_on": "kind"}, "recipe-declaration", "without a taxonomy"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments: Any, code: str, words: str, refused: Any) -> None:
    with refused(code, words):
        count_by(ROWS, **arguments)


def test_anything_but_a_frame_is_refused(refused: Any) -> None:
    with refused("result-type", "'table' is a list"):
        count_by([1, 2], ["k"])


def test_codes_that_the_taxonomy_lacks_are_shown(refused: Any) -> None:
    with refused("bad-value", "column 'kind' has codes that are not in the taxonomy", "'bus', 'car'"):
        count_by(pd.DataFrame({"kind": ["car", "air", "bus", "car"]}), ["kind"], taxonomy=KINDS)


def test_categories_without_rows_need_not_be_in_the_taxonomy() -> None:
    kind = pd.Series(["air"], dtype=pd.CategoricalDtype(["bus", "air"]))
    assert rows_of(count_by(pd.DataFrame({"kind": kind}), ["kind"], taxonomy=KINDS)) == [("air", 1), ("all", 1)]


def test_codes_of_another_type_are_refused(refused: Any) -> None:
    with refused("bad-value", "different types", "int64", "large_string"):
        count_by(pd.DataFrame({"kind": [1]}), ["kind"], taxonomy=KINDS)


def test_an_ancestor_that_the_dtype_cannot_hold_is_an_error(refused: Any) -> None:
    wide = pd.DataFrame({"code": [300, 1], "parent": pd.array([None, 300], "Int64")})
    for dtype in ("int8", "Int8", pd.ArrowDtype(pa.int8())):
        with refused("bad-value", "column 'c' is too narrow for its ancestors"):
            count_by(pd.DataFrame({"c": pd.Series([1], dtype=dtype)}), ["c"], taxonomy=wide)


# -- parts and changes -------------------------------------------------------------------------------------------------


def test_merged_parts_tell_all_rows_left_out() -> None:
    parts = [pd.DataFrame({"k": pd.Series([1, None], dtype="Int64")})] * 3
    assert merge_counts([count_by(p, ["k"]) for p in parts], ["k"]).attrs == {"left_out": 3}


def test_parts_of_other_dtypes_or_columns_are_refused(refused: Any) -> None:
    narrow, wide = (count_by(ROWS.astype({"state": d}), ["state"], sums={"s": "seats"}) for d in ("int32", "int64"))
    for other in (wide, narrow.drop(columns="s"), narrow.assign(more=1)):
        with refused("bad-value" if "s" not in other else "schema-drift"):
            merge_counts([narrow, other], ["state"])
    counters = Counters(["state"])
    counters.add(ROWS)
    with refused("schema-drift", "column 'state'", "int64", "int32"):
        counters.add(ROWS.astype({"state": "int32"}))


def test_objects_of_another_kind_in_a_later_part_are_refused(refused: Any) -> None:
    counters = Counters(["k"])
    for values in ([None], [1], [None]):
        counters.add(pd.DataFrame({"k": pd.Series(values, dtype=object)}))
    with refused("schema-drift", "int64", "large_string"):
        counters.add(pd.DataFrame({"k": pd.Series(["a"], dtype=object)}))
    assert rows_of(counters.result()) == [(1, 1)]


def test_parts_with_nulls_or_without_counts_are_refused(refused: Any) -> None:
    part = count_by(ROWS, ["state"])
    with refused("key-null", "column 'state'"):
        merge_counts([part.astype({"state": "Int64"}).replace({"state": 1}, pd.NA)], ["state"])
    with refused("bad-value", "cannot be summed"):
        merge_counts([part.astype({"n": "float64"})], ["state"])
    with refused("recipe-declaration", "no parts"):
        merge_counts([], ["state"])


def test_taking_off_what_was_not_counted_is_an_error(refused: Any) -> None:
    one, none = count_by(ROWS[:1], ["state"]), count_by(ROWS[:0], ["state"])
    with refused("bad-value", "state=2: -1"):
        fold_counts(none, none, one, by=["state"])
    with refused("bad-value", "state=2: -1"):
        change_of(ROWS[:0], ROWS[:1]).applied(none)
    counters = Counters(["k"], sums={"s": "v"})
    counters.add(pd.DataFrame({"k": [1], "v": [5]}))
    counters.subtract(pd.DataFrame({"k": [1], "v": [6]}))
    with refused("bad-value", "k=1: 0"):
        counters.result()


def test_sides_of_a_change_with_other_dtypes_are_refused(refused: Any) -> None:
    with refused("schema-drift", "column 'state'"):
        change_of(ROWS, ROWS.astype({"state": "str"}))
    with refused("schema-drift", "column 'state'"):
        change_of(ROWS, ROWS[:0]).applied(count_by(ROWS.astype({"state": "str"}), ["state"]))


def change_of(added: pd.DataFrame, removed: pd.DataFrame) -> Counters:
    change = Counters(["state"])
    change.add(added)
    change.subtract(removed)
    return change


def test_counters_of_nothing_have_no_dtypes(refused: Any) -> None:
    none = count_by(ROWS[:0], ["state"])
    for ask in (Counters.result, Counters.touched, lambda counters: counters.applied(none)):
        with refused("recipe-declaration", "have seen no table"):
            ask(Counters(["state"]))


def test_a_result_in_between_changes_nothing() -> None:
    counters = Counters(["state", "kind"], taxonomy=KINDS, taxonomy_on="kind")
    for start in range(len(ROWS)):
        counters.add(ROWS[start : start + 1])
        expected = count_by(ROWS[: start + 1], ["state", "kind"], taxonomy=KINDS, taxonomy_on="kind")
        pd.testing.assert_frame_equal(counters.result(), expected)


def test_many_parts_are_merged_a_few_times_only(monkeypatch: pytest.MonkeyPatch) -> None:
    from builder.transforms import count

    sizes: list[int] = []
    joined = count.joined
    monkeypatch.setattr(count, "joined", lambda parts: sizes.append(sum(len(p.cells) for p in parts)) or joined(parts))
    counters = Counters(["k"])
    for part in range(64):
        counters.add(pd.DataFrame({"k": range(100 * part, 100 * part + 100)}))
    assert len(counters.result()) == 6400
    assert sum(sizes) <= 4 * 6400
