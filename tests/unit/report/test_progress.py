"""Progress as plain lines: failures and retries at once, a count now and then, nothing else."""

from __future__ import annotations

import io
from typing import Any

import pytest

from builder.report.progress import Lines, Live, observer

Events = list[tuple[str, str, dict[str, Any]]]


def lines(events: Events, every_s: float = 1e9) -> list[str]:
    stream = io.StringIO()
    made = Lines(stream, every_s)
    for kind, name, facts in events:
        made.event(kind, name, **facts)
    made.close()
    return stream.getvalue().splitlines()


TOTAL = ("total", "", {"steps": 1500, "intakes": 2})


def test_a_quiet_run_prints_nothing() -> None:
    assert lines([TOTAL, ("started", "a", {"attempt": 1}), ("ended", "a", {"error": None})]) == []


def test_failures_and_retries_are_told_at_once_and_apart() -> None:
    told = lines([("retried", "a", {"error": "worker-died"}), ("ended", "b", {"error": "key-null"})])
    assert [line.split() for line in told] == [["retrying", "a", "worker-died"], ["failed", "b", "key-null"]]


def test_a_count_comes_when_time_has_passed() -> None:
    told = lines([TOTAL, ("ended", "a", {"error": None}), ("ended", "b", {"error": None})], every_s=-1.0)
    assert told == ["  1 of 1,502 done · now a", "  2 of 1,502 done · now b"]


def test_unknown_events_are_let_pass() -> None:
    assert lines([("queued", "a", {}), ("target", "a", {"outcome": "built", "rows": 3})]) == []


def test_a_live_line_counts_each_end_once_and_is_taken_away(capsys: pytest.CaptureFixture[str]) -> None:
    made = Live()
    for kind, name, facts in [TOTAL, ("started", "a", {}), ("retried", "a", {"error": "worker-died"})]:
        made.event(kind, name, **facts)
    assert (made.done, list(made.running)) == (0, [])
    for kind, name, facts in [("started", "[a]", {}), ("target", "[a]", {}), ("ended", "[a]", {"error": "timed-out"})]:
        made.event(kind, name, **facts)
    assert (made.done, list(made.running)) == (1, [])
    made.close()
    assert made.progress.tasks[0].total == 1502
    assert "[a]  timed-out" in capsys.readouterr().err


def test_lines_are_for_what_is_no_terminal() -> None:
    assert isinstance(observer(), Lines)
