"""The compiled loops under `tables.keys`: searching sorted columns.

Decides nothing: what is searched for and why stands there. Explicit signatures keep it to one compilation
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
_out = types.int64[::1]
_options: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}
_inlined: dict[str, Any] = {"nogil": True, "error_model": "numpy", "inline": "always"}


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
