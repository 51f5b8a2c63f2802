"""A project: the whole library behind one object. Cheap to open; imports nothing heavy before something has to run.

Decides nothing itself: it joins sensing, planning, execution and reports.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.config import Config, find_project, read_config
from builder.digests import Hasher
from builder.errors import error
from builder.graph.select import select
from builder.nouns import replace
from builder.plan.last import LastLook, stamp_of
from builder.plan.plan import Plan, look_of, make_plan
from builder.plan.verdict import State
from builder.report.sources import sources_changed
from builder.report.status import status_of
from builder.report.values import Explanation, PlanReport, Status
from builder.sense.cache import read_json, write_json
from builder.sense.sense import Sensor
from builder.situation import Situation
from builder.store.ledger import Ledger
from builder.store.published import published_targets
from builder.store.recall import Recall

if TYPE_CHECKING:
    from builder.compile.schedule import Schedule
    from builder.execute.report import Run
    from builder.execute.work import Workplace


LOOK_FILE = "look.json"
"""Where a store keeps what the last look found."""
SETTINGS = ("builder.toml", "pyproject.toml")
"""Where a project's settings may stand."""


class Project:
    """One project folder with its store."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.opened_ns = time.time_ns()

    @cached_property
    def workplace(self) -> Workplace:
        """The project's folders."""
        from builder.execute.work import Workplace

        config = self.config
        return Workplace(config.root, config.recipes, config.store, config.out)

    @property
    def workers(self) -> int:
        """How many workers the embedded cluster has."""
        return self.config.workers or len(os.sched_getaffinity(0))

    def __repr__(self) -> str:
        return f"Project({str(self.config.root)!r})"

    # -- looking ---------------------------------------------------------------------------------------------------

    def situation(self, progress: Any = None) -> Situation:
        """What sensing finds now."""
        return Sensor(self.config, progress).situation()

    def ledger(self) -> Ledger:
        """The store's ledger, for reading."""
        return Ledger.open(self.config.store)

    def selected(self, situation: Situation, targets: Iterable[str] | None) -> list[str] | None:
        """Full names of the wanted targets; None for all."""
        wanted = [targets] if isinstance(targets, str) else list(targets or ())
        return select(situation.graph, wanted, self.config.sets) if wanted else None

    def planned(
        self,
        situation: Situation,
        recall: Recall,
        wanted: Iterable[str] | None = None,
        *,
        is_forced: bool = False,
    ) -> Plan:
        """The plan that brings the wanted targets (None: all) up to date; what an earlier look found still counts."""
        stamp = stamp_of(situation, recall.text)
        path = self.config.store / LOOK_FILE
        last = None if stamp is None or is_forced else LastLook.from_json(read_json(path), stamp)
        plan = make_plan(situation, recall, wanted, is_forced=is_forced, last=last)
        if last is None and stamp is not None and not is_forced and path.parent.is_dir():
            write_json(path, look_of(plan, stamp).to_json())
        return plan

    def status(self, targets: Iterable[str] | None = None, progress: Any = None, *, read: bool = False) -> Status:
        """How sources and targets stand, and why; with `read` changed sources are taken in first."""
        if read:
            self.read_sources()
        sensor = Sensor(self.config, progress)
        situation = sensor.situation()
        recall = Recall(self.ledger())
        plan = self.planned(situation, recall)
        wanted = self.selected(situation, targets)
        names = published_targets(situation.graph, self.config.publish, self._publish_list(situation))
        status = status_of(
            plan,
            recall,
            self.config,
            self.workers,
            wanted=None if wanted is None else set(wanted),
            published=names,
            retired=tuple(self._retired(recall, situation)),
            due=None if wanted is None else self.planned(situation, recall, wanted),
        )
        published = recall.ledger.published()
        is_settled = status.is_fresh and not recall.failures and recall.ledger.is_complete() and set(published) <= names
        recall.ledger.close()
        if wanted is None and is_settled and sensor.is_sealable and all(s.state == "unchanged" for s in status.sources):
            self._seal(sensor, status, [path for _, path, _ in published.values()])
        return status

    def _seal(self, sensor: Sensor, status: Status, published: list[str]) -> None:
        """Let the next look at an unmoved project be answered from this one."""
        from builder.sense.seal import all_below, write_seal
        from builder.sense.tokens import token_of
        from builder.sizes import count_text
        from builder.store.ledger import FILE

        config = self.config
        if config.file is None or not self._has_settings():
            return  # whose project a bare folder is depends on the folders above it
        own = [config.root / name for name in SETTINGS] + [config.store / FILE]
        own += [Path(folder) for folder, _, _ in os.walk(config.recipes)]
        summary = (
            config.name,
            count_text(len(status.targets), "target"),
            count_text(len(status.sources), "source"),
        )
        out = str(config.out)
        paths = [*map(str, own), *(p for path in published for p in all_below(os.path.join(out, path)))]
        wal = str(config.store / f"{FILE}-wal")
        sensed = {**sensor.tokens(), wal: token_of(wal)}  # it comes and goes beside files that looks write
        write_seal(config.root, summary, sensed, sensor.looked, own=paths, now_ns=sensor.now_ns)

    def _has_settings(self) -> bool:
        """Whether the settings stand as this project read them."""
        from builder.sense.tokens import is_settled, token_of

        tokens = {name: token_of(self.config.root / name) for name in SETTINGS}
        return all(is_settled(token, self.opened_ns) if token else n != self.config.file for n, token in tokens.items())

    def _publish_list(self, situation: Situation) -> list[str]:
        """The targets that the project's own list publishes."""
        publish = self.config.publish
        return [] if isinstance(publish, str) else select(situation.graph, publish, self.config.sets, is_listed=True)

    def _retired(self, recall: Recall, situation: Situation) -> list[str]:
        """Targets and sources that were built and are no longer part of the project."""
        graph = situation.graph
        return [n for n in recall.currents if n not in graph.maker and n not in graph.sources]

    def plan(
        self,
        targets: Iterable[str] | None = None,
        *,
        all: bool = False,
        workers: int | None = None,
        first: Iterable[str] = (),
    ) -> PlanReport:
        """What a rebuild would do, in order; with `first`, these targets before the others."""
        situation = self.situation()
        recall = Recall(self.ledger())
        wanted = self.selected(situation, targets)
        plan = self.planned(situation, recall, wanted, is_forced=all)
        schedule = self.schedule(plan, recall, workers, first)
        names = None if wanted is None else tuple(wanted)
        published = published_targets(situation.graph, self.config.publish, self._publish_list(situation))
        early = tuple(self.selected(situation, first) or ())
        token, changed = situation_token(situation, recall), sources_changed(plan, recall)
        report = PlanReport(plan, schedule, token, names, frozenset(published), early, changed)
        recall.ledger.close()
        return report

    def schedule(self, plan: Plan, recall: Recall, workers: int | None = None, first: Iterable[str] = ()) -> Schedule:
        """The schedule of a plan on this many workers (None: the project's own number)."""
        from builder.compile.amounts import forecasts
        from builder.compile.expected import expected_ways
        from builder.compile.predict import Pace
        from builder.compile.schedule import make_schedule

        found = forecasts(plan, recall.ledger, recall.currents, expected_ways(plan, recall, recall.ledger))
        needed = self._needed(plan.situation, first)
        pace = Pace(*recall.ledger.pace())
        return make_schedule(plan, found, self.config.lanes, workers or self.workers, needed, pace=pace)

    def _needed(self, situation: Situation, first: Iterable[str]) -> frozenset[str]:
        """What the targets wanted first need."""
        if not first:
            return frozenset()
        from builder.building import needed_first

        return needed_first(self, situation, first)

    def explain(self, target: str) -> Explanation:
        """Why a target is stale or fresh, with the values before and after, and what it waits for.

        Of several, as the members of a family are, the first that is not fresh, or else the first.
        """
        from builder.report.explain import explain

        situation = self.situation()
        recall = Recall(self.ledger())
        names = select(situation.graph, [target], self.config.sets)
        if not names:
            what = "a source" if target in situation.graph.sources else "no target"
            hint = f"builder status tells how it stands; builder status {target}+ what reads it"
            raise error("unknown-target", f"'{target}' is {what}", place=target, hint=hint)
        plan = self.planned(situation, recall)
        stale = [n for n in names if plan.verdict_of(n).state is not State.FRESH]
        found = explain(plan, recall, (stale or names)[0])
        recall.ledger.close()
        return replace(found, members=len(names), members_stale=len(stale)) if len(names) > 1 else found

    def graph(self, targets: Iterable[str] | None = None) -> Any:
        """The graph with the state of each target; shows itself in notebooks, `dot` and `json` as text."""
        from builder.report.graph import GraphReport

        situation = self.situation()
        recall = Recall(self.ledger())
        plan = self.planned(situation, recall)
        return GraphReport(plan, self.selected(situation, targets))

    # -- doing -----------------------------------------------------------------------------------------------------

    def rebuild(self, targets: Iterable[str] | None = None, **options: Any) -> Run:
        """What a rebuild of these targets (None: all) did.

        Parameters
        ----------
        workers, scheduler
            Workers of the embedded cluster, or the address of a standing one.
        cluster
            A Dask cluster object to run on, which grows by its ``scale`` to at most `workers`.
        all
            Run everything again.
        first
            Targets wanted before the others.
        inline
            Run in this process, without Dask; for debugging.
        plan
            A saved plan (`PlanReport.to_json`); refused with ``plan-moved`` when the situation has moved.
        fail_fast
            Start nothing more after a failure.
        observer
            Hears of every event (`builder.execute.events`); in a notebook by default, plain lines under the cell.
        """
        from builder.building import rebuild
        from builder.report.progress import Lines, WhenQueued, in_notebook

        if options.get("observer") is None and in_notebook():
            with closing(WhenQueued(lambda: Lines(sys.stdout))) as lines:
                return rebuild(self, targets, **{**options, "observer": lines})
        return rebuild(self, targets, **options)

    def read_sources(self, **options: Any) -> Run:
        """Take changed sources in without running any recipe."""
        from builder.building import rebuild

        return rebuild(self, None, sources_only=True, **options)

    def accept(self, source: str) -> Any:
        """Take a source's present columns and dtypes as its schema; the difference to the pinned one."""
        from builder.upkeep import accept

        return accept(self, source)

    def verify(self, targets: Iterable[str] | None = None, **options: Any) -> Any:
        """Rebuild from nothing beside the store, and compare digests."""
        from builder.upkeep import verify

        return verify(self, targets, **options)

    def gc(self, keep: int = 3, dry_run: bool = False) -> Any:
        """Remove from the store what the last `keep` versions of each target do not need."""
        from builder.upkeep import gc

        return gc(self, keep, dry_run)

    def fsck(self, repair: bool = False, **options: Any) -> Any:
        """Check parts, ledger and published files; mend them with `repair`, with the options of `rebuild`."""
        from builder.upkeep import fsck

        return fsck(self, repair, **options)

    # -- reading ---------------------------------------------------------------------------------------------------

    def load(self, target: str, run: str | None = None) -> Any:
        """A target's value: a frame, JSON value, bytes, path; a mapping for a family. Imports no recipe.

        `run` names an earlier run, or ``complete``: the last build in which all was fresh at once.
        """
        from builder.reading import load

        return load(self, target, run)

    def path(self, target: str) -> Path:
        """Where a published target lies in ``out/``."""
        from builder.reading import published

        return published(self, target)

    def show(self, target: str) -> Any:
        """A target's schema, rows, size, first rows, and when, how and from what it was made."""
        from builder.reading import show

        return show(self, target)

    def diff(self, target: str, old: str | None = None, new: str | None = None) -> Any:
        """Rows added, removed and changed between two versions of a target (default: the last two)."""
        from builder.reading import diff

        return diff(self, target, old, new)

    def history(self, target: str | None = None) -> Any:
        """All runs, or those that touched a target, oldest first."""
        from builder.reading import history

        return history(self, target)

    def log(self, target: str) -> str:
        """What the last attempt at a target printed."""
        from builder.reading import log

        return log(self, target)


def open(path: str | os.PathLike[str] = ".") -> Project:
    """The project at or above a folder.

    Raises
    ------
    ConfigError
        ``config`` where there is none, or its settings are wrong.
    """
    return Project(read_config(find_project(Path(path))))


def situation_token(situation: Situation, recall: Recall) -> str:
    """The digest of everything a plan was made from, so that a saved plan can be refused when the world has moved."""
    hasher = Hasher("situation")
    for name, sensed in situation.sources.items():
        hasher.text(name).text(sensed.content or "")
    for recipe in situation.graph.recipes.values():
        hasher.text(recipe.name).text(recipe.fingerprint).text(recipe.declared).text(recipe.version)
    for step in situation.graph.steps:
        hasher.text(step)
    for library, version in sorted(situation.environment.items()):
        hasher.text(library).text(version)
    for path, digest in situation.depends:
        hasher.text(path).text(digest)
    for name, current in sorted(recall.currents.items()):
        hasher.text(name).text(current.key)
    return hasher.digest()
