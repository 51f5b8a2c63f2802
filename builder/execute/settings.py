"""How Dask must be set for builds, and what to say of a cluster that is set otherwise. Pure.

Decides which settings are required, each with its reason. Never connects to anything; imports no Dask.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

SCHEDULER: dict[str, Any] = {
    "distributed.scheduler.allowed-failures": 0,  # else an attempt that kills its worker runs again behind our back
    "distributed.scheduler.work-stealing": False,  # an attempt runs where the policy put it
    "distributed.scheduler.worker-saturation": "inf",  # nothing queues in the scheduler: the ready heap is the driver's
    "distributed.scheduler.no-workers-timeout": "30s",  # an attempt sent to an address that vanished must end
    "distributed.scheduler.worker-ttl": "300s",  # a host that is gone must be noticed
    "distributed.scheduler.idle-timeout": 0,  # it never sees an attempt, and would end in the middle of a build
}
WORKER: dict[str, Any] = {
    "distributed.worker.memory.target": False,  # workers hold no data: spilling and pausing only hide a full memory
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
}
PRESPAWN: dict[str, Any] = {
    "DASK_LOGGING__DISTRIBUTED": "critical",  # a worker's own log would stand between the lines of the report
    "MALLOC_TRIM_THRESHOLD_": 65536,
    "OMP_NUM_THREADS": 1,
    "MKL_NUM_THREADS": 1,
    "OPENBLAS_NUM_THREADS": 1,
    "GDAL_NUM_THREADS": 1,
}
EMBEDDED: dict[str, Any] = {
    "distributed.worker.profile.enabled": False,  # nobody looks at it, and it costs a worker a hundredth of its CPU
    **SCHEDULER,
    **WORKER,
    "distributed.worker.daemon": True,
    "distributed.nanny.pre-spawn-environ": PRESPAWN,
}
REQUIRED_ONLY = ("distributed.worker.memory.terminate",)
"""Set by us, but another value on a standing cluster does no harm."""

Fact = tuple[str, str]


def wrong_settings(found: Mapping[str, Any], required: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Settings that differ from what is required: name -> (value found, value required).

    Times are in seconds; a longer time than required is wrong, as is none (None); a shorter one does no harm.
    """
    wrong = {}
    for name, value in required.items():
        if name in REQUIRED_ONLY or name not in found:
            continue
        if not _is_good(found[name], value):
            wrong[name] = (found[name], value)
    return wrong


def _is_good(found: Any, required: Any) -> bool:
    """Whether a value found serves where another is required."""
    if isinstance(required, str) and required.endswith("s"):
        return isinstance(found, int | float) and 0 < found <= float(required[:-1])
    if required == "inf":
        return isinstance(found, int | float) and math.isinf(found)
    if isinstance(required, bool):
        return found is required
    return bool(found == required)


def setting_facts(who: str, wrong: Mapping[str, tuple[Any, Any]]) -> list[Fact]:
    """What is set wrong, as facts of an error."""
    return [
        (who, f"{name.removeprefix('distributed.')} is {_shown(f)}, not {_shown(r)}") for name, (f, r) in wrong.items()
    ]


def as_variables(names: Iterable[str], required: Mapping[str, Any]) -> str:
    """The process environment that sets these settings for ``dask scheduler`` or ``dask worker``."""
    return " ".join(f"{_variable(name)}={_shown(required[name])}" for name in names)


def _variable(name: str) -> str:
    return "DASK_" + name.upper().replace(".", "__").replace("-", "_")


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def all_variables() -> str:
    """The whole process environment that a standing cluster needs, one setting a line."""
    return "\n".join(as_variables([name], {**SCHEDULER, **WORKER}) for name in (*SCHEDULER, *WORKER))
