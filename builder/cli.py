"""The command line: each command parses, calls one function of the library, renders, and sets an exit code."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from builder.errors import BuilderError, InternalError, error
from builder.version import VERSION

FORMAT = 1


class _Group(click.Group):
    """The group of all commands; wrong usage and errors get the exit codes of the contract."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="builder")
@click.option("-C", "directory", metavar="DIR", default=None, help="The project's folder.")
@click.pass_context
def cli(ctx: click.Context, directory: str | None) -> None:
    """A make for data: sense what changed, rebuild only that."""
    ctx.obj = directory


def command(name: str, **extra: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """A command with -C and --json, whose result is printed; a value of type int is the exit code."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        @wraps(function)
        def run(directory: str | None, as_json: bool, **options: Any) -> None:
            ctx = click.get_current_context()
            _guarded(lambda: function(directory or ctx.obj, **options), as_json)

        run = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(run)
        run = click.option("-C", "directory", metavar="DIR", default=None, help="The project's folder.")(run)
        return cli.command(name, **extra)(run)

    return decorate


def _guarded(call: Callable[[], tuple[Any, int]], as_json: bool) -> None:
    """Run a command: print its report, or its error, and leave with the exit code."""
    try:
        report, code = call()
    except BuilderError as caught:
        _fail(caught, as_json)
    except (click.ClickException, click.exceptions.Exit, click.Abort):
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
        click.echo(json.dumps(report.to_json(), ensure_ascii=False, default=str) if as_json else str(report))
        sys.exit(code)


def _fail(caught: BuilderError, as_json: bool) -> None:
    """Say an error and leave; with --json also as a document."""
    click.echo(caught.render(), err=True)
    if as_json:
        click.echo(json.dumps({"format": FORMAT, "error": caught.to_json()}, ensure_ascii=False))
    sys.exit(caught.exit_code)


def _open(directory: str | None) -> Any:
    from builder.project import open

    return open(directory or ".")


def _save(file: str, text: str) -> None:
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


targets_argument = click.argument("targets", nargs=-1, metavar="[TARGET]...")


class _Said:
    """A plain text as a report."""

    def __init__(self, text: str, **fields: Any) -> None:
        self.text = text
        self.fields = fields

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **self.fields}

    def __str__(self) -> str:
        return self.text


@command("init")
@click.argument("folder", metavar="DIR")
@click.option("--example", metavar="NAME", help="Copy a shipped example.")
def init_command(directory: str | None, folder: str, example: str | None) -> tuple[Any, int]:
    """Make a project that runs."""
    from builder.scaffold import init

    made = init(Path(directory or ".") / folder, example)
    return _Said(f"made {made}\nnext: builder -C {made} status, then builder -C {made} rebuild", project=str(made)), 0


@command("status")
@targets_argument
@click.option("--read", is_flag=True, help="Take changed sources in, so that what is stale is known by content.")
@click.option("--exit-code", is_flag=True, help="Exit 1 where something is not fresh.")
def status_command(directory: str | None, targets: tuple[str, ...], read: bool, exit_code: bool) -> tuple[Any, int]:
    """What changed, what is stale, why."""
    from builder.report.progress import hashing

    project = _open(directory)
    if read:
        project.read_sources()
    status = project.status(targets, progress=hashing)
    return status, int(exit_code and not status.is_fresh)


@command("plan")
@targets_argument
@click.option("--out", metavar="FILE", help="Save the plan for rebuild --plan.")
@click.option("--workers", type=click.IntRange(1), help="Predict for this many workers.")
@click.option("--all", "all_", is_flag=True, help="Plan to run everything again.")
def plan_command(
    directory: str | None, targets: tuple[str, ...], out: str | None, workers: int | None, all_: bool
) -> tuple[Any, int]:
    """What a rebuild would do, in order, and why."""
    report = _open(directory).plan(targets, all=all_, workers=workers)
    if out:
        _save(out, json.dumps(report.to_json()))
    return report, 0


@command("rebuild")
@targets_argument
@click.option("--changed", is_flag=True, help="Whatever is not fresh (the default).")
@click.option("--all", "all_", is_flag=True, help="Run everything again.")
@click.option("--first", multiple=True, metavar="TARGET", help="Targets wanted before the others.")
@click.option(
    "--plan", "plan_file", metavar="FILE", help="Do what a saved plan says; refused when the situation has moved."
)
@click.option("--fail-fast", is_flag=True, help="Start nothing more after a failure.")
@click.option("-j", "workers", type=click.IntRange(1), metavar="N", help="Workers of the embedded cluster.")
@click.option("--scheduler", metavar="URL", help="A standing Dask cluster.")
@click.option("--inline", is_flag=True, help="Run in this process, without Dask; for debugging.")
@click.option("--json-lines", is_flag=True, help="Print events as lines of JSON, the report as the last one.")
@click.option("--dry-run", is_flag=True, help="Show the plan; do nothing.")
def rebuild_command(directory: str | None, targets: tuple[str, ...], **options: Any) -> tuple[Any, int]:
    """Bring targets up to date."""
    from builder.report.progress import hashing, observer

    project = _open(directory)
    if options["changed"] and options["all_"]:
        raise click.UsageError("--changed and --all exclude each other")
    if options["dry_run"]:
        return project.plan(targets, all=options["all_"], workers=options["workers"]), 0
    watch: Any = _Lazy(observer)
    if options["json_lines"]:
        from builder.execute.events import JsonLines

        watch = JsonLines(sys.stdout)
    try:
        run = project.rebuild(
            targets,
            workers=options["workers"],
            scheduler=options["scheduler"],
            all=options["all_"],
            first=options["first"],
            inline=options["inline"],
            plan=_saved_plan(options["plan_file"]),
            fail_fast=options["fail_fast"],
            observer=watch,
            progress=hashing,
        )
    finally:
        watch.close()
    code = {"failed": 1, "interrupted": 130}.get(run.outcome, 0)
    return (_LastLine(run) if options["json_lines"] else run), code


class _LastLine:
    """A run's report as one line among its events."""

    def __init__(self, run: Any) -> None:
        self.run = run

    def to_json(self) -> dict[str, Any]:
        """The report's document, named as the last event."""
        return {"event": "report", **self.run.to_json()}

    def __str__(self) -> str:
        return json.dumps(self.to_json(), ensure_ascii=False, default=str)


class _Lazy:
    """An observer made when the first attempt starts, so that a rebuild with nothing to run imports nothing for it."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make
        self.made: Any = None
        self.totals: dict[str, Any] | None = None

    def event(self, kind: str, name: str, **facts: Any) -> None:
        if kind == "total":
            self.totals = facts
        elif self.made is None and kind == "queued":
            self.made = self.make()
            self.made.event("total", "", **(self.totals or {"steps": 0, "intakes": 0}))
        if self.made is not None:
            self.made.event(kind, name, **facts)

    def close(self) -> None:
        if self.made is not None:
            self.made.close()


def _saved_plan(file: str | None) -> Any:
    """A saved plan's document."""
    if file is None:
        return None
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


@command("pause")
def pause_command(directory: str | None) -> tuple[Any, int]:
    """Keep any builder of this project from starting steps; what runs may end."""
    from builder.store.pause import pause

    was_running = pause(_open(directory).config.store)
    return _Said("paused; builder resume goes on" if was_running else "paused already", paused=True), 0


@command("resume")
def resume_command(directory: str | None) -> tuple[Any, int]:
    """End a pause: a builder that waits goes on, or the next rebuild does."""
    from builder.store.pause import resume

    was_paused = resume(_open(directory).config.store)
    return _Said("resumed" if was_paused else "not paused", paused=False), 0


@command("explain")
@click.argument("target")
def explain_command(directory: str | None, target: str) -> tuple[Any, int]:
    """Why a target is stale or fresh, values before and after, what waits for what."""
    return _open(directory).explain(target), 0


@command("graph")
@targets_argument
@click.option(
    "--format", "format_", type=click.Choice(["dot", "json", "svg", "html"]), default="dot", show_default=True
)
@click.option("-o", "out", metavar="FILE", help="Write to a file.")
def graph_command(directory: str | None, targets: tuple[str, ...], format_: str, out: str | None) -> tuple[Any, int]:
    """The graph, coloured by state."""
    from builder.errors import not_available

    if format_ in ("svg", "html"):
        raise not_available(f"graph --format {format_}")
    report = _open(directory).graph(targets)
    text = json.dumps(report.to_json(), ensure_ascii=False) if format_ == "json" else report.to_dot()
    if out:
        _save(out, text + "\n")
        text = f"wrote {out}"
    said = _Said(text)
    said.to_json = report.to_json  # type: ignore[method-assign]
    return said, 0


@command("show")
@click.argument("target")
def show_command(directory: str | None, target: str) -> tuple[Any, int]:
    """Schema, rows, size, first rows, and when, how and from what it was made."""
    return _open(directory).show(target), 0


@command("diff")
@click.argument("target")
@click.argument("runs", nargs=-1, metavar="[RUN [RUN]]")
def diff_command(directory: str | None, target: str, runs: tuple[str, ...]) -> tuple[Any, int]:
    """Rows added, removed and changed between two versions."""
    if len(runs) > 2:
        raise click.UsageError("diff takes at most two runs")
    return _open(directory).diff(target, *runs), 0


@command("log")
@click.argument("target")
def log_command(directory: str | None, target: str) -> tuple[Any, int]:
    """What the last attempt at a target printed."""
    text = _open(directory).log(target)
    return _Said(text.rstrip("\n"), name=target, log=text), 0


@command("history")
@click.argument("target", required=False)
def history_command(directory: str | None, target: str | None) -> tuple[Any, int]:
    """All runs, or those that touched a target."""
    return _open(directory).history(target), 0


@command("lanes")
def lanes_command(directory: str | None) -> tuple[Any, int]:
    """The lanes, their capacities, and what runs in them."""
    from builder.sizes import count_text

    project = _open(directory)
    steps = project.situation().graph.steps.values()
    rows = [
        {"name": lane, "capacity": capacity, "targets": [t for s in steps if lane in dict(s.lanes) for t in s.targets]}
        for lane, capacity in project.config.lanes.items()
    ]
    text = "\n".join(f"{r['name']}  capacity {r['capacity']}  {count_text(len(r['targets']), 'target')}" for r in rows)
    return _Said(text or "no lanes; [lanes] in builder.toml declares them", lanes=rows), 0


@command("accept")
@click.argument("source")
def accept_command(directory: str | None, source: str) -> tuple[Any, int]:
    """Take a source's present columns and dtypes as its schema."""
    return _open(directory).accept(source), 0


@command("verify")
@targets_argument
@click.option("-j", "workers", type=click.IntRange(1), metavar="N", help="Workers of the embedded cluster.")
@click.option("--inline", is_flag=True, help="Run in this process, without Dask.")
def verify_command(directory: str | None, targets: tuple[str, ...], **options: Any) -> tuple[Any, int]:
    """Rebuild from nothing beside the store, compare digests."""
    found = _open(directory).verify(targets, **options)
    return found, int(not found.is_equal)


@command("gc")
@click.option("--keep", default=3, show_default=True, metavar="N", help="Versions of each target that stay.")
@click.option("--dry-run", is_flag=True, help="Show what would go; remove nothing.")
def gc_command(directory: str | None, keep: int, dry_run: bool) -> tuple[Any, int]:
    """Remove from the store what no kept version needs."""
    return _open(directory).gc(keep, dry_run), 0


@command("fsck")
@click.option("--repair", is_flag=True, help="Mend parts, ledger and published files, by rebuilding if need be.")
@click.option("--inline", is_flag=True, help="Rebuild in this process, without Dask.")
def fsck_command(directory: str | None, repair: bool, inline: bool) -> tuple[Any, int]:
    """Check the store."""
    found = _open(directory).fsck(repair, inline=inline)
    return found, int(bool(found.problems) and not found.is_sound)


def main() -> None:
    """Run the command line."""
    args = sys.argv[1:]
    # A look at a graph makes many objects that all stay: collecting them over and over was a tenth of its time.
    gc.set_threshold(100_000, 20, 20)
    try:
        cli.main(args, standalone_mode=False, prog_name="builder")
    except click.ClickException as caught:
        caught.show()
        if "--json" in args:
            ctx = getattr(caught, "ctx", None)
            path = ctx.command_path if ctx else "builder"
            said = error("config", caught.format_message(), place=path, hint=f"{path} --help shows how it is called")
            click.echo(json.dumps({"format": FORMAT, "error": said.to_json()}, ensure_ascii=False))
        sys.exit(2)
    except click.Abort:
        sys.exit(130)
    except click.exceptions.Exit as caught:
        sys.exit(caught.exit_code)
