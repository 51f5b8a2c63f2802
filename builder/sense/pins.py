"""Pinned schemas of sources: ``schemas/NAME.json``, files of the project that people commit.

Decides their text. Never infers a schema: an intake does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from builder.digests import Digest, digest_of
from builder.errors import BuilderError, error
from builder.names import path_segment
from builder.store.disk import write_whole
from builder.tables.schema import Schema, check_dtype

FOLDER = "schemas"


def pin_shown(name: str) -> str:
    """The pin's file of a source, relative to the project; members of a family share the family's."""
    return f"{FOLDER}/{path_segment(name.partition('[')[0])}.json"


def pin_path(root: Path, name: str) -> Path:
    """The pin's file of a source or of a member of a family."""
    return root / pin_shown(name)


def read_pin(root: Path, name: str) -> Schema | None:
    """The pinned schema of a source, None where none is pinned.

    Raises
    ------
    ConfigError
        ``config`` with the file: unreadable, no JSON, no schema.
    """
    shown = pin_shown(name)
    try:
        text = pin_path(root, name).read_bytes().decode()
        value = json.loads(text, object_pairs_hook=_unique)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as cause:
        line = f":{cause.lineno}" if isinstance(cause, json.JSONDecodeError) else ""
        raise _broken(shown, str(cause), line) from cause
    try:
        return _schema(value, shown)
    except BuilderError as cause:
        raise _broken(shown, cause.message) from cause
    except (AttributeError, KeyError, TypeError, ValueError) as cause:
        raise _broken(shown, f"it holds no schema ({cause})") from cause


def write_pin(root: Path, name: str, schema: Schema) -> Path:
    """The file that now pins `schema` for a source; the same schema gives the same bytes.

    Raises
    ------
    StoreError
        The project's folder cannot be written.
    """
    path = pin_path(root, name)
    write_whole(path, pin_text(schema).encode())
    return path


def pin_text(schema: Schema) -> str:
    """A schema as JSON for people: one column a line, in order, with a newline at the end."""
    value = schema.to_json()
    columns = ",\n".join(f"    {_json(n)}: {_json(d)}" for n, d in value["columns"].items())
    opened = f"{{\n{columns}\n  }}" if columns else "{}"
    return f'{{\n  "columns": {opened},\n  "key": {_json(value["key"])}\n}}\n'


def pin_digest(schema: Schema | None) -> Digest:
    """What the pin adds to the situation: the schema's digest, and one of its own where none is pinned."""
    return digest_of("pin", "" if schema is None else schema.digest())


def _schema(value: dict[str, Any], shown: str) -> Schema:
    if set(value) != {"columns", "key"} or not all(isinstance(k, str) for k in value["key"]):
        raise ValueError("it needs columns and key")
    schema = Schema.from_json(value)
    for column in schema.columns:
        check_dtype(column.dtype, column.name, shown)
    missing = [k for k in schema.key if k not in schema.names]
    if missing:
        raise ValueError(f"key column '{missing[0]}' is not among the columns")
    return schema


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [n for n, _ in pairs]
        raise ValueError(f"'{next(n for n in names if names.count(n) > 1)}' stands twice")
    return value


def _broken(shown: str, what: str, line: str = "") -> BuilderError:
    return error(
        "config",
        f"the pinned schema '{shown}' cannot be read: {what}",
        place=shown + line,
        hint="take the committed file back from version control, or delete it and run builder accept",
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
