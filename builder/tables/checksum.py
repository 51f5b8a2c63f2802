"""Checksums of Arrow arrays, so that a column that changed on its way to the disk and back is noticed.

Decides what counts: the type, the bytes that hold values, validity bits where there are nulls; never padding. Guards
against accidents: a word, a page, pages that changed places; not against someone who forges.

A buffer is taken as a grid of 64-bit words. The sums of its rows and of its columns are hashed, which costs a small
part of hashing all of it: no changes of up to three words go unseen, and of four only those in the corners of a
rectangle, each by the same amount.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from blake3 import blake3

_ROW_WORDS = 2048
_BLOCK_ROWS = 64  # a block of a megabyte stays in the cache for both sums
_MOST_HASHED = 1 << 16  # below this many bytes hashing them all is as quick
_KERNELS = "builder.tables.kernels"
"""Adds twice as fast where something else has loaded it; loading it takes longer than it would save a single read."""

Bytes = npt.NDArray[np.uint8]


def checksum(array: pa.Array) -> str:
    """The checksum of an array's values: 16 hex digits; offsets and what lies under nulls' bits count as stored.

    Raises
    ------
    ValueError
        Buffers that are too short for the values, or offsets that point outside of them.
    """
    plain = normal(array)
    state = blake3(f"{plain.type} {len(plain)} {plain.null_count}".encode())
    for buffer in _counting(plain):
        _add(state, buffer)
    return state.hexdigest(8)


def normal(array: pa.Array) -> pa.Array:
    """The same values as Arrow writes them: from the first element of their buffers on."""
    is_text = pa.types.is_string(array.type) or pa.types.is_binary(array.type)
    is_rebased = array.offset == 0 and (not is_text or len(array) == 0 or _offsets(array)[0] == 0)
    return array if is_rebased else pa.concat_arrays([array, array.slice(0, 0)])


def _counting(array: pa.Array) -> list[Bytes]:
    """The bytes that count, buffer by buffer; an empty one for no validity bits."""
    valid, *_ = array.buffers()
    count = len(array)
    parts = [np.empty(0, np.uint8) if array.null_count == 0 else _bits(valid, count)]
    if pa.types.is_string(array.type) or pa.types.is_binary(array.type):
        offsets = _offsets(array)
        content = np.frombuffer(array.buffers()[2] or b"", np.uint8)
        end = int(offsets[-1]) if count else 0
        if not 0 <= end <= len(content):
            raise ValueError("texts end outside of their buffer")
        return [*parts, offsets.view(np.uint8), content[:end]]
    if pa.types.is_boolean(array.type):
        return [*parts, _bits(array.buffers()[1], count)]
    data = np.frombuffer(array.buffers()[1] or b"", np.uint8)
    return [*parts, _whole(data, count * array.type.bit_width // 8)]


def _offsets(array: pa.Array) -> npt.NDArray[np.int32]:
    if len(array) == 0:
        return np.empty(0, np.int32)
    return _whole(np.frombuffer(array.buffers()[1] or b"", np.int32)[array.offset :], len(array) + 1)


def _whole(values: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    """The first `count` values of a buffer, which must have them."""
    if len(values) < count:
        raise ValueError("a buffer is shorter than its column")
    return values[:count]


def _bits(buffer: pa.Buffer | None, count: int) -> Bytes:
    """A bitmap's bytes, with the bits behind its end as zeros."""
    found = _whole(np.frombuffer(buffer or b"", np.uint8), (count + 7) >> 3)
    if count & 7:
        found = found.copy()
        found[-1] &= (1 << (count & 7)) - 1
    return found


def _add(state: blake3, content: Bytes) -> None:
    state.update(len(content).to_bytes(8, "little"))
    rest = content
    if len(content) > _MOST_HASHED:
        words = len(content) // (8 * _ROW_WORDS) * _ROW_WORDS
        grid = content[: 8 * words].view(np.uint64).reshape(-1, _ROW_WORDS)
        across, down = _sums(grid)
        state.update(across.tobytes())
        state.update(down.tobytes())
        rest = content[8 * words :]
    state.update(rest.tobytes())


def _sums(grid: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    across = np.empty(len(grid), np.uint64)
    down = np.zeros(grid.shape[1], np.uint64)
    add_words = getattr(sys.modules.get(_KERNELS), "add_words", None)  # None also while a thread is still loading it
    if add_words is not None and grid.flags.aligned:
        add_words(grid, across, down)
        return across, down
    for start in range(0, len(grid), _BLOCK_ROWS):
        block = grid[start : start + _BLOCK_ROWS]
        np.add.reduce(block, axis=1, out=across[start : start + _BLOCK_ROWS])
        down += np.add.reduce(block, axis=0)
    return across, down
