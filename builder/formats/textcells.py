r"""Text cells as numbers: compiled loops over Arrow string columns.

Decides the grammar of each dtype in text, to the byte:

    int64      -?(0|[1-9][0-9]*) within 64 bits, without -0
    float64    -?(0|[1-9][0-9]*)?(\.[0-9]*)?([eE][+-]?[0-9]+)? with a digit before the exponent, finite; a whole number
               without point and exponent is at most 2^53, because more would not survive
    bool       true, false, also True, False, TRUE, FALSE
    date       YYYY-MM-DD, a day of the calendar
    timestamp  YYYY-MM-DD, T or a space, HH:MM[:SS[.digits]], then nothing (UTC), Z, or ±HH[[:]MM]; whole microseconds

Declared columns are read leniently: blanks around the cell, a leading +, leading zeros and -0 pass, and so do nan, inf
and infinity in float64, 1 and 0 in bool, and a day alone in timestamp. Never makes a Python object for a cell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

from builder.transforms.compiling import njit

_POWERS = np.array([10.0**i for i in range(23)])  # every power of ten that a float64 holds exactly
_MONTH_DAYS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], dtype=np.int64)
_EXACT = 1 << 53
_ENDLESS = np.uint64(1797693134862315808)  # times 10^290: rounds to infinity
_MOST_POWER = 99999
_BAD, _DONE, _HARD = 0, 1, 2

_Loop = TypeVar("_Loop", bound=Callable[..., Any])


def _compiled(loop: _Loop) -> _Loop:
    """`loop`, compiled at its first call and kept on disk: a source without timestamps never waits for their parser."""
    return cast("_Loop", njit(nogil=True, cache=True)(loop))


@_compiled
def _is_null(valid: Any, nullable: bool, i: int) -> bool:
    return nullable and not (valid[i >> 3] >> (i & 7)) & 1


@_compiled
def _trim(data: Any, a: Any, b: Any) -> tuple[Any, Any]:
    while a < b and (data[a] == 32 or data[a] == 9):
        a += 1
    while a < b and (data[b - 1] == 32 or data[b - 1] == 9):
        b -= 1
    return a, b


@_compiled
def _integer(data: Any, a: Any, b: Any, lenient: bool) -> tuple[Any, Any]:
    """(status, value) of the bytes a to b as an int64."""
    if lenient:
        a, b = _trim(data, a, b)
    minus = a < b and data[a] == 45
    if minus or (lenient and a < b and data[a] == 43):
        a += 1
    if lenient:
        while b - a > 1 and data[a] == 48:
            a += 1
    n = b - a
    if n < 1 or n > 19 or (not lenient and data[a] == 48 and (n > 1 or minus)):
        return _BAD, 0
    value = np.uint64(0)
    for i in range(a, b):
        digit = np.uint64(data[i]) - np.uint64(48)  # wraps below "0", so one comparison rejects both sides
        if digit > np.uint64(9):
            return _BAD, 0
        value = value * np.uint64(10) + digit
    if value > np.uint64(9223372036854775807):
        if minus and value == np.uint64(9223372036854775808):
            return _DONE, -9223372036854775808
        return _BAD, 0
    return _DONE, -np.int64(value) if minus else np.int64(value)


@_compiled
def _word(data: Any, a: Any, b: Any) -> float:
    """NaN or an infinity that the bytes spell, else 0."""
    sign = 1.0
    if a < b and (data[a] == 45 or data[a] == 43):
        sign = -1.0 if data[a] == 45 else 1.0
        a += 1
    n = b - a
    low = 32
    if n == 3 and data[a] | low == 110 and data[a + 1] | low == 97 and data[a + 2] | low == 110:
        return np.nan
    if n != 3 and n != 8:
        return 0.0
    if data[a] | low == 105 and data[a + 1] | low == 110 and data[a + 2] | low == 102:
        rest = (105, 110, 105, 116, 121)
        for i in range(n - 3):
            if data[a + 3 + i] | low != rest[i]:
                return 0.0
        return sign * np.inf
    return 0.0


@_compiled
def _leading(mantissa: Any) -> Any:
    """`mantissa` scaled to 19 digits, or as it is where it has none."""
    while np.uint64(0) < mantissa < np.uint64(1000000000000000000):
        mantissa *= np.uint64(10)
    return mantissa


@_compiled
def _power(data: Any, i: Any, b: Any) -> Any:
    """The power of ten that the bytes spell, within `_MOST_POWER` of 0; more than that where they spell none."""
    if data[i] | 32 != 101:
        return np.int64(_MOST_POWER + 1)
    i += 1
    down = i < b and data[i] == 45
    if down or (i < b and data[i] == 43):
        i += 1
    if i == b:
        return np.int64(_MOST_POWER + 1)
    power = np.int64(0)
    while i < b:
        if data[i] < 48 or data[i] > 57:
            return np.int64(_MOST_POWER + 1)
        power = min(power * 10 + np.int64(data[i] - 48), np.int64(_MOST_POWER))
        i += 1
    return -power if down else power


@_compiled
def _decimal(data: Any, a: Any, b: Any, lenient: bool) -> tuple[Any, Any]:
    """(status, value) of the bytes as a float64; `_HARD`: well formed, but beyond exact arithmetic on two float64s."""
    if lenient:
        a, b = _trim(data, a, b)
        word = _word(data, a, b)
        if word != 0.0:
            return _DONE, word
    minus = a < b and data[a] == 45
    if minus or (lenient and a < b and data[a] == 43):
        a += 1
    i = a
    mantissa = np.uint64(0)
    digits = significant = 0
    exponent = order = 0  # the value is mantissa * 10^exponent, below 10^order
    point = False
    while i < b:
        byte = data[i]
        if byte == 46 and not point:
            point = True
        elif 48 <= byte <= 57:
            if significant or byte != 48:
                significant += 1
            if significant <= 19:
                mantissa = mantissa * np.uint64(10) + np.uint64(byte - 48)
                exponent -= 1 if point else 0
            if point and not significant:
                order -= 1
            elif significant and not point:
                order += 1
            digits += 1
        else:
            break
        i += 1
    if digits == 0 or (not lenient and b - a > 1 and data[a] == 48 and 48 <= data[a + 1] <= 57):
        return _BAD, 0.0
    whole = i == b and not point
    if i < b:
        power = _power(data, i, b)
        if power > _MOST_POWER:
            return _BAD, 0.0
        exponent += power
        order += power
    if order > 308 and (order > 309 or _leading(mantissa) >= _ENDLESS) and mantissa:
        return _BAD, 0.0
    if significant > 19 or mantissa > np.uint64(_EXACT):
        return (_BAD, 0.0) if whole and not lenient else (_HARD, 0.0)
    value = np.float64(mantissa)
    if mantissa == 0 or exponent == 0:
        pass
    elif 0 < exponent <= 22:
        value = value * _POWERS[exponent]
    elif -22 <= exponent < 0:
        value = value / _POWERS[-exponent]
    else:
        return _HARD, 0.0
    return _DONE, -value if minus else value


@_compiled
def _truth(data: Any, a: Any, b: Any, lenient: bool) -> Any:
    """1 or 0 as the bytes say, -1 where they say neither."""
    if lenient:
        a, b = _trim(data, a, b)
        if b - a == 1 and (data[a] == 48 or data[a] == 49):
            return np.int64(data[a] - 48)
    n = b - a
    if n != 4 and n != 5:
        return -1
    if n == 4:
        lower, upper = (116, 114, 117, 101, 0), (84, 82, 85, 69, 0)
    else:
        lower, upper = (102, 97, 108, 115, 101), (70, 65, 76, 83, 69)
    first = data[a]
    small = data[a + 1] == lower[1]
    if first != upper[0] and not (first == lower[0] and small):
        return -1
    for i in range(1, n):
        if data[a + i] != (lower[i] if small else upper[i]):
            return -1
    return 1 if n == 4 else 0


@_compiled
def _pair(data: Any, i: Any) -> Any:
    """The number of two digits at i, or a large negative number."""
    if 48 <= data[i] <= 57 and 48 <= data[i + 1] <= 57:
        return np.int64(data[i] - 48) * 10 + np.int64(data[i + 1] - 48)
    return -100000


@_compiled
def _day(data: Any, a: Any) -> tuple[Any, Any]:
    """(whether the ten bytes at a are a day, days since 1970-01-01)."""
    if data[a + 4] != 45 or data[a + 7] != 45:
        return False, 0
    year = _pair(data, a) * 100 + _pair(data, a + 2)
    month, day = _pair(data, a + 5), _pair(data, a + 8)
    if year < 1 or month < 1 or month > 12 or day < 1:
        return False, 0
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if day > _MONTH_DAYS[month - 1] + (1 if leap and month == 2 else 0):
        return False, 0
    # days from civil: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", 2013
    shifted = year - (1 if month <= 2 else 0)
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return True, era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


@_compiled
def _instant(data: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """(whether the bytes are an instant, microseconds since 1970-01-01T00:00Z)."""
    if b - a < 16 or (data[a + 10] != 84 and data[a + 10] != 32) or data[a + 13] != 58:
        return False, 0
    is_day, days = _day(data, a)
    hour, minute = _pair(data, a + 11), _pair(data, a + 14)
    if not is_day or hour < 0 or hour > 23 or minute < 0 or minute > 59:
        return False, 0
    i = a + 16
    second: Any = 0
    micros: Any = 0
    if i < b and data[i] == 58:
        if b - i < 3:
            return False, 0
        second = _pair(data, i + 1)
        if second < 0 or second > 59:
            return False, 0
        i += 3
        if i < b and data[i] == 46:
            i += 1
            scale = 1000000
            first = i
            while i < b and 48 <= data[i] <= 57:
                digit = np.int64(data[i] - 48)
                scale //= 10
                if scale == 0 and digit != 0:
                    return False, 0
                micros += digit * scale
                i += 1
            if i == first:
                return False, 0
    shift = 0
    if i < b and data[i] == 90:
        i += 1
    elif i < b and (data[i] == 43 or data[i] == 45):
        sign = 1 if data[i] == 43 else -1
        if b - i < 3:
            return False, 0
        zone_hour, zone_minute = _pair(data, i + 1), 0
        colon = 1 if i + 3 < b and data[i + 3] == 58 else 0
        if b - i == 5 + colon:
            zone_minute = _pair(data, i + 3 + colon)
            i += 5 + colon
        elif colon == 0 and b - i == 3:
            i += 3
        if zone_hour < 0 or zone_hour > 23 or zone_minute < 0 or zone_minute > 59:
            return False, 0
        shift = sign * (zone_hour * 60 + zone_minute)
    if i != b:
        return False, 0
    return True, (days * 86400 + (hour * 60 + minute - shift) * 60 + second) * 1000000 + micros


@_compiled
def integers(offsets: Any, data: Any, valid: Any, nullable: bool, lenient: bool, out: Any) -> int:
    """Fills `out`; the first row that is no int64, -1 where all are."""
    for i in range(len(offsets) - 1):
        if _is_null(valid, nullable, i):
            out[i] = 0
            continue
        status, out[i] = _integer(data, np.int64(offsets[i]), np.int64(offsets[i + 1]), lenient)
        if status == _BAD:
            return i
    return -1


@_compiled
def decimals(offsets: Any, data: Any, valid: Any, nullable: bool, lenient: bool, out: Any, hard: Any) -> int:
    """Fills `out`, and marks in `hard` the rows left to do; the first row that is no float64, -1 where all are."""
    for i in range(len(offsets) - 1):
        hard[i] = 0
        if _is_null(valid, nullable, i):
            out[i] = 0.0
            continue
        status, out[i] = _decimal(data, np.int64(offsets[i]), np.int64(offsets[i + 1]), lenient)
        if status == _BAD:
            return i
        if status == _HARD:
            hard[i] = 1
    return -1


@_compiled
def truths(offsets: Any, data: Any, valid: Any, nullable: bool, lenient: bool, out: Any) -> int:
    """Fills `out` with 1 and 0; the first row that is no bool, -1 where all are."""
    for i in range(len(offsets) - 1):
        out[i] = 0
        if _is_null(valid, nullable, i):
            continue
        truth = _truth(data, np.int64(offsets[i]), np.int64(offsets[i + 1]), lenient)
        if truth < 0:
            return i
        out[i] = truth
    return -1


@_compiled
def days(offsets: Any, data: Any, valid: Any, nullable: bool, lenient: bool, out: Any) -> int:
    """Fills `out` with days since 1970-01-01; the first row that is no date, -1 where all are."""
    for i in range(len(offsets) - 1):
        out[i] = 0
        if _is_null(valid, nullable, i):
            continue
        a, b = np.int64(offsets[i]), np.int64(offsets[i + 1])
        if lenient:
            a, b = _trim(data, a, b)
        if b - a != 10:
            return i
        is_day, out[i] = _day(data, a)
        if not is_day:
            return i
    return -1


@_compiled
def instants(offsets: Any, data: Any, valid: Any, nullable: bool, lenient: bool, out: Any) -> int:
    """Fills `out` with microseconds since 1970-01-01T00:00Z; the first row that is no timestamp, -1 where all are."""
    for i in range(len(offsets) - 1):
        out[i] = 0
        if _is_null(valid, nullable, i):
            continue
        a, b = np.int64(offsets[i]), np.int64(offsets[i + 1])
        if lenient:
            a, b = _trim(data, a, b)
            if b - a == 10:
                is_day, day = _day(data, a)
                out[i] = day * 86400000000
                if is_day:
                    continue
        is_instant, out[i] = _instant(data, a, b)
        if not is_instant:
            return i
    return -1
