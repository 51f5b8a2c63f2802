"""The way in: answers `builder status` and `builder rebuild` at once where a seal says that nothing moved.

A seal is a list of everything that the last look found all fresh by: files and folders with their tokens. Where every
token still holds, that look's answer does too. Decides nothing else; any doubt goes to the whole command line.
Imports next to nothing.
"""

from __future__ import annotations

import os
import sys
import time

from builder.version import VERSION

FILE = "seal"
HEAD = "builder seal 1"


def main() -> None:
    """Run the command line."""
    began = time.perf_counter()
    said = answer(sys.argv[1:], began)
    if said is None:
        from builder.cli import main as whole

        whole()
    else:
        sys.stdout.write(said + "\n")


def answer(args: list[str], began: float) -> str | None:
    """What a command prints where the project's seal holds; None where the command must look for itself."""
    folder = "."
    words = list(args)
    if "-C" in words:
        at = words.index("-C")
        folder = words[at + 1] if at + 1 < len(words) else ""
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
    stat = os.stat
    for line in lines[5:]:
        if not line:
            continue
        token, _, path = line.partition("\t")
        try:
            now = stat(path)
        except OSError:
            if token != "-":
                return None
            continue
        if token != f"{now.st_size} {now.st_mtime_ns} {now.st_ctime_ns} {now.st_ino} {now.st_dev}":
            return None
    name, targets, sources = lines[4].split("\t")
    return name, targets, sources


def head(root: str) -> list[str]:
    """The lines that tie a seal to this builder, this Python, where it looks for libraries, and this project."""
    return [HEAD, f"{VERSION} {sys.version}".replace("\n", " "), os.pathsep.join(sys.path), root]
