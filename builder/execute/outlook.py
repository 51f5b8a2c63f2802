"""The outlook of a run: what is left, who queues for what, and when it should end, told now and then.

Decides when to look again: every few seconds, and so seldom that looking takes a small share of the driver's time. The
end is that of a simulation of the rest, by the executor's own policy. Never changes anything.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from builder.compile.policy import Job, Policy, Rank
from builder.compile.predict import ENOUGH_SEEN, Experience, Pace
from builder.compile.simulate import simulate
from builder.execute.lookout import Running
from builder.execute.nodes import Node
from builder.nouns import replace

EVERY_S = 3.0
SHARE = 0.01
"""Of the driver's CPU; the next look waits until the last one's cost is no more than this."""
OVERRUN_SHARE = 0.1
"""What a step still needs that has run longer than predicted, as a share of what it has run."""
MOST_OVERHEADS = 400
MOST_PLAYED = 10_000
"""More steps than this are not simulated: the driver would stand still for seconds."""


class Outlook:
    """Tells the outlook of one run, now and then."""

    def __init__(
        self,
        nodes: Mapping[str, Node],
        policy: Policy,
        lanes: Mapping[str, int],
        experience: Experience,
        tell: Callable[..., None],
        pace: Pace,
        began_s: float,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        self.nodes = nodes
        self.policy = policy
        self.lanes = lanes
        self.experience = experience
        self.tell = tell
        self.cpu = cpu
        self.pace = pace
        self.began_s = began_s
        self._next_s = float("-inf")
        self._startup_s: float | None = None
        self._overheads_s: deque[float] = deque(maxlen=MOST_OVERHEADS)

    def started(self, now_s: float) -> None:
        """Note that something starts; the first time tells how long that took."""
        if self._startup_s is None:
            self._startup_s = now_s - self.began_s

    def ended(self, overhead_s: float) -> None:
        """Note what was lost around a step that travelled alone."""
        self._overheads_s.append(overhead_s)

    @property
    def overhead_s(self) -> float:
        """The mean of the latest, without the largest twentieth; before enough were seen, that of the last run."""
        if len(self._overheads_s) < ENOUGH_SEEN:
            return self.pace.overhead_s
        usual = sorted(self._overheads_s)[: -(len(self._overheads_s) // 20) or None]
        return max(0.0, sum(usual) / len(usual))

    def measured(self) -> Pace | None:
        """The pace of this run; None where too little ran to tell."""
        if self._startup_s is None or len(self._overheads_s) < ENOUGH_SEEN:
            return None
        return Pace(self._startup_s, self.overhead_s)

    def look(self, now_s: float, running: Iterable[Running]) -> None:
        """Tell the outlook where it is time to."""
        if now_s < self._next_s or not self.policy.places:
            return
        began_s = self.cpu()
        running_s = {r.node.id: now_s - r.started_s for r in running}
        left = [node for node in self.nodes.values() if not node.is_done]
        left_s = self.left_s(left, running_s)
        self.tell(
            "progress",
            "",
            done=len(self.nodes) - len(left),
            left=len(left),
            running=len(running_s),
            left_s=None if left_s is None else round(left_s, 1),
            lanes=self.queues(),
        )
        self._next_s = now_s + max(EVERY_S, (self.cpu() - began_s) / SHARE)

    def queues(self) -> dict[str, dict[str, int]]:
        """For each lane its capacity, how much of it is taken, and how many ready steps wait for it."""
        queued = dict.fromkeys(self.lanes, 0)
        for job in self.policy.waiting():
            for lane, _ in job.lanes:
                queued[lane] += 1
        return {
            lane: {"capacity": capacity, "taken": capacity - self.policy.room[lane], "queued": queued[lane]}
            for lane, capacity in self.lanes.items()
        }

    def left_s(self, left: Iterable[Node], running_s: Mapping[str, float]) -> float | None:
        """Predicted seconds to the end; None where the time of some step is not known in any way, or all are too many.

        `running_s` is how long each running node has run.
        """
        rest = list(left)
        if len(rest) > MOST_PLAYED:
            return None
        jobs: list[Job] = []
        for node in rest:
            seconds = self._seconds(node)
            if seconds is None:
                return None
            if node.id in running_s:
                so_far_s = running_s[node.id]
                seconds = max(seconds - so_far_s, OVERRUN_SHARE * so_far_s)
            jobs.append(replace(node.job, predicted_s=seconds))
        names = {job.name for job in jobs}
        readers = {node.id: [r for r in node.readers if r in names] for node in rest}

        def rank(job: Job) -> Rank:
            return (job.name not in running_s, not job.is_first, -job.priority, -job.depth_s, job.order)

        waits = {node.id: node.waits for node in rest}
        places = self.policy.places.values()
        times = simulate(jobs, readers, waits, self.lanes, places, rank, self.overhead_s)
        return max((t.finish_s for t in times.values()), default=0.0)

    def _seconds(self, node: Node) -> float | None:
        """Predicted seconds of a node; what this run has shown of its like where nothing else is known."""
        if not node.is_guess:
            return node.job.predicted_s
        return self.experience.of(node.step.recipe if node.step else node.name)
