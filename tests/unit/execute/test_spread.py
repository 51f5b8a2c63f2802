"""Spans of parts: all of them, in order, of about equal rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from builder.execute.spread import spans_of
from builder.store.manifest import Part


@given(st.lists(st.integers(1, 100), max_size=60), st.integers(1, 9))
def test_spans_are_all_parts_in_order(rows: list[int], slots: int) -> None:
    spans = spans_of([Part(f"p{n}", count, 0, "", "") for n, count in enumerate(rows)], slots)
    assert [n for span in spans for n in span] == list(range(len(rows)))
    assert all(len(span) for span in spans)
    assert len(spans) <= 4 * slots + 1


def test_equal_parts_make_four_spans_a_slot() -> None:
    assert [len(s) for s in spans_of([Part("p", 10, 0, "", "")] * 16, 2)] == [2] * 8
