"""The choice between an update and a full run: by the share of rows at first, then by what both ways took."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from builder.compile.choice import Read, choose, most_that_differ
from builder.digests import Digest
from builder.store.manifest import Layer, Manifest, Part


@dataclass
class Tried:
    wall_s: float
    bytes_in: int = 0
    rows_in: int = 0
    rows_tested: int = 0


READ = Read(10**9, 1_000_000)
WHOLE = [Tried(10.0, 10**9, 1_000_000)]


@pytest.mark.parametrize(
    ("rule", "rows", "is_update"),
    [
        ("rows", 10_000, True),
        ("rows", 300_000, True),
        ("rows", 500_000, False),
        ("groups", 20_000, True),
        ("groups", 200_000, False),
    ],
)
def test_before_an_update_was_measured_the_share_decides(rule, rows, is_update):
    assert choose(rule, rows, READ, WHOLE, []).is_update == is_update


def test_what_was_measured_outweighs_the_share():
    slow = [Tried(12.0, rows_tested=10_000)]
    assert not choose("rows", 10_000, READ, WHOLE, slow).is_update
    fast = [Tried(0.2, rows_tested=500_000)]
    assert choose("rows", 500_000, READ, WHOLE, fast).is_update


def test_an_update_grows_with_the_rows_and_a_full_run_with_the_bytes():
    seen = [Tried(1.0, rows_tested=100_000)] * 2
    choice = choose("rows", 200_000, Read(2 * 10**9, 2_000_000), [Tried(10.0, 10**9, 1_000_000)] * 2, seen)
    assert choice.update_s == pytest.approx(2.0, rel=0.02)
    assert choice.full_s == pytest.approx(20.0, rel=0.01)


def test_on_a_small_table_a_small_change_is_always_an_update():
    for wall_s in (0.01, 0.04, 0.09):
        choice = choose("rows", 10, Read(10_000, 1_000), [Tried(0.05, 10_000, 1_000)], [Tried(wall_s, rows_tested=10)])
        assert choice.is_update
    assert not choose(
        "rows", 10, Read(10_000, 1_000), [Tried(0.05, 10_000, 1_000)], [Tried(0.2, rows_tested=10)]
    ).is_update


def version(digest: str, *layers: Layer, rows: int = 100, **more: object) -> Manifest:
    return Manifest("table", Digest(digest), layers, rows, **more)  # type: ignore[arg-type]


def test_rows_that_differ_are_bounded_by_the_manifests_alone():
    base, first, second = (Layer((Part(name, rows, 1),)) for name, rows in (("a", 100), ("b", 5), ("c", 7)))
    old = version("1", base, first)
    assert most_that_differ(old, old) == 0
    assert most_that_differ(old, version("2", base, first, second)) == 7
    assert most_that_differ(version("0", base), version("2", base, first, second)) == 12
    assert most_that_differ(old, version("3", Layer((Part("d", 101, 1),)), base=Digest("1"), delta=second)) == 7
    assert most_that_differ(old, version("4", Layer((Part("e", 120, 1),)), rows=120)) == 120
