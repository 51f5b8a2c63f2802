"""Progress: the board of states, plain lines bounded in number, live lines on a terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest

from builder.report.board import Board
from builder.report.progress import MOST_OF_A_KIND, Lines, Live, WhenQueued, observer

TOTAL = ("total", "", {"steps": 1500, "intakes": 2})
QUEUES = {"db": {"capacity": 1, "taken": 1, "queued": 12}, "free": {"capacity": 2, "taken": 0, "queued": 0}}


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def outlook(left_s: float | None) -> dict[str, Any]:
    return {"done": 0, "left": 0, "running": 0, "left_s": left_s, "lanes": QUEUES}


def told(made: Any, *events: tuple[str, str, dict[str, Any]]) -> Any:
    for kind, name, facts in events:
        made.event(kind, name, **facts)
    return made


# -- the board ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([], None),
        ([("queued", {})], "queued"),
        ([("queued", {}), ("started", {"packed": False})], "running"),
        ([("queued", {}), ("started", {"packed": True})], "packed"),
        ([("started", {}), ("retried", {"error": "worker-died"}), ("queued", {})], "queued"),
        ([("queued", {}), ("paused", {})], "paused"),
        ([("queued", {}), ("paused", {}), ("resumed", {})], "queued"),
        ([("started", {}), ("paused", {})], "running"),
        ([("started", {}), ("ended", {"state": "done", "error": None})], "done"),
        ([("started", {}), ("ended", {"state": "failed", "error": "key-null"})], "failed"),
        ([("ended", {"state": "blocked", "error": None})], "blocked"),
    ],
)
def test_a_step_is_in_the_state_that_its_events_make(events: list[tuple[str, dict[str, Any]]], state: str) -> None:
    board = told(Board(), *((kind, "a", facts) for kind, facts in events))
    assert board.state("a") == state


def test_counts_follow_every_move_and_are_never_lost() -> None:
    board = told(Board(), TOTAL)
    for number in range(9):
        told(board, ("queued", f"n{number}", {}))
    for number in range(6):
        told(board, ("started", f"n{number}", {"packed": number > 3}))
    told(board, ("ended", "n0", {"state": "done"}), ("ended", "n1", {"state": "failed", "error": "bad-row"}))
    told(board, ("ended", "x", {"state": "blocked"}))
    assert board.states() == "2 running, 2 packed, 3 queued, 1 failed, 1 blocked"
    assert (board.done, board.names()) == (3, "n2, n3")
    assert sum(board.counts.values()) == 10


def test_one_line_says_it_all() -> None:
    board = told(Board(), TOTAL, ("queued", "a", {}), ("started", "a", {}), ("progress", "", outlook(140.0)))
    assert board.line() == "0 of 1,502 done · 1 running · lane db 1 of 1, 12 queued · about 2 min left"
    assert board.queues() == "lane db 1 of 1, 12 queued · lane free 0 of 2"


def test_the_time_left_runs_down_between_two_outlooks_and_is_not_told_while_paused() -> None:
    clock = Clock()
    board = told(Board(clock), TOTAL, ("progress", "", outlook(30.0)))
    clock.now_s = 12.0
    assert board.left_s == 18.0
    clock.now_s = 99.0
    assert board.left_s == 0.0
    assert told(board, ("paused", "", {})).time_left() == "paused; builder resume goes on"
    assert told(Board(), ("progress", "", outlook(None))).time_left() == ""


def test_a_warning_stays_until_its_step_ends() -> None:
    board = told(
        Board(), ("started", "a", {}), ("health", "a", {"finding": "slow"}), ("health", "disk", {"finding": "full"})
    )
    assert list(board.warnings()) == ["a  slow", "disk  full"]
    assert list(told(board, ("ended", "a", {"state": "done"})).warnings()) == ["disk  full"]


def test_the_names_of_what_runs_are_a_few() -> None:
    board = told(Board(), *(("started", f"n{i}", {}) for i in range(5)))
    assert board.names() == "n0, n1, n2 and 2 more"


# -- plain lines -------------------------------------------------------------------------------------------------------


def lines(*events: tuple[str, str, dict[str, Any]]) -> list[str]:
    stream = io.StringIO()
    told(Lines(stream), *events).close()
    return stream.getvalue().splitlines()


def test_a_short_run_without_trouble_prints_nothing() -> None:
    assert lines(TOTAL, ("started", "a", {}), ("ended", "a", {"state": "done", "error": None})) == []


def test_failures_retries_and_warnings_are_told_at_once_and_apart() -> None:
    found = lines(
        ("retried", "a", {"error": "worker-died"}),
        ("ended", "b", {"state": "failed", "error": "key-null"}),
        ("health", "c", {"finding": "slow: 99 s so far"}),
        ("paused", "", {}),
        ("resumed", "", {}),
    )
    assert [line.split() for line in found] == [
        ["retrying", "a", "worker-died"],
        ["failed", "b", "key-null"],
        ["warning", "c", "slow:", "99", "s", "so", "far"],
        ["paused;", "builder", "resume", "goes", "on"],
        ["resumed"],
    ]


def test_a_count_comes_when_time_has_passed() -> None:
    clock, stream = Clock(), io.StringIO()
    made = told(Lines(stream, clock=clock), TOTAL, ("ended", "a", {"state": "done"}))
    clock.now_s = 6.0
    told(made, ("ended", "b", {"state": "done"}), ("ended", "c", {"state": "done"}))
    assert stream.getvalue().splitlines() == ["  2 of 1,502 done"]


@pytest.mark.parametrize("step_s", [0.01, 1.0, 24.0])
def test_the_lines_of_5200_steps_are_few_however_long_they_take(step_s: float) -> None:
    clock, stream = Clock(), io.StringIO()
    made = told(Lines(stream, clock=clock), ("total", "", {"steps": 5200, "intakes": 0}))
    for number in range(5200):
        clock.now_s += step_s
        told(made, ("started", f"n{number}", {}), ("ended", f"n{number}", {"state": "failed", "error": "bad-row"}))
        told(made, ("progress", "", outlook(1.0)), ("retried", "x", {"error": "worker-died"}))
    made.close()
    found = stream.getvalue().splitlines()
    assert len(found) <= 200
    assert sum(line.startswith("  failed") for line in found) == MOST_OF_A_KIND + 1
    assert f"  failed   {5200 - MOST_OF_A_KIND:,} more" in found


def test_unknown_events_are_let_pass() -> None:
    assert lines(("target", "a", {"outcome": "built", "rows": 3}), ("anything", "a", {})) == []


def test_lines_are_for_what_is_no_terminal() -> None:
    assert isinstance(observer(), Lines)


def test_an_observer_is_made_for_the_first_step_that_is_queued_and_knows_the_total() -> None:
    stream = io.StringIO()
    made = WhenQueued(lambda: Lines(stream, every_s=0.0, clock=iter(range(1000)).__next__))
    told(made, TOTAL, ("fresh", "a", {}), ("ended", "a", {"state": "done"}))
    assert made.made is None
    told(made, ("queued", "b", {}), ("ended", "b", {"state": "done"}))
    made.close()
    assert stream.getvalue() == "  1 of 1,502 done\n"


# -- live lines --------------------------------------------------------------------------------------------------------


def shown(made: Live) -> str:
    """What stands on the screen, as text."""
    from rich.console import Console

    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(made.lines())
    return console.export_text()


def test_live_lines_show_states_lanes_warnings_and_a_pause(capsys: pytest.CaptureFixture[str]) -> None:
    made = told(Live(), TOTAL)
    assert "starting workers" in " ".join(shown(made).split())
    told(made, ("queued", "[a]", {}), ("queued", "b", {}), ("started", "[a]", {}), ("progress", "", outlook(90.0)))
    told(made, ("health", "[a]", {"finding": "slow"}))
    text = shown(made)
    for said in ("0 of 1,502", "about 90 s left", "1 running, 1 queued", "lane db 1 of 1, 12 queued", "[a]  slow"):
        assert said in text
    told(made, ("paused", "", {}))
    assert "paused; builder resume goes on" in shown(made) and "1 paused" in shown(made)
    told(made, ("ended", "[a]", {"state": "failed", "error": "timed-out"}))
    made.close()
    assert "[a]  timed-out" in capsys.readouterr().err
