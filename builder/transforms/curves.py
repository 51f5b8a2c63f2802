"""Chaikin's and Taubin's rules on rings.

Decides where corners go, each from its two neighbours alone, with the same result in either direction along the ring.
Never asks whether the outcome is valid.

G. M. Chaikin, An algorithm for high-speed curve generation, Computer Graphics and Image Processing 3 (1974): each
corner is replaced by the two points at a quarter of its edges. Repeated, it leads to the uniform quadratic B-spline (R.
F. Riesenfeld, ibid. 4, 1975), so the points after any number of rounds are known at once: of the Bezier curve from
midpoint to midpoint of the edges, the blossom at (j h, (j + 1) h) with h = 2^-rounds.

G. Taubin, Curve and surface smoothing without shrinkage, ICCV 1995: every corner a share of the way to the middle of
its neighbours, then a greater share back.
"""

from __future__ import annotations

import numpy as np

from builder.transforms.compiling import njit
from builder.transforms.rings import Floats

TAUBIN_IN, TAUBIN_OUT = 0.5, -0.53


def chaikin_weights(iterations: int) -> Floats:
    """The shares of the corner before, the corner and the corner after in each point that replaces the corner."""
    h = 2.0**-iterations
    s = np.arange(2**iterations) * h
    t = s + h
    before, after = (1 - s) * (1 - t) / 2, s * t / 2
    return np.column_stack((before, 1 - before - after, after))


@njit(cache=True, nogil=True, error_model="numpy")
def cut_corners(xy, rings, is_cut, weights, closed, ends):  # type: ignore[no-untyped-def]
    """Put the closed rings, with one point per row of the weights for each corner that is cut, into `closed`.

    `ends` gets where each ring begins there, and where the last one ends.
    """
    per_corner = len(weights)
    at = 0
    for r in range(len(rings) - 1):
        begin, end = rings[r], rings[r + 1]
        ends[r] = first = at
        for i in range(begin, end):
            x, y = xy[i, 0], xy[i, 1]
            if is_cut[i]:
                a = i - 1 if i > begin else end - 1
                b = i + 1 if i + 1 < end else begin
                ax, ay, bx, by = xy[a, 0], xy[a, 1], xy[b, 0], xy[b, 1]
                for j in range(per_corner):
                    wa, w, wb = weights[j, 0], weights[j, 1], weights[j, 2]
                    closed[at, 0] = w * x + (wa * ax + wb * bx)  # the same sum when a and b change places
                    closed[at, 1] = w * y + (wa * ay + wb * by)
                    at += 1
            else:
                closed[at, 0] = x
                closed[at, 1] = y
                at += 1
        closed[at, 0] = closed[first, 0]
        closed[at, 1] = closed[first, 1]
        at += 1
    ends[len(rings) - 1] = at


@njit(cache=True, nogil=True, error_model="numpy")
def corner_heights(xy, rings, shrink):  # type: ignore[no-untyped-def]
    """How far Chaikin's limit curve passes from each corner, in units of y; `shrink` is a unit of x at each corner."""
    heights = np.empty(len(xy))
    for r in range(len(rings) - 1):
        begin, end = rings[r], rings[r + 1]
        for i in range(begin, end):
            a = i - 1 if i > begin else end - 1
            b = i + 1 if i + 1 < end else begin
            dx = (2 * xy[i, 0] - (xy[a, 0] + xy[b, 0])) * shrink[i]
            dy = 2 * xy[i, 1] - (xy[a, 1] + xy[b, 1])
            heights[i] = np.hypot(dx, dy) / 8
    return heights


@njit(cache=True, nogil=True, error_model="numpy")
def move_corners(xy, rings, is_moved, iterations):  # type: ignore[no-untyped-def]
    """The corners after Taubin's rule; those that are not moved stay, and their neighbours see them where they are."""
    now = xy.copy()
    for _ in range(iterations):
        for share in (TAUBIN_IN, TAUBIN_OUT):
            for r in range(len(rings) - 1):
                _move_ring(now, rings[r], rings[r + 1], is_moved, share)
    return now


@njit(cache=True, nogil=True, error_model="numpy")
def _move_ring(now, begin, end, is_moved, share):  # type: ignore[no-untyped-def]
    first_x, first_y = now[begin, 0], now[begin, 1]
    ax, ay = now[end - 1, 0], now[end - 1, 1]
    for i in range(begin, end):
        x, y = now[i, 0], now[i, 1]
        bx, by = (now[i + 1, 0], now[i + 1, 1]) if i + 1 < end else (first_x, first_y)
        if is_moved[i]:
            now[i, 0] = x + share * ((ax + bx) / 2 - x)
            now[i, 1] = y + share * ((ay + by) / 2 - y)
        ax, ay = x, y
