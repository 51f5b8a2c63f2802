"""A region index as one file that is mapped into memory.

Decides the format: a magic word, the format's version and the header's length; a header of JSON with the regions'
digest and each array's place; a checksum (BLAKE3) of the header; then the arrays, each at a multiple of 64 bytes, and
the checksums of their blocks, of which the header has one in turn. Ids are an Arrow stream. Nothing in it is ever run.
Never decides what the arrays mean, nor when a block is compared: `region_checks` does.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from blake3 import blake3

from builder.errors import BuilderError, error
from builder.transforms.region_checks import ALIGNED, Checks, padded_bytes, sum_count, sums_of
from builder.transforms.region_grid import RegionGrid

FORMAT_VERSION = 2
_MAGIC = b"RGNINDEX"
_HEAD = struct.Struct("<8sII")
_SUM_BYTES = 32
DAMAGED = "its content is not what its checksums say"
_ARROW = {b"dtype": b"arrow"}  # of ids whose dtype is Arrow's own; else the metadata are those of pandas
_ARRAYS = {"top": "<i8", "cells": "<i4", "words": "<i8", "order": "<i4", "ids": "|u1", "sums": "<u8"}
_ASKED = ("top", "cells", "words")  # what answers read, and so what is compared when they do


@dataclass(frozen=True, slots=True)
class IndexParts:
    """All that an index is: the grid, positions by id, ids by position, the CRS, and the regions' digest.

    `most` is the length of the longest list of regions in the grid.
    """

    grid: RegionGrid
    order: np.ndarray
    ids: pd.Series
    crs: Any
    digest: str
    most: int


def write_index(path: str | os.PathLike[str], parts: IndexParts) -> None:
    """Write an index beside its place and rename it there."""
    grid = parts.grid
    arrays = {
        "top": grid.top,
        "cells": grid.cells,
        "words": grid.words,
        "order": parts.order,
        "ids": _stream_of(parts.ids),
    }
    arrays["sums"] = np.concatenate([sums_of(array) for array in arrays.values()])
    places, at = {}, 0
    for name, array in arrays.items():
        places[name] = [at, len(array)]
        at += padded_bytes(array.nbytes)
    header = json.dumps(
        {
            "digest": parts.digest,
            "most": parts.most,
            "crs": None if parts.crs is None else parts.crs.to_wkt(),
            "frame": [float(v).hex() for v in grid.frame],
            "arrays": places,
            "bytes": at,
            "sums": blake3(arrays["sums"].data.cast("B")).hexdigest(),
        }
    ).encode()
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(beside, "wb") as file:
            head = _HEAD.pack(_MAGIC, FORMAT_VERSION, len(header)) + header
            file.write(head + blake3(head).digest())
            for array in arrays.values():
                file.write(b"\0" * (-file.tell() % ALIGNED))
                file.write(array.data)
            file.write(b"\0" * (-file.tell() % ALIGNED))
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def read_index(path: str | os.PathLike[str]) -> tuple[IndexParts, Checks]:
    """The parts of an index in a file, views of the mapped file; and the checks of those that only answers read."""
    try:
        with open(path, "rb") as file:
            whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError as cause:
        raise error("source-missing", f"there is no region index '{path}'") from cause
    except (OSError, ValueError) as cause:
        raise unreadable(path, str(cause)) from cause
    header, start = _header_of(path, whole)
    if len(whole) != start + header["bytes"]:
        raise unreadable(path, f"it has {len(whole):,} bytes and not {start + header['bytes']:,}")
    arrays = {}
    for name, (at, length) in header["arrays"].items():
        arrays[name] = np.frombuffer(whole, _ARRAYS[name], length, start + at)
    if blake3(arrays["sums"].data.cast("B")).hexdigest() != header["sums"]:
        raise unreadable(path, "its checksums are damaged")
    checks = _checks_of(whole[start:], header["arrays"], arrays)
    if not Checks([checks["order"], checks["ids"]]).are_whole():
        raise unreadable(path)
    x, y, width, height, per_x, per_y, n, m = (float.fromhex(v) for v in header["frame"])
    frame = (x, y, width, height, per_x, per_y, int(n), int(m))
    grid = RegionGrid(frame, arrays["top"], arrays["cells"], arrays["words"])
    ids, crs = _ids_of(arrays["ids"]), _crs_of(header["crs"])
    parts = IndexParts(grid, arrays["order"], ids, crs, header["digest"], header["most"])
    return parts, Checks([checks[name] for name in _ASKED])


def _checks_of(content: memoryview, places: dict[str, list[int]], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Each array's words, with its padding, their sums, and that none is compared yet."""
    checks, first = {}, 0
    for name, (at, _) in places.items():
        if name != "sums":
            size = arrays[name].nbytes
            stop = first + sum_count(size)
            words = np.frombuffer(content, np.uint64, padded_bytes(size) // 8, at)
            checks[name] = words, arrays["sums"][first:stop], np.zeros(stop - first, np.bool_)
            first = stop
    return checks


def _header_of(path: str | os.PathLike[str], whole: memoryview) -> tuple[dict[str, Any], int]:
    """The checked header, and where the arrays start."""
    if len(whole) < _HEAD.size or bytes(whole[:8]) != _MAGIC:
        raise unreadable(path, "it is no region index")
    _, version, length = _HEAD.unpack(whole[: _HEAD.size])
    if version != FORMAT_VERSION or sys.byteorder != "little":
        raise unreadable(path, f"its format is version {version}; this version reads {FORMAT_VERSION}")
    stop = _HEAD.size + length
    if bytes(whole[stop : stop + _SUM_BYTES]) != blake3(whole[:stop]).digest():
        raise unreadable(path, "its header is damaged")
    return json.loads(bytes(whole[_HEAD.size : stop])), -(-(stop + _SUM_BYTES) // ALIGNED) * ALIGNED


def unreadable(path: str | os.PathLike[str], why: str = DAMAGED) -> BuilderError:
    """The error that a file is no index that can be used."""
    return error(
        "source-unreadable",
        f"region index '{path}' cannot be read",
        facts=[("why", why)],
        hint="make it again from the regions: RegionIndex(regions).save(path)",
    )


def _stream_of(ids: pd.Series) -> np.ndarray:
    table = pa.Table.from_pandas(ids.to_frame(), preserve_index=False)
    if isinstance(ids.dtype, pd.ArrowDtype):
        table = table.replace_schema_metadata(_ARROW)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return np.frombuffer(sink.getvalue(), np.uint8)


def _ids_of(stream: np.ndarray) -> pd.Series:
    table = pa.ipc.open_stream(pa.py_buffer(stream)).read_all().combine_chunks()
    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype if table.schema.metadata == _ARROW else None)
    ids: pd.Series = frame.iloc[:, 0]
    return ids


def _crs_of(text: str | None) -> Any:
    if text is None:
        return None
    from pyproj import CRS

    return CRS.from_wkt(text)
