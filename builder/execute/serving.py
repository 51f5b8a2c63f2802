"""What a worker serves beside Dask's own: packs of attempts that a driver sends it over one connection.

A task of Dask's takes the driver, the scheduler and the worker through a dozen states and as many messages: some eight
times the CPU of a request and its reply, and ten times the time. So a worker is called, and the scheduler never hears
of an attempt. The attempts run in the worker's one thread, as tasks would; its event loop stays free.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

from distributed.worker import _worker_cvar

from builder.execute.attempt import run_pack

OPERATION = "builder_run"
TELL_EVERY_S = 0.05
"""Records of steps that end within this time travel together; what a death takes of them runs again."""

Message = tuple[bool, list[bytes]]
"""Whether a pack is over, and records of attempts that ended since the last message, as bytes."""


def serve(worker: Any) -> None:
    """Let a worker take packs: its messages come as steps end, the last when the pack is over."""

    async def builder_run(comm: Any, raws: Sequence[bytes]) -> Message:
        messages: asyncio.Queue[Message] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        worker.executors["default"].submit(
            _run, worker, raws, lambda message: loop.call_soon_threadsafe(messages.put_nowait, message)
        )
        while not (message := await messages.get())[0]:
            await comm.write(message)
        return message

    worker.handlers[OPERATION] = builder_run


def _run(worker: Any, raws: Sequence[bytes], tell: Callable[[Message], Any]) -> None:
    """Run a pack and tell of it."""
    untold: list[bytes] = []
    told_s = time.monotonic()
    token = _worker_cvar.set(worker)  # as Dask does for its tasks: `get_worker` and `get_client` know where they are
    try:
        for count, record in enumerate(run_pack(raws), 1):
            untold.append(record)
            if count < len(raws) and time.monotonic() - told_s > TELL_EVERY_S:
                tell((False, untold))
                untold, told_s = [], time.monotonic()
    finally:
        _worker_cvar.reset(token)
        tell((True, untold))
