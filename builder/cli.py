"""The command line: each command parses, calls one function of the library, renders, and sets an exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from builder.commands import FORMAT, open_project, plan, rebuild, run_guarded, save, settle, status
from builder.errors import error
from builder.version import VERSION

_CLICK_ENDS = (click.ClickException, click.exceptions.Exit, click.Abort)


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
            run_guarded(lambda: function(directory or ctx.obj, **options), as_json, passing=_CLICK_ENDS)

        run = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(run)
        run = click.option("-C", "directory", metavar="DIR", default=None, help="The project's folder.")(run)
        return cli.command(name, **extra)(run)

    return decorate


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
def status_command(directory: str | None, targets: tuple[str, ...], **options: bool) -> tuple[Any, int]:
    """What changed, what is stale, why."""
    return status(directory, targets, **options)


@command("plan")
@targets_argument
@click.option("--out", metavar="FILE", help="Save the plan for rebuild --plan.")
@click.option("--workers", type=click.IntRange(1), help="Predict for this many workers.")
@click.option("--first", multiple=True, metavar="TARGET", help="Targets wanted before the others.")
@click.option("--all", "all_", is_flag=True, help="Plan to run everything again.")
def plan_command(directory: str | None, targets: tuple[str, ...], **options: Any) -> tuple[Any, int]:
    """What a rebuild would do, in order, and why."""
    return plan(directory, targets, **options)


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
    if options.pop("changed") and options["all_"]:
        raise click.UsageError("--changed and --all exclude each other")
    return rebuild(directory, targets, **options)


@command("pause")
def pause_command(directory: str | None) -> tuple[Any, int]:
    """Keep any builder of this project from starting steps; what runs may end."""
    from builder.store.pause import pause

    was_running = pause(open_project(directory).config.store)
    return _Said("paused; builder resume goes on" if was_running else "paused already", paused=True), 0


@command("resume")
def resume_command(directory: str | None) -> tuple[Any, int]:
    """End a pause: a builder that waits goes on, or the next rebuild does."""
    from builder.store.pause import resume

    was_paused = resume(open_project(directory).config.store)
    return _Said("resumed" if was_paused else "not paused", paused=False), 0


@command("explain")
@click.argument("target")
def explain_command(directory: str | None, target: str) -> tuple[Any, int]:
    """Why a target is stale or fresh, values before and after, what waits for what."""
    return open_project(directory).explain(target), 0


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
    report = open_project(directory).graph(targets)
    text = json.dumps(report.to_json(), ensure_ascii=False) if format_ == "json" else report.to_dot()
    if out:
        save(out, text + "\n")
        text = f"wrote {out}"
    said = _Said(text)
    said.to_json = report.to_json  # type: ignore[method-assign]
    return said, 0


@command("show")
@click.argument("target")
def show_command(directory: str | None, target: str) -> tuple[Any, int]:
    """Schema, rows, size, first rows, and when, how and from what it was made."""
    return open_project(directory).show(target), 0


@command("diff")
@click.argument("target")
@click.argument("runs", nargs=-1, metavar="[RUN [RUN]]")
def diff_command(directory: str | None, target: str, runs: tuple[str, ...]) -> tuple[Any, int]:
    """Rows added, removed and changed between two versions."""
    if len(runs) > 2:
        raise click.UsageError("diff takes at most two runs")
    return open_project(directory).diff(target, *runs), 0


@command("log")
@click.argument("target")
def log_command(directory: str | None, target: str) -> tuple[Any, int]:
    """What the last attempt at a target printed."""
    text = open_project(directory).log(target)
    return _Said(text.rstrip("\n"), name=target, log=text), 0


@command("history")
@click.argument("target", required=False)
def history_command(directory: str | None, target: str | None) -> tuple[Any, int]:
    """All runs, or those that touched a target."""
    return open_project(directory).history(target), 0


@command("lanes")
def lanes_command(directory: str | None) -> tuple[Any, int]:
    """The lanes, their capacities, who takes them, and what runs in them now."""
    from builder.report.lanes import lanes_of

    return lanes_of(open_project(directory)), 0


@command("accept")
@click.argument("source")
def accept_command(directory: str | None, source: str) -> tuple[Any, int]:
    """Take a source's present columns and dtypes as its schema."""
    return open_project(directory).accept(source), 0


@command("verify")
@targets_argument
@click.option("-j", "workers", type=click.IntRange(1), metavar="N", help="Workers of the embedded cluster.")
@click.option("--inline", is_flag=True, help="Run in this process, without Dask.")
def verify_command(directory: str | None, targets: tuple[str, ...], **options: Any) -> tuple[Any, int]:
    """Rebuild from nothing beside the store, compare digests."""
    found = open_project(directory).verify(targets, **options)
    return found, int(not found.is_equal)


@command("gc")
@click.option("--keep", default=3, show_default=True, metavar="N", help="Versions of each target that stay.")
@click.option("--dry-run", is_flag=True, help="Show what would go; remove nothing.")
def gc_command(directory: str | None, keep: int, dry_run: bool) -> tuple[Any, int]:
    """Remove from the store what no kept version needs."""
    return open_project(directory).gc(keep, dry_run), 0


@command("fsck")
@click.option("--repair", is_flag=True, help="Mend parts, ledger and published files, by rebuilding if need be.")
@click.option("--inline", is_flag=True, help="Rebuild in this process, without Dask.")
def fsck_command(directory: str | None, repair: bool, inline: bool) -> tuple[Any, int]:
    """Check the store."""
    found = open_project(directory).fsck(repair, inline=inline)
    return found, int(bool(found.problems) and not found.is_sound)


def main() -> None:
    """Run the command line."""
    args = sys.argv[1:]
    settle()
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
