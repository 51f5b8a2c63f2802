"""Updates of stored tables against full writes: chains of random edits on random schemas, layers, deltas, look-ups."""

from __future__ import annotations

import datetime as dt
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from builder.store.manifest import Manifest
from builder.store.parts import PartFolder
from builder.tables import compaction, layers, read
from builder.tables.arrow import arrow_schema, arrow_type
from builder.tables.delta import Delta, delta_between, predicted_rows
from builder.tables.diff import count_changes
from builder.tables.lookup import locate, locate_prefix, scan, take
from builder.tables.merge import write_plain
from builder.tables.read import filter_rows, read_parts, read_table
from builder.tables.schema import Column, Schema
from builder.tables.update import Updated, write_update
from builder.tables.write import TableWriter, write_table

Row = dict[str, Any]
Version = dict[tuple[Any, ...], Row]


@pytest.fixture(autouse=True)
def _small_pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every other chain reads layers in pieces of five rows."""
    if hasattr(request.node, "callspec") and request.node.callspec.params["seed"] % 2:
        monkeypatch.setattr(layers, "BATCH_ROWS", 5)


DAY, TIME = dt.date(2024, 2, 29), dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC)
VALUES: dict[str, Any] = {
    "int64": lambda r: r.choice([0, -1, 7, 2**62, -(2**63), r.randrange(40)]),
    "Int64": lambda r: r.choice([None, 0, 5, r.randrange(40)]),
    "bool": lambda r: r.random() < 0.5,
    "boolean": lambda r: r.choice([None, True, False]),
    "float64": lambda r: r.choice([None, 0.0, -1.5, 1e300, float("inf"), float("-inf"), r.randrange(40) / 8]),
    "string": lambda r: r.choice([None, "", "a", "ab", "ä", "\ue000", "\U00010000", f"{r.randrange(60):03}"]),
    "date": lambda r: r.choice([None, DAY, dt.date(1, 1, 1), DAY + dt.timedelta(r.randrange(24))]),
    "timestamp": lambda r: r.choice([None, TIME, TIME - dt.timedelta(microseconds=r.randrange(10**15))]),
    "decimal(20,3)": lambda r: r.choice([None, Decimal("-0.001"), Decimal(10**16), Decimal(r.randrange(-40, 40)) / 8]),
    "binary": lambda r: r.choice([None, b"", b"\0", b"\xff\xff", bytes([r.randrange(40)])]),
}
KEYS = ["int64", "Int64", "bool", "float64", "string", "date", "timestamp", "decimal(20,3)", "binary"]


def random_schema(r: random.Random) -> Schema:
    key = [r.choice(KEYS) for _ in range(r.choice([1, 1, 2, 3]))]
    rest = [r.choice(list(VALUES)) for _ in range(r.randrange(5))]
    columns = [Column(f"k{n}", dtype) for n, dtype in enumerate(key)]
    columns += [Column(f"v.{n}", dtype) for n, dtype in enumerate(rest)]
    r.shuffle(columns)
    return Schema(tuple(columns), tuple(f"k{n}" for n in range(len(key))))


def random_key(r: random.Random, schema: Schema) -> tuple[Any, ...]:
    def value(name: str) -> Any:
        while (found := VALUES[schema.column(name).dtype](r)) is None:
            pass
        return found

    return tuple(value(name) for name in schema.key)


def random_row(r: random.Random, schema: Schema, key: tuple[Any, ...]) -> Row:
    given = dict(zip(schema.key, key, strict=True))
    return {c.name: given[c.name] if c.name in given else VALUES[c.dtype](r) for c in schema.columns}


def table_of(rows: list[Row], schema: Schema) -> pa.Table:
    columns = [pa.array([row[c.name] for row in rows], arrow_type(c.dtype)) for c in schema.columns]
    return pa.Table.from_arrays(columns, schema=arrow_schema(schema))


def keys_of(keys: list[tuple[Any, ...]], schema: Schema) -> pa.Table:
    return table_of([dict(zip(schema.key, k, strict=True)) for k in keys], schema.select(schema.key))


def ordered(version: Version) -> list[Row]:
    def comparable(value: Any) -> Any:
        return value.encode() if isinstance(value, str) else value

    return [version[k] for k in sorted(version, key=lambda key: tuple(map(comparable, key)))]


def edit(r: random.Random, version: Version, schema: Schema) -> tuple[Version, list[Row], list[tuple[Any, ...]]]:
    """The next version, with what is put in and taken out; some of it changes nothing."""
    style = r.choice(["few", "few", "few", "few", "many", "all", "none", "empty", "moves"])
    known = list(version)
    gone = r.sample(known, min(len(known), {"many": 8, "few": 2}.get(style, 0)))
    put = r.sample(known, min(len(known), {"many": 12, "few": 3, "all": 10**6}.get(style, 0)))
    rows = {k: random_row(r, schema, k) if r.random() < 0.7 else version[k] for k in put}
    for _ in range({"many": 10, "few": 2, "moves": 3}.get(style, 0)):
        key = random_key(r, schema)
        rows[key] = random_row(r, schema, key)
    if style == "moves" and known:
        old = r.choice(known)
        key = random_key(r, schema)
        gone.append(old)
        rows[key] = version[old] | dict(zip(schema.key, key, strict=True))
    if style == "empty" and r.random() < 0.3:
        gone = known
    gone += [random_key(r, schema) for _ in range(r.randrange(3))] + gone[:1]
    after = {k: row for k, row in version.items() if k not in set(gone)} | rows
    upserts = list(rows.values())
    r.shuffle(upserts)
    r.shuffle(gone)
    return after, upserts, gone


class World:
    """One table's life in a store of its own, with small parts and now and then inlined ones."""

    def __init__(self, seed: int, path: Path) -> None:
        self.r = random.Random(seed)
        self.path = path
        self.schema = random_schema(self.r)
        self.folder = PartFolder(path, self.r.choice([None, None, None, 4096]))
        self.versions: list[tuple[Version, Manifest]] = []
        keys = {random_key(self.r, self.schema) for _ in range(self.r.choice([0, 1, 30, 120]))}
        first = {k: random_row(self.r, self.schema, k) for k in keys}
        writer = TableWriter(self.folder, self.schema, scratch=path / "s", part_rows=self.r.choice([7, 50, 1000]))
        writer.append(table_of(ordered(first), self.schema))
        self.versions.append((first, writer.finish()))

    @property
    def last(self) -> tuple[Version, Manifest]:
        return self.versions[-1]

    def full(self, version: Version) -> Manifest:
        return write_table(
            table_of(ordered(version), self.schema), self.schema, PartFolder(self.path), scratch=self.path / "s"
        )

    def step(self) -> tuple[Updated, Manifest]:
        before, base = self.last
        after, upserts, gone = edit(self.r, before, self.schema)
        made = write_update(self.path, base, table_of(upserts, self.schema), keys_of(gone, self.schema), self.folder)
        self.versions.append((after, made.manifest))
        return made, base


