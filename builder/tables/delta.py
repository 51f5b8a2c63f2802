"""What leads from one version of a keyed table to another: keys put in, keys taken out, rows before and after.

Decides how it is found, cheapest first: equal digests, layers that one version has beyond the other, the change that
made one from the other, row hashes. Exact: a row that came out as it was is in none of them. A change of schema or key
has no delta. Never reads rows that do not differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from builder.store.manifest import Layer, Manifest, layers_between
from builder.tables.arrow import arrow_schema
from builder.tables.batches import HIGH, LOW, open_mapped, read_batch, words_of
from builder.tables.cells import differ
from builder.tables.keys import Keys, Positions, overlaid
from builder.tables.layers import look_over, read_merged, table_schema, with_hashes
from builder.tables.lookup import Located, Marks, at_positions, locate, take
from builder.tables.matching import Matcher
from builder.tables.order import Key, distinct_keys
from builder.tables.schema import Schema

Words = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Delta:
    """The difference of two versions of a keyed table; tables of keys and rows are in key order.

    ``upserted`` are the keys of rows that are new or changed, ``deleted`` those of rows that are gone; ``after`` is
    where the former lie now. ``look_back`` finds where all of these keys lay before, if anybody asks. ``is_in_place``
    says that both versions are known to have the same keys.
    """

    old: Manifest
    new: Manifest
    upserted: pa.Table
    deleted: pa.Table
    after: Located
    look_back: Callable[[pa.Table], Located]
    is_in_place: bool = False

    @cached_property
    def touched(self) -> pa.Table:
        """All these keys, in key order."""
        return overlaid(self.upserted, self.deleted, table_schema(self.new).key)

    @cached_property
    def earlier(self) -> Located:
        """Where the row of each touched key lay, if there was any."""
        return self.look_back(self.touched)

    @cached_property
    def is_new(self) -> Marks:
        """For each upserted key whether the old version has no row of it."""
        if self.is_in_place:
            return np.zeros(self.upserted.num_rows, bool)
        key = table_schema(self.new).key
        at, _ = Keys.of(self.touched, key).ranges(Keys.of(self.upserted, key))
        return ~self.earlier.is_found[at]

    @property
    def added(self) -> int:
        """How many rows only the new version has."""
        return int(self.is_new.sum())

    @property
    def changed(self) -> int:
        """How many rows both have and differ."""
        return len(self.is_new) - self.added

    @property
    def removed(self) -> int:
        """How many rows only the old version has."""
        count: int = self.deleted.num_rows
        return count

    def upserts(self, columns: Sequence[str], *, hashed: bool = False) -> pa.Table:
        """These columns of the new rows of all upserted keys."""
        return take(self.after, columns, hashed=hashed)

    def before(self, columns: Sequence[str], *, hashed: bool = False) -> pa.Table:
        """These columns of the old rows of all upserted and deleted keys, as far as there were any."""
        return take(self.earlier.only(self.earlier.is_found), columns, hashed=hashed)


def delta_between(store: Path, old: Manifest, new: Manifest) -> Delta | None:
    """What leads from `old` to `new`; None where they have no key, or differ in schema or key.

    Raises
    ------
    StoreError
        ``store-damaged``.
    """
    schema = table_schema(new)
    if not schema.key or table_schema(old).digest() != schema.digest():
        return None
    layers = layers_between(old, new)
    # A layer merged of several has more in it than the last change, also where that led from what `old` holds.
    is_one = layers is not None and len(layers) == 1 and new.delta in (None, layers[0])
    if layers is not None and is_one and new.base == old.digest:
        return _of_update(store, old, new, layers[0])
    if layers is not None:
        return _of_keys(store, old, new, _mentioned(store, layers, schema))
    in_place = _of_same_keys(store, old, new)
    if in_place is not None:
        return in_place
    return _of_keys(store, old, new, overlaid(*_unpaired(store, old, new), schema.key))


def predicted_rows(old: Manifest, new: Manifest) -> int | None:
    """No fewer rows than differ, as the manifests alone tell; None where they do not tell."""
    if old.schema is None or new.schema is None or not new.schema.key or old.schema.digest() != new.schema.digest():
        return None
    layers = layers_between(old, new)
    return None if layers is None else sum(layer.rows for layer in layers)


def _mentioned(store: Path, layers: Sequence[Layer], schema: Schema) -> pa.Table:
    """The keys that these layers put in or take out."""
    none = arrow_schema(schema.select(schema.key)).empty_table()
    tables = [read_batch(store, part, schema.key).cast(none.schema) for layer in layers for part in layer.parts]
    return distinct_keys([none, *tables], schema.key)


def _of_update(store: Path, old: Manifest, new: Manifest, layer: Layer) -> Delta:
    """The delta of two versions of which one update made the new one from the old: its layer holds nothing else."""
    schema = table_schema(new)
    upserted, deleted = (_mentioned(store, [side], schema) for side in (Layer(layer.upserts), Layer((), layer.deletes)))
    opened = tuple(open_mapped(store, part) for part in layer.upserts)
    counts = [part.rows for part in layer.upserts]
    part = np.repeat(np.arange(len(counts)), counts)
    row = np.concatenate([np.empty(0, np.int64), *(np.arange(count) for count in counts)])

    return Delta(old, new, upserted, deleted, Located(schema, opened, part, row), partial(locate, store, old))


def _of_same_keys(store: Path, old: Manifest, new: Manifest) -> Delta | None:
    """The delta of two versions with the very same keys; None where they differ, or layers had to be merged."""
    if old.rows != new.rows or len(old.layers) != 1 or len(new.layers) != 1:
        return None
    schema = table_schema(new)
    changed, start = [np.empty(0, np.int64)], 0
    for was, now in _side_by_side(store, old, new, with_hashes(schema.key, True)):
        if not Keys.of(was, schema.key).is_same(Keys.of(now, schema.key)):
            return None
        changed.append(start + np.flatnonzero(differ(words_of(was), words_of(now))))
        start += was.num_rows
    at = np.concatenate(changed)
    after = at_positions(store, new, at)
    keys = take(after, schema.key)
    return Delta(old, new, keys, keys.slice(0, 0), after, lambda _: at_positions(store, old, at), is_in_place=True)


def _side_by_side(
    store: Path, old: Manifest, new: Manifest, columns: tuple[str, ...]
) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Rows of both, which have equally many, in pieces of equal length."""
    ones, others = (look_over(store, manifest, columns) for manifest in (old, new))
    one = other = None
    while True:
        one = one if one is not None and one.num_rows else next(ones, None)
        other = other if other is not None and other.num_rows else next(others, None)
        if one is None or other is None:
            return
        length = min(one.num_rows, other.num_rows)
        yield one.slice(0, length), other.slice(0, length)
        one, other = one.slice(length), other.slice(length)


