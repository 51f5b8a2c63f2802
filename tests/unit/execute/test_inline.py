"""The runner in the driver's own process."""

import time

from builder.execute.inline import InlineRunner


def test_where_nothing_ended_a_wait_lasts_as_long_as_it_may() -> None:
    runner = InlineRunner()
    began_s = time.monotonic()
    assert runner.wait(0.05) == []
    assert time.monotonic() - began_s >= 0.05
