"""Schemas: the columns of a table, their dtypes, its key and CRS, as plain values.

Decides which dtypes there are and what each allows. Imports no table library, so that the driver and `status` can
read schemas; `tables.arrow` maps them to Arrow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from builder.digests import Digest, digest_of
from builder.errors import error
from builder.nouns import dataclass

PLAIN_DTYPES = frozenset(
    {"int64", "Int64", "bool", "boolean", "float64", "string", "date", "timestamp", "binary", "geometry"}
)
GEOMETRY = "<geometry>"
"""Stands for the geometry column of a table, whatever its name, where columns to be read are named."""
_DECIMAL = re.compile(r"decimal\((\d+),\s*(\d+)\)")


def check_dtype(text: str, column: str, place: str | None = None) -> str:
    """The canonical spelling of a dtype: one of `PLAIN_DTYPES` or ``decimal(p,s)`` with 1 ≤ p ≤ 38, 0 ≤ s ≤ p.

    Raises
    ------
    ConfigError
        ``recipe-declaration`` for any other text.
    """
    if text in PLAIN_DTYPES:
        return text
    match = _DECIMAL.fullmatch(text) if isinstance(text, str) else None
    if match and 1 <= int(match[1]) <= 38 and int(match[2]) <= int(match[1]):
        return f"decimal({int(match[1])},{int(match[2])})"
    raise error(
        "recipe-declaration",
        f"column '{column}' is declared as {text!r}",
        place=place,
        hint="dtypes are " + ", ".join(sorted(PLAIN_DTYPES)) + ", decimal(p,s)",
    )


def decimal_parts(dtype: str) -> tuple[int, int] | None:
    """(precision, scale) of a decimal dtype, None for the others."""
    match = _DECIMAL.fullmatch(dtype)
    return (int(match[1]), int(match[2])) if match else None


@dataclass(frozen=True, slots=True)
class Column:
    """One column: name, dtype, and for a geometry its CRS (``EPSG:n`` or WKT; None: not known)."""

    name: str
    dtype: str
    crs: str | None = None

    @property
    def is_nullable(self) -> bool:
        """Whether nulls may stand in it; ``float64`` holds null as NaN."""
        return self.dtype not in ("int64", "bool")


@dataclass(frozen=True, slots=True)
class Schema:
    """Columns in order, and the key columns (empty: an unkeyed table, whose key is the row's position)."""

    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(c.name for c in self.columns)

    @property
    def geometry(self) -> str | None:
        """The first geometry column's name, None where there is none."""
        return next((c.name for c in self.columns if c.dtype == "geometry"), None)

    def column(self, name: str) -> Column:
        """The column of that name; KeyError where there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def named(self, names: Iterable[str]) -> tuple[str, ...]:
        """These columns by their own names; KeyError where `GEOMETRY` is among them and there is no geometry."""
        found = tuple(self.geometry if n == GEOMETRY and n not in self.names else n for n in names)
        if None in found:
            raise KeyError(GEOMETRY)
        return tuple(n for n in found if n is not None)

    def select(self, names: Iterable[str]) -> Schema:
        """The schema of only these columns, in this order; the key stays only where all of it is among them."""
        names = tuple(names)
        key = self.key if set(self.key) <= set(names) else ()
        return Schema(tuple(self.column(n) for n in names), key)

    def digest(self) -> Digest:
        """The digest of names, dtypes, CRSs, order and key."""
        fields = [f for c in self.columns for f in (c.name, c.dtype, c.crs or "")]
        return digest_of("schema", str(len(self.columns)), *fields, *self.key)

    def to_json(self) -> dict[str, Any]:
        """A plain mapping that `from_json` reads."""
        columns = {c.name: c.dtype if c.crs is None else {"dtype": c.dtype, "crs": c.crs} for c in self.columns}
        return {"columns": columns, "key": list(self.key)}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Schema:
        """The schema that `to_json` wrote."""
        columns = tuple(
            Column(n, d) if isinstance(d, str) else Column(n, d["dtype"], d.get("crs"))
            for n, d in value["columns"].items()
        )
        return Schema(columns, tuple(value["key"]))
