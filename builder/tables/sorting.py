"""Sorting a table that does not fit in memory: sorted runs on disk, then one output range at a time.

Decides the ranges: splitters come from samples of every run, so that each range is about one part. Never looks at what
the rows mean and never refuses one; `tables.order` does.
"""

from __future__ import annotations

import uuid
from bisect import bisect_left
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from builder.store.disk import writing
from builder.tables.order import Key, KeyValue, key_at

ROW = "\0row"
"""The column of a row's number in the input; no column of a table can have this name in a file."""

_BATCH_BYTES = 1 << 20  # what every run holds in memory while runs are merged
_SAMPLE_ROWS = 1024


class Sorter:
    """Takes tables in any order and gives their rows back in key order, with their numbers in the column `ROW`.

    Memory is bounded by about three times the larger of `run_bytes` and `part_bytes`.
    """

    def __init__(self, key: Key, *, scratch: Path, run_bytes: int, part_bytes: int, part_rows: int) -> None:
        self._key = key
        self._scratch = scratch
        self._run_bytes = run_bytes
        self._part_bytes = part_bytes
        self._part_rows = part_rows
        self._pending: list[pa.Table] = []
        self._pending_bytes = 0
        self._bytes = 0
        self._rows = 0
        self._runs: list[_Run] = []
        self._samples: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        """Take the next rows of the input in."""
        numbers = np.arange(self._rows, self._rows + table.num_rows, dtype=np.int64)
        self._pending.append(table.append_column(ROW, pa.array(numbers)))
        self._pending_bytes += table.nbytes
        self._bytes += table.nbytes
        self._rows += table.num_rows
        if self._pending_bytes >= self._run_bytes:
            self._spill()

    def sorted(self) -> Iterator[pa.Table]:
        """All rows in key order, in tables of about one part each; rows of equal keys are never split between two."""
        if not self._runs:
            if self._pending:
                yield _sorted(self._take_pending(), self._key)
            return
        if self._pending:
            self._spill()
        for splitter in [*self._splitters(), None]:
            # Sorting ends with one copy of the range only because no name here holds the batches.
            table = _sorted(self._range(splitter), self._key)
            if table.num_rows:
                yield table
            del table

    def close(self) -> None:
        """Remove what lies in scratch."""
        for run in self._runs:
            run.close()
        self._runs.clear()
        self._pending.clear()

    def _take_pending(self) -> pa.Table:
        table = pa.concat_tables(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        return table

    def _range(self, splitter: KeyValue | None) -> pa.Table:
        """The rows of every run below the splitter that were not given yet."""
        batches = (batch for run in self._runs for batch in run.below(splitter))
        return pa.Table.from_batches(batches, self._runs[0].schema)

    def _spill(self) -> None:
        per_row = max(1, self._pending_bytes // max(1, sum(t.num_rows for t in self._pending)))
        table = _sorted(self._take_pending(), self._key)
        path = self._scratch / f"{uuid.uuid4().hex}.arrow"
        with writing(path):
            self._scratch.mkdir(parents=True, exist_ok=True)
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table, max_chunksize=max(1, _BATCH_BYTES // per_row))
        every = pa.array(range(0, table.num_rows, _SAMPLE_ROWS), pa.int64())
        self._samples.append(table.select(self._key).take(every))
        self._runs.append(_Run(path, self._key))

    def _splitters(self) -> list[KeyValue]:
        """Keys that part the rows into ranges of about one part, ascending and all different."""
        rows = max(1, min(self._part_rows, self._rows * self._part_bytes // max(1, self._bytes)))
        samples = _sorted(pa.concat_tables(self._samples), self._key)
        step = max(1, rows // _SAMPLE_ROWS)
        return sorted({key_at(samples, self._key, i) for i in range(step, samples.num_rows, step)})


class _Run:
    """One sorted run on disk, read once from front to back."""

    def __init__(self, path: Path, key: Key) -> None:
        self._path = path
        self._key = key
        # Read, not mapped: the pages of a mapping would count as this process's memory.
        self._file = pa.OSFile(str(path))
        self._reader = pa.ipc.open_file(self._file)
        self.schema: pa.Schema = self._reader.schema
        self._next = 0
        self._rest: pa.RecordBatch | None = None

    def below(self, splitter: KeyValue | None) -> Iterator[pa.RecordBatch]:
        """The rows not yet given whose key is below the splitter; None: all of them."""
        while (batch := self._batch()) is not None:
            count = batch.num_rows
            if splitter is not None and key_at(batch, self._key, count - 1) >= splitter:
                count = bisect_left(range(count), splitter, key=partial(key_at, batch, self._key))
                self._rest = batch.slice(count)
                if count:
                    yield batch.slice(0, count)
                return
            self._rest = None
            yield batch

    def close(self) -> None:
        self._rest = None
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _batch(self) -> pa.RecordBatch | None:
        if self._rest is None and self._next < self._reader.num_record_batches:
            self._rest = self._reader.get_batch(self._next)
            self._next += 1
        return self._rest


def _sorted(table: pa.Table, key: Key) -> pa.Table:
    """The table in key order; equal keys keep their order, which is that of the input within a run."""
    table = table.combine_chunks()
    return table.take(pc.sort_indices(table, [(name, "ascending") for name in key]))
