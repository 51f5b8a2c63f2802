"""What of a cluster's settings is wrong, and what is said of it."""

import math
from typing import Any

import dask
import pytest

from builder.execute.settings import SCHEDULER, WORKER, all_variables, as_variables, setting_facts, wrong_settings

GOOD = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.worker-saturation": math.inf,
    "distributed.scheduler.no-workers-timeout": 30.0,
    "distributed.scheduler.worker-ttl": 300,
    "distributed.scheduler.idle-timeout": 0,
}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("allowed-failures", 3),
        ("work-stealing", True),
        ("worker-saturation", 1.1),
        ("no-workers-timeout", None),
        ("no-workers-timeout", 31.0),
        ("worker-ttl", None),
        ("worker-ttl", 0),
        ("idle-timeout", 3600),
    ],
)
def test_each_setting_that_would_break_a_build_is_wrong(name: str, found: Any) -> None:
    full = f"distributed.scheduler.{name}"
    wrong = wrong_settings(GOOD | {full: found}, SCHEDULER)
    assert list(wrong) == [full]
    ((who, said),) = setting_facts("setting", wrong)
    assert who == "setting" and said.startswith(f"scheduler.{name} is ")


@pytest.mark.parametrize("changed", [{}, {"distributed.scheduler.worker-ttl": 60}])
def test_what_does_no_harm_is_not_wrong(changed: dict[str, Any]) -> None:
    assert wrong_settings(GOOD | changed, SCHEDULER) == {}


def test_spilling_at_zero_is_not_the_same_as_off() -> None:
    assert list(wrong_settings({"distributed.worker.memory.spill": 0.0}, WORKER)) == ["distributed.worker.memory.spill"]
    assert wrong_settings({"distributed.worker.memory.spill": False}, WORKER) == {}


def test_dask_reads_from_the_variables_what_is_required() -> None:
    read = dask.config.collect_env(dict(line.split("=", 1) for line in all_variables().splitlines()))
    required = {**SCHEDULER, **WORKER}
    for name, value in required.items():
        found = dask.config.get(name, config=read)
        assert str(found) == str(value) and (isinstance(value, str) or type(found) is type(value)), name


def test_the_hint_names_only_what_is_wrong() -> None:
    assert as_variables(["distributed.worker.memory.pause"], WORKER) == "DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False"
