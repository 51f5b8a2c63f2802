"""Parts of tables: what is written comes back, and what is damaged is never taken for it."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from builder.errors import BuilderError
from builder.store.manifest import Part
from builder.store.parts import PartFolder, inlined
from builder.tables.batches import HIGH, LOW, encoded, hashed_table, map_batch, open_mapped, read_batch, write_batch

ROWS = pa.table(
    {
        "k": pa.array(range(5000)),
        "s": [None if n % 5 == 0 else f"some text {n}" for n in range(5000)],
        "b": [None if n % 7 == 0 else n % 2 == 0 for n in range(5000)],
    }
)


def refused(read: Any) -> BuilderError:
    with pytest.raises(BuilderError) as caught:
        read()
    assert (caught.value.code, caught.value.hint) == ("store-damaged", "builder fsck --repair")
    return caught.value


def overwritten(path: Path, content: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(content)


@pytest.mark.parametrize("inline", [True, False])
def test_columns_come_back_in_the_order_asked_for(tmp_path: Path, inline: bool) -> None:
    part = inlined(encoded(ROWS), rows=5000) if inline else write_batch(ROWS, PartFolder(tmp_path))
    assert read_batch(tmp_path, part, None).equals(ROWS)
    assert read_batch(tmp_path, part, ("s", "k")).equals(ROWS.select(["s", "k"]))
    assert read_batch(tmp_path, part, ()).num_columns == 0
    assert pa.Table.from_batches([map_batch(tmp_path, part)]).select(ROWS.column_names).equals(ROWS)


def test_slices_and_chunks_are_written_as_one_batch(tmp_path: Path) -> None:
    cut = pa.concat_tables([ROWS.slice(3, 70), ROWS.slice(500, 1), ROWS.slice(700)])
    part = write_batch(cut, PartFolder(tmp_path))
    assert part.rows == cut.num_rows and read_batch(tmp_path, part, None).equals(cut)
    assert part.bytes == (tmp_path / part.path).stat().st_size < 1.5 * cut.nbytes


def test_row_hashes_are_two_columns(tmp_path: Path) -> None:
    hashes = np.arange(10_000, dtype=np.uint64).reshape(-1, 2)
    part = write_batch(hashed_table(ROWS, hashes), PartFolder(tmp_path))
    read = read_batch(tmp_path, part, (HIGH, "k", LOW))
    assert read.column_names == [HIGH, "k", LOW]
    assert (read.column(LOW).to_numpy() == hashes[:, 0]).all() and (read.column(HIGH).to_numpy() == hashes[:, 1]).all()


def test_no_flipped_bit_is_read_as_another_value(tmp_path: Path) -> None:
    part = write_batch(ROWS.slice(0, 300), PartFolder(tmp_path))
    path, r = tmp_path / part.path, random.Random(3)
    sound = path.read_bytes()
    heads = [*range(1200), *range(len(sound) - 800, len(sound))]
    seen = 0
    for at in (*r.sample(heads, 600), *r.sample(range(len(sound)), 300)):
        content = bytearray(sound)
        content[at] ^= 1 << r.randrange(8)
        overwritten(path, bytes(content))
        try:
            found = read_batch(tmp_path, part, None)
            assert [c.to_pylist() for c in found.columns] == [c.to_pylist() for c in ROWS.slice(0, 300).columns]
            assert [c.null_count for c in found.columns] == [0, 60, 43]
        except BuilderError as cause:
            seen += cause.code == "store-damaged"
    assert seen > 400, "what is left is padding, and whether a field may hold nulls"


@pytest.mark.parametrize("damage", [b"", b"x", b"ARROW1\0\0ARROW1"])
def test_what_is_no_part_is_refused_by_every_reader(tmp_path: Path, damage: bytes) -> None:
    part = write_batch(ROWS, PartFolder(tmp_path))
    overwritten(tmp_path / part.path, damage)
    for read in (lambda: read_batch(tmp_path, part, ("k",)), lambda: map_batch(tmp_path, part)):
        assert refused(read).place == str(tmp_path / part.path)


def test_a_part_cut_short_missing_or_swapped_is_refused_by_every_reader(tmp_path: Path) -> None:
    part, other = (write_batch(table, PartFolder(tmp_path)) for table in (ROWS, ROWS.slice(0, 4999)))
    path = tmp_path / part.path
    sound = path.read_bytes()
    same_rows = write_batch(ROWS.set_column(0, "k", pa.array(range(1, 5001))), PartFolder(tmp_path))
    for content in (
        sound[:-100],
        sound[:1000],
        (tmp_path / other.path).read_bytes(),
        (tmp_path / same_rows.path).read_bytes(),
    ):
        overwritten(path, content)
        refused(lambda: read_batch(tmp_path, part, ("s",)))
        refused(lambda: map_batch(tmp_path, part))
    path.unlink()
    assert "is missing" in refused(lambda: read_batch(tmp_path, part, ("s",))).message
    assert "is missing" in refused(lambda: map_batch(tmp_path, part)).message


def test_damage_is_told_by_the_readers_of_the_column_alone(tmp_path: Path) -> None:
    part = write_batch(ROWS, PartFolder(tmp_path))
    path = tmp_path / part.path
    content = path.read_bytes()
    overwritten(path, content.replace(b"some text 4001", b"some text 4000"))
    assert read_batch(tmp_path, part, ("k", "b")).equals(ROWS.select(["k", "b"]))
    assert "column 's'" in refused(lambda: read_batch(tmp_path, part, ("k", "s"))).message


def test_inlined_bytes_are_squeezed_and_checked(tmp_path: Path) -> None:
    content = encoded(ROWS)
    assert len(content) < ROWS.nbytes / 4
    part = inlined(content, rows=5000)
    refused(lambda: read_batch(tmp_path, replace(part, content=content[:-1] + b"x"), None))
    refused(lambda: read_batch(tmp_path, replace(part, rows=4999), None))


def test_released_pages_can_be_read_again(tmp_path: Path) -> None:
    opened = open_mapped(tmp_path, write_batch(ROWS, PartFolder(tmp_path)))
    before = opened.batch.column("s")[4999].as_py()
    opened.release()
    assert opened.batch.column("s")[4999].as_py() == before == "some text 4999"


def test_a_part_of_no_rows_comes_back(tmp_path: Path) -> None:
    none = ROWS.slice(0, 0)
    for part in (write_batch(none, PartFolder(tmp_path)), inlined(encoded(none))):
        assert isinstance(part, Part) and read_batch(tmp_path, part, None).equals(none)
