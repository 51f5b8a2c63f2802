"""Records on their way from a worker to the driver, as events of Dask's while the rest of a pack still runs.

A result that is fetched costs a request to the worker for each task, and comes when the whole pack is over; an event
travels with the messages that are sent anyway, and each step is committed as it ends. Events of a worker arrive in
order and before the end of the task that sent them.
"""

from __future__ import annotations

import time

from distributed import get_worker

from builder.execute.attempt import run_pack

TELL_EVERY_S = 0.05
"""Records of steps that end within this time travel together; what a death takes of them runs again."""


def run_and_tell(topic: str, raws: list[bytes]) -> None:
    """Nothing, after the records of attempts that ran one after the other were told under a topic, as bytes."""
    worker = get_worker()
    untold: list[bytes] = []
    told_s = time.monotonic()
    for record in run_pack(raws):
        untold.append(record)
        if time.monotonic() - told_s > TELL_EVERY_S:
            worker.log_event(topic, untold)
            untold, told_s = [], time.monotonic()
    if untold:
        worker.log_event(topic, untold)
