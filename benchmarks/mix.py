"""The body of every task of the reference DAG in Python: the same text as mix.c, for tools whose tasks are functions.

Environment: MIX_LOG names a file that gets "B TASK" and "E TASK"; MIX_SLOW_MS waits in the middle of the work.
"""

import os
import sys
import time
import zlib
from pathlib import Path


def checksum(content):
    """The CRC of a text without its comment lines."""
    if b"#" in content:
        content = b"".join(line for line in content.splitlines(True) if not line.startswith(b"#"))
    return zlib.crc32(content)


def mixed(task, kind, salt, param, contents):
    """A task's text, from what its inputs hold, by path."""
    lines = [f"{checksum(content):08x} {path}\n" for path, content in contents.items()]
    return f"{task} {kind} {salt} {param}\n{''.join(lines)}END\n"


def note(event, task):
    """Append to the log that a task began or ended."""
    path = os.environ.get("MIX_LOG")
    if path:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(file, f"{event} {task}\n".encode())
        os.close(file)


def wait():
    """Be as slow as the test wants it."""
    slow_ms = os.environ.get("MIX_SLOW_MS")
    if slow_ms:
        time.sleep(int(slow_ms) / 1000)


def mix(out, task, kind, salt, param, paths):
    """Do a whole task, from files to a file."""
    note("B", task)
    text = mixed(task, kind, salt, param, {path: Path(path).read_bytes() for path in paths})
    with open(out, "w") as file:
        file.write(text[: len(text) // 2])
        file.flush()
        wait()
        file.write(text[len(text) // 2 :])
    note("E", task)


if __name__ == "__main__":
    mix(sys.argv[1], *sys.argv[2:6], sys.argv[6:])
