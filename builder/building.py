"""A rebuild from end to end: lock, sense, plan, execute, publish, close the run.

Decides when there is nothing to do (then no run is opened, nothing heavy imported) and whether the build is complete.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import BuilderError, error
from builder.execute.events import Noted, Several
from builder.execute.report import Run
from builder.plan.plan import Plan
from builder.plan.verdict import Action, State
from builder.situation import Situation
from builder.store.ledger import Ledger
from builder.store.lock import locked
from builder.store.pause import is_paused
from builder.store.published import is_standing, published_targets
from builder.store.recall import Recall
from builder.store.records import run_name

if TYPE_CHECKING:  # at run time only where there is something to do: a rebuild of what is fresh is but a look
    from builder.execute.driver import Driver, Observer
    from builder.execute.hooks import Hooks
    from builder.execute.runner import Runner
    from builder.project import Project
    from builder.store.commits import Committer
    from builder.store.publish import Publisher


class Silent:
    """An observer that hears and does nothing."""

    def event(self, kind: str, name: str, **facts: Any) -> None:
        """Nothing."""


def rebuild(
    project: Project,
    targets: Iterable[str] | None = None,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    cluster: Any = None,
    all: bool = False,
    first: Iterable[str] = (),
    inline: bool = False,
    plan: Mapping[str, Any] | None = None,
    fail_fast: bool = False,
    observer: Observer | None = None,
    progress: Any = None,
    sources_only: bool = False,
) -> Run:
    """What a rebuild did; see `Project.rebuild`."""
    config = project.config
    with locked(config.store):
        ledger = Ledger.open(config.store, create=True)
        noted = Noted(config.store)

        saved = plan or {}
        names = [targets] if isinstance(targets, str) else list(targets or ())
        early = [first] if isinstance(first, str) else list(first)

        def once(
            plan: Mapping[str, Any] | None, is_forced: bool, more: Sequence[str] = ()
        ) -> tuple[Run, list[str] | None]:
            """One run of the wanted targets and these, and what it left that only another can bring to its end."""
            began = time.perf_counter()
            situation = project.situation(progress)
            recall = Recall(ledger)
            if plan is not None:
                _check_plan(plan, situation, recall)
            wanted = project.selected(situation, names)
            if wanted is None:
                wanted = saved.get("targets")
            if wanted is not None:
                wanted = list(dict.fromkeys((*wanted, *(t for t in more if t in situation.graph.maker))))
            made = project.planned(situation, recall, wanted, is_forced=is_forced)
            if sources_only:
                made = _only_sources(made)
            build = _Build(project, situation, recall, made, is_partial=wanted is not None or sources_only)
            told = build.told(observer or Silent(), noted)
            make_runners = partial(
                _make_runners, project, situation, told, workers, scheduler, cluster=cluster, is_inline=inline
            )
            run = build.run(began, make_runners, told, fail_fast, needed_first(project, situation, early))
            return run, build.lost

        try:
            run, lost = once(plan, all or bool(saved.get("all")))
            # What was updated before by what turned out to be no update is stale now, and that is for this command. It
            # comes to an end: each time one recipe more is never updated again.
            taken: list[str] = []
            while lost is not None:
                taken += lost
                rest, lost = once(None, False, taken)
                run = run.with_rest(rest)
            return run
        finally:
            noted.close()
            ledger.close()


class _Build:
    """One rebuild under the store's lock."""

    def __init__(self, project: Project, situation: Situation, recall: Recall, plan: Plan, *, is_partial: bool) -> None:
        self.project = project
        self.situation = situation
        self.recall = recall
        self.plan = plan
        self.is_partial = is_partial
        self.ledger = recall.ledger
        names = published_targets(situation.graph, project.config.publish, project._publish_list(situation))
        self.published = names
        self.hooks: Hooks | None = None
        self.built_before = frozenset(recall.currents)
        self.lost: list[str] | None = None
        """Targets whose last version is forgotten, for an update that it came from was refuted; None: none was."""

    def told(self, *observers: Observer) -> Observer:
        """All that hear of the run: these, and the project's hooks."""
        config = self.project.config
        if not config.hooks:
            return Several(*observers)
        from builder.execute.hooks import Hooks, load_hooks

        self.hooks = Hooks(load_hooks(config.root, config.hooks))
        return Several(*observers, self.hooks)

    def run(
        self,
        began: float,
        make_runners: Callable[[], Callable[[], Runner]],
        observer: Observer,
        is_fail_fast: bool,
        first: frozenset[str],
    ) -> Run:
        """Do what the plan says, then what publishing needs."""
        retired = self.project._retired(self.recall, self.situation)
        due = self._due()
        stray = [n for n in self.ledger.published() if n not in self.published]
        if not (self.plan.intakes or self.plan.steps or retired or due or stray or self._lacks_complete()):
            return self._nothing(began)
        from builder.execute.driver import Driver
        from builder.store.commits import Committer
        from builder.store.publish import Publisher

        started_at = time.time()
        committer = Committer.take(self.ledger)
        number = committer.begin_run(started_at)
        config = self.project.config
        publisher = Publisher(config.store, config.out, self.situation.graph, self.published, self.recall, committer)
        driver = Driver(
            self.plan,
            self.recall,
            committer,
            number,
            self.project.workplace,
            partial(_with_orphans_ended, config.store, committer, make_runners()),
            lanes=config.lanes,
            publish=publisher.publish,
            observer=observer,
            is_fail_fast=is_fail_fast,
            first=first,
            is_paused=partial(is_paused, config.store),
            wait_s=config.wait_s,
        )
        try:
            publisher.sweep()
            publisher.withdraw([*retired, *stray])
            forgotten = self._made_good()
            if retired or forgotten:
                committer.retired(number, retired, forgotten)
            with _interruptible(driver):
                driver.execute()
            self._publish_rest(publisher, due)
            pace = driver.outlook.measured()
            if pace is not None:
                committer.note_pace(pace.startup_s, pace.overhead_s)
        except BuilderError:
            with suppress(BuilderError):  # the store that failed the run may fail this note of it too
                committer.end_run(number, time.time(), "failed", {}, False)
            raise
        finally:
            publisher.close()
        if self.hooks is not None:
            self.hooks.finish()
        run = self._report(driver, number, began, tuple(retired), publisher)
        committer.end_run(number, time.time(), run.outcome, run.to_json(), run.is_complete)
        return run

    def _publish_rest(self, publisher: Publisher, due: Iterable[str]) -> None:
        """Publish what the driver did not: what failed or proved fresh keeps its old output, mended in out/ as well."""
        publisher.settle()
        done = set(publisher.done)
        left = (t for s in self.plan.steps for t in self.situation.graph.steps[s].targets)
        publisher.publish(*(t for t in (*due, *left) if t not in done))
        publisher.settle()
        publisher.sweep()

    def _due(self) -> list[str]:
        """Fresh targets whose files in ``out/`` are missing or were changed there."""
        standing, out = self.ledger.published(), str(self.project.config.out)
        found = []
        for name in self.situation.graph.targets:
            current = self.recall.currents.get(name) if name in self.published else None
            if current is not None and self.plan.verdict_of(name).state is State.FRESH:
                found += [] if is_standing(standing.get(name), current.digest, out) else [name]
        return found

    def _lacks_complete(self) -> bool:
        """Whether all is fresh but no run says so yet."""
        if self.is_partial or self.plan.steps or self.plan.intakes or not self.situation.graph.steps:
            return False
        return not self.ledger.is_complete()

    def _made_good(self) -> list[str]:
        """The steps and sources whose failure is no more: fresh without work, or no longer part of the project."""
        verdicts, sources = self.plan.verdicts, self.plan.sources
        return [
            name
            for name in self.recall.failures
            if (name not in verdicts or verdicts[name].state is State.FRESH)
            and (name not in sources or sources[name].action is Action.NONE)
        ]

    def _nothing(self, began: float) -> Run:
        """The report of a rebuild that had nothing to do."""
        last = self.ledger.rows("SELECT max(id) FROM runs")[0][0] or 0
        fresh = sum(self.plan.verdict_of(t).state is State.FRESH for t in self.situation.graph.targets)
        if forgotten := self._made_good():
            from builder.store.commits import Committer

            Committer.take(self.ledger).cleared(forgotten)
        return Run(
            run_name(last), "nothing", time.perf_counter() - began, fresh=fresh, project=self.project.config.name
        )

    def _report(self, driver: Driver, number: int, began: float, retired: tuple[str, ...], publisher: Publisher) -> Run:
        """What the run did, with the outcome of the whole."""
        has_failed = bool(driver.outcomes.failed or publisher.problems)
        lost: frozenset[str] = frozenset()
        if driver.outcomes.distrusted:
            told = {t.name: t.outcome for t in driver.outcomes.targets}
            bad = {name for name, outcome in told.items() if outcome in ("failed", "blocked")}
            had = self.built_before | told.keys()  # also what this very run took from the store
            lost = had & set(self.situation.graph.maker) - set(self.ledger.currents()) - bad
        if lost and not driver.is_stopping:
            self.lost = sorted(lost)
        has_work = any(t.outcome in ("built", "updated", "unchanged", "restored") for t in driver.outcomes.targets)
        outcome = "built" if has_work or retired else "nothing"
        if driver.is_interrupted:
            outcome = "interrupted"
        if has_failed:
            outcome = "failed"
        touched = {t.name for t in driver.outcomes.targets}
        graph = self.situation.graph
        fresh = sum(
            t not in touched
            and (self.plan.verdict_of(t).state is State.FRESH or graph.maker[t] in driver.outcomes.fresh_steps)
            for t in graph.targets
        )
        is_complete = (
            outcome in ("built", "nothing")
            and not lost
            and len(driver.outcomes.targets) + fresh == sum(1 for _ in graph.targets)
            and all(s.problem is None for s in self.situation.sources.values())
        )
        return Run(
            run_name(number),
            outcome,
            time.perf_counter() - began,
            tuple(driver.outcomes.targets),
            tuple(driver.outcomes.sources),
            fresh,
            retired,
            tuple(publisher.done),
            (*driver.outcomes.warnings, *(("warning", p) for p in (self.hooks.problems if self.hooks else ()))),
            is_complete,
            self.project.config.name,
            tuple(publisher.problems.values()),
        )


