"""The choice between an update and a full run: by the share of rows at first, then by what both ways took."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from builder.compile.choice import MOST_HELD_BYTES, TOO_MUCH, Read, choose
from builder.compile.expected import share_between
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


def test_an_update_that_would_hold_too_much_at_once_is_left_to_a_full_run_in_pieces():
    large, seen = Read(20 * MOST_HELD_BYTES, 10**8, 20 * MOST_HELD_BYTES), [Tried(1.0, rows_tested=10**6)]
    whole = [Tried(100.0, 20 * MOST_HELD_BYTES, 10**8)]
    assert choose("rows", 4_000_000, large, whole, seen).is_update
    choice = choose("rows", 6_000_000, large, whole, seen)
    assert (choice.is_update, choice.why) == (False, TOO_MUCH)
    assert choice.update_s < choice.full_s
    assert choose("rows", 6_000_000, large, whole, seen, is_required=True).is_update
    assert choose("groups", 6_000_000, large, whole, seen).is_update, "its full run holds all at once"


def test_what_was_measured_outweighs_the_share():
    slow = [Tried(12.0, rows_tested=10_000)]
    assert not choose("rows", 10_000, READ, WHOLE, slow).is_update
    fast = [Tried(0.2, rows_tested=500_000)]
    assert choose("rows", 500_000, READ, WHOLE, fast).is_update


def test_what_small_updates_took_says_little_of_one_beyond_the_crossing():
    of, whole = Read(10**8, 1_000_000), [Tried(0.5, 10**8, 1_000_000)]
    small = [Tried(0.05, rows_tested=5_000), Tried(0.06, rows_tested=50_000)]
    assert choose("rows", 100_000, of, whole, small).is_update
    choice = choose("rows", 600_000, of, whole, small)
    assert not choice.is_update and choice.update_s == pytest.approx(0.05 + 0.5 * 0.6 / 0.4)
    like = [Tried(0.2, rows_tested=300_000), *small]
    assert choose("rows", 600_000, of, whole, like).is_update, "one like it was seen"


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


class Uncounted:
    """A ledger that counted no difference."""

    def difference(self, old: Digest, new: Digest) -> None:
        return None


def share(old: Manifest, new: Manifest) -> float:
    found, is_most = share_between(Uncounted(), old, new)  # type: ignore[arg-type]
    assert is_most
    return found


def test_rows_that_differ_are_bounded_by_the_manifests_alone():
    base, first, second = (Layer((Part(name, rows, 1),)) for name, rows in (("a", 100), ("b", 5), ("c", 7)))
    old = version("1", base, first)
    assert share(old, old) == 0
    assert share(old, version("2", base, first, second)) == 0.07
    assert share(version("0", base), version("2", base, first, second)) == 0.12
    assert share(old, version("3", Layer((Part("d", 101, 1),)), base=Digest("1"), delta=second)) == 0.07
    assert share(old, version("4", Layer((Part("e", 120, 1),)), rows=120)) == 1


def test_what_was_counted_goes_before_what_the_manifests_tell():
    class Counted:
        def difference(self, old: Digest, new: Digest) -> tuple[int, int, int]:
            return (1, 0, 2)

    old, new = version("1", Layer((Part("a", 100, 1),))), version("2", Layer((Part("e", 100, 1),)))
    assert share_between(Counted(), old, new) == (0.03, False)  # type: ignore[arg-type]