def _of_keys(store: Path, old: Manifest, new: Manifest, keys: pa.Table) -> Delta:
    """The delta, of which all keys that differ are known, and perhaps some that do not."""
    was, now = locate(store, old, keys), locate(store, new, keys)
    in_both = was.is_found & now.is_found
    is_same = np.zeros(keys.num_rows, bool)
    is_same[in_both] = ~differ(_hashes(was.only(in_both)), _hashes(now.only(in_both)))
    is_upserted = now.is_found & ~is_same
    is_deleted = was.is_found & ~now.is_found
    return Delta(
        old,
        new,
        keys.filter(pa.array(is_upserted)),
        keys.filter(pa.array(is_deleted)),
        now.only(is_upserted),
        lambda _: was.only(is_upserted | is_deleted),
    )


def _hashes(located: Located) -> Words:
    return words_of(take(located, (), hashed=True))


def _unpaired(store: Path, old: Manifest, new: Manifest) -> tuple[pa.Table, pa.Table]:
    """The keys of each version's rows whose hash the other version does not have."""
    key = table_schema(new).key
    (was, old_rows), (now, new_rows) = _hashed_rows(store, old, key), _hashed_rows(store, new, key)
    matcher = Matcher(*was)
    is_new = matcher.match(*now)
    return _keys_at(store, old, old_rows, matcher.free), _keys_at(store, new, new_rows, np.flatnonzero(is_new))


def _hashed_rows(store: Path, manifest: Manifest, key: Key) -> tuple[tuple[Words, Words], pa.Table | None]:
    """Row hashes in row order; with the keys where there are several layers, for which they are read anyway."""
    names = key if len(manifest.layers) > 1 else ()
    rows = read_merged(store, manifest, names, hashed=True)
    return (rows.column(LOW).to_numpy(), rows.column(HIGH).to_numpy()), rows.select(names) if names else None


def _keys_at(store: Path, manifest: Manifest, rows: pa.Table | None, positions: Positions) -> pa.Table:
    key = table_schema(manifest).key
    if rows is None:
        return take(at_positions(store, manifest, positions), key)
    return rows.take(pa.array(positions)).combine_chunks()
