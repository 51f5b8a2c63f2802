"""A version of a source read whole, of which only rows that the last version does not have are kept.

Decides by row hashes which rows are new and which are gone. Null or repeated keys, and versions with little in common,
it leaves to a full intake.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from builder.formats.byline import MOST_UPSERTS_BYTES
from builder.formats.opened import Opened
from builder.store.manifest import Manifest
from builder.tables.arrow import arrow_schema, conform
from builder.tables.batches import HIGH, LOW
from builder.tables.cells import hash_rows
from builder.tables.layers import read_merged
from builder.tables.lookup import at_positions, take
from builder.tables.matching import Matcher

_LOOK_FROM = 0.12  # of the last version's rows, from where on the share of new ones is taken for that of the rest
_MOST_NEW = 0.5
_FEW_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class Differing:
    """Rows that the last version does not have, keys of rows that this one does not have, and how many this one has."""

    upserts: pa.Table
    gone: pa.Table
    rows: int


def differing_rows(
    store: Path, base: Manifest, opened: Opened, source: str, seen: Callable[[pa.Table], None]
) -> Differing | None:
    """What a version, read here to its end, changes in `base`; None: too much. `seen` is given every table.

    Raises
    ------
    BuilderError
        What is wrong with the source, or with the last version.
    """
    schema = opened.schema
    is_layered = len(base.layers) > 1
    last = read_merged(store, base, schema.key if is_layered else (), hashed=True)
    matcher = Matcher(last.column(LOW).to_numpy(), last.column(HIGH).to_numpy())
    upserts = [arrow_schema(schema).empty_table()]
    rows = new = held_bytes = 0
    for table in opened.tables:
        table = conform(table, schema, place=source)
        seen(table)
        words, _ = hash_rows(table, schema)
        is_new = matcher.match(np.ascontiguousarray(words[:, 0]), np.ascontiguousarray(words[:, 1]))
        upserts.append(table.filter(pa.array(is_new)))
        rows += table.num_rows
        new += upserts[-1].num_rows
        held_bytes += upserts[-1].nbytes
        is_alike = rows < max(_FEW_ROWS, _LOOK_FROM * base.rows) or new <= _MOST_NEW * rows
        if held_bytes > MOST_UPSERTS_BYTES or not is_alike:
            return None
    gone = matcher.gone
    keys = last.select(schema.key).take(gone) if is_layered else take(at_positions(store, base, gone), schema.key)
    return Differing(pa.concat_tables(upserts), keys, rows)
