"""Sizes, counts and durations as people write and read them."""

from __future__ import annotations

import re

from builder.errors import error

_UNITS = {
    "": 1,
    "b": 1,
    "k": 1000,
    "kb": 1000,
    "m": 10**6,
    "mb": 10**6,
    "g": 10**9,
    "gb": 10**9,
    "t": 10**12,
    "tb": 10**12,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
}


def parse_bytes(text: str | int, what: str, place: str | None = None) -> int:
    """Bytes of ``4 GB``, ``512 MiB`` or a plain number.

    Raises
    ------
    ConfigError
        ``recipe-declaration`` for anything else.

    >>> parse_bytes("4 GB", "memory")
    4000000000
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", str(text).lower())
    if not match or match[2] not in _UNITS:
        raise error("recipe-declaration", f"{what} is {text!r}", place=place, hint='write a size such as "4 GB"')
    return int(float(match[1]) * _UNITS[match[2]])


def bytes_text(size: int) -> str:
    """A size for people: ``812 B``, ``4.2 kB``, ``1.1 GB``, ``10.0 TB``."""
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:,.0f} {unit}" if unit == "B" or value >= 99.5 else f"{value:.1f} {unit}"


def seconds_text(seconds: float) -> str:
    """A duration for people: ``40 ms``, ``3.2 s``, ``12 min``, ``5 h 10 min``."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def count_text(count: int, noun: str, plural: str | None = None) -> str:
    """A count with its noun: ``1 row``, ``12,573 rows``."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
