"""What looks wrong while a run goes on."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from builder.execute.health import (
    NEARLY_FULL_BYTES,
    SLOW_AT_LEAST_S,
    STUCK_AFTER_S,
    Finding,
    Pulse,
    Watch,
    disk_finding,
)


def seen(pulses: Iterable[tuple[float, Pulse]]) -> list[tuple[float, Finding]]:
    """All findings with their times, when one attempt is looked at again and again."""
    watch = Watch()
    return [(at, finding) for at, pulse in pulses for finding in watch.findings(at, [pulse])]


def test_a_step_is_slow_beyond_five_times_its_prediction() -> None:
    assert seen([(49, Pulse("a-1", "a", 49.0, 10.0))]) == []
    ((_, (name, said)),) = seen([(51, Pulse("a-1", "a", 51.0, 10.0))])
    assert name == "a" and "51 s" in said and "10.0 s" in said


def test_a_short_step_may_take_its_time_and_one_nobody_predicted_too() -> None:
    assert seen([(9, Pulse("a-1", "a", SLOW_AT_LEAST_S - 1, 0.01))]) == []
    assert seen([(9, Pulse("b-1", "b", 10_000.0, None))]) == []


def test_what_is_slow_is_said_once_for_each_attempt() -> None:
    looks = [(at, Pulse(f"a-{at // 200}", "a", at % 200 + 60, 1.0)) for at in range(0, 400, 10)]
    assert [at for at, _ in seen(looks)] == [0, 200]


def test_a_step_that_neither_computes_nor_prints_is_called_stuck_once() -> None:
    looks = [(at, Pulse("a-1", "a", at, None, 3.0, 40)) for at in range(0, 1000, 10)]
    ((at, (name, said)),) = seen(looks)
    assert STUCK_AFTER_S < at <= STUCK_AFTER_S + 10
    assert name == "a" and said.startswith("stuck?") and f"{at} s" in said


def test_a_hundredth_of_a_processor_is_work_and_less_is_not() -> None:
    def share(busy: float) -> list[tuple[float, Finding]]:
        return seen([(at, Pulse("a-1", "a", at, None, busy * at)) for at in range(0, 700, 10)])

    assert share(0.02) == []
    assert len(share(0.001)) == 1


def test_a_step_that_prints_is_not_stuck() -> None:
    assert seen([(at, Pulse("a-1", "a", at, None, 0.0, at)) for at in range(0, 1000, 10)]) == []


def test_a_step_is_stuck_again_after_a_sign_of_life() -> None:
    looks = [(at, Pulse("a-1", "a", at, None, 0.0, at // 400)) for at in range(0, 800, 10)]
    assert [at for at, _ in seen(looks)] == [310, 710]


def test_where_the_processor_time_is_not_known_nobody_is_called_stuck() -> None:
    assert seen([(at, Pulse("a-1", "a", at, None)) for at in range(0, 1000, 10)]) == []


def test_a_finding_is_said_when_it_comes_and_when_it_comes_again() -> None:
    watch = Watch()
    said = [watch.once("disk", f) for f in (None, "full", "full", None, "full")]
    assert said == [[], [("disk", "full")], [], [], [("disk", "full")]]


def test_a_disk_with_room_is_not_mentioned(tmp_path: Path, monkeypatch) -> None:
    usage = type("Usage", (), {"total": 10**12, "free": 10**11})()
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    assert disk_finding(tmp_path) is None
    usage.free = NEARLY_FULL_BYTES - 1
    assert "nearly full" in (disk_finding(tmp_path) or "")
