"""Which columns a source must have, which dtype each gets and who said so, and the errors when a file disagrees.

Decides effective schemas and drift. Never looks at a value: `convert` says which dtype fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from builder.errors import BuilderError, error
from builder.execute.spec import IntakeSpec
from builder.tables.schema import Column, Schema

Origin = Literal["declared", "pinned", "inferred"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A column to read: its dtype (None: still to be inferred) and who fixed it."""

    name: str
    dtype: str | None
    origin: Origin

    @property
    def is_lenient(self) -> bool:
        """Whether its text may be read generously: only a declared dtype says what the author means by ``007``."""
        return self.origin == "declared"


def wanted_columns(spec: IntakeSpec, found: Sequence[str], shown: str) -> tuple[Wanted, ...]:
    """The columns to read from a file that has `found`: in the pinned order, else in the file's.

    Raises
    ------
    SourceError
        ``schema-drift``: columns are not those that are pinned, or lack a declared or key column, or hold the name that
        `file_column` is to have.
    """
    declared = dict(spec.columns)
    if spec.file_column is not None and spec.file_column in found:
        raise _drift(
            spec, shown, f"already has a column '{spec.file_column}'", [], "give file_column= a name that no file has"
        )
    if spec.pinned is not None:
        names = [c.name for c in spec.pinned.columns if c.name != spec.file_column]
        _check_pinned(spec, found, names, shown)
        pinned = {c.name: c.dtype for c in spec.pinned.columns}
        return tuple(Wanted(n, declared.get(n, pinned[n]), "declared" if n in declared else "pinned") for n in names)
    lacking = [n for n in (*declared, *spec.key) if n not in found and n != spec.file_column]
    if lacking:
        facts = [("missing", _names(lacking)), ("found", _names(found))]
        raise _drift(spec, shown, "lacks declared columns", facts, "correct columns= and key=, or the file")
    return tuple(Wanted(n, declared.get(n), "declared" if n in declared else "inferred") for n in found)


def check_header(spec: IntakeSpec, found: Sequence[str], place: str) -> None:
    """Nothing where the names of columns are distinct and not empty.

    Raises
    ------
    DataError
        ``bad-row`` about the header.
    """
    seen: set[str] = set()
    for position, name in enumerate(found, 1):
        if not name or name in seen:
            what = f"names '{name}' twice" if name else f"has no name for column {position}"
            raise error(
                "bad-row",
                f"the header of '{spec.source}' {what}",
                place=place,
                facts=[("columns", _names(found))],
                hint="give every column a name of its own in the first line",
                target=spec.source,
            )
        seen.add(name)


def check_same(spec: IntakeSpec, first: Sequence[str], first_shown: str, found: Sequence[str], shown: str) -> None:
    """Nothing where two files of a source have the same columns, in whatever order.

    Raises
    ------
    SourceError
        ``schema-drift`` naming both files.
    """
    if set(first) == set(found):
        return
    facts = [("first file", first_shown), *_differences(found, first)]
    hint = "give all files of a source the same columns"
    raise _drift(spec, shown, f"has other columns than {first_shown}", facts, hint)


def full_schema(spec: IntakeSpec, columns: Sequence[Column]) -> Schema:
    """The schema of the whole table: `file_column` first where it is asked for, then `columns`, with the source's key.

    Raises
    ------
    SourceError
        ``schema-drift`` where a key column is missing.
    """
    lead = () if spec.file_column is None else (Column(spec.file_column, "string"),)
    every = (*lead, *columns)
    names = [c.name for c in every]
    lacking = [n for n in spec.key if n not in names]
    if lacking:
        shown = spec.files[0].shown
        facts = [("missing", _names(lacking)), ("found", _names(names))]
        raise _drift(spec, shown, "lacks key columns", facts, "correct key=, or the file")
    return Schema(every, spec.key)


def misfit(
    spec: IntakeSpec, wanted: Wanted, dtype: str, place: str, value: str | None, reason: str = ""
) -> BuilderError:
    """The error of a value that does not fit: ``bad-value`` where the dtype is declared, else ``schema-drift``."""
    declared = wanted.origin == "declared"
    shown = "null" if value is None else repr(value if len(value) <= 200 else value[:200] + "…")
    kind = {"declared": "declared as", "pinned": "pinned as", "inferred": "inferred as"}[wanted.origin]
    facts = [("column", wanted.name), ("value", shown), ("dtype", dtype)]
    if wanted.origin == "pinned" and spec.pin_shown:
        facts.append(("pinned in", spec.pin_shown))
    if reason:
        facts.append(("reason", reason))
    if value is None and wanted.name in spec.key:
        return error(
            "key-null",
            f"'{spec.source}' has a row whose key column '{wanted.name}' is null",
            place=place,
            facts=facts,
            hint="give every row a key, drop the row, or declare another key",
            target=spec.source,
        )
    if dtype == "geometry":
        code, hint = "bad-geometry", "repair the geometry where it is made"
    elif value is None and dtype in ("int64", "bool"):
        allows = {"int64": "Int64", "bool": "boolean"}[dtype]
        code = "bad-value" if declared else "schema-drift"
        hint = f'fill the value in, or declare columns={{"{wanted.name}": "{allows}"}}, which allows nulls'
    else:
        code = "bad-value" if declared else "schema-drift"
        hint = f'correct the value, or declare columns={{"{wanted.name}": "string"}}'
    if code == "schema-drift":
        hint += f"; builder accept {spec.source} takes the new schema in"
    return error(
        code,
        f"'{spec.source}' has a value that does not fit column '{wanted.name}', {kind} {dtype}",
        place=place,
        facts=facts,
        hint=hint,
        target=spec.source,
    )


def _check_pinned(spec: IntakeSpec, found: Sequence[str], pinned: Sequence[str], shown: str) -> None:
    facts = _differences(found, pinned)
    if not facts:
        return
    if spec.pin_shown:
        facts.append(("pinned in", spec.pin_shown))
    hint = f"builder accept {spec.source} takes the new columns in"
    if any(name not in found for name in (*dict(spec.columns), *spec.key) if name != spec.file_column):
        hint = f"correct columns= and key=, or the file; then {hint}"
    raise _drift(spec, shown, "does not have the pinned columns", facts, hint)


def _differences(found: Sequence[str], expected: Sequence[str]) -> list[tuple[str, str]]:
    """What is new and what is missing in `found`, as facts; nothing where there is neither."""
    new = [n for n in found if n not in set(expected)]
    missing = [n for n in expected if n not in set(found)]
    return [(label, _names(names)) for label, names in (("new", new), ("missing", missing)) if names]


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f", … ({len(names)} in all)" if len(names) > 20 else "")


def _drift(spec: IntakeSpec, shown: str, what: str, facts: Sequence[tuple[str, str]], hint: str) -> BuilderError:
    return error(
        "schema-drift",
        f"'{spec.source}': {shown} {what}",
        place=shown,
        facts=[("file", shown), *facts],
        hint=hint,
        target=spec.source,
    )
