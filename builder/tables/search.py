"""The compiled loops under `tables.keys` and `tables.delta`: searching sorted columns, pairing lists of row hashes.

Decides nothing: what is searched for and why stands in those modules. Explicit signatures keep it to one compilation
each, cached once per machine. Importing this module imports numba.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from builder.transforms.compiling import njit

_words = types.Array(types.int64, 1, "C", readonly=True)
_bytes = types.Array(types.uint8, 1, "C", readonly=True)
_offsets = types.Array(types.int32, 1, "C", readonly=True)
_hashes = types.Array(types.uint64, 1, "C", readonly=True)
_out = types.int64[::1]
_marks = types.boolean[::1]
_options: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
_inlined: dict[str, Any] = {"nogil": True, "error_model": "numpy", "inline": "always"}

_AHEAD = 8  # how many rows either list may be ahead before two lists of hashes are in step again


@njit(types.void(_words, _words, _out, _out), **_options)
def narrow_words(values, sought, low, high):  # type: ignore[no-untyped-def]
    """Narrow each range [low, high) of ascending `values` to those that equal what is sought.

    An empty range stays where the value would stand. What is sought ascends within equal ranges: each search begins
    where the last one ended and doubles its steps, so that many searches cost one pass and few cost a logarithm each.
    """
    floor = 0
    for i in range(sought.shape[0]):
        q = sought[i]
        at = max(low[i], floor)
        end = max(at, high[i])
        limit = end
        step = 1
        while at < end:
            probe = min(at + step, end) - 1
            if values[probe] < q:
                at = probe + 1
                step *= 2
            else:
                end = probe
                break
        while at < end:
            middle = (at + end) >> 1
            if values[middle] < q:
                at = middle + 1
            else:
                end = middle
        floor = at
        low[i] = at
        end = limit
        step = 1
        while at < end:
            probe = min(at + step, end) - 1
            if values[probe] == q:
                at = probe + 1
                step *= 2
            else:
                end = probe
                break
        while at < end:
            middle = (at + end) >> 1
            if values[middle] == q:
                at = middle + 1
            else:
                end = middle
        high[i] = at


@njit(**_inlined)
def _compare(a, a0, a1, b, b0, b1):  # type: ignore[no-untyped-def]
    """Below, at or above 0 as the bytes a[a0:a1] are below, equal to or above b[b0:b1]."""
    count = min(a1 - a0, b1 - b0)
    for i in range(count):
        if a[a0 + i] != b[b0 + i]:
            return np.int64(a[a0 + i]) - np.int64(b[b0 + i])
    return (a1 - a0) - (b1 - b0)


@njit(**_inlined)
def _text_at(offsets, data, row, sought, q0, q1):  # type: ignore[no-untyped-def]
    """How the text of a row compares to what is sought; offsets that a damaged file holds are kept inside of it."""
    start = min(max(np.int64(offsets[row]), 0), data.shape[0])
    stop = min(max(np.int64(offsets[row + 1]), start), data.shape[0])
    return _compare(data, start, stop, sought, q0, q1)


@njit(types.void(_offsets, _bytes, _offsets, _bytes, _out, _out), **_options)
def narrow_texts(offsets, data, sought_offsets, sought, low, high):  # type: ignore[no-untyped-def]
    """As `narrow_words`, of texts by their bytes."""
    floor = 0
    for i in range(sought_offsets.shape[0] - 1):
        q0 = np.int64(sought_offsets[i])
        q1 = np.int64(sought_offsets[i + 1])
        at = max(low[i], floor)
        end = max(at, high[i])
        limit = end
        step = 1
        while at < end:
            probe = min(at + step, end) - 1
            if _text_at(offsets, data, probe, sought, q0, q1) < 0:
                at = probe + 1
                step *= 2
            else:
                end = probe
                break
        while at < end:
            middle = (at + end) >> 1
            if _text_at(offsets, data, middle, sought, q0, q1) < 0:
                at = middle + 1
            else:
                end = middle
        floor = at
        low[i] = at
        end = limit
        step = 1
        while at < end:
            probe = min(at + step, end) - 1
            if _text_at(offsets, data, probe, sought, q0, q1) == 0:
                at = probe + 1
                step *= 2
            else:
                end = probe
                break
        while at < end:
            middle = (at + end) >> 1
            if _text_at(offsets, data, middle, sought, q0, q1) == 0:
                at = middle + 1
            else:
                end = middle
        high[i] = at


@njit(types.void(_hashes, _hashes, _hashes, _hashes, _marks, _marks), **_options)
def pair_hashes(old_low, old_high, new_low, new_high, old_left, new_left):  # type: ignore[no-untyped-def]
    """Mark what has no equal in the other list, walking both in their order; what moved further apart stays marked too.

    Where the lists differ they are in step again at the nearest pair of equal hashes, at most `_AHEAD` rows ahead.
    """
    i = 0
    j = 0
    olds = old_low.shape[0]
    news = new_low.shape[0]
    while i < olds and j < news:
        if old_low[i] == new_low[j] and old_high[i] == new_high[j]:
            old_left[i] = False
            new_left[j] = False
            i += 1
            j += 1
            continue
        skip_old = 1
        skip_new = 1
        is_found = False
        for ahead in range(1, 2 * _AHEAD):
            for a in range(max(0, ahead - _AHEAD), min(ahead, _AHEAD) + 1):
                b = ahead - a
                if i + a < olds and j + b < news and old_low[i + a] == new_low[j + b]:
                    skip_old = a
                    skip_new = b
                    is_found = True
                    break
            if is_found:
                break
        i += skip_old
        j += skip_new
