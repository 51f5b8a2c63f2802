"""The peak of memory: true to what was used, and cheap for what is over at once."""

import threading
import time

from builder.execute import peak
from builder.execute.peak import EVERY_S, peak_memory

MB = 1 << 20


def test_what_is_used_for_a_while_is_seen_though_it_is_free_again_at_the_end():
    with peak_memory() as found:
        before = found[0]
        block = bytearray(200 * MB)
        block[::4096] = b"x" * len(block[::4096])
        until = time.monotonic() + 20 * EVERY_S
        while found[0] < before + 150 * MB and time.monotonic() < until:
            time.sleep(EVERY_S / 5)
        del block
    assert found[0] >= before + 150 * MB


def test_one_that_begins_later_does_not_see_what_was_free_before():
    with peak_memory() as first:
        block = bytearray(200 * MB)
        block[::4096] = b"x" * len(block[::4096])
    del block
    with peak_memory() as second:
        pass
    assert second[0] < first[0] - 100 * MB


def test_one_thread_serves_all_and_wakes_again_after_it_was_parked():
    with peak_memory():
        pass
    threads = threading.active_count()
    for _ in range(50):
        with peak_memory() as one, peak_memory() as other:
            assert one is not other
    assert threading.active_count() == threads
    until = time.monotonic() + 3 * EVERY_S * peak.PARKED_AFTER
    while peak._wake.is_set() and time.monotonic() < until:
        time.sleep(EVERY_S)
    assert not peak._wake.is_set(), "it sleeps where nobody asks"
    with peak_memory() as found:
        block = bytearray(100 * MB)
        block[::4096] = b"x" * len(block[::4096])
        before = found[0]
        until = time.monotonic() + 20 * EVERY_S
        while found[0] == before and time.monotonic() < until:
            time.sleep(EVERY_S / 5)
        assert found[0] > before
        del block
