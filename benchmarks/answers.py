"""Whether a tool gives right answers on the reference DAG: five questions, each from a finished build of its own.

Decides by what ran (the log of the task bodies) and by every output against one computed anew from the sources; what a
tool says of itself does not count. `workflow` prints the table.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from peers import Knobs, Tool, Work, command, environment, path_of, write_files, wrong
from reference_dag import downstream, probe_source

POLL_S = 0.005
GIVEN_UP_S = 1800.0


@dataclass(frozen=True)
class Answer:
    """One question's answer: whether it is right, and the figures that say so."""

    is_right: bool
    figures: str

    def __str__(self) -> str:
        return f"{'yes' if self.is_right else 'NO'}: {self.figures}"


@dataclass(frozen=True)
class Log:
    """What the task bodies noted: which began, which ended."""

    path: Path

    def clear(self) -> None:
        """Forget what was noted."""
        self.path.unlink(missing_ok=True)

    def tasks(self, event: str) -> set[str]:
        """The tasks that began (B) or ended (E)."""
        if not self.path.exists():
            return set()
        return {task for kind, _, task in map(_parted, self.path.read_text().splitlines()) if kind == event}


def _parted(line: str) -> tuple[str, str, str]:
    return line.partition(" ")


def build(tool: Tool, work: Work, log: Log, **settings: str) -> int:
    """The exit code of a build; the log holds what ran in it."""
    log.clear()
    env = environment(work, MIX_LOG=str(log.path), **settings)
    words = command(tool.build, work)
    return subprocess.run(words, cwd=work.folder, env=env, capture_output=True, timeout=GIVEN_UP_S).returncode


def ask(tool: Tool, work: Work, **settings: str) -> dict[str, Answer]:
    """The answers to all questions, by question; `settings` go into the environment of every build."""
    log = Log(work.folder.parent / f"{work.folder.name}.log")
    saved = work.folder.parent / f"{work.folder.name}.saved"
    code = build(tool, work, log, **settings)
    faults = wrong(tool, work)
    if code or faults:
        return dict.fromkeys(QUESTIONS, Answer(False, f"cold build: exit {code}, {faults} wrong"))
    shutil.copytree(work.folder, saved, symlinks=True)
    found = {}
    for question, change in QUESTIONS.items():
        changed, must_run = change(tool, work)
        code = build(tool, changed, log, **settings)
        ran = log.tasks("B")
        faults = wrong(tool, changed)
        figures = f"{len(ran)} ran" + (f", {faults} wrong" if faults else "") + (f", exit {code}" if code else "")
        if ran != must_run:
            figures += f", {len(must_run)} had to"
        found[question] = Answer(not faults and not code and ran == must_run, figures)
        shutil.rmtree(work.folder)
        shutil.copytree(saved, work.folder, symlinks=True)
    shutil.rmtree(saved)
    return found


# -- the changes; each gives the work as it stands then, and the tasks that must run -----------------------------------


def touch(tool: Tool, work: Work) -> tuple[Work, set[str]]:
    """The same content under a new time."""
    os.utime(work.folder / path_of(probe_source(work.dag)))
    return work, set()


def comment(tool: Tool, work: Work) -> tuple[Work, set[str]]:
    """A source changes in a line that no task heeds: its readers run and give what they gave."""
    probe = probe_source(work.dag)
    path = work.folder / path_of(probe)
    path.write_text(path.read_text().replace("# note 0", "# note 1"))
    return work, {task.name for task in work.dag.tasks if probe in task.needs}


def code(tool: Tool, work: Work) -> tuple[Work, set[str]]:
    """The code of one type changes."""
    kind = _middle_kind(work)
    return _turned(tool, work, kind, Knobs(salts={kind: "B"}))


def parameter(tool: Tool, work: Work) -> tuple[Work, set[str]]:
    """The parameter of one type changes."""
    kind = _middle_kind(work)
    return _turned(tool, work, kind, Knobs(params={kind: 2}))


def _turned(tool: Tool, work: Work, kind: str, knobs: Knobs) -> tuple[Work, set[str]]:
    changed = replace(work, knobs=knobs)
    write_files(tool, changed)
    own = [task for task in work.dag.tasks if task.kind == kind]
    return changed, {t.name for t in own} | downstream(work.dag.tasks, (t.target for t in own))


def _middle_kind(work: Work) -> str:
    kinds = list(work.kinds)
    return kinds[len(kinds) // 2]


QUESTIONS: dict[str, Callable[[Tool, Work], tuple[Work, set[str]]]] = {
    "same content under a new time: nothing runs": touch,
    "an equal output stops downstream": comment,
    "a code change rebuilds what it must": code,
    "a parameter change rebuilds what it must": parameter,
}
KILLED = "kill -9 half-way, then again: goes on, none wrong"


def kill_half_way(tool: Tool, work: Work, slow_ms: int) -> Answer:
    """Kill a cold build with all its processes when half of the tasks are done, and build again."""
    log = Log(work.folder.parent / f"{work.folder.name}.log")
    log.clear()
    half = len(work.dag.tasks) // 2
    env = environment(work, MIX_LOG=str(log.path), MIX_SLOW_MS=str(slow_ms))
    with open(os.devnull, "wb") as nowhere:
        process = subprocess.Popen(
            command(tool.build, work), cwd=work.folder, env=env, stdout=nowhere, stderr=nowhere, start_new_session=True
        )
        while process.poll() is None and len(log.tasks("E")) < half:
            time.sleep(POLL_S)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    left = len(work.dag.tasks) - len(log.tasks("E"))
    code = build(tool, work, log)
    again, faults = len(log.tasks("B")), wrong(tool, work)
    figures = f"{left} left, {again} ran, {faults} wrong, exit {code}"
    return Answer(code == 0 and faults == 0 and again < len(work.dag.tasks), figures)