def _only_sources(plan: Plan) -> Plan:
    """A plan that takes sources in and runs no step."""
    from builder.nouns import replace

    return replace(plan, steps=())


def needed_first(project: Project, situation: Situation, first: Iterable[str]) -> frozenset[str]:
    """Nodes of the graph that the targets wanted first need."""
    names = project.selected(situation, first)
    if not names:
        return frozenset()
    graph = situation.graph
    steps = graph.upstream({graph.maker[t] for t in names})
    return frozenset(steps | {n for s in steps for n in graph.steps[s].reads if n in graph.sources})


def _check_plan(saved: Mapping[str, Any], situation: Situation, recall: Recall) -> None:
    """Refuse a saved plan that was made from another situation."""
    from builder.project import situation_token

    place = str(saved.get("file", "plan="))
    if saved.get("format") != 1 or "situation" not in saved:
        raise error(
            "config",
            f"the plan '{place}' was not written by builder plan --out",
            place=place,
            hint="make it with builder plan --out FILE",
        )
    if saved["situation"] != situation_token(situation, recall):
        raise error(
            "plan-moved",
            "sources, recipes or the store changed since this plan was made",
            place=place,
            hint="look at builder plan again, and save it anew",
        )


def _make_runners(
    project: Project,
    situation: Situation,
    told: Observer,
    workers: int | None,
    scheduler: str | None,
    *,
    cluster: Any,
    is_inline: bool,
) -> Callable[[], Runner]:
    """Makes runners; one maker for the run, for it knows when a cluster was lost before."""
    from builder.execute.runners import Runners

    config = project.config
    return Runners(
        config,
        workers or project.workers,
        config.scheduler if scheduler is None else scheduler,
        cluster,
        is_inline,
        situation.environment,
        lambda name, finding: told.event("health", name, finding=finding),
    )


def _with_orphans_ended(store: Path, committer: Committer, make_runner: Callable[[], Runner]) -> Runner:
    """A runner, made when nothing that an earlier builder started works on this store any more."""
    from builder.execute.presence import begin_epoch, end_elsewhere

    begin_epoch(store, committer.epoch)
    runner = make_runner()
    try:
        end_elsewhere(store, committer.epoch, runner.everywhere)
    except BaseException:
        runner.close()
        raise
    return runner


@contextmanager
def _interruptible(driver: Driver) -> Iterator[None]:
    """Let Ctrl-C drain the run, and a second one end it at once; the ledger is valid either way."""
    import signal
    import threading

    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signum: int, frame: Any) -> None:
        driver.stop()
        if driver.is_aborted:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    except KeyboardInterrupt:
        if not driver.is_stopping:
            raise
    finally:
        signal.signal(signal.SIGINT, before)


__all__ = ["BuilderError", "Silent", "rebuild"]
