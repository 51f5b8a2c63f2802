"""The commands of every day, and how any command ends: its report or its error printed, an exit code.

Decides the exit code and what goes to which stream. A command opens the project, calls one function of the library and
gives its report. Never reads the command line: `builder.quick` reads what is said most, `builder.cli` all of it.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from builder.errors import BuilderError, InternalError, error

FORMAT = 1


def settle(*, is_look: bool = False) -> None:
    """Set the collector for a command: the many objects of a graph all stay, and counting them again is lost time.

    A look is over so soon that nothing is collected.
    """
    if is_look:
        gc.disable()
    else:
        gc.set_threshold(100_000, 20, 20)


def run_guarded(
    call: Callable[[], tuple[Any, int]], as_json: bool, *, passing: tuple[type[BaseException], ...] = ()
) -> None:
    """Run a command: print its report, or its error, and leave with the exit code; `passing` errors go on up."""
    try:
        report, code = call()
    except BuilderError as caught:
        _fail(caught, as_json)
    except passing:
        raise
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(0)
    except Exception as caught:
        import traceback

        traceback.print_exc()
        _fail(
            InternalError(
                "internal", f"builder failed: {caught!r}", hint="this is a fault of builder; please report it"
            ),
            as_json,
        )
    else:
        _say(_json_text(report.to_json(), default=str) if as_json else str(report))
        sys.exit(code)


def _fail(caught: BuilderError, as_json: bool) -> None:
    """Say an error and leave; with --json also as a document."""
    _say(caught.render(), to_stderr=True)
    if as_json:
        _say(_json_text({"format": FORMAT, "error": caught.to_json()}))
    sys.exit(caught.exit_code)


def _say(text: str, *, to_stderr: bool = False) -> None:
    """Print a report or an error."""
    stream = sys.stderr if to_stderr else sys.stdout
    if stream is None:  # closed by whoever started the command
        return
    try:
        stream.write(text + "\n")
        stream.flush()
    except UnicodeEncodeError:
        from click import echo  # it knows what to do about a stream that takes ASCII only

        echo(text, err=to_stderr)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        sys.exit(1)


def _json_text(value: Any, **options: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, **options)


def open_project(directory: str | None) -> Any:
    """The project at or above a folder (None: the working directory)."""
    from builder.project import open

    return open(directory or ".")


def save(file: str, text: str) -> None:
    """Write a report to the file that the user named."""
    from builder.store.disk import write_whole

    try:
        write_whole(Path(file).absolute(), text.encode("utf-8", "surrogatepass"))
    except BuilderError as cause:
        raise error(
            "config",
            f"'{file}' cannot be written",
            place=file,
            facts=[("reason", cause.message)],
            hint="name a file in a folder that can be written",
        ) from cause


def status(
    directory: str | None, targets: tuple[str, ...], *, read: bool = False, exit_code: bool = False
) -> tuple[Any, int]:
    """What changed, what is stale, why."""
    from builder.report.progress import hashing

    found = open_project(directory).status(targets, progress=hashing, read=read)
    return found, int(exit_code and not found.is_fresh)


def plan(
    directory: str | None,
    targets: tuple[str, ...],
    *,
    out: str | None = None,
    workers: int | None = None,
    all_: bool = False,
    first: tuple[str, ...] = (),
) -> tuple[Any, int]:
    """What a rebuild would do, in order, and why."""
    report = open_project(directory).plan(targets, all=all_, workers=workers, first=first)
    if out:
        import json

        save(out, json.dumps(report.to_json()))
    return report, 0


def rebuild(
    directory: str | None,
    targets: tuple[str, ...],
    *,
    plan_file: str | None = None,
    json_lines: bool = False,
    dry_run: bool = False,
    all_: bool = False,
    **options: Any,
) -> tuple[Any, int]:
    """What was done to bring targets up to date; `options` are those of `Project.rebuild`."""
    from builder.report.progress import WhenQueued, hashing

    project = open_project(directory)
    if dry_run:
        return project.plan(targets, all=all_, workers=options.get("workers"), first=options.get("first", ())), 0
    watch: Any = WhenQueued()
    if json_lines:
        from builder.execute.events import JsonLines

        watch = JsonLines(sys.stdout)
    try:
        run = project.rebuild(
            targets, all=all_, plan=_saved_plan(plan_file), observer=watch, progress=hashing, **options
        )
    finally:
        watch.close()
    code = {"failed": 1, "interrupted": 130}.get(run.outcome, 0)
    return (_LastLine(run) if json_lines else run), code


class _LastLine:
    """A run's report as one line among its events."""

    def __init__(self, run: Any) -> None:
        self.run = run

    def to_json(self) -> dict[str, Any]:
        """The report's document, named as the last event."""
        return {"event": "report", **self.run.to_json()}

    def __str__(self) -> str:
        return _json_text(self.to_json(), default=str)


def _saved_plan(file: str | None) -> Any:
    """A saved plan's document."""
    if file is None:
        return None
    import json

    try:
        value = json.loads(Path(file).read_bytes())
    except (OSError, ValueError) as cause:
        raise error(
            "config",
            f"the plan '{file}' cannot be read",
            place=file,
            facts=[("reason", str(cause))],
            hint="make it with builder plan --out FILE",
        ) from cause
    return (value if isinstance(value, dict) else {}) | {"file": file}
