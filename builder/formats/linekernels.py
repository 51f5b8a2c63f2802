"""The compiled loops under `formats.lines`: splitting text into records, hashing and gathering them.

Decides where a record ends, by the grammar of Arrow's CSV reader: a quote counts at the start of a field, a doubled one
inside quotes is text, and outside of quotes LF, CRLF and CR end a record. Never looks at fields.

The hash is MurmurHash3_x64_128 with seed 0 (Appleby, 2011), but (0, 1) in place of (0, 0), which stands for no record.
Text is looked at in words of 8 bytes: a GB takes about a second of one core.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

from builder.transforms.compiling import njit

PADDING = 24
"""How many bytes behind the text may be looked at; they do not count."""

_LF, _CR, _QUOTE = 10, 13, 34
_U0, _U1, _U3, _U5, _U8 = np.uint64(0), np.uint64(1), np.uint64(3), np.uint64(5), np.uint64(8)
_U27, _U31, _U33, _U37, _U56, _U63, _U64 = (np.uint64(n) for n in (27, 31, 33, 37, 56, 63, 64))
_LOWS, _HIGHS = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_SEVENS = np.uint64(0x7F7F7F7F7F7F7F7F)
_LFS, _CRS, _QUOTES = (np.uint64(byte * 0x0101010101010101) for byte in (_LF, _CR, _QUOTE))
_C1, _C2 = np.uint64(0x87C37B91114253D5), np.uint64(0x4CF5AD432745937F)
_F1, _F2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_N1, _N2 = np.uint64(0x52DCE729), np.uint64(0x38495AB5)

_Loop = TypeVar("_Loop", bound=Callable[..., Any])


def _compiled(loop: _Loop) -> _Loop:
    """`loop`, compiled at its first call and kept on disk: a source that is no text never waits for it."""
    return cast("_Loop", njit(nogil=True, cache=True, error_model="numpy")(loop))


@_compiled
def _zeros(word: Any) -> Any:
    """The high bit of each byte that is zero."""
    return ~(((word & _SEVENS) + _SEVENS) | word | _SEVENS)


@_compiled
def _special(word: Any, is_quoted: Any) -> Any:
    """The high bit of each byte that may end a record or begin or end quotes."""
    quotes = _zeros(word ^ _QUOTES)
    return quotes if is_quoted else quotes | _zeros(word ^ _LFS) | _zeros(word ^ _CRS)


@_compiled
def _has_special(word: Any, is_quoted: Any) -> Any:
    """Whether a byte of a word is special; without telling which, which takes a third less."""
    quotes = word ^ _QUOTES
    hits = (quotes - _LOWS) & ~quotes
    if not is_quoted:
        lfs, crs = word ^ _LFS, word ^ _CRS
        hits |= ((lfs - _LOWS) & ~lfs) | ((crs - _LOWS) & ~crs)
    return (hits & _HIGHS) != _U0


@_compiled
def _find(words: Any, at: Any, end: Any, is_quoted: Any) -> Any:
    """The place of the first special byte from `at` on; `end` where there is none before it."""
    if at >= end:
        return end
    k = at >> 3
    last = (end - 1) >> 3
    hits = _special(words[k], is_quoted) & (_HIGHS << np.uint64((at & 7) << 3))
    if hits == _U0:
        k += 1
        while k <= last and not _has_special(words[k], is_quoted):
            k += 1
        if k > last:
            return end
        hits = _special(words[k], is_quoted)
    below = (hits & (~hits + _U1)) - _U1
    found = (k << 3) + np.int64(((below & _LOWS) * _LOWS) >> _U56) - 1
    return min(found, end)


@_compiled
def split_records(
    data: Any, words: Any, begin: Any, end: Any, is_last: Any, keeps_empty: Any, delimiter: Any, starts: Any, ends: Any
) -> Any:
    """(how many records, where the next begins, whether text ends in quotes); line ends belong to no record.

    `words` is `data` as words. Stops where `starts` and `ends` are full, and where it takes more text to tell where a
    record ends, unless `is_last`. Empty records are left out, unless `keeps_empty`.
    """
    count = 0
    start = begin
    at = begin
    is_quoted = False
    while count < len(starts):
        at = _find(words, at, end, is_quoted)
        if at == end:
            break
        byte = data[at]
        if is_quoted:
            if at + 1 == end and not is_last:  # the next byte may double it
                return count, start, True
            if at + 1 < end and data[at + 1] == _QUOTE:
                at += 2
            else:
                is_quoted = False
                at += 1
            continue
        if byte == _QUOTE:
            is_quoted = at == start or data[at - 1] == delimiter
            at += 1
            continue
        if byte == _CR and at + 1 == end and not is_last:  # an LF may follow
            return count, start, False
        if at > start or keeps_empty:
            starts[count] = start
            ends[count] = at
            count += 1
        at += 2 if byte == _CR and at + 1 < end and data[at + 1] == _LF else 1
        start = at
    if is_last and at == end and start < end and not is_quoted and count < len(starts):
        starts[count] = start
        ends[count] = end
        count += 1
        start = end
    return count, start, is_quoted


@_compiled
def _rotate(word: Any, bits: Any) -> Any:
    return (word << bits) | (word >> (_U64 - bits))


@_compiled
def _final(word: Any) -> Any:
    word = (word ^ (word >> _U33)) * _F1
    word = (word ^ (word >> _U33)) * _F2
    return word ^ (word >> _U33)


@_compiled
def _mask(count: Any) -> Any:
    """A word whose first `count` bytes, at most 8, are set."""
    if count <= 0:
        return _U0
    return (_U1 << np.uint64(count << 3)) - _U1 if count < 8 else ~_U0


@_compiled
def hash_records(words: Any, starts: Any, ends: Any, count: Any, low: Any, high: Any) -> None:
    """Hashes records into `low` and `high`; looks at up to `PADDING` bytes behind the last one."""
    for record in range(count):
        start = starts[record]
        length = ends[record] - start
        k = start >> 3
        right = np.uint64((start & 7) << 3)
        left = _U63 - right  # of a word that is shifted by one already: no shift is by all 64 bits
        word = words[k]
        h1 = _U0
        h2 = _U0
        for _ in range(length >> 4):
            middle = words[k + 1]
            after = words[k + 2]
            k1 = (word >> right) | ((middle << _U1) << left)
            k2 = (middle >> right) | ((after << _U1) << left)
            h1 ^= _rotate(k1 * _C1, _U31) * _C2
            h1 = (_rotate(h1, _U27) + h2) * _U5 + _N1
            h2 ^= _rotate(k2 * _C2, _U33) * _C1
            h2 = (_rotate(h2, _U31) + h1) * _U5 + _N2
            word = after
            k += 2
        rest = length & 15
        if rest:
            middle = words[k + 1]
            after = words[k + 2]
            k1 = ((word >> right) | ((middle << _U1) << left)) & _mask(rest)
            k2 = ((middle >> right) | ((after << _U1) << left)) & _mask(rest - 8)
            h2 ^= _rotate(k2 * _C2, _U33) * _C1
            h1 ^= _rotate(k1 * _C1, _U31) * _C2
        h1 ^= np.uint64(length)
        h2 ^= np.uint64(length)
        h1 += h2
        h2 += h1
        h1 = _final(h1)
        h2 = _final(h2)
        h1 += h2
        h2 += h1
        low[record] = h1
        high[record] = _U1 if h1 | h2 == _U0 else h2


@_compiled
def gather_records(data: Any, starts: Any, ends: Any, is_new: Any, out: Any) -> Any:
    """Copies the records that are new into `out`, an LF behind each; how many bytes that took."""
    to = 0
    for record in range(len(is_new)):
        if is_new[record]:
            for at in range(starts[record], ends[record]):
                out[to] = data[at]
                to += 1
            out[to] = _LF
            to += 1
    return to
