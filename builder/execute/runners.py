"""Which runner a run gets: this process, worker processes of its own, or a Dask cluster that stands already.

Decides that, and how long a lost cluster is waited for. Imports Dask only when a runner is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from builder.config import Config
from builder.execute.runner import Runner


@dataclass(slots=True)
class Runners:
    """Makes the runner when the first step has to run, and another each time one was lost.

    `address` is that of a standing cluster, ``""`` for none; `cluster` a Dask cluster object, which goes before it.
    `environment` are the versions that workers need; `tell` hears of workers that cannot be used.
    """

    config: Config
    workers: int
    address: str = ""
    cluster: Any = None
    is_inline: bool = False
    environment: Mapping[str, str] | None = None
    tell: Callable[[str, str], None] = lambda name, finding: None
    is_again: bool = False

    def __call__(self) -> Runner:
        """A runner.

        Raises
        ------
        ConfigError
            ``no-cluster`` where none can be had; ``config`` where certificates or the factory cannot be used.
        """
        abilities = frozenset(self.config.abilities)
        if self.is_inline:
            from builder.execute.inline import InlineRunner

            return InlineRunner(abilities)
        from builder.execute.cluster import DaskRunner

        made = DaskRunner(self._connect, abilities)
        self.is_again = True
        return made

    def _connect(self, causes: Any) -> Any:
        """The Dask cluster."""
        config = self.config
        if not (self.cluster or self.address or config.factory):
            from builder.execute.embedded import EmbeddedCluster

            return EmbeddedCluster(self.workers, str(config.store / "scratch"), config.memory_bytes, causes)
        from builder.execute.meeting import Meeting
        from builder.execute.standing import StandingCluster, made_by
        from builder.execute.tls import Certificates

        meeting = Meeting(config.store, self.environment or {}, self.tell)
        patience_s = config.wait_s if self.is_again else 0.0
        if self.cluster is not None or not self.address:
            made = self.cluster if self.cluster is not None else made_by(config.factory, config.root)
            return StandingCluster.of_object(made, meeting, causes, self.workers, config.wait_s, self.cluster is None)
        certificates = Certificates(config.ca, config.cert, config.key)
        return StandingCluster.at(self.address, certificates, meeting, causes, config.wait_s, patience_s)
