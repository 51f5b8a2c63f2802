"""The lanes of a project: capacities, the targets that take them, and the queues of the run under way.

Decides nothing. What runs now is what the running builder has noted, at most a few seconds ago.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from builder.nouns import dataclass
from builder.sizes import count_text
from builder.store.current_run import read_note

if TYPE_CHECKING:
    from builder.project import Project


@dataclass(frozen=True, slots=True)
class LaneStatus:
    """One lane; ``taken`` and ``queued`` are None while nothing runs."""

    name: str
    capacity: int
    targets: tuple[str, ...]
    taken: int | None = None
    queued: int | None = None


@dataclass(frozen=True, repr=False)
class Lanes:
    """All lanes of a project."""

    lanes: tuple[LaneStatus, ...]
    is_running: bool

    def to_json(self) -> dict[str, Any]:
        """The document that ``builder lanes --json`` prints."""
        return {
            "format": 1,
            "running": self.is_running,
            "lanes": [
                {
                    "name": lane.name,
                    "capacity": lane.capacity,
                    "targets": list(lane.targets),
                    "taken": lane.taken,
                    "queued": lane.queued,
                }
                for lane in self.lanes
            ],
        }

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        if not self.lanes:
            return "no lanes; [lanes] in builder.toml declares them"
        width = max(len(lane.name) for lane in self.lanes)
        lines = []
        for lane in self.lanes:
            line = f"{lane.name:<{width}}  capacity {lane.capacity}  {count_text(len(lane.targets), 'target')}"
            if lane.taken is not None and lane.queued is not None:
                line += f"  now {lane.taken} taken, {lane.queued:,} queued"
            lines.append(line)
        return "\n".join(lines)


def lanes_of(project: Project) -> Lanes:
    """The lanes of a project as they stand."""
    note = read_note(project.config.store)
    now: Mapping[str, Mapping[str, int]] = (note or {}).get("lanes", {})
    targets: dict[str, list[str]] = {lane: [] for lane in project.config.lanes}
    for step in project.situation().graph.steps.values():
        for lane, _ in step.lanes:
            targets[lane] += step.targets
    found = tuple(
        LaneStatus(
            name,
            capacity,
            tuple(targets[name]),
            now.get(name, {}).get("taken"),
            now.get(name, {}).get("queued"),
        )
        for name, capacity in project.config.lanes.items()
    )
    return Lanes(found, note is not None)
