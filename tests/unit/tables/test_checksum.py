"""Checksums: equal for equal values however they lie in memory, different after any change that a disk may make."""

from __future__ import annotations

import random
import sys
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest

from builder.tables import checksum as checksums
from builder.tables.checksum import checksum

ARRAYS = {
    "numbers": pa.array(np.arange(30_000)),
    "nulls": pa.array([None if n % 3 else n for n in range(3001)]),
    "texts": pa.array([f"text {n}" for n in range(20_001)]),
    "sparse": pa.array([None, "", "a", None, "ab"] * 8),
    "bits": pa.array([n % 7 == 0 for n in range(1001)]),
    "days": pa.array(range(33), pa.date32()),
    "decimals": pa.array(range(33)).cast(pa.decimal128(20, 0)),
    "none": pa.array([], pa.int64()),
    "no texts": pa.array([], pa.string()),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_where_an_array_begins_in_its_buffers_does_not_count(name: str) -> None:
    array = ARRAYS[name]
    around = pa.concat_arrays([array.slice(0, 3), array, array.slice(0, 2)])
    assert checksum(around.slice(min(3, len(array)), len(array))) == checksum(array)


def test_what_lies_behind_the_last_bit_does_not_count() -> None:
    bits = np.packbits([1, 0, 1], bitorder="little")
    same = [pa.BooleanArray.from_buffers(pa.bool_(), 3, [None, pa.py_buffer(bytes([bits[0] | n]))]) for n in (0, 0xF8)]
    assert checksum(same[0]) == checksum(same[1])


@pytest.mark.parametrize("name", [n for n in ARRAYS if len(ARRAYS[n])])
def test_any_flipped_bit_that_counts_is_seen(name: str) -> None:
    array = pa.concat_arrays([ARRAYS[name]])
    known, r = checksum(array), random.Random(5)
    for number, buffer in enumerate(array.buffers()):
        sizes = {0: len(array) // 8, 1: buffer and min(buffer.size, len(array) * 4 if number == 1 else buffer.size)}
        counts = buffer is not None and (number > 0 or array.null_count > 0)  # Arrow may keep bits that say nothing
        for _ in range(20 if counts else 0):
            raw = bytearray(buffer)
            raw[r.randrange(max(1, sizes.get(number, buffer.size) // 2))] ^= 1 << r.randrange(8)
            buffers = [pa.py_buffer(bytes(raw)) if n == number else b for n, b in enumerate(array.buffers())]
            try:
                assert checksum(pa.Array.from_buffers(array.type, len(array), buffers, array.null_count)) != known
            except ValueError as refused:
                assert "outside" in str(refused) or "out of bounds" in str(refused)


def test_pages_that_changed_places_are_seen() -> None:
    words = np.random.default_rng(1).integers(0, 2**60, 1 << 17)
    known = checksum(pa.array(words))
    for size in (1, 512, 2048, 8192, 64 * 2048):
        for first, second in ((0, 1), (1, 5), (0, (1 << 17) // size - 1)):
            if first == second or (second + 1) * size > len(words):
                continue
            moved = words.copy()
            moved[first * size :][:size] = words[second * size :][:size]
            moved[second * size :][:size] = words[first * size :][:size]
            assert checksum(pa.array(moved)) != known


def test_compiled_and_plain_sums_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from builder.tables import kernels

    words = np.random.default_rng(2).integers(0, 2**64, 71 * 2048 + 5, np.uint64)
    arrays = [pa.array(words[: rows * 2048 + 5]) for rows in (8, 9, 63, 64, 65, 71)]  # under 64 kB all is hashed
    assert sys.modules[checksums._KERNELS] is kernels
    compiled = [checksum(array) for array in arrays]
    monkeypatch.setitem(sys.modules, "not loaded whole", ModuleType("kernels"))  # another thread is at it
    for name in ("not loaded", "not loaded whole"):
        monkeypatch.setattr(checksums, "_KERNELS", name)
        assert [checksum(array) for array in arrays] == compiled
    unaligned = pa.py_buffer(b"x" + words.tobytes())[1:]
    moved = pa.Array.from_buffers(pa.uint64(), len(words), [None, unaligned])
    monkeypatch.undo()
    assert checksum(moved) == compiled[-1]


def test_validity_counts_apart_from_values() -> None:
    assert checksum(pa.array([0, 0])) != checksum(pa.array([0, None]))
    assert checksum(pa.array(["", ""])) != checksum(pa.array(["", None]))
    assert checksum(pa.array([0])) != checksum(pa.array([0, 0]))
