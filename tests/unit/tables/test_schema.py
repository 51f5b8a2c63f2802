"""Schemas are plain values: dtypes have one spelling, digests see every difference, JSON loses nothing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import BuilderError
from builder.tables.schema import PLAIN_DTYPES, Column, Schema, check_dtype, decimal_parts

DTYPES = st.one_of(st.sampled_from(sorted(PLAIN_DTYPES)), st.integers(1, 38).map(lambda p: f"decimal({p},{p // 2})"))
COLUMNS = st.lists(
    st.builds(Column, st.text(st.characters(), max_size=8), DTYPES, st.sampled_from([None, "EPSG:4326"])),
    max_size=5,
    unique_by=lambda c: c.name,
)


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    columns = draw(COLUMNS)
    return Schema(tuple(columns), tuple(c.name for c in columns if draw(st.booleans())))


@pytest.mark.parametrize("dtype", sorted(PLAIN_DTYPES))
def test_plain_dtypes_are_spelled_as_they_are(dtype: str) -> None:
    assert check_dtype(dtype, "a") == dtype
    assert decimal_parts(dtype) is None


def test_decimals_have_one_spelling() -> None:
    assert check_dtype("decimal(10, 2)", "a") == check_dtype("decimal(010,2)", "a") == "decimal(10,2)"
    assert decimal_parts("decimal(38,0)") == (38, 0)


@pytest.mark.parametrize(
    "dtype", ["", "int", "INT64", "decimal(0,0)", "decimal(39,1)", "decimal(3,4)", "decimal(3)", None]
)
def test_other_dtypes_are_refused_with_the_column(dtype: str) -> None:
    with pytest.raises(BuilderError, match="'price'") as caught:
        check_dtype(dtype, "price")
    assert caught.value.code == "recipe-declaration"
    assert "float64" in str(caught.value.hint)


@given(schemas())
def test_a_schema_comes_back_from_json(schema: Schema) -> None:
    back = Schema.from_json(json.loads(json.dumps(schema.to_json())))
    assert back == schema
    assert back.digest() == schema.digest()


@given(schemas(), schemas())
def test_digests_are_equal_only_for_equal_schemas(one: Schema, two: Schema) -> None:
    assert (one.digest() == two.digest()) == (one == two)


def test_a_digest_sees_each_difference() -> None:
    base = Schema((Column("a", "int64"), Column("g", "geometry", "EPSG:4326")), ("a",))
    others = [
        Schema((Column("b", "int64"), base.columns[1]), ("b",)),
        Schema((Column("a", "Int64"), base.columns[1]), ("a",)),
        Schema((base.columns[0], Column("g", "geometry", "EPSG:3857")), ("a",)),
        Schema((base.columns[0], Column("g", "geometry")), ("a",)),
        Schema(base.columns[::-1], ("a",)),
        Schema(base.columns, ()),
        Schema(base.columns[:1], ("a",)),
    ]
    assert len({s.digest() for s in [base, *others]}) == len(others) + 1


def test_selecting_columns_keeps_the_key_only_when_it_is_whole() -> None:
    schema = Schema(tuple(Column(n, "string") for n in "abc"), ("a", "b"))
    assert schema.select(["b", "a"]) == Schema((Column("b", "string"), Column("a", "string")), ("a", "b"))
    assert schema.select(["a", "c"]).key == ()
    with pytest.raises(KeyError):
        schema.select(["z"])


def test_columns_are_found_by_name() -> None:
    schema = Schema((Column("a", "int64"), Column("g", "geometry"), Column("h", "geometry")))
    assert schema.names == ("a", "g", "h")
    assert schema.geometry == "g"
    assert schema.column("a") == Column("a", "int64")
    assert Schema(()).geometry is None


def test_only_two_dtypes_refuse_nulls() -> None:
    assert {d for d in PLAIN_DTYPES if not Column("a", d).is_nullable} == {"int64", "bool"}
