"""What looks wrong while a run goes on."""

from __future__ import annotations

from pathlib import Path

from builder.execute.health import NEARLY_FULL_BYTES, SLOW_AT_LEAST_S, STUCK_AFTER_S, Pulse, disk_finding, slow_steps


def test_a_step_is_slow_beyond_five_times_its_prediction() -> None:
    assert list(slow_steps([Pulse("a", 49.0, 10.0)])) == []
    ((name, said),) = slow_steps([Pulse("a", 51.0, 10.0)])
    assert name == "a" and "51 s" in said and "10.0 s" in said


def test_a_short_step_may_take_its_time() -> None:
    assert list(slow_steps([Pulse("a", SLOW_AT_LEAST_S - 1, 0.01), Pulse("b", 10_000.0, None)])) == []


def test_a_step_without_cpu_is_called_stuck() -> None:
    ((_, said),) = slow_steps([Pulse("a", STUCK_AFTER_S + 1, None, cpu_s=0.1)])
    assert said.startswith("stuck?")
    assert list(slow_steps([Pulse("a", STUCK_AFTER_S + 1, None, cpu_s=100.0)])) == []


def test_a_disk_with_room_is_not_mentioned(tmp_path: Path, monkeypatch) -> None:
    usage = type("Usage", (), {"total": 10**12, "free": 10**11})()
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    assert disk_finding(tmp_path) is None
    usage.free = NEARLY_FULL_BYTES - 1
    assert "nearly full" in (disk_finding(tmp_path) or "")