def same_version(world: World, manifest: Manifest, version: Version) -> None:
    full = world.full(version)
    assert (manifest.digest, manifest.rows) == (full.digest, len(version))
    assert manifest.columns == full.columns and manifest.nulls == full.nulls
    expected = read_table(world.path, full)
    assert expected.to_pylist() == ordered(version)
    assert read_table(world.path, manifest).equals(expected)
    names = tuple(world.r.sample(world.schema.names, world.r.randrange(1, len(world.schema.names) + 1)))
    assert read_table(world.path, manifest, names).equals(expected.select(names))
    assert pa.concat_tables([expected.slice(0, 0), *read_parts(world.path, manifest)]).equals(expected)
    if version:
        row = world.r.choice(ordered(version))
        where = tuple((n, row[n]) for n in world.schema.key[: world.r.randrange(1, 4)] if row[n] is not None)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(read, "SOUGHT_FROM", 0)
            found = read_table(world.path, manifest, names, where)
        assert found.equals(filter_rows(expected, where).select(names)) and found.num_rows
    assert manifest.bytes == sum(p.bytes for layer in manifest.layers for p in layer.parts)


def same_delta(delta: Delta, old: Version, new: Version, schema: Schema) -> None:
    added, removed = new.keys() - old.keys(), old.keys() - new.keys()
    changed = {k for k in new.keys() & old.keys() if new[k] != old[k]}
    assert (delta.added, delta.removed, delta.changed) == (len(added), len(removed), len(changed))
    upserted = ordered({k: new[k] for k in added | changed})
    assert delta.upserts(schema.names).to_pylist() == upserted
    assert delta.upserted.to_pylist() == [{k: row[k] for k in schema.key} for row in upserted]
    deleted = ordered({k: old[k] for k in removed})
    assert delta.deleted.to_pylist() == [{k: row[k] for k in schema.key} for row in deleted]
    assert delta.before(schema.names).to_pylist() == ordered({k: old[k] for k in removed | changed})
    new_keys = {tuple(row[k] for k in schema.key) for row, new in zip(upserted, delta.is_new, strict=True) if new}
    assert new_keys == added


@pytest.mark.parametrize("seed", range(24))
def test_a_chain_of_updates_is_the_table_that_a_full_write_makes(tmp_path: Path, seed: int) -> None:
    world = World(seed, tmp_path)
    for _ in range(14):
        made, base = world.step()
        (before, _), (after, manifest) = world.versions[-2:]
        same_version(world, manifest, after)
        differing = [k for k in before.keys() | after.keys() if before.get(k) != after.get(k)]
        assert made.added + made.removed + made.changed == len(differing)
        if not differing:
            assert manifest is base
            continue
        assert manifest.base == base.digest
        delta = delta_between(world.path, base, manifest)
        assert delta is not None
        same_delta(delta, before, after, world.schema)
        predicted = predicted_rows(base, manifest)
        assert predicted is not None and predicted >= len(differing)


