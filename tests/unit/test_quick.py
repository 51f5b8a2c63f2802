"""The plain command lines that are read without click mean what click reads in them; all others go to it."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from builder.cli import cli
from builder.quick import parse

WORDS = st.sampled_from(
    ["-C", "DIR", "status", "plan", "rebuild", "show", "a", "b[x=1]", "*", "", "-", "--", "-h", "--help", "--json",
     "--read", "--exit-code", "--all", "--out", "--workers", "--changed", "--first", "--plan", "--fail-fast", "-j",
     "-j2", "--scheduler", "--inline", "--json-lines", "--dry-run", "--workers=2", "0", "2", "-1", "٣", " 3", "--al",
     "--version"]
)  # fmt: skip


def read_by_click(args: list[str]) -> Any:
    """What click hands to a command: its name, folder, whether JSON is wanted, targets, options."""
    seen = {}

    def note(self: click.Command, ctx: click.Context) -> None:
        seen.update(ctx.params, name=self.name, outer=ctx.obj)

    with pytest.MonkeyPatch.context() as patch:
        for command in cli.commands.values():
            patch.setattr(command, "invoke", note.__get__(command))
        try:
            cli.main(list(args), standalone_mode=False, prog_name="builder")
        except click.ClickException:
            return None
    if not seen:
        return None
    directory = seen.pop("directory") or seen.pop("outer")
    seen.pop("outer", None)
    options = {name: value for name, value in seen.items() if name not in ("name", "as_json", "targets")}
    if options.pop("changed", False) and options["all_"]:
        return None
    return seen["name"], directory, seen["as_json"], seen["targets"], options


@given(st.lists(WORDS, max_size=6) | st.tuples(st.sampled_from(["status", "plan", "rebuild"]), st.lists(WORDS)).map(
    lambda pair: [pair[0], *pair[1]]
))  # fmt: skip
@example(["-C", "DIR", "status"])
@example(["-C", "DIR", "plan", "-C", "a", "--workers", "2", "b[x=1]", "--json"])
@example(["rebuild", "--first", "a", "--first", "b[x=1]", "-j", "2", "--changed"])
@example(["rebuild", "--changed", "--all"])
@example(["-C", "status"])
@example(["-C", "-C", "status"])
@example([])
def test_a_plain_command_line_is_read_as_click_reads_it(args: list[str]) -> None:
    parsed = parse(args)
    if parsed is not None:
        assert parsed == read_by_click(args)


@pytest.mark.parametrize(
    "args",
    [
        ["status"], ["-C", "DIR", "status"], ["status", "a", "--json"], ["plan", "--workers", "4"], ["rebuild"],
        ["rebuild", "-j", "2"], ["rebuild", "--all", "--inline"], ["status", "--read", "--exit-code"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_the_command_lines_of_every_day_are_plain(args: list[str]) -> None:
    assert parse(args) is not None


@pytest.mark.parametrize(
    "args",
    [["status", "--help"], ["plan", "--workers", "0"], ["rebuild", "--no-such"], ["show", "a"], ["--version"], ["-C"]],
    ids=" ".join,
)
def test_all_else_is_left_to_click(args: list[str]) -> None:
    assert parse(args) is None


@pytest.mark.parametrize("args", [("status",), ("plan", "--json"), ("status", "nothing-of-that-name"), ("rebuild",)])
def test_a_command_left_at_once_says_what_the_whole_command_line_says(tmp_path: Path, args: tuple[str, ...]) -> None:
    (tmp_path / "builder.toml").write_text('name = "p"\nenvironment = ["python"]\n')
    (tmp_path / "recipes").mkdir()
    ways = [[sys.executable, "-m", "builder"], [sys.executable, "-c", "from builder.cli import main; main()"]]
    quick, whole = (
        subprocess.run([*way, *args], cwd=tmp_path, capture_output=True, text=True, check=False) for way in ways
    )
    assert (quick.returncode, quick.stderr) == (whole.returncode, whole.stderr)
    assert re.sub(r"\d+ ms", "", quick.stdout) == re.sub(r"\d+ ms", "", whole.stdout)


def test_a_reader_that_goes_away_and_a_closed_output_are_no_fault(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "builder.toml").write_text('environment = ["python"]\n')
    for shell in ("{} status | true", "{} status >&-", "{} status nothing 2>&-; true"):
        command = shell.format(f"{sys.executable} -m builder")
        done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), (shell, done)
