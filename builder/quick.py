"""The way in: answers `builder status` and `builder rebuild` at once where a seal says that nothing moved.

A seal is a list of everything that the last look found all fresh by: files and folders with their tokens. Where every
token still holds, that look's answer does too. Else the commands of every day are read here, in their plainest form,
and run without the library that reads command lines; any doubt goes to the whole command line. Decides nothing else,
and imports next to nothing.
"""

from __future__ import annotations

import os
import sys
import time

from builder.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FILE = "seal"
HEAD = "builder seal 2"


_LOOKS = ("status", "plan")
_DIRECTORY = {"-C": "directory"}
_COUNTS = ("workers",)
_LISTS = ("first",)
_FLAGS: dict[str, dict[str, str]] = {
    "status": {"--read": "read", "--exit-code": "exit_code"},
    "plan": {"--all": "all_"},
    "rebuild": {
        "--changed": "changed",
        "--all": "all_",
        "--fail-fast": "fail_fast",
        "--inline": "inline",
        "--json-lines": "json_lines",
        "--dry-run": "dry_run",
    },
}
_VALUES: dict[str, dict[str, str]] = {
    "status": {},
    "plan": {"--out": "out", "--workers": "workers", "--first": "first"},
    "rebuild": {"--first": "first", "--plan": "plan_file", "-j": "workers", "--scheduler": "scheduler"},
}
"""What `parse` reads of the options that `builder.cli` declares; a test compares the two."""


def main() -> None:
    """Run the command line."""
    began = time.perf_counter()
    args = sys.argv[1:]
    said = answer(args, began)
    if said is not None:
        sys.stdout.write(said + "\n")
        return
    parsed = parse(args)
    if parsed is None:
        from builder.cli import main as whole

        whole()
    else:
        _run(*parsed)


def _run(name: str, directory: str | None, as_json: bool, targets: tuple[str, ...], options: dict[str, Any]) -> None:
    """Run one of the commands of every day."""
    from builder import commands

    is_look = name in _LOOKS and not options.get("read")
    commands.settle(is_look=is_look)
    try:
        commands.run_guarded(lambda: getattr(commands, name)(directory, targets, **options), as_json)
    except SystemExit as ended:
        # Where nothing ran, nothing is open: to free all that a graph takes would be a tenth of a look's time.
        if "builder.execute.driver" not in sys.modules and sys.getprofile() is None and sys.gettrace() is None:
            for stream in filter(None, (sys.stdout, sys.stderr)):
                stream.flush()
            os._exit(ended.code if isinstance(ended.code, int) else 1)
        raise


def parse(args: list[str]) -> tuple[str, str | None, bool, tuple[str, ...], dict[str, Any]] | None:
    """The command, its folder, whether it prints JSON, its targets and options, as the whole command line reads them.

    None where that must read them itself: another command, a request for help, any way of writing an option but the
    plain one, anything wrong.
    """
    words = list(args)
    before = words[1] if len(words) > 2 and words[0] == "-C" else None
    name, rest = (words[0], words[1:]) if before is None and words else (words[2], words[3:]) if words else ("", [])
    if name not in _FLAGS:
        return None
    values, flags = _VALUES[name] | _DIRECTORY, _FLAGS[name] | {"--json": "as_json"}
    found: dict[str, Any] = dict.fromkeys(flags.values(), False)
    found |= {option: () if option in _LISTS else None for option in values.values()}
    targets = []
    at = iter(rest)
    for word in at:
        if word in flags:
            found[flags[word]] = True
        elif word in values:
            value: Any = next(at, "-")
            if value[:1] in ("-", "") or (values[word] in _COUNTS and not _is_count(value)):
                return None
            if values[word] in _COUNTS:
                value = int(value)
            found[values[word]] = (*found[values[word]], value) if values[word] in _LISTS else value
        elif word[:1] == "-":
            return None
        else:
            targets.append(word)
    if found.pop("changed", False) and found["all_"]:
        return None
    directory = found.pop("directory") or before
    return name, directory, found.pop("as_json"), tuple(targets), found


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and int(text) > 0


def answer(args: list[str], began: float) -> str | None:
    """What a command prints where the project's seal holds; None where the command must look for itself."""
    folder = "."
    words = list(args)
    if "-C" in words:
        at = words.index("-C")
        folder = words[at + 1] if at + 1 < len(words) else ""
        if not folder:
            return None
        del words[at : at + 2]
    if words not in (["status"], ["rebuild"], ["rebuild", "--changed"], ["status", "--exit-code"]):
        return None
    root = os.path.realpath(folder)
    try:
        with open(os.path.join(root, ".builder", FILE), encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().split("\n")
        found = read(lines, root)
    except (OSError, ValueError, IndexError):
        return None
    if found is None:
        return None
    name, targets, sources = found
    took = f"{(time.perf_counter() - began) * 1000:.0f} ms"
    if words[0] == "rebuild":
        return f"{name} · nothing to do: {targets} fresh · {took}"
    return f"{name} · all {targets} fresh · {sources} unchanged, looked at in {took}"


def read(lines: list[str], root: str) -> tuple[str, str, str] | None:
    """Name, counted targets and counted sources of a seal that holds; None for one that does not."""
    if lines[:4] != head(root):
        return None
    name, targets, sources, count = lines[4].split("\t")
    if count != str(len(lines)) or lines[-1]:
        return None  # cut short
    stat = os.stat
    for line in lines[5:-1]:
        token, _, path = line.partition("\t")
        try:
            now = stat(path)
        except OSError:
            if token != "-":
                return None
            continue
        if token != f"{now.st_size} {now.st_mtime_ns} {now.st_ctime_ns} {now.st_ino} {now.st_dev}":
            return None
    return name, targets, sources


def head(root: str) -> list[str]:
    """The lines that tie a seal to this builder, this Python, where it looks for libraries, and this project."""
    return [HEAD, f"{VERSION} {sys.version}".replace("\n", " "), os.pathsep.join(sys.path), root]