@pytest.mark.parametrize("seed", range(100, 110))
def test_any_two_versions_have_the_delta_of_their_rows(tmp_path: Path, seed: int) -> None:
    world = World(seed, tmp_path)
    for _ in range(11):
        world.step()
    for _ in range(12):
        (old, first), (new, second) = world.r.sample(world.versions, 2)
        if world.r.random() < 0.3:
            second = world.full(new)
        delta = delta_between(world.path, first, second)
        assert delta is not None
        same_delta(delta, old, new, world.schema)
        counted = count_changes(world.path, first, second)
        assert (counted.added, counted.removed, counted.changed) == (delta.added, delta.removed, delta.changed)
        predicted = predicted_rows(first, second)
        assert predicted is None or predicted >= counted.rows


@pytest.mark.parametrize("seed", range(200, 210))
def test_rows_are_found_by_key_by_its_beginning_and_by_value(tmp_path: Path, seed: int) -> None:
    world = World(seed, tmp_path)
    for _ in range(9):
        world.step()
        version, manifest = world.last
        schema, r = world.schema, world.r
        some = {*r.sample(list(version), min(5, len(version))), *(random_key(r, schema) for _ in range(4))}
        sought = ordered({k: dict(zip(schema.key, k, strict=True)) for k in some})
        located = locate(world.path, manifest, table_of(sought, schema.select(schema.key)))
        found = [tuple(row[k] for k in schema.key) in version for row in sought]
        assert located.is_found.tolist() == found
        names = tuple(r.sample(schema.names, r.randrange(1, len(schema.names) + 1)))
        rows = [version[k] for row in sought if (k := tuple(row[n] for n in schema.key)) in version]
        assert take(located, names).to_pylist() == [{n: row[n] for n in names} for row in rows]

        count = r.randrange(1, len(schema.key) + 1)
        begins = {k[:count] for k in some}
        part = schema.select(schema.key[:count])
        heads = ordered({k: dict(zip(part.names, k, strict=True)) for k in begins})
        expected = [row for row in ordered(version) if tuple(row[n] for n in part.names) in begins]
        table = table_of(heads, part)
        assert take(locate_prefix(world.path, manifest, table), schema.names).to_pylist() == expected

        values = [{n: row[n] for n in names} for row in [*rows, random_row(r, schema, random_key(r, schema))]]
        held = {tuple(v[n] for n in names) for v in values}
        expected = [row for row in ordered(version) if tuple(row[n] for n in names) in held]
        assert take(scan(world.path, manifest, table_of(values, schema.select(names))), schema.names).to_pylist() == (
            expected
        )


def test_layers_stay_few_and_what_is_written_again_stays_bounded(tmp_path: Path) -> None:
    schema = Schema((Column("k", "int64"), Column("a", "string"), Column("b", "float64")), ("k",))
    rows = {(n,): {"k": n, "a": f"text {n}", "b": float(n)} for n in range(4000)}
    manifest = write_table(table_of(ordered(rows), schema), schema, PartFolder(tmp_path), scratch=tmp_path / "s")
    r, written, changed, seen = random.Random(1), 0, 0, {p.path for p in manifest.parts}
    for day in range(20):
        keys = r.sample(range(4000), 200)
        upserts = [{"k": k, "a": f"text {k} of day {day}", "b": float(k)} for k in keys]
        manifest = write_update(
            tmp_path, manifest, table_of(upserts, schema), keys_of([], schema), PartFolder(tmp_path)
        ).manifest
        fresh = [p for p in manifest.parts if p.path not in seen]
        seen |= {p.path for p in fresh}
        written += sum(p.rows for p in fresh)
        changed += 200
        over = manifest.layers[1:]
        assert len(over) <= compaction.MOST_LAYERS
        assert sum(layer.rows for layer in over) < compaction.WHOLE_SHARE * 4000
    assert written <= 4 * changed


def test_many_small_updates_are_written_again_a_few_times_only(tmp_path: Path) -> None:
    schema = Schema((Column("k", "int64"), Column("a", "string")), ("k",))
    rows = {(n,): {"k": n, "a": ""} for n in range(4000)}
    manifest = write_table(table_of(ordered(rows), schema), schema, PartFolder(tmp_path), scratch=tmp_path / "s")
    written, seen = 0, {p.path for p in manifest.parts}
    for day in range(100):
        upserts = table_of([{"k": (day * 37 + n * 401) % 4000, "a": str(day)} for n in range(4)], schema)
        manifest = write_update(tmp_path, manifest, upserts, keys_of([], schema), PartFolder(tmp_path)).manifest
        fresh = [p for p in manifest.parts if p.path not in seen]
        seen |= {p.path for p in fresh}
        written += sum(p.rows for p in fresh)
        assert len(manifest.layers) - 1 <= compaction.MOST_LAYERS
    assert written <= 4 * 400


def test_a_layered_table_is_published_as_the_plain_one(tmp_path: Path) -> None:
    world = World(5, tmp_path)
    for _ in range(6):
        world.step()
    version, manifest = world.last
    for name, made in (("layered", manifest), ("full", world.full(version))):
        write_plain(tmp_path, made, tmp_path / f"{name}.parquet")
    assert (tmp_path / "layered.parquet").read_bytes() == (tmp_path / "full.parquet").read_bytes()
