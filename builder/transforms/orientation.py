"""On which side of an edge a point lies, exactly, and the crossings that follow from it.

Decides signs only: a filter in double precision first, then exact expansions (Shewchuk, "Adaptive Precision
Floating-Point Arithmetic and Fast Robust Geometric Predicates", 1997). Exact while no product of coordinate differences
leaves the range of a double. Never decides what a region is. Importing this module imports numba.

An edge runs from its lexicographically lower end (x1, y1) to (x2, y2). Where a query point lies on a line, the answer
is that of the point (x + d, y + e), e far below d, both vanishing (Edelsbrunner and Mücke, "Simulation of
Simplicity", 1990): so crossings along either axis always agree with each other, vertices and horizontal edges
included.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from builder.transforms.compiling import njit

compiled: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}

# Shewchuk's ccwerrboundA, (3 + 16 eps) eps: below it the sign of a determinant in double precision is uncertain
UNCERTAIN = 3.3306690738754716e-16
_SPLITTER = 134217729.0  # 2**27 + 1


@njit(**compiled)
def _two_difference(a, b):  # type: ignore[no-untyped-def]
    """The difference of two doubles as a rounded value and its exact error."""
    x = a - b
    virtual = a - x
    return x, (a - (x + virtual)) + (virtual - b)


@njit(**compiled)
def _two_sum(a, b):  # type: ignore[no-untyped-def]
    """The sum of two doubles as a rounded value and its exact error."""
    x = a + b
    virtual = x - a
    return x, (a - (x - virtual)) + (b - virtual)


@njit(**compiled)
def _two_product(a, b):  # type: ignore[no-untyped-def]
    """The product of two doubles as a rounded value and its exact error (Dekker)."""
    x = a * b
    c = _SPLITTER * a
    a_high = c - (c - a)
    a_low = a - a_high
    c = _SPLITTER * b
    b_high = c - (c - b)
    b_low = b - b_high
    return x, a_low * b_low - (((x - a_high * b_high) - a_low * b_high) - a_high * b_low)


@njit(**compiled)
def _sign_of_sum(terms):  # type: ignore[no-untyped-def]
    """The sign of the exact sum of doubles, by growing an expansion one term at a time."""
    grown = np.empty(len(terms))
    for count in range(len(terms)):
        carry = terms[count]
        for i in range(count):
            carry, grown[i] = _two_sum(carry, grown[i])
        grown[count] = carry
    for i in range(len(terms) - 1, -1, -1):
        if grown[i] != 0.0:
            return 1 if grown[i] > 0.0 else -1
    return 0


@njit(**compiled)
def _exact_turn(x1, y1, x2, y2, px, py):  # type: ignore[no-untyped-def]
    a, a_tail = _two_difference(x2, x1)
    b, b_tail = _two_difference(py, y1)
    c, c_tail = _two_difference(y2, y1)
    d, d_tail = _two_difference(px, x1)
    left, left_tail = _two_product(a, b)
    right, right_tail = _two_product(c, d)
    if a_tail == 0.0 and b_tail == 0.0 and c_tail == 0.0 and d_tail == 0.0:
        # rounding keeps order: unequal rounded products already tell
        if left == right:
            left, right = left_tail, right_tail
        return int(left > right) - int(left < right)
    terms = np.empty(16)
    terms[0], terms[1] = left, left_tail
    terms[2], terms[3] = _two_product(a, b_tail)
    terms[4], terms[5] = _two_product(a_tail, b)
    terms[6], terms[7] = _two_product(a_tail, b_tail)
    terms[8], terms[9] = -right, -right_tail
    terms[10], terms[11] = _two_product(-c, d_tail)
    terms[12], terms[13] = _two_product(-c_tail, d)
    terms[14], terms[15] = _two_product(-c_tail, d_tail)
    return _sign_of_sum(terms)


@njit(**compiled)
def turn(x1, y1, x2, y2, px, py):  # type: ignore[no-untyped-def]
    """1 where the point is left of the edge, -1 right of it, 0 on its line: exact."""
    left = (x2 - x1) * (py - y1)
    right = (y2 - y1) * (px - x1)
    determinant = left - right
    bound = UNCERTAIN * (abs(left) + abs(right))
    if determinant > bound:
        return 1
    if determinant < -bound:
        return -1
    return _exact_turn(x1, y1, x2, y2, px, py)


@njit(**compiled)
def is_left(x1, y1, x2, y2, px, py):  # type: ignore[no-untyped-def]
    """Whether the point, moved by a vanishing amount off the line where it lies on it, is left of the edge."""
    sign = turn(x1, y1, x2, y2, px, py)
    return sign > 0 or (sign == 0 and y2 <= y1)


@njit(**compiled)
def crosses_west(x1, y1, x2, y2, px, py):  # type: ignore[no-untyped-def]
    """Whether the edge crosses the ray that runs west from the point."""
    if (y1 <= py) == (y2 <= py) or x1 > px:
        return False
    return x2 <= px or is_left(x1, y1, x2, y2, px, py) != (y2 > y1)


@njit(**compiled)
def crosses_south(x1, y1, x2, y2, px, py):  # type: ignore[no-untyped-def]
    """Whether the edge crosses the ray that runs south from the point."""
    if x1 > px or x2 <= px or (y1 > py and y2 > py):
        return False
    return (y1 <= py and y2 <= py) or is_left(x1, y1, x2, y2, px, py)


@njit(**compiled)
def is_on(x1, y1, x2, y2, px, py):  # type: ignore[no-untyped-def]
    """Whether the point lies on the edge, ends included."""
    if px < x1 or px > x2 or (py < y1 and py < y2) or (py > y1 and py > y2):
        return False
    return turn(x1, y1, x2, y2, px, py) == 0
