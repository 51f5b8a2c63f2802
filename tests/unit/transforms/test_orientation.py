"""Signs are exact where double precision is not."""

from fractions import Fraction

import numpy as np
import pytest

from builder.transforms.orientation import crosses_south, crosses_west, is_left, is_on, turn


def exact(x1, y1, x2, y2, px, py):
    x1, y1, x2, y2, px, py = (Fraction(float(v)) for v in (x1, y1, x2, y2, px, py))
    determinant = (x2 - x1) * (py - y1) - (y2 - y1) * (px - x1)
    return (determinant > 0) - (determinant < 0)


def cases():
    rng = np.random.default_rng(3)
    for scale in (1.0, 1e-9, 1e12, 180.0):
        for _ in range(200):
            x1, y1, x2, y2 = rng.normal(size=4) * scale
            part = rng.random()
            px, py = x1 + part * (x2 - x1), y1 + part * (y2 - y1)
            yield x1, y1, x2, y2, px, py
            yield x1, y1, x2, y2, np.nextafter(px, 1e300), py
            yield x1, y1, x2 * 1e-12, y2, px, py
    for _ in range(500):
        yield tuple(rng.integers(-4, 5, 6).astype(float))


def test_a_turn_has_the_sign_of_the_determinant_in_fractions():
    wrong = [c for c in cases() if turn(*c) != exact(*c)]
    assert wrong == []


def test_a_determinant_that_rounds_to_zero_still_has_its_sign():
    edge = (0.1, 0.1, 0.7, 0.7)
    for point in [(0.3, 0.3), (0.3, np.nextafter(0.3, 1)), (0.3, np.nextafter(0.3, 0)), (1e-30, 2e-30)]:
        assert turn(*edge, *point) == exact(*edge, *point)


@pytest.mark.parametrize("seed", range(5))
def test_rays_west_and_south_agree_on_what_a_ring_of_integers_holds(seed):
    rng = np.random.default_rng(seed)
    ring = rng.integers(0, 6, (7, 2)).astype(float)
    edges = [sorted([tuple(a), tuple(b)]) for a, b in zip(ring, np.roll(ring, 1, axis=0), strict=True)]
    edges = [(*a, *b) for a, b in edges if a != b]
    for px in np.arange(-1, 7, 0.5):
        for py in np.arange(-1, 7, 0.5):
            west = sum(crosses_west(*e, px, py) for e in edges) % 2
            south = sum(crosses_south(*e, px, py) for e in edges) % 2
            assert west == south


def test_a_point_on_a_line_is_taken_as_south_east_of_an_edge_that_rises_and_north_of_one_that_does_not():
    assert not is_left(0.0, 0.0, 1.0, 1.0, 0.5, 0.5)
    assert is_left(0.0, 1.0, 1.0, 0.0, 0.5, 0.5)
    assert is_left(0.0, 0.0, 1.0, 0.0, 0.5, 0.0)


def test_ends_lie_on_an_edge_and_its_extension_does_not():
    assert is_on(0.0, 0.0, 2.0, 1.0, 0.0, 0.0)
    assert is_on(0.0, 0.0, 2.0, 1.0, 2.0, 1.0)
    assert is_on(0.0, 0.0, 2.0, 1.0, 1.0, 0.5)
    assert not is_on(0.0, 0.0, 2.0, 1.0, 4.0, 2.0)
    assert not is_on(0.0, 0.0, 2.0, 1.0, 1.0, np.nextafter(0.5, 1))
