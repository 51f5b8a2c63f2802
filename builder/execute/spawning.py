"""Worker processes that start without the program that asked for them.

Python's spawn runs the main script again in every child, so that a script without an ``if __name__ == "__main__"``
guard would rebuild in each worker, and a heavy one would be imported there for nothing. Workers need nothing of it:
recipes travel by digest. Decides nothing of other processes that the program starts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import spawn
from typing import Any

WORKER = "Dask Worker process"
"""What distributed's nannies call the processes they start."""


@contextmanager
def without_main() -> Iterator[None]:
    """Workers that nannies of this process start inside the block, also in place of dead ones, run no main script."""
    kept = spawn.get_preparation_data

    def prepared(name: str) -> dict[str, Any]:
        found = kept(name)
        if name.startswith(WORKER):
            found.pop("init_main_from_path", None)
            found.pop("init_main_from_name", None)
        return found

    spawn.get_preparation_data = prepared
    try:
        yield
    finally:
        if spawn.get_preparation_data is prepared:
            spawn.get_preparation_data = kept
