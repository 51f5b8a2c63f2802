"""The driver's connections to its workers: packs go out, records come back as their steps end.

Decides how a call ended: over, broken, or never sent. A broken connection proves nothing about what runs at its other
end. Dask's own comms carry it, with the client's certificates; nothing is pickled.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from distributed.core import ConnectionPool

from builder.execute.serving import OPERATION

CONNECT_WITHIN_S = 5.0
"""A worker that cannot be reached for so long is taken to have left, and gets nothing."""
MOST_CONNECTIONS = 1 << 20
"""More than there are workers: at its limit a pool waits until one of its connections is free."""
CLOSE_WITHIN_S = 2.0


class End(Enum):
    """How a call ended; after UNSENT the worker knows nothing of it."""

    OVER = "over"
    BROKEN = "broken"
    UNSENT = "unsent"


@dataclass(frozen=True, slots=True)
class Heard:
    """Records of attempts of a pack that ended; ``end`` None: the pack goes on."""

    key: str
    records: Sequence[bytes]
    end: End | None


class Wire:
    """Calls to the workers of a client's cluster; `hear` is called in the thread of Dask's loop."""

    def __init__(self, client: Any, hear: Callable[[Heard], None]) -> None:
        self._client = client
        self._hear = hear
        self._pool = ConnectionPool(
            MOST_CONNECTIONS,
            deserialize=False,
            connection_args=client.connection_args,
            timeout=CONNECT_WITHIN_S,
        )
        client.sync(self._pool.start)

    def send(self, key: str, worker: str, raws: Sequence[bytes]) -> None:
        """Send a pack on its way; what becomes of it is heard, under `key`."""
        self._client.loop.add_callback(self._call, key, worker, raws)

    def drop(self, worker: str) -> None:
        """Break the connections to a worker that gives no sign of life any more."""
        self._client.loop.add_callback(self._pool.remove, worker)

    def close(self) -> None:
        """Break all connections."""
        with contextlib.suppress(Exception):
            self._client.sync(self._pool.close, callback_timeout=CLOSE_WITHIN_S)

    async def _call(self, key: str, worker: str, raws: Sequence[bytes]) -> None:
        """Let a pack run, and tell of it until it ended in some way."""
        last = Heard(key, (), End.UNSENT)
        try:
            comm = await self._pool.connect(worker)
            last = Heard(key, (), End.BROKEN)
            try:
                last = await self._exchange(comm, key, raws)
            finally:
                if last.end is End.BROKEN:
                    comm.abort()
                self._pool.reuse(worker, comm)
        except OSError:
            pass
        finally:
            self._hear(last)

    async def _exchange(self, comm: Any, key: str, raws: Sequence[bytes]) -> Heard:
        """What is heard last over a connection that holds."""
        await comm.write({"op": OPERATION, "raws": raws, "reply": True})
        while (message := await comm.read()) is not None:
            is_over, records = message
            if is_over:
                return Heard(key, records, End.OVER)
            self._hear(Heard(key, records, None))
        return Heard(key, (), End.UNSENT)  # a worker that does not serve: another one has come to this address
