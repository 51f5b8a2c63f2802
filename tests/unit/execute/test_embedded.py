"""The embedded cluster's view of its workers, while its scheduler's thread changes it."""

import sys
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import pytest
from sortedcontainers import SortedDict

from builder.execute.embedded import EmbeddedCluster

COUNT = 50


@pytest.fixture
def hasty() -> Any:
    """Threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_workers_are_listed_while_they_come_and_go(hasty: None) -> None:
    states = [SimpleNamespace(address=f"tcp://w:{i}", memory_limit=i, resources={"gpu": 1}) for i in range(COUNT)]
    workers = SortedDict({s.address: s for s in states})  # as the scheduler has them
    cluster: Any = object.__new__(EmbeddedCluster)
    cluster._mend_s = float("inf")
    cluster._cluster = SimpleNamespace(scheduler=SimpleNamespace(workers=workers))
    is_over = Event()

    def come_and_go() -> None:
        while not is_over.is_set():
            for state in states[1:]:
                del workers[state.address]
            for state in states[1:]:
                workers[state.address] = state

    thread = Thread(target=come_and_go)
    thread.start()
    try:
        for _ in range(2000):
            found = cluster.workers()
            assert found[states[0].address].abilities == {"gpu"} and len(found) <= COUNT
    finally:
        is_over.set()
        thread.join()
